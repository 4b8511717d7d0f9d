"""Digests of every learner on a small data set: ``python -m tests.training.fingerprint``."""

from __future__ import annotations

from countermark.records.digest import digest_of
from countermark.training.train import train
from tests.training.builders import CARD, LINEAR, TREES, make_spec, make_table, quiet

DEPTHS = {"trials": 3, "seed": 1, "folds": 2, "space": {"depth": {"kind": "int", "low": 2, "high": 5}}}
PENALTY = {
    "trials": 8,
    "seed": 1,
    "folds": 2,
    "metric": "log_loss",
    "space": {"c": {"kind": "float", "low": 1e-4, "high": 10.0, "log": True}},
}


def fingerprint() -> list[str]:
    """One line per candidate."""
    lines = []
    for n in (900, 3000):
        table = make_table(n)
        for learner, method, tuning in (
            (TREES | {"iterations": 60}, "isotonic", DEPTHS),
            (TREES | {"iterations": 200, "class_weights": "balanced", "early_stopping_rounds": 50}, "beta", None),
            (TREES | {"iterations": 200}, "none", None),
            (LINEAR, "beta", PENALTY),
            (CARD, "platt", None),
        ):
            result = train(make_spec(learner, calibration={"method": method}, tuning=tuning), table, quiet)
            lines.append(f"{n} {learner['kind']} {method} {result.scorer.digest} {digest_of(result.report)}")
    return lines


if __name__ == "__main__":
    print("\n".join(fingerprint()))

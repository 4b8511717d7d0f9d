"""The frozen scorer against CatBoost's own calls, in one run: 30 inputs, 300 trees, depth 6.

Run: ``python benchmarks/scoring.py [--rows 1000000]``. Both sides get one thread. Times are medians of repeated
blocks of calls; the ratio is CatBoost's time over ours, so larger is better.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd

from countermark.scoring.format import GradePart, InputPart, PlattCalibration, ScorerDocument
from countermark.scoring.from_catboost import trees_from_catboost
from countermark.scoring.frozen import FrozenScorer

LEVELS = ("a", "b", "c", "d", "e")
NUMERIC = tuple(f"x{k:02d}" for k in range(26))
TEXT = tuple(f"c{k}" for k in range(4))
TARGETS = {"one row, margin": 20.0, "one row, contributions": 500.0}


def frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NUMERIC)))
    found = pd.DataFrame(np.where(rng.random(x.shape) < 0.03, np.nan, x), columns=list(NUMERIC))
    for name in TEXT:
        found[name] = rng.choice(LEVELS, n)
    return found


def fitted() -> tuple[Any, FrozenScorer]:
    data = frame(20_000, 1)
    signal = np.nan_to_num(data["x00"]) + np.nan_to_num(data["x01"] * data["x02"]) + (data["c0"] == "a")
    y = (np.random.default_rng(2).random(len(data)) < 1 / (1 + np.exp(-signal))).astype(int)
    pool = catboost.Pool(data, y, cat_features=list(TEXT))
    model = catboost.CatBoostClassifier(
        iterations=300, depth=6, one_hot_max_size=10, border_count=128, verbose=0, thread_count=1, random_seed=1,
        allow_writing_files=False,
    )  # fmt: skip
    model.fit(pool)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json", pool=pool)
        export = json.loads(path.read_text(encoding="utf-8"))
    inputs = (
        *(InputPart(name=name, type="numeric") for name in NUMERIC),
        *(InputPart(name=name, type="categorical", levels=LEVELS, unseen="accept") for name in TEXT),
    )
    document = ScorerDocument(
        inputs=inputs,
        model=trees_from_catboost(export, inputs),
        calibration=PlattCalibration(slope=0.9, intercept=-0.1),
        grades=tuple(GradePart(name=str(k), upper=u, pd=u / 2) for k, u in enumerate((0.1, 0.3, 0.6, 1.0))),
    )
    return model, FrozenScorer.from_bytes(FrozenScorer(document).to_bytes())


def seconds(call: Callable[[], object], *, calls: int, repeats: int = 7) -> float:
    """Median seconds per call."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - start) / calls)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    start = time.perf_counter()
    model, scorer = fitted()
    print(f"fitted and frozen in {time.perf_counter() - start:.1f} s; file of {len(scorer.to_bytes()) / 1e3:.0f} kB")
    small = frame(1, 3).fillna(0.25)
    row: dict[str, Any] = {name: float(small[name][0]) for name in NUMERIC} | {n: str(small[n][0]) for n in TEXT}
    holed = row | {"x05": None}
    values = list(row.values())
    one = catboost.Pool([values], cat_features=list(range(len(NUMERIC), len(values))))
    start = time.perf_counter()
    scorer.score_row(row, contributions=True)
    print(f"first call, kernels compiled or read from the cache: {time.perf_counter() - start:.2f} s")

    def list_call() -> object:
        return model.predict(values, prediction_type="RawFormulaVal", thread_count=1)

    def shap_call() -> object:
        return model.get_feature_importance(one, type="ShapValues", thread_count=1)

    ours = seconds(lambda: scorer.score_row(row), calls=2000)
    report("one row, margin", seconds(list_call, calls=200), ours)
    report(
        "one row, one value missing",
        seconds(list_call, calls=200),
        seconds(lambda: scorer.score_row(holed), calls=2000),
    )
    named = seconds(lambda: model.predict(small, prediction_type="RawFormulaVal", thread_count=1), calls=50)
    report("one row by name (their data frame)", named, seconds(lambda: scorer.score_row(row), calls=2000))
    theirs = seconds(shap_call, calls=5, repeats=5)
    report("one row, contributions", theirs, seconds(lambda: scorer.score_row(row, contributions=True), calls=2000))
    batch(model, scorer, rows)


def batch(model: Any, scorer: FrozenScorer, rows: int) -> None:
    data = frame(min(rows, 100_000), 5)
    data = pd.concat([data] * -(-rows // len(data)), ignore_index=True).iloc[:rows]
    columns: dict[str, Any] = {name: data[name].to_numpy(dtype=np.float64) for name in NUMERIC}
    columns |= {name: data[name].to_numpy(dtype=object) for name in TEXT}
    start = time.perf_counter()
    pool = catboost.Pool(data, cat_features=list(TEXT))
    pooled = time.perf_counter() - start
    raw = model.predict(pool, prediction_type="RawFormulaVal", thread_count=1)
    margins = scorer.margin(columns)
    same = margins.tobytes() == np.asarray(raw).tobytes()
    print(f"{rows} rows: scores bit-equal to CatBoost's: {same}")
    if not same:
        raise SystemExit("scores differ")

    def theirs() -> object:
        return model.predict(pool, prediction_type="RawFormulaVal", thread_count=1)

    report(
        f"{rows} rows, margin, from columns",
        pooled + seconds(theirs, calls=1, repeats=3),
        seconds(lambda: scorer.margin(columns), calls=1, repeats=3),
    )
    fewer = {name: values[:20_000] for name, values in columns.items()}
    part = pool.slice(list(range(min(20_000, rows))))
    report(f"{min(20_000, rows)} rows, contributions",
           seconds(lambda: model.get_feature_importance(part, type="ShapValues", thread_count=1), calls=1, repeats=3),
           seconds(lambda: scorer.contributions(fewer), calls=1, repeats=3))  # fmt: skip


def report(what: str, theirs: float, ours: float) -> None:
    target = f"   (aim {TARGETS[what]:.0f}x)" if what in TARGETS else ""
    print(f"{what:38s} CatBoost {theirs * 1e6:12.1f} us   frozen {ours * 1e6:12.1f} us   {theirs / ours:8.1f}x{target}")


if __name__ == "__main__":
    main()

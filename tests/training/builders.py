"""Small specs and data sets for the tests of the training room."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from countermark.config.learner import StratifiedSplit
from countermark.config.spec import ModelSpec
from countermark.training.splits import SplitRows, assign_samples
from countermark.training.table import TrainingTable

FEATURES: dict[str, dict[str, Any]] = {
    "income": {"meaning": "Yearly income", "expected": "decreasing", "monotone": True},
    "utilisation": {"meaning": "Share of limit used", "expected": "increasing", "monotone": True},
    "age of account": {"meaning": "Months since opening"},
    "noise": {"meaning": "Nothing"},
    "region": {"meaning": "Region", "type": "categorical"},
    "branch": {"meaning": "Branch, of many", "type": "categorical"},
}
TREES = {"kind": "catboost", "iterations": 30, "depth": 4, "learning_rate": 0.2, "one_hot_max": 6}
LINEAR = {"kind": "logistic"}
CARD = {"kind": "scorecard"}
SPLIT = StratifiedSplit(kind="stratified", seed=3)


def make_spec(learner: dict[str, Any], features: dict[str, dict[str, Any]] = FEATURES, **changes: Any) -> ModelSpec:
    """A spec whose training part is the given one."""
    spec: dict[str, Any] = {
        "name": "demo_pd",
        "title": "Demo",
        "kind": "pd",
        "version": "1.0.0",
        "as_of": "2026-01-01",
        "identity": {"owner": "o", "developer": "d"},
        "tiering": dict.fromkeys(("exposure", "purpose", "complexity", "interconnection", "data_quality"), "low")
        | {"is_model": "yes"},
        "purpose": {
            "decision": "d",
            "population": "p",
            "permitted": ("a",),
            "prohibited": ("b",),
            "affected": "c",
            "automated": False,
            "natural_persons": True,
            "can_decline": True,
        },
        "source": {
            "kind": "csv",
            "name": "demo",
            "title": "t",
            "owner": "o",
            "licence": "none",
            "personal_data": "none",
            "time_zone": "UTC",
            "currency": "none",
            "path": "demo.csv",
        },
        "contract": {"name": "demo", "columns": {"y": {"type": "integer"}}},
        "data": {},
        "outcome": {"column": "y", "definition": "d", "maturity": {"basis": "none"}},
        "features": features,
        "split": SPLIT.model_dump(),
        "learner": learner,
        "calibration": {"method": "platt"},
        "grades": {"scale": {"kind": "quantile", "count": 5}},
        "decision": {"name": "d", "version": "1.0.0", "cutoff": 0.5, "cutoff_rationale": "r"},
        "policy": {
            "name": "p",
            "version": "1.0.0",
            "owner": "o",
            "source_note": "s",
            "limits": {},
            "gating": {},
            "seed": 11,
        },
    }
    return ModelSpec.model_validate(spec | changes)


def columns(n: int, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Inputs with missing values, a small category and a large one."""
    rng = np.random.default_rng(seed)
    income = np.exp(rng.normal(10, 0.5, n))
    income[rng.random(n) < 0.08] = np.nan
    region = np.array(["north", "south", "east", None], dtype=object)[rng.integers(0, 4, n)]
    branch = np.array([f"b{i:02d}" for i in range(20)], dtype=object)[rng.integers(0, 20, n)]
    return {
        "income": income,
        "utilisation": rng.random(n),
        "age of account": rng.integers(1, 200, n).astype(np.float64),
        "noise": rng.normal(size=n),
        "region": region,
        "branch": branch,
    }


def true_margin(features: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The log odds that outcomes are drawn from."""
    income = np.nan_to_num(np.log(features["income"]), nan=9.5)
    branch = np.array([int(b[1:]) if b is not None else 0 for b in features["branch"]]) % 7
    north = np.array([r == "north" for r in features["region"]], dtype=np.float64)
    return -1.2 * (income - 10) + 2.0 * (features["utilisation"] - 0.5) + 0.8 * north + 0.15 * branch - 1.5


def make_table(n: int = 3000, seed: int = 1, **changes: Any) -> TrainingTable:
    """A data set split by the stratified split."""
    features = columns(n, seed) | changes.pop("features", {})
    rng = np.random.default_rng(seed + 1)
    y = (rng.random(n) < expit(true_margin(columns(n, seed)))).astype(np.int8)
    key = np.array([f"k{i}" for i in range(n)], dtype=object)
    sample = assign_samples(SPLIT, SplitRows(key=key, y=y)).sample
    return TrainingTable(**({"features": features, "y": y, "sample": sample, "key": key} | changes))


def quiet(_: str) -> None:
    """A progress callback that says nothing."""

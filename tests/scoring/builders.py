"""Small real scorers of every kind, and columns to feed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.scoring.format import (
    BetaCalibration,
    Calibration,
    Encoding,
    GradePart,
    IndicatorTerm,
    InputPart,
    LevelBins,
    LinearModel,
    MissingTerm,
    NoCalibration,
    NumericBins,
    PlattCalibration,
    Points,
    ScorecardModel,
    ScorerDocument,
    StandardisedTerm,
    Tree,
    TreesModel,
)
from countermark.scoring.frozen import FrozenScorer

LEVELS = ("car", "home", "other")
INPUTS = (
    InputPart(name="income", type="numeric"),
    InputPart(name="purpose", type="categorical", levels=LEVELS, unseen="accept"),
    InputPart(name="dti", type="numeric"),
    InputPart(name="state", type="categorical", levels=("CA", "NY", "TX", "WA"), unseen="missing"),
    InputPart(name="age", type="numeric", missing="refuse"),
)
GRADES = tuple(
    GradePart(name=name, upper=upper, pd=pd)
    for name, upper, pd in (("A", 0.1, 0.05), ("B", 0.3, 0.2), ("C", 0.6, 0.45), ("D", 1.0, 0.8))
)
STATE_WOE = (0.3, -0.2, 0.05, -0.4, 0.1, 0.0)


def trees_document(seed: int = 0, *, count: int = 12, depth: int = 4, zero_leaves: bool = True) -> ScorerDocument:
    """Random symmetric trees over numeric, one-hot and encoded inputs, with empty leaves as CatBoost makes them."""
    rng = np.random.default_rng(seed)
    trees = []
    for _ in range(count):
        size = int(rng.integers(0, depth + 1)) if depth else 0
        splits: list[tuple[int, Any, float]] = []
        for _ in range(size):
            k = int(rng.integers(len(INPUTS)))
            if INPUTS[k].name == "purpose":
                splits.append((k, "is", float(rng.integers(INPUTS[k].codes))))
            else:
                splits.append((k, "gt", float(np.float32(np.round(rng.normal(scale=0.5), 1)))))
        weights = rng.integers(1, 50, 1 << size).astype(float)
        leaves = rng.normal(size=1 << size) * 0.3
        if zero_leaves and size > 1:
            empty = rng.random(1 << size) < 0.3
            empty[int(rng.integers(1 << size))] = False
            weights[empty], leaves[empty] = 0.0, 0.0
        trees.append(Tree(splits=tuple(splits), leaves=tuple(leaves.tolist()), weights=tuple(weights.tolist())))
    model = TreesModel(
        trees=tuple(trees),
        scale=0.7,
        bias=-0.9,
        missing_passes=(2,),
        encodings=(Encoding(input=3, values=STATE_WOE),),
    )
    return ScorerDocument(
        inputs=INPUTS, model=model, calibration=PlattCalibration(slope=1.1, intercept=-0.2), grades=GRADES
    )


def linear_document(calibration: Calibration | None = None) -> ScorerDocument:
    """Standardised numbers with fill and clip, a missing flag, one-hot levels."""
    model = LinearModel(
        intercept=-1.3,
        terms=(
            StandardisedTerm(
                input=0, mean=0.1, scale=1.2, coefficient=-0.8, background=0.02, fill=-0.3, clip=(-2.0, 2.0)
            ),
            MissingTerm(input=0, coefficient=0.45, background=0.04),
            StandardisedTerm(input=2, mean=0.2, scale=0.9, coefficient=0.6, background=-0.01, fill=0.0),
            StandardisedTerm(input=4, mean=0.0, scale=1.0, coefficient=-0.15, background=0.0),
            *(
                IndicatorTerm(input=1, code=code, coefficient=value, background=share)
                for code, (value, share) in enumerate(((0.2, 0.3), (-0.4, 0.3), (0.1, 0.2), (0.5, 0.1), (0.05, 0.1)))
            ),
            IndicatorTerm(input=3, code=1, coefficient=0.3, background=0.25),
        ),
    )
    return ScorerDocument(inputs=INPUTS, model=model, calibration=calibration or NoCalibration(), grades=GRADES)


def scorecard_document() -> ScorerDocument:
    """Weights of evidence of numbers and levels, missing and unseen, with points."""
    model = ScorecardModel(
        intercept=-1.1,
        characteristics=(
            NumericBins(
                input=0, edges=(-0.5, 0.0, 0.7), woe=(-0.6, -0.1, 0.2, 0.5), missing_woe=-0.3,
                coefficient=-0.9, background=0.03,
            ),
            LevelBins(input=1, woe=(0.1, 0.4, -0.3, -0.2, 0.0), coefficient=-1.1, background=0.01),
            NumericBins(input=2, edges=(), woe=(0.15,), missing_woe=-0.15, coefficient=-0.7, background=0.1),
            LevelBins(input=3, woe=STATE_WOE, coefficient=-0.8, background=-0.02),
        ),
        points=Points(factor=28.85, offset=487.1),
    )  # fmt: skip
    return ScorerDocument(inputs=INPUTS, model=model, calibration=BetaCalibration(a=0.9, b=1.1, c=0.1), grades=GRADES)


def regression_document() -> ScorerDocument:
    """The linear model under the identity link: the margin is the prediction."""
    return ScorerDocument(inputs=INPUTS, model=linear_document().model, link="identity")


DOCUMENTS = {
    "trees": trees_document,
    "linear": linear_document,
    "scorecard": scorecard_document,
}


def scorer(kind: str) -> FrozenScorer:
    """A scorer of the kind."""
    return FrozenScorer(DOCUMENTS[kind]())


def columns(n: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Columns with missing values, unseen levels, values on borders and extremes."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for part in INPUTS:
        if part.type == "numeric":
            x = np.where(rng.random(n) < 0.5, rng.normal(size=n), np.round(rng.normal(scale=0.5, size=n), 1))
            x = np.where(rng.random(n) < 0.02, rng.choice([-1e300, 1e300, -0.0, 5e-324], n), x)
            found[part.name] = x if part.missing == "refuse" else np.where(rng.random(n) < 0.15, np.nan, x)
        else:
            values = np.array([*(part.levels or ()), "never seen", None], dtype=object)
            found[part.name] = values[rng.integers(values.size, size=n)]
    return found


def row(table: Mapping[str, NDArray[Any]], r: int) -> dict[str, Any]:
    """One row as plain Python values; every other missing number is None instead of NaN."""
    found: dict[str, Any] = {}
    for name, values in table.items():
        value = values[r]
        if isinstance(value, np.floating):
            value = None if np.isnan(value) and r % 2 else float(value)
        found[name] = value
    return found

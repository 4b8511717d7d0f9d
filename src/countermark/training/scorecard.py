"""The scorecard: monotone weight-of-evidence bins, logistic regression on them, points.

Bins come from optbinning, one worker and without a clock: only its solver's proof of optimality ends a search.
Weights of evidence and coefficients are rounded, and the rounded scorecard is the model.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from countermark.config.learner import ScorecardLearner
from countermark.errors import TrainingError
from countermark.records.digest import round_significant
from countermark.scoring.format import Characteristic, InputPart, LevelBins, NumericBins, Points, ScorecardModel
from countermark.training.fitted import Fitted
from countermark.training.newton import FloatArray, fit_logistic, settle
from countermark.training.table import (
    Input,
    Rows,
    categorical_input,
    level_codes,
    levels_of,
    missing_rows,
    numeric_input,
    rounded,
)
from countermark.training.woe import information_value, risk_woe, totals

PRIOR_ROWS = 1.0
"""Rows at the sample's event rate added to every bin, so that a pure bin has a finite weight."""

_NO_CLOCK = 10**9
"""Seconds: the solver must end by proof. A build that hits a real limit would differ between machines."""


@dataclass(frozen=True, slots=True)
class _Binned:
    """One binned input: bin of each development row, and what becomes of it."""

    item: Input
    part: InputPart
    bins: NDArray[np.int64]
    woe: FloatArray
    iv: float
    edges: tuple[float, ...] | None
    groups: tuple[int, ...] | None
    rows: list[dict[str, Any]]


def fit_scorecard(learner: ScorecardLearner, inputs: tuple[Input, ...], rows: Rows) -> Fitted:
    """Fit on development rows.

    An input below ``min_iv`` is left out (the strongest stays in any case), and so is one whose coefficient comes out
    negative beside the others: its weight of evidence already has the direction of risk.

    Args:
        learner: Bins, selection, penalty and the scale of points.
        inputs: Declared inputs.
        rows: Development rows, outcome 0 or 1.

    Raises:
        TrainingError: If no input can be binned.
    """
    rate = float(rows.y.mean())
    binned = [entry for entry in (_bin(learner, item, rows, rate) for item in inputs) if entry is not None]
    if not binned:
        raise TrainingError(
            "no input can be binned for the scorecard",
            expected="an input whose event rate differs between bins",
            got=f"{len(inputs)} inputs with a single bin each",
            hint="lower 'learner.min_bin_size', or use learner 'logistic'",
        )
    strongest = max(entry.iv for entry in binned)
    chosen = [entry for entry in binned if entry.iv >= learner.min_iv or entry.iv == strongest]
    chosen, reversed_inputs, coefficients, intercept = _fit_positive(learner, chosen, rows)
    model = _model(learner, chosen, coefficients, intercept)
    report = {
        "points": {
            "points_to_double_odds": learner.points_to_double_odds,
            "base_points": learner.base_points,
            "base_odds": learner.base_odds,
        },
        "intercept": model.intercept,
        "information_value": {entry.item.name: rounded(entry.iv) for entry in binned},
        "left_out": {
            "single_bin": [i.name for i in inputs if i.name not in {e.item.name for e in binned}],
            "low_information": [e.item.name for e in binned if e.iv < learner.min_iv and e.iv != strongest],
            "reversed": reversed_inputs,
        },
        "characteristics": _points_table(model, chosen),
    }
    return Fitted(tuple(entry.part for entry in chosen), model, report)


def _bin(learner: ScorecardLearner, item: Input, rows: Rows, rate: float) -> _Binned | None:
    values = rows.columns[item.name]
    missing = missing_rows(values)
    if item.type == "numeric":
        edges = _edges(learner, item, values[~missing].astype(np.float64), rows.y[~missing])
        codes = np.where(missing, len(edges) + 1, np.searchsorted(edges, values.astype(np.float64), side="right"))
        part, groups, labels = numeric_input(item.name), None, _interval_labels(edges)
        size, of_missing = len(edges) + 2, len(edges) + 1
    else:
        edges = None
        part = categorical_input(item.name, levels_of(values))
        groups, labels = _level_groups(learner, part, values, rows)
        codes = np.asarray(groups)[level_codes(values, part.levels or ())]
        size, of_missing = len(labels) + 2, len(labels)
    labels = [*labels, "(missing)"]
    events, n = totals(codes.astype(np.int64), rows.y, size)
    if int(np.count_nonzero(n)) < 2:
        return None
    woe = np.array(
        [settle(float(v), learner.significant_digits) for v in risk_woe(events, n, rate=rate, prior=PRIOR_ROWS)]
    )
    table = [
        {"bin": label, "n": int(n[k]), "events": int(events[k]), "woe": float(woe[k])}
        for k, label in enumerate(labels)
        if k != of_missing or n[k] > 0
    ]
    return _Binned(
        item,
        part,
        codes.astype(np.int64),
        woe,
        information_value(events, n),
        None if edges is None else tuple(edges.tolist()),
        groups,
        table,
    )


def _edges(learner: ScorecardLearner, item: Input, x: FloatArray, y: FloatArray) -> FloatArray:
    """Edges of monotone bins: in the enforced direction, else in the one that tells more."""
    if x.size == 0 or x.min() == x.max() or y.min() == y.max():
        return np.empty(0)
    trends: dict[int, tuple[Literal["ascending", "descending"], ...]] = {
        1: ("ascending",),
        -1: ("descending",),
        0: ("ascending", "descending"),
    }
    best, best_iv = np.empty(0), -1.0
    for trend in trends[item.direction]:
        edges = np.unique(np.asarray(_solve(learner, item, x, y, trend).splits, dtype=np.float64))
        iv = information_value(*totals(np.searchsorted(edges, x, side="right"), y, edges.size + 1))
        if iv > best_iv + 1e-9:
            best, best_iv = edges, iv
    return best


def _level_groups(
    learner: ScorecardLearner, part: InputPart, values: NDArray[Any], rows: Rows
) -> tuple[tuple[int, ...], list[str]]:
    """Group number of every code (levels, missing, unseen), and the groups' labels."""
    levels = part.levels or ()
    known = ~missing_rows(values)
    if len(levels) == 1 or rows.y[known].min() == rows.y[known].max():
        found = [list(levels)]
    else:
        item = Input(part.name, "categorical")
        found = [
            [str(v) for v in group] for group in _solve(learner, item, values[known], rows.y[known], "ascending").splits
        ]
    home = {level: k for k, group in enumerate(found) for level in group}
    left = [level for level in levels if level not in home]
    if left:
        found.append(left)
        home |= {level: len(found) - 1 for level in left}
    labels = [" | ".join(sorted(group)) for group in found]
    # Codes after the groups: missing, then unseen, which no development row has and so weighs nothing.
    return (*(home[level] for level in levels), len(found), len(found) + 1), labels


def _solve(learner: ScorecardLearner, item: Input, x: NDArray[Any], y: FloatArray, trend: str) -> Any:
    solver = _optimal_binning()(
        name=item.name,
        dtype="numerical" if item.type == "numeric" else "categorical",
        solver="cp",
        max_n_bins=learner.max_bins,
        min_prebin_size=min(learner.min_bin_size, 0.05),
        min_bin_size=learner.min_bin_size,
        monotonic_trend=trend,
        time_limit=_NO_CLOCK,
        random_state=0,
    )
    solver.fit(x, y.astype(np.int64))
    if solver.status != "OPTIMAL":
        raise TrainingError(
            f"no bins satisfy the scorecard's rules for input '{item.name}'",
            expected="bins of the declared smallest size and direction",
            got=str(solver.status).lower(),
            hint="lower 'learner.min_bin_size'",
        )
    return solver


def _optimal_binning() -> Any:
    """The class of optbinning, imported late: it brings two solver suites and takes seconds.

    One of them prints the solvers it could not load to standard output; none of those is used here.
    """
    chatter = logging.getLogger("__cvxpy__")
    before, chatter.disabled = chatter.disabled, True
    try:
        from optbinning import OptimalBinning
    finally:
        chatter.disabled = before
    return OptimalBinning


def _fit_positive(
    learner: ScorecardLearner, chosen: list[_Binned], rows: Rows
) -> tuple[list[_Binned], list[str], FloatArray, float]:
    reversed_inputs: list[str] = []
    while True:
        design = np.column_stack([entry.woe[entry.bins] for entry in chosen])
        coefficients, intercept = fit_logistic(design, rows.y, penalty=1.0 / learner.c)
        worst = int(np.argmin(coefficients))
        if coefficients[worst] > 0 or len(chosen) == 1:
            return chosen, reversed_inputs, coefficients, intercept
        reversed_inputs.append(chosen[worst].item.name)
        chosen = [entry for k, entry in enumerate(chosen) if k != worst]


def _model(
    learner: ScorecardLearner, chosen: list[_Binned], coefficients: FloatArray, intercept: float
) -> ScorecardModel:
    characteristics: list[Characteristic] = []
    for k, (entry, value) in enumerate(zip(chosen, coefficients, strict=True)):
        coefficient = settle(float(value), learner.significant_digits)
        background = rounded(round(float(entry.woe[entry.bins].mean()), 12))
        if entry.edges is not None:
            characteristics.append(
                NumericBins(
                    input=k,
                    edges=entry.edges,
                    woe=tuple(entry.woe[:-1].tolist()),
                    missing_woe=float(entry.woe[-1]),
                    coefficient=coefficient,
                    background=background,
                )
            )
        else:
            woe = tuple(float(entry.woe[group]) for group in entry.groups or ())
            characteristics.append(LevelBins(input=k, woe=woe, coefficient=coefficient, background=background))
    return ScorecardModel(
        intercept=settle(intercept, learner.significant_digits),
        characteristics=tuple(characteristics),
        points=points_scale(learner),
    )


def points_scale(learner: ScorecardLearner) -> Points:
    """Factor and offset of ``points = offset - factor * margin``.

    ``base_points`` stand for odds of ``base_odds`` good to one bad, and ``points_to_double_odds`` more points for
    twice those odds: ``factor = pdo / ln 2``, ``offset = base_points - factor ln(base_odds)`` (Siddiqi, 2006).
    """
    factor = learner.points_to_double_odds / math.log(2.0)
    offset = learner.base_points - factor * math.log(learner.base_odds)
    return Points(factor=round_significant(factor, 9), offset=round_significant(offset, 9))


def _points_table(model: ScorecardModel, chosen: list[_Binned]) -> list[dict[str, Any]]:
    """Points per bin. The intercept's points are spread evenly, so that a row's points are the sum of its bins'."""
    share = (model.points.offset - model.points.factor * model.intercept) / len(chosen)
    return [
        {
            "input": entry.item.name,
            "coefficient": item.coefficient,
            "information_value": rounded(entry.iv),
            "bins": [
                row | {"points": rounded(share - model.points.factor * item.coefficient * row["woe"])}
                for row in entry.rows
            ],
        }
        for entry, item in zip(chosen, model.characteristics, strict=True)
    ]


def _interval_labels(edges: FloatArray) -> list[str]:
    texts = [f"{edge:.6g}" for edge in edges]
    if not texts:
        return ["any value"]
    middle = [f"{low} to below {high}" for low, high in pairwise(texts)]
    return [f"below {texts[0]}", *middle, f"{texts[-1]} and above"]

"""The master scale of a model: bounds and PDs of its grades, frozen from the calibration sample."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from countermark.config.learner import FixedGrades, Grades, QuantileGrades
from countermark.config.master_scale import grade_problems
from countermark.errors import TrainingError
from countermark.records.digest import round_significant
from countermark.training.newton import FloatArray

PD_DIGITS = 6
BOUND_DIGITS = 7
"""As many as calibrated plateaus have, so that a bound never cuts one by rounding."""

_SMALLEST_SHARE = 0.5
"""Least rows of a quantile grade, as a part of its equal share."""


@dataclass(frozen=True, slots=True)
class GradeRow:
    """One grade.

    Attributes:
        name: Printed name.
        upper: Largest probability of the grade, included.
        pd: PD of the grade.
        n: Calibration rows in it.
        events: Their events (None where the outcome is not 0 or 1).
    """

    name: str
    upper: float
    pd: float
    n: int
    events: int | None


@dataclass(frozen=True, slots=True)
class MasterScale:
    """Grades, best first, and what was merged on the way.

    Attributes:
        rows: The grades; bounds and PDs strictly ascending.
        declared: Grades that the spec asks for.
        merged: One sentence per merge.
    """

    rows: tuple[GradeRow, ...]
    declared: int
    merged: tuple[str, ...]


def fit_grades(grades: Grades, p: FloatArray, y: NDArray[np.float64], *, amounts: bool = False) -> MasterScale:
    """Bounds and PDs of the grades from calibrated probabilities; pools and their values from estimated amounts.

    PD of a grade is the mean calibrated probability of its calibration rows, unless policy fixes it. Quantile
    bounds that coincide, grades with too few rows (none for a fixed scale, under half of an equal share for quantiles)
    and grades whose PDs do not differ are merged, and that is recorded.

    Args:
        grades: The declared scale.
        p: Calibrated probabilities, or estimates, of the calibration sample, float64 (n,).
        y: Outcome of the same rows (n,).
        amounts: ``p`` are estimates of an amount: bounds may lie anywhere, and the last quantile pool ends at the
            largest estimate. Estimates beyond the last bound belong to the last pool.

    Raises:
        TrainingError: If bounds or PDs of a fixed scale are not ascending, or names do not fit their number.
    """
    for problem in grade_problems(grades, amounts=amounts):
        raise TrainingError(problem.what, expected=problem.expected, got=problem.got, hint=problem.hint)
    match grades.scale:
        case QuantileGrades() as scale:
            declared = scale.count
            top = round_significant(float(p.max()), BOUND_DIGITS) if amounts else 1.0
            uppers, merged = _quantile_bounds(p, scale.count, top)
            fixed_pd = None
        case FixedGrades() as scale:
            declared = len(scale.upper)
            uppers, merged, fixed_pd = list(scale.upper), [], scale.pd
    names = grades.names or tuple(f"{'P' if amounts else 'R'}{i + 1}" for i in range(declared))
    if fixed_pd is not None:
        rows = [_row(name, upper, pd, members, y) for name, upper, pd, members in _members(names, uppers, fixed_pd, p)]
        return MasterScale(tuple(rows), declared, ())
    # A fixed scale keeps the name of each surviving bound; quantile grades are counted through.
    kept = list(names) if isinstance(grades.scale, FixedGrades) else list(names[: len(uppers)])
    least = 1 if isinstance(grades.scale, FixedGrades) else max(1, int(_SMALLEST_SHARE * p.size / declared))
    uppers, kept, notes = _merge_until_ascending(uppers, kept, p, least)
    if isinstance(grades.scale, QuantileGrades):
        kept = list(names[: len(uppers)])
    pds = _mean_pds(uppers, p)
    rows = [
        _row(name, upper, pd, members, y) for name, upper, pd, members in _members(tuple(kept), uppers, tuple(pds), p)
    ]
    return MasterScale(tuple(rows), declared, tuple(merged + notes))


def _quantile_bounds(p: FloatArray, count: int, top: float) -> tuple[list[float], list[str]]:
    ordered = np.sort(p)
    bounds: list[float] = []
    merged = []
    for i in range(1, count):
        place = min(max(round(p.size * i / count), 1), p.size - 1) if p.size > 1 else 0
        bound = round_significant(0.5 * (float(ordered[place - 1]) + float(ordered[place])), BOUND_DIGITS)
        if bound >= top or (bounds and bound <= bounds[-1]):
            merged.append(f"quantile bound {i} of {count - 1} equals its neighbour ({bound:g}): grades merged")
            continue
        bounds.append(bound)
    return [*bounds, top], merged


def _merge_until_ascending(
    uppers: list[float], names: list[str], p: FloatArray, least: int
) -> tuple[list[float], list[str], list[str]]:
    notes = []
    while len(uppers) > 1:
        rows = np.bincount(grade_of(p, uppers), minlength=len(uppers))
        pds = _mean_pds(uppers, p)
        thin = next((i for i, n in enumerate(rows) if n < least), None)
        flat = next((i for i, (low, high) in enumerate(pairwise(pds)) if low >= high), None)
        place = thin if thin is not None else flat
        if place is None:
            break
        why = f"{rows[place]} calibration rows" if thin is not None else "a PD not below the next one's"
        # The bound between a grade and its worse neighbour goes; the last grade loses its lower bound.
        gone = min(place, len(uppers) - 2)
        notes.append(f"grade with upper bound {uppers[place]:g} had {why}: merged with its neighbour")
        del uppers[gone], names[gone]
    return uppers, names, notes


def _mean_pds(uppers: list[float], p: FloatArray) -> list[float]:
    grade = grade_of(p, uppers)
    return [
        round_significant(float(np.mean(p[grade == i])), PD_DIGITS) if bool((grade == i).any()) else float("nan")
        for i in range(len(uppers))
    ]


def _members(
    names: tuple[str, ...], uppers: list[float], pds: tuple[float, ...], p: FloatArray
) -> list[tuple[str, float, float, NDArray[np.bool_]]]:
    grade = grade_of(p, uppers)
    return [(names[i], uppers[i], float(pds[i]), np.asarray(grade == i)) for i in range(len(uppers))]


def _row(name: str, upper: float, pd: float, members: NDArray[np.bool_], y: NDArray[np.float64]) -> GradeRow:
    binary = bool(np.isin(y, (0, 1)).all())
    return GradeRow(name, upper, pd, int(members.sum()), int(y[members].sum()) if binary else None)


def grade_of(p: FloatArray, uppers: list[float]) -> NDArray[np.int64]:
    """Grade index of each probability; a probability on a bound belongs to the better grade."""
    return np.minimum(np.searchsorted(np.asarray(uppers), p, side="left"), len(uppers) - 1).astype(np.int64)

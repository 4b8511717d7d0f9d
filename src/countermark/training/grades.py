"""The master scale of a model: bounds and PDs of its grades, frozen from the calibration sample."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from countermark.config.learner import FixedGrades, Grades, QuantileGrades
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


def fit_grades(grades: Grades, p: FloatArray, y: NDArray[np.float64]) -> MasterScale:
    """Bounds and PDs of the grades from calibrated probabilities.

    PD of a grade is the mean calibrated probability of its calibration rows, unless policy fixes it. Quantile
    bounds that coincide, grades with too few rows (none for a fixed scale, under half of an equal share for quantiles)
    and grades whose PDs do not differ are merged, and that is recorded.

    Args:
        grades: The declared scale.
        p: Calibrated probabilities of the calibration sample, float64 (n,).
        y: Outcome of the same rows (n,).

    Raises:
        TrainingError: If bounds or PDs of a fixed scale are not ascending, or names do not fit their number.
    """
    match grades.scale:
        case QuantileGrades() as scale:
            declared = scale.count
            uppers, merged = _quantile_bounds(p, scale.count)
            fixed_pd = None
        case FixedGrades() as scale:
            _check_fixed(scale)
            declared = len(scale.upper)
            uppers, merged, fixed_pd = list(scale.upper), [], scale.pd
    names = grades.names or tuple(f"R{i + 1}" for i in range(declared))
    if len(names) != declared or len(set(names)) != len(names):
        raise TrainingError(
            "'grades.names' does not fit the scale",
            expected=f"{declared} different names",
            got=f"{len(names)} names, {len(set(names))} different",
            hint="give one name per grade, best first, or leave 'names' out",
        )
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


def _quantile_bounds(p: FloatArray, count: int) -> tuple[list[float], list[str]]:
    ordered = np.sort(p)
    bounds: list[float] = []
    merged = []
    for i in range(1, count):
        place = min(max(round(p.size * i / count), 1), p.size - 1) if p.size > 1 else 0
        bound = round_significant(0.5 * (float(ordered[place - 1]) + float(ordered[place])), BOUND_DIGITS)
        if bound >= 1.0 or (bounds and bound <= bounds[-1]):
            merged.append(f"quantile bound {i} of {count - 1} equals its neighbour ({bound:g}): grades merged")
            continue
        bounds.append(bound)
    return [*bounds, 1.0], merged


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


def _check_fixed(scale: FixedGrades) -> None:
    if scale.upper[-1] != 1.0 or any(low >= high for low, high in pairwise((0.0, *scale.upper))):
        raise TrainingError(
            "'grades.scale.upper' is not a scale",
            expected="ascending bounds above 0, the last one 1",
            got=", ".join(f"{bound:g}" for bound in scale.upper),
            hint="list the upper PD bound of each grade, best grade first",
        )
    if scale.pd is None:
        return
    edges = (0.0, *scale.upper)
    inside = len(scale.pd) == len(scale.upper) and all(
        low <= pd <= high for low, pd, high in zip(edges, scale.pd, scale.upper, strict=False)
    )
    if not inside or any(low >= high for low, high in pairwise(scale.pd)):
        raise TrainingError(
            "'grades.scale.pd' does not fit its bounds",
            expected="one ascending PD per bound, inside its grade",
            got=", ".join(f"{pd:g}" for pd in scale.pd),
            hint="leave 'pd' out to freeze the mean predicted PD",
        )


def grade_of(p: FloatArray, uppers: list[float]) -> NDArray[np.int64]:
    """Grade index of each probability; a probability on a bound belongs to the better grade."""
    return np.minimum(np.searchsorted(np.asarray(uppers), p, side="left"), len(uppers) - 1).astype(np.int64)

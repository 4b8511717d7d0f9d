"""Kernels from margin to probability and from probability to grade.

All are non-decreasing, up to the last bit of the exponential.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.jit import kernel
from countermark.scoring.exact_math import sigmoid, softplus
from countermark.scoring.format import (
    BetaCalibration,
    IsotonicCalibration,
    NoCalibration,
    PlattCalibration,
    ScorerDocument,
)

_IDENTITY, _PLATT, _LINEAR, _STEP, _BETA = range(5)
_KIND, _A, _B, _C, _KNOTS, _GRADES, _REST = range(7)
SMALLEST_PROBABILITY = 2.0**-53
"""Every probability lies in [2**-53, 1 - 2**-53]: neither 0 nor 1 is ever claimed."""


def pack(document: ScorerDocument) -> NDArray[np.float64]:
    """One array: calibration kind, its three numbers, counts of knots and grades, margins, values, upper bounds."""
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    match document.calibration:
        case NoCalibration():
            kind = _IDENTITY if document.link == "identity" else _PLATT
            numbers = (1.0, 0.0, 0.0)
        case PlattCalibration(slope=slope, intercept=intercept):
            kind, numbers = _PLATT, (slope, intercept, 0.0)
        case IsotonicCalibration() as isotonic:
            kind = _LINEAR if isotonic.between == "linear" else _STEP
            numbers, knots = (*isotonic.clip, 0.0), (isotonic.margins, isotonic.values)
        case BetaCalibration(a=a, b=b, c=c):
            kind, numbers = _BETA, (a, b, c)
    upper = [grade.upper for grade in document.grades]
    return np.array([kind, *numbers, len(knots[0]), len(upper), *knots[0], *knots[1], *upper], dtype=np.float64)


@kernel
def _between(margin: float, finish: NDArray[np.float64], at: int) -> float:
    """Isotonic value at a margin, inside the clip bounds."""
    knots, margins = np.int64(finish[at + _KNOTS]), np.int64(at) + _REST
    values = margins + knots
    k, above = np.int64(0), knots
    while k < above:  # The first knot above the margin; their number if there is none.
        middle = (k + above) // 2
        if margin < finish[margins + middle]:
            above = middle
        else:
            k = middle + 1
    if k == 0:
        value = finish[values]
    elif k == knots or finish[at + _KIND] == _STEP:
        value = finish[values + k - 1]
    else:
        low, high = finish[values + k - 1], finish[values + k]
        left = finish[margins + k - 1]
        slope = (high - low) / (finish[margins + k] - left)
        value = min(low + (margin - left) * slope, high)
    return float(min(max(value, finish[at + _A]), finish[at + _B]))


@kernel
def probability(margin: float, finish: NDArray[np.float64], at: int) -> float:
    """Calibrated probability of one margin; the margin itself under the identity link.

    Args:
        margin: The margin.
        finish: An array that holds what :func:`pack` gave.
        at: Where it starts there.
    """
    kind = finish[at + _KIND]
    if kind == _IDENTITY:
        return margin
    if kind == _PLATT:
        p = sigmoid(finish[at + _A] * margin + finish[at + _B])
    elif kind == _BETA:
        p = sigmoid(finish[at + _B] * softplus(margin) - finish[at + _A] * softplus(-margin) + finish[at + _C])
    else:
        p = _between(margin, finish, at)
    return min(max(p, SMALLEST_PROBABILITY), 1.0 - SMALLEST_PROBABILITY)


@kernel
def grade(p: float, finish: NDArray[np.float64], at: int) -> int:
    """First grade whose upper bound is not below the probability; -1 where the scorer has no grades."""
    count = np.int64(finish[at + _GRADES])
    upper = np.int64(at) + _REST + 2 * np.int64(finish[at + _KNOTS])
    k = 0
    while k < count - 1 and p > finish[upper + k]:
        k += 1
    return k if count > 0 else -1


@kernel
def probabilities(margins: NDArray[np.float64], finish: NDArray[np.float64], p: NDArray[np.float64]) -> None:
    """Probabilities of many margins, into ``p``."""
    for r in range(margins.size):
        p[r] = probability(margins[r], finish, 0)


@kernel
def grades(p: NDArray[np.float64], finish: NDArray[np.float64], index: NDArray[np.int64]) -> None:
    """Grades of many probabilities, into ``index``."""
    for r in range(p.size):
        index[r] = grade(p[r], finish, 0)

"""Kernels from margin to probability and from probability to grade.

All are non-decreasing, up to the last bit of the exponential.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.scoring.exact_math import sigmoid, softplus
from countermark.scoring.format import (
    BetaCalibration,
    IsotonicCalibration,
    NoCalibration,
    PlattCalibration,
    ScorerDocument,
)
from countermark.scoring.jit import kernel

Packed: TypeAlias = tuple[Any, ...]

_IDENTITY, _PLATT, _LINEAR, _STEP, _BETA = range(5)
SMALLEST_PROBABILITY = 2.0**-53
"""Every probability lies in [2**-53, 1 - 2**-53]: neither 0 nor 1 is ever claimed."""


def pack(document: ScorerDocument) -> Packed:
    """Calibration kind, its three numbers, its knots, and the upper bounds of the grades."""
    match document.calibration:
        case NoCalibration():
            kind = _IDENTITY if document.link == "identity" else _PLATT
            numbers, knots = [1.0, 0.0, 0.0], ([0.0], [0.0])
        case PlattCalibration(slope=slope, intercept=intercept):
            kind, numbers, knots = _PLATT, [slope, intercept, 0.0], ([0.0], [0.0])
        case IsotonicCalibration() as isotonic:
            kind = _LINEAR if isotonic.between == "linear" else _STEP
            numbers, knots = [*isotonic.clip, 0.0], (list(isotonic.margins), list(isotonic.values))
        case BetaCalibration(a=a, b=b, c=c):
            kind, numbers, knots = _BETA, [a, b, c], ([0.0], [0.0])
    return (
        kind,
        np.array(numbers, dtype=np.float64),
        np.array(knots[0], dtype=np.float64),
        np.array(knots[1], dtype=np.float64),
        np.array([grade.upper for grade in document.grades], dtype=np.float64),
    )


@kernel
def _between(margin: float, packed: Packed) -> float:
    """Isotonic value at a margin, inside the clip bounds."""
    kind, numbers, margins, values, _ = packed
    k = np.searchsorted(margins, margin, side="right")
    if k == 0:
        value = values[0]
    elif k == margins.size or kind == _STEP:
        value = values[k - 1]
    else:
        slope = (values[k] - values[k - 1]) / (margins[k] - margins[k - 1])
        value = min(values[k - 1] + (margin - margins[k - 1]) * slope, values[k])
    return float(min(max(value, numbers[0]), numbers[1]))


@kernel
def probability(margin: float, packed: Packed) -> float:
    """Calibrated probability of one margin; the margin itself under the identity link."""
    kind, numbers = packed[0], packed[1]
    if kind == _IDENTITY:
        return margin
    if kind == _PLATT:
        p = sigmoid(numbers[0] * margin + numbers[1])
    elif kind == _BETA:
        p = sigmoid(numbers[1] * softplus(margin) - numbers[0] * softplus(-margin) + numbers[2])
    else:
        p = _between(margin, packed)
    return min(max(p, SMALLEST_PROBABILITY), 1.0 - SMALLEST_PROBABILITY)


@kernel
def grade(p: float, packed: Packed) -> int:
    """First grade whose upper bound is not below the probability; -1 where the scorer has no grades."""
    upper = packed[4]
    if upper.size == 0:
        return -1
    k = 0
    while k < upper.size - 1 and p > upper[k]:
        k += 1
    return k


@kernel
def probabilities(margins: NDArray[np.float64], packed: Packed, p: NDArray[np.float64]) -> None:
    """Probabilities of many margins, into ``p``."""
    for r in range(margins.size):
        p[r] = probability(margins[r], packed)


@kernel
def grades(p: NDArray[np.float64], packed: Packed, index: NDArray[np.int64]) -> None:
    """Grades of many probabilities, into ``index``."""
    for r in range(p.size):
        index[r] = grade(p[r], packed)

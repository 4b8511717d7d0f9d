"""Maps from margin to probability, fitted on the calibration sample: Platt, beta, isotonic.

Only fitting lives here; evaluation of a frozen map is the scorer's. Margins are rounded first, so that rows whose
margins are equal but for the last bit are equal everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from countermark.errors import TrainingError
from countermark.metrics.reliability import pav
from countermark.scoring.format import BetaCalibration, IsotonicCalibration, NoCalibration, PlattCalibration
from countermark.training.newton import FloatArray, fit_logistic, settle

MARGIN_DECIMALS = 9
"""Margins are compared and pooled on this grid."""

PARAMETER_DIGITS = 7

_SMALLEST_SLOPE = 1e-3
"""Least slope that is frozen: a map must keep the order of the margins, even of a model that knows nothing."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The pooled blocks of an isotonic fit, in ascending margin.

    Attributes:
        low: Smallest margin of each block, float64 (b,).
        high: Largest margin of each block, float64 (b,).
        p: Probability of each block, float64 (b,), strictly ascending, never 0 or 1.
        n: Rows of each block, int64 (b,).
    """

    low: FloatArray
    high: FloatArray
    p: FloatArray
    n: NDArray[np.int64]


def fit_platt(margin: FloatArray, y: NDArray[np.int8]) -> tuple[float, float]:
    """Slope and intercept of ``logit p = slope * margin + intercept``.

    Platt (1999) with his smoothed targets ``(N+ + 1)/(N+ + 2)`` and ``1/(N- + 2)``, which keep a perfectly ranked
    sample finite. A slope below 0.001 is held there: the order of the margins is the model's and is not turned.

    Args:
        margin: Raw scores of the calibration sample, float64 (n,).
        y: Outcome (n,), 1 = event.

    Raises:
        TrainingError: If all margins are equal.
    """
    x = _checked(margin)[:, None]
    target = _targets(y)
    (slope,), intercept = fit_logistic(x, target)
    if slope < _SMALLEST_SLOPE:
        slope = _SMALLEST_SLOPE
        intercept = _intercept_for(x[:, 0] * slope, target)
    return settle(float(slope), PARAMETER_DIGITS), settle(intercept, PARAMETER_DIGITS)


def fit_beta(margin: FloatArray, y: NDArray[np.int8]) -> tuple[float, float, float]:
    """Parameters of ``logit p = a ln(s) - b ln(1 - s) + c`` with ``s = 1 / (1 + exp(-margin))``.

    Kull, Silva Filho and Flach (2017), with their sign rule: where ``a`` or ``b`` comes out negative it is set to 0
    and the others are fitted again, so that the map never turns.

    Args:
        margin: Raw scores of the calibration sample, float64 (n,).
        y: Outcome (n,), 1 = event.

    Raises:
        TrainingError: If all margins are equal.
    """
    m = _checked(margin)
    target = _targets(y)
    # ln(s) and -ln(1 - s), both without overflow.
    parts = np.column_stack([-np.logaddexp(0.0, -m), np.logaddexp(0.0, m)])
    free = [0, 1]
    coefficients = np.zeros(2)
    while free:
        fitted, intercept = fit_logistic(parts[:, free], target)
        if bool((fitted >= 0).all()):
            coefficients[free] = fitted
            break
        free.remove(free[int(np.argmin(fitted))])
    if coefficients.sum() < _SMALLEST_SLOPE:
        coefficients[:] = _SMALLEST_SLOPE
        intercept = _intercept_for(parts @ coefficients, target)
    a, b = (settle(float(value), PARAMETER_DIGITS) for value in coefficients)
    return a, b, settle(intercept, PARAMETER_DIGITS)


def fit_isotonic(margin: FloatArray, y: NDArray[np.int8]) -> Blocks:
    """Non-decreasing event rate by pool-adjacent-violators, equal margins pooled first.

    The first and last block are kept inside ``1/(N + 2)`` and ``1 - 1/(N + 2)`` with N the calibration rows: no
    probability is 0 or 1 because a sample was short.

    Args:
        margin: Raw scores of the calibration sample, float64 (n,).
        y: Outcome (n,), 1 = event.

    Raises:
        TrainingError: If all margins are equal.
    """
    value, inverse, count = np.unique(_checked(margin), return_inverse=True, return_counts=True)
    events = np.bincount(inverse, weights=y.astype(np.float64))
    rate = pav(count, events)
    first = np.flatnonzero(np.concatenate([[True], rate[1:] != rate[:-1]]))
    last = np.concatenate([first[1:] - 1, [value.size - 1]])
    floor = 1.0 / (y.size + 2)
    return Blocks(
        low=value[first],
        high=value[last],
        p=np.array([settle(min(max(float(r), floor), 1.0 - floor), PARAMETER_DIGITS) for r in rate[first]]),
        n=np.add.reduceat(count, first).astype(np.int64),
    )


def fit_calibration(
    method: Literal["none", "platt", "isotonic", "beta"], margin: FloatArray, y: NDArray[np.int8]
) -> NoCalibration | PlattCalibration | IsotonicCalibration | BetaCalibration:
    """Fit the declared map on the calibration sample, as the scorer file keeps it.

    The isotonic map is flat inside its blocks and linear between them, so that it has no jumps.

    Args:
        method: Declared method.
        margin: Raw scores of the calibration sample, float64 (n,).
        y: Outcome (n,), 1 = event.

    Raises:
        TrainingError: If all margins are equal.
    """
    match method:
        case "none":
            return NoCalibration()
        case "platt":
            slope, intercept = fit_platt(margin, y)
            return PlattCalibration(slope=slope, intercept=intercept)
        case "beta":
            a, b, c = fit_beta(margin, y)
            return BetaCalibration(a=a, b=b, c=c)
        case "isotonic":
            blocks = fit_isotonic(margin, y)
            knots = {
                float(m): float(p) for ends in (blocks.low, blocks.high) for m, p in zip(ends, blocks.p, strict=True)
            }
            ordered = sorted(knots.items())
            floor = settle(1.0 / (y.size + 2), PARAMETER_DIGITS)
            return IsotonicCalibration(
                margins=tuple(m for m, _ in ordered),
                values=tuple(p for _, p in ordered),
                between="linear",
                clip=(floor, 1.0 - floor),
            )


def _checked(margin: FloatArray) -> FloatArray:
    rounded = np.round(margin, MARGIN_DECIMALS)
    if rounded.min() == rounded.max():
        raise TrainingError(
            "the model gives every row the same score, so it cannot be calibrated",
            expected="scores that differ",
            got=f"one score for {margin.size} rows",
            hint="check that the inputs carry information: constant columns and too strong a penalty end here",
        )
    return rounded


def _targets(y: NDArray[np.int8]) -> FloatArray:
    positive = int(np.count_nonzero(y))
    negative = y.size - positive
    return np.where(y == 1, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))


def _intercept_for(offset: FloatArray, target: FloatArray) -> float:
    """The intercept that makes the mean probability the mean target, by bisection."""
    share = float(target.mean())
    low, high = -60.0 - float(offset.max()), 60.0 - float(offset.min())
    for _ in range(200):
        middle = 0.5 * (low + high)
        if float(np.mean(expit(offset + middle))) < share:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)

"""How far are estimated amounts from what came? Coverage, errors, slope and loss capture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Floats
from countermark.metrics.challenger import PairedMean
from countermark.metrics.resampling import resampled_means

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Sum of realised over sum of estimated amounts, with a bootstrap interval."""

    ratio: float | None
    interval: Interval | None
    realised: float
    estimated: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Errors:
    """Size of the errors of estimated amounts.

    Attributes:
        mae: Mean absolute error.
        rmse: Root mean squared error.
        r_squared: 1 - mean squared error / variance of the realised amounts; below 0 the mean was a better estimate.
        reason: Why a number is None.
    """

    mae: float | None
    rmse: float | None
    r_squared: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Least-squares line of realised on estimated amounts: 1 and 0 are calibrated.

    Attributes:
        slope: Slope.
        slope_interval: Interval of the slope; standard errors hold under unequal variances (HC1).
        intercept: Intercept.
        reason: Why it is undefined.
    """

    slope: float | None
    slope_interval: Interval | None
    intercept: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LossCapture:
    """How early the largest losses come when rows are ordered by estimate.

    Attributes:
        area_model: Area under share of loss against share of exposure, in the order of the estimate, less 1/2.
        area_ideal: The same in the order of the realised loss rate.
        ratio: area_model / area_ideal; 1 is a perfect order, 0 none.
        x: Share of exposure, from 0 to 1.
        y: Share of loss in the order of the estimate.
        ideal: Share of loss in the order of the realised loss rate, at the points ``ideal_x``.
        ideal_x: Share of exposure in that order.
        reason: Why the ratio is undefined.
    """

    area_model: float | None
    area_ideal: float | None
    ratio: float | None
    x: Floats
    y: Floats
    ideal_x: Floats
    ideal: Floats
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean with Student's interval; None without two rows."""

    mean: float | None
    interval: Interval | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """Mean amount of two neighbouring pools (Welch).

    Attributes:
        difference: Mean of the higher pool minus that of the lower one.
        t: Welch's t; None where undefined.
        df: Welch-Satterthwaite degrees of freedom.
        p_inversion: H0 "the higher pool has the higher mean"; small says that the pools are in the wrong order.
        inverted: The higher pool has the lower mean.
        reason: Why it is undefined.
    """

    difference: float | None
    t: float | None
    df: float | None
    p_inversion: float | None
    inverted: bool
    reason: str | None = None


def same_rows(*columns: NDArray[Any]) -> tuple[tuple[Floats, ...], str | None]:
    """Columns of the same rows as floats, and the reason why they cannot be used, if any.

    Raises:
        EvidenceError: If lengths differ.
    """
    found = tuple(np.asarray(c, dtype=np.float64) for c in columns)
    if any(c.ndim != 1 or c.shape != found[0].shape for c in found):
        raise EvidenceError(
            "amounts of the same rows have different lengths",
            expected=f"{found[0].shape}",
            got=", ".join(str(c.shape) for c in found[1:]),
        )
    bad = max(int(np.count_nonzero(~np.isfinite(c))) for c in found)
    reason = f"{bad} amounts are missing or infinite" if bad else None
    return found, reason or (None if found[0].size else "no observations")


def coverage_ratio(
    realised: NDArray[Any],
    estimated: NDArray[Any],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Coverage:
    """Realised over estimated amounts in total: above 1 the estimates did not cover what came.

    Args:
        realised: Realised amounts (n,).
        estimated: Estimates (n,).
        resamples: Resamples of rows.
        confidence: Level of the percentile interval.
        seed: Seed of the resamples.

    Raises:
        EvidenceError: If lengths differ.
    """
    (real, est), reason = same_rows(realised, estimated)
    if reason is not None:
        return Coverage(None, None, math.nan, math.nan, reason)
    total, expected = float(np.sum(real)), float(np.sum(est))
    if expected <= 0.0:
        return Coverage(None, None, total, expected, "the estimates sum to 0 or less")
    if real.size < 2:
        return Coverage(total / expected, None, total, expected, "one row has no interval")
    means = resampled_means(np.column_stack([real, est]), resamples, seed)
    if bool(np.any(means[:, 1] <= 0.0)):
        why = "the estimates of some resamples sum to 0 or less: no interval"
        return Coverage(total / expected, None, total, expected, why)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(means[:, 0] / means[:, 1], [tail, 1.0 - tail])
    return Coverage(total / expected, (float(low), float(high)), total, expected)


def amount_errors(realised: NDArray[Any], estimated: NDArray[Any]) -> Errors:
    """Mean absolute error, root mean squared error and the share of variance explained.

    Raises:
        EvidenceError: If lengths differ.
    """
    (real, est), reason = same_rows(realised, estimated)
    if reason is not None:
        return Errors(None, None, None, reason)
    gap = real - est
    square, spread = float(np.mean(gap**2)), float(np.var(real))
    mae, rmse = float(np.mean(np.abs(gap))), math.sqrt(square)
    if spread <= 0.0:
        return Errors(mae, rmse, None, "the realised amounts do not vary")
    return Errors(mae, rmse, 1.0 - square / spread)


def calibration_line(realised: NDArray[Any], estimated: NDArray[Any], *, confidence: float = 0.95) -> Line:
    """Do realised amounts rise one for one with the estimate?

    Args:
        realised: Realised amounts (n,).
        estimated: Estimates (n,).
        confidence: Level of the interval.

    Raises:
        EvidenceError: If lengths differ.

    Source: ordinary least squares with the HC1 covariance of MacKinnon and White (1985).
    """
    (real, est), reason = same_rows(realised, estimated)
    if reason is not None:
        return Line(None, None, None, reason)
    n = int(real.size)
    centred = est - np.mean(est)
    spread = float(np.sum(centred**2))
    if n < 3 or spread <= 1e-20 * max(1.0, float(np.sum(est**2))):
        return Line(None, None, None, "fewer than three rows" if n < 3 else "the estimates do not vary")
    slope = float(np.sum(centred * real)) / spread
    intercept = float(np.mean(real)) - slope * float(np.mean(est))
    residual = real - intercept - slope * est
    se = math.sqrt(n / (n - 2) * float(np.sum((centred * residual) ** 2))) / spread
    half = float(stdtrit(n - 2, 0.5 + confidence / 2)) * se
    return Line(slope, (slope - half, slope + half), intercept)


def loss_capture(realised: NDArray[Any], estimated: NDArray[Any], exposure: NDArray[Any] | None = None) -> LossCapture:
    """How much of the loss is met early when the highest estimates are looked at first?

    Args:
        realised: Realised loss rates, or amounts where every row weighs alike (n,).
        estimated: Estimated loss rates (n,).
        exposure: Exposure of each row; None weighs every row alike.

    Returns:
        LCR = (A_model - 1/2) / (A_ideal - 1/2) by the trapezoid rule; rows with equal estimates share a segment.

    Raises:
        EvidenceError: If lengths differ.
    """
    weight = np.ones(np.shape(realised)) if exposure is None else exposure
    (real, est, ead), reason = same_rows(realised, estimated, weight)
    none = np.empty(0)
    if reason is None and bool(np.any(ead < 0.0)):
        reason = "an exposure is negative"
    loss = real * ead if reason is None else none
    if reason is None and (float(np.sum(loss)) <= 0.0 or float(np.sum(ead)) <= 0.0):
        reason = "the realised losses sum to 0 or less"
    if reason is not None:
        return LossCapture(None, None, None, none, none, none, none, reason)
    x, y, area = _captured(est, ead, loss)
    ideal_x, ideal, best = _captured(real, ead, loss)
    if best <= 1e-15:
        return LossCapture(area, best, None, x, y, ideal_x, ideal, "all realised loss rates are equal")
    return LossCapture(area, best, area / best, x, y, ideal_x, ideal)


def _captured(order_by: Floats, ead: Floats, loss: Floats) -> tuple[Floats, Floats, float]:
    """Shares of exposure and loss, highest first, tied rows in one step; and the area above the diagonal."""
    _, code = np.unique(-order_by, return_inverse=True)
    weights, losses = np.bincount(code, weights=ead), np.bincount(code, weights=loss)
    x = np.concatenate([[0.0], np.cumsum(weights)]) / float(np.sum(weights))
    y = np.concatenate([[0.0], np.cumsum(losses)]) / float(np.sum(losses))
    return x, y, float(np.sum(np.diff(x) * (y[1:] + y[:-1]))) / 2.0 - 0.5


def mean_interval(values: NDArray[Any], *, confidence: float = 0.95) -> MeanInterval:
    """Mean of amounts with Student's interval."""
    (numbers,), reason = same_rows(values)
    n = int(numbers.size)
    if reason is not None:
        return MeanInterval(None, None, n, reason)
    mean = float(np.mean(numbers))
    if n < 2:
        return MeanInterval(mean, None, n, "one row has no interval")
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * float(np.std(numbers, ddof=1)) / math.sqrt(n)
    return MeanInterval(mean, (mean - half, mean + half), n)


def pool_order(lower: NDArray[Any], higher: NDArray[Any]) -> PoolOrder:
    """Does the higher of two neighbouring pools have the higher mean amount?

    Args:
        lower: Realised amounts of the pool with the lower estimates.
        higher: Realised amounts of the pool with the higher estimates.

    Source: Welch (1947).
    """
    (a,), first = same_rows(lower)
    (b,), second = same_rows(higher)
    if first or second or min(a.size, b.size) < 2:
        return PoolOrder(None, None, None, None, False, first or second or "a pool has fewer than two rows")
    gap = float(np.mean(b) - np.mean(a))
    parts = float(np.var(a, ddof=1)) / a.size, float(np.var(b, ddof=1)) / b.size
    if sum(parts) <= 0.0:
        return PoolOrder(gap, None, None, None, gap < 0.0, "the amounts do not vary within the pools")
    t = gap / math.sqrt(sum(parts))
    df = sum(parts) ** 2 / (parts[0] ** 2 / (a.size - 1) + parts[1] ** 2 / (b.size - 1))
    return PoolOrder(gap, t, df, float(stdtr(df, t)), gap < 0.0)


def error_difference(
    realised: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, squared: bool = True, confidence: float = 0.95
) -> PairedMean:
    """Mean error of ``a`` less that of ``b`` on the same rows; below 0 favours ``a``.

    Args:
        realised: Realised amounts (n,).
        a: First estimate (n,).
        b: Second estimate (n,).
        squared: Squared errors; absolute ones otherwise.
        confidence: Level of the normal interval.

    Raises:
        EvidenceError: If lengths differ.

    Source: paired comparison of losses, Diebold and Mariano (1995) for independent rows.
    """
    (real, first, second), reason = same_rows(realised, a, b)
    if reason is None and real.size < 2:
        reason = "fewer than two observations"
    if reason is not None:
        return PairedMean(None, None, None, reason)
    errors = (np.abs(real - first), np.abs(real - second))
    gap = errors[0] ** 2 - errors[1] ** 2 if squared else errors[0] - errors[1]
    mean, se = float(np.mean(gap)), float(np.std(gap, ddof=1)) / math.sqrt(gap.size)
    if se == 0.0:
        if mean == 0.0:
            return PairedMean(0.0, (0.0, 0.0), 1.0, "both estimates err alike: variance 0")
        return PairedMean(mean, None, None, "the difference does not vary between rows")
    z = float(ndtri(0.5 + confidence / 2))
    return PairedMean(mean, (mean - z * se, mean + z * se), float(2.0 * ndtr(-abs(mean) / se)))


def error_saved(realised: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, confidence: float = 0.95) -> PairedMean:
    """Share of the squared error of ``b`` that ``a`` saves on the same rows; above 0 favours ``a``.

    Args:
        realised: Realised amounts (n,).
        a: First estimate (n,).
        b: Second estimate (n,).
        confidence: Level of the interval.

    Returns:
        1 - MSE(a) / MSE(b) with a normal interval (delta method for a ratio of paired means).

    Raises:
        EvidenceError: If lengths differ.
    """
    (real, first, second), reason = same_rows(realised, a, b)
    if reason is None and real.size < 2:
        reason = "fewer than two observations"
    if reason is not None:
        return PairedMean(None, None, None, reason)
    mine, theirs = (real - first) ** 2, (real - second) ** 2
    base = float(np.mean(theirs))
    if base <= 0.0:
        return PairedMean(None, None, None, "the second estimate makes no error")
    ratio = float(np.mean(mine)) / base
    se = float(np.std((mine - ratio * theirs) / base, ddof=1)) / math.sqrt(real.size)
    if se == 0.0:
        if ratio == 1.0:
            return PairedMean(0.0, (0.0, 0.0), 1.0, "both estimates err alike: variance 0")
        return PairedMean(1.0 - ratio, None, None, "the ratio of errors does not vary between rows")
    z = float(ndtri(0.5 + confidence / 2))
    saved = 1.0 - ratio
    return PairedMean(saved, (saved - z * se, saved + z * se), float(2.0 * ndtr(-abs(saved) / se)))

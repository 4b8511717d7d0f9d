"""How good are probabilities as a whole? Brier score, its decompositions, reliability curve, slope."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import logit, xlog1py, xlogy
from scipy.stats import chi2
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Bools, Floats, grouped, one_class, paired

CLIP = 1e-10
"""Probabilities of 0 and 1 are moved this far before a logit, and counted."""

MAX_ITERATIONS = 100
DECIMALS = 15
"""Differences of nearly equal scores keep this many decimals: below it, only the order of summation speaks."""


@dataclass(frozen=True, slots=True)
class Brier:
    """Brier score.

    Attributes:
        value: mean((p - y)^2).
        skill: 1 - value / uncertainty: gain over forecasting the event rate; None with one class.
        uncertainty: rate (1 - rate).
        expected: What the score would be on average if every p were right.
        reason: Why it is undefined.
    """

    value: float | None
    skill: float | None
    uncertainty: float | None
    expected: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Murphy:
    """Brier score by groups: reliability - resolution + uncertainty + residual.

    ``residual`` is 0 where the probability is constant within each group.
    """

    brier: float | None
    reliability: float | None
    resolution: float | None
    uncertainty: float | None
    residual: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Corp:
    """Brier score split by isotonic recalibration: brier = miscalibration - discrimination + uncertainty.

    Attributes:
        brier: Mean squared error of p.
        miscalibration: What the best monotone recalibration would save.
        discrimination: What the recalibrated p saves against the event rate.
        uncertainty: rate (1 - rate).
        p: Distinct probabilities, ascending.
        fitted: Recalibrated probability at each.
        n: Rows at each.
        reason: Why it is undefined.
    """

    brier: float | None
    miscalibration: float | None
    discrimination: float | None
    uncertainty: float | None
    p: Floats
    fitted: Floats
    n: NDArray[np.int64]
    reason: str | None = None

    @property
    def miscalibration_share(self) -> float | None:
        """Miscalibration over uncertainty."""
        if self.miscalibration is None or not self.uncertainty:
            return None
        return self.miscalibration / self.uncertainty


@dataclass(frozen=True, slots=True)
class Band:
    """Where the reliability curve would lie by chance if every p were right."""

    p: Floats
    low: Floats
    high: Floats
    resamples: int


@dataclass(frozen=True, slots=True)
class Recalibration:
    """Calibration slope and intercept: logit(rate) = a + b logit(p).

    Attributes:
        slope: b; below 1 the probabilities are too extreme.
        slope_interval: Wald interval.
        intercept: a.
        in_the_large: Intercept with the slope held at 1; above 0 the risk was under-estimated.
        in_the_large_interval: Wald interval.
        lr: Likelihood ratio statistic of a = 0, b = 1.
        p_value: Its p, chi-square with 2 degrees of freedom.
        clipped: Probabilities of 0 or 1 that were moved to take the logit.
        reason: Why it is undefined.
    """

    slope: float | None
    slope_interval: tuple[float, float] | None
    intercept: float | None
    in_the_large: float | None
    in_the_large_interval: tuple[float, float] | None
    lr: float | None
    p_value: float | None
    clipped: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error with the bins it depends on.

    Attributes:
        value: Sum of n_b / n |mean y - mean p|; biased up by binning.
        n: Rows per bin.
        observed: Event rate per bin, NaN where empty.
        predicted: Mean probability per bin, NaN where empty.
        edges: Bin edges, [low, high), the last closed.
        outside: Rows outside the edges; left out and counted.
        reason: Why it is undefined.
    """

    value: float | None
    n: NDArray[np.int64]
    observed: Floats
    predicted: Floats
    edges: Floats
    outside: int
    reason: str | None = None


def _probabilities(y: NDArray[Any], p: NDArray[Any]) -> tuple[Bools, Floats, str | None]:
    events, (q,), reason = paired(y, p)
    if reason is None and events.size == 0:
        reason = "no observations"
    if reason is None and (bool(np.any(q < 0.0)) or bool(np.any(q > 1.0))):
        reason = "a probability is outside 0..1"
    return events, q, reason


def brier(y: NDArray[Any], p: NDArray[Any]) -> Brier:
    """Mean squared error of the probabilities; compare across populations by skill only.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, q, reason = _probabilities(y, p)
    if reason is not None:
        return Brier(None, None, None, None, reason)
    value, rate = float(np.mean((q - events) ** 2)), float(np.mean(events))
    uncertainty = rate * (1.0 - rate)
    expected = float(np.mean(q * (1.0 - q)))
    if uncertainty == 0.0:
        return Brier(value, None, uncertainty, expected, "one class: no skill can be measured")
    return Brier(value, 1.0 - value / uncertainty, uncertainty, expected)


def murphy(y: NDArray[Any], p: NDArray[Any], group: NDArray[Any]) -> Murphy:
    """Brier score split over groups (grades, bins).

    Args:
        y: Outcome (n,).
        p: Probabilities (n,).
        group: Group of each row (n,), integer codes from 0.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: Murphy (1973).
    """
    events, q, reason = _probabilities(y, p)
    code = np.asarray(group)
    if code.shape != events.shape:
        raise EvidenceError("outcome and group have different lengths", expected=f"{events.shape}", got=f"{code.shape}")
    if reason is not None:
        return Murphy(None, None, None, None, None, reason)
    index = np.unique(code, return_inverse=True)[1]
    n = np.bincount(index).astype(np.float64)
    observed = np.bincount(index, weights=events) / n
    predicted = np.bincount(index, weights=q) / n
    rate, value = float(np.mean(events)), float(np.mean((q - events) ** 2))
    rel = float(np.sum(n * (predicted - observed) ** 2) / events.size)
    res = float(np.sum(n * (observed - rate) ** 2) / events.size)
    uncertainty = rate * (1.0 - rate)
    return Murphy(value, rel, res, uncertainty, round(value - (rel - res + uncertainty), DECIMALS))


def pav(n: NDArray[Any], d: NDArray[Any]) -> Floats:
    """Non-decreasing event rates closest to the observed ones (pool adjacent violators).

    Args:
        n: Rows per distinct probability, ascending order of probability; all positive.
        d: Events per distinct probability.

    Raises:
        EvidenceError: If lengths differ or counts are impossible.
    """
    count, events, _ = grouped(n, d)
    if count.size == 0:
        return np.empty(0)
    fit = isotonic_regression(events / count, weights=count)
    # Event counts over row counts of each block, not the solver's running means: exact whatever its order.
    bounds = np.asarray(fit.blocks, dtype=np.int64)
    rate = np.add.reduceat(events, bounds[:-1]) / np.add.reduceat(count, bounds[:-1])
    sizes: NDArray[np.int64] = bounds[1:] - bounds[:-1]
    return np.repeat(rate, sizes)


def corp(y: NDArray[Any], p: NDArray[Any]) -> Corp:
    """Brier score split into miscalibration, discrimination and uncertainty, without bins.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: Dimitriadis, Gneiting, Jordan (2021).
    """
    events, q, reason = _probabilities(y, p)
    reason = reason or one_class(events)
    if reason is not None:
        none = np.empty(0, dtype=np.float64)
        return Corp(None, None, None, None, none, none, np.empty(0, dtype=np.int64), reason)
    values, index = np.unique(q, return_inverse=True)
    n = np.bincount(index)
    fitted = pav(n, np.bincount(index, weights=events))
    rate = float(np.mean(events))
    uncertainty = rate * (1.0 - rate)
    score = float(np.mean((q - events) ** 2))
    recalibrated = float(np.mean((fitted[index] - events) ** 2))
    return Corp(
        score,
        round(score - recalibrated, DECIMALS),
        round(uncertainty - recalibrated, DECIMALS),
        uncertainty,
        values,
        fitted,
        n.astype(np.int64),
    )


def consistency_band(
    p: NDArray[Any], grid: NDArray[Any], *, resamples: int = 200, confidence: float = 0.95, seed: int = 0
) -> Band:
    """Where the isotonic reliability curve lies by chance alone when every probability is right.

    Args:
        p: Probabilities (n,).
        grid: Probabilities at which the band is wanted, inside the range of ``p``.
        resamples: Sets of outcomes drawn from ``p``.
        confidence: Pointwise level.
        seed: Seed of the draws.

    Source: Dimitriadis, Gneiting, Jordan (2021), resampling y from p.
    """
    q, at = np.sort(np.asarray(p, dtype=np.float64)), np.array(grid, dtype=np.float64)
    if q.size == 0 or resamples < 1:
        return Band(at, np.full(at.shape, np.nan), np.full(at.shape, np.nan), 0)
    values, starts, n = np.unique(q, return_index=True, return_counts=True)
    where = np.clip(np.searchsorted(values, at, side="right") - 1, 0, values.size - 1)
    rng = np.random.default_rng(seed)
    curves = np.empty((resamples, at.size))
    for i in range(resamples):
        drawn = (rng.random(q.size) < q).astype(np.float64)
        curves[i] = pav(n, np.add.reduceat(drawn, starts))[where]
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(curves, [tail, 1.0 - tail], axis=0)
    return Band(at, low, high, resamples)


def recalibration(y: NDArray[Any], p: NDArray[Any], *, confidence: float = 0.95) -> Recalibration:
    """Are the probabilities too extreme (slope) or too low (in the large)?

    Args:
        y: Outcome (n,).
        p: Probabilities (n,).
        confidence: Level of the Wald intervals.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: Cox (1958); logistic regression of the outcome on logit(p), statsmodels GLM.
    """
    events, q, reason = _probabilities(y, p)
    reason = reason or one_class(events)
    clipped = int(np.count_nonzero((q <= 0.0) | (q >= 1.0)))
    safe = np.clip(q, CLIP, 1.0 - CLIP)
    if reason is None and float(safe.min()) == float(safe.max()):
        reason = "all probabilities are equal: no slope"
    if reason is None and (safe[events].min() >= safe[~events].max() or safe[events].max() <= safe[~events].min()):
        reason = "perfect separation: the slope has no finite value"
    if reason is not None:
        return Recalibration(None, None, None, None, None, None, None, clipped, reason)
    target, x = events.astype(np.float64), logit(safe)
    line = _fit(GLM(target, np.column_stack((np.ones_like(x), x)), family=Binomial()))
    level = _fit(GLM(target, np.ones((x.size, 1)), family=Binomial(), offset=x))
    if not (line.converged and level.converged):
        return Recalibration(None, None, None, None, None, None, None, clipped, "the fit did not converge")
    stated = float(np.sum(xlogy(target, safe) + xlog1py(1.0 - target, -safe)))
    lr = round(max(0.0, 2.0 * (float(line.llf) - stated)), 8)
    ends, shift = line.conf_int(1.0 - confidence), level.conf_int(1.0 - confidence)
    return Recalibration(
        slope=round(float(line.params[1]), 12),
        slope_interval=(float(ends[1, 0]), float(ends[1, 1])),
        intercept=round(float(line.params[0]), 12),
        in_the_large=round(float(level.params[0]), 12),
        in_the_large_interval=(float(shift[0, 0]), float(shift[0, 1])),
        lr=lr,
        p_value=float(chi2.sf(lr, 2)),
        clipped=clipped,
    )


def _fit(model: Any) -> Any:
    # Stop on the parameters: the deviance of many rows never settles to its last bits.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(maxiter=MAX_ITERATIONS, tol=1e-10, tol_criterion="params")


def calibration_error(y: NDArray[Any], p: NDArray[Any], edges: NDArray[Any]) -> CalibrationError:
    """Mean gap between predicted and observed over bins, weighted by rows.

    Args:
        y: Outcome (n,).
        p: Probabilities (n,).
        edges: Ascending bin edges, fixed on the development sample; bins are [low, high), the last closed.

    Raises:
        EvidenceError: If lengths differ, the outcome is not 0 and 1, or the edges do not ascend.
    """
    events, q, reason = _probabilities(y, p)
    cuts = np.array(edges, dtype=np.float64)
    if cuts.ndim != 1 or cuts.size < 2 or not bool(np.all(np.diff(cuts) > 0.0)):
        raise EvidenceError("bin edges do not ascend", expected="two or more ascending edges")
    bins = cuts.size - 1
    if reason is not None:
        none = np.full(bins, np.nan)
        return CalibrationError(None, np.zeros(bins, dtype=np.int64), none, none, cuts, 0, reason)
    index = np.searchsorted(cuts, q, side="right") - 1
    index[q == cuts[-1]] = bins - 1
    inside = (index >= 0) & (index < bins)
    n = np.bincount(index[inside], minlength=bins)
    divisor = np.where(n > 0, n, np.nan)
    observed = np.bincount(index[inside], weights=events[inside], minlength=bins) / divisor
    predicted = np.bincount(index[inside], weights=q[inside], minlength=bins) / divisor
    total = int(n.sum())
    if total == 0:
        reason = "no row falls inside the bins"
        return CalibrationError(None, n.astype(np.int64), observed, predicted, cuts, q.size, reason)
    value = float(np.nansum(n * np.abs(observed - predicted)) / total)
    return CalibrationError(value, n.astype(np.int64), observed, predicted, cuts, q.size - total)


def quantile_edges(p: NDArray[Any], bins: int) -> Floats:
    """Edges of at most ``bins`` bins with equal shares of these rows, from 0 to 1."""
    q = np.asarray(p, dtype=np.float64)
    inner = np.quantile(q, np.linspace(0.0, 1.0, bins + 1)[1:-1]) if q.size else np.empty(0)
    inner = np.unique(inner)
    inner = inner[(inner > 0.0) & (inner < 1.0)]
    return np.concatenate(([0.0], inner, [1.0]))

"""Are the probabilities right? Tests of counted events against stated PDs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import betainc, ndtr, ndtri
from scipy.stats import beta, binom, chi2, t

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Floats, grouped, paired
from countermark.metrics.discrimination import Statistic

MIN_EXPECTED = 5.0
MAX_THIN_SHARE = 0.2
MIN_PERIODS = 4
NORMAL_PERIODS = 20


@dataclass(frozen=True, slots=True)
class JeffreysTest:
    """Posterior probability that the true rate is at or below the PD.

    Attributes:
        p_value: Beta(alpha, beta) CDF at the PD; small means that risk was under-estimated.
        alpha: d + 1/2.
        beta: n - d + 1/2.
        observed: Event rate.
        reason: Why it is undefined.
    """

    p_value: float | None
    alpha: float
    beta: float
    observed: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square statistic with its degrees of freedom and upper-tail p."""

    statistic: float | None
    df: int | None
    p_value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HosmerLemeshow:
    """Hosmer-Lemeshow over grades.

    Attributes:
        statistic: Sum over groups of (D - N PD)^2 / (N PD (1 - PD)).
        df: Groups used, minus 2 when the same sample fitted the model.
        p_value: Upper tail of chi-square with ``df``.
        groups: Groups after merging.
        merged: Groups lost by merging neighbours.
        reason: Why it is undefined.
    """

    statistic: float | None
    df: int | None
    p_value: float | None
    groups: int
    merged: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ZTest:
    """A standardised statistic with one-sided (upper) and two-sided p."""

    z: float | None
    p_upper: float | None
    p_two_sided: float | None
    df: int | None = None
    reason: str | None = None


def jeffreys_test(n: int, d: int, pd: float) -> JeffreysTest:
    """Is the PD too low for the defaults seen?

    Args:
        n: Rows.
        d: Events.
        pd: Stated probability, inside (0, 1).

    Returns:
        p = BetaCDF(pd; d + 1/2, n - d + 1/2), H0 PD >= true rate. Not strictly conservative.

    Raises:
        EvidenceError: If the counts are impossible.

    Source: ECB instructions for reporting the validation results of internal models (2019), 2.5.3.1.
    """
    a, b = d + 0.5, n - d + 0.5
    reason = _undefined(n, d, pd)
    if reason is not None:
        return JeffreysTest(None, a, b, d / n if n else None, reason)
    return JeffreysTest(float(beta.cdf(pd, a, b)), a, b, d / n)


def binomial_test(n: int, d: int, pd: float) -> Statistic:
    """P(at least d events) if every row defaults independently with this PD.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    reason = _undefined(n, d, pd)
    return Statistic(None, reason) if reason is not None else Statistic(float(binom.sf(d - 1, n, pd)))


def binomial_mid_p(n: int, d: int, pd: float) -> Statistic:
    """P(more than d events) plus half of P(exactly d): close to the Jeffreys p.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    reason = _undefined(n, d, pd)
    if reason is not None:
        return Statistic(None, reason)
    return Statistic(float(binom.sf(d, n, pd) + 0.5 * binom.pmf(d, n, pd)))


def binomial_critical(n: int, pd: float, level: float) -> int:
    """Smallest number of events whose binomial p is at most 1 - level; n + 1 if there is none."""
    k = int(binom.isf(1.0 - level, n, pd)) + 1
    while k > 0 and binom.sf(k - 2, n, pd) <= 1.0 - level:
        k -= 1
    while k <= n and binom.sf(k - 1, n, pd) > 1.0 - level:
        k += 1
    return k


def binomial_correlated(n: int, d: int, pd: float, rho: float) -> Statistic:
    """P(at least d events) when defaults share one factor with asset correlation rho.

    Args:
        n: Rows.
        d: Events.
        pd: Unconditional probability.
        rho: Asset correlation, 0 <= rho < 1. State it beside the result; never tune it.

    Raises:
        EvidenceError: If the counts are impossible or rho is outside [0, 1).

    Source: Vasicek (2002); integral over the factor by adaptive Gauss-Kronrod, split where the tail turns.
    """
    _check_rho(rho)
    reason = _undefined(n, d, pd)
    if reason is not None:
        return Statistic(None, reason)
    if d == 0:
        return Statistic(1.0)
    if rho == 0.0:
        return Statistic(float(binom.sf(d - 1, n, pd)))
    threshold, loading, rest = float(ndtri(pd)), math.sqrt(rho), math.sqrt(1.0 - rho)

    def tail(x: float) -> float:
        conditional = float(ndtr((threshold + loading * x) / rest))
        at_least = float(betainc(d, n - d + 1, conditional))
        return at_least * _density(x)

    # The tail probability turns from 0 to 1 around the factor at which d events are expected.
    rate = min(max(d / n, 0.5 / n), 1.0 - 0.5 / n)
    turn = (float(ndtri(rate)) * rest - threshold) / loading
    spread = math.sqrt(rate * (1.0 - rate) / n) * rest / loading / _density(float(ndtri(rate)))
    cuts = sorted({-10.0, 10.0, *(min(max(turn + k * spread, -10.0), 10.0) for k in (-8, -3, 0, 3, 8))})
    parts = [quad(tail, a, b, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for a, b in pairwise(cuts)]
    return Statistic(min(1.0, max(0.0, float(math.fsum(parts)))))


def critical_rate(pd: float, rho: float, level: float) -> float:
    """Event rate of a very large pool that is exceeded with probability 1 - level (Vasicek).

    Raises:
        EvidenceError: If rho is outside [0, 1).
    """
    _check_rho(rho)
    return float(ndtr((ndtri(pd) + math.sqrt(rho) * ndtri(level)) / math.sqrt(1.0 - rho)))


def retail_correlation(pd: float) -> float:
    """Asset correlation of other retail exposures: 3 % to 16 %, falling with the PD (Basel CRE31)."""
    weight = math.expm1(-35.0 * pd) / math.expm1(-35.0)
    return 0.03 * weight + 0.16 * (1.0 - weight)


def multi_year_normal(rate: NDArray[Any], pd: NDArray[Any]) -> ZTest:
    """Have events exceeded the PD over the years, given how much the yearly rate moves?

    Args:
        rate: Event rate per period (T,).
        pd: PD per period (T,).

    Returns:
        sqrt(T) mean(rate - pd) / sd, against Student's t with T - 1 degrees of freedom below 20 periods.

    Raises:
        EvidenceError: If the lengths differ.
    """
    observed, stated = np.asarray(rate, dtype=np.float64), np.asarray(pd, dtype=np.float64)
    if observed.shape != stated.shape or observed.ndim != 1:
        raise EvidenceError("rates and PDs per period have different lengths", expected="equal lengths")
    periods = observed.size
    if periods < MIN_PERIODS:
        return ZTest(None, None, None, reason=f"{periods} periods, at least {MIN_PERIODS} are needed")
    gap = observed - stated
    sd = float(np.std(gap, ddof=1))
    if not sd > 0.0:
        return ZTest(None, None, None, reason="the gap does not vary between periods")
    z = math.sqrt(periods) * float(np.mean(gap)) / sd
    if periods < NORMAL_PERIODS:
        return ZTest(z, float(t.sf(z, periods - 1)), float(2.0 * t.sf(abs(z), periods - 1)), periods - 1)
    return ZTest(z, float(ndtr(-z)), float(2.0 * ndtr(-abs(z))))


def hosmer_lemeshow(n: NDArray[Any], d: NDArray[Any], pd: NDArray[Any], *, fitted: bool = False) -> HosmerLemeshow:
    """Do events per grade fit the stated PDs, over all grades at once?

    Args:
        n: Rows per group (g,).
        d: Events per group.
        pd: PD per group.
        fitted: True when this very sample fitted the model: two degrees of freedom are lost.

    Returns:
        Empty groups are left out. While a PD is 0 or 1, or more than 20 % of the 2 x g expected counts are
        below 5, the thinnest group is merged with its thinner neighbour (in order of PD).

    Raises:
        EvidenceError: If lengths differ or counts are impossible.

    Source: Hosmer, Lemeshow (1980); df = g for given PDs.
    """
    count, events, stated = grouped(n, d, pd)
    order = np.lexsort((events, count, stated))
    order = order[count[order] > 0]
    cells = [(count[i], events[i], count[i] * stated[i]) for i in order]
    start = len(cells)
    if start == 0:
        return HosmerLemeshow(None, None, None, 0, 0, "no observations")
    while len(cells) > 1 and _thin(cells):
        cells = _merge_thinnest(cells)
    df = len(cells) - (2 if fitted else 0)
    merged = start - len(cells)
    if _thin(cells):
        return HosmerLemeshow(None, None, None, len(cells), merged, "expected counts below 5 even when merged")
    if df < 1:
        return HosmerLemeshow(None, None, None, len(cells), merged, f"{len(cells)} groups leave no degree of freedom")
    statistic = math.fsum((e - x) ** 2 / (x * (1.0 - x / k)) for k, e, x in cells)
    return HosmerLemeshow(statistic, df, float(chi2.sf(statistic, df)), len(cells), merged)


def spiegelhalter(y: NDArray[Any], p: NDArray[Any]) -> ZTest:
    """Is the Brier score what these probabilities would give if they were right?

    Args:
        y: Outcome (n,).
        p: Probabilities (n,).

    Returns:
        z with two-sided p; the upper tail is optimism. Blind to some errors near one half.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: Spiegelhalter (1986).
    """
    events, (q,), reason = paired(y, p)
    if reason is None and q.size == 0:
        reason = "no observations"
    if reason is None and (bool(np.any(q < 0.0)) or bool(np.any(q > 1.0))):
        reason = "a probability is outside 0..1"
    if reason is not None:
        return ZTest(None, None, None, reason=reason)
    weight = 1.0 - 2.0 * q
    variance = float(np.sum(weight**2 * q * (1.0 - q)))
    if variance <= 0.0:
        return ZTest(None, None, None, reason="all probabilities are 0, 1/2 or 1")
    z = float(np.sum((events - q) * weight)) / math.sqrt(variance)
    return ZTest(z, float(ndtr(-z)), float(2.0 * ndtr(-abs(z))))


def grade_counts(y: NDArray[Any], grade: NDArray[Any], grades: int) -> tuple[Floats, Floats]:
    """Rows and events per grade 0..grades-1.

    Raises:
        EvidenceError: If lengths differ, or a grade lies outside the scale.
    """
    events, (code,), reason = paired(y, grade)
    if reason is not None or bool(np.any(code < 0)) or bool(np.any(code >= grades)):
        raise EvidenceError("a row has no grade of the scale", expected=f"grades 0..{grades - 1}")
    index = code.astype(np.int64)
    n = np.bincount(index, minlength=grades).astype(np.float64)
    return n, np.bincount(index, weights=events, minlength=grades).astype(np.float64)


def _undefined(n: int, d: int, pd: float) -> str | None:
    if not 0 <= d <= n:
        raise EvidenceError("an event count is impossible", expected="0 <= events <= rows", got=f"{d} of {n}")
    if n == 0:
        return "no observations"
    return None if 0.0 < pd < 1.0 else "the PD is not inside (0, 1)"


def _check_rho(rho: float) -> None:
    if not 0.0 <= rho < 1.0:
        raise EvidenceError("an asset correlation is impossible", expected="0 <= rho < 1", got=f"{rho:g}")


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _thin(cells: list[tuple[float, float, float]]) -> bool:
    expected = [min(x, k - x) for k, _, x in cells]
    if min(expected) <= 0.0:
        return True
    thin = sum((x < MIN_EXPECTED) + (k - x < MIN_EXPECTED) for k, _, x in cells)
    return thin > MAX_THIN_SHARE * 2 * len(cells)


def _merge_thinnest(cells: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    expected = [min(x, k - x) for k, _, x in cells]
    i = min(range(len(cells)), key=expected.__getitem__)
    neighbours = [j for j in (i - 1, i + 1) if 0 <= j < len(cells)]
    j = min(neighbours, key=expected.__getitem__)
    low, high = min(i, j), max(i, j)
    joined = (cells[low][0] + cells[high][0], cells[low][1] + cells[high][1], cells[low][2] + cells[high][2])
    return [*cells[:low], joined, *cells[high + 1 :]]

"""Were estimated amounts too low? The paired t-test of losses and exposures, its power and its blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, ndtri, stdtr, stdtrit

from countermark.metrics.amounts import same_rows
from countermark.metrics.arrays import Floats
from countermark.metrics.power import Detectable, blocks_of
from countermark.metrics.resampling import resampled_means


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Paired t-test of realised against estimated amounts.

    Attributes:
        mean_difference: Mean of realised less estimated; above 0 the estimates were too low.
        s: Standard deviation of the differences (ddof 1); None with fewer than two rows.
        t: sqrt(N) times the mean difference over s; None where s is 0.
        df: N - 1.
        p_value: One-sided p of H0 "estimated >= realised"; small says under-estimation. 1 or 0 by the sign of the
            mean difference where s is 0: there is no p then, only a verdict.
        n: Rows.
        exact: Whether ``p_value`` is a verdict without a test (s is 0).
        reason: Why the test is undefined.
    """

    mean_difference: float | None
    s: float | None
    t: float | None
    df: int
    p_value: float | None
    n: int
    exact: bool = False
    reason: str | None = None


def shortfall_test(realised: NDArray[Any], estimated: NDArray[Any]) -> Shortfall:
    """Were the estimates too low? One-sided paired t-test over the rows of a pool or portfolio.

    Args:
        realised: Realised amounts (n,).
        estimated: Estimates made before (n,).

    Returns:
        T = sqrt(N) mean(realised - estimated) / s, p = 1 - T_{N-1}(T), H0 estimated >= realised.

    Raises:
        EvidenceError: If lengths differ.

    Source: ECB instructions for reporting the validation results of internal models (2019), 2.6.2.1 and 2.9.3.1.
    """
    (real, est), reason = same_rows(realised, estimated)
    n = int(real.size)
    if reason is not None:
        return Shortfall(None, None, None, max(n - 1, 0), None, n, reason=reason)
    gap = real - est
    mean = float(np.mean(gap))
    if n < 2:
        return Shortfall(mean, None, None, 0, None, n, reason="a t-test needs two rows")
    s = float(np.std(gap, ddof=1))
    # Differences that are equal but for rounding have no spread to test against.
    if s <= 1e-12 * max(1.0, float(np.max(np.abs(gap)))):
        return Shortfall(mean, 0.0, None, n - 1, 1.0 if mean <= 0.0 else 0.0, n, exact=True)
    t = math.sqrt(n) * mean / s
    return Shortfall(mean, s, t, n - 1, float(stdtr(n - 1, -t)), n)


def shortfall_bootstrap(
    realised: NDArray[Any], estimated: NDArray[Any], *, resamples: int = 2000, seed: int = 0
) -> float | None:
    """One-sided bootstrap p of the same hypothesis, for pools too small to trust the t distribution.

    Args:
        realised: Realised amounts (n,).
        estimated: Estimates (n,).
        resamples: Number of resamples of the centred differences.
        seed: Seed of the resamples.

    Returns:
        (1 + resampled means at or above the observed one) / (resamples + 1); None where the t-test is undefined.

    Raises:
        EvidenceError: If lengths differ.
    """
    found = shortfall_test(realised, estimated)
    if found.p_value is None or found.exact or found.mean_difference is None:
        return None
    gap = np.asarray(realised, dtype=np.float64) - np.asarray(estimated, dtype=np.float64)
    means = resampled_means((gap - found.mean_difference)[:, None], resamples, seed)[:, 0]
    return (1.0 + float(np.count_nonzero(means >= found.mean_difference))) / (resamples + 1.0)


def shortfall_power(n: int, s: float, shift: float, *, alpha: float = 0.05) -> float | None:
    """Chance that the one-sided t-test finds estimates that are too low by ``shift``.

    Args:
        n: Rows.
        s: Standard deviation of the differences.
        shift: True mean of realised less estimated.
        alpha: One-sided level.

    Returns:
        P(T' > t_{1-alpha}) with the non-central t distribution; 1 where the differences do not vary, None with fewer
        than two rows.
    """
    if n < 2:
        return None
    if s <= 0.0:
        return 1.0 if shift > 0.0 else 0.0
    critical = float(stdtrit(n - 1, 1.0 - alpha))
    return float(1.0 - nctdtr(n - 1, math.sqrt(n) * shift / s, critical))


def detectable_shortfall(n: int, s: float, *, alpha: float = 0.05, power: float = 0.8) -> Detectable:
    """The smallest mean under-estimation that the t-test finds with the asked power.

    Returns:
        (t_{1-alpha} + z_power) s / sqrt(n), the normal approximation to the inverse of :func:`shortfall_power`.
    """
    if n < 2:
        return Detectable(None, "fewer than two rows")
    if s <= 0.0:
        return Detectable(None, "the differences do not vary: any under-estimation would be found")
    return Detectable((float(stdtrit(n - 1, 1.0 - alpha)) + float(ndtri(power))) * s / math.sqrt(n))


def power_pools(
    gaps: tuple[Floats, ...], shifts: tuple[float, ...], *, alpha: float = 0.05, floor: float = 0.5, least: int = 30
) -> tuple[tuple[int, ...], ...]:
    """Merge neighbouring pools, lowest first, until each block can find the under-estimation that matters in it.

    Args:
        gaps: Realised less estimated amounts of each pool, lowest pool first.
        shifts: Alternative of the power in each pool; a block's is the mean over its rows.
        alpha: One-sided level of the t-test.
        floor: Power that ends a block.
        least: Fewest rows of a block.

    Returns:
        Pool positions per block, empty pools left out. What remains at the end joins the last block; a single
        block may lack power, which then shows in its own power.
    """

    def enough(block: tuple[int, ...]) -> bool:
        rows = np.concatenate([gaps[k] for k in block])
        if rows.size < least:
            return False
        s = float(np.std(rows, ddof=1)) if rows.size > 1 else 0.0
        shift = sum(shifts[k] * gaps[k].size for k in block) / rows.size
        return (shortfall_power(int(rows.size), s, shift, alpha=alpha) or 0.0) >= floor

    return blocks_of((k for k, gap in enumerate(gaps) if gap.size), enough)

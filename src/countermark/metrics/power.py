"""What could a test have detected? Power, smallest detectable change, and low-default bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta, binom

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Floats, grouped


@dataclass(frozen=True, slots=True)
class JeffreysPower:
    """Power of the one-sided Jeffreys test.

    Attributes:
        critical_d: Smallest number of events that rejects; None if none does.
        power: P(reject) at the true PD.
        size: P(reject) at the stated PD.
        reason: Why it is undefined.
    """

    critical_d: int | None
    power: float | None
    size: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest change that a test would have found with the asked power; None if no change would be."""

    value: float | None
    reason: str | None = None


def jeffreys_critical(n: int, pd: float, alpha: float) -> int | None:
    """Smallest number of events whose Jeffreys p is below alpha; None if even n events do not reject.

    Raises:
        EvidenceError: If n is negative or the PD is not inside (0, 1).
    """
    if n < 0 or not 0.0 < pd < 1.0:
        raise EvidenceError("power is undefined", expected="n >= 0 and PD inside (0, 1)", got=f"n = {n}, PD = {pd:g}")
    if n == 0 or float(beta.cdf(pd, n + 0.5, 0.5)) >= alpha:
        return None
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if float(beta.cdf(pd, middle + 0.5, n - middle + 0.5)) < alpha:
            high = middle
        else:
            low = middle
    return high


def jeffreys_power(n: int, pd: float, true_pd: float, *, alpha: float = 0.05) -> JeffreysPower:
    """Chance that the Jeffreys test rejects when the true PD is another one.

    Args:
        n: Rows.
        pd: Stated PD.
        true_pd: PD under the alternative; above 1 counts as 1.
        alpha: One-sided level.

    Raises:
        EvidenceError: If n is negative or the PD is not inside (0, 1).
    """
    critical = jeffreys_critical(n, pd, alpha)
    if critical is None:
        return JeffreysPower(None, 0.0, 0.0, "no number of events would reject")
    return JeffreysPower(
        critical, float(binom.sf(critical - 1, n, min(1.0, true_pd))), float(binom.sf(critical - 1, n, pd))
    )


def detectable_pd_multiple(n: int, pd: float, *, alpha: float = 0.05, power: float = 0.8) -> Detectable:
    """How many times the stated PD the true PD must be before the Jeffreys test finds it.

    Args:
        n: Rows.
        pd: Stated PD.
        alpha: One-sided level.
        power: Asked chance of detection.

    Returns:
        true PD / PD with P(Bin(n, true PD) >= critical) = power, by the beta identity of the binomial tail.

    Raises:
        EvidenceError: If n is negative or the PD is not inside (0, 1).
    """
    critical = jeffreys_critical(n, pd, alpha)
    if critical is None or critical == 0:
        return Detectable(None, "no number of events would reject" if critical is None else "the test always rejects")
    true_pd = float(beta.ppf(power, critical, n - critical + 1))
    return Detectable(max(1.0, true_pd / pd))


def detectable_auc_drop(
    se_current: float | None, *, alpha: float = 0.05, power: float = 0.8, se_initial: float = 0.0
) -> Detectable:
    """How far the AUC must fall before the one-sided test against an earlier AUC finds it.

    Args:
        se_current: DeLong standard error of the AUC now.
        alpha: One-sided level.
        power: Asked chance of detection.
        se_initial: Standard error of the earlier AUC; 0 takes it as a constant (ECB form).

    Returns:
        (z_{1-alpha} + z_power) times the standard error of the difference, in AUC.
    """
    if se_current is None or not se_current > 0.0:
        return Detectable(None, "the standard error of the AUC is 0 or undefined")
    se = math.sqrt(se_current**2 + se_initial**2)
    return Detectable(float(ndtri(1.0 - alpha) + ndtri(power)) * se)


def power_blocks(
    n: NDArray[Any], pd: NDArray[Any], *, multiple: float = 2.0, alpha: float = 0.05, floor: float = 0.5
) -> tuple[tuple[int, ...], ...]:
    """Merge neighbouring grades, best to worst, until each block can detect its PD times ``multiple``.

    Args:
        n: Rows per grade, best first.
        pd: PD per grade.
        multiple: Alternative, as a multiple of the block's PD.
        alpha: One-sided level of the Jeffreys test.
        floor: Power that ends a block.

    Returns:
        Grade indices per block, empty grades left out. What remains at the end joins the last block; a single
        block may lack power, which then shows in its own power.

    Raises:
        EvidenceError: If lengths differ or counts are impossible.
    """
    count, _, stated = grouped(n, np.zeros(np.shape(n)), pd)

    def enough(block: tuple[int, ...]) -> bool:
        rows, block_pd = block_of(count, stated, block)
        if not 0.0 < block_pd < 1.0:
            return False
        return (jeffreys_power(rows, block_pd, multiple * block_pd, alpha=alpha).power or 0.0) >= floor

    return blocks_of((int(i) for i in np.flatnonzero(count > 0)), enough)


def blocks_of(places: Iterable[int], enough: Callable[[tuple[int, ...]], bool]) -> tuple[tuple[int, ...], ...]:
    """Merge neighbours in order until each block is enough; what remains at the end joins the last block.

    Args:
        places: Places in order.
        enough: Whether a block may end where it does.
    """
    blocks: list[tuple[int, ...]] = []
    pending: tuple[int, ...] = ()
    for place in places:
        pending = (*pending, place)
        if enough(pending):
            blocks.append(pending)
            pending = ()
    if pending and blocks:
        blocks[-1] = (*blocks[-1], *pending)
    elif pending:
        blocks.append(pending)
    return tuple(blocks)


def block_of(n: Floats, pd: Floats, block: tuple[int, ...]) -> tuple[int, float]:
    """Rows and count-weighted PD of a block of grades."""
    index = list(block)
    rows = float(np.sum(n[index]))
    return int(rows), float(np.sum(n[index] * pd[index]) / rows)


def pluto_tasche(n: NDArray[Any], d: NDArray[Any], *, confidence: float = 0.75) -> tuple[float | None, ...]:
    """Most prudent PD per grade for portfolios with few or no defaults, independent defaults.

    Args:
        n: Rows per grade, best first.
        d: Events per grade.
        confidence: Level gamma of the upper bound.

    Returns:
        Per grade the root q of P(Bin(N, q) <= D) = 1 - gamma, with N and D over this and all worse grades;
        without defaults 1 - (1 - gamma)^(1/N). None where N is 0.

    Raises:
        EvidenceError: If lengths differ or counts are impossible.

    Source: Pluto, Tasche (2005).
    """
    count, events, _ = grouped(n, d)
    rows, found = np.cumsum(count[::-1])[::-1], np.cumsum(events[::-1])[::-1]
    return tuple(
        None if k == 0 else 1.0 if e == k else float(beta.ppf(confidence, e + 1, k - e))
        for k, e in zip(rows, found, strict=True)
    )

"""Intervals of an event rate, and of observed over expected events."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri
from scipy.stats import beta

from countermark.errors import EvidenceError

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RateInterval:
    """An event rate with an interval; both None without observations."""

    rate: float | None
    interval: Interval | None
    method: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedExpected:
    """Observed over expected events with Clopper-Pearson limits.

    Attributes:
        ratio: Observed / expected.
        interval: Limits of the observed rate times rows over expected events.
        observed: Events.
        expected: Sum of probabilities.
        reason: Why the ratio is undefined.
    """

    ratio: float | None
    interval: Interval | None
    observed: int
    expected: float
    reason: str | None = None


def _checked(n: int, d: int) -> None:
    if not 0 <= d <= n:
        raise EvidenceError("an event count is impossible", expected="0 <= events <= rows", got=f"{d} of {n}")


def jeffreys_interval(n: int, d: int, *, confidence: float = 0.95) -> RateInterval:
    """Equal-tailed interval of Beta(d + 1/2, n - d + 1/2).

    By convention the lower limit is 0 without events, and the upper limit 1 without non-events.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    _checked(n, d)
    if n == 0:
        return RateInterval(None, None, "Jeffreys", "no observations")
    tail = (1.0 - confidence) / 2
    low = 0.0 if d == 0 else float(beta.ppf(tail, d + 0.5, n - d + 0.5))
    high = 1.0 if d == n else float(beta.ppf(1.0 - tail, d + 0.5, n - d + 0.5))
    return RateInterval(d / n, (low, high), "Jeffreys")


def wilson_interval(n: int, d: int, *, confidence: float = 0.95) -> RateInterval:
    """Wilson's score interval; the one for plots.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    _checked(n, d)
    if n == 0:
        return RateInterval(None, None, "Wilson", "no observations")
    z, rate = float(ndtri(0.5 + confidence / 2)), d / n
    scale = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    low = 0.0 if d == 0 else max(0.0, centre - half)
    high = 1.0 if d == n else min(1.0, centre + half)
    return RateInterval(rate, (low, high), "Wilson")


def clopper_pearson_interval(n: int, d: int, *, confidence: float = 0.95) -> RateInterval:
    """Exact interval; the one for bounds.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    _checked(n, d)
    if n == 0:
        return RateInterval(None, None, "Clopper-Pearson", "no observations")
    tail = (1.0 - confidence) / 2
    low = 0.0 if d == 0 else float(beta.ppf(tail, d, n - d + 1))
    high = 1.0 if d == n else float(beta.ppf(1.0 - tail, d + 1, n - d))
    return RateInterval(d / n, (low, high), "Clopper-Pearson")


def observed_over_expected(n: int, d: int, expected: float, *, confidence: float = 0.95) -> ObservedExpected:
    """Observed over expected events: 1 is calibrated, above 1 the risk was under-estimated.

    Args:
        n: Rows.
        d: Events.
        expected: Sum of the probabilities of the rows.
        confidence: Level of the interval.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    exact = clopper_pearson_interval(n, d, confidence=confidence)
    if exact.interval is None:
        return ObservedExpected(None, None, d, expected, exact.reason)
    if not (math.isfinite(expected) and expected > 0.0):
        return ObservedExpected(None, None, d, expected, "expected events are 0 or undefined")
    scale = n / expected
    return ObservedExpected(d / expected, (exact.interval[0] * scale, exact.interval[1] * scale), d, expected)

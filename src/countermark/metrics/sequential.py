"""Tests that may be looked at as often as one likes: evidence against a hypothesis that holds at any time.

An e-value is what a bet against the hypothesis has made of one unit of money. While the hypothesis holds, the chance
that it ever reaches ``1 / alpha`` is at most ``alpha`` (Ville 1939), however often it is looked at; a sum of e-values
with weights that add up to one is an e-value again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from countermark.errors import EvidenceError

_BETS = np.linspace(0.02, 0.98, 49)
"""Fractions of the largest allowed bet: the mixture over them needs no guess of the true effect."""


@dataclass(frozen=True, slots=True)
class Sequential:
    """Where a sequential test stands.

    Attributes:
        n: Observations.
        estimate: Estimate of what is tested; None without observations.
        log_e: Natural logarithm of the e-value.
    """

    n: int
    estimate: float | None
    log_e: float

    def rejects(self, alpha: float) -> bool:
        """Whether the hypothesis is refuted with error probability ``alpha`` over all looks together."""
        return self.log_e >= -math.log(alpha)


def rate_above(events: int, n: int, limit: float) -> Sequential:
    """Is a rate above its limit? Bernoulli observations against H0: rate <= limit.

    Mixture of likelihood ratios under a Beta(1/2, 1/2) prior cut to rates above the limit (Robbins 1970).

    Args:
        events: Observations with the event.
        n: Observations.
        limit: Largest rate that is allowed, between 0 and 1.

    Raises:
        EvidenceError: If the counts or the limit are impossible.
    """
    if not 0 <= events <= n or not 0.0 < limit < 1.0:
        raise EvidenceError("a rate test needs 0 <= events <= n and a limit between 0 and 1")
    if n == 0:
        return Sequential(0, None, 0.0)
    rest = n - events
    a, b = events + 0.5, rest + 0.5
    log_e = (
        special.betaln(a, b)
        + _log_upper(a, b, limit)
        - special.betaln(0.5, 0.5)
        - _log_upper(0.5, 0.5, limit)
        - events * math.log(limit)
        - rest * math.log1p(-limit)
    )
    return Sequential(n, events / n, float(log_e))


def _log_upper(a: float, b: float, x: float) -> float:
    """Logarithm of 1 - I_x(a, b), also where it underflows."""
    tail = float(special.betaincc(a, b, x))
    if tail > 1e-290:
        return math.log(tail)
    # First term of the continued fraction: an upper tail far below the mode, x (a + b) > a.
    return a * math.log(x) + b * math.log1p(-x) - float(special.betaln(a, b)) - math.log(max(b, 1e-300))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that changes its sign between two places does so, to 1e-12."""
    rising = function(high) > 0.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        if (function(middle) > 0.0) == rising:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def rate_interval(events: int, n: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of a rate that holds at all times together with probability 1 - alpha.

    Every rate whose two-sided Beta(1/2, 1/2) mixture e-value stays below ``1 / alpha``.

    Args:
        events: Observations with the event.
        n: Observations, at least 1.
        alpha: Error probability over all looks.

    Raises:
        EvidenceError: If the counts are impossible.
    """
    if not 0 <= events <= n or n == 0:
        raise EvidenceError("a rate interval needs 0 <= events <= n and at least one observation")
    bar = -math.log(alpha)
    evidence = float(special.betaln(events + 0.5, n - events + 0.5) - special.betaln(0.5, 0.5))

    def excess(rate: float) -> float:
        fit = float(special.xlogy(events, rate) + special.xlog1py(n - events, -rate))
        return evidence - fit - bar

    found = events / n
    lower = 0.0 if events == 0 else _root(excess, 0.0, found) if excess(found) < 0 else found
    upper = 1.0 if events == n else _root(excess, found, 1.0) if excess(found) < 0 else found
    return lower, upper


def mean_shift(up: int, same: int, down: int, limit: float) -> Sequential:
    """Has a paired decision moved by more than a limit, up or down?

    Each pair is +1 (only the candidate decides against the customer), -1 (only the champion does) or 0. H0: the mean is
    within ``[-limit, limit]``. Half of the money bets on a mean above the limit, half on one below: a mixture over
    fixed fractions of prod(1 + c (d - limit)) with 0 < c < 1 / (1 + limit) (Waudby-Smith and Ramdas 2024).

    Args:
        up: Pairs with +1.
        same: Pairs with 0.
        down: Pairs with -1.
        limit: Largest shift that is allowed, at least 0 and below 1.

    Raises:
        EvidenceError: If a count is negative or the limit impossible.
    """
    if min(up, same, down) < 0 or not 0.0 <= limit < 1.0:
        raise EvidenceError("a shift test needs counts of at least 0 and a limit in [0, 1)")
    n = up + same + down
    if n == 0:
        return Sequential(0, None, 0.0)
    above = _bet(up, same, down, limit)
    below = _bet(down, same, up, limit)
    log_e = float(np.logaddexp(above, below)) - math.log(2.0)
    return Sequential(n, (up - down) / n, log_e)


def _bet(up: int, same: int, down: int, mean: float) -> float:
    """Log of the mixture e-value against: the mean is at most ``mean``."""
    bets: NDArray[np.float64] = _BETS / (1.0 + mean)
    wealth = up * np.log1p(bets * (1.0 - mean)) + same * np.log1p(-bets * mean) + down * np.log1p(-bets * (1.0 + mean))
    return float(special.logsumexp(wealth)) - math.log(bets.size)


def shift_interval(up: int, same: int, down: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of a paired shift that holds at all times together with probability 1 - alpha.

    Args:
        up: Pairs with +1.
        same: Pairs with 0.
        down: Pairs with -1.
        alpha: Error probability over all looks.

    Raises:
        EvidenceError: If a count is negative or there is no pair.
    """
    if min(up, same, down) < 0 or up + same + down == 0:
        raise EvidenceError("a shift interval needs counts of at least 0 and at least one pair")
    n, bar = up + same + down, -math.log(alpha / 2.0)
    found = (up - down) / n
    edge = 1.0 - 1e-9

    def low(mean: float) -> float:
        return _bet(up, same, down, mean) - bar

    def high(mean: float) -> float:
        return _bet(down, same, up, -mean) - bar

    lower = _root(low, -edge, found) if low(-edge) > 0 > low(found) else -1.0
    upper = _root(high, found, edge) if high(edge) > 0 > high(found) else 1.0
    return lower, upper


def spent(alpha: float, look: int) -> float:
    """Part of an error probability for the k-th of infinitely many looks: 6 / (pi k)^2, which adds up to one.

    Args:
        alpha: Error probability over all looks.
        look: Number of the look, from 1.
    """
    return alpha * 6.0 / (math.pi * look) ** 2

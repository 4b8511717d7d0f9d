"""Is the worse grade really worse? Tests of neighbouring grades."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import hypergeom

from countermark.metrics.arrays import grouped

SMALL_EXPECTED = 5.0
"""Below this expected count the normal approximation gives way to Fisher's exact test."""


@dataclass(frozen=True, slots=True)
class GradeOrder:
    """Comparison of the event rates of two neighbouring grades.

    Attributes:
        difference: Event rate of the worse grade minus that of the better one.
        z: Pooled z of the difference; None where its variance is 0.
        p_differentiation: H0 worse <= better; small supports differentiation.
        p_inversion: H0 worse >= better; small says that the grades are in the wrong order.
        p_fisher: Exact p of differentiation, whichever method was chosen.
        method: ``z``, or ``Fisher`` where an expected count is below 5.
        inverted: The worse grade has the lower event rate.
        reason: Why it is undefined.
    """

    difference: float | None
    z: float | None
    p_differentiation: float | None
    p_inversion: float | None
    p_fisher: float | None
    method: Literal["z", "Fisher"] | None
    inverted: bool
    reason: str | None = None


def grade_order(n_better: int, d_better: int, n_worse: int, d_worse: int) -> GradeOrder:
    """Does the worse of two neighbouring grades have the higher event rate?

    Args:
        n_better: Rows of the better grade.
        d_better: Its events.
        n_worse: Rows of the worse grade.
        d_worse: Its events.

    Raises:
        EvidenceError: If a count is impossible.

    Source: z = (DR_w - DR_b) / sqrt(p q (1/n_w + 1/n_b)) with pooled p; Fisher (1935).
    """
    grouped(np.array([n_better, n_worse]), np.array([d_better, d_worse]))
    reason = None
    if n_better == 0 or n_worse == 0:
        reason = "a grade is empty"
    elif d_better + d_worse == 0:
        reason = "no events in either grade"
    elif d_better + d_worse == n_better + n_worse:
        reason = "no non-events in either grade"
    if reason is not None:
        return GradeOrder(None, None, None, None, None, None, False, reason)
    total, events = n_better + n_worse, d_better + d_worse
    difference = d_worse / n_worse - d_better / n_better
    pooled = events / total
    z = difference / math.sqrt(pooled * (1.0 - pooled) * (1.0 / n_worse + 1.0 / n_better))
    p_fisher = float(hypergeom.sf(d_worse - 1, total, events, n_worse))
    smallest = min(events, total - events) * min(n_better, n_worse) / total
    inverted = difference < 0.0
    if smallest < SMALL_EXPECTED:
        p_inversion = float(hypergeom.cdf(d_worse, total, events, n_worse))
        return GradeOrder(difference, z, p_fisher, p_inversion, p_fisher, "Fisher", inverted)
    return GradeOrder(difference, z, float(ndtr(-z)), float(ndtr(z)), p_fisher, "z", inverted)


def neighbouring_grades(n: NDArray[Any], d: NDArray[Any]) -> tuple[tuple[int, int, GradeOrder], ...]:
    """Each non-empty grade against the next non-empty one, best to worst.

    Args:
        n: Rows per grade, best first.
        d: Events per grade.

    Returns:
        (better grade, worse grade, test) for each pair.

    Raises:
        EvidenceError: If lengths differ or a count is impossible.
    """
    count, events, _ = grouped(n, d)
    used = np.flatnonzero(count > 0)
    return tuple(
        (int(b), int(w), grade_order(int(count[b]), int(events[b]), int(count[w]), int(events[w])))
        for b, w in pairwise(used)
    )

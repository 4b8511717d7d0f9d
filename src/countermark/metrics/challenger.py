"""What changes when one model replaces another? The swap set at equal approval rate, and paired Brier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from countermark.metrics.arrays import Bools, Floats, paired


@dataclass(frozen=True, slots=True)
class Cell:
    """Rows and events of one part of the swap set."""

    n: int
    events: int

    @property
    def rate(self) -> float | None:
        """Event rate; None without rows."""
        return self.events / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class SwapSet:
    """Who is approved by one model and not by the other, at the same approval rate.

    Attributes:
        approved: Rows that each model approves.
        both: Approved by both.
        swapped_in: Approved by the champion only.
        swapped_out: Approved by the challenger only.
        neither: Approved by neither.
        tied: Rows tied at the challenger's cut.
        reason: Why it is undefined.
    """

    approved: int
    both: Cell
    swapped_in: Cell
    swapped_out: Cell
    neither: Cell
    tied: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PairedMean:
    """Mean of a paired difference with its normal interval and two-sided p."""

    difference: float | None
    interval: tuple[float, float] | None
    p_two_sided: float | None
    reason: str | None = None


def swap_set(y: NDArray[Any], champion: NDArray[Any], challenger: NDArray[Any], approval_rate: float) -> SwapSet:
    """Compare approvals of two risk scores at the same approval rate.

    Each model approves its ``round(rate * n)`` lowest scores. Rows tied at a cut are taken in the order of the
    other model's score, then in row order: that makes the swap set as small as it can be.

    Args:
        y: Outcome (n,).
        champion: Risk score of the champion (n,).
        challenger: Risk score of the challenger (n,).
        approval_rate: Share of rows approved, 0..1.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (a, b), reason = paired(y, champion, challenger)
    none = Cell(0, 0)
    if reason is None and events.size == 0:
        reason = "no observations"
    if reason is None and not 0.0 <= approval_rate <= 1.0:
        reason = "the approval rate is outside 0..1"
    if reason is not None:
        return SwapSet(0, none, none, none, none, 0, reason)
    k = round(approval_rate * events.size)
    by_champion, by_challenger = _lowest(a, b, k), _lowest(b, a, k)
    cut = float(np.max(b[by_challenger])) if k else math.nan
    return SwapSet(
        approved=k,
        both=_cell(events, by_champion & by_challenger),
        swapped_in=_cell(events, by_champion & ~by_challenger),
        swapped_out=_cell(events, ~by_champion & by_challenger),
        neither=_cell(events, ~by_champion & ~by_challenger),
        tied=int(np.count_nonzero(b == cut)),
    )


def brier_difference(y: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, confidence: float = 0.95) -> PairedMean:
    """Brier score of ``a`` minus that of ``b`` on the same rows; below 0 favours ``a``.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (p, q), reason = paired(y, a, b)
    if reason is None and events.size < 2:
        reason = "fewer than two observations"
    if reason is not None:
        return PairedMean(None, None, None, reason)
    gap = (p - events) ** 2 - (q - events) ** 2
    mean, se = float(np.mean(gap)), float(np.std(gap, ddof=1)) / math.sqrt(gap.size)
    if se == 0.0:
        return PairedMean(mean, None, None, "the difference does not vary between rows")
    z = float(ndtri(0.5 + confidence / 2))
    return PairedMean(mean, (mean - z * se, mean + z * se), float(2.0 * ndtr(-abs(mean) / se)))


def _lowest(first: Floats, second: Floats, k: int) -> Bools:
    chosen = np.zeros(first.size, dtype=np.bool_)
    chosen[np.lexsort((np.arange(first.size), second, first))[:k]] = True
    return chosen


def _cell(events: Bools, part: Bools) -> Cell:
    return Cell(int(np.count_nonzero(part)), int(np.count_nonzero(events & part)))

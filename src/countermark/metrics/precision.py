"""How good is the top of the list? Average precision, precision at k, recall at a fixed false positive rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.arrays import one_class, paired
from countermark.metrics.discrimination import Curve, roc_curve

TIE_SHARE = 0.01
"""A tie block at the cut larger than this share of k is flagged."""


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Average precision and the value of a score without skill (the prevalence)."""

    value: float | None
    prevalence: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AtCut:
    """A rate at a cut through the ranked list.

    Attributes:
        value: Expected rate when rows tied at the cut are taken in random order.
        tied: Rows that share the score at the cut; 0 if the cut does not split a tie.
        flagged: The tie block is larger than 1 % of the rows taken.
        reason: Why it is undefined.
    """

    value: float | None
    tied: int = 0
    flagged: bool = False
    reason: str | None = None


def precision_recall_curve(y: NDArray[Any], score: NDArray[Any]) -> Curve:
    """Precision (y) against recall (x), one point per distinct score from the highest.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (s,), reason = paired(y, score)
    reason = reason or one_class(events)
    if reason is not None:
        none = np.empty(0, dtype=np.float64)
        return Curve(none, none, none, reason)
    values, code = np.unique(s, return_inverse=True)
    found = np.cumsum(np.bincount(code, weights=events, minlength=values.size)[::-1])
    taken = np.cumsum(np.bincount(code, minlength=values.size)[::-1])
    return Curve(found / found[-1], found / taken, values[::-1].copy())


def average_precision(y: NDArray[Any], score: NDArray[Any]) -> AveragePrecision:
    """Precision averaged over the recall gained at each distinct score; no interpolation.

    Print the prevalence beside it: it is what a score without skill reaches.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    curve = precision_recall_curve(y, score)
    if curve.reason is not None:
        return AveragePrecision(None, None, curve.reason)
    gain = np.diff(curve.x, prepend=0.0)
    return AveragePrecision(float(np.sum(gain * curve.y)), float(np.mean(np.asarray(y) == 1)))


def precision_at_k(y: NDArray[Any], score: NDArray[Any], k: int) -> AtCut:
    """Share of events among the k riskiest rows.

    Args:
        y: Outcome (n,).
        score: Risk score (n,).
        k: Rows that can be looked at. More rows than there are is undefined.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (s,), reason = paired(y, score)
    if reason is None and not 1 <= k <= events.size:
        reason = f"k = {k} is outside 1..{events.size}"
    if reason is not None:
        return AtCut(None, reason=reason)
    cut = np.partition(s, events.size - k)[events.size - k]
    above, at = s > cut, s == cut
    room = k - int(np.count_nonzero(above))
    block = int(np.count_nonzero(at))
    found = np.count_nonzero(events & above) + np.count_nonzero(events & at) * room / block
    tied = block if room < block else 0
    return AtCut(float(found / k), tied, tied > TIE_SHARE * k)


def recall_at_fpr(y: NDArray[Any], score: NDArray[Any], fpr: float) -> AtCut:
    """Share of events found when this share of non-events may be alerted.

    Rows tied at the cut are taken in random order (a straight line between ROC points).

    Args:
        y: Outcome (n,).
        score: Risk score (n,).
        fpr: False positive rate, 0..1.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    curve = roc_curve(y, score)
    if curve.reason is None and not 0.0 <= fpr <= 1.0:
        return AtCut(None, reason=f"false positive rate {fpr:g} is outside 0..1")
    if curve.reason is not None:
        return AtCut(None, reason=curve.reason)
    right = int(np.searchsorted(curve.x, fpr, side="right"))
    if right == curve.x.size or curve.x[right - 1] == fpr:
        return AtCut(float(curve.y[right - 1]))
    x0, x1, y0, y1 = curve.x[right - 1], curve.x[right], curve.y[right - 1], curve.y[right]
    value = float(y0 + (y1 - y0) * (fpr - x0) / (x1 - x0))
    tied = int(np.count_nonzero(np.asarray(score, dtype=np.float64) == curve.threshold[right]))
    if tied == 1:
        # One row cannot be split: the cut stays above it.
        return AtCut(float(y0))
    taken = np.count_nonzero(np.asarray(score, dtype=np.float64) > curve.threshold[right])
    return AtCut(value, tied, tied > TIE_SHARE * max(1, int(taken)))

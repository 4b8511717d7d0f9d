"""Does an estimate rank amounts? Somers' D and the generalised AUC. Higher estimate = larger amount."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Floats

LGD_BUCKETS = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 1.00)
"""Cuts of the twelve buckets of a continuous LGD: below 5 %, 5 to 10 %, ten points each up to 100 %, 100 % and more.

Source: ECB instructions for reporting the validation results of internal models (2019), LGD.
"""
_MOST_CELLS = 10_000
"""Cross tables up to this size are summed cell by cell; larger ones are counted row by row."""


@dataclass(frozen=True, slots=True)
class Gauc:
    """Generalised AUC of an estimate against realised amounts.

    Attributes:
        value: (D + 1) / 2; None if undefined.
        se: Large-sample standard error; None if undefined.
        interval: Normal interval, cut at 0 and 1; None if the standard error is 0 or unknown.
        p_chance: One-sided p of H0 gAUC <= 1/2; None with the interval.
        n: Rows.
        varied: Rows outside the most frequent realised value: only these carry information on rank.
        reason: Why ``value`` or ``interval`` is None.
    """

    value: float | None
    se: float | None
    interval: tuple[float, float] | None
    p_chance: float | None
    n: int
    varied: int
    reason: str | None = None

    @property
    def somers_d(self) -> float | None:
        """Somers' D of the estimate given the realised amount, 2 gAUC - 1."""
        return None if self.value is None else 2.0 * self.value - 1.0


@dataclass(frozen=True, slots=True)
class GaucDifference:
    """Difference of the generalised AUCs of two estimates on the same rows.

    Attributes:
        difference: gAUC of ``a`` minus gAUC of ``b``.
        se: Its standard error, from the row-wise influences of both.
        interval: Normal interval of the difference.
        p_two_sided: H0 equal gAUC.
        p_worse: One-sided p of H0 "a is not worse than b"; small means that a is worse.
        gauc_a: gAUC of ``a``.
        gauc_b: gAUC of ``b``.
        reason: Why the difference or its interval is undefined.
    """

    difference: float | None
    se: float | None
    interval: tuple[float, float] | None
    p_two_sided: float | None
    p_worse: float | None
    gauc_a: float | None
    gauc_b: float | None
    reason: str | None = None


def bucketed(values: NDArray[Any], cuts: tuple[float, ...]) -> NDArray[np.int64]:
    """Bucket of each value, int64 (n,): bucket k holds ``cuts[k - 1] <= value < cuts[k]``, the ends are open.

    A missing or infinite value stays unusable: it makes the statistic undefined, never a bucket of its own.

    Raises:
        EvidenceError: If a value is missing or infinite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    bad = int(np.count_nonzero(~np.isfinite(numbers)))
    if bad:
        raise EvidenceError("amounts to be put into buckets are missing or infinite", expected="numbers", got=f"{bad}")
    return np.searchsorted(np.asarray(cuts), numbers, side="right").astype(np.int64)


def generalised_auc(
    realised: NDArray[Any],
    estimated: NDArray[Any],
    *,
    cluster: NDArray[Any] | None = None,
    confidence: float = 0.95,
) -> Gauc:
    """How often the larger of two amounts has the higher estimate, ties counting one half.

    Args:
        realised: Realised amounts, or their buckets (n,).
        estimated: Estimates, or their buckets (n,).
        cluster: Customer of each row (n,): the influences of a customer's rows are summed before they are squared,
            so that the standard error holds where only customers are independent. None: rows are.
        confidence: Level of the interval.

    Returns:
        gAUC = (D + 1) / 2 with Somers' D = (P - Q) / w_r, where P and Q sum the concordant and discordant pairs of
        every row, F is the number of rows, r_i the rows with the realised amount of row i and w_r = F^2 - sum of
        squares of the row totals. se = sqrt(sum of (w_r (A - D) - (P - Q)(F - r))^2) / w_r^2. With an outcome of 0
        and 1 it is the AUC, and the standard error DeLong's with ddof 0.

    Raises:
        EvidenceError: If lengths differ.

    Source: ECB instructions (2019), annex 3.2; Somers (1962); Goktas, Isci (2011).
    """
    y, (x,), reason = _amounts(realised, estimated)
    varied = _varied(y) if reason is None else 0
    if reason is None and varied == 0:
        reason = "all realised amounts are equal" if y.size else "no observations"
    if reason is not None:
        return Gauc(None, None, None, None, int(y.size), varied, reason)
    value, influence = _influence(y, x)
    if cluster is not None:
        place = np.unique(cluster, return_inverse=True)[1].ravel()
        influence = np.asarray(np.bincount(place, weights=influence), dtype=np.float64)
    se = math.sqrt(float(np.sum(influence**2)))
    if se == 0.0:
        if bool(np.all(x == x[0])):  # one estimate for all ranks nothing, whatever the amounts: that is certain
            return Gauc(0.5, 0.0, (0.5, 0.5), 0.5, int(y.size), varied)
        why = "the ranking is perfect: its standard error is 0" if value == 1.0 else "the standard error is 0"
        return Gauc(value, 0.0, None, None, int(y.size), varied, why)
    z = float(ndtri(0.5 + confidence / 2))
    interval = (max(0.0, value - z * se), min(1.0, value + z * se))
    return Gauc(value, se, interval, float(ndtr(-(value - 0.5) / se)), int(y.size), varied)


def generalised_auc_difference(
    realised: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, confidence: float = 0.95
) -> GaucDifference:
    """Does one estimate rank amounts better than another on the same rows?

    Args:
        realised: Realised amounts, or their buckets (n,).
        a: First estimate (n,).
        b: Second estimate (n,).
        confidence: Level of the interval.

    Returns:
        gAUC(a) - gAUC(b); its variance is the sum of squares of the differences of the row-wise influences (delta
        method on the standard error of :func:`generalised_auc`). Estimates that rank alike: difference 0, p = 1.

    Raises:
        EvidenceError: If lengths differ.
    """
    y, (first, second), reason = _amounts(realised, a, b)
    if reason is None and (y.size == 0 or _varied(y) == 0):
        reason = "all realised amounts are equal" if y.size else "no observations"
    if reason is not None:
        return GaucDifference(None, None, None, None, None, None, None, reason)
    value_a, of_a = _influence(y, first)
    value_b, of_b = _influence(y, second)
    delta, se = value_a - value_b, math.sqrt(float(np.sum((of_a - of_b) ** 2)))
    if se == 0.0:
        if delta == 0.0:
            same = "both estimates rank alike: variance 0"
            return GaucDifference(0.0, 0.0, (0.0, 0.0), 1.0, 0.5, value_a, value_b, same)
        return GaucDifference(delta, 0.0, None, None, None, value_a, value_b, "variance of the difference is 0")
    z = float(ndtri(0.5 + confidence / 2))
    interval = (delta - z * se, delta + z * se)
    p_two = float(2.0 * ndtr(-abs(delta) / se))
    return GaucDifference(delta, se, interval, p_two, float(ndtr(delta / se)), value_a, value_b)


def _amounts(realised: NDArray[Any], *estimates: NDArray[Any]) -> tuple[Floats, tuple[Floats, ...], str | None]:
    """Amounts and estimates of the same rows as floats, and the reason why they cannot be used, if any."""
    y = np.asarray(realised, dtype=np.float64)
    columns = tuple(np.asarray(e, dtype=np.float64) for e in estimates)
    for column in columns:
        if y.ndim != 1 or column.shape != y.shape:
            raise EvidenceError(
                "realised and estimated amounts have different lengths", expected=f"{y.shape}", got=f"{column.shape}"
            )
    bad = max((int(np.count_nonzero(~np.isfinite(c))) for c in (y, *columns)), default=0)
    return y, columns, f"{bad} amounts are missing or infinite" if bad else None


def _varied(y: Floats) -> int:
    """Rows outside the most frequent value."""
    return 0 if y.size == 0 else int(y.size - np.unique(y, return_counts=True)[1].max())


def _influence(y: Floats, x: Floats) -> tuple[float, Floats]:
    """gAUC, and what each row adds to its error: the squares sum to the variance."""
    row_codes, totals = (v.astype(np.int64) for v in np.unique(y, return_inverse=True, return_counts=True)[1:])
    col_codes = np.unique(x, return_inverse=True)[1].astype(np.int64)
    net = _net_concordance(row_codes, col_codes)
    f = float(y.size)
    w = f * f - float(np.sum(totals.astype(np.float64) ** 2))
    surplus = float(np.sum(net))
    influence = (w * net - surplus * (f - totals[row_codes])) / (w * w)
    return (surplus / w + 1.0) / 2.0, influence


def _net_concordance(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """Concordant less discordant partners of each row, float64 (n,); whole numbers, so exact."""
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    if shape[0] * shape[1] <= _MOST_CELLS:
        return _net_by_cell(rows, columns, shape)
    n = rows.size
    back_r, back_c = int(rows.max()) - rows, int(columns.max()) - columns
    same = _below_both(rows, columns) + _below_both(back_r, back_c)
    against = _below_both(rows, back_c) + _below_both(back_r, columns)
    return np.asarray(same - against, dtype=np.float64).reshape(n)


def _net_by_cell(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> Floats:
    table = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.zeros((shape[0] + 1, shape[1] + 1), dtype=np.int64)
    total[1:, 1:] = table.cumsum(axis=0).cumsum(axis=1)
    i, j = np.indices(shape)
    k, m = shape
    low_low = total[i, j]
    high_high = total[k, m] - total[i + 1, m] - total[k, j + 1] + total[i + 1, j + 1]
    low_high = total[i, m] - total[i, j + 1]
    high_low = total[k, j] - total[i + 1, j]
    net = low_low + high_high - low_high - high_low
    return np.asarray(net[rows, columns], dtype=np.float64)


def _below_both(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each element, how many others have a smaller row and a smaller column. Merge sort, all blocks at once."""
    n = rows.size
    # Within equal rows columns fall, so that an earlier element with a smaller column also has a smaller row.
    order = np.lexsort((-columns, rows))
    base = int(columns.max()) + 1
    value = columns[order]
    count = np.zeros(n, dtype=np.int64)
    place = np.arange(n)
    width = 1
    while width < n:
        block = place // width
        right = np.flatnonzero(block % 2 == 1)
        left = np.flatnonzero(block % 2 == 0)
        keys = np.sort(block[left] * base + value[left])
        before = np.searchsorted(keys, (block[right] - 1) * base + value[right], side="left")
        start = np.searchsorted(keys, (block[right] - 1) * base, side="left")
        count[right] += before - start
        width *= 2
    found = np.empty(n, dtype=np.int64)
    found[order] = count
    return found

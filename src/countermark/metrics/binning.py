"""Fixed bins of one characteristic: made once on development data, stored, applied to any other sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.errors import EvidenceError

MISSING = "missing"
NEW = "new category"


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Intervals of a numeric characteristic, open below and closed above, and one bin for missing values.

    Attributes:
        cuts: Interior cut points, ascending. k cuts make k + 1 intervals: (-inf, c1], (c1, c2] ... (ck, inf).
    """

    cuts: tuple[float, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """A name per bin, the missing bin last."""
        if not self.cuts:
            return ("any value", MISSING)
        inner = [f"{a:.6g} to {b:.6g}" for a, b in zip(self.cuts, self.cuts[1:], strict=False)]
        return (f"≤ {self.cuts[0]:.6g}", *inner, f"> {self.cuts[-1]:.6g}", MISSING)

    def index(self, values: ArrayLike) -> NDArray[np.int64]:
        """Bin of each value, (n,); missing values fall into the last bin."""
        x = np.asarray(values, dtype=np.float64)
        place = np.searchsorted(np.asarray(self.cuts, dtype=np.float64), x, side="left").astype(np.int64)
        return np.where(np.isnan(x), len(self.cuts) + 1, place)

    def counts(self, values: ArrayLike) -> NDArray[np.int64]:
        """Rows per bin, (len(cuts) + 2,)."""
        return np.bincount(self.index(values), minlength=len(self.cuts) + 2).astype(np.int64)


@dataclass(frozen=True, slots=True)
class LevelBins:
    """Levels of a text characteristic, one bin for levels never seen before, and one for missing values.

    Attributes:
        levels: Levels seen in development, sorted.
    """

    levels: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """A name per bin: the levels, the new bin, the missing bin."""
        return (*self.levels, NEW, MISSING)

    def index(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Bin of each value, (n,); None is missing, anything else that is not a level is new."""
        place = {level: i for i, level in enumerate(self.levels)}
        new, missing = len(self.levels), len(self.levels) + 1
        return np.fromiter(
            (missing if v is None else place.get(v, new) for v in values), dtype=np.int64, count=len(values)
        )

    def counts(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Rows per bin, (len(levels) + 2,)."""
        return np.bincount(self.index(values), minlength=len(self.levels) + 2).astype(np.int64)


def quantile_cuts(values: ArrayLike, bins: int) -> tuple[float, ...]:
    """Cut points of about equal shares, each an observed value: ties never split and never interpolate.

    The cut of share q is the smallest observed value at or below which at least q of the rows lie, so the
    same values in any order, on any machine, give the same cuts. Repeated cuts are kept once and a cut at
    the maximum is dropped (nothing lies above it).

    Args:
        values: Any numbers, (n,); missing values are left out.
        bins: Intervals aimed at; ties can make it fewer.

    Raises:
        EvidenceError: If ``bins`` is below 1.
    """
    if bins < 1:
        raise EvidenceError("quantile bins must be at least 1")
    x = np.asarray(values, dtype=np.float64)
    x = np.sort(x[~np.isnan(x)])
    if x.size == 0:
        return ()
    # Integer ceiling: no rounding of q * n can move a cut by one row.
    rank = -(-np.arange(1, bins) * x.size // bins) - 1
    return tuple(float(v) for v in np.unique(x[rank]) if v < x[-1])


def development_bins(values: NDArray[Any], bins: int = 10) -> NumericBins | LevelBins:
    """Bins of a characteristic from its development values: quantile intervals, or its levels if it is text."""
    if values.dtype.kind == "O":
        return LevelBins(tuple(sorted({str(v) for v in values if v is not None})))
    return NumericBins(quantile_cuts(values, bins))


def share_outside(development: NDArray[Any], applied: NDArray[Any]) -> tuple[int, int]:
    """Rows whose value the model never saw in development: beyond its minimum or maximum, or an unseen level.

    A missing value is outside only where development had none.

    Args:
        development: Values the model was fitted on, float64 with NaN or object with None.
        applied: Values it is used on, same kind.

    Returns:
        Rows outside and rows in all. Where development has no value at all, every applied value is outside.
    """
    if development.dtype.kind == "O":
        known = set(development.tolist())
        return sum(v not in known for v in applied.tolist()), len(applied)
    missing = np.isnan(applied)
    outside = missing & (not bool(np.isnan(development).any()))
    seen = development[~np.isnan(development)]
    if seen.size == 0:
        return int(np.count_nonzero(outside | ~missing)), len(applied)
    beyond = ~missing & ((applied < seen.min()) | (applied > seen.max()))
    return int(np.count_nonzero(outside | beyond)), len(applied)

"""Series of a figure from estimates with their intervals, rounded as evidence keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from countermark.records.evidence import SampleRole, Series
from countermark.validation.sentences import rounded


def estimates(
    name: str,
    x: Sequence[float | str],
    values: Iterable[float | None],
    intervals: Iterable[tuple[float, float] | None],
    *,
    role: SampleRole,
    n: Iterable[int] | None = None,
    mark: Literal["line", "points", "bars"] = "points",
) -> Series:
    """One series of points or bars with error bars; an estimate without an interval has none.

    Args:
        name: Name in the legend.
        x: Category or place of each estimate.
        values: The estimates; None where undefined.
        intervals: Their intervals, in the same order.
        role: Sample that the series shows, which fixes its look.
        n: Rows behind each estimate.
        mark: How it is drawn.
    """
    ends = [(None, None) if interval is None else interval for interval in intervals]
    return Series(
        name=name,
        role=role,
        mark=mark,
        x=tuple(x),
        y=tuple(rounded(value) for value in values),
        low=tuple(rounded(low) for low, _ in ends),
        high=tuple(rounded(high) for _, high in ends),
        n=None if n is None else tuple(n),
    )

"""Series of a figure from curves and from estimates with their intervals, rounded as evidence keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.discrimination import Curve, thin_curve
from countermark.records.evidence import SampleRole, Series
from countermark.validation.sentences import rounded

_POINTS = 80
"""Points of a curve that are drawn: more cannot be told apart in print."""


def numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Places and heights of a series; what is not finite is drawn at 0."""
    return tuple(rounded(float(value)) or 0.0 for value in values)


def curve_line(name: str, role: SampleRole, curve: Curve) -> Series:
    """A curve as a line, thinned to what can be told apart."""
    thin = thin_curve(curve, _POINTS)
    return Series(name=name, role=role, x=numbers(thin.x), y=numbers(thin.y))


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

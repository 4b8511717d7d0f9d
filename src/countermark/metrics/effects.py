"""Shapes of effects: accumulated local effects, and violations of a promised direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from countermark.errors import EvidenceError

Direction: TypeAlias = Literal["increasing", "decreasing"]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AleCurve:
    """First-order accumulated local effects of one numeric input.

    Attributes:
        edges: Interval edges after merging empty intervals, (k + 1,).
        effect: Centred effect at each edge, (k + 1, outputs).
        local: Mean difference of the prediction across each interval, (k, outputs).
        counts: Rows per interval, (k,).
    """

    edges: Floats
    effect: Floats
    local: Floats
    counts: NDArray[np.int64]


def ale_edges(values: ArrayLike, intervals: int) -> Floats:
    """Edges of quantile intervals, minimum and maximum included, each an observed value.

    Args:
        values: Numbers, (n,); missing values are left out.
        intervals: Intervals aimed at; ties can make it fewer.

    Returns:
        Distinct edges, ascending; one edge if all values are equal, none if there is no value.

    Raises:
        EvidenceError: If ``intervals`` is below 1.
    """
    if intervals < 1:
        raise EvidenceError("ALE needs at least one interval")
    x = np.asarray(values, dtype=np.float64)
    x = np.sort(x[~np.isnan(x)])
    if x.size == 0:
        return np.zeros(0)
    rank = -(-np.arange(1, intervals + 1) * x.size // intervals) - 1
    return np.unique(np.concatenate([x[:1], x[rank]]))


def ale_first_order(predict: Callable[[Floats], Floats], values: ArrayLike, edges: ArrayLike) -> AleCurve | None:
    """Accumulated local effects of one input (Apley and Zhu 2020), first order.

    A row belongs to interval (lo, hi], the first one closed below. In each interval the mean of
    f(hi, rest) - f(lo, rest) over its rows is taken, accumulated along the axis and centred so that the
    mean over rows of the interval midpoints is zero. An interval without rows is merged into its neighbour.

    Args:
        predict: From one value of this input per row, (n,), to predictions with all else as it is:
            (n,) or (n, outputs).
        values: The input as observed, (n,), no missing values.
        edges: Ascending interval edges; values outside belong to the nearest interval.

    Returns:
        The curve; None with fewer than two edges or no rows: there is no shape.
    """
    x, cuts = np.asarray(values, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if cuts.size < 2 or x.size == 0:
        return None
    cuts = _without_empty(x, cuts)
    place = _interval(x, cuts)
    counts = np.bincount(place, minlength=cuts.size - 1).astype(np.int64)
    delta = np.asarray(predict(cuts[place + 1]), dtype=np.float64) - np.asarray(predict(cuts[place]), dtype=np.float64)
    delta = delta.reshape(x.size, -1)
    sums = [np.bincount(place, weights=delta[:, k], minlength=counts.size) for k in range(delta.shape[1])]
    local: Floats = np.column_stack(sums) / counts[:, None]
    effect: Floats = np.vstack([np.zeros((1, local.shape[1])), np.cumsum(local, axis=0)])
    middle = (effect[1:] + effect[:-1]) / 2.0
    effect = effect - (counts[:, None] * middle).sum(axis=0) / counts.sum()
    return AleCurve(cuts, effect, local, counts)


def _interval(x: Floats, cuts: Floats) -> NDArray[np.intp]:
    place = np.searchsorted(cuts, x, side="left") - 1
    return np.clip(place, 0, cuts.size - 2)


def _without_empty(x: Floats, cuts: Floats) -> Floats:
    counts = np.bincount(_interval(x, cuts), minlength=cuts.size - 1)
    # An empty interval joins the one after it; empty ones at the end join the last that has rows.
    keep = np.concatenate([[True], counts > 0])
    keep[np.flatnonzero(keep)[-1]] = False
    keep[-1] = True
    merged: Floats = cuts[keep]
    return merged


@dataclass(frozen=True, slots=True)
class Violations:
    """Steps of curves that go against a promised direction.

    Attributes:
        steps: Adjacent steps looked at.
        violations: Steps against the direction by more than the tolerance.
        curves: Curves looked at.
        curves_violating: Curves with at least one such step.
        max_drop: Largest step against the direction, 0 if there is none.
    """

    steps: int
    violations: int
    curves: int
    curves_violating: int
    max_drop: float

    @property
    def rate(self) -> float | None:
        """Violations per step; None without steps."""
        return self.violations / self.steps if self.steps else None


def monotonicity_violations(curves: ArrayLike, direction: Direction, *, tolerance: float = 0.0) -> Violations:
    """Count the steps that go against the direction, in every curve.

    Args:
        curves: One curve (g,) or one per row (n, g), along an ascending grid.
        direction: Promised direction.
        tolerance: A step against the direction by at most this much is no violation.
    """
    table = np.atleast_2d(np.asarray(curves, dtype=np.float64))
    drop = np.diff(table, axis=1) * (-1.0 if direction == "increasing" else 1.0)
    against = drop > tolerance
    largest = float(drop.max()) if drop.size else 0.0
    return Violations(
        steps=int(drop.size),
        violations=int(np.count_nonzero(against)),
        curves=int(table.shape[0]),
        curves_violating=int(np.count_nonzero(against.any(axis=1))),
        max_drop=max(largest, 0.0),
    )


def isotonic_distance(curve: ArrayLike, direction: Direction) -> float:
    """Sum of absolute distances from a curve to the nearest one (least squares) that keeps the direction.

    Args:
        curve: Values along an ascending grid, (g,).
        direction: Promised direction.
    """
    y = np.asarray(curve, dtype=np.float64)
    if y.size == 0:
        return 0.0
    fitted = isotonic_regression(y, increasing=direction == "increasing").x
    return float(np.abs(y - fitted).sum())

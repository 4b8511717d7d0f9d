"""Axes: where a value lies on paper, and which ticks say so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from countermark.charts.svg import SMALL, text_width
from countermark.records.evidence import Format
from countermark.records.formats import NARROW_SPACE

_LABEL_GAP = 6.0
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A numeric axis.

    Attributes:
        low: Value at ``start``.
        high: Value at ``end``.
        start: Paper coordinate of ``low``.
        end: Paper coordinate of ``high``.
        kind: ``linear`` or ``log``.
        ticks: Tick values, inside the axis.
        labels: Printed tick texts.
    """

    low: float
    high: float
    start: float
    end: float
    kind: Literal["linear", "log"]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def at(self, value: float) -> float:
        """Paper coordinate of a value; values outside are held at the ends."""
        if self.kind == "log":
            if value <= 0:
                return self.start
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that are there."""
    return [float(v) for v in values if v is not None]


def linear_scale(
    values: Sequence[float], span: tuple[float, float], style: Format, *, zero: bool = False, count: int = 5
) -> Scale:
    """A linear axis that holds all values on round ticks.

    Args:
        values: Everything that must be visible.
        span: Paper coordinates of the two ends.
        style: Format of the tick labels.
        zero: Whether the axis must contain zero, as it must for bars.
        count: Aimed number of steps.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = 1.0 if style == "int" else abs(high) * 0.1 or 1.0
        low, high = low - (0.0 if zero and low >= 0 else pad), high + pad
    step = _step((high - low) / count)
    if style == "int" and step != round(step):
        # Nothing is counted in halves.
        step = 1.0 if step < 1.0 else 5.0
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(k * step for k in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], *span, "linear", ticks, tuple(_tick(t, step, style) for t in ticks))


def fitting_scale(
    values: Sequence[float], span: tuple[float, float], style: Format, *, zero: bool = False, count: int = 5
) -> Scale:
    """A linear axis with as many steps, ``count`` at most, as their labels leave room for along a horizontal axis."""
    scale = linear_scale(values, span, style, zero=zero, count=count)
    while count > 1 and not _apart(scale):
        count -= 1
        scale = linear_scale(values, span, style, zero=zero, count=count)
    return scale


def _apart(scale: Scale) -> bool:
    ends = [(scale.at(t), text_width(label, SMALL) / 2) for t, label in zip(scale.ticks, scale.labels, strict=True)]
    return all(a[0] + a[1] + _LABEL_GAP <= b[0] - b[1] for a, b in itertools.pairwise(ends))


def log_scale(values: Sequence[float], span: tuple[float, float], style: Format) -> Scale:
    """A log axis over the decades of the positive values; 1-2-5 ticks where the range is short."""
    positive = [v for v in values if v > 0] or [0.1, 1.0]
    first, last = math.floor(math.log10(min(positive)) + 1e-9), math.ceil(math.log10(max(positive)) - 1e-9)
    if first == last:
        last += 1
    parts = (1, 2, 5) if last - first <= 3 else (1,)
    candidates = [part * 10.0**k for k in range(first, last + 1) for part in parts]
    low = max((c for c in candidates if c <= min(positive) * (1 + 1e-9)), default=10.0**first)
    high = min((c for c in candidates if c >= max(positive) * (1 - 1e-9)), default=10.0**last)
    if low >= high:
        low, high = 10.0**first, 10.0**last
    ticks = tuple(c for c in candidates if low <= c <= high)
    labels = tuple(_tick(t, 10.0 ** math.floor(math.log10(t) + 1e-9), style) for t in ticks)
    return Scale(low, high, *span, "log", ticks, labels)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    for nice in _NICE:
        if rough <= nice * power * (1 + 1e-9):
            return nice * power
    return 10.0 * power


def _tick(value: float, step: float, style: Format) -> str:
    """A tick label with as many decimals as the step needs."""
    if style in ("share", "points"):
        value, step = value * 100, step * 100
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    text = f"{value:,.{decimals}f}".replace(",", NARROW_SPACE)
    return text.replace("-", "−") if float(value) <= -0.5 * 10.0**-decimals else text.replace("-", "")


def axis_title(label: str, style: Format) -> str:
    """The axis label with the unit that its ticks are printed in."""
    unit = {"share": "%", "points": "percentage points"}.get(style)
    if unit is None or not label or "%" in label or unit in label:
        return label
    return f"{label} ({unit})"

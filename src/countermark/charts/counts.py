"""How many rows stand behind each point of an ``xy`` figure: as numbers under the axis, or as bars."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from countermark.charts.frame import Frame
from countermark.charts.palette import AXIS, INK, MUTED, Look
from countermark.charts.svg import SMALL, Canvas, shorten, text_width
from countermark.records.evidence import Series
from countermark.records.formats import ABSENT, format_value

_PRINTED = 13.0
_STRIP = 24.0
_ROW = 13.0
_NOTE = 14.0
_MOST_PRINTED = 4
_ONE_STRIP = "#9AA5B1"


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one figure.

    Attributes:
        series: Series with counts; equal counts stand once.
        looks: How they are drawn.
        mode: ``none``; ``printed``, a row of numbers per series; ``strip``, one row of bars; ``rows``, a row of bars
            per series, where series do not share their points.
    """

    series: tuple[Series, ...]
    looks: tuple[Look, ...]
    mode: str

    @property
    def height(self) -> float:
        """Room under the axis."""
        taken = {
            "none": 0.0,
            "printed": _PRINTED * len(self.series) + 3,
            "strip": _NOTE + _STRIP - 8,
            "rows": _NOTE + _ROW * len(self.series),
        }
        return taken[self.mode]

    def name(self, one: Series) -> str:
        """What a row of printed numbers is called."""
        return "n" if len(self.series) == 1 else f"n, {one.name}"

    def total(self, one: Series) -> int:
        """All rows behind a series."""
        return sum(one.n or ())


def counts_of(series: Sequence[Series], looks: Sequence[Look]) -> Counts:
    """The series that have counts, before it is known how they fit."""
    shown: list[tuple[Series, Look]] = []
    for one, look in zip(series, looks, strict=True):
        if one.n is not None and not any(one.n == s.n and one.x == s.x for s, _ in shown):
            shown.append((one, look))
    kept, drawn = tuple(s for s, _ in shown), tuple(look for _, look in shown)
    return Counts(kept, drawn, "printed" if kept else "none")


def fitted(counts: Counts, frame: Frame) -> Counts:
    """The same counts with the way of showing them that fits a plot."""
    if not counts.series or _fit_as_numbers(counts, frame):
        return counts
    shared = frame.x is None or all(one.x == counts.series[0].x for one in counts.series)
    mode = "strip" if shared and len(counts.series) <= _MOST_PRINTED else "rows"
    return Counts(counts.series, counts.looks, mode)


def names_width(counts: Counts, most: float) -> float:
    """Width of the names of the printed rows."""
    longest = max((text_width(counts.name(s), SMALL) for s in counts.series), default=0.0)
    return min(longest + 8, most) if counts.series else 0.0


def draw_counts(canvas: Canvas, frame: Frame, counts: Counts, top: float) -> None:
    """Draw under the axis; ``top`` is where the axis and its title end."""
    if counts.mode == "printed":
        _print_numbers(canvas, frame, counts, top)
    elif counts.mode != "none":
        bars = [n for one in counts.series for n in one.n or ()]
        largest, total = max((1, *bars)), sum(bars)
        note = f"n per point: largest {format_value(largest, 'int')}, in all {format_value(total, 'int')}"
        canvas.text((frame.left, top + 10), note, colour=MUTED)
        draw = _draw_strip if counts.mode == "strip" else _draw_rows
        draw(canvas, frame, counts, top + _NOTE, largest)


def _fit_as_numbers(counts: Counts, frame: Frame) -> bool:
    if len(counts.series) > _MOST_PRINTED:
        return False
    for one in counts.series:
        centres = [frame.x_at(x) for x in one.x]
        gap = min((b - a for a, b in itertools.pairwise(centres)), default=60.0)
        if any(text_width(_number(n), SMALL) + 5 > gap for n in one.n or ()):
            return False
    return True


def _number(n: int) -> str:
    """No rows behind a point is no count: the point is an end."""
    return format_value(n, "int") if n else ABSENT


def _print_numbers(canvas: Canvas, frame: Frame, counts: Counts, top: float) -> None:
    for row, one in enumerate(counts.series):
        y = top + 9 + _PRINTED * row
        canvas.text((0, y), shorten(counts.name(one), SMALL, frame.left - 4), colour=MUTED)
        for x, n in zip(one.x, one.n or (), strict=True):
            text = _number(n)
            middle = min(frame.x_at(x), canvas.width - text_width(text, SMALL) / 2)
            canvas.text((middle, y), text, anchor="middle", colour=INK)


def _draw_strip(canvas: Canvas, frame: Frame, counts: Counts, top: float, largest: int) -> None:
    base = top + _STRIP - 10
    slots = sorted({frame.x_at(x) for one in counts.series for x in one.x})
    gap = min((b - a for a, b in itertools.pairwise(slots)), default=12.0)
    several = len(counts.series)
    # Series that never meet at a point need no room beside one another.
    shared = sum(len(one.x) for one in counts.series) > len(slots)
    width = min(12.0, max(0.8, gap * 0.8)) / (several if shared else 1)
    for k, (one, look) in enumerate(zip(counts.series, counts.looks, strict=True)):
        shift = (k - (several - 1) / 2) * width if shared else 0.0
        colour = look.colour if several > 1 else _ONE_STRIP
        _bars(canvas, frame, one, (base, (_STRIP - 10) / largest, width, shift), colour)
    canvas.line((frame.left, base), (frame.right, base), AXIS, 0.8)


def _draw_rows(canvas: Canvas, frame: Frame, counts: Counts, top: float, largest: int) -> None:
    for row, (one, look) in enumerate(zip(counts.series, counts.looks, strict=True)):
        base = top + _ROW * (row + 1) - 2
        canvas.markers([(frame.left - 10, base - 4)], look.marker, look.colour, look.hollow)
        _bars(canvas, frame, one, (base, (_ROW - 3) / largest, 4.0, 0.0), look.colour)
        canvas.line((frame.left, base), (frame.right, base), AXIS, 0.6)


def _bars(canvas: Canvas, frame: Frame, one: Series, place: tuple[float, float, float, float], colour: str) -> None:
    base, per_row, width, shift = place
    for x, n in zip(one.x, one.n or (), strict=True):
        height = max(0.5, per_row * n) if n else 0.0
        canvas.rect((frame.x_at(x) + shift - width / 2, base - height), (width, height), colour)

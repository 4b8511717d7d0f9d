"""Names of reference lines, placed where they cover no data and not one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from countermark.charts.frame import Frame
from countermark.charts.palette import PAPER, REFERENCE
from countermark.charts.svg import SMALL, Canvas, Point, shorten, text_width
from countermark.records.evidence import Figure, ReferenceLine

_STEP = 3.0
_ROW = 13.0
_COVERED = 1000
"""What covering another name weighs against covering one point of data."""
_ON_DIAGONAL = (0.78, 0.62, 0.46, 0.9, 0.3, 0.16)


@dataclass(slots=True)
class _Sheet:
    """What lies on a plot already: points of the data, and boxes (left, top, right, bottom) of names."""

    data: Sequence[Point]
    names: list[tuple[float, float, float, float]] = field(default_factory=list)

    def cost(self, box: tuple[float, float, float, float]) -> int:
        left, top, right, bottom = box
        hit = sum(left <= x <= right and top <= y <= bottom for x, y in self.data)
        return hit + _COVERED * sum(_overlap(box, other) for other in self.names)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def along(points: Iterable[Point]) -> list[Point]:
    """Points of a polyline a few units apart, so that a name can be kept off it."""
    found: list[Point] = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0)) / _STEP))
        found += [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps + 1)]
    return found


def draw_reference_lines(canvas: Canvas, figure: Figure, frame: Frame, data: Sequence[Point]) -> None:
    """Draw limits, parity and the diagonal with their names.

    Args:
        canvas: Where to draw.
        figure: The figure with its lines.
        frame: The plot.
        data: Points of everything that is drawn, which no name may cover if it can be helped.
    """
    sheet = _Sheet(data)
    for line in figure.lines:
        ends = _ends(line, frame)
        if ends is not None:
            canvas.path(ends, REFERENCE, 1.0, "4 3")
    for line in figure.lines:
        ends = _ends(line, frame)
        if ends is not None:
            _name(canvas, frame, sheet, line, ends)


def _ends(line: ReferenceLine, frame: Frame) -> tuple[Point, Point] | None:
    if line.axis == "diagonal" and frame.x is not None:
        low, high = max(frame.x.low, frame.y.low), min(frame.x.high, frame.y.high)
        return (frame.x.at(low), frame.y.at(low)), (frame.x.at(high), frame.y.at(high))
    if line.axis == "y" and line.value is not None:
        return (frame.left, frame.y.at(line.value)), (frame.right, frame.y.at(line.value))
    if line.axis == "x" and line.value is not None and frame.x is not None:
        return (frame.x.at(line.value), frame.top), (frame.x.at(line.value), frame.bottom)
    return None


def _name(canvas: Canvas, frame: Frame, sheet: _Sheet, line: ReferenceLine, ends: tuple[Point, Point]) -> None:
    text = shorten(line.label, SMALL, frame.right - frame.left)
    width = text_width(text, SMALL)
    inside = [
        (x, y)
        for x, y in _candidates(line, frame, ends, width)
        if frame.left - 1 <= x and x + width <= frame.right + 1 and frame.top + 8 <= y <= frame.bottom - 2
    ]
    boxes = [((x, y), (x - 2, y - 8.5, x + width + 2, y + 2.5)) for x, y in inside or [(frame.left, frame.top + 10)]]
    (x, y), box = min(boxes, key=lambda place: sheet.cost(place[1]))
    if sheet.cost(box) == 0:
        # The line and the grid stop at the name; data never do.
        canvas.rect((box[0], box[1]), (box[2] - box[0], box[3] - box[1]), PAPER)
    canvas.text((x, y), text, colour=REFERENCE)
    sheet.names.append(box)


def _candidates(line: ReferenceLine, frame: Frame, ends: tuple[Point, Point], width: float) -> list[Point]:
    """Left ends of the baseline of a name, the best first."""
    (x0, y0), (x1, y1) = ends
    if line.axis == "y":
        lefts = (frame.right - 2 - width, frame.left + 4, (frame.left + frame.right - width) / 2)
        return [(left, y) for left in lefts for y in (y0 - 4, y0 + 11)]
    if line.axis == "x":
        rows = [frame.top + 10 + _ROW * k for k in range(int((frame.bottom - frame.top) / _ROW))]
        return [(left, y) for y in rows for left in (x0 + 4, x0 - 4 - width)]
    places = [(x0 + 0.97 * (x1 - x0) - width, y0 + 0.78 * (y1 - y0))]
    for share in _ON_DIAGONAL:
        x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        places += [(x + 8, y + 12), (x - 8 - width, y - 5)]
    return places

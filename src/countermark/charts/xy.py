"""Series over a numeric or categorical x: lines, points, steps, areas and vertical bars."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from countermark.charts.legend import MARKED_POINTS, ROW, draw_legend, legend_rows, legend_width
from countermark.charts.palette import AXIS, GRID, INK, MUTED, PAPER, REFERENCE, Look, looks_for
from countermark.charts.scales import Scale, axis_title, finite, linear_scale, log_scale
from countermark.charts.svg import SMALL, Canvas, shorten, text_width, wrap
from countermark.records.evidence import Figure, Series
from countermark.records.formats import format_value

FULL = 640.0
HALF = 306.0
_PLOT_HEIGHT = {"full": 158.0, "half": 130.0}
_SQUARE_HEIGHT = 180.0
"""Half figures that are read against a diagonal stay nearly square."""
_TITLE_GAP = 14.0
_MAX_BAND = 40
_STRIP = 24.0


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the plot lies and how values map to it."""

    left: float
    right: float
    top: float
    bottom: float
    x: Scale | None
    categories: tuple[str, ...]
    y: Scale

    def x_at(self, value: float | str) -> float:
        if self.x is not None:
            return self.x.at(float(value))
        slot = (self.right - self.left) / max(1, len(self.categories))
        return self.left + slot * (self.categories.index(str(value)) + 0.5)

    @property
    def slot(self) -> float:
        return (self.right - self.left) / max(1, len(self.categories))


def draw_xy(figure: Figure) -> str:
    """Draw an ``xy`` figure.

    Intervals are error bars up to 40 points and a solid pale band beyond. Counts are printed under the axis
    where they fit, and otherwise drawn as a strip of bars whose maximum is printed.
    """
    width = FULL if figure.size == "full" else HALF
    looks = looks_for(figure.series)
    title = shorten(axis_title(figure.y_label, figure.y_format), SMALL, width)
    titled = text_width(title, SMALL) + _TITLE_GAP if title else 0.0
    rows = legend_rows(figure.series, looks, width)
    beside = len(rows) == 1 and titled + legend_width(rows[0]) <= width
    top = (0.0 if beside else len(rows) * ROW) + (22.0 if title else 10.0 + ROW * beside)
    bottom = top + (_SQUARE_HEIGHT if _is_square(figure) else _PLOT_HEIGHT[figure.size])
    frame = _frame(figure, width, top, bottom)
    counted = _counts(figure.series)
    labels = _category_labels(frame)
    label_lines = max((len(lines) for lines in labels), default=1) if frame.x is None else 1
    foot = 6 + 12.0 * label_lines + (16.0 if figure.x_label else 3.0)
    printed = bool(counted) and _counts_fit(frame, counted)
    extra = 13.0 * len(counted) + 3 if printed else (_STRIP + 12.0 if counted else 0.0)
    canvas = Canvas(width, bottom + foot + extra)
    draw_legend(
        canvas, rows, width - legend_width(rows[0]) if beside else 0.0, top - 9 - ROW / 2 - 3.4 if beside else 0.0
    )
    canvas.text((0, top - 9), title, colour=MUTED)
    _draw_axes(canvas, frame, labels)
    _draw_series(canvas, figure, frame, looks)
    _draw_lines(canvas, figure, frame)
    if figure.x_label:
        title = axis_title(figure.x_label, figure.x_format)
        canvas.text(((frame.left + frame.right) / 2, bottom + foot - 4), title, anchor="middle", colour=MUTED)
    if printed:
        _print_counts(canvas, frame, counted, bottom + foot)
    elif counted:
        _draw_strip(canvas, frame, counted, _looks_of(counted, figure.series, looks), bottom + foot)
    return canvas.document(figure.alt)


def _frame(figure: Figure, width: float, top: float, bottom: float) -> _Frame:
    ys = [v for s in figure.series for v in finite((*s.y, *(s.low or ()), *(s.high or ())))]
    ys += [line.value for line in figure.lines if line.axis == "y" and line.value is not None]
    zero = any(s.mark in ("bars", "area") for s in figure.series)
    if figure.y_scale == "log":
        y = log_scale(ys, (bottom, top), figure.y_format)
    else:
        y = linear_scale(ys, (bottom, top), figure.y_format, zero=zero)
    left = max(20.0, max((text_width(label, SMALL) for label in y.labels), default=0.0) + 8)
    counted = _counts(figure.series)
    if counted:
        longest = max((text_width(_count_name(s, counted), SMALL) for s in counted), default=0.0)
        left = max(left, min(longest + 8, width * 0.22))
    right = width - 8.0
    if _is_categorical(figure):
        categories: list[str] = []
        for one in figure.series:
            categories.extend(str(v) for v in one.x if str(v) not in categories)
        return _Frame(left, right, top, bottom, None, tuple(categories), y)
    xs = [float(v) for s in figure.series for v in s.x]
    xs += [line.value for line in figure.lines if line.axis == "x" and line.value is not None]
    span = (left, right - 6)
    if figure.x_scale == "log":
        x = log_scale(xs, span, figure.x_format)
    else:
        x = linear_scale(xs, span, figure.x_format, count=5 if figure.size == "half" else 8)
    return _Frame(left, right, top, bottom, x, (), y)


def _is_square(figure: Figure) -> bool:
    return figure.size == "half" and any(line.axis == "diagonal" for line in figure.lines)


def _is_categorical(figure: Figure) -> bool:
    return any(isinstance(v, str) for s in figure.series for v in s.x)


def _draw_axes(canvas: Canvas, frame: _Frame, labels: list[list[str]]) -> None:
    y = frame.y
    grid = [((frame.left, y.at(t)), (frame.right, y.at(t))) for t in y.ticks]
    canvas.segments(grid, GRID, 0.8)
    for tick, label in zip(y.ticks, y.labels, strict=True):
        canvas.text((frame.left - 5, y.at(tick) + 3.3), label, anchor="end", colour=MUTED)
    canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), AXIS, 1.0)
    if frame.x is not None:
        ticks = [((frame.x.at(t), frame.bottom), (frame.x.at(t), frame.bottom + 4)) for t in frame.x.ticks]
        canvas.segments(ticks, AXIS, 1.0)
        taken = -1e9
        for tick, label in zip(frame.x.ticks, frame.x.labels, strict=True):
            half = text_width(label, SMALL) / 2
            middle = min(frame.x.at(tick), canvas.width - half)
            if middle - half < taken:
                continue
            taken = middle + half + 7
            canvas.text((middle, frame.bottom + 14), label, anchor="middle", colour=MUTED)
        return
    for category, lines in zip(frame.categories, labels, strict=True):
        for number, text in enumerate(lines):
            at = (frame.x_at(category), frame.bottom + 14 + 12 * number)
            canvas.text(at, text, anchor="middle", colour=MUTED)


def _category_labels(frame: _Frame) -> list[list[str]]:
    """Category names in at most two lines; ordered long axes print every k-th name."""
    if frame.x is not None or not frame.categories:
        return []
    room = frame.slot - 5
    if all(text_width(name, SMALL) <= room for name in frame.categories):
        return [[name] for name in frame.categories]
    if len(frame.categories) <= 12 and room >= 34:
        return [wrap(name, SMALL, room, 2) for name in frame.categories]
    widest = min(90.0, max(text_width(name, SMALL) for name in frame.categories))
    every = max(1, -int(-(widest + 8) // frame.slot))
    room = every * frame.slot - 4
    return [[shorten(name, SMALL, room)] if k % every == 0 else [] for k, name in enumerate(frame.categories)]


def _draw_series(canvas: Canvas, figure: Figure, frame: _Frame, looks: Sequence[Look]) -> None:
    bars = [s for s in figure.series if s.mark == "bars"]
    width = _bar_width(frame, bars)
    placed = list(zip(figure.series, looks, strict=True))
    for one, look in placed:
        if one.low is not None and one.high is not None and one.mark != "bars" and len(one.x) > _MAX_BAND:
            _band(canvas, frame, one, look)
    shifts = _shifts(figure.series, frame)
    for (one, look), shift in zip(placed, shifts, strict=True):
        if one.mark == "bars":
            _bars(canvas, frame, one, look, (shift, width))
        else:
            _curve(canvas, frame, one, look, shift)


def _bar_width(frame: _Frame, bars: Sequence[Series]) -> float:
    if not bars:
        return 0.0
    if frame.x is None:
        return min(34.0, frame.slot * 0.74 / len(bars))
    points = sorted({frame.x.at(float(v)) for s in bars for v in s.x})
    gap = min((b - a for a, b in itertools.pairwise(points)), default=30.0)
    return min(34.0, gap * 0.86 / len(bars))


def _shifts(series: Sequence[Series], frame: _Frame) -> list[float]:
    """Sideways offsets, so that bars and error bars of several series do not cover each other."""
    bars = [s for s in series if s.mark == "bars"]
    width = _bar_width(frame, bars)
    dodge = [s for s in series if s.mark == "points" or (s.low is not None and len(s.x) <= _MAX_BAND)]
    dodge = [s for s in dodge if s.mark != "bars"]
    step = min(9.0, frame.slot * 0.5 / len(dodge)) if frame.x is None and len(dodge) > 1 else 0.0
    shifts, bar, dot = [], 0, 0
    for one in series:
        if one.mark == "bars":
            shifts.append((bar - (len(bars) - 1) / 2) * width)
            bar += 1
        elif any(one is other for other in dodge):
            shifts.append((dot - (len(dodge) - 1) / 2) * step)
            dot += 1
        else:
            shifts.append(0.0)
    return shifts


def _points(frame: _Frame, one: Series, values: Sequence[float | None], shift: float) -> list[tuple[float, float]]:
    log = frame.y.kind == "log"
    return [
        (frame.x_at(x) + shift, frame.y.at(y))
        for x, y in zip(one.x, values, strict=True)
        if y is not None and not (log and y <= 0)
    ]


def _runs(frame: _Frame, one: Series, shift: float) -> list[list[tuple[float, float]]]:
    """Unbroken stretches of a line; a missing value breaks it."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(one.x, one.y, strict=True):
        if y is None or (frame.y.kind == "log" and y <= 0):
            runs.append([])
        else:
            runs[-1].append((frame.x_at(x) + shift, frame.y.at(y)))
    return [run for run in runs if run]


def _curve(canvas: Canvas, frame: _Frame, one: Series, look: Look, shift: float) -> None:
    if one.low is not None and one.high is not None and len(one.x) <= _MAX_BAND:
        _whiskers(canvas, frame, one, look, shift)
    if one.mark != "points":
        for run in _runs(frame, one, shift):
            points = _stairs(run) if one.mark == "step" else run
            if one.mark == "area":
                base = frame.y.at(frame.y.low)
                canvas.polygon([(points[0][0], base), *points, (points[-1][0], base)], look.tint)
            canvas.path(points, look.colour, 1.8, look.dash)
    if one.mark == "points" or (one.mark == "line" and len(one.x) <= MARKED_POINTS):
        canvas.markers(_points(frame, one, one.y, shift), look.marker, look.colour, look.hollow)


def _stairs(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    points = [run[0]]
    for (_, before), (x, y) in itertools.pairwise(run):
        points += [(x, before), (x, y)]
    return points


def _whiskers(canvas: Canvas, frame: _Frame, one: Series, look: Look, shift: float, colour: str = "") -> None:
    lines = []
    for x, low, high in zip(one.x, one.low or (), one.high or (), strict=True):
        if low is None or high is None:
            continue
        at, a, b = frame.x_at(x) + shift, frame.y.at(low), frame.y.at(high)
        lines += [((at, a), (at, b)), ((at - 3, a), (at + 3, a)), ((at - 3, b), (at + 3, b))]
    canvas.segments(lines, colour or look.colour, 1.1)


def _band(canvas: Canvas, frame: _Frame, one: Series, look: Look) -> None:
    low = _points(frame, one, one.low or (), 0.0)
    high = _points(frame, one, one.high or (), 0.0)
    if low and high:
        canvas.polygon([*high, *reversed(low)], look.tint)


def _bars(canvas: Canvas, frame: _Frame, one: Series, look: Look, place: tuple[float, float]) -> None:
    shift, width = place
    base = frame.y.at(0.0) if frame.y.kind == "linear" else frame.bottom
    for x, y in _points(frame, one, one.y, shift):
        canvas.rect((x - width / 2 + 0.5, min(y, base)), (width - 1, abs(base - y)), look.colour)
    if one.low is not None and one.high is not None:
        _whiskers(canvas, frame, one, look, shift, colour=INK)


def _draw_lines(canvas: Canvas, figure: Figure, frame: _Frame) -> None:
    for number, line in enumerate(figure.lines):
        if line.axis == "diagonal" and frame.x is not None:
            low = max(frame.x.low, frame.y.low)
            high = min(frame.x.high, frame.y.high)
            ends = [(frame.x.at(v), frame.y.at(v)) for v in (low, high)]
            canvas.path(ends, REFERENCE, 1.0, "4 3")
            anchor = (frame.x.at(low + 0.97 * (high - low)), frame.y.at(low + 0.78 * (high - low)))
            _label(canvas, anchor, line.label, "end")
        elif line.axis == "y" and line.value is not None:
            y = frame.y.at(line.value)
            canvas.path([(frame.left, y), (frame.right, y)], REFERENCE, 1.0, "4 3")
            _label(canvas, (frame.right - 2, y - 4 if y - 14 > frame.top else y + 11), line.label, "end")
        elif line.axis == "x" and line.value is not None and frame.x is not None:
            x = frame.x.at(line.value)
            canvas.path([(x, frame.top), (x, frame.bottom)], REFERENCE, 1.0, "4 3")
            side = x + text_width(line.label, SMALL) + 6 > frame.right
            at = (x - 4 if side else x + 4, frame.top + 10 + 13 * (number % 3))
            _label(canvas, at, line.label, "end" if side else "start")


def _label(canvas: Canvas, at: tuple[float, float], text: str, anchor: str) -> None:
    width = text_width(text, SMALL)
    left = at[0] - width if anchor == "end" else at[0]
    canvas.rect((left - 2, at[1] - 8.5), (width + 4, 11), PAPER)
    canvas.text((left, at[1]), text, colour=REFERENCE)


def _counts(series: Sequence[Series]) -> list[Series]:
    """Series with counts; equal counts are shown once."""
    shown: list[Series] = []
    for one in series:
        if one.n is not None and not any(one.n == s.n and one.x == s.x for s in shown):
            shown.append(one)
    return shown[:4]


def _count_name(one: Series, counted: Sequence[Series]) -> str:
    return "n" if len(counted) == 1 else f"n, {one.name}"


def _counts_fit(frame: _Frame, counted: Sequence[Series]) -> bool:
    for one in counted:
        centres = [frame.x_at(x) for x in one.x]
        gap = min((b - a for a, b in itertools.pairwise(centres)), default=60.0)
        if any(text_width(format_value(n, "int"), SMALL) + 5 > gap for n in one.n or ()):
            return False
    return True


def _print_counts(canvas: Canvas, frame: _Frame, counted: Sequence[Series], top: float) -> None:
    for row, one in enumerate(counted):
        y = top + 9 + 13 * row
        name = shorten(_count_name(one, counted), SMALL, frame.left - 4)
        canvas.text((0, y), name, colour=MUTED)
        for x, n in zip(one.x, one.n or (), strict=True):
            canvas.text((frame.x_at(x), y), format_value(n, "int"), anchor="middle", colour=INK)


def _looks_of(counted: Sequence[Series], series: Sequence[Series], looks: Sequence[Look]) -> list[Look]:
    return [next(look for one, look in zip(series, looks, strict=True) if one is other) for other in counted]


def _draw_strip(canvas: Canvas, frame: _Frame, counted: Sequence[Series], looks: Sequence[Look], top: float) -> None:
    """Counts that do not fit as text: bars under the axis, the largest printed."""
    bars = [(frame.x_at(x), n, k) for k, one in enumerate(counted) for x, n in zip(one.x, one.n or (), strict=True)]
    largest, total = max((1, *(n for _, n, _ in bars))), sum(n for _, n, _ in bars)
    base = top + 8 + _STRIP
    slots = sorted({x for x, _, _ in bars})
    gap = min((b - a for a, b in itertools.pairwise(slots)), default=12.0)
    shared = len(bars) > len(slots)
    width = min(12.0, max(0.8, gap * 0.8)) / (len(counted) if shared else 1)
    note = f"n per point: largest {format_value(largest, 'int')}, in all {format_value(total, 'int')}"
    canvas.text((frame.left, top + 7), note, colour=MUTED)
    for x, n, k in bars:
        height = (_STRIP - 10) * n / largest
        left = x - width / 2 + ((k - (len(counted) - 1) / 2) * width if shared else 0.0)
        canvas.rect((left, base - height), (width, height), looks[k].colour if len(counted) > 1 else "#9AA5B1")
    canvas.line((frame.left, base), (frame.right, base), AXIS, 0.8)

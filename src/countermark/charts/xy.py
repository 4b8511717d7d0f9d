"""Series over a numeric or categorical x: lines, points, steps, areas and vertical bars."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from countermark.charts.counts import Counts, counts_of, draw_counts, fitted, names_width
from countermark.charts.frame import FULL, HALF, SLANT, CategoryNames, Frame, category_names, with_room_for_names
from countermark.charts.labels import along, draw_reference_lines
from countermark.charts.legend import MARKED_POINTS, ROW, LegendRow, draw_legend, legend_rows, legend_width
from countermark.charts.palette import AXIS, GRID, INK, MUTED, Look, looks_for
from countermark.charts.scales import axis_title, finite, fitting_scale, linear_scale, log_scale
from countermark.charts.svg import SMALL, Canvas, Point, shorten, text_width
from countermark.records.evidence import Figure, Series
from countermark.records.formats import format_value

_PLOT_HEIGHT = {"full": 158.0, "half": 130.0}
_SQUARE_HEIGHT = 170.0
"""Half figures that are read against a diagonal stay nearly square."""
_TITLE_GAP = 14.0
_MAX_BAND = 40
_LAYERS = {"area": 0, "bars": 1, "line": 2, "step": 2, "points": 3}
"""Points lie on lines, lines on bars, and everything on bands."""
_MOST_NAMED = 0.22
"""Share of the width that the names of printed counts may take."""


def draw_xy(figure: Figure, least_top: float = 0.0) -> str:
    """Draw an ``xy`` figure.

    Intervals are error bars up to 40 points and a solid pale band beyond. Counts are printed under the axis
    where they fit, and otherwise drawn as bars whose maximum is printed.

    Args:
        figure: The figure as data.
        least_top: Where the plot begins at the earliest, so that it stands level with its neighbour's.
    """
    width = FULL if figure.size == "full" else HALF
    looks = looks_for(figure.series)
    title = shorten(axis_title(figure.y_label, figure.y_format), SMALL, width)
    height = _SQUARE_HEIGHT if _is_square(figure) else _PLOT_HEIGHT[figure.size]
    counts = _fitted_counts(figure, looks, width, height)
    rows = legend_rows(_named(figure, counts), looks, width)
    beside = _legend_beside(rows, title, width)
    top = max(least_top, _top(rows, title, beside))
    bottom = top + height
    frame = _frame(figure, counts, (width, top, bottom))
    names = category_names(frame)
    foot = 6 + (names.height if frame.x is None else 12.0) + (16.0 if figure.x_label else 3.0)
    canvas = Canvas(width, bottom + foot + counts.height)
    draw_legend(
        canvas, rows, width - legend_width(rows[0]) if beside else 0.0, top - 9 - ROW / 2 - 3.4 if beside else 0.0
    )
    canvas.text((0, top - 9), title, colour=MUTED)
    _draw_axes(canvas, frame, names)
    _draw_series(canvas, figure, frame, looks)
    draw_reference_lines(canvas, figure, frame, _drawn_points(figure, frame))
    if figure.x_label:
        title = shorten(axis_title(figure.x_label, figure.x_format), SMALL, width)
        middle = min((frame.left + frame.right) / 2, width - text_width(title, SMALL) / 2)
        canvas.text((middle, bottom + foot - 4), title, anchor="middle", colour=MUTED)
    draw_counts(canvas, frame, counts, bottom + foot)
    return canvas.document(figure.alt)


def top_of(figure: Figure) -> float:
    """Where the plot of an ``xy`` figure begins: under its legend and the title of its axis."""
    width = FULL if figure.size == "full" else HALF
    looks = looks_for(figure.series)
    title = shorten(axis_title(figure.y_label, figure.y_format), SMALL, width)
    counts = _fitted_counts(figure, looks, width, _PLOT_HEIGHT[figure.size])
    rows = legend_rows(_named(figure, counts), looks, width)
    return _top(rows, title, _legend_beside(rows, title, width))


def _legend_beside(rows: Sequence[LegendRow], title: str, width: float) -> bool:
    """Whether the legend stands in one line with the title of the axis."""
    titled = text_width(title, SMALL) + _TITLE_GAP if title else 0.0
    return len(rows) == 1 and titled + legend_width(rows[0]) <= width


def _top(rows: Sequence[LegendRow], title: str, beside: bool) -> float:
    return (0.0 if beside else len(rows) * ROW) + (22.0 if title else 10.0 + ROW * beside)


def _fitted_counts(figure: Figure, looks: Sequence[Look], width: float, height: float) -> Counts:
    """Counts as they fit a plot with room for their names."""
    counts = counts_of(figure.series, looks)
    return fitted(counts, _frame(figure, counts, (width, 0.0, height)))


def _named(figure: Figure, counts: Counts) -> Sequence[Series]:
    """Series for the legend; where counts stand in rows of bars, a name says how many rows it has in all."""
    if counts.mode != "rows":
        return figure.series
    return [
        s if s.n is None else s.model_copy(update={"name": f"{s.name} (n\u00a0=\u00a0{format_value(sum(s.n), 'int')})"})
        for s in figure.series
    ]


def _frame(figure: Figure, counts: Counts, place: tuple[float, float, float]) -> Frame:
    width, top, bottom = place
    ys = [v for s in figure.series for v in finite((*s.y, *(s.low or ()), *(s.high or ())))]
    ys += [line.value for line in figure.lines if line.axis == "y" and line.value is not None]
    zero = any(s.mark == "bars" or (s.mark == "area" and s.low is None) for s in figure.series)
    if figure.y_scale == "log":
        y = log_scale(ys, (bottom, top), figure.y_format)
    else:
        y = linear_scale(ys, (bottom, top), figure.y_format, zero=zero)
    left = max(20.0, max((text_width(label, SMALL) for label in y.labels), default=0.0) + 8)
    if counts.mode == "printed":
        left = max(left, names_width(counts, width * _MOST_NAMED))
    right = width - 8.0
    if _is_categorical(figure):
        categories: list[str] = []
        for one in figure.series:
            categories.extend(str(v) for v in one.x if str(v) not in categories)
        return with_room_for_names(Frame(width, left, right, top, bottom, None, tuple(categories), y))
    xs = [float(v) for s in figure.series for v in s.x]
    xs += [line.value for line in figure.lines if line.axis == "x" and line.value is not None]
    span = (left, right - 6)
    if figure.x_scale == "log":
        x = log_scale(xs, span, figure.x_format)
    else:
        x = fitting_scale(xs, span, figure.x_format, count=5 if figure.size == "half" else 8)
    return Frame(width, left, right, top, bottom, x, (), y)


def _is_square(figure: Figure) -> bool:
    return figure.size == "half" and any(line.axis == "diagonal" for line in figure.lines)


def _is_categorical(figure: Figure) -> bool:
    return any(isinstance(v, str) for s in figure.series for v in s.x)


def _draw_axes(canvas: Canvas, frame: Frame, names: CategoryNames) -> None:
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
            taken = middle + half + 4
            canvas.text((middle, frame.bottom + 14), label, anchor="middle", colour=MUTED)
        return
    for category, lines in zip(frame.categories, names.lines, strict=True):
        for number, text in enumerate(lines):
            if names.slanted:
                at = (frame.x_at(category) + 3, frame.bottom + 11)
                canvas.text(at, text, anchor="end", colour=MUTED, angle=SLANT)
                continue
            half = text_width(text, SMALL) / 2
            at = (min(frame.x_at(category), canvas.width - half), frame.bottom + 14 + 12 * number)
            canvas.text(at, text, anchor="middle", colour=MUTED)


def _draw_series(canvas: Canvas, figure: Figure, frame: Frame, looks: Sequence[Look]) -> None:
    width = _bar_width(frame, [s for s in figure.series if s.mark == "bars"])
    placed = list(zip(figure.series, looks, _shifts(figure.series, frame), strict=True))
    for one, look, _ in placed:
        if _has_band(one):
            _band(canvas, frame, one, look)
    for one, look, shift in sorted(placed, key=lambda item: _LAYERS[item[0].mark]):
        if one.mark == "bars":
            _bars(canvas, frame, one, look, (shift, width))
        else:
            _curve(canvas, frame, one, look, shift)


def _has_band(one: Series) -> bool:
    """Whether an interval is a band: an area between two curves, or more points than error bars can show."""
    if one.low is None or one.high is None or one.mark == "bars":
        return False
    return one.mark == "area" or len(one.x) > _MAX_BAND


def _drawn_points(figure: Figure, frame: Frame) -> list[Point]:
    """Points along everything that is drawn of the series."""
    found: list[Point] = []
    width = _bar_width(frame, [s for s in figure.series if s.mark == "bars"])
    for one, shift in zip(figure.series, _shifts(figure.series, frame), strict=True):
        points = _points(frame, one, one.y, shift)
        if one.mark == "bars":
            for x, y in points:
                found += [p for at in (x - width / 2, x, x + width / 2) for p in along([(at, frame.bottom), (at, y)])]
        elif one.mark == "points":
            found += points
        elif not _has_band(one):
            runs = _runs(frame, one, shift)
            found += [p for run in runs for p in (*run, *along(_stairs(run) if one.mark == "step" else run))]
        if one.low is not None and one.high is not None and not _has_band(one):
            ends = zip(one.x, one.low, one.high, strict=True)
            spans = [(frame.x_at(x) + shift, a, b) for x, a, b in ends if a is not None and b is not None]
            found += [p for at, a, b in spans for p in along([(at, frame.y.at(a)), (at, frame.y.at(b))])]
    return found


def _bar_width(frame: Frame, bars: Sequence[Series]) -> float:
    if not bars:
        return 0.0
    if frame.x is None:
        return min(34.0, frame.slot * 0.74 / len(bars))
    points = sorted({frame.x.at(float(v)) for s in bars for v in s.x})
    gap = min((b - a for a, b in itertools.pairwise(points)), default=30.0)
    return min(34.0, gap * 0.86 / len(bars))


def _shifts(series: Sequence[Series], frame: Frame) -> list[float]:
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


def _points(frame: Frame, one: Series, values: Sequence[float | None], shift: float) -> list[tuple[float, float]]:
    log = frame.y.kind == "log"
    return [
        (frame.x_at(x) + shift, frame.y.at(y))
        for x, y in zip(one.x, values, strict=True)
        if y is not None and not (log and y <= 0)
    ]


def _runs(frame: Frame, one: Series, shift: float) -> list[list[tuple[float, float]]]:
    """Unbroken stretches of a line; a missing value breaks it."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(one.x, one.y, strict=True):
        if y is None or (frame.y.kind == "log" and y <= 0):
            runs.append([])
        else:
            runs[-1].append((frame.x_at(x) + shift, frame.y.at(y)))
    return [run for run in runs if run]


def _curve(canvas: Canvas, frame: Frame, one: Series, look: Look, shift: float) -> None:
    if one.mark == "area" and _has_band(one):
        return
    if one.low is not None and one.high is not None and not _has_band(one):
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


def _whiskers(canvas: Canvas, frame: Frame, one: Series, look: Look, shift: float, colour: str = "") -> None:
    lines = []
    for x, low, high in zip(one.x, one.low or (), one.high or (), strict=True):
        if low is None or high is None:
            continue
        at, a, b = frame.x_at(x) + shift, frame.y.at(low), frame.y.at(high)
        lines += [((at, a), (at, b)), ((at - 3, a), (at + 3, a)), ((at - 3, b), (at + 3, b))]
    canvas.segments(lines, colour or look.colour, 1.1)


def _band(canvas: Canvas, frame: Frame, one: Series, look: Look) -> None:
    low = _points(frame, one, one.low or (), 0.0)
    high = _points(frame, one, one.high or (), 0.0)
    if low and high:
        canvas.polygon([*high, *reversed(low)], look.tint)


def _bars(canvas: Canvas, frame: Frame, one: Series, look: Look, place: tuple[float, float]) -> None:
    shift, width = place
    base = frame.y.at(0.0) if frame.y.kind == "linear" else frame.bottom
    for x, y in _points(frame, one, one.y, shift):
        canvas.rect((x - width / 2 + 0.5, min(y, base)), (width - 1, abs(base - y)), look.colour)
    if one.low is not None and one.high is not None:
        _whiskers(canvas, frame, one, look, shift, colour=INK)

"""Figures with one row per category: bars, forests and waterfalls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from countermark.charts.frame import FULL, HALF
from countermark.charts.legend import ROW, draw_legend, legend_rows
from countermark.charts.palette import ACCENT, AXIS, GRID, INK, MUTED, REFERENCE, Look, looks_for
from countermark.charts.scales import Scale, axis_title, finite, fitting_scale, log_scale
from countermark.charts.svg import SMALL, Canvas, shorten, text_width
from countermark.records.evidence import Figure, Series
from countermark.records.formats import ABSENT, NARROW_SPACE, format_column, format_value, interval_text, unit_of

Texts: TypeAlias = tuple[str, ...]
_UP = Look("#B3480A", "#FBE3D3", "", "triangle")
_DOWN = Look("#0072B2", "#D3E8F4", "", "square")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows lie: label column, plot, value column."""

    names: tuple[str, ...]
    left: float
    right: float
    top: float
    height: float
    scale: Scale
    columns: tuple[float, ...]

    def centre(self, row: int) -> float:
        return self.top + self.height * (row + 0.5)

    @property
    def bottom(self) -> float:
        return self.top + self.height * len(self.names)


def draw_bars(figure: Figure) -> str:
    """Horizontal bars from zero, their interval as whiskers, their value as text."""
    looks = looks_for(figure.series)
    names = _names(figure.series)
    each = 15.0 if len(figure.series) == 1 else 11.0 * len(figure.series) + 5
    values = finite(v for s in figure.series for v in (*s.y, *(s.low or ()), *(s.high or ())))
    texts = _texts(figure)
    canvas, rows = _layout(figure, looks, names, values, each, _all(texts), zero=True)
    thick = min(11.0, (each - 3) / max(1, len(figure.series)))
    base = rows.scale.at(0.0)
    for number, (one, look) in enumerate(zip(figure.series, looks, strict=True)):
        offset = (number - (len(figure.series) - 1) / 2) * thick
        whiskers = []
        for index, name in enumerate(one.x):
            value, y = one.y[index], rows.centre(names.index(str(name))) + offset
            if value is not None:
                x = rows.scale.at(value)
                canvas.rect((min(x, base), y - thick / 2 + 0.5), (abs(x - base), thick - 1), look.colour)
                whiskers += _whisker(rows, one, index, y)
            _print_row(canvas, rows, texts[number][index], y)
        canvas.segments(whiskers, INK, 1.1)
    canvas.line((base, rows.top), (base, rows.bottom), AXIS, 1.0)
    return canvas.document(figure.alt)


def draw_forest(figure: Figure) -> str:
    """Point and interval per category with the numbers beside them."""
    looks = looks_for(figure.series)
    names = _names(figure.series)
    each = 17.0 if len(figure.series) == 1 else 13.0 * len(figure.series) + 5
    values = finite(v for s in figure.series for v in (*s.y, *(s.low or ()), *(s.high or ())))
    texts = _texts(figure)
    canvas, rows = _layout(figure, looks, names, values, each, _all(texts), zero=False)
    for number, (one, look) in enumerate(zip(figure.series, looks, strict=True)):
        offset = (number - (len(figure.series) - 1) / 2) * 13.0
        whiskers, points = [], []
        for index, name in enumerate(one.x):
            value, y = one.y[index], rows.centre(names.index(str(name))) + offset
            whiskers += _whisker(rows, one, index, y)
            if value is not None:
                points.append((rows.scale.at(value), y))
            _print_row(canvas, rows, texts[number][index], y)
        canvas.segments(whiskers, look.colour, 1.5)
        canvas.markers(points, look.marker, look.colour, look.hollow)
    return canvas.document(figure.alt)


def draw_waterfall(figure: Figure) -> str:
    """Signed steps one after another, then their total; sign, colour and direction say the same."""
    one = figure.series[0]
    steps = [(str(x), y) for x, y in zip(one.x, one.y, strict=True)]
    total = sum(y for _, y in steps if y is not None)
    names = (*tuple(name for name, _ in steps), "Total")
    marks, running = [0.0], 0.0
    for _, y in steps:
        running += y or 0.0
        marks.append(running)
    printed = _with_unit(figure, format_column([*(y for _, y in steps), total], figure.y_format))
    signed = [f"+{t}" if y is not None and y > 0 else t for t, (_, y) in zip(printed, steps, strict=False)]
    texts = [(text,) for text in (*signed, printed[-1])]
    canvas, rows = _layout(figure, (), names, marks, 16.0, texts, zero=True, unique=False)
    running = 0.0
    for row, (_, y) in enumerate(steps):
        before, running = running, running + (y or 0.0)
        look = _UP if (y or 0.0) > 0 else _DOWN
        a, b = sorted((rows.scale.at(before), rows.scale.at(running)))
        canvas.rect((a, rows.centre(row) - 5), (max(b - a, 0.8), 10), look.colour)
        _print_row(canvas, rows, texts[row], rows.centre(row))
        joint = rows.scale.at(running)
        canvas.segments([((joint, rows.centre(row) + 5), (joint, rows.centre(row + 1) - 5))], AXIS, 0.8)
    base, end = sorted((rows.scale.at(0.0), rows.scale.at(total)))
    canvas.rect((base, rows.centre(len(steps)) - 5), (max(end - base, 0.8), 10), ACCENT)
    canvas.text((canvas.width, rows.centre(len(steps)) + 3.3), texts[-1][0], anchor="end", bold=True)
    return canvas.document(figure.alt)


def _layout(
    figure: Figure,
    looks: Sequence[Look],
    names: tuple[str, ...],
    values: Sequence[float],
    each: float,
    texts: Sequence[tuple[str, ...]],
    *,
    zero: bool,
    unique: bool = True,
) -> tuple[Canvas, _Rows]:
    """Draw everything but the rows: legend, labels, grid, axis, reference lines with their names below."""
    width = FULL if figure.size == "full" else HALF
    keys = legend_rows(figure.series, looks, width) if unique and len(figure.series) > 1 else []
    widest = max((text_width(name, SMALL) for name in names), default=0.0)
    left = min(widest + 8, width * 0.42)
    heads = _headings(figure) if unique else ("",)
    widths = [max(text_width(t, SMALL) for t in column) for column in zip(*texts, heads, strict=True)]
    ends = tuple(width - sum(w + 12 for w in widths[k + 1 :]) for k in range(len(widths)))
    right = max(left + 60, ends[0] - widths[0] - 10)
    top = len(keys) * ROW + (16.0 if any(heads) else 4.0)
    lines = [line.value for line in figure.lines if line.axis in ("x", "y") and line.value is not None]
    everything = [*values, *lines]
    span, style = (left, right - 4), figure.y_format
    log = "log" in (figure.x_scale, figure.y_scale)
    scale = log_scale(everything, span, style) if log else fitting_scale(everything, span, style, zero=zero, count=4)
    rows = _Rows(names, left, right, top, each, scale, ends)
    title = shorten(axis_title(figure.y_label or figure.x_label, figure.y_format), SMALL, width)
    named = _reference_names(figure, scale, width)
    below = rows.bottom + 17 + (14 if title else 0)
    canvas = Canvas(width, below + 13 * (1 + max((row for _, _, row in named), default=-1)))
    draw_legend(canvas, keys, 0.0, 0.0)
    for end, head in zip(ends, heads, strict=True):
        canvas.text((end, top - 5), head, anchor="end", colour=MUTED)
    _grid(canvas, rows, title)
    for x, (text, place, row) in zip(_reference_places(figure, scale), named, strict=True):
        canvas.path([(x, rows.top), (x, rows.bottom)], REFERENCE, 1.1, "4 3")
        canvas.text((place, below + 8 + 13 * row), text, anchor="middle", colour=REFERENCE)
    return canvas, rows


def _reference_places(figure: Figure, scale: Scale) -> list[float]:
    return [scale.at(line.value) for line in figure.lines if line.value is not None]


def _reference_names(figure: Figure, scale: Scale, width: float) -> list[tuple[str, float, int]]:
    """Text, middle and row of the name of each limit or parity: under the axis, no two on one place."""
    taken: list[float] = []
    found: dict[int, tuple[str, float, int]] = {}
    lines = [line for line in figure.lines if line.value is not None]
    places = _reference_places(figure, scale)
    for k in sorted(range(len(lines)), key=lambda k: places[k]):
        text = shorten(lines[k].label, SMALL, width)
        half = text_width(text, SMALL) / 2
        middle = min(max(places[k], half), width - half)
        row = next((r for r, end in enumerate(taken) if end + 8 <= middle - half), len(taken))
        taken[row:] = [middle + half, *taken[row + 1 :]]
        found[k] = (text, middle, row)
    return [found[k] for k in range(len(lines))]


def _grid(canvas: Canvas, rows: _Rows, title: str) -> None:
    scale = rows.scale
    canvas.segments([((scale.at(t), rows.top), (scale.at(t), rows.bottom)) for t in scale.ticks], GRID, 0.8)
    canvas.line((rows.left, rows.bottom), (rows.right, rows.bottom), AXIS, 1.0)
    taken = -1e9
    for tick, label in zip(scale.ticks, scale.labels, strict=True):
        half = text_width(label, SMALL) / 2
        middle = min(scale.at(tick), canvas.width - half)
        if middle - half < taken:
            continue
        taken = middle + half + 6
        canvas.text((middle, rows.bottom + 13), label, anchor="middle", colour=MUTED)
    if title:
        half = text_width(title, SMALL) / 2
        middle = min(max((rows.left + rows.right) / 2, half), canvas.width - half)
        canvas.text((middle, rows.bottom + 27), title, anchor="middle", colour=MUTED)
    for row, name in enumerate(rows.names):
        canvas.text((rows.left - 7, rows.centre(row) + 3.3), shorten(name, SMALL, rows.left - 7), anchor="end")


def _whisker(rows: _Rows, one: Series, index: int, y: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    low = None if one.low is None else one.low[index]
    high = None if one.high is None else one.high[index]
    if low is None or high is None:
        return []
    a, b = rows.scale.at(low), rows.scale.at(high)
    return [((a, y), (b, y)), ((a, y - 3), (a, y + 3)), ((b, y - 3), (b, y + 3))]


def _names(series: Sequence[Series]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(x) for s in series for x in s.x))


def _headings(figure: Figure) -> tuple[str, ...]:
    """Heads of the columns of numbers at the right: value, interval, n, as far as there are any."""
    spans = figure.chart == "forest" and any(s.low is not None for s in figure.series)
    counted = any(s.n is not None for s in figure.series)
    heads = (["Value"], ["Interval"] * spans, ["n"] * counted)
    flat = tuple(head for part in heads for head in part)
    return flat if len(flat) > 1 else ("",)


def _texts(figure: Figure) -> list[list[Texts]]:
    """The printed numbers beside each row, by series: value, interval and n; all with the same decimals."""
    heads, style = _headings(figure), figure.y_format
    columns = [(s.y, s.low or (None,) * len(s.x), s.high or (None,) * len(s.x)) for s in figure.series]
    flat = iter(format_column([v for parts in columns for part in parts for v in part], style))
    found = []
    for one, parts in zip(figure.series, columns, strict=True):
        values, lows, highs = ([next(flat) for _ in part] for part in parts)
        spans = [(interval_text(a, b),) if "Interval" in heads else () for a, b in zip(lows, highs, strict=True)]
        counts = [ABSENT] * len(one.x) if one.n is None else [format_value(n, "int") for n in one.n]
        told = [(n,) if "n" in heads else () for n in counts]
        texts = zip(_with_unit(figure, values), spans, told, strict=True)
        found.append([(value, *span, *n) for value, span, n in texts])
    return found


def _all(texts: Sequence[Sequence[Texts]]) -> list[Texts]:
    return [row for part in texts for row in part]


def _with_unit(figure: Figure, texts: Sequence[str]) -> list[str]:
    unit = unit_of(figure.y_format)
    return [f"{text}{NARROW_SPACE}{unit}" if unit and text != ABSENT else text for text in texts]


def _print_row(canvas: Canvas, rows: _Rows, texts: tuple[str, ...], y: float) -> None:
    for end, text in zip(rows.columns, texts, strict=True):
        canvas.text((end, y + 3.3), text, anchor="end")

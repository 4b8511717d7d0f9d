"""Figures on a grid of cells or boxes: heat map, tier matrix, flow."""

from __future__ import annotations

from countermark.charts.palette import ACCENT, AXIS, EMPTY, INK, MUTED, PAPER, shade
from countermark.charts.scales import axis_title, finite
from countermark.charts.svg import SMALL, Canvas, shorten, text_width, wrap
from countermark.charts.xy import FULL, HALF
from countermark.records.evidence import Figure
from countermark.records.formats import ABSENT, format_value, unit_of

_CELL_TEXT = 30.0


def draw_heatmap(figure: Figure) -> str:
    """Cells in one hue, pale to dark, each with its number; empty cells are grey and say so."""
    width = FULL if figure.size == "full" else HALF
    columns, rows = len(figure.columns), len(figure.rows)
    noted = any(note for row in figure.cell_notes for note in row)
    left = min(max((text_width(r, SMALL) for r in figure.rows), default=0.0) + 8, width * 0.34)
    cell = min(96.0, (width - left) / max(1, columns))
    high = 27.0 if noted else 18.0
    top = 18.0 if max((text_width(name, SMALL) for name in figure.columns), default=0.0) + 4 <= cell else 29.0
    values = finite(v for row in figure.cells for v in row)
    low, most = (min(values), max(values)) if values else (0.0, 0.0)
    canvas = Canvas(width, top + rows * high + 24)
    _column_names(canvas, figure, left, cell, top)
    printed = cell >= _CELL_TEXT
    for r, row in enumerate(figure.cells):
        canvas.text((left - 7, top + r * high + high / 2 + 3.4), shorten(figure.rows[r], SMALL, left - 7), anchor="end")
        for c, value in enumerate(row):
            fraction = 0.0 if value is None or most == low else (value - low) / (most - low)
            fill, ink = (EMPTY, INK) if value is None else shade(fraction)
            corner = (left + c * cell, top + r * high)
            canvas.rect(corner, (cell, high), fill, PAPER, 1.0)
            note = figure.cell_notes[r][c] if noted else ""
            if printed:
                middle = corner[1] + high / 2 + (-1.6 if note else 3.4)
                text = format_value(value, figure.y_format, unit=False)
                canvas.text((corner[0] + cell / 2, middle), text, anchor="middle", colour=ink)
                note = shorten(note, SMALL, cell - 3)
                canvas.text((corner[0] + cell / 2, middle + 11), note, anchor="middle", colour=ink)
    _heat_key(canvas, figure, (left, top + rows * high + 8), (low, most), bool(values))
    return canvas.document(figure.alt)


def _column_names(canvas: Canvas, figure: Figure, left: float, cell: float, top: float) -> None:
    widest = max((text_width(name, SMALL) for name in figure.columns), default=0.0)
    if widest + 4 <= cell or cell >= _CELL_TEXT + 14:
        every, lines = 1, 1 if widest + 4 <= cell else 2
    else:
        every, lines = max(1, -int(-(min(widest, 80.0) + 8) // cell)), 1
    for c, name in enumerate(figure.columns):
        if c % every:
            continue
        rows = wrap(name, SMALL, every * cell - 4, lines)
        for number, row in enumerate(reversed(rows)):
            canvas.text((left + (c + 0.5) * cell, top - 6 - 11 * number), row, anchor="middle", colour=MUTED)


def _heat_key(
    canvas: Canvas, figure: Figure, at: tuple[float, float], span: tuple[float, float], has_values: bool
) -> None:
    x, y = at
    style = figure.y_format
    title = axis_title(figure.y_label, style)
    canvas.text((x, y + 9), title, colour=MUTED)
    x += text_width(title, SMALL) + (12 if title else 0)
    if has_values:
        text = format_value(span[0], style, unit=False)
        canvas.text((x, y + 9), text, colour=MUTED)
        x += text_width(text, SMALL) + 5
        for step in range(5):
            canvas.rect((x + 14 * step, y + 1), (14, 9), shade(step / 4)[0])
        x += 75
        text = format_value(span[1], style, unit=False) + (f" {unit_of(style)}" if unit_of(style) and not title else "")
        canvas.text((x, y + 9), text, colour=MUTED)
        x += text_width(text, SMALL) + 16
    if any(value is None for row in figure.cells for value in row):
        canvas.rect((x, y + 1), (14, 9), EMPTY, AXIS, 0.6)
        canvas.text((x + 19, y + 9), f"{ABSENT} no value or suppressed", colour=MUTED)


def draw_matrix(figure: Figure) -> str:
    """The tier matrix; the marked cell is dark and carries words, not colour alone."""
    width = FULL if figure.size == "full" else HALF
    columns, rows = max(1, len(figure.columns)), max(1, len(figure.rows))
    left = min(max((text_width(r, SMALL) for r in figure.rows), default=0.0) + 26, width * 0.34)
    cell, high, top = min(138.0, (width - left) / columns), 40.0, 34.0
    canvas = Canvas(width, top + rows * high + 6)
    canvas.text((left + columns * cell / 2, 10), figure.x_label, anchor="middle", colour=MUTED, bold=True)
    canvas.text((9, top + rows * high / 2), figure.y_label, anchor="middle", colour=MUTED, bold=True, turned=True)
    for c, name in enumerate(figure.columns):
        canvas.text((left + (c + 0.5) * cell, top - 7), shorten(name, SMALL, cell - 4), anchor="middle", colour=MUTED)
    for r, row in enumerate(figure.cells):
        y = top + r * high
        canvas.text((left - 7, y + high / 2 + 3.4), shorten(figure.rows[r], SMALL, left - 24), anchor="end")
        for c, value in enumerate(row):
            marked = value == 1
            canvas.rect((left + c * cell + 1, y + 1), (cell - 2, high - 2), ACCENT if marked else "#EEF2F6")
            note = figure.cell_notes[r][c] if figure.cell_notes else ""
            ink = PAPER if marked else MUTED
            middle = left + (c + 0.5) * cell
            if marked:
                canvas.text((middle, y + 17), "● this model", anchor="middle", colour=ink, bold=True)
            below = y + (31 if marked else high / 2 + 3.4)
            canvas.text((middle, below), shorten(note, SMALL, cell - 8), anchor="middle", colour=ink)
    return canvas.document(figure.alt)


def draw_flow(figure: Figure) -> str:
    """Boxes in order, each with its count; arrows say what was lost between two."""
    one = figure.series[0]
    width = FULL if figure.size == "full" else HALF
    per_row = 4 if figure.size == "full" else 2
    gap, high, step = 34.0, 50.0, 74.0
    box = (width - gap * (per_row - 1)) / per_row
    rows = -(-len(one.x) // per_row)
    canvas = Canvas(width, max(1, rows) * step - (step - high) + 4)
    for index, (name, count) in enumerate(zip(one.x, one.y, strict=True)):
        column, row = index % per_row, index // per_row
        x, y = column * (box + gap) + 1, row * step + 1
        canvas.rect((x, y), (box - 2, high), "#F3F6F9", "#9AA5B1", 0.8)
        lines = wrap(str(name), SMALL, box - 14, 2)
        for number, line in enumerate(lines):
            canvas.text((x + box / 2 - 1, y + 14 + 11.5 * number), line, anchor="middle", colour=MUTED)
        text = format_value(count, figure.y_format if figure.y_format != "number" else "int")
        canvas.text((x + box / 2 - 1, y + 42), text, anchor="middle", size=11.4, bold=True)
        if index + 1 < len(one.x):
            _arrow(canvas, (x + box - 2, y + high / 2), gap, last=column == per_row - 1)
            lost = _lost(count, one.y[index + 1])
            at = (x + box - 2 + gap / 2, y + high / 2 - 6)
            if column < per_row - 1 and text_width(lost, SMALL) <= gap:
                canvas.text(at, lost, anchor="middle", colour=MUTED)
    return canvas.document(figure.alt)


def _arrow(canvas: Canvas, start: tuple[float, float], gap: float, *, last: bool) -> None:
    x, y = start
    if last:
        middle = y + 25 + 12
        points = [(x - 40, y + 25), (x - 40, middle), (40.0, middle), (40.0, y + 25 + 20)]
        canvas.path(points, AXIS, 1.1)
        canvas.polygon([(40, y + 49), (36.5, y + 43), (43.5, y + 43)], AXIS)
        return
    canvas.line((x + 2, y), (x + gap - 5, y), AXIS, 1.1)
    canvas.polygon([(x + gap - 1, y), (x + gap - 7, y - 3.5), (x + gap - 7, y + 3.5)], AXIS)


def _lost(count: float | None, following: float | None) -> str:
    if count is None or following is None or following >= count:
        return ""
    return format_value(following - count, "int")

"""Figures on a grid of cells or boxes: heat map, tier matrix, flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from countermark.charts.frame import FULL, HALF
from countermark.charts.palette import ACCENT, AXIS, EMPTY, INK, MUTED, PAPER, shade
from countermark.charts.scales import axis_title, finite
from countermark.charts.svg import SMALL, Canvas, Point, shorten, text_width, wrap
from countermark.records.evidence import Figure, Format
from countermark.records.formats import ABSENT, format_value, unit_of

_CELL_TEXT = 30.0
_BOX_GAP, _BOX_HIGH, _BOX_STEP = 34.0, 50.0, 74.0


def draw_heatmap(figure: Figure) -> str:
    """Cells in one hue, pale to dark, each with its number; empty cells are grey and say so.

    ``y_label`` names what a cell holds.
    """
    width = FULL if figure.size == "full" else HALF
    columns, rows = len(figure.columns), len(figure.rows)
    noted = any(note for row in figure.cell_notes for note in row)
    left = min(max((text_width(r, SMALL) for r in figure.rows), default=0.0) + 8, width * 0.34)
    cell = min(96.0, (width - left) / max(1, columns))
    high = 27.0 if noted else 18.0
    names = _column_names(figure, cell)
    top = 7.0 + 11.0 * max((len(lines) for lines in names), default=1)
    values = finite(v for row in figure.cells for v in row)
    low, most = (min(values), max(values)) if values else (0.0, 0.0)
    canvas = Canvas(width, top + rows * high + 24)
    for c, lines in enumerate(names):
        for number, line in enumerate(reversed(lines)):
            half = text_width(line, SMALL) / 2
            middle = min(left + (c + 0.5) * cell, width - half)
            canvas.text((middle, top - 6 - 11 * number), line, anchor="middle", colour=MUTED)
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


def _column_names(figure: Figure, cell: float) -> list[list[str]]:
    """Lines of the name of each column; columns that are too many for names are in order, and every k-th is named."""
    widest = max((text_width(name, SMALL) for name in figure.columns), default=0.0)
    if widest + 4 <= cell:
        return [[name] for name in figure.columns]
    if cell >= _CELL_TEXT + 14:
        return [wrap(name, SMALL, cell - 4, 3) for name in figure.columns]
    every = max(1, -int(-(min(widest, 80.0) + 8) // cell))
    room = every * cell - 4
    return [[shorten(name, SMALL, room)] if c % every == 0 else [] for c, name in enumerate(figure.columns)]


def _heat_key(
    canvas: Canvas, figure: Figure, at: tuple[float, float], span: tuple[float, float], has_values: bool
) -> None:
    x, y = at
    style = figure.y_format
    title = axis_title(figure.y_label, style)
    ends = [format_value(end, style, unit=False) for end in span] if has_values else []
    unit = f" {unit_of(style)}" if unit_of(style) and not title else ""
    needed = text_width(title, SMALL) + sum(text_width(end, SMALL) for end in (*ends, unit)) + 92
    # The key stands under the cells where it fits, and otherwise ends with them.
    x = max(0.0, min(x, canvas.width - needed))
    canvas.text((x, y + 9), title, colour=MUTED)
    x += text_width(title, SMALL) + (12 if title else 0)
    if has_values:
        canvas.text((x, y + 9), ends[0], colour=MUTED)
        x += text_width(ends[0], SMALL) + 5
        for step in range(5):
            canvas.rect((x + 14 * step, y + 1), (14, 9), shade(step / 4)[0])
        x += 75
        canvas.text((x, y + 9), f"{ends[1]}{unit}", colour=MUTED)
        x += text_width(f"{ends[1]}{unit}", SMALL) + 16
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
    canvas.text((9, top + rows * high / 2), figure.y_label, anchor="middle", colour=MUTED, bold=True, angle=-90)
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
    """Boxes in order, each with its count; arrows say what was lost between two.

    A second series is what the last box is divided into: its boxes hang from one line.
    """
    steps, parts = figure.series[0], figure.series[1] if len(figure.series) > 1 else None
    width = FULL if figure.size == "full" else HALF
    per_row = 4 if figure.size == "full" else 2
    rows = -(-len(steps.x) // per_row)
    shared = 0 if parts is None else -(-len(parts.x) // per_row)
    canvas = Canvas(width, max(1, rows + shared) * _BOX_STEP - (_BOX_STEP - _BOX_HIGH) + 4)
    grid = _Boxes(canvas, (width - _BOX_GAP * (per_row - 1)) / per_row, per_row, figure.y_format)
    for index, (name, count) in enumerate(zip(steps.x, steps.y, strict=True)):
        grid.draw(index, str(name), count)
        if index + 1 < len(steps.x):
            x, y = grid.corner(index)
            last = index % per_row == per_row - 1
            _arrow(canvas, (x + grid.box - 2, y + _BOX_HIGH / 2), _BOX_GAP, last=last)
            lost = _lost(count, steps.y[index + 1])
            if not last and text_width(lost, SMALL) <= _BOX_GAP:
                at = (x + grid.box - 2 + _BOX_GAP / 2, y + _BOX_HIGH / 2 - 6)
                canvas.text(at, lost, anchor="middle", colour=MUTED)
    if parts is not None:
        start = rows * per_row
        for k, (name, count) in enumerate(zip(parts.x, parts.y, strict=True)):
            grid.draw(start + k, str(name), count)
        _fork(grid, len(steps.x) - 1, [start + k for k in range(len(parts.x))])
    return canvas.document(figure.alt)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Boxes of one width in rows."""

    canvas: Canvas
    box: float
    per_row: int
    style: Format

    def corner(self, index: int) -> Point:
        return (index % self.per_row) * (self.box + _BOX_GAP) + 1, (index // self.per_row) * _BOX_STEP + 1

    def draw(self, index: int, name: str, count: float | None) -> None:
        x, y = self.corner(index)
        self.canvas.rect((x, y), (self.box - 2, _BOX_HIGH), "#F3F6F9", "#9AA5B1", 0.8)
        for number, line in enumerate(wrap(name, SMALL, self.box - 14, 2)):
            at = (x + self.box / 2 - 1, y + 14 + 11.5 * number)
            self.canvas.text(at, line, anchor="middle", colour=MUTED)
        text = format_value(count, self.style if self.style != "number" else "int")
        self.canvas.text((x + self.box / 2 - 1, y + 42), text, anchor="middle", size=11.4, bold=True)


def _fork(grid: _Boxes, origin: int, parts: Sequence[int]) -> None:
    """One line down from a box, one across, and an arrow into each part."""
    x, y = grid.corner(origin)
    middle, level = x + grid.box / 2 - 1, y + _BOX_HIGH + (_BOX_STEP - _BOX_HIGH) / 2
    tops = [(grid.corner(part)[0] + grid.box / 2 - 1, grid.corner(part)[1]) for part in parts]
    ends = [at for at, _ in tops] + [middle]
    lines = [((middle, y + _BOX_HIGH), (middle, level)), ((min(ends), level), (max(ends), level))]
    for at, top in tops:
        bar = top - (_BOX_STEP - _BOX_HIGH) / 2
        lines.append(((at, bar), (at, top - 3)))
        if bar > level:
            # A further row of parts hangs from a line of its own.
            lines += [((min(ends), level), (min(ends), bar)), ((min(ends), bar), (at, bar))]
        grid.canvas.polygon([(at, top - 1), (at - 3.5, top - 7), (at + 3.5, top - 7)], AXIS)
    grid.canvas.segments(lines, AXIS, 1.1)


def _arrow(canvas: Canvas, start: Point, gap: float, *, last: bool) -> None:
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

"""From a table record to cells, alignments and column widths."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from countermark.charts.svg import text_width
from countermark.records.evidence import Column, Format, Scalar, Table
from countermark.records.formats import NUMERIC, format_column, format_value, unit_of
from countermark.records.lights import Light
from countermark.report.text_safety import breakable, printable, unbreakable

FONT_SIZE = 8.0
"""Table text in points; nothing in a table is smaller than 7.5."""
PADDING = 8.5
SMALL_FONT_SIZE = 7.6
SEVERITY_SIGNS = {"critical": "◆◆◆◆", "high": "◆◆◆", "medium": "◆◆", "low": "◆", "observation": "–"}
_FIGURE_SPACE, _POINT_SPACE = "\u2007", "\u2008"
_PRINTED_NUMBER = re.compile(r"[\d\s.,%<>≥≤−–()…]*(?:to[\d\s.,%<>−…]+)?(?:pp)?")
_MARK = re.compile(r"\d[.%]|\d\s%|–.*\d")
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
_HEX = re.compile(r"[0-9a-f]{40,64}")
_WORD_CAP = 96.0
_LONG = 14
"""Tables with this many rows stand closer."""
_LONG_LINES = 40
_WORTH_IT = 0.85
"""A table of many lines is set smaller where that saves this share of them."""
_BRIEF = 6
"""Tables of at most this many rows stay on one page."""
_HIGH = 2.5
"""Rows of more lines than this, on average, are prose."""
_BROAD = 110.0
_MOST_LINES = 6.0
"""A cell of more lines than this, in a column that is not broad, makes the table smaller, and then wide."""
_MOST_SMALL_LINES = 9.0
_RAGGED = 1.08
"""Lines of prose are not full: this much more text than words."""
_RANKS = (1.0, 0.9, 0.75, 0.5)
_STEPS = (4.0, 12.0, 28.0)
_MOST_MOVES = 30
_SEMIBOLD = 1.06
_TABULAR = 1.05


@dataclass(frozen=True, slots=True)
class Room:
    """Width of the text area in points, upright and turned."""

    portrait: float = 476.0
    landscape: float = 722.0


A4 = Room()
LETTER = Room(portrait=492.0, landscape=672.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed cell."""

    html: Markup
    css: str
    header: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """One printed column head."""

    label: Markup
    css: str
    width: float


@dataclass(frozen=True, slots=True)
class TableView:
    """A table as the template needs it.

    Attributes:
        heads: Column heads with widths in per cent.
        rows: Cells.
        wide: Whether the table needs a landscape page.
        small: Whether the table is set in the smaller size.
        width: Width of the whole table in per cent of the text area.
        note: Printed under the table, or empty.
        high: Whether its rows are so high that a page need not hold several of them together.
        row_ids: Anchors of the rows, empty where a row has none.
    """

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    wide: bool
    small: bool
    width: float
    note: str
    high: bool = False
    row_ids: tuple[str, ...] = ()

    @property
    def css(self) -> str:
        """Style classes of the block, each after a space."""
        rows = len(self.rows)
        named = (
            ("wide", self.wide), ("small", self.small), ("long", rows >= _LONG), ("brief", rows <= _BRIEF),
            ("high", self.high),
        )  # fmt: skip
        return "".join(f" {name}" for name, on in named if on)


def light_chip(light: Light) -> Markup:
    """A light as glyph and word on its verified pair of colours."""
    return Markup('<span class="light {}">{}\u00a0{}</span>').format(light.value, light.glyph, light.word)


def head_text(column: Column) -> str:
    """Column label with the unit that its cells leave out."""
    unit = unit_of(column.format)
    if not unit or unit in column.label.replace("(", " ").replace(")", " ").split():
        return column.label
    return f"{column.label} ({unit})"


def table_view(table: Table, room: Room = A4) -> TableView:
    """Lay out one table: aligned cells, column widths, orientation."""
    cells = {c.key: _column_cells(c, [row.get(c.key) for row in table.rows]) for c in table.columns}
    texts = {c.key: [printable(t) for t in format_column([r.get(c.key) for r in table.rows], c.format)]
             for c in table.columns}  # fmt: skip
    needs = [_needs(c, texts[c.key]) for c in table.columns]
    wide, small, widths, share = _layout(needs, room)
    css = {c.key: _css(c, texts[c.key]) for c in table.columns}
    heads = tuple(
        Head(breakable(head_text(c)), css[c.key], width) for c, width in zip(table.columns, widths, strict=True)
    )
    first = table.columns[0].format if table.columns else "text"
    rows = tuple(
        tuple(
            Cell(cells[c.key][index], css[c.key], header=position == 0 and first not in NUMERIC)
            for position, c in enumerate(table.columns)
        )
        for index in range(len(table.rows))
    )
    inner = (room.landscape if wide else room.portrait) * share / 100
    lines = _row_lines(needs, [inner * width / 100 for width in widths])
    return TableView(heads, rows, wide, small, share, _note(table), high=sum(lines) > _HIGH * len(lines))


def _note(table: Table) -> str:
    total = table.total_rows
    if total is None or total <= len(table.rows):
        return ""
    shown, total_text = format_value(len(table.rows), "int"), format_value(total, "int")
    return f"{shown} of {total_text} rows are printed."


def _css(column: Column, texts: Sequence[str]) -> str:
    if column.format in NUMERIC:
        return "n"
    if column.format == "light":
        return "l"
    # Text that is all printed numbers stands like numbers; codes such as 01, 02 and versions do not.
    printed = bool(texts) and all(_PRINTED_NUMBER.fullmatch(text) and not _VERSION.search(text) for text in texts)
    return "n" if printed and any(_MARK.search(text) for text in texts) else "t"


def _column_cells(column: Column, values: Sequence[Scalar]) -> list[Markup]:
    if column.format == "light":
        return [_light_cell(value) for value in values]
    texts = format_column(values, column.format)
    if column.format == "number":
        texts = _aligned(texts, values)
    if column.format in NUMERIC:
        return [Markup.escape(printable(text)) for text in texts]
    if column.key == "severity":
        return [severity_chip(text) for text in texts]
    return [text_cell(text, column.format) for text in texts]


def severity_chip(word: str) -> Markup:
    """A severity as a sign that grows with it, and the word."""
    sign = SEVERITY_SIGNS.get(word.lower())
    if sign is None:
        return breakable(word)
    return Markup('<span class="severity {}">{}\u00a0{}</span>').format(word.lower(), sign, word.capitalize())


def _light_cell(value: Scalar) -> Markup:
    try:
        return light_chip(Light(str(value)))
    except ValueError:
        return breakable(format_value(value, "text"))


def text_cell(text: str, style: Format) -> Markup:
    """A text cell; digests are set in the mono face and may break anywhere."""
    if style == "hash" or _HEX.fullmatch(text):
        return Markup('<span class="hash">{}</span>').format(printable(text))
    return breakable(text)


def _aligned(texts: Sequence[str], values: Sequence[Scalar]) -> list[str]:
    """Pad numbers of unequal decimals so that their decimal marks stand in one line."""
    tails = [len(text.partition(".")[2]) if _is_number(v) else 0 for text, v in zip(texts, values, strict=True)]
    longest = max(tails, default=0)
    if longest == 0 or longest > 8:
        return list(texts)
    padded = []
    for text, value, tail in zip(texts, values, tails, strict=True):
        if not _is_number(value) or "×" in text:
            padded.append(text)
        else:
            padded.append(text + ("" if tail else _POINT_SPACE) + _FIGURE_SPACE * (longest - tail))
    return padded


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class _Need:
    """What one column asks for, in points.

    Attributes:
        hard: Least width without a break inside a word.
        wish: Width with everything on one line.
        texts: Widths of the cells that may run over several lines, row by row; empty where they may not.
        ranked: The same widths, the shortest first.
    """

    hard: float
    wish: float
    texts: tuple[float, ...] = ()
    ranked: tuple[float, ...] = ()

    def scaled(self, factor: float) -> _Need:
        texts, ranked = (tuple(text * factor for text in part) for part in (self.texts, self.ranked))
        return _Need(self.hard * factor, self.wish * factor, texts, ranked)

    def at(self, lines: float, rank: float) -> float:
        """Width at which the cell of a rank among the cells, 0 to 1, has a number of lines."""
        if not self.texts:
            return self.hard
        text = self.ranked[min(len(self.ranked) - 1, int(rank * len(self.ranked)))]
        return max(self.hard, min(self.wish, text * _RAGGED / lines + PADDING))

    def lines(self, width: float) -> list[int]:
        """Estimated lines of each cell."""
        inner = max(1.0, width - PADDING)
        return [1 if text <= inner else math.ceil(text * _RAGGED / inner) for text in self.texts]


def _needs(column: Column, texts: Sequence[str]) -> _Need:
    label = head_text(column)
    head = max((text_width(word, FONT_SIZE) * _SEMIBOLD for word in label.split()), default=0.0)
    fixed = {"light": 70.0, "hash": 68.0}.get(column.format)
    if column.key == "severity":
        fixed = 70.0
    if fixed is not None:
        return _Need(max(fixed, head) + PADDING, max(fixed, head) + PADDING + 4)
    widths = [text_width(text, FONT_SIZE) * _TABULAR for text in texts]
    longest = max(widths, default=0.0)
    if column.format in NUMERIC:
        hard = max(head, longest) + PADDING
        return _Need(hard, max(hard, min(text_width(label, FONT_SIZE) * _SEMIBOLD, head * 1.6) + PADDING))
    if texts and all(_HEX.fullmatch(text) for text in texts):
        return _Need(120.0, 330.0, tuple(widths), tuple(sorted(widths)))
    if _css(column, texts) == "n":
        hard = max(head, longest) + PADDING
        return _Need(hard, hard + 4)
    pieces = (piece for text in texts for piece in unbreakable(text))
    words = max((text_width(piece, FONT_SIZE) * _TABULAR for piece in pieces), default=0.0)
    hard = max(min(head, _WORD_CAP), min(words, _WORD_CAP)) + PADDING
    return _Need(hard, max(hard, longest + PADDING), tuple(widths), tuple(sorted(widths)))


def _layout(needs: Sequence[_Need], room: Room) -> tuple[bool, bool, list[float], float]:
    """Whether the table is wide, whether it is small, its column widths and its width, both in per cent.

    A table first shrinks, then lets prose run over more lines, and only then asks for a landscape page.
    """
    small = [need.scaled(SMALL_FONT_SIZE / FONT_SIZE) for need in needs]
    fitting: list[tuple[list[int], list[float], bool]] = []
    for tried, most in ((needs, _MOST_LINES), (small, _MOST_SMALL_LINES)):
        if sum(need.hard for need in tried) <= room.portrait:
            widths = _widths(tried, room.portrait)
            if _readable(tried, widths, most):
                fitting.append((_row_lines(tried, widths), widths, tried is small))
        if fitting and sum(fitting[0][0]) < _LONG_LINES:
            break
    if not fitting:
        return True, True, *_shares(_widths(small, room.landscape), room.landscape)
    lines, widths, is_small = fitting[0]
    if len(fitting) == 2 and sum(fitting[1][0]) < _WORTH_IT * sum(lines):
        _, widths, is_small = fitting[1]
    return False, is_small, *_shares(widths, room.portrait)


def _widths(needs: Sequence[_Need], room: float) -> list[float]:
    """Column widths in points, at most ``room`` where that is possible: prose shares what numbers leave over."""
    wished = [need.wish for need in needs]
    if sum(wished) <= room:
        return wished
    hard = [need.hard for need in needs]
    if sum(hard) >= room:
        return [width * room / sum(hard) for width in hard]
    candidates = [_balanced(needs, room, rank) for rank in _RANKS]
    best = min(candidates, key=lambda widths: sum(_row_lines(needs, widths)))
    return _improved(needs, best)


def _balanced(needs: Sequence[_Need], room: float, rank: float) -> list[float]:
    """The widths at which the cells of one rank have equally many lines in every column."""
    low, high = 1.0, 400.0
    for _ in range(30):
        middle = (low + high) / 2
        if sum(need.at(middle, rank) for need in needs) <= room:
            high = middle
        else:
            low = middle
    widths = [need.at(high, rank) for need in needs]
    spare, prose = room - sum(widths), sum(need.wish - w for need, w in zip(needs, widths, strict=True) if need.texts)
    if spare <= 0 or prose <= 0:
        return widths
    grow = min(1.0, spare / prose)
    return [w + (need.wish - w) * grow if need.texts else w for need, w in zip(needs, widths, strict=True)]


def _readable(needs: Sequence[_Need], widths: Sequence[float], most: float) -> bool:
    """Whether no narrow column holds a cell of too many lines."""
    prose = ((need, width) for need, width in zip(needs, widths, strict=True) if need.texts)
    return all(width >= _BROAD or max(need.lines(width)) <= most for need, width in prose)


def _improved(needs: Sequence[_Need], widths: list[float]) -> list[float]:
    """Move width between prose columns for as long as the table becomes shorter by it."""
    prose = [k for k, need in enumerate(needs) if need.texts]
    moves = [(a, b, step) for a in prose for b in prose if a != b for step in _STEPS]
    fewest = sum(_row_lines(needs, widths))
    for _ in range(_MOST_MOVES):
        best: list[float] | None = None
        for a, b, step in moves:
            if widths[a] - step < needs[a].hard:
                continue
            tried = list(widths)
            tried[a] -= step
            tried[b] += step
            lines = sum(_row_lines(needs, tried))
            if lines < fewest:
                fewest, best = lines, tried
        if best is None:
            break
        widths = best
    return widths


def _row_lines(needs: Sequence[_Need], widths: Sequence[float]) -> list[int]:
    """Estimated lines of each row."""
    columns = [need.lines(width) for need, width in zip(needs, widths, strict=True) if need.texts]
    return [max(cells) for cells in zip(*columns, strict=True)]


def _shares(widths: Sequence[float], room: float) -> tuple[list[float], float]:
    """Column widths in per cent of the table, and the table in per cent of the room."""
    total = sum(widths)
    if not total:
        return [], 100.0
    # A small table stays small; white space between its columns grows a little.
    target = min(room, max(total * 1.18, room * 0.5))
    if target > room * 0.8:
        target = room
    return [round(100 * width / total, 2) for width in widths], round(100 * target / room, 2)

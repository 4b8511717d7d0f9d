"""From a table record to cells, alignments and column widths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from countermark.charts.svg import text_width
from countermark.records.evidence import Column, Format, Scalar, Table
from countermark.records.formats import NUMERIC, format_value, unit_of
from countermark.records.lights import Light
from countermark.report.text_safety import breakable, printable

FONT_SIZE = 8.0
"""Table text in points; nothing in a table is smaller than 7.5."""
PADDING = 8.5
WIDE_FONT_SIZE = 7.6
SEVERITY_SIGNS = {"critical": "◆◆◆◆", "high": "◆◆◆", "medium": "◆◆", "low": "◆", "observation": "–"}
_FIGURE_SPACE, _POINT_SPACE = "\u2007", "\u2008"
_PRINTED_NUMBER = re.compile(r"[\d\s.,%<≥≤−–()…]*(?:to[\d\s.,%<−…]+)?(?:pp)?")
_MARK = re.compile(r"\d[.%]|\d\s%|–.*\d")
_HEX = re.compile(r"[0-9a-f]{40,64}")
_TEXT_CAP = 190.0
_WORD_CAP = 96.0
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
        width: Width of the whole table in per cent of the text area.
        note: Printed under the table, or empty.
        row_ids: Anchors of the rows, empty where a row has none.
    """

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    wide: bool
    width: float
    note: str
    row_ids: tuple[str, ...] = ()


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
    texts = {c.key: [printable(format_value(r.get(c.key), c.format, unit=False)) for r in table.rows]
             for c in table.columns}  # fmt: skip
    needs = [_needs(c, texts[c.key]) for c in table.columns]
    wide = sum(need.least for need in needs) > room.portrait
    if wide:
        needs = [need.scaled(WIDE_FONT_SIZE / FONT_SIZE) for need in needs]
    widths, share = _widths(needs, room.landscape if wide else room.portrait)
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
    return TableView(heads, rows, wide, share, _note(table))


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
    # Text that is all printed numbers stands like numbers; codes such as 01, 02 do not.
    printed = bool(texts) and all(_PRINTED_NUMBER.fullmatch(text) for text in texts)
    return "n" if printed and any(_MARK.search(text) for text in texts) else "t"


def _column_cells(column: Column, values: Sequence[Scalar]) -> list[Markup]:
    if column.format == "light":
        return [_light_cell(value) for value in values]
    texts = [format_value(value, column.format, unit=False) for value in values]
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
    """Widths of one column in points: no word breaks, prose is readable, everything on one line."""

    hard: float
    least: float
    wish: float

    def scaled(self, factor: float) -> _Need:
        return _Need(self.hard * factor, self.least * factor, self.wish * factor)


def _needs(column: Column, texts: Sequence[str]) -> _Need:
    label = head_text(column)
    head = max((text_width(word, FONT_SIZE) * _SEMIBOLD for word in label.split()), default=0.0)
    fixed = {"light": 70.0, "hash": 68.0}.get(column.format)
    if column.key == "severity":
        fixed = 70.0
    if fixed is not None:
        return _Need(fixed + PADDING, fixed + PADDING, fixed + PADDING + 4)
    widths = [text_width(text, FONT_SIZE) * _TABULAR for text in texts]
    longest = max(widths, default=0.0)
    if column.format in NUMERIC:
        hard = max(head, longest) + PADDING
        return _Need(hard, hard, max(hard, min(text_width(label, FONT_SIZE) * _SEMIBOLD, head * 1.6) + PADDING))
    if texts and all(_HEX.fullmatch(text) for text in texts):
        return _Need(120.0, 190.0, 330.0)
    if _css(column, texts) == "n":
        hard = max(head, longest) + PADDING
        return _Need(hard, hard, hard + 4)
    pieces = (piece for text in texts for word in re.split("[ \n]+", text) for piece in _pieces(word))
    words = max((text_width(piece, FONT_SIZE) * _TABULAR for piece in pieces), default=0.0)
    hard = max(min(head, _WORD_CAP), min(words, _WORD_CAP)) + PADDING
    # Long prose needs room to be readable: about five to six lines a cell.
    least = max(hard, min(longest / 5.5, 120.0) + PADDING)
    return _Need(hard, least, max(min(max(longest, head), _TEXT_CAP), min(longest / 2.2, 260.0)) + PADDING)


def _pieces(word: str) -> list[str]:
    return re.split(r"(?<=[_./=,:;|])", word)


def _widths(needs: Sequence[_Need], room: float) -> tuple[list[float], float]:
    """Column widths in per cent of the table, and the table in per cent of the room."""
    if not needs:
        return [], 100.0
    hard, least, wish = (sum(getattr(need, name) for need in needs) for name in ("hard", "least", "wish"))
    if wish <= room:
        # A small table stays small; white space between its columns grows a little.
        target = min(room, max(wish * 1.18, room * 0.5))
        if target > room * 0.8:
            target = room
        return [round(100 * need.wish / wish, 2) for need in needs], round(100 * target / room, 2)
    if least <= room:
        spare = (room - least) / max(1e-9, wish - least)
        widths = [need.least + (need.wish - need.least) * spare for need in needs]
    else:
        # Too narrow even turned: prose gives way first, then every column alike.
        spare = max(0.0, room - hard) / max(1e-9, least - hard)
        widths = [need.hard + (need.least - need.hard) * spare for need in needs]
    total = sum(widths)
    return [round(100 * width / total, 2) for width in widths], 100.0

"""Legends: a sample of dash, marker or bar, and the name of the series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from countermark.charts.palette import INK, Look
from countermark.charts.svg import SMALL, Canvas, shorten, text_width
from countermark.records.evidence import Series

ROW = 15.0
LegendRow: TypeAlias = list[tuple[Series, Look, str]]
_KEY = 24.0
_GAP = 10.0


def legend_rows(series: Sequence[Series], looks: Sequence[Look], width: float) -> list[LegendRow]:
    """Names in rows that fit a width; a single unnamed series needs none."""
    rows: list[LegendRow] = []
    used = width + 1
    for one, look in zip(series, looks, strict=True):
        if not one.name:
            continue
        name = shorten(one.name, SMALL, width - _KEY)
        needed = _KEY + text_width(name, SMALL) + _GAP
        if used + needed - _GAP > width:
            rows.append([])
            used = 0.0
        rows[-1].append((one, look, name))
        used += needed
    return rows


def legend_width(row: LegendRow) -> float:
    """Width of one row."""
    return sum(_KEY + text_width(name, SMALL) + _GAP for _, _, name in row) - _GAP


def draw_legend(canvas: Canvas, rows: Sequence[LegendRow], left: float, top: float) -> None:
    """Draw the rows; ``top`` is the upper edge of the first."""
    for index, row in enumerate(rows):
        x, y = left, top + index * ROW + ROW / 2
        for one, look, name in row:
            _key(canvas, one, look, x, y)
            canvas.text((x + _KEY, y + 3.4), name, colour=INK)
            x += _KEY + text_width(name, SMALL) + _GAP


def _key(canvas: Canvas, one: Series, look: Look, x: float, y: float) -> None:
    if one.mark == "bars":
        canvas.rect((x + 5, y - 4.5), (14, 9), look.colour)
    elif one.mark == "area":
        canvas.rect((x + 1, y - 4.5), (18, 9), look.tint)
        if one.low is None:
            canvas.line((x + 1, y - 4.5), (x + 19, y - 4.5), look.colour, 1.6, look.dash)
    else:
        if one.mark in ("line", "step"):
            canvas.line((x, y), (x + 20, y), look.colour, 1.8, look.dash)
        if one.mark != "step" and (one.mark == "points" or len(one.x) <= MARKED_POINTS):
            canvas.markers([(x + 10, y)], look.marker, look.colour, look.hollow)


MARKED_POINTS = 40
"""Lines with more points than this are drawn without markers."""

"""From a figure record to its drawing."""

from __future__ import annotations

from collections.abc import Callable

from countermark.charts.frame import FULL, HALF
from countermark.charts.grids import draw_flow, draw_heatmap, draw_matrix
from countermark.charts.rows import draw_bars, draw_forest, draw_waterfall
from countermark.charts.svg import NORMAL, Canvas
from countermark.charts.xy import draw_xy, top_of
from countermark.records.evidence import Figure

_DRAW: dict[str, Callable[[Figure], str]] = {
    "xy": draw_xy,
    "bars": draw_bars,
    "forest": draw_forest,
    "heatmap": draw_heatmap,
    "waterfall": draw_waterfall,
    "matrix": draw_matrix,
    "flow": draw_flow,
}


def draw_pair(left: Figure, right: Figure) -> tuple[str, str]:
    """Draw two figures that stand side by side: plots of two ``xy`` figures begin at one height."""
    if left.chart == right.chart == "xy" and _has_points(left) and _has_points(right):
        top = max(top_of(left), top_of(right))
        return draw_xy(left, top), draw_xy(right, top)
    return draw(left), draw(right)


def draw(figure: Figure) -> str:
    """Draw one figure as an SVG document.

    The same record gives the same bytes on every machine. Text is real text in the shipped face, colours,
    dashes and markers follow the sample role, and bars always start at zero.

    Args:
        figure: The figure as data.

    Returns:
        SVG text, 640 or 306 user units wide; one user unit is 0.75 pt at printed size.
    """
    if not _has_points(figure):
        canvas = Canvas(FULL if figure.size == "full" else HALF, 34)
        canvas.text((0, 21), "No value to draw.", size=NORMAL)
        return canvas.document(figure.alt)
    return _DRAW[figure.chart](figure)


def _has_points(figure: Figure) -> bool:
    if figure.chart in ("heatmap", "matrix"):
        return bool(figure.cells) and bool(figure.rows) and bool(figure.columns)
    return any(value is not None for one in figure.series for value in one.y)

"""A small SVG writer: few elements, rounded coordinates, real text, the same bytes everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape, quoteattr

from countermark.charts.palette import INK, PAPER, Marker

Anchor: TypeAlias = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]

FONT = "Inter"
SMALL = 9.6
"""Smallest text of a figure, in user units of 0.75 pt at printed size."""
NORMAL = 10.2

# Advance widths of the shipped text face, U+0020 to U+007E, in thousandths of the font size.
_WIDTHS = (
    281, 288, 466, 633, 642, 982, 644, 300, 365, 365, 501, 662, 288, 460, 288, 360, 631, 407, 610, 618, 646, 593,
    620, 566, 619, 620, 288, 302, 662, 662, 662, 511, 966, 690, 654, 730, 722, 601, 590, 746, 743, 269, 571, 672,
    565, 903, 753, 765, 639, 765, 644, 642, 646, 744, 690, 985, 682, 679, 629, 365, 360, 365, 471, 456, 323, 562,
    612, 571, 612, 583, 370, 613, 591, 242, 242, 549, 242, 876, 591, 600, 612, 612, 376, 528, 327, 591, 562, 818,
    546, 562, 552, 426, 333, 426, 662,
)  # fmt: skip
_OTHER_WIDTH = 700
_SPECIAL = {"\u202f": 182, "\u2009": 182, "\u00a0": 281, "–": 500, "…": 860, "·": 288, "−": 662, "●": 914}
_BOLD_FACTOR = 1.045
_COUNT = re.compile(r"\b([nND]) = (?=\d)")


def text_width(text: str, size: float) -> float:
    """Width of a text in the shipped text face, without kerning; wide for characters outside ASCII."""
    total = 0
    for character in text:
        code = ord(character)
        if 0x20 <= code <= 0x7E:
            total += _WIDTHS[code - 0x20]
        else:
            total += _SPECIAL.get(character, _OTHER_WIDTH)
    return total * size / 1000


def shorten(text: str, size: float, width: float) -> str:
    """Cut a text at the end, with an ellipsis, so that it fits a width."""
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", size) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(text: str, size: float, width: float, lines: int) -> list[str]:
    """Break a text at plain spaces into at most ``lines`` lines; the last is shortened if it must be.

    A number keeps its thousands and a count its sign: narrow and unbreaking spaces do not end a line.
    """
    rows: list[str] = []
    words = [word for word in _COUNT.sub("\\1\u00a0=\u00a0", text.replace("\n", " ")).split(" ") if word]
    while words and len(rows) < lines:
        row = words.pop(0)
        while words and text_width(f"{row} {words[0]}", size) <= width:
            row = f"{row} {words.pop(0)}"
        rows.append(row)
    if words:
        rows[-1] = f"{rows[-1]} {' '.join(words)}"
    return [shorten(row, size, width) for row in rows]


def coordinate(value: float) -> str:
    """A coordinate with at most one decimal, without trailing zeros and without minus zero."""
    text = f"{value:.1f}"
    if text.endswith(".0"):
        text = text[:-2]
    return "0" if text in ("-0", "") else text


class Canvas:
    """Collects SVG elements and writes them as one document.

    Args:
        width: Width in user units; a user unit is one CSS pixel at printed size.
        height: Height in user units.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._parts: list[str] = []

    def line(self, start: Point, end: Point, colour: str, width: float = 1.0, dash: str = "") -> None:
        """A straight line."""
        self.path([start, end], colour, width, dash)

    def path(self, points: Sequence[Point], colour: str, width: float = 1.0, dash: str = "") -> None:
        """An open polyline."""
        self._parts.append(
            f'<path d="{_polyline(points)}" fill="none" stroke="{colour}" stroke-width="{coordinate(width)}"'
            f'{_dash(dash)} stroke-linejoin="round"/>'
        )

    def segments(self, lines: Iterable[tuple[Point, Point]], colour: str, width: float = 1.0) -> None:
        """Many straight lines of one look, as one path."""
        data = "".join(
            f"M{coordinate(a[0])} {coordinate(a[1])}L{coordinate(b[0])} {coordinate(b[1])}" for a, b in lines
        )
        if data:
            self._parts.append(f'<path d="{data}" fill="none" stroke="{colour}" stroke-width="{coordinate(width)}"/>')

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """A filled polygon."""
        self._parts.append(f'<path d="{_polyline(points)}Z" fill="{fill}"/>')

    def rect(self, corner: Point, size: Point, fill: str, stroke: str = "", width: float = 1.0) -> None:
        """A rectangle from its top left corner."""
        outline = f' stroke="{stroke}" stroke-width="{coordinate(width)}"' if stroke else ""
        self._parts.append(
            f'<rect x="{coordinate(corner[0])}" y="{coordinate(corner[1])}" width="{coordinate(max(size[0], 0.0))}"'
            f' height="{coordinate(max(size[1], 0.0))}" fill="{fill}"{outline}/>'
        )

    def markers(self, points: Iterable[Point], shape: Marker, colour: str, hollow: bool = False) -> None:
        """Point markers of one series, as one path."""
        data = "".join(_marker(x, y, shape) for x, y in points)
        if not data:
            return
        if shape == "cross":
            # A pale halo keeps a cross readable on top of a bar.
            self._parts.append(f'<path d="{data}" fill="none" stroke="{PAPER}" stroke-width="4"/>')
            self._parts.append(f'<path d="{data}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
            return
        fill = PAPER if hollow else colour
        self._parts.append(f'<path d="{data}" fill="{fill}" stroke="{colour if hollow else PAPER}" stroke-width="1"/>')

    def text(
        self,
        at: Point,
        text: str,
        *,
        size: float = SMALL,
        anchor: Anchor = "start",
        colour: str = INK,
        bold: bool = False,
        angle: int = 0,
    ) -> None:
        """Real text, turned about ``at`` by an angle in degrees; -90 reads upwards.

        The anchor is resolved here: the layout engine turns every ``text-anchor`` into a form object of its own.
        """
        if not text:
            return
        width = text_width(text, size) * (_BOLD_FACTOR if bold else 1.0)
        shift = {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        y = coordinate(at[1])
        turn = f' transform="rotate({angle} {coordinate(at[0])} {y})"' if angle else ""
        x = coordinate(at[0] - shift)
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x}" y="{y}" font-family="{FONT}" font-size="{coordinate(size)}" fill="{colour}"'
            f"{weight}{turn}>{escape(text)}</text>"
        )

    def document(self, title: str) -> str:
        """The whole SVG as text, with its description as title."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {coordinate(self.width)} {coordinate(self.height)}"'
            f' width="{coordinate(self.width)}" height="{coordinate(self.height)}" role="img"'
            f" aria-label={quoteattr(title)}>"
        )
        return head + "".join(self._parts) + "</svg>"


def _dash(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _polyline(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def _marker(x: float, y: float, shape: Marker) -> str:
    if shape == "circle":
        r = 3.2
        a, b, top = coordinate(x - r), coordinate(x + r), coordinate(y)
        return f"M{a} {top}A{r} {r} 0 1 1 {b} {top}A{r} {r} 0 1 1 {a} {top}Z"
    if shape == "square":
        r = 2.9
        return _polyline([(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]) + "Z"
    if shape == "triangle":
        r = 3.9
        return _polyline([(x, y - r), (x + r, y + 0.75 * r), (x - r, y + 0.75 * r)]) + "Z"
    if shape == "diamond":
        r = 4.1
        return _polyline([(x, y - r), (x + r, y), (x, y + r), (x - r, y)]) + "Z"
    r = 3.4
    return _polyline([(x - r, y - r), (x + r, y + r)]) + _polyline([(x - r, y + r), (x + r, y - r)])

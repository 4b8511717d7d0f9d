"""Colours, dashes and markers: one look per sample role in the whole pack.

Colour never carries meaning alone: each role also has its dash and its marker, and the colours differ in
lightness so that a grey print keeps them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from countermark.records.evidence import SampleRole, Series

Marker: TypeAlias = Literal["circle", "square", "triangle", "diamond", "cross"]

INK = "#1F2933"
MUTED = "#52606D"
AXIS = "#7B8794"
GRID = "#E4E7EB"
PAPER = "#FFFFFF"
EMPTY = "#ECECEF"
ACCENT = "#14365C"
REFERENCE = "#3E4C59"


@dataclass(frozen=True, slots=True)
class Look:
    """How one series is drawn.

    Attributes:
        colour: Line, marker and bar colour.
        tint: Solid pale colour for interval bands and areas.
        dash: SVG dash pattern, empty for solid.
        marker: Shape of the points.
        hollow: Whether the marker is drawn as an outline.
    """

    colour: str
    tint: str
    dash: str
    marker: Marker
    hollow: bool = False


_ROLES: dict[SampleRole, Look] = {
    "development": Look("#14365C", "#D5DEE9", "", "circle"),
    "holdout": Look("#0072B2", "#D3E8F4", "7 3", "square"),
    "out_of_time": Look("#D55E00", "#FBE3D3", "3 2", "triangle"),
    "calibration": Look("#007A59", "#D2EBE3", "9 3 2 3", "diamond"),
    "reference": Look("#3E4C59", "#E4E7EB", "1.5 2.5", "cross"),
}
_CYCLE: tuple[Look, ...] = (
    Look("#5B3E96", "#E2DBEF", "", "circle"),
    Look("#B86E00", "#F8E8CF", "7 3", "square"),
    Look("#008C95", "#D2ECEE", "3 2", "triangle"),
    Look("#A8326B", "#F3D9E5", "9 3 2 3", "diamond"),
    Look("#4D5B28", "#E2E6D5", "1.5 2.5", "cross"),
    Look("#7A5C45", "#E9E0D9", "12 3", "circle"),
)
_DASHES = ("", "7 3", "3 2", "9 3 2 3", "1.5 2.5", "12 3")


def looks_for(series: Sequence[Series]) -> tuple[Look, ...]:
    """One look per series, in order.

    A sample role always gets its own look; a second series of the same role keeps the colour and changes
    dash and fill of the marker. Groups and others walk through a second, separate set of colours.
    """
    seen: dict[str, int] = {}
    cycled = 0
    looks = []
    for one in series:
        if one.role in _ROLES:
            look = _ROLES[one.role]
            again = seen.get(one.role, 0)
            seen[one.role] = again + 1
            if again:
                start = _DASHES.index(look.dash)
                dash = _DASHES[(start + again) % len(_DASHES)]
                look = Look(look.colour, look.tint, dash, look.marker, hollow=again % 2 == 1)
        else:
            base = _CYCLE[cycled % len(_CYCLE)]
            look = Look(base.colour, base.tint, base.dash, base.marker, hollow=cycled >= len(_CYCLE))
            cycled += 1
        looks.append(look)
    return tuple(looks)


def shade(fraction: float) -> tuple[str, str]:
    """Background and text colour of a heat-map cell: one hue, pale at 0 and deeper at 1.

    The deepest shade stays light enough for dark text at 4.5:1.
    """
    fraction = min(1.0, max(0.0, fraction))
    pale, dark = (0xF1, 0xF5, 0xFA), (0x6F, 0x97, 0xC6)
    channels = tuple(round(a + (b - a) * fraction) for a, b in zip(pale, dark, strict=True))
    return "#{:02X}{:02X}{:02X}".format(*channels), INK

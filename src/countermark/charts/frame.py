"""The plot of an ``xy`` figure: where it lies, how values map to it, and what its categories are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from countermark.charts.scales import Scale
from countermark.charts.svg import SMALL, shorten, text_width, wrap

FULL = 640.0
HALF = 306.0
SLANT = -45
_COSINE = 0.7071
_LINE = 12.0
_MOST_SLANTED = 16
_LEAST_SLOT = 13.5
"""Slanted names closer than this would touch."""
_SLANTED_ROOM = {HALF: 88.0, FULL: 120.0}
_MOST_LEFT = 0.2
"""Share of the width that slanted names may take to the left of the plot."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the plot lies and how values map to it; ``x`` is None where the axis has categories."""

    width: float
    left: float
    right: float
    top: float
    bottom: float
    x: Scale | None
    categories: tuple[str, ...]
    y: Scale

    def x_at(self, value: float | str) -> float:
        """Paper coordinate of a value of the horizontal axis."""
        if self.x is not None:
            return self.x.at(float(value))
        return self.left + self.slot * (self.categories.index(str(value)) + 0.5)

    @property
    def slot(self) -> float:
        """Width of one category."""
        return (self.right - self.left) / max(1, len(self.categories))


@dataclass(frozen=True, slots=True)
class CategoryNames:
    """Printed names under a categorical axis: lines of text per category, upright or slanted."""

    lines: tuple[tuple[str, ...], ...]
    slanted: bool = False

    @property
    def height(self) -> float:
        """Room that the names take under the axis."""
        if self.slanted:
            return _COSINE * (max(text_width(name, SMALL) for lines in self.lines for name in lines) + SMALL) + 4
        return _LINE * max((len(lines) for lines in self.lines), default=1)


def category_names(frame: Frame) -> CategoryNames:
    """Names of the categories, uncut where that can be done.

    On one line, in two, or slanted; only an axis of many categories, which then are in order, names every k-th.
    """
    names, room = frame.categories, frame.slot - 5
    if frame.x is not None or not names:
        return CategoryNames(())
    if all(text_width(name, SMALL) <= room for name in names):
        return CategoryNames(tuple((name,) for name in names))
    wrapped = tuple(tuple(wrap(name, SMALL, room, 2)) for name in names)
    if all(" ".join(lines) == name for lines, name in zip(wrapped, names, strict=True)):
        return CategoryNames(wrapped)
    if len(names) <= _MOST_SLANTED and frame.slot >= _LEAST_SLOT:
        return CategoryNames(tuple((_slanted(frame, name),) for name in names), slanted=True)
    return CategoryNames(_every(names, frame.slot))


def with_room_for_names(frame: Frame) -> Frame:
    """The same plot, moved to the right as far as its slanted names ask for."""
    if not category_names(frame).slanted:
        return frame
    left = frame.left
    for k, name in enumerate(frame.categories):
        reach = _COSINE * (min(text_width(name, SMALL), _SLANTED_ROOM[frame.width]) + 5)
        share = (k + 0.5) / len(frame.categories)
        # left + share * (right - left) = reach
        left = max(left, (reach - share * frame.right) / (1 - share))
    return replace(frame, left=min(left, _MOST_LEFT * frame.width))


def _slanted(frame: Frame, name: str) -> str:
    """A name that ends under its category and begins inside the figure."""
    return shorten(name, SMALL, min(_SLANTED_ROOM[frame.width], frame.x_at(name) / _COSINE - 4))


def _every(names: Sequence[str], slot: float) -> tuple[tuple[str, ...], ...]:
    widest = min(90.0, max(text_width(name, SMALL) for name in names))
    every = max(1, -int(-(widest + 8) // slot))
    room = every * slot - 4
    return tuple((shorten(name, SMALL, room),) if k % every == 0 else () for k, name in enumerate(names))

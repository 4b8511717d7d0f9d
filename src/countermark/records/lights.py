"""The five lights. Printed as glyph and word, never as colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Light(StrEnum):
    """Outcome of one test, section or pack."""

    PASS = "pass"
    WATCH = "watch"
    FAIL = "fail"
    NOT_EVALUATED = "not_evaluated"
    INFORMATION = "information"

    @property
    def glyph(self) -> str:
        """The printed sign."""
        return _GLYPH[self]

    @property
    def word(self) -> str:
        """The printed word."""
        return _WORD[self]


_GLYPH = {
    Light.PASS: "●",
    Light.WATCH: "▲",
    Light.FAIL: "■",
    Light.NOT_EVALUATED: "◇",
    Light.INFORMATION: "○",
}
_WORD = {
    Light.PASS: "Pass",
    Light.WATCH: "Watch",
    Light.FAIL: "Fail",
    Light.NOT_EVALUATED: "Not evaluated",
    Light.INFORMATION: "Information",
}
_SEVERITY = {
    Light.INFORMATION: 0,
    Light.PASS: 1,
    Light.WATCH: 2,
    Light.NOT_EVALUATED: 3,
    Light.FAIL: 4,
}


def worst(lights: Iterable[Light]) -> Light:
    """The light of a group: Fail, then Not evaluated, Watch, Pass, Information.

    An empty group is Information: nothing was asked.
    """
    return max(lights, key=_SEVERITY.__getitem__, default=Light.INFORMATION)

"""Text that the shipped fonts can print, and nothing else.

PDF/A forbids references to missing glyphs, and a machine's own fonts must not fill the gap. Characters that
the shipped fonts do not hold are printed as their code point, so that nothing disappears and nothing is guessed.
"""

from __future__ import annotations

import functools
import re
from importlib import resources

from fontTools.ttLib import TTFont
from markupsafe import Markup, escape

TEXT_FONT = "Inter-Regular.ttf"

_BREAK_AFTER = re.compile(r"(?<=[_/=:;|])(?=\w)|(?<=[.,])(?=[^\W\d])|(?<=[a-z])(?=[A-Z])")
_THOUSANDS = re.compile(r"(?<=\d)[ \u00a0](?=\d{3}(?!\d))")
_UNIT = re.compile(r"(?<=\d) (?=%)|(?<=[≤≥<>]) (?=[\d−])|(?<=[nND] [=<>≤≥]) (?=\d)|(?<=\b[nNDp]) (?=[=<>≤≥] ?\d)")
_MARK = re.compile(r"(?<=\S) (?=\*$|\([+−]\d[\d.]*\))")
_PRODUCT = re.compile(r"(?<=\d) (?=[×=] \d)|(?<=\d [×=]) (?=\d)")
_LONG_WORD = re.compile(r"\S{13,}")
_LONG_IN_PROSE = re.compile(r"\S{28,}")


@functools.cache
def _unprintable() -> re.Pattern[str]:
    with resources.files("countermark.report").joinpath("fonts", TEXT_FONT).open("rb") as stream:
        covered = sorted(TTFont(stream, lazy=True).getBestCmap())
    spans: list[list[int]] = []
    for code in covered:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    ranges = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in spans)
    return re.compile(f"[^\\n{ranges}]")


def printable(text: str) -> str:
    """Replace every character that the shipped text face lacks by its code point, ``[U+4E2D]``.

    Tabs become spaces; other control characters and direction marks become code points too.
    """
    return _unprintable().sub(_code_point, text.replace("\t", " ").replace("\r\n", "\n"))


def _code_point(match: re.Match[str]) -> str:
    return f"[U+{ord(match.group()):04X}]"


def breakable(text: object, *, prose: bool = False) -> Markup:
    """Escaped text whose long words may break after ``_ . / = , : ; |``, in prose only very long ones."""
    escaped = str(escape(printable(_kept_together(str(text)))))
    return Markup((_LONG_IN_PROSE if prose else _LONG_WORD).sub(_with_breaks, escaped))


def unbreakable(text: str) -> list[str]:
    """The pieces of a text between which ``breakable`` lets a line end."""
    words = re.split("[ \n]+", printable(_kept_together(text)))
    return [p for word in words for p in (_BREAK_AFTER.split(word) if _LONG_WORD.search(word) else (word,))]


def _kept_together(text: str) -> str:
    """A number keeps its thousands, its unit and its product, a code its worth: ``95 %``, ``3 × 2``, ``R01 (+1.2)``."""
    text = _MARK.sub("\u00a0", _THOUSANDS.sub("\u202f", text))
    return _PRODUCT.sub("\u00a0", _UNIT.sub("\u00a0", text))


def _with_breaks(match: re.Match[str]) -> str:
    word = match.group()
    if "&" in word:
        # Never break inside an entity.
        return "".join(p if p.startswith("&") else _split(p) for p in re.split(r"(&[#\w]+;)", word))
    return _split(word)


def _split(word: str) -> str:
    return _BREAK_AFTER.sub("<wbr>", word)

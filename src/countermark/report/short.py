"""What the short documents share: how instants, values and signed numbers are printed, and how a PDF is closed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import weasyprint
from markupsafe import Markup
from weasyprint.text.fonts import FontConfiguration

from countermark.records.formats import MINUS, format_value
from countermark.records.lights import Light
from countermark.report.attachments import AttachedFile
from countermark.report.document import VARIANT, attachment, environment, layout, running_heads, stylesheets
from countermark.report.tables import light_chip
from countermark.report.tagging import finish
from countermark.report.text_safety import breakable


class ShortDocument:
    """A document of a few pages: one template, one style, one attachment.

    Args:
        template: Name of the template.
        style: Name of the style.
        heads: Text at the top left, the classification, and the mark in the middle below.
    """

    def __init__(self, template: str, style: str, heads: tuple[str, str, str]) -> None:
        self._fonts = FontConfiguration()
        env = environment()
        env.filters.update(instant=instant, signed=signed, digest=digest, value=shown, light=Light)
        self._template = env.get_template(template)
        left, classification, mark = heads
        self._sheets = stylesheets("a4", self._fonts, running_heads(left, "", classification, mark), style)

    def lay_out(self, context: Mapping[str, Any]) -> weasyprint.Document:
        """Lay it out."""
        return layout(self._template.render(context), {}, self._sheets, self._fonts)

    def close(self, document: weasyprint.Document, file: AttachedFile, day: str) -> tuple[bytes, int]:
        """The PDF with its attachment, and its number of pages."""
        created = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
        data = document.write_pdf(
            finisher=finish, pdf_variant=VARIANT, output_intent="srgb", attachments=[attachment(file, created)]
        )
        return data, len(document.pages)


def instant(text: str | None, *, seconds: bool = False) -> str:
    """``2026-12-04 14:00 UTC`` of an ISO instant; an en dash for None."""
    if not text:
        return "–"
    if len(text) == 10:
        return text
    return f"{text[:10]} {text[11:19] if seconds else text[11:16]}\u00a0UTC"


def shown(value: float | str | bool | None) -> Markup:
    """A value as people read it; a missing one is said to be missing."""
    if value is None:
        return Markup('<span class="quiet">missing</span>')
    return breakable(format_value(value, "number") if not isinstance(value, str) else value)


def signed(value: float) -> str:
    """A number with its sign, three decimals."""
    if abs(value) < 0.0005:
        return "0.000"
    return f"{'+' if value > 0 else MINUS}{abs(value):.3f}"


def digest(text: str | None, length: int = 16) -> Markup:
    """The first digits of a digest in the mono face."""
    return Markup('<span class="hash">{}</span>').format("–" if not text else text[:length])


def middle(text: str, limit: int = 60) -> str:
    """A long name without its middle: what tells two names apart is most often at their ends."""
    if len(text) <= limit:
        return text
    end = limit // 2 - 4
    return f"{text[: limit - end - 1]}…{text[-end:]}"


def chip(light: Light, word: str | None = None) -> Markup:
    """A light as glyph and word, or as glyph and another word."""
    if word is None:
        return light_chip(light)
    return Markup('<span class="light {}">{}\u00a0{}</span>').format(light.value, light.glyph, word)

"""Prose: narrative markdown of people, and links from plain text to the evidence it names."""

from __future__ import annotations

import re
from collections.abc import Collection

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from countermark.report.text_safety import breakable, printable

_EVIDENCE = re.compile(r"(?<![\w-])(?:[A-J]\d{1,2}-[FT]\d{1,3}|[A-J]\d{1,2})\b")
_KEPT = re.compile(r"(<a .*?</a>|<[^>]*>|(?<!\w)&#39;(?:(?!&#39;).){1,80}&#39;(?!\w)|&[#\w]+;)")
"""Tags, quoted values and entities, in which nothing is a code."""
_FINDING = re.compile(r"(?<![\w-])[A-Z]{1,3}-(?:[A-J]\d{1,2}-)?\d{1,5}\b")


def linked(text: object, anchors: Collection[str]) -> Markup:
    """Escaped text in which section codes, evidence ids and finding ids are links, if they exist here.

    What stands in quotes is a value of the data and never a link, even where it reads like a code.
    """
    html = str(breakable(text, prose=True))
    for pattern in (_FINDING, _EVIDENCE):
        html = _outside_tags(html, pattern, anchors)
    return Markup(html)


def _outside_tags(html: str, pattern: re.Pattern[str], anchors: Collection[str]) -> str:
    def link(match: re.Match[str]) -> str:
        anchor = anchor_of(match.group())
        if anchor not in anchors:
            return match.group()
        return f'<a href="#{anchor}">{label_of(match.group())}</a>'

    pieces = _KEPT.split(html)
    return "".join(piece if index % 2 else pattern.sub(link, piece) for index, piece in enumerate(pieces))


def anchor_of(identifier: str) -> str:
    """Anchor name of a section, block or finding id."""
    return "id-" + re.sub(r"[^A-Za-z0-9]+", "-", identifier).strip("-")


def label_of(identifier: str) -> str:
    """Printed label of a block id: ``E1-F3`` is Figure E1-3, ``E1-T2`` is Table E1-2."""
    match = re.fullmatch(r"([A-J]\d{1,2})-([FT])(\d{1,3})", identifier)
    if match is None:
        return identifier
    word = "Figure" if match.group(2) == "F" else "Table"
    return f"{word}\u00a0{match.group(1)}-{match.group(3)}"


def markdown_html(markdown: str) -> Markup:
    """Narrative markdown as HTML: no raw HTML, no images, no outside links, headings from level 3 without gaps."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "autolink"])
    tokens = parser.parse(printable(markdown))
    _fit_headings(tokens)
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                child.tag = "span"
                child.attrs = {}
            elif child.type == "link_close":
                child.tag = "span"
        if token.type == "th_open":
            token.attrs = {**token.attrs, "scope": "col"}
    html = parser.renderer.render(tokens, parser.options, {})
    return Markup(_breakable_text(html))


def _breakable_text(html: str) -> str:
    pieces = re.split(r"(<[^>]*>)", html)
    return "".join(
        piece if index % 2 or len(piece) < 30 else re.sub(r"(?<=[_/=|])(?=\w)", "<wbr>", piece)
        for index, piece in enumerate(pieces)
    )


def _fit_headings(tokens: list[Token]) -> None:
    """The shallowest heading becomes h3 and all others h4; the first is always h3, so that no level is skipped."""
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    current, seen = "h3", False
    for token in tokens:
        if token.type == "heading_open":
            current = "h3" if not seen or int(token.tag[1]) == min(levels) else "h4"
            seen = True
            token.tag = current
        elif token.type == "heading_close":
            token.tag = current

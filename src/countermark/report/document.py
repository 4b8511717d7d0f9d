"""From a pack to HTML, and from HTML to pages."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

import weasyprint
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from weasyprint.pdf import fonts as pdf_fonts
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from countermark.charts.figure import draw, draw_pair
from countermark.charts.svg import shorten, text_width
from countermark.errors import ReportError
from countermark.records.evidence import Block, Figure, Pack
from countermark.records.lights import Light
from countermark.records.signoff import SignOff
from countermark.report.attachments import AttachedFile, attached_files
from countermark.report.final import DRAFT_MARK, FINAL_MARK, finalised
from countermark.report.portfolio import PortfolioPage
from countermark.report.portfolio_page import MOST_MODELS, PAGE_FITS, portfolio_context
from countermark.report.prose import anchor_of, linked
from countermark.report.summary_page import FITS, Fit, SummaryView, summary_view
from countermark.report.tables import A4, LETTER, light_chip, severity_chip
from countermark.report.tagging import finish
from countermark.report.text_safety import breakable, printable
from countermark.report.views import BlockView, PackViews, PartView, widened

Paper: TypeAlias = Literal["a4", "letter"]
_SIZES: dict[Paper, tuple[str, str]] = {"a4": ("A4", "A4 landscape"), "letter": ("letter", "letter landscape")}
VARIANT = "pdf/a-3a"
_MARK_COLOURS = {DRAFT_MARK: "#7A4B00", FINAL_MARK: "#005A42"}
_COVER_SIZE, _COVER_ROOM = 28.0, 459.0
_ENTRY_ROOM = (7.8, 385.0)
"""Size of the lists of figures and tables and the width of one entry, in points."""
LEGEND = (
    (Light.PASS, "The limit is met and the test had power, or the interval lies inside the limit."),
    (Light.WATCH, "Between the limits, or the interval straddles the limit."),
    (Light.FAIL, "The limit is breached with statistical and material support."),
    (Light.NOT_EVALUATED, "Too few events, too little power, no data, or not computed; the reason is printed."),
    (Light.INFORMATION, "Descriptive; no limit is set."),
)
_COVER = (
    ("id", "Model id"), ("version", "Version"), ("kind", "Kind"), ("tier", "Tier"),
    ("validation_type", "Validation type"), ("as_of", "Data as of"), ("owner", "Owner"), ("developer", "Developer"),
    ("validator", "Validator"), ("inventory_link", "Inventory entry"), ("pack_id", "Pack id"),
    ("classification", "Classification"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signed:
    """What a Final has and a draft has not: the sign-off, and the signed log behind it."""

    signoff: SignOff
    log: bytes


class PackageOnly(URLFetcher):  # type: ignore[misc]
    """Serves the figures of this document from memory and refuses every other address."""

    def __init__(self, figures: Mapping[str, str]) -> None:
        super().__init__()
        self._figures = figures

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        """Return a figure, or stop the rendering: nothing is fetched from anywhere."""
        del headers
        scheme, _, name = url.partition(":")
        if scheme == "figure" and unquote(name) in self._figures:
            content = self._figures[unquote(name)].encode("utf-8")
            return URLFetcherResponse(url, content, {"Content-Type": "image/svg+xml"})
        raise FatalURLFetchingError(f"'{scheme}' addresses are not fetched while rendering")


def environment() -> Environment:
    """The templates: autoescape on, undefined names are errors."""
    env = Environment(
        loader=PackageLoader("countermark.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    env.filters.update(printable=printable, breakable=breakable, anchor=anchor_of, severity=severity_chip)
    return env


def first_clause(caption: str) -> str:
    """The claim of a caption, without the sample in brackets: for lists of figures and tables."""
    return re.sub(r"\s*\([^()]*\)\.?$", "", caption).rstrip(".")


def pack_pdf(pack: Pack, pack_bytes: bytes, paper: Paper, signed: Signed | None = None) -> tuple[bytes, int]:
    """Render a pack.

    Must run in a process of its own, with ``SOURCE_DATE_EPOCH`` and ``FONTCONFIG_FILE`` set: see ``render``.

    Args:
        pack: The pack as sealed.
        pack_bytes: Its file, attached byte for byte.
        paper: Size of a page.
        signed: Sign-off and signed log of a Final; None for a draft.

    Returns:
        The PDF and its number of pages.
    """
    status = DRAFT_MARK
    if signed is not None:
        pack, status = finalised(pack, signed.signoff), FINAL_MARK
    figures = {name: svg for s in pack.sections for name, svg in drawn_figures(widened(s.blocks)).items()}
    views = PackViews(pack, LETTER if paper == "letter" else A4)
    files = attached_files(pack, pack_bytes, None if signed is None else signed.log)
    env = environment()
    env.filters["linked"] = lambda text: linked(text, views.anchors)
    context = _context(pack, views, files, status)
    context["decided"] = pack.summary.opinion if signed is None else signed.signoff.opinion
    fonts = FontConfiguration()
    heads = running_heads(context["running"], pack.pack_hash, context["classification"], status)
    sheets = stylesheets(paper, fonts, heads)
    context["summary"] = _fitting_summary(pack, views, env, context, sheets, fonts)
    html = env.get_template("pack.html.j2").render(context)
    document = layout(html, figures, sheets, fonts)
    created = dt.datetime.fromisoformat(pack.as_of).replace(tzinfo=dt.UTC)
    attachments = [attachment(file, created) for file in files]
    data = document.write_pdf(finisher=finish, pdf_variant=VARIANT, output_intent="srgb", attachments=attachments)
    return data, len(document.pages)


def portfolio_pdf(page: PortfolioPage, paper: Paper) -> tuple[bytes, int]:
    """Render the portfolio page; one page, whatever the number of models allows to say of each."""
    fonts, env = FontConfiguration(), environment()
    heads = running_heads(page.title, "", page.classification)
    sheets = stylesheets(paper, fonts, heads, "portfolio.css")
    template = env.get_template("portfolio.html.j2")
    for fit in PAGE_FITS:
        if len(page.models) > fit.models:
            continue
        document = layout(template.render(portfolio_context(page, fit)), {}, sheets, fonts)
        if len(document.pages) == 1:
            return document.write_pdf(finisher=finish, pdf_variant=VARIANT, output_intent="srgb"), 1
    raise ReportError(
        "the portfolio does not fit one page",
        expected=f"at most {MOST_MODELS} models",
        got=f"{len(page.models)} models",
        hint="render the portfolio in parts",
    )


def drawn_figures(blocks: tuple[Block, ...]) -> dict[str, str]:
    """Every figure by id, in characters that the shipped fonts hold; figures that share a row stand level."""
    drawn: dict[str, str] = {}
    waiting: Figure | None = None
    for block in (*blocks, None):
        half = block if isinstance(block, Figure) and block.size == "half" else None
        if waiting is not None and half is not None:
            drawn[waiting.id], drawn[half.id] = (printable(svg) for svg in draw_pair(waiting, half))
            waiting = None
            continue
        if waiting is not None:
            drawn[waiting.id] = printable(draw(waiting))
        waiting = half
        if isinstance(block, Figure) and half is None:
            drawn[block.id] = printable(draw(block))
    return drawn


def _pin_subsetter() -> None:
    """Subset fonts with fontTools (locked) even where the machine has HarfBuzz-Subset: its bytes differ."""
    pdf_fonts.harfbuzz_subset = None


def layout(
    html: str, figures: Mapping[str, str], sheets: list[weasyprint.CSS], fonts: FontConfiguration
) -> weasyprint.Document:
    """Lay a page of HTML out, with nothing fetched from anywhere."""
    _pin_subsetter()
    page = weasyprint.HTML(string=html, base_url="figure:none", url_fetcher=PackageOnly(figures))
    return page.render(stylesheets=sheets, font_config=fonts, pdf_variant=VARIANT, output_intent="srgb")


def stylesheets(paper: Paper, fonts: FontConfiguration, heads: str, name: str = "pack.css") -> list[weasyprint.CSS]:
    """A style of the package under the running heads of a document."""
    portrait, landscape = _SIZES[paper]
    style = resources.files("countermark.report").joinpath(name).read_text(encoding="utf-8")
    sizes = f"@page {{ size: {portrait} }} @page landscape {{ size: {landscape} }}"
    sheet = heads + style + sizes
    return [weasyprint.CSS(string=sheet, font_config=fonts, url_fetcher=PackageOnly({}), base_url="figure:none")]


def running_heads(model: str, pack_hash: str, classification: str, status: str = DRAFT_MARK) -> str:
    """Page rules: model and hash above, classification, draft or final mark and page number below."""
    head = "font: 400 7.5pt Inter; color: #52606D; vertical-align: bottom; padding-bottom: 4.5mm;"
    foot = "font: 400 7.5pt Inter; color: #52606D; vertical-align: top; padding-top: 2mm; margin-top: 4mm;"
    rule = "border-top: 0.5pt solid #CBD2D9;"
    return (
        "@page {"
        f"@top-left {{ content: {css_string(model[:70])}; {head} font-weight: 600; color: #14365C; width: 60%; }}"
        f"@top-right {{ content: {css_string(f'pack {pack_hash[:12]}' if pack_hash else '')}; {head} width: 40%; }}"
        f"@bottom-left {{ content: {css_string(classification[:60])}; {foot} {rule} width: 40%; }}"
        f"@bottom-center {{ content: {css_string(status)}; {foot} {rule} width: 20%; "
        f"color: {_MARK_COLOURS.get(status, '#52606D')}; font-weight: 600; }}"
        f"@bottom-right {{ content: 'Page ' counter(page) ' of ' counter(pages); {foot} {rule} width: 40%; }}"
        "}"
    )


def css_string(text: str) -> str:
    """A CSS string literal: everything but ASCII letters, digits and spaces is escaped."""
    safe = (c if c == " " or (c.isascii() and c.isalnum()) else f"\\{ord(c):x} " for c in printable(text))
    return "'" + "".join(safe) + "'"


def attachment(file: AttachedFile, created: dt.datetime) -> weasyprint.Attachment:
    """A file that travels inside a PDF."""
    return weasyprint.Attachment(
        string=file.content,
        name=file.name,
        description=file.description,
        created=created,
        modified=created,
        relationship=file.relationship,
    )


def _fitting_summary(
    pack: Pack,
    views: PackViews,
    env: Environment,
    context: dict[str, Any],
    sheets: list[weasyprint.CSS],
    fonts: FontConfiguration,
) -> SummaryView:
    """The most generous density at which page 2 is one page.

    One layout at the last density that cuts nothing says which of the others may hold; where it does not hold
    itself, texts have to be cut, and the least cut is found by halving.
    """
    template = env.get_template("summary.html.j2")

    def attempt(fit: Fit) -> tuple[SummaryView | None, float]:
        view = summary_view(pack, fit, views.anchors)
        body = template.render({**context, "summary": view})
        html = f'<!DOCTYPE html><html lang="en"><title>A2</title><body>{Markup(body)}'
        pages = layout(html.replace('href="#', 'data-x="#'), {}, sheets, fonts).pages
        free = _free_height(pages[0])
        return (view.with_air(free), free) if len(pages) == 1 else (None, 0.0)

    whole = [fit for fit in FITS if fit.whole]
    found, free = attempt(whole[-1]) if whole else (None, 0.0)
    if found is not None:
        for fit in whole[:-1]:
            if fit.may_hold(free):
                more = attempt(fit)[0]
                if more is not None:
                    return more
        return found
    low, high = len(whole), len(FITS)
    while low < high:
        middle = (low + high) // 2
        view = attempt(FITS[middle])[0]
        if view is not None:
            found, high = view, middle
        else:
            low = middle + 1
    if found is None:
        raise ReportError("the committee summary does not fit one page", hint="shorten the texts of the summary")
    return found


def _free_height(page: weasyprint.Page) -> float:
    """Height that is left under the text of a page, in points."""
    sheet = page._page_box
    root = sheet.children[0]
    left: float = sheet.content_box_y() + sheet.height - root.position_y - root.margin_height()
    return left * 0.75


def _context(pack: Pack, views: PackViews, files: tuple[AttachedFile, ...], status: str) -> dict[str, Any]:
    identity = pack.identity
    name = str(identity.get("title") or identity.get("name") or identity.get("id") or "Model")
    model = str(identity.get("id") or name)
    version = str(identity.get("version") or "")
    parts = views.parts()
    blocks = [block for part in parts for s in part.sections for row in s.blocks for block in row]
    kind, tier = identity.get("kind"), identity.get("tier")
    known = [_cut(f"{model} {version}".strip()), f"kind {kind}" if kind else "", f"tier {tier}" if tier else ""]
    return {
        "pack": pack,
        "name": _cut(name, 80),
        "name_width": _even_width(name),
        "status": status,
        "final": status == FINAL_MARK,
        "title": f"Validation pack ({status.split(' ')[0].lower()}): {name} {version}".strip(),
        "author": str(identity.get("owner") or ""),
        "description": f"Model validation pack of {model} {version}, data as of {pack.as_of}, "
        + status.lower().replace(" – ", ", "),
        "running": f"{model} {version}".strip(),
        "classification": str(identity.get("classification") or "Not classified"),
        "cover_line": _cut(" · ".join(part for part in known if part), 100),
        "cover_facts": [(label, _told(identity, key)) for key, label in _COVER if key in identity],
        "cover_digests": [
            (key.replace("_", " ").capitalize(), value[:12]) for key, value in sorted(pack.digests.items())
        ],
        "who": " · ".join([_cut(name), *(part for part in known if part), f"data as of {pack.as_of}"]),
        "parts": parts,
        "contents": _halves(parts),
        "figures": [_entry(b) for b in blocks if b.type == "figure"],
        "tables": [_entry(b) for b in blocks if b.type in ("table", "facts", "empty")],
        "legend": [(light_chip(light), meaning) for light, meaning in LEGEND],
        "files": files,
        "has_a3": _has_section(parts, "A3"),
    }


def _even_width(name: str) -> float:
    """Width at which the title of the cover breaks into lines of about the same length, in points."""
    whole = text_width(name, _COVER_SIZE) * 1.05
    return round(min(_COVER_ROOM, 1.16 * whole / math.ceil(whole / _COVER_ROOM)), 1)


def _halves(parts: tuple[PartView, ...]) -> tuple[tuple[PartView, ...], ...]:
    """Two columns of parts for the contents, as even as their entries allow."""
    lengths = [len(part.sections) + 1.6 for part in parts]
    after = min(range(len(parts) + 1), key=lambda k: (abs(sum(lengths[:k]) - sum(lengths[k:])), -k))
    return parts[:after], parts[after:]


def _entry(block: BlockView) -> tuple[str, str, Markup]:
    """One line of the list of figures or tables."""
    claim = shorten(printable(first_clause(block.plain_caption)), *_ENTRY_ROOM)
    return block.label, block.anchor, Markup.escape(claim)


def _told(identity: Mapping[str, Any], key: str) -> str:
    value = identity.get(key)
    return "not given" if value in (None, "") else _cut(str(value), 44)


def _cut(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _has_section(parts: tuple[PartView, ...], code: str) -> bool:
    return any(s.code == code for part in parts for s in part.sections)

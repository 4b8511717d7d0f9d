"""The portfolio page as printed: as much per model as one page holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from countermark.records.formats import format_interval, format_value
from countermark.records.lights import Light
from countermark.report.portfolio import PortfolioModel, PortfolioPage
from countermark.report.tables import SEVERITY_SIGNS, light_chip
from countermark.report.text_safety import breakable


@dataclass(frozen=True, slots=True)
class PageFit:
    """How much one model may say.

    Attributes:
        css: Class of the density.
        keys: Key numbers per model.
        lights: Section lights per model; the worst are kept.
        intervals: Whether intervals are printed.
        title: Longest title in characters.
        models: More models than this are not tried at this density.
    """

    css: str
    keys: int
    lights: int
    intervals: bool
    title: int
    models: int


MOST_MODELS = 48
PAGE_FITS = (
    PageFit("roomy", 8, 48, True, 120, 4),
    PageFit("compact", 8, 48, True, 120, 6),
    PageFit("compact", 4, 24, False, 80, 12),
    PageFit("compact", 4, 10, False, 60, 16),
    PageFit("lines", 0, 5, False, 40, 30),
    PageFit("lines", 0, 0, False, 30, MOST_MODELS),
)
"""Tried in order until all models stand on one page."""
_WORST_FIRST = (Light.FAIL, Light.NOT_EVALUATED, Light.WATCH, Light.PASS, Light.INFORMATION)


def portfolio_context(page: PortfolioPage, fit: PageFit) -> dict[str, Any]:
    """What the template prints at one density."""
    tally = Counter(model.opinion for model in page.models)
    return {
        "page": page,
        "fit": fit,
        "models": [_model(model, fit) for model in page.models],
        "tally": sorted(tally.items(), key=lambda item: (-item[1], item[0])),
    }


def _model(model: PortfolioModel, fit: PageFit) -> dict[str, Any]:
    order = list(enumerate(model.strip))
    if len(order) > fit.lights:
        order = sorted(order, key=lambda item: (_WORST_FIRST.index(item[1][2]), item[0]))[: fit.lights]
        order.sort()
    known = (model.id, model.version, f"kind {model.kind}", f"tier {model.tier}" if model.tier is not None else "")
    owner = f"owner {model.owner}" if model.owner and fit.css != "lines" else ""
    open_findings = [f"{model.findings_count[s]} {s}" for s in SEVERITY_SIGNS if model.findings_count.get(s)]
    return {
        "title": _cut(model.title, fit.title),
        "line": _cut(" · ".join(part for part in (*known, owner) if part.strip()), 2 * fit.title),
        "opinion": _cut(model.opinion, 60),
        "decide_by": _cut(model.decide_by or "", 30),
        "as_of": model.as_of[:10],
        "hash": model.pack_hash[:12],
        "findings": ", ".join(open_findings) or "none",
        "strip": [
            (breakable(code[:8]), breakable(_cut(title, 28)), light_chip(light)) for _, (code, title, light) in order
        ],
        "more_lights": len(model.strip) - len(order) if fit.lights else 0,
        "numbers": [
            {
                "label": breakable(_cut(key.label, 40)),
                "value": format_value(key.value, key.format),
                "interval": format_interval(key.ci_low, key.ci_high, key.format),
                "light": light_chip(key.light),
            }
            for key in model.key_numbers[: fit.keys]
        ],
    }


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

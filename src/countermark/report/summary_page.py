"""Page 2: one page for a committee, however long its texts are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from countermark.records.evidence import KeyNumber, Pack
from countermark.records.formats import ABSENT, format_interval, format_value
from countermark.records.lights import Light
from countermark.report.prose import anchor_of, linked
from countermark.report.tables import SEVERITY_SIGNS, light_chip
from countermark.report.text_safety import breakable


@dataclass(frozen=True, slots=True)
class Fit:
    """How much text page 2 may carry.

    Attributes:
        css: Class of the density.
        line: Longest single text, in characters.
        items: Longest list.
        lights: Most section lights; the worst are kept.
    """

    css: str
    line: int
    items: int
    lights: int = 48


FITS: tuple[Fit, ...] = (
    Fit("roomy", 10_000, 10_000),
    Fit("dense", 10_000, 10_000),
    Fit("dense", 240, 5),
    Fit("tight", 170, 4),
    Fit("tight", 90, 3, 39),
    Fit("tight", 40, 1, 18),
)
"""Tried in order until the page holds; the last always does."""


_WORST_FIRST = (Light.FAIL, Light.NOT_EVALUATED, Light.WATCH, Light.PASS, Light.INFORMATION)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key number as printed."""

    label: Markup
    anchor: str
    section: str
    value: str
    interval: str
    previous: str
    limit: Markup
    light: Markup
    note: Markup


@dataclass(frozen=True, slots=True)
class SummaryView:
    """Page 2 as the template needs it."""

    css: str
    opinion: str
    decision_asked: Markup
    decide_by: str
    change_class: Markup
    why: tuple[Markup, ...]
    conditions: tuple[Markup, ...]
    strip: tuple[tuple[str, str, Markup, Markup], ...]
    key_numbers: tuple[KeyRow, ...]
    statements: tuple[tuple[str, Markup], ...]
    not_evaluated: tuple[Markup, ...]
    restrictions: tuple[Markup, ...]
    findings_count: tuple[tuple[str, str, int], ...]
    top_findings: tuple[Markup, ...]
    reproduce: Markup
    signature_status: Markup
    cut: bool


class _Cutter:
    """Shortens texts and lists to a fit and remembers whether it had to."""

    def __init__(self, fit: Fit, anchors: Collection[str]) -> None:
        self.fit = fit
        self.anchors = anchors
        self.cut = False

    def short(self, text: str, share: float = 1.0) -> str:
        limit = max(12, int(self.fit.line * share))
        if len(text) <= limit:
            return text
        self.cut = True
        return text[: limit - 1].rstrip() + "…"

    def line(self, text: str, share: float = 1.0) -> Markup:
        return linked(self.short(text, share), self.anchors)

    def lines(self, texts: Sequence[str], share: float = 1.0) -> tuple[Markup, ...]:
        shown = [self.line(text, share) for text in texts[: self.fit.items]]
        if len(texts) > len(shown):
            self.cut = True
            shown.append(Markup("and {} more").format(len(texts) - len(shown)))
        return tuple(shown)


def summary_view(pack: Pack, fit: Fit, anchors: Collection[str]) -> SummaryView:
    """Page 2 at one density. Whatever is cut is printed in full under A2 in the body."""
    summary, cutter = pack.summary, _Cutter(fit, anchors)
    strip = _strip(summary.strip, fit.lights)
    counts = tuple(
        (SEVERITY_SIGNS[level], level.capitalize(), summary.findings_count.get(level, 0)) for level in SEVERITY_SIGNS
    )
    statements = (
        ("Gain over the simple scorecard", cutter.line(summary.gain_over_simple)),
        ("Worst segment", cutter.line(summary.worst_segment)),
        ("Smallest detectable deterioration", cutter.line(summary.smallest_detectable)),
        ("Data", cutter.line(f"As of {summary.as_of}. {summary.matured_share}")),
    )
    view = SummaryView(
        css=fit.css,
        opinion=summary.opinion,
        decision_asked=cutter.line(summary.decision_asked),
        decide_by=summary.decide_by or "no date set",
        change_class=cutter.line(summary.change_class, 0.5),
        why=cutter.lines(summary.why),
        conditions=cutter.lines(summary.conditions),
        strip=tuple(
            (
                code,
                anchor_of(code) if anchor_of(code) in anchors else "",
                breakable(title if len(title) <= 24 else f"{title[:23]}…"),
                light_chip(light),
            )
            for code, title, light in strip
        ),
        key_numbers=tuple(_key_row(key, cutter, anchors) for key in summary.key_numbers),
        statements=statements,
        not_evaluated=cutter.lines(summary.not_evaluated, 0.7),
        restrictions=cutter.lines(summary.restrictions, 0.7),
        findings_count=counts,
        top_findings=cutter.lines(summary.top_findings),
        reproduce=breakable(cutter.short(summary.reproduce)),
        signature_status=cutter.line(summary.signature_status, 0.5),
        cut=False,
    )
    if cutter.cut or len(summary.strip) > len(strip):
        return SummaryView(**{**{name: getattr(view, name) for name in view.__slots__}, "cut": True})
    return view


def _strip(strip: Sequence[tuple[str, str, Light]], most: int) -> list[tuple[str, str, Light]]:
    """At most ``most`` lights, in their order; the worst stay."""
    if len(strip) <= most:
        return list(strip)
    ranked = sorted(range(len(strip)), key=lambda k: (_WORST_FIRST.index(strip[k][2]), k))
    return [strip[k] for k in sorted(ranked[:most])]


def _key_row(key: KeyNumber, cutter: _Cutter, anchors: Collection[str]) -> KeyRow:
    anchor = anchor_of(key.section)
    return KeyRow(
        label=breakable(cutter.short(key.label, 0.5)),
        anchor=anchor if anchor in anchors else "",
        section=key.section,
        value=_finite(key.value, key),
        interval=format_interval(key.ci_low, key.ci_high, key.format),
        previous=_finite(key.previous, key),
        limit=breakable(cutter.short(key.limit or "no limit", 0.5)),
        light=light_chip(key.light),
        note=breakable(cutter.short(key.note or "", 0.5)),
    )


def _finite(value: float | None, key: KeyNumber) -> str:
    return ABSENT if value is None or not math.isfinite(value) else format_value(value, key.format)


def full_texts(pack: Pack) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every text of the summary, uncut, for the body."""
    summary = pack.summary
    return (
        ("Decision asked", (summary.decision_asked,)),
        ("Change class", (summary.change_class,)),
        ("Why", summary.why),
        ("Conditions", summary.conditions),
        ("Gain over the simple scorecard", (summary.gain_over_simple,)),
        ("Worst segment", (summary.worst_segment,)),
        ("Smallest detectable deterioration", (summary.smallest_detectable,)),
        ("Share of labels matured", (summary.matured_share,)),
        ("Gating tests not evaluated", summary.not_evaluated),
        ("Restrictions", summary.restrictions),
        ("Top findings", summary.top_findings),
        (
            "Section lights",
            tuple(f"{code} {title}: {light.glyph} {light.word}" for code, title, light in summary.strip),
        ),
        ("Key numbers", tuple(f"{k.label}: {k.limit or 'no limit'}. {k.note or ''}" for k in summary.key_numbers)),
        ("Reproduce", (summary.reproduce,)),
        ("Signature", (summary.signature_status,)),
    )

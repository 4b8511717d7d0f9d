"""Page 2: one page for a committee, however long its texts are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

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

    @property
    def whole(self) -> bool:
        """Whether no text is cut."""
        return self.line >= _ALL

    def may_hold(self, free: float) -> bool:
        """Whether a page that leaves a height free, in points, when it is tight may hold at this density."""
        return (_LEAST_HEIGHT - free) * _GROWTH[self.css] <= _LEAST_HEIGHT


_ALL = 10_000
_LEAST_HEIGHT = 700.0
"""Height of the text area of page 2 on the lower of the two papers, in points."""
_GROWTH = {"airy": 1.42, "roomy": 1.26, "dense": 1.12, "tight": 1.0}
"""How much higher the same texts stand at a density, at least."""
FITS: tuple[Fit, ...] = (
    Fit("airy", _ALL, _ALL),
    Fit("roomy", _ALL, _ALL),
    Fit("dense", _ALL, _ALL),
    Fit("tight", _ALL, _ALL),
    Fit("tight", 420, 8),
    Fit("tight", 340, 8),
    Fit("tight", 280, 7),
    Fit("tight", 240, 7),
    Fit("tight", 210, 6),
    Fit("tight", 185, 6),
    Fit("tight", 165, 6),
    Fit("tight", 145, 6),
    Fit("tight", 125, 5),
    Fit("tight", 110, 5),
    Fit("tight", 95, 4),
    Fit("tight", 75, 3, 39),
    Fit("tight", 60, 2, 30),
    Fit("tight", 40, 1, 18),
)
"""From the most generous to the one that always holds; type shrinks before a text is cut."""
GAPS = {"airy": 9.0, "roomy": 7.5, "dense": 5.5, "tight": 3.8}
"""White space above each block of page 2, in points, before what is left over is shared out."""
_BLOCKS, _MOST_AIR, _RESERVE = 7, 12.0, 6.0
_IN_FULL = Markup('<a href="#summary-in-full">…</a>')
_HOMES = {"Why": "I3", "Conditions": "I3", "Not evaluated": "I3", "Restrictions": "B2", "Findings": "I2"}
"""Sections that hold the whole of each list."""
MOST_UNCUT = 14
_UNCUT_ROOM = 2_600
_NOTE = 60
_WORD = 24


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
    absent: bool


@dataclass(frozen=True, slots=True)
class SummaryView:
    """Page 2 as the template needs it."""

    css: str
    gap: float
    reasons_share: float
    open_share: float
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
    uncut: tuple[tuple[str, Markup], ...]
    uncut_more: int

    def with_air(self, free: float) -> SummaryView:
        """The same page with a free height, in points, shared out between its blocks."""
        extra = max(0.0, min(_MOST_AIR, (free - _RESERVE) / _BLOCKS))
        return replace(self, gap=round(self.gap + extra, 1))


class _Cutter:
    """Shortens texts and lists to a fit and remembers what it cut."""

    def __init__(self, fit: Fit, anchors: Collection[str]) -> None:
        self.fit = fit
        self.anchors = anchors
        self.cut: list[tuple[str, str]] = []

    def short(self, label: str, text: str, share: float = 1.0) -> str:
        limit = max(12, int(self.fit.line * share))
        if len(text) <= limit:
            return text
        self.cut.append((label, text))
        kept = text[: limit - 1]
        if len(kept) - kept.rfind(" ") <= _WORD:
            # A word is kept whole or left out.
            kept = kept[: kept.rfind(" ")]
        return kept.rstrip(" ,;:.(") + "…"

    def line(self, label: str, text: str, share: float = 1.0) -> Markup:
        """The text, or its beginning with an ellipsis that leads to the whole of it."""
        short = self.short(label, text, share)
        if short == text:
            return linked(text, self.anchors)
        return linked(short[:-1], self.anchors) + _IN_FULL

    def lines(self, label: str, texts: Sequence[str], share: float = 1.0) -> tuple[Markup, ...]:
        shown = [self.line(label, text, share) for text in texts[: self.fit.items]]
        left = texts[len(shown) :]
        if left:
            self.cut.extend((label, text) for text in left)
            home = linked(_HOMES[label], self.anchors)
            shown.append(Markup('<a href="#summary-in-full">and {} more</a>, {}').format(len(left), home))
        return tuple(shown)

    def uncut(self) -> tuple[tuple[tuple[str, Markup], ...], int]:
        """What was cut, in full, as far as half a page holds it, and how many texts are left."""
        shown, room = [], _UNCUT_ROOM
        for label, text in self.cut[:MOST_UNCUT]:
            if len(text) > room:
                break
            room -= len(text)
            shown.append((label, linked(text, self.anchors)))
        return tuple(shown), len(self.cut) - len(shown)


def summary_view(pack: Pack, fit: Fit, anchors: Collection[str]) -> SummaryView:
    """Page 2 at one density. Whatever is cut is printed in full after the contents."""
    summary, cutter = pack.summary, _Cutter(fit, anchors)
    line, lines = cutter.line, cutter.lines
    counts = tuple(
        (SEVERITY_SIGNS[level], level.capitalize(), summary.findings_count.get(level, 0)) for level in SEVERITY_SIGNS
    )
    texts = (
        ("Gain over the simple scorecard", summary.gain_over_simple),
        ("Worst segment", summary.worst_segment),
        ("Smallest detectable deterioration", summary.smallest_detectable),
        ("Data", f"As of {summary.as_of}. {summary.matured_share}"),
        ("Sections not computed", _absent(summary.not_computed)),
    )
    view = SummaryView(
        css=fit.css,
        gap=GAPS[fit.css],
        reasons_share=_left_share(summary.why, summary.conditions),
        open_share=_left_share(summary.not_evaluated, summary.restrictions),
        opinion=summary.opinion,
        decision_asked=line("Decision asked", summary.decision_asked),
        decide_by=summary.decide_by or "no date set",
        change_class=line("Change class", summary.change_class, 0.5),
        why=lines("Why", summary.why),
        conditions=lines("Conditions", summary.conditions),
        strip=_tiles(_strip(summary.strip, fit.lights), anchors),
        key_numbers=tuple(_key_row(key, cutter, anchors) for key in summary.key_numbers),
        statements=tuple((label, line(label, text)) for label, text in texts if text),
        not_evaluated=lines("Not evaluated", summary.not_evaluated, 0.7),
        restrictions=lines("Restrictions", summary.restrictions, 0.7),
        findings_count=counts,
        top_findings=lines("Findings", summary.top_findings),
        reproduce=breakable(cutter.short("Reproduce", summary.reproduce)),
        signature_status=line("Signature", summary.signature_status, 0.5),
        uncut=(),
        uncut_more=0,
    )
    uncut, more = cutter.uncut()
    return replace(view, uncut=uncut, uncut_more=more)


def _absent(codes: Sequence[str]) -> str:
    return f"{', '.join(codes)}: see B3 for what they will hold." if codes else ""


def _left_share(left: Sequence[str], right: Sequence[str]) -> float:
    """Width of the left of two columns in per cent, after what each has to say."""
    a, b = (sum(max(40, len(text)) for text in texts[:8]) for texts in (left, right))
    return round(min(64.0, max(34.0, 97.0 * (a + 60) / (a + b + 120))), 1)


def _tiles(
    strip: Sequence[tuple[str, str, Light]], anchors: Collection[str]
) -> tuple[tuple[str, str, Markup, Markup], ...]:
    return tuple(
        (
            code,
            anchor_of(code) if anchor_of(code) in anchors else "",
            breakable(title if len(title) <= 24 else f"{title[:23]}…"),
            light_chip(light),
        )
        for code, title, light in strip
    )


def _strip(strip: Sequence[tuple[str, str, Light]], most: int) -> list[tuple[str, str, Light]]:
    """At most ``most`` lights, in their order; the worst stay."""
    if len(strip) <= most:
        return list(strip)
    ranked = sorted(range(len(strip)), key=lambda k: (_WORST_FIRST.index(strip[k][2]), k))
    return [strip[k] for k in sorted(ranked[:most])]


def _key_row(key: KeyNumber, cutter: _Cutter, anchors: Collection[str]) -> KeyRow:
    anchor = anchor_of(key.section)
    note = key.note or ""
    if len(note) > _NOTE:
        cutter.cut.append((key.label, note))
        note = note[: _NOTE - 1].rstrip() + "…"
    return KeyRow(
        label=breakable(cutter.short("Key number", key.label, 0.5)),
        anchor=anchor if anchor in anchors else "",
        section=key.section,
        value=_finite(key.value, key),
        interval=format_interval(key.ci_low, key.ci_high, key.format),
        previous=_finite(key.previous, key),
        limit=breakable(cutter.short(f"Limit, {key.label}", key.limit or "no limit", 0.5)),
        light=light_chip(key.light),
        note=breakable(note),
        absent=bool(note) and key.value is None and key.previous is None,
    )


def _finite(value: float | None, key: KeyNumber) -> str:
    return ABSENT if value is None or not math.isfinite(value) else format_value(value, key.format)

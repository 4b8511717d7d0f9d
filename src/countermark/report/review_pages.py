"""The weekly review as printed: decisions first, quiet models in one line, the others in a block each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from countermark.records.formats import format_estimate, format_value, interval_text
from countermark.records.lights import Light
from countermark.records.review import Review, ReviewChallenge, ReviewModel
from countermark.records.watch import SHIFTS, Reading
from countermark.report.attachments import AttachedFile
from countermark.report.reading import read_record
from countermark.report.short import ShortDocument, chip, instant, middle
from countermark.report.text_safety import breakable

_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Business", ("kpi", "daily_volume")),
    ("Performance", ("auc", "auc_drop", "calibration")),
    ("Drift", ("score_psi", "decision_shift", "feature_psi")),
    ("Data", ("missing_shift", "unseen_share", "expired_share", "odd_outcomes", "unjudged")),
    ("Fairness", ("adverse_impact",)),
)
_WORDS: Mapping[str, str] = {
    "daily_volume": "decisions per day",
    "missing_shift": "rise of missing",
    "unseen_share": "unseen levels",
    "expired_share": "expired features",
    "odd_outcomes": "outcomes set aside as impossible",
    "unjudged": "unjudged decisions of",
    "feature_psi": "drift of",
    "score_psi": "drift of the score",
    "decision_shift": "shift of the favourable share",
    "auc": "AUC",
    "auc_drop": "drop of the AUC",
    "calibration": "calibration, p-value",
    "adverse_impact": "adverse impact ratio",
    "kpi": "",
}
_STYLES: Mapping[str, str] = {
    "missing_shift": "share", "unseen_share": "share", "expired_share": "share", "feature_psi": "psi",
    "score_psi": "psi", "decision_shift": "share", "auc": "auc", "auc_drop": "auc", "calibration": "pvalue",
    "adverse_impact": "ratio",
}  # fmt: skip
_RANK = (Light.FAIL, Light.WATCH, Light.NOT_EVALUATED, Light.PASS, Light.INFORMATION)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SHOWN = 6
"""Readings of one group that are printed; the worst come first, the rest are counted."""
_LISTED = 6
"""Names of one kind (releases, chains, decisions that differ) that are printed; more are counted."""
_TOGETHER = 24
"""Rows of a model's block that are kept on one page; a longer block begins where there is room and goes on overleaf."""
_NOBODY = "nobody named"


def review_pdf(content: bytes) -> tuple[bytes, int]:
    """Render a review.

    Args:
        content: The review as JSON, attached byte for byte.

    Returns:
        The PDF and its number of pages.

    Raises:
        ReportError: If the bytes are no review.
    """
    made = read_record(content, Review, "review")
    page = ShortDocument(
        "review.html.j2",
        "review.css",
        (" · ".join(part for part in (f"Model review {made.id}", made.bank) if part), made.classification, ""),
    )
    document = page.lay_out(_context(made))
    file = AttachedFile("review.json", content, "Source", f"Everything in this document ({made.format})")
    return page.close(document, file, made.as_of[:10])


def _context(made: Review) -> dict[str, Any]:
    loud = [model for model in made.models if not model.quiet]
    today = sum(needed.light is Light.FAIL for needed in made.needed)
    return {
        "r": made,
        "bank": breakable(middle(made.bank, 90)),
        "needed": [_needed(needed) for needed in made.needed],
        "today": today,
        "tally": [
            (str(today), f"decision{'' if today == 1 else 's'} needed today"),
            (str(len(made.needed) - today), "to come"),
            (str(len(loud)), f"model{'' if len(loud) == 1 else 's'} to talk about"),
            (str(len(made.models) - len(loud)), "quiet"),
        ],
        "quiet": [
            (
                chip(m.light),
                breakable(_title(m)),
                breakable(middle(m.authorised)),
                breakable(m.line or "nothing to say"),
            )
            for m in made.models
            if m.quiet
        ],
        # The first block begins where the first page still has room.
        "loud": [_model(model, flows=k == 0) for k, model in enumerate(loud)],
        "actions": [
            (_status(a.status), a.id, breakable(a.text or "–"), breakable(middle(a.owner) or _NOBODY), a.due)
            for a in made.actions
        ],
        "replay": None if made.replayed is None else _replay(made),
        "unasked": chip(Light.WATCH, "Not replayed") if made.sample == 0 else None,
        "chains": None if made.checkpoint is None else _chains(made.checkpoint.chains),
        "expiring": [
            (
                chip(Light.FAIL, "Ended") if e.lapsed else chip(Light.WATCH, "Ends"),
                breakable(middle(e.subject) or "–"),
                breakable(e.what or "–"),
                breakable(middle(e.owner) or _NOBODY),
                e.ends,
            )
            for e in made.expiring
        ],
        "listed": _LISTED,
        "chip": chip,
    }


def _needed(needed: Any) -> dict[str, Any]:
    word = "Today" if needed.light is Light.FAIL else "Soon" if needed.light is Light.WATCH else "To know"
    return {
        "chip": chip(needed.light, word),
        "subject": breakable(middle(needed.subject) or "–"),
        "text": breakable(_readable(needed.text) or "nothing was said"),
        "owner": breakable(middle(needed.owner) or _NOBODY),
        "due": needed.due,
        "command": needed.command,
    }


def _readable(text: str) -> str:
    """A sentence whose instants are printed as everywhere else."""
    return _INSTANT.sub(lambda found: instant(found.group()), text)


def _status(status: str) -> Markup:
    light = {"done": Light.PASS, "open": Light.INFORMATION, "overdue": Light.FAIL}[status]
    return chip(light, status.capitalize())


def _replay(made: Review) -> dict[str, Any]:
    assert made.replayed is not None
    drawn, identical = made.replayed.drawn, made.replayed.identical
    different, releases = made.replayed.different, made.replayed.releases
    word = "Identical" if drawn == identical else "Different"
    light = Light.PASS if drawn == identical else Light.FAIL
    return {
        # What could not have come out otherwise has not passed.
        "chip": chip(light, word) if drawn else chip(Light.NOT_EVALUATED),
        "text": f"{identical} of {drawn} decisions came out the same to the last bit" if drawn else "none was drawn",
        "releases": breakable(", ".join(middle(name) for name in releases))
        if len(releases) <= _LISTED
        else f"{len(releases)} releases",
        "different": [(middle(identity), middle(what, 120)) for identity, what in different[:_LISTED]],
        "more": max(0, len(different) - _LISTED),
    }


def _chains(chains: Mapping[str, int]) -> str:
    """Chains with their sizes; of many, how many there are."""
    if len(chains) > _LISTED:
        return f"{len(chains)} chains, {sum(chains.values()):,} entries".replace(",", "\u202f")
    return ", ".join(f"{name} {size}" for name, size in sorted(chains.items())) + " entries"


def _title(model: ReviewModel) -> str:
    return middle(model.title or model.model, 120)


def _model(model: ReviewModel, *, flows: bool) -> dict[str, Any]:
    groups = []
    for name, checks in _GROUPS:
        rows = [reading for reading in model.readings if reading.check in checks]
        if rows:
            groups.append(_group(name, rows))
    printed = sum(len(group["rows"]) for group in groups) + len(model.live_findings) + len(model.log_findings)
    return {
        "m": model,
        "title": breakable(_title(model)),
        "authorised": breakable(middle(model.authorised)),
        "also": breakable(middle(", ".join(f"v{version}" for version in model.also))),
        "owner": breakable(middle(model.owner) or _NOBODY),
        "line": breakable(model.line or "nothing was said"),
        "off": [breakable(middle(name).replace("_", " ")) for name in model.off],
        "long": flows or printed + 3 * len(model.rollouts) > _TOGETHER,
        "chip": chip(model.light),
        "groups": groups,
        "challenge": None if model.challenge is None else _challenge(model.challenge),
        "findings": [
            *(
                (
                    chip(f.light),
                    breakable(f.text),
                    breakable(middle(f.owner)),
                    _since(f.since, f.at),
                    f"in production, {f.status}",
                )
                for f in model.live_findings
            ),
            *(
                (
                    chip(Light.FAIL if f.severity in ("critical", "high") else Light.WATCH, f.severity.capitalize()),
                    breakable(f.text),
                    breakable(middle(f.owner)),
                    f"since {f.opened[:10]}",
                    f.id,
                )
                for f in model.log_findings
            ),
        ],
    }


def _since(opened: str, at: str) -> str:
    """When a finding was opened, and when its figure was measured: a check that is silent since then keeps it open."""
    return f"since {opened[:10]}" if opened[:10] == at[:10] else f"since {opened[:10]}, measured {at[:10]}"


def _group(name: str, rows: Sequence[Reading]) -> dict[str, Any]:
    ordered = sorted(rows, key=lambda r: (_RANK.index(r.light), -r.weight, r.check, r.subject))
    # A check that nobody could evaluate is one line, not one per subject.
    silent = [row for row in ordered if row.light is Light.NOT_EVALUATED]
    told = [row for row in ordered if row.light is not Light.NOT_EVALUATED]
    shown = [_reading(row) for row in told[:_SHOWN]]
    for check, same in groupby(
        sorted(silent, key=lambda r: (r.check, r.reason or "")), key=lambda r: (r.check, r.reason)
    ):
        subjects = [row.subject for row in same if row.subject not in ("all", "score")]
        label = _WORDS.get(check[0], check[0]) or "KPI"
        about = f" {', '.join(middle(subject) for subject in subjects[:3])}" if subjects else ""
        more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
        shown.append(
            (chip(Light.NOT_EVALUATED), breakable(f"{label}{about}{more}"), "–", "", breakable(check[1] or ""))
        )
    return {"name": name, "rows": shown, "more": max(0, len(told) - _SHOWN)}


def _reading(row: Reading) -> tuple[Markup, Markup, str, str, Markup]:
    style: Any = _STYLES.get(row.check, "number")
    value = format_estimate(row.value, row.low, row.high, style)
    then = "" if row.reference is None else format_value(row.reference, style)
    # Beside a change stands the level that it is measured from.
    then = f"from {then}" if then and row.check in SHIFTS else then
    about = "" if row.subject in ("all", "score") else middle(row.subject)
    label = " ".join(part for part in (_WORDS.get(row.check, row.check), about) if part)
    return chip(row.light), breakable(label), value, then, breakable(row.limit)


def _challenge(found: ReviewChallenge) -> dict[str, Any]:
    light = {"better": Light.WATCH, "worse": Light.PASS}.get(found.verdict, Light.INFORMATION)
    pair = f"v{found.challenger} against v{found.champion}"
    if found.verdict == "too few labels":
        told = f"{pair}: {found.labelled} of {found.decisions} decisions that both scored have a matured label, "
        return {"chip": chip(light, "Too few labels"), "text": breakable(f"{told}{found.events} of them events")}
    difference = "–" if found.auc_difference is None else f"{found.auc_difference:+.4f}".replace("-", "−")
    interval = ""
    if found.low is not None and found.high is not None:
        ends = [f"{end:+.4f}".replace("-", "−") for end in (found.low, found.high)]
        interval = f" ({interval_text(*ends)})"
    return {
        "chip": chip(light, found.verdict.capitalize()),
        "text": breakable(
            f"{pair} on the same {found.labelled:,} matured decisions with "
            f"{found.events:,} events: AUC {difference}{interval}".replace(",", "\u202f")
        ),
    }

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
from countermark.records.watch import Reading
from countermark.report.attachments import AttachedFile
from countermark.report.reading import read_record
from countermark.report.short import ShortDocument, chip, instant
from countermark.report.text_safety import breakable

_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Business", ("kpi", "daily_volume")),
    ("Performance", ("auc", "auc_drop", "calibration")),
    ("Drift", ("score_psi", "decision_shift", "feature_psi")),
    ("Data", ("missing_shift", "unseen_share", "expired_share")),
    ("Fairness", ("adverse_impact",)),
)
_WORDS: Mapping[str, str] = {
    "daily_volume": "decisions per day",
    "missing_shift": "share missing",
    "unseen_share": "unseen levels",
    "expired_share": "expired features",
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
        "review.html.j2", "review.css", (f"Model review {made.id} · {made.bank}", made.classification, "")
    )
    document = page.lay_out(_context(made))
    file = AttachedFile("review.json", content, "Source", "Everything in this document (countermark/review/1)")
    return page.close(document, file, made.as_of[:10])


def _context(made: Review) -> dict[str, Any]:
    loud = [model for model in made.models if not model.quiet]
    today = sum(needed.light is Light.FAIL for needed in made.needed)
    return {
        "r": made,
        "needed": [_needed(needed) for needed in made.needed],
        "today": today,
        "tally": [
            (str(today), f"decision{'' if today == 1 else 's'} needed today"),
            (str(len(made.needed) - today), "to come"),
            (str(len(loud)), f"model{'' if len(loud) == 1 else 's'} to talk about"),
            (str(len(made.models) - len(loud)), "quiet"),
        ],
        "quiet": [model for model in made.models if model.quiet],
        "loud": [_model(model) for model in loud],
        "actions": [(action, _status(action.status)) for action in made.actions],
        "replay": None if made.replayed is None else _replay(made),
        "chip": chip,
    }


def _needed(needed: Any) -> dict[str, Any]:
    word = "Today" if needed.light is Light.FAIL else "Soon" if needed.light is Light.WATCH else "To know"
    return {
        "chip": chip(needed.light, word),
        "subject": breakable(needed.subject),
        "text": breakable(_readable(needed.text)),
        "owner": breakable(needed.owner or "nobody named"),
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
    whole = drawn == identical
    return {
        "chip": chip(Light.PASS if whole else Light.FAIL, "Identical" if whole else "Different"),
        "text": f"{identical} of {drawn} decisions came out the same to the last bit",
        "different": made.replayed.different,
    }


def _model(model: ReviewModel) -> dict[str, Any]:
    groups = []
    for name, checks in _GROUPS:
        rows = [reading for reading in model.readings if reading.check in checks]
        if rows:
            groups.append(_group(name, rows))
    return {
        "m": model,
        "chip": chip(model.light),
        "groups": groups,
        "challenge": None if model.challenge is None else _challenge(model.challenge),
        "findings": [
            *(
                (chip(f.light), breakable(f.text), breakable(f.owner), f.since[:10], f"in production, {f.status}")
                for f in model.live_findings
            ),
            *(
                (
                    chip(Light.FAIL if f.severity in ("critical", "high") else Light.WATCH, f.severity.capitalize()),
                    breakable(f.text),
                    breakable(f.owner),
                    f.opened[:10],
                    f.id,
                )
                for f in model.log_findings
            ),
        ],
    }


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
        about = f" {', '.join(subjects[:3])}" if subjects else ""
        more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
        shown.append(
            (chip(Light.NOT_EVALUATED), breakable(f"{label}{about}{more}"), "–", "", breakable(check[1] or ""))
        )
    return {"name": name, "rows": shown, "more": max(0, len(told) - _SHOWN)}


def _reading(row: Reading) -> tuple[Markup, Markup, str, str, Markup]:
    style: Any = _STYLES.get(row.check, "number")
    value = format_estimate(row.value, row.low, row.high, style)
    then = "" if row.reference is None else format_value(row.reference, style)
    about = "" if row.subject in ("all", "score") else row.subject
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

"""The file of one decision as one printed page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from countermark.errors import ReportError
from countermark.records.decision import GivenReason
from countermark.records.decision_file import DecisionFile, FileApproval, FileInput
from countermark.records.evidence import Format
from countermark.records.formats import format_value
from countermark.records.lights import Light
from countermark.report.attachments import AttachedFile
from countermark.report.reading import read_record
from countermark.report.short import ShortDocument, chip, middle, signed
from countermark.report.text_safety import breakable

_SCALES = {"fixed": "on the master scale", "quantile": "of this release: equal shares of its calibration sample"}
_HARDLY = 0.05
"""Share of the first reason's contribution below which a reason hardly counts."""


@dataclass(frozen=True, slots=True)
class _Fit:
    inputs: int
    opinion: int
    differences: int
    later: int
    approvals: int
    chars: int
    notes: int = 3
    tight: bool = False


_FITS = (
    _Fit(14, 4, 8, 5, 6, 240),
    _Fit(12, 4, 6, 4, 5, 200),
    _Fit(10, 4, 5, 3, 5, 160),
    _Fit(9, 3, 4, 3, 4, 140),
    _Fit(8, 3, 4, 3, 4, 120),
    _Fit(7, 3, 3, 2, 4, 100),
    _Fit(6, 3, 3, 2, 4, 90),
    _Fit(5, 2, 3, 2, 3, 80),
    _Fit(5, 2, 3, 2, 3, 80, notes=2, tight=True),
    _Fit(4, 2, 2, 2, 2, 70, notes=1, tight=True),
    _Fit(3, 1, 2, 1, 2, 60, notes=1, tight=True),
    _Fit(2, 1, 1, 1, 1, 50, notes=1, tight=True),
    _Fit(2, 0, 1, 0, 1, 44, notes=1, tight=True),
)
"""From the roomiest to the tightest; what is left out is in the attached JSON, and the page says so."""


def decision_pdf(content: bytes) -> tuple[bytes, int]:
    """Render the file of a decision.

    Args:
        content: The file as JSON, attached byte for byte.

    Returns:
        The PDF and its number of pages: one.

    Raises:
        ReportError: If the bytes are no decision file, or its texts are too long for a page.
    """
    made = read_record(content, DecisionFile, "decision file")
    page = ShortDocument(
        "decision.html.j2", "decision.css", (f"Decision file · {made.release.ref}", made.classification, "")
    )
    name = "decision.json"
    file = AttachedFile(name, content, "Source", "Everything on this page (countermark/decision_file/1)")
    best = _roomiest(lambda fit: page.lay_out(_context(made, fit)))
    return page.close(best, file, made.made_at[:10])


def _roomiest(lay_out: Callable[[_Fit], Any]) -> Any:
    """The roomiest layout of one page, found by halving after the roomiest of all."""
    first = lay_out(_FITS[0])
    if len(first.pages) == 1:
        return first
    found, low, high = None, 1, len(_FITS)
    while low < high:
        middle = (low + high) // 2
        document = lay_out(_FITS[middle])
        if len(document.pages) == 1:
            found, high = document, middle
        else:
            low = middle + 1
    if found is None:
        raise ReportError(
            "the decision file does not fit one page", hint="its texts are too long; the JSON holds them all"
        )
    return found


def _revoked(approval: FileApproval) -> str:
    """What became of the key that approved; empty where it is still believed."""
    if approval.revoked is None:
        return ""
    told = f"key revoked from log position {approval.revoked} on"
    return f"{told}: it counts no more" if approval.position >= approval.revoked else f"{told}: it still counts"


def _context(made: DecisionFile, fit: _Fit) -> dict[str, Any]:
    largest = max((abs(item.contribution) for item in made.inputs), default=0.0)
    style: Format = "number" if made.favourable is None else "share"
    known = {item.name for item in made.inputs}
    extra = [field for field in made.request if field.name not in known]
    return {
        "f": made,
        "outcome": _capital(_cut(made.decision or "no outcome", 60)),
        "title": _cut(made.title or made.model, 120),
        "who": _cut(_who(made), 200),
        "ref": middle(made.release.ref),
        "route": _cut(made.route, 2 * fit.chars),
        "proposed_by": middle(made.release.proposed_by or "nobody named"),
        "published_by": middle(made.release.published_by or "–"),
        "verdict": _verdict(made),
        "tight": fit.tight,
        "notes": [_cut(note, min(200, 2 * fit.chars)) for note in made.notes[: fit.notes]],
        "more_notes": max(0, len(made.notes) - fit.notes),
        "numbers": [
            ("Score" if made.favourable is not None else "Estimate", format_value(made.p, style), _bits(made.p_bits)),
            *(
                [("Cut-off", format_value(made.cutoff, "share"), Markup("at and above it: not in favour"))]
                if made.cutoff
                else []
            ),
            *([("Grade", made.grade, Markup(_SCALES.get(made.scale, "")))] if made.grade else []),
            ("Margin", format_value(made.margin, "score"), _bits(made.margin_bits)),
        ],
        # Every reason is told, however many there are: only their words are cut.
        "reasons": [
            (middle(r.code, 40), _cut(r.text or "no text", 2 * fit.chars), _worth(r, made.reasons))
            for r in made.reasons
        ],
        "inputs": [_input(item, largest, fit.chars) for item in made.inputs[: fit.inputs]],
        "more_inputs": max(0, len(made.inputs) - fit.inputs),
        "extra": breakable(_cut("; ".join(f"{field.name} {_plain(field.value)}" for field in extra), 3 * fit.chars)),
        "approvals": [
            (middle(a.person, 40), a.role, a.at, a.expires, _revoked(a))
            for a in made.release.approvals[: fit.approvals]
        ],
        "more_approvals": max(0, len(made.release.approvals) - fit.approvals),
        "conditions": _cut("; ".join(c for a in made.release.approvals for c in a.conditions), 2 * fit.chars),
        "differences": [
            (d.what, _cut(d.recorded, fit.chars), _cut(d.found, fit.chars)) for d in made.differences[: fit.differences]
        ],
        "more_differences": max(0, len(made.differences) - fit.differences),
        "later": [
            (item.kind, item.at, middle(item.by, 40), _cut(item.text, fit.chars))
            for item in made.later[len(made.later) - min(fit.later, len(made.later)) :]
        ],
        "more_later": max(0, len(made.later) - fit.later),
        "warning": chip(Light.WATCH, "Explains little"),
        "opinion": None
        if made.second_opinion is None
        else [(middle(o.stated), o.weight, o.exact) for o in made.second_opinion.lines[: fit.opinion]],
        "weak": made.second_opinion is not None and made.second_opinion.weak,
        "as_of_same": all(item.as_of == made.at for item in made.inputs),
    }


def _worth(reason: GivenReason, given: Sequence[GivenReason]) -> str:
    """What a reason adds to the margin; one that adds next to nothing beside the first is called so."""
    try:
        worth, first = (float.fromhex(text) for text in (reason.contribution, given[0].contribution))
    except ValueError:
        return ""
    return f"adds {signed(worth)}" + (", hardly counts" if worth < _HARDLY * first else "")


def _verdict(made: DecisionFile) -> dict[str, str]:
    if made.identical:
        return {
            "css": "same",
            "word": "● Identical",
            "text": "Decided again by the same release: score, grade, outcome and reasons agree to the last bit.",
        }
    names = ", ".join(dict.fromkeys(d.what for d in made.differences))
    return {"css": "other", "word": "■ Different", "text": f"Not as it was recorded: {names}."}


def _who(made: DecisionFile) -> str:
    about = f"about {middle(made.entity)}" if made.entity else "about nobody by name"
    return f"Decision {middle(made.id)} {about} · asked for by {made.channel}"


def _input(item: FileInput, largest: float, chars: int) -> dict[str, Any]:
    share = 0.0 if largest == 0 else abs(item.contribution) / largest
    return {
        "name": breakable(middle(item.name, min(chars, 60))),
        "meaning": breakable(_cut(item.meaning, min(chars - 30, 70))),
        "said": item.meaning not in ("", item.name),
        "value": middle(item.value, 40) if isinstance(item.value, str) else item.value,
        "unit": item.unit,
        "origin": breakable(middle(item.origin or "–", 40)),
        "as_of": item.as_of,
        "expired": chip(Light.WATCH, "too old, read as missing") if item.expired else None,
        "contribution": item.contribution,
        "bar": round(100 * share / 2, 1),
        "up": item.contribution > 0,
    }


def _bits(text: str) -> Markup:
    return Markup('<span class="hash">{}</span>').format(text)


def _plain(value: object) -> str:
    return "missing" if value is None else str(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

"""The file of one decision as one printed page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from countermark.errors import ReportError
from countermark.records.decision_file import DecisionFile, FileInput
from countermark.records.evidence import Format
from countermark.records.formats import format_value
from countermark.records.lights import Light
from countermark.report.attachments import AttachedFile
from countermark.report.reading import read_record
from countermark.report.short import ShortDocument, chip
from countermark.report.text_safety import breakable


@dataclass(frozen=True, slots=True)
class _Fit:
    inputs: int
    opinion: int
    differences: int
    later: int
    approvals: int
    chars: int


_FITS = (
    _Fit(14, 4, 8, 5, 6, 240),
    _Fit(12, 4, 6, 4, 5, 200),
    _Fit(10, 4, 5, 3, 5, 160),
    _Fit(9, 3, 4, 3, 4, 140),
    _Fit(8, 3, 4, 3, 4, 120),
    _Fit(7, 3, 3, 2, 4, 100),
    _Fit(6, 3, 3, 2, 4, 90),
    _Fit(5, 2, 3, 2, 3, 80),
    _Fit(4, 2, 3, 2, 3, 70),
    _Fit(3, 1, 3, 2, 3, 60),
    _Fit(2, 1, 2, 1, 2, 50),
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


def _context(made: DecisionFile, fit: _Fit) -> dict[str, Any]:
    largest = max((abs(item.contribution) for item in made.inputs), default=0.0)
    style: Format = "number" if made.favourable is None else "share"
    known = {item.name for item in made.inputs}
    extra = [field for field in made.request if field.name not in known]
    return {
        "f": made,
        "outcome": _capital(made.decision),
        "title": _cut(made.title, 120),
        "who": _cut(_who(made), 200),
        "verdict": _verdict(made),
        "notes": [_cut(note, 200) for note in made.notes[:3]],
        "numbers": [
            ("Score" if made.favourable is not None else "Estimate", format_value(made.p, style), _bits(made.p_bits)),
            *(
                [("Cut-off", format_value(made.cutoff, "share"), Markup("at and above it: not in favour"))]
                if made.cutoff
                else []
            ),
            *([("Grade", made.grade, Markup("on the master scale"))] if made.grade else []),
            ("Margin", format_value(made.margin, "score"), _bits(made.margin_bits)),
        ],
        "reasons": [(r.code, _cut(r.text, fit.chars)) for r in made.reasons],
        "inputs": [_input(item, largest, fit.chars) for item in made.inputs[: fit.inputs]],
        "more_inputs": max(0, len(made.inputs) - fit.inputs),
        "extra": breakable(_cut("; ".join(f"{field.name} {_plain(field.value)}" for field in extra), 3 * fit.chars)),
        "approvals": made.release.approvals[: fit.approvals],
        "more_approvals": max(0, len(made.release.approvals) - fit.approvals),
        "conditions": _cut("; ".join(c for a in made.release.approvals for c in a.conditions), 2 * fit.chars),
        "differences": [
            (d.what, _cut(d.recorded, fit.chars), _cut(d.found, fit.chars)) for d in made.differences[: fit.differences]
        ],
        "more_differences": max(0, len(made.differences) - fit.differences),
        "later": [(item.kind, item.at, item.by, _cut(item.text, fit.chars)) for item in made.later[-fit.later :]],
        "opinion": None if made.second_opinion is None else made.second_opinion.lines[: fit.opinion],
        "as_of_same": all(item.as_of == made.at for item in made.inputs),
    }


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
    about = f"about {made.entity}" if made.entity else "about nobody by name"
    return f"Decision {made.id} {about} · asked for by {made.channel}"


def _input(item: FileInput, largest: float, chars: int) -> dict[str, Any]:
    share = 0.0 if largest == 0 else abs(item.contribution) / largest
    return {
        "name": breakable(item.name),
        "meaning": breakable(_cut(item.meaning, min(chars, 70))),
        "value": item.value,
        "unit": item.unit,
        "origin": breakable(item.origin),
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

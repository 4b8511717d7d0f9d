"""How the written sections count, name and date things."""

from __future__ import annotations

import calendar
import datetime as dt
import re

from countermark.config.spec import ModelSpec
from countermark.records.evidence import Column, Fact, Format, Scalar

_BOUNDLESS = frozenset({"≤ 1000", "> -1"})
_PLACEHOLDERS = frozenset({"", "?", "-", "tbd", "todo", "none", "unknown", "n/a"})


def columns(*triples: tuple[str, str, Format]) -> tuple[Column, ...]:
    """Table columns from (key, label, format)."""
    return tuple(Column(key=key, label=label, format=fmt) for key, label, fmt in triples)


def fact(label: str, value: Scalar, fmt: Format = "text") -> Fact:
    """One labelled value."""
    return Fact(label=label, value=value, format=fmt)


def named(person: str | None) -> bool:
    """Whether a person or unit is really named: not empty and not a placeholder such as 'TBD'."""
    return person is not None and " ".join(person.split()).casefold() not in _PLACEHOLDERS


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same person's, whatever the case and spacing."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def plus_months(day: str, months: int) -> str:
    """The ISO date some months later; the last day of the month where the day does not exist."""
    start = dt.date.fromisoformat(day)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return dt.date(year, month + 1, min(start.day, last)).isoformat()


def decision_date(spec: ModelSpec) -> str:
    """The date from which deadlines run and at which controls must hold: the later of data as-of and decision."""
    return max(spec.as_of, spec.decide_by or spec.as_of)


def limit_phrase(text: str, style: Format = "number") -> str:
    """A limit as a reader meets it: in the unit of its number, and without a bound that no value can pass.

    Examples: '≤ 0 pass, ≤ 1000 watch' of a count is '0 pass, otherwise watch'; '< 0.05 pass, < 0.1 watch' of points
    is '< 5 pp pass, < 10 pp watch'.
    """
    if text.startswith("p "):
        return text
    if text.startswith("= "):
        return f"{text[2:]} pass, otherwise fail"
    good, _, fair = text.partition(" pass, ")
    fair = fair.removesuffix(" watch")
    if good == fair:
        rest = "otherwise fail"
    elif fair in _BOUNDLESS:
        rest, good = "otherwise watch", "0" if good == "≤ 0" else good
    else:
        rest = f"{fair} watch"
    scale, unit = {"share": (100.0, " %"), "points": (100.0, " pp")}.get(style, (1.0, ""))
    told = f"{good} pass, {rest}"
    told = re.sub(r"(?<=\d)-(?=\d)", " to ", told) if " " not in good else told
    return told if scale == 1.0 else re.sub(r"\d[\d.]*", lambda m: f"{scale * float(m.group()):g}{unit}", told)


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """'1 row', '12 345 rows': a count with its noun."""
    text = f"{n:,}".replace(",", " ")
    return f"{text} {noun if n == 1 else plural or noun + 's'}"

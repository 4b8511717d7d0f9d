"""How the written sections count, name and date things."""

from __future__ import annotations

import calendar
import datetime as dt

from countermark.records.evidence import Column, Fact, Format, Scalar

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


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """'1 row', '12 345 rows': a count with its noun."""
    text = f"{n:,}".replace(",", " ")
    return f"{text} {noun if n == 1 else plural or noun + 's'}"

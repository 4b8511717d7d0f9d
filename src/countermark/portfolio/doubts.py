"""What a sceptical reader asks of a stranger's file before anybody trusts a model made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.contracts.reshape import ROW
from countermark.metrics.discrimination import auc
from countermark.portfolio.names import (
    colliding_names,
    observation_rank,
    says_aftermath,
    says_postal_code,
    shown_name,
)
from countermark.portfolio.profile import MOST_LEVELS, ColumnProfile, FileProfile
from countermark.portfolio.target import Target

_SHOWN_COLUMNS = 12
_FEW_ROWS = 200
_SUSPICIOUS_AUC = 0.99
_NINES = (99.0, 999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 99999999.0)
_CODES = frozenset((*_NINES, *(-code for code in _NINES), -1.0, -9.0))
_FEWEST_CODED = 2
_SEPARATORS = {",": "a comma", ".": "a point", " ": "a blank", "'": "an apostrophe"}


def columns_left_out(profile: FileProfile, target: Target, unusable: Mapping[str, str]) -> dict[str, str]:
    """Why a column is no input, by column: everything but key, customer, date, protected and the outcome itself.

    Args:
        profile: The file.
        target: Its outcome.
        unusable: Why a date column is dropped from the table, by column.
    """
    told = {target.column, profile.row_key, profile.entity, profile.time, *profile.protected}
    found: dict[str, str] = {}
    for column in profile.columns:
        reason = unusable.get(column.name) or _no_input(column, profile)
        if column.name not in told and reason is not None:
            found[column.name] = reason
    return found


def _no_input(column: ColumnProfile, profile: FileProfile) -> str | None:
    if column.missing == profile.rows:
        return "empty"
    if column.reading.type == "date":
        return "dates"
    if column.distinct < 2:
        return "one value or nothing: if nothing means 'no', write it" if column.missing else "one value only"
    if column.name in profile.identifiers:
        return "names or codes of persons, contracts or places, or numbers of rows"
    if column.name == ROW:
        return "named as rows are numbered here: rename it in the file to use it"
    if column.reading.dated:
        return "dates that cannot be read"
    if column.reading.type == "text" and not column.levels:
        return f"free text, or categories of more than {MOST_LEVELS} values: group them to use them"
    if column.reading.type == "text" and column.distinct > 0.5 * profile.rows:
        return "free text"
    return None


def file_questions(profile: FileProfile, left_out: Mapping[str, str], inputs: Iterable[str]) -> Iterator[str]:
    """Questions about keys, dates, spellings and names.

    Args:
        profile: The file.
        left_out: Why a column is no input, by column.
        inputs: Columns that are inputs.
    """
    if profile.rows < _FEW_ROWS:
        yield f"only {profile.rows:,} rows: a model of so few proves little. Is this the whole file?"
    if profile.row_key is not None:
        yield f"'{shown_name(profile.row_key)}' is taken as the key of a row: is it?"
    dates = [c.name for c in profile.columns if c.reading.type == "date" and c.name not in profile.protected]
    if profile.time is not None:
        rest = [name for name in dates if name != profile.time]
        among = f", and not {_names(rest)}" if rest else ""
        yield f"'{shown_name(profile.time)}' is taken as the date of observation{among}: is a row known on that day?"
    elif dates:
        later = [name for name in dates if observation_rank(name) == 2]
        why = "known only later by name" if later == dates else "with gaps, or known only later by name"
        yield f"{_names(dates)}: {why}; none is taken as the date of observation. Which is?"
    yield from _reading_questions(profile)
    yield from _name_questions(profile)
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        yield f"left out, {reason}: {_names(names)}"
    postal = [name for name in inputs if says_postal_code(name)]
    if postal:
        yield f"{_names(postal)}: a place can stand for who lives there. Is it a proxy of a protected attribute?"


def _reading_questions(profile: FileProfile) -> Iterator[str]:
    """How columns are read where that is a guess, columns of one kind together."""
    doubts: dict[str, list[str]] = {}
    for column in profile.columns:
        reading = column.reading
        if reading.doubt:
            doubts.setdefault(reading.doubt, []).append(column.name)
        if reading.format is not None and "DD" not in reading.format:
            told = f"periods ({reading.format}), each taken as its first day; else 'period: last_day' in the contract"
            doubts.setdefault(told, []).append(column.name)
        elif reading.format is not None:
            doubts.setdefault(f"dates written {reading.format}: is that right?", []).append(column.name)
        if reading.signs and set(reading.signs) <= {"%", "‰"}:
            told = f"written with {reading.signs[0]}, read without: 12.5{reading.signs[0]} is 12.5"
            doubts.setdefault(told, []).append(column.name)
        elif reading.signs:
            told = f"money in {reading.signs[0]}: which currency does the source declare?"
            doubts.setdefault(told, []).append(column.name)
        if reading.thousands is not None:
            doubts.setdefault(f"{_SEPARATORS[reading.thousands]} taken for thousands", []).append(column.name)
        if reading.decimal is not None:
            doubts.setdefault(f"{_SEPARATORS[reading.decimal]} taken for the decimal mark", []).append(column.name)
    for doubt, names in doubts.items():
        yield f"{_names(names)}: {doubt}"
    if profile.dialect.unsure:
        yield f"{_names(profile.dialect.unsure)}: a lone separator may be a decimal mark or one of thousands. Which?"
    for word, places in profile.dialect.null_words.items():
        yield f"'{word}' is read as missing in the whole file, {_names(places)} included: is it no value there?"


def _name_questions(profile: FileProfile) -> Iterator[str]:
    names = [column.name for column in profile.columns]
    collided = colliding_names(names)
    if collided:
        told = ", ".join(f"'{shown_name(column)}' as '{name}'" for column, name in collided[:_SHOWN_COLUMNS])
        yield f"names that differ in signs only are told apart by a number: {told}"
    unnamed = [name for place, name in enumerate(names, start=1) if name == f"column_{place}"]
    if unnamed:
        yield f"the header leaves {_names(unnamed)} without a name, called by position here: what is it?"


def value_questions(profile: FileProfile, target: Target, inputs: Iterable[str]) -> Iterator[str]:
    """Questions about values: codes that stand for missing, and inputs that know the outcome.

    Args:
        profile: The file.
        target: Its outcome.
        inputs: Columns that are inputs.
    """
    numeric = [name for name in inputs if profile.column(name).reading.is_number]
    coded = [name for name in numeric if _holds_a_code(profile.table.column(name))]
    if coded:
        yield f"{_names(coded)}: a value such as -1 or 9999, far from the others, looks like a code for missing. Is it?"
    after = [name for name in inputs if says_aftermath(name)]
    told = f", as the name says of {_names(after)}" if after else ""
    yield f"is any input known only after the outcome{told}? List it under data.leaks"
    if target.positive:
        known = _separating(profile, target, numeric)
        if known:
            yield f"{_names(known)}: tells the outcome apart almost perfectly. Is it known only later (data.leaks)?"


def _holds_a_code(values: pa.ChunkedArray) -> bool:
    """A customary code at one end, in several rows, further from the next value than those are spread."""
    present = values.drop_null().cast(pa.float64())
    numbers, counts = np.unique(present.to_numpy(), return_counts=True)
    if numbers.size < 4:
        return False
    low = numbers[0] in _CODES and counts[0] >= _FEWEST_CODED and numbers[1] - numbers[0] > numbers[-1] - numbers[1]
    high = (
        numbers[-1] in _CODES and counts[-1] >= _FEWEST_CODED and numbers[-1] - numbers[-2] > numbers[-2] - numbers[0]
    )
    minus_one = numbers[0] == -1.0 and numbers[1] >= 0 and counts[0] >= _FEWEST_CODED
    return bool(low or high or minus_one)


def _separating(profile: FileProfile, target: Target, numeric: Iterable[str]) -> list[str]:
    """Numeric inputs with an AUC, either way round, that no honest input has."""
    outcome = profile.table.column(target.column).to_pylist()
    y = np.array([1 if value in target.positive else 0 if value in target.negative else -1 for value in outcome])
    found = []
    for name in numeric:
        values = pc.fill_null(profile.table.column(name).cast(pa.float64()), np.nan).to_numpy()
        known = (y >= 0) & ~np.isnan(values)
        area = auc(y[known], values[known]).value
        if area is not None and max(area, 1 - area) >= _SUSPICIOUS_AUC:
            found.append(name)
    return found


def _names(columns: Iterable[str]) -> str:
    named = [f"'{shown_name(column)}'" for column in columns]
    more = len(named) - _SHOWN_COLUMNS
    return ", ".join(named[:_SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")

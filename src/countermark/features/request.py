"""A request's fields held to the contract of the table that trained the model: typed, in range, nothing unknown."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from countermark.config.contract import ColumnContract, Contract
from countermark.config.problems import nearest, one_of
from countermark.errors import ContractError
from countermark.features.times import DAY, local_day, local_microseconds, microseconds, read_time

UTC_ZONE = ZoneInfo("UTC")
LARGEST_WHOLE = 2**53
"""Whole numbers beyond this have no exact float64."""
_PLAIN_YEARS = (
    microseconds(dt.datetime(1, 1, 1, tzinfo=dt.UTC)) + 2 * DAY,
    microseconds(dt.datetime(9999, 12, 31, tzinfo=dt.UTC)) - DAY,
)
"""Between these every zone's clock shows a year that there is."""

_WANTED = {
    "integer": "a whole number",
    "number": "a finite number",
    "text": "text",
    "boolean": "true or false",
    "date": "a date or time in ISO 8601",
}


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that breaks its contract. Never holds the value.

    Attributes:
        field: Name of the field.
        rule: ``unknown``, ``missing``, ``type``, ``minimum``, ``maximum``, ``allowed``, ``pattern``, ``levels`` or
            ``entity``.
        expected: What would have been right.
        hint: Nearest known name, for an unknown field.
    """

    field: str
    rule: str
    expected: str
    hint: str | None = None


class RequestError(ContractError):
    """A request breaks the contract of its fields.

    Args:
        what: What was read: ``a request to 'MODEL'``.
        problems: Every field that breaks it.
    """

    def __init__(self, what: str, problems: tuple[FieldProblem, ...]) -> None:
        first, more = problems[0], len(problems) - 1
        super().__init__(
            f"field '{first.field}' of {what} is refused: {first.rule}" + (f", and {more} more" if more else ""),
            expected=first.expected,
            hint=first.hint,
        )
        self.problems = problems


class FieldRefused(Exception):  # noqa: N818 - a verdict on one value, never leaves this room
    """One value breaks its contract."""

    def __init__(self, rule: str, expected: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.expected = expected


class FieldReader:
    """Reads one field: checks its value and gives it the type that expressions and inputs take.

    Args:
        name: Name of the field.
        promise: Its contract.
        zone: Zone of times without one.
    """

    def __init__(self, name: str, promise: ColumnContract, zone: ZoneInfo) -> None:
        self.name = name
        self.nullable = promise.nullable
        self.type = promise.type
        self._zone = zone
        self._rules = tuple(_rules(promise, zone))

    def read(self, value: Any) -> Any:
        """The value as number, text, truth or microseconds; None for null.

        Raises:
            FieldRefused: Naming the rule it breaks.
        """
        if value is None:
            if self.nullable:
                return None
            raise FieldRefused("missing", f"{_WANTED[self.type]}; the field may not be null")
        found = self._typed(value)
        for rule, expected, passes in self._rules:
            if not passes(found):
                raise FieldRefused(rule, expected)
        return found

    def _typed(self, value: Any) -> Any:
        kind = type(value)
        try:
            if self.type == "number" and (kind is float or kind is int) and math.isfinite(value):
                return float(value)
            if self.type == "integer" and kind is int and -LARGEST_WHOLE <= value <= LARGEST_WHOLE:
                return value
            if (self.type == "text" and kind is str) or (self.type == "boolean" and kind is bool):
                return value
            if self.type == "date" and kind in (str, dt.date, dt.datetime):
                found = read_time(value, self._zone, by_day=False)
                if not _PLAIN_YEARS[0] < found < _PLAIN_YEARS[1]:
                    # No clock shows a year before 1 or after 9999: expressions and bounds would fail on it.
                    local_microseconds(found, self._zone)
                return found
        except (ValueError, OverflowError):
            pass
        raise FieldRefused("type", _WANTED[self.type])


def _rules(promise: ColumnContract, zone: ZoneInfo) -> Iterator[tuple[str, str, Callable[[Any], bool]]]:
    dated = promise.type == "date"

    def bound(value: Any) -> Any:
        return read_time(str(value), UTC_ZONE, by_day=True) if dated else value

    def seen(value: Any) -> Any:
        return local_day(value, zone) if dated else value

    if promise.minimum is not None:
        low = bound(promise.minimum)
        yield "minimum", f"at least {promise.minimum}", lambda value: seen(value) >= low
    if promise.maximum is not None:
        high = bound(promise.maximum)
        yield "maximum", f"at most {promise.maximum}", lambda value: seen(value) <= high
    if promise.allowed is not None:
        listed = frozenset(bound(value) for value in promise.allowed)
        yield "allowed", "one of: " + ", ".join(map(str, promise.allowed)), lambda value: seen(value) in listed
    if promise.pattern is not None:
        whole = re.compile(promise.pattern).fullmatch
        yield "pattern", f"text like {promise.pattern}", lambda value: whole(value) is not None


class RecordReader:
    """Reads named fields: unknown names refused, values held to their contracts.

    Args:
        what: What is read, for errors: ``a request to 'MODEL'``.
        contract: Contract of the table.
        fields: Fields that must be there, unless they may be null.
        others: Further fields that may be there.
        zone: Zone of times without one.
    """

    def __init__(
        self, what: str, contract: Contract, fields: Sequence[str], others: Sequence[str], zone: ZoneInfo
    ) -> None:
        self.what = what
        self._fields = {name: FieldReader(name, contract.columns[name], zone) for name in fields}
        self._others = {name: FieldReader(name, contract.columns[name], zone) for name in others if name not in fields}
        self._readers = tuple((name, reader.read) for name, reader in self._fields.items())
        self._count = len(self._fields)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that must be there, unless they may be null."""
        return tuple(self._fields)

    def read(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Typed values by field; a nullable field that is not there is None.

        Raises:
            RequestError: Naming every field that breaks its contract.
        """
        try:
            typed = {name: read(record[name]) for name, read in self._readers}
        except (KeyError, FieldRefused):
            return self._slowly(record)
        return typed if len(record) == self._count else self._slowly(record)

    def _slowly(self, record: Mapping[str, Any]) -> dict[str, Any]:
        typed: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        for name, reader in (self._fields | self._others).items():
            if name in self._others and name not in record:
                continue
            try:
                typed[name] = reader.read(record.get(name))
            except FieldRefused as refused:
                rule = "missing" if name not in record else refused.rule
                problems.append(FieldProblem(name, rule, refused.expected))
        known = [*self._fields, *self._others]
        for name in record:
            if name not in typed and not any(problem.field == name for problem in problems):
                problems.append(FieldProblem(str(name), "unknown", one_of(known), nearest(str(name), known)))
        if problems:
            raise RequestError(self.what, tuple(problems))
        return typed

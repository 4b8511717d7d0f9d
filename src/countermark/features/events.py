"""One event of a table as a feature view takes it: from named fields to times, flags and numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from countermark.errors import FeatureStoreError
from countermark.features.definitions import VALUE_TYPES, ColumnType, ViewPlan
from countermark.features.times import read_time


class EventRow(NamedTuple):
    """One event of one entity.

    Attributes:
        time: Event time, microseconds.
        known: When it was known, microseconds.
        stamp: When its sender says that it was known; ``known`` is never before it.
        arrived: When it reached the bank, microseconds.
        key: Hash of its key; 0 for none.
        flags: Bit k says whether it passes filter k.
        values: Value of each stored column: number, text or None.
    """

    time: int
    known: int
    stamp: int
    arrived: int
    key: int
    flags: int
    values: tuple[float | str | None, ...]


def entity_text(value: object) -> str | None:
    """An entity's key as the store files it; None for no entity."""
    return None if value is None else str(value)


def key_hash(key: str | int | None) -> int:
    """63 bits of the SHA-256 of an event's key, never 0; 0 for no key."""
    if key is None:
        return 0
    return int.from_bytes(hashlib.sha256(str(key).encode()).digest()[:8], "big") >> 1 or 1


def event_row(plan: ViewPlan, event: Mapping[str, Any], *, arrived: int | None) -> EventRow | None:
    """Read an event.

    A row is known when its view says so, and never before it arrived.

    Args:
        plan: The view.
        event: Typed values by column: number, text, truth, date or datetime (or ISO text), None.
        arrived: Microseconds at which it reached the bank; None: at its known-at time, or its event time where the
            view has no such column.

    Returns:
        The event, or None if no request can ever see it: without an entity, an event time or a known-at time.

    Raises:
        FeatureStoreError: If a column of the view is absent or holds what its type cannot.
    """
    view = plan.view
    absent = [name for name in plan.event_columns if name not in event]
    if absent:
        raise FeatureStoreError(
            f"an event lacks columns that feature view '{plan.name}' reads",
            expected=", ".join(f"'{name}'" for name in plan.event_columns),
            got="no " + ", ".join(f"'{name}'" for name in absent),
        )
    time = _moment(plan, plan.event_time, event, by_day=plan.by_day)
    learned = plan.event_time if view.known_at is None else view.known_at
    known = _moment(plan, learned, event, by_day=plan.by_day)
    if time is None or known is None or event[plan.entity] is None:
        return None
    if arrived is None:
        arrived = _moment(plan, learned, event, by_day=False)
        assert arrived is not None
    stamp = known + plan.known_delay
    flags = 0
    for k, expression in enumerate(plan.filters):
        passed = expression.row(_for_expression(plan, event, expression.names))
        flags |= (passed is True) << k
    return EventRow(
        time,
        max(stamp, plan.on_clock(arrived)),
        stamp,
        arrived,
        key_hash(event[view.event_key]) if view.event_key is not None else 0,
        flags,
        tuple(_stored(plan, c.name, c.type, c.presence, event[c.name]) for c in plan.stored),
    )


def _moment(plan: ViewPlan, column: str, event: Mapping[str, Any], *, by_day: bool) -> int | None:
    value = event[column]
    if value is None:
        return None
    try:
        return read_time(value, plan.zone, by_day=by_day)
    except (ValueError, OverflowError, TypeError, AttributeError):
        raise _wrong(plan, column, "a date or time in ISO 8601") from None


def _for_expression(plan: ViewPlan, columns: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _operand(plan, name, columns) for name in names}


def _operand(plan: ViewPlan, name: str, columns: Mapping[str, Any]) -> Any:
    kind, value = plan.column_types[name], columns[name]
    if value is None:
        return None
    if VALUE_TYPES[kind] == "time":
        return _moment(plan, name, columns, by_day=False)
    return _checked(plan, name, kind, value)


def _stored(plan: ViewPlan, name: str, kind: ColumnType, presence: bool, value: Any) -> float | str | None:
    if value is None:
        return None
    if presence:
        return 1.0
    found = _checked(plan, name, kind, value)
    if isinstance(found, str):
        return found
    number = float(found)
    return None if math.isnan(number) else number


def _checked(plan: ViewPlan, name: str, kind: ColumnType, value: Any) -> float | bool | str:
    truth = isinstance(value, bool)
    fits = {
        "text": isinstance(value, str),
        "boolean": truth,
        "integer": isinstance(value, int) and not truth and abs(value) <= 2**53,
        "number": isinstance(value, int | float) and not truth and not math.isinf(value),
    }.get(kind, False)
    if not fits:
        raise _wrong(plan, name, {"integer": "a whole number below 2**53"}.get(kind, f"a {kind}"))
    found: float | bool | str = value
    return found


def _wrong(plan: ViewPlan, column: str, expected: str) -> FeatureStoreError:
    return FeatureStoreError(
        f"column '{column}' of an event for feature view '{plan.name}' has the wrong type", expected=expected
    )

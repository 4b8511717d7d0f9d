"""What reaches a bank from outside: events, applications, and outcomes that are known late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a table.

    Attributes:
        id: The sender's own id.
        known_at: When the bank has it, at the earliest.
        table: The table.
        event: Values by column.
    """

    id: str
    known_at: datetime
    table: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Application:
    """One request, what came before it, and what nobody knows yet.

    Attributes:
        id: Id of the decision.
        at: When it is asked for.
        request: Fields of the request.
        entity: Whom it is about.
        groups: Protected group by attribute, kept apart.
        outcome: What will become of it: 1 for the event, 0 for none, or the amount.
        horizon: How long after the request the outcome happens.
        delay: How long after the request the bank learns of it; never less than the horizon.
        history: Events of its entities that the bank has when it is asked for, oldest first.
    """

    id: str
    at: datetime
    request: Mapping[str, Any]
    entity: str
    groups: Mapping[str, str]
    outcome: float
    horizon: timedelta
    delay: timedelta
    history: tuple[Event, ...] = ()

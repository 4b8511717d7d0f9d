"""What an outcome can be: one rule for where it comes in and for where it is counted."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Nothing that a decision is about was observed before."""

AHEAD = timedelta(days=1)
"""How far beyond the present a date may lie: a day begins earlier in the east than in UTC, and clocks differ."""


def date_problem(happened: datetime, now: datetime) -> str | None:
    """Why something cannot have happened at an instant; None where it can.

    Args:
        happened: The instant that is stated.
        now: When it was stated.
    """
    if happened > now + AHEAD:
        return "it lies in the future"
    if happened < EARLIEST:
        return f"it lies before {EARLIEST.year}"
    return None


def value_problem(value: float, *, amounts: bool) -> str | None:
    """Why a number is no outcome of a model; None where it is one.

    Args:
        value: The outcome that is stated.
        amounts: Whether the model's outcome is an amount or a share, not an event.
    """
    if amounts:
        return None if math.isfinite(value) else "a finite number is expected"
    return None if value in (0.0, 1.0) else "1 for the event or 0 for none is expected"

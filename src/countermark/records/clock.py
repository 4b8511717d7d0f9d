"""Where time comes from, and how an instant is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Gives the present. Deciding code takes a clock or an instant, and never asks the machine itself."""

    def now(self) -> datetime:
        """The present as an aware UTC instant."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present as an aware UTC instant."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands still until it is set.

    Args:
        start: Aware instant.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The instant it was last set to."""
        return self._now

    def set(self, to: datetime) -> None:
        """Move the clock.

        Raises:
            ValueError: If the instant lies before the present one.
        """
        if to < self._now:
            raise ValueError(f"a clock does not go back: {iso(to)} is before {iso(self._now)}")
        self._now = to.astimezone(UTC)


def iso(instant: datetime) -> str:
    """The one text form of an instant: UTC, microseconds, ``Z``. Sorts in time.

    Raises:
        ValueError: If the instant has no zone, or lies outside the years 1 to 9999 in UTC.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    # Not strftime: it writes a year below 1000 with fewer than four digits, which does not sort.
    return _in_utc(instant).isoformat(timespec="microseconds")[:26] + "Z"


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with a zone; a bare date is the start of that day in UTC.

    Raises:
        ValueError: If the text is no instant, has a time of day without a zone, or lies outside the years 1 to 9999 in
            UTC.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        if len(text) != 10:
            raise ValueError(f"'{text}' has no time zone")
        instant = instant.replace(tzinfo=UTC)
    return _in_utc(instant)


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant lies between the years 1 and 9999 in UTC") from None

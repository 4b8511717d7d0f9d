"""Times as whole microseconds since 1970 in UTC, from text and datetimes, without any table library."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

from countermark.errors import FeatureStoreError

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY = dt.date(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)


def microseconds(moment: dt.datetime) -> int:
    """An aware instant as microseconds since 1970 in UTC.

    Raises:
        FeatureStoreError: If the instant has no zone.
    """
    if moment.tzinfo is None:
        raise FeatureStoreError("an instant needs a time zone", expected="an aware datetime")
    return (moment - _EPOCH) // _MICROSECOND


def instant(at: int) -> dt.datetime:
    """The aware UTC instant of microseconds since 1970."""
    return _EPOCH + dt.timedelta(microseconds=at)


def local_microseconds(at: int, zone: ZoneInfo) -> int:
    """Microseconds since 1970 that the clock of a zone shows at an instant.

    Raises:
        ValueError: If the clock would show a year before 1 or after 9999.
    """
    try:
        offset = instant(at).astimezone(zone).utcoffset()
    except OverflowError:
        raise ValueError("a time lies between the years 1 and 9999") from None
    assert offset is not None
    return at + offset // _MICROSECOND


def local_day(at: int, zone: ZoneInfo) -> int:
    """Midnight of an instant's calendar day in a zone, counted as if the zone were UTC."""
    return local_microseconds(at, zone) // DAY * DAY


def day_start(day: dt.date, zone: ZoneInfo) -> int:
    """The instant at which a calendar day begins in a zone."""
    return _day_start((day - _EPOCH_DAY).days, zone)


@lru_cache(maxsize=4096)
def _day_start(days: int, zone: ZoneInfo) -> int:
    return clock_time(dt.datetime(1970, 1, 1) + dt.timedelta(days=days), zone)


def clock_time(naive: dt.datetime, zone: ZoneInfo) -> int:
    """The instant at which the clock of a zone shows a time.

    An hour that the clock shows twice means its first pass; an hour it skips moves to the next valid time.
    """
    shown = (naive.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
    before = naive.replace(tzinfo=zone, fold=0).utcoffset()
    after = naive.replace(tzinfo=zone, fold=1).utcoffset()
    assert before is not None
    assert after is not None
    if after > before:  # the clock skips this time: find the jump
        low, high = shown - after // _MICROSECOND, shown - before // _MICROSECOND
        while high - low > 1:
            middle = (low + high) // 2
            if local_microseconds(middle, zone) - middle == before // _MICROSECOND:
                low = middle
            else:
                high = middle
        return high
    return shown - before // _MICROSECOND


def read_time(value: str | dt.datetime | dt.date, zone: ZoneInfo, *, by_day: bool) -> int:
    """Read a date, a clock time of the zone, or a zoned time.

    Args:
        value: ISO 8601 text, or a date or datetime.
        zone: Zone of clock times and dates without one.
        by_day: Give the calendar day in the zone, counted as if the zone were UTC.

    Raises:
        ValueError: If the text is no such time.
    """
    if isinstance(value, str):
        value = dt.date.fromisoformat(value) if len(value) == 10 else dt.datetime.fromisoformat(value)
    if not isinstance(value, dt.datetime):
        return (value - _EPOCH_DAY).days * DAY if by_day else day_start(value, zone)
    at = clock_time(value, zone) if value.tzinfo is None else microseconds(value)
    return local_day(at, zone) if by_day else at

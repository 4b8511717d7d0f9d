"""An instant has one text form, which sorts in time; what no calendar holds is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.clock import iso, parse_instant

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ANY = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)


@given(ANY, ANY)
def test_texts_sort_as_their_instants(one: datetime, two: datetime) -> None:
    assert (iso(one) < iso(two)) == (one < two)
    assert len(iso(one)) == 27


@given(ANY)
def test_what_was_written_is_read(instant: datetime) -> None:
    assert parse_instant(iso(instant)) == instant


def test_a_year_below_1000_has_four_digits() -> None:
    assert iso(datetime(800, 12, 25, tzinfo=UTC)) == "0800-12-25T00:00:00.000000Z"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_instant_outside_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="between the years 1 and 9999"):
        parse_instant(text)
    with pytest.raises(ValueError, match="between the years 1 and 9999"):
        iso(datetime.fromisoformat(text))

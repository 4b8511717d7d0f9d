"""Dates at the ends of the calendar: refused as a wrong type where a clock of the zone cannot show them."""

from __future__ import annotations

import contextlib
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from countermark.config.contract import ColumnContract
from countermark.errors import FeatureStoreError
from countermark.features.events import event_row
from countermark.features.on_demand import compile_expression
from countermark.features.request import FieldReader, FieldRefused
from countermark.features.times import local_microseconds
from tests.features.streams import plan, view

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12")
OUTSIDE = ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00")
ENDS = ("9999-12-31T23:30:00Z", "9999-12-31", "0001-01-01", "9999-12-31T23:59:59", "0001-01-01T00:30:00Z")


def reader(zone: str, **promise: Any) -> FieldReader:
    return FieldReader("since", ColumnContract.model_validate({"type": "date", **promise}), ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("bounds", [{}, {"minimum": "1900-01-01"}, {"maximum": "9999-12-31"}])
@pytest.mark.parametrize("text", [*OUTSIDE, *ENDS])
def test_a_date_that_is_accepted_can_be_read_by_every_expression(zone: str, bounds: dict[str, Any], text: str) -> None:
    found: int | None = None
    with contextlib.suppress(FieldRefused):
        found = reader(zone, **bounds).read(text)
    if text in OUTSIDE:
        assert found is None
    for name in ("hour", "weekday"):
        expression = compile_expression(f"{name}(request.since)", {"request.since": "time"}, time_zone=zone)
        assert (expression.row({"request.since": found}) is None) == (found is None)


def test_an_open_end_is_a_date_in_every_zone() -> None:
    for zone in ZONES:
        assert reader(zone).read("9999-12-31") > reader(zone).read("9999-12-30")


def test_a_clock_that_cannot_show_an_instant_says_so() -> None:
    late = 253402300799_000_000  # the last second of 9999 in UTC
    assert local_microseconds(late, ZoneInfo("UTC")) == late
    with pytest.raises(ValueError, match="between the years 1 and 9999"):
        local_microseconds(late, ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize("text", ["9999-12-31T23:30:00Z", *OUTSIDE])
def test_an_event_of_such_a_day_is_refused_by_name(text: str) -> None:
    feature = {"n": {"kind": "window", "function": "count", "days": 3}}
    of = plan(view(clock="day", features=feature), zone="Asia/Tokyo")
    with pytest.raises(FeatureStoreError, match="'t'"):
        event_row(of, {"e": "a", "t": text}, arrived=0)

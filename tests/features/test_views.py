"""Feature views for a table of requests, against a brute-force oracle that looks at one row at a time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import ConfigError, FeatureStoreError
from countermark.features.definitions import ColumnType
from countermark.features.views import build_view
from tests.features.streams import (
    FEATURES,
    START,
    TYPES,
    WINDOWS,
    as_requests,
    as_table,
    event,
    moments,
    oracle,
    plan,
    view,
)

KNOWN: dict[str, dict[str, Any]] = {
    "at its event time": {},
    "by a column": {"known_at": "k"},
    "after a delay": {"known_delay": {"hours": 7}},
    "by a column, in versions": {"known_at": "k", "event_key": "id"},
    "old rows withheld": {"known_at": "k", "max_age": {"days": 2}},
    "in tiles": {"known_at": "k", "tile": {"hours": 6}, "features": WINDOWS},
}
_EVENTS = st.lists(event(moments(), moments()), max_size=14)
_REQUESTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), moments(14 * 24 * 60)), min_size=1, max_size=6)


@pytest.mark.parametrize("how", KNOWN)
@given(events=_EVENTS, requests=_REQUESTS)
def test_a_view_is_its_definition(how: str, events: list[dict[str, Any]], requests: list[tuple[Any, Any]]) -> None:
    declared = view(**KNOWN[how])
    built = build_view(plan(declared), as_table(events), as_requests(requests))
    assert built.columns.to_pylist() == [oracle(declared, events, *request) for request in requests]


_DATES = st.integers(0, 12).map(lambda d: START.date() + dt.timedelta(days=d))
_BY_DAY = {name: f for name, f in FEATURES.items() if not {"hours", "minutes"} & set(f) and name != "young"}


@given(
    events=st.lists(event(_DATES, _DATES), max_size=14),
    requests=st.lists(st.tuples(st.sampled_from(["a", "b", None]), _DATES), min_size=1, max_size=6),
    versions=st.booleans(),
)
def test_a_view_by_day_counts_calendar_days(events: list[Any], requests: list[Any], versions: bool) -> None:
    # The zone changes its clocks inside the range.
    declared = view(known_at="k", clock="day", features=_BY_DAY, **({"event_key": "id"} if versions else {}))
    built = build_view(
        plan(declared, zone="Europe/Paris"), as_table(events, pa.date32()), as_requests(requests, pa.date32())
    )
    assert built.columns.to_pylist() == [oracle(declared, events, *request) for request in requests]


def test_a_request_by_day_counts_by_its_local_day() -> None:
    day = START.date()
    events = as_table([_event(t=day, v=1), _event(t=day + dt.timedelta(days=1), v=2)], pa.date32())
    declared = view(clock="day", features={"v": FEATURES["latest"]})
    late = START + dt.timedelta(hours=23, minutes=30)  # the next day in Paris
    for zone, expected in (("UTC", 1), ("Europe/Paris", 2)):
        built = build_view(plan(declared, zone=zone), events, as_requests([("a", late)]))
        assert built.columns.column("v").to_pylist() == [expected]


def _event(**given: Any) -> dict[str, Any]:
    return {"e": "a", "t": START, "k": START, "v": 1, "w": 1.0, "s": "x", "b": True, "id": None} | given


def test_nothing_known_later_is_seen() -> None:
    events = [_event(v=1), _event(v=99, k=START + dt.timedelta(days=5))]
    requests = [("a", START + dt.timedelta(days=d)) for d in (-1, 4, 5)]
    built = build_view(plan(view(known_at="k")), as_table(events), as_requests(requests))
    assert built.columns.column("latest").to_pylist() == [None, 1, 99]


def test_a_correction_replaces_from_the_moment_it_is_known() -> None:
    later = START + dt.timedelta(hours=5)
    events = [_event(v=3, id=1), _event(v=4, id=2), _event(v=5, k=later, id=1)]
    declared = view(known_at="k", event_key="id", features={"sum": FEATURES["sum"], "n": FEATURES["count"]})
    requests = [("a", later - dt.timedelta(microseconds=1)), ("a", later)]
    built = build_view(plan(declared), as_table(events), as_requests(requests))
    assert built.columns.to_pylist() == [{"sum": 7.0, "n": 2}, {"sum": 9.0, "n": 2}]


def test_a_withheld_value_is_null_and_counted() -> None:
    requests = [("a", START + dt.timedelta(hours=h)) for h in (20, 21)]
    built = build_view(plan(view(features={"young": FEATURES["young"]})), as_table([_event()]), as_requests(requests))
    assert built.columns.column("young").to_pylist() == [True, None]
    assert built.expired == {"young": 1}


@pytest.mark.parametrize(("days", "expected"), [(1, 1), (2, 2), (30, 3), (31, 4)])
def test_a_window_holds_its_last_days_and_not_the_day_before(days: int, expected: int) -> None:
    # One event a day up to the as-of date, which is the day after the clocks went forward.
    time = dt.date(2020, 3, 30)
    events = as_table([_event(t=time - dt.timedelta(days=age)) for age in (0, 1, 2, 30)], pa.date32())
    counting = {"kind": "window", "column": "v", "function": "count", "days": days}
    for zone in ("UTC", "Europe/Paris"):
        declared = view(clock="day", features={"n": counting})
        built = build_view(plan(declared, zone=zone), events, as_requests([("a", time)], pa.date32()))
        assert built.columns.column("n").to_pylist() == [expected]


def test_a_date_asks_at_the_start_of_its_day_in_the_zone() -> None:
    moments = [dt.datetime(2020, 1, 1, 22, 59, tzinfo=dt.UTC), dt.datetime(2020, 1, 1, 23, 1, tzinfo=dt.UTC)]
    events = as_table([_event(t=moment, v=k + 1) for k, moment in enumerate(moments)])
    for zone, expected in (("Europe/Paris", 1), ("America/New_York", 2)):
        built = build_view(
            plan(view(features={"n": FEATURES["max"]}), zone=zone),
            events,
            as_requests([("a", dt.date(2020, 1, 2))], pa.date32()),
        )
        assert built.columns.column("n").to_pylist() == [expected]


def test_sums_go_from_the_oldest_to_the_newest() -> None:
    events = [_event(w=0.1 * (i % 7) * (-1) ** i) for i in range(999)]
    declared = view(features={"s": {"kind": "window", "column": "w", "function": "sum", "days": 3}})
    built = build_view(plan(declared), as_table(events), as_requests([("a", START)] * 3))
    running = 0.0
    for one in events:
        running += one["w"]
    assert built.columns.column("s").to_pylist() == [running] * 3


BAD: dict[str, tuple[dict[str, Any], dict[str, ColumnType], str]] = {
    "a column that is not there": (
        {"features": {"f": {"kind": "column", "column": "z"}}},
        {},
        "names columns that table",
    ),
    "an entity that is not there": ({"entity": "z"}, {}, "names columns that table"),
    "a time that is a number": ({"event_time": "v"}, {}, "takes 'v' for a time"),
    "a key that is a number with decimals": ({"entity": "w"}, {}, "takes 'w' for a key"),
    "the sum of text": (
        {"features": {"f": {"kind": "window", "column": "s", "function": "sum", "days": 1}}},
        {},
        "a column that is no number",
    ),
    "the latest date": ({"features": {"f": {"kind": "column", "column": "k"}}}, {}, "the latest value of a date"),
    "a filter that is no condition": (
        {"features": {"f": {"kind": "window", "function": "count", "days": 1, "filter": "v + 1"}}},
        {},
        "filter of feature 'v.f' is no condition",
    ),
    "a filter that reads nothing known": (
        {"features": {"f": {"kind": "window", "function": "count", "days": 1, "filter": "amont > 1"}}},
        {"amount": "number"},
        "reads 'amont', which is not there",
    ),
    "more filters than a word has bits": (
        {
            "features": {
                f"f{k}": {"kind": "window", "function": "count", "days": 1, "filter": f"v > {k}"} for k in range(63)
            }
        },
        {},
        "more than 62 filters",
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_views_are_refused(sentence: str) -> None:
    declared, types, message = BAD[sentence]
    with pytest.raises(ConfigError, match=message):
        plan(view(**declared), types=TYPES | types)


def test_a_table_that_is_not_what_its_contract_says() -> None:
    events, asked = as_table([_event()]), as_requests([("a", START)])
    with pytest.raises(ConfigError, match="names columns that table"):
        build_view(plan(view()), events.drop_columns(["w"]), asked)
    with pytest.raises(ConfigError, match="column 'v' of feature view 'v' is not what its contract says"):
        build_view(plan(view()), events.set_column(3, "v", pa.array([1.5])), asked)
    with pytest.raises(ConfigError, match="asked by another type of entity"):
        build_view(plan(view()), events, asked.set_column(0, "entity", pa.array([7])))
    with pytest.raises(ConfigError, match="dates have no time of day"):
        build_view(plan(view()), as_table([_event(t=START.date(), k=START.date())], pa.date32()), asked)
    with pytest.raises(FeatureStoreError, match="whole numbers without an exact float64"):
        build_view(plan(view()), as_table([_event(v=2**53 + 1)]), asked)

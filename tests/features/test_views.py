"""Feature views against a brute-force oracle that looks at one row at a time."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.feature_view import FeatureView, LatestFeature
from countermark.errors import ConfigError
from countermark.features.views import build_view

FEATURES: dict[str, Any] = {
    "latest": {"kind": "latest", "column": "v"},
    "before": {"kind": "latest", "column": "w", "lag": 1},
    'odd "name"': {"kind": "latest", "column": "s", "lag": 2},
    "count": {"kind": "window", "column": "v", "function": "count", "days": 3},
    "sum": {"kind": "window", "column": "v", "function": "sum", "days": 3},
    "mean": {"kind": "window", "column": "w", "function": "mean", "days": 7},
    "min": {"kind": "window", "column": "w", "function": "min", "days": 1},
    "max": {"kind": "window", "column": "v", "function": "max", "days": 30},
}
START = dt.date(2020, 3, 26)


def view(*, known: bool = True, **declared: Any) -> FeatureView:
    base = {"name": "v", "table": "events", "entity": "e", "event_time": "t", "features": FEATURES}
    return FeatureView.model_validate(base | ({"known_at": "k"} if known else {}) | declared)


def oracle(declared: FeatureView, events: list[dict[str, Any]], entity: str | None, time: Any) -> dict[str, Any]:
    """The definition, read aloud."""
    known = declared.known_at
    seen = [
        (e["t"], e[known] if known else e["t"], place, e)
        for place, e in enumerate(events)
        if e["e"] is not None and e["e"] == entity and e["t"] is not None and e["t"] <= time
        if known is None or (e[known] is not None and e[known] <= time)
    ]
    newest = [e for *_, e in sorted(seen, key=lambda item: item[:3], reverse=True)]
    out: dict[str, Any] = {}
    for name, feature in declared.features.items():
        if isinstance(feature, LatestFeature):
            out[name] = newest[feature.lag][feature.column] if len(newest) > feature.lag else None
            continue
        since = time - dt.timedelta(days=feature.days)
        values = [e[feature.column] for e in newest if e["t"] > since and e[feature.column] is not None]
        total = math.fsum(values)
        out[name] = {
            "count": len(values),
            "sum": total if values else None,
            "mean": total / len(values) if values else None,
            "min": min(values, default=None),
            "max": max(values, default=None),
        }[feature.function]
    return out


_DAY = st.integers(0, 12).map(lambda d: START + dt.timedelta(days=d))
_EVENT = st.fixed_dictionaries(
    {
        "e": st.sampled_from(["a", "b", None]),
        "t": st.one_of(st.none(), _DAY),
        "k": st.one_of(st.none(), _DAY),
        "v": st.one_of(st.none(), st.integers(-5, 5)),
        "w": st.one_of(st.none(), st.integers(-40, 40).map(lambda q: q / 8)),
        "s": st.one_of(st.none(), st.sampled_from(["x", "y"])),
    }
)
_REQUEST = st.tuples(st.sampled_from(["a", "b", "c", None]), _DAY)
SCHEMA = {"e": pa.string(), "t": pa.date32(), "k": pa.date32(), "v": pa.int64(), "w": pa.float64(), "s": pa.string()}


def as_table(events: list[dict[str, Any]]) -> pa.Table:
    return pa.table({name: pa.array([e[name] for e in events], kind) for name, kind in SCHEMA.items()})


def as_requests(requests: list[tuple[Any, Any]], kind: pa.DataType | None = None) -> pa.Table:
    times = pa.array([time for _, time in requests], kind or pa.date32())
    return pa.table({"entity": pa.array([entity for entity, _ in requests], pa.string()), "time": times})


@given(events=st.lists(_EVENT, max_size=14), requests=st.lists(_REQUEST, min_size=1, max_size=6), known=st.booleans())
def test_a_view_is_its_definition(events: list[dict[str, Any]], requests: list[tuple[Any, Any]], known: bool) -> None:
    # Values are eighths, so that every sum is exact; the zone changes its clocks inside the range.
    declared = view(known=known)
    built = build_view(declared, as_table(events), as_requests(requests), time_zone="Europe/Paris")
    assert built.to_pylist() == [oracle(declared, events, *request) for request in requests]


def test_nothing_known_later_is_seen() -> None:
    events = [
        {"e": "a", "t": START, "k": START, "v": 1, "w": 1.0, "s": "x"},
        {"e": "a", "t": START, "k": START + dt.timedelta(days=5), "v": 99, "w": 9.0, "s": "y"},
    ]
    requests = [
        ("a", START - dt.timedelta(days=1)),
        ("a", START + dt.timedelta(days=4)),
        ("a", START + dt.timedelta(days=5)),
    ]
    built = build_view(view(), as_table(events), as_requests(requests), time_zone="UTC")
    assert built.column("latest").to_pylist() == [None, 1, 99]


@pytest.mark.parametrize(("days", "expected"), [(1, 1), (2, 2), (30, 3), (31, 4)])
def test_a_window_holds_its_last_days_and_not_the_day_before(days: int, expected: int) -> None:
    # One event a day up to the as-of date, which is the day after the clocks went forward.
    ages = [0, 1, 2, 30]
    time = dt.date(2020, 3, 30)
    events = pa.table({"e": ["a"] * 4, "t": [time - dt.timedelta(days=age) for age in ages], "v": [1] * 4})
    counting = {"kind": "window", "column": "v", "function": "count", "days": days}
    for zone in ("UTC", "Europe/Paris"):
        built = build_view(
            view(known=False, features={"n": counting}), events, as_requests([("a", time)]), time_zone=zone
        )
        assert built.column("n").to_pylist() == [expected]


def test_a_date_asks_at_the_start_of_its_day_in_the_zone() -> None:
    moments = [dt.datetime(2020, 1, 1, 22, 59, tzinfo=dt.UTC), dt.datetime(2020, 1, 1, 23, 1, tzinfo=dt.UTC)]
    events = pa.table({"e": ["a", "a"], "t": pa.array(moments, pa.timestamp("us", "UTC")), "v": [1, 2]})
    declared = view(known=False, features={"n": FEATURES["max"]})
    for zone, expected in (("Europe/Paris", 1), ("America/New_York", 2)):
        built = build_view(declared, events, as_requests([("a", dt.date(2020, 1, 2))]), time_zone=zone)
        assert built.column("n").to_pylist() == [expected]


def test_the_same_bytes_on_every_run_and_sums_near_the_exact_one() -> None:
    events = pa.table({"e": ["a"] * 999, "t": [START] * 999, "v": [0.1 * (i % 7) * (-1) ** i for i in range(999)]})
    declared = view(known=False, features={"s": FEATURES["sum"]})
    requests = as_requests([("a", START)] * 3)
    first = build_view(declared, events, requests, time_zone="UTC").column("s").to_pylist()
    assert first == build_view(declared, events, requests, time_zone="UTC").column("s").to_pylist()
    running = 0.0
    for value in events.column("v").to_pylist():
        running += value
    assert first == [running] * 3


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a column that is not there": ({"features": {"f": {"kind": "latest", "column": "z"}}}, "names columns that table"),
    "an entity that is not there": ({"entity": "z"}, "names columns that table"),
    "a time that is a number": ({"event_time": "v"}, "takes 'v' for a time"),
    "the sum of text": (
        {"features": {"f": {"kind": "window", "column": "s", "function": "sum", "days": 1}}},
        "a column that is no number",
    ),
    "an entity of another type": ({"entity": "v"}, "another type of entity"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_views_are_refused(sentence: str) -> None:
    declared, message = BAD[sentence]
    events = as_table([{"e": "a", "t": START, "k": START, "v": 1, "w": 1.0, "s": "x"}])
    with pytest.raises(ConfigError, match=message):
        build_view(view(**declared), events, as_requests([("a", START)]), time_zone="UTC")

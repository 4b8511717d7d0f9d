"""Random event streams, feature views over them, and the definition of a view read aloud, one row at a time."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from countermark.config.feature_view import ColumnFeature, Duration, FeatureView, WindowFeature
from countermark.contracts.instants import UTC
from countermark.features.definitions import ColumnType, ViewPlan, compile_view

TYPES: dict[str, ColumnType] = {
    "e": "text", "t": "date", "k": "date", "v": "integer", "w": "number", "s": "text", "b": "boolean", "id": "integer",
}  # fmt: skip
FEATURES: dict[str, Any] = {
    "latest": {"kind": "column", "column": "v"},
    "before": {"kind": "column", "column": "w", "lag": 1},
    'odd "name"': {"kind": "column", "column": "s", "lag": 2},
    "young": {"kind": "column", "column": "b", "max_age": {"hours": 20}},
    "rows": {"kind": "window", "function": "count", "hours": 30},
    "count": {"kind": "window", "column": "v", "function": "count", "days": 3},
    "texts": {"kind": "window", "column": "s", "function": "count", "days": 2},
    "sum": {"kind": "window", "column": "v", "function": "sum", "days": 3},
    "true_sum": {"kind": "window", "column": "w", "function": "sum", "days": 9, "filter": "b"},
    "mean": {"kind": "window", "column": "w", "function": "mean", "days": 7, "filter": "v > 0 or s == 'x'"},
    "min": {"kind": "window", "column": "w", "function": "min", "minutes": 500},
    "low": {"kind": "window", "column": "w", "function": "min", "days": 6},
    "max": {"kind": "window", "column": "v", "function": "max", "days": 30},
    "last_text": {"kind": "window", "column": "s", "function": "last", "days": 4},
    "last_true": {"kind": "window", "column": "v", "function": "last", "days": 4, "filter": "b"},
    "since": {"kind": "window", "function": "time_since", "days": 5},
    "since_x": {"kind": "window", "column": "s", "function": "time_since", "days": 5, "filter": "s == 'x'"},
}
WINDOWS = {name: f for name, f in FEATURES.items() if f["kind"] == "window" and "minutes" not in f}
SHORT = {name: FEATURES[name] for name in ("latest", "before", "rows", "texts", "min")}
START = dt.datetime(2020, 3, 26, tzinfo=dt.UTC)


def view(**declared: Any) -> FeatureView:
    """A view over the stream, changed."""
    base = {"name": "v", "table": "events", "entity": "e", "event_time": "t", "features": FEATURES}
    return FeatureView.model_validate(base | declared)


def plan(declared: FeatureView, *, zone: str = "UTC", types: dict[str, ColumnType] | None = None) -> ViewPlan:
    """The compiled view."""
    return compile_view(declared, types or TYPES, time_zone=zone)


def _length(span: Duration) -> dt.timedelta:
    return dt.timedelta(microseconds=span.microseconds)


def _passes(text: str | None, event: dict[str, Any]) -> bool:
    match text:
        case None:
            return True
        case "b":
            return event["b"] is True
        case "s == 'x'":
            return event["s"] == "x"
        case "v > 0 or s == 'x'":
            return (event["v"] is not None and event["v"] > 0) or event["s"] == "x"
    raise AssertionError(text)


def stamp(declared: FeatureView, event: dict[str, Any]) -> Any:
    """When an event was known, as its sender says."""
    return event[declared.known_at or "t"]


def _delay(declared: FeatureView) -> dt.timedelta:
    return _length(declared.known_delay) if declared.known_delay is not None else dt.timedelta(0)


def _read_of(declared: FeatureView, event: dict[str, Any]) -> tuple[Any, ...]:
    """What a view reads of an event: two events of which it reads the same are one to it."""
    seen = [event["e"], event["t"], stamp(declared, event), declared.event_key and event[declared.event_key]]
    for feature in declared.features.values():
        column = getattr(feature, "column", None)
        if column is not None:
            value = event[column]
            whether = getattr(feature, "function", "") in ("count", "time_since") and column == "s"
            seen.append(value is not None if whether else value)
        seen.append(_passes(getattr(feature, "filter", None), event))
    return tuple(seen)


HOUR = dt.timedelta(hours=1)


def once(
    declared: FeatureView, table: list[dict[str, Any]], came: list[dict[str, Any]], as_of: dt.datetime
) -> list[dict[str, Any]]:
    """Every event once: rows of a table that was read up to an instant, and those that came alone, by arrival.

    With ``clock: day`` times are turned into days, as the view counts them.
    """
    rows = [_on_clock(declared, e) for e in table if e["t"] is not None and (stamp(declared, e) or as_of) <= as_of]
    left = [
        _read_of(declared, row)
        for row in rows
        if declared.tile is None or (stamp(declared, row) or as_of) + _delay(declared) > as_of - HOUR
    ]
    for event in came:
        one = _on_clock(declared, event)
        if declared.tile is not None and one["t"] is not None and stamp(declared, one) is not None:
            known = max(stamp(declared, one) + _delay(declared), one["arrived"])
            if known <= as_of - HOUR and one["arrived"] <= as_of - HOUR:
                continue
        if _read_of(declared, one) in left:
            left.remove(_read_of(declared, one))
        else:
            rows.append(one)
    return rows


def _on_clock(declared: FeatureView, event: dict[str, Any]) -> dict[str, Any]:
    if declared.clock == "instant":
        return event
    return event | {k: event[k] and event[k].date() for k in ("t", "k", "arrived") if k in event}


def visible(declared: FeatureView, events: list[dict[str, Any]], entity: str | None, time: Any) -> list[dict[str, Any]]:
    """Events that a request sees, oldest first."""
    rows = []
    for place, event in enumerate(events):
        if entity is None or event["e"] != entity or event["t"] is None or stamp(declared, event) is None:
            continue
        known = stamp(declared, event) + _delay(declared)
        rows.append((event["t"], max(known, event.get("arrived") or known), place, event))
    known_by_then = [row for row in rows if row[1] <= time]
    if declared.event_key is not None:
        newest: dict[Any, Any] = {}
        for row in sorted(known_by_then, key=lambda row: (row[1], row[0], row[2])):
            key = row[3][declared.event_key]
            newest[("none", row[2]) if key is None else ("key", key)] = row
        known_by_then = list(newest.values())
    return [row[3] for row in sorted((r for r in known_by_then if r[0] <= time), key=lambda row: row[:3])]


def oracle(declared: FeatureView, events: list[dict[str, Any]], entity: str | None, time: Any) -> dict[str, Any]:
    """The definition, read aloud."""
    seen = visible(declared, events, entity, time)
    return {name: _value(declared, feature, seen, time) for name, feature in declared.features.items()}


def _value(declared: FeatureView, feature: Any, seen: list[dict[str, Any]], time: Any) -> Any:
    if isinstance(feature, ColumnFeature):
        if len(seen) <= feature.lag:
            return None
        row = seen[-1 - feature.lag]
        limit = feature.max_age or declared.max_age
        return None if limit is not None and time - row["t"] > _length(limit) else row[feature.column]
    assert isinstance(feature, WindowFeature)

    def inside(at: Any) -> bool:
        if declared.tile is None:
            return bool(at > time - _length(feature))
        size = _length(declared.tile)
        zero = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) if isinstance(at, dt.datetime) else dt.date(1970, 1, 1)
        return bool(zero + (at - zero) // size * size > zero + (time - zero) // size * size - _length(feature))

    rows = [e for e in seen if inside(e["t"]) and _passes(feature.filter, e)]
    rows = [e for e in rows if feature.column is None or e[feature.column] is not None]
    if feature.function == "count":
        return len(rows)
    if not rows:
        return None
    if feature.function == "time_since":
        return (time - rows[-1]["t"]).total_seconds()
    assert feature.column is not None
    values = [e[feature.column] for e in rows]
    total = 0.0
    for value in values if feature.function in ("sum", "mean") else ():
        total += value
    if declared.tile is not None and feature.function in ("sum", "mean"):
        total = math.fsum(values)
    return {
        "sum": total, "mean": total / len(values), "last": values[-1],
        "min": min(values) if feature.function == "min" else None, "max": max(values) if feature.function == "max" else None,
    }[feature.function]  # fmt: skip


def moments(span: int = 12 * 24 * 60) -> st.SearchStrategy[dt.datetime]:
    """Instants on a coarse grid, so that ties happen, or anywhere."""
    coarse = st.integers(0, span // 240).map(lambda k: START + dt.timedelta(minutes=240 * k))
    return st.one_of(coarse, st.integers(0, span * 60).map(lambda s: START + dt.timedelta(seconds=s)))


def values() -> dict[str, st.SearchStrategy[Any]]:
    """Strategies for the columns that are no time."""
    return {
        "e": st.sampled_from(["a", "b", None]),
        "v": st.one_of(st.none(), st.integers(-5, 5)),
        "w": st.one_of(st.none(), st.integers(-40, 40).map(lambda q: q / 8), st.floats(-1e6, 1e6, width=32)),
        "s": st.one_of(st.none(), st.sampled_from(["x", "y", "é"])),
        "b": st.one_of(st.none(), st.booleans()),
        "id": st.one_of(st.none(), st.integers(1, 4)),
    }


def event(times: st.SearchStrategy[Any], known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """One event."""
    return st.fixed_dictionaries({"t": st.one_of(st.none(), times), "k": st.one_of(st.none(), known), **values()})


def as_table(events: list[dict[str, Any]], time: pa.DataType = UTC) -> pa.Table:
    """Events as a contracted table."""
    kinds = {
        "e": pa.string(), "t": time, "k": time, "v": pa.int64(), "w": pa.float64(), "s": pa.string(),
        "b": pa.bool_(), "id": pa.int64(),
    }  # fmt: skip
    return pa.table({name: pa.array([e[name] for e in events], kind) for name, kind in kinds.items()})


def as_requests(requests: list[tuple[Any, Any]], time: pa.DataType = UTC) -> pa.Table:
    """Requests as a table."""
    return pa.table(
        {
            "entity": pa.array([entity for entity, _ in requests], pa.string()),
            "time": pa.array([at for _, at in requests], time),
        }
    )


def near(left: Any, right: Any) -> bool:
    """Equal, or floating-point numbers within 1e-12 of the larger."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12)
    return type(left) is type(right) and left == right

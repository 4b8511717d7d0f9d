"""Feature views as of a time: one row per request, seeing only what was known then."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from countermark.config.feature_view import FeatureView, LatestFeature, WindowFeature
from countermark.contracts.instants import UTC, to_utc, zone_of
from countermark.errors import ConfigError

# One thread and an ORDER BY inside every aggregate: sums of floating-point numbers depend on their order.
_SETTINGS = {"threads": 1, "preserve_insertion_order": True, "autoinstall_known_extensions": False}
_DAY = 86_400_000_000


def build_view(view: FeatureView, events: pa.Table, requests: pa.Table, *, time_zone: str) -> pa.Table:
    """Compute a view's features for each request.

    A row of ``events`` is seen by a request at time t if it has the request's entity, ``event_time <= t`` and,
    where declared, ``known_at <= t``. A date means the start of its day in the source's zone. Rows without an event
    time (or a declared known-at time) are never seen. Newest first means by event time, then known-at time, then
    place in the table.

    Where every time is a date, days are calendar days; else a day of a window is 24 hours.

    ``latest`` gives null where there are not enough rows. ``window`` looks at ``t - days < event_time <= t``;
    ``count`` counts rows with a value and is 0 where there are none, every other aggregate is null there.
    Integer sums are exact; floating-point sums are folded oldest first.

    Args:
        view: The declared view.
        events: The contracted table of the view, typed.
        requests: Columns ``entity`` (the type of the view's entity column) and ``time`` (date32 or UTC instant).
        time_zone: Zone of the source.

    Returns:
        One row per request, in the order of the requests; one column per feature, in the view's order.

    Raises:
        ConfigError: If the table lacks a column of the view or a column has the wrong type.
    """
    _check_columns(view, events)
    entity = events.column(view.entity)
    asked = requests.column("entity")
    if entity.type != asked.type:
        raise ConfigError(
            f"feature view '{view.name}' is asked by another type of entity than its table has",
            expected=str(entity.type),
            got=str(asked.type),
            hint="give both columns one type in their contracts",
        )
    times = [requests.column("time"), *(events.column(n) for n in (view.event_time, view.known_at) if n is not None)]
    # Dates alone are compared as calendar days: a day with a clock change is one day.
    zone = "UTC" if all(pa.types.is_date32(column.type) for column in times) else time_zone
    facts: dict[str, pa.ChunkedArray | pa.Array] = {
        "entity": entity,
        "happened": _microseconds(events.column(view.event_time), zone),
        "place": pa.array(np.arange(events.num_rows, dtype=np.int64)),
    }
    if view.known_at is not None:
        facts["known"] = _microseconds(events.column(view.known_at), zone)
    columns = sorted({feature.column for feature in view.features.values()})
    facts |= {f"v{index}": events.column(column) for index, column in enumerate(columns)}
    wanted = {
        "row": pa.array(np.arange(requests.num_rows, dtype=np.int64)),
        "entity": asked,
        "t": _microseconds(requests.column("time"), zone),
    }
    with duckdb.connect(":memory:", config=_SETTINGS) as connection:
        connection.register("facts", pa.table(facts))
        connection.register("requests", pa.table(wanted))
        answer = connection.sql(_query(view, columns)).to_arrow_table()
    return answer.select(list(view.features)).combine_chunks()


def _microseconds(column: pa.ChunkedArray, time_zone: str) -> pa.ChunkedArray:
    return instants(column, time_zone).cast(pa.int64())


def instants(column: pa.ChunkedArray, time_zone: str) -> pa.ChunkedArray:
    """UTC instants (timestamp[us, UTC]) of a date or instant column; a date is the start of its day in the zone."""
    if not pa.types.is_date32(column.type):
        return column.cast(UTC)
    starts = pd.Series(column.cast(pa.timestamp("us")).to_pandas())
    return pa.chunked_array([pa.Array.from_pandas(to_utc(starts, zone_of(time_zone)), type=UTC)])


def _check_columns(view: FeatureView, events: pa.Table) -> None:
    named = {view.entity, view.event_time} | {feature.column for feature in view.features.values()}
    named |= {view.known_at} if view.known_at is not None else set()
    missing = sorted(named - set(events.column_names))
    if missing:
        raise ConfigError(
            f"feature view '{view.name}' names columns that table '{view.table}' does not have",
            expected="one of: " + ", ".join(events.column_names),
            got=", ".join(f"'{name}'" for name in missing),
            hint="correct the view, or declare the column in the table's contract",
        )
    for name in (view.event_time, view.known_at):
        if name is not None and not pa.types.is_temporal(events.schema.field(name).type):
            raise ConfigError(
                f"feature view '{view.name}' takes '{name}' for a time, and it is none",
                expected="a column of type date",
                got=str(events.schema.field(name).type),
                hint="declare it as 'type: date' in the table's contract",
            )
    for name, feature in view.features.items():
        kind = events.schema.field(feature.column).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if isinstance(feature, WindowFeature) and feature.function != "count" and not number:
            raise ConfigError(
                f"feature '{view.name}.{name}' takes the {feature.function} of a column that is no number",
                expected="integer or number",
                got=str(kind),
                hint="count it, or take its latest value",
            )


def _query(view: FeatureView, columns: list[str]) -> str:
    known = "" if view.known_at is None else " AND f.known <= r.t"
    newest = "f.happened DESC, " + ("" if view.known_at is None else "f.known DESC, ") + "f.place DESC"
    values = ", ".join(f"f.v{index}" for index in range(len(columns)))
    features = ", ".join(
        f"{_expression(feature, f'v{columns.index(feature.column)}')} AS {_quoted(name)}"
        for name, feature in view.features.items()
    )
    return f"""
        WITH seen AS (
            SELECT r.row, r.t, f.happened, {values},
                   row_number() OVER (PARTITION BY r.row ORDER BY {newest}) AS age
            FROM requests r JOIN facts f ON f.entity = r.entity AND f.happened <= r.t{known}
        )
        SELECT r.row, {features}
        FROM requests r LEFT JOIN seen s ON s.row = r.row
        GROUP BY r.row
        ORDER BY r.row
    """


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _expression(feature: LatestFeature | WindowFeature, value: str) -> str:
    if isinstance(feature, LatestFeature):
        return f"first(s.{value}) FILTER (WHERE s.age = {feature.lag + 1})"
    inside = f"FILTER (WHERE s.happened > s.t - {feature.days * _DAY})"
    match feature.function:
        case "count":
            return f"count(s.{value}) {inside}"
        case "sum":
            return f"CAST(sum(s.{value} ORDER BY s.age DESC) {inside} AS DOUBLE)"
        case "mean":
            total = f"CAST(sum(s.{value} ORDER BY s.age DESC) {inside} AS DOUBLE)"
            return f"{total} / nullif(count(s.{value}) {inside}, 0)"
        case "min" | "max":
            return f"{feature.function}(s.{value}) {inside}"

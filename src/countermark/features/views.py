"""Feature views as of a time, for a table of requests: one row per request, seeing only what was known then.

DuckDB brings the events of the asked entities into one order; the fold that serves decisions then reads them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.contracts.instants import UTC, local_dates, to_utc, zone_of
from countermark.errors import ConfigError, FeatureStoreError
from countermark.features.definitions import ColumnType, StoredColumn, ViewPlan
from countermark.features.events import key_hash
from countermark.features.fold import FOREVER, Events, fold_runs
from countermark.features.identity import LISTED, identities
from countermark.features.on_demand import Expression
from countermark.features.request import LARGEST_WHOLE
from countermark.features.times import microseconds

# One thread: a stage's time and memory do not depend on the machine's cores. Every query orders its rows completely.
ENGINE = {"threads": 1, "preserve_insertion_order": True, "autoinstall_known_extensions": False}
"""Settings of DuckDB wherever features are computed."""

ARRIVED = "_arrived"
"""Column of an event table with the UTC instant at which a row reached the bank, where that was logged."""

_ARROW: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "boolean": pa.bool_(), "date": pa.date32(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BuiltView:
    """Features of a view for a table of requests.

    Attributes:
        columns: One row per request in their order, one column per feature that is computed from events.
        expired: Requests whose value was withheld because of its age, by feature; features without any are left out.
    """

    columns: pa.Table
    expired: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EventTable:
    """Events of a view in the order of the fold.

    Attributes:
        events: Events, run after run.
        starts: First row of each run and, last, the number of rows, int64 (runs + 1,).
        arrived: When each event reached the bank, int64 (n,).
        keys: Hash of each event's key, int64 (n,), 0 for none; (0,) where events have no versions.
        texts: Texts of the text columns; a text value is its place here.
        entities: Entity of each run.
    """

    events: Events
    starts: NDArray[np.int64]
    arrived: NDArray[np.int64]
    keys: NDArray[np.int64]
    texts: tuple[str, ...]
    entities: pa.ChunkedArray


def build_view(plan: ViewPlan, events: pa.Table, requests: pa.Table) -> BuiltView:
    """Compute a view's features for each request.

    A request at time t sees a row of ``events`` if it has the request's entity, ``event_time <= t``, and was known by
    t; of several versions of one event, the one known last. A date means the start of its day in the source's zone;
    with ``clock: day`` every time counts by its calendar day there. Rows without an entity, an event time or a declared
    known-at time are never seen. Newest first means by event time, then known-at time, then place in the table.

    Args:
        plan: The compiled view.
        events: The contracted table of the view, typed.
        requests: Columns ``entity`` (the type of the view's entity column) and ``time`` (date32 or UTC instant).

    Raises:
        ConfigError: If the table lacks a column of the view, or a column has another type than its contract says.
        FeatureStoreError: If a whole number has no exact float64.
    """
    asked = requests.column("entity")
    _check_table(plan, events)
    if events.schema.field(plan.entity).type != asked.type:
        raise ConfigError(
            f"feature view '{plan.name}' is asked by another type of entity than its table has",
            expected=str(events.schema.field(plan.entity).type),
            got=str(asked.type),
            hint="give both columns one type in their contracts",
        )
    with duckdb.connect(":memory:", config=ENGINE) as connection:
        ordered = order_events(plan, events, connection, only=asked)
        wanted = pa.table({"row": pa.array(np.arange(len(asked), dtype=np.int64)), "entity": asked})
        connection.register("requests", wanted)
        connection.register("runs", pa.table({"entity": ordered.entities, "run": np.arange(len(ordered.entities))}))
        places = connection.sql("""
            SELECT coalesce(runs.run, -1) AS run FROM requests LEFT JOIN runs USING (entity) ORDER BY requests.row
        """).to_arrow_table()
    run = places.column("run").to_numpy()
    known = run >= 0
    spans = np.zeros((run.size, 2), dtype=np.int64)
    spans[known, 0], spans[known, 1] = ordered.starts[run[known]], ordered.starts[run[known] + 1]
    out = np.empty((run.size, len(plan.names)))
    withheld = np.zeros((run.size, len(plan.names)), dtype=np.bool_)
    times = _integers(clock_times(plan, requests.column("time")))
    fold_runs(ordered.events, spans, times, plan.tile, plan.program, (out, withheld))
    columns = {
        name: _typed(out[:, k], kind, ordered.texts)
        for k, (name, kind) in enumerate(zip(plan.names, plan.types, strict=True))
    }
    expired = {name: int(withheld[:, k].sum()) for k, name in enumerate(plan.names) if withheld[:, k].any()}
    return BuiltView(pa.table(columns), expired)


def order_events(
    plan: ViewPlan, events: pa.Table, connection: duckdb.DuckDBPyConnection, *, only: pa.ChunkedArray | None = None
) -> EventTable:
    """Bring events into the order of the fold.

    Args:
        plan: The compiled view.
        events: The contracted table of the view.
        connection: DuckDB.
        only: Entities to keep; None: all.
    """
    facts, texts = _facts(plan, events)
    connection.register("facts", facts)
    connection.register("wanted", pa.table({"entity": facts.column("entity") if only is None else only}))
    versioned = plan.view.event_key is not None
    until = (
        f"""CASE WHEN key IS NULL THEN {FOREVER} ELSE coalesce(
            lead(known) OVER (PARTITION BY run, key ORDER BY known, happened, place), {FOREVER}) END"""
        if versioned
        else "0"
    )
    values = "".join(f", v{k}" for k in range(len(plan.stored)))
    table = connection.sql(f"""
        WITH listed AS (
            SELECT entity, row_number() OVER (ORDER BY entity) - 1 AS run
            FROM (SELECT DISTINCT entity FROM wanted WHERE entity IS NOT NULL)
        )
        SELECT run, entity, happened, known, arrived, flags, {until} AS until{", key" if versioned else ""}{values}
        FROM facts JOIN listed USING (entity)
        WHERE happened IS NOT NULL AND known IS NOT NULL
        ORDER BY run, happened, known, place
    """).to_arrow_table()
    run = table.column("run").to_numpy()
    first = np.flatnonzero(np.diff(run, prepend=-1)) if run.size else np.empty(0, dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    matrix = np.empty((len(plan.stored), run.size))
    for k in range(len(plan.stored)):
        matrix[k] = table.column(f"v{k}").to_numpy()
    return EventTable(
        Events(
            _integers(table.column("happened")),
            _integers(table.column("known")),
            _integers(table.column("until")) if versioned else none,
            _integers(table.column("flags")) if plan.filters else none,
            matrix,
        ),
        np.append(first, run.size).astype(np.int64),
        _integers(table.column("arrived")),
        _key_hashes(table.column("key")) if versioned else none,
        texts,
        table.column("entity").take(pa.array(first)),
    )


def told_apart(plan: ViewPlan, events: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Identity and known-at time of every row of a table on the view's clock; 0 of a row that nobody can see.

    Args:
        plan: The compiled view.
        events: The contracted table of the view; an instant of arrival changes nothing.
    """
    facts, texts = _facts(plan, events.select(list(plan.event_columns)))
    seen = pc.and_(pc.is_valid(facts.column("happened")), pc.is_valid(facts.column("known")))
    seen = pc.and_(seen, pc.is_valid(facts.column("entity"))).to_numpy()
    facts = facts.filter(pa.array(seen))
    none = np.empty(0, dtype=np.int64)
    values = np.empty((len(plan.stored), facts.num_rows))
    for k in range(len(plan.stored)):
        values[k] = facts.column(f"v{k}").to_numpy()
    known = _integers(facts.column("known"))
    flags = _integers(facts.column("flags")) if plan.filters else none
    keys = _key_hashes(facts.column("key")) if plan.view.event_key is not None else none
    found, learned = np.zeros(seen.size, dtype=np.int64), np.zeros(seen.size, dtype=np.int64)
    rows = Events(_integers(facts.column("happened")), known, none, flags, values)
    found[seen] = identities(rows, known, keys, (texts, plan.text_columns), LISTED)
    learned[seen] = known
    return found, learned


def _key_hashes(keys: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.array([key_hash(key) for key in keys.to_pylist()], dtype=np.int64)


def _facts(plan: ViewPlan, events: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Entity, times, flags and numbers of every event; texts of the text columns."""
    view = plan.view
    learned = events.column(view.known_at or plan.event_time)
    known = pc.add(clock_times(plan, learned), plan.known_delay)
    arrived = instants(learned, plan.time_zone).cast(pa.int64())
    if ARRIVED in events.column_names:
        # A row is known when its view says so, and never before it arrived.
        reached = events.column(ARRIVED)
        late = pc.fill_null(pc.greater(clock_times(plan, reached), known), False)
        known = pc.if_else(late, clock_times(plan, reached), known)
        arrived = pc.coalesce(reached.cast(pa.int64()), arrived)
    facts: dict[str, pa.ChunkedArray | pa.Array] = {
        "entity": events.column(plan.entity),
        "happened": clock_times(plan, events.column(plan.event_time)),
        "known": known,
        "arrived": arrived,
        "place": pa.array(np.arange(events.num_rows, dtype=np.int64)),
        "flags": pa.array(_flags(plan, events)),
    }
    if view.event_key is not None:
        facts["key"] = events.column(view.event_key).cast(pa.string())
    texts: list[str] = []
    for k, column in enumerate(plan.stored):
        facts[f"v{k}"] = _numbers(column, events.column(column.name), texts)
    return pa.table(facts), tuple(texts)


def _numbers(stored: StoredColumn, column: pa.ChunkedArray, texts: list[str]) -> pa.ChunkedArray:
    """A column as float64 with null; texts are added to the list, and a text becomes its place there."""
    if stored.presence:
        return pc.if_else(pc.is_valid(column), 1.0, pa.scalar(None, pa.float64()))
    if pa.types.is_string(column.type):
        listed = pc.unique(pc.drop_null(column))
        first = len(texts)
        texts += listed.to_pylist()
        return pc.add(pc.index_in(column, value_set=listed).cast(pa.float64()), float(first))
    if pa.types.is_boolean(column.type):
        return column.cast(pa.uint8()).cast(pa.float64())
    if pa.types.is_integer(column.type):
        return _exact(stored.name, column)
    return pc.if_else(pc.is_nan(column), None, column)


def _exact(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers as float64.

    Raises:
        FeatureStoreError: If one of them has no exact float64.
    """
    least, most = pc.min_max(column).values()
    if any(bound.is_valid and abs(bound.as_py()) > LARGEST_WHOLE for bound in (least, most)):
        raise FeatureStoreError(
            f"'{name}' holds whole numbers without an exact float64",
            expected="at most 2**53 in size",
            hint="count it, or declare it as text",
        )
    return column.cast(pa.float64())


def _flags(plan: ViewPlan, events: pa.Table) -> NDArray[np.int64]:
    flags = np.zeros(events.num_rows, dtype=np.int64)
    for k, expression in enumerate(plan.filters):
        passed = expression.table(operands(expression, {n: events.column(n) for n in expression.names}, plan.time_zone))
        flags |= np.array([value is True for value in passed], dtype=np.int64) << k
    return flags


def arrived_by(plan: ViewPlan, events: pa.Table, as_of: dt.datetime) -> pa.Table:
    """Rows that had reached the bank: by their known-at time, or event time where the view has no such column."""
    learned = instants(events.column(plan.view.known_at or plan.event_time), plan.time_zone).cast(pa.int64())
    return events.filter(pc.fill_null(pc.less_equal(learned, microseconds(as_of)), False))


def operands(
    expression: Expression, columns: Mapping[str, pa.ChunkedArray | pa.Array], time_zone: str
) -> dict[str, list[object]]:
    """Columns as the values that an expression takes.

    Args:
        expression: The expression.
        columns: A column for every name that it reads.
        time_zone: Zone of dates.
    """
    found: dict[str, list[object]] = {}
    for name in expression.names:
        column = columns[name]
        if pa.types.is_temporal(column.type):
            column = instants(column, time_zone).cast(pa.int64())
        elif pa.types.is_integer(column.type):
            column = _exact(name, column)
        found[name] = column.to_pylist()
    return found


def clock_times(plan: ViewPlan, column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """Times on the view's clock: instants, or calendar days of the zone counted as if it were UTC; int64 with null."""
    if not plan.by_day:
        return instants(column, plan.time_zone).cast(pa.int64())
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    return local_dates(chunked, plan.zone).cast(pa.timestamp("us")).cast(pa.int64())


def instants(column: pa.ChunkedArray | pa.Array, time_zone: str) -> pa.ChunkedArray:
    """UTC instants (timestamp[us, UTC]) of a date or instant column; a date is the start of its day in the zone."""
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if not pa.types.is_date32(chunked.type):
        return chunked.cast(UTC)
    starts = pd.Series(chunked.cast(pa.timestamp("us")).to_pandas())
    return pa.chunked_array([pa.Array.from_pandas(to_utc(starts, zone_of(time_zone)), type=UTC)])


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.array(
        column.to_numpy(), dtype=np.int64
    )  # its own: a kernel is compiled again for memory it may not write


def _typed(values: NDArray[np.float64], kind: ColumnType, texts: tuple[str, ...]) -> pa.Array:
    missing = np.isnan(values)
    if kind == "number":
        return pa.array(values, mask=missing)
    whole = np.where(missing, 0.0, values).astype(np.int64)
    if kind == "text":
        return pa.array(texts, pa.string()).take(pa.array(whole, mask=missing))
    if kind == "boolean":
        return pa.array(whole == 1, mask=missing)
    return pa.array(whole, mask=missing)


def _check_table(plan: ViewPlan, events: pa.Table) -> None:
    for name in plan.event_columns:
        if name not in events.column_names:
            raise ConfigError(
                f"feature view '{plan.name}' names columns that table '{plan.table}' does not have",
                expected="one of: " + ", ".join(events.column_names),
                got=f"'{name}'",
                hint="correct the view, or declare the column in the table's contract",
            )
        found, promised = events.schema.field(name).type, plan.column_types[name]
        fits = pa.types.is_temporal(found) if promised == "date" else found == _ARROW[promised]
        if not fits:
            raise ConfigError(
                f"column '{name}' of feature view '{plan.name}' is not what its contract says",
                expected=promised,
                got=str(found),
            )
    if not plan.by_day and all(
        pa.types.is_date32(events.schema.field(name).type)
        for name in (plan.event_time, plan.view.known_at)
        if name is not None
    ):
        raise ConfigError(
            f"feature view '{plan.name}' has dates for its times, and dates have no time of day",
            expected="clock: day",
            got="clock: instant",
            hint="declare 'clock: day': windows then hold whole calendar days",
        )

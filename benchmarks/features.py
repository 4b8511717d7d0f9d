"""Feature views: the point-in-time join beside DuckDB's own ASOF join, and the online read beside SQLite's.

Run: ``python benchmarks/features.py [--requests 1000000] [--events 10000000]``. Both sides of a ratio run here, on the
same Parquet files and with one thread. Figures of Feast are recorded ones, from the same machine on another day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from tests.features.specs import spec

from countermark.config.feature_view import FeatureView
from countermark.contracts.tables import read_table, write_table
from countermark.features.definitions import ViewPlan, compile_view
from countermark.features.materialize import entity_states
from countermark.features.online import OnlineStore, open_store
from countermark.features.vector import VectorBuilder
from countermark.features.views import build_view

FEAST_JOIN = 197.0
"""Seconds of Feast on DuckDB for 1,000,000 requests, 10,000,000 rows, 5 features: recorded, not run here."""

FEAST_READ = 3700.0
"""Microseconds of Feast's SQLite store for one entity with 30 features: recorded, not run here."""

TYPES = {"entity": "integer", "at": "date"} | {f"v{k}": "number" for k in range(5)}
START = np.datetime64("2024-01-01", "us").astype(np.int64)
YEAR = 365 * 86_400_000_000
LATEST = {f"v{k}": {"kind": "column", "column": f"v{k}"} for k in range(5)}
WINDOWS = {
    f"{function}_{days}": {"kind": "window", "column": "v0", "function": function, "days": days}
    for function, days in (("count", 7), ("sum", 30), ("mean", 30), ("max", 90), ("last", 7))
}


def plan(features: dict[str, Any], **declared: Any) -> ViewPlan:
    view = {"name": "bench", "table": "t", "entity": "entity", "event_time": "at", "features": features, **declared}
    return compile_view(FeatureView.model_validate(view), TYPES, time_zone="UTC")  # type: ignore[arg-type]


def tables(folder: Path, requests: int, events: int) -> None:
    """Two Parquet files: events in the order of time, requests in any order; a hundred events an entity."""
    rng = np.random.default_rng(1)
    entities = max(1, events // 100)
    facts = {
        "entity": rng.integers(0, entities, events),
        "at": pa.array(START + np.sort(rng.integers(0, YEAR, events)), pa.timestamp("us", tz="UTC")),
    }
    write_table(folder / "events.parquet", pa.table(facts | {f"v{k}": rng.normal(size=events) for k in range(5)}))
    asked = {
        "entity": rng.integers(0, entities, requests),
        "time": pa.array(START + rng.integers(0, YEAR, requests), pa.timestamp("us", tz="UTC")),
    }
    write_table(folder / "requests.parquet", pa.table(asked))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def asof(folder: Path, threads: int) -> pa.Table:
    with duckdb.connect(":memory:", config={"threads": threads}) as connection:
        return connection.sql(f"""
            SELECT e.v0, e.v1, e.v2, e.v3, e.v4
            FROM read_parquet('{folder}/requests.parquet', file_row_number = true) r
            ASOF LEFT JOIN read_parquet('{folder}/events.parquet') e ON e.entity = r.entity AND e.at <= r.time
            ORDER BY r.file_row_number
        """).to_arrow_table()


def join(folder: Path, compiled: ViewPlan) -> pa.Table:
    return build_view(compiled, read_table(folder / "events.parquet"), read_table(folder / "requests.parquet")).columns


def joins(folder: Path, requests: int, events: int) -> None:
    tables(folder, requests, events)
    latest, windows = plan(LATEST), plan(WINDOWS)
    small = Path(tempfile.mkdtemp(dir=folder))
    tables(small, 10, 100)
    join(small, latest)  # kernels are compiled before anything is measured
    kept: dict[str, pa.Table] = {}
    one = statistics.median(seconds(lambda: kept.update(raw=asof(folder, 1))) for _ in range(3))
    two = statistics.median(seconds(lambda: asof(folder, 2)) for _ in range(3))
    ours = statistics.median(seconds(lambda: kept.update(ours=join(folder, latest))) for _ in range(3))
    assert kept["ours"].equals(kept["raw"]), "the two joins differ"
    wide = seconds(lambda: join(folder, windows))
    print(f"point-in-time join, {requests:,} requests x {events:,} events, 5 features")
    print(f"  DuckDB ASOF, 1 thread     {one:8.1f} s      2 threads {two:.1f} s")
    print(f"  latest values, bitemporal {ours:8.1f} s      {ours / one:.1f} times ASOF; equal rows")
    print(f"  windows of 7 to 90 days   {wide:8.1f} s")
    if (requests, events) == (1_000_000, 10_000_000):
        print(f"  Feast (recorded)          {FEAST_JOIN:8.1f} s      {FEAST_JOIN / ours:.0f} times ours")
    print(f"  most memory               {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:8.1f} GB")


THIRTY = {
    f"{function}_{days}_{k}": {"kind": "window", "column": f"v{k}", "function": function, "days": days}
    for k in range(3)
    for days in (1, 30)
    for function in ("count", "sum", "mean", "min", "max")
}


def per_call(call: Callable[[int], object], calls: int) -> float:
    start = time.perf_counter()
    for k in range(calls):
        call(k)
    return (time.perf_counter() - start) / calls * 1e6


def reads(folder: Path) -> None:
    """One entity, 30 window features over 100 events, beside a bare read of as many bytes."""
    compiled = plan(THIRTY)
    events, entities = 100_000, 1_000
    rng = np.random.default_rng(2)
    now = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    end = int(now.timestamp()) * 1_000_000
    facts = {
        "entity": rng.integers(0, entities, events),
        "at": pa.array(np.sort(rng.integers(end - 30 * 86_400_000_000, end, events)), pa.timestamp("us", tz="UTC")),
    } | {f"v{k}": rng.normal(size=events) for k in range(5)}
    store: OnlineStore = open_store(f"sqlite:///{folder}/features.sqlite")
    start = time.perf_counter()
    generation = store.publish(compiled, entity_states(compiled, pa.table(facts), now), now)
    print(f"materialize {events:,} events of {generation.entities:,} entities: {time.perf_counter() - start:.1f} s")
    bare = sqlite3.connect(f"{folder}/features.sqlite")
    query = "SELECT state FROM states WHERE generation = ? AND entity = ?"
    size = len(bare.execute(query, (generation.number, "7")).fetchone()[0])
    state = plan(THIRTY, tile={"hours": 6})
    store.publish(state, entity_states(state, pa.table(facts), now), now)

    def event(k: int) -> dict[str, Any]:
        moment = now + dt.timedelta(milliseconds=k)
        return {"entity": k % entities, "at": moment} | {f"v{j}": 1.0 for j in range(5)}

    works: dict[str, Callable[[int], object]] = {
        "SQLite, bare": lambda k: bare.execute(query, (generation.number, str(k % entities))).fetchone(),
        "read, exact windows": lambda k: store.read(compiled, k % entities, now),
        "read, tiles": lambda k: store.read(state, k % entities, now),
        "ingest an event": lambda k: store.ingest(compiled, event(k), now + dt.timedelta(milliseconds=k)),
    }
    for work in works.values():
        work(0)
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(9):
        for name, work in works.items():
            found[name].append(per_call(work, 300))
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"one entity, 30 window features over 100 events, state of {size / 1000:.1f} kB")
    for name, value in middle.items():
        print(f"  {name:22s} {value:8.0f} us   {value / middle['SQLite, bare']:6.1f} times the bare read")
    print(
        f"  Feast (recorded)       {FEAST_READ:8.0f} us   {FEAST_READ / middle['read, exact windows']:6.0f} times ours"
    )
    vectors(store, now)
    store.close()


def vectors(store: OnlineStore, now: dt.datetime) -> None:
    """The whole input vector of a request: 30 inputs of one view, validation and all."""
    view = {"name": "bench", "table": "t", "entity": "entity", "event_time": "at", "features": THIRTY}
    columns = {name: {"type": kind} for name, kind in TYPES.items()}
    change = {
        "=contract": {"name": "main", "columns": columns | {"y": {"type": "integer"}}},
        "table_contracts": {"t": {"name": "t", "table": "t", "columns": columns}},
        "feature_views": {"bench": view},
        "=data": {"time": "at"},
        "=features": {name: {"meaning": "m", "source": f"bench.{name}"} for name in THIRTY},
    }
    builder = VectorBuilder(spec(change))
    builder.warm_up()
    middle = statistics.median(
        per_call(lambda k: builder.build({"entity": k % 1000}, store, now), 300) for _ in range(9)
    )
    print(f"  a vector of 30 inputs  {middle:8.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reads(Path(folder))
        joins(Path(folder), given.requests, given.events)


if __name__ == "__main__":
    main()

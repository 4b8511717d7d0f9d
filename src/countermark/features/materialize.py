"""States of all entities from a table of events: what ingesting the events one by one would have left."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from countermark.features.definitions import ViewPlan
from countermark.features.events import key_hash
from countermark.features.state import SLACK, Run, keep_rows, pack, taken, tiled, trimmed
from countermark.features.times import microseconds
from countermark.features.views import ENGINE, arrived_by, order_events


def entity_states(plan: ViewPlan, events: pa.Table, as_of: dt.datetime) -> Iterator[tuple[str, bytes]]:
    """Packed state of every entity with an event that may still be seen, in the order of the entities.

    An event has arrived by its known-at time, or its event time where the view has no such column.

    Args:
        plan: The view.
        events: The contracted table of the view, typed.
        as_of: Events that arrived later are left out.

    Raises:
        ConfigError: If the table does not fit the view.
    """
    mark = microseconds(as_of)
    with duckdb.connect(":memory:", config=ENGINE) as connection:
        ordered = order_events(plan, arrived_by(plan, events, as_of), connection)
    every = ordered.events
    kept = np.empty(every.times.size, dtype=np.bool_)
    keep_rows(every, ordered.starts, plan.on_clock(mark - SLACK), (plan.longest, plan.keeps), kept)
    keys = np.empty(0, dtype=np.int64)
    if ordered.keys is not None:
        keys = np.array([key_hash(key) for key in ordered.keys.to_pylist()], dtype=np.int64)
    if plan.tile:
        every = tiled(plan, every)
    whole = Run(mark, every, ordered.arrived, keys, ordered.texts)
    for k, entity in enumerate(ordered.entities.cast(pa.string()).to_pylist()):
        rows = np.flatnonzero(kept[ordered.starts[k] : ordered.starts[k + 1]]) + ordered.starts[k]
        run = taken(whole, rows, plan)
        if run.rows:
            yield entity, pack(trimmed(run, plan) if plan.tile else run, plan)

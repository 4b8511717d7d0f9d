"""States of all entities from a table of events: what ingesting the events one by one would have left."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa

from countermark.features.definitions import ViewPlan
from countermark.features.fold import chosen
from countermark.features.identity import LISTED, identities
from countermark.features.state import SLACK, Run, keep_rows, pack, taken, tiled, trimmed, with_versions
from countermark.features.tiles import HOLD
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
    keys = ordered.keys
    told = kept
    for start, end in pairwise(ordered.starts.tolist()):
        kept[start:end] = with_versions(kept[start:end], keys[start:end])
    if plan.tile:
        told = kept & (every.known > plan.on_clock(mark - HOLD))
    ids = np.zeros(every.times.size, dtype=np.int64)
    ids[told] = identities(
        chosen(every, told),
        every.known[told],
        keys[told] if keys.size else keys,
        (ordered.texts, plan.text_columns),
        LISTED,
    )
    if plan.tile:
        every = tiled(plan, every)
    whole = Run(mark, 0, every, ordered.arrived, ids, keys, ordered.texts)
    for k, entity in enumerate(ordered.entities.cast(pa.string()).to_pylist()):
        rows = np.flatnonzero(kept[ordered.starts[k] : ordered.starts[k + 1]]) + ordered.starts[k]
        run = taken(whole, rows, plan)
        if run.rows:
            yield entity, pack(trimmed(run, plan) if plan.tile else run, plan)

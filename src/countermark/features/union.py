"""Every event of a view once: of those in a table and those that came alone, as one table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from countermark.contracts.instants import UTC
from countermark.features.definitions import ViewPlan
from countermark.features.identity import unmatched
from countermark.features.state import settled
from countermark.features.tiles import HOLD
from countermark.features.times import microseconds
from countermark.features.views import ARRIVED, arrived_by, clock_times, instants, told_apart


def union(plan: ViewPlan, table: pa.Table, came: pa.Table, as_of: dt.datetime | None) -> pa.Table:
    """What an online store knows that was built from a table and took events since.

    An event that is in the table and came alone counts once: of events that the view cannot tell apart, as many as the
    source that has more of them. Of a tiled view, an event that was known and here an hour before ``as_of`` is left to
    the table, and one that is older and came later is taken for a new one.

    Args:
        plan: The view.
        table: The contracted table that the view was built from, typed.
        came: Events that came alone, in their order, with the instant of arrival in column ``ARRIVED``.
        as_of: Instant up to which the table was read; None: all rows.

    Returns:
        The columns of the view and ``ARRIVED`` (null for rows of the table), rows of the table first.
    """
    columns = list(plan.event_columns)
    listed = (table if as_of is None else arrived_by(plan, table, as_of)).select(columns)
    came = came.select([*columns, ARRIVED])
    for k, field in enumerate(came.schema):
        if field.name in columns and pa.types.is_temporal(field.type):
            listed = listed.set_column(k, field, instants(listed.column(k), plan.time_zone).cast(field.type))
    in_table, known = told_apart(plan, listed)
    alone, learned = told_apart(plan, came)
    arrived = np.array(came.column(ARRIVED).cast(pa.int64()).to_numpy(), dtype=np.int64)
    left = np.zeros(alone.size, dtype=np.bool_)
    comparable = in_table != 0
    if plan.tile and as_of is not None:
        at = microseconds(as_of)
        reached = np.array(clock_times(plan, came.column(ARRIVED)).to_numpy(), dtype=np.int64)
        left = settled(plan, np.maximum(learned, reached), arrived, at)
        comparable &= known > plan.on_clock(at - HOLD)
    entities = listed.column(plan.entity).filter(pa.array(comparable)).to_pylist()
    order = [i for i in np.argsort(arrived, kind="stable").tolist() if alone[i] and not left[i]]
    of = came.column(plan.entity).to_pylist()
    stays = np.zeros(alone.size, dtype=np.bool_)
    stays[order] = unmatched(
        zip(entities, in_table[comparable].tolist(), strict=True), [(of[i], int(alone[i])) for i in order]
    )
    there = listed.append_column(ARRIVED, pa.nulls(listed.num_rows, UTC)).cast(came.schema)
    return pa.concat_tables([there, came.filter(pa.array(stays))])

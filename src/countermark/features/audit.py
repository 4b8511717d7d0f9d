"""Were the vectors that decided the ones that the event log gives? Made again from the log, and compared."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from countermark.config.spec import ModelSpec
from countermark.contracts.instants import UTC
from countermark.features.definitions import ColumnType, ViewPlan
from countermark.features.events import entity_text
from countermark.features.reading import FeatureRow
from countermark.features.times import read_time
from countermark.features.vector import InputValue, VectorBuilder
from countermark.features.views import ARRIVED, arrived_by, build_view
from countermark.records.clock import parse_instant
from countermark.records.decision import DecisionRecord, EventRecord

TOLERANCE = 1e-12
"""Relative difference allowed for a number with a fraction: sums of a tiled view may be folded in another order."""

_ARROW: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "boolean": pa.bool_(), "date": UTC,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One input of one decision that the log gives otherwise.

    Attributes:
        decision: Id of the decision.
        input: Name of the input.
        logged: Value that decided.
        recomputed: Value from the log.
    """

    decision: str
    input: str
    logged: InputValue
    recomputed: InputValue


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit of logged vectors found.

    Attributes:
        compared: Decisions whose vector was made again.
        values: Input values that were compared.
        exact: How many of them were equal to the last bit.
        mismatches: Values that differ; empty is what must be.
        other_views: Decisions that were left out, because they read another version of a view.
    """

    compared: int
    values: int
    exact: int
    mismatches: tuple[Mismatch, ...]
    other_views: int = 0


@dataclass(slots=True)
class _Answers:
    """Rows that were computed before, by view and by (entity, instant); read as a store is read."""

    rows: dict[str, dict[tuple[str | None, dt.datetime], FeatureRow]] = field(default_factory=dict)
    at: dict[str, dt.datetime] = field(default_factory=dict)

    def read(self, plan: ViewPlan, entity: str | int | None, now: dt.datetime) -> FeatureRow:  # noqa: ARG002
        return self.rows[plan.name][entity_text(entity), self.at[plan.name]]


def recompute(
    spec: ModelSpec,
    decisions: Sequence[DecisionRecord],
    events: Iterable[EventRecord],
    *,
    history: Mapping[str, pa.Table] | None = None,
    built: dt.datetime | None = None,
) -> AuditReport:
    """Make the vectors of past decisions again, from the events alone, by the code that makes data sets.

    Args:
        spec: The model as it decided.
        decisions: Decisions of this model.
        events: Events taken in since the views were built from ``history``.
        history: Contracted tables that the views were built from, by name.
        built: Instant as of which they were built: rows that arrived later are the log's; None: all rows.

    Raises:
        ConfigError: If the spec's views cannot be compiled.
    """
    builder = VectorBuilder(spec)
    versions = {plan.name: plan.version for plan in builder.plans}
    judged = [d for d in decisions if {view.view: view.version for view in d.views} == versions]
    logged = list(events)
    answers = _Answers()
    for plan in builder.plans:
        old = (history or {}).get(plan.table)
        if old is not None and built is not None:
            old = arrived_by(plan, old, built)
        asked = [(d.request.get(builder.views.keys[plan.name]), _read_at(d, plan.name)) for d in judged]
        answers.rows[plan.name] = _rows(plan, _event_table(plan, logged, old), asked)
    mismatches: list[Mismatch] = []
    exact = 0
    for decision in judged:
        answers.at = {plan.name: _read_at(decision, plan.name) for plan in builder.plans}
        vector, _ = builder.build(decision.request, answers, parse_instant(decision.at))  # type: ignore[arg-type]
        for name, value in vector.items():
            was = decision.features.get(name)
            exact += _same(was, value, 0.0)
            if not _same(was, value, TOLERANCE):
                mismatches.append(Mismatch(decision.id, name, was, value))
    values = len(judged) * len(spec.features)
    return AuditReport(len(judged), values, exact, tuple(mismatches), len(decisions) - len(judged))


def _read_at(decision: DecisionRecord, view: str) -> dt.datetime:
    return next(parse_instant(reading.as_of) for reading in decision.views if reading.view == view)


def _same(left: InputValue, right: InputValue, tolerance: float) -> bool:
    if isinstance(left, float) and isinstance(right, float) and tolerance:
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    return left == right


def _event_table(plan: ViewPlan, logged: Iterable[EventRecord], history: pa.Table | None) -> pa.Table:
    """History and log as one table, with the instant of arrival of what was logged."""
    columns = plan.event_columns
    rows = [e for e in logged if e.table == plan.table and all(name in e.event for name in columns)]
    new: dict[str, pa.Array] = {}
    for name in columns:
        kind = plan.column_types[name]
        values = [e.event[name] for e in rows]
        if kind == "date":
            moments = [None if v is None else read_time(str(v), plan.zone, by_day=False) for v in values]
            new[name] = pa.array(moments, pa.int64()).cast(UTC)
        else:
            new[name] = pa.array(values, _ARROW[kind])
    new[ARRIVED] = pa.array([parse_instant(e.known_at) for e in rows], UTC)
    table = pa.table(new)
    if history is None:
        return table
    old = history.select(list(columns))
    old = old.cast(pa.schema([(name, table.schema.field(name).type) for name in columns]))
    return pa.concat_tables([old.append_column(ARRIVED, pa.nulls(old.num_rows, UTC)), table])


def _rows(
    plan: ViewPlan, events: pa.Table, asked: Sequence[tuple[Any, dt.datetime]]
) -> dict[tuple[str | None, dt.datetime], FeatureRow]:
    kind = events.schema.field(plan.entity).type
    requests = pa.table(
        {"entity": pa.array([entity for entity, _ in asked], kind), "time": pa.array([at for _, at in asked], UTC)}
    )
    built = build_view(plan, events, requests).columns.to_pylist()
    return {
        (entity_text(entity), at): FeatureRow(values, at, ()) for (entity, at), values in zip(asked, built, strict=True)
    }

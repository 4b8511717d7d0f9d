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
from countermark.features.union import union
from countermark.features.vector import InputValue, VectorBuilder
from countermark.features.views import ARRIVED, build_view
from countermark.records.clock import parse_instant
from countermark.records.decision import DecisionRecord, EventRecord

TOLERANCE = 1e-12
"""Relative difference allowed for a number with a fraction: sums of a tiled view are folded in another order."""

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


@dataclass(frozen=True, slots=True)
class Build:
    """One publication of a model's views.

    Attributes:
        as_of: Instant up to which the tables were read.
        at: Instant from which decisions were answered from it.
    """

    as_of: dt.datetime | None
    at: dt.datetime


_ALWAYS = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclass(slots=True)
class _Answers:
    """Rows that were computed before, by view and by (entity, instant); read as a store is read."""

    rows: dict[tuple[str, int], dict[tuple[str | None, dt.datetime], FeatureRow]] = field(default_factory=dict)
    at: dict[str, dt.datetime] = field(default_factory=dict)
    build: int = 0

    def read(self, plan: ViewPlan, entity: str | int | None, now: dt.datetime) -> FeatureRow:  # noqa: ARG002
        return self.rows[plan.name, self.build][entity_text(entity), self.at[plan.name]]


def recompute(
    spec: ModelSpec,
    decisions: Sequence[DecisionRecord],
    events: Iterable[EventRecord],
    *,
    history: Mapping[str, pa.Table] | None = None,
    built: dt.datetime | Sequence[Build] | None = None,
) -> AuditReport:
    """Make the vectors of past decisions again, from the events alone, by the code that makes data sets.

    Args:
        spec: The model as it decided.
        decisions: Decisions of this model.
        events: Events that were taken in, in their order; those that ``history`` has too count once.
        history: Contracted tables that the views were built from, by name.
        built: Instant up to which they were read, or every publication, oldest first; None: all rows were there.

    Raises:
        ConfigError: If the spec's views cannot be compiled.
    """
    builder = VectorBuilder(spec)
    versions = {plan.name: plan.version for plan in builder.plans}
    judged = [d for d in decisions if {view.view: view.version for view in d.views} == versions]
    logged = list(events)
    builds = built if isinstance(built, Sequence) else (Build(built, _ALWAYS),)
    served = [_in_force(builds, parse_instant(d.at)) for d in judged]
    answers = _Answers()
    for plan in builder.plans:
        came, table = _event_table(plan, logged), (history or {}).get(plan.table)
        for k in sorted(set(served)):
            whole = came if table is None else union(plan, table, came, builds[k].as_of)
            asked = [
                (d.request.get(builder.views.keys[plan.name]), _read_at(d, plan.name))
                for d, build in zip(judged, served, strict=True)
                if build == k
            ]
            answers.rows[plan.name, k] = _rows(plan, whole, asked)
    mismatches: list[Mismatch] = []
    exact = 0
    for decision, answers.build in zip(judged, served, strict=True):
        answers.at = {plan.name: _read_at(decision, plan.name) for plan in builder.plans}
        vector, _ = builder.build(decision.request, answers, parse_instant(decision.at))  # type: ignore[arg-type]
        for name, value in vector.items():
            was = decision.features.get(name)
            exact += _same(was, value, 0.0)
            if not _same(was, value, TOLERANCE):
                mismatches.append(Mismatch(decision.id, name, was, value))
    values = len(judged) * len(spec.features)
    return AuditReport(len(judged), values, exact, tuple(mismatches), len(decisions) - len(judged))


def _in_force(builds: Sequence[Build], at: dt.datetime) -> int:
    """Place of the publication that answered at an instant: the last one by then, or the first."""
    return max((k for k, build in enumerate(builds) if build.at <= at), default=0)


def _read_at(decision: DecisionRecord, view: str) -> dt.datetime:
    return next(parse_instant(reading.as_of) for reading in decision.views if reading.view == view)


def _same(left: InputValue, right: InputValue, tolerance: float) -> bool:
    if isinstance(left, float) and isinstance(right, float) and tolerance:
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    return left == right


def _event_table(plan: ViewPlan, logged: Iterable[EventRecord]) -> pa.Table:
    """The log as a table, with the instant of arrival."""
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
    return pa.table(new)


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

"""Feature views outside a build: from accepted tables into the online store, and back to see that both agree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from countermark.config.problems import nearest, one_of
from countermark.contracts.instants import UTC
from countermark.contracts.tables import read_table
from countermark.errors import FeatureStoreError
from countermark.features.audit import AuditReport, Build, recompute
from countermark.features.definitions import ViewPlan
from countermark.features.materialize import entity_states
from countermark.features.online import DEFAULT_URL, OnlineStore, open_store
from countermark.features.plans import model_views
from countermark.features.reading import FeatureRow, Generation
from countermark.features.views import build_view
from countermark.ledger import open_ledger
from countermark.portfolio.compile import read_spec
from countermark.portfolio.dag import OUT
from countermark.records.decision import DecisionRecord, EventRecord, decode

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DeclaredView:
    """A view that a model reads.

    Attributes:
        plan: The compiled view.
        model: The model, by whose contract its table was accepted.
        table: File of the accepted table.
    """

    plan: ViewPlan
    model: str
    table: Path


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison of the online store with the accepted table found.

    Attributes:
        view: Name of the view.
        as_of: Instant at which both were asked.
        entities: Entities that were compared.
        moved_on: Entities whose state answers for a later instant only.
        differing: Entities with a difference, by feature.
    """

    view: str
    as_of: dt.datetime
    entities: int
    moved_on: int
    differing: dict[str, int]


def store_url(root: Path, url: str | None) -> str:
    """The address of the online store; a relative SQLite path starts at the bank's root."""
    given = DEFAULT_URL if url is None else url
    path = given.removeprefix("sqlite:///")
    return f"sqlite:///{root / path}" if given.startswith("sqlite:///") else given


def declared_views(root: Path, names: Sequence[str] = ()) -> tuple[DeclaredView, ...]:
    """The views that compiled models read, each version once.

    Args:
        root: The bank's root.
        names: Names of views; empty: all.

    Raises:
        FeatureStoreError: If no compiled model reads a named view.
        StaleError: If a model is not compiled.
    """
    found: dict[str, DeclaredView] = {}
    for path in sorted((root / "models").glob("*/params.yaml")):
        model = path.parent.name
        spec, _ = read_spec(root, model)
        for plan in model_views(spec).plans.values():
            table = root / OUT.format(model=model) / "accepted" / f"{plan.table}.parquet"
            found.setdefault(plan.version, DeclaredView(plan, model, table))
    known = sorted({view.plan.name for view in found.values()})
    for name in names:
        if name not in known:
            raise FeatureStoreError(
                f"no compiled model reads a feature view '{name}'",
                expected=one_of(known),
                got=f"'{name}'",
                hint=nearest(name, known) or "run 'countermark compile'",
            )
    return tuple(view for view in found.values() if not names or view.plan.name in names)


def materialize(
    root: Path, names: Sequence[str], as_of: dt.datetime, url: str | None, progress: Progress
) -> tuple[Generation, ...]:
    """Build the states of views from their accepted tables and publish them.

    Raises:
        FeatureStoreError: If a table is not built yet, or the store cannot be used.
    """
    views = declared_views(root, names)
    for view in views:
        _require_table(view)
    store = open_store(store_url(root, url))
    made = []
    try:
        for view in views:
            generation = store.publish(view.plan, entity_states(view.plan, _events(view), as_of), as_of)
            made.append(generation)
            progress(f"{view.plan.name} {view.plan.version[:12]}: {generation.entities:,} entities")
    finally:
        store.close()
    return tuple(made)


def verify(root: Path, names: Sequence[str], url: str | None, sample: int, progress: Progress) -> tuple[Agreement, ...]:
    """Compare what the online store answers with the point-in-time join over the accepted table.

    Both are asked as of the instant up to which the store was built, for entities spread evenly over their order.

    Raises:
        FeatureStoreError: If a view was never published, or the store cannot be used.
    """
    store = open_store(store_url(root, url))
    found = []
    try:
        published = {generation.version: generation for generation in store.generations()}
        for view in declared_views(root, names):
            entities = store.entities(view.plan)
            chosen = entities[:: max(1, -(-len(entities) // sample))]
            agreement = _compared(view, store, chosen, published[view.plan.version].as_of)
            found.append(agreement)
            differ = ", ".join(f"{name} {n}" for name, n in agreement.differing.items())
            verdict = f"differ: {differ}" if differ else "all equal"
            later = f", {agreement.moved_on:,} have moved on" if agreement.moved_on else ""
            progress(f"{view.plan.name} {view.plan.version[:12]}: {agreement.entities:,} entities, {verdict}{later}")
    finally:
        store.close()
    return tuple(found)


def show(root: Path, name: str, entity: str, at: dt.datetime, url: str | None) -> Iterator[tuple[ViewPlan, FeatureRow]]:
    """Features of one entity as the store gives them, for every version of the view that a model reads.

    Raises:
        FeatureStoreError: If no model reads the view, or it was never published.
    """
    store = open_store(store_url(root, url))
    try:
        for view in declared_views(root, (name,)):
            yield view.plan, store.read(view.plan, entity, at)
    finally:
        store.close()


def audit(root: Path, model: str, ledger_url: str, built: Sequence[Build]) -> AuditReport:
    """Make the vectors of a model's logged decisions again from its accepted tables and the logged events.

    Args:
        root: The bank's root.
        model: The compiled model.
        ledger_url: Address of the ledger.
        built: Publications of the store from the tables, oldest first; empty: none was, the log has every event.

    Raises:
        StaleError: If the model is not compiled.
        FeatureStoreError: If a table is not built.
        LedgerError: If the ledger cannot be read.
    """
    spec, _ = read_spec(root, model)
    history = {}
    if built:
        for plan in model_views(spec).plans.values():
            view = DeclaredView(plan, model, root / OUT.format(model=model) / "accepted" / f"{plan.table}.parquet")
            history[plan.table] = _events(view)
    decisions, events = [], []
    with open_ledger(ledger_url) as ledger:
        for entry in ledger.read(kinds=("decision", "event")):
            if entry.kind == "event":
                events.append(decode(entry.payload, EventRecord))
            elif (record := decode(entry.payload, DecisionRecord)).model == model:
                decisions.append(record)
    return recompute(spec, decisions, events, history=history, built=built or None)


def _compared(view: DeclaredView, store: OnlineStore, entities: Sequence[str], as_of: dt.datetime) -> Agreement:
    plan, events = view.plan, _events(view)
    kind = events.schema.field(plan.entity).type
    requests = pa.table(
        {"entity": pa.array(entities, pa.string()).cast(kind), "time": pa.array([as_of] * len(entities), UTC)}
    )
    expected = build_view(plan, events, requests).columns.to_pylist()
    differing: dict[str, int] = {}
    moved_on = 0
    for entity, row in zip(entities, expected, strict=True):
        answer = store.read(plan, entity, as_of)
        if answer.as_of != as_of:
            moved_on += 1
            continue
        for name, value in row.items():
            if answer.values[name] != value:
                differing[name] = differing.get(name, 0) + 1
    return Agreement(plan.name, as_of, len(entities) - moved_on, moved_on, differing)


def _require_table(view: DeclaredView) -> None:
    if not view.table.is_file():
        raise FeatureStoreError(
            f"the events of feature view '{view.plan.name}' are not there",
            expected=f"table '{view.plan.table}' as accepted by model '{view.model}'",
            hint=f"run 'countermark build {view.model}'",
            file=view.table,
        )


def _events(view: DeclaredView) -> pa.Table:
    _require_table(view)
    return read_table(view.table)

"""An audit makes logged vectors again from the event log, and finds what was changed behind its back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from countermark.config.spec import ModelSpec
from countermark.features.audit import AuditReport, Build, Mismatch, recompute
from countermark.features.definitions import ViewPlan
from countermark.features.intake import EventIntake
from countermark.features.materialize import entity_states
from countermark.features.online import OnlineStore, open_store
from countermark.features.state import _inserted, empty_run, pack, unpack
from countermark.features.vector import VectorBuilder
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, Digests, EventRecord, ReleaseBinding, Route
from tests.features.specs import spec
from tests.features.test_vector import CHANGE, COLUMNS, MODEL

START = dt.datetime(2020, 3, 1, tzinfo=dt.UTC)


def decided(
    number: int, at: dt.datetime, request: dict[str, Any], store: OnlineStore, model: ModelSpec = MODEL
) -> DecisionRecord:
    """The record of a decision, as far as an audit reads it."""
    vector, views = VectorBuilder(model).build(request, store, at)
    return DecisionRecord(
        id=f"d{number}",
        at=iso(at),
        channel="http",
        model=model.name,
        entity=None,
        request=request,
        features=dict(vector),
        views=views,
        release=ReleaseBinding(model=model.name, version="1.0.0", position=1, tag_object="", bundle=""),
        digests=Digests(scorer="", decision_policy="", environment=""),
        margin="",
        p="",
        grade=None,
        decision="",
        reasons=(),
        route=Route(arm="champion"),
    )


def row(rng: np.random.Generator, number: int, at: dt.datetime) -> dict[str, Any]:
    return {
        "id": f"k{number}",
        "card": int(rng.integers(0, 3)),
        "at": at,
        "amount": float(rng.uniform(1, 900)),
        "count": int(rng.integers(0, 9)),
        "present": bool(rng.random() < 0.5),
        "size": "M",
        "code": 1,
        "word": str(rng.choice(["ab", "c"])),
        "born": dt.date(1980, 1, 1),
        "y": 0,
    }


Life = tuple[list[DecisionRecord], list[EventRecord], pa.Table]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Thirty rows of history, then sixty decisions with their events, some of which arrive late or twice."""
    rng = np.random.default_rng(11)
    moments = [START + dt.timedelta(hours=3 * k, seconds=int(rng.integers(0, 3600))) for k in range(90)]
    rows = [row(rng, k, at) for k, at in enumerate(moments)]
    history = pa.table({name: pa.array([r[name] for r in rows[:30]], kind) for name, kind in COLUMNS.items()})
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('audit')}/f.sqlite")
    builder, intake = VectorBuilder(MODEL), EventIntake(MODEL)
    as_of = moments[29] + dt.timedelta(seconds=1)
    for plan in builder.plans:
        store.publish(plan, entity_states(plan, history, as_of), as_of)
    decisions: list[DecisionRecord] = []
    log: list[EventRecord] = []
    waiting: list[tuple[dt.datetime, dict[str, Any]]] = []
    for k, one in enumerate(rows[30:]):
        for entry in sorted((w for w in waiting if w[0] <= one["at"]), key=lambda w: w[0]):
            waiting.remove(entry)
            intake.ingest("main", entry[1], store, entry[0])
            log.append(EventRecord(table="main", event=entry[1], known_at=iso(entry[0])))
        request = {name: one[name] for name in builder.fields if name != "born"} | {"born": "1980-01-01"}
        decisions.append(decided(k, one["at"], request, store))
        event = {name: one[name] for name in ("id", "card", "amount", "present", "word", "count")} | {
            "at": iso(one["at"])
        }
        late = dt.timedelta(hours=9 if k % 7 == 0 else 0, seconds=2)
        waiting.append((one["at"] + late, event))
        if k % 5 == 0:
            waiting.append((one["at"] + late + dt.timedelta(hours=1), event))
    yield decisions, log, history
    store.close()


def test_an_honest_log_gives_every_vector_to_the_last_bit(life: Life) -> None:
    decisions, log, history = life
    assert len(log) > 60
    report = recompute(MODEL, decisions, log, history={"main": history})
    assert report == AuditReport(60, 60 * len(MODEL.features), 60 * len(MODEL.features), ())


def test_an_event_that_was_left_out_is_found(life: Life) -> None:
    decisions, log, history = life
    cut = [one for one in log if one.event["id"] != "k40"]
    report = recompute(MODEL, decisions, cut, history={"main": history})
    assert report.compared == 60
    assert {m.input for m in report.mismatches} <= {
        "n",
        "spent",
        "ratio",
        "last_word",
        "was_present",
        "last_count",
        "rush",
        "kind",
    }
    assert 0 < len(report.mismatches) < 60


def test_an_event_whose_arrival_was_back_dated_is_found(life: Life) -> None:
    decisions, log, history = life
    early = [msgspec.structs.replace(e, known_at=iso(START)) if e.event["id"] == "k37" else e for e in log]
    assert recompute(MODEL, decisions, early, history={"main": history}).mismatches


def test_a_vector_that_was_changed_is_named(life: Life) -> None:
    decisions, log, history = life
    forged = msgspec.structs.replace(decisions[9], features=decisions[9].features | {"spent": 1.0})
    changed = [*decisions[:9], forged, *decisions[10:]]
    (found,) = recompute(MODEL, changed, log, history={"main": history}).mismatches
    assert isinstance(found, Mismatch)
    assert (found.decision, found.input, found.logged) == ("d9", "spent", 1.0)


def test_decisions_of_another_version_of_a_view_are_counted_and_left_out(life: Life) -> None:
    decisions, log, history = life
    other = msgspec.structs.replace(
        decisions[0], views=tuple(msgspec.structs.replace(v, version="0" * 64) for v in decisions[0].views)
    )
    report = recompute(MODEL, [other, *decisions[1:]], log, history={"main": history})
    assert (report.compared, report.other_views, report.mismatches) == (59, 1, ())


_VIEWS: dict[str, Any] = CHANGE["feature_views"]
_VELOCITY = {name: value for name, value in _VIEWS["velocity"].items() if name != "event_key"}
UNKEYED = spec(CHANGE | {"feature_views": _VIEWS | {"velocity": _VELOCITY}})


def unkeyed_life(
    path: str, *, listed: bool = True
) -> tuple[list[DecisionRecord], list[EventRecord], pa.Table, list[Build]]:
    """Events that reach the service up to 45 minutes late, and (listed) a table at once; it is built four times."""
    rng = np.random.default_rng(23)
    rows = [row(rng, k, START + dt.timedelta(minutes=30 * k, seconds=int(rng.integers(0, 60)))) for k in range(60)]
    there = rows if listed else []
    table = pa.table({name: pa.array([r[name] for r in there], kind) for name, kind in COLUMNS.items()})
    store = open_store(path)
    builder, intake = VectorBuilder(UNKEYED), EventIntake(UNKEYED)
    builds: list[Build] = []

    def publish(at: dt.datetime, as_of: dt.datetime) -> None:
        for plan in builder.plans:
            store.publish(plan, entity_states(plan, table, as_of), as_of)
        builds.append(Build(as_of, at))

    publish(START, START - dt.timedelta(hours=1))
    steps: list[tuple[dt.datetime, int, Any]] = []
    for k, one in enumerate(rows):
        steps.append((one["at"] + dt.timedelta(minutes=(0.2, 45)[k % 2]), 0, one))
        steps.append((one["at"], 2, one))
    steps += [(START + dt.timedelta(hours=hours), 1, None) for hours in (7, 14, 21)]
    decisions: list[DecisionRecord] = []
    log: list[EventRecord] = []
    for at, kind, one in sorted(steps, key=lambda step: step[:2]):
        if kind == 0:
            event = {n: one[n] for n in ("id", "card", "amount", "present", "word", "count")} | {"at": iso(one["at"])}
            intake.ingest("main", event, store, at)
            log.append(EventRecord(table="main", event=event, known_at=iso(at)))
        elif kind == 1:
            publish(at, at - dt.timedelta(minutes=50))
        else:
            request = {name: one[name] for name in builder.fields if name != "born"} | {"born": "1980-01-01"}
            decisions.append(decided(len(decisions), at, request, store, UNKEYED))
    store.close()
    return decisions, log, table, builds


def test_views_without_keys_that_were_rebuilt_while_events_came_agree(tmp_path: Path) -> None:
    decisions, log, table, builds = unkeyed_life(f"sqlite:///{tmp_path}/f.sqlite")
    values = len(decisions) * len(UNKEYED.features)
    report = recompute(UNKEYED, decisions, log, history={"main": table}, built=builds)
    assert report == AuditReport(60, values, values, ())
    # Without the instants of the publications, rows of the table seem to be known before it was built.
    assert recompute(UNKEYED, decisions, log, history={"main": table}).mismatches


def taken_by_time(base: bytes | None, old: bytes, plan: ViewPlan, *, as_of: int) -> bytes:
    """A planted fault: events are parted by the time at which they came, and not by what they are."""
    run, live = unpack(base, plan) if base is not None else empty_run(plan), unpack(old, plan)
    for place in np.flatnonzero(live.arrived > as_of).tolist():
        run = _inserted(run, live, place, plan)
    return pack(replace(run, taken=live.taken, mark=max(run.mark, live.mark)), plan)


def test_an_event_that_a_rebuild_counts_twice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countermark.features.sqlite_store.caught_up", taken_by_time)
    decisions, log, table, builds = unkeyed_life(f"sqlite:///{tmp_path}/f.sqlite")
    report = recompute(UNKEYED, decisions, log, history={"main": table}, built=builds)
    twice = [m for m in report.mismatches if m.input == "n"]
    assert twice
    assert all(m.logged > m.recomputed for m in twice)  # type: ignore[operator]


def test_an_event_that_a_rebuild_loses_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions, log, table, builds = unkeyed_life(f"sqlite:///{tmp_path}/sound.sqlite", listed=False)
    assert not recompute(UNKEYED, decisions, log, history={"main": table}, built=builds).mismatches
    monkeypatch.setattr("countermark.features.sqlite_store.caught_up", taken_by_time)
    decisions, log, table, builds = unkeyed_life(f"sqlite:///{tmp_path}/faulty.sqlite", listed=False)
    report = recompute(UNKEYED, decisions, log, history={"main": table}, built=builds)
    lost = [m for m in report.mismatches if m.input == "n"]
    assert lost
    assert all(m.logged < m.recomputed for m in lost)  # type: ignore[operator]

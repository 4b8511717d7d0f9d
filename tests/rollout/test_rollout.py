"""A release takes over, or is turned back: folds, guards, the controller, and what is live."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import LedgerError, RolloutError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from countermark.records.routing import BUCKETS, bucket_of, takes_candidate
from countermark.rollout import machine
from countermark.rollout.controller import WRITER, Controller, latest_table
from countermark.rollout.events import GuardReading, RolloutEvent
from countermark.rollout.live import rollouts
from tests.rollout.lives import START, Life, plan, record


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    made.close()


def test_a_good_release_goes_through_every_stage(life: Life) -> None:
    for _ in range(14):
        life.hour()
    assert [(e.type, e.stage, e.share) for e in life.happened] == [
        ("advanced", "canary 0.1", 0.1),
        ("advanced", "canary 0.5", 0.5),
        ("completed", "full", 1.0),
    ]
    assert latest_table(life.writer).models["m"].champion == "2.0.0"
    assert latest_table(life.writer).models["m"].candidate is None


def test_what_was_routed_can_be_looked_up_later(life: Life) -> None:
    for _ in range(14):
        life.hour()
    first = life.happened[0].at
    assert latest_table(life.writer, until=first).models["m"].share == 0.1
    assert latest_table(life.writer, until=iso(START)).models == {}


FAULTS: dict[str, Any] = {
    "errors": lambda r, g: msgspec.structs.replace(r, error="ScorerError: broken", p="") if g.random() < 0.05 else r,
    "latency": lambda r, g: msgspec.structs.replace(r, latency_us=90_000) if g.random() < 0.1 else r,
    "decision_rate": lambda r, g: msgspec.structs.replace(r, decision="decline") if g.random() < 0.2 else r,
    "score_psi": lambda r, g: msgspec.structs.replace(r, p=(r.probability**3).hex(), decision=r.decision),
}


@pytest.mark.parametrize("guard", FAULTS)
def test_a_planted_fault_turns_the_release_back(life: Life, guard: str) -> None:
    for _ in range(14):
        life.hour(fault=FAULTS[guard])
    assert life.happened[-1].type == "rolled_back"
    assert guard in life.happened[-1].reason
    route = latest_table(life.writer).models["m"]
    assert (route.champion, route.candidate, route.share, route.shadow) == ("1.0.0", None, 0.0, False)


def test_a_group_that_is_declined_more_turns_the_release_back(tmp_path: Path) -> None:
    groups = {f"d{k}": {"sex": "female" if k % 4 == 0 else "male"} for k in range(1, 2000)}
    life = Life(tmp_path, groups=groups)
    women = {name for name, of in groups.items() if of["sex"] == "female"}

    def fault(r: Any, g: Any) -> Any:
        return msgspec.structs.replace(r, decision="decline") if r.entity in women and g.random() < 0.35 else r

    for _ in range(14):
        life.hour(fault=fault)
    assert life.happened[-1].type == "rolled_back"
    assert "sex=female" in life.happened[-1].reason or "decision_rate" in life.happened[-1].reason
    readings = {reading.guard: reading for reading in life.happened[-1].readings}
    assert readings["group_approval sex=female"].log_e > readings["group_approval sex=male"].log_e  # type: ignore[operator]
    life.close()


def test_without_enough_pairs_a_rollout_ends_inconclusive(life: Life) -> None:
    for _ in range(49):
        life.hour(pairs=1)
    assert [e.type for e in life.happened] == ["inconclusive"]
    assert "of 100 pairs" in life.happened[-1].reason
    assert latest_table(life.writer).models["m"].champion == "1.0.0"


def test_a_release_that_is_retired_is_turned_back_at_once(life: Life) -> None:
    life.hour()
    del life.facts["m"]["2.0.0"]
    (event,) = life.hour(pairs=0)
    assert event.type == "rolled_back"
    assert "no longer authorised" in event.reason


def test_one_controller_leads_and_the_next_goes_on_where_it_stopped(life: Life, tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        Controller(open_ledger(tmp_path, writer=WRITER), lambda: life.facts, life.clock)
    for _ in range(4):
        life.hour()
    seen = life.controller.states["m-1"].stage
    life.leader.close()
    life.leader = open_ledger(tmp_path, writer=WRITER)
    life.controller = Controller(life.leader, lambda: life.facts, life.clock)
    life.controller.tick()
    assert life.controller.states["m-1"].stage == seen
    for _ in range(12):
        life.hour()
    assert life.happened[-1].type == "completed"


def test_a_stop_by_hand_and_its_reconciliation(life: Life) -> None:
    life.hour()
    state = rollouts(life.writer)["m-1"]
    life.append(machine.stop(state, now=life.clock.now(), by="eli", reason="incident"))
    life.hour()
    assert rollouts(life.writer)["m-1"].ended == "stopped"
    assert latest_table(life.writer).models["m"].champion == "1.0.0"
    done = machine.reconcile(rollouts(life.writer)["m-1"], now=life.clock.now(), by="rik", reason="seen")
    life.append(done)
    assert rollouts(life.writer)["m-1"].reconciled
    with pytest.raises(RolloutError, match="not to be reconciled"):
        machine.reconcile(rollouts(life.writer)["m-1"], now=life.clock.now(), by="rik", reason="again")
    with pytest.raises(RolloutError, match="has ended"):
        machine.stop(rollouts(life.writer)["m-1"], now=life.clock.now(), by="eli", reason="again")


def _event(kind: Any, **changes: Any) -> RolloutEvent:
    event = machine.begin("m-1", "m", "1.0.0", "2.0.0", plan(), now=START, by="eli")
    return msgspec.structs.replace(event, type=kind, **({"plan": None} if kind != "started" else {}) | changes)


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([_event("advanced")], "begins with 'started'"),
        ([_event("started"), _event("started")], "has ended, or was started twice"),
        ([_event("started"), _event("completed"), _event("advanced")], "has ended"),
        ([_event("started"), _event("reconciled")], "only an ended rollout"),
        ([_event("started"), _event("advanced", candidate="3.0.0")], "stay the same"),
    ],
)
def test_a_fold_refuses_what_cannot_have_happened(events: list[RolloutEvent], rule: str) -> None:
    with pytest.raises(RolloutError) as told:
        machine.fold(events)
    assert rule in str(told.value)


def test_nothing_advances_on_thin_evidence() -> None:
    state = machine.fold([_event("started")])["m-1"]
    thin = GuardReading(guard="errors", verdict="thin", n=3, value=0.0, limit=0.1, log_e=0.0)
    later = START + timedelta(hours=3)
    assert machine.step(state, [thin], 1000, later) is None
    good = msgspec.structs.replace(thin, verdict="pass")
    assert machine.step(state, [good], 99, later) is None
    assert machine.step(state, [good], 100, START + timedelta(hours=1)) is None
    event = machine.step(state, [good], 100, later)
    assert event is not None
    assert event.stage == "canary 0.1"


def test_a_parallel_run_has_no_canary() -> None:
    document = plan().model_dump(mode="json") | {"kind": "parallel_run", "step": None}
    state = machine.fold([_event("started", plan=document)])["m-1"]
    event = machine.step(state, [], 100, START + timedelta(hours=3))
    assert event is not None
    assert (event.type, event.share) == ("completed", 1.0)


@given(st.text(min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_every_entity_of_a_smaller_one(entity: str, a: float, b: float) -> None:
    bucket = bucket_of("m-1", entity)
    assert 0 <= bucket < BUCKETS
    if takes_candidate(bucket, min(a, b)):
        assert takes_candidate(bucket, max(a, b))
    assert takes_candidate(bucket, 1.0)
    assert not takes_candidate(bucket, 0.0)


def test_buckets_are_even_and_differ_between_rollouts() -> None:
    share = sum(takes_candidate(bucket_of("m-1", f"e{k}"), 0.25) for k in range(20_000)) / 20_000
    assert abs(share - 0.25) < 0.015
    both = sum(
        takes_candidate(bucket_of("m-1", f"e{k}"), 0.5) and takes_candidate(bucket_of("m-2", f"e{k}"), 0.5)
        for k in range(20_000)
    )
    assert abs(both / 20_000 - 0.25) < 0.015


def test_only_pairs_of_the_rollout_count(life: Life) -> None:
    at = iso(life.clock.now())
    lone = record("x", "1.0.0", "champion", 0.5, at)
    other = msgspec.structs.replace(lone, id="y", route=msgspec.structs.replace(lone.route, rollout="m-9"))
    life.writer.append_many([("decision", r.id, msgspec.json.encode(r, order="sorted"), at) for r in (lone, other)])
    life.controller.tick()
    assert life.controller.readings("m-1")[0].pairs == 0

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
from countermark.records.decision import ReleaseBinding, encode
from countermark.records.routing import BUCKETS, bucket_of, takes_candidate
from countermark.rollout import machine, pairing
from countermark.rollout.controller import WRITER, Controller, latest_table
from countermark.rollout.events import GuardReading, RolloutEvent
from countermark.rollout.evidence import count
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
    assert latest_table(life.writer, until=iso(START)).models["m"].share == 0.0
    assert latest_table(life.writer, until=iso(START - timedelta(seconds=1))).models == {}


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


def test_a_release_that_was_turned_back_never_stands_in_for_its_champion(life: Life) -> None:
    life.hour()
    state = rollouts(life.writer)["m-1"]
    life.append(machine.stop(state, now=life.clock.now(), by="", reason="incident"), "eli")
    life.hour()
    del life.facts["m"]["1.0.0"]
    life.hour(pairs=0)
    route = latest_table(life.writer).models["m"]
    assert (route.champion, route.fallbacks, route.candidate) == (None, ("1.0.0",), None)
    del life.facts["m"]
    life.hour(pairs=0)
    assert latest_table(life.writer).models["m"].champion is None, "what is authorised again has earned nothing"


def test_a_release_whose_champion_is_gone_does_not_take_over_untested(life: Life) -> None:
    life.hour()
    del life.facts["m"]["1.0.0"]
    (event,) = life.hour(pairs=0)
    assert event.type == "inconclusive"
    assert "version 1.0.0, which it was compared with, is no longer authorised" in event.reason
    assert latest_table(life.writer).models["m"].champion is None


def test_the_champion_before_stands_in_for_one_that_is_gone(life: Life) -> None:
    for _ in range(14):
        life.hour()
    del life.facts["m"]["2.0.0"]
    life.hour(pairs=0)
    route = latest_table(life.writer).models["m"]
    assert (route.champion, route.fallbacks) == ("1.0.0", ("2.0.0",))


def test_one_controller_leads_and_the_next_goes_on_where_it_stopped(life: Life, tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        Controller(open_ledger(tmp_path, writer=WRITER), lambda: life.facts, lambda: life.trusted, life.clock)
    for _ in range(4):
        life.hour()
    seen = life.controller.states["m-1"].stage
    life.leader.close()
    life.leader = open_ledger(tmp_path, writer=WRITER)
    life.lead()
    life.controller.tick()
    assert life.controller.states["m-1"].stage == seen
    for _ in range(12):
        life.hour()
    assert life.happened[-1].type == "completed"


def test_a_stop_by_hand_and_its_reconciliation(life: Life) -> None:
    life.hour()
    state = rollouts(life.writer)["m-1"]
    life.append(machine.stop(state, now=life.clock.now(), by="", reason="incident"), "eli")
    life.hour()
    assert rollouts(life.writer)["m-1"].ended == "stopped"
    assert latest_table(life.writer).models["m"].champion == "1.0.0"
    done = machine.reconcile(rollouts(life.writer)["m-1"], now=life.clock.now(), by="rik", reason="seen")
    assert life.append(done, "rik").by == "rik"
    assert not rollouts(life.writer)["m-1"].reconciled, "an order is a request"
    life.controller.tick()
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
        ([_event("started"), _event("started", rollout="m-2")], "one rollout of a model at a time"),
    ],
)
def test_a_fold_refuses_what_cannot_have_happened(events: list[RolloutEvent], rule: str) -> None:
    with pytest.raises(RolloutError) as told:
        machine.fold(events)
    assert rule in str(told.value)


def test_nothing_advances_on_thin_evidence() -> None:
    state = machine.fold([_event("started")])["m-1"]
    unseen = GuardReading(guard="group_approval", verdict="not evaluated", n=0, value=None, limit=0.1, reason="none")
    small = msgspec.structs.replace(unseen, verdict="left out", guard="group_approval a=b", reason="fewer than 20")
    thin = GuardReading(guard="errors", verdict="thin", n=3, value=0.0, limit=0.1, log_e=0.0)
    later = START + timedelta(hours=3)
    assert machine.step(state, [thin], 1000, later) is None
    good = msgspec.structs.replace(thin, verdict="pass")
    assert machine.step(state, [good, unseen], 1000, later) is None
    ended = machine.step(state, [good, unseen, thin], 1000, START + timedelta(hours=48))
    assert ended is not None
    assert ended.type == "inconclusive"
    assert ended.reason == (
        "stage 'shadow' had 1000 of 100 pairs; too thin: errors; not evaluated: group_approval (none) after 48 hours"
    )
    passed = machine.step(state, [good, small], 1000, later)
    assert passed is not None
    assert passed.reason == "1000 pairs in stage 'shadow'; left out: group_approval a=b (fewer than 20)"
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


def appended(life: Life, one: Any, *shadows: Any) -> None:
    at = iso(life.clock.now())
    life.writer.append_many(
        [("decision", one.id, encode(one), at), *(("shadow", s.id, encode(s), at) for s in shadows)]
    )


def test_cases_that_the_candidate_never_scored_turn_it_back(life: Life) -> None:
    """A shadow that comes for a fifth of the cases only, all of them good."""
    for _ in range(4):
        life.clock.set(life.clock.now() + timedelta(hours=1))
        at = iso(life.clock.now())
        for k in range(60):
            life.count += 1
            one, other = (
                record(f"d{life.count}", v, a, 0.5, at) for v, a in (("1.0.0", "champion"), ("2.0.0", "candidate"))
            )
            appended(life, one, *([other] if k % 5 == 0 else []))
        life.happened += life.controller.tick()
    ended = life.happened[-1]
    assert ended.type == "rolled_back"
    assert ended.reason.startswith("errors 0.6667 beyond 0.002 on 72 pairs (48 without a score of the other release)")
    assert len(life.controller._pairing) == 0, "nothing is kept of a rollout that has ended"


def test_a_case_waits_for_its_pair_as_long_as_the_plan_says_and_counts_once(life: Life) -> None:
    at = iso(life.clock.now())
    late, lone = (record(name, "2.0.0", "candidate", 0.5, at) for name in ("late", "lone"))
    appended(life, record("late", "1.0.0", "champion", 0.5, at))
    life.writer.append("shadow", "lone", encode(lone), at)
    life.controller.tick()
    assert (len(life.controller._pairing), life.controller.readings("m-1")[0].pairs) == (2, 0)
    life.clock.set(life.clock.now() + timedelta(seconds=59.9))
    life.controller.tick()
    assert life.controller.readings("m-1")[0].pairs == 0
    life.clock.set(life.clock.now() + timedelta(seconds=0.1))
    life.controller.tick()
    evidence, readings = life.controller.readings("m-1")
    assert (evidence.pairs, evidence.failures, evidence.missing, evidence.stage_pairs) == (1, 1, 1, 0)
    assert readings[0].reason == "1 without a score of the other release"
    assert (readings[1].guard, readings[1].n) == ("latency", 0), "what never came was neither fast nor slow"
    for copy in range(2):
        life.writer.append("shadow", "late", encode(late), at)
        life.controller.tick()
        assert life.controller.readings("m-1")[0].pairs == 1, copy
    life.clock.set(life.clock.now() + timedelta(seconds=61))
    life.controller.tick()
    assert (life.controller.readings("m-1")[0].pairs, len(life.controller._pairing)) == (1, 0)


def test_what_waits_is_bounded(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "MOST_WAITING", 50)
    at = iso(life.clock.now())
    ones = [record(f"d{k}", "1.0.0", "champion", 0.5, at) for k in range(80)]
    life.writer.append_many([("decision", one.id, encode(one), at) for one in ones])
    life.controller.tick()
    assert len(life.controller._pairing) <= 50
    assert life.controller.readings("m-1")[0].missing == 30


def test_a_controller_that_takes_over_counts_every_case_once(life: Life) -> None:
    for _ in range(5):
        life.hour(60)
    before, _ = life.controller.readings("m-1")
    assert life.controller.states["m-1"].stage == "canary 0.5"
    assert (before.pairs, before.stage_pairs, before.psi_looks) == (300, 60, 2)
    life.leader.close()
    life.leader = open_ledger(life.folder, writer=WRITER)
    life.lead()
    life.controller.tick()
    after, _ = life.controller.readings("m-1")
    assert after == before


@pytest.mark.parametrize(
    "bad",
    [
        {"p": ""}, {"p": "nan"}, {"p": "inf"}, {"p": "x"},
        {"release": ReleaseBinding(model="m", version="9", position=1, tag_object="", bundle="")},
    ],
    ids=["no score", "nan", "inf", "text", "another release"],
)  # fmt: skip
def test_a_candidates_record_that_cannot_be_counted_is_its_error(life: Life, bad: dict[str, Any]) -> None:
    at = iso(life.clock.now())
    one, other = record("d1", "1.0.0", "champion", 0.5, at), record("d1", "2.0.0", "candidate", 0.5, at)
    other = msgspec.structs.replace(other, **bad)
    appended(life, one, other)
    appended(life, msgspec.structs.replace(one, id="d2", **bad), record("d2", "2.0.0", "candidate", 0.5, at))
    life.controller.tick()
    evidence, _ = life.controller.readings("m-1")
    assert (evidence.pairs, evidence.failures, evidence.moves.n) == (2, 1, 0), "a champion's is as good as none"


def test_a_record_that_nobody_can_read_is_named_and_its_case_is_an_error(life: Life) -> None:
    at = iso(life.clock.now())
    appended(life, record("d1", "1.0.0", "champion", 0.5, at))
    life.writer.append("shadow", "d1", b'{"format":"of a newer worker"}', at)
    life.writer.append("shadow", "d1", b"[" * 5000, at)
    life.controller.tick()
    assert life.controller.noticed == tuple(f"entry {k} of chain 'chain-000' is no record of a shadow" for k in (2, 3))
    life.clock.set(life.clock.now() + timedelta(seconds=60))
    life.controller.tick()
    assert life.controller.readings("m-1")[0].missing == 1


class Torn(dict):  # type: ignore[type-arg]
    """Facts of a release that fail of an error nobody thought of."""

    def __getitem__(self, _: object) -> Any:
        raise AttributeError("a bug")


@pytest.mark.parametrize("where", ["facts", "counting"])
def test_a_fault_in_one_models_evidence_ends_its_rollout_and_touches_no_other(
    life: Life, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.facts["n"] = dict(life.facts["m"])
    life.append(machine.begin("n-1", "n", "1.0.0", "2.0.0", life.plan, now=START, by=""), "eli")
    life.hour()
    assert [state.id for state in life.controller.states.values() if state.running] == ["m-1", "n-1"]
    if where == "facts":
        life.facts["n"] = Torn(life.facts["n"])
    else:

        def torn(evidence: Any, champion: Any, *rest: Any) -> None:
            if champion.model == "n":
                raise AttributeError("a bug")
            count(evidence, champion, *rest)

        monkeypatch.setattr(pairing, "count", torn)
        at = iso(life.clock.now())
        arms = [record("n1", v, a, 0.5, at, model="n") for v, a in (("1.0.0", "champion"), ("2.0.0", "candidate"))]
        appended(
            life, *(msgspec.structs.replace(r, route=msgspec.structs.replace(r.route, rollout="n-1")) for r in arms)
        )
    for _ in range(14):
        life.hour()
    ended = {event.rollout: event for event in life.happened if event.type in ("rolled_back", "completed")}
    assert (ended["n-1"].type, ended["n-1"].reason) == ("rolled_back", "its evidence cannot be judged: AttributeError")
    assert ended["m-1"].type == "completed"
    routes = latest_table(life.writer).models
    assert (routes["n"].champion, routes["n"].candidate, routes["n"].share) == ("1.0.0", None, 0.0)
    assert routes["m"].champion == "2.0.0"


def test_only_pairs_of_the_rollout_count(life: Life) -> None:
    at = iso(life.clock.now())
    lone = record("x", "1.0.0", "champion", 0.5, at)
    other = msgspec.structs.replace(lone, id="y", route=msgspec.structs.replace(lone.route, rollout="m-9"))
    life.writer.append_many([("decision", r.id, msgspec.json.encode(r, order="sorted"), at) for r in (lone, other)])
    life.controller.tick()
    assert life.controller.readings("m-1")[0].pairs == 0

"""Whatever people, clocks and others who can write to the ledger do: the controller goes on, and is no other after it."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.ledger.opening import open_ledger
from countermark.records.clock import iso
from countermark.records.decision import encode
from countermark.registry.sshsig import ROLLOUT_NAMESPACE
from countermark.rollout.events import WRITER, Order, RolloutEvent, SignedOrder, event_bytes
from countermark.rollout.live import rollouts, standing, strays
from countermark.rollout.machine import RolloutState
from tests.registry.people import key
from tests.rollout.lives import Life, plan, record

QUICK = plan(
    shadow={"min_pairs": 3, "max_hours": 2},
    step={"min_pairs": 3, "max_hours": 2},
    guards={"errors": {"limit": 0.2, "min_pairs": 2}},
)
KINDS = ("started", "stopped", "reconciled", "challenger_named", "challenger_dismissed", "rolled_back", "completed")

orders = st.fixed_dictionaries(
    {
        "what": st.just("order"),
        "type": st.sampled_from(KINDS),
        "rollout": st.sampled_from(["m-1", "m-2", "m-3"]),
        "candidate": st.sampled_from(["1.0.0", "2.0.0", "3.0.0"]),
        "skew": st.sampled_from([-200_000, -4000, -3, 0, 0, 0, 20, 250, 400, 90_000]),
        "who": st.sampled_from(["eli", "eli", "eli", "rik", "dana", "mallory"]),
        "chain": st.sampled_from([0, 1]),
        "position": st.sampled_from([0, 0, 0, 1, -1]),
    }
)
others = st.one_of(
    st.fixed_dictionaries({"what": st.just("copy"), "entry": st.integers(0, 30), "chain": st.sampled_from([0, 1])}),
    st.fixed_dictionaries(
        {
            "what": st.just("garbage"),
            "kind": st.sampled_from(["rollout", "decision", "shadow", "routing"]),
            "payload": st.one_of(st.binary(max_size=20), st.sampled_from([b"[" * 3000, b"{}", b"null"])),
            "chain": st.sampled_from([0, 1]),
        }
    ),
    st.fixed_dictionaries(
        {"what": st.just("cases"), "n": st.integers(1, 6), "how": st.sampled_from(["good", "good", "bad", "missing"])}
    ),
    st.fixed_dictionaries({"what": st.just("time"), "seconds": st.sampled_from([0.2, 61.0, 4000.0])}),
    st.just({"what": "tick"}),
    st.just({"what": "tick"}),
    st.just({"what": "successor"}),
)


class Crowd:
    """A controller, two chains that anybody writes to, and what must hold of them."""

    def __init__(self, folder: Path) -> None:
        self.life = Life(folder, plan=QUICK)
        self.chains = [self.life.writer, open_ledger(folder)]
        self.life.facts["m"]["3.0.0"] = self.life.facts["m"]["2.0.0"]
        self.over: set[str] = set()
        self.count = 0

    def do(self, act: dict[str, Any]) -> None:
        getattr(self, act["what"])(act)

    def order(self, act: dict[str, Any]) -> None:
        life, state = self.life, self.life.trusted
        given_at = life.clock.now() + timedelta(seconds=act["skew"])
        event = RolloutEvent(
            rollout=act["rollout"],
            model="m",
            type=act["type"],
            at=iso(given_at),
            by=act["who"],
            stage="shadow",
            share=1.0,
            champion="1.0.0",
            candidate=act["candidate"],
            plan=QUICK.model_dump(mode="json") if act["type"] == "started" else None,
        )
        body = encode(Order(event=event, position=state.position + act["position"], head=state.head))
        signed = SignedOrder(body=body.decode(), signature=key(act["who"]).sign(body, ROLLOUT_NAMESPACE).decode())
        payload = event_bytes(event) if act["position"] < 0 else encode(signed)
        self.chains[act["chain"]].append("rollout", event.rollout, payload, event.at)

    def copy(self, act: dict[str, Any]) -> None:
        known = list(self.life.writer.read(["rollout"]))
        entry = known[act["entry"] % len(known)]
        self.chains[act["chain"]].append("rollout", entry.key, entry.payload, entry.at)

    def garbage(self, act: dict[str, Any]) -> None:
        self.count += 1
        at = iso(self.life.clock.now())
        self.chains[act["chain"]].append(act["kind"], f"g{self.count}", act["payload"], at)

    def cases(self, act: dict[str, Any]) -> None:
        at = iso(self.life.clock.now())
        route = self.life.controller.table.models["m"]
        for _ in range(act["n"]):
            self.count += 1
            one = record(f"d{self.count}", "1.0.0", "champion", 0.5, at)
            one = msgspec.structs.replace(
                one, route=msgspec.structs.replace(one.route, rollout=route.rollout, stage=route.stage)
            )
            other = msgspec.structs.replace(
                record(one.id, str(route.candidate), "candidate", 0.5, at),
                route=msgspec.structs.replace(one.route, arm="candidate"),
                **({"error": "broken", "p": ""} if act["how"] == "bad" else {}),
            )
            self.life.writer.append("decision", one.id, encode(one), at)
            if act["how"] != "missing":
                self.chains[1].append("shadow", one.id, encode(other), at)

    def time(self, act: dict[str, Any]) -> None:
        self.life.clock.set(self.life.clock.now() + timedelta(seconds=act["seconds"]))

    def tick(self, _: dict[str, Any]) -> None:
        done = (*self.life.controller.tick(), *self.life.controller.taken)
        self.over |= {e.rollout for e in done if e.type in ("stopped", "rolled_back", "inconclusive", "completed")}
        route = self.life.controller.table.models["m"]
        running = [state for state in self.life.controller.states.values() if state.running]
        assert not self.over & {state.id for state in running}, "what has ended never runs again"
        assert len(running) <= 1
        if running:
            assert (route.rollout, route.candidate, route.share) == (
                running[0].id,
                running[0].candidate,
                running[0].share,
            )
        else:
            assert (route.rollout, route.candidate, route.share) == (None, None, 0.0)

    def successor(self, _: dict[str, Any]) -> None:
        """After a look of the former controller, the next one finds nothing to do and stands where it stood."""
        self.tick({})
        life = self.life
        states, table, story = seen(life), life.controller.table, life.controller._story
        evidence = {id: life.controller._pairing.evidence(id).pairs for id, state in states.items() if state.running}
        missing = {id: life.controller._pairing.evidence(id).missing for id in evidence}
        waiting = len(life.controller._pairing)
        life.leader.close()
        life.leader = open_ledger(life.folder, writer=WRITER)
        life.lead()
        assert life.controller.tick() == ()
        assert life.controller.taken == ()
        assert seen(life) == states == rollouts(life.writer)
        assert life.controller.table == table
        after = life.controller._story
        assert (after.challengers, after.outcomes, after.refused) == (story.challengers, story.outcomes, story.refused)
        for id, pairs in evidence.items():
            # What the former gave up waits again, and is counted no more than once.
            assert life.controller._pairing.evidence(id).pairs == pairs - missing[id]
        assert len(life.controller._pairing) >= waiting


def seen(life: Life) -> dict[str, RolloutState]:
    return dict(life.controller.states)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(orders, others), max_size=30))
def test_no_interleaving_stops_the_controller_or_leaves_an_ended_candidate_live(acts: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        crowd = Crowd(Path(folder))
        for act in acts:
            crowd.do(act)
        crowd.successor({})
        assert len(standing(crowd.life.writer, crowd.life.trusted)) == len(crowd.life.trusted.models)
        strays(crowd.life.writer, crowd.life.trusted)
        crowd.chains[1].close()
        crowd.life.close()

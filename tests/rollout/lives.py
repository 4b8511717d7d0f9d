"""A ledger, a controller and pairs of decisions, for rollouts in simulated time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from countermark.config.rollout import RolloutPlan
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import DecisionRecord, Digests, ReleaseBinding, Route, encode
from countermark.records.profile import NumericProfile
from countermark.rollout.controller import WRITER, Controller, ReleaseFacts
from countermark.rollout.events import RolloutEvent
from countermark.rollout.machine import begin
from countermark.rollout.orders import give_order
from tests.registry.people import Log, key

START = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = {f"d{k}": {"sex": "female" if k % 4 == 0 else "male"} for k in range(1, 4000)}
PROFILE = NumericProfile(edges=tuple(k / 10 for k in range(1, 10)), counts=(1000,) * 10, missing=0)


def plan(**changes: Any) -> RolloutPlan:
    """A quick plan: 100 pairs a stage, every guard on."""
    document = {
        "name": "quick",
        "version": "1.0.0",
        "source_note": "test",
        "shadow": {"min_pairs": 100, "min_hours": 2, "max_hours": 48},
        "steps": [0.1, 0.5],
        "step": {"min_pairs": 100, "min_hours": 2, "max_hours": 48},
        "guards": {
            "errors": {"limit": 0.002, "min_pairs": 50},
            "latency": {"limit_ms": 20, "share": 0.01, "min_pairs": 50},
            "decision_rate": {"limit": 0.03, "min_pairs": 50},
            "group_approval": {"limit": 0.05, "min_pairs": 20},
            "score_psi": {"limit": 0.1, "min_pairs": 100},
        },
    }
    return RolloutPlan.model_validate(document | changes)


def record(identity: str, version: str, arm: Any, p: float, at: str, **changes: Any) -> DecisionRecord:
    """A decision of one arm of rollout ``m-1``; unfavourable above 0.7."""
    made = DecisionRecord(
        id=identity,
        at=at,
        channel="simulation",
        model="m",
        entity=identity,
        request={},
        features={},
        views=(),
        release=ReleaseBinding(model="m", version=version, position=1, tag_object="", bundle=""),
        digests=Digests(scorer="", decision_policy="", environment=""),
        margin="0x0p+0",
        p=p.hex(),
        grade=None,
        decision="decline" if p > 0.7 else "approve",
        reasons=(),
        route=Route(arm=arm, rollout="m-1", stage="shadow"),
        latency_us=500,
    )
    return msgspec.structs.replace(made, **changes)


@dataclass
class Life:
    """A rollout from 1.0.0 to 2.0.0 of model ``m`` in a folder."""

    folder: Path
    plan: RolloutPlan = field(default_factory=plan)
    groups: dict[str, dict[str, str]] | None = field(default_factory=lambda: GROUPS)
    champion: str | None = "1.0.0"

    def __post_init__(self) -> None:
        self.clock = SimulatedClock(START)
        self.writer = open_ledger(self.folder)
        self.leader = open_ledger(self.folder, writer=WRITER)
        self.facts = {"m": {v: ReleaseFacts(v, "decline", PROFILE) for v in ("1.0.0", "2.0.0")}}
        self.trusted = Log(start=START - timedelta(days=1)).fold(START)
        self.lead()
        event = begin("m-1", "m", self.champion, "2.0.0", self.plan, now=START, by="eli")
        self.append(event, "eli")
        self.controller.tick()
        self.random = random.Random(7)
        self.count = 0
        self.happened: list[RolloutEvent] = []

    def lead(self) -> None:
        """A controller on this folder's chain."""
        self.controller = Controller(
            self.leader, lambda: self.facts, lambda: self.trusted, self.clock, groups=self.groups
        )

    def append(self, event: RolloutEvent, by: str) -> RolloutEvent:
        """An order, signed by somebody; the controller takes it up with its next look."""
        return give_order(self.writer, self.trusted, event, key(by))

    def route(self, arm: Any = "champion") -> Route:
        """How a worker that has the newest table marks a decision."""
        table = self.controller.table.models.get("m")
        stage = "shadow" if table is None or table.stage is None else table.stage
        return Route(arm=arm, rollout="m-1", stage=stage)

    def hour(self, pairs: int = 40, *, fault: Any = None) -> tuple[RolloutEvent, ...]:
        """One more hour with so many pairs; ``fault`` changes the candidate's record."""
        self.clock.set(self.clock.now() + timedelta(hours=1))
        at, items = iso(self.clock.now()), []
        for _ in range(pairs):
            self.count += 1
            p = self.random.random()
            one = msgspec.structs.replace(record(f"d{self.count}", "1.0.0", "champion", p, at), route=self.route())
            other = record(
                f"d{self.count}", "2.0.0", "candidate", min(1.0, max(0.0, p + self.random.gauss(0, 0.01))), at
            )
            other = msgspec.structs.replace(other, route=self.route("candidate"))
            if fault is not None:
                other = fault(other, self.random)
            items += [("decision", one.id, encode(one), at), ("shadow", other.id, encode(other), at)]
        self.writer.append_many(items)
        done = self.controller.tick()
        self.happened += done
        return done

    def close(self) -> None:
        self.leader.close()
        self.writer.close()

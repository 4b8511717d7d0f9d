"""The controller: reads the ledger, folds it, and writes what happens next and who answers from now on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from countermark.errors import RolloutError
from countermark.ledger.entry import Entry, Item
from countermark.ledger.ledger import Ledger
from countermark.records.clock import Clock, iso, parse_instant
from countermark.records.decision import DecisionRecord, decode, encode
from countermark.records.groups import Groups
from countermark.records.profile import NumericProfile
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.rollout.events import GuardReading, RolloutEvent, event_bytes, event_of
from countermark.rollout.evidence import RolloutEvidence, Yardstick, count
from countermark.rollout.guards import read_guards
from countermark.rollout.machine import FULL, RolloutState, challengers, fold, step

WRITER = "rollout"
"""The chain of the controller. It has one writer at a time: whoever holds it leads."""


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What the controller needs to know of a release that may be served.

    Attributes:
        version: Its version.
        unfavourable: Its policy's word for a decision against the customer; None without a policy.
        score: Score histogram of its reference profile.
    """

    version: str
    unfavourable: str | None
    score: NumericProfile


Authorised = Callable[[], Mapping[str, Mapping[str, ReleaseFacts]]]
"""Releases that may be served, by model and version, oldest authorisation first."""


class Controller:
    """Leads every rollout of a ledger.

    Args:
        ledger: The ledger, opened with ``writer=WRITER``.
        authorised: Releases that may be served; a rollback chooses among these only.
        clock: Where time comes from.
        groups: Protected groups by entity, for the guard of group approval; None where they are not at hand.

    Raises:
        LedgerError: If another controller leads.
    """

    def __init__(self, ledger: Ledger, authorised: Authorised, clock: Clock, *, groups: Groups | None = None) -> None:
        ledger.acquire()
        self._ledger = ledger
        self._authorised = authorised
        self._clock = clock
        self._groups = groups
        self._cursor: dict[str, int] = {}
        self._pairs: dict[str, int] = {}
        self._events: list[RolloutEvent] = []
        self._evidence: dict[str, RolloutEvidence] = {}
        self._waiting: dict[tuple[str, str], dict[str, DecisionRecord]] = {}
        self.states: dict[str, RolloutState] = {}
        self.table = latest_table(ledger)

    def tick(self) -> tuple[RolloutEvent, ...]:
        """Read what is new, and do what follows from it.

        Returns:
            What the controller did, oldest first; each is durable, and so is the routing table that goes with it.

        Raises:
            LedgerError: If the ledger cannot be read or written.
            RolloutError: If the ledger holds what no controller and no person could have written.
        """
        self._read()
        done: list[RolloutEvent] = []
        for state in list(self.states.values()):
            event = self._next(state)
            if event is not None:
                done.append(event)
        changed = self._after(done)
        table = self._table()
        items: list[Item] = [("rollout", event.rollout, event_bytes(event), event.at) for event in done]
        if table.models != self.table.models:
            items.append(("routing", "routing", encode(table), table.at))
            self.table = table
        if items:
            self._ledger.append_many(items)
        for rollout in changed:
            self._evidence.setdefault(rollout, RolloutEvidence()).stage_pairs = 0
        return tuple(done)

    def readings(self, rollout: str) -> tuple[RolloutEvidence, tuple[GuardReading, ...]]:
        """Evidence and guards of a rollout as they stand."""
        state = self.states[rollout]
        evidence = self._evidence.get(rollout, RolloutEvidence())
        return evidence, self._guards(state, evidence)

    def _read(self) -> None:
        fresh: list[RolloutEvent] = []
        for entry in self._ledger.read(("rollout",), self._cursor):
            self._cursor[entry.chain] = entry.seq
            event = event_of(entry)
            if event not in self._events:
                fresh.append(event)
        if fresh:
            self._events = sorted([*self._events, *fresh], key=lambda event: event.at)
            self.states = fold(self._events)
        if not any(state.running for state in self.states.values()):
            # Decisions of a rollout come after the table that this controller writes for it: none is missed.
            self._pairs = self._ledger.cursor()
            return
        for entry in self._ledger.read(("decision", "shadow"), self._pairs):
            self._pairs[entry.chain] = entry.seq
            self._pair(entry)

    def _pair(self, entry: Entry) -> None:
        record = decode(entry.payload, DecisionRecord)
        rollout, arm = record.route.rollout, record.route.arm
        if rollout is None or arm == "challenger":
            return
        state = self.states.get(rollout)
        if state is None or not state.running:
            return
        both = self._waiting.setdefault((rollout, record.id), {})
        both[arm] = record
        if len(both) == 2:
            del self._waiting[(rollout, record.id)]
            yardstick = self._yardstick(state)
            if any(other.release.version not in yardstick.profiles for other in both.values()):
                return
            evidence = self._evidence.setdefault(rollout, RolloutEvidence())
            count(evidence, both["champion"], both["candidate"], yardstick)
            if parse_instant(record.at) < state.entered:
                # A controller that takes over reads the pairs of earlier stages again.
                evidence.stage_pairs -= 1

    def _yardstick(self, state: RolloutState) -> Yardstick:
        known = self._authorised().get(state.model, {})
        latency = state.plan.guards.latency
        return Yardstick(
            unfavourable={version: facts.unfavourable for version, facts in known.items()},
            profiles={version: facts.score for version, facts in known.items()},
            slow_us=None if latency is None else latency.limit_ms * 1000.0,
            groups=self._groups,
        )

    def _guards(self, state: RolloutState, evidence: RolloutEvidence) -> tuple[GuardReading, ...]:
        known = self._authorised().get(state.model, {})
        if state.champion is None or state.champion not in known or state.candidate not in known:
            return ()
        return read_guards(state.plan, evidence, (known[state.candidate].score, known[state.champion].score))

    def _next(self, state: RolloutState) -> RolloutEvent | None:
        if not state.running:
            return None
        known = self._authorised().get(state.model, {})
        now = self._clock.now()
        if state.candidate not in known:
            return _ended(state, "rolled_back", iso(now), f"version {state.candidate} is no longer authorised")
        if state.champion is None or state.champion not in known:
            return _ended(state, "completed", iso(now), "there is no release before it to compare with")
        evidence = self._evidence.setdefault(state.id, RolloutEvidence())
        readings = read_guards(state.plan, evidence, (known[state.candidate].score, known[state.champion].score))
        return step(state, readings, evidence.stage_pairs, now)

    def _after(self, done: list[RolloutEvent]) -> list[str]:
        if done:
            self._events.extend(done)
            self.states = fold(self._events)
            ended = {event.rollout for event in done if not self.states[event.rollout].running}
            self._waiting = {key: both for key, both in self._waiting.items() if key[0] not in ended}
        return [event.rollout for event in done]

    def _table(self) -> RoutingTable:
        models = {}
        known, named = self._authorised(), challengers(self._events)
        for model, versions in known.items():
            states = [state for state in self.states.values() if state.model == model]
            made = _route(states, tuple(versions), named.get(model))
            if made is not None:
                models[model] = made
        return RoutingTable(version=self.table.version + 1, at=iso(self._clock.now()), models=models)


def _route(states: list[RolloutState], versions: tuple[str, ...], challenger: str | None) -> ModelRoute | None:
    """Who answers for a model, from its rollouts: the winner of the last one that was completed, until the next is."""
    if not versions:
        return None
    completed = [state for state in states if state.ended == "completed" and state.candidate in versions]
    before = [state.champion for state in states if state.champion in versions]
    champion = completed[-1].candidate if completed else (before[0] if before else versions[0])
    assert champion is not None
    standing = challenger if challenger in versions else None
    running = [state for state in states if state.running]
    if not running:
        if not states and standing is None:
            return None
        return ModelRoute(champion=champion, challenger=None if standing == champion else standing)
    now = running[-1]
    return ModelRoute(
        champion=now.champion if now.champion in versions and now.champion is not None else champion,
        candidate=now.candidate,
        share=now.share,
        shadow=True,
        challenger=standing,
        rollout=now.id,
        stage=now.stage,
    )


def _ended(state: RolloutState, kind: str, at: str, reason: str) -> RolloutEvent:
    share = 1.0 if kind == "completed" else 0.0
    return RolloutEvent(
        rollout=state.id,
        model=state.model,
        type=kind,  # type: ignore[arg-type]
        at=at,
        by="controller",
        stage=FULL if kind == "completed" else state.stage,
        share=share,
        champion=state.champion,
        candidate=state.candidate,
        reason=reason,
    )


def latest_table(ledger: Ledger, *, until: str | None = None) -> RoutingTable:
    """The routing table in force now, or at an instant.

    Args:
        ledger: The ledger.
        until: ISO instant; the newest table of that time.

    Raises:
        RolloutError: If the entry is no routing table.
    """
    empty = RoutingTable(version=0, at="1970-01-01T00:00:00.000000Z", models={})
    if until is None:
        entry = ledger.latest("routing")
    else:
        entry = None
        for found in ledger.read(["routing"]):
            if found.at <= until:
                entry = found
    if entry is None:
        return empty
    try:
        return msgspec.json.decode(entry.payload, type=RoutingTable)
    except msgspec.DecodeError as error:
        raise RolloutError(
            f"entry {entry.seq} of chain '{entry.chain}' is no routing table", got=str(error)[:200]
        ) from None

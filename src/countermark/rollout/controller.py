"""The controller: takes up orders, reads the evidence, and writes what happens next and who answers from now on."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from countermark.config.rollout import RolloutPlan
from countermark.errors import CountermarkError, RolloutError
from countermark.ledger.entry import Entry, Item, Row
from countermark.ledger.ledger import Ledger, pass_over, what_changed
from countermark.records.clock import Clock, iso
from countermark.records.decision import encode
from countermark.records.groups import Groups
from countermark.records.profile import NumericProfile
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.registry.state import RegistryState
from countermark.rollout.events import WRITER as WRITER
from countermark.rollout.events import GuardReading, RolloutEvent, event_bytes
from countermark.rollout.evidence import RolloutEvidence, Yardstick
from countermark.rollout.guards import read_guards
from countermark.rollout.machine import FULL, RolloutState, begin, challenger_event, reconcile, step, stop
from countermark.rollout.orders import Asked, judge, read_order, refusal
from countermark.rollout.pairing import Pairing
from countermark.rollout.story import Story, by_controller, no_effect


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

Trusted = Callable[[], RegistryState]
"""The fold of the signed log: it says whose orders count."""


class Controller:
    """Leads every rollout of a ledger.

    What it has written on its own chain, in the order of that chain, is the truth about rollouts. Entries of other
    chains are requests: each is judged once, and its outcome is written.

    Args:
        ledger: The ledger, opened with ``writer=WRITER``.
        authorised: Releases that may be served; a rollback chooses among these only.
        trusted: The signed log: it says whose orders count. Orders wait while it cannot be read.
        clock: Where time comes from.
        groups: Protected groups by entity, for the guard of group approval; None where they are not at hand.

    Attributes:
        table: The routing table in force.
        taken: Outcomes of orders that the last look wrote.
        noticed: What the last look could not read, in words.

    Raises:
        LedgerError: If another controller leads.
    """

    def __init__(
        self, ledger: Ledger, authorised: Authorised, trusted: Trusted, clock: Clock, *, groups: Groups | None = None
    ) -> None:
        ledger.acquire()
        self._ledger = ledger
        self._authorised = authorised
        self._trusted = trusted
        self._clock = clock
        self._cursor: dict[str, int] = {}
        self._pairs: dict[str, int] | None = None
        self._orders: dict[str, Asked] = {}
        self._story = Story()
        self._pairing = Pairing(groups)
        self._groups = groups
        self.taken: tuple[RolloutEvent, ...] = ()
        self.noticed: tuple[str, ...] = ()
        self.table = latest_table(ledger)
        self._doubtful: set[str] = set()
        self._unreadable = _written_table(ledger) is None

    @property
    def states(self) -> Mapping[str, RolloutState]:
        """Rollouts by id, as they stand."""
        return self._story.states

    @property
    def refused(self) -> tuple[RolloutEvent, ...]:
        """Every order that was ever refused, oldest first."""
        return tuple(self._story.refused)

    def take_up(self) -> tuple[RolloutEvent, ...]:
        """Judge the orders that are new, and do what they ask for; nothing is decided on evidence.

        Returns:
            The outcome of each, durable: an event that names the order, or a refusal.

        Raises:
            LedgerError: If the ledger cannot be read or written.
        """
        known = self._authorised()
        self._read()
        self.taken = ()
        if not self._orders:
            return ()
        now, trusted = self._clock.now(), self._state_of_log()
        story, written = self._story.copy(), []
        waiting: dict[str, Asked] = {}
        counting: list[tuple[Asked, str]] = []
        for asked in self._orders.values():
            found = judge(asked, trusted, now)
            if found.verdict == "waits":
                waiting[asked.digest] = asked
            elif found.author is None:
                written.append(self._refuse(story, asked, found.reason, now))
            else:
                counting.append((asked, found.author.principal))
        written += self._applied(story, counting, known, now)
        self._write(story, written, known)
        self._orders = waiting
        self.taken = tuple(written)
        return self.taken

    def tick(self) -> tuple[RolloutEvent, ...]:
        """Take up orders, read what is new, and do what follows from it.

        Returns:
            What the controller did by itself, oldest first; each is durable, and so is the routing table that goes with
            it. Outcomes of orders are in ``taken``.

        Raises:
            LedgerError: If the ledger cannot be read or written.
        """
        self.take_up()
        known = self._authorised()
        self._collect()
        story, done = self._story.copy() if self._story.running else self._story, []
        for state in story.running:
            event = self._judged(state, known.get(state.model, {}))
            if event is not None:
                story.add(event)
                done.append(event)
        self._write(story, done, known)
        return tuple(done)

    def readings(self, rollout: str) -> tuple[RolloutEvidence, tuple[GuardReading, ...]]:
        """Evidence and guards of a rollout as they stand."""
        state, known = self.states[rollout], self._authorised()
        evidence = self._pairing.evidence(rollout)
        versions = known.get(state.model, {})
        if state.champion is None or state.champion not in versions or state.candidate not in versions:
            return evidence, ()
        return evidence, self._guards(state, versions)

    # --- orders

    def _read(self) -> None:
        """The controller's own chain first: what has an outcome there is no request any more."""
        odd = len(self._story.odd)
        others = []
        for entry in self._ledger.read(("rollout",), self._cursor, damaged=self._passed_over):
            self._cursor[entry.chain] = entry.seq
            if by_controller(entry):
                self._story.read(entry)
            else:
                others.append(entry)
        for entry in others:
            asked = read_order(entry)
            if asked.digest not in self._story.outcomes:
                # Of an order and its copy the first is kept.
                self._orders.setdefault(asked.digest, asked)
        self.noticed = tuple(self._story.odd[odd:])

    def _passed_over(self, chain: str, row: Row) -> None:
        """An entry that was changed has no effect. On the controller's own chain it may have ended any rollout that ran
        then: what has no later word on its end is turned back.
        """
        self._cursor[chain] = row[0]
        self._story.odd.append(no_effect(chain, row))
        if chain == WRITER:
            self._doubtful |= {state.id for state in self._story.running}

    def _state_of_log(self) -> RegistryState | None:
        try:
            return self._trusted()
        except CountermarkError as error:
            self.noticed += (f"orders wait: {error.what}",)
            return None

    def _applied(
        self,
        story: Story,
        counting: list[tuple[Asked, str]],
        known: Mapping[str, Mapping[str, ReleaseFacts]],
        now: datetime,
    ) -> list[RolloutEvent]:
        """Apply what follows. Orders that were read together may have been given in any order: each is tried until none
        follows any more, and what is left is refused.
        """
        written: list[RolloutEvent] = []
        while counting:
            left: list[tuple[Asked, str]] = []
            why: list[str] = []
            for asked, by in counting:
                try:
                    event = self._asked(story, asked, by, known, now)
                    story.add(event)
                except RolloutError as error:
                    left.append((asked, by))
                    why.append(error.what)
                    continue
                written.append(event)
            if len(left) == len(counting):
                return written + [
                    self._refuse(story, asked, reason, now) for (asked, _), reason in zip(left, why, strict=True)
                ]
            counting = left
        return written

    def _refuse(self, story: Story, asked: Asked, reason: str, now: datetime) -> RolloutEvent:
        event = refusal(asked, reason, now)
        story.add(event)
        return event

    def _asked(
        self,
        story: Story,
        asked: Asked,
        by: str,
        known: Mapping[str, Mapping[str, ReleaseFacts]],
        now: datetime,
    ) -> RolloutEvent:
        """What an order comes to, now: only the intent is the person's; stage, share and time are the controller's.

        Raises:
            RolloutError: If it does not follow.
        """
        wanted = asked.event
        assert wanted is not None  # it was judged
        versions = known.get(wanted.model, {})
        if wanted.type in ("stopped", "reconciled"):
            state = story.states.get(wanted.rollout)
            if state is None or (state.model, state.candidate) != (wanted.model, wanted.candidate):
                raise RolloutError(f"there is no rollout '{wanted.rollout}' of {wanted.model}@v{wanted.candidate}")
            act = stop if wanted.type == "stopped" else reconcile
            event = act(state, now=now, by=by, reason=wanted.reason)
        elif wanted.type == "challenger_dismissed":
            event = challenger_event(wanted.model, wanted.champion, wanted.candidate, now=now, by=by, dismiss=True)
        else:
            champion = self._champion(story, wanted.model, versions)
            if wanted.candidate not in versions:
                raise RolloutError(f"version {wanted.candidate} is not authorised, or cannot be served")
            if wanted.candidate == champion:
                raise RolloutError(f"version {champion} answers already")
            if wanted.type == "started":
                event = _started(wanted, champion, by, now, self._ledger.cursor())
            else:
                event = challenger_event(wanted.model, champion, wanted.candidate, now=now, by=by)
        return msgspec.structs.replace(event, order=asked.digest)

    def _champion(self, story: Story, model: str, versions: Mapping[str, ReleaseFacts]) -> str | None:
        route = _route(story, model, tuple(versions), self._doubtful)
        return next(iter(versions), None) if route is None else route.champion

    # --- evidence

    def _collect(self) -> None:
        """Read the new decisions and shadows of the rollouts that run."""
        running = self._story.running
        if not running:
            # Decisions of a rollout come after the table that this controller writes for it: none is missed.
            self._pairs = self._ledger.cursor()
            return
        if self._pairs is None:
            starts = [state.events[0].cursor or {} for state in running]
            self._pairs = {chain: min(of.get(chain, -1) for of in starts) for chain in set().union(*starts)}
        entries, pairs, changed = [], self._pairs, []

        def passed_over(chain: str, row: Row) -> None:
            pairs[chain] = row[0]
            changed.append(f"{what_changed(chain, row)}, and is no evidence")

        for entry in self._ledger.read(("decision", "shadow"), pairs, damaged=passed_over):
            pairs[entry.chain] = entry.seq
            entries.append(entry)
        self.noticed += tuple(changed)
        self.noticed += tuple(self._pairing.take(entries, {state.id for state in running}))

    def _yardstick(self, state: RolloutState, versions: Mapping[str, ReleaseFacts]) -> Yardstick:
        latency, drift = state.plan.guards.latency, state.plan.guards.score_psi
        return Yardstick(
            unfavourable={version: facts.unfavourable for version, facts in versions.items()},
            profiles={version: facts.score for version, facts in versions.items()},
            slow_us=None if latency is None else latency.limit_ms * 1000.0,
            groups=self._groups,
            psi_pairs=None if drift is None else drift.min_pairs,
        )

    def _guards(self, state: RolloutState, versions: Mapping[str, ReleaseFacts]) -> tuple[GuardReading, ...]:
        assert state.champion is not None  # who calls has looked
        profiles = versions[state.candidate].score, versions[state.champion].score
        return read_guards(state.plan, self._pairing.evidence(state.id), profiles, self._pairing.sizes)

    def _judged(self, state: RolloutState, versions: Mapping[str, ReleaseFacts]) -> RolloutEvent | None:
        """What the evidence comes to. Where it cannot be judged the champion answers, and a person has to look."""
        now = self._clock.now()
        try:
            self._pairing.count(state, self._yardstick(state, versions), now)
            return self._next(state, versions, now)
        except Exception as error:  # noqa: BLE001 - a release that cannot be judged goes no further, and stops no other
            return _ended(state, "rolled_back", iso(now), f"its evidence cannot be judged: {_said(error)}")

    def _next(self, state: RolloutState, versions: Mapping[str, ReleaseFacts], now: datetime) -> RolloutEvent | None:
        if state.id in self._doubtful:
            return _ended(state, "rolled_back", iso(now), "an entry of its story was changed after it was written")
        if state.candidate not in versions:
            return _ended(state, "rolled_back", iso(now), f"version {state.candidate} is no longer authorised")
        if state.champion is None:
            return _ended(state, "completed", iso(now), "there is no release before it to compare with")
        if state.champion not in versions:
            why = f"version {state.champion}, which it was compared with, is no longer authorised"
            return _ended(state, "inconclusive", iso(now), why)
        return step(state, self._guards(state, versions), self._pairing.evidence(state.id).stage_pairs, now)

    # --- writing

    def _write(self, story: Story, events: list[RolloutEvent], known: Mapping[str, Mapping[str, ReleaseFacts]]) -> None:
        """Write events and table in one transaction; what is durable is then what is so here."""
        items: list[Item] = [("rollout", event.rollout, event_bytes(event), event.at) for event in events]
        table = self._table(story, known)
        routed = self._unreadable or table.models != self.table.models
        if routed:
            items.append(("routing", "routing", encode(table), table.at))
        if not items:
            return
        last = self._ledger.append_many(items)[-1]
        self._cursor[last.chain] = last.seq
        if routed:
            self.table, self._unreadable = table, False
        self._story = story
        for event in events:
            if event.rollout in story.states:
                self._pairing.next_stage(event.rollout)
                if not story.states[event.rollout].running:
                    self._pairing.forget(event.rollout)

    def _table(self, story: Story, known: Mapping[str, Mapping[str, ReleaseFacts]]) -> RoutingTable:
        # A model keeps its route when nothing of it is authorised: what comes back does not come back by itself.
        every = dict.fromkeys((*known, *(state.model for state in story.states.values())))
        routes = {model: _route(story, model, tuple(known.get(model, {})), self._doubtful) for model in every}
        models = {model: route for model, route in routes.items() if route is not None}
        return RoutingTable(version=self.table.version + 1, at=iso(self._clock.now()), models=models)


def _said(error: Exception) -> str:
    """An error without a value of anybody's request."""
    return error.what if isinstance(error, CountermarkError) else type(error).__name__


def _started(
    wanted: RolloutEvent, champion: str | None, by: str, now: datetime, cursor: dict[str, int]
) -> RolloutEvent:
    if wanted.champion != champion:
        raise RolloutError(f"version {champion} answers now, and the order was given against {wanted.champion}")
    try:
        plan = RolloutPlan.model_validate(wanted.plan)
    except ValueError:
        raise RolloutError("its plan is no rollout plan") from None
    event = begin(wanted.rollout, wanted.model, champion, wanted.candidate, plan, now=now, by=by)
    return msgspec.structs.replace(event, cursor=cursor)


def _route(story: Story, model: str, versions: tuple[str, ...], doubtful: Container[str]) -> ModelRoute | None:
    """Who answers for a model, from its rollouts: the winner of the last one that was completed, until the next is.

    Where that one may not be served, the newest before it stands in; a version that was turned back never does. The
    candidate of a doubtful rollout gets nothing.
    """
    states = [state for state in story.states.values() if state.model == model]
    if not versions and not states:
        return None
    named = story.challengers.get(model)
    proven = _proven(states) or versions[:1]
    champion = next((version for version in proven if version in versions), None)
    fallbacks = tuple(version for version in proven if version != champion)
    standing = named if named in versions else None
    running = [state for state in states if state.running and state.id not in doubtful]
    if not running:
        if not states and standing is None:
            return None
        shadowed = None if standing == champion else standing
        return ModelRoute(champion=champion, fallbacks=fallbacks, challenger=shadowed)
    now = running[-1]
    return ModelRoute(
        champion=champion,
        fallbacks=fallbacks,
        candidate=now.candidate,
        share=now.share,
        shadow=True,
        challenger=standing,
        rollout=now.id,
        stage=now.stage,
    )


def _proven(states: list[RolloutState]) -> tuple[str, ...]:
    """Versions that answered everybody once, newest first: the first champion, and whoever completed a rollout."""
    found = [states[0].champion] if states and states[0].champion is not None else []
    found += [state.candidate for state in states if state.ended == "completed"]
    return tuple(dict.fromkeys(reversed(found)))


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


NO_TABLE = RoutingTable(version=0, at="1970-01-01T00:00:00.000000Z", models={})
"""Before any rollout."""


def latest_table(
    ledger: Ledger, *, until: str | None = None, counts: Callable[[Entry], bool] | None = None
) -> RoutingTable:
    """The routing table in force now, or at an instant.

    Args:
        ledger: The ledger.
        until: ISO instant; the newest table of that time.
        counts: Whether an entry is part of it at all; with ``until`` only. Every one is otherwise.

    Returns:
        The last that the controller wrote and that can be read; the empty table before the first.
    """
    newest = _written_table(ledger) if until is None else None
    if newest is not None:
        return newest
    for found in ledger.read(["routing"], damaged=pass_over):
        if found.chain == WRITER and (until is None or found.at <= until) and (counts is None or counts(found)):
            newest = _table_of(found) or newest
    return newest or NO_TABLE


def _written_table(ledger: Ledger) -> RoutingTable | None:
    """The last routing table; the empty one before the first, and None where the last was changed or is none."""
    changed: list[Row] = []
    entry = ledger.latest("routing", chain=WRITER, damaged=lambda _, row: changed.append(row))
    if entry is None:
        return None if changed else NO_TABLE
    return _table_of(entry)


def _table_of(entry: Entry) -> RoutingTable | None:
    try:
        return msgspec.json.decode(entry.payload, type=RoutingTable)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None

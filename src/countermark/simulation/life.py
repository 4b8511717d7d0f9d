"""A model's whole life in simulated time: decisions, outcomes, rollouts, monitoring, reviews, replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import yaml

from countermark.config.operations import monitor_plans
from countermark.config.rollout import RolloutPlan
from countermark.errors import CountermarkError
from countermark.features.audit import AuditReport, recompute
from countermark.features.online import OnlineStore
from countermark.features.request import RequestError
from countermark.ledger.opening import open_ledger
from countermark.monitoring.releases import PublishedReleases
from countermark.monitoring.run import ModelRun, run_monitor
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import DecisionRecord, EventRecord, OutcomeRecord, decode, encode
from countermark.records.release import ReleaseRef
from countermark.replay.replay import Replayed, Replayer
from countermark.replay.sample import draw
from countermark.review.prepare import Sources, prepare
from countermark.review.signing import record, sign, write_review
from countermark.rollout import machine
from countermark.rollout.controller import WRITER, Controller
from countermark.rollout.events import RolloutEvent
from countermark.rollout.live import rollouts
from countermark.rollout.machine import RolloutState
from countermark.rollout.orders import give_order
from countermark.rollout.start import name_challenger, start_rollout
from countermark.serving.leader import release_facts, trusted_log
from countermark.serving.requests import DecisionRequest
from countermark.serving.service import DecisionService
from countermark.simulation.desk import Desk
from countermark.simulation.traffic import Application, Event


@dataclass(frozen=True, slots=True)
class _Due:
    """An outcome that is not known yet."""

    at: datetime
    observed: datetime
    decision: str
    value: float


@dataclass
class Life:
    """A model in production, in this process and in simulated time.

    Attributes:
        desk: The governance of its bank.
        clock: Simulated time.
        store: The online feature store, with the model's views published.
        say: Called with each line of the story.
        history: Tables that the views were published from, for the audit of served vectors.
        groups: Protected group by customer.
        runs: Monitoring runs so far.
        refused: Why a request or an event was refused, by its id.
    """

    desk: Desk
    clock: SimulatedClock
    store: OnlineStore
    say: Callable[[str], None]
    history: Mapping[str, pa.Table] = field(default_factory=dict)
    groups: dict[str, Mapping[str, str]] = field(default_factory=dict)
    runs: list[ModelRun] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    _due: list[_Due] = field(default_factory=list)

    def __post_init__(self) -> None:
        root, self.model = self.desk.root, self.desk.model
        self.ledger = open_ledger(root / "ledger")
        self.leader = open_ledger(root / "ledger", writer=WRITER)
        self.service = DecisionService(self.desk.bank.directory, self.ledger, self.store, self.clock)
        self.controller = Controller(
            self.leader,
            lambda: release_facts(self.service.catalog),
            lambda: trusted_log(self.service.catalog),
            self.clock,
            groups=self.groups,
        )

    # --- a day

    def take_in(self, events: Sequence[Event]) -> None:
        """Take in events that the bank has by now: on the ledger first, then in the feature store.

        An event that breaks its contract is refused, as the service refuses it: it is on neither.
        """
        at = iso(self.clock.now())
        for start in range(0, len(events), 400):
            items, taken = [], []
            for one in events[start : start + 400]:
                try:
                    taken.append((self.service.views_of(one.table, one.event), one))
                except RequestError as error:
                    self.refused[one.id] = error.what
                    continue
                record = EventRecord(table=one.table, event=dict(one.event), known_at=at)
                items.append(("event", one.id, encode(record), at))
            self.ledger.append_many(items)
            for views, one in taken:
                self.service.ingest(views, one.event, self.clock.now())

    def day(self, day: datetime, applications: Sequence[Application]) -> list[RolloutEvent]:
        """One day in order of time: outcomes that became known, events, applications, the controller after each."""
        self._pass(day)
        self._outcomes(day)
        coming: list[tuple[datetime, int, Event | Application]] = []
        for application in applications:
            coming.append((application.at, 1, application))
            coming.extend((min(event.known_at, application.at), 0, event) for event in application.history)
        happened: list[RolloutEvent] = []
        waiting: list[Event] = []
        for at, _, thing in sorted(coming, key=lambda one: one[:2]):
            if isinstance(thing, Event):
                waiting.append(thing)
                self._pass(at)
                continue
            self.take_in(waiting)
            waiting = []
            self._pass(at)
            self._decide(thing)
            happened += self._tick()
        return happened

    def _pass(self, until: datetime) -> None:
        if until > self.clock.now():
            self.clock.set(until)

    def run_out(self) -> None:
        """Let time pass without a customer until every outcome is known."""
        while self._due:
            day = min(due.at for due in self._due)
            self._pass(day)
            self._outcomes(day)

    def _tick(self) -> list[RolloutEvent]:
        done = list(self.controller.tick())
        if self.controller.table.version != self.service.table.version:
            self.service.refresh()
        for event in done:
            self.say(f"rollout of v{event.candidate}: {event.type}, stage {event.stage}. {event.reason}")
        return done

    def _decide(self, application: Application) -> None:
        try:
            prepared = self.service.prepare(
                self.model,
                DecisionRequest(request=dict(application.request), id=application.id, entity=application.entity),
                channel="simulation",
                now=self.clock.now(),
            )
        except CountermarkError as error:
            self.refused[application.id] = error.what
            return
        self.groups[application.entity] = application.groups
        made = prepared.record
        items = [("decision", made.id, prepared.payload, made.at)]
        items += [
            ("shadow", made.id, self.service.shadow_payload(prepared.ask, release, planned), made.at)
            for release, planned in prepared.target.shadows
        ]
        self.ledger.append_many(items)
        now = self.clock.now()
        self._due.append(_Due(now + application.delay, now + application.horizon, made.id, application.outcome))

    def _outcomes(self, day: datetime) -> None:
        ready = [due for due in self._due if due.at <= day]
        self._due = [due for due in self._due if due.at > day]
        items = []
        for due in ready:
            known = iso(max(due.at, day))
            outcome = OutcomeRecord(
                model=self.model,
                decision=due.decision,
                entity=None,
                observed_at=iso(due.observed),
                known_at=known,
                value=due.value,
                source="simulator",
            )
            items.append(("outcome", due.decision, encode(outcome), known))
        if items:
            self.ledger.append_many(items)

    # --- releases

    def start(self, ref: ReleaseRef, plan: RolloutPlan) -> None:
        """Start a rollout under a plan of the bank."""
        self.service.refresh()
        now = self.clock.now()
        state = self.desk.bank.state()
        event = start_rollout(self.ledger, state, ref, plan, now=now, signer=self.desk.keys["eli"])
        self.say(f"eli starts rollout {event.rollout} of {ref}")
        self._tick()

    def challenge(self, ref: ReleaseRef, *, dismiss: bool = False) -> None:
        """Name a standing challenger, or dismiss it."""
        self.service.refresh()
        state, signer = self.desk.bank.state(), self.desk.keys["eli"]
        name_challenger(self.ledger, state, ref, now=self.clock.now(), signer=signer, dismiss=dismiss)
        self._tick()
        self.service.refresh()

    def reconcile(self, reason: str) -> None:
        """Note that a person has dealt with the last rollout."""
        event = machine.reconcile(self.rollouts[-1], now=self.clock.now(), by="", reason=reason)
        self.service.refresh()
        give_order(self.ledger, self.desk.bank.state(), event, self.desk.keys["rik"])
        self._tick()

    @property
    def rollouts(self) -> list[RolloutState]:
        """Every rollout as it stands, oldest first."""
        return list(rollouts(self.ledger).values())

    @property
    def champion(self) -> str | None:
        """Version that answers now."""
        route = self.controller.table.models.get(self.model)
        standing = self.service.catalog.standing(self.model)
        if route is not None:
            return route.champion
        return None if standing is None else standing.ref.version

    # --- looking at it

    def monitor(self, as_of: datetime) -> ModelRun:
        """Run the bank's monitoring."""
        watched = PublishedReleases(self.desk.bank.directory, self.desk.bank.state(), self.model)
        plans = {name: plan for name, plan in monitor_plans(self.desk.root).items() if name == self.model}
        (run,) = run_monitor(self.ledger, {self.model: watched}, plans, as_of, groups=self.groups)
        self.runs.append(run)
        return run

    def review(self, as_of: datetime, decisions: list[str]) -> tuple[str, int]:
        """Prepare, hold, record and sign the weekly review; its id and the decisions it says are needed."""
        bank = self.desk.bank
        sources = Sources(self.ledger, bank.directory, bank.state(), monitor_plans(self.desk.root), "Simulated bank")
        checkpoint = self.ledger.checkpoint(iso(self.clock.now()))
        made = prepare(sources, as_of, sample=20, checkpoint=checkpoint)
        folder = self.desk.root / "reviews" / made.id
        write_review(made, folder, self.ledger, iso(self.clock.now()))
        minutes = {
            "review": made.id,
            "held": made.as_of[:10],
            "attendance": ["rik", "vera", "olga"],
            "absent": [],
            "decisions": [{"text": text, "by": "rik", "model": self.model} for text in decisions],
            "actions": [],
            "done": [],
            "notes": "",
        }
        draft = folder / "minutes.yaml"
        draft.write_text(yaml.safe_dump(minutes, sort_keys=False), encoding="utf-8")
        record(self.desk.bank, self.ledger, folder, draft)
        sign(self.desk.bank, self.desk.keys["rik"], folder, self.ledger)
        return made.id, len(made.needed)

    def replay(self, count: int) -> list[Replayed]:
        """Replay a random sample of all decisions, releases opened anew."""
        bank = self.desk.bank
        replayer = Replayer(self.ledger, bank.directory, bank.state())
        return replayer.sample(draw(self.ledger, count, 20260401))

    def audit(self) -> AuditReport:
        """Make every served vector again from the event log, by the code that makes data sets."""
        standing = self.service.catalog.standing(self.model)
        assert standing is not None
        decisions = [decode(entry.payload, DecisionRecord) for entry in self.ledger.read(["decision"])]
        events = [decode(entry.payload, EventRecord) for entry in self.ledger.read(["event"])]
        return recompute(standing.spec, decisions, events, history=self.history)

    def close(self) -> None:
        """Let everything go."""
        self.leader.close()
        self.ledger.close()
        self.store.close()

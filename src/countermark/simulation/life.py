"""A model's whole life in simulated time: decisions, outcomes, rollouts, monitoring, reviews, replays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import yaml

from countermark.config.operations import monitor_plans, rollout_plan
from countermark.contracts.tables import read_table
from countermark.errors import CountermarkError
from countermark.features.audit import AuditReport, recompute
from countermark.features.online import open_store
from countermark.ledger.opening import open_ledger
from countermark.monitoring.run import ModelRun, WatchedRelease, run_monitor
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import DecisionRecord, EventRecord, OutcomeRecord, decode, encode
from countermark.records.release import ReleaseRef
from countermark.replay.replay import Replayed, Replayer
from countermark.replay.sample import draw
from countermark.review.prepare import Sources, prepare
from countermark.review.signing import record, sign, write_review
from countermark.rollout import machine
from countermark.rollout.controller import WRITER, Controller
from countermark.rollout.events import RolloutEvent, event_bytes
from countermark.rollout.live import rollouts
from countermark.rollout.start import name_challenger, start_rollout
from countermark.serving.leader import release_facts
from countermark.serving.service import DecisionService
from countermark.simulation.bank import MODEL
from countermark.simulation.desk import Desk
from countermark.simulation.traffic import LABEL_DAYS, Application, Traffic


@dataclass
class Life:
    """The simulated bank in production.

    Attributes:
        desk: Its governance.
        clock: Simulated time.
        traffic: Its customers.
        say: Called with each line of the story.
        groups: Protected group by customer.
        runs: Monitoring runs so far.
        refusals: Requests that were refused, by reason.
    """

    desk: Desk
    clock: SimulatedClock
    traffic: Traffic
    say: Callable[[str], None]
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: list[ModelRun] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _due: list[tuple[datetime, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        root = self.desk.root
        self.ledger = open_ledger(root / "ledger")
        self.leader = open_ledger(root / "ledger", writer=WRITER)
        url = f"sqlite:///{root / '.countermark' / 'features.sqlite'}"
        self.desk.run("countermark", "features", "materialize", "--as-of", iso(self.clock.now()), "--to", url)
        self.store = open_store(url)
        people = self.traffic.people
        words = {"f": "female", "m": "male"}
        self.groups = {str(c): {"sex": words[str(s)]} for c, s in zip(people.customer, people.sex, strict=True)}
        self.service = DecisionService(self.desk.bank.directory, self.ledger, self.store, self.clock)
        self.controller = Controller(
            self.leader, lambda: release_facts(self.service.catalog), self.clock, groups=self.groups
        )

    # --- a day

    def statements(self, day: datetime, months: int = 1) -> int:
        """Take in the statements of the last months: on the ledger first, then in the feature store."""
        found = self.traffic.statements(day, months)
        for start in range(0, len(found), 400):
            part = found[start : start + 400]
            at = iso(self.clock.now())
            self.ledger.append_many(
                [
                    (
                        "event",
                        statement.event["customer"],
                        encode(EventRecord(table="statements", event=statement.event, known_at=at)),
                        at,
                    )
                    for statement in part
                ]
            )
            for statement in part:
                views = self.service.views_of("statements", statement.event)
                self.service.ingest(views, statement.event, self.clock.now())
        return len(found)

    def day(self, day: datetime, count: int, *, income_factor: float = 1.0) -> list[RolloutEvent]:
        """One day: applications in order of time, outcomes that became known, the controller after every one."""
        happened: list[RolloutEvent] = []
        self._outcomes(day)
        for application in self.traffic.applications(day, count, income_factor=income_factor):
            if application.at > self.clock.now():
                self.clock.set(application.at)
            self._decide(application)
            happened += self._tick()
        return happened

    def _tick(self) -> list[RolloutEvent]:
        done = list(self.controller.tick())
        if self.controller.table.version != self.service.table.version:
            self.service.refresh()
        for event in done:
            self.say(f"rollout of v{event.candidate}: {event.type}, stage {event.stage}. {event.reason}")
        return done

    def _decide(self, application: Application) -> None:
        try:
            prepared = self.service.prepare(MODEL, application.request, channel="simulation", now=self.clock.now())
        except CountermarkError as error:
            self.refusals.append(error.what)
            return
        made = prepared.record
        items = [("decision", made.id, prepared.payload, made.at)]
        items += [
            ("shadow", made.id, self.service.shadow_payload(prepared.ask, release, planned), made.at)
            for release, planned in prepared.target.shadows
        ]
        self.ledger.append_many(items)
        self._due.append((self.clock.now() + timedelta(days=LABEL_DAYS), made.id, application.missed))

    def _outcomes(self, day: datetime) -> None:
        ready = [due for due in self._due if due[0] <= day]
        self._due = [due for due in self._due if due[0] > day]
        items = []
        for due, identity, missed in ready:
            outcome = OutcomeRecord(
                model=MODEL,
                decision=identity,
                entity=None,
                observed_at=iso(due),
                known_at=iso(max(due, day)),
                value=float(missed),
                source="simulator",
            )
            items.append(("outcome", identity, encode(outcome), iso(max(due, day))))
        if items:
            self.ledger.append_many(items)

    # --- releases

    def start(self, ref: ReleaseRef) -> None:
        """Start a rollout under the bank's plan."""
        self.service.refresh()
        plan = rollout_plan(self.desk.root, "brisk")
        now = self.clock.now()
        event = start_rollout(self.ledger, self.desk.bank.state(), ref, plan, now=now, by="eli")
        self.say(f"eli starts rollout {event.rollout} of {ref}")
        self._tick()

    def challenge(self, ref: ReleaseRef, *, dismiss: bool = False) -> None:
        """Name a standing challenger, or dismiss it."""
        self.service.refresh()
        name_challenger(self.ledger, self.desk.bank.state(), ref, now=self.clock.now(), by="eli", dismiss=dismiss)
        self._tick()
        self.service.refresh()

    def reconcile(self, reason: str) -> None:
        """Note that a person has dealt with the last rollout."""
        last = list(rollouts(self.ledger).values())[-1]
        event = machine.reconcile(last, now=self.clock.now(), by="rik", reason=reason)
        self.ledger.append("rollout", event.rollout, event_bytes(event), event.at)

    @property
    def champion(self) -> str | None:
        """Version that answers now."""
        route = self.controller.table.models.get(MODEL)
        standing = self.service.catalog.standing(MODEL)
        if route is not None:
            return route.champion
        return None if standing is None else standing.ref.version

    # --- looking at it

    def monitor(self, as_of: datetime) -> ModelRun:
        """Run the bank's monitoring."""
        watched = {
            version: WatchedRelease(
                release.profile,
                None if release.decider.policy is None else release.decider.policy.favourable,
                {"sex": "male"},
            )
            for version, release in self.service.catalog.models[MODEL].items()
        }
        (run,) = run_monitor(self.ledger, {MODEL: watched}, monitor_plans(self.desk.root), as_of, groups=self.groups)
        self.runs.append(run)
        return run

    def review(self, as_of: datetime, decisions: list[str]) -> tuple[str, int]:
        """Prepare, hold, record and sign the weekly review; its id and the decisions it says are needed."""
        bank = self.desk.bank
        sources = Sources(self.ledger, bank.directory, bank.state(), monitor_plans(self.desk.root), "Simulated bank")
        checkpoint = self.ledger.checkpoint(iso(self.clock.now()))
        made = prepare(sources, as_of, sample=20, checkpoint=checkpoint)
        folder = self.desk.root / "reviews" / made.id
        write_review(made, folder)
        minutes = {
            "review": made.id,
            "held": made.as_of[:10],
            "attendance": ["rik", "vera", "olga"],
            "absent": [],
            "decisions": [{"text": text, "by": "rik", "model": MODEL} for text in decisions],
            "actions": [],
            "done": [],
            "notes": "",
        }
        draft = folder / "minutes.yaml"
        draft.write_text(yaml.safe_dump(minutes, sort_keys=False), encoding="utf-8")
        record(self.desk.bank, self.ledger, folder, draft)
        sign(self.desk.bank, self.desk.keys["rik"], folder)
        return made.id, len(made.needed)

    def replay(self, count: int) -> list[Replayed]:
        """Replay a random sample of all decisions, releases opened anew."""
        bank = self.desk.bank
        replayer = Replayer(self.ledger, bank.directory, bank.state())
        return replayer.sample(draw(self.ledger, count, 20260401))

    def audit(self) -> AuditReport:
        """Make every served vector again from the event log, by the code that makes data sets."""
        standing = self.service.catalog.standing(MODEL)
        assert standing is not None
        decisions = [decode(entry.payload, DecisionRecord) for entry in self.ledger.read(["decision"])]
        events = [decode(entry.payload, EventRecord) for entry in self.ledger.read(["event"])]
        table = read_table(self.desk.root / "models" / MODEL / "out" / "accepted" / "statements.parquet")
        return recompute(standing.spec, decisions, events, history={"statements": table})

    def close(self) -> None:
        """Let everything go."""
        self.leader.close()
        self.ledger.close()
        self.store.close()

"""Traffic of a bank's own model, in this process and in simulated time, in a throw-away copy of the bank. SYNTHETIC."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from countermark.config.operations import monitor_plans, rollout_plan
from countermark.config.rollout import RolloutPlan
from countermark.features.audit import TOLERANCE
from countermark.features.online import open_store
from countermark.features.times import day_start, instant
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SimulatedClock, parse_instant
from countermark.records.decision import DecisionRecord, OutcomeRecord, decode
from countermark.records.release import ReleaseRef
from countermark.registry.git import Git
from countermark.registry.repository import LOG_REF
from countermark.simulation.bank_copy import copy_bank
from countermark.simulation.claims import Claims
from countermark.simulation.desk import Desk
from countermark.simulation.drift import read_drifts
from countermark.simulation.faults import Fault, check_fault, fault_of, next_version, plant, write_version
from countermark.simulation.life import Life
from countermark.simulation.resample import Draw, ModelRows, Names, Resampler, read_rows
from countermark.simulation.traffic import Application
from countermark.simulation.workplace import workplace

SYNTHETIC = (
    "SYNTHETIC traffic: customers are rows of the bank's own data, drawn with replacement under new ids, with the"
    " history they had"
)
REPLAYS = 50
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a life is played, and what is planted in it.

    Attributes:
        days: Days with customers.
        daily: Requests a day.
        seed: Seed of everything.
        sample: Sample that customers are drawn from; the newest otherwise.
        drifts: Planted drifts, ``FIELD=FACTOR@DAY``.
        label_days: Days until an outcome; the model's horizon otherwise.
        fault: Name of the planted fault, or None.
        plan: Rollout plan of the faulty release.
    """

    days: int = 28
    daily: int = 50
    seed: int = 20260101
    sample: str | None = None
    drifts: tuple[str, ...] = ()
    label_days: float | None = None
    fault: str | None = None
    plan: str = "standard"


def customers(rows: ModelRows, scale: Scale, names: Names | None = None) -> Resampler:
    """Customers of a built model.

    Raises:
        SimulationError: If the sample or a drift is unknown.
    """
    return Resampler(
        rows,
        seed=scale.seed,
        sample=scale.sample,
        drifts=read_drifts(scale.drifts, rows.spec),
        label_days=scale.label_days,
        names=names,
    )


def tell(say: Say, made: Resampler) -> None:
    """Say who the customers are and what is planted."""
    say(SYNTHETIC)
    stated = " (the model declares no horizon; --label-days sets it)" if made.assumed else ""
    say(
        f"{made.spec.name} {made.spec.version}: {made.size:,} rows of sample '{made.sample}';"
        f" outcomes after {made.horizon.days} days or somewhat later{stated}"
    )
    for drift in made.drifts:
        say(f"planted: {drift.name} times {drift.factor:g} from day {drift.day} on")


def play(say: Say, root: Path, model: str, scale: Scale | None = None, *, folder: Path | None = None) -> None:
    """Play a built model of a bank in production, and end with an error if a claim does not hold.

    Args:
        say: Called with each line.
        root: The bank; nothing of it is changed but its DVC cache, which a faulty release's evidence is added to.
        model: Name of the model.
        scale: How large, and what is planted.
        folder: New folder for the copy; a temporary one otherwise, gone at the end.

    Raises:
        SimulationError: Naming the claims that did not hold, or what cannot be played.
    """
    known = scale or Scale()
    started = time.monotonic()
    claims = Claims(say)
    rows = read_rows(root, model)
    made = customers(rows, known)
    fault, plan = (fault_of(known.fault), rollout_plan(root, known.plan)) if known.fault else (None, None)
    if fault is not None and plan is not None:
        check_fault(fault, plan, rows.spec)
    tell(say, made)
    with workplace(folder) as place:
        copy_bank(root, place / "bank")
        opened = Opening(place / "bank", made, say)
        opened.release(rows.spec.version)
        if fault is not None:
            opened.release_fault(fault)
        story = BankStory(opened.production(), made, known, claims)
        try:
            story.live(fault, plan)
            story.prove(fault)
            claims.hold("nothing of this is on the bank's own ledger and release log", untouched(root, story))
        finally:
            story.life.close()
    claims.close(time.monotonic() - started)


def first_day(made: Resampler) -> dt.date:
    """The day after the data end: a life goes on where they stop, and is the same on any day it is played."""
    return dt.date.fromisoformat(made.spec.as_of) + dt.timedelta(days=1)


def day_of(made: Resampler, number: int) -> dt.datetime:
    """When a day of a life begins, on the source's clock."""
    return instant(day_start(first_day(made) + dt.timedelta(days=number), made.zone))


class Opening:
    """From a copy of a bank to a model in production.

    Args:
        root: The copy.
        made: The customers.
        say: Called with each line.
    """

    def __init__(self, root: Path, made: Resampler, say: Say) -> None:
        self.made, self.say, self.spec = made, say, made.spec
        self.clock = SimulatedClock(day_of(made, 0) - dt.timedelta(days=1))
        self.desk = Desk(root, self.spec.name, self.clock, say)

    def release(self, version: str) -> None:
        """Build and authorise the model as it is declared."""
        began = time.monotonic()
        self.desk.build(f"{self.spec.name} {version}")
        self.say(f"v{version} built in {time.monotonic() - began:.0f} s; what the DVC cache has is not built anew")
        self.desk.release(version)

    def release_fault(self, fault: Fault) -> None:
        """Authorise the faulty version; it is live from the day of its rollout: authorised is not live."""
        version = write_version(self.desk.root, self.spec, fault)
        self.say(f"\n— A faulty release, v{version}: {fault.told} —")
        self.release(version)

    def production(self) -> Life:
        """Begin production, with an empty feature store."""
        if self.clock.now() < day_of(self.made, 0):
            self.clock.set(day_of(self.made, 0))
        store = open_store(f"sqlite:///{self.desk.root / '.countermark' / 'features.sqlite'}")
        for view in self.made.builder.plans:
            store.publish(view, [], self.clock.now())
        return Life(self.desk, self.clock, store, self.say)


class BankStory:
    """One life of a bank's model.

    Args:
        life: The model in production; the faulty version is authorised there, after the good one.
        made: The customers.
        scale: How large.
        claims: What must hold.
    """

    def __init__(self, life: Life, made: Resampler, scale: Scale, claims: Claims) -> None:
        self.life, self.made, self.scale, self.claims = life, made, scale, claims
        self.spec, self.say = made.spec, life.say
        self.faulty = ReleaseRef(self.spec.name, next_version(self.spec.version))
        self.draws: dict[str, Draw] = {}

    def live(self, fault: Fault | None, plan: RolloutPlan | None) -> None:
        """Every day, then the time until the last outcome is known."""
        self.say(f"\n— {self.scale.days} days from {first_day(self.made)}, {self.scale.daily} requests a day —")
        for number, draws in enumerate(self.made.draw(self.scale.days, self.scale.daily)):
            if fault is not None and plan is not None and number == self.scale.days // 4:
                self.life.service.refresh()
                plant(self.life.service.catalog.models[self.spec.name][self.faulty.version], fault, plan)
                self.life.start(self.faulty, plan)
            day = day_of(self.made, number)
            self.life.day(day, [self._placed(draw, max(day, self.life.clock.now())) for draw in draws])
        self.life.run_out()

    def _placed(self, draw: Draw, earliest: dt.datetime) -> Application:
        application = self.made.place(draw, max(earliest, self.made.instant(draw, first_day(self.made))))
        self.draws[application.id] = draw
        return application

    # --- what must hold

    def prove(self, fault: Fault | None) -> None:
        """Say what happened, and judge it."""
        decisions = [decode(entry.payload, DecisionRecord) for entry in self.life.ledger.read(["decision"])]
        self._summary(decisions)
        self.say("\n— What must be true —")
        asked, refused = len(self.draws), self.life.refused
        plain = [why for identity, why in refused.items() if not self.made.drifts_of(self._draw_of(identity))]
        hold = self.claims.hold
        hold("no request or event was refused but for its drift", not plain, "; ".join(sorted(set(plain))))
        once = Counter(made.id for made in decisions)
        hold(
            "every other request has one decision on the ledger",
            asked > 0 and set(once) == set(self.draws) - set(refused) and set(once.values()) <= {1},
            f"{len(decisions):,} of {asked:,}",
        )
        self._outcomes(decisions)
        self._vectors(decisions)
        if fault is not None:
            self._turned_back(fault)
        replayed = self.life.replay(REPLAYS)
        same = sum(one.identical for one in replayed)
        hold(
            "replayed decisions are identical to the last bit", same == len(replayed) > 0, f"{same} of {len(replayed)}"
        )
        report = self.life.ledger.verify()
        hold("the ledger verifies", not report.problems, f"{report.entries:,} entries on {len(report.chains)} chains")

    def _draw_of(self, identity: str) -> Draw:
        """Whose request or event it is."""
        return self.draws[identity] if identity in self.draws else self.draws[identity.rpartition("-e")[0]]

    def _summary(self, decisions: list[DecisionRecord]) -> None:
        by = Counter(made.decision for made in decisions)
        answered = Counter(made.release.version for made in decisions)
        self.say(f"\n{len(decisions):,} decisions: " + ", ".join(f"{name} {n:,}" for name, n in sorted(by.items())))
        self.say("answered by " + ", ".join(f"v{version} {n:,}" for version, n in sorted(answered.items())))
        for why, n in sorted(Counter(self.life.refused.values()).items()):
            self.say(f"refused {n:,}: {why}")
        if self.spec.name not in monitor_plans(self.life.desk.root):
            self.say("the bank has no monitoring plan for this model")
            return
        run = self.life.monitor(day_of(self.made, self.scale.days))
        opened = [finding for finding in run.findings if finding.status != "closed"]
        readings = run.watch.readings
        silent = sum(reading.value is None for reading in readings)
        self.say(
            f"monitoring as of the last day, {run.watch.decisions:,} decisions in its window: {len(opened)} findings,"
            f" {silent} of {len(readings)} readings not evaluated"
        )
        moved = sorted((-r.value, r.subject) for r in readings if r.check == "feature_psi" and r.value is not None)
        if moved:
            self.say("  inputs that moved most, PSI: " + ", ".join(f"{name} {-psi:.3f}" for psi, name in moved[:3]))
        for finding in opened[:8]:
            self.say(f"  {finding.light.glyph} {finding.text}")

    def _outcomes(self, decisions: list[DecisionRecord]) -> None:
        at = {made.id: parse_instant(made.at) for made in decisions}
        told = [decode(entry.payload, OutcomeRecord) for entry in self.life.ledger.read(["outcome"])]
        early = [o for o in told if parse_instant(o.known_at) < at[str(o.decision)] + self.made.horizon]
        wrong = [o for o in told if o.value != self.made.outcome(self.draws[str(o.decision)])]
        late = sorted((parse_instant(o.known_at) - at[str(o.decision)]).days for o in told)
        self.claims.hold(
            "every decision's outcome came, late, and is that of its row",
            len(told) == len(decisions) > 0 and not early and not wrong,
            f"after {late[0]} to {late[-1]} days, {late[len(late) // 2]} in the middle" if late else "none came",
        )

    def _vectors(self, decisions: list[DecisionRecord]) -> None:
        audit = self.life.audit()
        self.claims.hold(
            "every served vector equals the one made offline from the events",
            not audit.mismatches and audit.compared == len(decisions) and audit.other_views == 0,
            f"{audit.values:,} values, {audit.exact:,} equal to the last bit",
        )
        plain = [made for made in decisions if not self.made.drifts_of(self.draws[made.id])]
        differ = [made.id for made in plain if not _same(made, self.made.vector(self.draws[made.id]))]
        self.claims.hold(
            "without drift, the served vector is that of the row in the data set",
            not differ,
            f"{len(plain) - len(differ):,} of {len(plain):,} decisions",
        )

    def _turned_back(self, fault: Fault) -> None:
        ended = [state for state in self.life.rollouts if state.candidate == self.faulty.version]
        last = ended[-1] if ended else None
        guards = [r.guard for r in last.events[-1].readings if r.verdict == "fail"] if last is not None else []
        self.claims.hold(
            f"the faulty release was turned back by itself, by guard '{fault.guard}'",
            last is not None and last.ended == "rolled_back" and fault.guard in guards,
            "" if last is None else f"{last.ended or 'still running'} in stage {last.stage}",
        )
        self.claims.hold("the release before it answers", self.life.champion == self.spec.version)


def _same(made: DecisionRecord, row: dict[str, float | str | None]) -> bool:
    for name, value in row.items():
        was = made.features.get(name)
        if isinstance(was, float) and isinstance(value, float):
            if abs(was - value) > TOLERANCE * max(1.0, abs(value)):
                return False
        elif was != value:
            return False
    return True


def untouched(root: Path, story: BankStory) -> bool:
    """Whether the bank's ledger has no decision of a life, and its release log is another one than the life's."""
    heads = [Git(folder).resolve(LOG_REF) for folder in (root, story.life.desk.root)]
    if heads[0] is not None and heads[0] == heads[1]:
        return False
    if not (root / "ledger").is_dir():
        return True
    with open_ledger(root / "ledger") as ledger:
        found = (entry for identity in story.draws for entry in ledger.get("decision", identity))
        return all(decode(entry.payload, DecisionRecord).channel != "simulation" for entry in found)

"""The whole operating loop as one story, with claims that must hold at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from countermark.config.operations import rollout_plan
from countermark.contracts.tables import read_table
from countermark.features.online import open_store
from countermark.governance.check import check_all, passed
from countermark.monitoring.challenge import ChallengeEvidence, compare
from countermark.monitoring.window import pin, read_production
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import as_document
from countermark.records.digest import pretty_json
from countermark.records.release import ReleaseRef
from countermark.simulation.bank import MODEL, write_simulated_bank
from countermark.simulation.claims import Claims
from countermark.simulation.desk import Desk
from countermark.simulation.life import Life
from countermark.simulation.loans import LoanTraffic
from countermark.simulation.workplace import workplace

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 91
CHALLENGER_FROM, V2_ON, V3_ON, DRIFT_FROM = 4, 48, 64, 72


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a life is played.

    Attributes:
        training: Customers of the training data.
        customers: Customers in production.
        daily: Applications a day.
        replays: Decisions replayed at the end.
        seed: Seed of everything.
    """

    training: int = 8000
    customers: int = 1500
    daily: int = 40
    replays: int = 1000
    seed: int = 20260101


def play(say: Callable[[str], None], scale: Scale | None = None, *, folder: Path | None = None) -> None:
    """Play a model's life, and end with an error if a claim does not hold.

    Args:
        say: Called with each line of the story.
        scale: How large.
        folder: Where the bank is made; a temporary folder otherwise, gone at the end.

    Raises:
        SimulationError: Naming the claims that did not hold.
    """
    with workplace(folder) as place:
        started = time.monotonic()
        claims = Claims(say)
        _Story(place, scale or Scale(), say, claims).play()
        claims.close(time.monotonic() - started)


class _Story:
    def __init__(self, place: Path, scale: Scale, say: Callable[[str], None], claims: Claims) -> None:
        self.scale, self.say, self.claims = scale, say, claims
        self.clock = SimulatedClock(START - timedelta(days=14))
        write_simulated_bank(place / "bank", customers=scale.training, seed=scale.seed)
        self.desk = Desk(place / "bank", MODEL, self.clock, say)
        self.evidence: ChallengeEvidence | None = None
        self.reviews: list[str] = []
        self.v1, self.v2, self.v3 = (ReleaseRef(MODEL, version) for version in ("1.0.0", "2.0.0", "3.0.0"))

    def play(self) -> None:
        """Everything, in order."""
        self._first_release()
        self.clock.set(START)
        self.traffic = LoanTraffic(self.scale.customers, self.scale.seed)
        self.life = self._production()
        statements = self.traffic.statements(START, months=6)
        self.life.take_in(statements)
        self.say(f"{len(statements):,} statements taken in; ninety-one days begin")
        for number in range(DAYS):
            self._day(number)
        self._proofs()
        self.life.close()

    def _production(self) -> Life:
        root = self.desk.root
        url = f"sqlite:///{root / '.countermark' / 'features.sqlite'}"
        self.desk.run("countermark", "features", "materialize", "--as-of", iso(self.clock.now()), "--to", url)
        table = read_table(root / "models" / MODEL / "out" / "accepted" / "statements.parquet")
        return Life(self.desk, self.clock, open_store(url), self.say, {"statements": table})

    def _start(self, ref: ReleaseRef) -> None:
        self.life.start(ref, rollout_plan(self.desk.root, "brisk"))

    def _first_release(self) -> None:
        self.say("\n— Build and approval —")
        self.desk.build("sim_loan 1.0.0")
        self.say("sim_loan 1.0.0 is built from raw data; its pack is a draft")
        refused: list[str | None] = []
        original = self.desk.say

        def at_proposal(text: str) -> None:
            original(text)
            if text.startswith("dana proposes") and not refused:
                refused.append(self.desk.self_approval("1.0.0"))

        self.desk.say = at_proposal
        self.desk.release("1.0.0")
        self.desk.say = original
        why = refused[0] if refused else None
        self.claims.hold("the developer could not approve their own model", why is not None, why or "")

    def _day(self, number: int) -> None:
        day = START + timedelta(days=number)
        if day > self.clock.now():
            self.clock.set(day)
        if day.day == 1 and number:
            self.life.take_in(self.traffic.statements(day))
        if number == CHALLENGER_FROM:
            self._challenger()
        if number == V2_ON:
            self._promote()
        if number == V3_ON:
            self._faulty()
        factor = 0.55 if number >= DRIFT_FROM else 1.0
        if number == DRIFT_FROM:
            self.say("\n— From here on stated incomes are 45 % lower (planted, told to nobody) —")
        self.life.day(day, self.traffic.applications(day, self.scale.daily, income_factor=factor))
        if number % 7 == 6:
            self._week(day)

    def _challenger(self) -> None:
        self.say("\n— A challenger —")
        self.desk.edit("conf/model/sim_loan.yaml", "version: 1.0.0", "version: 2.0.0")
        self.desk.edit("conf/model/sim_loan.yaml", "iterations: 120, depth: 4", "iterations: 200, depth: 4")
        self.desk.build("sim_loan 2.0.0")
        self.desk.release("2.0.0")
        self.life.challenge(self.v2)
        self.say(f"{self.v2} is scored in shadow from now on; {self.v1} answers")

    def _promote(self) -> None:
        self.say("\n— Champion and challenger, on the same decisions —")
        now = self.clock.now()
        pin(self.life.ledger, now, now)
        production = read_production(self.life.ledger, now)[MODEL]
        found = compare(production, "1.0.0", "2.0.0", maturity_days=31)
        self.evidence = found
        (self.desk.root / "challenge.json").write_bytes(pretty_json(as_document(found)))
        self.say(
            f"{found.decisions:,} decisions scored by both, {found.labelled:,} with a matured label,"
            f" {found.events} missed payments; AUC {_three(found.auc.champion)} and {_three(found.auc.challenger)}:"
            f" {found.verdict}"
        )
        self.claims.hold("the challenger was compared on matured labels", found.labelled > 0)
        self.claims.hold("the challenger is not worse", found.verdict != "worse")
        self.life.challenge(self.v2, dismiss=True)
        self._start(self.v2)

    def _faulty(self) -> None:
        self.say("\n— A faulty release: its cut-off lost a digit —")
        self.desk.edit("conf/model/sim_loan.yaml", "version: 2.0.0", "version: 3.0.0")
        self.desk.edit("conf/decision/sim_loan.yaml", "cutoff: 0.25", "cutoff: 0.025")
        self.desk.edit("conf/decision/sim_loan.yaml", "version: 1.0.0", "version: 1.1.0")
        self.desk.build("sim_loan 3.0.0")
        self.desk.release("3.0.0")
        self._start(self.v3)

    def _week(self, day: datetime) -> None:
        as_of = self.clock.now()
        run = self.life.monitor(as_of)
        opened = [finding for finding in run.findings if finding.status in ("open", "worse")]
        for finding in opened[:3]:
            self.say(f"  {finding.light.glyph} {finding.text}")
        last = self.life.rollouts
        decided = [f"Look into {finding.check} of {finding.subject}" for finding in opened[:1]]
        if last and last[-1].ended == "rolled_back" and not last[-1].reconciled:
            self.life.reconcile("The cut-off was mistyped; a mended version follows")
            decided.append("v3.0.0 stays out; its decision policy is mended")
        identity, needed = self.life.review(as_of, decided)
        self.reviews.append(identity)
        n = run.watch.decisions
        self.say(
            f"{day:%d %b}  review {identity}: {n} decisions in the window, {len(opened)} new findings,"
            f" {needed} decisions needed"
        )

    def _proofs(self) -> None:
        self.say("\n— What must be true at the end —")
        life, hold = self.life, self.claims.hold
        ended = {state.candidate: state.ended for state in life.rollouts}
        hold("v2 went through shadow and canary to full", ended.get("2.0.0") == "completed")
        hold("v3 was turned back by itself", ended.get("3.0.0") == "rolled_back")
        hold("v2 answers", life.champion == "2.0.0", f"champion v{life.champion}")
        found = [f for run in life.runs for f in run.findings if f.check == "feature_psi" and f.status == "open"]
        first = min((f.at for f in found if f.subject == "income"), default=None)
        hold("the drift of incomes was found", first is not None, "" if first is None else f"on {first[:10]}")
        early = [f for f in found if f.at < f"{START + timedelta(days=DRIFT_FROM):%Y-%m-%d}"]
        hold("no input drift was reported before it began", not early, ", ".join(f.subject for f in early))
        hold("thirteen weekly reviews were held and signed", len(set(self.reviews)) == 13, str(len(self.reviews)))
        hold("no request was refused", not life.refused, ", ".join(sorted(set(life.refused.values()))))
        replayed = life.replay(self.scale.replays)
        same = sum(one.identical for one in replayed)
        versions = sorted({one.record.release.version for one in replayed if one.record is not None})
        hold(
            f"{self.scale.replays:,} replayed decisions are identical to the last bit",
            same == len(replayed) == self.scale.replays,
            f"{same} of {len(replayed)}, releases {', '.join(versions)}",
        )
        audit = life.audit()
        hold(
            "every served vector equals the one made offline",
            not audit.mismatches and audit.compared > 0 and audit.other_views == 0,
            f"{audit.values:,} values of {audit.compared:,} decisions, {audit.exact:,} equal to the last bit",
        )
        report = life.ledger.verify()
        hold("the ledger verifies", not report.problems, f"{report.entries:,} entries on {len(report.chains)} chains")
        checks = check_all(self.desk.bank)
        hold("releases, tags, packs and log verify", passed(checks), f"{len(checks)} checks")


def _three(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"

"""A week of a small bank: four models in production, one of which has a bad week."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from countermark.config.monitor import MonitorPlan
from countermark.governance.access import BankRegistry, open_registry
from countermark.ledger import open_ledger
from countermark.records.clock import SimulatedClock, iso
from countermark.records.decision import encode
from countermark.records.lights import Light
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.records.watch import LiveFinding, ModelWatch, Reading
from countermark.registry.repository import LOG_REF
from countermark.review.prepare import Sources
from countermark.rollout.events import RolloutEvent, event_bytes
from countermark.rollout.orders import give_order
from tests.registry.people import key
from tests.registry.test_repository import git
from tests.replay.decided import Desk
from tests.serving.releases import ReleaseBank

AS_OF = datetime(2026, 2, 10, 8, 0, tzinfo=UTC)
PLAN = MonitorPlan.model_validate(
    {"name": "toy_pd", "version": "1.0.0", "owner": "Olga Owner", "source_note": "Test", "maturity_days": 30,
     "limits": {}}
)  # fmt: skip
ROLLOUT_PLAN: dict[str, Any] = {
    "name": "standard", "version": "1.0.0", "owner": "Eli Engineer", "source_note": "Test", "kind": "canary",
}  # fmt: skip


def reading(check: str, light: Light, value: float | None, **more: Any) -> Reading:
    base: dict[str, Any] = {
        "check": check, "subject": "score", "n": 812, "value": value, "limit": "at most 0.10, Fail beyond 0.25",
        "light": light, "rule": "value", "owner": "Olga Owner",
    }  # fmt: skip
    return Reading(**{**base, **more})


def watch(model: str, *readings: Reading, version: str = "1.0.0", decisions: int = 1240) -> ModelWatch:
    return ModelWatch(
        model=model,
        release=version,
        plan="standard 1.0.0",
        as_of=iso(AS_OF - timedelta(hours=2)),
        window=(iso(AS_OF - timedelta(days=30)), iso(AS_OF - timedelta(hours=2))),
        decisions=decisions,
        matured=611,
        labelled=598,
        readings=readings,
        off=("expired_share",),
    )


BAD = (
    reading("kpi", Light.PASS, 0.812, subject="approvals", limit="0.70 to 0.97"),
    reading("daily_volume", Light.PASS, 41.3, subject="all", limit="at least 20"),
    reading("auc", Light.WATCH, 0.683, low=0.651, high=0.715, reference=0.724, limit="at least 0.70, Fail below 0.65"),
    reading("auc_drop", Light.WATCH, 0.041, low=0.009, high=0.073, limit="at most 0.03"),
    reading("calibration", Light.PASS, 0.214, limit="p at least 0.05"),
    reading("score_psi", Light.WATCH, 0.1423),
    reading("feature_psi", Light.FAIL, 0.3127, subject="income", weight=0.9),
    reading("feature_psi", Light.PASS, 0.0211, subject="dti", weight=0.4),
    reading("feature_psi", Light.PASS, 0.0109, subject="age", weight=0.2),
    reading("missing_shift", Light.PASS, 0.004, subject="income", limit="at most 2 %"),
    reading("adverse_impact", Light.NOT_EVALUATED, None, subject="sex=f", limit="0.80 to 1.25",
            reason="protected groups were not given"),
    reading("adverse_impact", Light.NOT_EVALUATED, None, subject="sex=m", limit="0.80 to 1.25",
            reason="protected groups were not given"),
)  # fmt: skip
GOOD = (
    reading("score_psi", Light.PASS, 0.0123),
    reading("kpi", Light.PASS, 0.871, subject="approvals", limit="0.70 to 0.97"),
    reading("auc", Light.NOT_EVALUATED, None, reason="no matured label"),
)


class Week:
    """The bank, its ledger and its people.

    Args:
        folder: Where to put it.
        bad: Whether the week is bad; otherwise every model is quiet.
    """

    def __init__(self, folder: Path, *, bad: bool = True) -> None:
        self.root = folder / "bank"
        self.release_bank = ReleaseBank(self.root / "releases")
        releases = self.release_bank
        releases.release("toy_pd@v1.0.0", expires="2026-02-28" if bad else None)
        if bad:
            releases.release("toy_pd@v2.0.0", seed=1)
        for model in ("toy_cards", "toy_mortgage", "toy_overdraft"):
            releases.release(f"{model}@v1.0.0", seed=5)
        if bad:
            self._log_of_a_bad_week()
        releases.write()
        self.address = str(folder / "ledger")
        self.clock = SimulatedClock(AS_OF)
        self._ledger(bad)
        self._git()

    def _log_of_a_bad_week(self) -> None:
        log = self.release_bank.log
        body = {
            "model": "toy_pd", "release": "toy_pd@v1.0.0", "severity": "medium", "test": None,
            "text": "Grade C is thin in the newest vintage", "owner": "Olga Owner", "due": "2026-03-31",
        }  # fmt: skip
        log.add("finding_opened", body, by="vera")
        log.propose("toy_cards@v1.1.0", opinion="Fit with conditions")
        actions = [
            {"id": "2026-W05-1", "owner": "Olga Owner", "due": "2026-02-03", "text": "Ask the branch about incomes", "model": "toy_pd"},
            {"id": "2026-W05-2", "owner": "Vera Validator", "due": "2026-03-02", "text": "Read the thin grade again", "model": "toy_pd"},
        ]  # fmt: skip
        signed = {"review": "2026-W05", "digest": "d" * 64, "actions": actions, "done": [], "checkpoint": None}
        log.add("review_signed", signed, by="olga")

    def _ledger(self, bad: bool) -> None:
        state = self.release_bank.directory.state(AS_OF)
        with open_ledger(self.address) as ledger:
            for k, model in enumerate(state.models):
                desk = Desk(self.release_bank.directory, state, model)
                desk.fill(ledger, 40, first=AS_OF - timedelta(days=3), start=1000 * k)
            at = iso(AS_OF - timedelta(hours=2))
            for model in state.models:
                told = watch(model, *(BAD if bad and model == "toy_pd" else GOOD))
                ledger.append("monitor", model, encode(told), at)
            if bad:
                for check, subject, light, text in (
                    ("feature_psi", "income", Light.FAIL, "drift (PSI) of income is 0.3127 on 812 rows; limit 0.25"),
                    ("auc", "score", Light.WATCH, "realised AUC is 0.683 (0.651 to 0.715) on 598 rows, 0.724 in the reference"),
                ):  # fmt: skip
                    found = LiveFinding(
                        id=f"toy_pd/{check}/{subject}", model="toy_pd", check=check, subject=subject, light=light,
                        status="open", at=at, since=at, owner="Olga Owner", text=text,
                    )  # fmt: skip
                    ledger.append("finding", found.id, encode(found), at)
        if bad:
            self._rollout()

    def _rollout(self) -> None:
        start, end = iso(AS_OF - timedelta(days=2)), iso(AS_OF - timedelta(days=1))
        common: dict[str, Any] = {
            "rollout": "r-1", "model": "toy_pd", "champion": "1.0.0", "candidate": "2.0.0", "share": 0.0,
        }  # fmt: skip
        events = (
            RolloutEvent(**common, type="started", at=start, by="eli", stage="shadow", plan=_plan()),
            RolloutEvent(
                **common, type="rolled_back", at=end, by="controller", stage="shadow",
                reason="decision_rate 0.094 beyond 0.05 on 412 pairs",
            ),
        )  # fmt: skip
        started, ended = events
        table = RoutingTable(version=1, at=start, models={"toy_pd": ModelRoute(champion="1.0.0", challenger="2.0.0")})
        with open_ledger(self.address, writer="rollout") as ledger:
            ordered = give_order(ledger, self.release_bank.directory.state(AS_OF), started, key("eli"))
            for event in (ordered, ended):
                ledger.append("rollout", event.rollout, event_bytes(event), event.at)
            ledger.append("routing", "routing", encode(table), start)

    def _git(self) -> None:
        git(self.root, "init", "-q", "-b", "main")
        (self.root / "conf" / "monitor").mkdir(parents=True)
        (self.root / "conf" / "bank.yaml").write_text("name: Test bank\n")
        for name in self.release_bank.directory.state(AS_OF).models:
            text = PLAN.model_copy(update={"name": name}).model_dump_json()
            (self.root / "conf" / "monitor" / f"{name}.yaml").write_text(text)
        git(self.root, "add", "conf")
        git(self.root, "commit", "-qm", "first")
        git(self.root, "config", "countermark.trustRoot", self.release_bank.trust_root)
        repository = open_registry(self.root, clock=self.clock).log
        head: str | None = None
        for entry in self.release_bank.log.entries:
            head = repository._commit(entry, head, "somebody", "entry")
        git(self.root, "update-ref", LOG_REF, str(head))

    @property
    def bank(self) -> BankRegistry:
        """The registry, an hour later."""
        self.clock.set(self.clock.now() + timedelta(hours=1))
        return open_registry(self.root, clock=self.clock)

    def sources(self, ledger: Any, *, unplanned: str | None = None) -> Sources:
        """Where the review is read from; every model has a plan but the one named."""
        state = self.bank.state()
        plans = {name: PLAN.model_copy(update={"name": name}) for name in state.models if name != unplanned}
        return Sources(ledger, self.release_bank.directory, state, plans, "Test bank")


def _plan() -> dict[str, Any]:
    import yaml

    from countermark.config.rollout import RolloutPlan

    text = (Path(__file__).parents[2] / "conf" / "rollout" / "standard.yaml").read_text(encoding="utf-8")
    return RolloutPlan.model_validate(yaml.safe_load(text)).model_dump(mode="json")

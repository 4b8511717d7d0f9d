"""The commands on production: on a serving directory and a ledger, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from countermark.cli import rollout as rollout_commands
from countermark.cli.root import app
from countermark.config.rollout import RolloutPlan
from countermark.errors import ConfigError, LedgerError, MonitoringError, RegistryError, RolloutError, SourceError
from countermark.ledger.entry import Item
from countermark.ledger.opening import open_ledger
from countermark.monitoring.challenge import ChallengeEvidence
from countermark.monitoring.findings import standing_findings
from countermark.records.clock import SystemClock, iso
from countermark.records.decision import encode
from countermark.records.digest import sha256_hex
from countermark.records.lights import Light
from countermark.rollout import orders
from countermark.rollout.controller import Controller
from countermark.rollout.events import RolloutEvent, event_bytes
from countermark.rollout.live import rollouts
from countermark.rollout.machine import begin
from countermark.serving.catalog import load_catalog
from countermark.serving.leader import release_facts
from tests.bank import make_bank
from tests.ledger.damage import change
from tests.monitoring.productions import bound, outcome, record
from tests.monitoring.test_findings import listener
from tests.registry.people import key
from tests.registry.test_repository import git
from tests.serving.releases import ReleaseBank, columns, pd_spec, scorer

MONITOR = """\
name: toy_pd
version: 1.0.0
owner: Olga
source_note: t
maturity_days: 30
minimum_rows: 100
limits:
  daily_volume: {kind: lower, watch: 5, fail: 1, source: t}
  missing_shift: {kind: upper, watch: 0.05, fail: 0.10, source: t}
  auc: {kind: lower, watch: 0.6, fail: 0.55, source: t}
  adverse_impact: {kind: band, inner: [0.8, 1.25], outer: [0.7, 1.43], source: t}
"""
NOW = SystemClock().now()
ELI = str(key("eli").path)
QUICK = {
    "name": "quick",
    "version": "1.0.0",
    "source_note": "t",
    "kind": "parallel_run",
    "shadow": {"min_pairs": 50, "max_hours": 1},
    "guards": {"decision_rate": {"limit": 0.2, "min_pairs": 50}},
}
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> ReleaseBank:
    made = ReleaseBank(tmp_path_factory.mktemp("releases") / "releases")
    made.release("toy_pd@v1.0.0")
    made.release("toy_pd@v2.0.0", seed=1)
    made.release("toy_pd@v3.0.0", seed=2, assign=False)
    return made


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, releases: ReleaseBank) -> Path:
    """A bank with a plan for ``toy_pd``, whose releases and trust root are those of the fixture."""
    folder = make_bank(tmp_path / "bank", rows=5)
    (folder / "conf/monitor").mkdir()
    (folder / "conf/monitor/toy_pd.yaml").write_text(MONITOR, encoding="utf-8")
    (folder / "releases").symlink_to(releases.folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COUNTERMARK_TRUST_ROOT", releases.trust_root)
    monkeypatch.delenv("COUNTERMARK_LEDGER", raising=False)
    return folder


def run(*args: str) -> Result:
    done = CliRunner().invoke(app, list(args))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def refused(kind: type[Exception], *args: str) -> str:
    done = CliRunner().invoke(app, list(args))
    assert isinstance(done.exception, kind), (done.exception, done.output)
    return str(done.exception)


def traffic(bank: Path, *, days: float = 10, n: int = 400, missing: bool = False, labels: bool = False) -> None:
    """Decisions of v1 on cases of the right population, v2 in shadow; ``days`` ago."""
    spec = pd_spec()
    table = columns(spec, n, 3)
    rng = np.random.default_rng(1)
    if missing:
        table["income"] = np.where(rng.random(n) < 0.6, np.nan, table["income"])
    at = iso(NOW - timedelta(days=days))
    first, second = (of.probability(of.margin(table)) for of in (scorer(spec), scorer(spec, seed=1)))
    items: list[Item] = []
    for k in range(n):
        features = {
            name: None if v[k] is None or v[k] != v[k] else v[k] if isinstance(v[k], str) else float(v[k])
            for name, v in table.items()
        }
        one = record(f"{days}-{k}", at, float(first[k]), features=features, entity=f"c{k}")
        one = msgspec.structs.replace(bound(one, "1.0.0"), model="toy_pd")
        other = msgspec.structs.replace(bound(one, "2.0.0"), p=float(second[k]).hex())
        items += [("decision", one.id, encode(one), at), ("shadow", one.id, encode(other), at)]
        if labels:
            happened = outcome(one.id, float(rng.random() < first[k]), at, model="toy_pd")
            items.append(("outcome", one.id, encode(happened), at))
    with open_ledger(bank / "ledger") as ledger:
        ledger.append_many(items)


# --- monitor


def test_a_quiet_month_and_a_loud_one(bank: Path) -> None:
    traffic(bank)
    quiet = run("monitor", "run", "toy_pd")
    assert "toy_pd@v1.0.0" in quiet.output
    assert "400 decisions; 0 of 0 matured ones have a label" in quiet.output
    assert "[Olga]" not in quiet.output
    traffic(bank, days=5, missing=True)
    loud = run("monitor", "run", "--all")
    assert "open   toy_pd: change of the share missing of income is 0.3" in loud.output
    assert loud.output.count("[Olga]") == 1
    shown = run("monitor", "show")
    assert "open   toy_pd: change of the share missing of income is 0.3" in shown.output
    assert f"since {iso(SystemClock().now())[:10]}" in shown.output
    assert run("monitor", "show", "another").output == "no finding stands\n"


def test_a_run_as_of_an_instant_sees_nothing_later(bank: Path) -> None:
    traffic(bank, days=20)
    traffic(bank, days=5, missing=True)
    then = iso(NOW - timedelta(days=10))
    done = run("monitor", "run", "toy_pd", "--as-of", then, "--json")
    (found,) = json.loads(done.output)
    assert (found["watch"]["decisions"], found["watch"]["as_of"], found["findings"]) == (400, then, [])
    assert run("monitor", "show").output == "no finding stands\n"
    run("monitor", "run", "toy_pd")
    assert run("monitor", "show", "--at", then).output == "no finding stands\n"
    (standing,) = json.loads(run("monitor", "show", "--json").output)
    assert (standing["id"], standing["status"]) == ("toy_pd/missing_shift/income", "open")


def test_groups_and_sinks(bank: Path) -> None:
    traffic(bank, missing=True)
    groups = bank / "groups.csv"
    groups.write_text("entity,sex\n" + "".join(f"c{k},{'fm'[k % 2]}\n" for k in range(400)), encoding="utf-8")
    with listener() as (address, taken):
        run("monitor", "run", "toy_pd", "--groups", "groups.csv", "--log", "findings.jsonl", "--webhook", address)
    ((_, _, body),) = taken
    assert [item["id"] for item in body] == ["toy_pd/missing_shift/income"]
    assert [json.loads(line) for line in (bank / "findings.jsonl").read_text().splitlines()] == body
    groups.write_text("name,sex\n", encoding="utf-8")
    assert "this is no table of groups" in refused(SourceError, "monitor", "run", "toy_pd", "--groups", "groups.csv")


def test_what_monitor_refuses(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("monitor", "run").exit_code == 2
    assert run("monitor", "run", "toy_pd", "--as-of", "yesterday").exit_code == 2
    unplanned = refused(MonitoringError, "monitor", "run", "toy")
    assert "model 'toy' has no monitoring plan" in unplanned
    assert "write one: owner, maturity_days and limits" in unplanned
    (bank / "conf/monitor/toy.yaml").write_text(MONITOR.replace("toy_pd", "toy"), encoding="utf-8")
    assert "no release of 'toy'" in refused(MonitoringError, "monitor", "run", "toy")
    (bank / "conf/monitor/toy_pd.yaml").unlink()
    (bank / "conf/monitor/toy.yaml").write_text(MONITOR.replace("toy_pd", "toy").replace("auc:", "auk:"))
    assert "conf/monitor/toy.yaml:10" in refused(ConfigError, "monitor", "run", "toy")
    monkeypatch.delenv("COUNTERMARK_TRUST_ROOT")
    assert "no trust root is pinned" in refused(RegistryError, "monitor", "run", "toy")


def test_a_model_in_production_without_a_plan_is_a_finding_of_its_owner(bank: Path) -> None:
    """It stands until the model is watched; a run over some models says nothing of it."""
    plan = bank / "conf/monitor/toy_pd.yaml"
    plan.unlink()
    told = run("monitor", "run", "--all", "--log", "findings.jsonl")
    text = "toy_pd: in production and not watched: there is no plan conf/monitor/toy_pd.yaml"
    assert "\ntoy_pd  not watched\n" in told.output
    assert f"open   {text}  [Olga Owner]" in told.output
    (line,) = (bank / "findings.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "toy_pd/plan/all"
    early = run("monitor", "run", "--all", "--as-of", "2020-01-01", "--json")
    assert json.loads(early.output) == [], "it was not in production then"
    (again,) = json.loads(run("monitor", "run", "--all", "--json").output)
    assert (again["watch"], again["findings"][0]["since"]) == (None, json.loads(line)["since"])
    assert text in run("monitor", "show").output
    plan.write_text(MONITOR, encoding="utf-8")
    traffic(bank)
    watched = run("monitor", "run", "--all").output
    assert "✓ closed toy_pd: it is watched now: release 1.0.0, plan toy_pd 1.0.0" in watched
    assert "not watched" not in watched
    assert run("monitor", "show").output == "no finding stands\n"


def test_a_release_that_cannot_be_opened_is_not_passed_over(bank: Path, tmp_path: Path) -> None:
    made = ReleaseBank(tmp_path / "broken")
    made.release("toy_pd@v1.0.0")
    (file,) = (made.folder / "bundles").iterdir()
    file.write_bytes(b"PK")
    place = ("--releases", str(made.folder), "--trust-root", made.trust_root)
    told = run("monitor", "run", "--all", *place).output
    assert "toy_pd: in production and not watched: no release of it can be opened (" in told
    empty = ReleaseBank(tmp_path / "empty")
    empty.release("toy_pd@v1.0.0", assign=False)
    left = run("monitor", "run", "--all", "--releases", str(empty.folder), "--trust-root", empty.trust_root).output
    assert "✓ closed toy_pd: it is no longer in production" in left
    assert left.endswith("no model is in production\n")


@pytest.fixture
def lapsed(tmp_path: Path) -> tuple[ReleaseBank, tuple[str, ...]]:
    """A serving directory of v1, whose approvals lapsed yesterday, v2 and v3; and how a command names it."""
    made = ReleaseBank(tmp_path / "lapsed")
    made.release("toy_pd@v1.0.0", expires=iso(NOW - timedelta(days=1))[:10])
    made.release("toy_pd@v2.0.0", seed=1)
    made.release("toy_pd@v3.0.0", seed=2)
    assert set(load_catalog(made.directory, NOW).models["toy_pd"]) == {"2.0.0", "3.0.0"}
    return made, ("--releases", str(made.folder), "--trust-root", made.trust_root)


def test_the_release_that_decided_most_is_judged_though_it_lapsed(
    bank: Path, lapsed: tuple[ReleaseBank, tuple[str, ...]]
) -> None:
    """And no other bundle is opened for it."""
    made, place = lapsed
    traffic(bank, missing=True)
    # v2 answers now and is damaged; v3 keeps the model in production.
    made.bundle_file("toy_pd@v2.0.0").write_bytes(b"PK")
    for asked in ("toy_pd", "--all"):
        told = run("monitor", "run", asked, *place).output
        assert "toy_pd@v1.0.0" in told
        assert "open   toy_pd: change of the share missing of income is 0.5" in told


def test_a_release_that_decided_most_and_cannot_be_opened_is_a_finding(
    bank: Path, lapsed: tuple[ReleaseBank, tuple[str, ...]]
) -> None:
    made, place = lapsed
    traffic(bank, missing=True)
    assert "open   toy_pd: change of the share missing of income" in run("monitor", "run", "toy_pd", *place).output
    whole = made.bundle_file("toy_pd@v1.0.0").read_bytes()
    for damage in (lambda file: file.write_bytes(whole[:100]), Path.unlink):
        damage(made.bundle_file("toy_pd@v1.0.0"))
        told = run("monitor", "run", "toy_pd", *place)
        assert "toy_pd@v1.0.0" in told.output
        unjudged = "number of unjudged decisions of release 1.0.0 is 400 on 400 rows, as it cannot be opened"
        assert f"open   toy_pd: {unjudged}" in told.output
        (found,) = json.loads(run("monitor", "run", "toy_pd", "--json", *place).output)
        reasons = {r["reason"] for r in found["watch"]["readings"] if r["check"] == "missing_shift"}
        assert all(reason.startswith("release 1.0.0 cannot be opened: ") for reason in reasons), reasons
        shown = run("monitor", "show").output
        assert "change of the share missing of income" in shown, "what stood still stands"
        assert unjudged in shown
    made.bundle_file("toy_pd@v1.0.0").write_bytes(whole)
    told = run("monitor", "run", "toy_pd", *place).output
    assert "✓ closed toy_pd: release 1.0.0 can be opened, or made most decisions of the window no longer" in told


def test_nothing_is_known_of_the_future(bank: Path) -> None:
    traffic(bank, missing=True)
    ahead = iso(NOW + timedelta(days=400))
    for asked in (["monitor", "run", "toy_pd"], ["monitor", "run", "--all"]):
        assert "nothing is known of the future" in refused(MonitoringError, *asked, "--as-of", ahead)
    assert "nothing is known of the future" in refused(MonitoringError, "monitor", "show", "--at", ahead)
    with open_ledger(bank / "ledger") as ledger:
        assert list(ledger.read(["monitor", "finding"])) == []


def test_what_bears_a_later_date_hides_no_finding(bank: Path) -> None:
    traffic(bank, missing=True)
    run("monitor", "run", "toy_pd")
    with open_ledger(bank / "ledger") as ledger:
        (stands,) = standing_findings(ledger).values()
        ahead = iso(NOW + timedelta(days=400))
        closed = msgspec.structs.replace(stands, status="closed", light=Light.PASS, at=ahead)
        ledger.append("finding", closed.id, encode(closed), ahead)
    assert "change of the share missing of income" in run("monitor", "show").output


def test_no_command_believes_an_outcome_that_was_changed(bank: Path) -> None:
    traffic(bank, days=45, labels=True)
    with open_ledger(bank / "ledger") as ledger:
        entry = next(iter(ledger.read(["outcome"])))
    change(bank / "ledger", entry.seq, payload=entry.payload.replace(b'"source":"t"', b'"source":"u"'))
    for asked in (["run", "toy_pd"], ["challenge", "toy_pd", "--champion", "1.0.0", "--challenger", "2.0.0"]):
        text = refused(LedgerError, "monitor", *asked)
        assert f"entry {entry.seq} of chain 'chain-000' was changed after it was written" in text
        assert "countermark ledger verify" in text
    assert f"seq {entry.seq}" in refused(LedgerError, "ledger", "verify")


def test_both_sinks_of_a_run_are_told(bank: Path) -> None:
    traffic(bank, missing=True)
    with listener() as (address, taken):
        text = refused(MonitoringError, "monitor", "run", "toy_pd", "--log", "nowhere/x.jsonl", "--webhook", address)
    assert "nowhere/x.jsonl: the log of findings cannot be written" in text
    assert len(taken) == 1
    assert "change of the share missing of income" in run("monitor", "show").output


def test_evidence_that_cannot_be_written_is_told(bank: Path) -> None:
    traffic(bank, days=45, n=5)
    asked = ["monitor", "challenge", "toy_pd", "--champion", "1.0.0", "--challenger", "2.0.0", "--to", "nowhere/x.json"]
    text = refused(MonitoringError, *asked)
    assert "nowhere/x.json: the evidence cannot be written" in text
    assert "got: No such file or directory" in text


def test_challenge_writes_the_evidence_that_a_proposal_attaches(bank: Path) -> None:
    traffic(bank, days=45, labels=True)
    done = run(
        "monitor", "challenge", "toy_pd", "--champion", "1.0.0", "--challenger", "2.0.0", "--to", "evidence.json"
    )
    data = (bank / "evidence.json").read_bytes()
    found = msgspec.json.decode(data, type=ChallengeEvidence)
    assert (found.model, found.decisions, found.labelled) == ("toy_pd", 400, 400)
    assert "400 decisions scored by both, 400 with a matured label" in done.output
    assert f"decisions would change: {found.verdict}" in done.output
    assert f"evidence {sha256_hex(data)}, known by ledger checkpoint {found.checkpoint}" in done.output
    early = run("monitor", "challenge", "toy_pd", "--champion", "1.0.0", "--challenger", "2.0.0", "--as-of",
                iso(NOW - timedelta(days=20)))  # fmt: skip
    assert "AUC not known; 0 decisions would change: too few labels" in early.output.replace(
        f"{found.changed} decisions", "0 decisions"
    )
    for model, why in (("toy", "has no monitoring plan"), ("toy_pd", "has no decision")):
        (bank / "empty").mkdir(exist_ok=True)
        assert why in refused(
            MonitoringError, "monitor", "challenge", model, "--champion", "1.0.0", "--challenger", "2.0.0",
            "--ledger", "empty",
        )  # fmt: skip


def test_the_same_instant_gives_the_same_evidence_whatever_is_written_since(bank: Path) -> None:
    traffic(bank, days=45, labels=True)
    then = iso(NOW)
    arguments = ["monitor", "challenge", "toy_pd", "--champion", "v1.0.0", "--challenger", "toy_pd@v2.0.0"]
    for days, name in ((44, "first.json"), (43, "again.json")):
        run(*arguments, "--as-of", then, "--to", name)
        traffic(bank, days=days, labels=True)
        with open_ledger(bank / "ledger") as ledger:
            ledger.append("outcome", "45-7", encode(outcome("45-7", 1.0, then, model="toy_pd")), then)
    assert (bank / "again.json").read_bytes() == (bank / "first.json").read_bytes()
    assert json.loads((bank / "first.json").read_bytes())["labelled"] == 400
    run(*arguments, "--to", "now.json")
    assert json.loads((bank / "now.json").read_bytes())["labelled"] == 1200


@pytest.mark.parametrize(
    ("champion", "challenger", "why"),
    [
        ("1.0.0", "9.0.0", "the log knows no release 'toy_pd@v9.0.0'"),
        ("v8.0.0", "2.0.0", "expected: one of 1.0.0, 2.0.0, 3.0.0"),
        ("1.0.0", "v1.0.0", "'toy_pd@v1.0.0' cannot be compared with itself"),
    ],
)
def test_only_two_releases_are_compared(bank: Path, champion: str, challenger: str, why: str) -> None:
    traffic(bank, days=45, n=5)
    asked = ["monitor", "challenge", "toy_pd", "--champion", champion, "--challenger", challenger]
    assert why in refused(MonitoringError, *asked)
    later = iso(NOW + timedelta(days=1))
    asked = ["monitor", "challenge", "toy_pd", "--champion", "1.0.0", "--challenger", "2.0.0", "--as-of", later]
    assert "nothing is known of the future" in refused(MonitoringError, *asked)


# --- rollout and status


def test_a_rollout_by_hand_from_start_to_reconciliation(bank: Path, releases: ReleaseBank) -> None:
    assert "there is no rollout" in run("rollout", "watch", "toy_pd", "--once").output
    started = run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI)
    assert "rollout toy_pd-1 of toy_pd@v2.0.0 started against toy_pd@v1.0.0, plan standard 1.0.0" in started.output
    assert "guard group_approval needs the groups" in started.output
    watched = run("rollout", "watch", "toy_pd", "--once")
    assert "started" in watched.output
    assert "shadow" in watched.output
    assert "a rollout of 'toy_pd' runs" in refused(RolloutError, "rollout", "start", "toy_pd@v2.0.0", "--key", ELI)
    assert "in stage shadow" in run("status").output
    assert "it runs" in refused(RolloutError, "rollout", "reconcile", "toy_pd", "--reason", "r", "--key", ELI)
    stopped = run("rollout", "stop", "toy_pd", "--reason", "second thoughts", "--key", ELI)
    assert stopped.output == "rollout toy_pd-1 of toy_pd: stopped, signed by eli\n"
    assert "has ended" in refused(RolloutError, "rollout", "stop", "toy_pd", "--reason", "r", "--key", ELI)
    ended = run("rollout", "watch", "toy_pd")
    assert "second thoughts" in ended.output, "a rollout that has ended is shown once"
    assert run("rollout", "reconcile", "toy_pd", "--reason", "told", "--key", ELI).exit_code == 0
    with open_ledger(bank / "ledger") as ledger:
        (state,) = rollouts(ledger).values()
    assert (state.ended, state.reconciled, [e.by for e in state.events]) == ("stopped", True, ["eli"] * 3)
    assert "toy_pd-2" in run("rollout", "start", "toy_pd@v2.0.0", "--plan", "parallel_run", "--key", ELI).output


def test_only_who_may_orders_a_rollout(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by(who: str) -> tuple[str, str]:
        return "--key", str(key(who).path)

    for who in ("dana", "vera"):
        text = refused(RolloutError, "rollout", "start", "toy_pd@v2.0.0", *by(who))
        assert f"{who} may not give the order 'started'" in text
        assert "role engineer" in text
        assert "may not give the order" in refused(RolloutError, "rollout", "challenger", "toy_pd@v2.0.0", *by(who))
    stranger = refused(RolloutError, "rollout", "start", "toy_pd@v2.0.0", *by("mallory"))
    assert "belongs to no principal" in stranger
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert "no key to sign with" in refused(RegistryError, "rollout", "start", "toy_pd@v2.0.0")
    assert "there is no rollout" in run("rollout", "watch", "toy_pd", "--once").output
    run("rollout", "start", "toy_pd@v2.0.0", *by("eli"))
    assert "may not give the order 'stopped'" in refused(
        RolloutError, "rollout", "stop", "toy_pd", "--reason", "r", *by("dana")
    )
    assert "signed by rik" in run("rollout", "stop", "toy_pd", "--reason", "r", *by("rik")).output
    assert "may not give the order 'reconciled'" in refused(
        RolloutError, "rollout", "reconcile", "toy_pd", "--reason", "r", *by("aud")
    )
    assert "signed by olga" in run("rollout", "reconcile", "toy_pd", "--reason", "r", *by("olga")).output


def test_an_order_that_nobody_signed_is_shown_and_does_nothing(bank: Path, releases: ReleaseBank) -> None:
    event = begin("toy_pd-1", "toy_pd", "1.0.0", "2.0.0", RolloutPlan.model_validate(QUICK), now=NOW, by="eli")
    with open_ledger(bank / "ledger") as ledger:
        ledger.append("rollout", event.rollout, event_bytes(event), event.at)
    assert "there is no rollout" in run("rollout", "watch", "toy_pd", "--once").output
    told = run("status").output
    assert (
        "'started' of rollout toy_pd-1 (entry 0 of chain 'chain-000') counts for nothing: nobody has signed it" in told
    )
    assert "toy_pd-1 of toy_pd@v2.0.0 started" in run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI).output


def test_an_order_that_no_controller_takes_up_is_shown_as_waiting(
    bank: Path, releases: ReleaseBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has the controller's chain and does not look at its orders."""
    monkeypatch.setattr(rollout_commands, "WAIT_SECONDS", 0.3)
    with open_ledger(bank / "ledger", writer="rollout") as held:
        held.acquire()
        told = run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI).output
        assert "'started' of rollout toy_pd-1 is ordered, signed by eli, and not yet taken up" in told
        shown = run("status").output
        assert "ordered     'started' of rollout toy_pd-1 (entry 0 of chain 'chain-000') was ordered by eli" in shown
        assert "not yet taken up" in shown
        (found,) = json.loads(run("status", "--json").output)
        assert (len(found["ordered"]), found["rollout"]) == (1, None)
        watched = run("rollout", "watch", "toy_pd", "--once").output
        assert "not yet taken up" in watched
        assert "there is no rollout" in watched
        assert "not yet taken up" in run("rollout", "challenger", "toy_pd@v2.0.0", "--key", ELI).output
        leads = Controller(
            held,
            lambda: release_facts(load_catalog(releases.directory, SystemClock().now())),
            lambda: releases.directory.state(SystemClock().now()),
            SystemClock(),
        )
        assert [event.type for event in leads.take_up()] == ["started", "challenger_named"]
        assert "in stage shadow" in run("status").output
        assert "not yet taken up" in run("rollout", "stop", "toy_pd", "--reason", "r", "--key", ELI).output
        leads.take_up()
    refusal = refused(RolloutError, "rollout", "stop", "toy_pd", "--reason", "r", "--key", ELI)
    assert "has ended" in refusal


def test_a_command_says_why_the_controller_refused_its_order(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look of the command and that of the controller the same order was given by somebody else."""
    run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI)
    give = orders.give_order

    def twice(*args: Any) -> RolloutEvent:
        monkeypatch.setattr(orders, "give_order", give)
        run("rollout", "stop", "toy_pd", "--reason", "first", "--key", str(key("rik").path))
        return give(*args)

    monkeypatch.setattr(orders, "give_order", twice)
    told = refused(RolloutError, "rollout", "stop", "toy_pd", "--reason", "second", "--key", ELI)
    assert "the controller has refused the order" in told
    assert "has ended" in told
    assert "counts for nothing: rollout 'toy_pd-1' has ended" in run("status").output


def test_what_rollout_refuses(bank: Path) -> None:
    assert "answers already" in refused(RolloutError, "rollout", "start", "toy_pd@v1.0.0", "--key", ELI)
    text = refused(RolloutError, "rollout", "start", "toy_pd@v3.0.0", "--key", ELI)
    assert "'toy_pd@v3.0.0' is not authorised" in text
    assert "countermark release assign toy_pd@v3.0.0" in text
    assert "is not authorised" in refused(RolloutError, "rollout", "start", "other@v1.0.0", "--key", ELI)
    assert "did you mean 'standard'?" in refused(
        ConfigError, "rollout", "start", "toy_pd@v2.0.0", "--plan", "standart", "--key", ELI
    )
    for what in ("stop", "reconcile"):
        assert "there is no rollout of 'toy_pd'" in refused(
            RolloutError, "rollout", what, "toy_pd", "--reason", "r", "--key", ELI
        )


def test_status_tells_shadow_from_a_share_and_nothing_of_the_future(bank: Path) -> None:
    run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI)
    run("rollout", "watch", "toy_pd", "--once", "--lead")
    assert "live        v1.0.0, v2.0.0 in shadow\n" in run("status").output
    assert "what will be live is not known" in refused(RolloutError, "status", "--at", iso(NOW + timedelta(days=1)))


def test_status_says_that_the_serving_directory_is_older_than_the_log(bank: Path, releases: ReleaseBank) -> None:
    last = releases.directory.state(SystemClock().now()).position
    git(bank, "init", "-q")
    assert "does not hold" not in run("status").output, "no log of its own"
    for k in range(last + 1):
        git(bank, "commit", "-q", "--allow-empty", "-m", str(k))
    git(bank, "update-ref", "refs/countermark/log", "HEAD")
    assert "does not hold" not in run("status").output
    git(bank, "commit", "-q", "--allow-empty", "-m", "signed since")
    git(bank, "update-ref", "refs/countermark/log", "HEAD")
    told = run("status").output
    assert f"the log of the bank is at position {last + 1}" in told
    assert "countermark release export" in told


def test_status_shows_what_was_live_at_any_instant(bank: Path, releases: ReleaseBank) -> None:
    now = json.loads(run("status", "--json").output)
    assert now == [
        {
            "model": "toy_pd",
            "authorised": ["1.0.0", "2.0.0"],
            "live": {"champion": "1.0.0", "candidate": None, "share": 0.0},
            "challenger": None,
            "rollout": None,
            "ordered": [],
            "divergences": ["2.0.0 is authorised and has not been rolled out"],
        }
    ]
    before: datetime = SystemClock().now()
    run("rollout", "start", "toy_pd@v2.0.0", "--key", ELI)
    assert json.loads(run("status", "--json").output)[0]["rollout"] == {
        "id": "toy_pd-1",
        "stage": "shadow",
        "ended": None,
    }
    assert json.loads(run("status", "--json", "--at", iso(before)).output)[0]["rollout"] is None
    assert "there was no log yet" in refused(RegistryError, "status", "--at", "2026-01-04")
    shown = run("status").output
    assert "authorised  v1.0.0, v2.0.0" in shown
    assert "live        v1.0.0" in shown


def test_watch_leads_where_no_service_does(bank: Path) -> None:
    """A quick plan on enough shadows: the command itself takes the release through every stage."""
    (bank / "conf/rollout/quick.yaml").write_text(json.dumps(QUICK), encoding="utf-8")
    run("rollout", "start", "toy_pd@v2.0.0", "--plan", "quick", "--key", ELI)
    at = iso(SystemClock().now())
    items: list[Item] = []
    for k in range(60):
        one = msgspec.structs.replace(bound(record(f"w{k}", at, 0.1), "1.0.0"), model="toy_pd")
        one = msgspec.structs.replace(one, route=msgspec.structs.replace(one.route, rollout="toy_pd-1", stage="shadow"))
        other = msgspec.structs.replace(bound(one, "2.0.0"), route=msgspec.structs.replace(one.route, arm="candidate"))
        items += [("decision", one.id, encode(one), at), ("shadow", one.id, encode(other), at)]
    with open_ledger(bank / "ledger") as ledger:
        ledger.append_many(items)
    done = run("rollout", "watch", "toy_pd", "--lead")
    assert "completed" in done.output
    assert "decision_rate" in done.output
    assert json.loads(run("status", "--json").output)[0]["live"]["champion"] == "2.0.0"

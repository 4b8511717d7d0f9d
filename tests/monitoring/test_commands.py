"""The commands on production: on a serving directory and a ledger, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.config.rollout import RolloutPlan
from countermark.errors import ConfigError, MonitoringError, RegistryError, RolloutError, SourceError
from countermark.ledger.entry import Item
from countermark.ledger.opening import open_ledger
from countermark.monitoring.challenge import ChallengeEvidence
from countermark.records.clock import SystemClock, iso
from countermark.records.decision import encode
from countermark.records.digest import sha256_hex
from countermark.rollout.live import rollouts
from tests.bank import make_bank
from tests.monitoring.productions import bound, outcome, record
from tests.monitoring.test_findings import listener
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
    assert "model 'toy' has no monitoring plan" in refused(MonitoringError, "monitor", "run", "toy")
    (bank / "conf/monitor/toy.yaml").write_text(MONITOR.replace("toy_pd", "toy"), encoding="utf-8")
    assert "no release of 'toy'" in refused(MonitoringError, "monitor", "run", "toy")
    (bank / "conf/monitor/toy_pd.yaml").unlink()
    assert run("monitor", "run", "--all").output == "no model in production has a monitoring plan\n"
    (bank / "conf/monitor/toy.yaml").write_text(MONITOR.replace("toy_pd", "toy").replace("auc:", "auk:"))
    assert "conf/monitor/toy.yaml:10" in refused(ConfigError, "monitor", "run", "toy")
    monkeypatch.delenv("COUNTERMARK_TRUST_ROOT")
    assert "no trust root is pinned" in refused(RegistryError, "monitor", "run", "toy")


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
    assert f"evidence {sha256_hex(data)}" in done.output
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


# --- rollout and status


def test_a_rollout_by_hand_from_start_to_reconciliation(bank: Path) -> None:
    assert "there is no rollout" in run("rollout", "watch", "toy_pd", "--once").output
    started = run("rollout", "start", "toy_pd@v2.0.0", "--by", "eli")
    assert "rollout toy_pd-1 of toy_pd@v2.0.0 started against toy_pd@v1.0.0, plan standard 1.0.0" in started.output
    watched = run("rollout", "watch", "toy_pd", "--once")
    assert "started" in watched.output
    assert "shadow" in watched.output
    assert "a rollout of 'toy_pd' runs" in refused(RolloutError, "rollout", "start", "toy_pd@v2.0.0", "--by", "eli")
    assert "in stage shadow" in run("status").output
    assert "it runs" in refused(RolloutError, "rollout", "reconcile", "toy_pd", "--reason", "r", "--by", "eli")
    stopped = run("rollout", "stop", "toy_pd", "--reason", "second thoughts", "--by", "eli")
    assert stopped.output == "rollout toy_pd-1 of toy_pd: stopped\n"
    assert "has ended" in refused(RolloutError, "rollout", "stop", "toy_pd", "--reason", "r", "--by", "eli")
    ended = run("rollout", "watch", "toy_pd")
    assert "second thoughts" in ended.output, "a rollout that has ended is shown once"
    assert run("rollout", "reconcile", "toy_pd", "--reason", "told", "--by", "eli").exit_code == 0
    with open_ledger(bank / "ledger") as ledger:
        (state,) = rollouts(ledger).values()
    assert (state.ended, state.reconciled, [e.by for e in state.events]) == ("stopped", True, ["eli"] * 3)
    assert "toy_pd-2" in run("rollout", "start", "toy_pd@v2.0.0", "--plan", "parallel_run", "--by", "eli").output


def test_what_rollout_refuses(bank: Path) -> None:
    assert "answers already" in refused(RolloutError, "rollout", "start", "toy_pd@v1.0.0", "--by", "eli")
    text = refused(RolloutError, "rollout", "start", "toy_pd@v3.0.0", "--by", "eli")
    assert "'toy_pd@v3.0.0' is not authorised" in text
    assert "countermark release assign toy_pd@v3.0.0" in text
    assert "is not authorised" in refused(RolloutError, "rollout", "start", "other@v1.0.0", "--by", "eli")
    assert "did you mean 'standard'?" in refused(
        ConfigError, "rollout", "start", "toy_pd@v2.0.0", "--plan", "standart", "--by", "eli"
    )
    for what in ("stop", "reconcile"):
        assert "there is no rollout of 'toy_pd'" in refused(
            RolloutError, "rollout", what, "toy_pd", "--reason", "r", "--by", "eli"
        )


def test_status_shows_what_was_live_at_any_instant(bank: Path, releases: ReleaseBank) -> None:
    now = json.loads(run("status", "--json").output)
    assert now == [
        {
            "model": "toy_pd",
            "authorised": ["1.0.0", "2.0.0"],
            "live": {"champion": "1.0.0", "candidate": None, "share": 0.0},
            "challenger": None,
            "rollout": None,
            "divergences": ["2.0.0 is authorised and has not been rolled out"],
        }
    ]
    before: datetime = SystemClock().now()
    run("rollout", "start", "toy_pd@v2.0.0", "--by", "eli")
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
    quick = {
        "name": "quick",
        "version": "1.0.0",
        "source_note": "t",
        "kind": "parallel_run",
        "shadow": {"min_pairs": 50, "max_hours": 1},
        "guards": {"decision_rate": {"limit": 0.2, "min_pairs": 50}},
    }
    RolloutPlan.model_validate(quick)
    (bank / "conf/rollout/quick.yaml").write_text(json.dumps(quick), encoding="utf-8")
    run("rollout", "start", "toy_pd@v2.0.0", "--plan", "quick", "--by", "eli")
    at = iso(SystemClock().now())
    items: list[Item] = []
    for k in range(60):
        one = msgspec.structs.replace(bound(record(f"w{k}", at, 0.1), "1.0.0"), model="toy_pd")
        one = msgspec.structs.replace(one, route=msgspec.structs.replace(one.route, rollout="toy_pd-1"))
        other = msgspec.structs.replace(bound(one, "2.0.0"), route=msgspec.structs.replace(one.route, arm="candidate"))
        items += [("decision", one.id, encode(one), at), ("shadow", one.id, encode(other), at)]
    with open_ledger(bank / "ledger") as ledger:
        ledger.append_many(items)
    done = run("rollout", "watch", "toy_pd", "--lead")
    assert "completed" in done.output
    assert "decision_rate" in done.output
    assert json.loads(run("status", "--json").output)[0]["live"]["champion"] == "2.0.0"

"""A life of a bank's model in process: what holds, what is turned back, and what a broken claim does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import ConfigError, SimulationError
from countermark.records.decision import DecisionRecord, OutcomeRecord, decode
from countermark.rollout.machine import RolloutState
from countermark.simulation import bank_life
from countermark.simulation.bank_copy import copy_bank
from countermark.simulation.bank_life import Scale
from countermark.simulation.claims import Claims
from countermark.simulation.faults import FAULTS, check_fault, fault_of, next_version, write_version
from countermark.simulation.life import Life
from tests.rollout.lives import plan
from tests.serving.releases import pd_spec, wide_spec
from tests.simulation.customers import customers, fraud_model, fraud_rows
from tests.simulation.houses import GOOD, House

QUICK = plan(guards={name: guard for name, guard in plan().guards.model_dump().items() if name != "score_psi"})


def test_a_life_without_a_fault_holds_all_its_claims_and_is_the_same_again(tmp_path: Path) -> None:
    scale = Scale(days=3, daily=10, label_days=20, drifts=("amount=2@2",))
    told = []
    for folder in ("one", "two"):
        house = House(tmp_path / folder, scale)
        house.story.live(None, None)
        house.story.prove(None)
        house.life.close()
        house.claims.close(0.0)
        told.append(house.said)
    assert told[0] == told[1]
    assert house.claims.held == 7
    assert "— 3 days from 2027-01-01, 10 requests a day —" in "".join(told[0])
    assert any("20 of 20 decisions" in line for line in told[0]), told[0]


def test_what_is_recorded_is_late_and_simulated(tmp_path: Path) -> None:
    house = House(tmp_path, Scale(days=2, daily=8, label_days=15))
    house.story.live(None, None)
    decisions = [decode(e.payload, DecisionRecord) for e in house.life.ledger.read(["decision"])]
    outcomes = [decode(e.payload, OutcomeRecord) for e in house.life.ledger.read(["outcome"])]
    house.life.close()
    assert {made.channel for made in decisions} == {"simulation"}
    assert {made.at[:10] for made in decisions} == {"2027-01-01", "2027-01-02"}
    assert len(outcomes) == len(decisions) == 16
    assert all(outcome.known_at[:10] >= "2027-01-16" for outcome in outcomes)
    assert {made.decision for made in decisions if made.views}


@pytest.mark.parametrize("field", ["amount", "main.amount"])
def test_what_drifts_out_of_its_range_is_refused_and_counted(field: str, tmp_path: Path) -> None:
    house = House(tmp_path, Scale(days=2, daily=10, label_days=9, drifts=(f"{field}=1e9@1",)))
    house.story.live(None, None)
    house.story.prove(None)
    house.life.close()
    house.claims.close(0.0)
    what = "a request to 'toy_fraud'" if field == "amount" else "an event of 'main'"
    assert any(f"field 'amount' of {what} is refused: maximum" in line for line in house.said), house.said
    told = f"{10 if field == 'amount' else 20} of 20"
    assert f"✓ every other request has one decision on the ledger: {told}" in house.said


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_turned_back_by_its_guard(name: str, tmp_path: Path) -> None:
    scale = Scale(days=4, daily=60, label_days=10, fault=name)
    house = House(tmp_path, scale, cutoff=0.03 if name == "cutoff" else 0.3)
    house.story.live(fault_of(name), QUICK)
    house.story.prove(fault_of(name))
    house.life.close()
    house.claims.close(0.0)
    assert house.claims.held == 9
    assert any(f"turned back by itself, by guard '{FAULTS[name].guard}'" in line for line in house.said)
    assert house.life.champion == GOOD


def broken(life: Life) -> dict[str, Any]:
    """Ways in which a life goes wrong, by the claim that has to fail."""
    audit, replay, ledger = life.audit(), life.replay(3), life.ledger.verify()

    class Changed:
        """A value with one attribute changed."""

        def __init__(self, of: Any, **changes: Any) -> None:
            self.__dict__ |= {name: getattr(of, name) for name in getattr(of, "__slots__", ())} | changes

    return {
        "no request was refused": ("refused", {"sim-000000": "field 'amount' is refused: type"}),
        "every other request has one decision": ("refused", {"sim-000001": "drift"}),
        "the vectors made offline": ("audit", lambda: Changed(audit, mismatches=(1,))),
        "decisions left out of the audit": ("audit", lambda: Changed(audit, other_views=1)),
        "replayed decisions": ("replay", lambda _: [Changed(replay[0], identical=False)]),
        "nothing replayed": ("replay", lambda _: []),
        "the ledger": ("verify", Changed(ledger, problems=("a row was altered",), entries=1, chains=())),
    }


@pytest.mark.parametrize(
    ("wrong", "claim"),
    [
        ("no request was refused", "no request or event was refused but for its drift"),
        ("every other request has one decision", "every other request has one decision on the ledger"),
        ("the vectors made offline", "every served vector equals the one made offline from the events"),
        ("decisions left out of the audit", "every served vector equals the one made offline from the events"),
        ("replayed decisions", "replayed decisions are identical to the last bit"),
        ("nothing replayed", "replayed decisions are identical to the last bit"),
        ("the ledger", "the ledger verifies"),
    ],
)
def test_each_claim_can_fail(wrong: str, claim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, Scale(days=1, daily=5, label_days=5))
    house.story.live(None, None)
    name, value = broken(house.life)[wrong]
    if name == "verify":
        monkeypatch.setattr(house.life.ledger, "verify", lambda: value)
    else:
        monkeypatch.setattr(house.life, name, value)
    house.story.prove(None)
    house.life.close()
    assert claim in house.claims.failed
    with pytest.raises(SimulationError, match="did not go as claimed"):
        house.claims.close(0.0)


def test_an_early_or_wrong_outcome_and_another_vector_fail_their_claims(tmp_path: Path) -> None:
    house = House(tmp_path, Scale(days=1, daily=5, label_days=5))
    house.story.live(None, None)
    other = customers(seed=2, label_days=6)
    house.story.made = other
    house.story.draws = {f"sim-{draw.number:06d}": draw for draw in other.draw(1, 5)[0]}
    house.story.prove(None)
    house.life.close()
    assert "every decision's outcome came, late, and is that of its row" in house.claims.failed
    assert "without drift, the served vector is that of the row in the data set" in house.claims.failed


def test_a_fault_that_is_not_turned_back_fails_the_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, Scale(days=1, daily=5, label_days=5))
    house.story.live(None, None)
    none: list[RolloutState] = []
    monkeypatch.setattr(Life, "rollouts", property(lambda _: none))
    monkeypatch.setattr(Life, "champion", property(lambda _: "1.0.1"))
    house.story.prove(FAULTS["cutoff"])
    house.life.close()
    assert house.claims.failed == [
        "the faulty release was turned back by itself, by guard 'decision_rate'",
        "the release before it answers",
    ]


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, scale: Scale, **how: Any) -> tuple[House, list[str]]:
    """``play`` on a bank without a build: the copy and its opening are a house's."""
    house = House(folder / "copy", scale, **how)
    (folder / "bank" / "conf" / "rollout").mkdir(parents=True)
    quick = QUICK.model_dump(mode="json", exclude_none=True)
    (folder / "bank" / "conf" / "rollout" / "quick.yaml").write_text(yaml.safe_dump(quick))
    git(folder / "bank", "init", "-q")
    opening = SimpleNamespace(
        release=lambda _version: None, release_fault=lambda _fault: None, production=lambda: house.life
    )
    monkeypatch.setattr(bank_life, "read_rows", lambda _root, _model: fraud_rows())
    monkeypatch.setattr(bank_life, "copy_bank", lambda _root, _target: None)
    monkeypatch.setattr(bank_life, "Opening", lambda *_: opening)
    said: list[str] = []
    house.life.say = said.append
    return house, said


def test_a_life_is_played_from_the_bank_to_its_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = Scale(days=4, daily=60, label_days=10, fault="cutoff", plan="quick")
    _, said = played(tmp_path, monkeypatch, scale, cutoff=0.03)
    bank_life.play(said.append, tmp_path / "bank", "toy_fraud", scale, folder=tmp_path / "place")
    assert said[0].startswith("SYNTHETIC traffic: customers are rows of the bank's own data")
    assert "10 claims held, 0 failed" in said[-1]
    with pytest.raises(ConfigError, match="no rollout plan 'quik'"):
        bank_life.play(said.append, tmp_path / "bank", "toy_fraud", Scale(fault="cutoff", plan="quik"))


def test_a_life_on_the_banks_own_ledger_or_log_fails_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = Scale(days=1, daily=5, label_days=5)
    house, said = played(tmp_path, monkeypatch, scale)
    house.story.live(None, None)
    assert bank_life.untouched(tmp_path / "bank", house.story)
    (tmp_path / "bank" / "ledger").symlink_to(tmp_path / "copy" / "ledger")
    assert not bank_life.untouched(tmp_path / "bank", house.story)
    house.life.close()
    del said


def test_claims_of_nobody_do_not_hold() -> None:
    with pytest.raises(SimulationError, match="did not go as claimed") as caught:
        Claims(print).close(0.0)
    assert caught.value.got == "nothing was claimed"
    assert caught.value.exit_code == 16


def test_a_fault_that_cannot_be_found_or_had_is_refused() -> None:
    with pytest.raises(SimulationError, match="no fault 'cutof'") as caught:
        fault_of("cutof")
    assert caught.value.hint == "did you mean 'cutoff'?"
    blind = plan(guards={"decision_rate": {"limit": 0.03}})
    with pytest.raises(SimulationError, match="has no guard 'errors'"):
        check_fault(FAULTS["errors"], blind, pd_spec())
    bare = wide_spec().model_copy(update={"decision": None})
    with pytest.raises(SimulationError, match="has no decision policy"):
        check_fault(FAULTS["cutoff"], plan(), bare)


def test_a_faulty_version_is_declared_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "conf" / "model" / "toy_fraud.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("name: toy_fraud\nversion: 1.0.0\n")
    model = fraud_model()
    assert model.decision is not None
    assert write_version(tmp_path, model, FAULTS["cutoff"]) == next_version("1.0.0") == "1.0.1"
    document = yaml.safe_load(path.read_text())
    assert document["version"] == "1.0.1"
    assert document["decision"] == {"version": "1.0.0-planted", "cutoff": pytest.approx(model.decision.cutoff / 10)}
    write_version(tmp_path, model, FAULTS["errors"])
    assert "decision" in yaml.safe_load(path.read_text())


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def test_a_copy_has_the_files_and_the_cache_of_the_bank_and_none_of_its_records(tmp_path: Path) -> None:
    bank, copy = tmp_path / "bank", tmp_path / "copy"
    for relative, text in {
        "conf/bank.yaml": "name: b",
        "data/raw.csv": "id",
        "sources/s/dvc.yaml": "stages: {ingest: {cmd: x, deps: [data/raw.csv]}}",
        ".gitignore": "/data/\n/ledger/\n/models/*/out/\n",
        ".dvc/config": "",
        "ledger/main.sqlite": "records",
        "models/m/out/scorer.json": "{}",
    }.items():
        (bank / relative).parent.mkdir(parents=True, exist_ok=True)
        (bank / relative).write_text(text)
    with pytest.raises(SimulationError, match="cannot be copied"):
        copy_bank(bank, copy)
    git(bank, "init", "-q")
    copy_bank(bank, copy)
    assert (copy / "conf" / "bank.yaml").read_text() == "name: b"
    assert (copy / "data" / "raw.csv").is_file()
    assert str(bank / ".dvc" / "cache") in (copy / ".dvc" / "config.local").read_text()
    assert not (copy / ".git").exists()
    assert not (copy / "ledger").exists()
    assert not (copy / "models").exists()
    with pytest.raises(SimulationError, match="exists already"):
        copy_bank(bank, copy)


def test_the_command_refuses_what_it_cannot_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "bank.yaml").write_text("name: b\n")
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["simulate", "traffic", "m"])
    assert isinstance(done.exception, SimulationError) or done.exit_code == 16
    done = CliRunner().invoke(app, ["simulate", "traffic", "m", "--url", "http://localhost:1", "--fault", "cutoff"])
    assert done.exit_code == 2
    assert "leave out --fault" in done.output
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    done = CliRunner().invoke(
        app, ["simulate", "traffic", "m", "--url", "http://localhost:1", "--key-env", "NO_SUCH_KEY"]
    )
    assert "holds no key" in str(done.exception) + done.output

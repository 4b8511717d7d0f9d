"""The commands as people type them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from countermark.cli import verify as verify_command
from countermark.cli.root import app
from countermark.errors import CountermarkError
from tests.governance.desk import MODEL, REF, Desk, plain_pack, without_gates
from tests.governance.test_charter import document
from tests.registry.people import key
from tests.registry.test_repository import git

SOON = (datetime.now(UTC) + timedelta(days=180)).date().isoformat()
"""Dates follow the clock of the machine: commands have no other."""
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*args: str, who: str | None = None, fails: str | None = None) -> Result:
        signed = ["--key", str(key(who).path)] if who else []
        result = CliRunner().invoke(app, [*args, *signed])
        if fails is None:
            assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
            assert result.exit_code == 0, result.output
        else:
            assert isinstance(result.exception, CountermarkError), result.output
            assert fails in str(result.exception), str(result.exception)
        return result

    return call


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Desk:
    """A bank whose log was started by the command."""
    desk = gated_bank(tmp_path)
    monkeypatch.chdir(desk.root)
    start(desk, run)
    return desk


def gated_bank(tmp_path: Path, *tests: str) -> Desk:
    return Desk(tmp_path / "bank", None, without_gates(plain_pack(), *tests), found=False)


def start(desk: Desk, run: Run) -> None:
    (desk.root / "governance").mkdir()
    (desk.root / "governance/governance.yaml").write_text(yaml.safe_dump(document()))
    desk.commit("governance")
    told = run("governance", "init", who="rik").output
    assert "trust root" in told


@pytest.mark.usefixtures("quick")
def test_the_week_of_a_release(office: Desk, run: Run, tmp_path: Path) -> None:
    """As the architecture writes it; what other rooms do in between is theirs to test."""
    told = run("release", "propose", MODEL, who="dana").output
    assert f"{REF} proposed (new model, tier 1)" in told
    assert "asks for approval as validator: vera" in told
    told = run("inbox", who="vera").output
    assert f"dana proposes {REF}" in told
    assert f"countermark release approve {REF}" in told
    told = run("release", "fetch", str(REF), "--to", "review/").output
    assert "countermark verify review/validation_pack.pdf" in told
    told = run("finding", "open", str(REF), "--severity", "high", "--test", "cal.jeffreys", "--text", "Grade 7 is off", who="vera").output  # fmt: skip
    assert "finding F-2 opened" in told
    run("release", "approve", str(REF), who="rik", fails="F-2 high finding by vera")
    told = run(
        "release", "approve", str(REF), "--condition", "recalibrate grade 7", "--expires", SOON, who="vera"
    ).output
    assert f"condition for cal.jeffreys, F-2: recalibrate grade 7 (owner Ann Owner, until {SOON})" in told
    assert "waits for risk (rik)" in told
    told = run("release", "approve", str(REF), who="rik").output
    assert f"next: countermark release publish {REF}" in told
    assert f"countermark release publish {REF}" in run("inbox", who="eli").output
    told = run("release", "publish", str(REF), who="eli").output
    assert "authorised for prod" in told
    assert "commit it" in told
    rows = json.loads(run("release", "list", "--json").output)
    assert [(r["release"], r["status"], r["authorisations"]) for r in rows] == [(str(REF), "prod", [1])]
    told = run("release", "list", MODEL).output
    assert f"condition: recalibrate grade 7 (owner Ann Owner, until {SOON})" in told
    told = run("verify", str(REF), "--no-render").output
    assert "FAIL" not in told
    assert f"bundles in {tmp_path / 'server'}" in run("release", "export", "--to", str(tmp_path / "server")).output
    assert (tmp_path / "server/registry.jsonl").is_file()
    told = run("finding", "list", MODEL).output
    assert "F-2" in told
    run("finding", "close", "F-2", "--text", "Recalibrated", who="vera")
    assert "no open finding" in run("finding", "list").output
    assert json.loads(run("finding", "list", "--all", "--json").output)[0]["closed"] is not None
    run("release", "retire", str(REF), "--keep", "--reason", "incident", who="eli")
    run("release", "assign", str(REF), who="eli")
    assert f"{REF} retired: replaced" in run("release", "retire", str(REF), "--reason", "replaced", who="eli").output
    assert "witnessed" in run("release", "witness", who="aud").output
    assert "FAIL" not in run("verify", "--all").output
    assert git(office.root, "status", "--porcelain") == "?? governance/baselines/\n?? review/"


@pytest.mark.usefixtures("quick")
def test_a_pack_that_is_not_fit_is_published_by_waivers_per_test(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    desk = gated_bank(tmp_path, "rep.c2st", "data.hash")
    monkeypatch.chdir(desk.root)
    start(desk, run)
    told = run("release", "propose", MODEL, who="dana").output
    assert "2 gating tests need a waiver by risk (rik)" in told
    assert "rep.c2st (C4) Not evaluated" in told
    told = run("inbox", "--as", "rik").output
    assert f"countermark finding waive {REF} --test rep.c2st" in told
    assert "uncovered: rep.c2st (not_evaluated)" in run("release", "list").output
    waived = ("finding", "waive", str(REF), "--reason", "Known", "--expires", SOON)
    assert "still uncovered: data.hash" in run(*waived, "--test", "rep.c2st", who="rik").output
    run(*waived, "--test", "stab.psi", who="rik", fails="is no gating test")
    run(*waived, who="rik", fails="nothing to waive")
    run(*waived, "--test", "data.hash", "--test", "rep.c2st", who="rik")
    run("release", "approve", str(REF), who="vera")
    run("release", "approve", str(REF), who="rik")
    run("release", "publish", str(REF), "--no-assign", who="eli")
    row = json.loads(run("release", "list", "--json").output)[0]
    assert (row["status"], row["authorisations"]) == ("published", [])
    assert row["until"] > SOON, "a date counts to its end"
    assert [n for n in row["notes"] if n.startswith("waiver")] == [
        f"waiver of {test} by Rik Risk, until {SOON}" for test in ("rep.c2st", "data.hash", "rep.c2st")
    ]  # fmt: skip


def test_a_commit_that_adds_its_author_to_the_signers(office: Desk, run: Run) -> None:
    """The governance file is a proposal for an amendment; only the log says who is trusted."""
    mallory = {"person": "Mallory", "roles": ["validator", "risk"], "keys": [{"public": key("mallory").public}]}
    people = {**document()["principals"], "mallory": mallory}
    (office.root / "governance/governance.yaml").write_text(yaml.safe_dump(document(principals=people)))
    office.commit("add myself")
    run("release", "propose", MODEL, who="dana")
    run("release", "approve", str(REF), who="mallory", fails="the key belongs to no principal")
    run("governance", "amend", "governance/governance.yaml", who="mallory", fails="the key belongs to no principal")
    assert "mallory" not in run("governance", "show").output


@pytest.mark.usefixtures("quick")
def test_a_validator_works_from_a_clone_of_their_own(
    office: Desk, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code and log come through git, files through the shared DVC cache, the trust root by phone."""
    digest = run("governance", "trust").output.split()[1]
    shutil.move(office.root / ".dvc/cache", tmp_path / "shared")
    office.write(".dvc/config", b"[core]\n    remote = shared\n['remote \"shared\"']\n    url = ../../shared\n")
    office.commit("shared cache")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "origin.git")
    git(office.root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(office.root, "push", "-q", "origin", "main")
    run("release", "propose", MODEL, who="dana")

    git(tmp_path, "clone", "-q", "origin.git", "validator")
    monkeypatch.chdir(tmp_path / "validator")
    run("inbox", who="vera", fails="no trust root is pinned")
    run("governance", "trust", digest)
    assert f"countermark release approve {REF}" in run("inbox", who="vera").output
    assert "6 files" in run("release", "fetch", str(REF), "--to", "review/").output
    run("release", "approve", str(REF), who="vera")

    monkeypatch.chdir(office.root)
    run("release", "approve", str(REF), who="rik")
    run("release", "publish", str(REF), who="eli")
    monkeypatch.chdir(tmp_path / "validator")
    told = run("verify", str(REF), "--no-render").output
    assert "FAIL" not in told
    assert "prod; approved by Vera Validator (validator), Rik Risk (risk)" in told
    assert not (tmp_path / "validator/releases").exists(), "verify writes nothing"


def test_reject_and_withdraw(office: Desk, run: Run) -> None:
    assert "no release yet" in run("release", "list").output
    run("release", "propose", MODEL, who="dana")
    assert "rejected: thin" in run("release", "reject", str(REF), "--reason", "thin", who="vera").output
    run("release", "propose", MODEL, who="dana")
    assert "withdrawn: wait" in run("release", "withdraw", str(REF), "--reason", "wait", who="dana").output
    assert "withdrawn by dana: wait" in run("release", "list").output


def test_governance_by_command(office: Desk, run: Run, tmp_path: Path) -> None:
    told = run("governance", "show").output
    assert "vera         Vera Validator           validator" in told
    assert "tier 1: validator and risk" in told
    assert "conflict: Vera Validator and other_model" in told
    assert json.loads(run("governance", "show", "--json").output)["version"] == 1
    assert "principals:" in run("governance", "init", "--example").output
    run("governance", "init", who="rik", fails="has a log already")
    file = tmp_path / "new.yaml"
    file.write_text(yaml.safe_dump(document(conflicts=[])))
    told = run("governance", "amend", str(file), who="rik").output
    assert "1 of 2 persons" in told
    assert "waits: version 2 by rik at position 1" in run("governance", "show").output
    told = run("governance", "amend", "--approve", "1", who="vera").output
    assert "governance version 2 is in force" in told
    run("governance", "amend", who="vera", fails="one of the two")
    assert "revoked from log position 3 on" in run("governance", "revoke", "dana", "--reason", "left", who="rik").output
    assert "REVOKED from position 3" in run("governance", "show").output


def test_the_trust_root_by_command(office: Desk, run: Run) -> None:
    told = run("governance", "trust").output
    digest = told.split()[1]
    assert told.split()[-1] == digest
    run("governance", "trust", "0" * 64, fails="starts from another trust root")
    git(office.root, "config", "--unset", "countermark.trustRoot")
    run("release", "list", fails="no trust root is pinned")
    assert "no release yet" in run("release", "list", "--trust-root", digest).output
    run("governance", "trust", digest)
    assert "no release yet" in run("release", "list").output
    run("release", "list", "--trust-root", "0" * 64, fails="another trust root")


def test_an_inbox_of_a_stranger(office: Desk, run: Run) -> None:
    run("inbox", who="stranger", fails="your key belongs to no principal")
    assert "vera: nothing waits for you" in run("inbox", "--as", "vera").output
    assert json.loads(run("inbox", "--as", "vera", "--json").output) == []


def test_what_verify_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    kinds = {
        "review/validation_pack.pdf": "document",
        "toy@v1.0.0": "release",
        "sqlite:///ledger": "ledger",
        "postgresql://host/db": "ledger",
        str(tmp_path / "ledger"): "ledger",
        "export.jsonl": "ledger",
        "019abcde-0000-7000-8000-000000000000": "decision",
    }
    assert {target: verify_command.kind_of(target) for target in kinds} == kinds


def test_verify_hands_a_decision_and_a_ledger_to_their_rooms(
    run: Run, office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, object]] = []

    def elsewhere(kind: str) -> Callable[..., bool]:
        def check(*args: object) -> bool:
            asked.append((kind, args))
            return True

        return check

    monkeypatch.setattr(verify_command, "_elsewhere", elsewhere)
    run("verify", "sqlite:///x")
    run("verify", "some-id", "--ledger", "x", "--json")
    assert asked == [("ledger", ("sqlite:///x", None, None, False)), ("decision", ("some-id", "x", None, True))]
    monkeypatch.setattr(verify_command, "_elsewhere", lambda kind: lambda *_: False)
    run("verify", "some-id", fails="'some-id' does not verify")


def test_verify_needs_something(run: Run, office: Desk) -> None:
    run("verify", fails="nothing to verify")
    run("verify", "x", "--all", fails="nothing to verify")


@pytest.mark.usefixtures("quick")
def test_verify_ends_with_an_error_where_a_check_fails(office: Desk, run: Run) -> None:
    run("release", "propose", MODEL, who="dana")
    git(office.root, "tag", f"{MODEL}@v1.0.0", "HEAD")
    result = run("verify", str(REF), fails="does not verify")
    assert "FAIL  tags" in result.output
    assert "no entry of the log made this tag" in result.output


def test_a_document_is_verified_outside_any_bank(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    run("verify", str(tmp_path / "x.pdf"), fails="this is no validation pack")


HEAVY = {"catboost", "duckdb", "dvc", "hydra", "optbinning", "optuna", "pandas", "pandera", "pyarrow", "sklearn"}
_SCRIPT = """
import json, sys
from countermark.cli.root import app
try:
    app.main(sys.argv[1:], prog_name="countermark", standalone_mode=False)
finally:
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_a_reviewer_needs_no_training_stack(office: Desk, run: Run, tmp_path: Path) -> None:
    """Inbox, fetch, approve and verify import nothing of it; what is not imported need not be installed."""
    run("release", "propose", MODEL, who="dana")
    desk_key = str(key("vera").path)
    for args in (
        ["inbox", "--key", desk_key],
        ["release", "fetch", str(REF), "--to", str(tmp_path / "review")],
        ["release", "approve", str(REF), "--key", desk_key],
        ["verify", str(REF), "--no-render"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *args], cwd=office.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert HEAVY & set(json.loads(done.stderr.strip().splitlines()[-1])) == set(), args

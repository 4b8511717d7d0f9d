"""A release comes out again from its commit, and what does not is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from countermark.errors import RegistryError, ReplayError
from countermark.governance.access import open_registry
from countermark.governance.store import md5_hex
from countermark.reproduction.reproduce import assumptions, compare, reproduce, venv_commands
from tests.e2e.shell import commit, must, run, shell, toy_bank
from tests.governance.desk import MODEL, REF, Desk, make_pack, plain_pack, without_gates
from tests.registry.people import governance, key
from tests.registry.test_repository import git

NOT_SLOW = ("results", "evidence", "scorer", "decision")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path / "bank", pack=without_gates(plain_pack()))
    from countermark.governance.workflow import propose

    propose(desk.bank, key("dana"), MODEL)
    return desk


def test_the_digests_of_the_proposal_are_compared_with_a_pack(desk: Desk) -> None:
    release = desk.bank.state().release(REF)
    found = compare(release, desk.root)
    assert {one.name for one in found if one.binding} == set(NOT_SLOW)
    assert all(one.same for one in found)
    assert f"models/{MODEL}/out/scorer.json" in {one.name for one in found}

    changed = without_gates(make_pack(title="Another title"))
    desk.write(f"reports/{MODEL}/pack.json", json.dumps(changed.model_dump(mode="json")).encode())
    (desk.root / f"models/{MODEL}/out/dataset.parquet").unlink()
    found = compare(release, desk.root)
    different = {one.name: one.rebuilt for one in found if not one.same}
    assert different["spec"] == changed.digests["spec"]
    assert different[f"models/{MODEL}/out/dataset.parquet"] is None


def test_a_pack_that_states_false_digests_is_refused(desk: Desk) -> None:
    release = desk.bank.state().release(REF)
    pack = plain_pack().model_copy(update={"digests": {**plain_pack().digests, "results": "0" * 64}}).sealed()
    desk.write(f"reports/{MODEL}/pack.json", json.dumps(pack.model_dump(mode="json")).encode())
    with pytest.raises(ReplayError, match="wrong results digest"):
        compare(release, desk.root)


def test_another_version_of_a_library_is_named(tmp_path: Path) -> None:
    from importlib.metadata import version

    path = tmp_path / "models" / "toy" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"libraries": {"numpy": "0.0.1", "scipy": version("scipy"), "no-such": "1.0"}}))
    assert assumptions(tmp_path, "toy") == (
        "no-such 1.0 there, none here",
        f"numpy 0.0.1 there, {version('numpy')} here",
    )
    (tmp_path / ".python-version").write_text("3.9.2\n")
    assert (
        assumptions(tmp_path, "toy")[-1] == f"Python 3.9 there, {sys.version_info.major}.{sys.version_info.minor} here"
    )
    path.unlink()
    assert "cannot be read" in assumptions(tmp_path, "toy")[0]


def test_the_environment_of_a_commit_is_installed_by_its_hashes(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    with pytest.raises(ReplayError, match="does not say what it was built with"):
        venv_commands(tmp_path, venv)
    (tmp_path / "requirements.txt").write_text("countermark\n")
    assert [command[-2:] for command in venv_commands(tmp_path, venv)][-1] == ["-r", str(tmp_path / "requirements.txt")]
    (tmp_path / "requirements.lock").write_text("numpy==1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "src" / "countermark").mkdir(parents=True)
    first, locked, own = venv_commands(tmp_path, venv)
    assert first == [sys.executable, "-m", "venv", str(venv)]
    assert "--require-hashes" in locked
    assert locked[0] == str(venv / "bin" / "python")
    assert own[-2:] == ["--no-deps", str(tmp_path)]
    assert "--no-build-isolation" not in own, "nothing in the lock builds a package"
    (tmp_path / "requirements.lock").write_text("numpy==1\nhatchling==1.33.0 \\\n    --hash=sha256:00\n")
    assert "--no-build-isolation" in venv_commands(tmp_path, venv)[-1], "what builds it is locked too"


def test_what_cannot_be_rebuilt_is_said_before_anything_is_built(desk: Desk, tmp_path: Path) -> None:
    release = desk.bank.state().release(REF)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("x")
    with pytest.raises(ReplayError, match="not empty"):
        reproduce(desk.root, release, full, tell=lambda _: None)
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    with pytest.raises(ReplayError, match="is not in this repository"):
        reproduce(other, release, tmp_path / "new", tell=lambda _: None)


def test_a_build_that_stops_is_an_error(desk: Desk, tmp_path: Path) -> None:
    release = desk.bank.state().release(REF)
    with pytest.raises(ReplayError, match="the rebuild stopped"):
        reproduce(desk.root, release, tmp_path / "new", tell=lambda _: None)


@pytest.mark.soak
def test_a_built_bank_comes_out_again_and_a_planted_difference_is_named(tmp_path: Path) -> None:
    bank = toy_bank(tmp_path / "bank")
    must(run(bank, "build", "toy"))
    commit(bank, "built")
    registry = open_registry(bank)
    root = registry.log.begin(key("rik"), governance(), registry.now)
    must(shell(bank, "git", "config", "countermark.trustRoot", root))
    must(run(bank, "release", "propose", "toy", "--key", str(key("dana").path)))

    told = must(run(bank, "reproduce", "toy@v1.0.0", "--keep", str(tmp_path / "kept")))
    assert told.count("ok  ") == 4, told
    assert "DIFF" not in told, told
    kept = tmp_path / "kept" / "clone"
    assert (kept / "reports/toy/validation_pack.pdf").read_bytes() == (
        bank / "reports/toy/validation_pack.pdf"
    ).read_bytes()
    assert (kept / ".dvc" / "cache").is_dir(), "the cache was its own"
    assert must(shell(bank, "git", "status", "--porcelain")) == ""

    # Data that were committed after the build: the proposal would name a commit that does not give its digests.
    path = bank / "toy.csv"
    before = path.read_bytes()
    lines = path.read_text().splitlines()
    lines = [*lines[:6], *lines[30:]]
    path.write_text("\n".join(lines) + "\n")
    commit(bank, "other data, not built")
    propose = ("release", "propose", "toy", "--key", str(key("dana").path))
    refused = run(bank, *propose)
    assert refused.returncode == RegistryError.exit_code, refused.stdout + refused.stderr
    assert "'toy' was not built from the files as they are now" in refused.stderr
    assert "toy.csv (changed)" in refused.stderr
    assert "countermark build toy" in refused.stderr

    # A lock that somebody edited by hand, so that it names them: only a rebuild can tell.
    (lock,) = bank.glob("sources/*/dvc.lock")
    text = lock.read_text()
    assert md5_hex(before) in text
    lock.write_text(text.replace(md5_hex(before), md5_hex(path.read_bytes())))
    commit(bank, "a lock edited by hand")
    must(run(bank, *propose))
    wrong = run(bank, "reproduce", "toy@v1.0.0")
    assert wrong.returncode == ReplayError.exit_code, wrong.stdout + wrong.stderr
    assert "DIFF results" in wrong.stdout
    assert "another results and evidence" in wrong.stderr
    assert "changed by the rebuild: models/toy/dvc.lock" in wrong.stdout

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from countermark.cli.ledger import verify_target
from countermark.cli.root import app
from countermark.errors import LedgerError, RegistryError
from countermark.ledger import open_ledger
from tests.ledger.entries import AT, instant, item


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_ledger(tmp_path / "ledger") as ledger, open_ledger(tmp_path / "ledger", writer="rollout") as rollout:
        ledger.append_many([item(n) for n in range(5)])
        rollout.append("routing", "r", b"{}", AT)
    return tmp_path / "ledger"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["ledger", *map(str, args)], catch_exceptions=True)


def damage(folder: Path) -> None:
    connection = sqlite3.connect(folder / "chain-000.sqlite", isolation_level=None)
    connection.execute("DROP TRIGGER entries_no_update")
    connection.execute("UPDATE entries SET payload = x'00' WHERE seq = 3")
    connection.close()


def test_heads(folder: Path) -> None:
    done = run("heads", "--ledger", folder)
    assert [line.split()[:2] for line in done.output.splitlines()] == [["chain-000", "5"], ["rollout", "1"]]
    with open_ledger(folder) as ledger:
        assert json.loads(run("heads", "--ledger", folder, "--json").output) == {
            chain: {"hash": digest, "seq": seq} for chain, (seq, digest) in ledger.heads().items()
        }


def test_verify_says_what_holds_and_what_cannot_be_seen(folder: Path) -> None:
    done = run("verify", "--ledger", folder)
    assert done.exit_code == 0
    assert "every hash of 6 entries holds" in done.output
    assert "a cut-off end cannot be seen" in done.output
    told = json.loads(run("verify", "--ledger", folder, "--json").output)
    assert (told["ok"], told["entries"], told["chains"]) == (True, 6, {"chain-000": 5, "rollout": 1})


def test_verify_names_the_entry_that_was_changed(folder: Path) -> None:
    damage(folder)
    done = run("verify", "--ledger", folder)
    assert isinstance(done.exception, LedgerError)
    assert done.exception.exit_code == 10
    assert "chain 'chain-000', seq 3: was changed" in str(done.exception)
    assert "problem: chain 'chain-000', seq 3" in done.output
    told = run("verify", "--ledger", folder, "--json")
    assert not json.loads(told.output)["ok"]
    assert isinstance(told.exception, LedgerError)


def test_the_process_ends_with_the_code_of_the_ledger(folder: Path) -> None:
    damage(folder)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "countermark"), "ledger", "verify", "--ledger", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 10
    assert "error: this ledger does not verify: chain 'chain-000', seq 3" in done.stderr


def test_an_empty_or_missing_ledger_does_not_verify(tmp_path: Path) -> None:
    for command in (["verify"], ["heads"], ["export", str(tmp_path / "e")], ["checkpoint"]):
        done = run(*command, "--ledger", tmp_path / "nothing")
        assert "there is no entry in this ledger" in str(done.exception)
        assert not (tmp_path / "nothing").exists()


def test_the_ledger_of_a_bank_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "bank.yaml").write_text("name: b\n")
    monkeypatch.chdir(tmp_path / "conf")
    assert "chain-000" in run("heads").output
    monkeypatch.setenv("COUNTERMARK_LEDGER", str(tmp_path / "nothing"))
    assert "there is no entry" in str(run("heads").exception)


def test_export_and_verify_it(folder: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path / "e.jsonl", "--ledger", folder)
    assert "wrote 6 entries" in done.output
    assert "every hash of 6 entries holds" in run("verify", "--export", tmp_path / "e.jsonl").output
    lines = (tmp_path / "e.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "e.jsonl").write_bytes(b"".join(lines[:-1]))
    assert "chain 'rollout', seq 0: is missing" in str(run("verify", "--export", tmp_path / "e.jsonl").exception)


def test_a_checkpoint_kept_elsewhere_shows_a_cut_off_end(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    done = run("checkpoint", "--ledger", folder, "--output", kept)
    assert done.exit_code == 0, done.exception
    assert ", not signed" in done.output
    agreed = run("verify", "--ledger", folder, "--checkpoint", kept)
    assert "2 checkpoints agree" in agreed.output
    assert "cannot be seen" not in agreed.output
    for name in ("rollout.sqlite", "checkpoint.sqlite"):
        (folder / name).unlink()
    assert run("verify", "--ledger", folder).exit_code == 0
    assert "chain 'rollout', seq 0: is missing" in str(
        run("verify", "--ledger", folder, "--checkpoint", kept).exception
    )


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def test_a_signed_checkpoint_names_its_key(folder: Path, tmp_path: Path, key: Path) -> None:
    kept = tmp_path / "kept.json"
    assert ", signed" in run("checkpoint", "--ledger", folder, "--output", kept, "--key", key).output
    public = key.with_suffix(".pub").read_text().split()[1]
    done = run("verify", "--ledger", folder, "--checkpoint", kept)
    assert done.exit_code == 0
    assert public in done.output
    with open_ledger(folder) as ledger:
        ledger.append("event", "later", b"", instant(1))
    other = tmp_path / "other.json"
    run("checkpoint", "--ledger", folder, "--output", other, "--key", key)
    forged = json.loads(other.read_bytes())
    forged["signature"] = json.loads(kept.read_bytes())["signature"]
    other.write_text(json.dumps(forged))
    told = str(run("verify", "--ledger", folder, "--checkpoint", other).exception)
    assert "the signature of this checkpoint does not hold: the signature is not of these bytes" in told
    missing = run("checkpoint", "--ledger", folder, "--key", tmp_path / "no key")
    assert isinstance(missing.exception, RegistryError)


def test_a_short_proof_of_one_decision(folder: Path, tmp_path: Path, key: Path) -> None:
    kept, proof = tmp_path / "kept.json", tmp_path / "proof.json"
    run("checkpoint", "--ledger", folder, "--output", kept, "--key", key)
    done = run("prove", "decision-3", "--ledger", folder, "--checkpoint", kept, "--output", proof)
    assert "one entry, 3 hashes" in done.output
    told = run("verify", "--proof", proof)
    assert "decision 'decision-3' is entry 3 of chain 'chain-000'" in told.output
    assert "signed by ssh-ed25519" in told.output
    assert json.loads(run("verify", "--proof", proof, "--json").output)["key"] == "decision-3"
    proof.write_bytes(proof.read_bytes().replace(b"decision-3", b"decision-4"))
    assert "was changed" in str(run("verify", "--proof", proof).exception)
    unsigned = tmp_path / "unsigned.json"
    run("checkpoint", "--ledger", folder, "--output", unsigned)
    run("prove", "decision-3", "--ledger", folder, "--checkpoint", unsigned, "--output", proof)
    assert "the checkpoint is not signed" in run("verify", "--proof", proof).output


def test_a_short_proof_of_growth(folder: Path, tmp_path: Path) -> None:
    first, second, proof = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "proof.json"
    run("checkpoint", "--ledger", folder, "--output", first)
    run("checkpoint", "--ledger", folder, "--output", second)
    done = run("prove", "--since", first, "--ledger", folder, "--checkpoint", second, "--output", proof)
    assert "2 chains, " in done.output
    told = run("verify", "--proof", proof)
    assert "only adds to" in told.output
    assert set(json.loads(run("verify", "--proof", proof, "--json").output)) == {"checkpoint", "earlier", "signer"}
    wrong = run("prove", "--ledger", folder, "--checkpoint", second, "--output", proof)
    assert wrong.exit_code == 2
    assert "name a DECISION, or an earlier checkpoint with --since" in wrong.output


def test_one_verb_checks_whatever_of_a_ledger_it_is_given(folder: Path, tmp_path: Path) -> None:
    export, kept, proof, growth = (tmp_path / name for name in ("e.jsonl", "kept.json", "proof.json", "growth.json"))
    run("export", export, "--ledger", folder)
    run("checkpoint", "--ledger", folder, "--output", kept)
    run("prove", "decision-1", "--ledger", folder, "--checkpoint", kept, "--output", proof)
    run("prove", "--since", kept, "--ledger", folder, "--checkpoint", kept, "--output", growth)
    for target in (str(folder), f"sqlite:///{folder}", str(folder / "chain-000.sqlite"), export, proof, growth):
        assert verify_target(str(target), None, None, False)
        assert CliRunner().invoke(app, ["verify", str(target)]).exit_code == 0
    damage(folder)
    assert not verify_target(str(folder), None, None, True)
    assert isinstance(CliRunner().invoke(app, ["verify", str(folder)]).exception, RegistryError)
    export.write_bytes(export.read_bytes()[:-2])
    assert not verify_target(str(export), None, None, False)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = run("verify", "--checkpoint", tmp_path / "nothing")
    assert isinstance(told.exception, LedgerError)
    assert "this file cannot be read" in str(told.exception)

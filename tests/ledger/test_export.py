from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from countermark.errors import LedgerError
from countermark.ledger import Checkpoint, open_ledger, verify_export, verify_growth, verify_proof
from countermark.records.digest import canonical_json, sha256_hex
from tests.ledger.entries import AT, instant, item
from tests.servers import PostgresServer

FORMATS = Path(__file__).resolve().parent.parent / "formats"


def fill(url: str | Path) -> Checkpoint:
    """Two chains, every way a payload is written, and a checkpoint."""
    with open_ledger(url) as one, open_ledger(url, writer="rollout") as two:
        one.append_many([item(n) for n in range(3)])
        two.append("routing", "table", b'{"version":1}', instant(3))
        one.append("event", 'Ünïcødé "quoted" \n', b"\xff\x00 no text", instant(4))
        one.append("shadow", "decision-1", '{"text":"größer"}'.encode(), instant(5))
        return two.checkpoint(instant(6))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("ledger")
    fill(folder / "l")
    with open_ledger(folder / "l") as ledger:
        ledger.export(folder / "e.jsonl")
    return (folder / "e.jsonl").read_bytes()


def test_an_export_holds_everything_and_verifies_alone(url: str, tmp_path: Path) -> None:
    fill(url)
    path = tmp_path / "export.jsonl"
    with open_ledger(url) as ledger:
        digest = ledger.export(path)
        entries = list(ledger.read())
        heads = ledger.heads()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert lines[0]["format"] == "countermark/ledger-export/1"
    assert lines[0]["chains"] == {chain: {"hash": h, "size": seq + 1} for chain, (seq, h) in heads.items()}
    assert [(line["chain"], line["seq"], line["hash"]) for line in lines[1:]] == sorted(
        (entry.chain, entry.seq, entry.hash) for entry in entries
    )
    told: list[tuple[str, int]] = []
    report = verify_export(path, progress=lambda chain, count: told.append((chain, count)))
    assert told == [("chain-000", 5), ("rollout", 2)]
    assert report.ok, report.first_problem
    assert (report.chains, report.checkpoints) == ({"chain-000": 5, "rollout": 2}, 1)
    assert digest == sha256_hex(path.read_bytes())
    assert [found.name for found in tmp_path.iterdir() if "export" in found.name] == ["export.jsonl"]


def test_both_stores_export_the_same_bytes(exported: bytes, postgres: PostgresServer, tmp_path: Path) -> None:
    address = postgres.schema()
    fill(address)
    with open_ledger(address) as ledger:
        ledger.export(tmp_path / "e.jsonl")
    assert (tmp_path / "e.jsonl").read_bytes() == exported


def test_the_first_version_of_the_format_still_opens(exported: bytes) -> None:
    kept = FORMATS / "ledger_export_1.jsonl"
    assert kept.read_bytes() == exported
    report = verify_export(kept)
    assert report.ok
    assert report.entries == 7


def test_every_line_is_canonical_json(exported: bytes) -> None:
    for line in exported.splitlines():
        assert canonical_json(json.loads(line)) == line


def test_an_export_verifies_by_the_manual_alone(exported: bytes) -> None:
    """Whoever reads docs/reference/ledger_format.md can check an export with a few lines of their own."""
    heads: dict[str, str] = {}
    for line in map(json.loads, exported.splitlines()[1:]):
        payload = line["payload"].encode() if "payload" in line else base64.b64decode(line["payload_base64"])
        fields = [line["chain"].encode(), line["seq"].to_bytes(8, "big")]
        fields += [line[name].encode() for name in ("at", "kind", "key")] + [payload]
        message = bytes.fromhex(line["previous"]) + b"".join(len(f).to_bytes(4, "big") + f for f in fields)
        assert hashlib.sha256(message).hexdigest() == line["hash"]
        assert heads.get(line["chain"], "0" * 64) == line["previous"]
        heads[line["chain"]] = line["hash"]
    header = json.loads(exported.splitlines()[0])
    assert {chain: head["hash"] for chain, head in header["chains"].items()} == heads


def test_an_empty_ledger_can_be_exported(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "l") as ledger:
        ledger.export(tmp_path / "e")
    assert verify_export(tmp_path / "e").entries == 0


def test_what_is_appended_meanwhile_is_not_part_of_it(url: str, tmp_path: Path) -> None:
    with open_ledger(url) as ledger:
        ledger.append_many([item(n) for n in range(3)])
        rows = ledger.rows

        def and_append(chain: str, kind: str | None, after: int, until: int):  # type: ignore[no-untyped-def]
            ledger.append(*item(99))
            return rows(chain, kind, after, until)

        ledger.rows = and_append  # type: ignore[method-assign]
        ledger.export(tmp_path / "e")
        assert ledger.heads()["chain-000"][0] == 3
    report = verify_export(tmp_path / "e")
    assert (report.ok, report.entries) == (True, 3)


def test_a_changed_byte_anywhere_is_found(exported: bytes, tmp_path: Path) -> None:
    path = tmp_path / "e"
    first_line = exported.index(b"\n") + 1
    generator = np.random.default_rng(11)
    for place in sorted({int(p) for p in generator.integers(0, len(exported), 300)} | {len(exported) - 1}):
        changed = bytearray(exported)
        changed[place] ^= 1 << int(generator.integers(0, 7))
        path.write_bytes(changed)
        try:
            report = verify_export(path)
        except LedgerError:
            assert place < first_line
            continue
        assert not report.ok, f"byte {place}"
        if place >= first_line:
            number = exported[:place].count(b"\n")
            line = json.loads(exported.splitlines()[number])
            assert report.first_problem is not None
            assert (report.first_problem.chain, report.first_problem.seq) == (line["chain"], line["seq"])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda lines: lines[:-1], ("rollout", 1)),
        (lambda lines: lines[:3] + lines[4:], ("chain-000", 2)),
        (lambda lines: [*lines, lines[-1]], ("rollout", 2)),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], ("chain-000", 1)),
        (lambda lines: lines[:1], ("chain-000", 0)),
        (lambda lines: [*lines[:2], b'{"chain":"x"}', *lines[3:]], ("chain-000", 1)),
    ],
    ids=["cut off", "left out", "repeated", "swapped", "emptied", "replaced"],
)
def test_lines_that_do_not_belong_are_named(exported: bytes, tmp_path: Path, change, where) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "e"
    path.write_bytes(b"".join(line + b"\n" for line in change(exported.splitlines())))
    first = verify_export(path).first_problem
    assert first is not None
    assert (first.chain, first.seq) == where


def test_an_export_made_anew_disagrees_with_a_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    kept = fill(tmp_path / "l")
    with open_ledger(tmp_path / "other") as ledger:
        ledger.append_many([item(n, payload=b"other") for n in range(6)])
        ledger.export(tmp_path / "e")
    assert verify_export(tmp_path / "e").ok
    told = verify_export(tmp_path / "e", [Checkpoint.from_json(kept.to_json())])
    assert [(problem.chain, problem.seq) for problem in told.problems] == [("chain-000", 4), ("rollout", 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "this file is no export of a ledger"),
        (b"PK\x03\x04", "this file is no export of a ledger"),
        (b'{"chains":{},"format":"countermark/ledger-export/9"}\n', "unknown format"),
        (b'{"chains":{}, "format":"countermark/ledger-export/1"}\n', "not in canonical form"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "e").write_bytes(text)
    with pytest.raises(LedgerError, match=message):
        verify_export(tmp_path / "e")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the export cannot be read"):
        verify_export(tmp_path / "nothing")
    with open_ledger(tmp_path / "l") as ledger, pytest.raises(LedgerError, match="the export cannot be written"):
        ledger.export(tmp_path / "no folder" / "e")


# --- proofs


def test_a_proof_of_one_entry(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append_many([item(n) for n in range(100)])
        checkpoint = ledger.checkpoint(AT, sign=lambda body: "signature")
        ledger.append_many([item(n) for n in range(100, 120)])
        for number in (0, 1, 63, 64, 99):
            proof = ledger.prove("decision", f"decision-{number}", checkpoint)
            assert len(proof.path) <= 7
            entry, proven = verify_proof(proof.to_json())
            assert entry == ledger.get("decision", f"decision-{number}")[0]
            assert (proven.body, proven.signature) == (checkpoint.body, checkpoint.signature)
        with pytest.raises(LedgerError, match="is older than this decision"):
            ledger.prove("decision", "decision-110", checkpoint)
        with pytest.raises(LedgerError, match="has no decision with this key"):
            ledger.prove("decision", "decision-999", checkpoint)


def test_a_proof_that_was_changed_proves_nothing(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.append_many([item(n, payload=b'{"p":"0x1.8p-3"}') for n in range(10)])
        proof = ledger.prove("decision", "decision-4", ledger.checkpoint(AT)).to_json()
        ledger.append(*item(99))
        other = ledger.checkpoint(instant(1))
    document = json.loads(proof)

    def told(**changes: object) -> str:
        changed = json.loads(proof)
        for path, value in changes.items():
            place = changed
            *above, last = path.split("__")
            for name in above:
                place = place[name]
            place[last] = value
        with pytest.raises(LedgerError) as raised:
            verify_proof(json.dumps(changed).encode())
        return raised.value.what

    assert verify_proof(proof)[0].key == "decision-4"
    assert "was changed" in told(entry__payload='{"p":"0x1.9p-3"}')
    assert "was changed" in told(entry__seq=5)
    assert "was changed" in told(entry__chain="chain-001")
    assert "does not cover entry 4" in told(path=document["path"][:-1])
    assert "does not cover entry 4" in told(path=[*document["path"][:-1], "00" * 32])
    assert "does not cover entry 4" in told(checkpoint__body=other.body)
    assert "is no proof" in told(format="countermark/inclusion/2")
    assert "is no proof" in told(path=["zz"])
    assert "is no proof" in told(entry__payload=None)
    assert "is no proof" in told(entry__payload_base64="AAAA")
    assert "is no checkpoint" in told(checkpoint__body="{}")
    with pytest.raises(LedgerError, match="this is no proof of an entry"):
        verify_proof(b"[]")


def test_a_chain_that_changed_since_gives_no_proof(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "a") as ledger:
        ledger.append_many([item(n, payload=b"other") for n in range(5)])
        foreign = ledger.checkpoint(AT)
    with open_ledger(tmp_path / "b") as ledger:
        ledger.append_many([item(n) for n in range(5)])
        with pytest.raises(LedgerError, match="is not what the checkpoint of"):
            ledger.prove("decision", "decision-1", foreign)


def test_a_later_checkpoint_only_adds_to_an_earlier_one(url: str) -> None:
    with open_ledger(url) as ledger, open_ledger(url, writer="watch") as watch:
        ledger.append_many([item(n) for n in range(11)])
        first = watch.checkpoint(AT)
        ledger.append_many([item(n) for n in range(11, 40)])
        second = watch.checkpoint(instant(1))
        growth = ledger.prove_growth(first, second)
        assert sum(map(len, growth.paths.values())) <= 7
        assert [one.body for one in verify_growth(growth.to_json())] == [first.body, second.body]
        same = ledger.prove_growth(second, second)
        assert set(map(len, same.paths.values())) == {0}
        assert [one.body for one in verify_growth(same.to_json())] == [second.body, second.body]
        with pytest.raises(LedgerError, match="saw less of chain 'chain-000'"):
            ledger.prove_growth(second, first)


def test_a_chain_written_anew_is_no_growth(tmp_path: Path) -> None:
    taken = []
    for name, payload in (("a", b"one"), ("b", b"two")):
        with open_ledger(tmp_path / name) as ledger, open_ledger(tmp_path / name, writer="watch") as watch:
            ledger.append_many([item(n, payload=payload) for n in range(5)])
            taken.append(watch.checkpoint(AT))
            ledger.append(*item(9))
            taken.append(watch.checkpoint(instant(1)))
    first, second, _, anew = taken
    with open_ledger(tmp_path / "a") as ledger:
        document = json.loads(ledger.prove_growth(first, second).to_json())
        with pytest.raises(LedgerError, match="is not what the checkpoint of"):
            ledger.prove_growth(first, anew)
    document["later"] = json.loads(anew.to_json())
    with pytest.raises(LedgerError, match="does not continue chain 'chain-000'"):
        verify_growth(json.dumps(document).encode())
    document["later"] = json.loads(first.to_json())
    with pytest.raises(LedgerError, match="does not continue chain 'chain-000'"):
        verify_growth(json.dumps(document).encode())
    with pytest.raises(LedgerError, match="this is no proof of two checkpoints"):
        verify_growth(b"{}")

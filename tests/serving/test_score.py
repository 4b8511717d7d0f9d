"""Files: the same bits and records as over HTTP; decisions made elsewhere."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.errors import LedgerError, RegistryError, ServingError
from countermark.ledger.opening import open_ledger
from countermark.ledger.sqlite import SqliteLedger
from countermark.records.decision import DecisionRecord, decode, encode
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.serving.batch import FileScorer
from tests.serving.releases import ReleaseBank, pd_spec, requests
from tests.serving.servers import Server

AT = "2026-03-01T09:00:00.000000Z"
ROWS = requests(pd_spec(), 40, seed=12)


def run(*args: str) -> Result:
    done = CliRunner().invoke(app, [*args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def score(bank: ReleaseBank, source: Path, target: Path, *more: str, release: str = "toy_pd@v1.0.0") -> Result:
    base = ["score", "--release", release, "--releases", str(bank.folder), "--trust-root", bank.trust_root]
    return run(*base, "--input", str(source), "--output", str(target), *more)


def written(folder: Path, kind: str, *, ids: bool = True) -> Path:
    path = folder / f"cases.{kind}"
    rows = [{**({"case": f"n{k}"} if ids else {}), "customer": f"c{k}", **row} for k, row in enumerate(ROWS)]
    if kind == "csv":
        with path.open("w", newline="") as stream:
            out = csv.DictWriter(stream, list(rows[0]))
            out.writeheader()
            out.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".csv":
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [r | {"score": float(r["score"]), "probability": float(r["probability"])} for r in rows]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    found: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_gives_the_bits_that_the_service_gives(
    bank: ReleaseBank, server: Server, keys: tuple[Path, dict[str, str]], tmp_path: Path, kind: str
) -> None:
    target, ledger = tmp_path / f"out.{kind}", str(tmp_path / "ledger")
    done = score(bank, written(tmp_path, kind), target, "--ledger", ledger, "--id", "case")
    assert "decided 40, refused 0" in done.output
    found = read(target)
    with open_ledger(ledger) as book:
        assert book.verify().ok
        records = {e.key: decode(e.payload, DecisionRecord) for e in book.read(["decision"])}
    assert [row["id"] for row in found] == [f"n{k}" for k in range(40)]
    for k, (row, request) in enumerate(zip(found, ROWS, strict=True)):
        over = server.decide("toy_pd", request, entity=f"c{k}", key=keys[1]["all"]).json
        stored = server.call("GET", f"/v1/decisions/{over['id']}", key=keys[1]["all"]).json
        mine = records[f"n{k}"]
        assert (row["score"], row["probability"], row["decision"]) == (
            over["score"],
            over["probability"],
            over["decision"],
        )
        assert (mine.margin, mine.p, mine.grade, mine.entity) == (
            stored["margin"],
            stored["p"],
            stored["grade"],
            f"c{k}",
        )
        assert mine.features == stored["features"]
        assert [r.contribution for r in mine.reasons] == [r["contribution"] for r in stored["reasons"]]
        assert mine.channel == "file"


def test_a_file_that_is_scored_again_gives_the_same_decisions_and_no_new_records(
    bank: ReleaseBank, tmp_path: Path
) -> None:
    source, ledger = written(tmp_path, "csv"), str(tmp_path / "ledger")
    for name in ("one.csv", "two.csv"):
        score(bank, source, tmp_path / name, "--ledger", ledger, "--id", "case")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    with open_ledger(ledger) as book:
        assert len(list(book.read(["decision"]))) == 40


def test_a_bank_records_what_it_scores_and_elsewhere_it_must_be_said(
    bank: ReleaseBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COUNTERMARK_LEDGER", raising=False)
    source, target = written(tmp_path, "csv"), tmp_path / "out.csv"
    home = tmp_path / "bank"
    (home / "conf").mkdir(parents=True)
    (home / "conf" / "bank.yaml").write_text("name: Test bank\n")
    monkeypatch.chdir(home)
    assert "NOTHING WAS RECORDED" in score(bank, source, target, "--id", "case", "--no-record").output
    assert not (home / "ledger").exists(), "nothing at all is written there"
    target.unlink()
    assert "every decision is on the ledger" in score(bank, source, target, "--id", "case").output
    with open_ledger(home / "ledger") as book:
        assert sorted(e.key for e in book.read(["decision"])) == sorted(f"n{k}" for k in range(40))
    assert "NOTHING WAS RECORDED (--no-record)" in score(bank, source, target, "--id", "case", "--no-record").output
    with open_ledger(home / "ledger") as book:
        assert len(list(book.read(["decision"]))) == 40
    monkeypatch.chdir(tmp_path)
    target.unlink()
    with pytest.raises(ServingError, match="not said where the decisions are recorded") as told:
        score(bank, source, target, "--id", "case")
    assert "--no-record" in str(told.value)
    assert not target.exists()
    assert "decided 40" in score(bank, source, target, "--id", "case", "--no-record").output
    monkeypatch.setenv("COUNTERMARK_LEDGER", str(tmp_path / "named"))
    assert "every decision is on the ledger" in score(bank, source, target, "--id", "case").output
    with open_ledger(tmp_path / "named") as book:
        assert len(list(book.read(["decision"]))) == 40


def test_without_a_record_the_routing_table_is_followed_all_the_same(bank: ReleaseBank, tmp_path: Path) -> None:
    table = RoutingTable(version=1, at=AT, models={"toy_pd": ModelRoute(champion="2.0.0")})
    with open_ledger(tmp_path / "ledger", writer="rollout") as book:
        book.append("routing", "routing", encode(table), AT)
    score(bank, written(tmp_path, "csv"), tmp_path / "out.csv", "--ledger", str(tmp_path / "ledger"), "--no-record",
          "--id", "case", release="toy_pd")  # fmt: skip
    assert {row["release"] for row in read(tmp_path / "out.csv")} == {"toy_pd@v2.0.0"}
    with open_ledger(tmp_path / "ledger") as book:
        assert [e.kind for e in book.read()] == ["routing"]


def test_cases_that_break_their_contract_are_refused_by_name_and_the_others_decided(
    bank: ReleaseBank, tmp_path: Path
) -> None:
    source = tmp_path / "cases.csv"
    source.write_text("age,income,purpose\n44,1000,car\n17,1000,car\nold,1e9,boat\n50,,\n")
    done = score(bank, source, tmp_path / "out.jsonl", "--no-record")
    assert "decided 2, refused 2; NOTHING WAS RECORDED (--no-record)" in done.output
    refused = [row["refused"] for row in read(tmp_path / "out.jsonl")]
    assert [refused[0], refused[1], refused[3]] == [None, "age: minimum", None]
    assert {part.split(":")[0] for part in str(refused[2]).split("; ")} == {"age", "income", "purpose"}


@pytest.mark.parametrize(
    ("name", "text", "more", "release", "error", "match"),
    [
        ("c.csv", "age,colour\n44,red\n", (), "toy_pd@v1.0.0", ServingError, "'colour'|does not know"),
        ("c.txt", "", (), "toy_pd@v1.0.0", ServingError, "kind of file is not read"),
        ("c.jsonl", "[1]\n", (), "toy_pd@v1.0.0", ServingError, ":1: this line is no case"),
        ("c.csv", "age\n44\n", (), "toy_pd@v9.0.0", RegistryError, "may not be served"),
        ("c.csv", "age\n44\n", (), "other@v1.0.0", RegistryError, "an authorised release of 'other'; there is none"),
        ("c.csv", "age\n44\n", (), "other", ServingError, "not served"),
        ("c.csv", "amount\n44\n", (), "toy_fraud", Exception, "reads feature views"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    bank: ReleaseBank, tmp_path: Path, name: str, text: str, more: tuple[str, ...], release: str,
    error: type[Exception], match: str,
) -> None:  # fmt: skip
    source = tmp_path / name
    source.write_text(text)
    with pytest.raises(error, match=match):
        score(bank, source, tmp_path / "out.csv", "--no-record", *more, release=release)
    assert not (tmp_path / "out.csv").exists()


def test_a_file_or_an_output_that_is_not_there_is_named(bank: ReleaseBank, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cannot be read"):
        score(bank, tmp_path / "none.csv", tmp_path / "out.csv", "--no-record")
    with pytest.raises(ServingError, match="cannot be read"):
        score(bank, tmp_path / "none.parquet", tmp_path / "out.csv", "--no-record")
    with pytest.raises(ServingError, match="not written"):
        score(bank, written(tmp_path, "csv"), tmp_path / "out.txt", "--id", "case", "--no-record")
    with pytest.raises(ServingError, match="cannot be written"):
        score(bank, written(tmp_path, "csv"), tmp_path / "no" / "out.csv", "--id", "case", "--no-record")


def test_an_id_that_was_used_for_another_case_is_refused(bank: ReleaseBank, tmp_path: Path) -> None:
    source, ledger = tmp_path / "c.csv", str(tmp_path / "ledger")
    for age in (44, 45):
        source.write_text(f"case,age\nx1,{age}\n")
        score(bank, source, tmp_path / f"{age}.jsonl", "--ledger", ledger, "--id", "case")
    assert read(tmp_path / "45.jsonl")[0]["refused"] == "id: used for another request"


def core(**more: object) -> str:
    return json.dumps({"id": "a", "at": "2026-03-01", "model": "m", "system": "s", "decision": "d"} | more)


@pytest.mark.parametrize(
    ("change", "match"),
    [({"id": "n0"}, "'n0' is that of a decision made here"), ({"id": "a", "decision": "e"}, "'a' was imported with")],
)
def test_an_import_under_an_id_that_is_taken_is_refused_by_name_and_records_nothing(
    bank: ReleaseBank, tmp_path: Path, change: dict[str, str], match: str
) -> None:
    ledger, source = str(tmp_path / "ledger"), tmp_path / "core.jsonl"
    score(bank, written(tmp_path, "csv"), tmp_path / "out.csv", "--ledger", ledger, "--id", "case")
    source.write_text(core())
    run("ledger", "import", "--ledger", ledger, str(source))
    source.write_text(core(id="fresh") + "\n" + core(**change))
    with pytest.raises(ServingError, match=match):
        run("ledger", "import", "--ledger", ledger, str(source))
    with open_ledger(ledger) as book:
        assert [entry.key for entry in book.read(["import"])] == ["a"]


def test_decisions_of_other_systems_are_imported_once(tmp_path: Path) -> None:
    ledger, source = str(tmp_path / "ledger"), tmp_path / "core.jsonl"
    one = {"id": "a1", "at": "2026-03-01T10:00:00+01:00", "model": "toy_pd", "system": "core", "decision": "approve"}
    source.write_text(json.dumps(one) + "\n\n" + json.dumps(one | {"id": "a2", "p": 0.25}) + "\n")
    assert "recorded 2 decisions; 0 were" in run("ledger", "import", "--ledger", ledger, str(source)).output
    assert "recorded 0 decisions; 2 were" in run("ledger", "import", "--ledger", ledger, str(source)).output
    with open_ledger(ledger) as book:
        entries = list(book.read(["import"]))
    assert [(e.key, e.at) for e in entries] == [(k, "2026-03-01T09:00:00.000000Z") for k in ("a1", "a2")]


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ('{"id": "a"}', ":1: this line is no decision"),
        ("", "this file is empty"),
        (core(id=""), r":1: this line is no decision\n.*\$\.id"),
        ("\n" + core(id="a/b"), r":2: this line is no decision\n  got: 'id'.* letters, digits and"),
        (core(at="noon"), ":1: this line is no decision\n  got: 'at'"),
        (core(at="2099-01-01"), ":1: this line is no decision\n  got: 'at': it lies in the future"),
        (core(p=17), "'p': a probability in .0, 1. is expected"),
        (core(p=-0.1), "'p': a probability in .0, 1. is expected"),
        (core(model=""), "got: 'model' is empty"),
        (core(system=" "), "got: 'system' is empty"),
        (core(decision=""), "got: 'decision' is empty"),
        (core(entity=""), "got: 'entity' is empty"),
        ('{"id": "z", ' + core()[1:], "the name 'id' twice"),
        (core() + "\n" + core().encode("utf-16").decode("latin-1"), ":2: this is no text in UTF-8"),
        ((core() + "\n") * 2, ":2: this line repeats"),
    ],
)
def test_a_bad_import_records_nothing(tmp_path: Path, lines: str, match: str) -> None:
    ledger, source = str(tmp_path / "ledger"), tmp_path / "core.jsonl"
    source.write_bytes(lines.encode("latin-1"))
    with pytest.raises(ServingError, match=match):
        run("ledger", "import", "--ledger", ledger, str(source))
    with open_ledger(ledger) as book:
        assert not book.chains()


def decisions(ledger: str) -> list[str]:
    with open_ledger(ledger) as book:
        return [entry.key for entry in book.read(["decision"])]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "end",
    [b"\xff\xfe\n", b'"', b"1,2,3,4,5,6,7,8\n", b"{}}\n", b"\x00\n"],
    ids=["bytes", "quote", "cells", "json", "nul"],
)
def test_a_file_that_is_wrong_anywhere_is_refused_before_anything_is_decided(
    bank: ReleaseBank, tmp_path: Path, kind: str, end: bytes
) -> None:
    """The wrong line is the last of more than one transaction's."""
    source, ledger = tmp_path / f"c.{kind}", str(tmp_path / "ledger")
    line = b"44,1000\n" if kind == "csv" else b'{"age": 44, "income": 1000}\n'
    source.write_bytes((b"age,income\n" if kind == "csv" else b"") + line * 700 + end)
    with pytest.raises(ServingError, match=rf"c\.{kind}:70[12]: this ") as told:
        score(bank, source, tmp_path / "out.csv", "--ledger", ledger)
    assert "44" not in str(told.value).replace(str(source), "")
    assert not decisions(ledger)
    assert [path.name for path in tmp_path.glob("out*")] == []


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_without_ids_that_is_scored_again_decides_nothing_again(
    bank: ReleaseBank, tmp_path: Path, kind: str
) -> None:
    ledger, source = str(tmp_path / "ledger"), written(tmp_path, kind, ids=False)
    outputs = [tmp_path / name for name in ("one.csv", "two.csv")]
    told = [score(bank, source, target, "--ledger", ledger).output for target in outputs]
    assert "from before" not in told[0]
    assert "decided 40, refused 0; every decision is on the ledger, 40 of them from before" in told[1]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert len(decisions(ledger)) == 40
    assert {re.fullmatch(r"file-[0-9a-f]{32}-[0-9]+", key) is not None for key in decisions(ledger)} == {True}
    score(bank, source, tmp_path / "new.csv", "--ledger", ledger, "--run", "december")
    score(bank, source, tmp_path / "new.csv", "--ledger", ledger, "--as-of", "2026-03-01")
    score(bank, source, tmp_path / "new.csv", "--ledger", ledger, release="toy_pd@v2.0.0")
    assert len(decisions(ledger)) == 160, "another run, another instant and another release decide anew"
    with open_ledger(ledger) as book:
        versions = [decode(entry.payload, DecisionRecord).release.version for entry in book.read(["decision"])]
    assert (versions.count("1.0.0"), versions.count("2.0.0")) == (120, 40), "the release that was named decides"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_was_decided_before_a_failure_is_kept_and_the_rerun_completes_it(
    bank: ReleaseBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source, ledger, target = tmp_path / "c.csv", str(tmp_path / "ledger"), tmp_path / f"out.{kind}"
    source.write_text("age,income\n" + "44,1000\n" * 700)
    append, calls = SqliteLedger.append_many, []

    def fails(self: SqliteLedger, items: Any) -> Any:
        calls.append(len(items))
        if len(calls) > 1:
            raise LedgerError("the disk is full")
        return append(self, items)

    monkeypatch.setattr(SqliteLedger, "append_many", fails)
    base = ["score", "--release", "toy_pd@v1.0.0", "--releases", str(bank.folder), "--trust-root", bank.trust_root]
    done = CliRunner().invoke(app, [*base, "--input", str(source), "--output", str(target), "--ledger", ledger])
    assert isinstance(done.exception, LedgerError)
    assert not target.exists()
    (kept,) = tmp_path.glob(f"out.{kind}.*.partial")
    assert str(kept) in done.output
    assert "decides none of it twice" in done.output
    before = read(kept.rename(tmp_path / f"kept.{kind}"))
    assert [row["id"] for row in before] == decisions(ledger)
    assert len(before) == 512
    monkeypatch.setattr(SqliteLedger, "append_many", append)
    assert "decided 700" in score(bank, source, target, "--ledger", ledger).output
    assert read(target)[:512] == before
    assert len(decisions(ledger)) == 700


def test_a_file_that_changes_while_it_is_scored_is_noticed(
    bank: ReleaseBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, ledger = tmp_path / "c.csv", str(tmp_path / "ledger")
    source.write_text("age,income\n" + "44,1000\n" * 700)
    score_rows = FileScorer.score

    def changed(self: FileScorer, rows: Any) -> Any:
        source.write_text("age,income\n" + "45,1000\n" * 700 + "46,1000\n")
        return score_rows(self, rows)

    monkeypatch.setattr(FileScorer, "score", changed)
    with pytest.raises(ServingError, match="was changed while it was scored"):
        score(bank, source, tmp_path / "out.csv", "--ledger", ledger)
    assert not decisions(ledger)


def test_runs_at_the_same_time_to_one_output_do_not_meet(
    bank: ReleaseBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run begins and ends while the first one writes: both succeed, and the last whole file stands."""
    source, target = tmp_path / "c.csv", tmp_path / "out.jsonl"
    source.write_text("age,income\n" + "44,1000\n" * 3)
    score_rows = FileScorer.score
    inner: list[str] = []

    def twice(self: FileScorer, rows: Any) -> Any:
        for one in score_rows(self, rows):
            if not inner:
                inner.append("begun")
                inner.append(score(bank, source, target, "--no-record").output)
            yield one

    monkeypatch.setattr(FileScorer, "score", twice)
    assert "decided 3" in score(bank, source, target, "--no-record").output
    assert "decided 3" in inner[1]
    assert len(read(target)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "out.jsonl"]
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "text", "more", "match"),
    [
        ("c.csv", "", (), "this file is empty"),
        ("c.csv", "\n\n", (), "this file is empty"),
        ("c.jsonl", "\n", (), "this file is empty"),
        ("c.csv", "age,income,income\n44,1,99999\n", (), r":1: a column is there twice\n.*\n  got: 'income'"),
        ("c.csv", "age,,income\n44,1,1\n", (), ":1: column 2 has no name"),
        ("c.csv", "age,income\n\n44,1,1\n", (), r":3: this case has another number of cells"),
        ("c.csv", "age,income\n44\n", (), r":2: this case has another number of cells"),
        ("c.csv", 'age,purpose\n44,"car\n45,car\n', (), r":2: this is no CSV"),
        ("c.csv", "age,purpose\n44," + "x" * 200_000 + "\n", (), r":2: this is no CSV"),
        ("c.csv", "age,purpose\r44,car\r", (), r":1: this is no CSV"),
        ("c.jsonl", '{"age": 44, "age": 45}\n', (), r":1: this line is no case\n  got: the name 'age' twice"),
        ("c.jsonl", '{"age": [1]}\n', (), r":1: this line is no case"),
        ("c.jsonl", '{"age": 44}\n' + " " * (1 << 21), (), r":2: this line is too long"),
        ("c.csv", "age\n44\n", ("--id", "case"), "the file has no column 'case'"),
        ("c.csv", "age\n44\n", ("--entity", "who"), "the file has no column 'who'"),
        ("c.csv", "case,age\nx,44\n,44\n", ("--id", "case"), r":3: case 2 has no id that can be used"),
        ("c.csv", "case,age\na/b,44\n", ("--id", "case"), r":2: case 1 has no id that can be used"),
        ("c.jsonl", '{"case": "a", "age": 44}\n{"age": 44}\n', ("--id", "case"), r":2: case 2 has no id"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_by_line(
    bank: ReleaseBank, tmp_path: Path, name: str, text: str, more: tuple[str, ...], match: str
) -> None:
    source, ledger = tmp_path / name, str(tmp_path / "ledger")
    source.write_bytes(text.encode())
    with pytest.raises(ServingError, match=match):
        score(bank, source, tmp_path / "out.csv", "--ledger", ledger, *more)
    assert not decisions(ledger)


def test_a_parquet_file_with_a_column_twice_and_an_output_that_is_the_input_are_refused(
    bank: ReleaseBank, tmp_path: Path
) -> None:
    source = tmp_path / "c.parquet"
    pq.write_table(pa.table([[44], [45]], names=["age", "age"]), source)
    with pytest.raises(ServingError, match="a column is there twice"):
        score(bank, source, tmp_path / "out.csv", "--no-record")
    pq.write_table(pa.table({"age": [44]}), source)
    with pytest.raises(ServingError, match="the output is the input"):
        score(bank, source, source, "--no-record")
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"purpose": text}), source)
    with pytest.raises(ServingError, match="this file holds what cannot be read"):
        score(bank, source, tmp_path / "out.csv", "--no-record")


def test_a_byte_order_mark_is_passed_over(bank: ReleaseBank, tmp_path: Path) -> None:
    for name, text in (("c.csv", "age,purpose\r\n44,car\r\n"), ("c.jsonl", '{"age": 44, "purpose": "car"}\n')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert "decided 1, refused 0" in score(bank, tmp_path / name, tmp_path / "out.csv", "--no-record").output


def test_a_named_pipe_is_no_file_of_cases(bank: ReleaseBank, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.csv")
    with pytest.raises(ServingError, match="no ordinary file"):
        score(bank, tmp_path / "c.csv", tmp_path / "out.csv", "--no-record")

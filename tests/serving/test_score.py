"""Files: the same bits and records as over HTTP; decisions made elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from countermark.cli.root import app
from countermark.errors import RegistryError, ServingError
from countermark.ledger.opening import open_ledger
from countermark.records.decision import DecisionRecord, decode
from tests.serving.releases import ReleaseBank, pd_spec, requests
from tests.serving.servers import Server

ROWS = requests(pd_spec(), 40, seed=12)


def run(*args: str) -> Result:
    done = CliRunner().invoke(app, [*args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def score(bank: ReleaseBank, source: Path, target: Path, *more: str, release: str = "toy_pd@v1.0.0") -> Result:
    base = ["score", "--release", release, "--releases", str(bank.folder), "--trust-root", bank.trust_root]
    return run(*base, "--input", str(source), "--output", str(target), *more)


def written(folder: Path, kind: str) -> Path:
    path = folder / f"cases.{kind}"
    rows = [{"case": f"n{k}", "customer": f"c{k}", **row} for k, row in enumerate(ROWS)]
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


def test_cases_that_break_their_contract_are_refused_by_name_and_the_others_decided(
    bank: ReleaseBank, tmp_path: Path
) -> None:
    source = tmp_path / "cases.csv"
    source.write_text("age,income,purpose\n44,1000,car\n17,1000,car\nold,1e9,boat\n50,,\n")
    done = score(bank, source, tmp_path / "out.jsonl")
    assert "decided 2, refused 2" in done.output
    refused = [row["refused"] for row in read(tmp_path / "out.jsonl")]
    assert [refused[0], refused[1], refused[3]] == [None, "age: minimum", None]
    assert {part.split(":")[0] for part in str(refused[2]).split("; ")} == {"age", "income", "purpose"}


@pytest.mark.parametrize(
    ("name", "text", "more", "release", "error", "match"),
    [
        ("c.csv", "age,colour\n44,red\n", (), "toy_pd@v1.0.0", ServingError, "'colour'|does not know"),
        ("c.txt", "", (), "toy_pd@v1.0.0", ServingError, "kind of file is not read"),
        ("c.jsonl", "[1]\n", (), "toy_pd@v1.0.0", ServingError, "line 1 is no case"),
        ("c.csv", "age\n44\n", (), "toy_pd@v9.0.0", RegistryError, "may not be served"),
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
        score(bank, source, tmp_path / "out.csv", *more, release=release)
    assert not (tmp_path / "out.csv").exists()


def test_a_file_or_an_output_that_is_not_there_is_named(bank: ReleaseBank, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cannot be read"):
        score(bank, tmp_path / "none.csv", tmp_path / "out.csv")
    with pytest.raises(ServingError, match="cannot be read"):
        score(bank, tmp_path / "none.parquet", tmp_path / "out.csv")
    with pytest.raises(ServingError, match="not written"):
        score(bank, written(tmp_path, "csv"), tmp_path / "out.txt", "--id", "case")
    with pytest.raises(ServingError, match="cannot be written"):
        score(bank, written(tmp_path, "csv"), tmp_path / "no" / "out.csv", "--id", "case")


def test_an_id_that_was_used_for_another_case_is_refused(bank: ReleaseBank, tmp_path: Path) -> None:
    source, ledger = tmp_path / "c.csv", str(tmp_path / "ledger")
    for age in (44, 45):
        source.write_text(f"case,age\nx1,{age}\n")
        score(bank, source, tmp_path / f"{age}.jsonl", "--ledger", ledger, "--id", "case")
    assert read(tmp_path / "45.jsonl")[0]["refused"] == "id: used for another request"


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
        ('{"id": "a"}', "line 1 is no decision"),
        ('{"id": "", "at": "2026-03-01", "model": "m", "system": "s", "decision": "d"}', "line 1 is no decision"),
        ('{"id": "a", "at": "noon", "model": "m", "system": "s", "decision": "d"}', "line 1 is no decision"),
        ('{"id": "a", "at": "2026-03-01", "model": "m", "system": "s", "decision": "d"}\n' * 2, "line 2 repeats"),
    ],
)
def test_a_bad_import_records_nothing(tmp_path: Path, lines: str, match: str) -> None:
    ledger, source = str(tmp_path / "ledger"), tmp_path / "core.jsonl"
    source.write_text(lines)
    with pytest.raises(ServingError, match=match):
        run("ledger", "import", "--ledger", ledger, str(source))
    with open_ledger(ledger) as book:
        assert not book.chains()

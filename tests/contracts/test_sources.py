"""Sources: planted mistakes, verified bytes, nothing half-written."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countermark.contracts import sources
from countermark.contracts.sources import ingest, read_ingested, write_ingested
from countermark.errors import SourceError
from countermark.records.digest import sha256_hex
from tests.contracts.sources_of import source

CSV = b"id,amount,y\nA,1.5,0\nB,2.5,1\n"


@contextmanager
def ordinary_user() -> Iterator[None]:
    """File modes bind no administrator: give those rights up while the test looks."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a file that is not there": ({"path": "absent.csv"}, "there is no such file"),
    "a folder for a file": ({"path": "."}, "the path is a folder"),
    "a wrong hash": ({"sha256": "0" * 64}, "is not the declared one"),
    "a time zone that does not exist": ({"time_zone": "Mars/Olympus"}, "is no time zone"),
    "a time zone that leaves the folder": ({"time_zone": "../etc/passwd"}, "is no time zone"),
    "a row key that is not there": ({"row_key": "ID"}, "'row_key' of the source names columns"),
    "a dropped column that is not there": ({"drop_columns": ["x"]}, "'drop_columns' of the source names columns"),
    "a renamed column that is not there": ({"rename": {"x": "z"}}, "'rename' of the source names columns"),
    "two columns renamed to one": ({"rename": {"id": "y"}}, "gives two columns one name"),
    "a control total of no column": ({"reconcile": {"x": 1}}, "'reconcile' of the source names columns"),
    "text for Parquet": ({"kind": "parquet", "path": "loans.csv"}, "not readable as Parquet"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_sources_are_refused(sentence: str, tmp_path: Path) -> None:
    declared, message = BAD[sentence]
    (tmp_path / "loans.csv").write_bytes(CSV)
    with pytest.raises(SourceError, match=message):
        ingest(source(**declared), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["loans.csv"]


def test_a_wrong_hash_names_both() -> None:
    with pytest.raises(SourceError) as caught:
        ingest(source(sha256="0" * 64, path=__file__), Path("/"))
    assert caught.value.expected == "0" * 64
    assert caught.value.got == sha256_hex(Path(__file__).read_bytes())
    assert caught.value.file is not None


def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_bytes(CSV)
    (tmp_path / "loans.csv").chmod(0o000)
    declared = source()
    with ordinary_user(), pytest.raises(SourceError, match="no permission to read") as caught:
        ingest(declared, tmp_path)
    assert caught.value.file == str(tmp_path / "loans.csv")


def test_the_manifest_says_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_bytes(CSV)
    declared = source(sha256=sha256_hex(CSV), reconcile={"rows": 2, "amount": 5.0, "y": 0, "id": 1})
    ingested = ingest(declared, tmp_path)
    assert ingested.tables["main"].column_names == ["id", "amount", "y", "_row"]
    assert ingested.manifest["digest"] == sha256_hex(CSV)
    assert ingested.manifest["reconcile"] == [
        {"name": "rows", "expected": 2.0, "computed": 2.0, "difference": 0.0, "unreadable": 0},
        {"name": "amount", "expected": 5.0, "computed": 4.0, "difference": 0.2, "unreadable": 0},
        {"name": "y", "expected": 0.0, "computed": 1.0, "difference": None, "unreadable": 0},
        {"name": "id", "expected": 1.0, "computed": 0.0, "difference": 1.0, "unreadable": 2},
    ]
    json.dumps(ingested.manifest)


def test_written_whole_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_bytes(CSV)
    ingested = ingest(source(rename={"id": "ID"}, row_key="ID", drop_columns=["amount"]), tmp_path)
    write_ingested(ingested, tmp_path / "out" / "loans")
    first = {p.name: p.read_bytes() for p in (tmp_path / "out" / "loans").iterdir()}
    write_ingested(ingested, tmp_path / "out" / "loans")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out" / "loans").iterdir()} == first
    assert sorted(first) == ["main.parquet", "manifest.json"]
    assert read_ingested(tmp_path / "out" / "loans")["main"].to_pylist() == [
        {"ID": "A", "y": "0"},
        {"ID": "B", "y": "1"},
    ]


def test_a_write_that_breaks_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loans.csv").write_bytes(CSV)
    ingested = ingest(source(), tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(sources, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        write_ingested(ingested, tmp_path / "out" / "loans")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_bytes(CSV)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SourceError, match="no permission to write"):
        write_ingested(ingest(source(), tmp_path), tmp_path / "file" / "loans")


def test_an_empty_folder_has_no_tables(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no ingested tables"):
        read_ingested(tmp_path)


def _parquet(folder: Path, table: pa.Table) -> None:
    pq.write_table(table, folder / "loans.parquet")


def test_parquet_without_rows(tmp_path: Path) -> None:
    _parquet(tmp_path, pa.table({"a": pa.array([], pa.int64())}))
    with pytest.raises(SourceError, match="the file has no rows"):
        ingest(source(kind="parquet", path="loans.parquet"), tmp_path)


def test_clock_times_are_read_in_the_source_zone(tmp_path: Path) -> None:
    _parquet(tmp_path, pa.table({"t": pa.array([dt.datetime(2020, 7, 1, 0, 30)]), "d": [dt.date(2020, 7, 1)]}))
    table = ingest(source(kind="parquet", path="loans.parquet", time_zone="Europe/Paris"), tmp_path).tables["main"]
    assert table.column("t").to_pylist() == [dt.datetime(2020, 6, 30, 22, 30, tzinfo=dt.UTC)]
    assert table.column("d").to_pylist() == [dt.date(2020, 7, 1)]


@pytest.mark.parametrize(
    ("clock", "instant"),
    [
        ((2020, 10, 25, 2, 30), (2020, 10, 25, 0, 30)),  # shown twice: first pass, summer time
        ((2020, 3, 29, 2, 30), (2020, 3, 29, 1, 0)),  # never shown: next valid time
    ],
)
def test_clock_changes(tmp_path: Path, clock: tuple[int, ...], instant: tuple[int, ...]) -> None:
    _parquet(tmp_path, pa.table({"t": pa.array([dt.datetime(*clock)])}))  # type: ignore[arg-type]
    table = ingest(source(kind="parquet", path="loans.parquet", time_zone="Europe/Paris"), tmp_path).tables["main"]
    assert table.column("t").to_pylist() == [dt.datetime(*instant, tzinfo=dt.UTC)]  # type: ignore[misc,arg-type]

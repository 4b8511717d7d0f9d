"""Queries frozen from a real database."""

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from countermark.contracts.sources import ingest
from countermark.contracts.sql import _column, freeze
from countermark.contracts.tables import read_table
from countermark.errors import SourceError
from countermark.records.digest import file_digest
from tests.contracts.sources_of import source

SECRET = "s3cret"


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bank.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table loan (id integer, branch text, amount real, note text, blob_ blob)")
        rows = [(2, "x", 10.5, None, b"1"), (1, "y", 20, None, b"1"), (3, "x", None, None, b"1")]
        connection.executemany("insert into loan values (?, ?, ?, ?, ?)", rows)
    monkeypatch.setenv("BANK_URL", f"sqlite:///{path}")
    return tmp_path


def query(**declared: Any) -> Any:
    base = {"kind": "sql", "url_env": "BANK_URL", "query": "select id, branch, amount, note from loan"}
    return source(**(base | {"order_by": ["id"], "snapshot": "snap/loans.parquet"} | declared))


def test_frozen_once_and_read_without_the_database(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = freeze(query(), bank)
    assert frozen.rows == 3
    assert frozen.sha256 == file_digest(bank / "snap" / "loans.parquet")
    monkeypatch.delenv("BANK_URL")
    (bank / "bank.db").unlink()
    table = ingest(query(sha256=frozen.sha256), bank).tables["main"]
    assert table.to_pylist() == [
        {"id": 1, "branch": "y", "amount": 20.0, "note": None, "_row": 0},
        {"id": 2, "branch": "x", "amount": 10.5, "note": None, "_row": 1},
        {"id": 3, "branch": "x", "amount": None, "note": None, "_row": 2},
    ]


def test_the_same_rows_freeze_to_the_same_bytes_in_any_order(bank: Path) -> None:
    first = freeze(query(), bank).sha256
    assert freeze(query(query="select id, branch, amount, note from loan order by amount desc"), bank).sha256 == first
    assert read_table(bank / "snap" / "loans.parquet").column("id").to_pylist() == [1, 2, 3]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a variable that is not set": ({"url_env": "NO_SUCH_URL"}, "'NO_SUCH_URL' is not set"),
    "an unknown driver": ({"url_env": "ODD_URL"}, "the URL in 'ODD_URL' is not usable"),
    "an unreachable database": ({"url_env": "FAR_URL"}, "cannot be reached"),
    "a query that fails": ({"query": "select * from absent"}, "the query of source 'loans' failed"),
    "a query without rows": ({"query": "select * from loan where id > 9"}, "returns no rows"),
    "two columns of one name": ({"query": "select id, id from loan"}, "column names more than once"),
    "an order by ties": ({"order_by": ["branch"]}, "does not fix the row order"),
    "an order by no column": ({"order_by": ["nope"]}, "names columns that the query does not return"),
    "a column of bytes": ({"query": "select id, blob_ from loan"}, "a type that a snapshot cannot hold"),
    "a column of text and numbers": (
        {"query": "select id, case id when 1 then 'a' else 2 end as v from loan"},
        "a type that a snapshot cannot hold",
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_queries_are_refused(sentence: str, bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared, message = BAD[sentence]
    monkeypatch.setenv("ODD_URL", f"nodb://user:{SECRET}@host/x")
    monkeypatch.setenv("FAR_URL", f"sqlite:////nowhere/{SECRET}/bank.db")
    with pytest.raises(SourceError, match=message) as caught:
        freeze(query(**declared), bank)
    assert SECRET not in str(caught.value)
    assert not (bank / "snap").exists()


def test_a_build_without_a_snapshot_says_to_freeze(bank: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file") as caught:
        ingest(query(), bank)
    assert "freeze" in str(caught.value)


def test_a_changed_snapshot_is_refused(bank: Path) -> None:
    freeze(query(), bank)
    with pytest.raises(SourceError, match="is not the declared one"):
        ingest(query(sha256="0" * 64), bank)


def test_a_snapshot_that_cannot_be_written(bank: Path) -> None:
    (bank / "snap").write_text("in the way")
    with pytest.raises(SourceError, match="the snapshot cannot be written"):
        freeze(query(), bank)


NOON = dt.datetime(2020, 1, 1, 12)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], "bool"),
        ([1, None], "int64"),
        ([1, 0.5], "double"),
        ([decimal.Decimal("1.25"), decimal.Decimal("10.5")], "decimal128(4, 2)"),
        ([dt.date(2020, 1, 1)], "date32[day]"),
        ([NOON], "timestamp[us]"),
        ([NOON.replace(tzinfo=dt.UTC)], "timestamp[us, tz=UTC]"),
        ([None, None], "string"),
    ],
)
def test_types_of_snapshots(values: list[Any], kind: str) -> None:
    assert str(_column(query(), "v", values).type) == kind


def test_values_beyond_64_bits() -> None:
    with pytest.raises(SourceError, match="values out of range"):
        _column(query(), "v", [2**70])


def test_times_with_and_without_a_zone() -> None:
    with pytest.raises(SourceError, match="mixes times with and without a zone"):
        _column(query(), "v", [NOON, NOON.replace(tzinfo=dt.UTC)])


def test_a_changed_query_is_not_answered_by_the_old_snapshot(bank: Path) -> None:
    freeze(query(), bank)
    changed = query(query="select id, branch, amount, note from loan where amount > 15")
    with pytest.raises(SourceError, match="frozen from another query") as caught:
        ingest(changed, bank)
    assert "countermark freeze" in str(caught.value)
    freeze(changed, bank)
    assert ingest(changed, bank).tables["main"].num_rows == 1


def test_a_snapshot_without_its_record_is_refused(bank: Path) -> None:
    freeze(query(), bank)
    (bank / "snap" / "loans.parquet.query.json").unlink()
    with pytest.raises(SourceError, match="nobody knows which query"):
        ingest(query(), bank)

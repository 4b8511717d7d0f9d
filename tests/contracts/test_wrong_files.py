"""Files that are not what their source says, told by what they are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countermark.contracts.checks import check
from countermark.contracts.sources import ingest
from countermark.errors import SourceError
from tests.contracts.sources_of import contract, source

CSV = "id,amount\nA,1.5\nB,2.5\n"

FILES: dict[str, tuple[bytes, str, str, str]] = {
    "a workbook": (b"PK\x03\x04" + bytes(40), "is no delimited text", "an Excel workbook", "export it as CSV"),
    "a Parquet file": (b"PAR1" + bytes(40), "is no delimited text", "a Parquet file", "kind: parquet"),
    "a document": (b"%PDF-1.7\n", "is no delimited text", "a PDF", "export it"),
    "another delimiter": (CSV.replace(",", ";").encode(), "one column", "';' in the header", 'delimiter: ";"'),
    "a tab for a delimiter": (CSV.replace(",", "\t").encode(), "one column", "a tab in the header", r'delimiter: "\t"'),
    "two bytes a letter": (CSV.encode("utf-16"), "not in the declared encoding", "UTF-16", "export the file as UTF-8"),
}


@pytest.mark.parametrize("sentence", FILES)
def test_a_file_of_another_form_is_named(tmp_path: Path, sentence: str) -> None:
    data, what, got, hint = FILES[sentence]
    (tmp_path / "loans.csv").write_bytes(data)
    with pytest.raises(SourceError, match=what) as caught:
        ingest(source(), tmp_path)
    assert got in str(caught.value.got)
    assert hint in str(caught.value.hint)
    assert caught.value.file == str(tmp_path / "loans.csv")


def test_one_column_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_text("amount\n1\n2\n")
    assert ingest(source(), tmp_path).tables["main"].column("amount").to_pylist() == ["1", "2"]


NESTED: dict[str, Any] = {
    "a list": pa.array([[1.0]]),
    "a structure": pa.array([{"a": 1}]),
    "a map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "raw bytes": pa.array([b"\xff"]),
}


@pytest.mark.parametrize("sentence", NESTED)
def test_a_column_without_single_values_is_refused_or_dropped(tmp_path: Path, sentence: str) -> None:
    pq.write_table(pa.table({"n": [1], "x": NESTED[sentence]}), tmp_path / "loans.parquet")
    declared = {"kind": "parquet", "path": "loans.parquet"}
    with pytest.raises(SourceError, match="hold no single values") as caught:
        ingest(source(**declared), tmp_path)
    assert "'x' of type" in str(caught.value.got)
    assert "drop_columns: [x]" in str(caught.value.hint)
    kept = ingest(source(**declared, drop_columns=["x"]), tmp_path).tables["main"]
    assert kept.column_names == ["n", "_row"]


def test_single_values_of_every_type_are_read(tmp_path: Path) -> None:
    flat = {
        "a": pa.array(["x"]).dictionary_encode(),
        "b": pa.array([1], pa.decimal128(9, 2)),
        "c": pa.array([dt.time(1)]),
        "d": pa.array([dt.timedelta(1)]),
        "e": pa.array([True]),
    }
    pq.write_table(pa.table(flat), tmp_path / "loans.parquet")
    assert ingest(source(kind="parquet", path="loans.parquet"), tmp_path).tables["main"].num_rows == 1


def test_whole_numbers_beyond_64_bits_do_not_fit() -> None:
    column = pa.array([1, 2**63 - 1, 2**63, None], pa.uint64())
    declared = contract({"n": {"type": "integer", "nullable": True}}, tolerance=0.5)
    result = check(pa.table({"n": column, "_row": [0, 1, 2, 3]}), declared, source())
    assert result.accepted.column("n").to_pylist() == [1, 2**63 - 1, None]
    assert result.quarantine.to_pylist() == [
        {"key": "2", "table": "main", "rule": "type", "column": "n", "value": str(2**63)}
    ]


def test_one_engine_reads_patterns() -> None:
    """Python's grammar, whatever library holds the text: a possessive quantifier is not every engine's."""
    declared = contract({"a": {"type": "text", "pattern": "a++b?"}}, tolerance=0.5)
    assert check(pa.table({"a": ["aab", "ba"]}), declared, source()).accepted.column("a").to_pylist() == ["aab"]

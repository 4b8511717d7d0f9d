"""Parquet bytes and content digests."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.contracts.tables import content_digest, read_table, write_table
from countermark.errors import SourceError

DAY = dt.date(2020, 1, 1)
BASE = pa.table({"a": [1, 2, None], "s": ["x", None, "yz"], "f": [0.5, 1.5, None], "d": [DAY, None, DAY]})

OTHERS = {
    "another value": BASE.set_column(0, "a", pa.array([1, 3, None])),
    "a null for a zero": BASE.set_column(0, "a", pa.array([1, 2, 0])),
    "another name": BASE.rename_columns(["b", "s", "f", "d"]),
    "another type": BASE.set_column(0, "a", pa.array([1, 2, None], pa.int32())),
    "another row order": BASE.take(pa.array([1, 0, 2])),
    "another column order": BASE.select(["s", "a", "f", "d"]),
    "text cut elsewhere": BASE.set_column(1, "s", pa.array(["xy", None, "z"])),
    "an empty text for a null": BASE.set_column(1, "s", pa.array(["x", "", "yz"])),
    "a row less": BASE.slice(0, 2),
}


@pytest.mark.parametrize("sentence", OTHERS)
def test_the_digest_sees(sentence: str) -> None:
    assert content_digest(OTHERS[sentence]) != content_digest(BASE)


def test_the_digest_does_not_see_chunks_dictionaries_or_the_file(tmp_path: Path) -> None:
    chunked = pa.concat_tables([BASE.slice(0, 1), BASE.slice(1)])
    encoded = BASE.set_column(1, "s", BASE.column("s").dictionary_encode())
    large = BASE.set_column(1, "s", BASE.column("s").cast(pa.large_string()))
    write_table(tmp_path / "t.parquet", BASE)
    for same in (chunked, encoded, large, read_table(tmp_path / "t.parquet")):
        assert content_digest(same) == content_digest(BASE)


def test_the_digest_is_pinned() -> None:
    # The claim is across machines and versions; a change here is a change of every published digest.
    assert content_digest(BASE) == "827fd38397437bf2d768bf2f4ed77d3b8b96b3b9f48b7478196a1077aacdddad"


def test_bytes_do_not_depend_on_chunks_or_metadata(tmp_path: Path) -> None:
    noisy = pa.concat_tables([BASE.slice(0, 2), BASE.slice(2)]).replace_schema_metadata({"pandas": "now"})
    write_table(tmp_path / "a.parquet", BASE)
    write_table(tmp_path / "b.parquet", noisy)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert b"pandas" not in (pq.read_schema(tmp_path / "b.parquet").metadata or {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats()), st.one_of(st.none(), st.text())), max_size=20))
def test_the_digest_is_a_function_of_content(rows: list[tuple[float | None, str | None]]) -> None:
    table = pa.table(
        {"f": pa.array([r[0] for r in rows], pa.float64()), "s": pa.array([r[1] for r in rows], pa.string())}
    )
    pieces = pa.concat_tables([table.slice(i, 1) for i in range(table.num_rows)] or [table])
    assert content_digest(pieces) == content_digest(table)


def test_unreadable_tables(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_table(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(SourceError, match="not readable as Parquet"):
        read_table(tmp_path / "text.parquet")

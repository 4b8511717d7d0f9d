"""Whatever the bytes of a file are, it gives cases or the error of the house with file and line, in bounded memory."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from countermark.errors import ServingError
from countermark.serving.cases import MAX_LINE, csv_cases, json_cases, text_lines
from countermark.serving.imports import read_decisions

NOW = datetime(2026, 12, 4, tzinfo=UTC)
ALPHABET = [b'"', b",", b"\n", b"\r", b"a", b"{", b"}", b"[", b":", b'"a":', b"1", b"\x00", b"\xff", b"\xef\xbb\xbf",
            b"\xff\xfe", b"\xc3", b" ", b"null", b"\\ud800", b"1e999", b"\xe2\x80\xa8"]  # fmt: skip
BYTES = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(ALPHABET), max_size=40).map(b"".join))
READERS: dict[str, Callable[[Path], Any]] = {
    "csv": lambda path: list(csv_cases(path)),
    "jsonl": lambda path: list(json_cases(path)),
    "import": lambda path: read_decisions(path, NOW),
}


def refusal(read: Callable[[Path], Any], path: Path) -> ServingError | None:
    try:
        read(path)
    except ServingError as error:
        return error
    return None


@pytest.mark.parametrize("kind", READERS)
@given(data=BYTES)
@example(data=b"")
@example(data='age,name\n44,"Jürgen"\n'.encode("latin-1"))
@example(data="age\n44\n".encode("utf-16"))
@example(data=b'a,b\n1,"x')
@example(data=b"a\n" + b"x" * 140_000)
@example(data=b'{"a": ' + b"[" * 100_000)
@example(data=b'{"a": ' + b"9" * 5_000 + b"}")
@example(data=b'{"a": "\\ud800"}')
def test_any_bytes_end_in_cases_or_in_the_error_of_the_house(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(data)
    lines = data.count(b"\n") + 1
    error = refusal(READERS[kind], path)
    if error is not None:
        assert error.file == str(path)
        assert error.line is not None or error.what == "this file is empty"
        assert error.line is None or 1 <= error.line <= lines


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.booleans())
def test_what_is_written_as_csv_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], mark: bool
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(b"\xef\xbb\xbf" * mark + out.getvalue().encode())
    assert [tuple(values.values()) for _, values in csv_cases(path)] == rows


@given(st.lists(st.dictionaries(CELLS, st.none() | st.booleans() | st.integers(-(2**62), 2**62) | CELLS), min_size=1))
def test_what_is_written_as_json_lines_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    assert list(json_cases(path)) == [(2 * k + 1, row) for k, row in enumerate(rows)]


def test_lines_are_counted_where_a_cell_holds_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(b'a,b\n"1\n2\n3",x\n4,y\n')
    assert list(csv_cases(path)) == [(2, {"a": "1\n2\n3", "b": "x"}), (5, {"a": "4", "b": "y"})]


@pytest.mark.parametrize("read", [csv_cases, json_cases, text_lines])
@pytest.mark.parametrize("fill", [b"x", b"\n", b'"'])
def test_a_large_file_is_read_in_bounded_memory(
    tmp_path: Path, read: Callable[[Path], Iterator[object]], fill: bytes
) -> None:
    """32 MB without a line break, of nothing but line breaks, and of nothing but quotes."""
    path = tmp_path / "large"
    path.write_bytes(b'"a"\n' + fill * (32 << 20 if fill != b"\n" else 1 << 16))
    tracemalloc.start()
    error = refusal(lambda name: [None for _ in read(name) if False], path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error is None or error.line in (1, 2)
    assert peak < 8 * MAX_LINE


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="this file cannot be read"):
        list(text_lines(tmp_path / "none.csv"))

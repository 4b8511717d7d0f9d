"""Delimited text: planted mistakes, and a round trip."""

from __future__ import annotations

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.source import CsvOptions
from countermark.contracts.delimited import read_delimited
from countermark.errors import SourceError

BAD = {
    "an empty file": (b"", "the file is empty"),
    "blank lines only": (b"\n \n", "the file is empty"),
    "a byte order mark only": (b"\xef\xbb\xbf", "the file is empty"),
    "a header without rows": (b"a,b\n", "a header and no rows"),
    "two columns of one name": (b"a,b,a\n1,2,3\n", "column names occur more than once"),
    "a row with a field too many": (b"a,b\n1,2\n3,4,5\n", "another number of fields"),
    "a row with a field too few": (b"a,b\n1,2\n3\n", "another number of fields"),
    "latin-1 bytes declared as utf-8": ("a,b\n1,caf\xe9\n".encode("latin-1"), "not in the declared encoding"),
    "a cut gzip stream": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "gzip stream is damaged"),
    "a field beyond any sensible size before a ragged row": (
        b"a,b\n" + b"x" * 200_000 + b",1\n1\n",
        "cannot be parsed",
    ),
    "a quote that is never closed": (b'a,b\n1,"2\n3,4\n', "never closed"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_files_are_refused(sentence: str) -> None:
    data, message = BAD[sentence]
    with pytest.raises(SourceError, match=message) as caught:
        read_delimited(data, CsvOptions(), file="loans.csv")
    assert str(caught.value).startswith("loans.csv")


def test_a_ragged_row_is_named_by_its_line_even_after_a_quoted_line_break() -> None:
    with pytest.raises(SourceError) as caught:
        read_delimited(b'a,b\n1,"x\ny"\n2,z\n3\n', CsvOptions(), file="loans.csv")
    assert caught.value.line == 5
    assert (caught.value.expected, caught.value.got) == ("2 fields", "1 fields")


def test_an_unclosed_quote_is_named_by_the_row_that_opens_it() -> None:
    with pytest.raises(SourceError) as caught:
        read_delimited(b'a,b\n1,2\n3,"4\n5,6\n', CsvOptions(), file="loans.csv")
    assert caught.value.line == 3


def test_an_inch_mark_inside_a_field_is_a_character() -> None:
    table = read_delimited(b'a,b\n1,5" pipe\n2,x\n', CsvOptions(), file="x")
    assert table.column("b").to_pylist() == ['5" pipe', "x"]


def test_an_undecodable_byte_is_named_by_its_line() -> None:
    with pytest.raises(SourceError) as caught:
        read_delimited(b"a,b\n1,2\n\xff,3\n", CsvOptions(), file="loans.csv")
    assert caught.value.line == 3


def test_everything_is_text_and_nothing_is_guessed() -> None:
    table = read_delimited(b"id,n,d\n007,1.50,2020-01-01\n", CsvOptions(), file="x")
    assert table.to_pylist() == [{"id": "007", "n": "1.50", "d": "2020-01-01"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_dropped(encoding: str) -> None:
    options = CsvOptions(encoding=encoding)  # type: ignore[arg-type]
    assert read_delimited(b"\xef\xbb\xbfID\n1\n", options, file="x").column_names == ["ID"]


def test_declared_nulls_blanks_and_dialect() -> None:
    options = CsvOptions(delimiter=";", null_values=("", "NA"), strip=True, encoding="latin-1")
    data = "größe; b\n 1 ;' x'\nNA ; \n".encode("latin-1")
    table = read_delimited(data, CsvOptions(**{**options.model_dump(), "quote": "'"}), file="x")
    assert table.to_pylist() == [{"größe": "1", "b": "x"}, {"größe": None, "b": None}]


def test_an_unnamed_column_gets_its_position() -> None:
    assert read_delimited(b",b\n1,2\n", CsvOptions(), file="x").column_names == ["column_1", "b"]


@given(
    rows=st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_was_written_is_read(rows: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["odd name, 1", 'say "b"'], *rows])
    table = read_delimited(buffer.getvalue().encode("utf-8"), CsvOptions(), file="x")
    assert table.column_names == ["odd name, 1", 'say "b"']
    assert [list(row.values()) for row in table.to_pylist()] == rows

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import SourceError
from countermark.portfolio.profile import (
    FileProfile,
    guess_outcome,
    outcome_values,
    plain_name,
    profile_file,
    protected_attribute,
    protected_bands,
    unique_names,
)


def profiled(folder: Path, text: str | bytes, name: str = "file.csv") -> FileProfile:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return profile_file(path)


def one_column(folder: Path, values: list[str]) -> FileProfile:
    return profiled(folder, "\n".join(["k,x", *(f"r{i},{v}" for i, v in enumerate(values))]) + "\n")


TYPES = {
    "whole numbers": (["1", "-2", "+3"], "integer"),
    "decimals": (["1", "2.5", ".5", "1e-3"], "number"),
    "words": (["1", "two"], "text"),
    "dates": (["2024-01-31", "2023-12-01"], "date"),
    "instants": (["2024-01-31 10:00", "2024-01-31T10:00:00Z"], "date"),
    "a date of another order": (["31.01.2024", "01.02.2024"], "text"),
    "truth values": (["true", "FALSE"], "boolean"),
    "numbers with holes": (["1", "", "NA"], "integer"),
    "nothing but holes": (["", "NA"], "text"),
    "account numbers": (["12345678901234567890", "12345678901234567891"], "text"),
    "numbers that end in a word": (["1", "1x"], "text"),
    "infinity": (["inf", "1"], "text"),
}


@pytest.mark.parametrize("case", TYPES)
def test_a_column_has_the_type_that_every_value_fits(tmp_path: Path, case: str) -> None:
    values, expected = TYPES[case]
    assert one_column(tmp_path, values).column("x").type == expected


def test_what_is_counted_of_a_column(tmp_path: Path) -> None:
    column = one_column(tmp_path, ["3", "", "-1.5", "3.0", "NA"]).column("x")
    assert (column.missing, column.distinct, column.minimum, column.maximum) == (2, 2, -1.5, 3.0)
    words = one_column(tmp_path, ["b", "a", "b", ""]).column("x")
    assert (words.missing, words.distinct, words.levels) == (1, 2, ("a", "b"))


def test_a_long_text_column_has_no_levels(tmp_path: Path) -> None:
    assert one_column(tmp_path, [f"w{i}" for i in range(51)]).column("x").levels == ()
    assert len(one_column(tmp_path, [f"w{i}" for i in range(50)]).column("x").levels) == 50


def test_only_null_words_that_occur_are_taken_for_missing(tmp_path: Path) -> None:
    profile = one_column(tmp_path, ["1", "NULL", "?", "2"])
    assert profile.null_values == ("", "NULL", "?")
    assert profile.csv.null_values == profile.null_values
    assert profile.column("x").missing == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_commonest_of_the_header(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["a", "b", "c"], ["1", "2", "x y"], ["3", "4", "z"])) + "\n"
    profile = profiled(tmp_path, text)
    assert profile.csv.delimiter == delimiter
    assert [c.name for c in profile.columns] == ["a", "b", "c"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("codec", "expected"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("latin-1", "latin-1")]
)
def test_the_encoding_is_seen_through_compression(tmp_path: Path, codec: str, expected: str, zipped: bool) -> None:
    data = "id;région\n1;Süd\n2;Öst\n".encode(codec)
    profile = profiled(tmp_path, gzip.compress(data) if zipped else data, "f.csv.gz" if zipped else "f.csv")
    assert profile.csv.encoding == expected
    assert profile.column("région").levels == ("Süd", "Öst")


KEYS = {
    "named": ("x,loan_id\n1,5\n1,6\n", "loan_id"),
    "with a hash sign": ("x,Loan #\n1,5\n1,6\n", "Loan #"),
    "first column, unique": ("code,x\na,1\nb,1\n", "code"),
    "named but repeated": ("x,loan_id\n1,5\n1,5\n", None),
    "named but with holes": ("x,loan_id\n1,5\n1,\n", None),
    "the same number in two spellings": ("id,x\n1,1\n01,1\n", None),
    "decimals": ("amount,x\n1.5,1\n2.5,1\n", None),
    "account numbers of twenty digits": (
        "x,account_no\n1,12345678901234567890\n1,12345678901234567891\n",
        "account_no",
    ),
}


@pytest.mark.parametrize("case", KEYS)
def test_the_row_key_is_whole_and_unique(tmp_path: Path, case: str) -> None:
    text, expected = KEYS[case]
    assert profiled(tmp_path, text).row_key == expected


def test_the_time_is_the_first_whole_date_column(tmp_path: Path) -> None:
    profile = profiled(tmp_path, "a,b,c\n2024-01-01,2024-01-02,2024-01-03\n,2024-01-02,2024-01-03\n")
    assert profile.time == "b"


OUTCOMES: dict[str, tuple[str, str | None, Any]] = {
    "ones and zeros": ("id,Default\n1,0\n2,1\n3,1\n", "Default", (1, 0)),
    "words": ("id,target\n1,good\n2,bad\n3,bad\n", "target", ("bad", "good")),
    "yes and no": ("id,outcome\n1,Yes\n2,No\n3,Yes\n", "outcome", ("Yes", "No")),
    "truth values": ("id,label\n1,true\n2,false\n3,true\n", "label", (True, False)),
    "decimals": ("id,y\n1,0.0\n2,1.0\n3,1.0\n", "y", (1, 0)),
    "one value in two spellings": ("id,y\n1,0\n2,1\n3,1.0\n", "y", (1, 0)),
    "unknown words: the rarer is the event": ("id,bad\n1,paid\n2,paid\n3,gone\n", "bad", ("gone", "paid")),
    "three values": ("id,loan_status\n1,a\n2,b\n3,c\n", "loan_status", None),
    "constant": ("id,default\n1,1\n2,1\n", None, None),
    "no such word": ("id,income\n1,1\n2,0\n", None, None),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_the_outcome_and_its_values_are_guessed_by_name(tmp_path: Path, case: str) -> None:
    text, column, values = OUTCOMES[case]
    profile = profiled(tmp_path, text)
    assert guess_outcome(profile) == column
    if column is not None:
        found = outcome_values(profile, column)
        assert found == values
        assert found is None or [type(v) for v in found] == [type(v) for v in values]


PROTECTED = {
    "Gender": "sex", "SEX": "sex", "applicant_race": "race", "Age (years)": "age", "DAYS_BIRTH": "age",
    "Marital Status": "marital_status", "nationality": "nationality", "essex": None, "usage": None, "average": None,
    "income": None,
}  # fmt: skip


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_attributes_are_known_by_whole_words(name: str) -> None:
    assert protected_attribute(name) == PROTECTED[name]


BANDS = {
    "ages": ([19, 30, 40, 50, 60, 80], (0.0, 25.0, 35.0, 45.0, 55.0, 65.0)),
    "ages of the old": ([61, 64, 66, 70], (55.0, 65.0)),
    "days before today": ([-20000, -15000, -12000, -9000], (-20000.0, -15000.0, -12000.0, -9000.0)),
    "years of birth": ([1950, 1960, 1970, 1980], (1950.0, 1960.0, 1970.0, 1980.0)),
    "all alike": ([0, 0, 0, 0], (0.0,)),
}


@pytest.mark.parametrize("case", BANDS)
def test_bands_ascend_and_hold_somebody(tmp_path: Path, case: str) -> None:
    values, expected = BANDS[case]
    assert protected_bands(one_column(tmp_path, [str(v) for v in values]), "x") == expected


def test_parquet_keeps_its_types_and_nan_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    table = pa.table({
        "id": pa.array([1, 2, 3]),
        "x": pa.array([1.5, float("nan"), None]),
        "flag": pa.array([True, False, None]),
        "when": pa.array([1, 2, 3], pa.date32()),
        "gone": pa.array([float("nan")] * 3),
    })  # fmt: skip
    pq.write_table(table, path)
    profile = profile_file(path)
    assert profile.format == "parquet"
    assert [c.type for c in profile.columns] == ["integer", "number", "boolean", "date", "text"]
    x = profile.column("x")
    assert (x.missing, x.distinct, x.minimum, x.maximum) == (2, 1, 1.5, 1.5)
    assert profile.column("gone").missing == 3
    assert (profile.row_key, profile.time) == ("id", "when")


BAD: dict[str, tuple[str, bytes | None, str]] = {
    "not there": ("no.csv", None, "no such file"),
    "another kind": ("f.xlsx", b"x", "unknown file type"),
    "damaged gzip": ("f.csv.gz", b"\x1f\x8b\x08\x00garbage", "gzip stream is damaged"),
    "empty": ("f.csv", b"", "empty"),
    "header only": ("f.csv", b"a,b\n", "no rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path, case: str) -> None:
    name, data, says = BAD[case]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=says):
        profile_file(tmp_path / name)


@given(st.lists(st.text(max_size=12), unique=True, max_size=12))
def test_plain_names_are_identifiers_and_unique(columns: list[str]) -> None:
    names = unique_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    for name in names.values():
        assert name.isascii()
        assert name.isidentifier()
        assert name == name.lower()
        assert plain_name(name) == name


def test_a_decimal_comma_is_declared_and_its_columns_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "comma.csv"
    path.write_text("id;income;region;default\n" + "".join(f"{i};{i},5;N;{i % 2}\n" for i in range(40)))
    profile = profile_file(path)
    assert profile.csv.decimal == ","
    assert profile.column("income").type == "number"
    assert profile.column("income").maximum == 39.5
    assert profile.column("id").type == "integer"


def test_encoded_and_empty_parquet_columns_are_looked_at_as_plain_ones(tmp_path: Path) -> None:
    path = tmp_path / "types.parquet"
    grade = pa.array(["a", "b"] * 20).dictionary_encode()
    pq.write_table(pa.table({"grade": grade, "nothing": pa.nulls(40), "default": [0, 1] * 20}), path)
    profile = profile_file(path)
    assert profile.column("grade").levels == ("a", "b")
    assert profile.column("nothing").missing == 40


def test_a_column_of_lists_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"history": [[1, 2]] * 3, "default": [0, 1, 0]}), path)
    with pytest.raises(SourceError, match="column 'history' holds no plain values"):
        profile_file(path)


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("a,default\n1,0\n2,1\n", encoding="utf-16")
    with pytest.raises(SourceError, match="UTF-16"):
        profile_file(path)

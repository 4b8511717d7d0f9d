"""Contracts: planted mistakes, tolerance, quarantine, and an oracle row by row."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.contracts.checks import check, contract_document
from countermark.errors import ContractError
from tests.contracts.sources_of import contract, source

COLUMNS: dict[str, Any] = {
    "id": {"type": "text"},
    "n": {"type": "integer", "minimum": 0, "maximum": 9},
    "x": {"type": "number", "nullable": True},
    "c": {"type": "text", "allowed": ["a", "b"], "personal": True},
    "d": {"type": "date", "minimum": "2019-01-01"},
    "b": {"type": "boolean"},
}
GOOD = {"id": "A", "n": "1", "x": "0.5", "c": "a", "d": "2020-01-31", "b": "true"}
SOURCE = source(row_key="id", as_of="2020-12-31")


def table(*rows: dict[str, Any]) -> pa.Table:
    """Good rows with changes, keys A, B, C ..."""
    return pa.Table.from_pylist([GOOD | {"id": chr(65 + i)} | row for i, row in enumerate(rows)], schema=TEXT)


TEXT = pa.schema([(name, pa.string()) for name in COLUMNS])

FAILS: dict[str, tuple[dict[str, Any], str, str]] = {
    "text in an integer": ({"n": "eleven"}, "type", "n"),
    "a fraction in an integer": ({"n": "1.5"}, "type", "n"),
    "an integer beyond exact digits": ({"n": "1e300"}, "type", "n"),
    "an infinite number": ({"x": "inf"}, "type", "x"),
    "a NaN written out": ({"x": "NaN"}, "type", "x"),
    "a thousands separator": ({"x": "1,000"}, "type", "x"),
    "a hexadecimal number": ({"x": "0x10"}, "type", "x"),
    "a date of another order": ({"d": "31.01.2020"}, "type", "d"),
    "a thirtieth of February": ({"d": "2020-02-30"}, "type", "d"),
    "a boolean of another language": ({"b": "oui"}, "type", "b"),
    "a missing value": ({"n": None}, "required", "n"),
    "a value below its minimum": ({"n": "-1"}, "minimum", "n"),
    "a value above its maximum": ({"n": "10"}, "maximum", "n"),
    "a level that is not allowed": ({"c": "z"}, "allowed", "c"),
    "a date before its minimum": ({"d": "2018-12-31"}, "minimum", "d"),
    "a date after the as-of date": ({"d": "2021-01-01"}, "future", "d"),
    "a key that occurs twice": ({"id": "A"}, "key_unique", "id"),
    "a missing key": ({"id": None}, "required", "id"),
}


@pytest.mark.parametrize("sentence", FAILS)
def test_failing_rows_are_quarantined_and_counted(sentence: str) -> None:
    change, rule, column = FAILS[sentence]
    result = check(table({}, change, {}, {}), contract(COLUMNS, tolerance=0.5), SOURCE)
    failed = {(r["rule"], r["column"]): r["failed"] for r in result.report["rules"] if r["failed"]}
    twice = rule == "key_unique"
    assert failed == {(rule, column): 2 if twice else 1}
    assert result.accepted.num_rows == result.report["accepted"] == (2 if twice else 3)
    assert result.quarantine.num_rows == (2 if twice else 1)
    told = result.quarantine.to_pylist()[-1]
    assert (told["table"], told["rule"], told["column"]) == ("main", rule, column)
    assert told["value"] == (None if column == "c" else change.get(column))


@pytest.mark.parametrize("sentence", FAILS)
def test_without_tolerance_the_build_stops_and_names_the_rule(sentence: str) -> None:
    change, rule, column = FAILS[sentence]
    with pytest.raises(ContractError) as caught:
        check(table({}, change, {}, {}), contract(COLUMNS), SOURCE, file="conf/contract/loans.yaml")
    text = str(caught.value)
    assert text.startswith("conf/contract/loans.yaml: ")
    assert f"rule '{rule}' on column '{column}'" in text
    assert "of 4 rows" in text
    value = change[column]
    assert value is None or len(value) < 3 or value not in text


def test_types_of_accepted_rows() -> None:
    row = check(table({"n": "+4.0", "x": " 1e-3 ", "b": "0"}), contract(COLUMNS), SOURCE).accepted.to_pylist()[0]
    assert row == {"id": "A", "n": 4, "x": 0.001, "c": "a", "d": dt.date(2020, 1, 31), "b": False}


def test_text_numbers_are_read_exactly() -> None:
    texts = ["0.1", "123456789.123456789", "5e-324", "1.7976931348623157e308", ".5", "7."]
    frame = pa.table({"x": texts})
    accepted = check(frame, contract({"x": {"type": "number"}}), source(row_key=None)).accepted
    assert accepted.column("x").to_pylist() == [float(text) for text in texts]


def test_a_decimal_comma() -> None:
    declared = source(csv={"decimal": ",", "delimiter": ";"})
    assert check(pa.table({"x": ["1,5"]}), contract({"x": {"type": "number"}}), declared).accepted.to_pylist() == [
        {"x": 1.5}
    ]


STOPS: dict[str, tuple[pa.Table, dict[str, Any], dict[str, Any], str]] = {
    "a column that is not there": (pa.table({"a": ["1"]}), {"A": {"type": "text"}}, {}, "lacks columns"),
    "a column that nobody promised": (pa.table({"a": ["1"], "z": ["1"]}), {"a": {"type": "text"}}, {}, "does not know"),
    "a column without any value": (
        pa.table({"a": pa.array([None, None], pa.string())}),
        {"a": {"type": "text", "nullable": True}},
        {"tolerance": 1.0},
        "columns without any value",
    ),
    "too few rows": (pa.table({"a": ["1"]}), {"a": {"type": "text"}}, {"rows_min": 2}, "row count out of bounds"),
    "too many rows": (pa.table({"a": ["1"] * 3}), {"a": {"type": "text"}}, {"rows_max": 2}, "row count out of bounds"),
    "no good row at all": (pa.table({"a": ["x"]}), {"a": {"type": "integer"}}, {"tolerance": 1.0}, "breaks contract"),
    "truth for a number": (pa.table({"a": [True]}), {"a": {"type": "integer"}}, {}, "cannot be read as integer"),
    "a fraction for text": (pa.table({"a": [0.5]}), {"a": {"type": "text"}}, {}, "cannot be read as text"),
    "a number for a date": (pa.table({"a": [20200101]}), {"a": {"type": "date"}}, {}, "cannot be read as date"),
    "dates mixed with times": (
        pa.table({"a": ["2020-01-01", "2020-01-01 10:00:00"]}),
        {"a": {"type": "date"}},
        {},
        "mixes dates and clock times",
    ),
    "times with and without a zone": (
        pa.table({"a": ["2020-01-01T10:00Z", "2020-01-01T10:00"]}),
        {"a": {"type": "date"}},
        {},
        "mixes clock times and zoned",
    ),
    "stale rows": (
        pa.table({"a": ["2020-01-01"]}),
        {"a": {"type": "date"}},
        {"freshness": {"column": "a", "max_age_days": 30}},
        "is not fresh",
    ),
    "another currency": (pa.table({"a": ["1"]}), {"a": {"type": "number", "unit": "USD"}}, {}, "mixes currencies"),
    "a bound on text": (pa.table({"a": ["1"]}), {"a": {"type": "text", "minimum": 1}}, {}, "has a minimum or maximum"),
    "a date bound on a number": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "number", "minimum": "2020-01-01"}},
        {},
        "not of its type",
    ),
    "a number bound on a date": (pa.table({"a": ["1"]}), {"a": {"type": "date", "minimum": 1}}, {}, "not of its type"),
    "a minimum above the maximum": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "number", "minimum": 2, "maximum": 1}},
        {},
        "minimum above its maximum",
    ),
    "allowed text for a number": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "number", "allowed": ["x"]}},
        {},
        "allows values",
    ),
    "allowed truth for a number": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "integer", "allowed": [True]}},
        {},
        "allows values",
    ),
    "a pattern on a number": (pa.table({"a": ["1"]}), {"a": {"type": "number", "pattern": "x"}}, {}, "has a pattern"),
    "a broken pattern": (pa.table({"a": ["1"]}), {"a": {"type": "text", "pattern": "("}}, {}, "no regular expression"),
    "a rule on no column": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "text"}},
        {"rules": [{"kind": "unique", "name": "u", "columns": ["z"]}]},
        "names columns that the contract",
    ),
    "two rules of one name": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "text"}},
        {"rules": [{"kind": "unique", "name": "u", "columns": ["a"]}] * 2},
        "two rules have one name",
    ),
    "text compared with a number": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "text"}},
        {"rules": [{"kind": "compare", "name": "r", "left": "a", "operator": "<", "right": 1}]},
        "compares text with number",
    ),
    "freshness by text": (
        pa.table({"a": ["1"]}),
        {"a": {"type": "text"}},
        {"freshness": {"column": "a", "max_age_days": 1}},
        "needs a date column",
    ),
}


@pytest.mark.parametrize("sentence", STOPS)
def test_tables_and_contracts_that_stop_the_build(sentence: str) -> None:
    data, columns, declared, message = STOPS[sentence]
    with pytest.raises(ContractError, match=message) as caught:
        check(data, contract(columns, **declared), source(as_of="2020-12-31"), file="c.yaml")
    assert str(caught.value).startswith("c.yaml: ")


def test_freshness_needs_an_as_of_date_and_is_reported() -> None:
    fresh = contract({"a": {"type": "date"}}, freshness={"column": "a", "max_age_days": 31})
    data = pa.table({"a": ["2020-12-01", "2020-11-01"]})
    with pytest.raises(ContractError, match="needs 'as_of' in the source"):
        check(data, fresh, source())
    report = check(data, fresh, source(as_of="2020-12-31")).report["freshness"]
    assert (report["newest"], report["age_days"]) == ("2020-12-01", 30)


RULES: dict[str, tuple[dict[str, Any], list[bool]]] = {
    "a compare with a column lets nulls pass": (
        {"kind": "compare", "name": "r", "left": "p", "operator": "<=", "right": "q"},
        [True, False, True, True],
    ),
    "a compare with a number": (
        {"kind": "compare", "name": "r", "left": "q", "operator": ">", "right": 1},
        [True, False, False, True],
    ),
    "required if": (
        {"kind": "required_if", "name": "r", "column": "p", "when": "g", "equals": "yes"},
        [True, True, False, True],
    ),
    "unique over columns": ({"kind": "unique", "name": "r", "columns": ["g", "q"]}, [True, False, False, True]),
}


@pytest.mark.parametrize("sentence", RULES)
def test_rules_over_columns(sentence: str) -> None:
    rule, passed = RULES[sentence]
    data = pa.table({"g": ["no", "yes", "yes", "no"], "p": [1.0, 2.0, None, 3.0], "q": [2, 1, 1, 3]})
    columns = {"g": {"type": "text"}, "p": {"type": "number", "nullable": True}, "q": {"type": "integer"}}
    result = check(data.append_column("_row", [[0, 1, 2, 3]]), contract(columns, rules=[rule], tolerance=0.9), source())
    assert result.accepted.column("_row").to_pylist() == [i for i, good in enumerate(passed) if good]
    assert {(q["rule"], q["column"], q["value"]) for q in result.quarantine.to_pylist()} == {("r", None, None)}


def test_dates_compare_with_dates_and_times_by_calendar_day() -> None:
    rule = {"kind": "compare", "name": "r", "left": "a", "operator": "<=", "right": "b"}
    data = pa.table({"a": ["2020-01-01 23:30:00"], "b": ["2020-01-01"]})
    columns = {"a": {"type": "date"}, "b": {"type": "date"}}
    assert check(data, contract(columns, rules=[rule]), source(time_zone="Asia/Taipei")).accepted.num_rows == 1


def test_the_last_evening_before_the_as_of_date_is_not_the_future() -> None:
    data = pa.table({"a": ["2020-12-31 23:30:00"]})
    declared = source(time_zone="America/New_York", as_of="2020-12-31")
    accepted = check(data, contract({"a": {"type": "date", "maximum": "2020-12-31"}}), declared).accepted
    assert accepted.column("a").to_pylist() == [dt.datetime(2021, 1, 1, 4, 30, tzinfo=dt.UTC)]


def test_personal_keys_and_values_stay_out_of_quarantine() -> None:
    columns = {"id": {"type": "text", "personal": True}, "n": {"type": "integer", "personal": True}}
    result = check(
        pa.table({"id": ["Ada", "Bob"], "n": ["1", "x"]}), contract(columns, tolerance=0.5), source(row_key="id")
    )
    assert result.quarantine.to_pylist() == [
        {"key": "row 1", "table": "main", "rule": "type", "column": "n", "value": None}
    ]


def test_duplicates_are_counted_beside_the_key() -> None:
    data = pa.table({"id": ["1", "2", "3"], "a": ["x", "x", "y"], "extra": ["p", "p", "p"]})
    declared = contract({"id": {"type": "text"}, "a": {"type": "text"}}, extra_columns="drop")
    report = check(data, declared, source(row_key="id")).report
    assert (report["duplicates"], report["dropped_columns"]) == (1, ["extra"])
    assert check(data, declared, source()).report["duplicates"] == 0


def test_the_joined_document() -> None:
    result = check(table({}, {"n": "x"}), contract(COLUMNS, tolerance=0.5), SOURCE)
    document, quarantine = contract_document({"main": result}, {"name": "loans", "digest": "0"})
    assert json.loads(json.dumps(document))["tables"]["main"]["quarantined"] == 1
    assert document["source"]["digest"] == "0"
    assert document["tables"]["main"]["columns"]["n"] == {
        "type": "integer", "missing": 0, "distinct": 1, "personal": False,
    }  # fmt: skip
    assert quarantine.column_names == ["key", "table", "rule", "column", "value"]


_VALUE = st.one_of(st.none(), st.integers(-3, 12).map(str), st.sampled_from(["", "x", "1.5", "2.0", " 3"]))


@given(values=st.lists(_VALUE, min_size=1, max_size=30))
def test_rows_are_judged_as_one_by_one(values: list[str | None]) -> None:
    def good(text: str | None) -> bool:
        try:
            number = float(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return number.is_integer() and 0 <= number <= 9

    expected = [int(float(v)) for v in values if v is not None and good(v)]
    declared = contract({"n": {"type": "integer", "minimum": 0, "maximum": 9}}, tolerance=1.0)
    data = pa.table({"n": pa.array(values, pa.string()), "_row": range(len(values))})
    if not expected:
        with pytest.raises(ContractError):
            check(data, declared, source())
        return
    result = check(data, declared, source())
    assert result.accepted.column("n").to_pylist() == expected
    assert result.report["accepted"] + result.report["quarantined"] == len(values)
    assert set(result.quarantine.column("key").to_pylist()) == {str(i) for i, v in enumerate(values) if not good(v)}

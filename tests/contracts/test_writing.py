"""Dates, numbers and codes that a contract says are written in another way."""

from __future__ import annotations

import calendar
import datetime as dt
import typing
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from countermark.config.contract import ColumnContract, DateFormat
from countermark.config.contract_check import contract_problems
from countermark.contracts.checks import check
from countermark.contracts.coercion import coerce
from countermark.contracts.dates import parse_dates
from tests.contracts.sources_of import contract, source

FORMATS: tuple[DateFormat, ...] = typing.get_args(DateFormat)


def read(values: list[Any], mark: str = ".", kind: Any = None, **promise: Any) -> tuple[list[Any], list[bool]]:
    column = pa.chunked_array([pa.array(values, kind or pa.string())])
    typed, failed = coerce(column, ColumnContract(nullable=True, **promise), name="x", time_zone="UTC", decimal=mark)
    return typed.to_pylist(), failed.tolist()


def written(day: dt.date, form: DateFormat) -> str:
    text = form.replace("YYYY", f"{day.year:04d}").replace("Mon", calendar.month_abbr[day.month])
    return (
        text.replace("MM", f"{day.month:02d}").replace("DD", f"{day.day:02d}").replace("Qn", f"Q{(day.month + 2) // 3}")
    )


@pytest.mark.parametrize("form", FORMATS)
@given(day=st.dates(dt.date(1900, 1, 1), dt.date(2199, 12, 31)))
def test_a_date_comes_back_from_every_form(form: DateFormat, day: dt.date) -> None:
    quarter = (day.month - 1) // 3 * 3 + 1
    first = day if "DD" in form else day.replace(day=1, month=quarter if "Q" in form else day.month)
    assert read([written(day, form)], type="date", format=form) == ([first], [False])
    if "DD" not in form:
        month = quarter + 2 if "Q" in form else day.month
        last = dt.date(day.year, month, calendar.monthrange(day.year, month)[1])
        assert read([written(day, form)], type="date", format=form, period="last_day") == ([last], [False])


NO_DATES: dict[str, tuple[DateFormat, str]] = {
    "a thirteenth month": ("YYYY-MM", "2023-13"),
    "a month zero": ("YYYYMM", "202300"),
    "a thirtieth of February": ("DD.MM.YYYY", "30.02.2024"),
    "a day zero": ("DD/MM/YYYY", "00/01/2024"),
    "the other order": ("MM/DD/YYYY", "31/01/2024"),
    "a fifth quarter": ("YYYYQn", "2023Q5"),
    "no month of the year": ("Mon-YYYY", "Foo-2011"),
    "another separator": ("DD.MM.YYYY", "01/02/2024"),
    "an ISO date": ("YYYYMM", "2023-01"),
    "a clock time behind it": ("DD/MM/YYYY", "01/02/2024 10:00"),
    "one digit in a form without separators": ("YYYYMM", "20231"),
    "a year of two digits": ("DD.MM.YYYY", "01.02.24"),
}


@pytest.mark.parametrize("case", NO_DATES)
def test_what_is_no_date_of_the_declared_form_fails_its_type(case: str) -> None:
    form, text = NO_DATES[case]
    assert read([text, None], type="date", format=form) == ([None, None], [True, False])


def test_short_days_blanks_capitals_and_whole_numbers_are_read() -> None:
    assert read(["1/2/2024", " 01/02/2024 "], type="date", format="DD/MM/YYYY")[0] == [dt.date(2024, 2, 1)] * 2
    assert read(["DEC-2011", "dec-2011"], type="date", format="Mon-YYYY")[0] == [dt.date(2011, 12, 1)] * 2
    assert read([202301, None], kind=pa.int64(), type="date", format="YYYYMM") == (
        [dt.date(2023, 1, 1), None],
        [False] * 2,
    )


@given(st.lists(st.text("0123456789/.-QqJanMY ", max_size=12), max_size=6))
def test_no_text_breaks_the_reader_of_dates(values: list[str]) -> None:
    column = pa.chunked_array([pa.array(values, pa.string())])
    for form in FORMATS:
        days, failed = parse_dates(column, form)
        assert days.is_null().to_pylist() == failed.tolist()


NUMBERS: dict[str, tuple[dict[str, Any], str, str, float | None]] = {
    "groups of three": ({"thousands": ","}, ".", "1,234,567.5", 1234567.5),
    "groups of three with points": ({"thousands": "."}, ",", "-1.234.567,5", -1234567.5),
    "a no-break space between groups": ({"thousands": " "}, ",", "12\u00a0345\u202f678,9", 12345678.9),
    "a Swiss apostrophe": ({"thousands": "'"}, ".", "12\u2019345'678", 12345678.0),
    "no group needed": ({"thousands": ","}, ".", "1234.5", 1234.5),
    "a group of two is no group": ({"thousands": ","}, ".", "1,23", None),
    "four digits before the first group": ({"thousands": ","}, ".", "1234,567", None),
    "a sign before": ({"signs": ["$"]}, ".", "$12.50", 12.5),
    "a sign behind": ({"signs": ["EUR"]}, ".", "12.50 EUR", 12.5),
    "minus before the sign": ({"signs": ["$"]}, ".", "-$ 12.50", -12.5),
    "minus behind the sign": ({"signs": ["$"]}, ".", "$-12.50", -12.5),
    "per cent stays per cent": ({"signs": ["%"]}, ".", "12.5 %", 12.5),
    "sign and groups": ({"signs": ["€"], "thousands": "."}, ",", "1.234,50\u00a0€", 1234.5),
    "another sign": ({"signs": ["$"]}, ".", "£12.50", None),
    "a sign in the middle": ({"signs": ["$"]}, ".", "12$50", None),
    "the sign alone": ({"signs": ["$"]}, ".", "$", None),
    "a comma of the column in a file of points": ({"decimal": ","}, ".", "12,5", 12.5),
    "a point of the column in a file of commas": ({"decimal": "."}, ",", "12.5", 12.5),
    "a point where the mark is a comma": ({}, ",", "1.234", None),
    "two marks": ({}, ",", "1,2,3", None),
    "an exponent": ({}, ",", "1,5e3", 1500.0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_is_read_as_its_contract_says_or_fails(case: str) -> None:
    promise, decimal, text, expected = NUMBERS[case]
    assert read([text, None], decimal, type="number", **promise) == ([expected, None], [expected is None, False])


def test_whole_numbers_may_have_groups_and_signs() -> None:
    assert read(["$1,234", "$5"], type="integer", thousands=",", signs=["$"]) == ([1234, 5], [False, False])
    assert read(["1,234.5"], type="integer", thousands=",")[1] == [True]


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]),
    st.sampled_from(["", "$", "€", "%"]),
)
def test_a_formatted_number_comes_back(cents: int, marks: tuple[str, str], sign: str) -> None:
    thousands, decimal = marks
    amount = Decimal(cents) / 100
    text = f"{amount:,.2f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    told, failed = read([f"{text}{sign}"], decimal, type="number", thousands=thousands, signs=[sign] if sign else [])
    assert (told, failed) == ([float(amount)], [False])


def test_codes_keep_their_zeros_and_all_their_digits() -> None:
    assert read(["007", "0"], type="text")[0] == ["007", "0"]
    long = 10**25 + 1
    assert read([long], kind=pa.decimal128(38, 0), type="text")[0] == [str(long)]
    assert read([2**63 + 1], kind=pa.uint64(), type="text")[0] == [str(2**63 + 1)]


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a format of a number": ({"type": "number", "format": "YYYY-MM"}, "'format' is for 'type: date'"),
    "groups in text": ({"type": "text", "thousands": ","}, "are for 'type: number'"),
    "a sign on a date": ({"type": "date", "signs": ["$"]}, "are for 'type: number'"),
    "a decimal mark of text": ({"type": "text", "decimal": ","}, "are for 'type: number'"),
    "the last day of a day": ({"type": "date", "format": "DD.MM.YYYY", "period": "last_day"}, "months or quarters"),
    "the last day without a form": ({"type": "date", "period": "last_day"}, "months or quarters"),
    "a sign of digits": ({"type": "number", "signs": ["1"]}, "a sign is text without digits"),
    "an empty sign": ({"type": "number", "signs": [" "]}, "a sign is text without digits"),
    "a form that nobody knows": ({"type": "date", "format": "DDMMYY"}, "'YYYY-MM'"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_promise_that_contradicts_itself_is_refused(case: str) -> None:
    promise, says = CONTRADICTIONS[case]
    with pytest.raises(ValidationError, match=says.replace("'", ".")):
        ColumnContract.model_validate(promise)


@pytest.mark.parametrize(
    ("promise", "csv"),
    [({"thousands": ","}, {"decimal": ",", "delimiter": ";"}), ({"thousands": ",", "decimal": ","}, {})],
)
def test_one_sign_for_thousands_and_decimals_is_refused(promise: dict[str, Any], csv: dict[str, Any]) -> None:
    promised = contract({"x": {"type": "number"} | promise})
    (problem,) = contract_problems(promised, source(csv=csv))
    assert problem.what == "contract 'loans': column 'x' has one sign for thousands and for decimals"
    assert problem.path == ("columns", "x", "thousands")
    assert not list(
        contract_problems(
            contract({"x": {"type": "number", "thousands": "."}}), source(csv={"decimal": ",", "delimiter": ";"})
        )
    )


def test_a_whole_table_is_judged_by_its_writing() -> None:
    table = pa.table({"id": ["a", "b", "c"], "d": ["2023Q1", "2023Q2", "2023-05"], "x": ["1.234,5 €", "x", "2 €"]})
    promised = contract(
        {
            "id": {"type": "text"},
            "d": {"type": "date", "format": "YYYYQn", "maximum": "2023-03-31"},
            "x": {"type": "number", "thousands": ".", "signs": ["€"], "maximum": 2000},
        },
        tolerance=0.9,
    )
    result = check(table, promised, source(row_key="id", csv={"decimal": ",", "delimiter": ";"}))
    assert result.accepted.to_pylist() == [{"id": "a", "d": dt.date(2023, 1, 1), "x": 1234.5}]
    failed = {(row["key"], row["rule"], row["column"]) for row in result.quarantine.to_pylist()}
    assert failed == {("b", "maximum", "d"), ("b", "type", "x"), ("c", "type", "d")}

"""On-demand expressions: a closed language, one evaluator, the same bits for a row and for a table."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from countermark.errors import ConfigError
from countermark.features.on_demand import FUNCTIONS, ValueType, compile_expression, names_read
from countermark.features.times import microseconds

TYPES: dict[str, ValueType] = {
    "request.amount": "number", "x": "number", "y": "number", "b": "boolean", "c": "boolean", "s": "text",
    "view.s": "text", "t": "time", "u": "time",
}  # fmt: skip
NOON = microseconds(dt.datetime(2020, 3, 29, 12, 0, tzinfo=dt.UTC))

TABLE: list[tuple[str, dict[str, Any], Any]] = [
    ("x + y", {"x": 0.1, "y": 0.2}, 0.1 + 0.2),
    ("x + y", {"x": None, "y": 1}, None),
    ("x - y * 2", {"x": 1, "y": 3}, -5.0),
    ("request.amount / x", {"request.amount": 10, "x": 4}, 2.5),
    ("request.amount / x", {"request.amount": 10, "x": 0}, None),
    ("x / y", {"x": 0.0, "y": 0.0}, None),
    ("x * 1e300 * 1e300", {"x": 2}, None),
    ("-x", {"x": 0.0}, 0.0),
    ("+x", {"x": math.nan}, None),
    ("abs(x)", {"x": -3}, 3.0),
    ("sqrt(x)", {"x": 2}, math.sqrt(2)),
    ("sqrt(x)", {"x": -2}, None),
    ("floor(x)", {"x": -1.5}, -2.0),
    ("ceil(x)", {"x": 1e300}, 1e300),
    ("floor(x * 1e308)", {"x": 1e10}, None),
    ("min(x, y, 3)", {"x": 5, "y": 4}, 3.0),
    ("max(x, y)", {"x": 5, "y": None}, None),
    ("x < y", {"x": 1, "y": 2}, True),
    ("x >= y", {"x": 1, "y": None}, None),
    ("x == y", {"x": 1, "y": 1.0}, True),
    ("x != y", {"x": 1, "y": 1.0}, False),
    ("s == 'a'", {"s": "a"}, True),
    ("s != view.s", {"s": "a", "view.s": "b"}, True),
    ("s in ('a', 'b')", {"s": "c"}, False),
    ("s not in ['a', 'b']", {"s": None}, None),
    ("x in (1, 2.5)", {"x": 2.5}, True),
    ("b and c", {"b": False, "c": None}, False),
    ("b and c", {"b": None, "c": True}, None),
    ("b and c", {"b": True, "c": True}, True),
    ("b or c", {"b": None, "c": True}, True),
    ("b or c", {"b": None, "c": False}, None),
    ("b or c", {"b": False, "c": False}, False),
    ("not b", {"b": None}, None),
    ("not b", {"b": False}, True),
    ("x if b else y", {"x": 1, "y": 2, "b": True}, 1.0),
    ("x if b else y", {"x": 1, "y": 2, "b": False}, 2.0),
    ("x if b else y", {"x": 1, "y": 2, "b": None}, None),
    ("coalesce(x, y, 7)", {"x": None, "y": None}, 7.0),
    ("coalesce(s, 'none')", {"s": None}, "none"),
    ("is_null(s)", {"s": None}, True),
    ("is_null(x)", {"x": math.nan}, True),
    ("number(b) + 1", {"b": True}, 2.0),
    ("number(b)", {"b": None}, None),
    ("hour(t)", {"t": NOON}, 14.0),
    ("weekday(t)", {"t": NOON}, 7.0),
    ("hour(t)", {"t": NOON - 12 * 3_600_000_000}, 1.0),
    ("seconds_between(t, u)", {"t": NOON, "u": NOON + 1_500_000}, 1.5),
    ("t < u", {"t": NOON, "u": NOON + 1}, True),
    ("True and b", {"b": True}, True),
]


@pytest.mark.parametrize(("text", "values", "expected"), TABLE, ids=[f"{t} {v}" for t, v, _ in TABLE])
def test_what_an_expression_gives(text: str, values: dict[str, Any], expected: Any) -> None:
    expression = compile_expression(text, TYPES, time_zone="Europe/Paris")
    found = expression.row(values)
    assert found == expected
    assert type(found) is type(expected)
    assert expression.table({name: [value, value] for name, value in values.items()}) == [expected, expected]
    assert set(names_read(text)) == set(expression.names) == set(values)


def test_every_function_is_shown() -> None:
    assert all(any(f"{name}(" in text for text, _, _ in TABLE) for name in FUNCTIONS)


@given(
    rows=st.lists(st.tuples(st.floats(allow_nan=True), st.one_of(st.none(), st.floats())), min_size=1, max_size=20),
    text=st.sampled_from(
        ["x / y", "sqrt(x * x + y * y) - x", "coalesce(x - y, 0) if x > y else floor(y)", "max(x, y) / 3"]
    ),
)
def test_a_table_is_its_rows_to_the_last_bit(rows: list[tuple[Any, Any]], text: str) -> None:
    expression = compile_expression(text, TYPES)
    table = expression.table({"x": [x for x, _ in rows], "y": [y for _, y in rows]})
    single = [expression.row({"x": x, "y": y}) for x, y in rows]
    assert [None if v is None else float(v).hex() for v in table] == [
        None if v is None else float(v).hex() for v in single
    ]
    assert all(v is None or math.isfinite(v) for v in table)  # type: ignore[arg-type]


REFUSED: dict[str, tuple[str, str]] = {
    "text that is no expression": ("x +", "cannot be read"),
    "a statement": ("x = 1", "cannot be read"),
    "a name that is not there": ("amonut", "reads 'amonut', which is not there"),
    "a field that is not there": ("request.amuont > 1", "reads 'request.amuont', which is not there"),
    "a name of three parts": ("request.amount.real", "a name of more than two parts"),
    "a call of something else": ("exp(x)", "calls what is not on the list"),
    "a method": ("s.upper()", "calls what is not on the list"),
    "an import": ("__import__('os')", "calls what is not on the list"),
    "a function with a keyword": ("coalesce(x, y=1)", "calls what is not on the list"),
    "a function with a star": ("max(*x)", "calls what is not on the list"),
    "too few values": ("min(x)", "gives 'min' 1 values"),
    "too many values": ("abs(x, y)", "gives 'abs' 2 values"),
    "a subscript": ("s[0]", "uses what an expression cannot"),
    "a comprehension": ("[v for v in s]", "uses what an expression cannot"),
    "a lambda": ("(lambda: x)()", "calls what is not on the list"),
    "an f-string": ("f'{x}'", "uses what an expression cannot"),
    "a power": ("x ** 2", "an operator that is not on the list"),
    "an inverted number": ("~x", "an operator that is not on the list"),
    "text in arithmetic": ("x + s", "gives arithmetic a text"),
    "a truth in arithmetic": ("x + b", "gives arithmetic a boolean"),
    "a number as a condition": ("x and b", "gives 'and' a number"),
    "a number as a test": ("x if y else 1", "gives 'if' a number"),
    "branches of two types": ("x if b else s", "gives 'else' a text"),
    "a comparison of two types": ("x < s", "gives a comparison a text"),
    "an order of texts": ("s < 'a'", "compares a text by what cannot compare it"),
    "identity": ("x is y", "compares a number by what cannot compare it"),
    "a chain": ("1 < x < 2", "chains comparisons"),
    "in without a list": ("s in view.s", "has 'in' without a list"),
    "in with a name in the list": ("s in ('a', view.s)", "has 'in' without a list"),
    "in of another type": ("s in (1, 2)", "looks for a text among numbers"),
    "nothing": ("1 + 1", "reads nothing"),
    "null": ("None", "a constant of no known type"),
    "bytes": ("s == b'a'", "a constant of no known type"),
    "an infinite constant": ("x < 1e999", "a constant of no known type"),
    "a number that float64 cannot hold": ("x < 1" + "0" * 400, "a constant of no known type"),
    "very deep nesting": ("-" * 90 + "x", "is nested too deeply"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused(sentence: str) -> None:
    text, message = REFUSED[sentence]
    with pytest.raises(ConfigError, match=message):
        compile_expression(text, TYPES)


def test_a_misspelt_name_gets_its_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_expression("request.amuont > 1", TYPES)
    assert caught.value.hint == "did you mean 'request.amount'?"


@given(st.text(alphabet="xy()+-*/<>=!.,' \"absif elsnodt0123[]{}:%&|~^@\\\n", max_size=40))
def test_any_text_is_compiled_or_refused_and_nothing_else(text: str) -> None:
    try:
        expression = compile_expression(text, TYPES)
    except ConfigError:
        names_read(text)
        return
    assume(expression.names)
    expression.row(dict.fromkeys(expression.names))


@given(
    st.datetimes(dt.datetime(1975, 1, 1), dt.datetime(2037, 1, 1)),
    st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata", "America/New_York"]),
)
def test_the_hour_is_the_clock_of_the_zone(naive: dt.datetime, zone: str) -> None:
    moment = naive.replace(tzinfo=dt.UTC)
    found = compile_expression("hour(t)", TYPES, time_zone=zone).row({"t": microseconds(moment)})
    assert found == moment.astimezone(ZoneInfo(zone)).hour
    found = compile_expression("weekday(t)", TYPES, time_zone=zone).row({"t": microseconds(moment)})
    assert found == moment.astimezone(ZoneInfo(zone)).isoweekday()

"""Printed numbers are the JSON numbers, rounded, and nothing else."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.formats import ABSENT, format_column, format_estimate, format_interval, format_value

CASES = (
    (0.68934, "auc", "0.689"),
    (0.0004, "pvalue", "<\u202f0.001"),
    (0.00099, "pvalue", "<\u202f0.001"),
    (0.001, "pvalue", "0.001"),
    (0.9996, "pvalue", "1.000"),
    (0.15678, "share", "15.68\u202f%"),
    (-0.0123, "points", "\u22121.23\u202fpp"),
    (48211, "int", "48\u202f211"),
    (6417608175.4, "money", "6\u202f417\u202f608\u202f175"),
    (0.0712, "psi", "0.0712"),
    (0.012345678, "number", "0.01235"),
    (12345.678, "number", "12\u202f346"),
    (35000.0, "number", "35\u202f000"),
    (1.23e-9, "number", "<\u202f0.000001"),
    (-5.8e-15, "number", ">\u202f\u22120.000001"),
    (0.0000123, "number", "0.00001230"),
    (1.07437, "ratio", "1.074"),
    (0.1523778, "score", "0.1524"),
    (0.000004, "share", "<\u202f0.01\u202f%"),
    (-0.000004, "points", ">\u202f\u22120.01\u202fpp"),
    (0.0, "share", "0.00\u202f%"),
    (1.0, "share", "100.00\u202f%"),
    (0.99999, "share", ">\u202f99.99\u202f%"),
    (0.00002, "psi", "<\u202f0.0001"),
    (0.0, "pvalue", "<\u202f0.001"),
    (3.2e17, "score", "3.200×10^17"),
    (-0.0001, "auc", "0.000"),
    (0, "number", "0"),
    (None, "share", ABSENT),
    (True, "text", "yes"),
    ("watch", "light", "▲ Watch"),
    ("purple", "light", "purple"),
    ("3f1c9a7e5b2d8064", "hash", "3f1c9a7e5b2d"),
    ("2016-01-31", "date", "2016-01-31"),
)


@pytest.mark.parametrize(("value", "style", "text"), CASES)
def test_table_of_formats(value: object, style: str, text: str) -> None:
    assert format_value(value, style) == text  # type: ignore[arg-type]


def test_intervals() -> None:
    assert format_interval(0.1, 0.2, "auc") == "0.100\u00a0to\u00a00.200"
    assert format_interval(0.1, None, "share") == "10.00\u00a0to\u00a0…\u202f%"
    assert format_interval(None, None, "auc") == ABSENT


@given(st.floats(-1e6, 1e6), st.sampled_from([("auc", 3, 1), ("psi", 4, 1), ("share", 2, 100), ("money", 0, 1)]))
def test_every_printed_number_is_the_json_number_rounded(value: float, rule: tuple[str, int, int]) -> None:
    style, decimals, factor = rule
    printed = format_value(value, style, unit=False).replace("\u202f", "").replace("\u2212", "-")  # type: ignore[arg-type]
    exact, last = Decimal(repr(value)) * factor, Decimal(1).scaleb(-decimals)
    wanted = exact.quantize(last, rounding=ROUND_HALF_EVEN)
    if printed[0] in "<>":
        # Too small for its decimals, or a share that is not the whole: the bound that is printed is true.
        bound = Decimal(printed[1:])
        assert exact < bound if printed[0] == "<" else exact > bound
        assert wanted in (0, 100)
        assert value not in (0.0, 1.0)
    else:
        assert Decimal(printed) == wanted


@given(st.floats(-1e300, 1e300))
def test_four_significant_digits(value: float) -> None:
    printed = format_value(value, "number").replace("\u202f", "").replace("\u2212", "-").replace("×10^", "e")
    if printed[0] in "<>":
        assert 0 < abs(value) < abs(float(printed[1:])) == 1e-6
    else:
        assert float(printed) == pytest.approx(value, rel=5.001e-4)


@given(st.floats(1e-300, 0.001, exclude_max=True), st.sampled_from(["number", "share", "points", "psi", "score"]))
def test_a_small_number_is_neither_a_power_of_ten_nor_zero(value: float, style: str) -> None:
    for signed in (value, -value):
        printed = format_value(signed, style, unit=False)  # type: ignore[arg-type]
        assert "10^" not in printed
        assert "e" not in printed
        assert any(digit in printed for digit in "123456789")


NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-9)), min_size=1)


@given(NUMBERS)
def test_plain_numbers_of_a_column_share_their_decimals_or_keep_their_own(values: list[float | None]) -> None:
    printed = [text.replace("\u202f", "").replace("\u2212", "-") for text in format_column(values, "number")]
    assert len(printed) == len(values)
    shared = {len(text.partition(".")[2]) for text in printed if text != ABSENT}
    for text, value in zip(printed, values, strict=True):
        assert (text == ABSENT) == (value is None)
        if value is None or text[0] in "<>":
            continue
        assert (float(text) == 0) == (value == 0)
        digits = len(text.partition(".")[2])
        assert float(text) == pytest.approx(value, abs=0.50001 * 10**-digits)
        if len(shared) == 1 and value and digits < 3:
            # 0.98 never becomes 1: with few decimals two digits are kept.
            assert float(text) == pytest.approx(value, rel=0.051)


def test_columns_of_one_size_have_one_number_of_decimals() -> None:
    assert format_column([0.2281, -0.005596, None], "number") == ["0.2281", "\u22120.0056", ABSENT]
    assert format_column([1.488, 0.674, 0.0004275], "number") == ["1.4880", "0.6740", "0.0004"]
    assert format_column([40_000.0, 0.98], "number") == ["40\u202f000", "0.9800"]
    assert format_column([500.0, 12.0], "number") == ["500", "12"]
    assert format_interval(0.9464, 1.06, "number") == "0.946\u00a0to\u00a01.060"


def test_an_estimate_is_a_value_with_its_interval() -> None:
    assert format_estimate(0.689, 0.686, 0.693, "auc") == "0.689 (0.686\u00a0to\u00a00.693)"
    assert format_estimate(0.0438, 0.0299, None, "points") == "4.38\u202fpp (2.99\u00a0to\u00a0…\u202fpp)"
    assert format_estimate(3, None, None, "int") == "3"
    assert format_estimate(None, None, None, "auc") == ABSENT

"""Printed numbers are the JSON numbers, rounded, and nothing else."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.formats import ABSENT, format_interval, format_value

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
    (1.23e-9, "number", "1.230×10^\u22129"),
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
    printed = format_value(value, style, unit=False)  # type: ignore[arg-type]
    back = Decimal(printed.replace("\u202f", "").replace("\u2212", "-"))
    wanted = (Decimal(repr(value)) * factor).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    assert back == wanted


@given(st.floats(-1e300, 1e300))
def test_four_significant_digits(value: float) -> None:
    printed = format_value(value, "number").replace("\u202f", "").replace("\u2212", "-").replace("×10^", "e")
    assert float(printed) == pytest.approx(value, rel=5.001e-4)

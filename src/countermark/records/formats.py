"""The one place where a number becomes printed text.

Rounding goes through the shortest decimal text of the number, the text that ``pack.json`` holds, and is
half-even on that decimal: a printed number is the JSON number, rounded, and nothing else. A number that is not
zero is never printed as zero where its own light may depend on it: it is printed as below the last decimal; a share
that is not the whole is never printed as the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeGuard

from countermark.records.evidence import Format, Scalar
from countermark.records.lights import Light

NARROW_SPACE = "\u202f"
"""Separates thousands; does not break."""
MINUS = "\u2212"
ABSENT = "–"

_UNITS: dict[str, str] = {"share": "%", "points": "pp"}
_DECIMALS: dict[str, int] = {
    "int": 0, "money": 0, "share": 2, "points": 2, "auc": 3, "ratio": 3, "pvalue": 3, "psi": 4, "score": 4,
}  # fmt: skip
NUMERIC: frozenset[str] = frozenset({*_DECIMALS, "number"})
_NEVER_ZERO = frozenset({"share", "points", "pvalue", "psi", "score"})
"""Formats in which a number that rounds to zero is printed as below the last decimal.

Differences of ranks and ratios are not among them: there 0.000 with its interval says all there is to say.
"""
_SIGNIFICANT = 4
_MOST_DECIMALS = 6
_HUGE = 15


def unit_of(style: Format) -> str:
    """The unit that a format implies: ``%``, ``pp`` or nothing."""
    return _UNITS.get(style, "")


def format_value(value: Scalar, style: Format, *, unit: bool = True) -> str:
    """Print one value.

    Args:
        value: The value as ``pack.json`` holds it.
        style: How it is printed.
        unit: Whether ``%`` and ``pp`` follow the number. False in a column whose header names the unit.

    Returns:
        Text with U+2212 for minus and U+202F between thousands; an en dash for None. A value that is not
        of the format's type is printed as plain text, never dropped.
    """
    if value is None:
        return ABSENT
    if style == "light":
        return _light(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if style == "hash":
        return str(value)[:12]
    if isinstance(value, str) or style in ("text", "date"):
        return str(value)
    text = _number(value, style)
    suffix = unit_of(style) if unit else ""
    return f"{text}{NARROW_SPACE}{suffix}" if suffix else text


def format_interval(low: float | None, high: float | None, style: Format, *, unit: bool = True) -> str:
    """Print an interval as ``low to high``; an en dash where there is none, an open end as ``…``."""
    if low is None and high is None:
        return ABSENT
    text = interval_text(*format_column((low, high), style))
    suffix = unit_of(style) if unit else ""
    return f"{text}{NARROW_SPACE}{suffix}" if suffix else text


def format_estimate(value: Scalar, low: float | None, high: float | None, style: Format) -> str:
    """Print a value with its interval, ``0.689 (0.686 to 0.693)``; plain numbers share their number of decimals."""
    if low is None and high is None:
        return format_value(value, style)
    texts = format_column((value, low, high), style)
    unit = f"{NARROW_SPACE}{unit_of(style)}" if unit_of(style) else ""
    return f"{texts[0]}{unit if value is not None else ''} ({interval_text(*texts[1:])}{unit})"


def interval_text(low: str, high: str) -> str:
    """Two printed ends as one interval; an end that is absent is open."""
    ends = ("…" if end == ABSENT else end for end in (low, high))
    return ABSENT if low == high == ABSENT else "\u00a0to\u00a0".join(ends)


def format_column(values: Sequence[Scalar], style: Format) -> list[str]:
    """Print the values of one column, without their unit; plain numbers share their number of decimals."""
    decimals = _shared_decimals(values) if style == "number" else None
    if decimals is None:
        return [format_value(value, style, unit=False) for value in values]
    return [
        _grouped(Decimal(repr(value)), decimals) if _is_number(value) else format_value(value, style, unit=False)
        for value in values
    ]


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shared_decimals(values: Sequence[Scalar]) -> int | None:
    """Decimals with which the largest number of a column has four significant digits and every other is still told.

    None where there is no number, or where numbers of too different a size share the column.
    """
    numbers = [abs(Decimal(repr(value))) for value in values if _is_number(value) and value != 0]
    if not numbers or max(numbers).adjusted() >= _HUGE:
        return None
    if all(number == number.to_integral_value() for number in numbers):
        return 0
    least = max(0, _SIGNIFICANT - 1 - max(numbers).adjusted())
    smallest = min(numbers)
    for decimals in (least, least + 1):
        # From three decimals on, one digit of the smallest is enough; with fewer, 0.98 would become 1.
        told = smallest.adjusted() + decimals >= 1 or (decimals >= 3 and 2 * smallest > Decimal(1).scaleb(-decimals))
        if decimals <= _MOST_DECIMALS and told:
            return decimals
    return None


def _light(value: str) -> str:
    try:
        light = Light(value)
    except ValueError:
        return value
    return f"{light.glyph} {light.word}"


def _number(value: float, style: Format) -> str:
    if not math.isfinite(value):
        return str(value)
    exact = Decimal(repr(value))
    if style in _UNITS:
        exact *= 100
    if exact.adjusted() >= _HUGE:
        return _power(exact)
    if style not in _DECIMALS:
        return _significant(exact)
    decimals = _DECIMALS[style]
    last = Decimal(1).scaleb(-decimals)
    if style == "pvalue" and exact < last:
        return _below(last, decimals)
    # Half-even: a half of the last decimal rounds to zero.
    if style in _NEVER_ZERO and exact != 0 and abs(exact) * 2 <= last:
        return _below(exact, decimals)
    if style == "share" and 100 - last / 2 <= exact < 100:
        return f">{NARROW_SPACE}{_grouped(100 - last, decimals)}"
    return _grouped(exact, decimals)


def _below(exact: Decimal, decimals: int) -> str:
    """``< 0.001`` for a number that is too small to be printed, ``> −0.001`` for one below zero."""
    sign = ">" if exact < 0 else "<"
    return f"{sign}{NARROW_SPACE}{_grouped(Decimal(1).scaleb(-decimals).copy_sign(exact), decimals)}"


def _significant(exact: Decimal) -> str:
    """Four significant digits; whole numbers keep all their digits, and a small number is never a power of ten."""
    if exact == 0:
        return "0"
    if exact == exact.to_integral_value():
        return _grouped(exact, 0)
    if abs(exact) < Decimal(1).scaleb(-_MOST_DECIMALS):
        return _below(exact, _MOST_DECIMALS)
    return _grouped(exact, max(0, _SIGNIFICANT - 1 - exact.adjusted()))


def _power(exact: Decimal) -> str:
    """What no column could hold: four significant digits and a power of ten."""
    mantissa, _, power = f"{exact:.{_SIGNIFICANT - 1}e}".partition("e+")
    return f"{mantissa.replace('-', MINUS)}×10^{power}"


def _grouped(exact: Decimal, decimals: int) -> str:
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    negative = rounded < 0
    whole, _, fraction = f"{abs(rounded):,f}".partition(".")
    text = whole.replace(",", NARROW_SPACE) + (f".{fraction}" if fraction else "")
    return f"{MINUS}{text}" if negative else text

"""The one place where a number becomes printed text.

Rounding goes through the shortest decimal text of the number, the text that ``pack.json`` holds, and is
half-even on that decimal: a printed number is the JSON number, rounded, and nothing else.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

from countermark.records.evidence import Format, Scalar
from countermark.records.lights import Light

NARROW_SPACE = "\u202f"
"""Separates thousands; does not break."""
MINUS = "\u2212"
ABSENT = "–"

_UNITS: dict[str, str] = {"share": "%", "points": "pp"}
_DECIMALS: dict[str, int] = {"int": 0, "money": 0, "share": 2, "points": 2, "auc": 3, "pvalue": 3, "psi": 4}
NUMERIC: frozenset[str] = frozenset({*_DECIMALS, "number"})
_SIGNIFICANT = 4


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
    ends = ["…" if end is None else format_value(end, style, unit=False) for end in (low, high)]
    suffix = unit_of(style) if unit else ""
    text = f"{ends[0]}\u00a0to\u00a0{ends[1]}"
    return f"{text}{NARROW_SPACE}{suffix}" if suffix else text


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
    if style == "pvalue":
        if exact < Decimal("0.001"):
            return f"<{NARROW_SPACE}0.001"
        return _grouped(exact, 3)
    if style in _UNITS:
        return _grouped(exact * 100, _DECIMALS[style])
    if style in _DECIMALS:
        return _grouped(exact, _DECIMALS[style])
    return _significant(exact)


def _significant(exact: Decimal) -> str:
    """Four significant digits; whole numbers keep all their digits."""
    if exact == 0:
        return "0"
    if exact == exact.to_integral_value() and abs(exact) < Decimal("1e15"):
        return _grouped(exact, 0)
    magnitude = exact.adjusted()
    if magnitude < -6 or magnitude >= 12:
        mantissa, _, power = f"{exact:.{_SIGNIFICANT - 1}e}".partition("e")
        sign = MINUS if int(power) < 0 else ""
        return f"{mantissa.replace('-', MINUS)}×10^{sign}{abs(int(power))}"
    return _grouped(exact, max(0, _SIGNIFICANT - 1 - magnitude))


def _grouped(exact: Decimal, decimals: int) -> str:
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    negative = rounded < 0
    whole, _, fraction = f"{abs(rounded):,f}".partition(".")
    text = whole.replace(",", NARROW_SPACE) + (f".{fraction}" if fraction else "")
    return f"{MINUS}{text}" if negative else text

"""How a column of a stranger's file has to be read so that nothing of it is lost: tried on the build's own reader."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.contract import ColumnContract, DateFormat
from countermark.contracts.coercion import coerce
from countermark.contracts.dates import parse_dates
from countermark.errors import ContractError
from countermark.portfolio.names import says_date, says_identifier

ColumnType: TypeAlias = Literal["integer", "number", "text", "boolean", "date"]
Mark: TypeAlias = Literal[".", ","]
Thousands: TypeAlias = Literal[",", ".", " ", "'"]

_EXACT_DIGITS = 15
_LARGEST_EXACT = 2**53
_SIGNS = (
    "US$", "R$", "C$", "A$", "$", "€", "£", "¥", "₹", "₺", "₽", "%", "‰",
    "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "CAD", "AUD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "INR", "kr", "zł",
)  # fmt: skip
_MOSTLY = 0.5
_TOO_LONG = "more digits than a number keeps; read as text"
_FEWEST_PERIODS = 6
_DATE_FORMATS: tuple[DateFormat, ...] = tuple(
    form for form in typing.get_args(DateFormat) if form not in ("YYYYMM", "YYYYMMDD")
)
_DIGITS = r"^[+-]?\d+$"
_LEADING_ZERO = r"^[+-]?0\d"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?.*)?$"
_ABOUT_A_DATE = r"^(\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}|[A-Za-z]{3,9}[ -]\d{2,4})\b.*$"
_IN_BRACKETS = r"^\([^()]*\d[^()]*\)$"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the contract has to say of a column.

    Attributes:
        type: Type to promise.
        format: How dates are written, where not as ISO.
        decimal: Decimal mark, where it is not the file's.
        thousands: Separator of thousands.
        signs: Currency or per cent signs.
        code: Digits that are no quantity: leading zeros, more digits than a double holds, or a name that says so.
        dated: Text that looks like dates and cannot be read as such.
        doubt: What a person has to look at, or an empty text.
    """

    type: ColumnType
    format: DateFormat | None = None
    decimal: Mark | None = None
    thousands: Thousands | None = None
    signs: tuple[str, ...] = ()
    code: bool = False
    dated: bool = False
    doubt: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the values are quantities."""
        return self.type in ("integer", "number")

    def promise(self) -> ColumnContract:
        """The contract that reads the column so; missing values are allowed."""
        return ColumnContract(
            type=self.type,
            format=self.format,
            decimal=self.decimal,
            thousands=self.thousands,
            signs=self.signs,
            nullable=True,
        )


def read_column(name: str, values: pa.ChunkedArray, decimal: str) -> tuple[Reading, pa.ChunkedArray]:
    """How a column has to be read, and its values read so.

    Args:
        name: Column name; tells a code from a quantity where the digits do not.
        values: Text, or native values of Parquet.
        decimal: Decimal mark of text numbers.
    """
    present = values.drop_null()
    if len(present) == 0:
        return Reading("text"), pa.chunked_array([pa.nulls(len(values), pa.string())])
    if pa.types.is_string(values.type):
        reading = _text_reading(name, pc.unique(present), present, decimal)
    else:
        reading = _native_reading(name, present)
    typed, _ = coerce(values, reading.promise(), name=name, time_zone="UTC", decimal=decimal)
    return reading, typed


def plain_type(present: pa.ChunkedArray, decimal: str = ".") -> ColumnType:
    """The type that every value fits as it stands, whatever it may mean."""
    if len(present) == 0:
        return "text"
    if not pa.types.is_string(present.type):
        return _native_type(present.type)
    unique = pc.unique(present)
    if _all(unique, _DIGITS):
        return "integer" if _all(unique, rf"^[+-]?\d{{1,{_EXACT_DIGITS}}}$") and not _is_coded(unique) else "text"
    if _reads(unique, Reading("number"), decimal):
        return "number"
    if _all(unique, _ISO_DATE):
        return "date"
    return "boolean" if _all(unique, r"^(?i:true|false)$") else "text"


def as_number(unique: pa.Array, decimal: str) -> Reading | None:
    """How text values are numbers: plain, with separators of thousands, with currency or per cent signs; or None.

    Separators of thousands are not believed where a group follows a lone zero: '0,125' is a fraction.
    """
    if _reads(unique, Reading("number"), decimal):
        return Reading("number")
    signs = tuple(sign for sign in _SIGNS if pc.any(pc.match_substring(unique, sign)).as_py())
    if len(signs) > 1:
        signs = tuple(s for s in signs if not any(s != longer and s in longer for longer in signs))
    marks: tuple[Thousands, ...] = (",", " ", "'") if decimal == "." else (".", " ", "'")
    for thousands in (None, *marks):
        if thousands is not None and pc.any(pc.match_substring_regex(unique, rf"(^|[^\d])0\Q{thousands}\E\d")).as_py():
            continue
        reading = Reading("number", thousands=thousands, signs=signs)
        if (thousands or signs) and _reads(unique, reading, decimal):
            return reading
    return None


def is_quantity(unique: pa.Array) -> bool:
    """Whether text values are all numbers or all dates, in whatever way they are written."""
    return (
        as_number(unique, ".") is not None
        or as_number(unique, ",") is not None
        or _reads(unique, Reading("date"), ".")
        or bool(_formats(unique))
    )


def _text_reading(name: str, unique: pa.Array, present: pa.ChunkedArray, decimal: str) -> Reading:
    if _all(unique, _DIGITS):
        return _digits_reading(name, unique)
    for reading in (Reading("number"), Reading("date")):
        if _reads(unique, reading, decimal):
            return reading
    if _all(unique, r"^(?i:true|false)$"):
        return Reading("boolean")
    forms = _formats(unique)
    if len(forms) == 1:
        return Reading("date", format=forms[0])
    if forms:
        return Reading("text", dated=True, doubt=f"dates that read two ways, {' or '.join(forms)}; kept as text")
    number = as_number(unique, decimal)
    if number is None:
        other: Mark = "." if decimal == "," else ","
        found = as_number(unique, other)
        number = None if found is None else replace(found, decimal=other)
    if number is not None:
        if len(number.signs) > 1:
            return Reading("text", doubt=f"numbers with several signs ({', '.join(number.signs)}); kept as text")
        return number
    if _all(unique, _ABOUT_A_DATE):
        return Reading("text", dated=True, doubt="dates in a form that is not known, or in several; kept as text")
    return Reading("text", doubt=_doubt_of_text(present, unique, decimal))


def _digits_reading(name: str, unique: pa.Array) -> Reading:
    if not _all(unique, rf"^[+-]?\d{{1,{_EXACT_DIGITS}}}$"):
        return Reading("text", code=True, doubt=_TOO_LONG)
    if _is_coded(unique):
        return Reading("text", code=True, doubt="leading zeros; read as text, so that none is lost")
    if bool(pc.any(pc.match_substring_regex(unique, _LEADING_ZERO)).as_py()):
        return Reading("integer", doubt="one number written in several ways (leading zeros); read as a number")
    return _integer_reading(name, unique)


def _integer_reading(name: str, unique: pa.Array) -> Reading:
    """Whole numbers: a calendar, a code by its name, or a quantity."""
    form = _digit_calendar(name, unique)
    if form is not None:
        return Reading("date", format=form)
    return Reading("text", code=True) if says_identifier(name) else Reading("integer")


def _digit_calendar(name: str, unique: pa.Array) -> DateFormat | None:
    """Digits such as 202301 that are all months (or days) of our time, and are not called an identifier."""
    calendar: tuple[tuple[DateFormat, str], ...] = (("YYYYMM", r"^(19|20)\d{4}$"), ("YYYYMMDD", r"^(19|20)\d{6}$"))
    text = unique.cast(pa.string())
    for form, digits in calendar:
        if not _all(text, digits) or parse_dates(pa.chunked_array([text]), form)[1].any():
            continue
        if says_date(name) or (len(unique) >= _FEWEST_PERIODS and not says_identifier(name)):
            return form
    return None


def _native_type(kind: pa.DataType) -> ColumnType:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "date" if pa.types.is_date(kind) or pa.types.is_timestamp(kind) else "text"


def _native_reading(name: str, present: pa.ChunkedArray) -> Reading:
    kind = present.type
    plain = _native_type(kind)
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    if not whole:
        return Reading(plain)
    bounds = pc.min_max(present).as_py()
    if max(abs(int(bounds["min"])), abs(int(bounds["max"]))) > _LARGEST_EXACT:
        return Reading("text", code=True, doubt=_TOO_LONG)
    return _integer_reading(name, pc.unique(present)) if plain == "integer" else Reading(plain)


def _is_coded(unique: pa.Array) -> bool:
    """Leading zeros that mean something: no two values are one number."""
    if not pc.any(pc.match_substring_regex(unique, _LEADING_ZERO)).as_py():
        return False
    plain = pc.replace_substring_regex(unique, r"^\+?0+(\d)", r"\1")
    return len(pc.unique(plain)) == len(unique)


def _formats(unique: pa.Array) -> list[DateFormat]:
    """Every declared form that all values are written in; one of two that only differ in name is enough."""
    column = pa.chunked_array([unique])
    fitting = [form for form in _DATE_FORMATS if not parse_dates(column, form)[1].any()]
    days = {form: parse_dates(column, form)[0] for form in fitting}
    return [form for k, form in enumerate(fitting) if not any(days[form].equals(days[f]) for f in fitting[:k])]


def _doubt_of_text(present: pa.ChunkedArray, unique: pa.Array, decimal: str) -> str:
    bracketed = pc.match_substring_regex(unique, _IN_BRACKETS)
    inner = pc.replace_substring_regex(unique, r"^\((.*)\)$", r"\1")
    if pc.any(bracketed).as_py() and as_number(inner, decimal) is not None:
        return "numbers in brackets, which may be negative ones; kept as text"
    _, failed = coerce(present, ColumnContract(type="number"), name="", time_zone="UTC", decimal=decimal)
    other = int(np.count_nonzero(failed))
    if other <= (1 - _MOSTLY) * len(present):
        return f"numbers in all but {other} of {len(present)} rows; kept as text"
    return ""


def _reads(unique: pa.Array, reading: Reading, decimal: str) -> bool:
    """Whether the build would read every value so."""
    column = pa.chunked_array([unique])
    try:
        _, failed = coerce(column, reading.promise(), name="", time_zone="UTC", decimal=decimal)
    except ContractError:
        return False
    return not failed.any()


def _all(unique: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(unique, pattern)).as_py())

"""From what a file holds to the declared types; what does not fit is marked, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.contract import ColumnContract
from countermark.contracts.dates import parse_dates
from countermark.contracts.instants import UTC, to_utc, zone_of
from countermark.errors import ContractError

Coerced: TypeAlias = tuple[pa.ChunkedArray, NDArray[np.bool_]]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_INTEGER = r"^[+-]?\d{1,18}$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_BLANKS = r"[\s\x{a0}\x{202f}]*"
_LARGEST_EXACT = 2.0**53
_LARGEST_INTEGER = 2**63 - 1


def coerce(column: pa.ChunkedArray, promise: ColumnContract, *, name: str, time_zone: str, decimal: str) -> Coerced:
    """Give a column its declared type.

    Args:
        column: Values as they were read: text, or native types of Parquet and SQL.
        promise: The column's contract.
        name: Column name, for errors.
        time_zone: Zone of clock times without one.
        decimal: Decimal mark of text numbers, unless the contract has one for this column.

    Returns:
        The typed column (int64, double, string, bool, date32 or timestamp[us, UTC]) and a mask (n,) of
        values that do not fit the type; those are null in the typed column.

    Raises:
        ContractError: If the native type can never be the declared one, or a column mixes dates,
            clock times and zoned times.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    decimal = promise.decimal or decimal
    match promise.type:
        case "number":
            _fits(column, name, promise.type, number=True)
            return to_number(column, decimal, thousands=promise.thousands, signs=promise.signs)
        case "integer":
            _fits(column, name, promise.type, number=True)
            return _to_integer(column, decimal, promise)
        case "text":
            _fits(column, name, promise.type, integer=True)
            return column.cast(pa.string()), np.zeros(len(column), dtype=bool)
        case "boolean":
            _fits(column, name, promise.type, integer=True, boolean=True)
            return _to_boolean(column)
        case "date" if promise.format is not None:
            _fits(column, name, f"date written as {promise.format}", integer=True)
            return parse_dates(column.cast(pa.string()), promise.format, promise.period)
        case "date":
            _fits(column, name, promise.type, date=True)
            return _to_date(column, name, time_zone)


def _fits(
    column: pa.ChunkedArray,
    name: str,
    wanted: str,
    *,
    number: bool = False,
    integer: bool = False,
    boolean: bool = False,
    date: bool = False,
) -> None:
    kind = column.type
    fits = pa.types.is_string(kind)
    fits |= (number or integer) and pa.types.is_integer(kind)
    fits |= integer and pa.types.is_decimal(kind) and kind.scale == 0
    fits |= number and (pa.types.is_floating(kind) or pa.types.is_decimal(kind))
    fits |= boolean and pa.types.is_boolean(kind)
    fits |= date and (pa.types.is_date32(kind) or (pa.types.is_timestamp(kind) and kind.tz is not None))
    if not fits:
        raise ContractError(
            f"column '{name}' cannot be read as {wanted}",
            expected=wanted,
            got=f"a column of type {kind}",
            hint="correct 'type' in the contract, or cast the column where the data is made",
        )


def to_number(
    column: pa.ChunkedArray, decimal: str = ".", *, thousands: str | None = None, signs: Sequence[str] = ()
) -> Coerced:
    """Numbers as float64; text is read by its decimal digits, NaN is null, infinity does not fit.

    Args:
        column: Text or native numbers.
        decimal: Decimal mark of text; a point is none where this is a comma.
        thousands: Separator that may stand between groups of three digits.
        signs: Signs that may stand before or after the digits.
    """
    if pa.types.is_string(column.type):
        text = _without_groups(_without_signs(pc.utf8_trim_whitespace(column), signs), thousands, decimal)
        good = pc.fill_null(pc.match_substring_regex(text, _NUMBER.replace("\\.", f"\\{decimal}")), True)
        text = pc.replace_substring_regex(pc.if_else(good, text, None), r"^\+", "")
        if decimal != ".":
            text = pc.replace_substring(text, decimal, ".")
        numbers, failed = text.cast(pa.float64()), ~_mask(good)
    else:
        numbers, failed = column.cast(pa.float64(), safe=False), np.zeros(len(column), dtype=bool)
        numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    return pc.if_else(infinite, None, numbers), failed | _mask(infinite)


def _without_signs(text: pa.ChunkedArray, signs: Sequence[str]) -> pa.ChunkedArray:
    for sign in signs:
        quoted = rf"{_BLANKS}\Q{sign}\E"
        text = pc.replace_substring_regex(text, rf"^([+-]?){quoted}{_BLANKS}", r"\1")
        text = pc.replace_substring_regex(text, rf"{quoted}$", "")
    return text


def _without_groups(text: pa.ChunkedArray, thousands: str | None, decimal: str) -> pa.ChunkedArray:
    """Text numbers without separators of thousands; those that are not in groups of three stay, and fit no number."""
    if thousands is None:
        return text
    if thousands == " ":
        text = pc.replace_substring_regex(text, r"[\x{a0}\x{202f}]", " ")
    if thousands == "'":
        text = pc.replace_substring(text, "\u2019", "'")
    grouped = pc.match_substring_regex(text, rf"^[+-]?\d{{1,3}}(\Q{thousands}\E\d{{3}})+(\Q{decimal}\E\d*)?$")
    return pc.if_else(pc.fill_null(grouped, False), pc.replace_substring(text, thousands, ""), text)


def _to_integer(column: pa.ChunkedArray, decimal: str, promise: ColumnContract) -> Coerced:
    none = np.zeros(len(column), dtype=bool)
    if pa.types.is_uint64(column.type):
        beyond = pc.fill_null(pc.greater(column, pa.scalar(_LARGEST_INTEGER, pa.uint64())), False)
        return pc.if_else(beyond, None, column).cast(pa.int64()), _mask(beyond)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64()), none
    if pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        if pc.all(pc.match_substring_regex(text, _INTEGER), min_count=0).as_py():
            return pc.replace_substring_regex(text, r"^\+", "").cast(pa.int64()), none
    numbers, failed = to_number(column, decimal, thousands=promise.thousands, signs=promise.signs)
    values = pc.fill_null(numbers, 0.0).to_numpy()
    broken = (values != np.floor(values)) | (np.abs(values) >= _LARGEST_EXACT)
    whole = pc.if_else(pa.array(broken), None, numbers)
    return whole.cast(pa.int64()), failed | broken


def _to_boolean(column: pa.ChunkedArray) -> Coerced:
    if pa.types.is_boolean(column.type):
        return column, np.zeros(len(column), dtype=bool)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    yes = pc.is_in(text, value_set=pa.array(["true", "1"]))
    no = pc.is_in(text, value_set=pa.array(["false", "0"]))
    known = pc.or_(yes, no)
    failed = _mask(pc.and_(pc.is_valid(column), pc.invert(known)))
    return pc.if_else(known, yes, None), failed


def _to_date(column: pa.ChunkedArray, name: str, time_zone: str) -> Coerced:
    if pa.types.is_date32(column.type):
        return column, np.zeros(len(column), dtype=bool)
    if pa.types.is_timestamp(column.type):
        return column.cast(UTC), np.zeros(len(column), dtype=bool)
    text = pc.utf8_trim_whitespace(column)
    days = _mask(pc.fill_null(pc.match_substring_regex(text, _DATE), False))
    instants = _mask(pc.fill_null(pc.match_substring_regex(text, _INSTANT), False))
    zoned = instants & _mask(pc.fill_null(pc.match_substring_regex(text, _ZONE), False))
    forms = {
        "dates": bool(days.any()),
        "clock times": bool((instants & ~zoned).any()),
        "zoned times": bool(zoned.any()),
    }
    found = [form for form, present in forms.items() if present]
    if len(found) > 1:
        raise ContractError(
            f"column '{name}' mixes {' and '.join(found)}",
            expected="one form in the whole column",
            hint="export the column as dates, as clock times in the source's zone, or with a zone throughout",
        )
    present = _mask(pc.is_valid(column))
    series = pd.Series(text.to_pandas(), dtype=object).where(days | instants, None)
    if zoned.any():
        parsed = pd.to_datetime(series, errors="coerce", utc=True, format="ISO8601")
    else:
        parsed = pd.to_datetime(series, errors="coerce", format="ISO8601")
    failed = present & parsed.isna().to_numpy()
    if instants.any():
        moments = parsed if zoned.any() else to_utc(parsed.dt.as_unit("us"), zone_of(time_zone))
        return pa.chunked_array([pa.Array.from_pandas(moments.dt.as_unit("us"), type=UTC)]), failed
    dates = pa.Array.from_pandas(parsed.dt.as_unit("us"), type=pa.timestamp("us")).cast(pa.date32())
    return pa.chunked_array([dates]), failed


def _mask(column: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    )
    return mask.astype(bool)

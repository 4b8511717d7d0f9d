"""From what a file holds to the declared types; what does not fit is marked, never guessed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.contract import ColumnContract
from countermark.contracts.instants import UTC, to_utc, zone_of
from countermark.errors import ContractError

Coerced: TypeAlias = tuple[pa.ChunkedArray, NDArray[np.bool_]]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_INTEGER = r"^[+-]?\d{1,18}$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?$"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_LARGEST_EXACT = 2.0**53


def coerce(column: pa.ChunkedArray, promise: ColumnContract, *, name: str, time_zone: str, decimal: str) -> Coerced:
    """Give a column its declared type.

    Args:
        column: Values as they were read: text, or native types of Parquet and SQL.
        promise: The column's contract.
        name: Column name, for errors.
        time_zone: Zone of clock times without one.
        decimal: Decimal mark of text numbers.

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
    match promise.type:
        case "number":
            _fits(column, name, promise.type, number=True)
            return to_number(column, decimal)
        case "integer":
            _fits(column, name, promise.type, number=True)
            return _to_integer(column, decimal)
        case "text":
            _fits(column, name, promise.type, integer=True)
            return column.cast(pa.string()), np.zeros(len(column), dtype=bool)
        case "boolean":
            _fits(column, name, promise.type, integer=True, boolean=True)
            return _to_boolean(column)
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


def to_number(column: pa.ChunkedArray, decimal: str = ".") -> Coerced:
    """Numbers as float64; text is read by its decimal digits, NaN is null, infinity does not fit."""
    if pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        if decimal != ".":
            text = pc.replace_substring(text, decimal, ".")
        good = pc.fill_null(pc.match_substring_regex(text, _NUMBER), True)
        text = pc.replace_substring_regex(pc.if_else(good, text, None), r"^\+", "")
        numbers, failed = text.cast(pa.float64()), ~_mask(good)
    else:
        numbers, failed = column.cast(pa.float64(), safe=False), np.zeros(len(column), dtype=bool)
        numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    return pc.if_else(infinite, None, numbers), failed | _mask(infinite)


def _to_integer(column: pa.ChunkedArray, decimal: str) -> Coerced:
    none = np.zeros(len(column), dtype=bool)
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64()), none
    if pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        if pc.all(pc.match_substring_regex(text, _INTEGER), min_count=0).as_py():
            return pc.replace_substring_regex(text, r"^\+", "").cast(pa.int64()), none
    numbers, failed = to_number(column, decimal)
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

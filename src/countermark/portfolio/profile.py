"""Look at a stranger's file: types, keys, candidates for outcome, dates and protected attributes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.source import CsvOptions
from countermark.contracts.coercion import to_number
from countermark.contracts.delimited import decompress, read_delimited
from countermark.contracts.tables import read_table
from countermark.errors import SourceError

ColumnType = Literal["integer", "number", "text", "boolean", "date"]

_OUTCOME_WORDS = (
    "default", "default_flag", "target", "outcome", "label", "y", "bad", "is_bad", "bad_flag", "loan_status",
    "charged_off", "fraud", "is_fraud", "sar", "response", "responded", "converted", "churn",
)  # fmt: skip
_PROTECTED = {
    "sex": "sex", "gender": "sex", "race": "race", "ethnicity": "ethnicity", "ethnic": "ethnicity", "age": "age",
    "birth": "age", "marital": "marital_status", "marriage": "marital_status", "married": "marital_status",
    "religion": "religion", "nationality": "nationality", "national_origin": "national_origin",
    "disability": "disability", "pregnant": "pregnancy", "colour": "race", "color": "race",
}  # fmt: skip
_NULL_WORDS = ("", "NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "#N/A", "?")
_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?.*)?$"
_COMMA_NUMBER = r"^[+-]?\d+(,\d+)?$"
_MAX_LEVELS = 50
_AGE_BANDS = (0.0, 25.0, 35.0, 45.0, 55.0, 65.0)
_OLDEST = 125.0


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one column looks like.

    Attributes:
        name: Name in the file.
        type: Type that every value fits.
        missing: Rows without a value.
        distinct: Different values.
        levels: Sorted values of a short text column.
        minimum: Smallest number, or None.
        maximum: Largest number, or None.
    """

    name: str
    type: ColumnType
    missing: int
    distinct: int
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What a file looks like.

    Attributes:
        null_values: Words that stand for a missing value and occur in the file.
        entity: Column that names a customer who has several rows, or None.
        protected: Protected attribute by column name.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    format: Literal["csv", "parquet"]
    csv: CsvOptions
    null_values: tuple[str, ...]
    row_key: str | None
    entity: str | None
    time: str | None
    protected: dict[str, str]
    table: pa.Table

    def column(self, name: str) -> ColumnProfile:
        """The profile of a column."""
        return next(column for column in self.columns if column.name == name)


def profile_file(path: Path) -> FileProfile:
    """Read a CSV or Parquet file and say what its columns look like.

    Raises:
        SourceError: Unreadable, or neither CSV nor Parquet.
    """
    if not path.is_file():
        raise SourceError("no such file", file=path, hint="give the path of a .csv, .csv.gz or .parquet file")
    options = CsvOptions()
    if path.suffix == ".parquet":
        table, form = read_table(path), "parquet"
        nulls: tuple[str, ...] = ()
    elif path.name.endswith((".csv", ".csv.gz", ".txt", ".tsv")):
        try:
            data = path.read_bytes()
        except PermissionError:
            raise SourceError("no permission to read this file", file=path, hint="check its mode and owner") from None
        plain = decompress(data, path)
        options = CsvOptions(delimiter=_delimiter(plain), encoding=_encoding(plain, path))
        table, form = read_delimited(data, options, file=path), "csv"
        nulls = _null_words(table)
        options = options.model_copy(update={"null_values": nulls, "decimal": _decimal(table, options.delimiter)})
        table = _points(read_delimited(data, options, file=path), options.decimal)
    else:
        raise SourceError(
            "unknown file type", expected="a name that ends in .csv, .csv.gz or .parquet", got=path.suffix, file=path
        )
    columns = tuple(_column(name, table.column(name)) for name in table.column_names)
    return FileProfile(
        rows=table.num_rows,
        columns=columns,
        format="parquet" if form == "parquet" else "csv",
        csv=options,
        null_values=nulls,
        row_key=_row_key(columns, table.num_rows),
        entity=_entity(columns, table.num_rows),
        time=next((c.name for c in columns if c.type == "date" and c.missing == 0), None),
        protected={c.name: found for c in columns if (found := protected_attribute(c.name)) is not None},
        table=table,
    )


def guess_outcome(profile: FileProfile) -> str | None:
    """The column that is most likely the outcome: a known word with two values, else None."""
    by_name = {plain_name(column.name): column for column in profile.columns}
    for word in _OUTCOME_WORDS:
        column = by_name.get(word)
        if column is not None and column.missing < profile.rows and column.distinct >= 2:
            return column.name
    return None


def outcome_values(profile: FileProfile, name: str) -> tuple[Any, Any] | None:
    """(positive, negative) values of a two-valued outcome: 1/0 or the rarer one as positive; None if not two."""
    column = profile.column(name)
    if column.distinct != 2:
        return None
    counts: dict[Any, int] = {}
    for value in profile.table.column(name).drop_null().to_pylist():
        if not isinstance(value, float) or math.isfinite(value):
            typed = _typed(value, column.type)
            counts[typed] = counts.get(typed, 0) + 1
    values = sorted(counts, key=lambda value: (counts[value], str(value)))
    for positive, negative in ((1, 0), ("yes", "no"), ("true", "false"), ("bad", "good"), ("y", "n")):
        lowered = [str(v).lower().removesuffix(".0") for v in values]
        if sorted(lowered) == sorted((str(positive), str(negative))):
            order = lowered.index(str(positive))
            return values[order], values[1 - order]
    return values[0], values[1]


def plain_name(text: str) -> str:
    """A lower-case identifier for an odd column name: letters, digits and single underscores."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_")
    if not name:
        name = "column"
    return name if name[0].isalpha() else f"c_{name}"


def unique_names(columns: Sequence[str]) -> dict[str, str]:
    """Plain name of every column, made unique with a number where two collide."""
    taken: dict[str, str] = {}
    for column in columns:
        name, base, count = plain_name(column), plain_name(column), 2
        while name in taken.values():
            name, count = f"{base}_{count}", count + 1
        taken[column] = name
    return taken


def protected_attribute(column: str) -> str | None:
    """The protected attribute that a column name speaks of, or None."""
    words = plain_name(column).split("_")
    return next((meaning for word, meaning in _PROTECTED.items() if word in words), None)


def protected_bands(profile: FileProfile, name: str) -> tuple[float, ...]:
    """Lower edges of bands for a numeric protected column: ages in years by decade, anything else by quarter."""
    column = profile.column(name)
    low, high = column.minimum or 0.0, column.maximum or 0.0
    if low >= 0 and _AGE_BANDS[1] < high <= _OLDEST:
        return tuple(edge for edge, after in pairwise((*_AGE_BANDS, math.inf)) if edge < high and after > low)
    numbers = np.sort(to_number(profile.table.column(name))[0].drop_null().to_numpy())
    quarters = [float(numbers[len(numbers) * k // 4]) for k in range(4)]
    return tuple(sorted(set(quarters)))


def _plain_values(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values without encodings that say nothing about content: dictionaries decoded, a column of nulls as text.

    Raises:
        SourceError: For a column that is no plain value, such as a list.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_null(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        raise SourceError(
            f"column '{name}' holds no plain values",
            expected="numbers, text, booleans or dates",
            got=str(values.type),
            hint="leave the column out of the file, or spread it over plain columns",
        )
    return values


def _column(name: str, values: pa.ChunkedArray) -> ColumnProfile:
    values = _plain_values(name, values)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    missing = values.null_count
    present = values.drop_null()
    distinct = int(pc.count_distinct(present).as_py())
    kind = _type(present)
    if kind in ("integer", "number"):
        numbers = np.asarray(to_number(present)[0].drop_null().to_numpy(), dtype=np.float64)
        if kind == "number" or not pa.types.is_integer(present.type):
            distinct = int(np.unique(numbers).size) if numbers.size else 0  # '1', '01' and '1.0' are one number
        low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (None, None)
        return ColumnProfile(name, kind, missing, distinct, (), low, high)
    levels: tuple[str, ...] = ()
    if kind in ("text", "boolean") and distinct <= _MAX_LEVELS:
        levels = tuple(sorted(str(v) for v in pc.unique(present).to_pylist()))
    return ColumnProfile(name, kind, missing, distinct, levels)


def _type(present: pa.ChunkedArray) -> ColumnType:
    if len(present) == 0:
        return "text"
    if pa.types.is_boolean(present.type):
        return "boolean"
    if pa.types.is_integer(present.type):
        return "integer"
    if pa.types.is_floating(present.type) or pa.types.is_decimal(present.type):
        return "number"
    if pa.types.is_date(present.type) or pa.types.is_timestamp(present.type):
        return "date"
    text = present.cast(pa.string())
    if pc.all(pc.match_substring_regex(text, r"^[+-]?\d{1,15}$")).as_py():
        return "integer"
    if pc.all(pc.match_substring_regex(text, r"^[+-]?\d+$")).as_py():
        return "text"  # more digits than a double holds: an account number, not a quantity
    if pc.all(pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")).as_py():
        return "number"
    if pc.all(pc.match_substring_regex(text, _DATE)).as_py():
        return "date"
    if pc.all(pc.match_substring_regex(text, r"^(?i:true|false)$")).as_py():
        return "boolean"
    return "text"


def _typed(value: Any, kind: ColumnType) -> Any:
    if kind == "integer":
        return int(value)
    if kind == "number":
        number = float(value)
        return int(number) if number.is_integer() else number
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    return str(value)


def _row_key(columns: tuple[ColumnProfile, ...], rows: int) -> str | None:
    whole = [c for c in columns if c.distinct == rows and c.missing == 0 and c.type in ("integer", "text")]
    named = [c.name for c in whole if re.search(r"(^|_)(id|key|no|number|nr)$", plain_name(c.name)) or "#" in c.name]
    if named:
        return named[0]
    return columns[0].name if columns and columns[0] in whole else None


def _entity(columns: tuple[ColumnProfile, ...], rows: int) -> str | None:
    """A column named like a customer or an id that repeats, and takes too many values to be a category."""
    for column in columns:
        name = plain_name(column.name)
        named = re.search(r"(^|_)(id|customer|cust|client|account|acct|borrower|obligor|card|household)($|_)", name)
        repeats = _MAX_LEVELS < column.distinct < rows and column.distinct > rows // 50
        if named and repeats and column.missing == 0 and column.type in ("integer", "text"):
            return column.name
    return None


def _null_words(table: pa.Table) -> tuple[str, ...]:
    words = pa.array(_NULL_WORDS[1:], type=pa.string())
    found: set[str] = set()
    for column in table.columns:
        unique = pc.unique(column)
        found.update(unique.filter(pc.is_in(unique, value_set=words)).to_pylist())
    return ("", *(word for word in _NULL_WORDS[1:] if word in found))


def _decimal(table: pa.Table, delimiter: str) -> Literal[".", ","]:
    """The decimal mark: a comma where a column holds nothing but numbers with one, in a file cut by another sign."""
    if delimiter == ",":
        return "."
    commas = (_all_match(column, _COMMA_NUMBER) and not _all_match(column, r"^[+-]?\d+$") for column in table.columns)
    return "," if any(commas) else "."


def _points(table: pa.Table, decimal: str) -> pa.Table:
    """The table with decimal points, for looking at; the build reads the file with its declared decimal mark."""
    if decimal == ".":
        return table
    columns = {
        name: pc.replace_substring(table.column(name), ",", ".")
        if _all_match(table.column(name), _COMMA_NUMBER)
        else table.column(name)
        for name in table.column_names
    }
    return pa.table(columns)


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    present = column.drop_null()
    return len(present) > 0 and bool(pc.all(pc.match_substring_regex(present, pattern)).as_py())


def _delimiter(data: bytes) -> str:
    first = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    return max((",", ";", "\t", "|"), key=first.count)


def _encoding(data: bytes, path: Path) -> Literal["utf-8", "utf-8-sig", "latin-1"]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(
            "the file is UTF-16 text", expected="UTF-8 or Latin-1 text", file=path, hint="export it again as UTF-8"
        )
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"

"""Look at a stranger's file: types, keys, candidates for outcome, dates and protected attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.source import CsvOptions
from countermark.contracts.coercion import to_number
from countermark.contracts.instants import utc_columns
from countermark.contracts.tables import read_table
from countermark.contracts.zones import clock_zones
from countermark.errors import SourceError
from countermark.portfolio.dialect import Dialect, read_stranger
from countermark.portfolio.names import (
    entity_rank,
    named_outcomes,
    observation_rank,
    plain_name,
    protected_attribute,
    says_identifier,
    says_personal,
    says_row_key,
    unique_names,
)
from countermark.portfolio.reading import ColumnType, Reading, plain_type, read_column

__all__ = [
    "MOST_LEVELS", "ColumnProfile", "FileProfile", "guess_outcome", "outcome_values", "plain_name", "profile_file",
    "protected_attribute", "protected_bands", "unique_names",
]  # fmt: skip

MOST_LEVELS = 50
_AGE_BANDS = (0.0, 25.0, 35.0, 45.0, 55.0, 65.0)
_OLDEST = 125.0
_PAIRS = (("1", "0"), ("yes", "no"), ("true", "false"), ("bad", "good"), ("y", "n"), ("t", "f"), ("1", "-1"))


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one column looks like.

    Attributes:
        name: Name in the file.
        type: Type that every value fits as it stands.
        missing: Rows without a value.
        distinct: Different values, as they are read.
        levels: Sorted values of a short text column.
        minimum: Smallest number, or None.
        maximum: Largest number, or None.
        reading: How the contract has to read it: codes as text, periods as dates, numbers without their signs.
    """

    name: str
    type: ColumnType
    missing: int
    distinct: int
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    reading: Reading = field(default_factory=lambda: Reading("text"))


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What a file looks like.

    Attributes:
        null_values: Words that stand for a missing value and occur in the file.
        dialect: How a delimited file is written, and what of it is a guess.
        entity: Column that names a customer who has several rows, or None.
        protected: Protected attribute by column name.
        identifiers: Further columns that name a person, a contract or a place: no inputs.
        table: Values as the build will read them.
        zones: Time zone (None: none written) of native timestamp columns.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
    format: Literal["csv", "parquet"]
    dialect: Dialect
    row_key: str | None
    entity: str | None
    time: str | None
    protected: Mapping[str, str]
    identifiers: tuple[str, ...]
    table: pa.Table
    zones: Mapping[str, str | None]

    @property
    def csv(self) -> CsvOptions:
        """Options of a delimited file."""
        return self.dialect.options

    @property
    def null_values(self) -> tuple[str, ...]:
        """Words that stand for a missing value and occur in the file."""
        return self.csv.null_values if self.format == "csv" else ()

    def column(self, name: str) -> ColumnProfile:
        """The profile of a column."""
        return next(column for column in self.columns if column.name == name)


def profile_file(path: Path) -> FileProfile:
    """Read a CSV or Parquet file and say what its columns look like.

    Raises:
        SourceError: Unreadable, neither CSV nor Parquet, without rows, or columns that no contract can read.
    """
    if not path.is_file():
        raise SourceError("no such file", file=path, hint="give the path of a .csv, .csv.gz or .parquet file")
    lowered = path.name.lower()
    form: Literal["csv", "parquet"] = "csv"
    zones: Mapping[str, str | None] = {}
    if lowered.endswith((".parquet", ".pq")):
        raw, form = _parquet(path), "parquet"
        table, zones = utc_columns(raw, "UTC"), clock_zones(raw)
        dialect = Dialect(CsvOptions(), {}, ())
    elif lowered.endswith((".csv", ".csv.gz", ".txt", ".tsv")):
        try:
            data = path.read_bytes()
        except PermissionError:
            raise SourceError("no permission to read this file", file=path, hint="check its mode and owner") from None
        table, dialect = read_stranger(data, path)
    else:
        raise SourceError(
            "unknown file type",
            expected="a name that ends in .csv, .csv.gz or .parquet",
            got=path.suffix,
            hint="save a spreadsheet as CSV",
            file=path,
        )
    read = {name: _column(name, table.column(name), dialect.options.decimal) for name in table.column_names}
    profile = _profile(form, dialect, tuple(c for c, _ in read.values()), {n: v for n, (_, v) in read.items()})
    return replace(profile, zones=zones)


def _profile(
    form: Literal["csv", "parquet"],
    dialect: Dialect,
    columns: tuple[ColumnProfile, ...],
    values: dict[str, pa.ChunkedArray],
) -> FileProfile:
    table = pa.table(values)
    protected = {
        c.name: found
        for c in columns
        if (found := protected_attribute(c.name)) is not None and c.missing < table.num_rows
    }
    row_key = _row_key(columns, table.num_rows)
    entity = _entity(columns, table.num_rows)
    return FileProfile(
        rows=table.num_rows,
        columns=columns,
        format=form,
        dialect=dialect,
        row_key=row_key,
        entity=entity,
        time=_time(columns, protected),
        protected=protected,
        identifiers=tuple(
            c.name for c in columns if c.name not in (row_key, entity, *protected) and _identifies(c, table.num_rows)
        ),
        table=table,
        zones={},
    )


def _parquet(path: Path) -> pa.Table:
    table = read_table(path)
    if table.num_rows == 0:
        raise SourceError("the file has no rows", expected="at least one row", got="0 rows", file=path)
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            "column names occur more than once",
            expected="a unique name for each column",
            got=", ".join(f"'{name}'" for name in twice),
            file=path,
        )
    return pa.table({name: _plain_values(name, table.column(name)) for name in names})


def guess_outcome(profile: FileProfile, kind: str = "pd") -> str | None:
    """The column that is most likely the outcome: a word known for the kind with two values or more, else None."""
    named = named_outcomes([column.name for column in profile.columns], kind)
    return next((name for name in named if profile.column(name).distinct >= 2), None)


def outcome_values(profile: FileProfile, name: str) -> tuple[Any, Any] | None:
    """(positive, negative) values of a two-valued outcome: 1/0 or the rarer one as positive; None if not two."""
    counts = value_counts(profile, name)
    if len(counts) != 2:
        return None
    values = sorted(counts, key=lambda value: (counts[value], str(value)))
    lowered = [str(value).strip().lower() for value in values]
    for positive, negative in _PAIRS:
        if sorted(lowered) == sorted((positive, negative)):
            order = lowered.index(positive)
            return values[order], values[1 - order]
    return values[0], values[1]


def value_counts(profile: FileProfile, name: str) -> dict[Any, int]:
    """Rows by value of a column, missing ones left out; a whole number is an int."""
    counted = pc.value_counts(profile.table.column(name).drop_null()).to_pylist()
    return {_whole(item["values"]): item["counts"] for item in counted}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
    kind = values.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        raise SourceError(
            f"column '{name}' holds no plain values",
            expected="numbers, text, booleans or dates",
            got=str(kind),
            hint="leave the column out of the file, or spread it over plain columns",
        )
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_finite(values), values, None)
    return values


def _column(name: str, values: pa.ChunkedArray, decimal: str) -> tuple[ColumnProfile, pa.ChunkedArray]:
    reading, typed = read_column(name, values, decimal)
    present = typed.drop_null()
    unique = pc.unique(present)
    low: float | None = None
    high: float | None = None
    if reading.is_number and len(present):
        bounds = pc.min_max(present).as_py()
        low, high = float(bounds["min"]), float(bounds["max"])
    levels: tuple[str, ...] = ()
    if reading.type in ("text", "boolean") and len(unique) <= MOST_LEVELS:
        levels = tuple(sorted(str(v) for v in unique.to_pylist()))
    plain = plain_type(values.drop_null(), reading.decimal or decimal)
    return ColumnProfile(name, plain, typed.null_count, len(unique), levels, low, high, reading), typed


def _row_key(columns: tuple[ColumnProfile, ...], rows: int) -> str | None:
    whole = [c for c in columns if c.distinct == rows and c.missing == 0 and c.reading.type in ("integer", "text")]
    named = [c.name for c in whole if says_row_key(c.name)]
    if named:
        return named[0]
    first = columns[0] if columns and columns[0] in whole else None
    if first is None or (first.reading.type == "integer" and not _counts_on(first, rows)):
        return None  # different amounts are different without being a key; a key of numbers counts on
    return first.name


def _entity(columns: tuple[ColumnProfile, ...], rows: int) -> str | None:
    """A column named like a customer or an id that repeats, and takes too many values to be a category."""
    ranked = [
        (rank, place, column.name)
        for place, column in enumerate(columns)
        if (rank := entity_rank(column.name)) is not None
        and MOST_LEVELS < column.distinct < rows
        and column.distinct > rows // 50
        and column.missing == 0
        and column.reading.type in ("integer", "text")
    ]
    return min(ranked)[2] if ranked else None


def _time(columns: tuple[ColumnProfile, ...], protected: Mapping[str, str]) -> str | None:
    """The whole date column whose name fits the date of observation best, never one that is known only later."""
    ranked = [
        (observation_rank(c.name), place, c.name)
        for place, c in enumerate(columns)
        if c.reading.type == "date" and c.missing == 0 and c.name not in protected
    ]
    return min(ranked)[2] if ranked and min(ranked)[0] < 2 else None


def _counts_on(column: ColumnProfile, rows: int) -> bool:
    """Whole numbers, one a row, without a gap."""
    low, high = column.minimum, column.maximum
    if column.reading.type != "integer" or low is None or high is None:
        return False
    return column.distinct == rows and column.missing == 0 and high - low == rows - 1


def _identifies(column: ColumnProfile, rows: int) -> bool:
    """Names a person, counts the rows, or is a code with too many values for a category."""
    many = column.distinct > MOST_LEVELS
    coded = column.reading.code or (column.reading.type == "text" and says_identifier(column.name))
    return says_personal(column.name) or (coded and many) or (many and _counts_on(column, rows))

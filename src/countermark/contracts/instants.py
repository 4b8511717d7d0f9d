"""Dates and instants: local in the source, UTC in the house."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from countermark.errors import SourceError

UTC = pa.timestamp("us", tz="UTC")


def zone_of(name: str) -> ZoneInfo:
    """The declared time zone.

    Raises:
        SourceError: If there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SourceError(
            f"'{name}' is no time zone",
            expected="an IANA name such as 'Europe/Paris' or 'UTC'",
            got=name,
            hint="correct 'time_zone' of the source",
        ) from error


def to_utc(naive: pd.Series[pd.Timestamp], zone: ZoneInfo) -> pd.Series[pd.Timestamp]:
    """Interpret clock times of a zone and give UTC instants.

    An hour that the clock shows twice means its first pass; an hour it skips moves to the next valid time.
    """
    first = np.ones(len(naive), dtype=bool)
    local = naive.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return local.dt.tz_convert("UTC")


def local_dates(column: pa.ChunkedArray, zone: ZoneInfo) -> pa.ChunkedArray:
    """Calendar dates (date32) of a date or UTC instant column in the source's zone."""
    if pa.types.is_date32(column.type):
        return column
    series = pd.Series(column.cast(UTC).to_pandas())
    days = series.dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    return pa.chunked_array([pa.Array.from_pandas(days, type=pa.timestamp("us")).cast(pa.date32())])


def utc_columns(table: pa.Table, zone_name: str) -> pa.Table:
    """Turn every timestamp column of a native table into UTC; clock times are read in ``zone_name``.

    Whether columns of several zones may stand beside one another is for the contracts to say (``zones``).
    """
    zone = zone_of(zone_name)
    for index, name in enumerate(table.column_names):
        kind = table.schema.field(name).type
        if pa.types.is_date64(kind):
            table = table.set_column(index, name, table.column(name).cast(pa.date32()))
        if not pa.types.is_timestamp(kind):
            continue
        column = table.column(name)
        if kind.tz is None:
            series = to_utc(pd.Series(column.cast(pa.timestamp("us"), safe=False).to_pandas()), zone)
            column = pa.chunked_array([pa.Array.from_pandas(series, type=UTC)])
        table = table.set_column(index, name, column.cast(UTC, safe=False))
    return table

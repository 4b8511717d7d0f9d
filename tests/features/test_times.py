"""Times read without a table library are the times that the table library reads."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.contracts.instants import to_utc, zone_of
from countermark.errors import FeatureStoreError
from countermark.features.times import day_start, instant, local_day, microseconds, read_time

ZONES = st.sampled_from(
    ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]
)
PARIS = ZoneInfo("Europe/Paris")


@given(naive=st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2030, 1, 1)), zone=ZONES, jump=st.booleans())
def test_clock_times_are_read_as_pandas_reads_them(naive: dt.datetime, zone: str, jump: bool) -> None:
    if jump:  # near the hours at which clocks change
        naive = naive.replace(month=3 + 7 * (naive.day % 2), day=25 + naive.day % 6, hour=naive.hour % 4)
    expected = to_utc(pd.Series([naive]).dt.as_unit("us"), zone_of(zone)).iloc[0]
    assert instant(read_time(naive, ZoneInfo(zone), by_day=False)) == expected.to_pydatetime()


@given(day=st.dates(dt.date(2000, 1, 1), dt.date(2030, 1, 1)), zone=ZONES)
def test_days_begin_when_pandas_says(day: dt.date, zone: str) -> None:
    expected = to_utc(pd.Series([pd.Timestamp(day)]).dt.as_unit("us"), zone_of(zone)).iloc[0]
    assert instant(day_start(day, ZoneInfo(zone))) == expected.to_pydatetime()
    assert local_day(day_start(day, ZoneInfo(zone)), ZoneInfo(zone)) == read_time(day, ZoneInfo(zone), by_day=True)


def test_the_hour_that_the_clock_skips_and_the_one_it_shows_twice() -> None:
    skipped = read_time("2020-03-29T02:30:00", PARIS, by_day=False)
    assert instant(skipped) == dt.datetime(2020, 3, 29, 1, 0, tzinfo=dt.UTC)
    twice = read_time("2020-10-25T02:30:00", PARIS, by_day=False)
    assert instant(twice) == dt.datetime(2020, 10, 25, 0, 30, tzinfo=dt.UTC)


def test_zoned_text_and_dates() -> None:
    assert read_time("2020-01-01T00:30:00+01:00", PARIS, by_day=True) == read_time("2020-01-01", PARIS, by_day=True)
    assert instant(read_time("2020-01-01", PARIS, by_day=False)) == dt.datetime(2019, 12, 31, 23, tzinfo=dt.UTC)
    for bad in ("2020-13-01", "yesterday", "2020-01-01T25:00"):
        with pytest.raises(ValueError, match=r"(?i)iso|must be|month|hour"):
            read_time(bad, PARIS, by_day=False)
    with pytest.raises(FeatureStoreError, match="an instant needs a time zone"):
        microseconds(dt.datetime(2020, 1, 1))


SCRIPT = """
import sys
import countermark.features.vector, countermark.features.intake, countermark.features.sqlite_store
import countermark.features.redis_store, countermark.features.online
print(" ".join(m for m in ("duckdb", "pandas", "pyarrow", "polars", "sklearn", "hydra", "matplotlib") if m in sys.modules))
"""


def test_the_online_side_needs_no_table_library() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

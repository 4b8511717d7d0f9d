"""Timestamps of several zones: refused where a model declares them, let be where it does not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from countermark.contracts.checks import check
from countermark.contracts.sources import Ingested, ingest
from countermark.contracts.zones import refuse_mixed_zones
from countermark.errors import ContractError, SourceError
from tests.contracts.sources_of import contract, source

NOON = [dt.datetime(2020, 7, 1, 12)]
DATE = {"type": "date"}


def read(folder: Path, zones: dict[str, str | None], **declared: Any) -> Ingested:
    """A Parquet file with one timestamp column per zone, as a source in Paris gives it."""
    columns = {name: pa.array(NOON, pa.timestamp("us", zone)) for name, zone in zones.items()}
    pq.write_table(pa.table(columns | {"n": pa.array([1])}), folder / "loans.parquet")
    return ingest(
        source(**{"kind": "parquet", "path": "loans.parquet", "time_zone": "Europe/Paris"} | declared), folder
    )


@pytest.mark.parametrize("other", ["Europe/Paris", None])
def test_mixed_zones_are_refused(tmp_path: Path, other: str | None) -> None:
    zones = read(tmp_path, {"a": "UTC", "b": other}).manifest["zones"]
    both = contract({"a": DATE, "b": DATE, "n": {"type": "integer"}})
    with pytest.raises(ContractError, match="several time zones") as caught:
        refuse_mixed_zones([both], zones, file="c.yaml")
    assert caught.value.got == f"'a' in UTC, 'b' in {other or 'no zone'}"
    assert caught.value.place == "c.yaml"


def test_a_column_that_no_contract_declares_does_not_count(tmp_path: Path) -> None:
    ingested = read(tmp_path, {"a": "UTC", "b": None})
    one = contract({"a": DATE, "n": {"type": "integer"}}, extra_columns="drop")
    refuse_mixed_zones([one], ingested.manifest["zones"])
    assert check(ingested.tables["main"], one, source()).accepted.column("a").to_pylist() == [
        dt.datetime(2020, 7, 1, 12, tzinfo=dt.UTC)
    ]


def test_a_dropped_column_does_not_count(tmp_path: Path) -> None:
    assert "zones" not in read(tmp_path, {"a": "UTC", "b": None}, drop_columns=["b"]).manifest


def test_one_zone_is_not_told(tmp_path: Path) -> None:
    assert "zones" not in read(tmp_path, {"a": None, "b": None}).manifest


def test_each_column_is_read_in_its_own_zone(tmp_path: Path) -> None:
    main = read(tmp_path, {"a": "UTC", "b": None, "c": "Asia/Taipei"}).tables["main"]
    noon = dt.datetime(2020, 7, 1, 12, tzinfo=dt.UTC)
    assert main.column("a").to_pylist() == main.column("c").to_pylist() == [noon]
    assert main.column("b").to_pylist() == [noon - dt.timedelta(hours=2)]


def _unpivot(*wide: str) -> dict[str, Any]:
    periods = [f"2020-0{index}-01" for index in range(1, len(wide) + 1)]
    return {"table": "seen", "key": "n", "period_column": "month", "periods": periods, "columns": {"at": list(wide)}}


def test_an_unpivoted_column_keeps_the_zone_of_its_columns(tmp_path: Path) -> None:
    declared = {"unpivot": [_unpivot("b", "c")], "drop_columns": ["b", "c"], "rename": {"old": "a"}}
    zones = read(tmp_path, {"old": "UTC", "b": None, "c": None}, **declared).manifest["zones"]
    assert zones == {"main": {"a": "UTC"}, "seen": {"at": None}}
    seen = contract({"n": {"type": "integer"}, "month": DATE, "at": DATE}, table="seen")
    refuse_mixed_zones([seen], zones)
    with pytest.raises(ContractError, match="several time zones") as caught:
        refuse_mixed_zones([contract({"a": DATE}), seen], zones)
    assert caught.value.got == "'a' in UTC, 'seen.at' in no zone"


def test_an_unpivoted_column_of_several_zones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="joins timestamps of several time zones in 'at'"):
        read(tmp_path, {"b": None, "c": "UTC"}, unpivot=[_unpivot("b", "c")])

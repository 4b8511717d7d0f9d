"""Estimated vintage, unpivot and control totals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.source import EstimatedVintage
from countermark.contracts.reshape import estimated_months, shaped
from countermark.errors import SourceError
from tests.contracts.sources_of import source


def plan(*blocks: tuple[int, int, str, str]) -> EstimatedVintage:
    names = ("first_row", "last_row", "first_month", "last_month")
    listed = [dict(zip(names, block, strict=True)) for block in blocks]
    return EstimatedVintage.model_validate({"note": "test", "blocks": listed})


def test_months_run_backwards_and_forwards() -> None:
    months = estimated_months(plan((0, 3, "2011-02", "2010-11"), (4, 7, "2012-01", "2012-02")), 8).to_pylist()
    assert [m.isoformat()[:7] for m in months] == [
        "2011-02", "2011-01", "2010-12", "2010-11", "2012-01", "2012-01", "2012-02", "2012-02",
    ]  # fmt: skip
    assert {m.day for m in months} == {1}


@given(rows=st.integers(1, 500), first=st.integers(0, 60), last=st.integers(0, 60))
def test_months_are_even_in_order_and_inside(rows: int, first: int, last: int) -> None:
    text = [f"{2007 + m // 12}-{m % 12 + 1:02d}" for m in (first, last)]
    months = [
        m.year * 12 + m.month - 1 - 2007 * 12 for m in estimated_months(plan((0, rows - 1, *text)), rows).to_pylist()
    ]
    assert months[0] == first
    assert months == sorted(months, reverse=last < first)
    assert min(first, last) <= min(months) <= max(months) <= max(first, last)
    sizes = [months.count(m) for m in range(min(first, last), max(first, last) + 1)]
    assert max(sizes) - min(sizes) <= 1


BAD_BLOCKS: dict[str, tuple[tuple[int, int, str, str], ...]] = {
    "a gap between blocks": ((0, 3, "2011-01", "2011-02"), (5, 9, "2012-01", "2012-02")),
    "an overlap of blocks": ((0, 5, "2011-01", "2011-02"), (5, 9, "2012-01", "2012-02")),
    "rows at the end in no block": ((0, 8, "2011-01", "2011-02"),),
    "a block beyond the file": ((0, 10, "2011-01", "2011-02"),),
    "a block that ends before it starts": ((5, 4, "2011-01", "2011-02"), (0, 9, "2011-01", "2011-02")),
    "a thirteenth month": ((0, 9, "2011-13", "2011-02"),),
}


@pytest.mark.parametrize("sentence", BAD_BLOCKS)
def test_bad_blocks_are_refused(sentence: str) -> None:
    with pytest.raises(SourceError):
        estimated_months(plan(*BAD_BLOCKS[sentence]), 10)


WIDE = pa.table({"id": ["b", "a"], "m1": ["1", "3"], "m2": ["2", "4"], "z": [1, 2]})
UNPIVOT: dict[str, Any] = {
    "table": "months", "key": "id", "period_column": "month",
    "periods": ["2020-01-31", "2020-02-29"], "columns": {"v": ["m1", "m2"]},
}  # fmt: skip


def test_unpivot_gives_a_row_per_key_and_period_in_order() -> None:
    tables = shaped(WIDE, source(row_key="id", unpivot=[UNPIVOT], drop_columns=["m1", "m2"]))
    assert tables["main"].column_names == ["id", "z"]
    assert [tuple(row.values()) for row in tables["months"].to_pylist()] == [
        ("b", dt.date(2020, 1, 31), "1"),
        ("b", dt.date(2020, 2, 29), "2"),
        ("a", dt.date(2020, 1, 31), "3"),
        ("a", dt.date(2020, 2, 29), "4"),
    ]


BAD_UNPIVOTS: dict[str, tuple[dict[str, Any], str]] = {
    "a column too few": ({"columns": {"v": ["m1"]}}, "another number of columns than periods"),
    "a column that is not there": ({"columns": {"v": ["m1", "m9"]}}, "names columns that the table"),
    "a key that is not there": ({"key": "ID"}, "names columns that the table"),
    "a period that is no date": ({"periods": ["2020-01-31", "2020-02-30"]}, "a period that is no date"),
    "the name of the main table": ({"table": "main"}, "two tables of the source are called 'main'"),
    "columns of two types": ({"columns": {"v": ["m1", "z"]}}, "joins columns of several types"),
}


@pytest.mark.parametrize("sentence", BAD_UNPIVOTS)
def test_bad_unpivots_are_refused(sentence: str) -> None:
    changed, message = BAD_UNPIVOTS[sentence]
    with pytest.raises(SourceError, match=message):
        shaped(WIDE, source(row_key="id", unpivot=[UNPIVOT | changed]))


def test_a_file_may_not_bring_reserved_columns() -> None:
    with pytest.raises(SourceError, match="already has a column '_row'"):
        shaped(pa.table({"_row": [1]}), source())

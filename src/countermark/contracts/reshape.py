"""What a source declares to be done to its table before anyone judges it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.source import CsvOptions, EstimatedVintage, Source, Unpivot
from countermark.contracts.coercion import to_number
from countermark.errors import SourceError

ROW = "_row"
MAIN = "main"


def shaped(table: pa.Table, source: Source) -> dict[str, pa.Table]:
    """Rename, add the estimated vintage and the row number, unpivot, drop: in this order.

    Args:
        table: The table as it was read.
        source: The declared source.

    Returns:
        ``main`` and one table per ``unpivot``.

    Raises:
        SourceError: If a declaration does not fit the table.
    """
    table = _renamed(table, source.rename)
    if source.row_key is None:
        table = _added(table, ROW, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    else:
        _require(table, (source.row_key,), "row_key")
    if source.estimated_vintage is not None:
        vintage = source.estimated_vintage
        table = _added(table, vintage.column, estimated_months(vintage, table.num_rows))
    tables = {MAIN: table}
    for plan in source.unpivot:
        if plan.table in tables:
            raise SourceError(f"two tables of the source are called '{plan.table}'", hint="rename one 'unpivot'")
        tables[plan.table] = unpivoted(table, plan)
    _require(table, source.drop_columns, "drop_columns")
    tables[MAIN] = table.drop_columns(list(source.drop_columns)) if source.drop_columns else table
    return tables


def _require(table: pa.Table, names: tuple[str, ...], where: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise SourceError(
            f"'{where}' of the source names columns that the table does not have",
            expected="one of: " + ", ".join(table.column_names[:40]),
            got=", ".join(f"'{name}'" for name in missing),
            hint="names are compared exactly, after 'rename'",
        )


def _added(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    if name in table.column_names:
        raise SourceError(f"the table already has a column '{name}'", hint="rename it under 'rename' of the source")
    return table.append_column(name, column)


def _renamed(table: pa.Table, rename: Mapping[str, str]) -> pa.Table:
    _require(table, tuple(rename), "rename")
    names = [rename.get(name, name) for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            "'rename' of the source gives two columns one name",
            got=", ".join(f"'{name}'" for name in twice),
            hint="choose another new name",
        )
    return table.rename_columns(names)


def estimated_months(plan: EstimatedVintage, rows: int) -> pa.Array:
    """First day of the estimated month of each row (date32).

    A block of n rows over m months gives row i (from 0) the month floor(i * m / n) steps from ``first_month``
    towards ``last_month``: rows are spread evenly, in whole numbers only.

    Raises:
        SourceError: If the blocks do not cover every row exactly once.
    """
    months = np.full(rows, -1, dtype=np.int64)
    covered = np.zeros(rows, dtype=np.int64)
    for block in plan.blocks:
        if block.last_row < block.first_row or block.last_row >= rows:
            raise SourceError(
                f"a block of estimated vintage '{plan.column}' does not fit the file",
                expected=f"first_row <= last_row < {rows}",
                got=f"rows {block.first_row} to {block.last_row}",
                hint="rows count from 0 and 'last_row' is included",
            )
        first, last = _month_number(block.first_month), _month_number(block.last_month)
        step, count = (1 if last >= first else -1), abs(last - first) + 1
        size = block.last_row - block.first_row + 1
        position = np.arange(size, dtype=np.int64)
        months[block.first_row : block.last_row + 1] = first + step * (position * count // size)
        covered[block.first_row : block.last_row + 1] += 1
    wrong = np.flatnonzero(covered != 1)
    if wrong.size:
        raise SourceError(
            f"the blocks of estimated vintage '{plan.column}' do not cover every row once",
            expected=f"rows 0 to {rows - 1}, each in one block",
            got=f"{wrong.size} rows in none or several, the first is row {wrong[0]}",
        )
    return pa.array((months - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]"), type=pa.date32())


def _month_number(text: str) -> int:
    year, month = int(text[:4]), int(text[5:7])
    if not 1 <= month <= 12:
        raise SourceError(f"'{text}' is no month", expected="YYYY-MM with a month from 01 to 12", got=text)
    return year * 12 + month - 1


def unpivoted(table: pa.Table, plan: Unpivot) -> pa.Table:
    """One row per key and period, keys in file order and periods in the declared order.

    Raises:
        SourceError: If columns are missing or counts differ from the number of periods.
    """
    _require(table, (plan.key,), f"unpivot {plan.table}: key")
    periods = len(plan.periods)
    for name, wide in plan.columns.items():
        _require(table, wide, f"unpivot {plan.table}: {name}")
        if len(wide) != periods:
            raise SourceError(
                f"unpivot '{plan.table}' has another number of columns than periods for '{name}'",
                expected=f"{periods} columns",
                got=f"{len(wide)}",
            )
    try:
        dates = pd.to_datetime(list(plan.periods), format="%Y-%m-%d").to_numpy().astype("datetime64[D]")
    except ValueError as error:
        raise SourceError(
            f"unpivot '{plan.table}' has a period that is no date", expected="YYYY-MM-DD", got=", ".join(plan.periods)
        ) from error
    rows = table.num_rows
    out: dict[str, Any] = {plan.key: table.column(plan.key).take(pa.array(np.repeat(np.arange(rows), periods)))}
    out[plan.period_column] = pa.array(np.tile(dates, rows), type=pa.date32())
    interleave = pa.array((np.arange(periods)[None, :] * rows + np.arange(rows)[:, None]).ravel())
    for name, wide in plan.columns.items():
        kinds = {str(table.schema.field(column).type) for column in wide}
        if len(kinds) > 1:
            raise SourceError(
                f"unpivot '{plan.table}' joins columns of several types in '{name}'", got=str(sorted(kinds))
            )
        stacked = pa.chunked_array([chunk for column in wide for chunk in table.column(column).chunks])
        out[name] = stacked.take(interleave)
    return pa.table(out)


def control_totals(table: pa.Table, declared: Mapping[str, float], options: CsvOptions | None) -> list[dict[str, Any]]:
    """Computed value beside each declared control total: ``rows``, or the sum of a column.

    The sum is exact (``math.fsum``) over values that are numbers; others are counted as unreadable.

    Raises:
        SourceError: If a total names a column that the table does not have.
    """
    totals: list[dict[str, Any]] = []
    for name, expected in declared.items():
        unreadable = 0
        if name == "rows":
            computed = float(table.num_rows)
        else:
            _require(table, (name,), "reconcile")
            numbers, failed = to_number(table.column(name), "." if options is None else options.decimal)
            unreadable = int(failed.sum())
            computed = math.fsum(pc.drop_null(numbers).to_pylist())
        relative = abs(computed - expected) / abs(expected) if expected else (0.0 if computed == 0.0 else None)
        totals.append(
            {"name": name, "expected": expected, "computed": computed, "difference": relative, "unreadable": unreadable}
        )
    return totals

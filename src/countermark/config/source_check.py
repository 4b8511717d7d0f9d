"""Can the source be read as declared, as far as its declaration alone can tell?"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from countermark.config.base import is_date
from countermark.config.problems import Problem, nearest
from countermark.config.source import CsvSource, EstimatedVintage, ParquetSource, Source, Unpivot, WheelSource

MAIN = "main"


def source_problems(source: Source) -> Iterator[Problem]:
    """A time zone that does not exist, clashing marks, names given twice, blocks and periods that do not fit.

    Args:
        source: The source; paths are relative to it.
    """
    path = _path_problem(source)
    if path is not None:
        yield path
    zone = _zone_problem(source)
    if zone is not None:
        yield zone
    if isinstance(source, WheelSource | CsvSource):
        marks = {"delimiter": source.csv.delimiter, "quote": source.csv.quote, "decimal": source.csv.decimal}
        if len(set(marks.values())) < len(marks):
            yield Problem(
                ("csv",),
                f"two marks of source '{source.name}' are the same",
                expected="'delimiter', 'quote' and 'decimal' that differ",
                got=", ".join(f"{key} '{mark}'" for key, mark in marks.items()),
            )
    targets = list(source.rename.values())
    for old, new in source.rename.items():
        if targets.count(new) > 1:
            yield Problem(
                ("rename", old),
                f"'rename' of source '{source.name}' gives two columns one name",
                expected="a new name of its own for each column",
                got=f"'{new}'",
            )
            break
    if source.estimated_vintage is not None:
        yield from _vintage_problems(source.estimated_vintage)
    tables = [MAIN]
    for index, plan in enumerate(source.unpivot):
        if plan.table in tables:
            yield Problem(
                ("unpivot", str(index), "table"),
                f"two tables of source '{source.name}' are called '{plan.table}'",
                expected="a table name of its own; 'main' is taken",
                got=f"'{plan.table}'",
            )
        tables.append(plan.table)
        yield from _unpivot_problems(plan, index)


def _path_problem(source: Source) -> Problem | None:
    """A path is taken as it is written: no shell reads it."""
    if not isinstance(source, CsvSource | ParquetSource):
        return None
    path, hint = source.path, "give one file; many are joined where the data is made"
    if path.startswith("~"):
        hint = "write an absolute path with its 'sha256', or move the file into the bank"
    elif "\\" in path:
        hint = f"write '{path.replace(chr(92), '/')}'"
    elif path.strip() and not any(mark in path for mark in "*?["):
        return None
    return Problem(
        ("path",),
        f"'path' of source '{source.name}' names no file",
        expected="a path of one file, with '/' between folders, relative to the bank",
        got=f"'{path}'",
        hint=hint,
    )


def _zone_problem(source: Source) -> Problem | None:
    name = source.time_zone
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = sorted(zoneinfo.available_timezones())
        return Problem(
            ("time_zone",),
            f"'{name}' is no time zone",
            expected="an IANA name such as 'Europe/Paris' or 'UTC'",
            got=f"'{name}'",
            hint=nearest(name, known) or "correct 'time_zone' of the source",
        )
    return None


def _vintage_problems(vintage: EstimatedVintage) -> Iterator[Problem]:
    covered = -1
    for index, block in enumerate(sorted(vintage.blocks, key=lambda b: b.first_row)):
        path = ("estimated_vintage", "blocks", str(vintage.blocks.index(block)))
        for key, month in (("first_month", block.first_month), ("last_month", block.last_month)):
            if not 1 <= int(month[5:7]) <= 12:
                yield Problem(
                    (*path, key),
                    f"'{month}' is no month",
                    expected="YYYY-MM with a month from 01 to 12",
                    got=f"'{month}'",
                )
        if block.last_row < block.first_row or block.first_row != covered + 1:
            start = "row 0" if index == 0 else f"row {covered + 1}, after the block before"
            yield Problem(
                path,
                f"the blocks of estimated vintage '{vintage.column}' do not cover every row once",
                expected=f"a block from {start}, and 'last_row' not before 'first_row'",
                got=f"rows {block.first_row} to {block.last_row}",
                hint="rows count from 0 and 'last_row' is included",
            )
            return
        covered = block.last_row


def _unpivot_problems(plan: Unpivot, index: int) -> Iterator[Problem]:
    path = ("unpivot", str(index))
    if plan.period_column == plan.key or plan.period_column in plan.columns or plan.key in plan.columns:
        yield Problem(
            path,
            f"unpivot '{plan.table}' gives two columns one name",
            expected="different names of 'key', 'period_column' and 'columns'",
            got=", ".join(f"'{name}'" for name in (plan.key, plan.period_column, *plan.columns)),
        )
    wrong = [period for period in plan.periods if not is_date(period)]
    if wrong or len(set(plan.periods)) < len(plan.periods):
        yield Problem(
            (*path, "periods"),
            f"unpivot '{plan.table}' has a period that is no date, or one twice",
            expected="different days, written YYYY-MM-DD",
            got=", ".join(f"'{period}'" for period in wrong or plan.periods),
        )
    for name, wide in plan.columns.items():
        if len(wide) != len(plan.periods):
            yield Problem(
                (*path, "columns", name),
                f"unpivot '{plan.table}' has another number of columns than periods for '{name}'",
                expected=f"{len(plan.periods)} columns",
                got=str(len(wide)),
            )

"""A query frozen once to a hashed snapshot; builds read the snapshot and never the database."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.source import SqlSource
from countermark.contracts.tables import write_table
from countermark.errors import SourceError
from countermark.records.digest import digest_of, file_digest, pretty_json


@dataclass(frozen=True, slots=True)
class Frozen:
    """A snapshot that was written: its file, SHA-256 and number of rows."""

    path: Path
    sha256: str
    rows: int


def freeze(source: SqlSource, root: Path) -> Frozen:
    """Run the query and write the snapshot, rows in the declared order.

    The address of the database comes from the named environment variable and is never printed.

    Args:
        source: The declared query.
        root: Folder that ``snapshot`` is relative to.

    Raises:
        SourceError: Missing variable, unreachable database, failing query, no rows, duplicate column
            names, unknown or tied order columns, mixed types in a column.
    """
    names, rows = _run(source)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            f"the query of source '{source.name}' returns column names more than once",
            got=", ".join(f"'{name}'" for name in twice),
            hint="give each column its own alias",
        )
    if not rows:
        raise SourceError(f"the query of source '{source.name}' returns no rows", expected="at least one row", got="0")
    columns = {name: _column(source, name, [row[i] for row in rows]) for i, name in enumerate(names)}
    table = _ordered(source, pa.table(columns))
    path = root / source.snapshot
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, table)
        record_of(path).write_bytes(pretty_json({"query": query_digest(source)}))
    except OSError as error:
        raise SourceError("the snapshot cannot be written", got=error.strerror, file=path) from error
    return Frozen(path=path, sha256=file_digest(path), rows=table.num_rows)


def query_digest(source: SqlSource) -> str:
    """SHA-256 of what decides a snapshot's rows and their order: the query and 'order_by'."""
    return digest_of({"query": source.query, "order_by": list(source.order_by)})


def record_of(snapshot: Path) -> Path:
    """The file beside a snapshot that says which query it was frozen from."""
    return snapshot.with_name(snapshot.name + ".query.json")


def check_query(source: SqlSource, root: Path) -> None:
    """Refuse a snapshot that was frozen from another query than the declared one.

    Raises:
        SourceError: If the record is missing or names another query.
    """
    record = record_of(root / source.snapshot)
    hint = f"run 'countermark freeze {source.name}'"
    try:
        found = json.loads(record.read_text(encoding="utf-8"))["query"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"nobody knows which query the snapshot of source '{source.name}' was frozen from",
            expected=f"'{record.name}' beside the snapshot",
            hint=hint,
            file=record,
        ) from error
    if found != query_digest(source):
        raise SourceError(
            f"the snapshot of source '{source.name}' was frozen from another query",
            expected="the snapshot of the declared 'query' and 'order_by'",
            got="a record of another query",
            hint=hint,
            file=root / source.snapshot,
        )


def _run(source: SqlSource) -> tuple[list[str], Sequence[Sequence[Any]]]:
    import sqlalchemy  # the one optional driver stack of this room; builds that read snapshots never need it

    url = os.environ.get(source.url_env)
    if not url:
        raise SourceError(
            f"the environment variable '{source.url_env}' is not set",
            expected="a SQLAlchemy URL",
            hint=f"export {source.url_env}=... before freezing source '{source.name}'",
        )
    try:
        engine = sqlalchemy.create_engine(url, hide_parameters=True)
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        raise SourceError(
            f"the URL in '{source.url_env}' is not usable",
            expected="a SQLAlchemy URL of an installed driver",
            got=type(error).__name__,
            hint="install the driver, or correct the variable",
        ) from error
    try:
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(source.query))
            return list(result.keys()), result.fetchall()
    except sqlalchemy.exc.InterfaceError as error:
        raise _unreachable(source, error) from error
    except sqlalchemy.exc.OperationalError as error:
        if error.statement is None:
            raise _unreachable(source, error) from error
        raise _query_failed(source, error) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise _query_failed(source, error) from error
    finally:
        engine.dispose()


def _unreachable(source: SqlSource, error: Exception) -> SourceError:
    return SourceError(
        f"the database of source '{source.name}' cannot be reached",
        got=type(error).__name__,
        hint=f"check the address in '{source.url_env}' and that the database is up",
    )


def _query_failed(source: SqlSource, error: Exception) -> SourceError:
    return SourceError(
        f"the query of source '{source.name}' failed",
        got=str(getattr(error, "orig", type(error).__name__))[:300],
        hint="run the query by hand against the database",
    )


_KINDS: tuple[tuple[type, pa.DataType | None], ...] = (
    (bool, pa.bool_()),
    (int, pa.int64()),
    (float, pa.float64()),
    (decimal.Decimal, None),
    (str, pa.string()),
    (dt.datetime, None),
    (dt.date, pa.date32()),
)


def _column(source: SqlSource, name: str, values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values), pa.string())
    if kinds == {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    known = next(((kind, arrow) for kind, arrow in _KINDS if kinds == {kind}), None)
    if known is None:
        raise SourceError(
            f"column '{name}' of source '{source.name}' has values of a type that a snapshot cannot hold",
            expected="one of: boolean, integer, number, text, date, timestamp",
            got=", ".join(sorted(kind.__name__ for kind in kinds)),
            hint="cast the column in the query",
        )
    try:
        if known[0] is dt.datetime:
            return _instants(source, name, values)
        return pa.array(values, type=known[1])
    except (pa.ArrowInvalid, OverflowError) as error:
        raise SourceError(
            f"column '{name}' of source '{source.name}' has values out of range", hint="cast the column in the query"
        ) from error


def _instants(source: SqlSource, name: str, values: list[dt.datetime | None]) -> pa.Array:
    aware = {value.tzinfo is not None for value in values if value is not None}
    if len(aware) > 1:
        raise SourceError(
            f"column '{name}' of source '{source.name}' mixes times with and without a zone",
            hint="convert them to one zone in the query",
        )
    return pa.array(values, type=pa.timestamp("us", tz="UTC") if aware == {True} else pa.timestamp("us"))


def _ordered(source: SqlSource, table: pa.Table) -> pa.Table:
    missing = [name for name in source.order_by if name not in table.column_names]
    if missing:
        raise SourceError(
            f"'order_by' of source '{source.name}' names columns that the query does not return",
            expected="one of: " + ", ".join(table.column_names),
            got=", ".join(missing),
        )
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in source.order_by])
    table = table.take(order)
    codes = [pc.rank(table.column(name), tiebreaker="dense").to_numpy() for name in source.order_by]
    same = np.all([code[1:] == code[:-1] for code in codes], axis=0)
    if table.num_rows > 1 and same.any():
        raise SourceError(
            f"'order_by' of source '{source.name}' does not fix the row order",
            expected="no two rows with the same values of " + ", ".join(source.order_by),
            got=f"{int(same.sum())} ties",
            hint="add a unique column to 'order_by'",
        )
    return table

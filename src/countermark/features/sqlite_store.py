"""Online feature store in one SQLite file: reads without a lock, one writer at a time, publication by one pointer."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.events import entity_text, event_row
from countermark.features.reading import FeatureRow, Generation, folded, overtaken, unpublished
from countermark.features.state import added, caught_up, late_tiles, taken_of
from countermark.features.times import instant, microseconds
from countermark.records.private import make_private

_SCHEMA = """
CREATE TABLE IF NOT EXISTS publications (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    view TEXT NOT NULL,
    version TEXT NOT NULL,
    as_of INTEGER NOT NULL,
    current INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS one_published ON publications (version) WHERE current = 1;
CREATE TABLE IF NOT EXISTS entities (
    generation INTEGER NOT NULL,
    entity TEXT NOT NULL,
    taken INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (generation, entity)
) WITHOUT ROWID;
"""
_READ = """
SELECT s.state, g.number FROM publications g LEFT JOIN entities s ON s.generation = g.number AND s.entity = ?
WHERE g.version = ? AND g.current = 1
"""
_WRITE = "INSERT OR REPLACE INTO entities (generation, entity, taken, state) VALUES (?, ?, ?, ?)"
_BATCH = 5000
_WAIT_SECONDS = 20.0


class SqliteStore:
    """Feature states in one SQLite file.

    Write-ahead log, ``synchronous=NORMAL``: a power cut may lose the last events, which the event log still has; it
    never damages the file. Any number of processes and threads may use one file.

    Args:
        path: The file; it and its folder are made if they are not there.

    Raises:
        FeatureStoreError: If the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            make_private(Path(path))
            self._connection().executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(error) from error

    def read(self, plan: ViewPlan, entity: str | int | None, now: dt.datetime) -> FeatureRow:
        """See :class:`~countermark.features.online.OnlineStore`."""
        try:
            found = self._connection().execute(_READ, (entity_text(entity), plan.version)).fetchone()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        if found is None:
            raise unpublished(plan)
        return folded(plan, found[0], now)

    def ingest(self, plan: ViewPlan, event: Mapping[str, Any], known_at: dt.datetime) -> bool:
        """See :class:`~countermark.features.online.OnlineStore`."""
        row = event_row(plan, event, arrived=microseconds(known_at))
        if row is None:
            return False
        entity = entity_text(event[plan.entity])
        with self._transaction() as connection:
            found = connection.execute(_READ, (entity, plan.version)).fetchone()
            if found is None:
                raise unpublished(plan)
            state = added(found[0], plan, row)
            connection.execute(_WRITE, (found[1], entity, taken_of(state), state))
        return True

    def publish(self, plan: ViewPlan, states: Iterable[tuple[str, bytes]], as_of: dt.datetime) -> Generation:
        """See :class:`~countermark.features.online.OnlineStore`."""
        until, source = microseconds(as_of), iter(states)
        with self._transaction() as connection:
            number = _staged(connection, plan, until)
        while batch := list(islice(source, _BATCH)):
            with self._transaction() as connection:
                connection.executemany(_WRITE, [(number, entity, taken_of(state), state) for entity, state in batch])
        with self._transaction() as connection:
            _swap(connection, plan, number, until)
            (entities,) = connection.execute("SELECT count(*) FROM entities WHERE generation = ?", (number,)).fetchone()
        self._sweep(plan, number)
        return Generation(plan.name, plan.version, number, as_of, entities)

    def _sweep(self, plan: ViewPlan, number: int) -> None:
        """Remove what older publications left, in portions, so that no writer waits long."""
        old = "SELECT number FROM publications WHERE version = ? AND number < ?"
        portion = f"""
            DELETE FROM entities WHERE (generation, entity) IN (
                SELECT generation, entity FROM entities WHERE generation IN ({old}) LIMIT {_BATCH})
        """
        left = True
        while left:
            with self._transaction() as connection:
                left = connection.execute(portion, (plan.version, number)).rowcount > 0
        with self._transaction() as connection:
            connection.execute("DELETE FROM publications WHERE version = ? AND number < ?", (plan.version, number))

    def generations(self) -> tuple[Generation, ...]:
        """See :class:`~countermark.features.online.OnlineStore`."""
        rows = self._all("""
            SELECT view, version, number, as_of, (SELECT count(*) FROM entities WHERE generation = number)
            FROM publications WHERE current = 1 ORDER BY view, version
        """)
        return tuple(Generation(view, version, number, instant(at), n) for view, version, number, at, n in rows)

    def entities(self, plan: ViewPlan) -> tuple[str, ...]:
        """See :class:`~countermark.features.online.OnlineStore`."""
        current = "SELECT number FROM publications WHERE version = ? AND current = 1"
        if not self._all(current, plan.version):
            raise unpublished(plan)
        rows = self._all(f"SELECT entity FROM entities WHERE generation = ({current}) ORDER BY entity", plan.version)
        return tuple(entity for (entity,) in rows)

    def close(self) -> None:
        """Close every connection of this process."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def _all(self, query: str, *values: str) -> list[Any]:
        try:
            return self._connection().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.process != os.getpid():  # a forked child must not share its parent's
            connection = sqlite3.connect(self.path, _WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection, self._local.process = connection, os.getpid()
            with self._lock:
                self._open.append(connection)
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The only writer, until the block ends; nothing of it is kept if it fails."""
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError | sqlite3.Error) -> FeatureStoreError:
        return FeatureStoreError(
            "the feature store cannot be used",
            expected="a readable and writable SQLite file",
            got=error.strerror if isinstance(error, OSError) else str(error),
            hint="check the path, its owner and the space on its disk",
            file=self.path,
        )


def _staged(connection: sqlite3.Connection, plan: ViewPlan, as_of: int) -> int:
    cursor = connection.execute(
        "INSERT INTO publications (view, version, as_of) VALUES (?, ?, ?)", (plan.name, plan.version, as_of)
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _swap(connection: sqlite3.Connection, plan: ViewPlan, number: int, as_of: int) -> None:
    """Add what came alone to the staged states, and make them the ones that are read."""
    mine = connection.execute("SELECT 1 FROM publications WHERE number = ?", (number,)).fetchone()
    old = connection.execute(
        "SELECT number, as_of FROM publications WHERE version = ? AND current = 1", (plan.version,)
    ).fetchone()
    if mine is None or (old is not None and old[0] > number):
        raise overtaken(plan)
    if old is not None:
        if plan.tile and as_of < old[1]:
            raise late_tiles(plan)
        grown = connection.execute(
            "SELECT entity, state FROM entities WHERE generation = ? AND taken > 0", (old[0],)
        ).fetchall()
        for entity, state in grown:
            base = connection.execute(
                "SELECT state FROM entities WHERE generation = ? AND entity = ?", (number, entity)
            ).fetchone()
            joined = caught_up(None if base is None else base[0], state, plan, as_of=as_of)
            connection.execute(_WRITE, (number, entity, taken_of(joined), joined))
        connection.execute("UPDATE publications SET current = 0 WHERE number = ?", old[:1])
    connection.execute("UPDATE publications SET current = 1 WHERE number = ?", (number,))

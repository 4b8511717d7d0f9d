"""One chain in one SQLite file: how it is made, opened and asked."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from countermark.errors import LedgerError
from countermark.ledger.entry import Row
from countermark.records.private import make_private

FORMAT = "countermark/ledger/1"
SUFFIX = ".sqlite"
OLDEST = (3, 37)
"""The first SQLite with strict tables."""

_APPLICATION = 0x434D4C31

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE chain (name TEXT NOT NULL, format TEXT NOT NULL) STRICT;
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  payload BLOB NOT NULL,
  previous BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_decision ON entries (key) WHERE kind = 'decision';
CREATE INDEX entries_key ON entries (kind, key) WHERE kind <> 'decision';
CREATE INDEX entries_kind ON entries (kind);
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END;
"""

_INDEXES = {
    "entries_decision": "kind = 'decision'",
    "entries_key": "kind <> 'decision'",
    "entries_kind": "kind >= ''",
}
_COLUMNS = "seq, at, kind, key, payload, previous, hash"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new file survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    missing = []
    above = folder.absolute()
    while not above.exists():
        missing.append(above)
        above = above.parent
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def create(path: Path, chain: str) -> None:
    """Make the file of a new chain; it appears under its name complete or not at all.

    Raises:
        LedgerError: If a write-ahead file of a vanished chain lies beside it, or the file cannot be made.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise LedgerError(
            "this Python has a SQLite that is too old for a ledger",
            expected=".".join(map(str, OLDEST)) + " or newer",
            got=sqlite3.sqlite_version,
        )
    if Path(f"{path}-wal").exists():
        raise LedgerError(
            f"the file of chain '{chain}' is gone, but its write-ahead file is still there",
            hint="restore the file from a backup, or move the write-ahead file away and keep it as evidence",
            file=path,
        )
    fresh = path.with_name(f".{path.name}.new")
    for left in (fresh, Path(f"{fresh}-wal"), Path(f"{fresh}-shm")):
        left.unlink(missing_ok=True)
    # SQLite gives the files that it makes beside this one the same mode.
    make_private(fresh)
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        # Rows of about 2.5 kB: at 4 kB a page would hold one and waste the rest.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO chain VALUES (?, ?)", (chain, FORMAT))
    except sqlite3.Error as error:
        raise failure(path, error, f"chain '{chain}' cannot be made") from error
    finally:
        connection.close()
    descriptor = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    sync_folder(path.parent)


# A damaged file may also claim a text that is none, even within SQLite's own message, or more bytes than there are.
DAMAGE = (sqlite3.Error, UnicodeDecodeError, MemoryError)


def failure(path: Path, error: Exception, what: str) -> LedgerError:
    """The error of the house for one of SQLite: its name and the file, never a value."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    hints = {
        "SQLITE_FULL": "free some disk space; what was acknowledged is safe",
        "SQLITE_CORRUPT": "verify it ('countermark ledger verify') and restore the file from a backup",
        "SQLITE_NOTADB": "restore the file from a backup",
        "SQLITE_BUSY": "another program holds the file; nothing but Countermark should write to it",
    }
    return LedgerError(what, got=name, hint=hints.get(name), file=path)


class ChainFile:
    """An open chain file. Not safe to share between threads without a lock.

    Args:
        path: The file.
        write: Open for writing; otherwise the file is never changed: folding the write-ahead file in is the one
            writer's work alone, so that it never meets another connection that does the same.

    Raises:
        LedgerError: If the file is damaged or is no chain of this name.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.chain = path.name.removesuffix(SUFFIX)
        self._at_rest = False
        self.connection = self._opened(write)
        try:
            self._check()
        except BaseException:
            self.connection.close()
            raise

    def _opened(self, write: bool) -> sqlite3.Connection:
        try:
            connection = _connect(self.path, "mode=rw" if write else "mode=ro")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            wal = Path(f"{self.path}-wal")
            if write or os.access(self.path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size):
                raise failure(self.path, error, f"chain '{self.chain}' cannot be opened") from error
            # A folder that this user may not write to, and no write-ahead file: a copy at rest. It is read as it lies,
            # without the locks for which files would have to be made beside it.
            connection = _connect(self.path, "immutable=1")
            self._at_rest = True
        except DAMAGE as error:
            raise failure(self.path, error, f"chain '{self.chain}' is damaged") from error
        if write:
            for pragma in (
                "synchronous = FULL",
                "busy_timeout = 10000",
                "wal_autocheckpoint = 1000",
                "journal_size_limit = 67108864",
            ):
                connection.execute(f"PRAGMA {pragma}")
        return connection

    def _check(self) -> None:
        application = self._ask(lambda c: c.execute("PRAGMA application_id").fetchone())[0]
        if application != _APPLICATION:
            raise LedgerError(
                "this file is no chain of a ledger", hint="a ledger's folder holds nothing else", file=self.path
            )
        mode = self._ask(lambda c: c.execute("PRAGMA journal_mode").fetchone())[0]
        name, form = self._ask(lambda c: c.execute("SELECT name, format FROM chain").fetchone()) or (None, None)
        if form != FORMAT:
            raise LedgerError("this chain has an unknown format", expected=FORMAT, got=repr(form), file=self.path)
        if name != self.chain:
            raise LedgerError(
                "this file holds another chain than its name says",
                expected=f"'{self.chain}'",
                got=repr(name),
                file=self.path,
            )
        if mode != "wal" and not self._at_rest:
            raise LedgerError("this chain is not in write-ahead mode", expected="wal", got=mode, file=self.path)

    def _ask(self, question: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            return question(self.connection)
        except DAMAGE as error:
            raise failure(self.path, error, f"chain '{self.chain}' cannot be read") from error

    def head(self) -> tuple[int, bytes] | None:
        """Position and hash of the last entry."""
        found = self._ask(lambda c: c.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone())
        if found is not None and not isinstance(found[1], bytes):
            raise LedgerError(f"entry {found[0]} of '{self.chain}' is damaged", got="a hash that is no hash")
        return found  # type: ignore[no-any-return]

    def row(self, seq: int) -> Row | None:
        """The row at a position."""
        sql = f"SELECT {_COLUMNS} FROM entries WHERE seq = ?"
        return self._ask(lambda c: c.execute(sql, (seq,)).fetchone())  # type: ignore[no-any-return]

    def page(self, kind: str | None, after: int, until: int, limit: int) -> list[Row]:
        """Rows with ``after < seq <= until``, of one kind or of all, in order of seq."""
        of_kind, values = ("", []) if kind is None else ("kind = ? AND ", [kind])
        found: list[Row] = self._ask(
            lambda c: c.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE {of_kind}seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                (*values, after, until, limit),
            ).fetchall()
        )
        return found

    def last(self, kind: str) -> Row | None:
        """The last row of a kind."""
        sql = f"SELECT {_COLUMNS} FROM entries WHERE kind = ? ORDER BY seq DESC LIMIT 1"
        return self._ask(lambda c: c.execute(sql, (kind,)).fetchone())  # type: ignore[no-any-return]

    def find(self, kind: str, key: str) -> list[Row]:
        """Rows of a kind and key."""
        where = "kind = 'decision' AND key = ?" if kind == "decision" else "kind = ? AND kind <> 'decision' AND key = ?"
        values = (key,) if kind == "decision" else (kind, key)
        sql = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY seq"
        return self._ask(lambda c: c.execute(sql, values).fetchall())  # type: ignore[no-any-return]

    def stored(self, kind: str, keys: Iterable[str]) -> list[tuple[str, int, bytes]]:
        """Key, seq and hash of those that are on this chain, oldest first: one statement for any number of keys."""
        of_kind = "e.kind = 'decision'" if kind == "decision" else f"e.kind = '{kind}' AND e.kind <> 'decision'"
        sql = (
            "SELECT e.key, e.seq, e.hash FROM json_each(?) AS j CROSS JOIN entries AS e "
            f"ON {of_kind} AND e.key = j.value ORDER BY e.seq"
        )
        asked = msgspec.json.encode(list(keys)).decode("utf-8")
        return self._ask(lambda c: c.execute(sql, (asked,)).fetchall())  # type: ignore[no-any-return]

    def hashes(self, after: int, until: int, limit: int) -> list[tuple[int, bytes]]:
        """Seq and hash of rows with ``after < seq <= until``, in order of seq."""
        sql = "SELECT seq, hash FROM entries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        return self._ask(lambda c: c.execute(sql, (after, until, limit)).fetchall())  # type: ignore[no-any-return]

    def integrity(self) -> list[tuple[int | None, str]]:
        """What SQLite finds wrong with the file, with the seq of the entry where it is an index that lacks one."""
        texts = [text for (text,) in self._ask(lambda c: c.execute("PRAGMA integrity_check(20)").fetchall())]
        found: list[tuple[int | None, str]] = []
        for index, where in _INDEXES.items():
            if any(index in text for text in texts):
                found.extend(
                    (seq, f"index '{index}' lacks it: a look-up does not find it") for seq in self._lacks(index, where)
                )
        return found or [(None, text) for text in texts if text != "ok"]

    def _lacks(self, index: str, where: str) -> list[int]:
        sql = (
            f"SELECT seq FROM entries NOT INDEXED WHERE {where} EXCEPT "
            f"SELECT seq FROM entries INDEXED BY {index} WHERE {where} ORDER BY seq LIMIT 20"
        )
        return [seq for (seq,) in self._ask(lambda c: c.execute(sql).fetchall())]

    def decision_keys(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Keys of decisions in order of key, with their seq."""
        sql = "SELECT key, seq FROM entries WHERE kind = 'decision' AND key > ? ORDER BY key LIMIT ?"
        return self._ask(lambda c: c.execute(sql, (after, limit)).fetchall())  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the connection; a writer's last one folds the write-ahead file into the main file."""
        self.connection.close()


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
        cached_statements=64,
    )

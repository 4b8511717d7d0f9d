"""The one writer of a chain file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from countermark.errors import LedgerError
from countermark.ledger.batch import Batch, Name, names_of
from countermark.ledger.entry import GENESIS, ONCE, EntryRef, Item, Row, entry_hash, link
from countermark.ledger.key_locks import KeyLocks
from countermark.ledger.sqlite_file import SUFFIX, ChainFile, create, failure, make_folder
from countermark.records.private import MODE

SLOTS = 1000
_MOST_ROWS = 64
# One statement for many rows: every step of a statement hands the interpreter lock to the other threads and has to win
# it back, which row by row costs more than the rows.
_INSERT = tuple("INSERT INTO entries VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * n) for n in range(_MOST_ROWS + 1))


class Chains(Protocol):
    """The chains of the folder, as a writer needs them: to look for a decision id on the others."""

    def each(self) -> Iterator[ChainFile]:
        """Every chain, by name."""

    def close(self) -> None:
        """Close them all."""


class SqliteWriter:
    """Holds a chain by a lock that the kernel drops when the process dies, however it dies.

    Args:
        folder: Folder of the ledger; made if it is not there.
        name: Chain to take, or None for the first numbered chain without a writer.
        chains: The chains of the folder, opened to read.

    Raises:
        LedgerError: If the chain has a writer, or cannot be continued.
    """

    def __init__(self, folder: Path, name: str | None, chains: Chains) -> None:
        make_folder(folder)
        self._chains = chains
        self.chain, self._lock = _take(folder, name)
        with ExitStack() as opened:
            opened.callback(self._release)
            path = folder / f"{self.chain}{SUFFIX}"
            if not path.exists():
                create(path, self.chain)
            self._file = ChainFile(path, write=True)
            opened.callback(self._file.close)
            self._keys = KeyLocks(folder / "decisions.lock")
            opened.callback(self._keys.close)
            self._seq, self._hash = self._stored_head()
            opened.pop_all()
        self._known = True
        self._uncertain: tuple[int, bytes] | None = None
        _HOLDERS.add(self)

    def _release(self) -> None:
        """Close the lock file: the lock falls when nobody has it open any more."""
        os.close(self._lock)

    def _stored_head(self) -> tuple[int, bytes]:
        head = self._file.head()
        if head is None:
            return -1, GENESIS
        row = self._file.row(head[0])
        if row is None or entry_hash(self.chain, row) != row[6]:
            raise LedgerError(
                f"the last entry of chain '{self.chain}' (seq {head[0]}) is damaged: it cannot be continued",
                hint="verify the ledger ('countermark ledger verify') and restore the file from a backup",
                file=self._file.path,
            )
        return head

    def write(self, items: list[Item], fresh: Container[str]) -> list[EntryRef]:
        """Store checked items in one transaction; durable when it returns.

        Args:
            items: The items.
            fresh: Keys that no chain can hold yet.

        Raises:
            LedgerError: If they could not be stored.
        """
        names = [name for name in names_of(items) if name[1] not in fresh]
        if not names:
            return self._append(items, {})
        with self._keys.held({key for _, key in names}):
            return self._append(items, self._stored(names))

    def _stored(self, names: Iterable[Name]) -> dict[Name, EntryRef]:
        """Decisions and events among these that some chain holds."""
        found: dict[Name, EntryRef] = {}
        asked = {kind: [key for of, key in names if of == kind] for kind in ONCE}
        for read in self._chains.each():
            # Of its own chain the writer has the pages at hand; a reader would fetch them anew after every commit.
            file = self._file if read.chain == self.chain else read
            for kind, keys in asked.items():
                for key, seq, digest in file.stored(kind, keys) if keys else ():
                    found.setdefault((kind, key), EntryRef(file.chain, seq, digest.hex(), True))
        return found

    def _append(self, items: list[Item], stored: dict[Name, EntryRef]) -> list[EntryRef]:
        self._recover()
        batch = Batch(items, stored)
        rows = link(self.chain, self._seq + 1, self._hash, batch.fresh)
        if rows:
            self._commit(rows)
        return batch.refs(self.chain, rows)

    def _commit(self, rows: list[Row]) -> None:
        connection = self._file.connection
        statements = list(_statements(rows))
        try:
            # A statement on its own is a transaction on its own: one step, and not three, without the interpreter lock.
            if len(statements) > 1:
                connection.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                connection.execute(statement, values)
            if len(statements) > 1:
                connection.execute("COMMIT")
        except BaseException as error:
            # Also when interrupted: whether the commit went through is found out before the next.
            self._known = False
            self._uncertain = (rows[-1][0], rows[-1][6])
            self._undo()
            if not isinstance(error, sqlite3.Error):
                raise
            if isinstance(error, sqlite3.IntegrityError):
                raise LedgerError(
                    f"another writer has continued chain '{self.chain}': two continuations of one chain are refused",
                    expected=f"seq {rows[0][0]} to be free",
                    hint="find the second writer, then verify the ledger: countermark ledger verify",
                    file=self._file.path,
                ) from error
            raise failure(self._file.path, error, f"nothing was stored on chain '{self.chain}'") from error
        self._seq, self._hash = rows[-1][0], rows[-1][6]

    def _undo(self) -> None:
        connection = self._file.connection
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise failure(self._file.path, error, f"chain '{self.chain}' could not be rolled back") from error

    def _recover(self) -> None:
        """After a failed commit, find out where the chain ends before going on."""
        if self._known:
            return
        head = self._stored_head()
        if head not in ((self._seq, self._hash), self._uncertain):
            raise LedgerError(
                f"chain '{self.chain}' does not end where this writer left it",
                expected=f"seq {self._seq}",
                got=f"seq {head[0]}",
                hint="a second writer or a restored file: verify the ledger ('countermark ledger verify')",
                file=self._file.path,
            )
        self._seq, self._hash = head
        self._known = True

    def close(self) -> None:
        """Give up the chain."""
        self._chains.close()
        self._file.close()
        self._keys.close()
        _HOLDERS.discard(self)
        self._release()


_HOLDERS: WeakSet[SqliteWriter] = WeakSet()


def _forget_locks() -> None:
    """In a forked child: the parent's locks must fall with the parent, not live on in the child."""
    for holder in _HOLDERS:
        holder._release()
    _HOLDERS.clear()


os.register_at_fork(after_in_child=_forget_locks)


def _take(folder: Path, name: str | None) -> tuple[str, int]:
    """Lock a named chain, or the first numbered one that is free."""
    for chain in [name] if name is not None else (f"chain-{slot:03d}" for slot in range(SLOTS)):
        descriptor = os.open(folder / f"{chain}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return chain, descriptor
    raise LedgerError(
        f"chain '{name}' has a writer already" if name is not None else f"all {SLOTS} chains have a writer",
        hint="a chain has one writer: stop the other one, or name another chain",
        file=folder,
    )


def _statements(rows: list[Row]) -> Iterator[tuple[str, list[object]]]:
    for start in range(0, len(rows), _MOST_ROWS):
        some = rows[start : start + _MOST_ROWS]
        yield _INSERT[len(some)], [value for row in some for value in row]

"""A ledger in a folder of SQLite files: one file and one chain for every writer."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from countermark.errors import LedgerError
from countermark.ledger.entry import Row
from countermark.ledger.ledger import PAGE, Ledger
from countermark.ledger.sqlite_file import SUFFIX, ChainFile
from countermark.ledger.sqlite_writer import SqliteWriter
from countermark.ledger.verification import Problem

T = TypeVar("T")
_HASHES = 8192


class ChainFiles:
    """The chain files of a folder, opened to read when they are first seen, and again when one was replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tuple[tuple[int, int], ChainFile]] = {}

    def names(self) -> list[str]:
        """Names of the chains, sorted, without opening them."""
        return [name for name, _, _ in self._present()]

    def each(self) -> Iterator[ChainFile]:
        """Every chain, by name."""
        present = self._present()
        for gone in self._open.keys() - {name for name, _, _ in present}:
            self._open.pop(gone)[1].close()
        for name, path, identity in present:
            yield self._opened(name, path, identity)

    def one(self, chain: str) -> ChainFile:
        """A chain by name.

        Raises:
            LedgerError: If there is no such chain.
        """
        for name, path, identity in self._present():
            if name == chain:
                return self._opened(name, path, identity)
        raise LedgerError(f"there is no chain '{chain}' in this ledger", file=self.folder)

    def _opened(self, name: str, path: Path, identity: tuple[int, int]) -> ChainFile:
        held = self._open.get(name)
        if held is not None and held[0] != identity:
            held[1].close()
            held = None
        if held is None:
            held = self._open[name] = (identity, ChainFile(path))
        return held[1]

    def _present(self) -> list[tuple[str, Path, tuple[int, int]]]:
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                        status = entry.stat()
                        found.append(
                            (entry.name.removesuffix(SUFFIX), Path(entry.path), (status.st_dev, status.st_ino))
                        )
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise LedgerError("this is no folder of a ledger", file=self.folder) from error
        return sorted(found)

    def close(self) -> None:
        """Close them all."""
        for _, held in self._open.values():
            held.close()
        self._open.clear()


class SqliteLedger(Ledger):
    """A ledger in a folder.

    Args:
        folder: The folder; made by the first writer. One that is not there reads as an empty ledger.
        writer: Name of the chain to write to, or None for the first free numbered one.
    """

    def __init__(self, folder: Path, writer: str | None = None) -> None:
        super().__init__(writer)
        self.url = f"sqlite:///{folder}"
        self.folder = folder
        self._files = ChainFiles(folder)

    def _take(self) -> SqliteWriter:
        try:
            return SqliteWriter(self.folder, self._name, ChainFiles(self.folder))
        except OSError as error:
            raise LedgerError(
                "the ledger cannot be opened to write", got=error.strerror, file=error.filename or self.folder
            ) from error

    def _read(self, question: Callable[[ChainFiles], T]) -> T:
        self._own_process()
        with self._reading:
            return question(self._files)

    def chains(self) -> list[str]:
        return self._read(lambda files: files.names())

    def heads(self) -> dict[str, tuple[int, str]]:
        return self._read(
            lambda files: {
                file.chain: (head[0], head[1].hex()) for file in files.each() if (head := file.head()) is not None
            }
        )

    def _page(self, chain: str, kind: str | None, after: int, until: int) -> list[Row]:
        return self._read(lambda files: files.one(chain).page(kind, after, until, PAGE))

    def row(self, chain: str, seq: int) -> Row | None:
        return self._read(lambda files: files.one(chain).row(seq))

    def _find(self, kind: str, key: str) -> list[tuple[str, Row]]:
        return self._read(lambda files: [(file.chain, row) for file in files.each() for row in file.find(kind, key)])

    def _last(self, chain: str, kind: str) -> Row | None:
        return self._read(lambda files: files.one(chain).last(kind))

    def hashes(self, chain: str, after: int, until: int) -> Iterator[bytes]:
        while page := self._hashes(chain, after, until):
            yield from (digest for _, digest in page)
            after = page[-1][0]

    def _hashes(self, chain: str, after: int, until: int) -> list[tuple[int, bytes]]:
        return self._read(lambda files: files.one(chain).hashes(after, until, _HASHES))

    def structure(self) -> list[Problem]:
        found: list[Problem] = []
        for chain in self.chains():
            try:
                told = self._read(lambda files, chain=chain: files.one(chain).integrity())  # type: ignore[misc]
            except LedgerError as error:
                told = [(None, f"{error.what} ({error.got})")]
            found.extend(Problem(chain, seq, what) for seq, what in told)
        return found or self._repeated()

    def _repeated(self) -> list[Problem]:
        """Decisions that two chains hold: their keys side by side in order of key."""
        keys = [self._decision_keys(chain) for chain in self.chains()]
        found = []
        before, first = "", ""
        for key, chain, seq in heapq.merge(*keys):
            if key == before:
                found.append(Problem(chain, seq, f"holds a decision that chain '{first}' holds too"))
            before, first = key, chain
        return found

    def _decision_keys(self, chain: str) -> Iterator[tuple[str, str, int]]:
        after = ""
        while page := self._keys_after(chain, after):
            yield from ((key, chain, seq) for key, seq in page)
            after = page[-1][0]

    def _keys_after(self, chain: str, after: str) -> list[tuple[str, int]]:
        return self._read(lambda files: files.one(chain).decision_keys(after, _HASHES))

    def _close_reader(self) -> None:
        self._files.close()

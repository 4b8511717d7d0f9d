"""How far the signed log was seen: an older copy of it, however well signed, is not taken for the present one.

A log that somebody put back would undo retirements and revocations. So a log must continue the one that was seen
before: in this process, and by any process that recorded in the same ledger.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from countermark.errors import RegistryError
from countermark.ledger.ledger import Ledger
from countermark.registry.directory import ServingDirectory
from countermark.registry.state import RegistryState

SEEN = "registry.seen"
_FOLDER = "sqlite:///"


class SeenLog:
    """The furthest place of a log that was ever served from, kept in a file that only grows.

    A line of it is trust root, position and digest of the entry there.

    Args:
        file: The file; None to remember nothing beyond this process.
        trust_root: Trust root of the log; lines of another one say nothing.
        writes: Whether a log that goes further is noted in the file, which is read in any case.
    """

    def __init__(self, file: Path | None, trust_root: str, *, writes: bool = True) -> None:
        self.file = file
        self.trust_root = trust_root
        self._writes = writes

    @classmethod
    def beside(cls, ledger: Ledger | None, directory: ServingDirectory, *, writes: bool = True) -> SeenLog:
        """Beside a ledger in a folder; for a database, in the serving directory, where it guards against mistakes."""
        if ledger is None:
            return cls(None, directory.trust_root)
        folder = Path(ledger.url.removeprefix(_FOLDER)) if ledger.url.startswith(_FOLDER) else directory.path
        return cls(folder / SEEN, directory.trust_root, writes=writes)

    def furthest(self) -> tuple[int, str] | None:
        """Position and digest of the furthest entry that was seen; None if none was."""
        return max(self._lines(), default=None)

    def _lines(self) -> Iterator[tuple[int, str]]:
        data = b""
        if self.file is not None:
            with contextlib.suppress(OSError):
                data = self.file.read_bytes()
        for line in data.splitlines():
            parts = line.decode("ascii", "replace").split()
            if len(parts) == 3 and parts[0] == self.trust_root and parts[1].isdecimal() and len(parts[1]) < 10:
                yield int(parts[1]), parts[2]

    def note(self, state: RegistryState) -> None:
        """Remember a log, if it goes further than what was seen. A file that cannot be written is done without."""
        furthest = self.furthest()
        if self.file is None or not self._writes or (furthest is not None and furthest[0] >= state.position):
            return
        line = f"{self.trust_root} {state.position} {state.head}\n".encode("ascii")
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # One short write at the end of the file: workers that start together do not tear each other's lines.
            handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)

    def require_continued(self, state: RegistryState, earlier: RegistryState | None) -> None:
        """Refuse a log that does not continue the one that was seen.

        Args:
            state: The fold of the log that is there now.
            earlier: The fold that this process served from before; None at its start.

        Raises:
            RegistryError: If it is older, or another one.
        """
        furthest = self.furthest()
        if earlier is not None and (furthest is None or earlier.position >= furthest[0]):
            furthest = earlier.position, earlier.head
        if furthest is None:
            return
        position, head = furthest
        if state.position >= position and state.entries[position].digest == head:
            return
        older = state.position < position
        raise RegistryError(
            f"the exported log is {'older than' if older else 'another than'} the one that was served from before",
            expected=f"a log that continues position {position}, entry {head[:12]}",
            got=f"a log that ends at position {state.position}"
            + ("" if older else f", with entry {state.entries[position].digest[:12]} there"),
            hint="export it again: countermark release export --to DIR"
            + (f"; what was seen is kept in '{self.file}'" if self.file is not None else ""),
        )

"""Byte-range locks by which the writers of one folder agree on who stores a decision id."""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from countermark.records.private import MODE

_MOST = 512
"""Above this many keys the whole file is locked at once: the kernel keeps ranges in a list."""

_RANGE = struct.Struct("hhqqi4x")


class KeyLocks:
    """Locks on decision ids, held by one writer while it looks for them on other chains and commits its own.

    The same id sent to two workers at once (a client that timed out and tried again) is so stored once. The locks
    belong to the open file, so the kernel drops them when the process dies.

    Args:
        path: The lock file; it stays empty.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)

    @contextmanager
    def held(self, keys: Iterable[str]) -> Iterator[None]:
        """Hold the locks of some keys, taken in one order by everybody so that two writers never wait in a ring."""
        offsets = sorted({zlib.crc32(key.encode("utf-8")) for key in keys})
        ranges = [(offset, 1) for offset in offsets] if len(offsets) <= _MOST else [(0, 0)]
        try:
            for start, length in ranges:
                self._set(fcntl.F_WRLCK, start, length)
            yield
        finally:
            self._set(fcntl.F_UNLCK, 0, 0)

    def _set(self, kind: int, start: int, length: int) -> None:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _RANGE.pack(kind, os.SEEK_SET, start, length, 0))

    def close(self) -> None:
        """Close the lock file."""
        os.close(self._file)

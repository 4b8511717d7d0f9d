"""Files that hold what was decided about people: made readable for their owner alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MODE = 0o600
"""Mode of a file that is made here, less what the umask takes away; a file that is there keeps its own."""


def make_private(path: Path) -> None:
    """Make an empty file, if there is none.

    Raises:
        OSError: If it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))


def write_private(path: Path, data: bytes) -> None:
    """Write a file as a whole.

    Raises:
        OSError: If it cannot be written.
    """
    make_private(path)
    path.write_bytes(data)

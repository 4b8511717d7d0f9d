"""Where a life is played: a folder that is kept, or one that is gone at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """The given folder, made if it is not there; a temporary one otherwise."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="countermark-life-") as made:
        yield Path(made)

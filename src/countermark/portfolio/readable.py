"""May this user read and write what a build touches? Asked before DVC is started, which would tell an errno."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from countermark.errors import BuildError


def refuse_unreadable(root: Path, folders: Sequence[str], files: Sequence[str]) -> None:
    """Refuse to start a build that would stop at a file mode.

    Args:
        root: The bank's root.
        folders: Folders that a build reads and writes, with all they hold, relative to the root.
        files: Files that a build reads, and folders that it writes into without looking at what they hold.

    Raises:
        BuildError: Naming the first file or folder that this user may not use as the build does.
    """
    for path in (*(root / file for file in files), *_inside(root, folders)):
        if path.is_dir():
            needed, use = os.R_OK | os.W_OK | os.X_OK, "read and write this folder"
        else:
            needed, use = os.R_OK, "read this file"
        if path.exists() and not os.access(path, needed, effective_ids=os.access in os.supports_effective_ids):
            raise BuildError(
                f"no permission to {use}",
                expected="files and folders of the bank that the user who builds may use",
                got=f"owner {path.stat().st_uid}, mode {path.stat().st_mode & 0o777:o}",
                hint="correct its owner or mode (chmod, chown), or build as its owner",
                file=path.relative_to(root).as_posix(),
            )


def _inside(root: Path, folders: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        top = root / folder
        if not top.is_dir():
            continue
        yield top
        for here, inner, names in os.walk(top):
            yield from (Path(here) / name for name in sorted((*inner, *names)))

"""Compiled kernels: strict IEEE arithmetic, a cache outside the installed package, nothing compiled at import.

Every kernel is compiled without fast-math, so that no operation is reordered and no multiplication and addition are
fused: the same inputs give the same bits on every x86-64 processor.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])
_CACHE_VARIABLE = "COUNTERMARK_CACHE_DIR"


def kernel(function: _Function) -> _Function:
    """Compile a function at its first call; keep the machine code where a cache directory is writable."""
    return _compiled(function, nogil=True)


def row_kernel(function: _Function) -> _Function:
    """As :func:`kernel`, for a call of a microsecond: letting other threads in meanwhile costs more than it gives."""
    return _compiled(function, nogil=False)


def _compiled(function: _Function, *, nogil: bool) -> _Function:
    directory = cache_directory(Path(function.__code__.co_filename).parent)
    if directory is None:
        return cast(_Function, numba.njit(nogil=nogil)(function))
    before = numba.config.CACHE_DIR
    # Numba's own default would write beside the sources; the directory is read while decorating.
    numba.config.CACHE_DIR = str(directory)
    try:
        return cast(_Function, numba.njit(nogil=nogil, cache=True)(function))
    finally:
        numba.config.CACHE_DIR = before


@cache
def cache_directory(room: Path) -> Path | None:
    """Directory of the compiled kernels of a room, or None where nothing is writable.

    ``NUMBA_CACHE_DIR``, else ``COUNTERMARK_CACHE_DIR``, else the user's cache directory. The name carries a digest of
    the room's sources, because Numba does not notice a change in a kernel that another kernel calls.
    """
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get(_CACHE_VARIABLE)
    if root is None:
        base = os.environ.get("XDG_CACHE_HOME")
        try:
            root = str((Path(base) if base else Path.home() / ".cache") / "countermark")
        except RuntimeError:
            return None
    directory = Path(root) / f"kernels-{_sources_digest(room)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError:
        return None
    return directory


def _sources_digest(room: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(room.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

"""What computed a score besides the release: the interpreter, the processor's family and the numeric libraries."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from countermark.records.digest import digest_of

_LIBRARIES = ("llvmlite", "msgspec", "numba", "numpy", "scipy")


@cache
def environment() -> dict[str, str]:
    """Versions that a decision is bound to, by name."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for name in ("countermark", *_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def environment_digest() -> str:
    """SHA-256 of :func:`environment`."""
    return digest_of(environment())

"""Declared semantics versions: what a stage depends on instead of source files.

A room's version is raised by whoever changes what the room computes. A change of wording, speed or structure
leaves it alone, and then no model is rebuilt. The guard is the exactness check: a rebuild from an empty cache
whose hashes differ from ``dvc.lock`` fails, so a changed formula cannot pass without a raised version.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from countermark.errors import ConfigError

SEMANTICS: dict[str, int] = {
    "charts": 2,
    "contracts": 2,
    "features": 2,
    "metrics": 1,
    "monitoring": 1,
    "report": 2,
    "scoring": 1,
    "training": 1,
    "validation": 2,
}


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of the named distributions.

    Raises:
        ConfigError: If one is not installed.
    """
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise ConfigError(
                f"library '{name}' is not installed",
                expected=f"'{name}' as pinned in requirements.lock",
                hint="pip install 'countermark[train,report]'",
            ) from None
    return found

"""Files of a candidate by digest: from the working tree, or from where DVC keeps them. Needs no DVC to read them."""

from __future__ import annotations

import configparser
import hashlib
from collections.abc import Iterator
from pathlib import Path

from countermark.errors import RegistryError
from countermark.records.digest import sha256_hex
from countermark.registry.bodies import CandidateFile


class CandidateStore:
    """Finds the bytes of candidate files.

    Args:
        root: The bank's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, file: CandidateFile) -> bytes:
        """The content of a file, from wherever it is found whole.

        Raises:
            RegistryError: If it is nowhere, or damaged wherever it is.
        """
        damaged: Path | None = None
        for place in self._places(file):
            try:
                data = place.read_bytes()
            except OSError:
                continue
            if sha256_hex(data) == file.sha256:
                return data
            damaged = place if place != self.root / file.path else damaged
        if damaged is not None:
            raise RegistryError(
                f"'{file.path}' is damaged where DVC keeps it",
                expected=f"sha256 {file.sha256}",
                hint="fetch it again from another copy of the cache",
                file=damaged,
            )
        raise RegistryError(
            f"'{file.path}' of the candidate is not on this machine",
            expected=f"sha256 {file.sha256[:12]}, {file.size:,} bytes, DVC object {file.md5}",
            hint="fetch it from the shared cache (dvc fetch), or add a DVC remote that this machine can read",
        )

    def _places(self, file: CandidateFile) -> Iterator[Path]:
        yield self.root / file.path
        for folder in self._folders():
            yield folder / "files" / "md5" / file.md5[:2] / file.md5[2:]

    def _folders(self) -> Iterator[Path]:
        """DVC's cache, then its remotes that are folders."""
        settings = _dvc_settings(self.root)
        configured = settings.get("cache", {}).get("dir")
        yield self.root / ".dvc" / "cache" if configured is None else (self.root / ".dvc" / configured).resolve()
        for section, values in settings.items():
            url = values.get("url")
            if section.startswith("remote ") and url and "://" not in url:
                yield (self.root / ".dvc" / url).resolve()


def _dvc_settings(root: Path) -> dict[str, dict[str, str]]:
    """DVC's configuration: the shared file, then the machine's own."""
    found: dict[str, dict[str, str]] = {}
    for name in ("config", "config.local"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in parser.sections():
            key = section.strip("'").replace('"', "")
            found.setdefault(key, {}).update(parser.items(section))
    return found


def md5_hex(data: bytes) -> str:
    """The name under which DVC keeps a file."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

"""Releases as they travel: how one is named, and what a bundle of it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from countermark.errors import RegistryError
from countermark.records.digest import canonical_json

BUNDLE_FORMAT = "countermark/bundle/1"
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_TEXT = re.compile(rf"(?P<model>[a-z][a-z0-9_]*)@v(?P<version>{_NUMBER}\.{_NUMBER}\.{_NUMBER})")


@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """One version of one model, written ``credit_pd@v1.2.0``: the name of its tag.

    Attributes:
        model: Name of the model.
        version: Three numbers, without the ``v``.

    Raises:
        RegistryError: If the two make no release's name.
    """

    model: str
    version: str

    def __post_init__(self) -> None:
        if _TEXT.fullmatch(str(self)) is None:
            raise _unreadable(str(self))

    def __str__(self) -> str:
        return f"{self.model}@v{self.version}"

    @property
    def order(self) -> tuple[str, tuple[int, ...]]:
        """Sorts releases by model, then by version as numbers."""
        return self.model, tuple(int(part) for part in self.version.split("."))

    @classmethod
    def parse(cls, text: str) -> ReleaseRef:
        """Read ``MODEL@vX.Y.Z``.

        Raises:
            RegistryError: If the text names no release.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        return cls(found["model"], found["version"])


def _unreadable(text: str) -> RegistryError:
    return RegistryError("this names no release", expected="MODEL@vX.Y.Z, as in credit_pd@v1.0.0", got=f"'{text[:80]}'")


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle holds and what binds it.

    Attributes:
        model: Name of the model.
        version: Version of the release, without the ``v``.
        members: SHA-256 of every other member, by name.
        results: Digest of what changes scores.
        evidence: Digest of the tests.
        environment: Digest of the library and semantics versions that made the numbers.
    """

    format: str = BUNDLE_FORMAT
    model: str
    version: str
    members: dict[str, str]
    results: str
    evidence: str
    environment: str

    @property
    def ref(self) -> ReleaseRef:
        """The release."""
        return ReleaseRef(self.model, self.version)

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(msgspec.to_builtins(self))

    @classmethod
    def from_json(cls, data: bytes) -> BundleManifest:
        """Read a manifest.

        Raises:
            RegistryError: If it is of another format or damaged.
        """
        try:
            raw: Any = msgspec.json.decode(data)
            found = raw.get("format") if isinstance(raw, dict) else None
            if found != BUNDLE_FORMAT:
                raise RegistryError(
                    "the bundle is of an unknown format",
                    expected=BUNDLE_FORMAT,
                    got=repr(found)[:60],
                    hint="use a Countermark of the version that made it, or a newer one",
                )
            return msgspec.convert(raw, cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
            raise RegistryError("the bundle's manifest is damaged", got=str(broken)[:200]) from None

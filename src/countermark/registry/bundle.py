"""The bundle: everything a released model is served from, in one file that works without git.

A bundle is a plain zip archive with members in a fixed order, fixed dates and no compression, so that the same release
gives the same bytes on any machine. It is addressed by its SHA-256, which the publication on the log names.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from countermark.errors import RegistryError
from countermark.records.digest import sha256_hex
from countermark.records.release import BundleManifest, ReleaseRef
from countermark.registry.events import Entry, parse_lines

MANIFEST = "manifest.json"
REQUIRED = (
    "scorer.json",
    "decision.json",
    "spec.json",
    "pack.json",
    "validation_pack.pdf",
    "log.jsonl",
    "profile.json",
)
LATER = frozenset({"profile.json"})
"""Members that the first bundles lacked: such a bundle opens and verifies, and is not served."""
_ORDER = (MANIFEST, *REQUIRED)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_HINT = "fetch the bundle again: countermark release export --to DIR"


def build_bundle(
    ref: ReleaseRef, members: Mapping[str, bytes], *, results: str, evidence: str, environment: str
) -> bytes:
    """Make a bundle.

    Args:
        ref: The release.
        members: Content by member name: all of ``REQUIRED``.
        results: Digest of what changes scores.
        evidence: Digest of the tests.
        environment: Digest of library and semantics versions.

    Returns:
        The file's bytes; the same for the same content.

    Raises:
        RegistryError: If a member is missing or unknown.
    """
    missing = [name for name in REQUIRED if name not in members]
    unknown = sorted(set(members) - set(REQUIRED))
    if missing or unknown:
        raise RegistryError(
            f"a bundle cannot be made {'without' if missing else 'with'} '{(missing or unknown)[0]}'",
            expected=", ".join(REQUIRED),
        )
    manifest = BundleManifest(
        model=ref.model,
        version=ref.version,
        members={name: sha256_hex(members[name]) for name in _ORDER if name in members},
        results=results,
        evidence=evidence,
        environment=environment,
    )
    content = {MANIFEST: manifest.to_json(), **members}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in _ORDER:
            if name in content:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.create_system, info.external_attr = 3, 0o644 << 16
                archive.writestr(info, content[name])
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        manifest: What it holds.
        digest: SHA-256 of the file.
        members: Content by member name, manifest included.
    """

    manifest: BundleManifest
    digest: str
    members: Mapping[str, bytes]

    @classmethod
    def open(cls, source: Path | bytes, digest: str | None = None) -> Bundle:
        """Read a bundle and verify every member.

        Args:
            source: The file or its bytes.
            digest: SHA-256 that the log names for it; None checks the bundle against its own manifest only.

        Raises:
            RegistryError: Naming the file and the member that is damaged.
        """
        data, file = _read(source)
        found = sha256_hex(data)
        members = _members(data, file)
        manifest = _verified(members, file)
        if digest is not None and found != digest:
            raise RegistryError(
                f"the bundle of '{manifest.ref}' is not the one that was published",
                expected=digest,
                got=found,
                hint=_HINT,
                file=file,
            )
        return cls(manifest, found, members)

    @property
    def ref(self) -> ReleaseRef:
        """The release."""
        return self.manifest.ref

    def member(self, name: str) -> bytes:
        """Content of a member.

        Raises:
            RegistryError: If the bundle has no such member.
        """
        if name not in self.members:
            raise RegistryError(
                f"the bundle of '{self.ref}' has no '{name}'", expected="one of: " + ", ".join(self.members)
            )
        return self.members[name]

    def log(self) -> tuple[Entry, ...]:
        """The log up to the last approval behind the release."""
        return parse_lines(self.member("log.jsonl"))


def _read(source: Path | bytes) -> tuple[bytes, Path | None]:
    if isinstance(source, bytes):
        return source, None
    try:
        return source.read_bytes(), source
    except OSError as error:
        raise RegistryError("the bundle cannot be read", got=error.strerror, hint=_HINT, file=source) from None


def _members(data: bytes, file: Path | None) -> dict[str, bytes]:
    damaged: str | None = None
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename for info in archive.infolist()]
            for info in archive.infolist():
                damaged = info.filename
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    raise zipfile.BadZipFile("compressed or encrypted")
                members[info.filename] = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError, LookupError):
        what = "the bundle is damaged" if damaged is None else f"member '{damaged}' of the bundle is damaged"
        raise RegistryError(what, expected="the file as it was published", hint=_HINT, file=file) from None
    expected = [name for name in _ORDER if name in members]
    if names != expected or MANIFEST not in members:
        raise RegistryError(
            "the bundle does not hold what a bundle holds",
            expected=", ".join((MANIFEST, *REQUIRED)),
            got=", ".join(names)[:200],
            file=file,
        )
    return members


def _verified(members: Mapping[str, bytes], file: Path | None) -> BundleManifest:
    manifest = BundleManifest.from_json(members[MANIFEST])
    listed, held = set(manifest.members), set(members) - {MANIFEST}
    if listed != held or not set(REQUIRED) - LATER <= held:
        raise RegistryError(
            "the bundle's manifest lists other members than the bundle holds",
            expected=", ".join(sorted(listed)),
            got=", ".join(sorted(held)),
            file=file,
        )
    for name, stated in manifest.members.items():
        found = sha256_hex(members[name])
        if found != stated:
            raise RegistryError(
                f"member '{name}' of the bundle is damaged", expected=stated, got=found, hint=_HINT, file=file
            )
    return manifest

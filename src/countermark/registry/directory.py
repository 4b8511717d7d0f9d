"""The serving directory: the exported log and the bundles that it names. All that a server needs, without git."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from countermark.errors import RegistryError
from countermark.records.digest import sha256_hex
from countermark.records.release import ReleaseRef
from countermark.registry.bundle import Bundle
from countermark.registry.events import Entry, log_lines, parse_lines
from countermark.registry.fold import fold
from countermark.registry.state import RegistryState

LOG = "registry.jsonl"
BUNDLES = "bundles"
_HINT = "countermark release export --to DIR"


FINAL = "validation_pack.pdf"


def require_approved_content(state: RegistryState, ref: ReleaseRef, bundle: Bundle) -> None:
    """Refuse a bundle that holds something else than what was approved under its release's name.

    An approval names its candidate by log position, and with it every digest and file of the proposal. The Final is
    made after the approvals: it is held to the digest that the publication names, and rendered again by ``verify``.

    Raises:
        RegistryError: Naming what differs, or what the proposal does not bind.
    """
    release = state.release(ref)
    digests, manifest = release.proposal.digests, bundle.manifest
    files = {file.name: file.sha256 for file in release.proposal.files}
    count = bundle.member("log.jsonl").count(b"\n")
    held: dict[str, tuple[str | None, str]] = {
        "release": (str(ref), str(bundle.ref)),
        "results": (digests["results"], manifest.results),
        "evidence": (digests["evidence"], manifest.evidence),
        "scorer": (digests["scorer"], sha256_hex(bundle.member("scorer.json"))),
        "decision policy": (digests["decision"], sha256_hex(bundle.member("decision.json"))),
        "spec": (digests.get("spec"), sha256_hex(bundle.member("spec.json"))),
        "pack": (files.get("pack.json"), sha256_hex(bundle.member("pack.json"))),
        "log": (sha256_hex(log_lines(state.entries[:count])), sha256_hex(bundle.member("log.jsonl"))),
    }
    if "profile.json" in bundle.members:
        held["reference profile"] = (files.get("profile.json"), sha256_hex(bundle.member("profile.json")))
    if release.publication is not None:
        held["Final document"] = (release.publication.body.files.get(FINAL), sha256_hex(bundle.member(FINAL)))
    for name, (approved, found) in held.items():
        if approved is None:
            raise RegistryError(
                f"the log binds no {name} of '{ref}', so that nobody signed for the one in its bundle",
                hint=f"propose it under a new version: countermark release propose {ref.model}",
            )
        if approved != found:
            raise RegistryError(
                f"the bundle of '{ref}' holds another {name} than was approved", expected=approved, got=found
            )


class ServingDirectory:
    """Verified releases in a folder.

    Nothing is believed that is not signed: the log is folded from the pinned trust root, and a bundle is opened by the
    digest that the log names.

    Args:
        path: The folder.
        trust_root: SHA-256 of the genesis payload, pinned outside the folder.
    """

    def __init__(self, path: Path, trust_root: str) -> None:
        self.path = path
        self.trust_root = trust_root

    def entries(self) -> tuple[Entry, ...]:
        """The exported log.

        Raises:
            RegistryError: If it is missing or damaged.
        """
        file = self.path / LOG
        try:
            data = file.read_bytes()
        except OSError as error:
            raise RegistryError("there is no exported log here", got=error.strerror, hint=_HINT, file=file) from None
        return parse_lines(data)

    def state(self, now: datetime) -> RegistryState:
        """The fold of the exported log.

        Raises:
            RegistryError: If the log is missing, damaged, or of another trust root.
        """
        return fold(self.entries(), self.trust_root, now)

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the exported log is replaced: inode and modification time, for those who poll."""
        found = (self.path / LOG).stat()
        return found.st_ino, found.st_mtime_ns

    def bundle(self, digest: str) -> Bundle:
        """Open the bundle of a digest.

        Raises:
            RegistryError: If it is missing, or is not the bytes that the digest names.
        """
        return Bundle.open(self._file(digest), digest)

    def read_bundle(self, digest: str) -> bytes:
        """Bytes of the bundle of a digest, verified.

        Raises:
            RegistryError: If it is missing, or is not the bytes that the digest names.
        """
        self.bundle(digest)
        return self._file(digest).read_bytes()

    def bundle_of(self, state: RegistryState, ref: ReleaseRef) -> Bundle:
        """Open the bundle of a published release, and check that it is of that release.

        Raises:
            RegistryError: If the release is not published, or its bundle is missing, damaged or of another release.
        """
        publication = state.release(ref).publication
        if publication is None:
            raise RegistryError(f"'{ref}' is not published", hint=f"countermark release publish {ref}")
        opened = self.bundle(publication.bundle_digest)
        require_approved_content(state, ref, opened)
        return opened

    def holds(self, digest: str) -> bool:
        """Whether there is a file for the bundle of a digest, whole or not."""
        return self._file(digest).is_file()

    def write_log(self, entries: Sequence[Entry]) -> None:
        """Replace the exported log as a whole."""
        self._write(self.path / LOG, log_lines(entries))

    def write_bundle(self, data: bytes) -> str:
        """Store a bundle under its digest, and return the digest."""
        digest = sha256_hex(data)
        file = self._file(digest)
        if not file.is_file() or sha256_hex(file.read_bytes()) != digest:
            self._write(file, data)
        return digest

    def _file(self, digest: str) -> Path:
        return self.path / BUNDLES / f"{digest}.bundle"

    @staticmethod
    def _write(file: Path, data: bytes) -> None:
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        except OSError as error:
            raise RegistryError(f"'{file.name}' cannot be written", got=error.strerror, file=file) from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

"""The files of a signed review, held against its signature: the log names the minutes, the minutes name the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from countermark.errors import RegistryError
from countermark.records.digest import sha256_hex
from countermark.records.review import MINUTES, PAGES, REVIEW, Minutes
from countermark.registry.state import RegistryState

_FORMATS = ("countermark/review/1", "countermark/review/2")


def signed_reviews(state: RegistryState) -> dict[str, str]:
    """Digest of the minutes of every signed review, by its id."""
    found: dict[str, str] = {}
    for _, review in state.reviews:
        found.setdefault(review.review, review.digest)  # the first signature is the one that others join
    return found


def review_in(files: Sequence[bytes]) -> str | None:
    """Id of the review that travels inside a document; None where it is another document."""
    for data in files:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict) and document.get("format") in _FORMATS:
            return str(document.get("id"))
    return None


def minutes_of(folder: Path, digest: str) -> Minutes:
    """The minutes of a folder, which are those that were signed.

    Raises:
        RegistryError: If they are missing, or others.
    """
    data = _bytes(folder / MINUTES)
    if sha256_hex(data) != digest:
        raise _altered(MINUTES, digest, data)
    try:
        return msgspec.json.decode(data, type=Minutes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"'{MINUTES}' cannot be read", got=str(error)[:200]) from None


def missing_files(folder: Path) -> tuple[str, ...]:
    """Files of a review that are not in a folder."""
    return tuple(name for name in (REVIEW, PAGES, MINUTES) if not (folder / name).is_file())


def check_files(folder: Path, digest: str) -> str:
    """Hold the files of a review that are in a folder against what was signed.

    Args:
        folder: The folder.
        digest: SHA-256 of the minutes, as it was signed.

    Returns:
        What holds.

    Raises:
        RegistryError: If one of them is not what was signed, by name.
    """
    made = minutes_of(folder, digest)
    held: list[str] = [MINUTES]
    altered: list[str] = []
    for name, named in ((REVIEW, made.digest), (PAGES, made.pages)):
        if named is None or not (folder / name).is_file():
            continue
        (held if sha256_hex(_bytes(folder / name)) == named else altered).append(name)
    if altered:
        raise RegistryError(f"altered since it was signed: {', '.join(altered)}")
    return f"{', '.join(held)} {'are' if len(held) > 1 else 'is'} what was signed"


def check_pages(path: Path, digest: str) -> str:
    """Hold a review as a PDF against the minutes beside it, and them against what was signed.

    Raises:
        RegistryError: If one of the two is not what was signed, or the minutes name no document.
    """
    named, data = minutes_of(path.parent, digest).pages, _bytes(path)
    if named is None:
        raise RegistryError("the minutes are of a format that names no document")
    if sha256_hex(data) != named:
        raise _altered(path.name, named, data)
    return f"{sha256_hex(data)[:12]}: the document that the signed minutes name"


def _altered(name: str, expected: str, data: bytes) -> RegistryError:
    return RegistryError(f"altered since it was signed: {name}", expected=expected, got=sha256_hex(data))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RegistryError(f"'{path.name}' cannot be read", got=error.strerror, file=path) from None

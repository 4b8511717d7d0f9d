"""Entries of the log: canonical payload, signature, and the digest that chains them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from countermark.errors import RegistryError
from countermark.records.clock import parse_instant
from countermark.records.digest import canonical_json, sha256_hex
from countermark.registry.sshsig import LOG_NAMESPACE, verify

EVENT_FORMAT = "countermark/event/1"
GENESIS_PREVIOUS = "0" * 64
TYPES = (
    "governance", "amendment", "amendment_approval", "key_revocation", "witness", "proposal", "approval", "rejection",
    "withdrawal", "finding_opened", "finding_closed", "waiver", "publication", "authorisation", "deauthorisation",
    "retirement", "equivalence", "review_signed",
)  # fmt: skip
_KEYS = {"format", "position", "previous", "type", "at", "principal", "body", "tags"}
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TagRecord:
    """A tag that was made together with an entry: its name and the id of its tag object."""

    name: str
    object: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as stored: bytes that were signed, and the signature.

    Attributes:
        payload: Canonical JSON.
        signature: Armoured SSHSIG over the payload, namespace ``countermark``.
    """

    payload: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """What the next entry names as its previous one: SHA-256 of payload and signature."""
        return sha256_hex(self.payload + self.signature)

    def to_line(self) -> bytes:
        """One line of an exported log."""
        parts = {"payload": self.payload, "signature": self.signature}
        return canonical_json({name: base64.b64encode(part).decode("ascii") for name, part in parts.items()}) + b"\n"

    @classmethod
    def from_line(cls, line: bytes, position: int) -> Entry:
        """Read a line of an exported log.

        Raises:
            RegistryError: Naming the position.
        """
        try:
            parts = json.loads(line)
            payload, signature = (base64.b64decode(parts[name], validate=True) for name in ("payload", "signature"))
            made = cls(payload, signature)
            if made.to_line() != line + b"\n":
                # Spare bits of base64, another member: the same entry must not have two lines.
                raise ValueError("not the one form of a line")
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
            raise broken(
                position, "this line of the log is damaged", "an object with 'payload' and 'signature'"
            ) from None
        return made


@dataclass(frozen=True, slots=True)
class Event:
    """An entry whose form is right; whether its author may do it is for the fold to say.

    Attributes:
        position: Place in the log, from 0.
        previous: Digest of the entry before.
        type: One of ``TYPES``.
        at: Instant that the author claims.
        principal: Principal that the author claims.
        body: What happened.
        tags: Tags made with it.
        key: Public key that signed.
        digest: Digest of this entry.
    """

    position: int
    previous: str
    type: str
    at: datetime
    principal: str
    body: Mapping[str, Any]
    tags: tuple[TagRecord, ...]
    key: str
    digest: str


def broken(position: int, what: str, expected: str | None = None, got: str | None = None) -> RegistryError:
    """The error of a log that cannot be trusted from ``position`` on."""
    return RegistryError(
        f"log position {position}: {what}",
        expected=expected,
        got=got,
        hint="nothing of this log is served; fetch it again from a party that holds an older copy",
    )


def payload_bytes(
    *,
    position: int,
    previous: str,
    kind: str,
    at: str,
    principal: str,
    body: Mapping[str, Any],
    tags: Sequence[TagRecord] = (),
) -> bytes:
    """The canonical payload of an entry."""
    return canonical_json(
        {
            "format": EVENT_FORMAT,
            "position": position,
            "previous": previous,
            "type": kind,
            "at": at,
            "principal": principal,
            "body": body,
            "tags": [{"name": tag.name, "object": tag.object} for tag in tags],
        }
    )


def read_event(entry: Entry, position: int, previous: str) -> Event:
    """Check form, chain and signature of one entry.

    Args:
        entry: The entry.
        position: Where it stands.
        previous: Digest of the entry before it.

    Raises:
        RegistryError: Naming the position, if any of them is wrong.
    """
    try:
        raw = json.loads(entry.payload)
    except (ValueError, RecursionError):
        raise broken(position, "the payload is not JSON") from None
    if not isinstance(raw, dict) or raw.get("format") != EVENT_FORMAT:
        raise broken(position, "the payload is of an unknown format", EVENT_FORMAT)
    at = _instant(raw)
    if at is None or not _canonical(raw, entry.payload):
        raise broken(
            position, "the payload is not a canonical event", "the eight fields of an event, in canonical JSON"
        )
    if raw["position"] != position:
        raise broken(position, "the entry was signed for another place", str(position), str(raw["position"])[:20])
    if raw["previous"] != previous:
        raise broken(position, "the chain is broken: it does not follow the entry before it", previous, raw["previous"])
    if raw["type"] not in TYPES:
        raise broken(position, f"the entry is of an unknown type '{raw['type'][:40]}'", ", ".join(TYPES))
    return Event(
        position=position,
        previous=previous,
        type=raw["type"],
        at=at,
        principal=raw["principal"],
        body=raw["body"],
        tags=tuple(TagRecord(tag["name"], tag["object"]) for tag in raw["tags"]),
        key=_signer(entry, position),
        digest=entry.digest,
    )


def _signer(entry: Entry, position: int) -> str:
    try:
        return _verified(entry.payload, entry.signature)
    except RegistryError as wrong:
        raise broken(position, wrong.what, wrong.expected, wrong.got) from None


@lru_cache(maxsize=16384)
def _verified(payload: bytes, signature: bytes) -> str:
    return verify(payload, signature, LOG_NAMESPACE)


def _instant(raw: Mapping[str, Any]) -> datetime | None:
    """The instant of a payload whose fields are of their types; None where they are not, or it is no instant."""
    if set(raw) != _KEYS or not _well_formed(raw):
        return None
    try:
        return parse_instant(raw["at"])
    except (ValueError, OverflowError):
        return None


def _canonical(raw: Mapping[str, Any], payload: bytes) -> bool:
    try:
        return canonical_json(raw) == payload
    except (ValueError, RecursionError):
        # NaN, half a surrogate pair, or a nesting that can be read and not written.
        return False


def _well_formed(raw: Mapping[str, Any]) -> bool:
    texts = all(isinstance(raw[name], str) for name in ("previous", "type", "at", "principal"))
    if not texts or type(raw["position"]) is not int or not isinstance(raw["body"], dict):
        return False
    tags = raw["tags"]
    return _AT.fullmatch(raw["at"]) is not None and isinstance(tags, list) and all(_is_tag(tag) for tag in tags)


def _is_tag(tag: Any) -> bool:
    return (
        isinstance(tag, dict)
        and set(tag) == {"name", "object"}
        and all(isinstance(value, str) for value in tag.values())
        and _OBJECT.fullmatch(tag["object"]) is not None
    )


def read_chain(entries: Sequence[Entry]) -> tuple[Event, ...]:
    """Check the form, chain and signatures of a whole log.

    Raises:
        RegistryError: Naming the first position that is wrong.
    """
    events: list[Event] = []
    previous = GENESIS_PREVIOUS
    for position, entry in enumerate(entries):
        event = read_event(entry, position, previous)
        previous = event.digest
        events.append(event)
    return tuple(events)


def log_lines(entries: Iterable[Entry]) -> bytes:
    """A log as JSON lines: base64 of payload and signature."""
    return b"".join(entry.to_line() for entry in entries)


def parse_lines(data: bytes) -> tuple[Entry, ...]:
    """Read an exported log.

    Raises:
        RegistryError: Naming the position of the first damaged line.
    """
    lines = data.split(b"\n")
    if lines[-1]:
        raise broken(len(lines) - 1, "the log ends in the middle of a line")
    return tuple(Entry.from_line(line, position) for position, line in enumerate(lines[:-1]))

"""What an entry of the ledger is, and how its hash binds it to the one before."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from countermark.errors import LedgerError

KINDS = (
    "decision",
    "shadow",
    "outcome",
    "event",
    "override",
    "disposition",
    "import",
    "rollout",
    "routing",
    "finding",
    "monitor",
    "review",
    "action",
    "checkpoint",
    "key",
)
"""Every kind of entry; the set is closed so that a typing mistake does not hide a record from its readers."""

ONCE = ("decision", "event")
"""Kinds whose key is stored once on the whole ledger, whichever writer it comes to."""

GOES_WITH = {"shadow": "decision"}
"""Kinds that, in one transaction with an entry of the other kind under the same key, are stored only if that one is."""

GENESIS = bytes(32)
"""What the first entry of a chain names as the hash before it."""

MAX_PAYLOAD = 16 * 1024 * 1024
MAX_KEY = 512
_INSTANT = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
).fullmatch
_CHAIN = re.compile(r"[a-z][a-z0-9_-]{0,47}").fullmatch

Cursor = Mapping[str, int]
"""Where a reader stands: the last ``seq`` it has seen, by chain."""

Item = tuple[str, str, bytes, str]
"""What is appended: ``(kind, key, payload, at)``."""

Row = tuple[int, str, str, str, bytes, bytes, bytes]
"""A stored entry: ``(seq, at, kind, key, payload, previous, hash)``."""


class EntryRef(msgspec.Struct, frozen=True):
    """Where an entry lies, and its hash.

    Args:
        chain: Name of the chain.
        seq: Position on the chain, from 0.
        hash: SHA-256 of the entry, hex.
        repeated: Whether the decision or event was on the ledger before this append, so that nothing was added.
    """

    chain: str
    seq: int
    hash: str
    repeated: bool = False


class Entry(msgspec.Struct, frozen=True):
    """One durable record.

    Args:
        chain: Name of the chain.
        seq: Position on the chain, from 0.
        at: Instant that the writer gave it, ISO text in UTC with microseconds.
        kind: One of ``KINDS``.
        key: Decision id, entity, rollout id and so on.
        payload: The record's bytes as written.
        previous: Hash of the entry before, hex; 64 zeros at the start of a chain.
        hash: SHA-256 that binds all of the above, hex.
    """

    chain: str
    seq: int
    at: str
    kind: str
    key: str
    payload: bytes
    previous: str
    hash: str

    @property
    def ref(self) -> EntryRef:
        """Where it lies, and its hash."""
        return EntryRef(self.chain, self.seq, self.hash)

    @property
    def row(self) -> Row:
        """The entry as it is stored."""
        previous, digest = bytes.fromhex(self.previous), bytes.fromhex(self.hash)
        return self.seq, self.at, self.kind, self.key, self.payload, previous, digest

    def json(self) -> Any:
        """The payload read as JSON.

        Raises:
            LedgerError: If the payload is no JSON.
        """
        try:
            return msgspec.json.decode(self.payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LedgerError(
                f"the payload of entry {self.seq} of '{self.chain}' is no JSON",
                hint="verify the ledger: countermark ledger verify",
            ) from error


_make_entry: Callable[..., Entry] = Entry


def entry_of(chain: str, row: Row) -> Entry:
    """The entry that a stored row holds."""
    seq, at, kind, key, payload, previous, digest = row
    return _make_entry(chain, seq, at, kind, key, payload, previous.hex(), digest.hex())


def check_chain_name(name: str) -> None:
    """Refuse a name that could not be a file, a column value and a word in a message alike.

    Raises:
        LedgerError: If the name is not lower-case letters, digits, ``-`` and ``_``, starting with a letter.
    """
    if not _CHAIN(name):
        raise LedgerError(
            f"'{name}' cannot name a chain",
            expected="up to 48 lower-case letters, digits, '-' or '_', starting with a letter",
        )


def check_item(item: Item) -> None:
    """Refuse what could not be stored and found again; a message never shows the key or the payload.

    Raises:
        LedgerError: If kind, key, payload or instant is not what the ledger takes.
    """
    kind, key, payload, at = item
    if kind not in _FRAMED_KINDS:
        raise LedgerError(f"'{kind}' is no kind of entry", expected="one of " + ", ".join(KINDS))
    if not isinstance(key, str) or not key or len(key) > MAX_KEY or "\x00" in key or not _encodable(key):
        raise LedgerError(
            f"the key of this {kind} cannot be stored",
            expected=f"text of 1 to {MAX_KEY} characters without NUL",
            got=f"{type(key).__name__} of length {len(key)}" if isinstance(key, str) else type(key).__name__,
        )
    if type(payload) is not bytes or len(payload) > MAX_PAYLOAD:
        raise LedgerError(
            f"the payload of this {kind} cannot be stored",
            expected=f"bytes, at most {MAX_PAYLOAD}",
            got=f"{len(payload)} bytes" if isinstance(payload, bytes) else type(payload).__name__,
        )
    if not isinstance(at, str) or not _INSTANT(at):
        raise LedgerError(
            f"the instant of this {kind} is not in the form that sorts in time",
            expected="text such as 2026-12-04T14:00:00.000000Z",
            got=repr(at)[:60],
        )


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# Framing: every field is preceded by its length as four bytes, big end first, so that no two entries have one message.
_LENGTH = struct.Struct(">I").pack
_SEQ_AT = struct.Struct(">IQI").pack


def _framed(data: bytes) -> bytes:
    return _LENGTH(len(data)) + data


_FRAMED_KINDS = {kind: _framed(kind.encode("ascii")) for kind in KINDS}


def entry_hash(chain: str, row: Row) -> bytes:
    """SHA-256 of ``previous`` and the length-prefixed chain, seq, at, kind, key and payload.

    The seq is eight bytes, big end first; texts are UTF-8; lengths are four bytes, big end first.
    """
    seq, at, kind, key, payload, previous, _ = row
    instant = at.encode("utf-8")
    return hashlib.sha256(
        b"".join(
            (
                previous,
                _framed(chain.encode("utf-8")),
                _SEQ_AT(8, seq, len(instant)),
                instant,
                _framed(kind.encode("utf-8")),
                _framed(key.encode("utf-8")),
                _LENGTH(len(payload)),
                payload,
            )
        )
    ).digest()


def intact(chain: str, row: Row) -> bool:
    """Whether a stored row is well formed and its fields give its hash.

    A damaged file gives whatever it holds: a number for a text, or bytes that are no text any more.
    """
    return (
        isinstance(row[0], int)
        and all(isinstance(text, str) and _encodable(text) for text in row[1:4])
        and all(isinstance(data, bytes) for data in row[4:7])
        and 0 <= row[0] < 1 << 63
        and entry_hash(chain, row) == row[6]
    )


def link(chain: str, seq: int, previous: bytes, items: Iterable[Item]) -> list[Row]:
    """Rows that continue a chain: the hot path, once for every entry that is written.

    Args:
        chain: Name of the chain.
        seq: Position of the first new entry.
        previous: Hash of the entry before it; ``GENESIS`` at the start.
        items: Checked items, in order.
    """
    framed_chain = _framed(chain.encode("utf-8"))
    sha256, kinds, length, seq_at = hashlib.sha256, _FRAMED_KINDS, _LENGTH, _SEQ_AT
    rows: list[Row] = []
    for kind, key, payload, at in items:
        name = key.encode("utf-8")
        instant = at.encode("ascii")
        digest = sha256(
            b"".join(
                (
                    previous,
                    framed_chain,
                    seq_at(8, seq, len(instant)),
                    instant,
                    kinds[kind],
                    length(len(name)),
                    name,
                    length(len(payload)),
                    payload,
                )
            )
        ).digest()
        rows.append((seq, at, kind, key, payload, previous, digest))
        previous = digest
        seq += 1
    return rows

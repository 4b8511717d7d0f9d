"""Checkpoints: what every chain looked like at one moment, small enough to sign, print and hand to somebody else.

A chain alone cannot show that its last entries were cut off, or that it was written anew from the start. A checkpoint
held by a second party can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import msgspec

from countermark.errors import LedgerError
from countermark.records.clock import parse_instant
from countermark.records.digest import canonical_json, sha256_hex

FORMAT = "countermark/checkpoint/1"
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class ChainHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain at the moment of a checkpoint.

    Args:
        hash: Hash of the last entry, hex.
        root: Root of the Merkle tree over the hashes of all entries, hex.
        size: Number of entries.
    """

    hash: Digest
    root: Digest
    size: Annotated[int, msgspec.Meta(ge=1)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: str
    chains: dict[str, ChainHead]
    format: str


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Chains at one moment, and perhaps a signature of it.

    Args:
        body: Canonical JSON as text; these bytes are what is signed.
        frontier: By chain, the roots of the perfect subtrees in hex: lets the next checkpoint read new entries only.
            Not signed; it is checked against the root before it is used.
        signature: Signature of the body, or None.
    """

    body: str
    frontier: dict[str, list[Digest]]
    signature: str | None = None

    @property
    def at(self) -> str:
        """When it was taken."""
        return self._read().at

    @property
    def chains(self) -> dict[str, ChainHead]:
        """Size, last hash and root by chain."""
        return self._read().chains

    @property
    def digest(self) -> str:
        """SHA-256 of the body, hex: what a review prints."""
        return sha256_hex(self.body.encode("utf-8"))

    def _read(self) -> _Body:
        return msgspec.json.decode(self.body, type=_Body)

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(msgspec.to_builtins(self))

    @classmethod
    def of(cls, at: str, chains: Mapping[str, ChainHead], frontier: Mapping[str, list[str]]) -> Checkpoint:
        """An unsigned checkpoint."""
        body = {
            "at": at,
            "chains": {name: msgspec.to_builtins(head) for name, head in chains.items()},
            "format": FORMAT,
        }
        return cls(canonical_json(body).decode("utf-8"), dict(frontier))

    @classmethod
    def from_json(cls, data: bytes) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            LedgerError: If the bytes are no checkpoint of a known format.
        """
        try:
            found = msgspec.json.decode(data, type=cls)
            body = found._read()
            parse_instant(body.at)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise LedgerError("this is no checkpoint", got=str(error)) from error
        if body.format != FORMAT:
            raise LedgerError("this checkpoint has an unknown format", expected=FORMAT, got=repr(body.format))
        if canonical_json(json.loads(found.body)).decode("utf-8") != found.body:
            raise LedgerError("this checkpoint is not in canonical form")
        return found

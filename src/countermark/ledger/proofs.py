"""Short proofs for somebody who holds a checkpoint and not the ledger.

One proves that a checkpoint covers an entry, the other that a later checkpoint only added to an earlier one.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import msgspec

from countermark.errors import LedgerError
from countermark.ledger.checkpoint import Checkpoint, Digest
from countermark.ledger.entry import Entry, Row, entry_of, intact
from countermark.ledger.export import Line, line_of, row_of
from countermark.ledger.merkle import includes, is_consistent
from countermark.records.digest import canonical_json

INCLUSION: Literal["countermark/inclusion/1"] = "countermark/inclusion/1"
CONSISTENCY: Literal["countermark/consistency/1"] = "countermark/consistency/1"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry, and what shows that a checkpoint covers it.

    Args:
        checkpoint: The checkpoint, with its signature if it has one.
        entry: The entry as an export writes it.
        format: ``countermark/inclusion/1``.
        path: Hashes beside the way from the entry to the root of its chain's Merkle tree, hex.
    """

    checkpoint: Checkpoint
    entry: Line
    format: Literal["countermark/inclusion/1"]
    path: list[Digest]

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(msgspec.to_builtins(self))


class GrowthProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two checkpoints, and what shows that every chain of the earlier one only grew.

    Args:
        earlier: The earlier checkpoint.
        format: ``countermark/consistency/1``.
        later: The later checkpoint.
        paths: Consistency path of every chain of the earlier checkpoint, hex.
    """

    earlier: Checkpoint
    format: Literal["countermark/consistency/1"]
    later: Checkpoint
    paths: dict[str, list[Digest]]

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(msgspec.to_builtins(self))


P = TypeVar("P", Proof, GrowthProof)


def proof_of(chain: str, row: Row, path: Iterable[bytes], checkpoint: Checkpoint) -> Proof:
    """Put the proof of an entry together."""
    return Proof(_short(checkpoint), line_of(chain, row), INCLUSION, [node.hex() for node in path])


def growth_of(earlier: Checkpoint, later: Checkpoint, paths: Mapping[str, Iterable[bytes]]) -> GrowthProof:
    """Put the proof of two checkpoints together."""
    coded = {chain: [node.hex() for node in path] for chain, path in paths.items()}
    return GrowthProof(_short(earlier), CONSISTENCY, _short(later), coded)


def _short(checkpoint: Checkpoint) -> Checkpoint:
    """Without the frontier, which serves the ledger's next checkpoint only."""
    return Checkpoint(checkpoint.body, {}, checkpoint.signature)


def verify_proof(data: bytes) -> tuple[Entry, Checkpoint]:
    """Check that the checkpoint in a proof covers the entry in it; the checkpoint's signature is the caller's to check.

    Returns:
        The proven entry and the checkpoint.

    Raises:
        LedgerError: If it does not prove that.
    """
    proof = _decoded(data, Proof, "this is no proof of an entry")
    checkpoint = Checkpoint.from_json(proof.checkpoint.to_json())
    try:
        row = row_of(proof.entry)
    except (ValueError, binascii.Error) as error:
        raise LedgerError("this is no proof of an entry") from error
    chain, seq = proof.entry.chain, proof.entry.seq
    if not intact(chain, row):
        raise LedgerError(f"the entry in this proof (chain '{chain}', seq {seq}) was changed")
    head = checkpoint.chains.get(chain)
    path = [bytes.fromhex(node) for node in proof.path]
    if head is None or not includes(row[6], seq, head.size, path, bytes.fromhex(head.root)):
        raise LedgerError(f"the checkpoint of {checkpoint.at} does not cover entry {seq} of chain '{chain}'")
    return entry_of(chain, row), checkpoint


def verify_growth(data: bytes) -> tuple[Checkpoint, Checkpoint]:
    """Check that the later checkpoint in a proof only added to the earlier one; signatures are the caller's to check.

    Returns:
        The earlier and the later checkpoint.

    Raises:
        LedgerError: If it does not prove that, with the chain that was cut or written anew.
    """
    proof = _decoded(data, GrowthProof, "this is no proof of two checkpoints")
    earlier, later = (Checkpoint.from_json(one.to_json()) for one in (proof.earlier, proof.later))
    after = later.chains
    for chain, head in sorted(earlier.chains.items()):
        grown = after.get(chain)
        path = [bytes.fromhex(node) for node in proof.paths.get(chain, [])]
        if grown is None or not is_consistent(
            head.size, bytes.fromhex(head.root), grown.size, bytes.fromhex(grown.root), path
        ):
            raise LedgerError(
                f"the checkpoint of {later.at} does not continue chain '{chain}' of the checkpoint of {earlier.at}"
            )
    return earlier, later


def _decoded(data: bytes, kind: type[P], what: str) -> P:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerError(what, got=str(error)) from error

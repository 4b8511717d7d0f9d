"""Append-only, hash-chained, durable records of decisions, outcomes and rollout events."""

from countermark.ledger.checkpoint import Checkpoint
from countermark.ledger.committer import GroupCommitter
from countermark.ledger.entry import KINDS, Cursor, Entry, EntryRef
from countermark.ledger.export import verify_export
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.ledger.proofs import verify_growth, verify_proof
from countermark.ledger.verification import Problem, VerifyReport

__all__ = [
    "KINDS",
    "Checkpoint",
    "Cursor",
    "Entry",
    "EntryRef",
    "GroupCommitter",
    "Ledger",
    "Problem",
    "VerifyReport",
    "open_ledger",
    "verify_export",
    "verify_growth",
    "verify_proof",
]

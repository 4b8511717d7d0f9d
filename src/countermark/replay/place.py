"""Where an entry stands on the ledger: between its neighbours, and in a checkpoint that somebody answers for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from countermark.errors import LedgerError, RegistryError
from countermark.ledger.checkpoint import ChainHead, Checkpoint
from countermark.ledger.entry import GENESIS, Entry, Row, intact
from countermark.ledger.ledger import Ledger, pass_over
from countermark.ledger.merkle import root
from countermark.registry.sshsig import CHECKPOINT_NAMESPACE, verify
from countermark.registry.state import RegistryState

UNWITNESSED = "not witnessed by a checkpoint"
Differs = tuple[str, str, str]
"""What, as it was recorded, as it is found."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of an entry's place.

    Attributes:
        linked: Whether the entries before and after it name it, and are whole themselves.
        checkpoint: The newest checkpoint that covers it and that somebody answers for; else the newest that covers it.
        by: Who answers for that checkpoint: the principal that signed it, or the signed review that names it.
        included: Whether the chain is still the one that this checkpoint saw, with the entry in its place.
        told: The witness in a sentence.
        differences: What is not as it was.
    """

    linked: bool
    checkpoint: Checkpoint | None
    by: str | None
    included: bool
    told: str
    differences: tuple[Differs, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A checkpoint of the ledger.

    Attributes:
        taken: The checkpoint.
        chains: Its chains, read once.
        by: Who answers for it, or None.
        fault: Why its signature does not hold, or None.
        stranger: Whether a key signed it that is nobody's now.
    """

    taken: Checkpoint
    chains: dict[str, ChainHead]
    by: str | None
    fault: str | None
    stranger: bool


class Places:
    """Looks up the places of entries; checkpoints and chains are read once.

    A checkpoint counts if its signature verifies with a key of the governance state that is neither revoked nor lapsed,
    or if a signed review on the log names its digest. Anybody who can write to the ledger can add any other.

    Args:
        ledger: The ledger.
        state: The fold of the signed log.
    """

    def __init__(self, ledger: Ledger, state: RegistryState) -> None:
        self._ledger = ledger
        self._state = state
        self._leaves: dict[tuple[str, str], list[bytes] | None] = {}

    def of(self, entry: Entry) -> Place:
        """The place of an entry whose own hash was checked.

        Raises:
            LedgerError: If the ledger cannot be read.
        """
        broken = tuple(self._links(entry))
        covering = [seen for seen in self._seen if _covers(seen, entry)]
        shown = next((seen for seen in covering if seen.by is not None), covering[0] if covering else None)
        differences = list(broken)
        for seen in covering:
            if seen.fault is not None:
                differences.append(
                    ("checkpoint", f"the signature of the checkpoint of {_second(seen.taken)}", seen.fault)
                )
            if seen is shown:
                break
        included = shown is not None and self._holds(shown, entry)
        if shown is not None and not included:
            saw = f"entry {entry.seq} of chain '{entry.chain}' in the checkpoint of {_second(shown.taken)}"
            differences.append(("checkpoint", saw, "a chain that it did not see"))
        return Place(
            linked=not broken,
            checkpoint=None if shown is None else shown.taken,
            by=None if shown is None else shown.by,
            included=included,
            told=self._told(shown, included=included),
            differences=tuple(differences),
        )

    def _links(self, entry: Entry) -> Iterator[Differs]:
        chain, seq = entry.chain, entry.seq
        if seq == 0:
            if entry.previous != GENESIS.hex():
                yield "ledger", f"first of chain '{chain}'", "an entry that names one before it"
        else:
            before = self._ledger.row(chain, seq - 1)
            yield from _neighbour(chain, seq - 1, before)
            if before is not None and before[6].hex() != entry.previous:
                yield "ledger", f"after hash {entry.previous[:16]}", f"entry {seq - 1} has hash {before[6].hex()[:16]}"
        # The head is read first: an entry that is written meanwhile is then no gap.
        head = self._ledger.heads().get(chain, (seq, ""))[0]
        after = self._ledger.row(chain, seq + 1)
        if after is not None:
            yield from _neighbour(chain, seq + 1, after)
            if after[5].hex() != entry.hash:
                yield "ledger", f"hash {after[5].hex()[:16]}, as entry {seq + 1} says", f"hash {entry.hash[:16]}"
        elif head > seq:
            yield "ledger", f"entry {seq + 1} of chain '{chain}'", "none"

    @cached_property
    def _seen(self) -> list[_Seen]:
        """Checkpoints on the ledger, newest first."""
        found = []
        # 'countermark ledger verify' names one that was changed or is none; it can witness nothing.
        for entry in self._ledger.read(["checkpoint"], damaged=pass_over):
            try:
                taken = Checkpoint.from_json(entry.payload)
            except LedgerError:
                continue
            found.append(self._judged(taken))
        return sorted(found, key=lambda seen: seen.taken.at, reverse=True)

    def _judged(self, taken: Checkpoint) -> _Seen:
        by = self._reviews.get(taken.digest)
        if taken.signature is None:
            return _Seen(taken, taken.chains, by, None, False)
        try:
            key = verify(taken.body.encode("utf-8"), taken.signature.encode("utf-8"), CHECKPOINT_NAMESPACE)
        except RegistryError as error:
            return _Seen(taken, taken.chains, None, error.what, False)
        author = self._state.governance.author(key)
        if author is None or key in self._state.revoked or author.expires <= self._state.now:
            return _Seen(taken, taken.chains, by, None, True)
        return _Seen(taken, taken.chains, f"signed by {author.principal} ({author.person})", None, False)

    @cached_property
    def _reviews(self) -> dict[str, str]:
        """Which signed review names a checkpoint, by digest."""
        return {
            body.checkpoint: f"named by review {body.review}, signed by {event.principal}"
            for event, body in self._state.reviews
            if body.checkpoint is not None
        }

    def _holds(self, seen: _Seen, entry: Entry) -> bool:
        key = (seen.taken.digest, entry.chain)
        if key not in self._leaves:
            head = seen.chains[entry.chain]
            leaves = list(self._ledger.hashes(entry.chain, -1, head.size - 1))
            whole = len(leaves) == head.size and root(leaves).hex() == head.root
            self._leaves[key] = leaves if whole else None
        found = self._leaves[key]
        return found is not None and found[entry.seq].hex() == entry.hash

    def _told(self, shown: _Seen | None, *, included: bool) -> str:
        if shown is not None and shown.by is not None:
            word = "witnessed by" if included else "NOT what was seen by"
            return f"{word} the checkpoint of {_second(shown.taken)}, {shown.by}"
        if not self._seen:
            return f"{UNWITNESSED}: there is none on the ledger"
        if shown is None:
            return f"{UNWITNESSED}: the newest, of {_second(self._seen[0].taken)}, is older than the entry"
        why = "signed by a key that nobody answers for" if shown.stranger else "not signed"
        return f"{UNWITNESSED} that anybody answers for: the newest, of {_second(shown.taken)}, is {why}"


def _second(taken: Checkpoint) -> str:
    """When a checkpoint was taken, as people read it."""
    return f"{taken.at[:19]}Z"


def _covers(seen: _Seen, entry: Entry) -> bool:
    head = seen.chains.get(entry.chain)
    return head is not None and head.size > entry.seq


def _neighbour(chain: str, seq: int, row: Row | None) -> Iterator[Differs]:
    if row is None:
        yield "ledger", f"entry {seq} of chain '{chain}'", "none"
    elif not intact(chain, row):
        yield "ledger", f"entry {seq} of chain '{chain}' beside it", "changed after it was written"

"""Which decisions are replayed when not all of them are: a draw that anybody can repeat."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator

from countermark.errors import ReplayError
from countermark.ledger.entry import Entry, entry_of
from countermark.ledger.ledger import Ledger


def draw(
    ledger: Ledger,
    count: int,
    seed: int,
    *,
    model: str | None = None,
    after: str = "",
    until: str | None = None,
    counts: Callable[[Entry], bool] | None = None,
) -> tuple[str, ...]:
    """Ids of a random sample of decisions: those with the smallest SHA-256 of ``SEED:ID``.

    The draw depends on the seed and on which decisions there are, not on the order or the chain they were written to. A
    decision that was changed since is drawn by what it says now: replaying it names the damage.

    Args:
        ledger: The ledger.
        count: How many; fewer where there are fewer.
        seed: Seed of the draw.
        model: Only decisions of this model.
        after: ISO instant; only decisions written later.
        until: ISO instant; only decisions written by then.
        counts: Whether a decision is one of them at all, whatever its date; every one is otherwise.

    Raises:
        ReplayError: If not one decision is wanted.
        LedgerError: If the ledger cannot be read.
    """
    if count < 1:
        raise ReplayError("nothing to replay", expected="a sample of one decision or more", got=str(count))
    marker = None if model is None else f'"model":"{model}"'.encode()
    changed: list[Entry] = []

    def within(entry: Entry) -> bool:
        return entry.at > after and (until is None or entry.at <= until) and (counts is None or counts(entry))

    def keys() -> Iterator[str]:
        for entry in ledger.read(["decision"], damaged=lambda chain, row: changed.append(entry_of(chain, row))):
            if within(entry) and (marker is None or (marker in entry.payload and entry.json()["model"] == model)):
                yield entry.key
        for entry in changed:
            if within(entry) and (marker is None or marker in entry.payload):
                yield entry.key

    return tuple(heapq.nsmallest(count, keys(), key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()))

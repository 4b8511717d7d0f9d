"""The ledger as every room sees it, whatever stores it."""

from __future__ import annotations

import heapq
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from countermark.errors import LedgerError
from countermark.ledger.checkpoint import ChainHead, Checkpoint
from countermark.ledger.entry import (
    KINDS,
    Cursor,
    Entry,
    EntryRef,
    Item,
    Row,
    check_chain_name,
    check_item,
    entry_of,
    intact,
)
from countermark.ledger.export import write_export
from countermark.ledger.merkle import Frontier, consistency_path, inclusion_path, root
from countermark.ledger.proofs import GrowthProof, Proof, growth_of, proof_of
from countermark.ledger.verification import Problem, Progress, VerifyReport, verify_chains

PAGE = 512
"""Rows per query: short read transactions, so that a slow reader holds nothing back."""

Damaged = Callable[[str, Row], None]
"""Takes the chain and the row of an entry that was changed after it was written."""


class ChainWriter(Protocol):
    """The one writer of a chain."""

    @property
    def chain(self) -> str:
        """Name of the chain."""

    def write(self, items: list[Item], fresh: Container[str]) -> list[EntryRef]:
        """Store checked items in one transaction; durable when it returns.

        Args:
            items: The items.
            fresh: Keys that no chain can hold yet.

        Raises:
            LedgerError: If they could not be stored.
        """

    def close(self) -> None:
        """Give up the chain."""


class Ledger(ABC):
    """Append-only, hash-chained, durable records on one or more chains.

    A chain has one writer at a time. Whoever appends takes a chain at the first append (or at ``acquire``) and keeps it
    until ``close`` or the end of the process; whoever only reads takes none. Safe to share between threads of one
    process; a forked child must open its own.
    """

    url: str

    def __init__(self, writer: str | None) -> None:
        if writer is not None:
            check_chain_name(writer)
        self._name = writer
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._writer: ChainWriter | None = None
        self._pid = os.getpid()

    # --- writing

    @abstractmethod
    def _take(self) -> ChainWriter:
        """Take the chain to write to.

        Raises:
            LedgerError: If a named chain has another writer, or the chain cannot be continued.
        """

    def _own_process(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError(
                "this ledger was opened before the process forked",
                expected="every process opens its own",
                hint="call open_ledger in the worker, after the fork",
            )

    def _acquired(self) -> ChainWriter:
        self._own_process()
        if self._writer is None:
            self._writer = self._take()
        return self._writer

    def acquire(self) -> str:
        """Take a chain to write to, now rather than at the first append; its name.

        Raises:
            LedgerError: If a named chain has another writer, or the chain cannot be continued.
        """
        with self._writing:
            return self._acquired().chain

    @property
    def chain(self) -> str | None:
        """Name of the chain that this ledger writes to; None before the first append."""
        return None if self._writer is None else self._writer.chain

    def store(self, items: list[Item], fresh: Container[str] = ()) -> list[EntryRef]:
        """Store items that ``check_item`` has passed, in one transaction; durable when it returns.

        Args:
            items: The items.
            fresh: Keys that were drawn at random for these items: no chain has to be searched for them.

        Raises:
            LedgerError: If they cannot be stored. Nothing is then acknowledged.
        """
        with self._writing:
            return self._acquired().write(items, fresh)

    def close(self) -> None:
        """Give up the chain and the connections."""
        if os.getpid() != self._pid:
            return
        with self._writing, self._reading:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self._close_reader()

    @abstractmethod
    def _close_reader(self) -> None:
        """Give up what was opened to read."""

    def append(self, kind: str, key: str, payload: bytes, at: str) -> EntryRef:
        """Store one entry; it is durable when this returns.

        A decision whose key is on the ledger is not stored again: the reference of the stored one comes back, with
        ``repeated`` set.

        Args:
            kind: One of ``KINDS``.
            key: What to find it by: decision id, entity, rollout id.
            payload: The record as bytes.
            at: Instant as ISO text in UTC with microseconds.

        Raises:
            LedgerError: If the entry cannot be stored. Nothing is then acknowledged.
        """
        return self.append_many([(kind, key, payload, at)])[0]

    def append_many(self, items: Iterable[Item]) -> list[EntryRef]:
        """Store entries in one transaction, in this order: all of them or none; durable when it returns.

        Args:
            items: Tuples ``(kind, key, payload, at)``.

        Raises:
            LedgerError: If they cannot be stored. Nothing is then acknowledged.
        """
        checked = list(items)
        for item in checked:
            check_item(item)
        return self.store(checked) if checked else []

    # --- reading

    @abstractmethod
    def chains(self) -> list[str]:
        """Names of the chains, sorted."""

    @abstractmethod
    def heads(self) -> dict[str, tuple[int, str]]:
        """Position and hash of the last entry of every chain that has one."""

    @abstractmethod
    def row(self, chain: str, seq: int) -> Row | None:
        """The stored row at a place."""

    @abstractmethod
    def hashes(self, chain: str, after: int, until: int) -> Iterator[bytes]:
        """Hashes of the entries with ``after < seq <= until``, in order of seq."""

    @abstractmethod
    def structure(self) -> list[Problem]:
        """What is wrong beside the entries themselves: indexes that hide one, decisions that are there twice."""

    @abstractmethod
    def _page(self, chain: str, kind: str | None, after: int, until: int) -> list[Row]:
        """At most ``PAGE`` rows with ``after < seq <= until`` in order of seq."""

    @abstractmethod
    def _find(self, kind: str, key: str) -> list[tuple[str, Row]]:
        """Rows of a kind and key with their chain, in any order."""

    def get(self, kind: str, key: str) -> list[Entry]:
        """Every entry of a kind and key, oldest first.

        Raises:
            LedgerError: If the kind is unknown, the ledger cannot be read, or one of the entries was changed.
        """
        _known_kind(kind)
        found = [entry for at in self._find(kind, key) if (entry := _sound(*at, None)) is not None]
        return sorted(found, key=lambda entry: (entry.at, entry.chain, entry.seq))

    def cursor(self) -> dict[str, int]:
        """A cursor at the end: what is read after it was written after this call."""
        return {chain: seq for chain, (seq, _) in self.heads().items()}

    def read(
        self,
        kinds: Iterable[str] | None = None,
        after: Cursor | None = None,
        limit: int | None = None,
        *,
        damaged: Damaged | None = None,
    ) -> Iterator[Entry]:
        """Entries in order of their chain, each with its hash checked; between chains by instant.

        What is written after the call is not part of it. To go on later, keep ``cursor[entry.chain] = entry.seq`` of
        the entries that were seen. A poll that finds nothing costs one look-up per chain.

        Args:
            kinds: Kinds to read; all of them otherwise.
            after: Cursor; from the start otherwise.
            limit: Most entries to give.
            damaged: For a reader that has to go on: told of every entry that was changed, which is then passed over.
                It is told between the entries of that chain before and after.

        Raises:
            LedgerError: If a kind is unknown, the ledger cannot be read, or, without ``damaged``, an entry was changed.
        """
        wanted = None if kinds is None else sorted(set(kinds))
        for kind in wanted or ():
            _known_kind(kind)
        seen = {} if after is None else after
        # The heads are fixed first: without that bound a kind read later could run ahead of one read earlier, and the
        # reader's cursor would step over entries it never saw.
        spans = [(chain, seen.get(chain, -1), head) for chain, (head, _) in sorted(self.heads().items())]
        spans = [span for span in spans if span[1] < span[2]]
        streams = [self._stream(chain, wanted, start, head, damaged) for chain, start, head in spans]
        return self._merge(streams, limit)

    def _merge(self, streams: list[Iterator[Entry]], limit: int | None) -> Iterator[Entry]:
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda entry: entry.at)
        left = limit
        for entry in merged if streams else ():
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield entry

    def _stream(
        self, chain: str, kinds: list[str] | None, after: int, head: int, damaged: Damaged | None
    ) -> Iterator[Entry]:
        if kinds is None or len(kinds) == len(KINDS):
            rows = self.rows(chain, None, after, head)
        else:
            rows = heapq.merge(*(self.rows(chain, kind, after, head) for kind in kinds), key=lambda row: row[0])
        for row in rows:
            entry = _sound(chain, row, damaged)
            if entry is not None:
                yield entry

    def rows(self, chain: str, kind: str | None, after: int, until: int) -> Iterator[Row]:
        """Rows of a chain with ``after < seq <= until``, of one kind or of all, in order of seq."""
        while after < until:
            page = self._page(chain, kind, after, until)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def latest(self, kind: str, *, chain: str | None = None, damaged: Damaged | None = None) -> Entry | None:
        """The entry of a kind with the newest instant (of equal instants, the last on its chain), or None.

        Args:
            kind: The kind.
            chain: Look on this chain only: then it is the last there, whatever its instant.
            damaged: Told of the last entry of a chain that was changed; the chain then counts as if it had none.

        Raises:
            LedgerError: If the ledger cannot be read, or, without ``damaged``, the last entry of a chain was changed.
        """
        _known_kind(kind)
        chains = list(self.heads()) if chain is None else [name for name in self.chains() if name == chain]
        last = [(name, row) for name in chains if (row := self._last(name, kind)) is not None]
        found = [entry for name, row in last if (entry := _sound(name, row, damaged)) is not None]
        return max(found, key=lambda entry: (entry.at, entry.seq, entry.chain), default=None)

    @abstractmethod
    def _last(self, chain: str, kind: str) -> Row | None:
        """The last row of a kind on a chain."""

    # --- proof

    def verify(self, progress: Progress | None = None, checkpoints: Iterable[Checkpoint] = ()) -> VerifyReport:
        """Walk every chain from its start and compare it with the checkpoints on the chains and those given.

        Args:
            progress: Called now and then with the chain and the entries walked on it.
            checkpoints: Checkpoints that somebody else has kept. Only such a one can show that the end of the ledger
                was cut off, or that all of it was written anew.

        Raises:
            LedgerError: If the ledger cannot be reached at all; damage is reported, not raised.
        """
        return verify_chains(self, checkpoints, progress)

    def export(self, path: Path) -> str:
        """Write all entries as JSON lines that ``verify_export`` checks without this ledger.

        What is written meanwhile is not part of it. The same entries give the same bytes, whatever stores them.

        Returns:
            SHA-256 of the file, hex.

        Raises:
            LedgerError: If the ledger cannot be read or the file cannot be written.
        """
        heads = self.heads()
        return write_export(
            path, heads, ((chain, self.rows(chain, None, -1, heads[chain][0])) for chain in sorted(heads))
        )

    def checkpoint(self, at: str, sign: Callable[[bytes], str] | None = None) -> Checkpoint:
        """Write down where every chain stands, as an entry of its own, and hand it out to be kept elsewhere.

        Args:
            at: Instant as ISO text in UTC with microseconds.
            sign: Makes a signature of the checkpoint's body.

        Raises:
            LedgerError: If the ledger cannot be read, or does not agree with its last checkpoint.
        """
        last = self.latest("checkpoint")
        earlier = None if last is None else Checkpoint.from_json(last.payload)
        chains: dict[str, ChainHead] = {}
        frontier: dict[str, list[str]] = {}
        for chain, (seq, digest) in sorted(self.heads().items()):
            tree = self._tree(chain, earlier)
            for stored in self.hashes(chain, tree.size - 1, seq):
                tree.add(stored)
            if tree.size != seq + 1:
                raise LedgerError(
                    f"chain '{chain}' has a gap: no checkpoint of it can be taken",
                    hint="verify the ledger: countermark ledger verify",
                )
            chains[chain] = ChainHead(digest, tree.root().hex(), tree.size)
            frontier[chain] = [node.hex() for node in tree.nodes]
        taken = Checkpoint.of(at, chains, frontier)
        if sign is not None:
            taken = Checkpoint(taken.body, taken.frontier, sign(taken.body.encode("utf-8")))
        self.append("checkpoint", taken.digest, taken.to_json(), at)
        return taken

    def _tree(self, chain: str, earlier: Checkpoint | None) -> Frontier:
        """The tree over a chain as far as the last checkpoint saw it."""
        head = None if earlier is None else earlier.chains.get(chain)
        if head is None or earlier is None:
            return Frontier()
        row = self.row(chain, head.size - 1)
        try:
            tree = Frontier(head.size, [bytes.fromhex(node) for node in earlier.frontier.get(chain, [])])
        except ValueError:
            tree = Frontier()
        if row is None or row[6].hex() != head.hash or tree.root().hex() != head.root:
            raise LedgerError(
                f"chain '{chain}' is not what the checkpoint of {earlier.at} saw",
                expected=f"{head.size} entries at least, the last of them with its hash",
                hint="verify the ledger: countermark ledger verify",
            )
        return tree

    def prove(self, kind: str, key: str, checkpoint: Checkpoint) -> Proof:
        """A short proof that a checkpoint covers an entry: some twenty hashes for a million entries.

        Args:
            kind: Kind of the entry.
            key: Its key; the first entry of that kind and key is proven.
            checkpoint: A checkpoint taken after the entry was written.

        Raises:
            LedgerError: If there is no such entry, or the checkpoint does not cover it.
        """
        found = self.get(kind, key)
        if not found:
            raise LedgerError(f"the ledger has no {kind} with this key")
        entry = found[0]
        head = checkpoint.chains.get(entry.chain)
        if head is None or head.size <= entry.seq:
            raise LedgerError(
                f"the checkpoint of {checkpoint.at} is older than this {kind}",
                hint="take a new one: countermark ledger checkpoint",
            )
        leaves = self._leaves(entry.chain, head, checkpoint)
        return proof_of(entry.chain, entry.row, inclusion_path(leaves, entry.seq), checkpoint)

    def prove_growth(self, earlier: Checkpoint, later: Checkpoint) -> GrowthProof:
        """A short proof that a later checkpoint only added to an earlier one, for somebody who holds both.

        Raises:
            LedgerError: If it did not, or one of them is not of this ledger.
        """
        paths: dict[str, list[bytes]] = {}
        after = later.chains
        for chain, head in earlier.chains.items():
            grown = after.get(chain)
            if grown is None or grown.size < head.size:
                raise LedgerError(
                    f"the checkpoint of {later.at} saw less of chain '{chain}' than the one of {earlier.at}",
                    hint="name the earlier checkpoint first",
                )
            self._leaves(chain, head, earlier)
            paths[chain] = consistency_path(self._leaves(chain, grown, later), head.size)
        return growth_of(earlier, later, paths)

    def _leaves(self, chain: str, head: ChainHead, checkpoint: Checkpoint) -> list[bytes]:
        leaves = list(self.hashes(chain, -1, head.size - 1))
        if root(leaves).hex() != head.root:
            raise LedgerError(
                f"chain '{chain}' is not what the checkpoint of {checkpoint.at} saw",
                hint="verify the ledger: countermark ledger verify",
            )
        return leaves

    # --- lifetime

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pass_over(_chain: str, _row: Row) -> None:
    """For readers to whom an entry that was changed is as good as none."""


def what_changed(chain: str, row: Row) -> str:
    """Which entry was changed, in words."""
    return f"entry {row[0]} of chain '{chain}' was changed after it was written"


def _sound(chain: str, row: Row, damaged: Damaged | None) -> Entry | None:
    """The entry of a row whose fields give its hash; ``damaged`` is told of any other, or else it is refused."""
    if intact(chain, row):
        return entry_of(chain, row)
    if damaged is None:
        raise LedgerError(what_changed(chain, row), hint="verify the ledger: countermark ledger verify")
    damaged(chain, row)
    return None


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise LedgerError(f"'{kind}' is no kind of entry", expected="one of " + ", ".join(KINDS))

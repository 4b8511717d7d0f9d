"""Whether chains are what their writers acknowledged: one walk, for a store and for an export alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from countermark.errors import LedgerError
from countermark.ledger.checkpoint import ChainHead, Checkpoint
from countermark.ledger.entry import GENESIS, KINDS, Row, intact
from countermark.ledger.merkle import Frontier
from countermark.records.clock import parse_instant

TOLERANCE = 60.0
"""Seconds by which instants on a chain may go back: concurrent requests and a clock that is set are no news."""

_MOST = 100
_END = (1 << 62) - 1
_EVERY = 10_000


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Args:
        chain: Name of the chain.
        seq: Position of the entry, or None where the chain as a whole is meant.
        what: What is wrong with it.
    """

    chain: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        return f"chain '{self.chain}'" + ("" if self.seq is None else f", seq {self.seq}") + f": {self.what}"


class Backdated(msgspec.Struct, frozen=True):
    """An entry whose instant lies well before an earlier entry of its chain, or a checkpoint that did not see it.

    Args:
        chain: Name of the chain.
        seq: Position of the entry.
        seconds: How far it goes back.
    """

    chain: str
    seq: int
    seconds: float


class VerifyReport(msgspec.Struct, frozen=True):
    """What a verification found.

    Args:
        chains: Entries walked, by chain.
        problems: What is wrong, at most a hundred, in order of chain and position.
        backdated: Entries whose instant goes back by more than a minute, at most a hundred. The order of entries is
            proven by the chain; an instant is only what the writer said.
        checkpoints: Checkpoints that were compared.
    """

    chains: dict[str, int]
    problems: tuple[Problem, ...]
    backdated: tuple[Backdated, ...]
    checkpoints: int

    @property
    def entries(self) -> int:
        """Entries walked."""
        return sum(self.chains.values())

    @property
    def first_problem(self) -> Problem | None:
        """The first thing that is wrong, or None."""
        return self.problems[0] if self.problems else None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class Source(Protocol):
    """Chains that can be walked."""

    def chains(self) -> list[str]:
        """Names of the chains."""

    def rows(self, chain: str, kind: str | None, after: int, until: int) -> Iterator[Row]:
        """Rows in order of seq."""

    def row(self, chain: str, seq: int) -> Row | None:
        """One row."""

    def structure(self) -> list[Problem]:
        """What is wrong beside the entries: indexes, repeated decisions."""


Progress = Callable[[str, int], None]


class Walk:
    """Follows one chain from its start and notes what does not hold.

    Args:
        chain: Name of the chain.
        checkpoints: Checkpoints to compare with. What a checkpoint did not see was written after it.
    """

    def __init__(self, chain: str, checkpoints: Iterable[Checkpoint] = ()) -> None:
        self.chain = chain
        self.seq = -1
        self.count = 0
        self.problems: list[Problem] = []
        self.backdated: list[Backdated] = []
        self._hash = GENESIS
        self._newest = ""
        self._marks: dict[int, list[tuple[ChainHead, str]]] = {}
        self._earliest: dict[int, str] = {}
        for checkpoint in checkpoints:
            head, taken = checkpoint.chains.get(chain), checkpoint.at
            if head is not None:
                self._marks.setdefault(head.size - 1, []).append((head, taken))
            unseen = 0 if head is None else head.size
            self._earliest[unseen] = max(taken, self._earliest.get(unseen, ""))
        self._tree = Frontier() if self._marks else None

    def note(self, seq: int | None, what: str) -> None:
        """Note a problem."""
        if len(self.problems) < _MOST:
            self.problems.append(Problem(self.chain, seq, what))

    def step(self, row: Row) -> None:
        """Take the next row."""
        seq, at, kind, _, payload, previous, digest = row
        sound = intact(self.chain, row)
        if seq != self.seq + 1:
            self.note(self.seq + 1, _missing(self.seq + 1, seq))
        elif previous != self._hash:
            self.note(seq, "does not continue the entry before it")
        self.seq, self._hash = seq, digest if isinstance(digest, bytes) else b""
        self.count += 1
        if not sound:
            self.note(seq, "was changed: its fields do not give its hash")
        else:
            self._read(seq, at, kind, payload)
        if self._tree is not None:
            self._tree.add(self._hash)
            self._compare(seq)

    def _read(self, seq: int, at: str, kind: str, payload: bytes) -> None:
        """What can be asked of a row that is as it was written."""
        if kind not in KINDS:
            self.note(seq, "is of an unknown kind")
        if kind == "checkpoint":
            try:
                Checkpoint.from_json(payload)
            except LedgerError as error:
                self.note(seq, f"is no checkpoint: {error.what}")
        self._newest = max(self._newest, self._earliest.get(seq, ""))
        if at < self._newest:
            self._went_back(seq, at)
        else:
            self._newest = at

    def _compare(self, seq: int) -> None:
        for head, taken in self._marks.pop(seq, ()):
            if head.hash != self._hash.hex() or self._tree is None or head.root != self._tree.root().hex():
                self.note(seq, f"is not the entry that the checkpoint of {taken} saw: the chain was rewritten")

    def _went_back(self, seq: int, at: str) -> None:
        try:
            seconds = (parse_instant(self._newest) - parse_instant(at)).total_seconds()
        except ValueError:
            self.note(seq, "its instant is no instant")
            return
        if seconds > TOLERANCE and len(self.backdated) < _MOST:
            self.backdated.append(Backdated(self.chain, seq, seconds))

    def end(self, size: int | None = None, digest: str | None = None) -> None:
        """The chain has ended: here, as far as its rows go.

        Args:
            size: Entries it should have, where that is known.
            digest: Hash of the last one, where that is known.
        """
        if size is not None and self.seq + 1 != size:
            self.note(self.seq + 1, f"is missing: the chain should have {size} entries and has {self.seq + 1}")
        elif digest is not None and self._hash.hex() != digest:
            self.note(self.seq, "is not the entry that the chain should end with")
        for last in sorted(self._marks):
            for head, taken in self._marks[last]:
                self.note(
                    self.seq + 1,
                    f"is missing: the checkpoint of {taken} saw {head.size} entries and there are {self.seq + 1}",
                )


def _missing(first: int, found: int) -> str:
    if found < first:
        return f"expected, but seq {found} came again"
    return "is missing" if found == first + 1 else f"is missing, and all up to seq {found - 1}"


def verify_chains(source: Source, checkpoints: Iterable[Checkpoint], progress: Progress | None = None) -> VerifyReport:
    """Walk every chain of a store from its start.

    Args:
        source: The store.
        checkpoints: Checkpoints to compare with, beside those on the chains.
        progress: Called now and then with the chain and the entries walked on it.
    """
    chains = source.chains()
    known = [*checkpoints, *_own_checkpoints(source, chains)]
    walks = [_walked(source, chain, known, progress) for chain in chains]
    walks.extend(lost_chains(known, chains))
    return report(walks, source.structure(), len(known))


def lost_chains(checkpoints: Iterable[Checkpoint], chains: Iterable[str]) -> list[Walk]:
    """Walks of the chains that a checkpoint saw and that are not there: all of their entries are missing."""
    known = list(checkpoints)
    lost = []
    for chain in sorted({chain for checkpoint in known for chain in checkpoint.chains} - set(chains)):
        walk = Walk(chain, known)
        walk.end()
        lost.append(walk)
    return lost


def report(walks: Iterable[Walk], more: Iterable[Problem], checkpoints: int) -> VerifyReport:
    """Sum up walks and further problems."""
    done = list(walks)
    problems = [problem for walk in done for problem in walk.problems]
    # An index that lacks an entry which is itself damaged is the same news twice.
    seen = {(problem.chain, problem.seq) for problem in problems}
    problems.extend(problem for problem in more if (problem.chain, problem.seq) not in seen)
    return VerifyReport(
        {walk.chain: walk.count for walk in done},
        tuple(problems[:_MOST]),
        tuple(backdated for walk in done for backdated in walk.backdated)[:_MOST],
        checkpoints,
    )


def _own_checkpoints(source: Source, chains: Iterable[str]) -> list[Checkpoint]:
    found = []
    for chain in chains:
        try:
            for row in source.rows(chain, "checkpoint", -1, _END):
                if intact(chain, row) and (checkpoint := _readable(row[4])) is not None:
                    found.append(checkpoint)
        except LedgerError:
            # The walk of that chain meets the same damage and names it.
            continue
    return found


def _readable(payload: bytes) -> Checkpoint | None:
    try:
        return Checkpoint.from_json(payload)
    except LedgerError:
        return None


def _walked(source: Source, chain: str, checkpoints: list[Checkpoint], progress: Progress | None) -> Walk:
    walk = Walk(chain, checkpoints)
    try:
        for row in source.rows(chain, None, -1, _END):
            walk.step(row)
            if progress is not None and walk.count % _EVERY == 0:
                progress(chain, walk.count)
    except LedgerError as error:
        _name_damage(source, walk, error)
        return walk
    walk.end()
    if progress is not None:
        progress(chain, walk.count)
    return walk


def _name_damage(source: Source, walk: Walk, error: LedgerError) -> None:
    """A page of rows could not be read: go on row by row to the one that cannot."""
    what = f"cannot be read ({error.got or error.what})"
    while True:
        seq = walk.seq + 1
        try:
            row = source.row(walk.chain, seq)
        except LedgerError:
            walk.note(seq, what)
            return
        if row is None or row[0] != seq:
            walk.note(seq, what)
            return
        walk.step(row)

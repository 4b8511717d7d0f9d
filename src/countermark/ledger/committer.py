"""Group commit: concurrent appends share one durable transaction."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeAlias

from countermark.errors import LedgerError
from countermark.ledger.entry import EntryRef, Item, check_item
from countermark.ledger.ledger import Ledger

Waiter: TypeAlias = "Future[EntryRef] | asyncio.Future[EntryRef]"


class _Pending(NamedTuple):
    """An entry, who waits for it, whether it belongs into the transaction of the one before, and whether its key was
    drawn at random for it.
    """

    item: Item
    waiter: Waiter
    joined: bool = False
    fresh: bool = False


class GroupCommitter:
    """A thread that stores what others submit, as many entries in one transaction as came in during the last.

    It waits for nobody: an entry that comes alone is committed alone. A future is done when its entry is durable; when
    a transaction fails, every future of it fails and nothing of it is acknowledged.

    Args:
        ledger: Where to store; the committer takes its chain at once and does not close it.
        most_pending: Entries that may wait; one more is refused, so that memory stays bounded while a disk hangs.
        most_in_batch: Entries in one transaction.

    Raises:
        LedgerError: If the ledger's chain cannot be taken.
    """

    def __init__(self, ledger: Ledger, *, most_pending: int = 8192, most_in_batch: int = 512) -> None:
        self.chain = ledger.acquire()
        self.commits = 0
        self.entries = 0
        self._ledger = ledger
        self._most_pending = most_pending
        self._most_in_batch = most_in_batch
        self._pending: list[_Pending] = []
        self._change = threading.Condition()
        self._idle = True
        self._closed: str | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=f"ledger-{self.chain}", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Entries that wait for the next transaction."""
        return len(self._pending)

    def submit(self, kind: str, key: str, payload: bytes, at: str) -> Future[EntryRef]:
        """Hand in an entry; the future gives its reference once it is durable.

        Raises:
            LedgerError: At once, if the entry cannot be stored, too many are waiting, or the committer has stopped.
        """
        waiter: Future[EntryRef] = Future()
        self._enqueue([_Pending((kind, key, payload, at), waiter)])
        return waiter

    def submit_async(
        self, kind: str, key: str, payload: bytes, at: str, *, fresh: bool = False
    ) -> asyncio.Future[EntryRef]:
        """Hand in an entry from a coroutine; the loop is woken once for a whole transaction.

        Args:
            kind: Kind of the entry.
            key: Its key.
            payload: The record as bytes.
            at: Instant.
            fresh: Whether the key was drawn at random for this entry, so that nobody else can have used it.

        Raises:
            LedgerError: As for ``submit``.
        """
        waiter: asyncio.Future[EntryRef] = asyncio.get_running_loop().create_future()
        self._enqueue([_Pending((kind, key, payload, at), waiter, fresh=fresh)])
        return waiter

    def submit_all_async(self, items: Sequence[Item]) -> list[asyncio.Future[EntryRef]]:
        """Hand in entries that belong together: they are stored in one transaction, all of them or none.

        Raises:
            LedgerError: As for ``submit``; none of them is then stored.
        """
        loop = asyncio.get_running_loop()
        waiters: list[asyncio.Future[EntryRef]] = [loop.create_future() for _ in items]
        self._enqueue([_Pending(item, waiters[place], joined=place > 0) for place, item in enumerate(items)])
        return waiters

    def _enqueue(self, entries: list[_Pending]) -> None:
        for entry in entries:
            check_item(entry.item)
        with self._change:
            if self._closed is not None or os.getpid() != self._pid:
                raise LedgerError(
                    "this committer takes no more entries",
                    got=self._closed or "a process that forked after it was made",
                    hint="open the ledger and its committer in the process that uses them",
                )
            if len(self._pending) + len(entries) > self._most_pending:
                raise LedgerError(
                    "too many entries wait to be stored",
                    expected=f"at most {self._most_pending}",
                    hint="the disk or the database does not keep up; try again",
                )
            self._pending.extend(entries)
            if self._idle:
                self._change.notify()

    def _run(self) -> None:
        while batch := self._next():
            self._commit(batch)

    def _next(self) -> list[_Pending]:
        with self._change:
            self._idle = True
            while not self._pending and self._closed is None:
                self._change.wait()
            self._idle = False
            end = self._most_in_batch
            while end < len(self._pending) and self._pending[end].joined:
                end += 1
            batch, self._pending = self._pending[:end], self._pending[end:]
            return batch

    def _commit(self, batch: list[_Pending]) -> None:
        # A future of a thread that was cancelled in time is left out; from here on it cannot be cancelled any more.
        batch = [
            one for one in batch if not isinstance(one.waiter, Future) or one.waiter.set_running_or_notify_cancel()
        ]
        waiters = [one.waiter for one in batch]
        fresh = {one.item[1] for one in batch if one.fresh}
        try:
            refs = self._ledger.store([one.item for one in batch], fresh) if batch else []
        except LedgerError as error:
            _settle(waiters, error)
        except OSError as error:
            told = LedgerError(
                f"nothing was stored on chain '{self.chain}'", got=error.strerror or type(error).__name__
            )
            told.__cause__ = error
            _settle(waiters, told)
        except BaseException as error:
            self._abandon(waiters, error)
            raise
        else:
            self.commits += 1
            self.entries += len(refs)
            _settle(waiters, refs)

    def _abandon(self, waiters: list[Waiter], error: BaseException) -> None:
        """The thread ends by a mistake of the program: nobody may wait for it for ever."""
        with self._change:
            self._closed = f"its thread ended: {type(error).__name__}"
            left, self._pending = self._pending, []
        told = LedgerError("nothing was stored", got=self._closed)
        told.__cause__ = error
        _settle(waiters + [one.waiter for one in left], told)

    def close(self) -> None:
        """Store what waits, then end the thread. Entries that come later are refused."""
        if os.getpid() != self._pid:
            return
        with self._change:
            self._closed = self._closed or "it was closed"
            self._change.notify()
        self._thread.join()

    def __enter__(self) -> GroupCommitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _settle(waiters: Sequence[Waiter], outcome: Sequence[EntryRef] | LedgerError) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[EntryRef], EntryRef | LedgerError]]] = {}
    for place, waiter in enumerate(waiters):
        result = outcome if isinstance(outcome, LedgerError) else outcome[place]
        if isinstance(waiter, asyncio.Future):
            loops.setdefault(waiter.get_loop(), []).append((waiter, result))
        elif isinstance(result, LedgerError):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)
    for loop, pairs in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle_in_loop, pairs)


def _settle_in_loop(pairs: list[tuple[asyncio.Future[EntryRef], EntryRef | LedgerError]]) -> None:
    for waiter, result in pairs:
        if waiter.done():
            continue
        if isinstance(result, LedgerError):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)

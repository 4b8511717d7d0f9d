from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Container
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from countermark.errors import LedgerError
from countermark.ledger import EntryRef, GroupCommitter, open_ledger
from countermark.ledger.entry import Item
from countermark.ledger.sqlite import SqliteLedger
from tests.ledger.entries import AT, item


class Gate(SqliteLedger):
    """A real ledger whose transactions wait at a gate, and fail when told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.fail: BaseException | None = None
        self.batches: list[list[str]] = []

    def store(self, items: list[Item], fresh: Container[str] = ()) -> list[EntryRef]:
        self.entered.release()
        self.batches.append([key for _, key, _, _ in items])
        assert self.open.wait(20)
        if self.fail is not None:
            raise self.fail
        return super().store(items, fresh)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "ledger")


def test_what_waits_shares_one_transaction(gate: Gate) -> None:
    with gate, GroupCommitter(gate) as committer:
        assert committer.chain == "chain-000"
        first = committer.submit(*item(0))
        assert gate.entered.acquire(timeout=20)
        rest = [committer.submit(*item(n)) for n in range(1, 33)]
        assert committer.pending == 32
        assert not any(future.done() for future in [first, *rest])
        assert list(gate.read()) == []
        gate.open.set()
        assert [future.result(20).seq for future in [first, *rest]] == list(range(33))
        assert (committer.commits, committer.entries, committer.pending) == (2, 33, 0)


def test_a_future_is_done_when_its_entry_can_be_read_by_others(url: str) -> None:
    with open_ledger(url) as ledger, open_ledger(url) as reader, GroupCommitter(ledger) as committer:
        for number in range(20):
            ref = committer.submit(*item(number)).result(20)
            assert reader.get("decision", f"decision-{number}")[0].ref == ref


def test_many_threads_and_a_coroutine(url: str) -> None:
    with open_ledger(url) as ledger, GroupCommitter(ledger, most_in_batch=16) as committer:

        def submits(base: int) -> None:
            for number in range(50):
                committer.submit(*item(base + number)).result(20)

        async def awaits() -> list[EntryRef]:
            return await asyncio.gather(*(committer.submit_async(*item(n)) for n in range(9000, 9100)))

        threads = [threading.Thread(target=submits, args=(base * 100,)) for base in range(8)]
        for thread in threads:
            thread.start()
        refs = asyncio.run(awaits())
        for thread in threads:
            thread.join(60)
        assert sorted(ref.seq for ref in refs) == [ref.seq for ref in refs]
        assert committer.entries == 500
        assert committer.commits < 500
        assert len({entry.key for entry in ledger.read()}) == 500
        assert ledger.verify().ok


def test_a_failed_transaction_fails_every_future_of_it(gate: Gate) -> None:
    with gate, GroupCommitter(gate) as committer:
        first = committer.submit(*item(0))
        assert gate.entered.acquire(timeout=20)
        gate.fail = LedgerError("the disk is full")
        rest = [committer.submit(*item(n)) for n in range(1, 4)]
        gate.open.set()
        for future in [first, *rest]:
            with pytest.raises(LedgerError, match="the disk is full"):
                future.result(20)
        gate.fail = OSError(5, "Input/output error")
        with pytest.raises(LedgerError, match="nothing was stored on chain 'chain-000'") as raised:
            committer.submit(*item(4)).result(20)
        assert raised.value.got == "Input/output error"
        gate.fail = None
        assert committer.submit(*item(5)).result(20).seq == 0
        assert [entry.key for entry in gate.read()] == ["decision-5"]


def test_a_coroutine_hears_of_a_failure(gate: Gate) -> None:
    gate.fail = LedgerError("the disk is full")
    gate.open.set()
    with gate, GroupCommitter(gate) as committer:

        async def waits() -> None:
            await committer.submit_async(*item(0))

        with pytest.raises(LedgerError, match="the disk is full"):
            asyncio.run(waits())


def test_nobody_waits_for_ever_when_the_thread_ends(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    gate.fail = ZeroDivisionError("a mistake of the program")
    with gate, GroupCommitter(gate, most_in_batch=1) as committer:
        futures = [committer.submit(*item(n)) for n in range(3)]
        gate.open.set()
        for future in futures:
            with pytest.raises(LedgerError, match="nothing was stored"):
                future.result(20)
        with pytest.raises(LedgerError, match="its thread ended: ZeroDivisionError"):
            committer.submit(*item(4))


@pytest.mark.parametrize("alone", [3, 4, 5])
def test_entries_that_belong_together_share_one_transaction(gate: Gate, alone: int) -> None:
    """Also where a transaction is full before the last of them."""
    with gate, GroupCommitter(gate, most_in_batch=5) as committer:
        first = committer.submit(*item(0))
        assert gate.entered.acquire(timeout=20)
        before = [committer.submit(*item(n)) for n in range(1, alone + 1)]

        async def together() -> list[EntryRef | BaseException]:
            waiters = committer.submit_all_async([item(n) for n in range(10, 14)])
            after = committer.submit(*item(20))
            gate.open.set()
            refs = await asyncio.gather(*waiters, return_exceptions=True)
            assert after.result(20).seq == alone + 5
            return refs

        refs = asyncio.run(together())
        assert [ref.seq for ref in refs if isinstance(ref, EntryRef)] == list(range(alone + 1, alone + 5))
        assert [future.result(20).seq for future in [first, *before]] == list(range(alone + 1))
        (of_all,) = [set(batch) for batch in gate.batches if "decision-10" in batch]
        assert {"decision-11", "decision-12", "decision-13"} < of_all


def test_of_entries_that_belong_together_none_is_stored_if_one_cannot_be(gate: Gate) -> None:
    gate.open.set()
    with gate, GroupCommitter(gate, most_pending=3) as committer:

        async def together(items: list[Item]) -> None:
            await asyncio.gather(*committer.submit_all_async(items))

        with pytest.raises(LedgerError, match="too many entries wait"):
            asyncio.run(together([item(n) for n in range(4)]))
        with pytest.raises(LedgerError):
            asyncio.run(together([item(0), ("decision", "", b"", AT)]))
        assert list(gate.read()) == []
        asyncio.run(together([item(n) for n in range(3)]))
        assert [entry.key for entry in gate.read()] == [f"decision-{n}" for n in range(3)]


def test_the_queue_is_bounded(gate: Gate) -> None:
    with gate, GroupCommitter(gate, most_pending=3) as committer:
        first = committer.submit(*item(0))
        assert gate.entered.acquire(timeout=20)
        waiting = [committer.submit(*item(n)) for n in range(1, 4)]
        with pytest.raises(LedgerError, match="too many entries wait"):
            committer.submit(*item(5))
        gate.open.set()
        assert [future.result(20).seq for future in [first, *waiting]] == [0, 1, 2, 3]


def test_what_cannot_be_stored_is_refused_at_once(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, GroupCommitter(ledger) as committer:
        with pytest.raises(LedgerError, match="is no kind"):
            committer.submit("nothing", "k", b"", AT)
        assert committer.submit(*item(1)).result(20).seq == 0


def test_closing_stores_what_waits_and_refuses_the_rest(gate: Gate) -> None:
    committer = GroupCommitter(gate)
    futures = [committer.submit(*item(n)) for n in range(5)]
    gate.open.set()
    committer.close()
    assert all(future.done() for future in futures)
    with pytest.raises(LedgerError, match="it was closed"):
        committer.submit(*item(9))
    committer.close()
    assert len(list(gate.read())) == 5
    gate.close()


def test_a_caller_that_gave_up_is_left_out(gate: Gate) -> None:
    with gate, GroupCommitter(gate) as committer:
        first = committer.submit(*item(0))
        assert gate.entered.acquire(timeout=20)
        dropped, kept = committer.submit(*item(1)), committer.submit(*item(2))
        assert dropped.cancel()
        gate.open.set()
        assert (first.result(20).seq, kept.result(20).seq) == (0, 1)
        with pytest.raises(CancelledError):
            dropped.result(20)


def test_a_coroutine_that_gave_up_disturbs_nobody(gate: Gate) -> None:
    with gate, GroupCommitter(gate) as committer:

        async def gives_up() -> EntryRef:
            dropped = committer.submit_async(*item(1))
            kept = committer.submit_async(*item(2))
            dropped.cancel()
            gate.open.set()
            return await kept

        assert asyncio.run(gives_up()).seq in (0, 1)

        async def leaves() -> None:
            committer.submit_async(*item(3))

        asyncio.run(leaves())
        assert committer.submit(*item(4)).result(20).chain == "chain-000"


def test_a_forked_child_does_not_wait_for_a_thread_it_lacks(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, GroupCommitter(ledger) as committer:
        child = os.fork()
        if child == 0:
            try:
                committer.submit(*item(1))
            except LedgerError as error:
                committer.close()
                os._exit(7 if "takes no more entries" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_chain_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    with open_ledger(tmp_path, writer="rollout") as one, open_ledger(tmp_path, writer="rollout") as two:
        one.acquire()
        with pytest.raises(LedgerError, match="has a writer already"):
            GroupCommitter(two)


async def _stored_under(committer: GroupCommitter, *names: str, fresh: bool) -> list[bool]:
    waiting = [committer.submit_async("decision", name, b"{}", AT, fresh=fresh) for name in names]
    return [ref.repeated for ref in await asyncio.gather(*waiting)]


def test_a_key_that_was_drawn_is_looked_for_nowhere_and_a_given_one_everywhere(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path) as other, SqliteLedger(tmp_path) as ledger:
        for name in ("a", "b"):
            other.append("decision", name, b"{}", AT)
        with GroupCommitter(ledger) as committer:
            assert committer.chain == "chain-001"
            assert asyncio.run(_stored_under(committer, "a", "new", fresh=False)) == [True, False]
            assert asyncio.run(_stored_under(committer, "b", fresh=True)) == [False]
        told = [problem.what for problem in ledger.verify().problems]
        assert told == ["holds a decision that chain 'chain-000' holds too"], "whoever calls a given key drawn is seen"

"""What a ledger promises, whatever stores it."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.errors import LedgerError
from countermark.ledger import KINDS, Ledger, open_ledger, verify_export
from countermark.ledger.entry import ONCE, Item
from tests.ledger.entries import AT, instant, item, items
from tests.servers import PostgresServer


def test_a_ledger_nobody_wrote_to_reads_as_empty(url: str) -> None:
    with open_ledger(url) as ledger:
        assert ledger.heads() == {}
        assert ledger.chains() == []
        assert list(ledger.read()) == []
        assert ledger.get("decision", "x") == []
        assert ledger.latest("routing") is None
        assert ledger.verify().ok
        assert ledger.chain is None


def test_what_is_appended_is_there_for_others_at_once(url: str) -> None:
    with open_ledger(url) as ledger, open_ledger(url) as reader:
        first = ledger.append("decision", "d1", b'{"p":"0x1p-4"}', AT)
        second = ledger.append("shadow", "d1", b"{}", instant(1))
        assert (first.chain, first.seq, second.seq) == ("chain-000", 0, 1)
        assert not first.repeated
        (entry,) = reader.get("decision", "d1")
        assert entry.ref == first
        assert (entry.at, entry.payload, entry.previous) == (AT, b'{"p":"0x1p-4"}', "0" * 64)
        assert entry.json() == {"p": "0x1p-4"}
        assert [found.previous for found in reader.get("shadow", "d1")] == [first.hash]
        assert reader.heads() == {"chain-000": (1, second.hash)}
        assert reader.cursor() == {"chain-000": 1}
        assert reader.chains() == ["chain-000"]
        assert reader.chain is None


def test_a_chain_goes_on_where_the_last_writer_left_it(url: str) -> None:
    with open_ledger(url) as ledger:
        last = ledger.append_many([item(1), item(2)])[-1]
    with open_ledger(url) as ledger:
        ref = ledger.append(*item(3))
        assert (ref.chain, ref.seq) == ("chain-000", 2)
        assert ledger.get("decision", "decision-3")[0].previous == last.hash
        assert ledger.verify().ok


def test_every_writer_has_a_chain_of_its_own(url: str) -> None:
    with open_ledger(url) as one, open_ledger(url) as two, open_ledger(url, writer="rollout") as named:
        assert [one.acquire(), two.acquire(), named.acquire(), one.acquire()] == [
            "chain-000",
            "chain-001",
            "rollout",
            "chain-000",
        ]
        one.append(*item(1))
        two.append(*item(2))
        named.append(*item(1, "routing"))
        assert sorted(one.heads()) == ["chain-000", "chain-001", "rollout"]
        one.close()
        with open_ledger(url) as third:
            assert third.acquire() == "chain-000"


def test_a_named_chain_has_one_writer(url: str) -> None:
    with open_ledger(url, writer="rollout") as first, open_ledger(url, writer="rollout") as second:
        first.append(*item(1, "routing"))
        with pytest.raises(LedgerError, match="chain 'rollout' has a writer already"):
            second.append(*item(2, "routing"))
        assert [entry.key for entry in second.read()] == ["routing-1"]
        first.close()
        assert second.append(*item(2, "routing")).seq == 1


def test_all_of_a_transaction_or_none(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append(*item(1))
        with pytest.raises(LedgerError, match="is no kind of entry"):
            ledger.append_many([item(2), ("wrong", "k", b"", AT)])
        assert ledger.append_many([]) == []
        assert [entry.key for entry in ledger.read()] == ["decision-1"]
        assert ledger.append(*item(3)).seq == 1


@pytest.mark.parametrize("kind", ONCE)
def test_a_repeated_decision_or_event_answers_with_the_stored_one(url: str, kind: str) -> None:
    other = ONCE[1 - ONCE.index(kind)]
    with open_ledger(url) as one, open_ledger(url) as two:
        first = one.append(kind, "d", b"first", AT)
        again = one.append(kind, "d", b"second", AT)
        elsewhere = two.append_many([(other, "d", b"", AT), (kind, "d", b"third", AT), item(1, "shadow")])
        for repeat in (again, elsewhere[1]):
            assert repeat.repeated
            assert (repeat.chain, repeat.seq, repeat.hash) == (first.chain, first.seq, first.hash)
        assert [(ref.chain, ref.seq, ref.repeated) for ref in elsewhere[::2]] == [
            ("chain-001", 0, False),
            ("chain-001", 1, False),
        ]
        assert [entry.payload for entry in one.get(kind, "d")] == [b"first"]
        assert one.verify().ok


def test_a_kind_that_is_no_decision_may_repeat(url: str) -> None:
    with open_ledger(url) as ledger:
        refs = ledger.append_many([("outcome", "d", b"0", AT), ("outcome", "d", b"1", AT)])
        assert [ref.repeated for ref in refs] == [False, False]
        assert [entry.payload for entry in ledger.get("outcome", "d")] == [b"0", b"1"]


@pytest.mark.parametrize("kinds", [("decision",), ("event",), ONCE], ids=" and ".join)
def test_the_same_decision_or_event_at_two_workers_at_once_is_stored_once(url: str, kinds: tuple[str, ...]) -> None:
    ledgers = [open_ledger(url) for _ in range(3)]
    refs: list[dict[str, tuple[str, int]]] = [{} for _ in ledgers]
    start = threading.Barrier(len(ledgers))
    fresh: list[int] = []

    def work(place: int) -> None:
        start.wait()
        # In another order on every worker: that would deadlock locks that are taken one by one.
        for number in range(60):
            asked = [(number * 7 + step * (1, -1, 2)[place]) % 60 for step in range(5)]
            batch = [item(k, kinds[k % len(kinds)]) for k in asked]
            for wanted, ref in zip(batch, ledgers[place].append_many(batch), strict=True):
                refs[place].setdefault(wanted[1], (ref.chain, ref.seq))
                fresh.append(not ref.repeated)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(fresh) == 60
    assert refs[0] == refs[1] == refs[2]
    assert len(list(ledgers[0].read(kinds=kinds))) == 60
    report = ledgers[0].verify()
    assert report.ok, report.first_problem
    for ledger in ledgers:
        ledger.close()


def test_threads_share_a_ledger(url: str) -> None:
    with open_ledger(url) as ledger:
        threads = [
            threading.Thread(target=lambda n=n: [ledger.append(*item(n * 100 + i)) for i in range(20)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(entry.key for entry in ledger.read()) == sorted(
            f"decision-{n * 100 + i}" for n in range(4) for i in range(20)
        )
        assert ledger.chains() == ["chain-000"]
        assert ledger.verify().ok


def test_reading_by_kind_limit_and_cursor(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append_many([item(n, "decision" if n % 3 else "shadow") for n in range(1500)])
        assert [entry.seq for entry in ledger.read(kinds=["shadow"])] == list(range(0, 1500, 3))
        assert [entry.seq for entry in ledger.read(kinds=["shadow", "decision"])] == list(range(1500))
        assert [entry.seq for entry in ledger.read(after={"chain-000": 1497})] == [1498, 1499]
        assert [entry.seq for entry in ledger.read(kinds=["shadow"], after={"chain-000": 3}, limit=2)] == [6, 9]
        assert list(ledger.read(limit=0)) == []
        assert list(ledger.read(kinds=[])) == []
        assert [entry.seq for entry in ledger.read(after={"gone": 3}, limit=1)] == [0]
        latest = ledger.latest("shadow")
        assert latest is not None
        assert latest.seq == 1497


def test_the_latest_of_two_chains_is_the_newest(url: str) -> None:
    with open_ledger(url) as one, open_ledger(url) as two:
        one.append("routing", "r", b"1", instant(5))
        two.append("routing", "r", b"2", instant(9))
        one.append("routing", "r", b"3", instant(7))
        latest = one.latest("routing")
        assert latest is not None
        assert latest.payload == b"2"


def test_chains_are_read_in_order_of_time(url: str) -> None:
    with open_ledger(url) as one, open_ledger(url) as two:
        for second in range(0, 20, 2):
            one.append("outcome", "e", b"%d" % second, instant(second))
            two.append("outcome", "e", b"%d" % (second + 1), instant(second + 1))
        assert [int(entry.payload) for entry in one.read()] == list(range(20))
        assert [int(entry.payload) for entry in one.get("outcome", "e")] == list(range(20))


def test_a_read_does_not_run_ahead_of_its_start(url: str) -> None:
    """A cursor kept from a read by kinds must not step over what was written while it ran."""
    with open_ledger(url) as ledger:
        ledger.append_many([*(item(n) for n in range(600)), item(0, "shadow")])
        reading = ledger.read(kinds=["decision", "shadow"])
        seen = [next(reading)]
        # The shadows have been read to their end by now, the decisions have not.
        ledger.append_many([item(1, "shadow"), item(600)])
        seen.extend(reading)
        assert [entry.seq for entry in seen] == list(range(601))
        assert [entry.seq for entry in ledger.read(after={"chain-000": 600})] == [601, 602]


def test_unknown_kinds_are_named(url: str) -> None:
    with open_ledger(url) as ledger:
        for question in (
            lambda: ledger.get("decisions", "x"),
            lambda: ledger.read(kinds=["decisions"]),
            lambda: ledger.latest("decisions"),
        ):
            with pytest.raises(LedgerError, match="'decisions' is no kind of entry"):
                question()


def test_keys_are_any_text(url: str) -> None:
    texts = ["Ünïcødé", "a'b\"c", "%s", "x" * 512, "\n", "日本"]
    with open_ledger(url) as ledger:
        ledger.append_many([(kind, text, text.encode(), AT) for text in texts for kind in ("decision", "outcome")])
        for text in texts:
            assert [entry.payload for entry in ledger.get("decision", text)] == [text.encode()]
            assert [entry.payload for entry in ledger.get("outcome", text)] == [text.encode()]
        assert all(ref.repeated for ref in ledger.append_many([("decision", text, b"", AT) for text in texts]))


def test_a_child_that_was_forked_is_refused(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append(*item(1))
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            told = []
            for question in (lambda: ledger.append(*item(2)), lambda: ledger.heads()):
                try:
                    question()
                except LedgerError as error:
                    told.append(str(error))
            ledger.close()
            os.write(writes, "|".join(told).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writes)
        with os.fdopen(reads) as stream:
            assert stream.read().count("opened before the process forked") == 2
        assert ledger.append(*item(3)).seq == 1
        assert ledger.verify().ok


@pytest.mark.parametrize("address", ["", "mysql://host/db", "redis://host"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(LedgerError, match="this is no address of a ledger"):
        open_ledger(address)


def test_a_writer_needs_a_plain_name(url: str) -> None:
    with pytest.raises(LedgerError, match="'Roll Out' cannot name a chain"):
        open_ledger(url, writer="Roll Out")


def test_addresses_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("sqlite:///here", Path("here"), "here", f"sqlite:///{tmp_path}/here"):
        with open_ledger(address) as ledger:
            ledger.append("outcome", "e", b"", AT)
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "chain-000.lock",
        "chain-000.sqlite",
        "decisions.lock",
    ]


actions = st.lists(st.tuples(st.integers(0, 2), st.lists(items, min_size=1, max_size=4)), max_size=12)


def play(opened: Callable[[], Ledger], played: list[tuple[int, list[Item]]], folder: Path) -> None:
    """Append by three writers in any order, polling along the way; then verify and export."""
    ledgers = [opened() for _ in range(3)]
    names = [ledger.acquire() for ledger in ledgers]
    expected: dict[str, list[Item]] = {name: [] for name in names}
    stored: set[tuple[str, str]] = set()
    cursor: dict[str, int] = {}
    shadows: dict[str, int] = {}
    polled: list[str] = []
    polled_shadows: list[str] = []
    for place, batch in played:
        refs = ledgers[place].append_many(batch)
        for one, ref in zip(batch, refs, strict=True):
            assert ref.repeated == (one[:2] in stored)
            if not ref.repeated:
                expected[names[place]].append(one)
                assert ref.seq == len(expected[names[place]]) - 1
            if one[0] in ONCE:
                stored.add(one[:2])
        for entry in ledgers[0].read(after=cursor):
            cursor[entry.chain] = entry.seq
            polled.append(entry.hash)
        for entry in ledgers[1].read(kinds=["shadow", "outcome"], after=shadows):
            shadows[entry.chain] = entry.seq
            polled_shadows.append(entry.hash)
    everything = list(ledgers[2].read())
    assert sorted(polled) == sorted(entry.hash for entry in everything)
    assert sorted(polled_shadows) == sorted(e.hash for e in everything if e.kind in ("shadow", "outcome"))
    for name in names:
        found = [(e.kind, e.key, e.payload, e.at) for e in everything if e.chain == name]
        assert found == expected[name]
    report = ledgers[0].verify()
    assert report.ok, report.first_problem
    assert report.entries == len(everything)
    export = folder / "export.jsonl"
    ledgers[1].export(export)
    again = verify_export(export)
    assert again.ok, again.first_problem
    assert again.chains == {name: len(expected[name]) for name in names if expected[name]}
    for ledger in ledgers:
        ledger.close()


# In memory where there is such a folder: it is the logic that is played here, and flushing takes most of the time.
_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@given(actions)
def test_any_interleaving_verifies_in_sqlite(played: list[tuple[int, list[Item]]]) -> None:
    with tempfile.TemporaryDirectory(dir=_FAST) as folder:
        play(lambda: open_ledger(f"{folder}/ledger"), played, Path(folder))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_any_interleaving_verifies_in_postgres(
    postgres: PostgresServer, tmp_path: Path, played: list[tuple[int, list[Item]]]
) -> None:
    address = postgres.schema()
    play(lambda: open_ledger(address), played, tmp_path)


def test_the_kinds_are_closed() -> None:
    assert len(set(KINDS)) == len(KINDS) == 15

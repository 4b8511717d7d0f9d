"""Every change that somebody could make to a ledger is found and named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from countermark.errors import LedgerError
from countermark.ledger import Checkpoint, Problem, VerifyReport, open_ledger, verification
from countermark.ledger.entry import GENESIS, Row, link
from countermark.ledger.merkle import root
from countermark.ledger.verification import Walk
from tests.ledger.entries import AT, instant, item
from tests.servers import PostgresServer

_COLUMNS = "seq, at, kind, key, payload, previous, hash"


class Tampered:
    """A stored chain that somebody with access to the store changes behind the ledger's back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._postgres = url.startswith("postgresql")
        if self._postgres:
            self.statement("ALTER TABLE countermark_ledger DISABLE TRIGGER ALL")
        else:
            self.statement("DROP TRIGGER entries_no_update")
            self.statement("DROP TRIGGER entries_no_delete")

    def statement(self, text: str, values: tuple[object, ...] = ()) -> None:
        if self._postgres:
            with psycopg.connect(self.url, autocommit=True) as session:
                session.execute(text.replace("entries", "countermark_ledger").replace("?", "%s"), values)  # type: ignore[call-overload]
            return
        connection = sqlite3.connect(Path(self.url.removeprefix("sqlite:///")) / "chain-000.sqlite")
        connection.execute(text, values)
        connection.commit()
        connection.close()

    def verify(self, checkpoints: tuple[Checkpoint, ...] = ()) -> VerifyReport:
        with open_ledger(self.url) as ledger:
            return ledger.verify(checkpoints=checkpoints)

    def first(self) -> Problem:
        problem = self.verify().first_problem
        assert problem is not None
        return problem


@pytest.fixture
def ledger_url(url: str) -> str:
    """A ledger with twelve entries on one chain."""
    with open_ledger(url) as ledger:
        ledger.append_many([item(n, "decision" if n % 2 else "outcome") for n in range(12)])
    return url


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "2026-12-04T14:00:05.000001Z"),
        ("kind", "shadow"),
        ("key", "decision-99"),
        ("payload", b'{"n":6}'),
        ("previous", bytes(32)),
        ("hash", bytes(32)),
    ],
)
def test_a_changed_field_is_named(ledger_url: str, column: str, value: object) -> None:
    Tampered(ledger_url).statement(f"UPDATE entries SET {column} = ? WHERE seq = 5", (value,))
    report = Tampered(ledger_url).verify() if ledger_url.startswith("postgresql") else None
    if report is None:
        with open_ledger(ledger_url) as ledger:
            report = ledger.verify()
    assert not report.ok
    assert report.first_problem is not None
    assert (report.first_problem.chain, report.first_problem.seq) == ("chain-000", 5)
    assert {problem.seq for problem in report.problems} <= {5, 6}
    assert report.entries == 12


def test_a_removed_entry_is_named(ledger_url: str) -> None:
    tampered = Tampered(ledger_url)
    tampered.statement("DELETE FROM entries WHERE seq = 4")
    assert str(tampered.first()) == "chain 'chain-000', seq 4: is missing"
    tampered.statement("DELETE FROM entries WHERE seq = 5")
    assert str(tampered.first()) == "chain 'chain-000', seq 4: is missing, and all up to seq 5"
    tampered.statement("DELETE FROM entries WHERE seq < 7")
    assert str(tampered.first()) == "chain 'chain-000', seq 0: is missing, and all up to seq 6"


def test_an_entry_that_was_put_in_is_named(ledger_url: str) -> None:
    tampered = Tampered(ledger_url)
    chain = "" if not ledger_url.startswith("postgresql") else "'chain-000', "
    tampered.statement(
        f"INSERT INTO entries VALUES ({chain}12, ?, 'decision', 'x', ?, ?, ?)",
        (AT, b"{}", bytes(32), link("chain-000", 12, GENESIS, [("decision", "x", b"{}", AT)])[0][6]),
    )
    assert str(tampered.first()) == "chain 'chain-000', seq 12: does not continue the entry before it"


def rewritten(rows: list[Row]) -> list[Row]:
    """The chain that an insider would write: one payload changed, every later hash made anew."""
    return link("chain-000", 0, GENESIS, [(r[2], r[3], b"{}" if r[0] == 5 else r[4], r[1]) for r in rows])


def test_a_chain_written_anew_needs_a_checkpoint(ledger_url: str, tmp_path: Path) -> None:
    with open_ledger(ledger_url, writer="watch") as ledger:
        kept = ledger.checkpoint(AT)
        rows = list(ledger.rows("chain-000", None, -1, 11))
    tampered = Tampered(ledger_url)
    for row in rewritten(rows):
        tampered.statement(
            "UPDATE entries SET payload = ?, previous = ?, hash = ? WHERE seq = ?" + _in_chain(ledger_url),
            (row[4], row[5], row[6], row[0]),
        )
    first = tampered.first()
    assert (first.seq, "the chain was rewritten" in first.what) == (11, True)
    if ledger_url.startswith("sqlite"):
        Path(ledger_url.removeprefix("sqlite:///"), "watch.sqlite").unlink()
        assert tampered.verify().ok
        assert tampered.verify((kept,)).problems == (first,)


def _in_chain(url: str) -> str:
    return " AND chain = 'chain-000'" if url.startswith("postgresql") else ""


def test_a_cut_off_end_needs_a_checkpoint(ledger_url: str) -> None:
    with open_ledger(ledger_url, writer="watch") as ledger:
        kept = ledger.checkpoint(AT)
    tampered = Tampered(ledger_url)
    tampered.statement("DELETE FROM entries WHERE seq > 8" + _in_chain(ledger_url))
    assert str(tampered.first()) == (
        f"chain 'chain-000', seq 9: is missing: the checkpoint of {AT} saw 12 entries and there are 9"
    )
    assert tampered.verify((kept,)).checkpoints == 2
    with open_ledger(ledger_url, writer="watch") as ledger, pytest.raises(LedgerError) as raised:
        ledger.checkpoint(instant(1))
    assert "chain 'chain-000' is not what the checkpoint of" in str(raised.value)


def test_a_chain_that_is_gone_is_named(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger, open_ledger(tmp_path, writer="watch") as watch:
        ledger.append(*item(1))
        watch.checkpoint(AT)
    (tmp_path / "chain-000.sqlite").unlink()
    with open_ledger(tmp_path) as ledger:
        assert str(ledger.verify().first_problem) == (
            f"chain 'chain-000', seq 0: is missing: the checkpoint of {AT} saw 1 entries and there are 0"
        )


def test_a_hidden_entry_is_named(tmp_path: Path) -> None:
    """An index that lacks an entry hides it from whoever looks it up, though the chain is whole."""
    with open_ledger(tmp_path) as ledger:
        ledger.append_many([item(n) for n in range(6)])
    other = sqlite3.connect(tmp_path / "chain-000.sqlite", isolation_level=None)
    text = other.execute("SELECT sql FROM sqlite_schema WHERE name = 'entries_decision'").fetchone()[0]
    other.execute("DROP INDEX entries_decision")
    other.execute(text.replace("kind = 'decision'", "kind = 'decision' AND seq <> 3"))
    other.execute("PRAGMA writable_schema = ON")
    other.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'entries_decision'", (text,))
    other.close()
    with open_ledger(tmp_path) as ledger:
        assert ledger.get("decision", "decision-3") == []
        assert [str(p) for p in ledger.verify().problems] == [
            "chain 'chain-000', seq 3: index 'entries_decision' lacks it: a look-up does not find it"
        ]


def test_a_decision_on_two_chains_is_named(tmp_path: Path) -> None:
    for place, name in enumerate(("a", "b")):
        with open_ledger(tmp_path / name) as ledger:
            ledger.append_many([item(n * 2 + place) for n in range(5)])
            ledger.append("decision", "twice", b"", AT)
    with open_ledger(tmp_path / "a", writer="chain-001") as ledger:
        ledger.append_many([item(100), item(101)])
    path = tmp_path / "a" / "chain-001.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    last = other.execute(f"SELECT {_COLUMNS} FROM entries ORDER BY seq DESC").fetchone()
    row = link("chain-001", last[0] + 1, last[6], [("decision", "twice", b"", instant(5000))])[0]
    other.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    other.close()
    with open_ledger(tmp_path / "a") as ledger:
        assert [str(problem) for problem in ledger.verify().problems] == [
            "chain 'chain-001', seq 2: holds a decision that chain 'chain-000' holds too"
        ]


def test_a_checkpoint_that_is_none_is_named(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append("checkpoint", "c", b"{}", AT)
        ledger.append(*item(1))
        assert str(ledger.verify().first_problem) == "chain 'chain-000', seq 0: is no checkpoint: this is no checkpoint"


def test_an_instant_that_goes_back_is_told(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append("decision", "a", b"", instant(7200))
        ledger.append("decision", "b", b"", instant(7170))
        ledger.append("decision", "c", b"", instant(3600))
        report = ledger.verify()
        assert report.ok
        assert [(found.chain, found.seq, found.seconds) for found in report.backdated] == [("chain-000", 2, 3600.0)]


def test_an_instant_before_a_checkpoint_that_did_not_see_the_entry_is_told(url: str) -> None:
    """Decisions made up afterwards on a chain of their own are in order among themselves."""
    with open_ledger(url) as ledger, open_ledger(url, writer="watch") as watch:
        ledger.append("decision", "a", b"", instant(0))
        watch.checkpoint(instant(7200))
        ledger.append("decision", "b", b"", instant(7190))
        with open_ledger(url) as later:
            later.append("decision", "c", b"", instant(100))
            later.append("decision", "d", b"", instant(7300))
        report = ledger.verify()
        assert report.ok
        assert [(found.chain, found.seq, found.seconds) for found in report.backdated] == [("chain-001", 0, 7100.0)]


def test_progress_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_EVERY", 2)
    told: list[tuple[str, int]] = []
    with open_ledger(url) as ledger:
        ledger.append_many([item(n) for n in range(3)])
        ledger.verify(progress=lambda chain, count: told.append((chain, count)))
    assert told == [("chain-000", 2), ("chain-000", 3)]


# --- one flipped byte, anywhere in the file


@pytest.fixture(scope="module")
def intact_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    generator = np.random.default_rng(7)
    with open_ledger(folder) as ledger:
        ledger.append_many([item(n, ("decision", "shadow", "outcome")[n % 3], generator.bytes(700)) for n in range(40)])
        ledger.append("decision", "large", generator.bytes(20_000), AT)
    return folder


Reading = tuple[list[object], list[list[object]]]


def contents(folder: Path) -> Reading:
    with open_ledger(folder) as ledger:
        entries = list(ledger.read())
        return list(entries), [list(ledger.get(entry.kind, entry.key)) for entry in entries]


@pytest.fixture
def flipped(intact_folder: Path, tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that gives a copy with one byte changed."""
    data = (intact_folder / "chain-000.sqlite").read_bytes()
    count = 0

    def flip(place: int) -> Path:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        (folder / "chain-000.sqlite").write_bytes(changed)
        return folder

    yield flip
    shutil.rmtree(tmp_path)


def test_a_flipped_byte_anywhere_is_reported_or_without_effect(
    intact_folder: Path, flipped: Callable[[int], Path]
) -> None:
    whole = contents(intact_folder)
    size = (intact_folder / "chain-000.sqlite").stat().st_size
    generator = np.random.default_rng(3)
    places = sorted({*range(0, 100, 7), *(int(p) for p in generator.integers(0, size, 260))})
    reported = 0
    for place in places:
        folder = flipped(place)
        with open_ledger(folder) as ledger:
            report = ledger.verify()
        if report.ok:
            assert contents(folder) == whole, f"byte {place} changed what is read, and nothing was reported"
        else:
            assert report.first_problem is not None
            assert report.first_problem.chain == "chain-000"
            reported += 1
    assert reported > len(places) // 3


def test_a_flipped_byte_of_an_entry_names_the_entry(intact_folder: Path, flipped: Callable[[int], Path]) -> None:
    data = (intact_folder / "chain-000.sqlite").read_bytes()
    with open_ledger(intact_folder) as ledger:
        entries = list(ledger.read())
    generator = np.random.default_rng(5)
    for entry in entries[::3]:
        place = data.index(entry.payload[:600]) + int(generator.integers(0, 600))
        with open_ledger(flipped(place)) as ledger:
            first = ledger.verify().first_problem
            assert first is not None
            assert (first.chain, first.seq) == ("chain-000", entry.seq)
            with pytest.raises(LedgerError, match=f"entry {entry.seq} of chain 'chain-000' was changed"):
                ledger.get(entry.kind, entry.key)


def test_a_truncated_file_names_the_first_entry_that_is_lost(intact_folder: Path, tmp_path: Path) -> None:
    data = (intact_folder / "chain-000.sqlite").read_bytes()
    for share in (0.9, 0.6, 0.3, 0.1):
        folder = tmp_path / str(share)
        folder.mkdir()
        (folder / "chain-000.sqlite").write_bytes(data[: int(len(data) * share)])
        with open_ledger(folder) as ledger:
            first = ledger.verify().first_problem
        assert first is not None
        assert first.chain == "chain-000"


# --- checkpoints


def test_a_checkpoint_says_where_every_chain_stands(url: str) -> None:
    with open_ledger(url) as ledger, open_ledger(url, writer="watch") as watch:
        refs = ledger.append_many([item(n) for n in range(5)])
        first = watch.checkpoint(AT)
        assert (first.at, first.signature) == (AT, None)
        assert first.chains["chain-000"].size == 5
        assert first.chains["chain-000"].hash == refs[-1].hash
        assert first.chains["chain-000"].root == root([bytes.fromhex(ref.hash) for ref in refs]).hex()
        refs += ledger.append_many([item(n) for n in range(5, 12)])
        second = watch.checkpoint(instant(1), sign=lambda body: f"signed {len(body)}")
        assert second.chains["chain-000"].root == root([bytes.fromhex(ref.hash) for ref in refs]).hex()
        assert second.chains["watch"].size == 1
        assert second.signature == f"signed {len(second.body.encode())}"
        (entry,) = ledger.get("checkpoint", second.digest)
        assert Checkpoint.from_json(entry.payload) == second
        report = ledger.verify()
        assert (report.ok, report.checkpoints) == (True, 2)


def test_a_frontier_that_was_changed_is_not_used(url: str) -> None:
    with open_ledger(url) as ledger, open_ledger(url, writer="watch") as watch:
        ledger.append_many([item(n) for n in range(5)])
        taken = watch.checkpoint(AT)
        wrong = Checkpoint(taken.body, {"chain-000": ["00" * 32, "11" * 32]})
        watch.append("checkpoint", wrong.digest, wrong.to_json(), instant(1))
        with pytest.raises(LedgerError, match="is not what the checkpoint of"):
            watch.checkpoint(instant(2))
        short = Checkpoint(taken.body, {"chain-000": ["00" * 32]})
        watch.append("checkpoint", short.digest, short.to_json(), instant(3))
        with pytest.raises(LedgerError, match="is not what the checkpoint of"):
            watch.checkpoint(instant(4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is no checkpoint"),
        (b"{}", "this is no checkpoint"),
        (b'{"body":"{}","frontier":{},"signature":null}', "this is no checkpoint"),
        (
            b'{"body":"{\\"at\\":\\"2026-12-04\\",\\"chains\\":{},\\"format\\":\\"countermark/checkpoint/2\\"}","frontier":{}}',
            "unknown format",
        ),
        (
            b'{"body":"{\\"at\\":\\"2026-12-04\\", \\"chains\\":{},\\"format\\":\\"countermark/checkpoint/1\\"}","frontier":{}}',
            "not in canonical form",
        ),
        (
            b'{"body":"{\\"at\\":\\"today\\",\\"chains\\":{},\\"format\\":\\"countermark/checkpoint/1\\"}","frontier":{}}',
            "this is no checkpoint",
        ),
        (
            b'{"body":"{\\"at\\":\\"2026-12-04\\",\\"chains\\":{\\"c\\":{\\"hash\\":\\"x\\",\\"root\\":\\"y\\",\\"size\\":1}},'
            b'\\"format\\":\\"countermark/checkpoint/1\\"}","frontier":{}}',
            "this is no checkpoint",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        Checkpoint.from_json(data)


def test_a_gap_takes_no_checkpoint(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.append_many([item(n) for n in range(5)])
    Tampered(f"sqlite:///{tmp_path}").statement("DELETE FROM entries WHERE seq = 2")
    with open_ledger(tmp_path, writer="watch") as ledger, pytest.raises(LedgerError, match="has a gap"):
        ledger.checkpoint(AT)


# --- the walk by itself


def test_a_walk_names_each_thing_that_is_wrong() -> None:
    rows = link("c", 0, GENESIS, [item(n) for n in range(4)])
    walk = Walk("c")
    for row in (rows[0], rows[1], rows[1], rows[2]):
        walk.step(row)
    assert [str(problem) for problem in walk.problems] == ["chain 'c', seq 2: expected, but seq 1 came again"]
    walk.end(size=9)
    assert walk.problems[-1].what == "is missing: the chain should have 9 entries and has 3"
    walk = Walk("c")
    walk.step(rows[0])
    walk.end(size=1, digest="00")
    assert walk.problems[-1].what == "is not the entry that the chain should end with"
    strange = link("c", 0, GENESIS, [item(1)])[0]
    foreign = (0, "no instant", "novel", *strange[3:6], b"")
    from countermark.ledger.entry import entry_hash

    walk = Walk("c")
    walk.step((*foreign[:6], entry_hash("c", foreign)))
    second = (1, "before", "novel", "k", b"", entry_hash("c", foreign), b"")
    walk.step((*second[:6], entry_hash("c", second)))
    assert [problem.what for problem in walk.problems] == [
        "is of an unknown kind",
        "is of an unknown kind",
        "its instant is no instant",
    ]


def test_a_report_stops_at_a_hundred_problems(postgres: PostgresServer) -> None:
    walk = Walk("c")
    for row in link("c", 0, GENESIS, [item(n) for n in range(150)]):
        walk.step((*row[:4], b"changed", *row[5:]))
    assert len(walk.problems) == 100

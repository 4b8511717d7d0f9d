"""The SQLite store: durability, crashes, full disks, damaged and foreign files."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.errors import LedgerError
from countermark.ledger import Checkpoint, open_ledger
from countermark.ledger.key_locks import KeyLocks
from countermark.ledger.sqlite import SqliteLedger
from tests.ledger.entries import AT, item
from tests.ledger.processes import ROOT, Writer, check_all_there_once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def connection_of(ledger: SqliteLedger) -> sqlite3.Connection:
    assert ledger._writer is not None
    return ledger._writer._file.connection


def test_a_commit_is_flushed(folder: Path) -> None:
    with SqliteLedger(folder) as ledger:
        ledger.acquire()
        connection = connection_of(ledger)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_names_are_flushed_before_anything_is_acknowledged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    deep = folder / "a" / "b"
    with open_ledger(deep) as ledger:
        ledger.append(*item(1))
    for named in (deep / "chain-000.sqlite", deep, deep.parent, folder, folder.parent):
        assert named.stat().st_ino in flushed


def test_kill_9_under_load_loses_nothing(folder: Path) -> None:
    told = []
    for turn, seconds in enumerate((0.3, 0.15, 0.4)):
        writers = [Writer(str(folder), f"{turn}-{number}") for number in range(2)]
        time.sleep(seconds)
        for writer in writers:
            writer.kill()
        for writer in writers:
            heard, failed = writer.acknowledged()
            assert not failed
            told.extend(heard)
    stored = check_all_there_once(str(folder), told)
    print(f"acknowledged {len(told)}, stored {stored}")
    assert len(told) > 100
    with open_ledger(folder) as ledger:
        # The locks of the dead are free: their chains go on.
        assert ledger.append(*item(1)).chain == "chain-000"
        assert ledger.chains() == ["chain-000", "chain-001"]


def torn_copy(folder: Path, place: Path, cut: int) -> Path:
    """The folder as a power cut would leave it that lost the last bytes of the write-ahead file."""
    shutil.copytree(folder, place)
    (place / "chain-000.sqlite-shm").unlink()
    wal = place / "chain-000.sqlite-wal"
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size - cut])
    return place


def test_a_torn_write_ahead_file_loses_whole_transactions_at_its_end_only(folder: Path, tmp_path: Path) -> None:
    with open_ledger(folder) as ledger:
        batches = [ledger.append_many([item(10 * n + i) for i in range(4)]) for n in range(8)]
        size = (folder / "chain-000.sqlite-wal").stat().st_size
        hashes = [ref.hash for refs in batches for ref in refs]
        sizes = set()
        for cut in (0, 1, 24, 5000, size // 3, size // 2, size - 10, size):
            with open_ledger(torn_copy(folder, tmp_path / f"torn-{cut}", cut)) as torn:
                left = [entry.hash for entry in torn.read()]
                assert left == hashes[: len(left)]
                assert len(left) % 4 == 0
                sizes.add(len(left))
                assert torn.verify().ok
                assert torn.append(*item(999)).seq == len(left)
                assert torn.verify().ok
        assert {0, 28, 32} <= sizes


def test_a_checkpoint_shows_what_a_torn_end_hides(folder: Path, tmp_path: Path) -> None:
    with open_ledger(folder) as ledger, open_ledger(folder, writer="watch") as watch:
        ledger.append_many([item(n) for n in range(4)])
        ledger.append_many([item(n) for n in range(4, 8)])
        kept = watch.checkpoint(AT)
        torn = torn_copy(folder, tmp_path / "torn", 1)
    assert kept.chains["chain-000"].size == 8
    shutil.rmtree(folder)
    with open_ledger(torn) as ledger:
        report = ledger.verify()
        assert [str(problem) for problem in report.problems] == [
            f"chain 'chain-000', seq 4: is missing: the checkpoint of {AT} saw 8 entries and there are 4"
        ]
        (torn / "watch.sqlite").unlink()
        assert ledger.verify().ok
        assert ledger.verify(checkpoints=[Checkpoint.from_json(kept.to_json())]).problems == report.problems


def test_a_full_disk_acknowledges_nothing(folder: Path) -> None:
    with SqliteLedger(folder) as ledger:
        stored = ledger.append_many([item(n) for n in range(5)])
        connection = connection_of(ledger)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(LedgerError, match="nothing was stored on chain 'chain-000'") as raised:
            ledger.append_many([item(n, payload=os.urandom(6000)) for n in range(5, 25)])
        assert raised.value.got == "SQLITE_FULL"
        assert "free some disk space" in str(raised.value)
        assert [entry.seq for entry in ledger.read()] == list(range(5))
        connection.execute(f"PRAGMA max_page_count = {1 << 30}")
        assert ledger.append(*item(30)).seq == 5
        assert stored[-1].hash == ledger.get("decision", "decision-30")[0].previous
        assert ledger.verify().ok


_LIMITED = """
import resource, sys
from countermark.errors import LedgerError
from countermark.ledger import open_ledger
from tests.ledger.entries import item
with open_ledger(sys.argv[1]) as ledger:
    ledger.append(*item(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    stored = 1
    try:
        while True:
            ledger.append(*item(stored, payload=bytes(9000)))
            stored += 1
    except LedgerError as error:
        print(stored, error.got)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(ledger.append(*item(10_000)).seq)
"""


def test_a_write_that_the_system_refuses_acknowledges_nothing(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    stored, name, after = done.stdout.split()
    assert name in ("SQLITE_IOERR_WRITE", "SQLITE_FULL")
    assert int(stored) > 1
    with open_ledger(folder) as ledger:
        assert ledger.verify().ok
        assert int(after) == int(stored) == ledger.heads()["chain-000"][0]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


class Interrupted:
    """A connection on which something happens right after a statement."""

    def __init__(self, real: sqlite3.Connection, after: str, error: BaseException | None = None) -> None:
        self._real = real
        self._after = after
        self._error = KeyboardInterrupt() if error is None else error

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def execute(self, text: str, *values: object) -> sqlite3.Cursor:
        done = self._real.execute(text, *values)
        if text.startswith(self._after):
            raise self._error
        return done


@pytest.mark.parametrize(
    ("rows", "after", "stored"), [(1, "INSERT", 1), (70, "BEGIN", 0), (70, "INSERT", 0), (70, "COMMIT", 70)]
)
def test_an_interrupted_write_is_found_out_by_the_next(folder: Path, rows: int, after: str, stored: int) -> None:
    with SqliteLedger(folder) as ledger:
        ledger.append(*item(0))
        assert ledger._writer is not None
        file = ledger._writer._file
        real = file.connection
        file.connection = Interrupted(real, after)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            ledger.append_many([item(n) for n in range(1, 1 + rows)])
        file.connection = real
        assert ledger.append(*item(100)).seq == 1 + stored
        assert ledger.verify().ok


def test_a_transaction_that_cannot_be_rolled_back_is_told(folder: Path) -> None:
    with SqliteLedger(folder) as ledger:
        ledger.append(*item(0))
        assert ledger._writer is not None
        file = ledger._writer._file
        real = file.connection
        broken = Interrupted(real, "INSERT", sqlite3.OperationalError("disk I/O error"))
        file.connection = Interrupted(broken, "ROLLBACK", sqlite3.OperationalError("disk I/O error"))  # type: ignore[assignment, arg-type]
        with pytest.raises(LedgerError, match="chain 'chain-000' could not be rolled back"):
            ledger.append_many([item(n) for n in range(1, 71)])
        file.connection = real
        assert ledger.append(*item(100)).seq == 1


def test_a_chain_that_vanishes_while_it_is_read_is_told(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append_many([item(n) for n in range(600)])
    with open_ledger(folder) as reader:
        reading = reader.read()
        next(reading)
        (folder / "chain-000.sqlite").unlink()
        with pytest.raises(LedgerError, match="there is no chain 'chain-000' in this ledger"):
            list(reading)
        assert reader.heads() == {}


def test_a_hash_that_is_none_is_told(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    for statements in (
        [
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'entries'",
        ],
        ["DROP TRIGGER entries_no_update", "UPDATE entries SET hash = 'text'"],
    ):
        other = sqlite3.connect(folder / "chain-000.sqlite", isolation_level=None)
        for statement in statements:
            other.execute(statement)
        other.close()
    with open_ledger(folder) as ledger:
        with pytest.raises(LedgerError, match="entry 0 of 'chain-000' is damaged"):
            ledger.heads()
        first = ledger.verify().first_problem
        assert first is not None
        assert (first.seq, first.what) == (0, "was changed: its fields do not give its hash")


_FORKED = """
import os, sys, time
from countermark.ledger import open_ledger
ledger = open_ledger(sys.argv[1], writer="rollout")
ledger.acquire()
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def test_a_child_does_not_keep_its_dead_parents_chain(folder: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _FORKED, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        with open_ledger(folder, writer="rollout") as ledger, pytest.raises(LedgerError, match="has a writer already"):
            ledger.acquire()
        parent.kill()
        parent.wait()
        os.kill(child, 0)
        with open_ledger(folder, writer="rollout") as ledger:
            assert ledger.acquire() == "rollout"
    finally:
        os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_an_old_sqlite_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 26, 0))
    with pytest.raises(LedgerError, match="too old for a ledger"):
        open_ledger(folder).acquire()


def test_two_continuations_of_one_chain_are_refused(folder: Path) -> None:
    with open_ledger(folder) as one:
        one.append(*item(1))
        (folder / "chain-000.lock").unlink()
        with open_ledger(folder) as two:
            assert two.acquire() == "chain-000"
            two.append(*item(2))
            with pytest.raises(LedgerError, match="another writer has continued chain 'chain-000'"):
                one.append(*item(3))
            with pytest.raises(LedgerError, match="does not end where this writer left it") as raised:
                one.append(*item(3))
            assert (raised.value.expected, raised.value.got) == ("seq 0", "seq 1")
            assert two.append(*item(4)).seq == 2
            assert two.verify().ok
            assert [entry.key for entry in two.read()] == ["decision-1", "decision-2", "decision-4"]


def test_no_reader_sees_what_is_not_committed(folder: Path) -> None:
    with SqliteLedger(folder) as ledger, open_ledger(folder) as reader:
        ledger.append(*item(1))
        connection = connection_of(ledger)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO entries VALUES (1, ?, 'decision', 'x', x'', ?, ?)", (AT, bytes(32), bytes(32)))
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)
        assert reader.cursor() == {"chain-000": 0}
        assert reader.get("decision", "x") == []
        assert len(list(reader.read())) == 1
        connection.execute("ROLLBACK")


def test_a_reader_never_blocks_a_writer(folder: Path) -> None:
    with SqliteLedger(folder) as ledger:
        ledger.append_many([item(n) for n in range(1200)])
        holding = sqlite3.connect(f"file:{folder}/chain-000.sqlite?mode=ro", uri=True, isolation_level=None)
        holding.execute("BEGIN")
        assert holding.execute("SELECT count(*) FROM entries").fetchone() == (1200,)
        start = time.perf_counter()
        for number in range(1200, 1300):
            ledger.append(*item(number))
        assert time.perf_counter() - start < 5.0
        assert holding.execute("SELECT count(*) FROM entries").fetchone() == (1200,)
        holding.close()


def test_a_slow_read_holds_no_snapshot(folder: Path) -> None:
    """A reader that stops half-way must not keep the write-ahead file from being folded in."""
    with SqliteLedger(folder) as ledger, open_ledger(folder) as reader:
        ledger.append_many([item(n) for n in range(1200)])
        reading = reader.read()
        next(reading)
        busy, _, _ = connection_of(ledger).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
        assert sum(1 for _ in reading) == 1199


def test_a_reader_changes_nothing(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    with SqliteLedger(folder) as reader:
        list(reader.read())
        file = next(reader._files.each())
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            file.connection.execute("INSERT INTO entries VALUES (9, '', '', '', x'', x'', x'')")


def test_every_file_of_a_ledger_and_an_export_of_it_are_private(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with SqliteLedger(folder) as ledger:
            ledger.append(*item(1))
            ledger.export(tmp_path / "export.jsonl")
            files = [*folder.iterdir(), tmp_path / "export.jsonl"]
            modes = {path.name: path.stat().st_mode & 0o777 for path in files}
    finally:
        os.umask(before)
    assert {"chain-000.sqlite", "chain-000.sqlite-wal", "chain-000.lock", "decisions.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes


def test_entries_cannot_be_changed_by_accident(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    other = sqlite3.connect(folder / "chain-000.sqlite")
    for statement in ("UPDATE entries SET at = ''", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="a ledger is append-only"):
            other.execute(statement)
    other.close()


_OTHER_USER = """
import os, sys
sys.path[:0] = sys.argv[2:]
import countermark.ledger.sqlite
from countermark.ledger import open_ledger
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
with open_ledger(sys.argv[1]) as ledger:
    report = ledger.verify()
    print(report.ok, report.entries, ledger.get("decision", "decision-2")[0].seq)
"""


def as_another_user(place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _OTHER_USER, str(place), str(ROOT / "src")],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that another user can read and not write to, once a test has closed it."""
    place = Path(tempfile.mkdtemp())
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


def test_an_auditor_reads_what_they_may_not_write(shared: Path) -> None:
    with open_ledger(shared) as ledger:
        ledger.append_many([item(n) for n in range(5)])
    assert not (shared / "chain-000.sqlite-wal").exists()
    (shared / "chain-000.sqlite").chmod(0o444)
    shared.chmod(0o555)
    done = as_another_user(shared)
    assert done.stdout.split() == ["True", "5", "2"], done.stderr


def test_an_auditor_reads_beside_a_writer(shared: Path) -> None:
    with open_ledger(shared) as ledger:
        ledger.append_many([item(n) for n in range(5)])
        # Made private; whoever runs the ledger opens it to its readers.
        for path in shared.glob("chain-000.sqlite*"):
            path.chmod(0o644)
        shared.chmod(0o555)
        done = as_another_user(shared)
        assert done.stdout.split() == ["True", "5", "2"], done.stderr
        # Entries that are in the write-ahead file alone must not be left out in silence.
        (shared / "chain-000.sqlite-wal").chmod(0)
        done = as_another_user(shared)
        assert done.stdout == ""
        assert "chain 'chain-000' cannot be" in done.stderr


def test_a_replaced_file_is_read_anew(folder: Path, tmp_path: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    with open_ledger(tmp_path / "other") as ledger:
        ledger.append_many([item(2), item(3)])
    with open_ledger(folder) as reader:
        assert len(list(reader.read())) == 1
        (tmp_path / "other" / "chain-000.sqlite").rename(folder / "chain-000.sqlite")
        assert [entry.key for entry in reader.read()] == ["decision-2", "decision-3"]


def test_a_damaged_last_entry_is_not_built_upon(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    other = sqlite3.connect(folder / "chain-000.sqlite")
    other.execute("DROP TRIGGER entries_no_update")
    other.execute("UPDATE entries SET payload = x'7b7d'")
    other.commit()
    other.close()
    with open_ledger(folder) as ledger:
        with pytest.raises(LedgerError, match=r"the last entry of chain 'chain-000' \(seq 0\) is damaged"):
            ledger.append(*item(2))
        with pytest.raises(LedgerError, match="entry 0 of chain 'chain-000' was changed after it was written"):
            ledger.get("decision", "decision-1")


def test_foreign_files_are_named(folder: Path, tmp_path: Path) -> None:
    with open_ledger(folder) as ledger:
        ledger.append(*item(1))
    cases = tmp_path / "cases"
    cases.mkdir()

    def case(name: str) -> Path:
        return Path(shutil.copytree(folder, cases / name))

    def told(place: Path) -> str:
        with open_ledger(place) as ledger, pytest.raises(LedgerError) as raised:
            ledger.heads()
        return str(raised.value)

    noise = case("noise")
    (noise / "store.sqlite").write_bytes(b"no database at all, but long enough to look at" * 100)
    assert "chain 'store' is damaged" in told(noise)
    foreign = case("foreign")
    sqlite3.connect(foreign / "store.sqlite").execute("CREATE TABLE t (x)").connection.close()
    assert "this file is no chain of a ledger" in told(foreign)
    renamed = case("renamed")
    (renamed / "chain-000.sqlite").rename(renamed / "chain-001.sqlite")
    assert "this file holds another chain than its name says" in told(renamed)
    empty = case("empty")
    (empty / "chain-000.sqlite").write_bytes(b"")
    assert "this file is no chain of a ledger" in told(empty)
    later = case("later")
    other = sqlite3.connect(later / "chain-000.sqlite")
    other.execute("UPDATE chain SET format = 'countermark/ledger/2'")
    other.commit()
    other.close()
    assert "this chain has an unknown format" in told(later)
    rolled = case("rolled")
    other = sqlite3.connect(rolled / "chain-000.sqlite")
    other.execute("PRAGMA journal_mode = DELETE")
    other.close()
    assert "this chain is not in write-ahead mode" in told(rolled)
    a_file = tmp_path / "file"
    a_file.write_text("x")
    assert "this is no folder of a ledger" in told(a_file)


def test_a_vanished_file_is_not_made_anew_over_its_write_ahead_file(folder: Path) -> None:
    writer = Writer(str(folder), "k")
    time.sleep(0.1)
    writer.kill()
    writer.acknowledged()
    (folder / "chain-000.sqlite").unlink()
    with open_ledger(folder) as ledger, pytest.raises(LedgerError, match="its write-ahead file is still there"):
        ledger.append(*item(1))


def test_a_half_made_file_is_never_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", power_cut)
        with pytest.raises(KeyboardInterrupt):
            open_ledger(folder).append(*item(1))
    with open_ledger(folder) as reader:
        assert reader.heads() == {}
    with open_ledger(folder) as ledger:
        assert ledger.append(*item(1)).seq == 0
        assert stat.S_ISREG((folder / "chain-000.sqlite").stat().st_mode)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="the ledger cannot be opened to write") as raised:
        open_ledger(tmp_path / "file" / "ledger").acquire()
    assert raised.value.got == "Not a directory"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(LedgerError, match="chain 'chain-000' cannot be made"):
            open_ledger(tmp_path / "ledger").acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with open_ledger(tmp_path / "ledger") as ledger:
        assert ledger.append(*item(1)).seq == 0


def test_locks_of_many_keys_are_one_lock(tmp_path: Path) -> None:
    one, two = KeyLocks(tmp_path / "lock"), KeyLocks(tmp_path / "lock")
    with one.held(f"k{n}" for n in range(5000)):
        pass
    with one.held(["a"]), two.held(["b"]):
        pass
    one.close()
    two.close()

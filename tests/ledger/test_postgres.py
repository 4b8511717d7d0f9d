"""The PostgreSQL store: restarts, lost answers, silent networks, and what the server must be."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from countermark.errors import LedgerError
from countermark.ledger import GroupCommitter, batch, open_ledger, postgres_writer
from countermark.ledger.postgres import PostgresLedger
from tests.ledger.entries import AT, item
from tests.ledger.processes import Writer, check_all_there_once
from tests.ledger.proxy import Proxy
from tests.servers import PostgresServer


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[Proxy]:
    with tempfile.TemporaryDirectory() as folder:
        made = Proxy(Path(folder), postgres.socket_folder)
        yield made
        made.close()


def through(proxy: Proxy, url: str, postgres: PostgresServer) -> str:
    return url.replace(str(postgres.socket_folder), str(proxy.folder))


def session_of(ledger: PostgresLedger) -> psycopg.Connection[Any]:
    assert ledger._writer is not None
    assert ledger._writer._session is not None
    return ledger._writer._session


def test_kill_9_under_load_loses_nothing(postgres_url: str) -> None:
    told = []
    for turn, seconds in enumerate((0.3, 0.2)):
        writers = [Writer(postgres_url, f"{turn}-{number}") for number in range(2)]
        time.sleep(seconds)
        for writer in writers:
            writer.kill()
        for writer in writers:
            heard, failed = writer.acknowledged()
            assert not failed
            told.extend(heard)
    stored = check_all_there_once(postgres_url, told)
    print(f"acknowledged {len(told)}, stored {stored}")
    assert len(told) > 100


def test_a_restart_of_the_server_under_load_loses_nothing(postgres: PostgresServer, postgres_url: str) -> None:
    writers = [Writer(postgres_url, str(number)) for number in range(2)]
    counts = [[writer.count() for writer in writers]]
    with open_ledger(postgres_url) as reader:
        for mode in ("immediate", "fast", "immediate"):
            time.sleep(0.3)
            heads = reader.heads()
            postgres.restart(mode, pause=0.1)
            # The writers go on by themselves, and so does a reader that was open.
            deadline = time.monotonic() + 20
            while any(writer.count() < before + 30 for writer, before in zip(writers, counts[-1], strict=True)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            counts.append([writer.count() for writer in writers])
            assert all(reader.heads()[chain][0] > seq for chain, (seq, _) in heads.items())
    told = []
    for writer in writers:
        writer.kill()
    for writer in writers:
        heard, failed = writer.acknowledged()
        assert not failed
        told.extend(heard)
    stored = check_all_there_once(postgres_url, told)
    print(f"acknowledged {len(told)}, stored {stored}, as seen at the restarts {counts}")


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_is_found_out_and_stored_once(
    postgres: PostgresServer, postgres_url: str, proxy: Proxy, times: int
) -> None:
    with open_ledger(through(proxy, postgres_url, postgres)) as ledger:
        ledger.append(*item(0))
        for number in range(1, times + 1):
            proxy.lose_after = b"payload %d" % number
            # No decision: its unique key would hide a second copy.
            ref = ledger.append("outcome", f"d{number}", b"payload %d" % number, AT)
            assert (ref.seq, ref.repeated) == (number, False)
            assert proxy.lost == number
        assert [entry.seq for entry in ledger.read()] == list(range(times + 1))
        assert ledger.verify().ok


@pytest.mark.parametrize("when", [b"payload 1", b"COMMIT"], ids=["before the commit", "of the commit"])
def test_a_lost_answer_about_an_event_is_found_out_and_stored_once(
    postgres: PostgresServer, postgres_url: str, proxy: Proxy, when: bytes
) -> None:
    """An event is stored in a transaction of several steps: what was lost with it open is undone and done again."""
    with open_ledger(through(proxy, postgres_url, postgres)) as ledger:
        ledger.append(*item(0, "event"))
        proxy.lose_after = when
        refs = ledger.append_many([("event", "e1", b"payload 1", AT), ("outcome", "o1", b"", AT), item(0, "event")])
        assert proxy.lost == 1
        assert [(ref.seq, ref.repeated) for ref in refs] == [(1, False), (2, False), (0, True)]
        assert [entry.key for entry in ledger.read()] == ["event-0", "e1", "o1"]
        assert ledger.append(*item(3)).seq == 3
        assert ledger.verify().ok


def test_a_refused_event_leaves_no_transaction_open(postgres: PostgresServer, postgres_url: str) -> None:
    with PostgresLedger(postgres_url) as ledger, open_ledger(postgres_url) as other:
        ledger.append(*item(1, "event"))
        postgres.sql("ALTER TABLE countermark_ledger ADD CHECK (length(payload) < 50)", postgres_url)
        with pytest.raises(LedgerError, match="nothing was stored"):
            ledger.append(*item(2, "event", bytes(100)))
        assert not other.append(*item(2, "event")).repeated, "nobody holds its lock"
        assert ledger.append(*item(3, "event")).seq == 1
        assert ledger.verify().ok


def test_an_event_that_an_old_ledger_holds_twice_is_answered_with_the_first(
    postgres: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PostgresLedger(postgres_url) as ledger, open_ledger(postgres_url) as other:
        with monkeypatch.context() as then:
            then.setattr(batch, "ONCE", ("decision",))
            then.setattr(postgres_writer, "names_of", lambda items, kinds: set())
            first = ledger.append("event", "e", b"1", "2026-12-04T14:00:00.000000Z")
            other.append("event", "e", b"2", "2026-12-04T14:00:01.000000Z")
        again = other.append("event", "e", b"3", AT)
        assert (again.chain, again.seq, again.repeated) == (first.chain, first.seq, True)
        assert ledger.verify().ok


def test_a_lost_question_is_asked_again(postgres: PostgresServer, postgres_url: str, proxy: Proxy) -> None:
    """The network falls silent before the batch arrives; the server still holds the old session and its lock."""
    with open_ledger(through(proxy, postgres_url, postgres)) as ledger:
        ledger.append(*item(0))
        proxy.hang_after = b"payload 1"
        start = time.monotonic()
        ref = ledger.append("decision", "d1", b"payload 1", AT)
        assert proxy.lost == 1
        assert (ref.chain, ref.seq, ref.repeated) == ("chain-000", 1, False)
        assert time.monotonic() - start < 10
        assert ledger.append(*item(2)).seq == 2
        assert ledger.verify().ok


def test_a_chain_that_another_process_took_meanwhile(postgres: PostgresServer, postgres_url: str, proxy: Proxy) -> None:
    """After a restart another writer may be faster: ours finds out what became of its batch, and goes elsewhere."""
    for loses, expected in (
        ("lose_after", [("chain-000", 1), ("chain-001", 0)]),
        ("hang_after", [("chain-001", 0), ("chain-001", 1)]),
    ):
        address = postgres.schema()
        with PostgresLedger(through(proxy, address, postgres)) as ledger, open_ledger(address) as other:
            ledger.append(*item(0))
            writer = ledger._writer
            assert writer is not None
            resume = writer._resume

            def slower(
                session: psycopg.Connection[Any], until: float, resume=resume, ledger=ledger, other=other
            ) -> bool:  # type: ignore[no-untyped-def]
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND pid <> %s",
                    (ledger._writer._label, session.info.backend_pid),
                )
                while other.chain is None:
                    if other.acquire() != "chain-000":
                        other.close()
                return resume(session, until)  # type: ignore[no-any-return]

            writer._resume = slower  # type: ignore[method-assign, assignment]
            setattr(proxy, loses, b"payload 1")
            first = ledger.append("outcome", "d1", b"payload 1", AT)
            second = ledger.append("outcome", "d2", b"", AT)
            assert [(ref.chain, ref.seq) for ref in (first, second)] == expected
            other.append(*item(9))
            assert sorted(entry.key for entry in other.read()) == ["d1", "d2", "decision-0", "decision-9"]
            assert other.verify().ok


def test_a_named_chain_that_another_process_took_is_told(postgres: PostgresServer, postgres_url: str) -> None:
    with (
        PostgresLedger(postgres_url, "rollout", patience=1.0) as ledger,
        open_ledger(postgres_url, writer="rollout") as other,
    ):
        ledger.append(*item(1, "routing"))
        postgres.restart()
        other.append(*item(2, "routing"))
        with pytest.raises(LedgerError, match="chain 'rollout' has a writer already"):
            ledger.append(*item(3, "routing"))
        assert [entry.key for entry in other.read()] == ["routing-1", "routing-2"]


def test_a_server_that_stays_away_acknowledges_nothing(postgres: PostgresServer, postgres_url: str) -> None:
    with PostgresLedger(postgres_url, patience=0.3) as ledger:
        ledger.append(*item(0))
        with GroupCommitter(ledger) as committer:
            postgres.stop()
            try:
                futures = [committer.submit(*item(n)) for n in range(1, 4)]
                for future in futures:
                    with pytest.raises(LedgerError, match="went away: nothing was acknowledged"):
                        future.result(20)
                with pytest.raises(LedgerError, match="the ledger cannot be read") as raised:
                    ledger.heads()
                assert "is the server running" in str(raised.value)
                with pytest.raises(LedgerError, match="the ledger cannot be opened to write"):
                    open_ledger(postgres_url).acquire()
            finally:
                postgres.start()
            assert committer.submit(*item(9)).result(20).seq == 1
        assert [entry.key for entry in ledger.read()] == ["decision-0", "decision-9"]


def test_an_answer_lost_for_good_shows_as_repeated_later(
    postgres: PostgresServer, postgres_url: str, proxy: Proxy
) -> None:
    """The batch was stored, the server stayed away, the caller was told nothing: sent again, it is not stored twice."""
    with PostgresLedger(through(proxy, postgres_url, postgres), patience=-1.0) as ledger:
        ledger.append(*item(0))
        proxy.lose_after = b"payload 1"
        with pytest.raises(LedgerError, match="nothing was acknowledged"):
            ledger.append("decision", "d1", b"payload 1", AT)
        end, again = time.monotonic() + 20, None
        with PostgresLedger(postgres_url) as beside:
            # Until then ending the lost session would end its transaction too, and nothing would be stored yet.
            while not beside.get("decision", "d1"):
                assert time.monotonic() < end
                time.sleep(0.01)
        while again is None:
            # It does not wait for the lost session to end either: on a busy machine that takes a moment.
            try:
                again = ledger.append("decision", "d1", b"payload 1", AT)
            except LedgerError:
                assert time.monotonic() < end
                time.sleep(0.05)
        assert (again.seq, again.repeated) == (1, True)
        assert ledger.append(*item(2)).seq == 2
        assert ledger.verify().ok


def test_entries_that_vanished_are_not_written_over(postgres: PostgresServer, postgres_url: str) -> None:
    """A standby took over that had not heard of the last entries."""
    with PostgresLedger(postgres_url) as ledger:
        ledger.append_many([item(n) for n in range(5)])
        postgres.sql("ALTER TABLE countermark_ledger DISABLE TRIGGER ALL", postgres_url)
        postgres.sql("DELETE FROM countermark_ledger WHERE seq > 2", postgres_url)
        postgres.restart()
        for _ in range(2):
            with pytest.raises(LedgerError, match="does not end where this writer left it") as raised:
                ledger.append(*item(9))
            assert (raised.value.expected, raised.value.got) == ("seq 4", "seq 2")
        assert len(list(ledger.read())) == 3


def test_two_continuations_of_one_chain_are_refused(postgres: PostgresServer, postgres_url: str) -> None:
    """A pooler that shares sessions takes the locks away; the table's key still refuses a fork."""
    with PostgresLedger(postgres_url) as one:
        one.append(*item(1))
        session_of(one).execute("SELECT pg_advisory_unlock_all()")
        with open_ledger(postgres_url) as two:
            assert two.append(*item(2)).seq == 1
            for _ in range(2):
                with pytest.raises(LedgerError, match="another writer has continued chain 'chain-000'"):
                    one.append(*item(3))
            assert two.append(*item(4)).seq == 2
            assert two.verify().ok


def test_no_reader_sees_what_is_not_committed(postgres_url: str) -> None:
    with PostgresLedger(postgres_url) as ledger, open_ledger(postgres_url) as reader:
        ledger.append(*item(1))
        session = session_of(ledger)
        with session.transaction(force_rollback=True):
            session.execute(
                "INSERT INTO countermark_ledger VALUES ('chain-000', 1, %s, 'decision', 'x', '', '', '')", (AT,)
            )
            assert reader.cursor() == {"chain-000": 0}
            assert reader.get("decision", "x") == []


def test_a_refused_statement_acknowledges_nothing_and_the_chain_goes_on(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with PostgresLedger(postgres_url) as ledger:
        ledger.append(*item(1))
        postgres.sql("ALTER TABLE countermark_ledger ADD CONSTRAINT small CHECK (length(payload) < 100)", postgres_url)
        with pytest.raises(LedgerError, match="nothing was stored on chain 'chain-000'") as raised:
            ledger.append(*item(2, payload=bytes(100)))
        assert raised.value.got == "CheckViolation (23514)"
        assert ledger.append(*item(3)).seq == 1
        assert ledger.verify().ok


def test_an_interrupted_write_is_found_out_by_the_next(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with PostgresLedger(postgres_url) as ledger:
        ledger.append(*item(1))
        real = psycopg.Connection.execute

        def interrupted(self: Any, *values: Any, **options: Any) -> Any:
            done = real(self, *values, **options)
            if "unnest" in str(values[0]):
                raise KeyboardInterrupt
            return done

        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "execute", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ledger.append(*item(2))
        assert ledger.append(*item(3)).seq == 2
        assert [entry.key for entry in ledger.read()] == ["decision-1", "decision-2", "decision-3"]
        assert ledger.verify().ok


def test_workers_that_collide_all_the_time_get_on(postgres_url: str) -> None:
    """The same keys in opposite order deadlock in the server, which ends one of them; it tries again."""
    ledgers = [open_ledger(postgres_url) for _ in range(2)]
    failures: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for turn in range(40):
                batch = [item(turn * 10 + n) for n in range(10)]
                ledgers[place].append_many(batch if place else batch[::-1])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(list(ledgers[0].read())) == 400
    for ledger in ledgers:
        ledger.close()


def test_a_deadlock_is_tried_again(postgres_url: str) -> None:
    """Another session has one of our keys and waits for the other: the server ends our statement, not our batch."""
    with PostgresLedger(postgres_url) as ledger, open_ledger(postgres_url) as reader:
        ledger.append("outcome", "e", b"", AT)
        insert = "INSERT INTO countermark_ledger VALUES ('other', %s, %s, 'decision', %s, '', '', '')"
        with psycopg.connect(postgres_url) as session:
            session.execute("SET deadlock_timeout = '30s'")
            session.execute(insert, (0, AT, "b"))
            refs: list[Any] = []
            ours = threading.Thread(
                target=lambda: refs.extend(ledger.append_many([("decision", "a", b"", AT), ("decision", "b", b"", AT)]))
            )
            ours.start()
            time.sleep(0.3)
            session.execute(insert, (1, AT, "a"))
            session.commit()
        ours.join(30)
        assert [(ref.chain, ref.seq, ref.repeated) for ref in refs] == [("other", 1, True), ("other", 0, True)]
        assert ledger.append("outcome", "e", b"", AT).seq == 1
        assert reader.heads()["chain-000"][0] == 1


def test_a_key_that_is_taken_and_cannot_be_found_is_told(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_writer, "_STORED", postgres_writer._STORED + " AND false")
    with PostgresLedger(postgres_url) as ledger:
        ledger.append(*item(1))
        with pytest.raises(LedgerError, match="a decision is stored already, but cannot be found"):
            ledger.append(*item(1))
        assert ledger.append(*item(2)).seq == 1


# --- what the server must be


def test_a_commit_is_flushed(postgres: PostgresServer, postgres_url: str) -> None:
    with PostgresLedger(f"{postgres_url}%20-csynchronous_commit%3Doff") as ledger:
        ledger.acquire()
        assert session_of(ledger).execute("SHOW synchronous_commit").fetchone() == ("on",)
    with PostgresLedger(f"{postgres_url}%20-csynchronous_commit%3Dremote_apply") as ledger:
        ledger.acquire()
        assert session_of(ledger).execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)


def test_a_server_that_does_not_flush_is_refused(postgres: PostgresServer, postgres_url: str) -> None:
    postgres.sql("ALTER SYSTEM SET fsync = off")
    postgres.restart("fast")
    try:
        with pytest.raises(LedgerError, match="does not flush what it commits"):
            open_ledger(postgres_url).acquire()
    finally:
        postgres.sql("ALTER SYSTEM RESET fsync")
        postgres.restart("fast")


def test_a_table_of_another_format_is_refused(postgres: PostgresServer, postgres_url: str) -> None:
    with open_ledger(postgres_url) as ledger:
        ledger.append(*item(1))
    postgres.sql("COMMENT ON TABLE countermark_ledger IS 'countermark/ledger/2'", postgres_url)
    with open_ledger(postgres_url) as ledger, pytest.raises(LedgerError, match="unknown format"):
        ledger.append(*item(2))


def test_a_role_with_few_rights_is_enough(postgres: PostgresServer, postgres_url: str) -> None:
    with open_ledger(postgres_url) as ledger:
        ledger.append(*item(1))
    schema = postgres_url.rpartition("%3D")[2]
    postgres.sql(f"CREATE ROLE writer_{schema} LOGIN; CREATE ROLE reader_{schema} LOGIN")
    postgres.sql(f"GRANT USAGE ON SCHEMA {schema} TO writer_{schema}, reader_{schema}")
    postgres.sql(f"GRANT SELECT ON {schema}.countermark_ledger TO writer_{schema}, reader_{schema}")
    postgres.sql(f"GRANT INSERT ON {schema}.countermark_ledger TO writer_{schema}")
    as_writer = postgres_url.replace("postgres@", f"writer_{schema}@")
    as_reader = postgres_url.replace("postgres@", f"reader_{schema}@")
    with open_ledger(as_writer) as ledger, open_ledger(as_reader) as reader:
        assert ledger.append(*item(2)).seq == 1
        assert reader.verify().entries == 2
        with pytest.raises(LedgerError, match="nothing was stored") as raised:
            reader.append(*item(3))
        assert "needs SELECT and INSERT" in str(raised.value)


def test_entries_cannot_be_changed_by_accident(postgres: PostgresServer, postgres_url: str) -> None:
    with open_ledger(postgres_url) as ledger:
        ledger.append(*item(1))
    for statement in (
        "UPDATE countermark_ledger SET at = ''",
        "DELETE FROM countermark_ledger",
        "TRUNCATE countermark_ledger",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="a ledger is append-only"):
            postgres.sql(statement, postgres_url)


def test_ledgers_of_two_schemas_do_not_share_locks(postgres: PostgresServer) -> None:
    with open_ledger(postgres.schema()) as one, open_ledger(postgres.schema()) as two:
        assert (one.acquire(), two.acquire()) == ("chain-000", "chain-000")


def test_a_damaged_last_entry_is_not_built_upon(postgres: PostgresServer, postgres_url: str) -> None:
    with open_ledger(postgres_url) as ledger:
        ledger.append(*item(1))
    postgres.sql("ALTER TABLE countermark_ledger DISABLE TRIGGER ALL", postgres_url)
    postgres.sql("UPDATE countermark_ledger SET payload = 'x'", postgres_url)
    with open_ledger(postgres_url) as ledger, pytest.raises(LedgerError, match="is damaged: it cannot be continued"):
        ledger.append(*item(2))


def test_a_message_shows_no_password(postgres: PostgresServer) -> None:
    with pytest.raises(LedgerError) as raised:
        open_ledger("postgresql://u:secret@127.0.0.1:1/db").heads()
    assert "secret" not in str(raised.value)

"""The one writer of a chain in PostgreSQL, and how it finds its place again after the server went away."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Container
from typing import Any

import psycopg
from psycopg import errors

from countermark.errors import LedgerError
from countermark.ledger.batch import Batch, Name, names_of
from countermark.ledger.entry import GENESIS, EntryRef, Item, Row, entry_hash, link
from countermark.ledger.postgres_session import connect, failure, is_lost, prepare

SLOTS = 1000
_INSERT = (
    "INSERT INTO countermark_ledger (chain, seq, at, kind, key, payload, previous, hash) SELECT %b, u.* FROM unnest("
    "%b::bigint[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::bytea[]) AS u"
)
_STORED = "SELECT key, chain, seq, hash FROM countermark_ledger WHERE kind = 'decision' AND key = ANY(%s)"
_EVENTS = (
    "SELECT key, chain, seq, hash FROM countermark_ledger WHERE kind = 'event' AND kind <> 'decision' "
    "AND key = ANY(%s) ORDER BY at DESC, chain DESC, seq DESC"
)
_EVENT_LOCKS = 0x434D4C45
"""First number of the locks on events: of two numbers, so that they are none of the chains'."""
# In the order of the array, which is the same for everybody: two writers do not wait for each other in a ring.
_LOCK_EVENTS = "SELECT pg_advisory_xact_lock(%s, k) FROM unnest(%s::int[]) AS k"
_HEAD = (
    "SELECT seq, at, kind, key, payload, previous, hash FROM countermark_ledger WHERE chain = %s "
    "ORDER BY seq DESC LIMIT 1"
)
_HOLDER = (
    "SELECT a.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE l.locktype = 'advisory' "
    "AND l.granted AND l.classid = %s::bigint::oid AND l.objid = %s::bigint::oid AND l.objsubid = 1 "
    "AND a.application_name = %s"
)


class PostgresWriter:
    """Holds a chain by a session lock of the server, which falls when the connection does.

    A batch is one statement, so one transaction and one round trip. When the answer to it is lost, the writer connects
    again and waits for the chain's lock: the server drops it only after the lost session's transaction has ended, so
    the chain's head then says whether the batch was stored. It is stored once either way.

    Args:
        url: Address of the database.
        name: Chain to take, or None for the first numbered chain without a writer.
        patience: Seconds to go on trying when the server went away.

    Raises:
        LedgerError: If the server cannot be reached, the chain has a writer, or it cannot be continued.
    """

    def __init__(self, url: str, name: str | None, patience: float) -> None:
        self._url = url
        self._name = name
        self._patience = patience
        self._label = f"countermark ledger {uuid.uuid4().hex}"
        self._session: psycopg.Connection[Any] | None = None
        self._uncertain: Row | None = None
        self._broken: LedgerError | None = None
        self.chain = ""
        self._seq, self._hash = -1, GENESIS
        try:
            session = connect(url, self._label)
            try:
                self._table = prepare(session)
                self._take(session)
            except BaseException:
                session.close()
                raise
            self._session = session
        except psycopg.Error as error:
            raise failure(error, "the ledger cannot be opened to write") from error

    # --- the chain

    def _take(self, session: psycopg.Connection[Any]) -> None:
        """Lock a chain and read its head."""
        for chain in [self._name] if self._name else (f"chain-{slot:03d}" for slot in range(SLOTS)):
            if self._locked(session, chain):
                break
        else:
            raise LedgerError(
                f"chain '{self._name}' has a writer already" if self._name else f"all {SLOTS} chains have a writer",
                hint="a chain has one writer: stop the other one, or name another chain",
            )
        head = session.execute(_HEAD, (chain,)).fetchone()
        if head is not None and entry_hash(chain, head) != head[6]:
            raise LedgerError(
                f"the last entry of chain '{chain}' (seq {head[0]}) is damaged: it cannot be continued",
                hint="verify the ledger ('countermark ledger verify') and restore the table from a backup",
            )
        self.chain = chain
        self._seq, self._hash = (-1, GENESIS) if head is None else (head[0], head[6])

    def _resume(self, session: psycopg.Connection[Any], until: float) -> bool:
        """Find the chain again in a new session; whether the uncertain batch turned out to be stored."""
        while not self._locked(session, self.chain):
            classid, objid = _lock_words(self._table, self.chain)
            own = session.execute(_HOLDER, (classid, objid, self._label)).fetchone()
            if own is None:
                # Another process took the chain while the server knew of no writer. Ours has ended for certain.
                return self._move(session)
            session.execute("SELECT pg_terminate_backend(%s)", own)
            if time.monotonic() > until:
                raise psycopg.OperationalError("the lost session does not end")
            time.sleep(0.02)
        head = session.execute(_HEAD, (self.chain,)).fetchone()
        found = (-1, GENESIS) if head is None else (head[0], head[6])
        tried, self._uncertain = self._uncertain, None
        if tried is not None and found == (tried[0], tried[6]):
            self._seq, self._hash = found
            return True
        if found != (self._seq, self._hash):
            self._broken = LedgerError(
                f"chain '{self.chain}' does not end where this writer left it",
                expected=f"seq {self._seq}",
                got=f"seq {found[0]}",
                hint="a second writer, or a standby that lost acknowledged entries: verify the ledger against a "
                "checkpoint before going on",
            )
            raise self._broken
        return False

    def _move(self, session: psycopg.Connection[Any]) -> bool:
        """Go to another chain, as our own has a new writer; whether the uncertain batch was stored on the old one."""
        tried = self._uncertain
        stored = tried is not None and session.execute(
            "SELECT 1 FROM countermark_ledger WHERE chain = %s AND seq = %s AND hash = %s",
            (self.chain, tried[0], tried[6]),
        ).fetchone() == (1,)
        self._take(session)
        self._uncertain = None
        return stored

    # --- writing

    def write(self, items: list[Item], fresh: Container[str]) -> list[EntryRef]:
        """Store checked items in one transaction; durable when it returns.

        Args:
            items: The items.
            fresh: Keys that no chain can hold yet.

        Raises:
            LedgerError: If they could not be stored, or it could not be found out within the patience. They are then
                not acknowledged; a decision that was stored after all answers as repeated when it is sent again.
        """
        until = time.monotonic() + self._patience
        events = sorted(key for _, key in names_of(items, ("event",)) if key not in fresh)
        stored: dict[Name, EntryRef] = {}
        sent: tuple[str, Batch, list[Row]] | None = None
        repeated = False
        while True:
            if self._broken is not None:
                raise self._broken
            try:
                if self._connected(until) and sent is not None:
                    return sent[1].refs(sent[0], sent[2])
                if repeated:
                    stored = self._more_stored(items, stored)
                    repeated = False
                batch = Batch(items, stored | self._begin(events) if events else stored)
                rows = link(self.chain, self._seq + 1, self._hash, batch.fresh)
                sent = (self.chain, batch, rows)
                self._insert(rows, begun=bool(events))
                return batch.refs(self.chain, rows)
            except errors.UniqueViolation as error:
                # Looking for repeats only now spares every other batch a round trip.
                if error.diag.constraint_name != "countermark_ledger_decision":
                    raise self._forked() from error
                sent, repeated = None, True
            except (errors.DeadlockDetected, errors.SerializationFailure):
                sent = None
            except psycopg.Error as error:
                self._lost(error, until)

    def _begin(self, events: list[str]) -> dict[Name, EntryRef]:
        """Begin a transaction in which nobody else stores these events; those that are stored.

        No index makes their keys unique: ledgers that were begun before events were stored once may hold one twice.
        """
        session = self._session
        assert session is not None
        locks = sorted({_event_lock(self._table, key) for key in events})
        try:
            # Every statement sees what was committed before it began, whatever the server's default is.
            session.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            session.execute(_LOCK_EVENTS, (_EVENT_LOCKS, locks), prepare=True)
            rows = session.execute(_EVENTS, (events,), binary=True, prepare=True).fetchall()
        except psycopg.Error as error:
            if not is_lost(session, error):
                session.execute("ROLLBACK")
            raise
        except BaseException:
            session.close()
            self._session = None
            raise
        return {("event", key): EntryRef(chain, seq, digest.hex(), True) for key, chain, seq, digest in rows}

    def _insert(self, rows: list[Row], *, begun: bool) -> None:
        """Store rows, and end the transaction that was begun for them."""
        if not rows and not begun:
            return
        session = self._session
        assert session is not None
        columns = [list(column) for column in zip(*rows, strict=True)]
        self._uncertain = rows[-1] if rows else None
        try:
            if rows:
                session.execute(_INSERT, [self.chain, *columns], prepare=True)
            if begun:
                session.execute("COMMIT")
        except psycopg.Error as error:
            if not is_lost(session, error):
                self._uncertain = None
                if begun:
                    session.execute("ROLLBACK")
            raise
        except BaseException:
            # Interrupted between question and answer: the next write finds out, in a new session, what became of it.
            session.close()
            self._session = None
            raise
        self._uncertain = None
        if rows:
            self._seq, self._hash = rows[-1][0], rows[-1][6]

    def _connected(self, until: float) -> bool:
        """Have a session that holds the chain; whether a batch of unknown fate was found stored."""
        if self._session is not None:
            return False
        session = connect(self._url, self._label)
        try:
            self._table = prepare(session)
            stored = self._resume(session, until)
        except BaseException:
            session.close()
            raise
        self._session = session
        return stored

    def _lost(self, error: psycopg.Error, until: float) -> None:
        """After an error of the server: go on if the connection was lost and there is time, else say so."""
        session = self._session
        if session is not None and not is_lost(session, error):
            raise failure(error, f"nothing was stored on chain '{self.chain}'") from error
        if session is not None:
            session.close()
            self._session = None
        if time.monotonic() > until:
            raise failure(error, f"the server of chain '{self.chain}' went away: nothing was acknowledged") from error
        time.sleep(0.05)

    def _more_stored(self, items: list[Item], known: dict[Name, EntryRef]) -> dict[Name, EntryRef]:
        keys = sorted(key for _, key in names_of(items, ("decision",)))
        session = self._session
        assert session is not None
        rows = session.execute(_STORED, (keys,), binary=True).fetchall()
        found = {("decision", key): EntryRef(chain, seq, digest.hex(), True) for key, chain, seq, digest in rows}
        if len(found) <= len(known):
            raise LedgerError(
                f"nothing was stored on chain '{self.chain}': a decision is stored already, but cannot be found",
                hint="verify the ledger: countermark ledger verify",
            )
        return found

    def _forked(self) -> LedgerError:
        self._broken = LedgerError(
            f"another writer has continued chain '{self.chain}': two continuations of one chain are refused",
            expected=f"seq {self._seq + 1} to be free",
            hint="find the second writer, then verify the ledger: countermark ledger verify",
        )
        return self._broken

    def _locked(self, session: psycopg.Connection[Any], chain: str) -> bool:
        high, low = _lock_words(self._table, chain)
        number = (high << 32) | low
        signed = number - (1 << 64) if number >= 1 << 63 else number
        return session.execute("SELECT pg_try_advisory_lock(%s)", (signed,)).fetchone() == (True,)

    def close(self) -> None:
        """Give up the chain."""
        if self._session is not None:
            self._session.close()


def _event_lock(table: int, key: str) -> int:
    """Second number of the advisory lock of an event."""
    digest = hashlib.sha256(f"countermark event {table} {key}".encode()).digest()
    return int.from_bytes(digest[:4], "big", signed=True)


def _lock_words(table: int, chain: str) -> tuple[int, int]:
    """Two 32-bit halves of the advisory lock's number, as ``pg_locks`` shows them."""
    digest = hashlib.sha256(f"countermark ledger {table} {chain}".encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")

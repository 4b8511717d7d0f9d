"""Connections to PostgreSQL, the table of a ledger, and the server's errors in words."""

from __future__ import annotations

from typing import Any

import psycopg

from countermark.errors import LedgerError

FORMAT = "countermark/ledger/1"

# Dead peers are noticed within some ten seconds instead of the kernel's two hours.
_KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10000,
}

_TABLE = f"""
SELECT pg_advisory_xact_lock(4849382716354);
CREATE TABLE IF NOT EXISTS countermark_ledger (
  chain text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  at text NOT NULL,
  kind text NOT NULL,
  key text COLLATE "C" NOT NULL,
  payload bytea NOT NULL,
  previous bytea NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT countermark_ledger_place PRIMARY KEY (chain, seq)
);
CREATE UNIQUE INDEX IF NOT EXISTS countermark_ledger_decision ON countermark_ledger (key) WHERE kind = 'decision';
CREATE INDEX IF NOT EXISTS countermark_ledger_key ON countermark_ledger (kind, key) WHERE kind <> 'decision';
CREATE INDEX IF NOT EXISTS countermark_ledger_kind ON countermark_ledger (kind, chain, seq);
CREATE OR REPLACE FUNCTION countermark_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'a ledger is append-only'; END $$;
CREATE OR REPLACE TRIGGER countermark_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON countermark_ledger
  FOR EACH STATEMENT EXECUTE FUNCTION countermark_ledger_refuse();
COMMENT ON TABLE countermark_ledger IS '{FORMAT}';
"""


def connect(url: str, name: str) -> psycopg.Connection[Any]:
    """A session in autocommit mode: every statement is a transaction.

    Raises:
        psycopg.Error: If the server cannot be reached.
    """
    options = {key: value for key, value in _KEEPALIVE.items() if key not in url}
    session: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, **options)  # type: ignore[arg-type]
    session.execute("SELECT set_config('application_name', %s, false)", (name,))
    return session


def prepare(session: psycopg.Connection[Any]) -> int:
    """Make the table if it is not there, and see to it that a commit means durable.

    Returns:
        The server's number of the table, which tells the locks of two ledgers in one database apart.

    Raises:
        LedgerError: If the server does not flush what it commits, or the table has an unknown format.
        psycopg.Error: If the server cannot be reached or refuses.
    """
    if session.execute("SELECT to_regclass('countermark_ledger')").fetchone() == (None,):
        with session.transaction():
            session.execute(_TABLE)
    found = session.execute(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'), "
        "obj_description('countermark_ledger'::regclass), 'countermark_ledger'::regclass::oid::bigint"
    ).fetchone()
    flushes, waits, form, table = found or ("off", "off", None, 0)
    if form != FORMAT:
        raise LedgerError("the ledger's table has an unknown format", expected=FORMAT, got=repr(form))
    if flushes != "on":
        raise LedgerError(
            "this PostgreSQL server does not flush what it commits: an acknowledged decision could be lost",
            expected="fsync = on",
            got=f"fsync = {flushes}",
            hint="set fsync = on in postgresql.conf",
        )
    if waits in ("off", "local"):
        session.execute("SET synchronous_commit = on")
    return int(table)


def failure(error: psycopg.Error, what: str) -> LedgerError:
    """The error of the house for one of the server: its class and code, never a value of a row."""
    name = type(error).__name__ + (f" ({error.sqlstate})" if error.sqlstate else "")
    hints = {
        "53100": "free some disk space on the server; what was acknowledged is safe",
        "42501": "the role needs SELECT and INSERT on the table countermark_ledger",
        "3D000": "create the database first",
        "28P01": "check user and password of the ledger's address",
    }
    unreachable = "is the server running, and is the ledger's address right?" if error.sqlstate is None else None
    return LedgerError(what, got=name, hint=hints.get(error.sqlstate or "", unreachable))


def is_lost(session: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that nobody told what became of the last statement."""
    return session.closed or (error.sqlstate or "").startswith(("57P", "08"))

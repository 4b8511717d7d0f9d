"""A ledger in one PostgreSQL table: one chain for every writing connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from countermark.ledger.entry import Row
from countermark.ledger.ledger import PAGE, Ledger
from countermark.ledger.postgres_session import connect, failure
from countermark.ledger.postgres_writer import PostgresWriter
from countermark.ledger.verification import Problem

_HASHES = 8192
_COLUMNS = sql.SQL("seq, at, kind, key, payload, previous, hash")
# The chains are found by stepping along the primary key: one probe per chain, however long they are.
_HEADS = sql.SQL(
    "WITH RECURSIVE c AS ((SELECT chain FROM countermark_ledger ORDER BY chain LIMIT 1) UNION ALL "
    "SELECT (SELECT chain FROM countermark_ledger WHERE chain > c.chain ORDER BY chain LIMIT 1) FROM c "
    "WHERE c.chain IS NOT NULL) SELECT c.chain, e.seq, e.hash FROM c CROSS JOIN LATERAL "
    "(SELECT seq, hash FROM countermark_ledger WHERE chain = c.chain ORDER BY seq DESC LIMIT 1) AS e "
    "WHERE c.chain IS NOT NULL"
)


class PostgresLedger(Ledger):
    """A ledger in a database.

    The table is made by the first writer. Reads go through a connection that cannot write; after a restart of the
    server they connect again. The connection must be a session of its own: a pooler that hands one session to many
    clients in turn (transaction pooling) takes the locks away.

    Args:
        url: ``postgresql://...``
        writer: Name of the chain to write to, or None for the first free numbered one.
        patience: Seconds for which a write tries to reach a server that went away.
    """

    def __init__(self, url: str, writer: str | None = None, *, patience: float = 15.0) -> None:
        super().__init__(writer)
        self.url = url
        self._patience = patience
        self._reader: psycopg.Connection[Any] | None = None
        self._made = False

    def _take(self) -> PostgresWriter:
        return PostgresWriter(self.url, self._name, self._patience)

    # --- reading

    def _ask(self, query: sql.SQL | sql.Composed, values: Sequence[object] = ()) -> list[Any]:
        self._own_process()
        with self._reading:
            for last_try in (False, True):
                try:
                    return self._asked(query, values)
                except psycopg.Error as error:
                    lost = self._reader is None or self._reader.closed
                    if self._reader is not None and lost:
                        self._reader = None
                    if last_try or not lost:
                        raise failure(error, "the ledger cannot be read") from error
        raise AssertionError("unreachable")

    def _asked(self, query: sql.SQL | sql.Composed, values: Sequence[object]) -> list[Any]:
        if self._reader is None:
            session = connect(self.url, "countermark ledger reader")
            session.execute("SET default_transaction_read_only = on")
            self._reader = session
        if not self._made:
            found = self._reader.execute("SELECT to_regclass('countermark_ledger') IS NOT NULL").fetchone()
            self._made = bool(found and found[0])
            if not self._made:
                return []
        return self._reader.execute(query, values, binary=True).fetchall()

    def chains(self) -> list[str]:
        return sorted(self.heads())

    def heads(self) -> dict[str, tuple[int, str]]:
        return {chain: (seq, digest.hex()) for chain, seq, digest in self._ask(_HEADS)}

    def _page(self, chain: str, kind: str | None, after: int, until: int) -> list[Row]:
        of_kind: LiteralString = "" if kind is None else "kind = %s AND "
        query = sql.SQL(
            "SELECT {} FROM countermark_ledger WHERE " + of_kind + "chain = %s AND seq > %s AND seq <= %s "
            "ORDER BY seq LIMIT %s"
        ).format(_COLUMNS)
        return self._ask(query, [*([] if kind is None else [kind]), chain, after, until, PAGE])

    def row(self, chain: str, seq: int) -> Row | None:
        query = sql.SQL("SELECT {} FROM countermark_ledger WHERE chain = %s AND seq = %s").format(_COLUMNS)
        return next(iter(self._ask(query, (chain, seq))), None)

    def _find(self, kind: str, key: str) -> list[tuple[str, Row]]:
        where: LiteralString = "kind = 'decision'" if kind == "decision" else "kind = %s AND kind <> 'decision'"
        query = sql.SQL("SELECT chain, {} FROM countermark_ledger WHERE " + where + " AND key = %s").format(_COLUMNS)
        found = self._ask(query, (key,) if kind == "decision" else (kind, key))
        return [(row[0], row[1:]) for row in found]

    def _last(self, chain: str, kind: str) -> Row | None:
        query = sql.SQL(
            "SELECT {} FROM countermark_ledger WHERE kind = %s AND chain = %s ORDER BY seq DESC LIMIT 1"
        ).format(_COLUMNS)
        return next(iter(self._ask(query, (kind, chain))), None)

    def hashes(self, chain: str, after: int, until: int) -> Iterator[bytes]:
        query = sql.SQL(
            "SELECT seq, hash FROM countermark_ledger WHERE chain = %s AND seq > %s AND seq <= %s ORDER BY seq LIMIT %s"
        )
        while page := self._ask(query, (chain, after, until, _HASHES)):
            yield from (digest for _, digest in page)
            after = page[-1][0]

    def structure(self) -> list[Problem]:
        # The server keeps decision ids unique over all chains; whether an index agrees with its table, amcheck tells.
        return []

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

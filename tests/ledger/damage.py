"""Somebody with access to the store, who changes entries behind the ledger's back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg


def change(ledger: str | Path, seq: int, chain: str = "chain-000", **fields: object) -> None:
    """Give fields of a stored entry other values, and leave its hash as it is."""
    (column, value), *more = fields.items()
    if more:
        raise ValueError("one field at a time")
    if isinstance(ledger, str) and ledger.startswith("postgresql"):
        with psycopg.connect(ledger, autocommit=True) as session:
            session.execute("ALTER TABLE countermark_ledger DISABLE TRIGGER ALL")
            text = f"UPDATE countermark_ledger SET {column} = %s WHERE seq = %s AND chain = %s"
            session.execute(text, (value, seq, chain))  # type: ignore[call-overload]
        return
    connection = sqlite3.connect(Path(str(ledger).removeprefix("sqlite:///")) / f"{chain}.sqlite")
    connection.execute("DROP TRIGGER IF EXISTS entries_no_update")
    connection.execute(f"UPDATE entries SET {column} = ? WHERE seq = ?", (value, seq))
    connection.commit()
    connection.close()

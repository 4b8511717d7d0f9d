"""From an address to a ledger."""

from __future__ import annotations

from pathlib import Path

from countermark.errors import LedgerError
from countermark.ledger.ledger import Ledger


def open_ledger(url: str | Path, *, writer: str | None = None, patience: float = 15.0) -> Ledger:
    """Open a ledger to read, to write, or both.

    Args:
        url: ``sqlite:///relative/folder``, ``sqlite:////absolute/folder`` or a path to a folder (one file per chain);
            or ``postgresql://...`` (one table).
        writer: Name of the chain to write to, for a writer that must be alone (the rollout controller). Without it,
            the first append takes the first numbered chain that has no writer.
        patience: Seconds for which a write tries to reach a database that went away; a file has no such moments.

    Raises:
        LedgerError: If the URL is of no known kind, or the store cannot be reached.
    """
    text = str(url)
    if text.startswith(("postgresql://", "postgres://")):
        from countermark.ledger.postgres import PostgresLedger

        return PostgresLedger(text, writer, patience=patience)
    from countermark.ledger.sqlite import SqliteLedger

    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    if "://" in text or not text:
        raise LedgerError(
            "this is no address of a ledger",
            expected="a folder, sqlite:///FOLDER or postgresql://HOST/DATABASE",
            got=f"'{text.partition('://')[0]}://...'" if text else "nothing",
        )
    return SqliteLedger(Path(text), writer)

"""Decisions that other systems made: recorded as they are told, so that outcomes and reviews can be tied to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import msgspec

from countermark.errors import ServingError
from countermark.ledger.entry import Item
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import ImportedDecision, decode, encode

_BATCH = 512


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: decisions recorded, and those that were there before."""

    recorded: int
    repeated: int


def read_decisions(lines: Iterable[bytes]) -> list[ImportedDecision]:
    """Read JSON lines; all of them must be right before any is recorded.

    Raises:
        ServingError: Naming the line.
    """
    found: list[ImportedDecision] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = decode(line, ImportedDecision)
            record = msgspec.structs.replace(record, at=iso(parse_instant(record.at)))
        except (msgspec.DecodeError, ValueError) as error:
            raise ServingError(f"line {number} is no decision", got=str(error)[:200]) from None
        if record.id in seen:
            raise ServingError(f"line {number} repeats the id of an earlier line", expected="an id per decision")
        seen.add(record.id)
        found.append(record)
    return found


def import_decisions(records: Iterable[ImportedDecision], ledger: Ledger) -> Imported:
    """Record decisions under kind ``import``; one whose id is on the ledger is not recorded again.

    Raises:
        LedgerError: If they cannot be recorded.
    """
    recorded = repeated = 0
    stream = iter(records)
    while batch := list(islice(stream, _BATCH)):
        items: list[Item] = [
            ("import", record.id, encode(record), record.at) for record in batch if not ledger.get("import", record.id)
        ]
        ledger.append_many(items)
        recorded += len(items)
        repeated += len(batch) - len(items)
    return Imported(recorded, repeated)

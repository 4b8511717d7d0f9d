"""Decisions that other systems made: recorded as they are told, so that outcomes and reviews can be tied to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec

from countermark.errors import ServingError
from countermark.ledger.entry import Item
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import ImportedDecision, encode
from countermark.records.identity import ID_RULE, is_id
from countermark.records.outcomes import date_problem
from countermark.serving.cases import json_line, text_lines

_BATCH = 512


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: decisions recorded, and those that were there before."""

    recorded: int
    repeated: int


def read_decisions(path: Path, now: datetime) -> list[ImportedDecision]:
    """Read JSON lines; all of them must be right before any is recorded.

    Args:
        path: The file.
        now: The present: no decision was made after it.

    Raises:
        ServingError: Naming file and line.
    """
    decoder = msgspec.json.Decoder(ImportedDecision)
    found: list[ImportedDecision] = []
    seen: set[str] = set()
    for number, line in text_lines(path):
        if not line.strip():
            continue
        record = json_line(line, decoder, "decision", path, number)
        try:
            made = parse_instant(record.at)
        except ValueError as error:
            wrong: str | None = f"'at': {error}"
        else:
            wrong = _problem(record, made, now)
        if wrong is not None:
            raise ServingError("this line is no decision", got=wrong, file=path, line=number)
        if record.id in seen:
            raise ServingError(
                "this line repeats the id of an earlier line", expected="an id per decision", file=path, line=number
            )
        seen.add(record.id)
        found.append(msgspec.structs.replace(record, at=iso(made)))
    if not found:
        raise ServingError("this file is empty", expected="a decision on every line", file=path)
    return found


def _problem(record: ImportedDecision, made: datetime, now: datetime) -> str | None:
    """Why a record cannot be a decision; None where it can."""
    wrong = date_problem(made, now)
    if wrong is not None:
        return f"'at': {wrong}"
    if not is_id(record.id):
        return f"'id': {ID_RULE} are expected"
    for name in ("model", "system", "decision", "entity", "version"):
        value = getattr(record, name)
        if value is not None and not value.strip():
            return f"'{name}' is empty"
    if record.p is not None and not 0.0 <= record.p <= 1.0:
        return "'p': a probability in [0, 1] is expected"
    return None


def import_decisions(records: Iterable[ImportedDecision], ledger: Ledger) -> Imported:
    """Record decisions under kind ``import``; one that is on the ledger already is not recorded again.

    Every id is looked up before the first decision is recorded.

    Raises:
        ServingError: If an id is that of a decision made here, or of another imported decision; nothing is recorded.
        LedgerError: If they cannot be recorded.
    """
    given = list(records)
    fresh = [record for record in given if not _known(record, ledger)]
    stream = iter(fresh)
    while batch := list(islice(stream, _BATCH)):
        items: list[Item] = [("import", record.id, encode(record), record.at) for record in batch]
        ledger.append_many(items)
    return Imported(len(fresh), len(given) - len(fresh))


def _known(record: ImportedDecision, ledger: Ledger) -> bool:
    if ledger.get("decision", record.id):
        raise ServingError(
            f"id '{record.id}' is that of a decision made here",
            expected="ids of the other system that no decision of this ledger has",
            hint="put the system's name before its ids; nothing was recorded",
        )
    there = ledger.get("import", record.id)
    if not there:
        return False
    if any(entry.payload != encode(record) for entry in there):
        raise ServingError(
            f"id '{record.id}' was imported with another content",
            expected="the same decision, or another id",
            hint="a decision is imported once and never changed; nothing was recorded",
        )
    return True

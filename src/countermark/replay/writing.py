"""Writes the file of a decision: JSON, and one page that carries the JSON inside."""

from __future__ import annotations

from pathlib import Path

import msgspec

from countermark.errors import ReplayError
from countermark.records.decision import as_document
from countermark.records.decision_file import DecisionFile
from countermark.records.digest import pretty_json
from countermark.report.render import render_decision_file


def file_bytes(made: DecisionFile) -> bytes:
    """The file as JSON that people can open."""
    return pretty_json(as_document(made))


def read_file(data: bytes) -> DecisionFile:
    """Read a decision file.

    Raises:
        ReplayError: If the bytes are none.
    """
    try:
        return msgspec.json.decode(data, type=DecisionFile)
    except msgspec.DecodeError as error:
        raise ReplayError("this is no decision file", got=str(error)[:200]) from None


def write_decision_file(made: DecisionFile, to: Path) -> list[Path]:
    """Write ``decision_ID.json`` and ``decision_ID.pdf`` into a folder.

    Raises:
        ReplayError: If the folder cannot be written to.
        ReportError: If the page cannot be rendered.
    """
    # An idempotency key is the caller's text: it must not choose a path.
    stem = "decision_" + "".join(c if c.isalnum() or c in "-_" else "_" for c in made.id)[:80]
    data, path = file_bytes(made), to / f"{stem}.json"
    try:
        to.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ReplayError("the decision file cannot be written", got=error.strerror, file=to) from None
    page = to / f"{stem}.pdf"
    render_decision_file(data, page)
    return [path, page]

"""Writes the file of a decision: JSON, and one page that carries the JSON inside."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from countermark.errors import ReplayError
from countermark.records.decision import as_document
from countermark.records.decision_file import DecisionFile
from countermark.records.digest import pretty_json
from countermark.records.identity import file_stem
from countermark.records.private import write_private
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
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReplayError("this is no decision file", got=str(error)[:200]) from None


def write_decision_file(made: DecisionFile, to: Path) -> list[Path]:
    """Write ``decision_ID.json`` and ``decision_ID.pdf`` into a folder, readable for their owner alone.

    Raises:
        ReplayError: If the folder cannot be written to.
        ReportError: If the page cannot be rendered.
    """
    stem = f"decision_{file_stem(made.id)}"
    data, path, page = file_bytes(made), to / f"{stem}.json", to / f"{stem}.pdf"
    try:
        to.mkdir(parents=True, exist_ok=True)
        write_private(path, data)
        with tempfile.TemporaryDirectory(prefix=".decision-", dir=to) as scratch:
            rendered = Path(scratch) / "page.pdf"
            render_decision_file(data, rendered)
            write_private(page, rendered.read_bytes())
    except OSError as error:
        raise ReplayError("the decision file cannot be written", got=error.strerror, file=to) from None
    return [path, page]

"""Protected groups by entity: kept apart from decisions, joined for fairness evidence only."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from countermark.errors import SourceError

Groups = Mapping[str, Mapping[str, str]]
"""Group name by entity and protected attribute."""


def read_groups(path: Path) -> Groups:
    """Read a CSV file: the first column names the entity, every further one is a protected attribute.

    An empty cell is no group. The header is ``entity,ATTRIBUTE,...``.

    Raises:
        SourceError: If the file is missing, is no such table, or names an entity twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError("the groups cannot be read", got=error.strerror, file=path) from None
    except UnicodeDecodeError:
        raise SourceError("the groups are not UTF-8", file=path) from None
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if len(header) < 2 or header[0] != "entity" or len(set(header)) != len(header):
        raise SourceError(
            "this is no table of groups",
            expected="a header 'entity,ATTRIBUTE,...' with different names",
            got=",".join(header)[:100] or "an empty file",
            file=path,
            line=1,
        )
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header) or not row[0]:
            raise SourceError(
                "a row of the groups is broken",
                expected=f"{len(header)} cells",
                got=str(len(row)),
                file=path,
                line=number,
            )
        if row[0] in found:
            raise SourceError("an entity is there twice among the groups", file=path, line=number)
        found[row[0]] = {name: cell for name, cell in zip(header[1:], row[1:], strict=True) if cell}
    return found

"""Cases in text files: CSV and JSON lines, read in bounded memory.

What is wrong is named by file and line, and what two readers could take for different things is refused.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from countermark.errors import ServingError
from countermark.records.decision import Value
from countermark.serving.requests import repeated_name

_Found = TypeVar("_Found")

MAX_LINE = 1 << 20
"""Bytes of a line; a file without an end of line must not fill the memory."""


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text in UTF-8 with their number from 1; a byte order mark before the first is passed over.

    Raises:
        ServingError: If the file cannot be read, or a line is no text.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(MAX_LINE + 1):
                number += 1
                yield number, _text(raw, path, number)
    except OSError as error:
        raise ServingError("this file cannot be read", got=error.strerror, file=path) from None


def _text(raw: bytes, path: Path, number: int) -> str:
    if number == 1:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            _no_text(path, number, "UTF-16")
        raw = raw.removeprefix(codecs.BOM_UTF8)
    if len(raw) > MAX_LINE:
        raise ServingError("this line is too long", expected=f"at most {MAX_LINE} bytes", file=path, line=number)
    if b"\x00" in raw:
        _no_text(path, number, "a NUL byte")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _no_text(path, number, f"another byte at place {error.start + 1} of the line")


def _no_text(path: Path, number: int, got: str) -> NoReturn:
    raise ServingError(
        "this is no text in UTF-8",
        expected="UTF-8, with or without a byte order mark",
        got=got,
        hint="save or convert it as UTF-8, e.g. iconv -f LATIN1 -t UTF-8",
        file=path,
        line=number,
    )


def csv_cases(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Cases of a CSV file: the line that each begins on, and its cells by column.

    Raises:
        ServingError: If the file is empty or no CSV, a column is there twice or has no name, or a case has more or
            fewer cells than there are columns.
    """
    reader = csv.reader((text for _, text in text_lines(path)), strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ServingError(
                "this is no CSV",
                expected="commas between cells, closed quotes, and lines that end in LF or CRLF",
                got=str(error),
                file=path,
                line=start,
            ) from None
        if cells is None:
            break
        if not cells:
            continue
        if header is None:
            header = _header(cells, path, start)
            continue
        if len(cells) != len(header):
            raise ServingError(
                "this case has another number of cells than there are columns",
                expected=str(len(header)),
                got=str(len(cells)),
                file=path,
                line=start,
            )
        yield start, dict(zip(header, cells, strict=True))
    if header is None:
        raise _empty(path, "a line with the names of the columns")


def _header(names: list[str], path: Path, line: int) -> list[str]:
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise ServingError(f"column {place} has no name", file=path, line=line)
    check_once(names, path, line)
    return names


def check_once(names: list[str], path: Path, line: int | None = None) -> None:
    """Refuse a file that has a column twice.

    Raises:
        ServingError: Naming it.
    """
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise ServingError(
            "a column is there twice",
            expected="every column once",
            got=", ".join(f"'{name[:80]}'" for name in twice[:20]),
            file=path,
            line=line,
        )


def json_cases(path: Path) -> Iterator[tuple[int, dict[str, Value]]]:
    """Cases of a file of JSON lines: the line of each, and its values by field.

    Raises:
        ServingError: If the file is empty, or a line is no flat object or has a field twice.
    """
    decoder = msgspec.json.Decoder(dict[str, Value])
    empty = True
    for number, text in text_lines(path):
        if not text.strip():
            continue
        empty = False
        yield number, json_line(text, decoder, "case", path, number)
    if empty:
        raise _empty(path, "a JSON object on every line")


def json_line(text: str, decoder: msgspec.json.Decoder[_Found], noun: str, path: Path, number: int) -> _Found:
    """Read a line of JSON that has no name twice.

    Raises:
        ServingError: Naming what is wrong with it, never a value.
    """
    try:
        found = decoder.decode(text)
        twice = repeated_name(text.encode("utf-8"))
    except (msgspec.DecodeError, ValueError) as error:
        raise ServingError(f"this line is no {noun}", got=str(error)[:200], file=path, line=number) from None
    if twice is not None:
        raise ServingError(f"this line is no {noun}", got=f"the name '{twice}' twice", file=path, line=number)
    return found


def _empty(path: Path, expected: str) -> ServingError:
    return ServingError("this file is empty", expected=expected, file=path)

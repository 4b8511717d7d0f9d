"""How a stranger's delimited file is written: encoding, delimiter, blanks, words for a missing value, decimal mark."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.source import CsvOptions
from countermark.contracts.delimited import decompress, read_delimited
from countermark.errors import SourceError
from countermark.portfolio.reading import as_number, is_quantity

Encoding: TypeAlias = Literal["utf-8", "utf-8-sig", "latin-1", "cp1252"]

_NULL_WORDS = ("NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "#N/A", "?")
_NULL_AMONG_NUMBERS = (
    "-", "--", ".", "n.a.", "N.A.", "na", "none", "<NA>", "NaT", "(null)", "\\N", "#DIV/0!", "#VALUE!", "#REF!",
    "0000-00-00", "0000-00-00 00:00:00", "missing", "unknown", "Unknown", "UNKNOWN",
)  # fmt: skip
"""Words that say 'missing' beside numbers and may be a category of their own beside other words."""
_DELIMITERS = ("\t", ";", "|", ",")
_SNIFFED_CHARACTERS = 1 << 17
_SNIFFED_ROWS = 60
_ALIKE = 0.9


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is read, and what of it is a guess.

    Attributes:
        options: The options that the source declares.
        null_words: Columns by the word that is read as missing in them, words beside words only.
        unsure: Columns whose separator may be a decimal mark or one of thousands.
    """

    options: CsvOptions
    null_words: dict[str, tuple[str, ...]]
    unsure: tuple[str, ...]


def read_stranger(data: bytes, path: Path) -> tuple[pa.Table, Dialect]:
    """Read delimited text whose dialect nobody declared.

    Args:
        data: The file's bytes, gzip-compressed or not.
        path: Name printed in errors.

    Returns:
        Text columns, and the dialect to declare.

    Raises:
        SourceError: No text, a damaged or a ragged file, column names that occur twice.
    """
    plain = decompress(data, path)
    encoding = _encoding(plain, path)
    options = CsvOptions(delimiter=_delimiter(plain, encoding), encoding=encoding)
    table = read_delimited(plain, options, file=path)
    if any(_has_blanks(column) for column in table.columns):
        options = options.model_copy(update={"strip": True})
        table = read_delimited(plain, options, file=path)
    nulls, beside_words = _null_words(table)
    decimal, unsure = _decimal(_without(table, nulls), options.delimiter)
    options = options.model_copy(update={"null_values": nulls, "decimal": decimal})
    return read_delimited(plain, options, file=path), Dialect(options, beside_words, unsure)


def _encoding(data: bytes, path: Path) -> Encoding:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if wide or b"\x00" in data[:4096]:
        raise SourceError(
            "the file is UTF-16 text" if wide else "the file holds zero bytes: it is UTF-16 or no text at all",
            expected="UTF-8, Windows-1252 or Latin-1 text",
            file=path,
            hint="export it again as UTF-8",
        )
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    if not any(0x80 <= byte <= 0x9F for byte in set(data)):
        return "latin-1"
    try:
        data.decode("cp1252")  # Windows keeps its euro sign and its quotes where Latin-1 has control characters
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _delimiter(data: bytes, encoding: Encoding) -> str:
    """The delimiter that cuts most rows into as many fields as the header, and the header into most fields."""
    text = data[:_SNIFFED_CHARACTERS].decode(encoding, "replace")
    whole = len(data) <= _SNIFFED_CHARACTERS
    best, score = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        rows: list[list[str]] = []
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
                rows.append(row)
                if len(rows) > _SNIFFED_ROWS:
                    break
        except csv.Error:
            continue
        body = [row for row in (rows[1:] if whole or len(rows) > _SNIFFED_ROWS else rows[1:-1]) if row]
        width = len(rows[0]) if rows else 0
        alike = sum(len(row) == width for row in body) / len(body) if body else 1.0
        found = (1.0 if alike >= _ALIKE else alike, width)
        if width > 1 and found > score:
            best, score = delimiter, found
    return best


def _has_blanks(column: pa.ChunkedArray) -> bool:
    return bool(pc.any(pc.not_equal(column, pc.utf8_trim_whitespace(column)), min_count=0).as_py())


def _null_words(table: pa.Table) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Words for a missing value that occur, and where they stand beside words and might be meant."""
    beside_words: dict[str, list[str]] = {}
    beside_numbers: set[str] = set()
    for name in table.column_names:
        unique = pc.unique(table.column(name).drop_null())
        words = pa.array([*_NULL_WORDS, *_NULL_AMONG_NUMBERS])
        found = unique.filter(pc.is_in(unique, value_set=words)).to_pylist()
        if not found:
            continue
        rest = unique.filter(pc.invert(pc.is_in(unique, value_set=pa.array(found))))
        if len(rest) and is_quantity(rest):
            beside_numbers.update(found)
        else:
            for word in found:
                beside_words.setdefault(word, []).append(name)
    always = tuple(word for word in _NULL_WORDS if word in beside_words or word in beside_numbers)
    numeric = tuple(word for word in _NULL_AMONG_NUMBERS if word in beside_numbers and word not in beside_words)
    asked = {word: tuple(beside_words[word]) for word in always if word in beside_words}
    return ("", *always, *numeric), asked


def _without(table: pa.Table, nulls: tuple[str, ...]) -> pa.Table:
    words = pa.array(nulls)
    columns = [pc.if_else(pc.is_in(column, value_set=words), None, column) for column in table.columns]
    return pa.table(columns, names=table.column_names)


def _decimal(table: pa.Table, delimiter: str) -> tuple[Literal[".", ","], tuple[str, ...]]:
    """The decimal mark of the file, and the columns in which it might be a separator of thousands instead.

    A column that reads only one way decides. Where nothing does, one separator is a decimal mark. A file that is cut
    at commas has decimal points; a quoted column of it may still have commas, which its contract says.
    """
    points, commas = 0, 0
    points_or_groups: list[str] = []
    commas_or_groups: list[str] = []
    for name in table.column_names:
        unique = pc.unique(table.column(name).drop_null())
        if not len(unique) or pc.all(pc.match_substring_regex(unique, r"^[^.,]*$")).as_py():
            continue
        point, comma = as_number(unique, ".") is not None, as_number(unique, ",") is not None
        points += point and not comma
        commas += comma and not point
        if point and comma:
            both = pc.any(pc.match_substring(unique, ",")).as_py()
            (commas_or_groups if both else points_or_groups).append(name)
    if delimiter == ",":
        return ".", tuple(commas_or_groups)
    if commas > points:
        return ",", tuple(points_or_groups)
    return ("," if commas_or_groups and not points and not points_or_groups else "."), tuple(commas_or_groups)

"""Delimited text to a table of text columns; types come later, from the contract."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from countermark.config.source import CsvOptions
from countermark.errors import SourceError

_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NOT_TEXT = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
}
_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}


def read_delimited(data: bytes, options: CsvOptions, *, file: Path | str) -> pa.Table:
    """Parse delimited text. Every column is text or null: nothing is guessed.

    A header cell left empty is named ``column_N`` after its position. A byte order mark is dropped.

    Args:
        data: The file's bytes, gzip-compressed or not.
        options: Declared dialect.
        file: Name printed in errors.

    Raises:
        SourceError: Damaged compression, wrong encoding, empty file, header only, duplicate column
            names, or a row with too few or too many fields (with its line).
    """
    plain = decompress(data, file)
    _refuse_other_formats(plain, file)
    text = _decode(plain, options, file)
    _refuse_unclosed_quote(text, options, file)
    names = _header(text, options, file)
    table = _parse(text, names, options, file)
    if table.num_rows == 0:
        raise SourceError(
            "the file has a header and no rows",
            expected="at least one row",
            got="0 rows",
            file=file,
            hint="export the file again",
        )
    if not options.strip:
        return table
    nulls = pa.array(list(options.null_values), type=pa.string())
    columns = [pc.utf8_trim_whitespace(table.column(name)) for name in table.column_names]
    columns = [pc.if_else(pc.is_in(column, value_set=nulls), None, column) for column in columns]
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def decompress(data: bytes, file: Path | str) -> bytes:
    """The bytes of a file that may be gzip-compressed.

    Raises:
        SourceError: Damaged compression.
    """
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError("the gzip stream is damaged or cut short", file=file, hint="fetch the file again") from error


def _refuse_other_formats(data: bytes, file: Path | str) -> None:
    for start, what in _NOT_TEXT.items():
        if data.startswith(start):
            raise SourceError(
                "the file is no delimited text",
                expected="lines of text, or a source of another kind",
                got=what,
                hint="declare 'kind: parquet'" if start == b"PAR1" else "export it as CSV or Parquet",
                file=file,
            )


def _decode(data: bytes, options: CsvOptions, file: Path | str) -> str:
    encoding = "utf-8" if options.encoding == "utf-8-sig" else options.encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(
            "the file is not in the declared encoding",
            expected=options.encoding,
            got="UTF-16" if data.startswith(_UTF16) else f"an undecodable byte at offset {error.start}",
            hint="export the file as UTF-8"
            if data.startswith(_UTF16)
            else "declare 'csv: {encoding: latin-1}', or export the file as UTF-8",
            file=file,
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error
    text = text.removeprefix(_BOM)
    if not text.strip():
        raise SourceError("the file is empty", expected="a header and rows", got="no text", file=file)
    return text


def _reader(text: str, options: CsvOptions) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=options.delimiter, quotechar=options.quote)


def _refuse_unclosed_quote(text: str, options: CsvOptions, file: Path | str) -> None:
    if text.count(options.quote) % 2 == 0:
        return
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=options.delimiter, quotechar=options.quote, strict=True
    )
    started = 1
    try:
        for _ in reader:
            started = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" not in str(error):
            return  # a quote inside a field, which the parser takes literally
        raise SourceError(
            "a quoted field is never closed; it would swallow the rest of the file",
            expected=f"a closing {options.quote}",
            hint="repair the quotes of that row, or declare another 'quote' under 'csv:'",
            file=file,
            line=started,
        ) from error


def _header(text: str, options: CsvOptions, file: Path | str) -> list[str]:
    cells = next(_reader(text, options))
    other = next((mark for mark in _DELIMITERS if mark != options.delimiter and mark in "".join(cells)), None)
    if len(cells) == 1 and other is not None:
        raise SourceError(
            "the file has one column, and its header holds another delimiter",
            expected=f"columns separated by {_DELIMITERS.get(options.delimiter, repr(options.delimiter))}",
            got=f"{_DELIMITERS[other]} in the header",
            hint=f"declare 'csv: {{delimiter: \"{other.encode('unicode_escape').decode()}\"}}' in the source",
            file=file,
            line=1,
        )
    names = [cell.strip() or f"column_{index}" for index, cell in enumerate(cells, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(
            "column names occur more than once",
            expected="a unique name for each column",
            got=", ".join(f"'{name}'" for name in twice),
            hint="give each column its own name in the file",
            file=file,
            line=1,
        )
    return names


def _parse(text: str, names: list[str], options: CsvOptions, file: Path | str) -> pa.Table:
    data = text.encode("utf-8")
    try:
        return pacsv.read_csv(
            pa.BufferReader(data),
            read_options=pacsv.ReadOptions(
                use_threads=False, column_names=names, skip_rows_after_names=1, block_size=max(len(data) + 1, 1 << 20)
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=options.delimiter, quote_char=options.quote, newlines_in_values=True
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                strings_can_be_null=True,
                null_values=list(options.null_values),
            ),
        )
    except pa.ArrowInvalid as error:
        raise _malformed(text, names, options, file) from error


def _malformed(text: str, names: list[str], options: CsvOptions, file: Path | str) -> SourceError:
    reader = _reader(text, options)
    line: int | None = None
    try:
        for row in reader:
            if row and len(row) != len(names):
                return SourceError(
                    "a row has another number of fields than the header",
                    expected=f"{len(names)} fields",
                    got=f"{len(row)} fields",
                    hint=f"check the quotes and the delimiter '{options.delimiter}' in that line",
                    file=file,
                    line=reader.line_num,
                )
    except csv.Error:
        line = reader.line_num
    return SourceError(
        "the file cannot be parsed as delimited text",
        expected=f"delimiter '{options.delimiter}', quote '{options.quote}'",
        hint="check the dialect under 'csv:' of the source, and unclosed quotes",
        file=file,
        line=line,
    )

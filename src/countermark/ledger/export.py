"""A ledger as one file of JSON lines that can be verified without it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from countermark.errors import LedgerError
from countermark.ledger.checkpoint import Checkpoint
from countermark.ledger.entry import Row, intact
from countermark.ledger.verification import (
    Progress,
    VerifyReport,
    Walk,
    lost_chains,
    report,
)
from countermark.records.digest import canonical_json
from countermark.records.private import make_private

FORMAT = "countermark/ledger-export/1"
_LONGEST_LINE = 128 * 1024 * 1024


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hash: str
    size: int


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chains: dict[str, _Head]
    format: str


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An entry on a line; the fields stand in alphabetical order, which makes the encoding canonical JSON."""

    at: str
    chain: str
    hash: str
    key: str
    kind: str
    payload: str | None = None
    payload_base64: str | None = None
    previous: str
    seq: int


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(Line).decode


def line_of(chain: str, row: Row) -> Line:
    """The line that an export writes for a row."""
    seq, at, kind, key, payload, previous, digest = row
    text, coded = None, None
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        coded = base64.b64encode(payload).decode("ascii")
    return Line(
        at=at,
        chain=chain,
        hash=digest.hex(),
        key=key,
        kind=kind,
        payload=text,
        payload_base64=coded,
        previous=previous.hex(),
        seq=seq,
    )


def row_of(line: Line) -> Row:
    """The row on a line.

    Raises:
        ValueError: If hashes or payload are not what they should be.
    """
    if (line.payload is None) == (line.payload_base64 is None):
        raise ValueError("one payload is needed")
    if line.payload is not None:
        payload = line.payload.encode("utf-8")
    else:
        payload = base64.b64decode(line.payload_base64 or "", validate=True)
    return (
        line.seq,
        line.at,
        line.kind,
        line.key,
        payload,
        bytes.fromhex(line.previous),
        bytes.fromhex(line.hash),
    )


def write_export(path: Path, heads: Mapping[str, tuple[int, str]], chains: Iterable[tuple[str, Iterator[Row]]]) -> str:
    """Write an export; the file appears under its name complete or not at all.

    Args:
        path: The file.
        heads: Position and hash of the last entry, by chain.
        chains: Chains in order of name with their rows up to the head.

    Returns:
        SHA-256 of the file, hex.
    """
    header = {"chains": {chain: {"hash": digest, "size": seq + 1} for chain, (seq, digest) in heads.items()}}
    digest = hashlib.sha256()
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        make_private(fresh)
        with fresh.open("wb") as stream:
            _put(stream, digest, canonical_json({**header, "format": FORMAT}))
            for chain, rows in chains:
                for row in rows:
                    _put(stream, digest, _encode(line_of(chain, row)))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.rename(path)
    except OSError as error:
        raise LedgerError("the export cannot be written", got=error.strerror, file=path) from error
    finally:
        fresh.unlink(missing_ok=True)
    return digest.hexdigest()


def _put(stream: BinaryIO, digest: hashlib._Hash, line: bytes) -> None:
    stream.write(line)
    stream.write(b"\n")
    digest.update(line + b"\n")


def verify_export(path: Path, checkpoints: Iterable[Checkpoint] = (), progress: Progress | None = None) -> VerifyReport:
    """Verify an export by itself: every chain from its start to the head that the first line promises.

    Args:
        path: The file.
        checkpoints: Checkpoints to compare with, beside those among the entries.
        progress: Called now and then with the chain and the entries walked on it.

    Raises:
        LedgerError: If the file is no export.
    """
    known = [*checkpoints, *_checkpoints_in(path)]
    with path.open("rb") as stream:
        header = _header(path, stream)
        walks = [Walk(chain, known) for chain in sorted(header.chains)]
        lines = _lines(stream)
        for walk in walks:
            head = header.chains[walk.chain]
            _walk_lines(walk, lines, head.size)
            walk.end(head.size, head.hash)
            if progress is not None:
                progress(walk.chain, walk.count)
        if next(lines, None) is not None and walks and not any(walk.problems for walk in walks):
            walks[-1].note(walks[-1].seq + 1, "follows, though the first line does not promise it")
    return report([*walks, *lost_chains(known, header.chains)], (), len(known))


def _header(path: Path, stream: BinaryIO) -> _Header:
    line = stream.readline(_LONGEST_LINE)
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerError("this file is no export of a ledger", file=path) from error
    if header.format != FORMAT:
        raise LedgerError("this export has an unknown format", expected=FORMAT, got=repr(header.format), file=path)
    if canonical_json(msgspec.to_builtins(header)) + b"\n" != line:
        raise LedgerError("the first line of this export is not in canonical form", file=path, line=1)
    return header


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(_LONGEST_LINE):
        yield line


def _walk_lines(walk: Walk, lines: Iterator[bytes], size: int) -> None:
    for place in range(size):
        text = next(lines, None)
        if text is None:
            return
        try:
            line = _decode_line(text)
            row = row_of(line)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, binascii.Error):
            walk.note(place, "its line in the export cannot be read")
            return
        if line.chain != walk.chain or _encode(line_of(line.chain, row)) + b"\n" != text:
            walk.note(place, "its line in the export is not the one that belongs there")
            return
        walk.step(row)


def _checkpoints_in(path: Path) -> list[Checkpoint]:
    found = []
    try:
        with path.open("rb") as stream:
            for text in _lines(stream):
                if b'"kind":"checkpoint"' not in text:
                    continue
                try:
                    line = _decode_line(text)
                    row = row_of(line)
                    if line.kind == "checkpoint" and intact(line.chain, row):
                        found.append(Checkpoint.from_json(row[4]))
                except (msgspec.DecodeError, UnicodeDecodeError, ValueError, LedgerError):
                    # The walk meets the same line and names it.
                    continue
    except OSError as error:
        raise LedgerError("the export cannot be read", got=error.strerror, file=path) from error
    return found

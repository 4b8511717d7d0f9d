"""Canonical bytes and their digests."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path


def canonical_json(document: object) -> bytes:
    """The one byte form of a JSON document: sorted keys, no spaces, UTF-8, no NaN.

    Args:
        document: Anything ``json`` can write. Keys must be strings.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8"
    )


def pretty_json(document: object) -> bytes:
    """Canonical order, one space of indent, closing newline: for files that people open."""
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def sha256_hex(data: bytes) -> str:
    """SHA-256 of the bytes, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_of(document: object) -> str:
    """SHA-256 of the canonical JSON of a document."""
    return sha256_hex(canonical_json(document))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def round_significant(value: float, digits: int) -> float:
    """Round to significant decimal digits, through the shortest decimal text.

    Going through text gives the same double on every machine. Zero, NaN and infinities pass through.
    """
    if value == 0.0 or not math.isfinite(value):
        return value
    return float(f"{value:.{digits - 1}e}")

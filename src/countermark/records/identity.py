"""Ids of decisions: the one rule that an id given by others is held to, and ids for those that nobody has named.

An id stands in a URL, in the name of a file, on a command line and in a report, and must be the same text in all of
them. Those that are made here are UUIDs of version 7 (RFC 9562), which sort in time.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias
from uuid import UUID

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANDOM_BITS = (1 << 62) - 1

MAX_ID = 200
"""Characters of an id: with a prefix and a suffix it is still the name of a file."""

ID_PATTERN = f"^[A-Za-z0-9_][A-Za-z0-9._:@+=~-]{{0,{MAX_ID - 1}}}$"
"""The rule as a regular expression that JSON Schema knows."""

ID_RULE = f"1 to {MAX_ID} letters, digits and . _ : @ + = ~ - of ASCII, the first a letter, a digit or _"
"""The rule in words."""

# In Python '$' also matches before a last line break.
_STRICT = ID_PATTERN.removesuffix("$") + r"\Z"
_HOLDS = re.compile(_STRICT).match

Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=_STRICT)]
"""An id within a request; to read it is to hold it to the rule."""

CallId: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"^\Z|{_STRICT}", max_length=MAX_ID - 16)]
"""An id of several decisions, each of which has it with an ending of its own; or nothing."""


def is_id(text: str) -> bool:
    """Whether a text may be the id of a decision: see :data:`ID_RULE`."""
    return _HOLDS(text) is not None


def file_stem(identity: str) -> str:
    """The name that a file about an id has: the id itself, and no other id gives the same.

    Ledgers may hold ids from before the rule: of such a one the digest is the name.
    """
    return identity if is_id(identity) else "~" + hashlib.sha256(identity.encode("utf-8")).hexdigest()


def row_id(basis: str, row: int) -> str:
    """The id of a case of a file that gives it none: the same case of the same file has the same one.

    Args:
        basis: SHA-256, hex, of what was asked of the file and of its bytes.
        row: Number of the case, from 1.
    """
    return f"file-{basis[:32]}-{row}"


def new_id(now: datetime, draw: Callable[[int], bytes] = os.urandom) -> str:
    """A new id: sorted as text, ids are in order of their instants.

    48 bits of milliseconds since 1970, 12 bits of the fraction of a millisecond (RFC 9562, 6.2, method 3) and 62
    random bits. An instant before 1970 counts as 1970.

    Args:
        now: Instant of the record, with a zone.
        draw: Gives random bytes; the operating system's otherwise.
    """
    micros = max((now - _EPOCH) // _MICROSECOND, 0)
    millis, rest = divmod(micros, 1000)
    chance = int.from_bytes(draw(8), "big") & _RANDOM_BITS
    return str(UUID(int=millis << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | chance))

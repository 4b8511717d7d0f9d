"""When are an event of a table and an event that came alone one and the same, and which of the two counts.

An event is what a view reads of it: its event time, the instant its sender says it was known, its key, which filters it
passes and the values the view keeps. The same event may come to a store by two roads: in the table that a publication
is built from, and alone. It counts as often as the road that brought it more often brought it, and a row of the table
stands for as many arrivals as the table has such rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from countermark.features.events import key_hash
from countermark.features.fold import Events

ALONE, LISTED, BOTH = 1, 2, 3
"""Origin of a row, in the two low bits of its identity: came alone, in the table, on both roads.

The first bit is set of whatever came alone, the second of whatever is in the table. A row without identity is 0."""

CAME, IN_TABLE = 1, 2
_BITS = 2
_TEXT_OF_NOTHING = -1


def identities(
    events: Events,
    stamps: NDArray[np.int64],
    keys: NDArray[np.int64],
    texts: tuple[Sequence[str], Sequence[int]],
    origin: int,
) -> NDArray[np.int64]:
    """Identity and origin of events: 61 bits of a BLAKE2b hash of what the view reads, and two of the origin.

    Args:
        events: Events, not in tiles.
        stamps: When each was known as its sender says, on the view's clock, int64 (n,).
        keys: Hash of each event's key (n,), 0 for none; (0,) where the view has no keys.
        texts: Texts; rows of the values that stand for one.
        origin: ``ALONE``, ``LISTED`` or ``BOTH``.

    Returns:
        int64 (n,).
    """
    n = events.times.size
    codes = np.array([*(key_hash(text) for text in texts[0]), _TEXT_OF_NOTHING], dtype=np.int64)
    columns = [events.times, stamps]
    columns += [keys] if keys.size else []
    columns += [events.flags] if events.flags.size else []
    for k, column in enumerate(events.values):
        missing = np.isnan(column)
        if k in texts[1]:
            columns.append(codes[np.where(missing, len(codes) - 1, column).astype(np.int64)])
        else:
            columns.append(np.where(missing, np.nan, column + 0.0).view(np.int64))  # -0.0 is 0.0
    data = np.stack(columns, axis=1).astype("<i8").tobytes() if n else b""
    size = 8 * len(columns)
    found = np.empty(n, dtype=np.int64)
    for i in range(n):
        digest = hashlib.blake2b(data[size * i : size * (i + 1)], digest_size=8).digest()
        found[i] = int.from_bytes(digest, "little") >> (_BITS + 1)
    return found << _BITS | origin


def with_origin(identity: int, origin: int) -> int:
    """The same event with another origin."""
    return identity >> _BITS << _BITS | origin


def unmatched(listed: Iterable[Hashable], came: Iterable[Hashable]) -> list[bool]:
    """Which events that came alone are not in the table.

    Args:
        listed: What tells the rows of the table apart.
        came: The same of the events, in the order in which they came.
    """
    left = Counter(listed)
    out = []
    for one in came:
        out.append(left[one] <= 0)
        left[one] -= 1
    return out

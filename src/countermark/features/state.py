"""What an online store keeps of one entity: its events as far as any window can still see them, packed in one value.

The batch build and the ingestion of single events write the same form through the same functions, and every reader
folds it by the code that makes a data set (:mod:`countermark.features.fold`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from countermark.errors import FeatureStoreError
from countermark.features import fold
from countermark.features.definitions import ViewPlan
from countermark.features.events import EventRow
from countermark.features.tiles import HOLD, compact, fold_tiles, group_rows
from countermark.metrics.jit import kernel, row_kernel

MAGIC = int.from_bytes(b"CMstate1", "little")
HEADER = 6
_MAGIC, _ROWS, _MARK, _PARTS, _COLUMNS, _TEXTS = range(HEADER)
_VERSIONED, _FILTERED, _TILED = 1, 2, 4

SLACK = 600_000_000
"""Microseconds that a state can look back from its newest event: what clocks of several machines may differ by."""

NEVER = -(2**62)
"""Newest event of a state that has none."""


@dataclass(frozen=True, slots=True)
class Run:
    """The unpacked state of one entity.

    Attributes:
        mark: Microseconds up to which events have arrived; older events may have been dropped.
        events: The events, sorted by event time, known-at time, then place; of a tiled view, rows of tiles.
        arrived: When each event reached the bank, int64 (n,).
        keys: Hash of each event's key, int64 (n,), 0 for none; (0,) where events have no versions.
        texts: Texts of the text columns; a text value is its place here.
    """

    mark: int
    events: fold.Events
    arrived: NDArray[np.int64]
    keys: NDArray[np.int64]
    texts: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows kept."""
        return int(self.events.times.size)


def empty_run(plan: ViewPlan) -> Run:
    """The state of an entity of which nothing is known."""
    none = np.empty(0, dtype=np.int64)
    return Run(NEVER, fold.Events(none, none, none, none, np.empty((plan.width, 0))), none, none, ())


def pack(run: Run, plan: ViewPlan) -> bytes:
    """The one byte form of a state: little-endian 8-byte words, then texts."""
    events = run.events
    texts = msgspec.msgpack.encode(run.texts) if run.texts else b""
    parts = _parts(plan)
    header = np.array([MAGIC, run.rows, run.mark, parts, events.values.shape[0], len(texts)], dtype="<i8")
    arrays = [header, events.times, events.known, run.arrived]
    if parts & _VERSIONED:
        arrays += [events.until, run.keys]
    if parts & _FILTERED:
        arrays.append(events.flags)
    body = b"".join(array.astype("<i8", copy=False).tobytes() for array in arrays)
    return body + np.ascontiguousarray(events.values, dtype="<f8").tobytes() + texts


def _parts(plan: ViewPlan) -> int:
    if plan.tile:
        return _TILED
    return (_VERSIONED if plan.view.event_key is not None else 0) | (_FILTERED if plan.filters else 0)


def unpack(data: bytes, plan: ViewPlan) -> Run:
    """Read a packed state.

    Raises:
        FeatureStoreError: If the bytes are no state of this view.
    """
    try:
        words = np.frombuffer(data, dtype="<i8", count=HEADER)
        n, parts, columns = int(words[_ROWS]), int(words[_PARTS]), int(words[_COLUMNS])
        size = HEADER + n * (3 + 2 * (parts & _VERSIONED) + (parts & _FILTERED) // _FILTERED + columns)
        fits = int(words[_MAGIC]) == MAGIC and len(data) == 8 * size + int(words[_TEXTS])
        if not fits or parts != _parts(plan) or columns != plan.width:
            raise ValueError
        words = np.frombuffer(data, dtype="<i8", count=size)
        texts = msgspec.msgpack.decode(data[8 * size :], type=tuple[str, ...]) if len(data) > 8 * size else ()
    except (ValueError, msgspec.MsgspecError):
        raise FeatureStoreError(
            f"a state of feature view '{plan.name}' is damaged",
            expected="a state as 'countermark features materialize' writes it",
            hint="materialize the view again",
        ) from None
    none = np.empty(0, dtype=np.int64)
    place = HEADER

    def take() -> NDArray[np.int64]:
        nonlocal place
        place += n
        return words[place - n : place]

    times, known, arrived = take(), take(), take()
    until, keys = (take(), take()) if parts & _VERSIONED else (none, none)
    flags = take() if parts & _FILTERED else none
    values = words[place:].view("<f8").reshape(columns, n)
    return Run(int(words[_MARK]), fold.Events(times, known, until, flags, values), arrived, keys, texts)


@row_kernel
def fold_words(
    words: NDArray[np.int64],
    t: int,
    tile: int,
    program: NDArray[np.int64],
    out: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    """Fold a packed state without unpacking it; see :func:`countermark.features.fold.fold_run`."""
    n, parts, columns = words[1], words[3], words[4]
    place = HEADER
    times = words[place : place + n]
    known = words[place + n : place + 2 * n]
    place += 3 * n
    until = words[:0]
    flags = words[:0]
    if parts & _VERSIONED:
        until = words[place : place + n]
        place += 2 * n
    if parts & _FILTERED:
        flags = words[place : place + n]
        place += n
    values = words[place : place + columns * n].view(np.float64).reshape((columns, n))
    events = fold.Events(times, known, until, flags, values)
    if parts & _TILED:
        fold_tiles(events, (0, n), t, tile, program, out)
    else:
        fold.fold_run(events, (0, n), t, tile, program, out)


def added(data: bytes | None, plan: ViewPlan, event: EventRow) -> tuple[bytes, int]:
    """A packed state after one more event, and its mark.

    From now on the state is asked no more than ``SLACK`` before the event's arrival.

    Args:
        data: The packed state; None for an entity without one.
        plan: The view.
        event: The event.
    """
    run = empty_run(plan) if data is None else unpack(data, plan)
    run = trimmed(replace(_inserted(run, single(plan, event), 0, plan), mark=max(run.mark, event.arrived)), plan)
    return pack(run, plan), run.mark


def caught_up(base: bytes | None, old: bytes, plan: ViewPlan, *, as_of: int) -> tuple[bytes, int]:
    """A rebuilt packed state with what has arrived since, and its mark.

    Args:
        base: The state as rebuilt from all events that had arrived by ``as_of``; None: there were none.
        old: The state that readers see now.
        plan: The view.
        as_of: Microseconds up to which ``base`` is complete.

    Raises:
        FeatureStoreError: If the old state has merged events that arrived after ``as_of`` into tiles.
    """
    run = empty_run(plan) if base is None else unpack(base, plan)
    live = unpack(old, plan)
    if plan.tile and as_of < live.mark - HOLD and live.rows:
        raise FeatureStoreError(
            f"tiled feature view '{plan.name}' was rebuilt as of too long ago",
            expected=f"at most {HOLD // 60_000_000} minutes before the newest event in the store",
            hint="materialize as of a later time",
        )
    for row in np.flatnonzero(live.arrived > as_of).tolist():
        run = _inserted(run, live, row, plan)
    run = trimmed(replace(run, mark=max(run.mark, live.mark)), plan)
    return pack(run, plan), run.mark


def mark_of(data: bytes) -> int:
    """Microseconds up to which events of a packed state have arrived."""
    return int.from_bytes(data[8 * _MARK : 8 * _MARK + 8], "little", signed=True)


def single(plan: ViewPlan, event: EventRow) -> Run:
    """The state of an entity with one event."""
    texts = tuple(dict.fromkeys(value for value in event.values if isinstance(value, str)))
    numbers = [
        np.nan if value is None else float(texts.index(value)) if isinstance(value, str) else value
        for value in event.values
    ]
    none, one = np.empty(0, dtype=np.int64), np.ones(1, dtype=np.int64)
    versioned = plan.view.event_key is not None
    events = fold.Events(
        one * event.time,
        one * event.known,
        one * fold.FOREVER if versioned else none,
        one * event.flags if plan.filters else none,
        np.array(numbers, dtype=np.float64).reshape(len(numbers), 1),
    )
    if plan.tile:
        events = tiled(plan, events)
    return Run(event.arrived, events, one * event.arrived, one * event.key if versioned else none, texts)


def tiled(plan: ViewPlan, events: fold.Events) -> fold.Events:
    """Events as rows of tiles, one row each."""
    none = events.times[:0]
    return fold.Events(events.times, events.known, none, none, group_rows(plan.groups, events))


def _inserted(run: Run, other: Run, row: int, plan: ViewPlan) -> Run:
    """A run with one row of another one, after every row that it does not come before."""
    events, more = run.events, other.events
    time, known = more.times[row], more.known[row]
    place = int(np.searchsorted(events.times, time, side="right"))
    while place > 0 and events.times[place - 1] == time and events.known[place - 1] > known:
        place -= 1
    column, texts = more.values[:, row], run.texts
    if other.texts:
        texts = tuple(dict.fromkeys((*run.texts, *other.texts)))
        column = column.copy()
        for k in plan.text_rows:
            if not np.isnan(column[k]):
                column[k] = texts.index(other.texts[int(column[k])])
    keys = np.insert(run.keys, place, other.keys[row]) if other.keys.size else run.keys
    lines = np.insert(events.known, place, known)
    return Run(
        run.mark,
        fold.Events(
            np.insert(events.times, place, time),
            lines,
            versions(keys, lines) if other.keys.size else events.until,
            np.insert(events.flags, place, more.flags[row]) if more.flags.size else events.flags,
            np.insert(events.values, place, column, axis=1),
        ),
        np.insert(run.arrived, place, other.arrived[row]),
        keys,
        texts,
    )


def versions(keys: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """When a newer version of each row became known.

    Of two versions known at one time the later row counts.

    Args:
        keys: Hash of each row's key, 0 for none, int64 (n,).
        known: Known-at times (n,).

    Returns:
        int64 (n,); ``FOREVER`` for the newest version, and for a row without a key.
    """
    until = np.full(keys.size, fold.FOREVER, dtype=np.int64)
    order = np.lexsort((np.arange(keys.size), known, keys))
    same = (keys[order][1:] == keys[order][:-1]) & (keys[order][1:] != 0)
    until[order[:-1][same]] = known[order[1:][same]]
    return until


def trimmed(run: Run, plan: ViewPlan) -> Run:
    """Without the rows that no request from now on can see; old rows of one tile merged."""
    events, arrived = run.events, run.arrived
    kept = np.empty(run.rows, dtype=np.bool_)
    keep_rows(events, np.array([0, run.rows]), plan.on_clock(run.mark - SLACK), (plan.longest, plan.keeps), kept)
    if not bool(kept.all()):
        run = taken(run, kept, plan)
    if not plan.tile:
        return run
    events, arrived = run.events, run.arrived.copy()
    times, known, values = events.times.copy(), events.known.copy(), events.values.copy()
    limits = (plan.on_clock(run.mark - HOLD), run.mark - HOLD, plan.tile)
    end = compact(times, known, arrived, values, (0, run.rows), limits)
    left = fold.Events(times[:end], known[:end], events.until, events.flags, values[:, :end])
    return replace(run, events=left, arrived=arrived[:end])


def taken(run: Run, rows: NDArray[Any], plan: ViewPlan) -> Run:
    """A run of some of its rows, by mask or position, ascending."""
    events = run.events
    left = fold.Events(
        events.times[rows],
        events.known[rows],
        events.until[rows] if events.until.size else events.until,
        events.flags[rows] if events.flags.size else events.flags,
        events.values[:, rows],
    )
    keys = run.keys[rows] if run.keys.size else run.keys
    return _with_fewer_texts(Run(run.mark, left, run.arrived[rows], keys, run.texts), plan)


@kernel
def keep_rows(
    events: fold.Events,
    starts: NDArray[np.int64],
    t: int,
    wanted: tuple[int, int],
    kept: NDArray[np.bool_],
) -> None:
    """Which rows a request at t or later may see.

    Args:
        events: Events of one or more runs.
        starts: First row of each run and, last, the number of rows.
        t: The earliest time that is still asked for.
        wanted: Length of the longest window; how many of the newest rows are kept whatever their age.
        kept: The answer (n,).
    """
    longest, newest = wanted
    for r in range(starts.size - 1):
        left = newest
        for i in range(starts[r + 1] - 1, starts[r] - 1, -1):
            pending = events.known[i] > t or events.times[i] > t
            replaced = events.until.size > 0 and events.until[i] <= t
            kept[i] = not replaced and (pending or events.times[i] > t - longest)
            if not pending and not replaced and left > 0:
                kept[i] = True
                left -= 1


def _with_fewer_texts(run: Run, plan: ViewPlan) -> Run:
    """Without the texts that no row holds any more."""
    rows = plan.text_rows
    if not rows or not run.texts:
        return run
    used = np.unique(run.events.values[list(rows)])
    used = used[~np.isnan(used)]
    if used.size == len(run.texts):
        return run
    values = run.events.values.copy()
    for k in rows:
        there = ~np.isnan(values[k])
        values[k, there] = np.searchsorted(used, values[k, there])
    texts = tuple(run.texts[int(code)] for code in used)
    return replace(run, events=run.events._replace(values=values), texts=texts)

"""What an online store keeps of one entity: its events as far as any window can still see them, packed in one value.

The batch build and the ingestion of single events write the same form through the same functions, and every reader
folds it by the code that makes a data set (:mod:`countermark.features.fold`). Events that came alone are told from
those of the table that it was built from, so that a rebuild neither counts one twice nor loses one
(:mod:`countermark.features.identity`).
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
from countermark.features.identity import ALONE, BOTH, CAME, IN_TABLE, LISTED, identities, with_origin
from countermark.features.tiles import HOLD, compact, fold_tiles, group_rows
from countermark.metrics.jit import kernel, row_kernel

MAGIC = int.from_bytes(b"CMstate2", "little")
HEADER = 7
_MAGIC, _ROWS, _MARK, _PARTS, _COLUMNS, _TEXTS, _TAKEN = range(HEADER)
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
        taken: Events that came alone since the state was built, or that the table it was built from did not have.
        events: The events, sorted by event time, known-at time, then place; of a tiled view, rows of tiles.
        arrived: When each event reached the bank, int64 (n,); of one in the table that also came alone, then.
        ids: Identity and origin of each event, int64 (n,), 0 for none.
        keys: Hash of each event's key, int64 (n,), 0 for none; (0,) where events have no versions.
        texts: Texts of the text columns; a text value is its place here.
    """

    mark: int
    taken: int
    events: fold.Events
    arrived: NDArray[np.int64]
    ids: NDArray[np.int64]
    keys: NDArray[np.int64]
    texts: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows kept."""
        return int(self.events.times.size)


def empty_run(plan: ViewPlan) -> Run:
    """The state of an entity of which nothing is known."""
    none = np.empty(0, dtype=np.int64)
    return Run(NEVER, 0, fold.Events(none, none, none, none, np.empty((plan.width, 0))), none, none, none, ())


def pack(run: Run, plan: ViewPlan) -> bytes:
    """The one byte form of a state: little-endian 8-byte words, then texts."""
    events = run.events
    texts = msgspec.msgpack.encode(run.texts) if run.texts else b""
    parts = _parts(plan)
    words = [MAGIC, run.rows, run.mark, parts, events.values.shape[0], len(texts), run.taken]
    arrays = [np.array(words, dtype="<i8"), events.times, events.known, run.arrived, run.ids]
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
        size = HEADER + n * (4 + 2 * (parts & _VERSIONED) + (parts & _FILTERED) // _FILTERED + columns)
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

    times, known, arrived, ids = take(), take(), take(), take()
    until, keys = (take(), take()) if parts & _VERSIONED else (none, none)
    flags = take() if parts & _FILTERED else none
    values = words[place:].view("<f8").reshape(columns, n)
    events = fold.Events(times, known, until, flags, values)
    return Run(int(words[_MARK]), int(words[_TAKEN]), events, arrived, ids, keys, texts)


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
    place += 4 * n
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


def added(data: bytes | None, plan: ViewPlan, event: EventRow) -> bytes:
    """A packed state after one more event that came alone; one that its table brought already counts no second time.

    From now on the state is asked no more than ``SLACK`` before the event's arrival.

    Args:
        data: The packed state; None for an entity without one.
        plan: The view.
        event: The event.
    """
    run = empty_run(plan) if data is None else unpack(data, plan)
    run = _taken_in(run, single(plan, event), 0, plan)
    return pack(trimmed(replace(run, mark=max(run.mark, event.arrived)), plan), plan)


def caught_up(base: bytes | None, old: bytes, plan: ViewPlan, *, as_of: int) -> bytes:
    """A rebuilt packed state with the events that came alone and that its table does not have.

    Args:
        base: The state as rebuilt from the table; None: the table has nothing of the entity.
        old: The state that readers see now.
        plan: The view.
        as_of: Microseconds up to which the table was read.

    Raises:
        FeatureStoreError: If the old state has merged events that are not the table's alone into tiles.
    """
    run = empty_run(plan) if base is None else unpack(base, plan)
    live = unpack(old, plan)
    if plan.tile and as_of < live.mark - HOLD:
        raise late_tiles(plan)
    came = live.ids & CAME != 0
    if plan.tile:
        came &= ~settled(plan, live.events.known, live.arrived, as_of)
    rows = np.flatnonzero(came)
    for row in rows[np.argsort(live.arrived[rows], kind="stable")].tolist():
        run = _taken_in(run, live, row, plan)
    return pack(trimmed(replace(run, mark=max(run.mark, live.mark)), plan), plan)


def settled(plan: ViewPlan, known: NDArray[np.int64], arrived: NDArray[np.int64], as_of: int) -> NDArray[np.bool_]:
    """Which events of a tiled view are left to the table: known, and here, ``HOLD`` before it was read.

    Args:
        plan: The view.
        known: When each event was known, on the view's clock.
        arrived: When it reached the bank.
        as_of: Microseconds up to which the table was read.
    """
    return np.asarray((known <= plan.on_clock(as_of - HOLD)) & (arrived <= as_of - HOLD))


def late_tiles(plan: ViewPlan) -> FeatureStoreError:
    """The error of a tiled view whose rebuild looks further back than its events are told apart."""
    return FeatureStoreError(
        f"tiled feature view '{plan.name}' was rebuilt as of too long ago",
        expected=f"at most {HOLD // 60_000_000} minutes before the newest event, and not before the last rebuild",
        hint="materialize as of a later time",
    )


def taken_of(data: bytes) -> int:
    """How many events came alone to a packed state since it was built."""
    return int.from_bytes(data[8 * _TAKEN : 8 * _TAKEN + 8], "little", signed=True)


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
    keys = one * event.key if versioned else none
    ids = identities(events, one * event.stamp, keys, (texts, plan.text_columns), ALONE)
    if plan.tile:
        events = tiled(plan, events)
    return Run(event.arrived, 1, events, one * event.arrived, ids, keys, texts)


def tiled(plan: ViewPlan, events: fold.Events) -> fold.Events:
    """Events as rows of tiles, one row each."""
    none = events.times[:0]
    return fold.Events(events.times, events.known, none, none, group_rows(plan.groups, events))


def _taken_in(run: Run, other: Run, row: int, plan: ViewPlan) -> Run:
    """A run with one event that came alone: as a row of its own, unless the table brought it."""
    identity = int(other.ids[row])
    twin = np.flatnonzero(run.ids == with_origin(identity, LISTED))
    if not twin.size:
        return replace(_inserted(run, other, row, plan), taken=run.taken + 1)
    ids, arrived = run.ids.copy(), run.arrived.copy()
    ids[twin[0]], arrived[twin[0]] = with_origin(identity, BOTH), other.arrived[row]
    return replace(run, ids=ids, arrived=arrived, taken=run.taken + 1)


def _inserted(run: Run, other: Run, row: int, plan: ViewPlan) -> Run:
    """A run with one row of another one, after every row that it does not come before."""
    events, more = run.events, other.events
    # What the table alone made known earlier is, where it is no longer in it, known since it arrived.
    time, known = more.times[row], max(int(more.known[row]), plan.on_clock(int(other.arrived[row])))
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
        run.taken,
        fold.Events(
            np.insert(events.times, place, time),
            lines,
            versions(keys, lines) if other.keys.size else events.until,
            np.insert(events.flags, place, more.flags[row]) if more.flags.size else events.flags,
            np.insert(events.values, place, column, axis=1),
        ),
        np.insert(run.arrived, place, other.arrived[row]),
        np.insert(run.ids, place, with_origin(int(other.ids[row]), ALONE)),
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
    events = run.events
    kept = np.empty(run.rows, dtype=np.bool_)
    keep_rows(events, np.array([0, run.rows]), plan.on_clock(run.mark - SLACK), (plan.longest, plan.keeps), kept)
    kept = with_versions(kept, run.keys)
    if not bool(kept.all()):
        run = taken(run, kept, plan)
    if not plan.tile:
        return run
    events, arrived, ids = run.events, run.arrived.copy(), run.ids.copy()
    times, known, values = events.times.copy(), events.known.copy(), events.values.copy()
    old = run.mark - 2 * HOLD
    end = compact(times, known, arrived, ids, values, (plan.on_clock(old), old, plan.tile, IN_TABLE))
    left = fold.Events(times[:end], known[:end], events.until, events.flags, values[:, :end])
    return replace(run, events=left, arrived=arrived[:end], ids=ids[:end])


def with_versions(kept: NDArray[np.bool_], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows to keep of one run, with every version of the events among them.

    An older version that came by the table may come again alone, and must then be known for what it is.

    Args:
        kept: Rows that a request may see (n,).
        keys: Hash of each row's key (n,), 0 for none; (0,) where events have no versions.
    """
    if not keys.size:
        return kept
    return np.asarray(kept | ((keys != 0) & np.isin(keys, keys[kept])))


def taken(run: Run, rows: NDArray[Any], plan: ViewPlan) -> Run:
    """A run of some of its rows, by mask or position, ascending."""
    left = fold.chosen(run.events, rows)
    keys = run.keys[rows] if run.keys.size else run.keys
    return _with_fewer_texts(Run(run.mark, run.taken, left, run.arrived[rows], run.ids[rows], keys, run.texts), plan)


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
        wanted: Length of the longest window; how many of the newest rows are kept whatever their age, and with them
            those of the same time: an event that is one of them may come again.
        kept: The answer (n,).
    """
    longest, newest = wanted
    for r in range(starts.size - 1):
        left, edge = newest, t
        for i in range(starts[r + 1] - 1, starts[r] - 1, -1):
            pending = events.known[i] > t or events.times[i] > t
            replaced = events.until.size > 0 and events.until[i] <= t
            kept[i] = not replaced and (pending or events.times[i] > t - longest)
            if pending or replaced:
                continue
            if left > 0:
                left -= 1
                kept[i], edge = True, events.times[i]
            elif newest > 0 and events.times[i] == edge:
                kept[i] = True


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

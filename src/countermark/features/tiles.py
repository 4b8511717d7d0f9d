"""Tiled views: events of one tile are summed into one row, so that a busy entity keeps tiles and not events.

A row holds, for each group (a column under a filter), eight numbers; an event is a row of its own, and two rows of one
tile are merged once both are older than twice :data:`HOLD`. The rows stay sorted by their newest event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.features import fold
from countermark.metrics.jit import kernel

HOLD = 3_600_000_000
"""Microseconds: how old a rebuilt state may be when it is published, and how long before the instant up to which it is
complete its events are still told apart. An event is therefore a row of its own for twice as long."""

TALL = 8
ROWS, TOTAL, LOW, LEAST, MOST, LATEST, LATEST_TIME, LATEST_KNOWN = range(TALL)


def group_rows(
    groups: tuple[tuple[int, int], ...],
    events: fold.Events,
) -> NDArray[np.float64]:
    """Every event as a row of its own.

    Args:
        groups: Value row (-1: none) and filter (-1: none) of each group.
        events: The events with their values and flags.

    Returns:
        float64 (8 groups, n).
    """
    n = events.times.size
    out = np.empty((TALL * len(groups), n))
    for g, (value, bit) in enumerate(groups):
        part = out[TALL * g : TALL * (g + 1)]
        number = np.zeros(n) if value < 0 else events.values[value]
        there = ~np.isnan(number)
        if bit >= 0:
            there &= (events.flags >> bit) & 1 == 1
        part[ROWS] = there
        part[TOTAL] = np.where(there, number, 0.0)
        part[LOW] = 0.0
        part[LEAST] = np.where(there, number, np.inf)
        part[MOST] = np.where(there, number, -np.inf)
        part[LATEST] = np.where(there, number, np.nan)
        part[LATEST_TIME] = np.where(there, events.times, -np.inf)
        part[LATEST_KNOWN] = np.where(there, events.known, -np.inf)
    return out


@kernel
def _merge(values: NDArray[np.float64], into: int, row: int) -> None:
    for g in range(0, values.shape[0], TALL):
        if values[g + ROWS, row] == 0:
            continue
        values[g + ROWS, into] += values[g + ROWS, row]
        total, error = fold.two_sum(values[g + TOTAL, into], values[g + TOTAL, row])
        values[g + TOTAL, into] = total
        values[g + LOW, into] += values[g + LOW, row] + error
        values[g + LEAST, into] = min(values[g + LEAST, into], values[g + LEAST, row])
        values[g + MOST, into] = max(values[g + MOST, into], values[g + MOST, row])
        if _later(values, g, row, values[g + LATEST_TIME, into], values[g + LATEST_KNOWN, into]):
            for k in range(LATEST, TALL):
                values[g + k, into] = values[g + k, row]


@kernel
def _later(values: NDArray[np.float64], g: int, row: int, time: float, known: float) -> bool:
    """Whether the latest event of a group in a row is not before one of that time."""
    if values[g + LATEST_TIME, row] != time:
        return bool(values[g + LATEST_TIME, row] > time)
    return bool(values[g + LATEST_KNOWN, row] >= known)


@kernel
def compact(
    times: NDArray[np.int64],
    known: NDArray[np.int64],
    arrived: NDArray[np.int64],
    ids: NDArray[np.int64],
    values: NDArray[np.float64],
    limits: tuple[int, int, int, int],
) -> int:
    """Merge neighbouring rows of one tile in place; a merged row has no identity.

    Args:
        times: Newest event time of each row; so are the next two, of their times.
        known: Newest known-at time.
        arrived: Newest arrival.
        ids: Identity and origin of each row, as :mod:`countermark.features.identity` has them.
        values: Groups (8 groups, n).
        limits: Event and known-at times, and arrivals, up to which rows may be merged; size of a tile; bit of the
            identities that must stay apart.

    Returns:
        The row after the last one that is left.
    """
    clock, instant, tile, apart = limits
    end = 0
    mergeable = False
    for i in range(times.size):
        old = times[i] <= clock and known[i] <= clock and arrived[i] <= instant and ids[i] & apart == 0
        last = end - 1
        if old and mergeable and times[last] // tile == times[i] // tile:
            _merge(values, last, i)
            ids[last] = 0
            times[last] = times[i]
            known[last] = max(known[last], known[i])
            arrived[last] = max(arrived[last], arrived[i])
            continue
        mergeable = old
        if end != i:
            times[end], known[end], arrived[end], ids[end] = times[i], known[i], arrived[i], ids[i]
            values[:, end] = values[:, i]
        end += 1
    return end


@kernel
def fold_tiles(
    events: fold.Events,
    rows: tuple[int, int],
    t: int,
    tile: int,
    program: NDArray[np.int64],
    out: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    """Features of one run of tiles at one time; as :func:`countermark.features.fold.fold_run` has them for events.

    Args:
        events: The rows; values are groups (8 groups, n).
        rows: First row of the run and the row after it.
        t: Time of the request.
        tile: Size of a tile.
        program: One feature a row; its value is the first number of its group.
        out: Results (features,), NaN for null; withheld values (features,), never any.
    """
    low, high = rows
    known, values = events.known, events.values
    end = fold.first_after(events.times, low, high, t)
    for f in range(program.shape[0]):
        kind, g = program[f, fold.KIND], program[f, fold.VALUE]
        start = fold.first_after(events.times, low, end, fold.window_bound(t, program[f, fold.LENGTH], tile))
        count, total, low_part, least, most = 0.0, 0.0, 0.0, np.inf, -np.inf
        latest, newest, learned = np.nan, -np.inf, -np.inf
        for i in range(start, end):
            if known[i] > t or values[g + ROWS, i] == 0:
                continue
            count += values[g + ROWS, i]
            total, error = fold.two_sum(total, values[g + TOTAL, i])
            low_part += values[g + LOW, i] + error
            least = min(least, values[g + LEAST, i])
            most = max(most, values[g + MOST, i])
            time = values[g + LATEST_TIME, i]
            if time > newest or (time == newest and values[g + LATEST_KNOWN, i] >= learned):
                latest, newest, learned = values[g + LATEST, i], time, values[g + LATEST_KNOWN, i]
        total = fold.closed_sum(total, low_part)
        out[1][f] = False
        if kind == fold.COUNT:
            out[0][f] = count
        elif count == 0:
            out[0][f] = np.nan
        elif kind == fold.SUM:
            out[0][f] = total
        elif kind == fold.MEAN:
            out[0][f] = total / count
        elif kind == fold.MIN:
            out[0][f] = least
        elif kind == fold.MAX:
            out[0][f] = most
        elif kind == fold.LAST:
            out[0][f] = latest
        else:
            out[0][f] = (t - newest) / 1000000.0

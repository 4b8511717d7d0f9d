"""What a request sees of one entity's events: the one fold, for a data set and for a decision.

Events of an entity form a run sorted by event time, then known-at time, then place. A row is visible to a request at t
if ``time <= t`` and ``known <= t < until``; ``until`` is when a newer version of the same event became known. Sums go
from the oldest to the newest, so that the same events give the same bits wherever they are folded. Sums of tiles cannot
keep that order: they carry their rounding errors along (T. J. Dekker, A floating-point technique for extending the
available precision, Numerische Mathematik 18, 1971), and so do sums of the same windows over events.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.jit import kernel

COLUMN, COUNT, SUM, MEAN, MIN, MAX, LAST, SINCE = range(8)
FUNCTIONS = {
    "count": COUNT, "sum": SUM, "mean": MEAN, "min": MIN, "max": MAX, "last": LAST, "time_since": SINCE,
}  # fmt: skip
FOREVER = 2**63 - 1
"""An instant that never comes: ``until`` of a row that nothing has replaced."""

NO_LIMIT = -1
"""No ``max_age``, no filter, no column."""

# Columns of a program, one row a feature.
KIND, VALUE, FILTER, LENGTH, LAG, MAX_AGE = range(6)
WIDTH = 6


class Events(NamedTuple):
    """Events of one or more runs, one after another.

    Attributes:
        times: Event times, int64 (n,), ascending inside a run.
        known: Known-at times, int64 (n,).
        until: Times at which a newer version became known, int64 (n,); (0,) where events have no versions.
        flags: Bit k says whether the row passes filter k, int64 (n,); (0,) where there are no filters.
        values: Values, float64 (columns, n); NaN is null.
    """

    times: NDArray[np.int64]
    known: NDArray[np.int64]
    until: NDArray[np.int64]
    flags: NDArray[np.int64]
    values: NDArray[np.float64]


def chosen(events: Events, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Events:
    """Some of the events, by mask or position."""
    return Events(
        events.times[rows],
        events.known[rows],
        events.until[rows] if events.until.size else events.until,
        events.flags[rows] if events.flags.size else events.flags,
        events.values[:, rows],
    )


@kernel
def window_bound(t: int, length: int, tile: int) -> int:
    """The instant after which an event must lie to be inside a window that ends at t.

    With tiles, an event lies where its tile begins, and a window of a whole number of tiles ends with the tile of t.
    """
    if tile == 0:
        return t - length
    return t // tile * tile - length + tile - 1


@kernel
def first_after(times: NDArray[np.int64], low: int, high: int, bound: int) -> int:
    """First position in [low, high) whose time lies after the bound; ``high`` if there is none."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] > bound:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def two_sum(a: float, b: float) -> tuple[float, float]:
    """A sum as rounded, and its exact rounding error (D. E. Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@kernel
def closed_sum(total: float, low: float) -> float:
    """A sum with its carried rounding errors; where it has left the finite numbers, the sum itself."""
    closed = total + low
    return closed if closed == closed else total


@kernel
def _aggregate(
    events: Events, rows: tuple[int, int], t: int, program: NDArray[np.int64], f: int, carried: bool
) -> float:
    """Count, sum, mean, minimum or maximum of the rows that count, oldest first; sums may carry their errors."""
    known, until, flags, values = events.known, events.until, events.flags, events.values
    kind, column, bit = program[f, KIND], program[f, VALUE], program[f, FILTER]
    versioned, filtered, valued = until.size > 0, bit >= 0, column >= 0
    count, total, low, least, most = 0, 0.0, 0.0, np.inf, -np.inf
    for i in range(rows[0], rows[1]):
        if known[i] > t or (versioned and until[i] <= t) or (filtered and (flags[i] >> bit) & 1 == 0):
            continue
        if valued:
            value = values[column, i]
            if value != value:
                continue
            if carried:
                total, error = two_sum(total, value)
                low += error
            else:
                total += value
            least = min(least, value)
            most = max(most, value)
        count += 1
    if kind == COUNT:
        return float(count)
    if count == 0:
        return np.nan
    if carried:
        total = closed_sum(total, low)
    if kind == SUM:
        return total
    if kind == MEAN:
        return total / count
    return least if kind == MIN else most


@kernel
def _newest(events: Events, rows: tuple[int, int], t: int, program: NDArray[np.int64], f: int) -> int:
    """The newest row that counts, ``lag`` rows back; -1 if there is none."""
    known, until, flags, values = events.known, events.until, events.flags, events.values
    column, bit, lag = program[f, VALUE], program[f, FILTER], program[f, LAG]
    versioned, filtered = until.size > 0, bit >= 0
    valued = column >= 0 and program[f, KIND] != COLUMN
    for i in range(rows[1] - 1, rows[0] - 1, -1):
        if known[i] > t or (versioned and until[i] <= t) or (filtered and (flags[i] >> bit) & 1 == 0):
            continue
        if valued and values[column, i] != values[column, i]:
            continue
        if lag == 0:
            return i
        lag -= 1
    return -1


@kernel
def fold_run(
    events: Events,
    rows: tuple[int, int],
    t: int,
    tile: int,
    program: NDArray[np.int64],
    out: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    """Features of one run at one time.

    Args:
        events: The events.
        rows: First row of the run and the row after it.
        t: Time of the request.
        tile: Size of a tile, 0 for exact windows.
        program: One feature a row, int64 (features, WIDTH).
        out: Results (features,), NaN for null; whether a value was withheld because of its age (features,).
    """
    low, high = rows
    end = first_after(events.times, low, high, t)
    for f in range(program.shape[0]):
        kind = program[f, KIND]
        start = low
        if kind != COLUMN:
            start = first_after(events.times, low, end, window_bound(t, program[f, LENGTH], tile))
        out[1][f] = False
        if kind != COLUMN and kind != LAST and kind != SINCE:
            out[0][f] = _aggregate(events, (start, end), t, program, f, tile > 0)
            continue
        out[0][f] = np.nan
        i = _newest(events, (start, end), t, program, f)
        if i >= 0 and kind == SINCE:
            out[0][f] = (t - events.times[i]) / 1000000.0
        elif i >= 0 and program[f, MAX_AGE] >= 0 and t - events.times[i] > program[f, MAX_AGE]:
            out[1][f] = True
        elif i >= 0:
            out[0][f] = events.values[program[f, VALUE], i]


@kernel
def fold_runs(
    events: Events,
    runs: NDArray[np.int64],
    asked: NDArray[np.int64],
    tile: int,
    program: NDArray[np.int64],
    out: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    """Features of many requests.

    Args:
        events: Events of all runs.
        runs: First row of each request's run and the row after it, int64 (requests, 2); equal where there is none.
        asked: Time of each request, int64 (requests,).
        tile: Size of a tile, 0 for exact windows.
        program: One feature a row, int64 (features, WIDTH).
        out: Results (requests, features) and withheld values (requests, features).
    """
    for r in range(asked.size):
        fold_run(events, (runs[r, 0], runs[r, 1]), asked[r], tile, program, (out[0][r], out[1][r]))

"""The gate that outcome and score arrays pass before a statistic is computed."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.errors import EvidenceError

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


def outcome(y: NDArray[Any]) -> Bools:
    """Outcome as a new boolean array, True = event.

    Args:
        y: (n,) of 0 and 1, any numeric or boolean type.

    Raises:
        EvidenceError: If it is not one-dimensional, or holds anything but 0 and 1.
    """
    values = np.asarray(y)
    if values.ndim != 1:
        raise EvidenceError("the outcome has the wrong shape", expected="one dimension", got=f"{values.ndim}")
    events = values == 1
    other = int(np.count_nonzero(~(events | (values == 0))))
    if other:
        raise EvidenceError(
            "the outcome holds other values than 0 and 1", expected="0 or 1", got=f"{other} other values"
        )
    return np.array(events, dtype=np.bool_)


def paired(y: NDArray[Any], *scores: NDArray[Any]) -> tuple[Bools, tuple[Floats, ...], str | None]:
    """Outcome and scores of the same rows, and the reason why they cannot be used, if any.

    Missing or infinite scores make every rank statistic undefined: they are counted, not dropped.

    Args:
        y: Outcome (n,).
        scores: Scores or probabilities, each (n,).

    Raises:
        EvidenceError: If the lengths differ, or the outcome is not 0 and 1.
    """
    events = outcome(y)
    columns = []
    bad = 0
    for score in scores:
        column = np.asarray(score, dtype=np.float64)
        if column.shape != events.shape:
            raise EvidenceError(
                "outcome and score have different lengths", expected=f"{events.shape}", got=f"{column.shape}"
            )
        bad = max(bad, int(np.count_nonzero(~np.isfinite(column))))
        columns.append(column)
    return events, tuple(columns), f"{bad} scores are missing or infinite" if bad else None


def one_class(events: Bools) -> str | None:
    """Why two classes cannot be compared, if one of them is absent."""
    if events.size == 0:
        return "no observations"
    if not events.any():
        return "no events"
    return "no non-events" if events.all() else None


def grouped(n: NDArray[Any], d: NDArray[Any], pd: NDArray[Any] | None = None) -> tuple[Floats, Floats, Floats]:
    """Counts, events and PD per group as new float arrays; PD is zero where not given.

    Raises:
        EvidenceError: If lengths differ, a count is negative, or a group has more events than rows.
    """
    count, events = np.array(n, dtype=np.float64), np.array(d, dtype=np.float64)
    default = np.zeros_like(count) if pd is None else np.array(pd, dtype=np.float64)
    if count.ndim != 1 or not count.shape == events.shape == default.shape:
        raise EvidenceError(
            "counts per group have different lengths",
            expected="one dimension, equal lengths",
            got=f"{count.shape}, {events.shape}, {default.shape}",
        )
    if bool(np.any(count < 0)) or bool(np.any(events < 0)) or bool(np.any(events > count)):
        raise EvidenceError("counts per group are impossible", expected="0 <= events <= rows in every group")
    return count, events, default

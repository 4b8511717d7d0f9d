"""Which row belongs to which sample: decided by a keyed hash, so alike on every machine.

A row's place is a function of the seed and of the row's key (or its group's), never of the row's position, of the
processor or of a random stream. Rows that are added later do not move the others in the out-of-time and grouped
splits; in the stratified split, whose shares are exact, only rows next to a boundary can move.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.config.learner import GroupedSplit, OutOfTimeSplit, Split, StratifiedSplit
from countermark.errors import GuardError

SampleLabel: TypeAlias = Literal["development", "calibration", "holdout", "out_of_time"]
SAMPLES: tuple[SampleLabel, ...] = ("development", "calibration", "holdout", "out_of_time")
"""Every sample label, in the order in which evidence prints them."""

_FITTED = ("development", "calibration")


@dataclass(frozen=True, slots=True)
class SplitRows:
    """What a split may look at.

    Attributes:
        key: Row key, object (n,) of text; unique.
        y: Outcome (n,): 0 or 1, or a number where ``continuous``.
        entity: Entity key per row, object (n,), text or None (a row without entity stands alone); None: no entities.
        group: Group key per row for the grouped split, object (n,); None: not declared.
        time: Observation dates, datetime64[D] (n,), or None.
        continuous: The outcome is an amount or a share, so outcome classes are not looked at.
    """

    key: NDArray[np.object_]
    y: NDArray[Any]
    entity: NDArray[np.object_] | None = None
    group: NDArray[np.object_] | None = None
    time: NDArray[np.datetime64] | None = None
    continuous: bool = False


@dataclass(frozen=True, slots=True)
class SplitResult:
    """The sample of every row, and what had to go.

    Attributes:
        sample: Sample label per row, object (n,); None for a dropped row.
        dropped_rows: Out-of-time rows dropped because their entity was seen in development or calibration.
        dropped_entities: Entities of those rows.
        gap_rows: Rows left out because their labels were not final when the out-of-time period began.
    """

    sample: NDArray[np.object_]
    dropped_rows: int = 0
    dropped_entities: int = 0
    gap_rows: int = 0


def assign_samples(split: Split, rows: SplitRows) -> SplitResult:
    """Put every row into development, calibration, hold-out or out-of-time.

    Args:
        split: The declared split.
        rows: Keys, outcomes and whatever the split needs.

    Raises:
        GuardError: If keys repeat, an entity repeats in a stratified split, a date or group is missing,
            or a sample ends up empty or with a single outcome class.
    """
    _check_rows(split, rows)
    match split:
        case OutOfTimeSplit():
            result = _out_of_time(split, rows)
        case GroupedSplit():
            result = _grouped(split, rows)
        case StratifiedSplit():
            result = SplitResult(_stratified(split, rows))
    _check_samples(split, rows, result)
    return result


def unit_interval(seed: int, keys: NDArray[np.object_]) -> NDArray[np.float64]:
    """A number in [0, 1) per key: the first 53 bits of SHA-256 of seed and key.

    Args:
        seed: Seed of the split.
        keys: Object (n,) of text.

    Returns:
        float64 (n,), equal for equal keys, on every machine.
    """
    prefix = f"countermark/split/{seed}\x00".encode()
    bits = [int.from_bytes(hashlib.sha256(prefix + str(key).encode()).digest()[:8], "big") >> 11 for key in keys]
    return np.array(bits, dtype=np.float64) / float(1 << 53)


def fold_numbers(
    keys: NDArray[np.object_], y: NDArray[Any], folds: int, *, seed: int, grouped: bool
) -> NDArray[np.int64]:
    """Fold 0..folds-1 of every row of the development sample.

    Args:
        keys: Row keys, or entity keys where ``grouped``; object (n,).
        y: Outcome (n,).
        folds: Number of folds.
        seed: Seed of the tuning.
        grouped: All rows of a key share a fold; else folds are stratified by outcome.

    Raises:
        GuardError: If there are fewer keys than folds.
    """
    place = unit_interval(seed, keys)
    if grouped:
        unique, inverse = np.unique(keys.astype(str), return_inverse=True)
        order = np.argsort(unit_interval(seed, unique.astype(object)), kind="stable")
        number = np.empty(unique.size, dtype=np.int64)
        number[order] = np.arange(unique.size) % folds
        out, size = number[inverse], unique.size
    else:
        out, size = np.empty(keys.size, dtype=np.int64), keys.size
        start = 0
        strata = np.unique(y) if np.unique(y).size <= 2 else np.array([np.nan])
        for value in strata:
            rows = np.flatnonzero(y == value) if np.isfinite(value) else np.arange(keys.size)
            ordered = rows[np.lexsort((keys[rows].astype(str), place[rows]))]
            # Start where the last class stopped, so that fold sizes differ by one row at most.
            out[ordered] = (start + np.arange(rows.size)) % folds
            start += rows.size
    if size < folds:
        raise GuardError(
            "too few development rows to tune",
            expected=f"at least {folds} {'entities' if grouped else 'rows'}, one per fold",
            got=str(size),
            hint="lower 'tuning.folds' or leave 'tuning' out",
        )
    return out


def hash_keys(key: NDArray[np.object_], owner: NDArray[np.object_] | None) -> NDArray[np.object_]:
    """What is hashed for each row: its owner (entity or group) where it has one, else the row itself.

    The two are never confused with one another, whatever the keys look like.
    """
    if owner is None:
        return np.array([f"row:{name}" for name in key], dtype=object)
    names = [f"row:{name}" if who is None else f"entity:{who}" for name, who in zip(key, owner, strict=True)]
    return np.array(names, dtype=object)


def _by_threshold(place: NDArray[np.float64], calibration: float, holdout: float) -> NDArray[np.object_]:
    sample = np.full(place.size, "development", dtype=object)
    sample[place < calibration + holdout] = "holdout"
    sample[place < calibration] = "calibration"
    return sample


def _out_of_time(split: OutOfTimeSplit, rows: SplitRows) -> SplitResult:
    if rows.time is None or bool(np.isnat(rows.time).any()):
        missing = rows.key.size if rows.time is None else int(np.isnat(rows.time).sum())
        raise GuardError(
            "an out-of-time split needs an observation date in every row",
            expected="'data.time' names a date column without gaps",
            got=f"{missing} of {rows.key.size} rows without a date",
            hint="declare 'data.time', or use 'split.kind: stratified' or 'grouped'",
        )
    keys = hash_keys(rows.key, rows.entity)
    sample = _by_threshold(unit_interval(split.seed, keys), split.calibration, split.holdout)
    start = np.datetime64(split.out_of_time_from, "D")
    late = rows.time >= start
    gap = ~late & (rows.time >= start - np.timedelta64(split.gap_days, "D"))
    sample[gap] = None
    early_sample = sample.copy()
    sample[late] = "out_of_time"
    if rows.entity is None:
        return SplitResult(sample, gap_rows=int(gap.sum()))
    fitted = {
        key for key, where, is_late in zip(keys, early_sample, late, strict=True) if not is_late and where in _FITTED
    }
    seen = late & np.array([key in fitted for key in keys], dtype=bool)
    sample[seen] = None
    return SplitResult(sample, int(seen.sum()), len(set(keys[seen])), int(gap.sum()))


def _grouped(split: GroupedSplit, rows: SplitRows) -> SplitResult:
    group = rows.group if rows.group is not None else rows.entity
    if group is None:
        raise GuardError(
            f"the grouped split needs column '{split.group}'",
            expected="one group key per row",
            got="no such column in the data set",
            hint="name an existing column under 'split.group'",
        )
    missing = sum(1 for key in group if key is None)
    if missing:
        raise GuardError(
            f"the grouped split meets rows without '{split.group}'",
            expected="a group key in every row",
            got=f"{missing} of {group.size} rows without one",
            hint="exclude such rows in the contract, or split by another column",
        )
    if rows.entity is not None and rows.group is not None:
        _check_entity_inside_group(split, rows.entity, rows.group)
    place = unit_interval(split.seed, hash_keys(rows.key, group))
    return SplitResult(_by_threshold(place, split.calibration, split.holdout))


def _check_entity_inside_group(split: GroupedSplit, entity: NDArray[np.object_], group: NDArray[np.object_]) -> None:
    home: dict[str, str] = {}
    astray = {
        who
        for who, where in zip(entity, group, strict=True)
        if who is not None and home.setdefault(who, where) != where
    }
    if astray:
        raise GuardError(
            f"an entity would fall on both sides of the split by '{split.group}'",
            expected="every entity inside one group",
            got=f"{len(astray)} entities in more than one group",
            hint="split by the entity column itself",
        )


def _stratified(split: StratifiedSplit, rows: SplitRows) -> NDArray[np.object_]:
    if rows.entity is not None:
        named = [key for key in rows.entity if key is not None]
        repeated = len(named) - len(set(named))
        if repeated:
            raise GuardError(
                "a stratified split would put rows of one entity into train and test",
                expected="every entity once",
                got=f"{repeated} rows repeat an entity",
                hint="use 'split.kind: grouped' with the entity column as 'group'",
            )
    place = unit_interval(split.seed, hash_keys(rows.key, None))
    sample = np.full(rows.key.size, "development", dtype=object)
    strata = [np.arange(rows.y.size)] if rows.continuous else [np.flatnonzero(rows.y == value) for value in (0, 1)]
    for members in strata:
        ordered = members[np.lexsort((rows.key[members].astype(str), place[members]))]
        first = round(members.size * split.calibration)
        second = first + round(members.size * split.holdout)
        sample[ordered[:first]] = "calibration"
        sample[ordered[first:second]] = "holdout"
    return sample


def _check_rows(split: Split, rows: SplitRows) -> None:
    if len(set(rows.key)) != rows.key.size:
        raise GuardError(
            "row keys repeat",
            expected="every key once",
            got=f"{rows.key.size - len(set(rows.key))} repeated keys",
            hint="name a unique column as the source's 'row_key'",
        )
    if split.calibration + split.holdout >= 1:
        raise GuardError(
            "the split leaves nothing to develop on",
            expected="'calibration' + 'holdout' below 1",
            got=f"{split.calibration:g} + {split.holdout:g}",
            hint="lower one of them",
        )
    if not rows.continuous and not bool(np.isin(rows.y, (0, 1)).all()):
        bad = int((~np.isin(rows.y, (0, 1))).sum())
        raise GuardError(
            "the outcome is not 0 or 1 in every row",
            expected="0 or 1",
            got=f"{bad} of {rows.y.size} rows with something else or nothing",
            hint="check 'outcome.positive' and 'outcome.negative', or exclude such rows in the contract",
        )


def _check_samples(split: Split, rows: SplitRows, result: SplitResult) -> None:
    wanted = SAMPLES if isinstance(split, OutOfTimeSplit) else SAMPLES[:3]
    for label in wanted:
        members = result.sample == label
        n = int(members.sum())
        if n == 0:
            raise GuardError(
                f"sample '{label}' is empty",
                expected="rows in " + ", ".join(wanted),
                got=f"0 of {rows.key.size} rows",
                hint=_empty_hint(split, label),
            )
    for label in () if rows.continuous else wanted:
        members = result.sample == label
        n = int(members.sum())
        if (n_events := int(np.count_nonzero(rows.y[members] == 1))) in (0, n):
            raise GuardError(
                f"sample '{label}' has one outcome class only",
                expected="both outcomes",
                got=f"{n_events} events in {n} rows",
                hint="use more data, a larger share for this sample, or 'split.kind: stratified'",
            )


def _empty_hint(split: Split, label: str) -> str:
    if isinstance(split, OutOfTimeSplit):
        if label == "out_of_time":
            return f"no row is dated {split.out_of_time_from} or later: move 'split.out_of_time_from'"
        return f"too few rows are dated before {split.out_of_time_from}: move 'split.out_of_time_from'"
    return "use more data or a larger share for this sample"

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.learner import GroupedSplit, OutOfTimeSplit, StratifiedSplit
from countermark.errors import GuardError
from countermark.training.splits import SplitRows, assign_samples, fold_numbers, unit_interval

OOT = OutOfTimeSplit(kind="out_of_time", out_of_time_from="2014-01-01", seed=5)
STRATIFIED = StratifiedSplit(kind="stratified", calibration=0.2, holdout=0.25, seed=5)
GROUPED = GroupedSplit(kind="grouped", group="branch", seed=5)


def keys(n: int, prefix: str = "k") -> np.ndarray:
    return np.array([f"{prefix}{i}" for i in range(n)], dtype=object)


def outcome(n: int, rate: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(1).random(n) < rate).astype(np.int8)


def dates(n: int) -> np.ndarray:
    return np.datetime64("2013-01-01") + np.random.default_rng(2).integers(0, 730, n).astype("timedelta64[D]")


def test_the_place_of_a_key_is_its_sha_256() -> None:
    # Written out once by hand: the first 53 bits of SHA-256("countermark/split/7\x00row:1").
    import hashlib

    bits = hashlib.sha256(b"countermark/split/7\x00row:1").hexdigest()[:16]
    assert unit_interval(7, np.array(["row:1"], dtype=object))[0] == (int(bits, 16) >> 11) / 2**53


def test_out_of_time_puts_late_rows_out_of_time_and_no_other() -> None:
    n = 4000
    rows = SplitRows(key=keys(n), y=outcome(n), time=dates(n))
    sample = assign_samples(OOT, rows).sample
    late = rows.time >= np.datetime64("2014-01-01")
    assert ((sample == "out_of_time") == late).all()
    early = sample[~late]
    for label, share in (("development", 0.6), ("calibration", 0.2), ("holdout", 0.2)):
        assert abs((early == label).mean() - share) < 0.04


def test_labels_that_were_not_final_when_the_out_of_time_period_began_are_left_out() -> None:
    n = 4000
    rows = SplitRows(key=keys(n), y=outcome(n), time=dates(n))
    split = OOT.model_copy(update={"gap_days": 31})
    result = assign_samples(split, rows)
    gap = (rows.time >= np.datetime64("2013-12-01")) & (rows.time < np.datetime64("2014-01-01"))
    assert result.gap_rows == gap.sum() > 50
    assert all(label is None for label in result.sample[gap])
    assert (result.sample[~gap] == assign_samples(OOT, rows).sample[~gap]).all()
    entity = np.array([f"c{k % 900}" for k in range(n)], dtype=object)
    by_entity = assign_samples(split, SplitRows(key=rows.key, y=rows.y, entity=entity, time=rows.time))
    assert by_entity.gap_rows == result.gap_rows
    assert all(label is None for label in by_entity.sample[gap])


@given(st.integers(0, 2**31), st.integers(1, 300))
def test_no_entity_is_on_both_sides_of_an_out_of_time_split(seed: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    n = 1500
    entity = np.array([f"c{i}" for i in rng.integers(0, 500, n)], dtype=object)
    entity[:extra] = None
    time = np.datetime64("2013-01-01") + rng.integers(0, 730, n).astype("timedelta64[D]")
    y = (rng.random(n) < 0.4).astype(np.int8)
    result = assign_samples(OOT, SplitRows(key=keys(n), y=y, entity=entity, time=time))
    where: dict[str, set[str]] = {}
    for who, label in zip(entity, result.sample, strict=True):
        if who is not None and label is not None:
            where.setdefault(who, set()).add(label)
    for labels in where.values():
        assert len(labels - {"out_of_time"}) <= 1
        assert not ("out_of_time" in labels and labels & {"development", "calibration"})
    dropped = np.array([label is None for label in result.sample])
    assert result.dropped_rows == dropped.sum() > 0
    assert result.dropped_entities == len(set(entity[dropped]))
    assert (time[dropped] >= np.datetime64("2014-01-01")).all()


@given(st.integers(0, 2**31), st.integers(1, 400))
def test_appended_rows_move_no_earlier_row(seed: int, added: int) -> None:
    n = 1200
    time = dates(n + added)
    y, branch = outcome(n + added), np.array([f"b{i % 97}" for i in range(n + added)], dtype=object)
    for split in (OOT.model_copy(update={"seed": seed}), GROUPED.model_copy(update={"seed": seed})):
        before = assign_samples(split, SplitRows(key=keys(n), y=y[:n], group=branch[:n], time=time[:n])).sample
        after = assign_samples(split, SplitRows(key=keys(n + added), y=y, group=branch, time=time)).sample
        assert (before == after[:n]).all()


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_appended_rows_move_few_rows_of_a_stratified_split(seed: int, added: int) -> None:
    n = 1000
    y = outcome(n + added)
    split = STRATIFIED.model_copy(update={"seed": seed})
    before = assign_samples(split, SplitRows(key=keys(n), y=y[:n])).sample
    after = assign_samples(split, SplitRows(key=keys(n + added), y=y)).sample
    # Two boundaries in each of two classes, each moved by at most the rows added.
    assert (before != after[:n]).sum() <= 2 * added + 4


@given(st.integers(0, 2**31), st.permutations(list(range(60))))
def test_row_order_does_not_matter(seed: int, order: list[int]) -> None:
    y = np.array([i % 3 == 0 for i in range(60)], dtype=np.int8)
    split = STRATIFIED.model_copy(update={"seed": seed})
    straight = assign_samples(split, SplitRows(key=keys(60), y=y)).sample
    shuffled = assign_samples(split, SplitRows(key=keys(60)[order], y=y[order])).sample
    assert (straight[order] == shuffled).all()


def test_stratified_shares_are_exact_in_each_class() -> None:
    y = np.repeat(np.array([0, 1], dtype=np.int8), [800, 200])
    sample = assign_samples(STRATIFIED, SplitRows(key=keys(1000), y=y)).sample
    for value, n in ((0, 800), (1, 200)):
        members = sample[y == value]
        assert (members == "calibration").sum() == n * 0.2
        assert (members == "holdout").sum() == n * 0.25


def test_grouped_keeps_groups_whole() -> None:
    n = 3000
    branch = np.array([f"b{i % 60}" for i in range(n)], dtype=object)
    sample = assign_samples(GROUPED, SplitRows(key=keys(n), y=outcome(n), group=branch)).sample
    assert all(len(set(sample[branch == b])) == 1 for b in set(branch))


def test_another_seed_is_another_split() -> None:
    rows = SplitRows(key=keys(500), y=outcome(500))
    other = STRATIFIED.model_copy(update={"seed": 6})
    assert (assign_samples(STRATIFIED, rows).sample != assign_samples(other, rows).sample).any()


def test_continuous_outcomes_are_split_without_classes() -> None:
    y = np.random.default_rng(3).normal(size=400)
    sample = assign_samples(STRATIFIED, SplitRows(key=keys(400), y=y, continuous=True)).sample
    assert (sample == "calibration").sum() == 80
    assert (sample == "holdout").sum() == 100


N = 60
Y = np.array([i % 3 == 0 for i in range(N)], dtype=np.int8)
TIME = np.array(["2013-05-01"] * 40 + ["2014-05-01"] * 20, dtype="datetime64[D]")
BAD_ROWS = {
    "a key twice": (STRATIFIED, {"key": np.array(["a"] * N, dtype=object)}, "row keys repeat", "row_key"),
    "one row": (STRATIFIED, {"key": keys(1), "y": Y[:1]}, "is empty", "more data"),
    "no events": (STRATIFIED, {"y": np.zeros(N, dtype=np.int8)}, "one outcome class", "more data"),
    "outcome with NaN": (STRATIFIED, {"y": np.where(Y == 1, np.nan, 0.0)}, "not 0 or 1", "outcome.positive"),
    "no dates": (OOT, {}, "observation date", "data.time"),
    "a gap in the dates": (
        OOT,
        {"time": np.array(["NaT"] + ["2013-05-01"] * (N - 1), dtype="datetime64[D]")},
        "observation date",
        "data.time",
    ),
    "no late row": (OOT, {"time": np.array(["2013-05-01"] * N, dtype="datetime64[D]")}, "is empty", "2014-01-01"),
    "no early row": (OOT, {"time": np.array(["2015-05-01"] * N, dtype="datetime64[D]")}, "is empty", "2014-01-01"),
    "late rows of one class": (OOT, {"time": TIME, "y": np.where(TIME[0] < TIME, 1, Y)}, "one outcome", "more data"),
    "no group": (GROUPED, {}, "needs column 'branch'", "split.group"),
    "group with gaps": (GROUPED, {"group": np.array([None] * N, dtype=object)}, "rows without 'branch'", "contract"),
    "an entity in two groups": (
        GROUPED,
        {"group": np.array([f"b{i}" for i in range(N)], dtype=object), "entity": np.array(["c"] * N, dtype=object)},
        "both sides",
        "entity column",
    ),
    "repeated entities": (STRATIFIED, {"entity": np.array(["c"] * N, dtype=object)}, "one entity", "grouped"),
    "no development": (
        STRATIFIED.model_copy(update={"holdout": 0.9}),
        {},
        "nothing to develop on",
        "lower one",
    ),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_end_in_a_guard(case: str) -> None:
    split, changes, what, hint = BAD_ROWS[case]
    with pytest.raises(GuardError, match=what) as caught:
        assign_samples(split, SplitRows(**({"key": keys(N), "y": Y} | changes)))
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@given(st.integers(0, 2**31), st.integers(2, 6), st.booleans())
def test_folds_are_whole_and_even(seed: int, folds: int, grouped: bool) -> None:
    n = 300
    owner = np.array([f"c{i % 40}" for i in range(n)], dtype=object) if grouped else keys(n)
    y = outcome(n)
    fold = fold_numbers(owner, y, folds, seed=seed, grouped=grouped)
    assert set(fold) == set(range(folds))
    if grouped:
        assert all(len(set(fold[owner == who])) == 1 for who in set(owner))
    else:
        for value in (0, 1):
            counts = np.bincount(fold[y == value], minlength=folds)
            assert counts.max() - counts.min() <= 1
        assert np.ptp(np.bincount(fold)) <= 1


def test_more_folds_than_rows_is_refused() -> None:
    with pytest.raises(GuardError, match="too few development rows"):
        fold_numbers(keys(2), np.array([0, 1]), 3, seed=1, grouped=False)
    with pytest.raises(GuardError, match="too few development rows"):
        fold_numbers(np.array(["a"] * 9, dtype=object), np.zeros(9), 3, seed=1, grouped=True)

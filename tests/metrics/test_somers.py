from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import somersd

from countermark.errors import EvidenceError
from countermark.metrics.discrimination import auc
from countermark.metrics.somers import (
    LGD_BUCKETS,
    bucketed,
    generalised_auc,
    generalised_auc_difference,
)
from tests.oracles import oracle

levels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=2, max_size=40)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    y, x = zip(*pairs, strict=True)
    return np.array(y, dtype=float), np.array(x, dtype=float)


def noisy(n: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n)
    return y, y + rng.normal(size=n)


def test_with_a_binary_outcome_it_is_the_auc() -> None:
    case = oracle("gauc_reduces_to_auc")
    table = np.array(case.inputs["table_rows_nondefault_default"])
    y = np.repeat([0, 1], table.sum(axis=1))
    x = np.concatenate([np.repeat(np.arange(table.shape[1]), row) for row in table])
    got = generalised_auc(y, x)
    assert got.value == pytest.approx(case.expected["gauc"], abs=case.tolerance)
    assert got.se == pytest.approx(case.expected["se_gauc"], abs=case.tolerance)
    assert got.value == pytest.approx(auc(y, x).value, abs=1e-12)


@given(levels)
def test_it_is_somers_d_of_scipy(pairs: list[tuple[int, int]]) -> None:
    y, x = columns(pairs)
    got = generalised_auc(y, x)
    if np.unique(y).size < 2:
        assert got.value is None
        assert got.reason == "all realised amounts are equal"
        return
    if np.unique(x).size < 2:  # scipy leaves this case undefined
        assert got.value == 0.5
        return
    assert got.somers_d == pytest.approx(somersd(y, x).statistic, abs=1e-12)


@given(levels)
def test_large_tables_are_counted_as_small_ones_are(pairs: list[tuple[int, int]]) -> None:
    from countermark.metrics import somers

    y, x = columns(pairs)
    rows, cols = (np.unique(v, return_inverse=True)[1].astype(np.int64) for v in (y, x))
    brute = (np.sign(y[:, None] - y[None]) * np.sign(x[:, None] - x[None])).sum(axis=1)
    shape = int(rows.max()) + 1, int(cols.max()) + 1
    assert (somers._net_by_cell(rows, cols, shape) == brute).all()
    limit, somers._MOST_CELLS = somers._MOST_CELLS, 0
    try:
        assert (somers._net_concordance(rows, cols) == brute).all()
    finally:
        somers._MOST_CELLS = limit


@given(levels)
def test_ranks_alone_count_and_turning_the_estimate_turns_the_measure(pairs: list[tuple[int, int]]) -> None:
    y, x = columns(pairs)
    got, stretched = generalised_auc(y, x), generalised_auc(np.exp(y), x**3 + x)
    assert (got.value, got.se) == (stretched.value, stretched.se)
    turned = generalised_auc(y, -x)
    if got.value is not None:
        assert turned.value == pytest.approx(1.0 - got.value, abs=1e-12)


def test_the_standard_error_is_that_of_the_jackknife() -> None:
    y, x = noisy()
    left_out = [generalised_auc(np.delete(y, i), np.delete(x, i)).value or 0.0 for i in range(y.size)]
    jackknife = np.sqrt((y.size - 1) / y.size * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert generalised_auc(y, x).se == pytest.approx(jackknife, rel=0.02)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        got = generalised_auc(rng.integers(0, 12, 150), rng.integers(0, 12, 150))
        assert got.interval is not None
        hits += got.interval[0] <= 0.5 <= got.interval[1]
    assert 180 <= hits <= 199


def test_rows_of_one_customer_count_once() -> None:
    y, x = noisy(100)
    once = generalised_auc(y, x)
    thrice = [np.repeat(v, 3) for v in (y, x, np.arange(100))]
    got = generalised_auc(thrice[0], thrice[1], cluster=thrice[2])
    assert got.value == pytest.approx(once.value, abs=1e-12)
    assert got.se == pytest.approx(once.se, rel=1e-9)
    naive = generalised_auc(thrice[0], thrice[1])
    assert naive.se == pytest.approx((once.se or 0.0) / np.sqrt(3), rel=1e-9)


def test_one_estimate_for_all_ranks_nothing_and_that_is_certain() -> None:
    got = generalised_auc(np.array([0.1, 0.5, 0.9]), np.full(3, 0.4))
    assert (got.value, got.interval, got.p_chance) == (0.5, (0.5, 0.5), 0.5)


def test_a_perfect_order_has_no_interval() -> None:
    got = generalised_auc(np.arange(5.0), np.arange(5.0))
    assert (got.value, got.interval) == (1.0, None)
    assert "perfect" in str(got.reason)


def test_what_cannot_be_ranked_says_why() -> None:
    nothing = np.empty(0)
    assert generalised_auc(nothing, nothing).reason == "no observations"
    assert "missing or infinite" in str(generalised_auc(np.array([0.0, np.nan]), np.array([1.0, 2.0])).reason)
    assert generalised_auc_difference(nothing, nothing, nothing).reason == "no observations"
    assert generalised_auc_difference(np.ones(3), np.arange(3.0), np.arange(3.0)).difference is None
    with pytest.raises(EvidenceError, match="different lengths"):
        generalised_auc(np.ones(2), np.ones(3))


def test_a_difference_is_paired() -> None:
    y, x = noisy()
    worse = x + np.random.default_rng(4).normal(size=y.size)
    got = generalised_auc_difference(y, x, worse)
    back = generalised_auc_difference(y, worse, x)
    assert got.difference == pytest.approx((got.gauc_a or 0.0) - (got.gauc_b or 0.0))
    assert got.difference == pytest.approx(-(back.difference or 0.0))
    assert got.p_worse == pytest.approx(1.0 - (back.p_worse or 0.0))
    alone = [generalised_auc(y, v).se or 0.0 for v in (x, worse)]
    assert 0.0 < (got.se or 0.0) < np.hypot(*alone)
    same = generalised_auc_difference(y, x, 2.0 * x + 1.0)
    assert (same.difference, same.interval, same.p_two_sided) == (0.0, (0.0, 0.0), 1.0)


def test_buckets_are_closed_below_and_open_at_the_ends() -> None:
    values = np.array([-0.2, 0.0, 0.0499, 0.05, 0.1, 0.999, 1.0, 1.7])
    assert bucketed(values, LGD_BUCKETS).tolist() == [0, 0, 0, 1, 2, 10, 11, 11]
    with pytest.raises(EvidenceError, match="missing or infinite"):
        bucketed(np.array([0.1, np.inf]), LGD_BUCKETS)


def test_nothing_is_written_to_its_inputs() -> None:
    y, x = noisy(50)
    for values in (y, x):
        values.setflags(write=False)
    generalised_auc(y, x, cluster=np.arange(50) // 2)
    generalised_auc_difference(y, x, -x)
    bucketed(y, LGD_BUCKETS)

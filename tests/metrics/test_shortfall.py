from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from statsmodels.stats.power import TTestPower

from countermark.errors import EvidenceError
from countermark.metrics.shortfall import (
    detectable_shortfall,
    power_pools,
    shortfall_bootstrap,
    shortfall_power,
    shortfall_test,
)
from tests.oracles import oracle

shares = st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), min_size=2, max_size=60)


def test_the_published_example() -> None:
    case = oracle("lgd_backtest_t")
    got = shortfall_test(np.array(case.inputs["realised"]), np.array(case.inputs["estimated"]))
    assert got.df == case.expected["df"]
    for name in ("mean_difference", "s", "t", "p_value"):
        assert getattr(got, name) == pytest.approx(case.expected[name], abs=case.tolerance), name


@given(shares)
def test_it_is_the_paired_t_test_of_scipy(pairs: list[tuple[float, float]]) -> None:
    real, est = (np.array(v) for v in zip(*pairs, strict=True))
    got = shortfall_test(real, est)
    if got.exact:
        assert got.p_value in (0.0, 1.0)
        return
    want = ttest_rel(real, est, alternative="greater")
    assert got.t == pytest.approx(want.statistic, rel=1e-6, abs=1e-9)
    assert got.p_value == pytest.approx(want.pvalue, rel=1e-6, abs=1e-9)


@given(shares)
def test_adding_to_both_changes_nothing_and_turning_them_turns_the_p(pairs: list[tuple[float, float]]) -> None:
    real, est = (np.round(np.array(v), 3) for v in zip(*pairs, strict=True))
    got, back = shortfall_test(real, est), shortfall_test(est, real)
    if not got.exact:
        moved = shortfall_test(real + 8.0, est + 8.0)
        assert moved.p_value == pytest.approx(got.p_value, abs=1e-7)
        assert back.p_value == pytest.approx(1.0 - (got.p_value or 0.0), abs=1e-9)


@pytest.mark.parametrize(("gap", "p"), [(0.1, 0.0), (0.0, 1.0), (-0.1, 1.0)])
def test_without_spread_there_is_a_verdict_and_no_test(gap: float, p: float) -> None:
    est = np.linspace(0.1, 0.9, 40)
    got = shortfall_test(est + gap, est)
    assert (got.exact, got.t, got.p_value) == (True, None, p)
    assert shortfall_bootstrap(est + gap, est) is None


def test_too_little_says_why() -> None:
    assert shortfall_test(np.empty(0), np.empty(0)).reason == "no observations"
    assert shortfall_test(np.ones(1), np.zeros(1)).reason == "a t-test needs two rows"
    assert "missing" in str(shortfall_test(np.array([np.nan, 1.0]), np.ones(2)).reason)
    assert shortfall_power(1, 0.3, 0.05) is None
    assert detectable_shortfall(1, 0.3).reason == "fewer than two rows"
    assert detectable_shortfall(9, 0.0).value is None
    with pytest.raises(EvidenceError, match="different lengths"):
        shortfall_test(np.ones(2), np.ones(3))


def test_the_bootstrap_agrees_with_the_t_test_where_rows_are_many() -> None:
    rng = np.random.default_rng(2)
    est = rng.random(400)
    real = est + rng.normal(0.015, 0.2, 400)
    drawn = shortfall_bootstrap(real, est, resamples=4000, seed=1)
    assert drawn == pytest.approx(shortfall_test(real, est).p_value, abs=0.02)
    assert drawn == shortfall_bootstrap(real, est, resamples=4000, seed=1)


@given(st.integers(2, 400), st.floats(0.05, 1.0), st.floats(0.0, 0.3))
def test_power_is_that_of_the_one_sided_t_test(n: int, s: float, shift: float) -> None:
    want = TTestPower().power(shift / s, n, 0.05, alternative="larger")
    if np.isfinite(want):
        assert shortfall_power(n, s, shift) == pytest.approx(want, abs=1e-6)


def test_power_at_what_is_detectable_is_what_was_asked() -> None:
    size = detectable_shortfall(300, 0.25).value
    assert size is not None
    assert shortfall_power(300, 0.25, size) == pytest.approx(0.8, abs=0.01)
    assert shortfall_power(10, 0.0, 0.05) == 1.0
    assert shortfall_power(10, 0.0, 0.0) == 0.0
    assert shortfall_power(200_000, 0.01, 0.05) == 1.0


def test_pools_are_merged_until_they_can_tell() -> None:
    rng = np.random.default_rng(5)
    gaps = tuple(rng.normal(0, 0.3, n) for n in (400, 15, 0, 60, 500, 8))
    blocks = power_pools(gaps, (0.05,) * 6)
    assert blocks == ((0,), (1, 3, 4, 5))
    assert power_pools(gaps[1:2], (0.05,)) == ((0,),)
    assert power_pools((), ()) == ()
    assert power_pools((gaps[0], gaps[4]), (0.0, 0.0)) == ((0, 1),)

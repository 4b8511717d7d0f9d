from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp, ttest_ind

from countermark.metrics.amounts import (
    amount_errors,
    calibration_line,
    coverage_ratio,
    error_difference,
    error_saved,
    loss_capture,
    mean_interval,
    pool_order,
)
from countermark.metrics.discrimination import cap
from tests.oracles import oracle

N = 300
RNG = np.random.default_rng(11)
EST = RNG.random(N)
REAL = 0.1 + 0.7 * EST + RNG.normal(0, 0.2, N) * EST
SHARES = st.lists(st.floats(0.01, 1.5), min_size=4, max_size=40)


def test_the_published_loss_capture() -> None:
    case = oracle("loss_capture_ratio")
    got = loss_capture(*(np.array(case.inputs[k]) for k in ("realised_lgd", "predicted_lgd", "ead")))
    assert got.area_model == pytest.approx(case.expected["area_model"], abs=case.tolerance)
    assert got.area_ideal == pytest.approx(case.expected["area_ideal"], abs=case.tolerance)
    assert got.ratio == pytest.approx(case.expected["loss_capture_ratio"], abs=case.tolerance)


def test_loss_capture_of_events_is_the_accuracy_ratio() -> None:
    y = (RNG.random(N) < EST).astype(int)
    assert loss_capture(y, EST).ratio == pytest.approx(cap(y, EST).accuracy_ratio, abs=1e-12)


@given(SHARES, st.integers(0, 9))
def test_loss_capture_knows_order_alone(values: list[float], seed: int) -> None:
    real = np.array(values)
    est = np.random.default_rng(seed).random(real.size).round(1)
    got = loss_capture(real, est)
    if got.ratio is None:
        return
    assert got.ratio <= 1.0 + 1e-9
    assert loss_capture(real * 3.0, np.exp(est)).ratio == pytest.approx(got.ratio, abs=1e-9)
    assert loss_capture(real, real).ratio == pytest.approx(1.0)
    assert loss_capture(real, np.full(real.size, 0.5)).ratio == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("real", "ead", "why"),
    [
        ([0.2, 0.2], [1.0, 1.0], "all realised loss rates are equal"),
        ([-0.1, 0.05], [1.0, 1.0], "losses sum to 0 or less"),
        ([0.1, 0.2], [1.0, -1.0], "an exposure is negative"),
        ([], [], "no observations"),
        ([np.nan, 0.1], [1.0, 1.0], "missing or infinite"),
    ],
)
def test_loss_capture_that_is_undefined_says_why(real: list[float], ead: list[float], why: str) -> None:
    got = loss_capture(np.array(real), np.arange(float(len(real))), np.array(ead))
    assert got.ratio is None
    assert why in str(got.reason)


def test_coverage_is_the_ratio_of_sums_with_its_bootstrap() -> None:
    got = coverage_ratio(REAL, EST, resamples=4000, seed=3)
    assert got.ratio == pytest.approx(REAL.sum() / EST.sum())
    want = bootstrap(
        (REAL, EST), lambda a, b: a.sum() / b.sum(), paired=True, vectorized=False, method="percentile",
        n_resamples=1500, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert got.interval == pytest.approx((want.low, want.high), abs=0.006)
    assert got == coverage_ratio(REAL, EST, resamples=4000, seed=3)


def test_coverage_that_is_undefined_says_why() -> None:
    assert coverage_ratio(np.ones(3), np.zeros(3)).reason == "the estimates sum to 0 or less"
    assert coverage_ratio(np.ones(1), np.ones(1)).interval is None
    assert "some resamples" in str(coverage_ratio(np.ones(3), np.array([-1.0, 0.4, 1.0])).reason)
    assert coverage_ratio(np.empty(0), np.empty(0)).ratio is None


def test_errors_by_their_definitions() -> None:
    got = amount_errors(REAL, EST)
    assert got.mae == pytest.approx(np.mean(np.abs(REAL - EST)))
    assert got.rmse == pytest.approx(np.sqrt(np.mean((REAL - EST) ** 2)))
    assert amount_errors(REAL, np.full(N, REAL.mean())).r_squared == pytest.approx(0.0, abs=1e-12)
    assert amount_errors(REAL, REAL).r_squared == 1.0
    assert amount_errors(np.ones(3), np.zeros(3)).reason == "the realised amounts do not vary"
    assert amount_errors(np.empty(0), np.empty(0)).mae is None


def test_the_line_is_least_squares_with_hc1() -> None:
    got = calibration_line(REAL, EST)
    fit = sm.OLS(REAL, sm.add_constant(EST)).fit(cov_type="HC1", use_t=True)
    assert (got.intercept, got.slope) == pytest.approx(tuple(fit.params))
    assert got.slope_interval == pytest.approx(tuple(fit.conf_int()[1]))
    assert calibration_line(REAL, np.ones(N)).reason == "the estimates do not vary"
    assert calibration_line(REAL[:2], EST[:2]).reason == "fewer than three rows"


def test_means_and_pools_by_student_and_welch() -> None:
    want = ttest_1samp(REAL, 0.0).confidence_interval()
    assert mean_interval(REAL).interval == pytest.approx((want.low, want.high))
    assert mean_interval(REAL[:1]).interval is None
    assert mean_interval(REAL[:0]).reason == "no observations"
    got = pool_order(REAL[:80], REAL[80:200] + 0.02)
    welch = ttest_ind(REAL[80:200] + 0.02, REAL[:80], equal_var=False, alternative="less")
    assert got.p_inversion == pytest.approx(welch.pvalue)
    assert got.df == pytest.approx(welch.df)
    assert pool_order(REAL[:1], REAL).reason == "a pool has fewer than two rows"
    assert pool_order(np.ones(3), np.zeros(3)).inverted


def test_errors_of_two_models_are_paired() -> None:
    rival = EST + 0.2
    got = error_difference(REAL, EST, rival)
    gap = (REAL - EST) ** 2 - (REAL - rival) ** 2
    assert got.difference == pytest.approx(gap.mean())
    want = ttest_1samp(gap, 0.0)
    assert got.p_two_sided == pytest.approx(want.pvalue, abs=0.01)
    absolute = error_difference(REAL, EST, rival, squared=False)
    assert absolute.difference == pytest.approx(np.mean(np.abs(REAL - EST) - np.abs(REAL - rival)))
    same = error_difference(REAL, EST, EST)
    assert (same.difference, same.p_two_sided) == (0.0, 1.0)
    assert error_difference(REAL[:1], EST[:1], EST[:1]).reason == "fewer than two observations"


def test_the_error_saved_is_one_less_the_ratio() -> None:
    rival = EST + 0.2
    got = error_saved(REAL, EST, rival)
    assert got.difference == pytest.approx(1.0 - np.mean((REAL - EST) ** 2) / np.mean((REAL - rival) ** 2))
    drawn = []
    for seed in range(400):
        rows = np.random.default_rng(seed).integers(0, N, N)
        drawn.append(error_saved(REAL[rows], EST[rows], rival[rows]).difference)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert got.interval == pytest.approx((low, high), abs=0.05)
    assert error_saved(REAL, EST, REAL).reason == "the second estimate makes no error"
    assert error_saved(REAL, EST, EST).interval == (0.0, 0.0)


def test_nothing_is_written_to_its_inputs() -> None:
    real, est = REAL.copy(), EST.copy()
    for values in (real, est):
        values.setflags(write=False)
    loss_capture(real, est)
    coverage_ratio(real, est, resamples=100)
    amount_errors(real, est)
    calibration_line(real, est)
    error_saved(real, est, est)
    assert np.array_equal(real, REAL)

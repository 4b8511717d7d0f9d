from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge

from countermark.errors import TrainingError
from countermark.training.calibration import fit_beta, fit_isotonic, fit_platt
from countermark.training.newton import fit_logistic, fit_ridge, settle


def drawn(p: np.ndarray, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(p.size) < p).astype(np.int8)


def design(n: int = 400, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, k))
    return x, drawn(expit(x @ np.linspace(-1, 1, k) - 0.7)).astype(np.float64)


def test_logistic_equals_scikit_learn() -> None:
    x, y = design()
    weight = np.where(y == 1, 3.0, 1.0)
    oracle = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(x, y, sample_weight=weight)
    coefficients, intercept = fit_logistic(x, y, weight=weight, penalty=2.0)
    np.testing.assert_allclose(coefficients, oracle.coef_[0], rtol=1e-6)
    assert intercept == pytest.approx(oracle.intercept_[0], rel=1e-6)


def test_logistic_of_one_binary_column_is_the_log_odds() -> None:
    x = np.repeat([0.0, 0.0, 1.0, 1.0], [30, 10, 5, 15])[:, None]
    y = np.repeat([0.0, 1.0, 0.0, 1.0], [30, 10, 5, 15])
    (slope,), intercept = fit_logistic(x, y)
    assert intercept == pytest.approx(np.log(10 / 30), abs=1e-12)
    assert slope == pytest.approx(np.log(15 / 5) - np.log(10 / 30), abs=1e-12)


def test_the_gradient_is_zero_at_the_fit() -> None:
    x, y = design()
    coefficients, intercept = fit_logistic(x, y, penalty=1.0)
    p = expit(x @ coefficients + intercept)
    assert np.abs(x.T @ (p - y) + coefficients).max() < 1e-10
    assert abs((p - y).sum()) < 1e-10


def test_ridge_equals_scikit_learn() -> None:
    x, _ = design()
    y = x @ np.arange(4.0) + np.random.default_rng(5).normal(size=len(x)) + 3
    oracle = Ridge(alpha=2.0).fit(x, y)
    coefficients, intercept = fit_ridge(x, y, penalty=2.0)
    np.testing.assert_allclose(coefficients, oracle.coef_, rtol=1e-9)
    assert intercept == pytest.approx(oracle.intercept_, rel=1e-9)


def test_copied_columns_without_penalty_are_refused() -> None:
    x, y = design()
    with pytest.raises(TrainingError, match="no single solution"):
        fit_logistic(np.column_stack([x[:, 0], x[:, 0]]), y)


def test_separated_classes_without_penalty_are_refused() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    with pytest.raises(TrainingError, match=r"did not reach its optimum|no single solution"):
        fit_logistic(x, (x[:, 0] > 0).astype(float), max_iter=20)


def test_settle_drops_what_is_zero_but_for_cancellation() -> None:
    assert settle(3.1e-17, 6) == 0.0
    assert settle(1.23456789, 6) == 1.23457
    assert settle(1.23456789 + 1e-13, 6) == settle(1.23456789, 6)


@given(st.floats(0.3, 3.0), st.floats(-2.0, 2.0))
def test_platt_recovers_its_own_parameters(slope: float, intercept: float) -> None:
    margin = np.random.default_rng(2).normal(size=60_000)
    fitted = fit_platt(margin, drawn(expit(slope * margin + intercept)))
    # About four standard errors at 60,000 rows.
    assert fitted == pytest.approx((slope, intercept), abs=0.15)


@given(st.floats(0.3, 2.0), st.floats(0.3, 2.0), st.floats(-1.0, 1.0))
def test_beta_recovers_its_own_parameters(a: float, b: float, c: float) -> None:
    margin = np.random.default_rng(2).normal(scale=2.0, size=60_000)
    log_s, log_not_s = -np.logaddexp(0, -margin), -np.logaddexp(0, margin)
    fitted = fit_beta(margin, drawn(expit(a * log_s - b * log_not_s + c)))
    assert fitted == pytest.approx((a, b, c), abs=0.2)


def test_beta_with_equal_parameters_is_platt() -> None:
    margin = np.random.default_rng(2).normal(scale=1.5, size=200_000)
    a, b, c = fit_beta(margin, drawn(expit(0.8 * margin - 1.0)))
    assert (a, b, c) == pytest.approx((0.8, 0.8, -1.0), abs=0.05)


def test_beta_holds_a_negative_parameter_at_zero() -> None:
    margin = np.random.default_rng(2).normal(scale=2.0, size=60_000)
    log_s, log_not_s = -np.logaddexp(0, -margin), -np.logaddexp(0, margin)
    a, b, _ = fit_beta(margin, drawn(expit(-0.4 * log_s - 1.2 * log_not_s)))
    assert a == 0.0
    assert b > 0.0
    a, b, _ = fit_beta(margin, drawn(expit(1.2 * log_s + 0.4 * log_not_s)))
    assert a > 0.0
    assert b == 0.0


def test_platt_matches_the_event_rate_and_never_turns_the_order() -> None:
    margin = np.random.default_rng(2).normal(size=4000)
    y = drawn(expit(margin - 1))
    for flip in (1, -1):
        slope, intercept = fit_platt(flip * margin, y)
        assert slope > 0
        assert expit(slope * flip * margin + intercept).mean() == pytest.approx(y.mean(), abs=1e-3)
        a, b, c = fit_beta(flip * margin, y)
        p = expit(-a * np.logaddexp(0, -flip * margin) + b * np.logaddexp(0, flip * margin) + c)
        assert min(a, b) >= 0
        assert a + b > 0
        assert p.mean() == pytest.approx(y.mean(), abs=1e-3)


@given(st.integers(0, 2**31), st.integers(5, 200), st.integers(2, 40))
def test_isotonic_equals_scikit_learn_inside_its_bounds(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    margin = rng.integers(0, levels, n) / 4.0
    margin[0], margin[1] = 0.0, 50.0
    y = (rng.random(n) < expit(margin - 3)).astype(np.int8)
    blocks = fit_isotonic(margin, y)
    oracle = IsotonicRegression().fit(margin, y).predict(margin)
    place = np.searchsorted(blocks.high, margin)
    np.testing.assert_allclose(blocks.p[place], np.clip(oracle, 1 / (n + 2), 1 - 1 / (n + 2)), atol=1e-6)
    assert blocks.n.sum() == n
    assert (np.diff(blocks.p) >= 0).all()
    assert 0 < blocks.p[0] <= blocks.p[-1] < 1
    assert (blocks.low[1:] > blocks.high[:-1]).all()


@pytest.mark.parametrize("fit", [fit_platt, fit_beta, fit_isotonic])
def test_a_constant_score_is_refused(fit: object) -> None:
    with pytest.raises(TrainingError, match="every row the same score"):
        fit(np.full(10, 0.25), np.array([0, 1] * 5, dtype=np.int8))  # type: ignore[operator]


@pytest.mark.parametrize("fit", [fit_platt, fit_beta])
def test_perfect_ranking_stays_finite(fit: object) -> None:
    margin = np.linspace(-3, 3, 100)
    parameters = fit(margin, (margin > 0).astype(np.int8))  # type: ignore[operator]
    assert np.isfinite(parameters).all()


@pytest.mark.parametrize("fit", [fit_platt, fit_beta])
def test_last_bits_of_the_margin_change_nothing(fit: object) -> None:
    margin = np.random.default_rng(2).normal(size=5000)
    y = drawn(expit(margin))
    nudged = margin * (1 + 3e-16 * np.random.default_rng(3).normal(size=margin.size))
    assert fit(margin, y) == fit(nudged, y)  # type: ignore[operator]

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from countermark.errors import EvidenceError
from countermark.metrics import reliability as rel
from countermark.metrics.challenger import brier_difference, swap_set
from tests.oracles import oracle


@st.composite
def forecasts(draw):
    size = draw(st.integers(4, 60))
    p = np.array(draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))) / 20
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    y = (rng.random(size) < 0.4).astype(np.int8)
    y[:2] = (0, 1)
    y.setflags(write=False)
    p.setflags(write=False)
    return y, p


def test_brier_and_murphy_match_the_worked_example():
    example = oracle("brier_murphy_decomposition")
    y, p = example.rows()
    got = rel.brier(y, p)
    example.check("brier", got.value)
    example.check("brier_skill_score", got.skill)
    example.check("uncertainty", got.uncertainty)
    parts = rel.murphy(y, p, np.unique(p, return_inverse=True)[1])
    for key in ("brier", "reliability", "resolution", "uncertainty"):
        example.check(key, getattr(parts, key))
    assert parts.residual == pytest.approx(0.0, abs=1e-15)
    assert oracle("spiegelhalter_z").expected["expected_brier"] == pytest.approx(
        rel.brier(*(np.array(oracle("spiegelhalter_z").inputs[k]) for k in ("y", "p"))).expected
    )


def test_murphy_prints_the_residual_where_groups_mix_probabilities():
    y, p = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.6, 0.4])
    got = rel.murphy(y, p, np.array([0, 0, 1, 1]))
    assert got.residual != 0.0
    assert got.brier == pytest.approx(got.reliability - got.resolution + got.uncertainty + got.residual)
    with pytest.raises(EvidenceError, match="outcome and group have different lengths"):
        rel.murphy(y, p, np.zeros(3))


@given(forecasts())
def test_brier_identities_hold(data):
    y, p = data
    assert rel.brier(y, p).value == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    got = rel.corp(y, p)
    assert got.brier == pytest.approx(got.miscalibration - got.discrimination + got.uncertainty, abs=1e-14)
    assert got.miscalibration >= -1e-15
    assert got.discrimination >= -1e-15
    parts = rel.murphy(y, p, np.unique(p, return_inverse=True)[1])
    assert parts.reliability - parts.resolution == pytest.approx(got.miscalibration - got.discrimination, abs=1e-12)


@given(forecasts())
def test_pav_equals_scikit_learn(data):
    y, p = data
    got = rel.corp(y, p)
    iso = IsotonicRegression(y_min=0, y_max=1).fit(p, y)
    np.testing.assert_allclose(got.fitted, iso.predict(got.p), atol=1e-12)
    assert np.all(np.diff(got.fitted) >= 0)
    assert got.n.sum() == y.size
    assert rel.pav(np.zeros(0), np.zeros(0)).size == 0


def test_corp_of_a_recalibrated_forecast_has_no_miscalibration():
    rng = np.random.default_rng(0)
    p = rng.random(500)
    y = (rng.random(500) < p**2).astype(int)
    first = rel.corp(y, p)
    again = rel.corp(y, first.fitted[np.searchsorted(first.p, p)])
    assert first.miscalibration_share > 0.05
    assert again.miscalibration == pytest.approx(0.0, abs=1e-15)
    assert again.discrimination == pytest.approx(first.discrimination, abs=1e-14)


def test_consistency_band_holds_a_sound_curve_and_not_a_wrong_one():
    rng = np.random.default_rng(2)
    p = np.round(rng.uniform(0.02, 0.4, 3000), 3)
    y = rng.random(3000) < p
    grid = np.quantile(p, np.linspace(0.05, 0.95, 15))
    band = rel.consistency_band(p, grid, resamples=200, seed=4)
    assert np.all((band.low <= grid + 0.02) & (grid - 0.02 <= band.high))

    def outside(observed):
        curve = rel.corp(observed, p)
        at = curve.fitted[np.searchsorted(curve.p, grid, side="right") - 1]
        return np.mean((at < band.low) | (at > band.high))

    assert outside(y) <= 0.2
    assert outside(rng.random(3000) < 2 * p) >= 0.8
    np.testing.assert_array_equal(band.low, rel.consistency_band(p, grid, resamples=200, seed=4).low)
    empty = rel.consistency_band(np.zeros(0), grid)
    assert empty.resamples == 0
    assert np.isnan(empty.low).all()


def test_slope_equals_statsmodels_and_finds_planted_errors():
    rng = np.random.default_rng(8)
    p = rng.uniform(0.02, 0.6, 4000)
    y = (rng.random(4000) < p).astype(int)
    got = rel.recalibration(y, p)
    other = sm.Logit(y, sm.add_constant(logit(p))).fit(disp=0, tol=1e-12)
    assert got.intercept == pytest.approx(other.params[0], abs=1e-7)
    assert got.slope == pytest.approx(other.params[1], abs=1e-7)
    np.testing.assert_allclose(got.slope_interval, other.conf_int()[1], atol=1e-6)
    assert got.slope_interval[0] < 1 < got.slope_interval[1]
    assert got.p_value > 0.01
    # In the large: the score equation says that shifted probabilities sum to the events.
    shifted = 1 / (1 + np.exp(-(logit(p) + got.in_the_large)))
    assert shifted.sum() == pytest.approx(y.sum(), abs=1e-6)
    extreme = rel.recalibration(y, 1 / (1 + np.exp(-2 * logit(p))))
    assert extreme.slope == pytest.approx(got.slope / 2, abs=1e-6)
    half = rel.recalibration(y, p / 2)
    assert half.in_the_large_interval[0] > 0.3
    assert half.p_value < 1e-6


def test_a_fit_that_does_not_converge_is_said(monkeypatch):
    monkeypatch.setattr(rel, "MAX_ITERATIONS", 1)
    y, p = np.tile([0, 1, 0, 1], 10), np.tile([0.01, 0.02, 0.9, 0.3], 10)
    assert rel.recalibration(y, p).reason == "the fit did not converge"


def test_undefined_slopes_give_a_reason():
    y = np.array([0, 1, 0, 1])
    assert rel.recalibration(y, np.full(4, 0.3)).reason == "all probabilities are equal: no slope"
    separated = rel.recalibration(y, np.array([0.1, 0.9, 0.2, 0.8]))
    assert separated.reason == "perfect separation: the slope has no finite value"
    assert rel.recalibration(y, np.array([0.9, 0.1, 0.9, 0.2])).reason.startswith("perfect separation")
    assert rel.recalibration(np.zeros(3), np.full(3, 0.3)).reason == "no events"
    clipped = rel.recalibration(np.array([0, 1, 0, 1, 1]), np.array([0.0, 1.0, 0.8, 0.3, 0.4]))
    assert clipped.clipped == 2
    assert clipped.slope is not None


def test_calibration_error_matches_the_worked_example():
    example = oracle("expected_calibration_error")
    i = example.inputs
    got = rel.calibration_error(np.array(i["y"]), np.array(i["p"]), np.array(i["edges"]))
    example.check("ece", got.value)
    assert (got.n.sum(), got.outside) == (10, 0)
    closed = rel.calibration_error(np.array([1, 0]), np.array([1.0, 0.5]), np.array([0, 0.5, 1.0]))
    assert closed.n.tolist() == [0, 2]
    assert rel.calibration_error(np.array([1]), np.array([0.9]), np.array([0, 0.5])).reason is not None
    assert rel.calibration_error(np.array([]), np.array([]), np.array([0, 1])).reason == "no observations"
    with pytest.raises(EvidenceError, match="bin edges do not ascend"):
        rel.calibration_error(np.array([1]), np.array([0.9]), np.array([0.5, 0.5]))


def test_quantile_edges_share_rows_evenly():
    p = np.random.default_rng(0).random(1000)
    edges = rel.quantile_edges(p, 10)
    assert edges.size == 11
    assert np.histogram(p, edges)[0].min() >= 99
    assert rel.quantile_edges(np.full(9, 0.2), 10).tolist() == [0.0, 0.2, 1.0]
    assert rel.quantile_edges(np.zeros(0), 5).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("y", "p", "reason"), [
    ([], [], "no observations"),
    ([0, 1], [0.5, np.nan], "1 scores are missing or infinite"),
    ([0, 1], [0.5, 1.5], "a probability is outside 0..1"),
])  # fmt: skip
def test_undefined_scores_give_a_reason(y, p, reason):
    y, p = np.array(y), np.array(p, dtype=float)
    assert rel.brier(y, p).reason == reason
    assert rel.murphy(y, p, np.zeros(y.size)).reason == reason
    assert rel.corp(y, p).reason == reason
    assert rel.recalibration(y, p).reason == reason


@pytest.mark.parametrize("events", [0, 1, 5, 10, 30])
def test_small_samples_never_crash(events):
    y = np.repeat([1, 0], [events, 30])
    p = np.linspace(0.01, 0.6, y.size)
    one_class = rel.corp(y, p)
    assert (one_class.brier is None) == (events == 0)
    assert (one_class.miscalibration_share is None) == (events == 0)
    assert (rel.brier(y, p).skill is None) == (events == 0)
    rel.recalibration(y, p)


def test_swap_set_counts_by_hand():
    y = np.array([0, 1, 0, 1, 0, 0])
    champion = np.array([1.0, 6, 2, 5, 3, 4])
    challenger = np.array([1.0, 2, 3, 6, 5, 4])
    got = swap_set(y, champion, challenger, 0.5)
    assert got.approved == 3
    assert (got.both.n, got.both.events) == (2, 0)
    assert (got.swapped_in.n, got.swapped_in.events, got.swapped_in.rate) == (1, 0, 0.0)
    assert (got.swapped_out.n, got.swapped_out.events, got.swapped_out.rate) == (1, 1, 1.0)
    assert (got.neither.n, got.neither.events) == (2, 1)
    assert swap_set(y, champion, champion, 0.5).swapped_in.n == 0
    tied = swap_set(y, champion, np.zeros(6), 0.5)
    assert (tied.tied, tied.swapped_in.n) == (6, 0)
    assert swap_set(y, champion, challenger, 0.0).both.n == 0
    assert swap_set(y, champion, challenger, 1.1).reason == "the approval rate is outside 0..1"
    assert swap_set(np.array([]), np.array([]), np.array([]), 0.5).reason == "no observations"
    assert swap_set(y, champion, challenger, 0.0).swapped_in.rate is None


@given(forecasts(), st.floats(0, 1))
def test_swap_set_is_balanced(data, rate):
    y, p = data
    got = swap_set(y, p, p[::-1].copy(), rate)
    assert got.swapped_in.n == got.swapped_out.n
    cells = (got.both, got.swapped_in, got.swapped_out, got.neither)
    assert sum(c.n for c in cells) == y.size
    assert sum(c.events for c in cells) == y.sum()
    assert got.both.n + got.swapped_in.n == got.approved


def test_brier_difference():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.4, 3000)
    y = (rng.random(3000) < p).astype(int)
    got = brier_difference(y, p, np.full(3000, p.mean()))
    assert got.difference == pytest.approx(rel.brier(y, p).value - rel.brier(y, np.full(3000, p.mean())).value)
    assert got.interval[1] < 0
    assert got.p_two_sided < 0.001
    assert brier_difference(y, p, p).reason == "the difference does not vary between rows"
    assert brier_difference(y[:1], p[:1], p[:1]).reason == "fewer than two observations"

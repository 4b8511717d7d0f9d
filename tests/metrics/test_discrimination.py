from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc

from countermark.errors import EvidenceError
from countermark.metrics import discrimination as disc
from countermark.metrics.precision import (
    average_precision,
    precision_at_k,
    precision_recall_curve,
    recall_at_fpr,
)
from tests.oracles import oracle


@st.composite
def scored(draw, minimum=2):
    """Outcomes of both classes with a score that has many ties."""
    n_bad, n_good = draw(st.integers(minimum, 25)), draw(st.integers(minimum, 25))
    y = np.array([1] * n_bad + [0] * n_good, dtype=np.int8)
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=y.size, max_size=y.size)), dtype=np.float64)
    order = np.random.default_rng(draw(st.integers(0, 1000))).permutation(y.size)
    y, score = y[order], score[order]
    y.setflags(write=False)
    score.setflags(write=False)
    return y, score


def brute_placements(y, s):
    psi = (s[y == 1][:, None] > s[y == 0][None, :]) + 0.5 * (s[y == 1][:, None] == s[y == 0][None, :])
    return psi.mean(), psi.mean(axis=1), psi.mean(axis=0)


def test_auc_of_grades_matches_the_worked_example():
    example = oracle("auc_delong_grades")
    got = disc.auc(*example.rows())
    example.check("auc", got.value)
    example.check("variance", got.variance)
    example.check("se", got.se)
    example.check("gini", got.gini)
    example.check("ci95_normal", got.normal)
    example.check("ci95_logit", got.logit)
    assert (got.events, got.non_events) == (36, 1314)


def test_variance_agrees_with_the_large_sample_form_of_gauc():
    example = oracle("gauc_reduces_to_auc")
    good, bad = example.inputs["table_rows_nondefault_default"]
    s = np.repeat(np.tile(np.arange(5.0), 2), np.array(good + bad))
    y = np.repeat([0, 1], [sum(good), sum(bad)])
    example.check("gauc", disc.auc(y, s).value)
    _, v10, v01 = brute_placements(y, s)
    example.check("se_gauc", math.sqrt(np.var(v10) / v10.size + np.var(v01) / v01.size))


@given(scored())
def test_auc_and_variance_equal_brute_force_placements(data):
    y, s = data
    got = disc.auc(y, s)
    value, v10, v01 = brute_placements(y, s)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert got.value == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert got.variance == pytest.approx(np.var(v10, ddof=1) / v10.size + np.var(v01, ddof=1) / v01.size, abs=1e-12)


@given(scored())
def test_rank_statistics_survive_a_monotone_transform(data):
    y, s = data
    for other in (np.exp(s / 3), 7 * s - 100, s**3):
        assert disc.auc(y, other).value == disc.auc(y, s).value
        assert disc.ks(y, other).value == disc.ks(y, s).value
        assert average_precision(y, other).value == average_precision(y, s).value


@given(scored())
def test_flipping_the_label_gives_one_minus_auc(data):
    y, s = data
    assert disc.auc(1 - y, s).value == pytest.approx(1 - disc.auc(y, s).value, abs=1e-12)
    assert disc.auc(1 - y, s).variance == pytest.approx(disc.auc(y, s).variance, abs=1e-12)


@given(scored())
def test_cap_ratio_is_the_gini_and_roc_integrates_to_the_auc(data):
    y, s = data
    area = disc.auc(y, s)
    assert disc.cap(y, s).accuracy_ratio == pytest.approx(area.gini, abs=1e-12)
    curve = disc.roc_curve(y, s)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(area.value, abs=1e-12)
    fpr, tpr, _ = sklearn_roc(y, s, drop_intermediate=False)
    np.testing.assert_allclose((curve.x, curve.y), (fpr, tpr), atol=1e-12)


def test_cap_matches_the_worked_example_and_refuses_another_area():
    example = oracle("cap_accuracy_ratio")
    got = disc.cap(*example.rows())
    example.check("cap_area", got.area)
    example.check("accuracy_ratio", got.accuracy_ratio)
    with pytest.raises(EvidenceError, match="accuracy ratio and Gini differ"):
        disc.require_same_area(0.5, 0.51)
    with pytest.raises(EvidenceError, match="accuracy ratio and Gini differ"):
        disc.require_same_area(math.nan, 0.5)


def test_ks_matches_the_worked_example():
    example = oracle("ks_grades")
    y, s = example.rows()
    got = disc.ks(y, s)
    example.check("ks", got.value)
    example.check("at_grade", got.index + 1)
    assert got.threshold == example.inputs["pd"][got.index]


@given(scored())
def test_ks_equals_scipy(data):
    y, s = data
    assert disc.ks(y, s).value == pytest.approx(ks_2samp(s[y == 1], s[y == 0]).statistic, abs=1e-12)


def test_deterioration_matches_the_worked_example():
    example = oracle("ecb_auc_current_vs_initial")
    i = example.inputs
    got = disc.auc_deterioration(
        i["auc_initial"], i["auc_current"], i["se_current"], se_initial=i["se_initial_optional"]
    )
    example.check("S", got.s)
    example.check("p_value", got.p)
    example.check("S_with_initial_variance", got.s_both)
    example.check("p_with_initial_variance", got.p_both)
    alone = disc.auc_deterioration(i["auc_initial"], i["auc_current"], i["se_current"])
    assert alone.s == got.s
    assert alone.s_both is None
    assert disc.auc_deterioration(0.8, 0.7, 0.0).reason == "the standard error of the current AUC is 0"
    assert disc.auc_deterioration(0.8, None, None).s is None


@given(scored(), st.integers(0, 99))
def test_paired_difference_equals_brute_force(data, seed):
    y, a = data
    b = a + np.random.default_rng(seed).integers(-3, 4, a.size)
    got = disc.auc_difference(y, a, b)
    (va, a10, a01), (vb, b10, b01) = brute_placements(y, a), brute_placements(y, b)
    variance = np.var(a10 - b10, ddof=1) / a10.size + np.var(a01 - b01, ddof=1) / a01.size
    assert got.difference == pytest.approx(va - vb, abs=1e-12)
    assert got.variance == pytest.approx(variance, abs=1e-12)
    (aa, ab), (ba, bb) = got.covariance
    assert aa + bb - ab - ba == pytest.approx(variance, abs=1e-12)
    assert aa == pytest.approx(disc.auc(y, a).variance, abs=1e-12)
    if variance > 1e-12:
        z = (va - vb) / math.sqrt(variance)
        assert got.p_two_sided == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=1e-12)
        assert got.p_worse == pytest.approx(0.5 * math.erfc(-z / math.sqrt(2)), abs=1e-12)


def test_same_ranking_has_no_difference():
    y, s = oracle("auc_delong_grades").rows()
    got = disc.auc_difference(y, s, np.log(s))
    assert (got.difference, got.p_two_sided, got.interval) == (0.0, 1.0, (0.0, 0.0))


def test_no_variance_of_a_real_difference_is_said():
    got = disc.auc_difference(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    assert got.difference == 1.0
    assert got.p_two_sided is None
    assert got.reason == "variance of the difference is 0"


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    truth, hits = 0.7602499389, 0  # Phi(1 / sqrt 2)
    for _ in range(300):
        y = np.repeat([1, 0], [60, 200])
        got = disc.auc(y, rng.normal(size=260) + y)
        hits += got.interval[0] <= truth <= got.interval[1]
    assert 0.90 <= hits / 300 <= 0.985


def test_bootstrap_agrees_with_delong_and_widens_with_clusters():
    rng = np.random.default_rng(3)
    y = np.repeat([1, 0], [150, 450])
    s = np.round(rng.normal(size=600) + y, 1)
    delong = disc.auc(y, s).interval
    rows = disc.auc_bootstrap(y, s, resamples=600, seed=1)
    np.testing.assert_allclose(rows.interval, delong, atol=0.012)
    assert rows == disc.auc_bootstrap(y, s, resamples=600, seed=1)
    twice = disc.auc_bootstrap(np.tile(y, 4), np.tile(s, 4), cluster=np.tile(np.arange(600), 4), resamples=600, seed=1)
    assert twice.clusters == 600
    naive = disc.auc(np.tile(y, 4), np.tile(s, 4)).interval
    assert (twice.interval[1] - twice.interval[0]) > 1.7 * (naive[1] - naive[0])
    with pytest.raises(EvidenceError, match="outcome and cluster have different lengths"):
        disc.auc_bootstrap(y, s, cluster=np.arange(3))
    assert disc.auc_bootstrap(np.zeros(5), np.arange(5.0)).reason == "no events"


@pytest.mark.parametrize(
    ("y", "s", "reason"),
    [
        ([], [], "no observations"),
        ([0, 0, 0], [1, 2, 3], "no events"),
        ([1, 1], [1, 2], "no non-events"),
        ([0, 1, 1], [1, np.nan, np.inf], "2 scores are missing or infinite"),
    ],
)
def test_undefined_statistics_give_a_reason(y, s, reason):
    y, s = np.array(y), np.array(s, dtype=float)
    assert disc.auc(y, s).value is None
    for got in (
        disc.auc(y, s),
        disc.auc_difference(y, s, s),
        disc.ks(y, s),
        disc.cap(y, s),
        disc.roc_curve(y, s),
        disc.auc_bootstrap(y, s),
        average_precision(y, s),
        recall_at_fpr(y, s, 0.1),
    ):
        assert got.reason == reason


def test_perfect_separation_has_a_degenerate_interval_and_says_so():
    y = np.repeat([0, 1], [40, 20])
    got = disc.auc(y, y.astype(float))
    assert (got.value, got.variance, got.normal, got.logit) == (1.0, 0.0, None, None)
    assert got.interval == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert got.reason == "perfect separation: DeLong variance is 0"
    assert disc.auc(y, -y.astype(float)).interval == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    flat = disc.auc(y, np.ones(60))
    assert (flat.value, flat.interval) == (0.5, None)
    assert flat.reason == "DeLong variance is 0: the score does not vary within the classes"
    assert disc.auc(np.array([1, 0, 0]), np.array([1.0, 2, 0])).reason.startswith("fewer than two events")
    assert disc.auc_difference(np.array([1, 0, 0]), np.arange(3.0), np.arange(3.0)).p_two_sided is None


def test_wrong_arrays_are_refused():
    with pytest.raises(EvidenceError, match="other values than 0 and 1"):
        disc.auc(np.array([0, 2]), np.array([0.0, 1.0]))
    with pytest.raises(EvidenceError, match="outcome and score have different lengths"):
        disc.auc(np.array([0, 1]), np.array([0.0]))
    with pytest.raises(EvidenceError, match="the outcome has the wrong shape"):
        disc.auc(np.zeros((2, 2)), np.zeros((2, 2)))


def test_average_precision_matches_the_worked_example():
    example = oracle("average_precision")
    got = average_precision(np.array(example.inputs["y"]), np.array(example.inputs["score"]))
    example.check("average_precision", got.value)
    example.check("no_skill_baseline", got.prevalence)


@given(scored())
def test_average_precision_equals_scikit_learn(data):
    y, s = data
    assert average_precision(y, s).value == pytest.approx(average_precision_score(y, s), abs=1e-12)
    assert precision_recall_curve(y, s).x[-1] == 1.0


def test_ties_at_the_cut_count_by_share():
    y = np.array([1, 0, 1, 1, 0, 0])
    s = np.array([0.9, 0.8, 0.5, 0.5, 0.5, 0.1])
    got = precision_at_k(y, s, 3)
    assert got.value == pytest.approx((1 + 2 / 3) / 3)
    assert (got.tied, got.flagged) == (3, True)
    assert precision_at_k(y, s, 5) == precision_at_k(y, s, 5)
    assert precision_at_k(y, s, 5).tied == 0
    assert precision_at_k(y, s, 5).value == pytest.approx(3 / 5)
    assert precision_at_k(y, s, 7).reason == "k = 7 is outside 1..6"


@given(scored(), st.integers(1, 40))
def test_precision_at_k_is_the_mean_over_tie_breaks(data, k):
    y, s = data
    if k > y.size:
        assert precision_at_k(y, s, k).value is None
        return
    rng = np.random.default_rng(0)
    picks = [y[np.lexsort((rng.random(y.size), -s))[:k]].mean() for _ in range(400)]
    assert precision_at_k(y, s, k).value == pytest.approx(np.mean(picks), abs=0.12)


def test_recall_at_a_false_positive_rate():
    y = np.array([1, 0, 1, 0, 1, 0, 0, 1, 0])
    s = np.array([9.0, 8, 7, 6, 5, 5, 5, 5, 1])
    assert recall_at_fpr(y, s, 0.2).value == 0.5
    assert recall_at_fpr(y, s, 0.3).value == 0.5
    assert recall_at_fpr(y, s, 0.4).value == 0.5
    tie = recall_at_fpr(y, s, 0.6)
    assert tie.value == pytest.approx(0.75)
    assert (tie.tied, tie.flagged) == (4, True)
    assert recall_at_fpr(y, s, 1.0).value == 1.0
    assert recall_at_fpr(y, s, 1.5).reason == "false positive rate 1.5 is outside 0..1"
    assert recall_at_fpr(np.array([0, 1, 0]), np.array([3.0, 2, 1]), 0.2).value == 0.0


def test_thinned_curve_keeps_its_ends():
    rng = np.random.default_rng(0)
    y = (rng.random(5000) < 0.2).astype(int)
    curve = disc.roc_curve(y, rng.random(5000) + y)
    thin = disc.thin_curve(curve, 60)
    assert thin.x.size <= 60
    assert (thin.x[0], thin.x[-1], thin.y[-1]) == (0.0, 1.0, 1.0)
    assert np.trapezoid(thin.y, thin.x) == pytest.approx(np.trapezoid(curve.y, curve.x), abs=0.01)
    assert disc.thin_curve(thin, 60) is thin


@pytest.mark.parametrize("events", [0, 1, 5, 10, 30])
def test_small_samples_never_crash(events):
    y = np.repeat([1, 0], [events, 100])
    s = np.arange(y.size, dtype=float) % 17
    got = disc.auc(y, s)
    assert (got.value is None) == (events == 0)
    assert (got.interval is None) == (events < 2)
    disc.auc_difference(y, s, -s)
    disc.cap(y, s)
    disc.ks(y, s)
    disc.auc_bootstrap(y, s, resamples=20)

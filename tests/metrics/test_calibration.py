from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom, binomtest, chi2, norm, ttest_1samp

from countermark.errors import EvidenceError
from countermark.metrics import calibration as cal
from tests.oracles import oracle


@pytest.mark.parametrize("name", ["jeffreys_pd_portfolio", "jeffreys_zero_defaults", "jeffreys_tiny_grade"])
def test_jeffreys_matches_the_worked_example(name):
    example = oracle(name)
    got = cal.jeffreys_test(example.inputs["n"], example.inputs["d"], example.inputs["pd"])
    example.check("p_value", got.p_value)
    example.check("alpha", got.alpha)
    example.check("beta", got.beta)
    example.check("observed_dr", got.observed)


def test_binomial_matches_the_worked_examples():
    example = oracle("binomial_one_sided")
    n, d, pd = (example.inputs[k] for k in ("n", "d", "pd"))
    example.check("p_value", cal.binomial_test(n, d, pd).value)
    example.check("critical_d_95", cal.binomial_critical(n, pd, 0.95))
    example.check("critical_d_99", cal.binomial_critical(n, pd, 0.99))
    oracle("binomial_mid_p").check("mid_p", cal.binomial_mid_p(n, d, pd).value)
    assert cal.binomial_mid_p(n, d, pd).value == pytest.approx(cal.jeffreys_test(n, d, pd).p_value, abs=0.005)


@given(st.integers(1, 500), st.floats(0.001, 0.999), st.data())
def test_binomial_equals_scipy_and_its_critical_count_is_the_first(n, pd, data):
    d = data.draw(st.integers(0, n))
    exact = binomtest(d, n, pd, alternative="greater").pvalue
    assert cal.binomial_test(n, d, pd).value == pytest.approx(exact, abs=1e-12)
    k = cal.binomial_critical(n, pd, 0.95)
    assert binom.sf(k - 1, n, pd) <= 0.05
    assert k == 0 or binom.sf(k - 2, n, pd) > 0.05
    mid = cal.binomial_mid_p(n, d, pd).value
    assert mid == pytest.approx(binomtest(d, n, pd, alternative="greater").pvalue - binom.pmf(d, n, pd) / 2, abs=1e-12)


def reference_correlated(n, d, pd, rho):
    x = np.linspace(-10, 10, 4001)  # the trapezoid converges faster than any power here
    q = norm.cdf((norm.ppf(pd) + math.sqrt(rho) * x) / math.sqrt(1 - rho))
    return float(np.trapezoid(norm.pdf(x) * binom.sf(d - 1, n, q), x))


@given(st.integers(20, 400), st.floats(0.01, 0.2), st.floats(0.01, 0.3), st.floats(0, 1))
def test_correlated_binomial_equals_a_dense_sum(n, pd, rho, share):
    d = max(1, round(n * min(3 * pd, 1) * share))
    assert cal.binomial_correlated(n, d, pd, rho).value == pytest.approx(reference_correlated(n, d, pd, rho), abs=1e-9)


def test_correlated_binomial_is_a_distribution():
    total = sum(
        cal.binomial_correlated(30, d, 0.1, 0.15).value - cal.binomial_correlated(30, d + 1, 0.1, 0.15).value * (d < 30)
        for d in range(31)
        if d < 30
    )
    total += cal.binomial_correlated(30, 30, 0.1, 0.15).value
    assert total == pytest.approx(1.0, abs=1e-9)
    mean = sum(cal.binomial_correlated(30, d, 0.1, 0.15).value for d in range(1, 31))
    assert mean == pytest.approx(3.0, abs=1e-8)  # sum of tails = mean = n PD, whatever rho is


def test_correlated_binomial_limits():
    assert cal.binomial_correlated(1000, 12, 0.008, 0.0).value == cal.binomial_test(1000, 12, 0.008).value
    assert cal.binomial_correlated(1000, 20, 0.008, 0.05).value > 20 * cal.binomial_test(1000, 20, 0.008).value
    # A large pool loses its own chance: the tail is that of the factor alone.
    n, pd, rho = 200_000, 0.02, 0.08
    rate = cal.critical_rate(pd, rho, 0.95)
    assert cal.binomial_correlated(n, math.ceil(rate * n), pd, rho).value == pytest.approx(0.05, abs=2e-4)
    with pytest.raises(EvidenceError, match="an asset correlation is impossible"):
        cal.binomial_correlated(10, 1, 0.1, 1.0)
    with pytest.raises(EvidenceError, match="an asset correlation is impossible"):
        cal.critical_rate(0.1, -0.1, 0.95)


def test_vasicek_mean_is_the_pd():
    mean = quad(lambda u: cal.critical_rate(0.03, 0.2, u), 0, 1, limit=200)[0]
    assert mean == pytest.approx(0.03, abs=1e-6)


def test_retail_correlation_has_basel_ends():
    assert cal.retail_correlation(0.0) == pytest.approx(0.16)
    assert cal.retail_correlation(1.0) == pytest.approx(0.03)
    assert cal.retail_correlation(0.02) == pytest.approx(0.03 + 0.13 * math.exp(-0.7), abs=1e-12)


def test_multi_year_equals_student_then_normal():
    rng = np.random.default_rng(0)
    for periods in (4, 19, 20, 40):
        rate, pd = rng.normal(0.03, 0.01, periods), np.full(periods, 0.025)
        got = cal.multi_year_normal(rate, pd)
        other = ttest_1samp(rate - pd, 0.0, alternative="greater")
        assert got.z == pytest.approx(other.statistic)
        if periods < 20:
            assert (got.df, got.p_upper) == (periods - 1, pytest.approx(other.pvalue))
        else:
            assert got.p_upper == pytest.approx(norm.sf(other.statistic))
    assert cal.multi_year_normal(np.ones(3), np.ones(3)).reason == "3 periods, at least 4 are needed"
    assert cal.multi_year_normal(np.ones(5), np.zeros(5)).reason == "the gap does not vary between periods"
    with pytest.raises(EvidenceError, match="different lengths"):
        cal.multi_year_normal(np.ones(3), np.ones(4))


def test_hosmer_lemeshow_matches_the_worked_example():
    example = oracle("hosmer_lemeshow_grades")
    n, d, pd = (np.array(example.inputs[k]) for k in ("n", "d", "pd"))
    got = cal.hosmer_lemeshow(n, d, pd)
    example.check("statistic", got.statistic)
    example.check("df_fixed_pd", got.df)
    example.check("p_value_fixed_pd", got.p_value)
    fitted = cal.hosmer_lemeshow(n, d, pd, fitted=True)
    example.check("df_fitted", fitted.df)
    example.check("p_value_fitted", fitted.p_value)
    assert got.merged == 0


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1), st.floats(0.001, 0.6)), min_size=1, max_size=9),
    st.randoms(),
)
def test_hosmer_lemeshow_does_not_depend_on_grade_order(groups, shuffle):
    def test(rows):
        n = np.array([r[0] for r in rows])
        return cal.hosmer_lemeshow(n, np.array([round(r[0] * r[1]) for r in rows]), np.array([r[2] for r in rows]))

    other = list(groups)
    shuffle.shuffle(other)
    assert test(groups) == test(other)


def test_hosmer_lemeshow_merges_thin_neighbours():
    got = cal.hosmer_lemeshow(np.array([50, 60, 400, 0]), np.array([1, 2, 40, 0]), np.array([0.01, 0.05, 0.1, 0.2]))
    # 0.5 and 3 expected: both below 5, so the first two are joined (3.5), then with the third (43.5).
    assert (got.groups, got.merged, got.df) == (1, 2, 1)
    assert got.statistic == pytest.approx((43 - 43.5) ** 2 / (43.5 * (1 - 43.5 / 510)))
    assert got.p_value == pytest.approx(chi2.sf(got.statistic, 1))
    zero = cal.hosmer_lemeshow(np.array([100, 900]), np.array([0, 90]), np.array([0.0, 0.1]))
    assert (zero.groups, zero.merged) == (1, 1)
    thin = cal.hosmer_lemeshow(np.array([5, 6]), np.array([0, 1]), np.array([0.1, 0.2]))
    assert thin.reason == "expected counts below 5 even when merged"
    assert cal.hosmer_lemeshow(np.zeros(2), np.zeros(2), np.full(2, 0.1)).reason == "no observations"
    few = cal.hosmer_lemeshow(np.array([500, 500]), np.array([50, 60]), np.array([0.1, 0.1]), fitted=True)
    assert few.reason == "2 groups leave no degree of freedom"
    for n, d in (([3], [4]), ([-1], [0])):
        with pytest.raises(EvidenceError, match="counts per group are impossible"):
            cal.hosmer_lemeshow(np.array(n), np.array(d), np.array([0.1]))
    with pytest.raises(EvidenceError, match="counts per group have different lengths"):
        cal.hosmer_lemeshow(np.array([3]), np.array([1, 1]), np.array([0.1]))


def test_spiegelhalter_matches_the_worked_example():
    example = oracle("spiegelhalter_z")
    got = cal.spiegelhalter(np.array(example.inputs["y"]), np.array(example.inputs["p"]))
    example.check("z", got.z)
    example.check("p_two_sided", got.p_two_sided)
    half = cal.spiegelhalter(np.array([0, 1]), np.array([0.5, 0.5]))
    assert half.reason == "all probabilities are 0, 1/2 or 1"
    assert cal.spiegelhalter(np.array([]), np.array([])).reason == "no observations"
    assert cal.spiegelhalter(np.array([0]), np.array([1.2])).reason == "a probability is outside 0..1"
    assert cal.spiegelhalter(np.array([0]), np.array([np.nan])).reason == "1 scores are missing or infinite"


def test_spiegelhalter_upper_tail_is_optimism():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.02, 0.3, 4000)
    y = rng.random(4000) < p
    assert abs(cal.spiegelhalter(y, p).z) < 3
    assert cal.spiegelhalter(y, p / 2).z > 5


@pytest.mark.parametrize(("n", "d", "pd", "reason"), [
    (0, 0, 0.1, "no observations"),
    (5, 1, 0.0, "the PD is not inside (0, 1)"),
    (5, 1, 1.0, "the PD is not inside (0, 1)"),
    (5, 1, math.nan, "the PD is not inside (0, 1)"),
])  # fmt: skip
def test_undefined_tests_give_a_reason(n, d, pd, reason):
    assert cal.jeffreys_test(n, d, pd).reason == reason
    assert cal.binomial_test(n, d, pd).reason == reason
    assert cal.binomial_mid_p(n, d, pd).reason == reason
    assert cal.binomial_correlated(n, d, pd, 0.1).reason == reason
    assert cal.jeffreys_test(n, d, pd).p_value is None


def test_impossible_counts_are_refused():
    for test in (cal.jeffreys_test, cal.binomial_test, cal.binomial_mid_p):
        with pytest.raises(EvidenceError, match="an event count is impossible"):
            test(3, 4, 0.1)


def test_grade_counts():
    y, grade = np.array([0, 1, 1, 0]), np.array([0, 2, 2, 2])
    n, d = cal.grade_counts(y, grade, 4)
    assert (n.tolist(), d.tolist()) == ([1, 0, 3, 0], [0, 0, 2, 0])
    for bad in (np.array([0, 1, 2, 4]), np.array([-1, 0, 0, 0])):
        with pytest.raises(EvidenceError, match="a row has no grade of the scale"):
            cal.grade_counts(y, bad, 4)


@pytest.mark.parametrize("events", [0, 1, 5, 10, 30])
def test_small_samples_never_crash(events):
    n = 30
    y = np.repeat([1, 0], [events, n - events])
    for pd in (0.001, 0.2, 0.9):
        assert 0 <= cal.jeffreys_test(n, events, pd).p_value <= 1
        assert 0 <= cal.binomial_correlated(n, events, pd, 0.12).value <= 1
        cal.hosmer_lemeshow(np.array([n]), np.array([events]), np.array([pd]))
        cal.spiegelhalter(y, np.full(n, pd))

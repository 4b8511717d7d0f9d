"""Group disparity against worked examples, scipy, statsmodels, fairlearn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import equal_opportunity_difference, equalized_odds_difference
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from countermark.errors import EvidenceError
from countermark.metrics.fairness import (
    absolute_interval,
    adverse_impact_ratio,
    cramers_v,
    error_parity,
    merge_to_expected,
    rate_difference,
    score_ratio_interval,
    standardised_mean_difference,
)
from tests.oracles import oracle

TABLES = st.tuples(st.integers(1, 400), st.integers(1, 400)).flatmap(
    lambda n: st.tuples(st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1]))
)


def test_worked_example_of_adverse_impact() -> None:
    example = oracle("adverse_impact_ratio")
    i = example.inputs
    result = adverse_impact_ratio(i["selected_protected"], i["n_protected"], i["selected_reference"], i["n_reference"])
    example.check("air", result.value)
    example.check("ci95_log", result.log_interval)
    example.check("ci95_score", result.score_interval)
    example.check("z_pooled", result.z)
    example.check("p_z", result.p_value)
    example.check("p_fisher", result.p_fisher)
    example.check("approvals_short_of_four_fifths", result.shortfall)
    assert result.interval == result.log_interval
    assert result.interval_method == "log"


def test_tests_equal_scipy_and_statsmodels() -> None:
    result = adverse_impact_ratio(40, 90, 80, 120)
    z, p = proportions_ztest([40, 80], [90, 120])
    assert (result.z, result.p_value) == pytest.approx((z, p))
    assert result.interval_method == "score"
    risk = stats.contingency.relative_risk(40, 90, 80, 120)
    assert result.log_interval == pytest.approx(tuple(risk.confidence_interval(0.95)))
    score = confint_proportions_2indep(40, 90, 80, 120, method="score", compare="ratio", correction=True)
    assert result.score_interval == pytest.approx(score, rel=1e-6)


def test_no_one_selected_is_zero_with_an_interval() -> None:
    result = adverse_impact_ratio(0, 40, 30, 60)
    assert result.value == 0.0
    low, high = np.log((0.5 / 40.5) / (30.5 / 60.5)) + np.array([-1, 1]) * stats.norm.ppf(0.975) * np.sqrt(
        1 / 0.5 - 1 / 40.5 + 1 / 30.5 - 1 / 60.5
    )
    assert result.log_interval == pytest.approx((np.exp(low), np.exp(high)))
    assert result.interval is not None
    assert result.interval[0] == 0.0
    assert 0 < result.interval[1] < 0.3
    assert result.p_fisher == pytest.approx(stats.fisher_exact([[0, 40], [30, 30]]).pvalue)
    assert result.shortfall == 16


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ((3, 10, 0, 10), "no one in the reference group is selected"),
        ((0, 0, 4, 10), "the group is empty"),
        ((3, 10, 0, 0), "the reference group is empty"),
    ],
)
def test_undefined_ratios_have_a_reason(table: tuple[int, int, int, int], reason: str) -> None:
    result = adverse_impact_ratio(*table)
    assert result.value is None
    assert result.reason == reason


def test_everyone_selected_has_a_finite_interval_and_no_z() -> None:
    result = adverse_impact_ratio(200, 200, 300, 300)
    assert (result.value, result.z, result.shortfall) == (1.0, None, 0)
    assert result.interval == result.score_interval
    assert result.interval is not None
    assert result.interval[0] < 1.0 < result.interval[1]


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(EvidenceError, match="between 0 and the size"):
        adverse_impact_ratio(11, 10, 1, 10)


@given(TABLES.filter(lambda t: t[0] > 0 and t[2] > 0))
def test_swapping_the_groups_inverts_the_ratio_and_its_intervals(table: tuple[int, int, int, int]) -> None:
    a, n, c, m = table
    one, other = adverse_impact_ratio(a, n, c, m), adverse_impact_ratio(c, m, a, n)
    assert one.value is not None
    assert other.value == pytest.approx(1 / one.value)
    for mine, theirs in ((one.log_interval, other.log_interval), (one.score_interval, other.score_interval)):
        assert mine is not None
        assert theirs is not None
        assert theirs == pytest.approx((1 / mine[1], 1 / mine[0]), rel=1e-9)


@given(TABLES.filter(lambda t: t[2] > 0))
def test_the_score_interval_holds_the_ratio(table: tuple[int, int, int, int]) -> None:
    a, n, c, m = table
    interval = score_ratio_interval(a, n, c, m)
    assert interval is not None
    assert interval[0] <= (a / n) / (c / m) * (1 + 1e-9)
    assert interval[1] >= (a / n) / (c / m) * (1 - 1e-9)


def test_a_ratio_over_nothing_has_no_score_interval() -> None:
    assert score_ratio_interval(3, 10, 0, 10) is None


def test_the_score_interval_covers_small_groups() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        a, c = int(rng.binomial(30, 0.3)), int(rng.binomial(40, 0.4))
        interval = score_ratio_interval(a, 30, c, 40)
        assert interval is not None
        hits += interval[0] <= 0.75 <= interval[1]
    # 95 % less three standard errors.
    assert hits / 400 > 0.917


def test_worked_example_of_mean_difference() -> None:
    example = oracle("standardised_mean_difference")
    result = standardised_mean_difference(example.inputs["protected"], example.inputs["reference"])
    example.check("smd_pooled", result.pooled)
    example.check("smd_total_sd", result.total)
    example.check("welch_p", result.p_welch)
    assert result.interval is not None
    # t = d sqrt(n m / (n + m)), so the null part of the standard error is that of t.
    assert result.interval[0] < (result.pooled or 0) < result.interval[1]


@pytest.mark.parametrize(
    ("group", "reason"),
    [([1.0], "fewer than two persons"), ([2.0, 2.0], "does not vary")],
)
def test_mean_difference_without_spread(group: list[float], reason: str) -> None:
    result = standardised_mean_difference(group, [2.0, 2.0])
    assert result.pooled is None
    assert reason in (result.reason or "")


def _persons(cells: dict[str, int], group: bool) -> list[tuple[bool, bool, bool]]:
    # 'Positive' is the favourable outcome, deserved by those without the event.
    kinds = {"tp": (True, False), "fn": (False, False), "fp": (True, True), "tn": (False, True)}
    return [(*kinds[k], group) for k, n in cells.items() for _ in range(n)]


def test_worked_example_of_error_parity() -> None:
    example = oracle("equal_opportunity_and_odds")
    persons = np.array(
        _persons(example.inputs["confusion"]["A"], True) + _persons(example.inputs["confusion"]["B"], False)
    )
    favourable, event, group = persons.T
    result = error_parity(favourable, event, group)
    example.check("tpr_difference_A_minus_B", result.true_positive.value)
    example.check("ci95_newcombe", result.true_positive.interval)
    example.check("equalized_odds_difference", result.odds)
    for i, name in enumerate(("A", "B")):
        assert result.true_positive.rates[i] == pytest.approx(example.expected["tpr"][name])
        assert result.false_positive.rates[i] == pytest.approx(example.expected["fpr"][name])
    truth = ~event
    assert abs(result.true_positive.value or 0) == pytest.approx(
        equal_opportunity_difference(truth, favourable, sensitive_features=group)
    )
    assert result.odds == pytest.approx(equalized_odds_difference(truth, favourable, sensitive_features=group))


def test_newcombe_equals_statsmodels() -> None:
    result = rate_difference(12, 40, 30, 55)
    assert result.interval == pytest.approx(confint_proportions_2indep(12, 40, 30, 55, method="newcomb"))
    assert rate_difference(0, 0, 1, 3).reason == "no case of this outcome in the group"
    assert rate_difference(1, 3, 0, 0).reason == "no case of this outcome in the reference group"


def test_odds_need_both_outcomes_in_both_groups() -> None:
    group = np.array([True, True, False, False])
    result = error_parity(np.ones(4, bool), np.array([False, False, True, False]), group)
    assert result.odds is None
    assert result.true_positive.value == 0.0


@pytest.mark.parametrize(
    ("signed", "absolute"), [((-0.2, 0.1), (0.0, 0.2)), ((-0.3, -0.1), (0.1, 0.3)), ((0.1, 0.3), (0.1, 0.3))]
)
def test_absolute_interval(signed: tuple[float, float], absolute: tuple[float, float]) -> None:
    assert absolute_interval(signed) == absolute
    assert absolute_interval(None) is None


def test_worked_example_of_cramers_v() -> None:
    example = oracle("proxy_cramers_v")
    table = example.inputs["table_group_by_feature_bin"]
    result = cramers_v(table)
    example.check("chi2", result.chi2)
    example.check("df", result.df)
    example.check("cramers_v", result.cramers_v)
    example.check("cramers_v_bias_corrected", result.cramers_v_corrected)
    assert result.p_value == pytest.approx(stats.chi2_contingency(table, correction=True).pvalue)
    padded = np.pad(np.array(table), ((0, 1), (1, 0)))
    assert cramers_v(padded) == result


def test_one_class_has_no_association() -> None:
    assert cramers_v([[3, 4], [0, 0]]).reason == "one side of the table has a single class"


@pytest.mark.parametrize(
    ("expected", "blocks"),
    [
        ([6, 7, 8], [0, 1, 2]),
        ([2, 2, 2, 6], [0, 0, 0, 1]),
        ([6, 1, 1], [0, 0, 0]),
        ([1, 1], [0, 0]),
        ([5, 4.9, 0.1, 3], [0, 1, 1, 1]),
    ],
)
def test_grades_merge_until_five_are_expected(expected: list[float], blocks: list[int]) -> None:
    np.testing.assert_array_equal(merge_to_expected(expected), blocks)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=15))
def test_every_block_expects_enough_unless_there_is_one(expected: list[float]) -> None:
    block = merge_to_expected(expected)
    sums = np.bincount(block, weights=expected)
    assert sums.size == 1 or bool(np.all(sums >= 5.0 - 1e-9))
    assert np.all(np.diff(block) >= 0)


def test_inputs_are_not_written() -> None:
    flags = np.array([True, False, True, False])
    scores, table = np.array([3.0, 1.0, 2.0]), np.array([[3, 1], [2, 5]])
    for array in (flags, scores, table):
        array.flags.writeable = False
    error_parity(flags, ~flags, flags)
    standardised_mean_difference(scores, scores[::-1])
    cramers_v(table)
    merge_to_expected(scores)

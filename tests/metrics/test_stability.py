"""PSI, concentration, migration, ranks and bins against worked examples, scipy and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from countermark.errors import EvidenceError
from countermark.metrics.binning import (
    LevelBins,
    NumericBins,
    development_bins,
    quantile_cuts,
    share_outside,
)
from countermark.metrics.stability import (
    concentration_test,
    ks_two_sample,
    matrix_weighted_bandwidth,
    migration_z,
    points_shift,
    psi,
    rank_agreement,
)
from tests.oracles import oracle

COUNTS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=12).filter(
    lambda rows: sum(e for e, _ in rows) > 0 and sum(a for _, a in rows) > 0
)


def test_psi_of_ten_bins_is_small_and_yet_significant() -> None:
    example = oracle("psi_ten_bins")
    n, m = example.inputs["n_expected"], example.inputs["n_actual"]
    result = psi(np.round(np.array(example.inputs["expected"]) * n), np.round(np.array(example.inputs["actual"]) * m))
    example.check("psi", result.value)
    example.check("critical_95", result.critical)
    example.check("p_value", result.p_value)
    assert not result.smoothed
    assert result.too_thin is None


def test_psi_of_a_shifted_scale() -> None:
    example = oracle("psi_shifted_five_bins")
    shares = [np.round(np.array(example.inputs[key]) * 10_000) for key in ("expected", "actual")]
    result = psi(*shares)
    example.check("psi", result.value)
    low, high = example.expected["thresholds"]
    assert result.value is not None
    assert low <= result.value < high


def test_csi_and_points_shift() -> None:
    example = oracle("csi_points_shift")
    e, a = (np.array(example.inputs[key]) * 1000 for key in ("expected", "actual"))
    example.check("csi", psi(e, a).value)
    example.check("points_shift", points_shift(e, a, example.inputs["points"]))
    assert points_shift([0, 0], [1, 2], [1, 2]) is None


def test_an_empty_bin_gets_one_half_on_both_sides_and_is_marked() -> None:
    result = psi([50, 50, 0], [40, 40, 20])
    e, a = np.array([50.5, 50.5, 0.5]) / 101.5, np.array([40.5, 40.5, 20.5]) / 101.5
    assert result.smoothed
    assert result.value == pytest.approx(float(np.sum((a - e) * np.log(a / e))), abs=1e-12)


def test_a_bin_empty_on_both_sides_does_not_count() -> None:
    assert psi([50, 0, 50], [40, 0, 60]).value == psi([50, 50], [40, 60]).value
    assert psi([50, 0, 50], [40, 0, 60]).bins == 2


@pytest.mark.parametrize(
    ("n", "m", "bins", "noisy"), [(10_000, 10_000, 10, False), (500, 500, 10, True), (60, 60, 1, True), (0, 9, 2, True)]
)
def test_thin_samples_are_noise(n: int, m: int, bins: int, noisy: bool) -> None:
    result = psi(np.full(bins, n // bins), np.full(bins, m // bins))
    assert (result.too_thin is not None) is noisy


def test_psi_without_rows_is_undefined() -> None:
    result = psi([0, 0], [3, 4])
    assert result.value is None
    assert result.too_thin == "the development sample has no rows"
    assert psi([3, 4], [0, 0]).reason == "the compared sample has no rows"


def test_psi_refuses_counts_that_do_not_match() -> None:
    for e, a in (([1, 2], [1]), ([1, -2], [1, 2])):
        with pytest.raises(EvidenceError, match="two lists of counts"):
            psi(e, a)


@given(COUNTS)
def test_psi_is_symmetric_not_negative_and_blind_to_bin_order(rows: list[tuple[int, int]]) -> None:
    e, a = np.array(rows).T
    value = psi(e, a).value
    assert value is not None
    assert value >= 0
    assert psi(a, e).value == pytest.approx(value, rel=1e-12, abs=1e-15)
    order = np.random.default_rng(len(rows)).permutation(e.size)
    assert psi(e[order], a[order]).value == pytest.approx(value, rel=1e-12, abs=1e-15)


@given(COUNTS)
def test_parts_add_up_to_the_index(rows: list[tuple[int, int]]) -> None:
    result = psi(*np.array(rows).T)
    assert sum(result.parts) == pytest.approx(result.value, abs=1e-12)


def test_the_null_law_holds_its_level() -> None:
    rng = np.random.default_rng(11)
    p = np.full(8, 1 / 8)
    draws = [psi(rng.multinomial(4000, p), rng.multinomial(2500, p)).p_value for _ in range(2000)]
    share = np.mean(np.array(draws, dtype=float) < 0.05)
    # Three standard errors of a share of 5 % in 2000 draws.
    assert abs(share - 0.05) < 0.015


def test_migration_bandwidth_equals_the_published_example() -> None:
    example = oracle("mwb_migration_matrix")
    result = matrix_weighted_bandwidth(example.inputs["counts"])
    example.check("upper", result.upper)
    example.check("lower", result.lower)
    flipped = matrix_weighted_bandwidth(np.array(example.inputs["counts"])[::-1, ::-1])
    assert (flipped.upper, flipped.lower) == pytest.approx((result.lower, result.upper))


def test_migration_bandwidth_without_moves() -> None:
    still = matrix_weighted_bandwidth(np.diag([3, 4, 5]))
    assert (still.upper, still.lower, still.reason) == (0.0, 0.0, "no moves to worse or better grades")
    assert matrix_weighted_bandwidth([[3]]).reason == "the scale has one grade"
    assert matrix_weighted_bandwidth([[0, 5], [5, 0]]).upper == 1.0
    with pytest.raises(EvidenceError, match="square"):
        matrix_weighted_bandwidth([[1, 2]])


def test_migration_z_is_the_difference_over_its_multinomial_error() -> None:
    counts = np.array([[60, 25, 15], [10, 70, 20], [5, 30, 65]])
    z, p = migration_z(counts)
    share = counts / counts.sum(axis=1, keepdims=True)
    covariance = (np.diag(share[0]) - np.outer(share[0], share[0])) / counts[0].sum()
    contrast = np.array([0, 1, -1])
    assert z[0, 2] == pytest.approx((share[0, 1] - share[0, 2]) / np.sqrt(contrast @ covariance @ contrast))
    assert p[0, 2] == pytest.approx(stats.norm.cdf(z[0, 2]))
    assert np.isnan(z.diagonal()).all()
    assert z[2, 0] > 0
    assert np.isnan(migration_z([[0, 0], [0, 3]])[0][0, 1])


def test_concentration_index_is_a_function_of_the_herfindahl_sum() -> None:
    now, then = np.array([50, 30, 15, 5]), np.array([30, 30, 25, 15])
    result = concentration_test(now, then)
    assert result.hhi == pytest.approx(np.sum((now / 100) ** 2))
    # CV^2 + 1 = K HHI, so HI = 1 + ln HHI / ln K.
    assert result.index == pytest.approx(1 + np.log(np.sum((now / 100) ** 2)) / np.log(4))
    cv, cv0 = (np.std(x / 100) * 4 for x in (now, then))
    assert result.z == pytest.approx(np.sqrt(3) * (cv - cv0) / np.sqrt(cv**2 * (0.5 + cv**2)))
    assert result.p_value == pytest.approx(stats.norm.sf(result.z))


def test_concentration_from_an_uneven_start_on_a_short_scale_can_never_fail() -> None:
    then = [40, 25, 15, 10, 5, 3, 2]
    worst = concentration_test([100, 0, 0, 0, 0, 0, 0], then)
    assert worst.p_value is not None
    assert worst.p_attainable is not None
    assert 0.05 < worst.p_attainable <= worst.p_value
    assert (concentration_test([30, 25, 15, 10, 10, 5, 5], [10] * 7).p_attainable or 1.0) < 0.01


def test_concentration_edge_cases() -> None:
    even = concentration_test([10, 10, 10], [20, 5, 5])
    assert (even.p_value, even.z) == (1.0, None)
    assert even.index == pytest.approx(0.0, abs=1e-12)
    assert concentration_test([7, 0, 0], [1, 1, 1]).index == pytest.approx(1.0)
    assert concentration_test([7], [3]).reason == "the scale has one grade"
    assert concentration_test([0, 0], [3, 1]).reason == "a sample has no rows"
    with pytest.raises(EvidenceError, match="same grades"):
        concentration_test([1, 2], [1, 2, 3])


def test_ks_gap_is_the_largest_difference_of_the_two_shares() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=400).round(1), rng.normal(0.3, size=300).round(1)
    grid = np.unique(np.concatenate([a, b]))
    gap = max(abs(np.mean(a <= t) - np.mean(b <= t)) for t in grid)
    result = ks_two_sample(np.append(a, np.nan), b)
    assert result.gap == pytest.approx(gap)
    assert result.n == (400, 300)
    assert result.p_value == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue)
    assert ks_two_sample([np.nan], b).gap is None


def test_rank_agreement() -> None:
    rng = np.random.default_rng(5)
    a = rng.normal(size=200)
    b = a + rng.normal(size=200)
    result = rank_agreement(a, b)
    assert result.spearman == pytest.approx(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
    concordance = np.sign(a[:, None] - a) * np.sign(b[:, None] - b)
    assert result.kendall == pytest.approx(concordance.sum() / (200 * 199))
    assert rank_agreement(a, np.zeros(200)).kendall is None
    assert rank_agreement(a, np.exp(a)).spearman == pytest.approx(1.0)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=80), st.integers(1, 12))
def test_cuts_are_observed_values_and_ties_stay_together(values: list[int], bins: int) -> None:
    x = np.array(values, dtype=float)
    cuts = quantile_cuts(x, bins)
    assert set(cuts) <= set(x)
    assert list(cuts) == sorted(set(cuts))
    assert len(cuts) <= bins - 1 or bins == 1
    assert quantile_cuts(x[::-1], bins) == cuts
    counts = NumericBins(cuts).counts(x)
    assert counts.sum() == x.size
    assert np.all(counts[:-1] > 0)


def test_quantile_bins_hold_equal_shares_without_ties() -> None:
    bins = development_bins(np.arange(1, 101, dtype=float))
    assert isinstance(bins, NumericBins)
    np.testing.assert_array_equal(bins.counts(np.arange(1, 101)), [10] * 10 + [0])
    assert len(bins.labels) == 11
    with pytest.raises(EvidenceError, match="at least 1"):
        quantile_cuts([1.0], 0)


def test_missing_and_new_values_have_bins_of_their_own() -> None:
    bins = development_bins(np.array([1.0, 2.0, np.nan, 3.0]), 2)
    np.testing.assert_array_equal(bins.counts(np.array([np.nan, 9.0, -9.0])), [1, 1, 1])
    levels = development_bins(np.array(["b", "a", None, "b"], dtype=object))
    assert isinstance(levels, LevelBins)
    np.testing.assert_array_equal(levels.counts(np.array(["a", "z", None, "y"], dtype=object)), [1, 0, 2, 1])
    assert levels.labels == ("a", "b", "new category", "missing")
    assert NumericBins(()).labels == ("any value", "missing")
    assert NumericBins((1.0, 2.0)).labels == ("≤ 1", "1 to 2", "> 2", "missing")


@pytest.mark.parametrize(
    ("development", "applied", "outside"),
    [
        ([1.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0], 2),
        ([1.0, 3.0], [np.nan, 2.0], 1),
        ([1.0, np.nan], [np.nan, 1.0], 0),
        ([np.nan], [1.0, np.nan], 1),
    ],
)
def test_share_outside_the_development_range(development: list[float], applied: list[float], outside: int) -> None:
    assert share_outside(np.array(development), np.array(applied)) == (outside, len(applied))


def test_share_outside_the_development_levels() -> None:
    known = np.array(["a", "b"], dtype=object)
    assert share_outside(known, np.array(["a", "c", None], dtype=object)) == (2, 3)


def test_inputs_are_not_written() -> None:
    x, y = np.array([3.0, 1.0, np.nan, 2.0]), np.array([2.0, 2.0, 1.0, 5.0])
    counts, text = np.array([[5, 2], [1, 6]]), np.array(["a", None], dtype=object)
    for array in (x, y, counts, text):
        array.flags.writeable = False
    psi(counts[0], counts[1])
    concentration_test(counts[0], counts[1])
    matrix_weighted_bandwidth(counts)
    migration_z(counts)
    ks_two_sample(x, y)
    rank_agreement(y, y[::-1])
    development_bins(x).counts(x)
    development_bins(text).counts(text)
    share_outside(x, y)
    share_outside(text, text)

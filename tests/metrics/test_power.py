from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from countermark.errors import EvidenceError
from countermark.metrics import power
from tests.oracles import oracle


def test_power_matches_the_worked_example():
    example = oracle("jeffreys_power")
    i = example.inputs
    got = power.jeffreys_power(i["n"], i["pd"], i["true_pd"], alpha=i["alpha"])
    example.check("critical_d", got.critical_d)
    example.check("power", got.power)
    example.check("actual_size", got.size)


@given(st.integers(1, 600), st.floats(0.002, 0.6), st.sampled_from([0.01, 0.05, 0.1]))
def test_critical_count_is_the_first_that_rejects(n, pd, alpha):
    k = np.arange(n + 1)
    rejects = np.flatnonzero(beta.cdf(pd, k + 0.5, n - k + 0.5) < alpha)
    assert power.jeffreys_critical(n, pd, alpha) == (int(rejects[0]) if rejects.size else None)


@given(st.integers(50, 20000), st.floats(0.002, 0.3), st.floats(0.5, 0.95))
def test_detectable_multiple_has_exactly_the_asked_power(n, pd, asked):
    got = power.detectable_pd_multiple(n, pd, power=asked)
    back = power.jeffreys_power(n, pd, got.value * pd)
    assert back.power == pytest.approx(asked, abs=1e-6)
    assert power.detectable_pd_multiple(n, pd, power=0.96).value >= got.value


@pytest.mark.parametrize(("pd", "n"), [(0.002, 15100), (0.005, 6200), (0.01, 3000), (0.02, 1600), (0.05, 590)])
def test_published_sample_sizes_for_eighty_per_cent_power(pd, n):
    near = [power.jeffreys_power(round(n * f), pd, 1.5 * pd).power for f in (0.95, 1.0, 1.05)]
    assert min(near) < 0.83
    assert max(near) > 0.77


def test_detectable_auc_drop():
    got = power.detectable_auc_drop(0.01)
    assert got.value == pytest.approx((1.6448536269514722 + 0.8416212335729143) * 0.01)
    both = power.detectable_auc_drop(0.01, se_initial=0.01)
    assert both.value == pytest.approx(got.value * math.sqrt(2))
    assert power.detectable_auc_drop(0.0).value is None
    assert power.detectable_auc_drop(None).reason == "the standard error of the AUC is 0 or undefined"


@pytest.mark.parametrize(("pd", "n"), [(0.002, 1950), (0.005, 770), (0.01, 390), (0.02, 190), (0.05, 66)])
def test_block_sizes_agree_with_the_validation_standard(pd, n):
    """Power is a saw-tooth in n: the size in print lies where it has crossed one half for good, or nearly so."""
    if n < 100:
        first = len(power.power_blocks(np.ones(4 * n), np.full(4 * n, pd))[0])
        assert power.jeffreys_power(first, pd, 2 * pd).power >= 0.5 > power.jeffreys_power(first - 1, pd, 2 * pd).power
    assert power.jeffreys_power(round(0.65 * n), pd, 2 * pd).power < 0.5
    assert all(power.jeffreys_power(round(n * f), pd, 2 * pd).power >= 0.47 for f in (1.0, 1.1, 1.2, 1.5))


@given(st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_blocks_hold_every_used_grade_once_in_order(counts):
    n = np.array(counts)
    n.setflags(write=False)
    pd = np.linspace(0.005, 0.2, n.size)
    blocks = power.power_blocks(n, pd)
    assert [g for b in blocks for g in b] == list(np.flatnonzero(n))
    if len(blocks) > 1:
        for block in blocks:
            rows, block_pd = power.block_of(n.astype(float), pd, block)
            assert power.jeffreys_power(rows, block_pd, 2 * block_pd).power >= 0.4


def test_undefined_power_gives_a_reason():
    assert power.jeffreys_power(0, 0.1, 0.2).reason == "no number of events would reject"
    assert power.detectable_pd_multiple(1, 0.9).reason == "no number of events would reject"
    assert power.detectable_pd_multiple(100, 1e-9, alpha=0.999999).reason == "the test always rejects"
    assert power.power_blocks(np.zeros(3), np.full(3, 0.1)) == ()
    assert power.power_blocks(np.array([3.0]), np.array([0.01])) == ((0,),)
    for n, pd in ((-1, 0.1), (5, 0.0), (5, 1.0)):
        with pytest.raises(EvidenceError, match="power is undefined"):
            power.jeffreys_critical(n, pd, 0.05)


def test_pluto_tasche_without_defaults_is_closed_form():
    got = power.pluto_tasche(np.array([100, 400, 300]), np.zeros(3), confidence=0.5)
    np.testing.assert_allclose(got, [1 - 0.5 ** (1 / k) for k in (800, 700, 300)], rtol=1e-12)
    some = power.pluto_tasche(np.array([100, 400, 300]), np.array([0, 2, 1]), confidence=0.9)
    for q, n, d in zip(some, (800, 700, 300), (3, 3, 1), strict=True):
        assert binom.cdf(d, n, q) == pytest.approx(0.1)
    assert power.pluto_tasche(np.array([5, 0]), np.array([5, 0])) == (1.0, None)

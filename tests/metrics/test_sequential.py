"""Tests that may be looked at all the time: closed forms, error rates under every look, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from countermark.errors import EvidenceError
from countermark.metrics.sequential import mean_shift, rate_above, rate_interval, shift_interval, spent


@pytest.mark.parametrize(("events", "n", "limit"), [(0, 5, 0.1), (3, 40, 0.05), (12, 60, 0.1), (1, 1, 0.5)])
def test_the_rate_e_value_is_the_integral_of_likelihood_ratios(events: int, n: int, limit: float) -> None:
    prior = stats.beta(0.5, 0.5)

    def ratio(p: float) -> float:
        fit = events * math.log(p / limit) + (n - events) * math.log((1 - p) / (1 - limit))
        return math.exp(fit) * float(prior.pdf(p))

    expected = integrate.quad(ratio, limit, 1, limit=200)[0] / float(prior.sf(limit))
    assert rate_above(events, n, limit).log_e == pytest.approx(math.log(expected), abs=1e-6)


def test_the_shift_e_value_of_one_pair_is_the_mixture_of_bets() -> None:
    bets = np.linspace(0.02, 0.98, 49) / 1.1
    above, below = np.mean(1 + bets * 0.9), np.mean(1 - bets * 1.1)
    assert mean_shift(1, 0, 0, 0.1).log_e == pytest.approx(math.log((above + below) / 2), rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.floats(0.0, 0.5))
def test_a_shift_is_judged_alike_in_both_directions(up: int, same: int, down: int, limit: float) -> None:
    one, other = mean_shift(up, same, down, limit), mean_shift(down, same, up, limit)
    assert one.log_e == pytest.approx(other.log_e, abs=1e-9)


@given(st.integers(1, 2000), st.data())
def test_intervals_hold_the_estimate(n: int, data: st.DataObject) -> None:
    events = data.draw(st.integers(0, n))
    low, high = rate_interval(events, n)
    assert 0 <= low <= events / n <= high <= 1
    down = data.draw(st.integers(0, n - events))
    low, high = shift_interval(events, n - events - down, down)
    assert -1 <= low <= (events - down) / n + 1e-9
    assert (events - down) / n - 1e-9 <= high <= 1


def test_looking_after_every_batch_does_not_inflate_false_alarms() -> None:
    """On the limit itself, over 100 looks each: at most 5 % may ever reject (binomial bound on 300 runs)."""
    rng = np.random.default_rng(20260101)
    alarms = 0
    for _ in range(300):
        events = np.cumsum(rng.random(1000) < 0.02)
        alarms += any(rate_above(int(events[n - 1]), n, 0.02).rejects(0.05) for n in range(10, 1001, 10))
    assert alarms <= stats.binom.ppf(0.999, 300, 0.05)
    shifts = 0
    for _ in range(300):
        u = rng.random(1000)
        up, down = np.cumsum(u < 0.06), np.cumsum(u > 0.96)
        shifts += any(
            mean_shift(int(up[n - 1]), n - int(up[n - 1]) - int(down[n - 1]), int(down[n - 1]), 0.02).rejects(0.05)
            for n in range(10, 1001, 10)
        )
    assert shifts <= stats.binom.ppf(0.999, 300, 0.05)


def test_a_fixed_sample_test_would_have_failed_that() -> None:
    """The plant: a one-sided binomial test at every look rejects far more often than 5 %."""
    rng = np.random.default_rng(20260101)
    alarms = 0
    for _ in range(200):
        events = np.cumsum(rng.random(1000) < 0.02)
        looks = np.arange(10, 1001, 10)
        alarms += bool((stats.binom.sf(events[looks - 1] - 1, looks, 0.02) < 0.05).any())
    assert alarms > 30


def test_large_effects_are_found_early() -> None:
    assert rate_above(8, 100, 0.01).rejects(0.01)
    assert mean_shift(30, 170, 0, 0.03).rejects(0.01)
    assert not mean_shift(3, 196, 1, 0.03).rejects(0.01)
    assert rate_above(0, 0, 0.1).log_e == mean_shift(0, 0, 0, 0.1).log_e == 0.0
    assert math.isfinite(rate_above(0, 1_000_000, 0.5).log_e)


def test_error_probability_is_spent_once() -> None:
    assert sum(spent(0.05, k) for k in range(1, 200_000)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate_above(3, 2, 0.1),
        lambda: rate_above(1, 2, 0.0),
        lambda: mean_shift(-1, 2, 0, 0.1),
        lambda: mean_shift(1, 2, 0, 1.0),
        lambda: rate_interval(0, 0),
        lambda: shift_interval(0, 0, 0),
    ],
)
def test_impossible_counts_are_refused(call: object) -> None:
    with pytest.raises(EvidenceError):
        call()  # type: ignore[operator]

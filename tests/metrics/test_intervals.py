from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from countermark.errors import EvidenceError
from countermark.metrics.intervals import (
    clopper_pearson_interval,
    jeffreys_interval,
    observed_over_expected,
    wilson_interval,
)
from tests.oracles import oracle

METHODS = {"jeffreys": jeffreys_interval, "wilson": wilson_interval, "clopper_pearson": clopper_pearson_interval}
STATSMODELS = {"jeffreys": "jeffreys", "wilson": "wilson", "clopper_pearson": "beta"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_intervals_match_the_worked_example(name):
    example = oracle("default_rate_intervals")
    got = METHODS[name](example.inputs["n"], example.inputs["d"], confidence=example.inputs["level"])
    example.check(name, got.interval)
    assert got.rate == 0.012


def test_wilson_matches_the_conversion_rate_example():
    example = oracle("sar_conversion_rate")
    got = wilson_interval(example.inputs["alerts"], example.inputs["sars"])
    example.check("rate", got.rate)
    example.check("ci95_wilson", got.interval)


@pytest.mark.parametrize("name", sorted(METHODS))
@given(n=st.integers(1, 3000), share=st.floats(0, 1))
def test_intervals_equal_statsmodels_and_hold_the_rate(name, n, share):
    d = round(n * share)
    low, high = METHODS[name](n, d).interval
    assert 0.0 <= low <= d / n <= high <= 1.0
    other = proportion_confint(d, n, method=STATSMODELS[name])
    if d > 0:
        assert low == pytest.approx(other[0], abs=1e-9)
    if d < n:
        assert high == pytest.approx(other[1], abs=1e-9)


def test_no_events_puts_the_lower_limit_at_zero():
    for method in METHODS.values():
        assert method(50, 0).interval[0] == 0.0
        assert method(50, 50).interval[1] == 1.0
        assert method(0, 0).reason == "no observations"
        with pytest.raises(EvidenceError, match="an event count is impossible"):
            method(3, 4)


def test_zero_events_bound_matches_the_sampling_example():
    example = oracle("btl_sampling_bounds")
    for case in ("case1", "case2"):
        i = example.inputs[case]
        got = clopper_pearson_interval(i["n"], i["hits"], confidence=2 * example.inputs["level"] - 1)
        example.check(f"upper_bound_{case}", got.interval[1])


def test_observed_over_expected():
    got = observed_over_expected(1000, 12, 8.0)
    assert got.ratio == 1.5
    low, high = clopper_pearson_interval(1000, 12).interval
    assert got.interval == (pytest.approx(low * 125), pytest.approx(high * 125))
    assert observed_over_expected(10, 1, 0.0).reason == "expected events are 0 or undefined"
    assert observed_over_expected(0, 0, 0.0).reason == "no observations"

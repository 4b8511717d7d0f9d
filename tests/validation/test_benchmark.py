from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from countermark.metrics.discrimination import auc_difference
from countermark.records.lights import Light
from countermark.validation.benchmark import benchmark
from tests.validation.builders import make_inputs
from tests.validation.sections import check_pure, check_section, light, row
from tests.validation.test_discrimination import with_test


def test_a_sound_champion_beats_the_challenger():
    inputs = make_inputs()
    got = benchmark(inputs)
    check_section(got)
    assert light(got) is Light.PASS
    want = auc_difference(inputs.test.y, inputs.test.margin, inputs.test.challenger_margin)
    gain = row(got, "bench.gain")
    assert gain.statistic == pytest.approx(want.difference, rel=1e-8)
    assert (gain.ci_low, gain.ci_high) == pytest.approx(want.interval, rel=1e-8)
    assert got.extras["gain"] == {
        "value": gain.statistic,
        "low": gain.ci_low,
        "high": gain.ci_high,
        "p_worse": row(got, "bench.auc_diff").p_raw,
        "p_two_sided": gain.p_raw,
    }
    assert {b.id for b in got.blocks} == {"E5-T1", "E5-T2", "E5-F1", "E5-F2"}
    assert got.conclusion.startswith("The champion ranks better than the challenger (scorecard)")


def test_a_champion_worse_than_the_challenger_fails():
    got = benchmark(make_inputs(champion_worse=True))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, "bench.auc_diff").light is Light.FAIL
    assert got.conclusion.startswith("The champion is worse than the challenger")


@pytest.mark.parametrize("fault", ["same", "close"])
def test_a_gain_that_may_be_zero_is_watched(fault):
    inputs = make_inputs(same_as_challenger=True)
    if fault == "close":
        noise = np.random.default_rng(0).normal(0, 0.2, inputs.test.n)
        inputs = with_test(inputs, challenger_margin=inputs.test.margin + noise)
    got = benchmark(inputs)
    check_section(got)
    assert light(got) is Light.WATCH
    assert row(got, "bench.auc_diff").light is Light.PASS
    assert row(got, "bench.gain").light is Light.WATCH
    assert got.conclusion.startswith("No gain over the challenger")


def test_swap_set_is_counted_at_the_approval_rate_of_the_cutoff():
    inputs = make_inputs()
    test = inputs.test
    got = benchmark(inputs)
    champion = test.p < 0.2
    assert got.extras["swap"]["approved"] == champion.sum()
    cut = np.sort(test.challenger_margin)[champion.sum() - 1]
    challenger = test.challenger_margin <= cut
    inside, outside = row(got, "bench.swap_set", "swapped in"), row(got, "bench.swap_set", "swapped out")
    assert inside.n == outside.n == (champion & ~challenger).sum()
    assert inside.events == test.y[champion & ~challenger].sum()
    assert outside.events == test.y[~champion & challenger].sum()
    difference = row(got, "bench.swap_set", "difference")
    assert difference.statistic == pytest.approx(outside.statistic - inside.statistic, abs=1e-8)
    assert difference.statistic > 0


def test_no_challenger_is_not_evaluated():
    for inputs, reason in (
        (make_inputs(challenger=False), "the challenger has no scores on the test sample"),
        (
            dataclasses.replace(make_inputs(), spec=make_inputs().spec.model_copy(update={"challenger": None})),
            "the spec declares no challenger",
        ),
    ):
        got = benchmark(inputs)
        check_section(got)
        assert light(got) is Light.NOT_EVALUATED
        assert row(got, "bench.auc_diff").n_reason == reason
        assert reason in got.conclusion


@pytest.mark.parametrize("events", [0, 1, 5, 9])
def test_tiny_samples_are_not_evaluated(events):
    inputs = make_inputs(n=400)
    y = np.zeros(inputs.test.n, dtype=np.int8)
    y[np.argsort(-inputs.test.margin)[:events]] = 1
    got = benchmark(with_test(inputs, y=y))
    check_section(got)
    assert light(got) is Light.NOT_EVALUATED
    assert not [r for r in got.rows if r.light is Light.PASS]


@pytest.mark.parametrize("n", [0, 5, 40, 120, 400])
def test_any_size_of_data_gives_a_section(n):
    check_section(benchmark(make_inputs(n=n)))


def test_it_reads_only_and_repeats_itself():
    check_pure(benchmark, make_inputs(n=1500))

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from countermark.metrics.discrimination import auc
from countermark.records.lights import Light
from countermark.validation.discrimination import discrimination
from tests.validation.builders import make_inputs, make_spec
from tests.validation.sections import check_pure, check_section, light, row


def with_test(inputs, **changes):
    """The inputs with some arrays of the test sample replaced."""
    role = inputs.test.role
    return dataclasses.replace(inputs, samples={**inputs.samples, role: dataclasses.replace(inputs.test, **changes)})


def test_a_sound_model_passes():
    inputs = make_inputs()
    got = discrimination(inputs)
    check_section(got)
    assert light(got) is Light.PASS
    main = row(got, "disc.auc_delong", sample="out_of_time")
    area = auc(inputs.test.y, inputs.test.margin)
    assert main.statistic == pytest.approx(area.value, rel=1e-8)
    assert (main.ci_low, main.ci_high) == pytest.approx(area.interval, rel=1e-8)
    assert main.gating
    assert row(got, "disc.cap_ar").statistic == pytest.approx(2 * area.value - 1, rel=1e-8)
    assert row(got, "disc.auc_delong", sample="development").light is Light.INFORMATION
    assert not row(got, "disc.auc_delong", sample="holdout").gating
    assert {b.id for b in got.blocks} == {f"E1-F{i}" for i in range(1, 7)} | {f"E1-T{i}" for i in range(1, 5)}
    assert got.extras["auc"]["out_of_time"]["value"] == main.statistic
    assert 0.02 < got.extras["smallest_detectable_auc_drop"] < 0.08
    assert f"{main.statistic:.3f}" in got.conclusion


def test_a_null_model_fails():
    got = discrimination(make_inputs(null_model=True))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, "disc.auc_delong", sample="out_of_time").light is Light.FAIL
    assert got.conclusion.startswith("The score is not shown to rank better than chance")


def test_an_interval_that_reaches_one_half_fails_though_the_auc_is_above_it():
    inputs = make_inputs(n=1200)
    noise = np.random.default_rng(11).normal(size=inputs.test.n)
    got = discrimination(with_test(inputs, margin=noise + 0.03 * inputs.test.margin))
    main = row(got, "disc.auc_delong", sample="out_of_time")
    assert main.statistic > 0.5 > main.ci_low
    assert main.light is Light.FAIL
    assert light(got) is Light.FAIL


def test_a_fall_since_development_fails():
    inputs = make_inputs(n=20000)
    rng = np.random.default_rng(3)
    got = discrimination(with_test(inputs, margin=inputs.test.margin + rng.normal(0, 2.0, inputs.test.n)))
    drop = row(got, "disc.gini_drop")
    assert drop.statistic > 0.1
    assert drop.light is Light.FAIL


def test_perfect_separation_is_watched_not_passed():
    inputs = make_inputs()
    got = discrimination(with_test(inputs, margin=inputs.test.y * 2.0 - 1.0))
    check_section(got)
    assert row(got, "disc.auc").light is Light.WATCH
    assert row(got, "disc.auc").statistic == 1.0
    assert light(got) is not Light.PASS


def test_inverted_grades_are_watched_or_fail():
    inputs = make_inputs(n=20000)
    swapped = np.array([0, 1, 2, 4, 3, 5, 6])[inputs.test.grade]
    got = discrimination(with_test(inputs, grade=swapped))
    assert row(got, "disc.grade_order", "inversions").light is Light.WATCH
    assert row(got, "disc.grade_order").light is Light.FAIL
    assert "D/E" in got.conclusion


def test_current_against_initial_needs_a_published_release():
    first = row(discrimination(make_inputs()), "disc.auc_vs_initial")
    assert first.light is Light.NOT_EVALUATED
    assert not first.gating
    assert "no AUC of a published release" in first.n_reason
    rows = {"disc.auc_delong|out_of_time|all": 0.95, "disc.auc_delong|out_of_time|standard error": 0.01}
    later = discrimination(make_inputs(previous={"rows": rows}))
    check_section(later)
    assert row(later, "disc.auc_vs_initial").light is Light.FAIL
    both = row(later, "disc.auc_vs_initial", "both variances")
    assert both.statistic < row(later, "disc.auc_vs_initial").statistic
    assert not both.gating
    assert row(later, "disc.auc_delong", sample="out_of_time").previous_value == 0.95
    same = row(later, "disc.auc_delong", "standard error").statistic
    assert 0.005 < same < 0.05


def test_segments_and_vintages_have_intervals_and_the_worst_is_named():
    inputs = make_inputs()
    region = inputs.test.segments["region"].copy()
    region[0] = None
    margin = inputs.test.margin.copy()
    west = region == "west"
    margin[west] = np.random.default_rng(0).normal(size=west.sum())
    got = discrimination(with_test(inputs, margin=margin, segments={"region": region}))
    check_section(got)
    assert got.extras["worst_segment"]["name"] == "region=west"
    assert got.extras["worst_segment"]["n"] == west.sum()
    assert "west" in got.so_what
    worst = row(got, "disc.auc_delong", "region=west")
    assert not worst.gating
    assert worst.light is Light.FAIL
    assert row(got, "disc.auc_delong", "region=(missing)").light is Light.NOT_EVALUATED
    assert row(got, "disc.auc_delong", "vintage=2024Q3").ci_low is not None


def test_repeated_customers_are_resampled():
    inputs = make_inputs(n=2000)
    entity = np.array([f"c{i // 4}" for i in range(inputs.test.n)], dtype=object)
    spec = make_spec()
    policy = spec.policy.model_copy(update={"bootstrap_resamples": 100})
    inputs = dataclasses.replace(inputs, spec=spec.model_copy(update={"policy": policy}))
    got = discrimination(with_test(inputs, entity=entity))
    check_section(got)
    clustered = row(got, "disc.auc_bootstrap")
    assert clustered.gating
    assert clustered.seed == policy.seed
    assert clustered.ci_low < clustered.statistic < clustered.ci_high
    assert not any(r.test_id == "disc.auc_bootstrap" for r in discrimination(inputs).rows)


@pytest.mark.parametrize("events", [0, 1, 5, 9])
def test_tiny_samples_are_not_evaluated(events):
    inputs = make_inputs(n=2000)
    y = np.zeros(inputs.test.n, dtype=np.int8)
    y[np.argsort(-inputs.test.margin)[:events]] = 1
    got = discrimination(with_test(inputs, y=y))
    check_section(got)
    assert light(got) is Light.NOT_EVALUATED
    assert not [r for r in got.rows if r.gating and r.light is Light.PASS]
    assert got.conclusion.startswith("Ranking was not evaluated")


@pytest.mark.parametrize("n", [0, 5, 40, 120, 400])
def test_any_size_of_data_gives_a_section(n):
    for kw in ({}, {"dates": False, "out_of_time": False}):
        check_section(discrimination(make_inputs(n=n, **kw)))


def test_without_dates_the_hold_out_gates_and_no_vintage_is_shown():
    got = discrimination(make_inputs(dates=False, out_of_time=False))
    assert row(got, "disc.auc_delong", sample="holdout").gating
    assert not [b for b in got.blocks if getattr(b, "id", "") in ("E1-F6", "E1-T3")]
    assert any(getattr(b, "text", "") == "No ranking by vintage: the data has no dates." for b in got.blocks)


def test_it_reads_only_and_repeats_itself():
    check_pure(discrimination, make_inputs(n=1500))


def test_bands_of_two_inputs_stand_in_where_no_segment_is_declared():
    inputs = with_test(make_inputs(), segments={})
    got = discrimination(inputs)
    bands = [r for r in got.rows if " band " in r.segment]
    assert len({r.segment.split(" band ")[0] for r in bands}) == 2
    assert {r.light for r in bands} == {Light.INFORMATION}
    assert not any(r.gating for r in bands)
    assert sum(r.n for r in bands) == 2 * inputs.test.n
    assert "proposed by the tool" in got.extras["worst_segment"]["name"]
    assert got.so_what.startswith("The spec declares no usable segment")
    assert not [r for r in discrimination(make_inputs()).rows if " band " in r.segment]


def test_a_handful_of_events_names_no_detectable_fall():
    assert discrimination(make_inputs()).extras["smallest_detectable_auc_drop"] is not None
    few = make_inputs(n=800, base_rate=0.02)
    assert 0 < few.test.events < few.spec.policy.minimum_events
    assert discrimination(few).extras["smallest_detectable_auc_drop"] is None

"""C4 on a sound model, on a shifted sample and on tiny ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from countermark.records.evidence import section_light
from countermark.records.lights import Light
from countermark.validation.representativeness import driver_shifts, drivers_by_size, representativeness
from countermark.validation.two_sample import out_of_fold_scores
from tests.validation.builders import make_inputs, make_spec, policy_document


def test_a_sound_model_passes() -> None:
    inputs = make_inputs()
    section = representativeness(inputs)
    assert section_light(section.rows) is Light.PASS
    classifier = next(r for r in section.rows if r.test_id == "rep.c2st")
    assert classifier.ci_low is not None
    assert classifier.ci_high is not None
    assert classifier.ci_low <= 0.5 <= classifier.ci_high
    assert {r.segment for r in section.rows if r.test_id == "rep.psi"} == {*inputs.test.features, "segment region"}
    assert all(len(b.alt) > 40 for b in section.blocks if b.type == "figure")


def test_a_shifted_sample_turns_the_section_red() -> None:
    section = representativeness(make_inputs(shift=1.5))
    red = {r.test_id for r in section.rows if r.light is Light.FAIL}
    assert {"rep.c2st", "rep.psi", "stab.ks_feature"} <= red
    assert section_light(section.rows) is Light.FAIL
    assert section.extras["largest_psi_driver"] == "utilisation"
    assert "utilisation" in section.conclusion


def test_rows_outside_the_development_range_turn_the_section_red() -> None:
    inputs = make_inputs()
    features = dict(inputs.test.features)
    purpose = features["purpose"].copy()
    purpose[::5] = "boat"
    test = replace(inputs.test, features=features | {"purpose": purpose})
    section = representativeness(replace(inputs, samples=dict(inputs.samples) | {test.role: test}))
    row = next(r for r in section.rows if r.test_id == "rep.range" and r.segment == "purpose")
    assert row.light is Light.FAIL
    assert row.statistic == pytest.approx(0.2)
    assert "outside the development range of purpose" in section.conclusion


@pytest.mark.parametrize("n", [0, 10, 60, 120])
def test_tiny_samples_never_pass(n: int) -> None:
    section = representativeness(make_inputs(n))
    assert Light.PASS not in {r.light for r in section.rows}
    assert section_light(section.rows) is Light.NOT_EVALUATED


def test_an_interval_from_pass_to_fail_is_inconclusive() -> None:
    policy = policy_document()
    policy["limits"]["rep.c2st"] |= {"watch": 0.60, "fail": 0.61}
    section = representativeness(make_inputs(800, seed=3, shift=0.5, spec=make_spec(policy=policy)))
    classifier = next(r for r in section.rows if r.test_id == "rep.c2st")
    assert classifier.light is Light.NOT_EVALUATED
    assert "inconclusive" in (classifier.n_reason or "")


def test_inputs_without_variation_are_not_told_apart() -> None:
    inputs = make_inputs(2000)
    samples = {
        role: replace(s, features={k: np.full(s.n, 1.0) for k in s.features if k != "purpose"})
        for role, s in inputs.samples.items()
    }
    section = representativeness(replace(inputs, samples=samples))
    classifier = next(r for r in section.rows if r.test_id == "rep.c2st")
    assert classifier.light is Light.NOT_EVALUATED
    assert "no split" in (classifier.n_reason or "")


def test_the_same_bytes_twice_and_in_any_column_order() -> None:
    inputs = make_inputs(2000)
    test = replace(inputs.test, features=dict(reversed(list(inputs.test.features.items()))))
    development = inputs.samples["development"]
    turned = replace(development, features=dict(reversed(list(development.features.items()))))
    one = out_of_fold_scores(development.features, inputs.test.features, seed=1)
    other = out_of_fold_scores(turned.features, test.features, seed=1)
    np.testing.assert_array_equal(one[1], other[1])
    assert one[0].sum() == inputs.test.n


def test_shifts_are_sorted_by_size() -> None:
    shifts = driver_shifts(make_inputs(shift=0.5))
    assert drivers_by_size(shifts)[0] == "utilisation"


def test_arrays_are_not_written() -> None:
    inputs = make_inputs(1200)
    for sample in inputs.samples.values():
        for values in (*sample.features.values(), sample.p, sample.margin, sample.y, sample.grade):
            values.flags.writeable = False
    representativeness(inputs)

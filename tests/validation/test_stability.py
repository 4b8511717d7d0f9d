"""E3 on a sound model, on a shifted sample, on repeated customers and on tiny samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from countermark.records.evidence import Figure, section_light
from countermark.records.lights import Light
from countermark.validation.stability import stability
from tests.validation.builders import make_inputs


def test_a_sound_model_passes() -> None:
    inputs = make_inputs()
    section = stability(inputs)
    assert section_light(section.rows) is Light.PASS
    score = next(r for r in section.rows if r.test_id == "stab.psi" and r.segment == "all")
    assert section.extras["psi_score"] == score.statistic
    assert score.statistic is not None
    assert score.statistic < 0.02
    assert "sampling alone" in section.conclusion
    assert {r.segment for r in section.rows if r.test_id == "stab.csi"} == set(inputs.test.features)


def test_a_shifted_sample_turns_the_section_red() -> None:
    section = stability(make_inputs(shift=1.5))
    gating = {r.segment: r.light for r in section.rows if r.gating}
    assert gating == {"all": Light.FAIL, "grade": Light.FAIL}
    assert section_light(section.rows) is Light.FAIL
    csi = {r.segment: r for r in section.rows if r.test_id == "stab.csi"}
    assert csi["utilisation"].light is Light.FAIL
    assert csi["tenure"].light is Light.PASS
    assert csi["utilisation"].effect is not None
    assert csi["utilisation"].effect > 0.5
    assert "utilisation" in section.conclusion


def test_margin_shift_of_an_input_adds_up_where_inputs_are_independent() -> None:
    inputs = make_inputs(20_000, shift=0.6)
    csi = {r.segment: r.effect for r in stability(inputs).rows if r.test_id == "stab.csi"}
    moved = inputs.test.margin.mean() - inputs.samples["development"].margin.mean()
    # Ten bins lose some of the shift inside the outer bins.
    assert csi["utilisation"] == pytest.approx(moved, rel=0.25)


def test_vintages_carry_a_sampling_band() -> None:
    section = stability(make_inputs(40_000))
    figure = next(b for b in section.blocks if isinstance(b, Figure) and b.id == "E3-F3")
    psi_line, band = figure.series
    assert list(psi_line.x) == sorted(str(v) for v in psi_line.x)
    assert all(v is not None and v > 0 for v in band.y)
    assert all(not r.gating for r in section.rows if r.segment.startswith("vintage"))


def test_without_dates_there_is_no_vintage_figure() -> None:
    section = stability(make_inputs(dates=False))
    assert "E3-F3" not in {b.id for b in section.blocks if isinstance(b, Figure)}


def test_migration_needs_repeated_customers() -> None:
    section = stability(make_inputs())
    rows = [r for r in section.rows if r.test_id in ("stab.mwb", "stab.migration_z")]
    assert {r.light for r in rows} == {Light.NOT_EVALUATED}
    assert all("two dates" in (r.n_reason or "") for r in rows)
    assert "migration could not be evaluated" in section.conclusion


def test_repeated_customers_give_a_migration_matrix() -> None:
    inputs = make_inputs(4000)
    holdout, test = inputs.samples["holdout"], inputs.test
    assert holdout.entity is not None
    assert test.entity is not None
    entity = test.entity.copy()
    entity[: holdout.n] = holdout.entity
    grade = test.grade.copy()
    grade[: holdout.n] = holdout.grade
    moved = replace(test, entity=entity, grade=grade)
    samples = dict(inputs.samples) | {"out_of_time": moved}
    rows = {(r.test_id, r.segment): r for r in stability(replace(inputs, samples=samples)).rows if r.sample == "all"}
    still = rows["stab.mwb", "worse"]
    assert (still.statistic, still.n) == (0.0, holdout.n)
    grade[: holdout.n] = np.minimum(holdout.grade + 2, 6)
    grade[: holdout.n : 5] = np.minimum(holdout.grade[::5] + 1, 6)
    rows = {(r.test_id, r.segment): r for r in stability(replace(inputs, samples=samples)).rows if r.sample == "all"}
    assert rows["stab.mwb", "worse"].statistic is not None
    assert rows["stab.mwb", "worse"].statistic > 0.1
    assert rows["stab.mwb", "better"].statistic == 0.0
    # Most move by two grades, a fifth by one: the farther cell holds more than the nearer one.
    z = rows["stab.migration_z", "all"]
    assert z.p_adj is not None
    assert z.p_adj < 0.001
    assert not z.gating


@pytest.mark.parametrize("n", [0, 10, 100, 600])
def test_tiny_samples_never_pass(n: int) -> None:
    section = stability(make_inputs(n))
    gating = [r for r in section.rows if r.gating]
    assert {r.light for r in gating} == {Light.NOT_EVALUATED}
    assert section_light(section.rows) is Light.NOT_EVALUATED
    csi = {r.segment: r.light for r in section.rows if r.test_id == "stab.csi"}
    assert Light.PASS not in {csi[name] for name in ("utilisation", "arrears", "income", "tenure")}


def test_a_concentration_test_that_could_not_fail_is_not_evaluated() -> None:
    hhi = next(r for r in stability(make_inputs()).rows if r.test_id == "stab.hhi")
    assert hhi.light is Light.NOT_EVALUATED
    assert "could not have failed" in (hhi.n_reason or "")


def test_a_concentrated_sample_is_seen() -> None:
    inputs = make_inputs()
    development, test = inputs.samples["development"], inputs.test
    even = replace(development, grade=np.arange(development.n) % 7)
    uneven = replace(test, grade=np.minimum(np.arange(test.n) % 8, 6))
    section = stability(replace(inputs, samples=dict(inputs.samples) | {"development": even, "out_of_time": uneven}))
    hhi = next(r for r in section.rows if r.test_id == "stab.hhi")
    assert hhi.light is Light.FAIL
    assert not hhi.gating


def test_arrays_are_not_written() -> None:
    inputs = make_inputs(1200)
    for sample in inputs.samples.values():
        for values in (*sample.features.values(), sample.p, sample.margin, sample.y, sample.grade):
            values.flags.writeable = False
    stability(inputs)

"""F1, F2 and F3 on a sound model, on planted disparities, on tiny groups and without protected attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from countermark.metrics.fairness import adverse_impact_ratio
from countermark.records.evidence import Figure, RegisterRow, Table, section_light
from countermark.records.lights import Light
from countermark.records.limits import LowerLimit, judge
from countermark.validation.fairness import outcome_disparity, straddles
from countermark.validation.fairness_calibration import group_calibration
from countermark.validation.fairness_errors import SELECTIVE_LABELS, error_rate_parity
from countermark.validation.groups import NO_ATTRIBUTE
from countermark.validation.inputs import EvidenceInput, SectionEvidence
from tests.validation.builders import make_inputs, make_spec

SECTIONS = (outcome_disparity, error_rate_parity, group_calibration)
Section = Callable[[EvidenceInput], SectionEvidence]


def _changed_test(inputs: EvidenceInput, **changes: Any) -> EvidenceInput:
    test = replace(inputs.test, **changes)
    return replace(inputs, samples=dict(inputs.samples) | {test.role: test})


def _with_groups(inputs: EvidenceInput, sizes: dict[str, int]) -> EvidenceInput:
    """The test sample with the first rows moved into further groups."""
    sex = inputs.test.protected["sex"].copy()
    start = 0
    for name, size in sizes.items():
        sex[start : start + size] = name
        start += size
    return _changed_test(inputs, protected={"sex": sex})


def _rows(section: SectionEvidence, test_id: str) -> dict[tuple[str, str], RegisterRow]:
    return {(r.segment, r.sample): r for r in section.rows if r.test_id == test_id}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_sound_model_has_nothing_red(section: Section) -> None:
    result = section(make_inputs())
    assert section_light(result.rows) in (Light.PASS, Light.WATCH)
    assert result.extras["evaluated"]
    assert all(len(b.alt) > 40 for b in result.blocks if isinstance(b, Figure))


def test_ratio_equals_the_metric_on_the_test_sample() -> None:
    inputs = make_inputs()
    test = inputs.test
    women, chosen = test.protected["sex"] == "women", test.p < 0.2
    ratio = adverse_impact_ratio(*(int(m.sum()) for m in (chosen & women, women, chosen & ~women, ~women)))
    row = _rows(outcome_disparity(inputs), "fair.air")["sex=women", "out_of_time"]
    assert row.statistic == pytest.approx(ratio.value)
    assert ratio.interval is not None
    assert (row.ci_low, row.ci_high) == pytest.approx(ratio.interval)
    assert row.n == women.sum()


def test_an_unfair_scorer_turns_every_section_red() -> None:
    inputs = make_inputs(unfair=1.2)
    for section in SECTIONS:
        assert section_light(section(inputs).rows) is Light.FAIL
    disparity = outcome_disparity(inputs)
    worst = disparity.extras["worst_air"]
    assert (worst["group"], worst["reference"], worst["light"]) == ("women", "men", "fail")
    assert worst["ci_high"] < 1
    assert "women against men" in disparity.conclusion
    assert "interval" in disparity.conclusion


def test_cut_offs_around_the_one_in_use_never_gate() -> None:
    rows = _rows(outcome_disparity(make_inputs(unfair=1.2)), "fair.air")
    around = [r for (_, sample), r in rows.items() if sample != "out_of_time"]
    assert {r.sample for r in around} == {"out_of_time, cut-off -5 %", "out_of_time, cut-off +5 %"}
    assert all(not r.gating and r.statistic is not None for r in around)
    strict, lenient = sorted(around, key=lambda r: r.sample, reverse=True)
    assert strict.statistic is not None
    assert lenient.statistic is not None
    assert strict.statistic < lenient.statistic


def test_a_reference_group_selected_less_is_shown_from_its_side() -> None:
    inputs = make_inputs(unfair=-1.5)
    strict = inputs.spec.decision.model_copy(update={"cutoff": 0.06})
    spec = inputs.spec.model_copy(update={"decision": strict})
    rows = _rows(outcome_disparity(replace(inputs, spec=spec)), "fair.air")
    assert rows["sex=women", "out_of_time"].light is Light.PASS
    mirrored = rows["sex=women, upper side", "out_of_time"]
    assert mirrored.light is Light.FAIL
    assert not mirrored.gating


@pytest.mark.parametrize(
    ("value", "interval", "light"),
    [
        (0.95, (0.85, 1.06), Light.PASS),
        (0.95, (0.75, 1.20), Light.WATCH),
        (0.85, (0.70, 1.03), Light.WATCH),
        (0.75, (0.60, 1.05), Light.WATCH),
        (0.75, (0.60, 0.85), Light.FAIL),
        (0.75, (0.60, 0.95), Light.FAIL),
    ],
)
def test_the_interval_rule_of_ratios(value: float, interval: tuple[float, float], light: Light) -> None:
    limit = LowerLimit(kind="lower", watch=0.90, fail=0.80, source="test")
    judged = interval if straddles(limit, value, interval) else None
    assert judge(limit, value, interval=judged).light is light


@pytest.mark.parametrize("section", SECTIONS)
def test_without_attributes_everything_is_not_evaluated(section: Section) -> None:
    result = section(make_inputs(spec=make_spec(fairness=None)))
    assert {r.light for r in result.rows} == {Light.NOT_EVALUATED}
    assert all(r.gating and r.n_reason == NO_ATTRIBUTE for r in result.rows)
    assert NO_ATTRIBUTE in result.conclusion
    assert not result.extras["evaluated"]


@pytest.mark.parametrize("section", SECTIONS)
def test_attributes_that_are_not_joined_are_not_evaluated(section: Section) -> None:
    result = section(make_inputs(protected=False))
    assert section_light(result.rows) is Light.NOT_EVALUATED
    assert "not joined to the test sample" in {r.n_reason for r in result.rows}


@pytest.mark.parametrize("section", SECTIONS)
def test_without_other_groups_nothing_can_be_compared(section: Section) -> None:
    inputs = make_inputs()
    alone = _changed_test(inputs, protected={"sex": np.full(inputs.test.n, "men", dtype=object)})
    result = section(alone)
    assert section_light(result.rows) is Light.NOT_EVALUATED
    assert "no group beside the reference group" in {r.n_reason for r in result.rows}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("n", [0, 12, 80])
def test_tiny_samples_never_pass(section: Section, n: int) -> None:
    result = section(make_inputs(n))
    assert section_light(result.rows) is Light.NOT_EVALUATED
    assert Light.PASS not in {r.light for r in result.rows}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_small_group_is_disclosed_and_not_judged(section: Section) -> None:
    result = section(_with_groups(make_inputs(), {"diverse": 12}))
    small = [r for r in result.rows if r.segment == "sex=diverse"]
    assert {r.light for r in small} == {Light.NOT_EVALUATED}
    assert all(not r.gating and r.statistic is None and r.n <= 12 for r in small)
    assert all("12 persons" in (r.n_reason or "") or r.test_id == "fair.precision" for r in small)
    table = next(b for b in result.blocks if isinstance(b, Table))
    row = next(r for r in table.rows if "diverse" in str(r["group"]))
    assert row["n"] == 12
    assert "sex=diverse" in result.conclusion
    assert section_light(result.rows) is not Light.NOT_EVALUATED


def test_a_group_of_which_too_few_would_be_selected_is_not_judged() -> None:
    inputs = make_inputs()
    strict = inputs.spec.decision.model_copy(update={"cutoff": 0.012})
    spec = inputs.spec.model_copy(update={"decision": strict})
    rows = _rows(outcome_disparity(replace(_with_groups(inputs, {"diverse": 40}), spec=spec)), "fair.air")
    assert "would be selected" in (rows["sex=diverse", "out_of_time"].n_reason or "")


def test_a_missing_reference_group_is_not_evaluated() -> None:
    inputs = make_inputs()
    sex = np.where(inputs.test.protected["sex"] == "men", "unknown", "women").astype(object)
    section = outcome_disparity(_changed_test(inputs, protected={"sex": sex}))
    assert section_light(section.rows) is Light.NOT_EVALUATED
    assert all("reference group has 0 persons" in (r.n_reason or "") for r in section.rows)


def test_no_one_selected_in_the_reference_group_is_not_evaluated() -> None:
    inputs = make_inputs()
    test = inputs.test
    p = np.where(test.protected["sex"] == "men", 0.9, test.p)
    section = outcome_disparity(_changed_test(inputs, p=p))
    assert section_light(section.rows) is Light.NOT_EVALUATED


def test_persons_without_a_group_are_counted_and_left_out() -> None:
    inputs = make_inputs()
    sex = inputs.test.protected["sex"].copy()
    sex[:100] = None
    section = outcome_disparity(_changed_test(inputs, protected={"sex": sex}))
    source = next(b for b in section.blocks if b.type == "table" and b.id == "F1-T4").rows[0]
    assert (source["name"], source["source"], source["absent"]) == ("sex", "self-reported", 100)
    row = _rows(section, "fair.air")["sex=women", "out_of_time"]
    assert row.n == np.count_nonzero(sex == "women")


def test_error_rates_carry_the_selective_labels_caveat() -> None:
    section = error_rate_parity(make_inputs())
    assert SELECTIVE_LABELS in {b.text for b in section.blocks if b.type == "text"}
    assert section.conclusion.startswith("Outcomes of declined applicants are unknown")


def test_error_rates_without_events_in_a_group_are_not_evaluated() -> None:
    inputs = make_inputs()
    women = inputs.test.protected["sex"] == "women"
    y = np.where(women, 0, inputs.test.y).astype(np.int8)
    section = error_rate_parity(_changed_test(inputs, y=y))
    odds = _rows(section, "fair.equalized_odds")["sex=women", "out_of_time"]
    assert odds.light is Light.NOT_EVALUATED
    assert odds.n_reason == "no case of this outcome in the group"
    assert _rows(section, "fair.equal_opportunity")["sex=women", "out_of_time"].light is not Light.NOT_EVALUATED
    y[np.flatnonzero(women)[:4]] = 1
    few = _rows(error_rate_parity(_changed_test(inputs, y=y)), "fair.equalized_odds")["sex=women", "out_of_time"]
    assert "4 persons with the event" in (few.n_reason or "")


def test_under_estimated_risk_in_one_group_turns_calibration_red_and_is_a_finding() -> None:
    inputs = make_inputs(unfair=0.4)
    test = inputs.test
    women = test.protected["sex"] == "women"
    y = np.where(women & (np.random.default_rng(5).random(test.n) < 0.3), 1, test.y).astype(np.int8)
    section = group_calibration(_changed_test(inputs, y=y))
    row = _rows(section, "fair.calibration")["sex=women", "out_of_time"]
    assert row.light is Light.FAIL
    assert row.ci_low is not None
    assert row.ci_low > 1.25
    assert _rows(section, "fair.calibration")["sex=men", "out_of_time"].light is not Light.FAIL
    (finding,) = section.findings
    assert finding.evidence_id == "fair.calibration|sex=women"
    assert "adverse impact ratio" in finding.fact


def test_under_estimation_without_disparity_is_no_such_finding() -> None:
    inputs = make_inputs(unfair=-0.5)
    women = inputs.test.protected["sex"] == "women"
    y = np.where(women & (np.random.default_rng(5).random(inputs.test.n) < 0.3), 1, inputs.test.y).astype(np.int8)
    assert not group_calibration(_changed_test(inputs, y=y)).findings


def test_grades_are_merged_to_five_expected_events() -> None:
    section = group_calibration(make_inputs())
    table = next(b for b in section.blocks if isinstance(b, Table) and b.id == "F3-T2")
    assert all(float(str(r["expected"])) >= 5 for r in table.rows)
    observed = sum(int(str(r["observed"])) for r in table.rows)
    assert observed == make_inputs().test.events


@pytest.mark.parametrize("section", SECTIONS)
def test_arrays_are_not_written(section: Section) -> None:
    inputs = make_inputs(1200)
    for sample in inputs.samples.values():
        for values in (*sample.features.values(), *sample.protected.values(), sample.p, sample.margin, sample.y):
            values.flags.writeable = False
    section(inputs)

"""C2 on a sound model and on planted faults of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from countermark.records.evidence import Figure, section_light
from countermark.records.lights import Light
from countermark.validation.data_quality import data_quality, is_missing
from countermark.validation.development import development_evidence
from countermark.validation.inputs import EvidenceInput
from tests.validation.builders import make_inputs


def _changed_test(inputs: EvidenceInput, **changes: Any) -> EvidenceInput:
    test = replace(inputs.test, **changes)
    return replace(inputs, samples=dict(inputs.samples) | {test.role: test})


FRESH = {"column": "paid_on", "newest": "2026-06-26", "age_days": 4, "as_of": "2026-06-30", "max_age_days": 10}


def _with_table(inputs: EvidenceInput, **changes: Any) -> EvidenceInput:
    table = dict(inputs.contract["tables"]["main"]) | changes
    return replace(inputs, contract=dict(inputs.contract) | {"tables": {"main": table}})


def _lights(inputs: EvidenceInput, test_id: str) -> set[Light]:
    return {row.light for row in data_quality(inputs).rows if row.test_id == test_id}


def test_a_sound_model_has_nothing_red() -> None:
    section = data_quality(make_inputs())
    assert section_light(section.rows) is Light.PASS
    assert section.extras["overlapping_entities"] == 0
    assert "income" in section.conclusion
    figure = next(b for b in section.blocks if isinstance(b, Figure))
    assert figure.rows == ("income",)
    assert len(figure.columns) == len(figure.cells[0])
    income = next(r for r in section.rows if r.test_id == "data.missing" and r.segment == "income")
    values = make_inputs().test.features["income"]
    assert income.statistic == pytest.approx(np.isnan(values).mean())


def test_overlapping_entities_turn_the_section_red() -> None:
    inputs = make_inputs()
    assert inputs.test.entity is not None
    entity = inputs.test.entity.copy()
    entity[:3] = ["d1", "d2", "d2"]
    section = data_quality(_changed_test(inputs, entity=entity))
    overlap = next(r for r in section.rows if r.test_id == "data.overlap")
    assert (overlap.statistic, overlap.light, overlap.gating) == (2.0, Light.FAIL, True)
    assert section_light(section.rows) is Light.FAIL
    assert section.conclusion.startswith("2 entities are in both")


def test_declared_overlap_counts_even_where_the_rows_do_not_show_it() -> None:
    inputs = make_inputs()
    declared = replace(inputs, dataset=dict(inputs.dataset) | {"overlap": {"entities": 4}})
    assert _lights(declared, "data.overlap") == {Light.FAIL}


def test_without_an_entity_overlap_is_not_evaluated() -> None:
    inputs = make_inputs(dates=False)
    undeclared = replace(inputs, dataset=dict(inputs.dataset) | {"overlap": {"entities": None}})
    section = data_quality(undeclared)
    overlap = next(r for r in section.rows if r.test_id == "data.overlap")
    assert overlap.light is Light.NOT_EVALUATED
    assert overlap.n_reason is not None
    assert "no entity is declared" in overlap.n_reason
    assert section.would_change is not None
    assert "data.entity" in section.would_change
    assert not [b for b in section.blocks if isinstance(b, Figure)]


def test_twin_rows_are_counted() -> None:
    inputs = make_inputs()
    development = inputs.samples["development"]
    features = {k: v.copy() for k, v in inputs.test.features.items()}
    for name, values in features.items():
        values[:5] = development.features[name][:5]
    rows = data_quality(_changed_test(inputs, features=features)).rows
    twins = next(r for r in rows if r.segment == "test rows seen in development")
    assert twins.statistic == pytest.approx(5 / inputs.test.n)
    assert not twins.gating


def test_many_missing_values_turn_the_section_red() -> None:
    inputs = make_inputs()
    features = dict(inputs.test.features)
    tenure = features["tenure"].copy()
    tenure[::3] = np.nan
    purpose = features["purpose"].copy()
    purpose[::4] = None
    section = data_quality(_changed_test(inputs, features=features | {"tenure": tenure, "purpose": purpose}))
    red = {(r.test_id, r.segment) for r in section.rows if r.light is Light.FAIL}
    assert red == {(t, f) for t in ("data.missing", "data.missing_psi") for f in ("tenure", "purpose")}
    assert section_light(section.rows) is Light.FAIL
    assert "purpose, tenure" in section.conclusion


@pytest.mark.parametrize(
    ("table", "light"),
    [
        ({"quarantined": 0, "tolerance": 0.0}, Light.PASS),
        ({"quarantined": 10, "tolerance": 0.01}, Light.WATCH),
        ({"quarantined": 100, "tolerance": 0.01}, Light.FAIL),
        ({"quarantined": 1, "tolerance": 0.0}, Light.FAIL),
        ({"rows": 0, "quarantined": 0, "tolerance": 0.0}, Light.NOT_EVALUATED),
    ],
)
def test_quarantine_uses_up_the_tolerance(table: dict[str, Any], light: Light) -> None:
    assert _lights(_with_table(make_inputs(), **table), "data.contract") == {light}


def test_failing_rules_and_guards_are_listed() -> None:
    rule = {"rule": "maximum", "column": "income", "failed": 7, "share": 7 / 8000}
    inputs = _with_table(make_inputs(), rules=[rule], quarantined=7, tolerance=0.01, freshness=FRESH)
    guard = {"name": "protected", "passed": True, "detail": "no protected input"}
    section = data_quality(replace(inputs, dataset=dict(inputs.dataset) | {"guards": [guard]}))
    tables = {b.id: b for b in section.blocks if b.type in ("table", "facts")}
    assert tables["C2-T2"].rows[0]["failed"] == 7
    assert tables["C2-T3"].rows[0]["freshness"] == "newest paid_on 2026-06-26, 4 days before 2026-06-30 (at most 10)"
    assert "1 of 1 build guard passed" in tables["C2-T4"].caption


def test_without_any_missing_value_one_row_says_that_no_flag_can_move() -> None:
    inputs = make_inputs()
    samples = {role: replace(s, features={k: np.zeros(s.n) for k in s.features}) for role, s in inputs.samples.items()}
    section = data_quality(replace(inputs, samples=samples))
    (row,) = [r for r in section.rows if r.test_id == "data.missing_psi"]
    assert (row.segment, row.statistic, row.light, row.gating) == ("all", 0.0, Light.PASS, True)
    assert next(b for b in section.blocks if b.id == "C2-T1").rows == ()  # type: ignore[union-attr]


def test_a_guard_with_nothing_to_look_at_has_neither_passed_nor_failed() -> None:
    inputs = make_inputs()
    guards = [
        {"name": "leak_input", "passed": True, "detail": ""},
        {"name": "immature_labels", "passed": None, "detail": "no dates"},
        {"name": "outcome_copy", "passed": False, "detail": "planted"},
    ]
    inputs = replace(inputs, dataset=dict(inputs.dataset) | {"guards": guards})
    table = next(b for b in data_quality(inputs).blocks if b.type == "table" and b.id == "C2-T4")
    assert [row["passed"] for row in table.rows] == ["passed", "not evaluated", "failed"]
    assert table.caption.startswith("1 of 3 build guards passed, 1 not evaluated")
    told = " ".join(b.text for b in development_evidence(inputs).blocks if b.type == "text")
    assert "Failed: outcome copy; not evaluated: immature labels; passed: leak input." in told


@pytest.mark.parametrize("n", [0, 4, 40])
def test_tiny_samples_never_pass(n: int) -> None:
    section = data_quality(make_inputs(n))
    judged = [r for r in section.rows if r.test_id in ("data.missing", "data.missing_psi")]
    assert judged
    assert {r.light for r in judged} == {Light.NOT_EVALUATED}
    assert section_light(section.rows) is Light.NOT_EVALUATED


def test_missing_text_and_numbers() -> None:
    np.testing.assert_array_equal(is_missing(np.array([1.0, np.nan])), [False, True])
    np.testing.assert_array_equal(is_missing(np.array(["a", None], dtype=object)), [False, True])


def test_twin_rows_match_missing_values_and_both_zeros() -> None:
    inputs = make_inputs(400)
    development, test = inputs.samples["development"], inputs.test

    def planted(n: int, zero: float) -> dict[str, Any]:
        x = np.full(n, zero)
        return {"x": x, "y": np.full(n, np.nan), "t": np.full(n, None, dtype=object)}

    samples = dict(inputs.samples) | {
        role: replace(s, features=planted(s.n, 0.0)) for role, s in inputs.samples.items()
    }
    samples["development"] = replace(development, features=planted(development.n, -0.0))
    rows = data_quality(replace(inputs, samples=samples)).rows
    twins = next(r for r in rows if r.segment == "test rows seen in development")
    assert (twins.statistic, twins.n) == (1.0, test.n)

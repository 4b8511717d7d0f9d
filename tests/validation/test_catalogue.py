from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from countermark.config.policy import Policy
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.catalogue import (
    SEVERITIES,
    abbreviations,
    glossary,
    questions,
    requirements,
    severity_policy,
)
from countermark.validation.reference import sections_reference
from countermark.validation.registry import section_codes
from tests.validation.builders import policy_document

REPOSITORY = Path(__file__).parents[2]


def test_every_clause_points_to_real_sections_and_says_where_it_stands() -> None:
    codes = set(section_codes())
    ids = [item.id for item in requirements()]
    assert len(ids) == len(set(ids))
    for item in requirements():
        assert set(item.sections) <= codes, item.id
        assert item.status_text.endswith("."), item.id
        assert "complian" not in (item.asks + item.status_text).lower(), item.id


def test_the_catalogue_knows_what_changed() -> None:
    by_id = {item.id: item for item in requirements()}
    assert not any(item.name.startswith(("SR 11-7", "OCC 2011-12", "SR 21-8")) for item in requirements())
    assert by_id["us.sr_26_2.validation"].since == "2026-04-17"
    assert by_id["eu.ccd2"].since == "2026-11-20"
    assert by_id["eu.ai_act.data"].since == "2027-12-02"
    assert by_id["ca.e_23"].since == "2027-05-01"
    assert not any("four-fifths" in item.asks for item in requirements())


def test_a_clause_to_come_or_guidance_is_never_mandatory() -> None:
    for item in requirements():
        assert not (item.mandatory and item.status != "in_force"), item.id


def test_every_test_is_at_home_in_a_real_section() -> None:
    assert {entry.section for entry in registered_tests().values()} <= set(section_codes())
    assert all(entry.formula and entry.title for entry in registered_tests().values())


def test_the_house_policy_gates_registered_tests_only() -> None:
    policy = Policy.model_validate(policy_document())
    assert set(policy.gating) <= set(registered_tests())


def test_every_question_stands_in_a_real_section() -> None:
    assert {q.section for q in questions().values()} <= set(section_codes())


def test_words_are_explained() -> None:
    assert "gating test" in glossary()
    assert "N" in abbreviations()
    assert all(text.endswith(".") for text in glossary().values())


def test_severity_is_impact_times_likelihood_times_detectability() -> None:
    policy = severity_policy()
    for code, light in itertools.product(section_codes(), Light):
        parts = policy.inputs(code, light)
        assert all(1 <= part <= 3 for part in parts)
        product = parts[0] * parts[1] * parts[2]
        expected = next(s for s in SEVERITIES if product >= policy.bands[s])
        assert policy.severity(code, light) == expected
    assert policy.severity("D2", Light.FAIL) == "critical"
    assert policy.severity("E2", Light.FAIL) == "high"
    assert policy.severity("E3", Light.WATCH) == "low"


@pytest.mark.parametrize("kind", ["pd", "lgd", "ead", "fraud", "aml", "propensity"])
@pytest.mark.parametrize("place", ["US", "EU", "UK", "CA"])
def test_each_jurisdiction_has_a_clause_for_each_kind(kind: str, place: str) -> None:
    assert any(item.applies(kind, (place,), natural_persons=True) for item in requirements())  # type: ignore[arg-type]


def test_the_section_reference_is_the_registry() -> None:
    page = REPOSITORY / "docs" / "reference" / "sections.md"
    assert page.read_text(encoding="utf-8") == sections_reference()

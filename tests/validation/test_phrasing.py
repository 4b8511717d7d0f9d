from __future__ import annotations

from dataclasses import replace

import pytest

from countermark.metrics.binning import NumericBins
from countermark.records.evidence import Facts, Figure, Paragraph
from countermark.validation.assemble import numbered
from countermark.validation.bands import readable_bins
from countermark.validation.phrasing import (
    counted,
    decision_date,
    limit_phrase,
    named,
    plus_months,
    same_person,
)
from tests.validation.builders import make_inputs, make_spec, spec_document


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2026-06-30", 12, "2027-06-30"),
        ("2026-11-15", 3, "2027-02-15"),
        ("2026-06-30", 0, "2026-06-30"),
    ],
)
def test_months_are_calendar_months(day: str, months: int, expected: str) -> None:
    assert plus_months(day, months) == expected


@pytest.mark.parametrize("person", [None, "", " ", "?", "TBD", "todo", "None", "unknown", "n/a"])
def test_a_placeholder_is_nobody(person: str | None) -> None:
    assert not named(person)


def test_names_are_compared_without_case_and_spacing() -> None:
    assert named("Ann Owner")
    assert same_person("Ann  Owner", "ann owner ")
    assert not same_person("Ann Owner", "Anna Owner")


def test_counts_carry_their_noun() -> None:
    assert counted(1, "row") == "1 row"
    assert counted(12345, "row") == "12 345 rows"
    assert counted(2, "digest differs", "digests differ") == "2 digests differ"


@pytest.mark.parametrize(
    ("text", "style", "told"),
    [
        ("≤ 0 pass, ≤ 1000 watch", "int", "0 pass, otherwise watch"),
        ("> 0 pass, > -1 watch", "auc", "> 0 pass, otherwise watch"),
        ("> 0.5 pass, > 0.5 watch", "auc", "> 0.5 pass, otherwise fail"),
        ("< 0.05 pass, < 0.1 watch", "points", "< 5 pp pass, < 10 pp watch"),
        ("≤ 0.05 pass, ≤ 0.2 watch", "share", "≤ 5 % pass, ≤ 20 % watch"),
        ("0.8-1.25 pass, 0.67-1.5 watch", "number", "0.8 to 1.25 pass, 0.67 to 1.5 watch"),
        ("= 0", "int", "0 pass, otherwise fail"),
        ("p ≥ 0.05 pass, p < 0.01 fail", "pvalue", "p ≥ 0.05 pass, p < 0.01 fail"),
    ],
)
def test_a_limit_is_told_in_the_unit_of_its_number(text: str, style: str, told: str) -> None:
    assert limit_phrase(text, style) == told  # type: ignore[arg-type]


def test_bins_of_an_ordinal_input_carry_the_words_of_its_levels() -> None:
    features = spec_document()["features"]
    features["arrears"] = features["arrears"] | {"levels": ["none", "one", "two", "three"]}
    inputs = replace(make_inputs(200), spec=make_spec(features=features))
    names = readable_bins(inputs, "arrears", NumericBins((0.0, 2.0)))
    assert names[:3] == ("none", "one to two", "three")
    assert readable_bins(inputs, "utilisation", NumericBins((-0.66667, 12345.6)))[:3] == (
        "≤ −0.6667",
        "−0.6667 to 12\u202f346",
        "> 12\u202f346",
    )


def test_blocks_are_numbered_in_reading_order_without_gaps() -> None:
    blocks = [Facts(id=f"E1-{old}", caption="c", facts=()) for old in ("T1", "T4", "FACTS1")]
    figure = Figure(id="E1-F6", chart="xy", caption="c", alt="a figure with nothing drawn in it")
    got = numbered("E1", [blocks[0], Paragraph(text="between"), figure, *blocks[1:]])
    assert [getattr(b, "id", None) for b in got] == ["E1-T1", None, "E1-F1", "E1-T2", "E1-T3"]


def test_deadlines_run_from_the_later_of_data_and_decision() -> None:
    assert decision_date(make_spec()) == "2026-09-30"
    assert decision_date(make_spec(decide_by=None)) == make_spec().as_of
    assert decision_date(make_spec(decide_by="2020-01-01")) == make_spec().as_of

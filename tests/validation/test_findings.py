from __future__ import annotations

from typing import Any

import pytest

from countermark.errors import EvidenceError
from countermark.records.evidence import Finding
from countermark.records.lights import Light
from countermark.validation.findings import draw_up, overdue, severity_inputs
from countermark.validation.inputs import Register, Statistic
from tests.validation.builders import make_inputs, make_spec
from tests.validation.test_pack import LIGHT, digests_of, section

SPEC = make_spec()


def row(test_id: str, section_code: str, light: Light, **changes: Any) -> Any:
    base = Register(spec=SPEC, data_hash="d" * 64, semantics={}, previous=None).row(
        Statistic(test_id, section_code, "label", sample="out_of_time", n=10, value=1.0)
    )
    reason = "thin" if light is Light.NOT_EVALUATED else None
    return base.model_copy(update={"light": light, "gating": True, "n_reason": reason} | changes)


def finding(**changes: Any) -> Finding:
    known = {
        "id": "",
        "severity": "low",
        "section": "E2",
        "evidence_id": "cal.jeffreys",
        "fact": "Too low.",
        "why": "Money.",
        "recommendation": "Mend.",
        "opened": "2026-06-30",
    }
    return Finding.model_validate(known | changes)


def test_each_red_or_amber_gating_test_gets_one_finding() -> None:
    rows = [
        row("cal.jeffreys", "E2", Light.FAIL),
        row("cal.jeffreys", "E2", Light.FAIL, segment="grade 7"),
        row("cal.jeffreys", "E2", Light.WATCH, segment="grade 8"),
        row("stab.psi", "E3", Light.WATCH),
        row("stab.csi", "E3", Light.FAIL, gating=False),
        row("disc.auc", "E1", Light.NOT_EVALUATED),
        row("disc.ks", "E1", Light.PASS),
    ]
    found = draw_up(rows, (), SPEC)
    assert [(f.id, f.severity, f.evidence_id) for f in found] == [
        ("F-E2-01", "high", "cal.jeffreys"),
        ("F-E3-01", "low", "stab.psi"),
    ]
    assert "1 more result has this light" in found[0].fact
    assert found[0].opened == SPEC.as_of
    assert found[0].due == "2026-12-30"  # three months after the decision
    assert found[0].owner == "Ann Owner"
    assert severity_inputs(found[0], rows) == "3 × 3 × 2 = 18"


def test_a_not_evaluated_beside_a_watch_hides_nothing() -> None:
    rows = [row("stab.psi", "E3", Light.NOT_EVALUATED), row("stab.psi", "E3", Light.WATCH, segment="grade")]
    assert [f.evidence_id for f in draw_up(rows, (), SPEC)] == ["stab.psi"]


def test_what_a_section_raised_is_not_raised_twice_and_its_severity_is_policy() -> None:
    rows = [row("cal.jeffreys", "E2", Light.FAIL)]
    found = draw_up(rows, (finding(evidence_id="cal.jeffreys|grade 7"),), SPEC)
    assert [(f.id, f.severity, f.fact) for f in found] == [("F-E2-01", "high", "Too low.")]
    judged = draw_up((), (finding(evidence_id="a reading"),), SPEC)
    assert judged[0].severity == "low"
    assert severity_inputs(judged[0], ()) == "judgement of the section"


def test_ids_do_not_move_when_rows_of_another_section_do() -> None:
    rows = [row("stab.psi", "E3", Light.WATCH), row("cal.jeffreys", "E2", Light.FAIL)]
    assert {f.id for f in draw_up(rows, (), SPEC)} == {f.id for f in draw_up(rows[::-1], (), SPEC)}


def test_findings_are_carried_forward_under_their_id() -> None:
    previous = (
        finding(id="F-E2-03", opened="2025-06-30", due="2025-09-30"),
        finding(id="F-E1-01", section="E1", evidence_id="disc.auc", opened="2025-06-30", severity="medium"),
        finding(id="F-C2-01", section="C2", evidence_id="data.missing", opened="2025-06-30", status="closed"),
    )
    rows = [row("cal.jeffreys", "E2", Light.FAIL), row("cal.oe_ratio", "E2", Light.WATCH)]
    found = draw_up(rows, (), SPEC, previous)
    assert [(f.id, f.opened, f.status) for f in found] == [
        ("F-E2-03", "2025-06-30", "open"),
        ("F-E1-01", "2025-06-30", "open"),
        ("F-E2-04", "2026-06-30", "open"),
        ("F-C2-01", "2025-06-30", "closed"),
    ]
    assert [f.id for f in overdue(found, SPEC.as_of)] == ["F-E2-03"]


def test_two_findings_of_one_id_are_refused() -> None:
    twice = (finding(id="F-E2-01"), finding(id="F-E2-01", evidence_id="cal.oe_ratio"))
    with pytest.raises(EvidenceError, match="two findings carry one id"):
        draw_up((), twice, SPEC)


@pytest.mark.parametrize(("due", "light"), [("2025-09-30", Light.FAIL), ("2026-12-31", Light.PASS)])
def test_an_overdue_high_finding_fails(due: str, light: Light) -> None:
    from countermark.validation.assemble import Previous, pack
    from countermark.validation.collect import evidence

    inputs = make_inputs(1000)
    old = finding(id="F-H3-01", section="H3", evidence_id="plan", severity="high", opened="2025-06-30", due=due)
    got = pack(
        evidence(inputs, sections=LIGHT),
        inputs.spec,
        digests=digests_of(inputs),
        narrative={},
        previous=Previous(findings=(old,)),
        sections=LIGHT,
    )
    assert section(got, "I2").light is light
    assert any(f.id == "F-H3-01" for f in got.findings)


def test_a_first_pack_has_nothing_overdue_and_says_information() -> None:
    from tests.validation.test_pack import build

    got = build(make_inputs(1000))
    row_of = next(r for r in got.register_rows if r.test_id == "finding.overdue")
    assert row_of.light is Light.INFORMATION
    assert got.summary.findings_count["critical"] == sum(f.severity == "critical" for f in got.findings)


@pytest.mark.parametrize(
    ("threshold", "values", "worst"),
    [
        ("≥ 0.9 pass, ≥ 0.8 watch", (0.88, 0.71, 0.79), "0.71"),
        ("≤ 0.05 pass, ≤ 0.2 watch", (0.3, 0.9, 0.4), "0.9"),
        ("0.8-1.25 pass, 0.67-1.5 watch", (0.6, 2.1, 1.6), "2.1"),
    ],
)
def test_a_finding_names_the_worst_of_its_rows(threshold: str, values: tuple[float, ...], worst: str) -> None:
    rows = [
        row("fair.air", "F1", Light.FAIL, segment=f"g{k}", statistic=value, threshold=threshold)
        for k, value in enumerate(values)
    ]
    (found,) = draw_up(rows, (), SPEC)
    assert f": {worst}" in found.fact


def test_a_finding_of_a_p_rule_names_the_smallest_p() -> None:
    rows = [
        row("cal.jeffreys", "E2", Light.FAIL, segment=f"grade {p}", p_raw=p, threshold="p ≥ 0.05 pass, p < 0.01 fail")
        for p in (0.009, 0.0001, 0.004)
    ]
    (found,) = draw_up(rows, (), SPEC)
    assert "(grade 0.0001)" in found.fact

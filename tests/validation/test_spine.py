from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from countermark.errors import EvidenceError
from countermark.records.evidence import Pack
from countermark.records.lights import Light
from countermark.validation.collect import evidence
from countermark.validation.development import development_evidence
from countermark.validation.features_review import prohibited_inputs, review_evidence
from countermark.validation.governance_scope import LEVELS, tier_of, use_evidence
from countermark.validation.inputs import EvidenceInput, SectionEvidence
from countermark.validation.lineage import lineage_evidence
from countermark.validation.outcome import outcome_evidence
from tests.validation.builders import make_inputs, make_spec, spec_document
from tests.validation.test_pack import LIGHT, build, digests_of, section


@pytest.fixture(scope="module")
def sound() -> EvidenceInput:
    return make_inputs(2000)


def part(key: str, **changes: Any) -> dict[str, Any]:
    """One block of the spec document with some keys replaced."""
    return {key: spec_document()[key] | changes}


def light_of(found: SectionEvidence | Pack, test_id: str) -> Light:
    rows = found.rows if isinstance(found, SectionEvidence) else found.register_rows
    return next(r.light for r in rows if r.test_id == test_id and r.segment == "all")


def with_spec(inputs: EvidenceInput, **changes: Any) -> EvidenceInput:
    return replace(inputs, spec=make_spec(**changes))


def with_samples(inputs: EvidenceInput, **columns: Any) -> EvidenceInput:
    """The inputs with some columns of every sample made from its outcome."""
    samples = {}
    for role, sample in inputs.samples.items():
        features = dict(sample.features) | {name: make(sample.y) for name, make in columns.items()}
        samples[role] = replace(sample, features=features)
    return replace(inputs, samples=samples)


# -- A1, B1, B3, B4 ---------------------------------------------------------------------------------------------


def test_a_complete_identity_passes(sound: EvidenceInput) -> None:
    got = build(sound)
    assert light_of(got, "identity.complete") is Light.PASS
    assert section(got, "A1").light is Light.PASS
    assert {"results", "evidence", "challenger"} <= set(got.digests)


@pytest.mark.parametrize("flaw", ["missing", "malformed", "owner"])
def test_an_incomplete_identity_fails(sound: EvidenceInput, flaw: str) -> None:
    from countermark.validation.assemble import pack

    inputs = with_spec(sound, **part("identity", owner="TBD")) if flaw == "owner" else sound
    digests = digests_of(inputs, **({} if flaw == "owner" else {"lock": "" if flaw == "missing" else "A" * 64}))
    got = pack(evidence(inputs, sections=LIGHT), inputs.spec, digests=digests, narrative={}, sections=LIGHT)
    assert section(got, "A1").light is Light.FAIL
    assert ("owner" if flaw == "owner" else "digest of lock") in section(got, "A1").conclusion
    assert got.summary.opinion == "Not fit"


def test_the_tier_is_the_published_matrix() -> None:
    assert [[tier_of(e, p) for p in LEVELS] for e in LEVELS] == [[3, 3, 2], [3, 2, 1], [2, 1, 1]]


@pytest.mark.parametrize(("tier", "light"), [(None, Light.INFORMATION), (1, Light.PASS), (2, Light.FAIL)])
def test_the_recorded_tier_must_reproduce(sound: EvidenceInput, tier: int | None, light: Light) -> None:
    got = build(sound, **part("tiering", tier=tier))
    assert section(got, "B1").light is light
    figure = next(b for b in section(got, "B1").blocks if b.type == "figure")
    marked = [
        (r, c) for r, row in zip(figure.rows, figure.cells, strict=True) for c, v in zip(LEVELS, row, strict=True) if v
    ]
    assert marked == [("medium", "high")]


@pytest.mark.parametrize(
    ("validator", "light"),
    [
        ("Val Validator", Light.PASS),
        ("dan  developer", Light.FAIL),
        (None, Light.NOT_EVALUATED),
        ("?", Light.NOT_EVALUATED),
    ],
)
def test_the_validator_must_not_be_the_developer(sound: EvidenceInput, validator: str | None, light: Light) -> None:
    got = build(sound, **part("identity", validator=validator))
    assert section(got, "B3").light is light


def test_planned_sections_are_listed_as_done_or_not(sound: EvidenceInput) -> None:
    table = next(b for b in section(build(sound), "B3").blocks if b.type == "table" and b.id == "B3-T2")
    done = {row["code"]: row["done"] for row in table.rows}
    assert "E1" not in done
    assert done["H3"] == "no"
    assert all(row["why"] for row in table.rows)


def test_gaps_of_the_crosswalk_come_first_and_have_an_owner(sound: EvidenceInput) -> None:
    got = build(sound)
    assert section(got, "B4").light is Light.WATCH
    table = next(b for b in section(got, "B4").blocks if b.type == "table")
    gaps = [str(row["missing"]).startswith("Gap: ") for row in table.rows]
    assert any(gaps)
    assert gaps == sorted(gaps, reverse=True)
    assert all(
        str(row["missing"]).endswith("Owner: Ann Owner") for row, gap in zip(table.rows, gaps, strict=True) if gap
    )
    names = " ".join(str(row["clause"]) for row in table.rows)
    assert "CCD2" in names
    assert "SR 26-2" not in names


def test_a_clause_that_is_guidance_or_still_to_come_is_no_gap(sound: EvidenceInput) -> None:
    table = next(b for b in section(build(sound), "B4").blocks if b.type == "table")
    gaps = [row for row in table.rows if str(row["missing"]).startswith("Gap")]
    open_ended = [row for row in table.rows if row["missing"] and row not in gaps]
    assert any("AI Act" in str(row["clause"]) for row in open_ended)
    assert not any("Owner" in str(row["missing"]) for row in open_ended)
    assert not any("AI Act" in str(row["clause"]) for row in gaps)


def test_an_unowned_gap_fails(sound: EvidenceInput) -> None:
    assert light_of(build(sound, **part("identity", owner="?")), "crosswalk.unowned") is Light.FAIL


def test_without_a_jurisdiction_nothing_is_crossed(sound: EvidenceInput) -> None:
    got = build(sound, **part("purpose", jurisdictions=[]))
    assert section(got, "B4").light is Light.NOT_EVALUATED
    assert "the spec declares no jurisdiction" in section(got, "B4").conclusion


def test_no_pack_claims_what_a_pack_must_not(sound: EvidenceInput) -> None:
    text = build(sound).model_dump_json().lower()
    for claim in ("compliant", "complies", "no bias", "is approved", "was approved"):
        assert claim not in text


# -- B2 ---------------------------------------------------------------------------------------------------------


def limits(*items: dict[str, Any]) -> dict[str, Any]:
    return part("purpose", limits=[{"text": "Bound."} | item for item in items])


@pytest.mark.parametrize(
    ("limit", "light"),
    [
        ({"measure": "approval_rate", "minimum": 0.5, "maximum": 1.0}, Light.PASS),
        ({"measure": "approval_rate", "maximum": 0.5}, Light.FAIL),
        ({"measure": "outcome_rate", "maximum": 0.2}, Light.PASS),
        ({"measure": "outcome_rate", "minimum": 0.2}, Light.FAIL),
        ({"measure": "utilisation", "minimum": -10.0, "maximum": 10.0}, Light.PASS),
        ({"measure": "utilisation", "maximum": 0.0}, Light.FAIL),
        ({"measure": "income"}, Light.PASS),
    ],
)
def test_each_use_limit_has_a_live_value(sound: EvidenceInput, limit: dict[str, Any], light: Light) -> None:
    found = use_evidence(with_spec(sound, **limits(limit)))
    assert light_of(found, "use.limits") is light
    assert found.blocks[0].rows[0]["value"] is not None  # type: ignore[union-attr]


def test_a_limit_without_a_live_value_is_not_a_pass(sound: EvidenceInput) -> None:
    empty = with_samples(sound, income=lambda y: np.full(y.size, np.nan))
    found = use_evidence(with_spec(empty, **limits({"measure": "income", "maximum": 0.0})))
    assert light_of(found, "use.limits") is Light.NOT_EVALUATED
    assert light_of(use_evidence(sound), "use.limits") is Light.NOT_EVALUATED


@pytest.mark.parametrize("measure", ["purpose", "utilization"])
def test_a_limit_on_something_else_is_refused(sound: EvidenceInput, measure: str) -> None:
    with pytest.raises(EvidenceError, match=f"measures '{measure}', which is no numeric input"):
        use_evidence(with_spec(sound, **limits({"measure": measure})))


# -- C1 ---------------------------------------------------------------------------------------------------------


def reconciled(inputs: EvidenceInput, computed: float, expected: float = 1000.0) -> EvidenceInput:
    difference = abs(computed - expected) / expected if expected else None if computed else 0.0
    entry = {"name": "rows", "expected": expected, "computed": computed, "difference": difference, "unreadable": 0}
    source = dict(inputs.contract["source"]) | {"reconcile": [entry]}
    contract = dict(inputs.contract) | {"source": source}
    return with_spec(replace(inputs, contract=contract), **part("source", reconcile={"rows": expected}))


@pytest.mark.parametrize(
    ("computed", "expected", "light"),
    [
        (1000.0, 1000.0, Light.PASS),
        (1001.0, 1000.0, Light.PASS),
        (1005.0, 1000.0, Light.WATCH),
        (1011.0, 1000.0, Light.FAIL),
        (0.0, 0.0, Light.PASS),
        (1.0, 0.0, Light.FAIL),
    ],
)
def test_control_totals_are_judged(sound: EvidenceInput, computed: float, expected: float, light: Light) -> None:
    assert light_of(lineage_evidence(reconciled(sound, computed, expected)), "data.reconciliation") is light


def test_without_control_totals_nothing_is_reconciled(sound: EvidenceInput) -> None:
    found = lineage_evidence(sound)
    assert light_of(found, "data.reconciliation") is Light.NOT_EVALUATED
    assert light_of(found, "data.hash") is Light.PASS


def test_a_declared_total_that_was_not_compared_stops_the_pack(sound: EvidenceInput) -> None:
    with pytest.raises(EvidenceError, match="control total 'rows' of source 'toy' was not compared"):
        lineage_evidence(with_spec(sound, **part("source", reconcile={"rows": 10})))


def test_a_digest_that_differs_fails(sound: EvidenceInput) -> None:
    assert light_of(lineage_evidence(replace(sound, data_hash="0" * 64)), "data.hash") is Light.FAIL
    other = lineage_evidence(with_spec(sound, **part("source", sha256="0" * 64)))
    assert light_of(other, "data.hash") is Light.FAIL
    assert "1 digest differs" in other.conclusion


def test_the_waterfall_adds_up(sound: EvidenceInput) -> None:
    steps = [
        {"step": "read", "rows": 2100, "dropped": 0, "reason": ""},
        {"step": "immature", "rows": 2000, "dropped": 100, "reason": "horizon ends after the as-of date"},
    ]
    dataset = dict(sound.dataset) | {"rows_in": 2100, "waterfall": steps}
    found = lineage_evidence(replace(sound, dataset=dataset))
    figure = next(b for b in found.blocks if b.type == "figure" and b.chart == "waterfall")
    assert figure.series[0].y == (2100.0, -100.0)
    table = next(b for b in found.blocks if b.type == "table" and b.id == "C1-T2")
    assert table.caption.endswith("agree.")
    dataset["rows_in"] = 2200
    table = next(b for b in lineage_evidence(replace(sound, dataset=dataset)).blocks if getattr(b, "id", "") == "C1-T2")
    assert "do not agree" in table.caption  # type: ignore[union-attr]


# -- C3 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "light"),
    [
        ({"evaluated": True, "immature": 20, "n": 1000, "reason": ""}, Light.PASS),
        ({"evaluated": True, "immature": 100, "n": 1000, "reason": ""}, Light.WATCH),
        ({"evaluated": True, "immature": 101, "n": 1000, "reason": ""}, Light.FAIL),
        ({"evaluated": False, "immature": 0, "n": 1000, "reason": "no dates"}, Light.NOT_EVALUATED),
        ({"evaluated": True, "immature": 0, "n": 0, "reason": ""}, Light.NOT_EVALUATED),
    ],
)
def test_immature_labels_are_judged(sound: EvidenceInput, record: dict[str, Any], light: Light) -> None:
    found = outcome_evidence(replace(sound, dataset=dict(sound.dataset) | {"maturity": record}))
    assert light_of(found, "outcome.immature") is light
    assert (found.extras["matured_share"] is None) is (light is Light.NOT_EVALUATED)


def test_cohorts_add_up_to_the_samples(sound: EvidenceInput) -> None:
    figure = next(b for b in outcome_evidence(sound).blocks if b.type == "figure")
    total = sum(sum(series.n or ()) for series in figure.series)
    assert total == sum(s.n for s in sound.samples.values())
    assert all(list(series.x) == sorted(series.x) for series in figure.series)


def test_without_dates_there_are_no_cohorts() -> None:
    found = outcome_evidence(make_inputs(400, dates=False))
    assert not any(b.type == "figure" for b in found.blocks)
    assert any(b.type == "text" and "no dates" in b.text for b in found.blocks)


# -- D1 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assumptions", "light"),
    [
        ([{"text": "a", "test": "stab.psi"}], Light.PASS),
        ([{"text": "a", "test": "stab.psi", "expires": "2026-06-30"}], Light.PASS),
        ([{"text": "a", "test": "stab.psi", "expires": "2026-06-29"}], Light.WATCH),
        ([{"text": "a", "test": "stab.psi"}, {"text": "b"}], Light.WATCH),
        ([], Light.NOT_EVALUATED),
    ],
)
def test_an_assumption_needs_a_test(sound: EvidenceInput, assumptions: list[dict[str, str]], light: Light) -> None:
    found = development_evidence(with_spec(sound, **part("purpose", assumptions=assumptions)))
    assert light_of(found, "dev.assumptions") is light


def test_an_assumption_that_names_no_test_of_ours_is_refused(sound: EvidenceInput) -> None:
    purpose = part("purpose", assumptions=[{"text": "a", "test": "stab.psy"}])
    with pytest.raises(EvidenceError, match=r"assumption 1 names the unknown test 'stab\.psy'"):
        development_evidence(with_spec(sound, **purpose))


def test_the_register_of_assumptions_shows_the_light_of_the_test(sound: EvidenceInput) -> None:
    purpose = part("purpose", assumptions=[{"text": "a", "test": "disc.auc_delong"}, {"text": "b", "test": "rob.seed"}])
    table = next(b for b in section(build(sound, **purpose), "D1").blocks if getattr(b, "id", "") == "D1-T3")
    assert [row["light"] for row in table.rows] == ["Pass", "not computed"]


def test_the_tuning_curve_is_drawn(sound: EvidenceInput) -> None:
    trials = [
        {"number": i, "params": {"c": v}, "value": v, "folds": [v], "best_so_far": max(0.7, v)}
        for i, v in enumerate((0.7, 0.69, 0.72))
    ]
    training = dict(sound.training) | {"trials": trials, "best_trial": 2}
    tuning = {"trials": 3, "seed": 1, "space": {"c": {"kind": "float", "low": 0.1, "high": 1.0}}}
    found = development_evidence(with_spec(replace(sound, training=training), tuning=tuning))
    figure = next(b for b in found.blocks if b.type == "figure")
    assert figure.series[1].y == (0.7, 0.7, 0.72)
    assert "trial 3 is best" in figure.caption
    space = next(b for b in found.blocks if getattr(b, "id", "") == "D1-T2")
    assert space.rows == ({"name": "c", "value": "1", "range": "0.1 to 1"},)  # type: ignore[union-attr]


# -- D2 ---------------------------------------------------------------------------------------------------------


def test_a_sound_model_has_no_leak_no_prohibited_input_and_expected_signs() -> None:
    found = review_evidence(make_inputs())
    for test_id in ("feature.prohibited", "feature.leakage", "feature.sign"):
        assert light_of(found, test_id) is Light.PASS
    table = next(b for b in found.blocks if b.type == "table")
    by_name = {row["input"]: row for row in table.rows}
    assert by_name["utilisation"]["found"] == "increasing"
    assert by_name["income"]["found"] == "decreasing"
    assert by_name["purpose"]["verdict"] == "not declared"


@pytest.mark.parametrize("hidden", ["values", "missing values", "two ends"])
def test_a_leaked_column_fails(sound: EvidenceInput, hidden: str) -> None:
    rng = np.random.default_rng(3)
    make = {
        "values": lambda y: np.where(rng.random(y.size) < 0.01, 1 - y, y) + 0.0,
        "missing values": lambda y: np.where(y == 1, np.nan, rng.normal(size=y.size)),
        "two ends": lambda y: np.where(y == 1, 5.0 * rng.choice([-1.0, 1.0], y.size), rng.normal(size=y.size)),
    }[hidden]
    found = review_evidence(with_samples(sound, tenure=make))
    assert light_of(found, "feature.leakage") is Light.FAIL
    assert found.extras["strongest"] == "tenure"
    got = build(with_samples(sound, tenure=make))
    assert section(got, "D2").light is Light.FAIL
    assert got.summary.opinion == "Not fit"
    assert got.findings[0].id == "F-D2-01"
    assert got.findings[0].severity == "critical"


def test_a_rare_level_that_gives_the_outcome_away_counts_by_its_rate(sound: EvidenceInput) -> None:
    def level(y: Any) -> Any:
        third = np.cumsum(y) % 3 == 0
        return np.array(["rare" if e and t else "common" for e, t in zip(y, third, strict=True)], object)

    found = review_evidence(with_samples(sound, purpose=level))
    row = next(r for r in found.rows if r.test_id == "feature.leakage" and r.segment == "purpose")
    assert row.statistic == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize("why", ["restricted", "protected", "leak", "outcome", "source"])
def test_a_prohibited_input_fails(sound: EvidenceInput, why: str) -> None:
    features = {k: dict(v) for k, v in spec_document()["features"].items()}
    changes: dict[str, Any] = {"features": features}
    if why == "restricted":
        features["tenure"]["restricted"] = True
    elif why == "protected":
        changes["fairness"] = {
            "criterion": "x",
            "attributes": {"age": {"column": "tenure", "provenance": "self-reported", "reference": "old"}},
        }
    elif why == "leak":
        changes |= part("data", leaks=["tenure"])
    elif why == "outcome":
        changes |= part("outcome", column="tenure")
    else:
        features["tenure"]["source"] = "sex"
    spec = make_spec(**changes)
    assert prohibited_inputs(spec) == ("tenure",)
    found = review_evidence(replace(sound, spec=spec))
    assert light_of(found, "feature.prohibited") is Light.FAIL
    assert "tenure" in found.conclusion


def test_a_sign_against_expectation_is_watched_and_noise_is_not() -> None:
    features = {k: dict(v) for k, v in spec_document()["features"].items()}
    features["utilisation"]["expected"] = "decreasing"
    found = review_evidence(make_inputs(spec=make_spec(features=features)))
    assert light_of(found, "feature.sign") is Light.WATCH
    assert found.extras["contrary"] == ["utilisation"]
    noise = with_samples(make_inputs(), tenure=lambda y: np.random.default_rng(5).normal(size=y.size))
    assert light_of(review_evidence(noise), "feature.sign") is Light.PASS


def test_without_directions_signs_do_not_gate(sound: EvidenceInput) -> None:
    features = {k: dict(v) | {"expected": "none"} for k, v in spec_document()["features"].items()}
    found = review_evidence(with_spec(sound, features=features))
    row = next(r for r in found.rows if r.test_id == "feature.sign")
    assert row.light is Light.NOT_EVALUATED
    assert not row.gating


def test_few_events_are_not_a_pass() -> None:
    found = review_evidence(make_inputs(60, base_rate=0.05))
    assert light_of(found, "feature.leakage") is Light.NOT_EVALUATED


def test_a_lost_input_is_named(sound: EvidenceInput) -> None:
    features = spec_document()["features"] | {"lost": {"meaning": "x"}}
    with pytest.raises(EvidenceError, match="input 'lost' of the spec is not in the data set"):
        review_evidence(with_spec(sound, features=features))


def test_charts_are_capped(sound: EvidenceInput) -> None:
    names = [f"x{i:02d}" for i in range(20)]
    wide = with_samples(sound, **{n: (lambda y: np.random.default_rng(1).normal(size=y.size)) for n in names})
    features = spec_document()["features"] | {n: {"meaning": n} for n in names}
    found = review_evidence(with_spec(wide, features=features))
    assert sum(b.type == "figure" for b in found.blocks) == 6
    assert len(next(b for b in found.blocks if getattr(b, "id", "") == "D2-T3").rows) == 25  # type: ignore[union-attr]
    assert len(next(b for b in found.blocks if b.type == "table").rows) == 25


# -- I1 ---------------------------------------------------------------------------------------------------------

LIMITATION = {"text": "t", "effect": "e", "size": "2 pp", "control": "c", "owner": "Ann Owner", "expires": "2027-01-01"}


@pytest.mark.parametrize(
    ("changes", "unsized", "expired"),
    [
        ({}, Light.PASS, Light.PASS),
        ({"size": None}, Light.WATCH, Light.PASS),
        ({"size": "?"}, Light.WATCH, Light.PASS),
        ({"expires": "2026-06-29"}, Light.PASS, Light.FAIL),
        ({"expires": None}, Light.PASS, Light.PASS),
    ],
)
def test_limitations_need_a_size_and_a_live_control(
    sound: EvidenceInput, changes: dict[str, Any], unsized: Light, expired: Light
) -> None:
    got = build(sound, limitations=[LIMITATION | changes])
    assert light_of(got, "limitation.unsized") is unsized
    assert light_of(got, "limitation.expired") is expired


def test_no_limitation_at_all_is_not_evaluated(sound: EvidenceInput) -> None:
    assert section(build(sound), "I1").light is Light.NOT_EVALUATED


# -- I3 and J ---------------------------------------------------------------------------------------------------


def test_nothing_is_signed_by_the_tool(sound: EvidenceInput) -> None:
    got = build(sound)
    table = next(b for b in section(got, "I3").blocks if getattr(b, "id", "") == "I3-T4")
    assert {row["role"] for row in table.rows} >= {"Model owner", "Validator"}
    assert all(row["signature"] is None and row["date"] is None for row in table.rows)
    assert got.summary.opinion in section(got, "I3").conclusion
    assert got.identity["status"] == "Draft – unsigned"


def test_appendices_hold_register_policy_manifest_and_dictionary(sound: EvidenceInput) -> None:
    got = build(sound)
    tables = {b.id: b for s in got.sections for b in s.blocks if b.type == "table"}
    printed = tables["J1-T1"]
    assert printed.total_rows == len(got.register_rows)
    assert {row["test_id"] for row in printed.rows} == {r.test_id for r in got.register_rows}
    must = [r for r in got.register_rows if r.gating or r.light in (Light.FAIL, Light.WATCH)]
    assert len(must) < len(printed.rows) < len(got.register_rows)
    assert len(tables["J2-T2"].rows) == len(got.policy["limits"])
    assert {row["id"] for row in tables["J2-T4"].rows} == {r.test_id for r in got.register_rows}
    assert {row["name"] for row in tables["J3-T1"].rows} == set(sound.semantics)
    assert {row["column"] for row in tables["J4-T1"].rows} == set(sound.spec.contract.columns)
    assert "dvc repro models/toy_pd/dvc.yaml" in section(got, "J6").conclusion

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from countermark.errors import EvidenceError
from countermark.records.digest import canonical_json
from countermark.records.evidence import Figure, Pack
from countermark.records.lights import Light
from countermark.validation.assemble import PACK_ONLY_KEYS, pack
from countermark.validation.catalogue import SEVERITIES
from countermark.validation.collect import Evidence, check_section, evidence, policy_digest
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.narrative import parse_narrative
from countermark.validation.registry import SECTIONS, SectionEntry
from countermark.validation.sealing import REGISTER_COLUMNS, register_csv, wrong_digests
from countermark.validation.summary import required_extra, smallest_detectable
from tests.validation.builders import make_inputs, make_spec, policy_document, spec_document

LIGHT = tuple(entry for entry in SECTIONS if entry.code not in ("C2", "C4", "E3", "F1", "F2", "F3", "G1", "G2", "G3"))
"""The registry with the slow sections not computed."""
LIGHT += tuple(replace(e, compute=None) for e in SECTIONS if e not in LIGHT)
LIGHT = tuple(sorted(LIGHT, key=lambda e: [s.code for s in SECTIONS].index(e.code)))


def digests_of(inputs: EvidenceInput, **changes: str) -> dict[str, str]:
    known = {
        "data": inputs.data_hash,
        "scorer": inputs.scorer.digest,
        "policy": policy_digest(inputs.spec.policy),
        "lock": "a" * 64,
        "semantics": "b" * 64,
        "spec": "c" * 64,
    }
    return {key: value for key, value in (known | changes).items() if value}


def build(inputs: EvidenceInput, sections: tuple[SectionEntry, ...] = LIGHT, **spec: Any) -> Pack:
    declared = make_spec(**spec) if spec else inputs.spec
    inputs = replace(inputs, spec=declared)
    computed = evidence(inputs, sections=sections)
    return pack(computed, declared, digests=digests_of(inputs), narrative={}, sections=sections)


@pytest.fixture(scope="module")
def sound() -> EvidenceInput:
    return make_inputs()


@pytest.fixture(scope="module")
def full(sound: EvidenceInput) -> Evidence:
    return evidence(sound)


@pytest.fixture(scope="module")
def whole(sound: EvidenceInput, full: Evidence) -> Pack:
    return pack(full, sound.spec, digests=digests_of(sound), narrative={})


def section(of: Pack, code: str) -> Any:
    return next(s for s in of.sections if s.code == code)


# -- evidence ---------------------------------------------------------------------------------------------------


def test_evidence_goes_to_json_and_back(full: Evidence) -> None:
    again = Evidence.from_bytes(full.to_bytes())
    assert again == full
    assert again.to_bytes() == full.to_bytes()


def test_evidence_is_the_same_twice_and_says_what_it_computes(sound: EvidenceInput) -> None:
    told: list[str] = []
    first = evidence(sound, told.append, sections=LIGHT)
    assert first.to_bytes() == evidence(sound, sections=LIGHT).to_bytes()
    assert told == [f"{e.code} {e.title}" for e in LIGHT if e.compute is not None]


def test_evidence_writes_to_no_array(sound: EvidenceInput) -> None:
    before = {r: (s.y.copy(), {k: v.copy() for k, v in s.features.items()}) for r, s in sound.samples.items()}
    evidence(sound, sections=LIGHT)
    for role, (y, features) in before.items():
        assert np.array_equal(sound.samples[role].y, y)
        for name, values in features.items():
            same = sound.samples[role].features[name]
            assert np.array_equal(same, values, equal_nan=values.dtype.kind == "f")


def test_numbers_of_tables_and_figures_have_nine_digits(full: Evidence) -> None:
    def floats(value: Any) -> Any:
        if isinstance(value, float):
            yield value
        elif isinstance(value, dict):
            for item in value.values():
                yield from floats(item)
        elif isinstance(value, list):
            for item in value:
                yield from floats(item)

    assert all(float(f"{x:.8e}") == x for x in floats(full.model_dump(mode="json")))


def test_a_gating_table_that_names_no_test_is_refused(sound: EvidenceInput) -> None:
    policy = policy_document()
    policy["gating"] = policy["gating"] | {"disc.auk": {"kinds": ["pd"]}}
    with pytest.raises(EvidenceError, match=r"gates tests that are not registered: 'disc\.auk'"):
        evidence(replace(sound, spec=make_spec(policy=policy)), sections=LIGHT)


def test_a_row_with_an_unregistered_test_is_refused(sound: EvidenceInput) -> None:
    row = sound.row(Statistic("disc.nonsense", "E1", "x", sample="holdout", n=1, value=1.0))
    with pytest.raises(EvidenceError, match=r"unregistered test 'disc\.nonsense'"):
        check_section("E1", SectionEvidence(code="E1", conclusion="x", rows=(row,)))


def test_a_section_speaks_for_itself_alone(sound: EvidenceInput) -> None:
    row = sound.row(Statistic("disc.auc", "E1", "x", sample="holdout", n=1, value=1.0))
    with pytest.raises(EvidenceError, match="row of another section"):
        check_section("E2", SectionEvidence(code="E2", conclusion="x", rows=(row,)))
    with pytest.raises(EvidenceError, match="under another code"):
        check_section("E2", SectionEvidence(code="E1", conclusion="x"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"deep": [float("nan")]}])
def test_an_extra_that_cannot_be_stored_is_refused(sound: EvidenceInput, value: Any) -> None:
    odd = SectionEntry("E1", "t", "t", "x", compute=lambda _: SectionEvidence("E1", "c", extras={"odd": value}))
    with pytest.raises(EvidenceError, match="extra 'odd' of section E1"):
        evidence(sound, sections=(odd,))


def test_numpy_extras_become_plain(sound: EvidenceInput) -> None:
    extras = {"a": np.float64(1.5), "b": np.arange(2), "c": (np.int64(1), None), "d": Light.PASS}
    entry = SectionEntry("E1", "t", "t", "x", compute=lambda _: SectionEvidence("E1", "c", extras=extras))
    stored = evidence(sound, sections=(entry,)).sections[0].extras
    assert canonical_json(stored) == b'{"a":1.5,"b":[0,1],"c":[1,null],"d":"pass"}'


# -- the pack ---------------------------------------------------------------------------------------------------


def test_the_pack_is_sealed_and_the_same_twice(sound: EvidenceInput, full: Evidence, whole: Pack) -> None:
    again = pack(full, sound.spec, digests=digests_of(sound), narrative={})
    assert again.pack_hash == whole.pack_hash == whole.content_hash()
    assert wrong_digests(whole) == ()
    assert Pack.model_validate_json(whole.model_dump_json()) == whole


def test_a_changed_number_breaks_the_seal(whole: Pack) -> None:
    at = next(i for i, r in enumerate(whole.register_rows) if r.section == "E1" and r.statistic is not None)
    rows = list(whole.register_rows)
    rows[at] = rows[at].model_copy(update={"statistic": 0.123})
    forged = whole.model_copy(update={"register_rows": tuple(rows)})
    assert wrong_digests(forged) == ("pack_hash", "evidence")
    spec = whole.spec | {"split": whole.spec["split"] | {"seed": 99}}
    assert wrong_digests(whole.model_copy(update={"spec": spec})) == ("pack_hash", "results")


def test_wording_and_identity_leave_results_and_evidence_alone(sound: EvidenceInput, full: Evidence) -> None:
    first = pack(full, sound.spec, digests=digests_of(sound), narrative={})
    spec = spec_document()
    identity = spec["identity"] | {"owner": "Other Owner"}
    tiering = spec["tiering"] | {"exposure": "low", "tier": 3}
    changed = make_spec(identity=identity, tiering=tiering, version="1.0.1", title="Renamed")
    narrative = parse_narrative("## limits\nNot abroad.\n## discrimination\nWorst in the west.", "toy.md")
    second = pack(full, changed, digests=digests_of(sound), narrative=narrative)
    assert {"identity", "tiering", "version", "title"} <= set(PACK_ONLY_KEYS)
    for name in ("results", "evidence"):
        assert first.digests[name] == second.digests[name]
    assert first.pack_hash != second.pack_hash
    texts = [b.markdown for s in second.sections for b in s.blocks if b.type == "narrative" and b.markdown]
    assert sorted(texts) == ["Not abroad.", "Worst in the west."]


def test_a_changed_policy_or_scorer_changes_the_digests(sound: EvidenceInput) -> None:
    first = build(sound)
    policy = policy_document()
    policy["limits"]["stab.psi"] = policy["limits"]["stab.psi"] | {"fail": 0.3}
    assert build(sound, policy=policy).digests["evidence"] != first.digests["evidence"]
    other = build(make_inputs(halve_p=True))
    assert other.digests["results"] != first.digests["results"]


def test_a_mended_word_changes_no_result_and_a_direction_does(sound: EvidenceInput, whole: Pack) -> None:
    features = {k: dict(v) for k, v in spec_document()["features"].items()}
    features["income"] |= {"meaning": "income, as declared", "proxy_note": "none known"}
    outcome = spec_document()["outcome"] | {"notes": ["A note."]}
    assert build(sound, features=features, outcome=outcome).digests["results"] == whole.digests["results"]
    features["income"]["monotone"] = True
    assert build(sound, features=features).digests["results"] != whole.digests["results"]


@pytest.mark.parametrize("key", ["policy", "as_of", "name"])
def test_evidence_of_another_spec_is_refused(sound: EvidenceInput, full: Evidence, key: str) -> None:
    value: Any = {"policy": policy_document() | {"version": "9.9.9"}, "as_of": "2026-07-31", "name": "other_pd"}[key]
    with pytest.raises(EvidenceError, match="the evidence was computed for another"):
        pack(full, make_spec(**{key: value}), digests=digests_of(sound), narrative={})


def test_a_digest_that_contradicts_the_evidence_is_refused(sound: EvidenceInput, full: Evidence) -> None:
    with pytest.raises(EvidenceError, match="digest of 'scorer' is not the one"):
        pack(full, sound.spec, digests=digests_of(sound, scorer="e" * 64), narrative={})


def test_every_section_of_the_standard_prints_something(whole: Pack) -> None:
    assert [s.code for s in whole.sections] == [entry.code for entry in SECTIONS]
    for printed in whole.sections:
        assert len(printed.conclusion) > 10, printed.code
        if printed.status == "computed" and printed.code != "A2":
            assert printed.blocks, printed.code
        if printed.status == "not_computed":
            assert printed.light is Light.NOT_EVALUATED
            assert printed.conclusion.startswith("This section will hold ")
            assert printed.conclusion.endswith("This build does not compute it.")


def test_a_section_that_does_not_apply_says_why(sound: EvidenceInput) -> None:
    lgd = build(sound, kind="lgd")
    assert section(lgd, "G2").status == "not_applicable"
    assert section(lgd, "G2").conclusion.startswith("Not applicable to kind 'lgd', because ")
    assert section(lgd, "G2").light is Light.INFORMATION


def test_blocks_are_numbered_once(whole: Pack) -> None:
    ids = [b.id for s in whole.sections for b in s.blocks if b.type not in ("text", "narrative")]
    assert len(ids) == len(set(ids))
    for printed in whole.sections:
        assert all(b.id.startswith(f"{printed.code}-") for b in printed.blocks if b.type not in ("text", "narrative"))


def test_an_answer_for_a_section_that_is_not_computed_is_still_printed(sound: EvidenceInput) -> None:
    computed = evidence(sound, sections=LIGHT)
    narrative = parse_narrative("## fairness\nParity.", "toy.md")
    got = pack(computed, sound.spec, digests=digests_of(sound), narrative=narrative, sections=LIGHT)
    assert section(got, "F1").status == "not_computed"
    assert [b.markdown for b in section(got, "F1").blocks] == ["Parity."]


def test_what_is_not_computed_blocks_fit_for_use(sound: EvidenceInput) -> None:
    assert next(e for e in LIGHT if e.code == "E3").compute is None
    got = build(sound)
    rows = [r for r in got.register_rows if r.test_id == "stab.psi" and r.gating]
    assert [(r.light, r.section) for r in rows] == [(Light.NOT_EVALUATED, "E3")]
    assert rows[0].n_reason == "this build does not compute section E3"
    assert got.summary.opinion == "Unable to conclude"
    assert section(got, "E3").light is Light.NOT_EVALUATED


def test_the_register_is_in_the_order_of_the_sections_and_exports(whole: Pack) -> None:
    order = [entry.code for entry in SECTIONS]
    places = [order.index(row.section) for row in whole.register_rows]
    assert places == sorted(places)
    lines = list(csv.reader(io.StringIO(register_csv(whole).decode("utf-8"))))
    standard = (
        "test_id, section, kind, segment, sample, n, events, statistic, effect, ci_low, ci_high, ci_method, h0, "
        "alternative, df, p_raw, p_adj, power, power_alternative, light, light_rule, threshold, threshold_source, "
        "policy_version, previous_value, n_reason, data_hash, semantics_ref, seed"
    )
    assert ", ".join(lines[0]) == standard == ", ".join(REGISTER_COLUMNS)
    assert len(lines) == len(whole.register_rows) + 1


def passing(code: str, test_id: str) -> SectionEntry:
    """A section whose one gating test passes."""

    def compute(inputs: EvidenceInput) -> SectionEvidence:
        row = inputs.row(Statistic(test_id, code, "x", sample=inputs.test.role, n=9, value=0.0, limit="data.hash"))
        return SectionEvidence(code, "Passes.", rows=(row,))

    return replace(next(e for e in SECTIONS if e.code == code), compute=compute)


@pytest.mark.parametrize(
    ("reconciled", "opinion"), [(True, "Fit for use"), (False, "Fit with conditions")], ids=["totals", "no totals"]
)
def test_a_sound_model_is_fit(sound: EvidenceInput, reconciled: bool, opinion: str) -> None:
    explained = {"G1": "xai.shap_additivity", "G2": "xai.reason_codes"}
    sections = tuple(passing(e.code, explained[e.code]) if e.code in explained else e for e in SECTIONS)
    limitation = {"text": "t", "effect": "e", "size": "1 pp", "control": "c", "owner": "Ann Owner"}
    bound = {"text": "Approvals.", "measure": "approval_rate", "minimum": 0.5}
    document = spec_document()
    inputs, changes = sound, {"purpose": document["purpose"] | {"limits": [bound]}, "limitations": [limitation]}
    if reconciled:
        total = {"name": "rows", "expected": 8000.0, "computed": 8000.0, "difference": 0.0, "unreadable": 0}
        source = dict(sound.contract["source"]) | {"reconcile": [total]}
        inputs = replace(sound, contract=dict(sound.contract) | {"source": source})
        changes["source"] = document["source"] | {"reconcile": {"rows": 8000}}
    got = build(inputs, sections, **changes)
    assert got.summary.opinion == opinion, got.summary.not_evaluated
    assert len(got.summary.conditions) == (0 if reconciled else 1)
    assert not [r for r in got.register_rows if r.gating and r.light is Light.FAIL]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("E1", {"null_model": True}),
        ("E2", {"halve_p": True}),
        ("E3", {"shift": 1.5}),
        ("E5", {"champion_worse": True}),
        ("F1", {"unfair": 1.5}),
        ("G3", {"non_monotone": 1.5}),
    ],
)
def test_a_planted_fault_turns_its_section_red_and_the_opinion_not_fit(code: str, fault: dict[str, Any]) -> None:
    got = build(make_inputs(**fault), SECTIONS)
    assert section(got, code).light is Light.FAIL
    assert got.summary.opinion == "Not fit"
    assert any(f.section == code for f in got.findings)


@pytest.mark.parametrize(("n", "rate"), [(0, 0.1), (4, 0.1), (40, 0.001), (40, 0.1), (40, 0.5), (200, 0.03)])
def test_tiny_samples_never_crash_and_never_pass_for_lack_of_power(n: int, rate: float) -> None:
    got = build(make_inputs(n, base_rate=rate), SECTIONS)
    assert section(got, "E1").light is not Light.PASS
    assert section(got, "E2").light is not Light.PASS
    assert got.summary.opinion in ("Unable to conclude", "Not fit")
    assert all(r.n_reason for r in got.register_rows if r.light is Light.NOT_EVALUATED)


# -- page 2 -----------------------------------------------------------------------------------------------------


def test_page_two_fits(whole: Pack) -> None:
    page = whole.summary
    assert len(page.key_numbers) == 8
    assert 1 <= len(page.why) <= 3
    assert len(page.top_findings) <= 5
    assert page.change_class == "New model: first validation"
    assert page.decide_by == "2026-09-30"
    assert page.matured_share == "100.00\u202f% of labels are mature (C3)."
    assert page.reproduce == "dvc repro models/toy_pd/dvc.yaml"
    assert page.signature_status == "Draft – unsigned"
    assert set(page.findings_count) == set(SEVERITIES)
    assert "AUC" in page.worst_segment
    assert "n = " in page.worst_segment


def test_each_key_number_is_a_row_of_the_register(whole: Pack) -> None:
    for number in whole.summary.key_numbers:
        assert number.test_id is not None, number.label
        same = [r for r in whole.register_rows if r.test_id == number.test_id and r.section == number.section]
        assert any(r.statistic == number.value and r.light == number.light for r in same), number.label


def test_the_strip_holds_every_section_that_gates(whole: Pack) -> None:
    gating = {row.section for row in whole.register_rows if row.gating}
    assert {code for code, _, _ in whole.summary.strip} == gating
    lights = {s.code: s.light for s in whole.sections}
    assert all(lights[code] is light for code, _, light in whole.summary.strip)


def test_a_missing_extra_is_an_error_that_names_it() -> None:
    with pytest.raises(EvidenceError, match="section E1 does not say 'smallest_detectable_auc_drop'"):
        smallest_detectable({"E1": {}})
    assert required_extra({"E1": {"x": None}}, "E1", "x") is None
    assert "neither E1 nor E2" in smallest_detectable({})


def test_the_record_of_page_two_holds_every_text_in_full(sound: EvidenceInput) -> None:
    uses = [f"use {i} {'x' * 300}" for i in range(9)]
    control = {
        "text": "Shift was not seen.", "effect": "unknown", "size": "up to 3 points", "owner": "Ann Owner",
        "control": f"Cap the limit {'and count the cases ' * 30}weekly.", "expires": "2027-06-30",
        "tests": ["stab.psi", "rep.c2st", "rep.range", "data.contract", "data.hash", "xai.shap_additivity"],
    }  # fmt: skip
    purpose = spec_document()["purpose"] | {"prohibited": uses}
    page = build(sound, purpose=purpose, limitations=[control]).summary
    assert page.restrictions == tuple(f"Not for: {use}" for use in uses)
    (told,) = [text for text in page.conditions if "stab.psi" in text]
    assert len(told) > 600
    assert told.endswith("weekly. Owner Ann Owner, by 2027-06-30. Covers " + told.partition("Covers ")[2])
    assert "xai.shap_additivity (Not evaluated)." in told
    assert len(page.not_evaluated) > 6
    assert all("…" not in text for text in (*page.conditions, *page.not_evaluated, *page.top_findings, *page.why))


def test_page_two_counts_as_its_lists_count(sound: EvidenceInput) -> None:
    got = build(sound)
    rows = [r for r in got.register_rows if r.gating and r.light is Light.NOT_EVALUATED]
    tests = {(r.section, r.test_id) for r in rows}
    assert f"{len(rows)} were not evaluated ({len(tests)} tests)" in got.summary.why[-1]
    listed = [test for line in got.summary.not_evaluated for test in line.split(": ")[0].partition(" ")[2].split(", ")]
    assert len(listed) == len(tests)
    assert got.summary.not_computed == tuple(s.code for s in got.sections if s.status == "not_computed")
    assert "E3" in got.summary.not_computed


def test_the_gain_carries_the_light_of_its_section(sound: EvidenceInput) -> None:
    champion = sound.test.margin
    worse = {
        role: replace(s, margin=s.challenger_margin, challenger_margin=s.margin)
        for role, s in sound.samples.items()
        if s.challenger_margin is not None
    }
    assert worse
    got = build(replace(sound, samples={**sound.samples, **worse}))
    assert not np.array_equal(champion, worse[sound.test.role].margin)
    light = section(got, "E5").light
    assert light is Light.FAIL
    gain = next(r for r in got.register_rows if r.test_id == "bench.gain")
    assert gain.light is not light
    assert got.summary.gain_over_simple.endswith(f"; E5 is Fail, the gain alone {gain.light.word}.")


def test_figures_and_tables_are_numbered_without_gaps(whole: Pack, sound: EvidenceInput) -> None:
    undated = make_inputs(dates=False, out_of_time=False)
    for got in (whole, build(undated, SECTIONS)):
        for printed in got.sections:
            for letter, kinds in (("F", ("figure",)), ("T", ("table", "facts"))):
                ids = [b.id for b in printed.blocks if b.type in kinds]
                assert ids == [f"{printed.code}-{letter}{k}" for k in range(1, len(ids) + 1)], printed.code


@pytest.mark.parametrize("code", ["E1", "E2", "E3"])
def test_no_trend_is_drawn_of_fewer_than_two_vintages(code: str) -> None:
    undated = make_inputs(dates=False, out_of_time=False)
    of_one = make_inputs(out_of_time=False)
    one = replace(
        of_one,
        samples={r: replace(s, vintage=np.full(s.n, "2013Q2", dtype=object)) for r, s in of_one.samples.items()},
    )
    entry = next(e for e in SECTIONS if e.code == code)
    assert entry.compute is not None
    for inputs, told in ((undated, "the data has no dates."), (one, "all rows are of 2013Q2, so there is no trend")):
        blocks = entry.compute(inputs).blocks
        assert not [b for b in blocks if isinstance(b, Figure) and b.x_label == "Vintage"]
        assert any(told in getattr(b, "text", "") for b in blocks), told


def test_no_printed_text_is_a_power_of_ten_or_a_raw_number(whole: Pack) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, item in value.items():
                if key not in ("id", "digest", "key"):
                    yield from texts(item)
        elif isinstance(value, list | tuple):
            for item in value:
                yield from texts(item)

    printed = [whole.summary.model_dump(mode="json"), [s.model_dump(mode="json") for s in whole.sections]]
    bad = [t for t in texts(printed) if re.search(r"10\^|\d[eE][+-]?\d{2}\b(?![0-9a-f])", t) and len(t) != 64]
    assert not bad, bad

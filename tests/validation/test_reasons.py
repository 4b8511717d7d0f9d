from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from countermark.records.lights import Light
from countermark.scoring.decision import NO_ADVERSE_FACTOR
from countermark.validation.reasons import reasons
from tests.validation.builders import LogisticScorer, make_inputs, make_spec, spec_document
from tests.validation.sections import check_pure, check_section, light, row

TEST = "xai.reason_codes"


def decision(**changes):
    return make_spec(decision=spec_document()["decision"] | changes)


def reason_texts(**changes):
    found = dict(spec_document()["decision"]["reasons"])
    for code, features in changes.items():
        if features is None:
            del found[code]
        else:
            found[code] = found.get(code, {"text": f"text of {code}"}) | {"features": features}
    return decision(reasons=found)


def test_sound_reasons_pass():
    inputs = make_inputs()
    got = reasons(inputs)
    check_section(got)
    assert light(got) is Light.PASS
    fidelity = row(got, TEST, "fidelity")
    assert fidelity.gating
    assert fidelity.statistic == 1.0
    assert fidelity.n == np.count_nonzero(inputs.test.p >= 0.2)
    assert row(got, TEST, "coverage").statistic == 0
    assert row(got, TEST, "coverage").gating
    assert row(got, TEST, "stability").statistic > 0.95
    assert not row(got, TEST, "stability").gating
    assert got.findings == ()
    ids = {b.id for b in got.blocks if hasattr(b, "id")}
    assert ids == {f"G2-T{k}" for k in range(1, 6)} | {f"G2-F{k}" for k in range(1, 6)}


def test_ten_cases_are_worked_and_their_reasons_are_the_largest_contributions():
    inputs = make_inputs()
    table = next(b for b in reasons(inputs).blocks if getattr(b, "id", "") == "G2-T4")
    assert [r["kind"] for r in table.rows] == ["declined"] * 4 + ["approved"] * 3 + ["borderline"] * 3
    phi, _ = inputs.scorer.contributions(inputs.test.features)
    development = inputs.samples["development"]
    before, _ = inputs.scorer.contributions(development.features)
    worth = phi - before[development.p < 0.2].mean(axis=0)
    worst = int(np.argmax(inputs.test.p))
    order = np.argsort(-worth[worst])[:4]
    want = [f"R0{k + 1} ({worth[worst, k]:+.2f})" for k in order if worth[worst, k] > 0]
    assert table.rows[0]["p"] == pytest.approx(inputs.test.p.max(), rel=1e-8)
    assert table.rows[0]["codes"] == ", ".join(want)
    for case in table.rows:
        assert case["outcome"] == ("decline" if case["p"] >= 0.2 else "approve")
        assert (case["texts"] == "none is sent") == (case["outcome"] == "approve")


def test_a_waterfall_ends_at_the_margin_of_its_case():
    inputs = make_inputs()
    figure = next(b for b in reasons(inputs).blocks if getattr(b, "id", "") == "G2-F1")
    worst = int(np.argmax(inputs.test.p))
    assert sum(figure.series[0].y) == pytest.approx(inputs.test.margin[worst], abs=1e-6)


def test_no_key_and_no_value_of_a_person_is_printed():
    inputs = make_inputs()
    worst = int(np.argmax(inputs.test.p))
    text = json.dumps([b.model_dump(mode="json") for b in reasons(inputs).blocks])
    assert str(inputs.test.entity[worst]) not in text
    assert repr(float(inputs.test.features["utilisation"][worst])) not in text


def test_an_input_without_a_reason_fails():
    got = reasons(make_inputs(n=4000, spec=reason_texts(R03=None)))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, TEST, "coverage").statistic == 1
    assert "'income'" in got.conclusion
    assert got.extras["uncovered"] == ["income"]


def test_an_input_under_two_reasons_fails():
    got = reasons(make_inputs(n=4000, spec=reason_texts(R09=["income"])))
    check_section(got)
    assert row(got, TEST, "coverage").light is Light.FAIL


def test_no_reasons_at_all_fail_and_say_so():
    got = reasons(make_inputs(n=2000, spec=decision(reasons={})))
    check_section(got)
    assert light(got) is Light.FAIL
    assert row(got, TEST, "fidelity").light is Light.NOT_EVALUATED
    assert "declares no reasons" in got.conclusion


@dataclasses.dataclass(frozen=True)
class Misleading(LogisticScorer):
    """Contributions credited to the wrong inputs: they still add up."""

    def contributions(self, columns):
        phi, base = super().contributions(columns)
        return np.roll(phi, 1, axis=1), base


def test_reasons_that_are_not_what_moved_the_score_fail():
    inputs = make_inputs()
    sound = inputs.scorer
    got = reasons(dataclasses.replace(inputs, scorer=Misleading(sound.intercept, sound.weights, sound.purposes)))
    check_section(got)
    fidelity = row(got, TEST, "fidelity")
    assert fidelity.light is Light.FAIL
    assert fidelity.statistic < 0.9
    assert light(got) is Light.FAIL


def test_too_few_declined_cases_are_not_evaluated():
    for n in (40, 400):
        got = reasons(make_inputs(n=n))
        check_section(got)
        assert light(got) is Light.NOT_EVALUATED


def test_nobody_declined_and_nobody_approved_are_not_evaluated():
    nobody = reasons(make_inputs(n=2000, spec=decision(cutoff=0.999)))
    check_section(nobody)
    assert light(nobody) is Light.NOT_EVALUATED
    assert "nobody would be given a reason" in nobody.so_what
    everybody = reasons(make_inputs(n=2000, spec=decision(cutoff=1e-9)))
    check_section(everybody)
    assert light(everybody) is Light.NOT_EVALUATED
    assert "no reference" in row(everybody, TEST, "fidelity").n_reason


def test_a_declined_case_without_an_adverse_factor_is_a_finding():
    inputs = make_inputs()
    development = inputs.samples["development"]
    # The favourable cases of development look worse than the declined cases of the test sample.
    worse = {name: values + 9.0 * np.sign(dict(inputs.scorer.weights)[name]) if name != "purpose" else values
             for name, values in development.features.items()}  # fmt: skip
    samples = dict(inputs.samples) | {"development": dataclasses.replace(development, features=worse)}
    got = reasons(dataclasses.replace(inputs, samples=samples))
    check_section(got)
    unexplained = row(got, TEST, "no adverse factor").statistic
    assert unexplained > 0
    assert [f.severity for f in got.findings] == ["medium"]
    assert got.findings[0].evidence_id == "xai.reason_codes|out_of_time|no adverse factor"
    table = next(b for b in got.blocks if getattr(b, "id", "") == "G2-T5")
    assert table.rows[-1]["text"] == NO_ADVERSE_FACTOR
    assert table.rows[-1]["cases"] == unexplained


def test_reasons_by_group_need_groups():
    with_groups, without = reasons(make_inputs()), reasons(make_inputs(protected=False))
    check_section(without)
    heat = next(b for b in with_groups.blocks if getattr(b, "id", "") == "G2-F5")
    assert len(heat.columns) == 2
    assert all(0 <= c <= 1 for cells in heat.cells for c in cells)
    assert not any(getattr(b, "id", "") == "G2-F5" for b in without.blocks)


def test_a_model_that_declines_nobody_does_not_gate():
    purpose = spec_document()["purpose"] | {"can_decline": False}
    got = reasons(make_inputs(n=4000, spec=make_spec(purpose=purpose)))
    assert not any(r.gating for r in got.rows)


def test_the_section_is_pure():
    check_pure(reasons, make_inputs(n=2000))

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from countermark.metrics.somers import LGD_BUCKETS, bucketed, generalised_auc
from countermark.records.evidence import Pack, Section
from countermark.records.lights import Light
from countermark.validation.amount_benchmark import amount_benchmark
from countermark.validation.amount_level import amount_level
from countermark.validation.amount_outcome import amount_outcome
from countermark.validation.amount_ranking import amount_ranking
from countermark.validation.assemble import pack
from countermark.validation.collect import evidence
from countermark.validation.drivers import drivers
from countermark.validation.effects import effect_shapes
from countermark.validation.features_review import review_evidence
from countermark.validation.inputs import EvidenceInput
from countermark.validation.registry import SECTIONS
from countermark.validation.stability import stability
from tests.validation.amount_builders import amount_spec, make_amounts
from tests.validation.sections import check_pure, check_section, light, row

COMPUTED = {
    "C3": amount_outcome,
    "D2": review_evidence,
    "E1": amount_ranking,
    "E2": amount_level,
    "E3": stability,
    "E5": amount_benchmark,
    "G1": drivers,
    "G3": effect_shapes,
}
KINDS = ("lgd", "ead")


@pytest.fixture(scope="module")
def sound() -> EvidenceInput:
    return make_amounts()


def printed(inputs: EvidenceInput) -> Pack:
    names = ("spec", "lock", "policy", "semantics", "source", "decision")
    digests = {name: name[0].encode().hex()[0] * 64 for name in names}
    computed = evidence(inputs)
    return pack(computed, inputs.spec, digests=digests | {"policy": computed.policy}, narrative={})


def section(got: Pack, code: str) -> Section:
    return next(s for s in got.sections if s.code == code)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", COMPUTED)
def test_every_section_can_be_printed_and_writes_nothing(kind: str, code: str) -> None:
    inputs = make_amounts(kind=kind)
    got = COMPUTED[code](inputs)
    assert got.code == code
    if code not in ("C3", "D2", "G3"):  # their written parts add what the check asks for; G3 may say "None of"
        check_section(got)
    check_pure(COMPUTED[code], inputs)
    assert all(r.events is None for r in got.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_model_passes(kind: str) -> None:
    inputs = make_amounts(8000, kind=kind)
    for code in ("D2", "E1", "E2", "E3", "E5", "G1", "G3"):
        assert light(COMPUTED[code](inputs)) is Light.PASS, code


def test_the_rank_measure_of_a_loss_is_the_ecb_one(sound: EvidenceInput) -> None:
    got = amount_ranking(sound)
    test = sound.test
    want = generalised_auc(bucketed(test.y, LGD_BUCKETS), bucketed(test.p, LGD_BUCKETS))
    main = row(got, "disc.somersd_gauc", sample=test.role)
    assert main.statistic == pytest.approx(want.value, rel=1e-8)
    assert (main.ci_low, main.ci_high) == pytest.approx(want.interval, rel=1e-8)
    bare = row(got, "disc.somersd_gauc", "not bucketed")
    assert bare.statistic == pytest.approx(generalised_auc(test.y, test.p).value, rel=1e-8)
    money = amount_ranking(make_amounts(kind="ead"))
    assert row(money, "disc.somersd_gauc", sample="out_of_time").statistic == pytest.approx(bare.statistic, rel=1e-4)
    assert not [r for r in money.rows if r.segment == "not bucketed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [{"null_model": True}, {"constant": True}], ids=["null", "constant"])
def test_a_model_that_ranks_nothing_fails_e1(kind: str, fault: dict[str, Any]) -> None:
    got = amount_ranking(make_amounts(kind=kind, **fault))
    assert light(got) is Light.FAIL
    assert got.conclusion.startswith("The estimate is not shown to rank better than chance")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bias", "test", "word"), [(-0.06, "cal", "under-estimated"), (0.2, "cal.coverage", "over-estimated")]
)
def test_a_biased_model_fails_e2(kind: str, bias: float, test: str, word: str) -> None:
    got = amount_level(make_amounts(kind=kind, bias=bias))
    assert light(got) is Light.FAIL
    assert any(r.light is Light.FAIL and r.gating and r.test_id.startswith(test) for r in got.rows)
    assert word in got.conclusion


def test_under_estimation_in_one_pool_alone_is_found(sound: EvidenceInput) -> None:
    test = sound.test
    top = test.grade == len(test.grade_names) - 1
    # What the top pool lacks, the others have too much: the portfolio stays right.
    y = test.y + np.where(top, 0.12, -0.12 * top.mean() / (1 - top.mean()))
    inputs = dataclasses.replace(sound, samples={**sound.samples, "out_of_time": dataclasses.replace(test, y=y)})
    got = amount_level(inputs)
    assert row(got, "cal.lgd_t").light is Light.PASS
    assert light(got) is Light.FAIL
    assert "P5" in got.conclusion


def test_a_shortfall_that_is_significant_but_small_is_watched() -> None:
    got = amount_level(make_amounts(60_000, bias=-0.006))
    main = row(got, "cal.lgd_t")
    assert (main.p_raw or 1.0) < 0.01
    assert main.light is Light.WATCH
    assert "significant, not material" in main.light_rule


def test_few_rows_are_held_against_a_bootstrap_and_fewer_against_nothing() -> None:
    few = amount_level(make_amounts(80))
    assert "bootstrap" in row(few, "cal.lgd_t").label
    assert light(few) is Light.NOT_EVALUATED
    fewer = amount_level(make_amounts(32))
    assert row(fewer, "cal.lgd_t").n_reason == "the portfolio has 8 rows; the policy asks for 10"


def test_a_leak_is_told(sound: EvidenceInput) -> None:
    inputs = make_amounts(leak=True)
    review = review_evidence(inputs)
    assert light(review) is Light.FAIL
    assert row(review, "feature.leakage").label == "largest gAUC of one input: cover"
    assert light(review_evidence(sound)) is Light.PASS


def test_a_champion_that_errs_more_than_the_challenger_fails_e5(sound: EvidenceInput) -> None:
    got = amount_benchmark(make_amounts(champion_worse=True))
    assert light(got) is Light.FAIL
    assert got.conclusion.startswith("The champion is worse than the challenger (logistic)")
    saved = row(amount_benchmark(sound), "bench.error_gain", sample="out_of_time")
    test = sound.test
    errors = [np.mean((test.y - p) ** 2) for p in (test.p, test.challenger_p)]
    assert saved.statistic == pytest.approx(1.0 - errors[0] / errors[1], rel=1e-7)


def test_without_a_challenger_nothing_is_compared() -> None:
    got = amount_benchmark(make_amounts(challenger=False))
    assert light(got) is Light.NOT_EVALUATED
    assert {r.test_id for r in got.rows} == {"bench.error_diff", "bench.error_gain"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wave_against_the_direction_fails_g3(kind: str) -> None:
    assert light(effect_shapes(make_amounts(1600, kind=kind, non_monotone=0.2))) is Light.FAIL


def test_amounts_below_zero_and_above_one_are_counted_not_clipped(sound: EvidenceInput) -> None:
    got = amount_outcome(sound)
    test = sound.test
    assert row(got, "outcome.outside", "below 0").statistic == pytest.approx(float((test.y < 0).mean()), rel=1e-8)
    assert row(got, "outcome.outside", "above 1").statistic == pytest.approx(float((test.y > 1).mean()), rel=1e-8)
    money = amount_outcome(make_amounts(kind="ead"))
    assert not [r for r in money.rows if r.segment == "above 1"]


def test_rows_of_one_customer_widen_the_interval() -> None:
    got = amount_ranking(make_amounts(customers=60))
    alone, together = (row(got, "disc.somersd_gauc", s, "out_of_time") for s in ("all", "by customer"))
    assert together.gating
    assert together.statistic == alone.statistic
    assert "(60 customers)" in together.label


def test_a_later_pack_compares_with_the_earlier_one(sound: EvidenceInput) -> None:
    before = {"disc.somersd_gauc|out_of_time|all": 0.9, "disc.somersd_gauc|out_of_time|standard error": 0.01}
    got = amount_ranking(dataclasses.replace(sound, previous={"rows": before}))
    fallen = row(got, "disc.gauc_vs_initial")
    assert fallen.light is Light.FAIL
    assert fallen.effect == pytest.approx(0.9 - (row(got, "disc.somersd_gauc", sample="out_of_time").statistic or 0))
    assert row(got, "disc.gauc_vs_initial", "both variances").light is Light.FAIL


@pytest.mark.parametrize("dates", [True, False], ids=["dates", "no dates"])
def test_without_dates_nothing_is_shown_by_vintage(dates: bool) -> None:
    inputs = make_amounts(dates=dates)
    for code in ("E1", "E2", "C3"):
        got = COMPUTED[code](inputs)
        assert any("vintage=" in r.segment for r in got.rows) is (dates and code != "C3")


@pytest.mark.parametrize("kind", KINDS)
def test_the_pack_of_an_amount_is_whole(kind: str) -> None:
    got = printed(make_amounts(kind=kind))
    assert [s.code for s in got.sections] == [entry.code for entry in SECTIONS]
    assert section(got, "G2").status == "not_applicable"
    assert {s.code for s in got.sections if s.status == "computed"} >= set(COMPUTED) | {"A1", "B2", "C1", "D1", "J6"}
    for code in ("F1", "F2", "F3"):
        assert "was not evaluated: the model estimates an amount" in section(got, code).conclusion
        rows = [r for r in got.register_rows if r.section == code]
        assert rows
        assert all(r.light is Light.NOT_EVALUATED and not r.gating for r in rows)
    assert all(r.events is None for r in got.register_rows)
    gates = {"disc.somersd_gauc", "disc.gauc_drop", "cal.coverage", "bench.error_diff", "bench.error_gain"}
    gates |= {"cal.lgd_t" if kind == "lgd" else "cal.ccf_t"}
    assert gates <= {r.test_id for r in got.register_rows if r.gating}
    assert not {"cal.jeffreys", "disc.auc_delong", "bench.gain"} & {r.test_id for r in got.register_rows}
    text = got.model_dump_json()
    assert "cut-off in use" not in text
    assert "generalised AUC" in section(got, "J5").model_dump_json()
    assert "Wilson" not in section(got, "D2").model_dump_json()


def test_page_two_of_an_amount_speaks_of_amounts(sound: EvidenceInput) -> None:
    page = printed(sound).summary
    assert [k.test_id for k in page.key_numbers] == [
        "disc.somersd_gauc", "disc.gauc_drop", "disc.loss_capture", "cal.coverage", "cal.lgd_t", "cal.error",
        "cal.error", "stab.psi",
    ]  # fmt: skip
    assert "gAUC" in page.worst_segment
    assert "under-estimation of" in page.smallest_detectable
    assert "squared error saved" in page.gain_over_simple


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 4, 24, 60, 200])
def test_tiny_samples_never_crash_and_never_pass_for_lack_of_power(kind: str, n: int) -> None:
    got = printed(make_amounts(n, kind=kind))
    if n < 100:
        assert section(got, "E2").light is not Light.PASS
        assert section(got, "E1").light is not Light.PASS
        assert section(got, "E5").light is not Light.PASS
    assert got.summary.opinion in ("Unable to conclude", "Not fit")
    assert all(r.n_reason for r in got.register_rows if r.light is Light.NOT_EVALUATED)


def test_a_use_limit_may_bound_the_mean_estimate(sound: EvidenceInput) -> None:
    limit = {"text": "Near the past.", "measure": "mean_estimate", "maximum": 0.2}
    spec = amount_spec(purpose=sound.spec.purpose.model_dump() | {"limits": [limit]})
    got = printed(dataclasses.replace(sound, spec=spec))
    assert section(got, "B2").light is Light.FAIL

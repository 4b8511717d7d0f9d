"""Every check: a clean month passes, a planted fault is seen, thin evidence says that it is thin."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from countermark.errors import MonitoringError
from countermark.metrics.discrimination import auc
from countermark.monitoring.findings import sentence, standing_findings
from countermark.monitoring.run import plans_for, run_monitor
from countermark.records.decision import DecisionRecord
from countermark.records.lights import Light
from countermark.records.profile import CategoricalProfile, GroupProfile
from countermark.scoring.decider import VALUE_ONLY
from tests.monitoring.productions import AS_OF, LIMITS, UPPER, World, bound, kpi, only, plan, profile, release

Rng = np.random.Generator


def features(record: DecisionRecord, **changes: Any) -> DecisionRecord:
    return msgspec.structs.replace(record, features={**record.features, **changes})


def some(share: float, how: Any) -> Any:
    """The change for a share of decisions, and none for the others."""
    return lambda record, rng: how(record, rng) if rng.random() < share else record


def expired(record: DecisionRecord, _: Rng) -> DecisionRecord:
    return msgspec.structs.replace(record, views=(msgspec.structs.replace(record.views[0], expired=("x",)),))


# Check, subject, and the fault that turns it.
FAULTS: dict[str, tuple[str, Any]] = {
    "missing_shift": ("x", some(0.3, lambda r, _: features(r, x=None))),
    "unseen_share": ("region", some(0.05, lambda r, _: features(r, region="moon"))),
    "expired_share": ("all", some(0.3, expired)),
    "feature_psi": ("x", lambda r, _: features(r, x=None if r.features["x"] is None else float(r.features["x"]) + 1.0)),
    "score_psi": ("score", lambda r, _: msgspec.structs.replace(r, p=(r.probability**2).hex())),
    "decision_shift": ("all", some(0.3, lambda r, _: msgspec.structs.replace(r, decision="decline"))),
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_seen_and_a_clean_month_passes(world: World, check: str) -> None:
    subject, fault = FAULTS[check]
    world.decide(2500)
    clean = world.read(only(check))
    assert {reading.light for reading in clean.values()} == {Light.PASS}
    world.decide(2500, change=fault, seed=3)
    found = world.read(only(check))
    assert found[subject].light in (Light.WATCH, Light.FAIL)
    assert found[subject].n == 5000
    others = {reading.light for name, reading in found.items() if name != subject}
    assert others <= {Light.PASS}, "the fault is told of its own subject alone"


def test_a_clean_month_passes_every_check(world: World) -> None:
    world.decide(2500, labels=0)
    world.decide(2500, ago=45, seed=5, labels=2500)
    run = world.run(plan(), groups=world.groups)
    assert {(r.check, r.subject, r.light) for r in run.watch.readings if r.light is not Light.PASS} == set()
    assert {r.check for r in run.watch.readings} == set(LIMITS)
    assert run.findings == ()
    assert run.watch.off == ()
    assert (run.watch.decisions, run.watch.matured, run.watch.labelled) == (2500, 2500, 2500)


def test_a_check_without_a_limit_is_off_and_named(world: World) -> None:
    world.decide(200)
    watch = world.run(only("auc")).watch
    assert {r.check for r in watch.readings} == {"auc"}
    assert set(watch.off) == set(LIMITS) - {"auc"}


@pytest.mark.parametrize(("n", "light"), [(1200, Light.PASS), (600, Light.WATCH), (90, Light.FAIL), (0, Light.FAIL)])
def test_volume_is_decisions_a_day(world: World, n: int, light: Light) -> None:
    world.decide(n)
    reading = world.read(only("daily_volume"))["all"]
    assert reading.value == pytest.approx(n / 30)
    assert reading.light is light


def test_figures_are_those_of_the_counts(world: World) -> None:
    made = world.decide(1000, change=some(0.3, lambda r, _: features(r, x=None)))
    missing = sum(r.features["x"] is None for r in made) / 1000
    then = profile().numeric["x"].missing / 20_000
    reading = world.read(only("missing_shift"))["x"]
    assert reading.value == pytest.approx(missing - then, rel=1e-8)
    assert reading.reference == pytest.approx(then, rel=1e-8)
    good = sum(r.decision == "approve" for r in made) / 1000
    shift = world.read(only("decision_shift"))["all"]
    assert shift.value == pytest.approx(abs(good - profile().favourable / 20_000), rel=1e-8)


# --- thin evidence


@pytest.mark.parametrize("check", sorted(FAULTS))
def test_too_few_rows_are_not_evaluated(world: World, check: str) -> None:
    world.decide(60, change=FAULTS[check][1])
    for reading in world.read(only(check)).values():
        assert (reading.light, reading.reason) == (
            Light.NOT_EVALUATED,
            "60 decisions in the window, 100 are needed",
        )


def test_an_empty_window_is_not_evaluated(world: World) -> None:
    found = world.run(plan()).watch.readings
    assert {r.light for r in found if r.check != "daily_volume"} == {Light.NOT_EVALUATED}
    assert all(r.reason for r in found if r.check != "daily_volume")


def test_few_rows_do_not_show_that_nothing_drifted(world: World) -> None:
    world.decide(150)
    reading = world.read(only("feature_psi"))["x"]
    assert reading.light is Light.NOT_EVALUATED
    assert "sampling noise alone gives a PSI of" in (reading.reason or "")
    assert reading.value is not None
    assert reading.value < 0.1


def test_a_drift_far_beyond_chance_is_seen_on_few_rows(world: World) -> None:
    world.decide(150, change=FAULTS["feature_psi"][1])
    reading = world.read(only("feature_psi"))["x"]
    assert reading.light is Light.FAIL
    assert reading.reason is None


def test_a_shift_that_chance_explains_is_not_judged(world: World) -> None:
    """Beyond its limit on 120 rows, and nothing but luck: told, and no finding."""
    world.decide(120, seed=6)
    limit = {"kind": "upper", "watch": 0.001, "fail": 0.002, "source": "t"}
    reading = world.read(plan(limits={"decision_shift": limit}))["all"]
    assert reading.value is not None
    assert reading.value > 0.002
    assert reading.light is Light.NOT_EVALUATED
    assert "by chance with probability" in (reading.reason or "")


def test_drifts_are_screened_together(world: World) -> None:
    """One input is enough to be seen among two, and not among many: the q-value grows with their number."""
    x = profile().numeric["x"]
    many = {f"x{k:02d}": x for k in range(400)}
    declared = {"missing_shift": {"kind": "upper", "watch": 0.001, "fail": 0.005, "source": "t"}}
    fault = some(0.02, lambda r, _: features(r, x=None))
    world.decide(
        1500,
        change=lambda r, rng: features(fault(r, rng), **dict.fromkeys(many, r.features["x"])),
    )
    alone = world.read(plan(limits=declared))["x"]
    assert alone.light in (Light.WATCH, Light.FAIL)
    world.releases["1.0.0"] = release(profile=profile(numeric={"x": x, **many}))
    crowded = world.read(plan(limits=declared))["x"]
    assert (crowded.value, crowded.light) == (alone.value, Light.NOT_EVALUATED)


# --- performance


def test_performance_of_matured_labels(world: World) -> None:
    made = world.decide(2000, ago=45, labels=2000)
    reading = world.read(only("auc"))["score"]
    production = {o.key: o for o in world.ledger.read(["outcome"])}
    y = np.array([msgspec.json.decode(production[r.id].payload)["value"] for r in made])
    expected = auc(y.astype(np.int64), np.array([r.probability for r in made]))
    assert reading.value == pytest.approx(expected.value, rel=1e-8)
    assert expected.interval is not None
    assert (reading.low, reading.high) == pytest.approx(expected.interval, rel=1e-8)
    assert (reading.n, reading.reference) == (2000, 0.77)


def shuffled(record: DecisionRecord, rng: Rng) -> DecisionRecord:
    return msgspec.structs.replace(record, p=float(rng.random()).hex())


@pytest.mark.parametrize("check", ["auc", "auc_drop"])
def test_a_score_that_no_longer_ranks_is_seen(world: World, check: str) -> None:
    world.decide(1500, ago=45, labels=1500, change=shuffled)
    assert world.light(only(check), "score") is Light.FAIL


def test_a_level_that_is_too_low_is_seen(world: World) -> None:
    world.decide(1500, ago=45, labels=1500, change=lambda r, _: msgspec.structs.replace(r, p=(r.probability / 2).hex()))
    assert world.light(only("calibration")) is Light.FAIL


def upside_down(record: DecisionRecord, _: Rng) -> DecisionRecord:
    return msgspec.structs.replace(record, p=((1.0 - record.probability) / 10).hex())


@pytest.mark.parametrize(("check", "subject"), [("auc", "score"), ("auc_drop", "score"), ("calibration", "all")])
def test_immature_labels_do_not_count(world: World, check: str, subject: str) -> None:
    """Early labels of a broken score: defaults come first, and would paint any picture."""
    world.decide(1500, ago=45, labels=1500)
    before = world.read(only(check))[subject]
    assert before.light is Light.PASS
    world.decide(1500, ago=29.9, labels=1500, change=upside_down, seed=9)
    assert world.read(only(check))[subject] == before
    later = world.run(only(check), days=0.2).watch.readings[0]
    assert (later.n, later.light) == (3000, Light.FAIL), "a few hours later they have matured"


def test_decisions_before_the_performance_window_do_not_count(world: World) -> None:
    world.decide(500, ago=90.5, labels=500)
    assert world.run(only("auc")).watch.matured == 0
    assert world.run(plan(limits=only("auc").limits, performance_days=61)).watch.matured == 500


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(0, "no matured label: 300 decisions are old enough and have none"), (12, "events and")],
)
def test_too_few_labels_are_not_evaluated(world: World, labels: int, reason: str) -> None:
    world.decide(300, ago=45, labels=labels)
    for check, subject in (("auc", "score"), ("auc_drop", "score"), ("calibration", "all")):
        reading = world.read(only(check))[subject]
        assert reading.light is Light.NOT_EVALUATED
        assert reason in (reading.reason or "")


def estimated(record: DecisionRecord, _: Rng) -> DecisionRecord:
    return msgspec.structs.replace(record, decision=VALUE_ONLY)


def test_amounts_have_no_performance_of_events(world: World) -> None:
    world.releases["1.0.0"] = release(profile=profile(events=None, performance={}))
    made = world.decide(300, ago=45, change=estimated)
    for one in made:
        world.told(one.id, 0.4, ago=10)
    assert world.run(only("auc")).watch.labelled == 300
    for check in ("auc", "auc_drop", "calibration"):
        (reading,) = world.run(only(check)).watch.readings
        assert (reading.light, reading.reason) == (
            Light.NOT_EVALUATED,
            "the outcome is an amount, and this check is about events",
        )


def test_an_outcome_that_cannot_be_one_blinds_nothing_and_is_a_finding(world: World) -> None:
    made = world.decide(2000, ago=45, labels=2000)
    before = world.run(only("auc"))
    assert not before.findings
    world.told(made[0].id, 7.5, ago=20)
    world.told(made[1].id, 1, ago=20, observed_at="2999-01-01T00:00:00.000000Z")
    world.told(made[2].id, 1, ago=20, observed_at="1-01-02T00:00:00.000000Z")
    found = world.run(only("auc"))
    (reading,) = [one for one in found.watch.readings if one not in before.watch.readings]
    assert len(found.watch.readings) == 2, "the AUC is what it was"
    assert (reading.check, reading.value, reading.light) == ("odd_outcomes", 3.0, Light.FAIL)
    (finding,) = found.findings
    assert finding.id == "m/odd_outcomes/all"
    assert finding.owner == "Olga"
    assert finding.text == f"number of outcomes set aside as impossible is 3 on {reading.n} rows; limit = 0"
    world.told(made[0].id, 0, ago=19)
    for one in made[1:3]:
        world.told(one.id, 1, ago=19)
    (closed,) = world.run(only("auc"), days=0.1).findings
    assert (closed.id, closed.status) == ("m/odd_outcomes/all", "closed")
    assert closed.text == "no outcome of the window is set aside any more"


def test_outcomes_that_were_set_aside_before_the_window_are_old_news(world: World) -> None:
    made = world.decide(500, ago=60, labels=500)
    world.told(made[0].id, 7.5, ago=20)
    assert [f.check for f in world.run(only("auc")).findings] == ["odd_outcomes"]
    (gone,) = world.run(only("auc"), days=10.5).findings
    assert gone.status == "closed"


def test_a_model_that_was_of_amounts_before_has_no_performance_of_events(world: World) -> None:
    made = world.decide(500, ago=45, labels=500)
    (before,) = world.decide(1, ago=45, change=estimated, seed=4)
    world.told(before.id, 0.4, ago=1)
    reading = world.read(only("auc"))["score"]
    assert len(made) == 500
    assert (reading.light, reading.reason) == (Light.NOT_EVALUATED, "1 of 501 outcomes are neither 0 nor 1")


def test_without_an_auc_at_validation_there_is_no_drop(world: World) -> None:
    world.releases["1.0.0"] = release(profile=profile(performance={}))
    world.decide(1000, ago=45, labels=1000)
    reading = world.read(only("auc_drop"))["score"]
    assert (reading.light, reading.reason) == (Light.NOT_EVALUATED, "the validation has no AUC to compare with")


# --- fairness


def against_women(world: World, share: float) -> Any:
    def change(record: DecisionRecord, rng: Rng) -> DecisionRecord:
        odd = int(record.id[1:]) % 2 == 0  # every second decision is about a woman
        return msgspec.structs.replace(record, decision="decline") if odd and rng.random() < share else record

    return change


def test_a_group_that_is_declined_more_is_seen(world: World) -> None:
    made = world.decide(2000, change=against_women(world, 0.5))
    reading = world.read(only("adverse_impact"), groups=world.groups)["sex=f"]
    rate = {
        sex: np.mean([r.decision == "approve" for r in made if world.groups[r.entity or ""]["sex"] == sex])
        for sex in "fm"
    }
    assert reading.light is Light.FAIL
    assert reading.value == pytest.approx(rate["f"] / rate["m"], rel=1e-8)


def test_the_figure_at_release_is_the_same_figure_and_comes_from_the_profile(world: World) -> None:
    """Whatever production looks like; a shift or a drop names the level that it is measured from."""
    then = profile(
        categorical={
            "region": CategoricalProfile(
                levels=("north", "south", "east"), counts=(10_000, 5_800, 4_000), other=200, missing=0
            )
        },
        groups={"sex": {"f": GroupProfile(n=8_000, favourable=5_320), "m": GroupProfile(n=10_000, favourable=7_000)}},
    )
    world.releases["1.0.0"] = release(profile=then)
    world.decide(2000, change=against_women(world, 0.5))
    world.decide(1500, ago=45, labels=1500, change=shuffled)
    readings = world.run(plan(), groups=world.groups).watch.readings
    told = {(r.check, r.subject): r.reference for r in readings}
    assert told == {
        ("daily_volume", "all"): None,
        ("expired_share", "all"): None,
        ("missing_shift", "x"): pytest.approx(then.numeric["x"].missing / 20_000, rel=1e-8),
        ("missing_shift", "region"): 0.0,
        ("unseen_share", "region"): 0.01,
        ("feature_psi", "x"): None,
        ("feature_psi", "region"): None,
        ("score_psi", "score"): None,
        ("decision_shift", "all"): pytest.approx(then.favourable / 20_000, rel=1e-8),
        ("auc", "score"): 0.77,
        ("auc_drop", "score"): 0.77,
        ("calibration", "all"): None,
        ("adverse_impact", "sex=f"): pytest.approx((5_320 / 8_000) / 0.7, rel=1e-8),
    }
    assert {check for check, _ in told} == set(LIMITS), "a check that is new here says what it was at release"
    words = {r.check: sentence(r) for r in readings}
    assert ", 0.95 in the reference;" in words["adverse_impact"]
    assert ", from 0.77 in the reference;" in words["auc_drop"]
    assert "reference" not in words["calibration"]


def test_a_group_that_validation_did_not_see_has_no_figure_at_release(world: World) -> None:
    world.releases["1.0.0"] = release(profile=profile(groups={"sex": {"f": GroupProfile(n=9, favourable=5)}}))
    world.decide(400)
    assert world.read(only("adverse_impact"), groups=world.groups)["sex=f"].reference is None


def test_groups_that_are_not_at_hand_are_said(world: World) -> None:
    world.decide(2000, change=against_women(world, 0.5))
    (reading,) = world.read(only("adverse_impact")).values()
    assert (reading.subject, reading.light) == ("sex", Light.NOT_EVALUATED)
    assert reading.reason == "protected groups are kept apart and were not given to this run"


def test_groups_of_other_entities_are_no_evidence(world: World) -> None:
    world.decide(2000, change=against_women(world, 0.5))
    (reading,) = world.read(only("adverse_impact"), groups={"somebody": {"sex": "f"}}).values()
    assert (reading.subject, reading.light) == ("sex=f", Light.NOT_EVALUATED)
    assert reading.reason == "0 decisions in the group and 0 in its reference, 30 are needed"


def test_an_attribute_without_another_group_is_said(world: World) -> None:
    world.releases["1.0.0"] = release(profile=profile(groups={}))
    made = world.decide(200)
    (reading,) = world.read(only("adverse_impact"), groups={r.entity: {"sex": "m"} for r in made}).values()
    assert reading.reason == "no decision is about an entity of another group than 'm'"


def test_a_release_without_protected_attributes_or_policy_says_so(world: World) -> None:
    world.decide(200)
    world.releases["1.0.0"] = release(reference_group={})
    (reading,) = world.read(only("adverse_impact"), groups={}).values()
    assert reading.reason == "the release declares no protected attribute"
    world.releases["1.0.0"] = release(favourable=None)
    for check in ("adverse_impact", "decision_shift"):
        (reading,) = world.read(only(check), groups={}).values()
        assert reading.reason == "the model has no decision policy"


# --- KPIs


def rate_of(records: list[DecisionRecord]) -> float:
    return sum(r.decision == "approve" for r in records) / len(records)


def test_every_measure_of_a_kpi(world: World) -> None:
    made = world.decide(1000)
    old = world.decide(800, ago=45, seed=5, labels=600)
    world.overrides(made[:20])
    world.overrides(old[:99])
    truth = [msgspec.json.decode(e.payload)["value"] for e in world.ledger.read(["outcome"])]
    expected = {
        "favourable_rate": rate_of(made),
        "outcome_rate": sum(truth) / 600,
        "mean_score": float(np.mean([r.probability for r in made])),
        "override_rate": 0.02,
        "decisions_per_day": 1000 / 30,
    }
    then = {"favourable_rate": profile().favourable / 20_000, "outcome_rate": (profile().events or 0) / 20_000}
    for measure, value in expected.items():
        inside = {"kind": "band", "inner": [0, 1000], "outer": [0, 1000], "source": "t"}
        outside = {"kind": "upper", "watch": value / 3, "fail": value / 2, "source": "t"}
        reading = world.read(kpi(measure, inside))["figure"]
        assert reading.value == pytest.approx(value, rel=1e-8)
        assert (reading.light, reading.owner) == (Light.PASS, "Karl")
        known = then.get(measure)
        assert reading.reference == (None if known is None else pytest.approx(known, rel=1e-8))
        assert world.light(kpi(measure, outside), "figure") is Light.FAIL


def test_a_thin_kpi_is_not_evaluated(world: World) -> None:
    world.decide(50)
    world.decide(50, ago=45, labels=50)
    limit = {"kind": "upper", "watch": 0.0, "fail": 0.0, "source": "t"}
    for measure in ("favourable_rate", "mean_score", "override_rate"):
        assert "50 decisions in the window" in (world.read(kpi(measure, limit))["figure"].reason or "")
    reading = world.read(kpi("outcome_rate", limit))["figure"]
    assert reading.reason == "50 matured labels, 100 are needed"
    assert world.light(kpi("decisions_per_day", limit), "figure") is Light.FAIL


# --- releases


def test_a_window_of_two_releases_is_compared_with_the_one_that_decided_most(world: World) -> None:
    """What another release decided, on inputs of its own, is no drift of this one."""
    world.releases["2.0.0"] = release()
    world.decide(2500)
    world.decide(1500, seed=6, change=lambda r, _: bound(features(r, x=99.0, region=None), "2.0.0"))
    watch = world.run(only("feature_psi")).watch
    assert (watch.release, watch.decisions) == ("1.0.0", 4000)
    assert {(r.n, r.light) for r in watch.readings} == {(2500, Light.PASS)}
    assert world.read(only("daily_volume"))["all"].n == 4000


def test_a_release_that_cannot_be_opened_is_named_and_no_other_put_in_its_place(world: World) -> None:
    world.decide(100)
    world.decide(500, change=lambda r, _: bound(r, "0.9.0"))
    declared = plan(kpis={"n": {"meaning": "t", "measure": "decisions_per_day", "limit": UPPER, "owner": "Karl"}})
    made = world.run(declared)
    assert (made.watch.release, made.watch.decisions) == ("0.9.0", 600)
    first, volume, *others = made.watch.readings
    assert (first.check, first.subject, first.n, first.value, first.light) == (
        "unjudged", "release 0.9.0", 600, 500.0, Light.FAIL,
    )  # fmt: skip
    assert (volume.check, volume.value, volume.light) == ("daily_volume", 20.0, Light.WATCH)
    why = "release 0.9.0 cannot be opened: the release log knows no published release of this version"
    assert {(r.light, r.value, r.reason) for r in others} == {(Light.NOT_EVALUATED, None, why)}
    assert {r.check for r in others} == {*LIMITS, "kpi"} - {"daily_volume"}
    assert [f.text for f in made.findings if f.check == "unjudged"] == [
        "number of unjudged decisions of release 0.9.0 is 500 on 600 rows, as it cannot be opened; limit = 0"
    ]
    (world.releases["0.9.0"], world.releases["1.0.0"]) = (release(), release())
    again = world.run(declared, days=1)
    assert [(f.status, f.text) for f in again.findings if f.check == "unjudged"] == [
        ("closed", "release 0.9.0 can be opened, or made most decisions of the window no longer")
    ]


def test_what_was_open_stays_open_while_nothing_can_be_judged(world: World) -> None:
    world.decide(500, change=lambda r, _: features(r, x=99.0))
    world.told(None, 7, ago=10, entity="e-d000001")
    declared = only("feature_psi")
    opened = {f.id for f in world.run(declared).findings}
    assert opened == {"m/feature_psi/x", "m/odd_outcomes/all"}
    held = world.releases.pop("1.0.0")
    assert [(f.id, f.status) for f in world.run(declared, days=1).findings] == [
        ("m/odd_outcomes/all", "open"),
        ("m/unjudged/release 1.0.0", "open"),
    ]
    assert standing_findings(world.ledger)["m/feature_psi/x"].status == "open"
    off = {f.id: f.status for f in world.run(only("daily_volume"), days=2).findings}
    assert off["m/feature_psi/x"] == "closed", "its limit was taken away"
    world.releases["1.0.0"] = held


def test_where_nothing_decided_the_newest_release_that_opens_is_named(world: World) -> None:
    world.releases["2.0.0"] = release()
    assert world.run(only("daily_volume")).watch.release == "2.0.0"


def test_a_model_without_plan_or_release_is_refused(world: World) -> None:
    with pytest.raises(MonitoringError, match="has no monitoring plan"):
        plans_for(["m"], {})
    with pytest.raises(MonitoringError, match="no release of 'm'"):
        run_monitor(world.ledger, {}, {"m": plan()}, AS_OF)

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from countermark.records.lights import Light
from countermark.records.limits import (
    AnyLimit,
    BandLimit,
    ExactLimit,
    Limit,
    LowerLimit,
    PValueLimit,
    UpperLimit,
    judge,
)

PASS, WATCH, FAIL, NOT = Light.PASS, Light.WATCH, Light.FAIL, Light.NOT_EVALUATED
P = PValueLimit(kind="p_value", watch=0.05, fail=0.01, source="house")
POWERED = PValueLimit(kind="p_value", watch=0.05, fail=0.01, power_floor=0.5, source="house")
UPPER = UpperLimit(kind="upper", watch=0.1, fail=0.25, source="house")
OPEN_UPPER = UpperLimit(kind="upper", watch=0.1, fail=0.25, inclusive=False, source="house")
LOWER = LowerLimit(kind="lower", watch=0.7, fail=0.6, source="house")
OPEN_LOWER = LowerLimit(kind="lower", watch=0.7, fail=0.6, inclusive=False, source="house")
BAND = BandLimit(kind="band", inner=(0.9, 1.1), outer=(0.8, 1.25), source="house")
ZERO = ExactLimit(kind="exact", value=0, source="house")

POINTS = [
    (P, 0.05, PASS),
    (P, 0.0499, WATCH),
    (P, 0.01, WATCH),
    (P, 0.0099, FAIL),
    (P, 0.0, FAIL),
    (UPPER, 0.1, PASS),
    (UPPER, 0.1001, WATCH),
    (UPPER, 0.25, WATCH),
    (UPPER, 0.2501, FAIL),
    (OPEN_UPPER, 0.1, WATCH),
    (OPEN_UPPER, 0.25, FAIL),
    (OPEN_UPPER, 0.0999, PASS),
    (LOWER, 0.7, PASS),
    (LOWER, 0.6999, WATCH),
    (LOWER, 0.6, WATCH),
    (LOWER, 0.5999, FAIL),
    (OPEN_LOWER, 0.7, WATCH),
    (OPEN_LOWER, 0.6, FAIL),
    (OPEN_LOWER, 0.7001, PASS),
    (BAND, 0.9, PASS),
    (BAND, 1.1, PASS),
    (BAND, 0.8, WATCH),
    (BAND, 1.25, WATCH),
    (BAND, 0.7999, FAIL),
    (BAND, 1.2501, FAIL),
    (ZERO, 0.0, PASS),
    (ZERO, -0.0, PASS),
    (ZERO, 1.0, FAIL),
]


@pytest.mark.parametrize(("limit", "value", "light"), POINTS)
def test_a_value_on_between_and_beyond_the_bounds(limit: AnyLimit, value: float, light: Light) -> None:
    verdict = judge(limit, value)
    assert verdict.light is light
    assert verdict.reason is None
    assert verdict.rule == ("p-rule" if isinstance(limit, PValueLimit) else "point rule")


@pytest.mark.parametrize("limit", [P, POWERED, UPPER, LOWER, BAND, ZERO])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_undefined_is_not_evaluated_with_a_reason(limit: AnyLimit, value: float | None) -> None:
    verdict = judge(limit, value, interval=(0.0, 1.0), power=1.0, material=False)
    assert verdict.light is NOT
    assert verdict.reason == "the statistic is undefined"


@pytest.mark.parametrize("limit", [P, UPPER, LOWER, BAND, ZERO])
def test_too_few_observations_beat_any_value(limit: AnyLimit) -> None:
    verdict = judge(limit, 0.5, undefined="3 events, 10 needed")
    assert (verdict.light, verdict.reason) == (NOT, "3 events, 10 needed")
    assert verdict.rule == "undefined or too few observations"


INTERVALS = [
    # limit, value, interval, light, words of the rule
    (LOWER, 0.75, (0.71, 0.79), PASS, "interval rule"),
    (LOWER, 0.75, (0.65, 0.79), PASS, "interval rule"),  # reaches watch only: still a pass
    (LOWER, 0.75, (0.59, 0.79), WATCH, "reaches the fail region"),
    (LOWER, 0.65, (0.61, 0.69), WATCH, "interval rule"),
    (LOWER, 0.65, (0.55, 0.75), WATCH, "interval rule"),
    (LOWER, 0.55, (0.45, 0.72), WATCH, "reaches the pass region"),
    (LOWER, 0.55, (0.45, 0.65), FAIL, "interval rule"),
    (UPPER, 0.05, (0.01, 0.3), WATCH, "reaches the fail region"),
    (UPPER, 0.05, (0.01, 0.2), PASS, "interval rule"),
    (UPPER, 0.3, (0.05, 0.6), WATCH, "reaches the pass region"),
    (UPPER, 0.3, (0.2, 0.6), FAIL, "interval rule"),
    (BAND, 1.0, (0.95, 1.05), PASS, "interval rule"),
    (BAND, 1.0, (0.5, 1.05), WATCH, "reaches the fail region"),
    (BAND, 1.3, (1.05, 1.5), WATCH, "reaches the pass region"),
    (BAND, 1.3, (1.2, 1.5), FAIL, "interval rule"),
]


@pytest.mark.parametrize(("limit", "value", "interval", "light", "rule"), INTERVALS)
def test_the_interval_rule(
    limit: AnyLimit, value: float, interval: tuple[float, float], light: Light, rule: str
) -> None:
    verdict = judge(limit, value, interval=interval)
    assert verdict.light is light
    assert rule in verdict.rule


def test_a_fail_point_whose_interval_spans_the_whole_band_is_watched() -> None:
    """Both ends lie beyond the outer band, yet the pass region is inside the interval."""
    verdict = judge(BAND, 1.3, interval=(0.5, 1.6))
    assert verdict.light is WATCH
    assert "reaches the pass region" in verdict.rule
    assert judge(ZERO, 1.0, interval=(-1.0, 3.0)).light is WATCH
    assert judge(ZERO, 1.0, interval=(0.5, 3.0)).light is FAIL


@pytest.mark.parametrize("interval", [(math.nan, 0.9), (0.6, math.inf), (-math.inf, math.inf)])
def test_an_interval_without_two_ends_leaves_the_point_rule(interval: tuple[float, float]) -> None:
    assert judge(LOWER, 0.75, interval=interval).rule == "point rule"


POWERS = [
    (0.5, 0.9, PASS, "p-rule and power rule", None),
    (0.5, 0.5, PASS, "p-rule and power rule", None),
    (0.5, 0.31, NOT, "power rule", "inconclusive, power 31 % is below 50 %"),
    (0.5, None, NOT, "power rule", "inconclusive, power unknown"),
    (0.5, math.nan, NOT, "power rule", "inconclusive, power unknown"),
    (0.03, 0.1, WATCH, "p-rule", None),
    (0.001, 0.1, FAIL, "p-rule", None),
    (0.001, None, FAIL, "p-rule", None),
]


@pytest.mark.parametrize(("p", "power", "light", "rule", "reason"), POWERS)
def test_a_pass_needs_power_and_a_finding_does_not(
    p: float, power: float | None, light: Light, rule: str, reason: str | None
) -> None:
    verdict = judge(POWERED, p, power=power)
    assert (verdict.light, verdict.rule, verdict.reason) == (light, rule, reason)


def test_without_a_power_floor_power_is_not_asked() -> None:
    assert judge(P, 0.5).light is PASS
    assert judge(P, 0.5, power=0.01).light is PASS


@pytest.mark.parametrize("material", [None, True, False])
@pytest.mark.parametrize(("limit", "value"), [(P, 0.001), (UPPER, 0.5), (LOWER, 0.1), (BAND, 2.0), (ZERO, 1.0)])
def test_immaterial_turns_a_fail_into_watch_and_nothing_else(
    limit: AnyLimit, value: float, material: bool | None
) -> None:
    verdict = judge(limit, value, material=material)
    assert verdict.light is (WATCH if material is False else FAIL)
    assert verdict.rule.endswith("significant, not material") is (material is False)


@pytest.mark.parametrize(("limit", "value", "light"), POINTS)
def test_immaterial_never_worsens_or_lifts_the_other_lights(limit: AnyLimit, value: float, light: Light) -> None:
    assert judge(limit, value, material=False).light is (WATCH if light is FAIL else light)


ORDER = {FAIL: 0, WATCH: 1, PASS: 2}
FINITE = st.floats(-5, 5, allow_nan=False)


@given(FINITE, FINITE, st.sampled_from([P, LOWER, OPEN_LOWER]), st.sampled_from([None, False]))
def test_where_large_is_good_a_larger_value_is_never_worse(
    a: float, b: float, limit: AnyLimit, material: bool | None
) -> None:
    low, high = sorted((a, b))
    assert ORDER[judge(limit, low, material=material).light] <= ORDER[judge(limit, high, material=material).light]


@given(FINITE, FINITE, st.sampled_from([UPPER, OPEN_UPPER]), st.sampled_from([None, False]))
def test_where_small_is_good_a_smaller_value_is_never_worse(
    a: float, b: float, limit: AnyLimit, material: bool | None
) -> None:
    low, high = sorted((a, b))
    assert ORDER[judge(limit, high, material=material).light] <= ORDER[judge(limit, low, material=material).light]


@given(FINITE, st.floats(0, 2), st.floats(0, 2), FINITE)
def test_shifting_point_and_interval_up_is_never_worse_against_a_lower_limit(
    value: float, below: float, above: float, shift: float
) -> None:
    up = value + abs(shift)
    light = judge(LOWER, value, interval=(value - below, value + above)).light
    shifted = judge(LOWER, up, interval=(up - below, up + above)).light
    assert ORDER[light] <= ORDER[shifted]


@given(FINITE, FINITE)
def test_in_a_band_the_value_nearer_to_its_middle_is_never_worse(a: float, b: float) -> None:
    band = BandLimit(kind="band", inner=(-1, 1), outer=(-2, 2), source="house")
    near, far = sorted((a, b), key=abs)
    assert ORDER[judge(band, far).light] <= ORDER[judge(band, near).light]


@given(FINITE, st.floats(0, 3), st.floats(0, 3), st.sampled_from([UPPER, LOWER, BAND, ZERO]))
def test_an_interval_only_ever_moves_a_light_to_watch(
    value: float, below: float, above: float, limit: AnyLimit
) -> None:
    point = judge(limit, value).light
    assert judge(limit, value, interval=(value - below, value + above)).light in {point, WATCH}


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_power_never_turns_a_pass_into_not_evaluated(p: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    if judge(POWERED, p, power=low).light is PASS:
        assert judge(POWERED, p, power=high).light is PASS


TEXTS = [
    (P, "p ≥ 0.05 pass, p < 0.01 fail"),
    (UPPER, "≤ 0.1 pass, ≤ 0.25 watch"),
    (OPEN_UPPER, "< 0.1 pass, < 0.25 watch"),
    (LOWER, "≥ 0.7 pass, ≥ 0.6 watch"),
    (OPEN_LOWER, "> 0.7 pass, > 0.6 watch"),
    (BAND, "0.9-1.1 pass, 0.8-1.25 watch"),
    (ZERO, "= 0"),
]


@pytest.mark.parametrize(("limit", "text"), TEXTS)
def test_a_limit_prints_its_rule(limit: AnyLimit, text: str) -> None:
    assert limit.text == text


BAD_LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "p-rule upside down": ({"kind": "p_value", "watch": 0.01, "fail": 0.05}, "'fail' must not exceed 'watch'"),
    "p-rule at one": ({"kind": "p_value", "watch": 1.0, "fail": 0.05}, "less than 1"),
    "no power at all": ({"kind": "p_value", "watch": 0.05, "fail": 0.01, "power_floor": 0}, "greater than 0"),
    "upper upside down": ({"kind": "upper", "watch": 0.3, "fail": 0.2}, "'fail' must not be below 'watch'"),
    "lower upside down": ({"kind": "lower", "watch": 0.6, "fail": 0.7}, "'fail' must not exceed 'watch'"),
    "band turned inside out": (
        {"kind": "band", "inner": [0.5, 1.5], "outer": [0.8, 1.2]},
        "'inner' must lie inside 'outer'",
    ),
    "band upside down": ({"kind": "band", "inner": [1.1, 0.9], "outer": [0.8, 1.2]}, "must lie inside"),
    "unknown kind": ({"kind": "uper", "watch": 0.1, "fail": 0.2}, "does not match any of the expected tags"),
    "unknown key": ({"kind": "exact", "value": 0, "limit": 1}, "Extra inputs are not permitted"),
    "not a number": ({"kind": "upper", "watch": math.nan, "fail": 0.2}, "finite number"),
    "no end": ({"kind": "upper", "watch": 0.1, "fail": math.inf}, "finite number"),
    "not a number in a band": ({"kind": "band", "inner": [math.nan, 1], "outer": [0, 2]}, "finite number"),
}


@pytest.mark.parametrize("sentence", BAD_LIMITS)
def test_a_limit_that_makes_no_sense_is_refused(sentence: str) -> None:
    document, says = BAD_LIMITS[sentence]
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(Limit).validate_python({**document, "source": "house"})


def test_a_limit_without_a_source_is_refused() -> None:
    for document in ({"kind": "exact", "value": 0}, {"kind": "exact", "value": 0, "source": ""}):
        with pytest.raises(ValidationError, match="source"):
            TypeAdapter(Limit).validate_python(document)


def test_every_branch_of_light_and_rule_is_reachable() -> None:
    seen = {
        judge(limit, value, interval=interval, power=power, material=material).light
        for limit, value, interval, power, material in itertools.product(
            (POWERED, UPPER, LOWER), (0.001, 0.2, 0.9), (None, (0.0, 1.0)), (None, 0.9), (None, False)
        )
    }
    assert seen == {PASS, WATCH, FAIL, NOT}

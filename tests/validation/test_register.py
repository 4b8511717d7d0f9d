"""How a statistic becomes a judged row: what decides its light, and what is only written down."""

from __future__ import annotations

from typing import Any

import pytest

from countermark.errors import EvidenceError
from countermark.records.lights import Light
from countermark.validation.inputs import Statistic
from tests.validation.builders import make_inputs

INPUTS = make_inputs()
LIMITS = INPUTS.spec.policy.limits


def of(**changes: Any) -> Statistic:
    """A ratio that is well inside its limit (watch 0.90, fail 0.80), with an interval that is not."""
    plain: dict[str, Any] = {"sample": "holdout", "n": 100, "value": 0.95, "limit": "fair.air", "interval": (0.7, 1.2)}
    return Statistic("fair.air", "F1", "Ratio", **(plain | changes))


@pytest.mark.parametrize(
    ("changes", "light"),
    [
        ({}, Light.WATCH),
        ({"judge_interval": False}, Light.PASS),
        ({"interval": None}, Light.PASS),
        ({"judged": 0.5}, Light.FAIL),
        ({"judged": 0.95}, Light.PASS),
        ({"undefined": "too few"}, Light.NOT_EVALUATED),
        ({"value": None}, Light.NOT_EVALUATED),
        ({"value": 0.5, "interval": (0.4, 0.6)}, Light.FAIL),
        ({"value": 0.5, "interval": (0.4, 0.6), "material": False}, Light.WATCH),
        ({"limit": None}, Light.INFORMATION),
        ({"limit": None, "undefined": "nobody asked"}, Light.NOT_EVALUATED),
    ],
    ids=str,
)
def test_the_light_follows_from_value_interval_and_limit(changes: dict[str, Any], light: Light) -> None:
    row = INPUTS.row(of(**changes))
    assert row.light is light
    assert (row.n_reason is not None) == (light is Light.NOT_EVALUATED)


def test_a_row_keeps_what_it_was_judged_by() -> None:
    row = INPUTS.row(of(ci_method="Wilson", judged=0.5, gating=True, seed=3, events=7, df=2.0))
    assert (row.statistic, row.ci_low, row.ci_high, row.ci_method) == (0.95, 0.7, 1.2, "Wilson")
    assert (row.threshold, row.threshold_source) == (LIMITS["fair.air"].text, LIMITS["fair.air"].source)
    assert (row.gating, row.seed, row.events, row.df) == (True, 3, 7, 2.0)
    assert INPUTS.row(of(interval=None, ci_method="Wilson")).ci_method is None, "no interval has no method"
    assert INPUTS.row(of(gating=False)).gating is False


def test_a_limit_that_the_policy_does_not_have_is_named_with_its_file() -> None:
    with pytest.raises(EvidenceError, match="has no limit") as raised:
        INPUTS.row(of(limit="fair.nothing"))
    assert "fair.nothing" in raised.value.what
    assert "conf/policy/" in str(raised.value)

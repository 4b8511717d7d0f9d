from __future__ import annotations

from typing import Any

import pytest

from countermark.records.lights import Light
from countermark.validation.inputs import Register, Statistic
from countermark.validation.opinion import grouped_conditions, propose
from tests.validation.builders import make_spec, spec_document

CONTROL = {
    "text": "Ranks badly.",
    "effect": "Losses.",
    "size": "5 bp",
    "control": "Cap the limit at 5 000",
    "owner": "Ann Owner",
    "expires": "2027-06-30",
}


def row(test_id: str, light: Light, *, gating: bool = True, **changes: Any) -> Any:
    spec = make_spec()
    base = Register(spec=spec, data_hash="d" * 64, semantics={}, previous=None).row(
        Statistic(test_id, "E1", "label", sample="out_of_time", n=10, value=1.0)
    )
    reason = "too few events" if light is Light.NOT_EVALUATED else None
    return base.model_copy(update={"light": light, "gating": gating, "n_reason": reason, **changes})


def spec_with(*limitations: dict[str, Any], **identity: Any) -> Any:
    document = spec_document(limitations=list(limitations))
    document["identity"] = document["identity"] | identity
    return make_spec(limitations=document["limitations"], identity=document["identity"])


def test_all_pass_and_watch_is_fit_for_use() -> None:
    opinion = propose([row("disc.auc_delong", Light.PASS), row("stab.psi", Light.WATCH)], make_spec())
    assert opinion.verdict == "Fit for use"
    assert opinion.why == ("Of 2 gating results 1 is to watch, 1 passed.",)
    assert opinion.conditions == ()


def test_the_reasons_count_as_the_lists_below_them_count() -> None:
    """What has no control is said beside how many there are, and results beside the tests they belong to."""
    control = CONTROL | {"tests": ["cal.jeffreys", "fair.air"]}
    rows = [
        *(row("cal.jeffreys", Light.FAIL, segment=f"grade {k}") for k in range(3)),
        row("disc.auc_delong", Light.FAIL),
        row("fair.air", Light.NOT_EVALUATED),
        row("stab.psi", Light.NOT_EVALUATED),
        row("rep.c2st", Light.PASS),
    ]
    why = propose(rows, spec_with(control)).why
    assert why[0] == "1 gating test of 2 that failed has no control: E1 AUC with DeLong interval (disc.auc_delong)."
    assert why[1].startswith("1 gating test of 2 that could not be evaluated has no control: E1 Population stability")
    assert why[2] == "Of 7 gating results 4 failed (2 tests), 2 were not evaluated (2 tests), 1 passed."


def test_no_gating_row_at_all_fails_closed() -> None:
    opinion = propose([row("stab.csi", Light.PASS, gating=False)], make_spec())
    assert opinion.verdict == "Unable to conclude"
    assert "nothing supports" in opinion.why[0]


def test_a_fail_that_does_not_gate_bears_on_nothing() -> None:
    rows = [row("disc.auc_delong", Light.PASS), row("stab.csi", Light.FAIL, gating=False)]
    assert propose(rows, make_spec()).verdict == "Fit for use"


def test_a_gating_fail_without_a_control_is_not_fit() -> None:
    rows = [row("disc.auc_delong", Light.FAIL), row("stab.psi", Light.NOT_EVALUATED)]
    opinion = propose(rows, make_spec())
    assert opinion.verdict == "Not fit"
    assert opinion.failed == ("E1 disc.auc_delong: label",)
    assert len(opinion.why) == 3


def test_a_gating_not_evaluated_blocks_fit_for_use() -> None:
    opinion = propose([row("disc.auc_delong", Light.PASS), row("stab.psi", Light.NOT_EVALUATED)], make_spec())
    assert opinion.verdict == "Unable to conclude"
    assert opinion.not_evaluated == ("E1 stab.psi: too few events",)


def test_a_named_control_with_owner_and_expiry_conditions_a_fail() -> None:
    opinion = propose([row("disc.auc_delong", Light.FAIL)], spec_with(CONTROL | {"tests": ["disc.auc_delong"]}))
    assert opinion.verdict == "Fit with conditions"
    assert grouped_conditions(opinion.conditions) == (
        "Cap the limit at 5 000. Owner Ann Owner, by 2027-06-30. Covers E1 disc.auc_delong (Fail).",
    )


@pytest.mark.parametrize(
    "flaw",
    [
        {"tests": []},
        {"tests": ["stab.psi"]},
        {"tests": ["disc.auc_delong"], "expires": None},
        {"tests": ["disc.auc_delong"], "expires": "2026-06-29"},
        {"tests": ["disc.auc_delong"], "expires": "2026-09-29"},  # the day before the decision
        {"tests": ["disc.auc_delong"], "owner": "TBD"},
        {"tests": ["disc.auc_delong"], "control": "?"},
    ],
)
def test_a_control_that_is_open_or_expired_covers_nothing(flaw: dict[str, Any]) -> None:
    assert propose([row("disc.auc_delong", Light.FAIL)], spec_with(CONTROL | flaw)).verdict == "Not fit"


@pytest.mark.parametrize("test_id", ["feature.prohibited", "feature.leakage", "identity.complete", "data.hash"])
def test_no_control_conditions_a_hard_fail(test_id: str) -> None:
    assert propose([row(test_id, Light.FAIL)], spec_with(CONTROL | {"tests": [test_id]})).verdict == "Not fit"


def test_the_gating_table_conditions_a_not_evaluated_at_first_validation_only() -> None:
    rows = [row("disc.auc_delong", Light.PASS), row("fair.air", Light.NOT_EVALUATED)]
    first = propose(rows, make_spec())
    assert first.verdict == "Fit with conditions"
    assert first.conditions[0].expires == "2027-09-30"
    later = propose(rows, spec_with(validation_type="periodic"))
    assert later.verdict == "Unable to conclude"
    assert propose(rows, spec_with(owner="?")).verdict == "Unable to conclude"


def test_a_fail_is_never_conditioned_by_the_gating_table() -> None:
    assert propose([row("fair.air", Light.FAIL)], make_spec()).verdict == "Not fit"


def test_one_uncovered_not_evaluated_among_covered_ones_is_not_enough() -> None:
    rows = [row("fair.air", Light.NOT_EVALUATED), row("stab.psi", Light.NOT_EVALUATED)]
    opinion = propose(rows, make_spec())
    assert opinion.verdict == "Unable to conclude"
    assert len(opinion.conditions) == 1
    assert opinion.open == ("E1 stab.psi: too few events",)


def test_the_order_of_rows_does_not_change_the_verdict() -> None:
    rows = [row("fair.air", Light.NOT_EVALUATED), row("disc.auc_delong", Light.FAIL), row("stab.psi", Light.PASS)]
    assert propose(rows, make_spec()).verdict == propose(rows[::-1], make_spec()).verdict == "Not fit"

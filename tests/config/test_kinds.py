from __future__ import annotations

from pathlib import Path

import pytest

from countermark.config.load import load_model
from countermark.config.policy import AMOUNT_KINDS
from countermark.errors import ConfigError
from tests.amount_bank import LEARNER, make_amount_bank, toy_losses
from tests.bank import DECISION, edit, make_bank

SPEC = "conf/model/toy.yaml"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return make_amount_bank(tmp_path / "bank", toy_losses(60))


@pytest.mark.parametrize("kind", AMOUNT_KINDS)
def test_a_model_of_an_amount_composes_without_a_decision_policy(bank: Path, kind: str) -> None:
    edit(bank / SPEC, "kind: lgd", f"kind: {kind}")
    spec = load_model(bank, "toy").spec
    assert (spec.is_amount, spec.decision) == (True, None)
    with pytest.raises(ConfigError, match="model 'toy' has no decision policy") as caught:
        _ = spec.decision_policy
    assert f"kind '{kind}'" in str(caught.value)


MISFITS = {
    "a decision policy": ("  - _self_\n", "  - /decision@decision: toy\n  - _self_\n", "has no cut-off", "remove it"),
    "a model that declines": ("can_decline: false", "can_decline: true", "declines nobody", "of kind 'pd'"),
    "a scorecard": ("/learner@learner: catboost", "/learner@learner: scorecard", "a scorecard needs", "logistic"),
    "a scorecard as challenger": (
        "learner@challenger.learner: logistic", "learner@challenger.learner: scorecard", "a scorecard needs", "logistic",
    ),
    "a calibration": ("grades:", "calibration: {method: platt}\ngrades:", "calibration 'platt' needs", "leave"),
    "a rate as use limit": ("measure: mean_estimate", "measure: approval_rate", "which is no numeric input", ""),
    "an unknown kind": ("kind: lgd", "kind: lgt", "'lgt'", "did you mean"),
    "pools out of order": ("{kind: quantile, count: 4}", "{kind: fixed, upper: [0.5, 0.2]}", "no scale|not a scale", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_an_amount_cannot_have_is_refused_with_its_line(bank: Path, case: str) -> None:
    old, new, what, hint = MISFITS[case]
    (bank / "conf/decision").mkdir(exist_ok=True)
    (bank / "conf/decision/toy.yaml").write_text(DECISION.replace("income", "cover").replace("debt", "months"))
    edit(bank / SPEC, old, new)
    if case == "a scorecard":
        edit(bank / SPEC, LEARNER, "")
    with pytest.raises(ConfigError, match=what) as caught:
        load_model(bank, "toy")
    assert "conf/" in str(caught.value.place)
    assert hint in str(caught.value)


def test_a_model_that_decides_needs_a_decision_policy(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank")
    edit(bank / SPEC, "  - /decision@decision: toy\n", "")
    with pytest.raises(ConfigError, match="'decision' is missing") as caught:
        load_model(bank, "toy")
    assert "kind 'pd' needs one" in str(caught.value)
    assert "/decision@decision" in str(caught.value)

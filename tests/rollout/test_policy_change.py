"""A change that is meant to move decisions: turned back under the usual plan, led through under one that states it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from countermark.config.rollout import RolloutPlan
from countermark.records.decision import DecisionRecord
from tests.rollout.lives import Life

ROOT = Path(__file__).parents[2]


def documented() -> RolloutPlan:
    """The plan in the manual."""
    text = (ROOT / "docs/reference/rollout.md").read_text(encoding="utf-8")
    part = text.partition("## A change that is meant to move decisions")[2]
    return RolloutPlan.model_validate(yaml.safe_load(part.partition("```yaml\n")[2].partition("```")[0]))


def standard() -> RolloutPlan:
    text = (ROOT / "conf/rollout/standard.yaml").read_text(encoding="utf-8")
    return RolloutPlan.model_validate(yaml.safe_load(text))


def cutoff(at: float) -> Any:
    """The candidate declines from another probability on; the champion from 0.7."""

    def moved(record: DecisionRecord, _: random.Random) -> DecisionRecord:
        return msgspec.structs.replace(record, decision="decline" if record.probability > at else "approve")

    return moved


@pytest.mark.parametrize(
    ("plan", "at", "end"),
    [
        (standard, 0.60, "rolled_back"),
        (documented, 0.60, "completed"),
        (documented, 0.40, "rolled_back"),
        (documented, 0.99, "rolled_back"),
    ],
)
def test_a_policy_change_needs_a_plan_that_states_its_shift(tmp_path: Path, plan: Any, at: float, end: str) -> None:
    life = Life(tmp_path, plan=plan())
    for _ in range(150):
        done = life.hour(40, fault=cutoff(at))
        if any(event.type in ("completed", "rolled_back", "inconclusive") for event in done):
            break
    life.close()
    assert life.happened[-1].type == end
    if end == "rolled_back":
        assert "decision_rate" in life.happened[-1].reason


def test_a_guard_fails_before_the_pairs_that_it_needs_to_pass(tmp_path: Path) -> None:
    plan = documented()
    wide = plan.guards.model_copy(
        update={"decision_rate": plan.guards.decision_rate.model_copy(update={"min_pairs": 5000})}  # type: ignore[union-attr]
    )
    life = Life(tmp_path, plan=plan.model_copy(update={"guards": wide}))
    for _ in range(10):
        if life.hour(40, fault=cutoff(0.1)):
            break
    life.close()
    assert (life.happened[-1].type, life.count < 500) == ("rolled_back", True)

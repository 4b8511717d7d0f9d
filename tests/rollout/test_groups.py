"""The guard on approval by protected group, with the groups at hand and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countermark.records.profile import NumericProfile
from tests.rollout.lives import GROUPS, Life, plan

ONLY = {"group_approval": {"limit": 0.05, "min_pairs": 20}}


def women_are_declined(record: Any, random: Any) -> Any:
    """A third of the women whom the champion approves."""
    if GROUPS[record.entity]["sex"] == "female" and random.random() < 0.35:
        return msgspec.structs.replace(record, decision="decline")
    return record


@pytest.mark.parametrize("at_hand", [True, False], ids=["with groups", "without"])
def test_a_fault_against_one_group_is_seen_only_where_the_groups_are(tmp_path: Path, at_hand: bool) -> None:
    """And where they are not, nobody looked: no stage passes, and the end says why."""
    life = Life(tmp_path, plan=plan(guards=ONLY), groups=GROUPS if at_hand else None)
    for _ in range(60):
        life.hour(fault=women_are_declined)
        if life.happened and life.happened[-1].type in ("rolled_back", "completed", "inconclusive"):
            break
    life.close()
    ended = life.happened[-1]
    told = {reading.guard: reading.verdict for event in life.happened for reading in event.readings}
    if at_hand:
        assert ended.type == "rolled_back"
        assert "group_approval sex=female" in ended.reason
        assert told["group_approval sex=female"] == "fail"
        return
    assert ended.type == "inconclusive"
    assert [event.type for event in life.happened] == ["inconclusive"], "and no stage had passed before"
    assert told == {"group_approval": "not evaluated"}
    (reading,) = ended.readings
    assert (reading.n, reading.value, reading.limit) == (0, None, 0.05)
    assert "not evaluated: group_approval (no protected groups are at hand)" in ended.reason


def test_groups_of_other_entities_are_no_groups(tmp_path: Path) -> None:
    life = Life(tmp_path, plan=plan(guards=ONLY), groups={"somebody else": {"sex": "female"}})
    for _ in range(48):
        life.hour()
    life.close()
    assert [event.type for event in life.happened] == ["inconclusive"]
    assert [reading.verdict for reading in life.happened[0].readings] == ["not evaluated"]
    assert "no case so far is of a group that is at hand" in life.happened[0].reason


def rare(small: int) -> dict[str, dict[str, str]]:
    """Everybody, of whom so many have an ethnicity of their own."""
    return {name: {**of, "ethnicity": "rare" if k < small else "common"} for k, (name, of) in enumerate(GROUPS.items())}


def test_a_group_below_the_least_size_is_named_and_holds_nothing_up(tmp_path: Path) -> None:
    life = Life(tmp_path, plan=plan(guards=ONLY), groups=rare(2))
    for _ in range(14):
        life.hour()
    life.close()
    assert life.happened[-1].type == "completed"
    assert all("left out: group_approval ethnicity=rare (fewer than 20 entities)" in e.reason for e in life.happened)
    readings = {reading.guard: reading for reading in life.happened[-1].readings}
    assert readings["group_approval ethnicity=rare"].verdict == "left out"
    assert readings["group_approval ethnicity=common"].verdict == "pass"


def test_a_plan_can_state_another_least_size(tmp_path: Path) -> None:
    guards = {"group_approval": {"limit": 0.05, "min_pairs": 1, "min_group": 5000}}
    life = Life(tmp_path, plan=plan(guards=guards), groups=GROUPS)
    for _ in range(48):
        life.hour()
    life.close()
    assert [event.type for event in life.happened] == ["inconclusive"]
    assert "too thin: group_approval (no group has 5000 entities)" in life.happened[-1].reason
    assert {reading.verdict for reading in life.happened[-1].readings} == {"left out", "thin"}


def test_groups_that_become_known_later_are_counted(tmp_path: Path) -> None:
    groups: dict[str, dict[str, str]] = {}
    life = Life(tmp_path, plan=plan(guards=ONLY), groups=groups)
    life.hour()
    assert life.controller.readings("m-1")[1][0].reason == "no protected groups are at hand"
    groups.update(GROUPS)
    life.hour()
    assert {r.verdict for r in life.controller.readings("m-1")[1]} == {"thin", "pass"}
    life.close()


@pytest.mark.parametrize("empty", ["profile", "policy"])
def test_what_has_no_reference_is_not_evaluated_and_does_not_pass(tmp_path: Path, empty: str) -> None:
    guards = {"score_psi": {"limit": 0.1, "min_pairs": 100}, "decision_rate": {"limit": 0.03, "min_pairs": 50}}
    life = Life(tmp_path, plan=plan(guards=guards))
    facts = life.facts["m"]["1.0.0"]
    none = NumericProfile(edges=facts.score.edges, counts=(0,) * 10, missing=0)
    changed = {"score": none} if empty == "profile" else {"unfavourable": None}
    life.facts["m"]["1.0.0"] = replace(facts, **changed)
    for _ in range(48):
        life.hour()
    life.close()
    assert [event.type for event in life.happened] == ["inconclusive"]
    says = (
        "score_psi (a reference profile has no scores)"
        if empty == "profile"
        else "decision_rate (a release has no decision policy)"
    )
    assert f"not evaluated: {says}" in life.happened[0].reason


def test_a_good_release_passes_with_the_groups_at_hand(tmp_path: Path) -> None:
    life = Life(tmp_path, plan=plan(guards=ONLY), groups=GROUPS)
    for _ in range(14):
        life.hour()
    life.close()
    assert life.happened[-1].type == "completed"
    assert {r.guard: r.verdict for r in life.happened[-1].readings} == {
        "group_approval sex=female": "pass",
        "group_approval sex=male": "pass",
    }
    assert not any("not evaluated" in event.reason for event in life.happened)

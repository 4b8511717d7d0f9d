"""What waits for whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from countermark.registry.inbox import Task, expiring, reaches
from countermark.registry.state import RegistryState
from tests.registry.people import PEOPLE, REF, Log, governance

GATE: dict[str, Any] = {"test": "a.b", "light": "fail", "sections": ["A1"], "hard": False}


def review(log: Log, *actions: dict[str, str], done: tuple[str, ...] = (), by: str = "rik") -> None:
    body = {
        "review": "2026-W45", "digest": "d" * 64, "done": list(done), "checkpoint": None,
        "actions": [{"model": None, **action} for action in actions],
    }  # fmt: skip
    log.add("review_signed", body, by=by)


def waiting(state: RegistryState, who: str) -> list[tuple[str, str]]:
    return [(task.kind, task.subject) for task in state.tasks(who)]


def test_an_action_of_a_review_waits_for_its_owner_until_it_is_done() -> None:
    log = Log()
    review(log, {"id": "A-1", "owner": "Olga  owner", "due": "2026-11-30", "text": "Ask for the customer key"},
           {"id": "A-2", "owner": "vera", "due": "2026-12-30", "text": "Look again"})  # fmt: skip
    assert log.fold().tasks("olga") == (Task("action", "A-1", "Ask for the customer key", due="2026-11-30"),)
    assert waiting(log.fold(), "Vera Validator") == [("action", "A-2")]
    review(log, done=("A-1",))
    assert waiting(log.fold(), "olga") == []
    assert [body.review for _, body in log.fold().reviews] == ["2026-W45", "2026-W45"]


def test_a_finding_waits_for_its_owner_until_it_is_closed() -> None:
    log = Log()
    log.propose()
    finding = log.open_finding("low")
    (task,) = log.fold().tasks("olga")
    assert (task.kind, task.subject, task.due) == ("finding", finding, "2026-12-24")
    log.add("finding_closed", {"finding": finding, "text": "done", "evidence": None}, by="vera")
    assert waiting(log.fold(), "olga") == []


def test_two_principals_of_one_person_share_one_queue() -> None:
    people = {**PEOPLE, "vera2": ("vera VALIDATOR", ("risk",))}
    log = Log(governance(people))
    candidate = log.propose()
    assert waiting(log.fold(), "vera") == waiting(log.fold(), "vera2") == [("approve", REF), ("approve", REF)]
    log.approve(candidate, "validator", by="vera")
    assert waiting(log.fold(), "vera2") == [], "one person cannot give both approvals"


def test_a_person_who_may_not_judge_is_not_asked() -> None:
    log = Log(governance(conflicts=(("Vera Validator", "toy"),)))
    log.propose()
    assert waiting(log.fold(), "vera") == []


def test_a_release_waits_for_each_step_and_then_for_nobody() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="rik")
    assert waiting(log.fold(), "eli") == [("publish", REF)]
    log.publish(candidate)
    assert waiting(log.fold(), "eli") == [("assign", REF)]
    assert waiting(log.fold(), "olga") == []
    log.assign(1)
    assert waiting(log.fold(), "eli") == []


def test_what_ends_soon_is_told_to_who_answers_for_it() -> None:
    log = Log(governance(expires={"rik": "2026-12-20"}))
    candidate = log.propose(
        gates=[GATE, {**GATE, "test": "c.d"}],
        controls=[{"tests": ["a.b"], "text": "Watch", "owner": "eli", "expires": "2026-12-05"}],
    )
    condition = {"tests": [], "findings": [], "text": "Mend", "owner": "Olga Owner", "expires": "2026-12-15"}
    log.waive(candidate, test="c.d", expires="2026-12-25")
    log.approve(candidate, "validator", by="vera", expires="2026-12-10", conditions=[condition])
    now = datetime(2026, 12, 8, tzinfo=UTC)
    told = {subject_owner[1]: what for *subject_owner, what, _ in expiring(log.fold(now))}
    assert told == {
        "eli": "control of a.b ends",
        "Vera Validator": "approval as validator ends",
        "Olga Owner": "waiver of c.d ends",
        "Rik Risk": "key lapses",
    }
    assert [item[3] for item in expiring(log.fold(now))] == ["2026-12-05", "2026-12-10", "2026-12-15", "2026-12-20", "2026-12-25"]  # fmt: skip
    assert waiting(log.fold(now), "eli") == [("lapsed", REF)]
    assert waiting(log.fold(now), "vera") == [("expiring", REF)]
    assert expiring(log.fold(datetime(2026, 11, 3, tzinfo=UTC))) == []


def ends(state: RegistryState) -> list[str]:
    return [what for _, _, what, _ in expiring(state)]


def test_a_control_whose_tests_a_waiver_covers_for_longer_is_no_trouble() -> None:
    log = Log()
    candidate = log.propose(
        gates=[GATE, {**GATE, "test": "c.d"}, {**GATE, "test": "e.f", "hard": True}],
        controls=[{"tests": ["a.b", "c.d", "e.f", "g.h"], "text": "Watch", "owner": "eli", "expires": "2025-01-06"}],
    )
    assert ends(log.fold()) == ["control of a.b, c.d ends"], "no control covers a hard test, and g.h gates nothing"
    log.waive(candidate, test="a.b", expires="2027-03-31")
    assert ends(log.fold()) == ["control of c.d ends"]
    log.waive(candidate, test="c.d", expires="2027-06-30")
    assert ends(log.fold()) == []
    assert ends(log.fold(datetime(2027, 3, 15, tzinfo=UTC))) == ["waiver of a.b ends"]
    assert ends(log.fold(datetime(2027, 6, 15, tzinfo=UTC))) == [
        "control of a.b ends", "waiver of a.b ends", "waiver of c.d ends",
    ]  # fmt: skip
    log.waive(candidate, test="c.d", expires="2028-06-30")
    assert "waiver of c.d ends" not in ends(log.fold(datetime(2027, 6, 15, tzinfo=UTC)))


def test_a_waiver_of_a_finding_that_is_closed_is_no_trouble() -> None:
    log = Log()
    candidate = log.propose()
    finding = log.open_finding("high")
    log.waive(candidate, finding=finding, expires="2026-11-20")
    assert ends(log.fold(datetime(2026, 12, 8, tzinfo=UTC))) == [f"waiver of {finding} ends"]
    log.add("finding_closed", {"finding": finding, "text": "done", "evidence": None}, by="vera")
    assert ends(log.fold(datetime(2026, 12, 8, tzinfo=UTC))) == []


def test_what_risk_took_out_of_production_is_not_proposed_to_come_back() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", expires="2026-12-10")
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate)
    log.assign(1)
    assert ends(log.fold(datetime(2026, 12, 8, tzinfo=UTC))) == ["approval as validator ends"]
    body = {"release": REF, "environment": "prod", "sequence": 2, "reason": "incident"}
    log.add("deauthorisation", body, by="rik", tags=["toy#prod!#2"])
    state = log.fold(datetime(2026, 12, 8, tzinfo=UTC))
    assert (state.release(next(iter(state.releases))).status, waiting(state, "eli")) == ("published", [])
    assert ends(state) == []
    log.assign(3)
    state = log.fold(datetime(2026, 12, 8, tzinfo=UTC))
    assert (waiting(state, "eli"), state.release(next(iter(state.releases))).taken_out) == ([], frozenset())


def test_a_finding_reaches_a_role_and_what_nobody_bears_the_name_of_reaches_the_owners() -> None:
    log = Log()
    log.propose()
    common = {"model": "toy", "release": None, "severity": "low", "test": None, "text": "Look", "due": None}
    for owner in ("risk", "Head of cards", None, "vera"):
        log.add("finding_opened", {**common, "owner": owner}, by="vera")
    state = log.fold()
    reached = {
        who: [f for kind, f in waiting(state, who) if kind == "finding"] for who in ("rik", "olga", "vera", "eli")
    }
    assert reached == {"rik": ["F-2"], "olga": ["F-3", "F-4"], "vera": ["F-5"], "eli": []}
    assert reaches(state, "Rik Risk", "risk")
    assert not reaches(state, "eli", "Head of cards")


def test_a_finding_is_not_settled_without_a_word() -> None:
    log = Log()
    log.propose()
    finding = log.open_finding("critical")
    log.add("finding_closed", {"finding": finding, "text": " ", "evidence": None}, by="vera")
    state = log.fold()
    assert state.findings[finding].closed is None
    assert [r.reason for r in state.refused] == ["it does not say what settles the finding"]


@pytest.mark.parametrize("closing", ["rejection", "retirement"])
def test_what_is_over_does_not_end_soon(closing: str) -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", expires="2026-12-10")
    if closing == "rejection":
        body = {"release": REF, "candidate": candidate, "role": "risk", "reason": "no"}
        log.add("rejection", body, by="rik")
    else:
        log.approve(candidate, "risk", by="rik")
        log.publish(candidate)
        log.add("retirement", {"release": REF, "sequence": None, "reason": "old"}, by="eli")
    assert expiring(log.fold(datetime(2026, 12, 8, tzinfo=UTC))) == []

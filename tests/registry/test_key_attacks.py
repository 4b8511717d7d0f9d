"""Attacks with keys that were found, lapsed or revoked, and with names; each by its name."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.records.digest import digest_of
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import GovernanceBody
from countermark.registry.state import RegistryState
from countermark.registry.trust import check_names, identity_of
from tests.registry.people import DIGESTS, LATER, PEOPLE, REF, START, Log, governance, key, reasons

TOY = ReleaseRef.parse(REF)
LAPSE = "2026-11-20T00:00:00Z"
FOUND = datetime(2026, 11, 19, tzinfo=UTC)
"""A date before the lapse, written long after it."""
PEOPLE2 = {**PEOPLE, "eve": ("Eve Engineer", ("engineer",))}


def revoke(log: Log, whose: str, since: int, *, by: str, at: datetime | None = None, comment: str = "") -> int:
    body = {"public": f"{key(whose).public} {comment}".strip(), "position": since, "reason": "lost"}
    return log.add("key_revocation", body, by=by, at=at)


def back_dated(log: Log, candidate: int, *, role: str = "risk", by: str = "rik") -> int:
    """An approval with a found key, and the developer's own key as its witness, both dated before the lapse."""
    body = {
        "release": REF, "candidate": candidate, "role": role, "conditions": [], "expires": None, "text": "",
        "digests": {n: DIGESTS[n] for n in ("results", "evidence", "scorer", "decision")},
    }  # fmt: skip
    tags = [f"approve/toy/v1.0.0/{role}/{by}/POSITION"]
    position = log.add("approval", body, by=by, tags=tags, at=FOUND + timedelta(minutes=1))
    log.add("witness", {"note": ""}, by="dana", at=FOUND + timedelta(minutes=2))
    return position


def use(log: Log, candidate: int, by: str = "eli") -> RegistryState:
    log.now = datetime(2026, 12, 20, tzinfo=UTC)
    log.publish(candidate, by=by)
    log.assign(1, by=by)
    return log.fold(LATER)


# a found key that has lapsed


def test_a_found_lapsed_key_names_all_keys_in_the_comment_of_a_revocation_and_dates_its_approval_back() -> None:
    log = Log(governance(expires={"rik": LAPSE}), by="vera")
    log.add("witness", {"note": ""}, by="vera")
    log.now = datetime(2026, 12, 10, tzinfo=UTC)
    log.add("witness", {"note": ""}, by="aud")
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    revoke(log, "nobody", 1, by="rik", at=FOUND, comment=" ".join(key(name).public for name in PEOPLE))
    forged = back_dated(log, candidate)
    state = use(log, candidate)
    assert state.authorised("toy") == ()
    assert forged in [refused.position for refused in state.refused]
    assert [approval.principal for approval in state.releases[TOY].approvals] == ["vera"]


def test_a_found_lapsed_key_revokes_the_only_one_who_wrote_since_and_dates_its_approval_back() -> None:
    log = Log(governance(PEOPLE2, expires={"rik": LAPSE}), by="vera")
    log.now = datetime(2026, 11, 10, tzinfo=UTC)
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.now = datetime(2026, 12, 10, tzinfo=UTC)
    since = log.add("witness", {"note": ""}, by="eli")
    revocation = revoke(log, "eli", since, by="rik", at=FOUND)
    back_dated(log, candidate)
    state = use(log, candidate, by="eve")
    assert state.authorised("toy") == ()
    assert state.revoked == {}
    assert "its date goes back" in next(r.reason for r in state.refused if r.position == revocation)


def test_a_good_key_turns_the_clock_back_for_a_found_lapsed_one() -> None:
    """One valid person of risk and a found key of a validator are no quorum."""
    log = Log(governance(PEOPLE2, expires={"vera": LAPSE}))
    log.now = datetime(2026, 11, 10, tzinfo=UTC)
    candidate = log.propose()
    log.approve(candidate, "risk", by="rik")
    log.now = datetime(2026, 12, 10, tzinfo=UTC)
    since = log.add("witness", {"note": ""}, by="eli")
    revoke(log, "eli", since, by="rik", at=FOUND)
    back_dated(log, candidate, role="validator", by="vera")
    state = use(log, candidate, by="eve")
    assert state.authorised("toy") == ()
    assert [approval.principal for approval in state.releases[TOY].approvals] == ["rik"]


def test_a_revoked_key_goes_on_revoking_others_with_its_own_name_in_the_comment() -> None:
    log = Log()
    log.live()
    revoke(log, "rik", len(log.entries), by="aud")
    revoke(log, "vera", 1, by="rik", comment=key("rik").public)
    state = log.fold()
    assert set(state.revoked) == {key("rik").public}
    assert state.authorised("toy")


def test_an_entry_dated_ahead_whose_key_was_revoked_does_not_stop_the_log_when_its_day_comes() -> None:
    """Not even when the one who revoked it has lapsed meanwhile, and whatever type it is of."""
    for kind, body in (("witness", {"note": ""}), ("finding_opened", FINDING)):
        log = Log(governance(expires=dict.fromkeys(("rik", "aud", "vera"), "2027-06-30")))
        bomb = log.add(kind, body, by="dana", at=datetime(2027, 11, 2, tzinfo=UTC))
        revoke(log, "dana", bomb, by="rik")
        log.add("witness", {"note": ""}, by="aud")
        candidate = log.propose(by="olga")
        log.approve(candidate, "validator", by="vera")
        log.add("witness", {"note": ""}, by="aud")
        log.add("witness", {"note": ""}, by="eli")
        for now in (LATER, datetime(2027, 10, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)):
            state = log.fold(now)
            assert [r.position for r in state.refused] == [bomb]
            assert not state.refused[0].future
            assert len(state.releases[TOY].approvals) == 1


FINDING: dict[str, Any] = {
    "model": "toy", "release": None, "severity": "high", "test": None, "text": "x", "owner": None, "due": None,
}  # fmt: skip


# a revocation that reaches back


def test_one_person_of_risk_revokes_a_rejection_away() -> None:
    log = Log()
    candidate = log.propose()
    log.add("rejection", {"release": REF, "candidate": candidate, "role": "validator", "reason": "overfit"}, by="vera")
    revoke(log, "vera", candidate + 1, by="rik")
    assert log.fold().releases[TOY].status == "dev"


def test_one_person_of_risk_revokes_a_critical_finding_away() -> None:
    log = Log()
    candidate = log.propose()
    finding = log.open_finding("critical", by="vera")
    revoke(log, "vera", candidate + 1, by="rik")
    state = log.fold()
    assert [f.id for f in state.open_findings("toy")] == [finding]
    assert state.refused == ()


def stricter() -> GovernanceBody:
    return governance(
        version=2, quorum={"1": ("validator", "risk", "auditor"), "2": ("validator", "risk"), "3": ("validator",)}
    )


def test_one_person_of_risk_revokes_a_stricter_quorum_away() -> None:
    log = Log()
    document = stricter().document()
    position = log.add("amendment", document, by="vera")
    log.add("amendment_approval", {"amendment": position, "digest": digest_of(document)}, by="aud")
    revoke(log, "aud", position + 1, by="rik")
    state = log.fold()
    assert state.governance.body.version == 2
    assert state.governance.roles_for(1) == ("validator", "risk", "auditor")


def test_a_stolen_key_agreed_to_an_amendment_that_still_waits() -> None:
    log = Log(governance(amendment_quorum=3))
    document = governance(version=2, amendment_quorum=2).document()
    position = log.add("amendment", document, by="vera")
    agreed = {"amendment": position, "digest": digest_of(document)}
    log.add("amendment_approval", agreed, by="aud")
    revoke(log, "aud", position + 1, by="rik")
    log.add("amendment_approval", agreed, by="rik")
    state = log.fold()
    assert state.governance.body.version == 1
    assert state.amendments[0].persons == {identity_of("Vera Validator"), identity_of("Rik Risk")}


@pytest.mark.parametrize("by", ["vera", "dana", "eli"])
def test_a_revocation_back_to_the_start_authorises_nothing_and_takes_what_was_permitted(by: str) -> None:
    log = Log()
    log.live()
    revoke(log, by, 1, by="aud")
    state = log.fold()
    assert state.authorised("toy") == ()
    assert [str(lost.ref) for lost in state.lost] == [REF]
    assert f"by {by}: the key is revoked from position 1 on" in state.lost[0].reason
    assert state.next_sequence("toy") == 2, "the number of the void authorisation's tag stays used"


def test_a_retired_release_comes_back_as_a_candidate_because_its_publication_is_void() -> None:
    log = Log(governance(PEOPLE2))
    candidate = log.live()
    log.add("retirement", {"release": REF, "sequence": 2, "reason": "harmful"}, by="rik", tags=["toy#prod!#2"])
    revoke(log, "eli", candidate + 3, by="aud")
    log.publish(candidate, by="eve")
    log.assign(3, by="eve")
    log.propose()
    state = log.fold()
    assert state.releases[TOY].status == "archived"
    assert state.authorised("toy") == ()
    assert f"'{REF}' is archived; propose the next version" in reasons(state)


def test_a_superseded_candidate_comes_back_because_the_next_one_is_void() -> None:
    log = Log()
    first = log.propose(by="olga")
    log.approve(first, "validator", by="vera")
    log.approve(first, "risk", by="rik")
    assert log.fold().releases[TOY].status == "approved"
    second = log.propose(by="dana")
    revoke(log, "dana", second, by="aud")
    log.publish(first)
    state = log.fold()
    assert state.releases[TOY].status == "dev"
    assert state.releases[TOY].publication is None


def test_what_was_refused_before_a_revocation_is_not_accepted_by_it() -> None:
    """Two approvals of one person in two roles: the first is void, and the second does not step in."""
    people = {**PEOPLE, "ven": ("Ven Validator", ("validator",)), "vera2": ("Vera Validator", ("risk",))}
    log = Log(governance(people))
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "validator", by="ven")
    refused = log.approve(candidate, "risk", by="vera2")
    revoke(log, "vera", candidate + 1, by="aud")
    state = log.fold()
    assert [a.principal for a in state.releases[TOY].approvals] == ["ven"]
    assert refused in [r.position for r in state.refused]
    again = log.approve(candidate, "risk", by="vera2")
    assert again in [a.position for a in log.fold().releases[TOY].approvals], "signed after the revocation, it counts"


def test_a_second_revocation_reaches_further_back() -> None:
    log = Log()
    candidate = log.live()
    revoke(log, "vera", len(log.entries) - 1, by="rik")
    assert log.fold().authorised("toy")
    revoke(log, "vera", candidate + 1, by="rik")
    assert log.fold().authorised("toy") == ()
    assert log.fold().revoked == {key("vera").public: candidate + 1}


def test_what_a_revoked_key_took_away_stays_away_and_what_it_says_is_done_is_not_believed() -> None:
    log = Log()
    candidate = log.live()
    action = {"id": "A1", "owner": "olga", "due": "2026-12-01", "text": "cap limits", "model": None}
    signed = {"review": "2026-W45", "digest": "a" * 64, "actions": [action], "done": ["A0"], "checkpoint": None}
    left = {"release": REF, "environment": "prod", "sequence": 2, "reason": "incident"}
    log.add("deauthorisation", left, by="rik", tags=["toy#prod!#2"])
    log.add("review_signed", signed, by="rik")
    revoke(log, "rik", candidate + 4, by="aud")
    state = log.fold()
    assert state.authorised("toy") == ()
    assert [(body.done, len(body.actions)) for _, body in state.reviews] == [((), 1)]


# keys that lapse unseen


def test_a_rejection_lapses_with_its_key() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    candidate = log.propose()
    log.add("rejection", {"release": REF, "candidate": candidate, "role": "validator", "reason": "no"}, by="vera")
    assert log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].status == "dev"


def test_an_engineers_key_lapses_and_the_release_is_gone_without_a_word() -> None:
    log = Log(governance(expires={"eli": "2026-11-30"}))
    log.live()
    lapse = datetime(2026, 12, 1, tzinfo=UTC)
    before, after = log.fold(START + timedelta(days=5)), log.fold(lapse)
    assert [a.lapses for a in before.authorised("toy")] == [lapse]
    assert after.authorised("toy") == ()
    ((lost),) = after.lost
    assert (str(lost.ref), lost.environment) == (REF, "prod")
    assert "by eli: the key has lapsed since" in lost.reason
    asked = [task for task in before.tasks("vera") if task.kind == "witness"]
    assert [(task.subject, task.command, task.due) for task in asked] == [
        ("eli", "countermark release witness", "2026-12-01T00:00:00.000000Z")
    ]
    assert [task for task in before.tasks("eli") if task.kind == "witness"] == []
    log.add("witness", {"note": ""}, by="vera")
    assert [task for task in log.fold(START + timedelta(days=5)).tasks("rik") if task.kind == "witness"] == []
    assert log.fold(lapse).authorised("toy")
    assert log.fold(lapse).lost == ()


# names


@pytest.mark.parametrize(
    "name",
    [
        unicodedata.normalize("NFD", "Zoë Müller"), "Zoë\u200b Müller", "Zoë Müller.", "ZOË MÜLLER", "Zoë-Müller",
        "Z\u043eë Müller", "\uff3aoë Müller", "Zoë Müller <zoe@bank>", "Zoë\u00a0Müller",
    ],
)  # fmt: skip
def test_one_person_under_two_spellings_fills_four_eyes(name: str) -> None:
    people = {**PEOPLE, "zoe": ("Zoë Müller", ("developer",)), "zoe2": (name, ("validator",))}
    log = Log(governance(people))
    log.approve(log.propose(by="zoe"), "validator", by="zoe2")
    state = log.fold()
    assert state.releases[TOY].approvals == ()
    assert "four eyes need another person" in reasons(state)[0]


BAD_NAMES = {
    "a letter of another script": "D\u0430na Developer",
    "a character that nobody sees": "Dana\u200b Developer",
    "a digit": "Dana 2",
    "an address": "Dana <dana@bank>",
    "nothing but signs": "-.'",
    "a line break": "Dana\nDeveloper",
}


@pytest.mark.parametrize("sentence", BAD_NAMES, ids=list(BAD_NAMES))
def test_an_amendment_brings_in_a_name_that_could_be_another_ones(sentence: str) -> None:
    people = {**PEOPLE, "d2": (BAD_NAMES[sentence], ("validator",))}
    with pytest.raises(RegistryError, match="the name of the person behind 'd2' could be taken for another one"):
        check_names(governance(people))
    log = Log()
    log.add("amendment", governance(people, version=2).document(), by="rik")
    assert "could be taken for another one" in reasons(log.fold())[0]
    old = Log(governance(people))
    old.add("amendment", governance(people, version=2).document(), by="rik")
    assert reasons(old.fold()) == [], "a name that is in force already stays"


@pytest.mark.parametrize("name", ["Zoë Müller", "O'Brien Jr.", "Ана Петрова", "山田 タロウ", "Anne-Marie D’Arc"])
def test_names_of_real_people_are_accepted(name: str) -> None:
    check_names(governance({**PEOPLE, "p": (name, ("developer",))}))


@pytest.mark.parametrize(
    "text", ["Vera Validator <vera@bank>", "<vera@bank>", "vera@bank", "VERA", "Vera  validator."], ids=str
)
def test_a_developer_is_named_as_git_writes_it(text: str) -> None:
    log = Log()
    log.approve(log.propose(by="olga", developers=[text]), "validator", by="vera")
    assert "named among its developers" in reasons(log.fold())[0]


@pytest.mark.parametrize("developers", [[], [""], ["  "]])
def test_a_proposal_names_nobody_who_built_it(developers: list[str]) -> None:
    log = Log()
    log.propose(by="olga", developers=developers)
    assert reasons(log.fold()) == ["it names nobody who built it, so that four eyes mean nothing"]


@pytest.mark.parametrize("by", ["dana", "eli"])
def test_a_developer_signs_the_review_and_clears_the_actions_of_risk(by: str) -> None:
    action = {"id": "A1", "owner": "rik", "due": "2026-11-20", "text": "cap limits", "model": None}
    base = {"review": "2026-W45", "digest": "a" * 64, "checkpoint": None}
    log = Log()
    log.add("review_signed", {**base, "actions": [action], "done": []}, by="rik")
    log.add("review_signed", {**base, "actions": [], "done": ["A1"]}, by=by)
    state = log.fold()
    assert [task.subject for task in state.tasks("rik")] == ["A1"]
    assert "this needs owner or auditor or risk or validator" in reasons(state)[0]


# the rule behind it

CREW = {**PEOPLE, "ven": ("Ven Validator", ("validator",)), "eve": ("Eve Engineer", ("engineer",))}
NEXT = "toy@v1.1.0"


def act(log: Log, step: tuple[str, str, str]) -> None:
    """One entry of any kind by anybody, allowed or not."""
    what, by, ref = step
    known = [e.position for e in log.fold().events if e.type == "proposal" and e.body["release"] == ref]
    candidate, number = (known or [1])[-1], len(log.entries)
    if what == "propose":
        log.propose(ref, by=by, commit=DIGESTS["pack"][:40] if ref == REF else "d" * 40)
    elif what.startswith("approve"):
        log.approve(candidate, what.partition(" ")[2], by=by, ref=ref)
    elif what == "reject":
        role = CREW[by][1][0]
        log.add("rejection", {"release": ref, "candidate": candidate, "role": role, "reason": "no"}, by=by)
    elif what == "publish":
        log.publish(candidate, by=by, ref=ref, commit=DIGESTS["pack"][:40] if ref == REF else "d" * 40)
    elif what == "assign":
        log.assign(number, by=by, ref=ref)
    elif what == "leave":
        body = {"release": ref, "environment": "prod", "sequence": number, "reason": "x"}
        log.add("deauthorisation", body, by=by, tags=[f"toy#prod!#{number}"])
    elif what == "retire":
        prod = ref in [str(a.ref) for a in log.fold().authorised("toy")]
        body = {"release": ref, "sequence": number if prod else None, "reason": "x"}
        log.add("retirement", body, by=by, tags=[f"toy#prod!#{number}"] if prod else [])
    elif what == "open":
        log.open_finding("high", by=by, ref=ref)
    elif what == "close":
        found = list(log.fold().findings)
        log.add("finding_closed", {"finding": (found or ["F-1"])[-1], "text": "done", "evidence": None}, by=by)
    elif what == "amend":
        document = stricter().document() | {"principals": governance(CREW).document()["principals"]}
        position = log.add("amendment", document, by=by)
        other = "rik" if by != "rik" else "aud"
        log.add("amendment_approval", {"amendment": position, "digest": digest_of(document)}, by=other)


PATH = [
    ("propose", "dana", REF), ("approve validator", "vera", REF), ("approve risk", "rik", REF), ("publish", "eli", REF),
    ("assign", "eli", REF),
]  # fmt: skip
KINDS = ["propose", "approve validator", "approve risk", "reject", "publish", "assign", "leave", "retire", "open", "close", "amend"]  # fmt: skip
ANY = st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(CREW)), st.sampled_from([REF, REF, NEXT]))
TAKING = st.tuples(
    st.sampled_from(["reject", "leave", "retire", "open", "amend"]),
    st.sampled_from(["vera", "rik", "aud"]),
    st.just(REF),
)


def permitted(state: RegistryState) -> set[tuple[str, str]]:
    grants = {(str(a.ref), "prod") for a in state.authorised("toy")}
    ready = {(str(r.ref), "ready") for r in state.releases.values() if r.status in ("approved", "published", "prod")}
    return grants | ready


@settings(max_examples=80)
@given(
    st.integers(1, len(PATH)), st.lists(TAKING | ANY, min_size=1, max_size=4), st.lists(ANY, max_size=2),
    st.sampled_from(["vera", "rik", "aud", "eli", "dana"]), st.integers(1, 4), st.sampled_from(["rik", "aud"]),
)  # fmt: skip
def test_no_revocation_makes_a_release_more_permitted(
    begun: int, before: list[Any], after: list[Any], whose: str, back: int, by: str
) -> None:
    log = Log(governance(CREW))
    for step in [*PATH[:begun], *before]:
        act(log, step)
    plain, revoked = Log.__new__(Log), Log.__new__(Log)
    for copied in (plain, revoked):
        copied.entries, copied.now, copied.root = list(log.entries), log.now, log.root
    plain.add("witness", {"note": ""}, by=by)
    revoke(revoked, whose, max(1, len(log.entries) - back), by=by)
    assert permitted(revoked.fold()) <= permitted(plain.fold())
    # And nothing that others sign later finds a door open that was shut.
    others = {"vera": "ven", "eli": "eve", "rik": "rik", "dana": "olga", "aud": "aud"}
    for what, name, ref in [*PATH[begun:], *after, *PATH[3:]]:
        signer = others[name] if name == whose and name in others else name
        if signer != whose:
            act(plain, (what, signer, ref))
            act(revoked, (what, signer, ref))
    assert permitted(revoked.fold()) <= permitted(plain.fold())


@pytest.mark.parametrize("name", ["spec", "profile"])
def test_an_approval_that_names_another_spec_or_profile(name: str) -> None:
    log = Log()
    bound = {n: DIGESTS[n] for n in ("results", "evidence", "scorer", "decision")}
    candidate = log.propose(digests={**DIGESTS, "profile": "a" * 64})
    log.approve(candidate, "validator", by="vera", digests={**bound, name: "0" * 64})
    log.approve(candidate, "validator", by="vera", digests={**bound, "spec": DIGESTS["spec"], "profile": "a" * 64})
    state = log.fold()
    assert reasons(state) == [f"it approves another {name} digest than the candidate's"]
    assert len(state.releases[TOY].approvals) == 1

"""Attacks on the log, each by its name. Every one of them would succeed if its check were taken out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.digest import canonical_json, digest_of, sha256_hex
from countermark.records.release import ReleaseRef
from countermark.registry.events import Entry, log_lines, parse_lines
from countermark.registry.fold import fold
from countermark.registry.sshsig import LOG_NAMESPACE
from tests.registry.people import DIGESTS, LATER, PEOPLE, REF, START, Log, governance, key, reasons

TOY = ReleaseRef.parse(REF)


def test_the_honest_life_is_accepted_to_the_last_entry() -> None:
    log = Log()
    log.live()
    state = log.fold()
    assert reasons(state) == []
    assert state.releases[TOY].status == "prod"
    assert [a.ref for a in state.authorised("toy")] == [TOY]


# identity


def test_self_approval_with_a_second_key_of_the_same_person() -> None:
    people = {**PEOPLE, "dana2": ("dana  DEVELOPER", ("validator", "risk"))}
    log = Log(governance(people))
    candidate = log.propose(by="dana")
    log.approve(candidate, "validator", by="dana2")
    state = log.fold()
    assert "four eyes need another person" in reasons(state)[0]
    assert state.releases[TOY].approvals == ()


def test_a_developer_named_in_the_spec_approves() -> None:
    log = Log()
    log.approve(log.propose(developers=["Vera Validator"]), "validator", by="vera")
    assert "named among its developers" in reasons(log.fold())[0]


def test_a_developer_named_by_principal_approves() -> None:
    log = Log()
    log.approve(log.propose(developers=["vera"]), "validator", by="vera")
    assert "named among its developers" in reasons(log.fold())[0]


def test_one_person_fills_both_roles_of_the_quorum() -> None:
    people = {**PEOPLE, "vera2": ("Vera Validator", ("risk",))}
    log = Log(governance(people))
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="vera2")
    log.publish(candidate)
    state = log.fold()
    assert [r.type for r in state.refused] == ["approval", "publication"]
    assert state.releases[TOY].status == "candidate"


def test_an_approver_with_a_declared_conflict() -> None:
    for rival in ("toy", "Dana Developer"):
        log = Log(governance(conflicts=((rival, "Vera Validator"),)))
        log.approve(log.propose(), "validator", by="vera")
        assert f"declared conflict with '{rival}'" in reasons(log.fold())[0]


def test_a_principal_that_the_key_does_not_speak_for() -> None:
    log = Log()
    log.approve(log.propose(), "validator", by="vera", signed_by="dana")
    assert reasons(log.fold()) == ["it says 'vera', but the key that signed it is 'dana'"]


def test_an_approval_in_a_role_that_the_person_does_not_have() -> None:
    log = Log()
    log.approve(log.propose(), "risk", by="vera")
    assert "this needs risk" in reasons(log.fold())[0]


def test_an_approval_in_a_role_that_the_tier_does_not_ask_for() -> None:
    log = Log()
    log.approve(log.propose(tier=2), "risk", by="rik")
    assert "tier 2 asks for validator" in reasons(log.fold())[0]


def test_a_tier_without_a_quorum_cannot_be_proposed() -> None:
    log = Log()
    log.propose(tier=4)
    assert reasons(log.fold()) == ["tier 4 has no quorum"]


# trust


def test_a_key_that_nobody_trusts_pushes_an_entry() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", signed_by="stranger")
    state = log.fold()
    assert "belongs to no principal" in reasons(state)[0]
    assert state.releases[TOY].approvals == ()


def test_a_commit_that_adds_its_author_to_the_signers() -> None:
    people = {**PEOPLE, "mallory": ("Mallory", ("validator", "risk", "engineer"))}
    log = Log()
    amended = governance(people, version=2)
    position = log.add("amendment", amended.document(), by="dana")
    log.add("amendment_approval", {"amendment": position, "digest": digest_of(amended.document())}, by="dana")
    log.approve(log.propose(), "validator", by="mallory")
    state = log.fold()
    assert [r.type for r in state.refused] == ["amendment", "amendment_approval", "approval"]
    assert state.governance.body.version == 1


def test_one_person_amends_alone() -> None:
    people = {**PEOPLE, "rik2": ("Rik  Risk", ("validator",))}
    log = Log(governance(people))
    amended = governance({**people, "mallory": ("Mallory", ("risk",))}, version=2)
    position = log.add("amendment", amended.document(), by="rik")
    agreed = {"amendment": position, "digest": digest_of(amended.document())}
    log.add("amendment_approval", agreed, by="rik")
    log.add("amendment_approval", agreed, by="rik2")
    assert log.fold().governance.body.version == 1
    log.add("amendment_approval", agreed, by="vera")
    assert log.fold().governance.body.version == 2


def test_an_amendment_approval_of_another_text() -> None:
    log = Log()
    position = log.add("amendment", governance(version=2).document(), by="rik")
    log.add("amendment_approval", {"amendment": position, "digest": "0" * 64}, by="vera")
    state = log.fold()
    assert reasons(state) == ["it approves another text than the amendment's"]
    assert state.governance.body.version == 1


def test_an_amendment_of_a_state_that_is_gone() -> None:
    log = Log()
    stale = governance(version=2, amendment_quorum=3)
    first = log.add("amendment", governance(version=2).document(), by="rik")
    second = log.add("amendment", stale.document(), by="aud")
    log.add(
        "amendment_approval", {"amendment": first, "digest": digest_of(governance(version=2).document())}, by="vera"
    )
    log.add("amendment_approval", {"amendment": second, "digest": digest_of(stale.document())}, by="vera")
    state = log.fold()
    assert reasons(state) == [f"no amendment waits at position {second}"]
    assert state.governance.body.amendment_quorum == 2


def test_an_amendment_that_skips_a_version() -> None:
    log = Log()
    skipping = governance(version=5)
    position = log.add("amendment", skipping.document(), by="rik")
    log.add("amendment_approval", {"amendment": position, "digest": digest_of(skipping.document())}, by="vera")
    state = log.fold()
    assert reasons(state)[0] == "it amends version 4, but version 1 is in force"
    assert state.governance.body.version == 1


@pytest.mark.parametrize("position", [0, -1, 99])
def test_a_revocation_from_a_position_that_is_not_there(position: int) -> None:
    log = Log()
    log.propose()
    log.add("key_revocation", {"public": key("dana").public, "position": position, "reason": "x"}, by="rik")
    state = log.fold()
    assert reasons(state) == [f"position {position} is not in the log before it"]
    assert state.revoked == {}


def test_entries_about_a_release_that_nobody_proposed() -> None:
    log = Log()
    log.approve(1, "validator", by="vera")
    log.publish(1)
    log.assign(1)
    log.waive(1, test="a.b")
    log.open_finding()
    log.add("retirement", {"release": REF, "sequence": None, "reason": "x"}, by="eli")
    state = log.fold()
    assert reasons(state) == [f"the log knows no release '{REF}'"] * 6
    assert state.releases == {}
    assert state.findings == {}


def test_a_log_with_another_genesis() -> None:
    honest, other = Log(), Log(governance({**PEOPLE, "mallory": ("Mallory", ("validator",))}))
    with pytest.raises(RegistryError, match="another trust root"):
        fold(other.entries, honest.root, LATER)


def test_a_second_genesis_inside_the_log() -> None:
    log = Log()
    log.add("governance", governance({**PEOPLE, "mallory": ("Mallory", ("risk",))}).document(), by="rik")
    state = log.fold()
    assert reasons(state) == ["a log has one 'governance', at its start"]
    assert "mallory" not in [p.principal for p in state.governance.body.principals]


def test_a_genesis_signed_by_none_of_its_principals() -> None:
    log = Log.__new__(Log)
    log.entries, log.now = [], START
    log.add("governance", governance().document(), by="rik", signed_by="stranger")
    with pytest.raises(RegistryError, match="log position 0: the governance is not signed by one of its own"):
        fold(log.entries, sha256_hex(log.entries[0].payload), LATER)


def test_a_revoked_key_counts_for_nothing_from_the_named_position_on() -> None:
    log = Log()
    candidate = log.live()
    assert log.fold().authorised("toy")
    approval = candidate + 1
    stolen = {"public": f"{key('vera').public} vera@bank", "position": approval, "reason": "stolen"}
    log.add("key_revocation", stolen, by="rik")
    state = log.fold()
    assert state.authorised("toy") == ()
    assert f"the key is revoked from position {approval} on" in reasons(state)
    assert log.fold().at(position=candidate + 4).authorised("toy"), "what was so then is still told as it was then"


def test_a_thief_revokes_the_key_of_the_one_who_revoked_his() -> None:
    log = Log()
    log.add("key_revocation", {"public": key("rik").public, "position": 1, "reason": "stolen"}, by="aud")
    log.add("key_revocation", {"public": key("aud").public, "position": 1, "reason": "revenge"}, by="rik")
    state = log.fold()
    assert dict(state.revoked) == {key("rik").public: 1}
    assert [r.position for r in state.refused] == [2]


def test_a_developer_revokes_the_validators_key() -> None:
    log = Log()
    log.add("key_revocation", {"public": key("vera").public, "position": 1, "reason": "?"}, by="dana")
    state = log.fold()
    assert state.revoked == {}
    assert "this needs risk or auditor" in reasons(state)[0]


def test_a_key_revokes_itself() -> None:
    log = Log()
    log.propose()
    log.add("key_revocation", {"public": key("dana").public, "position": 1, "reason": "lost"}, by="dana")
    state = log.fold()
    assert state.releases[TOY].status == "dev", "its name stays taken, and nothing can be approved"
    assert dict(state.revoked) == {key("dana").public: 1}


# time


def test_an_expired_key_with_a_back_dated_clock() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    candidate = log.propose()
    # Written in January with the clock set back to November: nobody else's entry follows that is dated in time.
    log.approve(candidate, "validator", by="vera")
    then, now = datetime(2026, 11, 20, tzinfo=UTC), datetime(2027, 1, 15, tzinfo=UTC)
    assert len(log.fold(then).releases[TOY].approvals) == 1
    state = log.fold(now)
    assert "no other person's entry" in reasons(state)[0]
    assert state.releases[TOY].approvals == ()


def test_an_expired_key_is_not_saved_by_a_witness_who_came_too_late() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    log.approve(log.propose(), "validator", by="vera")
    log.add("witness", {"note": ""}, by="aud", at=datetime(2026, 12, 2, tzinfo=UTC))
    assert log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].approvals == ()


def test_an_expired_key_is_not_saved_by_the_same_persons_other_key() -> None:
    people = {**PEOPLE, "vera2": ("Vera Validator", ("auditor",))}
    log = Log(governance(people, expires={"vera": "2026-11-30"}))
    log.approve(log.propose(), "validator", by="vera")
    log.add("witness", {"note": ""}, by="vera2")
    assert log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].approvals == ()


def test_an_expired_key_is_not_saved_by_another_expired_key() -> None:
    log = Log(governance(expires={"vera": "2026-11-30", "aud": "2026-12-05"}))
    log.approve(log.propose(), "validator", by="vera")
    log.add("witness", {"note": ""}, by="aud")
    assert log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].approvals == ()


def test_an_old_entry_of_an_expired_key_stays_good_if_it_was_witnessed_in_time() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    log.approve(log.propose(), "validator", by="vera")
    log.add("witness", {"note": ""}, by="aud")
    assert len(log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].approvals) == 1


def test_a_renewed_key_needs_no_witness() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    log.approve(log.propose(), "validator", by="vera")
    renewed = governance(expires={"vera": "2027-11-30"}, version=2)
    position = log.add("amendment", renewed.document(), by="vera")
    agreed = {"amendment": position, "digest": digest_of(renewed.document())}
    log.add("amendment_approval", agreed, by="rik", at=datetime(2026, 12, 5, tzinfo=UTC))
    assert len(log.fold(datetime(2027, 1, 15, tzinfo=UTC)).releases[TOY].approvals) == 1


def test_persons_whom_an_amendment_brings_in_cannot_witness_it() -> None:
    lapsing = dict.fromkeys(PEOPLE, "2026-11-30")
    log = Log(governance(expires=lapsing))
    amended = governance({**PEOPLE, "mallory": ("Mallory", ("risk", "validator"))}, version=2, expires=lapsing)
    position = log.add("amendment", amended.document(), by="rik")
    log.add("amendment_approval", {"amendment": position, "digest": digest_of(amended.document())}, by="vera")
    log.add("witness", {"note": ""}, by="mallory")
    assert log.fold(datetime(2026, 11, 20, tzinfo=UTC)).governance.body.version == 2
    assert log.fold(datetime(2027, 1, 15, tzinfo=UTC)).governance.body.version == 1


def test_a_key_used_after_it_expired() -> None:
    log = Log(governance(expires={"vera": "2026-11-30"}))
    candidate = log.propose()
    log.now = datetime(2026, 12, 1, tzinfo=UTC)
    log.approve(candidate, "validator", by="vera")
    assert reasons(log.fold()) == ["the key lapsed at 2026-12-01T00:00:00.000000Z"]


def test_a_date_that_goes_back_along_the_log() -> None:
    log = Log()
    log.propose()
    log.add("witness", {"note": ""}, by="aud", at=START)
    assert "its date goes back" in reasons(log.fold())[0]


def test_a_date_in_the_future() -> None:
    log = Log()
    log.add("witness", {"note": ""}, by="aud", at=LATER + timedelta(minutes=6))
    log.propose()
    state = log.fold(LATER)
    assert "dated in the future" in reasons(state)[0]
    assert TOY in state.releases, "an entry from the future does not stop the log"


# binding


def test_a_replayed_approval_of_another_candidate() -> None:
    log = Log()
    first = log.propose()
    log.approve(first, "validator", by="vera")
    second = log.propose()
    log.approve(first, "risk", by="rik")
    state = log.fold()
    assert state.releases[TOY].candidate == second
    assert state.releases[TOY].approvals == (), "approvals do not follow to another candidate"
    assert f"speaks of the candidate at position {first}" in reasons(state)[0]


def test_an_approval_of_another_pack_digest() -> None:
    for name in ("results", "evidence", "scorer", "decision"):
        log = Log()
        digests = {**{n: DIGESTS[n] for n in ("results", "evidence", "scorer", "decision")}, name: "0" * 64}
        log.approve(log.propose(), "validator", by="vera", digests=digests)
        state = log.fold()
        assert reasons(state) == [f"it approves another {name} digest than the candidate's"]


def test_an_approval_that_leaves_a_digest_out() -> None:
    log = Log()
    log.approve(log.propose(), "validator", by="vera", digests={"results": DIGESTS["results"]})
    assert "another evidence and scorer and decision digest" in reasons(log.fold())[0]


def test_a_proposal_that_binds_no_decision_policy() -> None:
    log = Log()
    log.propose(digests={k: v for k, v in DIGESTS.items() if k != "decision"})
    assert reasons(log.fold()) == ["it does not bind the digest of decision"]


def test_approvals_expire_before_publication() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", expires="2026-11-10")
    log.approve(candidate, "risk", by="rik")
    assert log.fold(datetime(2026, 11, 5, tzinfo=UTC)).releases[TOY].status == "approved"
    assert log.fold(datetime(2026, 11, 11, tzinfo=UTC)).releases[TOY].status == "candidate"
    log.now = datetime(2026, 11, 12, tzinfo=UTC)
    log.publish(candidate)
    assert reasons(log.fold()) == ["the quorum does not stand; missing: validator"]


def test_approvals_expire_in_production() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", expires="2026-12-10")
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate)
    log.assign(1)
    before, after = datetime(2026, 12, 10, 23, tzinfo=UTC), datetime(2026, 12, 11, tzinfo=UTC)
    assert log.fold(before).authorised("toy")[0].lapses == after
    assert log.fold(after).authorised("toy") == ()
    assert log.fold(after).lapsed("toy") == (TOY,)
    log.approve(candidate, "validator", by="vera", expires="2027-12-10")
    assert log.fold(after).authorised("toy"), "a renewed approval brings it back"


def test_an_approval_that_had_lapsed_when_it_was_given() -> None:
    log = Log()
    log.approve(log.propose(), "validator", by="vera", expires="2026-11-01")
    assert reasons(log.fold()) == ["it had lapsed when it was given"]


# order of things


def test_publication_without_quorum() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.publish(candidate)
    state = log.fold()
    assert reasons(state) == ["the quorum does not stand; missing: risk"]
    assert state.releases[TOY].publication is None


def test_authorisation_of_what_is_not_published() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="rik")
    log.assign(1)
    state = log.fold()
    assert reasons(state) == [f"'{REF}' is not published"]
    assert state.authorised("toy") == ()


def test_a_published_version_is_proposed_again() -> None:
    log = Log()
    log.live()
    log.propose()
    state = log.fold()
    assert reasons(state) == [f"'{REF}' is published already; propose the next version"]
    assert state.authorised("toy")


def test_two_versions_of_one_model_on_one_commit() -> None:
    log = Log()
    log.live()
    log.live("toy@v1.1.0", 2)
    state = log.fold()
    assert f"'{REF}' is published on the same commit" in reasons(state)[0]
    assert [str(a.ref) for a in state.authorised("toy")] == [REF]


def test_an_engineer_proposes_or_a_developer_publishes() -> None:
    log = Log()
    log.propose(by="eli")
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate, by="dana")
    assert [r.type for r in log.fold().refused] == ["proposal", "publication"]


def test_a_rejected_candidate_is_published() -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    body = {"release": REF, "candidate": candidate, "role": "risk", "reason": "too thin"}
    log.add("rejection", body, by="rik")
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate)
    state = log.fold()
    assert [r.type for r in state.refused] == ["approval", "publication"]
    assert state.releases[TOY].status == "dev"
    assert state.releases[TOY].closing == "rejected by rik: too thin"


def test_a_retired_release_is_served() -> None:
    log = Log()
    log.live()
    log.add("retirement", {"release": REF, "sequence": 2, "reason": "replaced"}, by="eli", tags=["toy#prod!#2"])
    log.assign(3)
    state = log.fold()
    assert state.releases[TOY].status == "archived"
    assert state.authorised("toy") == ()
    assert reasons(state) == [f"'{REF}' is archived"]


@pytest.mark.parametrize("kind", ["rejection", "withdrawal"])
def test_a_published_release_is_not_turned_into_a_candidate_again(kind: str) -> None:
    log = Log()
    candidate = log.live()
    body: dict[str, Any] = {"release": REF, "candidate": candidate, "reason": "no"}
    log.add(kind, body | ({"role": "risk"} if kind == "rejection" else {}), by="rik" if kind == "rejection" else "dana")
    state = log.fold()
    assert reasons(state) == [f"'{REF}' is published; retire it instead"]
    assert state.authorised("toy")


def test_a_finding_on_the_release_of_another_model() -> None:
    log = Log()
    log.propose()
    body = {"model": "other", "release": REF, "severity": "high", "test": None, "text": "x", "owner": None, "due": None}
    log.add("finding_opened", body, by="vera")
    assert reasons(log.fold()) == [f"'{REF}' is no release of 'other'"]


def test_a_finding_is_closed_twice() -> None:
    log = Log()
    log.propose()
    finding = log.open_finding()
    for _ in range(2):
        log.add("finding_closed", {"finding": finding, "text": "Mended", "evidence": None}, by="vera")
    assert reasons(log.fold()) == [f"finding '{finding}' is closed already"]


def test_a_waiver_of_everything_or_of_nothing() -> None:
    log = Log()
    candidate = log.propose(gates=[GATE])
    log.waive(candidate)
    log.waive(candidate, test="rep.c2st", finding=log.open_finding())
    assert reasons(log.fold()) == ["it waives not exactly one test or finding"] * 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"owner": " "}, "a waiver needs an owner and a reason"),
        ({"reason": ""}, "a waiver needs an owner and a reason"),
        ({"expires": "2026-11-01"}, "it had lapsed when it was given"),
    ],
)
def test_a_waiver_that_nobody_answers_for_or_that_is_over(changes: dict[str, str], says: str) -> None:
    log = Log()
    body = {
        "release": REF, "candidate": log.propose(gates=[GATE]), "test": "rep.c2st", "finding": None, "reason": "Known",
        "owner": "Olga", "expires": "2027-06-30", **changes,
    }  # fmt: skip
    log.add("waiver", body, by="rik")
    assert reasons(log.fold()) == [says]


def _approved(log: Log, **changes: Any) -> int:
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera", **changes)
    log.approve(candidate, "risk", by="rik")
    return candidate


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"commit": "d" * 40}, "it names another commit than the candidate's"),
        ({"bundle": "latest"}, "it names no bundle digest"),
    ],
)
def test_a_publication_of_something_else(changes: dict[str, str], says: str) -> None:
    log = Log()
    log.publish(_approved(log), **changes)
    assert reasons(log.fold()) == [says]


def test_a_release_is_published_twice_with_another_bundle() -> None:
    log = Log()
    candidate = _approved(log)
    log.publish(candidate)
    log.publish(candidate, bundle="e" * 64)
    state = log.fold()
    assert reasons(state) == [f"'{REF}' is published already"]
    publication = state.releases[TOY].publication
    assert publication is not None
    assert publication.bundle_digest == "b" * 64


def test_an_authorisation_after_an_approval_has_lapsed() -> None:
    log = Log()
    log.publish(_approved(log, expires="2026-11-10"))
    log.now = datetime(2026, 11, 12, tzinfo=UTC)
    log.assign(1)
    assert reasons(log.fold()) == ["the quorum does not stand any more; missing: validator"]


def test_an_authorisation_with_a_finding_open() -> None:
    log = Log()
    log.publish(_approved(log))
    finding = log.open_finding("critical")
    log.assign(1)
    assert reasons(log.fold()) == [f"open critical or high findings: {finding}"]


def test_authorisations_that_are_none() -> None:
    log = Log()
    log.publish(_approved(log))
    log.add("authorisation", {"release": REF, "environment": "pr od", "sequence": 1}, by="eli", tags=["toy#pr od#1"])
    log.assign(1)
    log.assign(2)
    gone = {"release": REF, "environment": "test", "sequence": 3, "reason": "x"}
    log.add("deauthorisation", gone, by="eli", tags=["toy#test!#3"])
    log.add("retirement", {"release": REF, "sequence": None, "reason": "x"}, by="eli")
    assert reasons(log.fold()) == [
        "an environment is a lower-case word",
        f"'{REF}' is authorised for it already",
        f"'{REF}' is not authorised for test",
        "it is in prod, and needs the tag that takes it out",
    ]
    assert [a.sequence for a in log.fold().authorised("toy")] == [1]


def test_a_refused_entry_uses_up_no_tag_number() -> None:
    log = Log()
    log.publish(_approved(log))
    log.add("authorisation", {"release": REF, "environment": "prod", "sequence": 9}, by="eli", tags=["toy#prod#1"])
    log.assign(1)
    assert [a.sequence for a in log.fold().authorised("toy")] == [1]


def test_a_candidate_is_retired() -> None:
    log = Log()
    log.propose()
    log.add("retirement", {"release": REF, "sequence": None, "reason": "x"}, by="eli")
    assert reasons(log.fold()) == [f"'{REF}' is candidate, not published"]


def test_a_tag_number_is_used_twice() -> None:
    log = Log()
    log.live()
    log.live("toy@v1.1.0", 1, commit="d" * 40)
    assert reasons(log.fold()) == ["its tag number 1 is used; the last one is 1"]


def test_an_entry_that_records_the_tag_of_another_release() -> None:
    log = Log()
    body = {"release": REF, "candidate": 1, "role": "validator", "reason": "x"}
    del body
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="rik")
    publication = {"release": REF, "candidate": candidate, "commit": "c" * 40, "bundle": "b" * 64, "files": {}}
    log.add("publication", publication, by="eli", tags=["other@v9.9.9"])
    assert reasons(log.fold()) == [f"its tags are other@v9.9.9; expected {REF}"]


def test_a_witness_that_carries_the_tag_of_a_release() -> None:
    log = Log()
    log.add("witness", {"note": ""}, by="dana", tags=["toy@v9.9.9"])
    assert reasons(log.fold()) == ["its tags are toy@v9.9.9; expected none"]


def test_a_genesis_that_carries_a_tag() -> None:
    log = Log.__new__(Log)
    log.entries, log.now = [], START
    log.add("governance", governance().document(), by="rik", tags=["toy@v9.9.9"])
    with pytest.raises(RegistryError, match="log position 0"):
        fold(log.entries, sha256_hex(log.entries[0].payload), LATER)


FILE = {"path": "reports/toy/pack.json", "sha256": "a" * 64, "md5": "b" * 32, "size": 1}
BAD_PROPOSALS: dict[str, tuple[dict[str, Any], str]] = {
    "a branch in the place of a commit": ({"commit": "main"}, "it names no commit"),
    "an option of git in the place of a commit": ({"commit": "--output=/tmp/x"}, "it names no commit"),
    "a file outside the bank": ({"files": [{**FILE, "path": "/etc/passwd"}]}, "'/etc/passwd' is no file of a bank"),
    "a file above the bank": ({"files": [{**FILE, "path": "a/../../x"}]}, "'a/../../x' is no file of a bank"),
    "a cache name that is a path": ({"files": [{**FILE, "md5": "../../../../../etc/passwd"}]}, "is no file of a bank"),
    "a digest that is none": ({"files": [{**FILE, "sha256": "x"}]}, "is no file of a bank"),
    "two files of one name": (
        {"files": [FILE, {**FILE, "path": "models/pack.json"}]},
        "two of its files have one name",
    ),
}


@pytest.mark.parametrize("sentence", BAD_PROPOSALS, ids=list(BAD_PROPOSALS))
def test_a_proposal_that_points_elsewhere(sentence: str) -> None:
    changes, says = BAD_PROPOSALS[sentence]
    log = Log()
    log.propose(**changes)
    assert says in reasons(log.fold())[0]


# gates

GATE = {"test": "rep.c2st", "light": "fail", "sections": ["C4"], "hard": False}


def test_a_failed_gating_test_without_a_waiver() -> None:
    log = Log()
    log.approve(log.propose(gates=[GATE]), "validator", by="vera")
    assert reasons(log.fold()) == ["gating tests without a waiver, condition or control: rep.c2st"]


def test_a_waiver_that_has_lapsed_covers_nothing() -> None:
    log = Log()
    candidate = log.propose(gates=[GATE])
    log.waive(candidate, test="rep.c2st", expires="2026-11-04")
    log.now = datetime(2026, 11, 6, tzinfo=UTC)
    log.approve(candidate, "validator", by="vera")
    assert "without a waiver" in reasons(log.fold())[0]


def test_a_waiver_that_lapses_takes_the_release_out_of_production() -> None:
    log = Log()
    candidate = log.propose(gates=[GATE])
    log.waive(candidate, test="rep.c2st", expires="2026-12-10")
    log.approve(candidate, "validator", by="vera")
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate)
    log.assign(1)
    assert log.fold(datetime(2026, 12, 10, tzinfo=UTC)).authorised("toy")
    assert log.fold(datetime(2026, 12, 11, tzinfo=UTC)).authorised("toy") == ()


@pytest.mark.parametrize("by", ["dana", "vera", "eli", "olga"])
def test_a_waiver_by_anyone_but_risk(by: str) -> None:
    log = Log()
    log.waive(log.propose(gates=[GATE]), test="rep.c2st", by=by)
    assert "this needs risk" in reasons(log.fold())[0]


def test_a_waiver_of_a_test_that_is_no_gate() -> None:
    log = Log()
    log.waive(log.propose(gates=[GATE]), test="stab.psi")
    assert "those are: rep.c2st" in reasons(log.fold())[0]


def test_a_condition_or_a_control_on_a_test_that_none_can_condition() -> None:
    control = {"tests": ["data.hash"], "text": "Look", "owner": "Olga Owner", "expires": "2027-06-30"}
    condition = {**control, "findings": []}
    log = Log()
    candidate = log.propose(gates=[{**GATE, "test": "data.hash", "hard": True}], controls=[control])
    log.approve(candidate, "validator", by="vera", conditions=[condition])
    assert "without a waiver" in reasons(log.fold())[0]
    log.waive(candidate, test="data.hash")
    log.approve(candidate, "validator", by="vera")
    assert len(log.fold().releases[TOY].approvals) == 1


@pytest.mark.parametrize("cover", ["condition", "control"])
def test_a_condition_or_control_covers_until_it_expires(cover: str) -> None:
    item = {"tests": ["rep.c2st"], "text": "Watch the drift", "owner": "Olga Owner", "expires": "2026-12-10"}
    log = Log()
    candidate = log.propose(gates=[GATE], controls=[item] if cover == "control" else [])
    log.approve(candidate, "validator", by="vera", conditions=[item] if cover == "condition" else [])
    log.approve(candidate, "risk", by="rik")
    log.publish(candidate)
    log.assign(1)
    assert reasons(log.fold()) == []
    assert log.fold(datetime(2026, 12, 10, tzinfo=UTC)).authorised("toy")
    assert log.fold(datetime(2026, 12, 11, tzinfo=UTC)).authorised("toy") == ()


def test_a_condition_without_an_owner() -> None:
    item = {"tests": [], "text": "Watch", "owner": " ", "expires": "2026-12-10"}
    log = Log()
    log.approve(log.propose(), "validator", by="vera", conditions=[item])
    assert reasons(log.fold()) == ["a condition has no owner or text"]


@pytest.mark.parametrize("severity", ["critical", "high"])
@pytest.mark.parametrize("ref", [REF, None])
def test_an_open_critical_or_high_finding_stops_approval_and_publication(severity: str, ref: str | None) -> None:
    log = Log()
    candidate = log.propose()
    log.approve(candidate, "validator", by="vera")
    finding = log.open_finding(severity, ref=ref)
    log.approve(candidate, "risk", by="rik")
    assert reasons(log.fold()) == [f"open critical or high findings: {finding}"]
    log.add("finding_closed", {"finding": finding, "text": "Mended", "evidence": None}, by="vera")
    log.approve(candidate, "risk", by="rik")
    late = log.open_finding(severity, ref=ref)
    log.publish(candidate)
    assert reasons(log.fold())[-1] == f"open critical or high findings: {late}"


def test_a_high_finding_is_conditioned_and_a_critical_one_is_not() -> None:
    for severity, approvals in (("high", 1), ("critical", 0)):
        log = Log()
        candidate = log.propose()
        finding = log.open_finding(severity)
        condition = {
            "tests": [],
            "findings": [finding],
            "text": "Recalibrate",
            "owner": "Olga",
            "expires": "2027-05-22",
        }
        log.approve(candidate, "validator", by="vera", conditions=[condition])
        assert len(log.fold().releases[TOY].approvals) == approvals


def test_a_finding_is_waived_by_risk() -> None:
    log = Log()
    candidate = log.propose()
    log.waive(candidate, finding=log.open_finding("critical"))
    log.approve(candidate, "validator", by="vera")
    assert reasons(log.fold()) == []


def test_a_developer_closes_a_finding_on_their_own_model() -> None:
    people = {**PEOPLE, "dana": ("Dana Developer", ("developer", "validator"))}
    log = Log(governance(people))
    log.propose()
    finding = log.open_finding()
    log.add("finding_closed", {"finding": finding, "text": "All good", "evidence": None}, by="dana")
    log.add("finding_closed", {"finding": finding, "text": "All good", "evidence": None}, by="olga")
    state = log.fold()
    assert "four eyes" in reasons(state)[0]
    assert "this needs auditor or risk or validator" in reasons(state)[1]
    assert [f.id for f in state.open_findings("toy")] == [finding]


def test_an_equivalence_with_other_digests_or_of_nothing_published() -> None:
    bound = {name: DIGESTS[name] for name in ("results", "evidence", "scorer", "decision")}
    body = {"release": REF, "commit": "d" * 40, "digests": bound, "environment": "f" * 64, "note": ""}
    log = Log()
    log.propose()
    log.add("equivalence", body, by="eli")
    assert reasons(log.fold()) == [f"'{REF}' is not published"]
    log = Log()
    log.live()
    log.add("equivalence", {**body, "digests": {**bound, "evidence": "0" * 64}}, by="eli")
    log.add("equivalence", body, by="dana")
    state = log.fold()
    assert reasons(state)[0] == "the rebuild has another evidence digest"
    assert "this needs engineer or validator" in reasons(state)[1]
    assert state.releases[TOY].equivalences == ()


# the chain


def _resign(entry: Entry, by: str, **changes: Any) -> Entry:
    payload = canonical_json({**json.loads(entry.payload), **changes})
    return Entry(payload, key(by).sign(payload, LOG_NAMESPACE))


def test_an_unsigned_entry_is_pushed_to_the_log() -> None:
    log = Log()
    log.live()
    log.entries[2] = replace(log.entries[2], signature=b"")
    with pytest.raises(RegistryError, match="log position 2") as caught:
        log.fold()
    assert caught.value.got == "no signature at all"


def test_an_entry_signed_for_another_purpose() -> None:
    log = Log()
    log.propose()
    entry = log.entries[1]
    log.entries[1] = replace(entry, signature=key("dana").sign(entry.payload, "git"))
    with pytest.raises(RegistryError, match="log position 1: the signature was made for another purpose"):
        log.fold()


def test_a_chain_splice_leaves_an_entry_out() -> None:
    log = Log()
    log.live()
    del log.entries[2]
    with pytest.raises(RegistryError, match="log position 2: the entry was signed for another place"):
        log.fold()


def test_a_chain_splice_puts_in_an_entry_of_another_log() -> None:
    one, other = Log(), Log(governance(amendment_quorum=3))
    one.propose()
    other.propose()
    with pytest.raises(RegistryError, match="log position 1: the chain is broken"):
        fold([one.entries[0], other.entries[1]], one.root, LATER)


def test_a_chain_splice_by_an_insider_who_signs_the_middle_again() -> None:
    log = Log()
    log.live()
    log.entries[1] = _resign(log.entries[1], "dana", at=iso(log.now))
    with pytest.raises(RegistryError, match="log position 2: the chain is broken"):
        log.fold()


def test_a_signature_is_exchanged_for_another_valid_one() -> None:
    log = Log()
    log.propose()
    log.approve(1, "validator", by="vera")
    log.entries[1] = replace(log.entries[1], signature=log.entries[1].signature.replace(b"\n", b"\n\n", 1))
    with pytest.raises(RegistryError, match="log position 2: the chain is broken"):
        log.fold()


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_flipped_byte_of_the_exported_log_is_named_by_position(place: int, flip: int) -> None:
    log = Log()
    log.live()
    data = bytearray(log_lines(log.entries))
    at = place % len(data)
    data[at] ^= flip
    line = bytes(data[: at + 1]).count(b"\n")
    with pytest.raises(RegistryError) as caught:
        fold(parse_lines(bytes(data)), log.root, LATER)
    named = str(caught.value)
    # A byte of the genesis payload changes the trust root itself; any other one is named by its position.
    assert "log position" in named or "trust root" in named
    if "log position" in named:
        stated = int(named.split("log position ")[1].split(":")[0])
        assert stated in (line - 1, line, line + 1)


BAD_PAYLOADS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown format": ({"format": "countermark/event/9"}, "unknown format"),
    "a field too many": ({"extra": 1}, "not a canonical event"),
    "a date without a zone": ({"at": "2026-11-02T09:00:00"}, "not a canonical event"),
    "a tag that is no object id": ({"tags": [{"name": "x", "object": "zz"}]}, "not a canonical event"),
    "a body that is no object": ({"body": []}, "not a canonical event"),
    "an unknown type": ({"type": "coup"}, "unknown type 'coup'"),
    "a position that is true": ({"position": True}, "not a canonical event"),
}


@pytest.mark.parametrize("sentence", BAD_PAYLOADS, ids=list(BAD_PAYLOADS))
def test_a_payload_that_is_no_event_is_named(sentence: str) -> None:
    changes, says = BAD_PAYLOADS[sentence]
    log = Log()
    log.propose()
    log.entries[1] = _resign(log.entries[1], "dana", **changes)
    with pytest.raises(RegistryError, match=f"log position 1: .*{says}"):
        log.fold()


def test_a_payload_that_is_not_canonical_is_refused() -> None:
    log = Log()
    log.propose()
    payload = log.entries[1].payload.replace(b'{"at"', b'{ "at"')
    log.entries[1] = Entry(payload, key("dana").sign(payload, LOG_NAMESPACE))
    with pytest.raises(RegistryError, match="log position 1: the payload is not a canonical event"):
        log.fold()


def test_a_body_of_the_wrong_shape_has_no_effect() -> None:
    log = Log()
    log.propose(tier="one")
    log.add("finding_closed", {"finding": "F-99", "text": "x", "evidence": None}, by="vera")
    log.propose("toy@v01.0.0")
    state = log.fold()
    assert "the body is not of its type" in reasons(state)[0]
    assert reasons(state)[1] == "the log knows no finding 'F-99'"
    assert "names no release" in reasons(state)[2]


def test_an_empty_log_is_no_log() -> None:
    with pytest.raises(RegistryError, match="the log is empty"):
        fold([], "0" * 64, LATER)


def test_an_export_that_ends_in_the_middle_of_a_line() -> None:
    log = Log()
    log.propose()
    data = log_lines(log.entries)
    with pytest.raises(RegistryError, match="log position 1: the log ends in the middle"):
        parse_lines(data[:-1])
    with pytest.raises(RegistryError, match="log position 1: this line of the log is damaged"):
        parse_lines(data.replace(base64.b64encode(log.entries[1].payload), b"***"))

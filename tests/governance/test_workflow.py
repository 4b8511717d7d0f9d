"""Proposals, approvals, rejections, waivers and findings on a real repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from countermark.errors import CountermarkError, RegistryError
from countermark.governance.access import open_registry, pinned_root, signer_of
from countermark.governance.candidate import change_of, differing_digests
from countermark.governance.publication import retire
from countermark.governance.workflow import (
    Verdict,
    approve,
    close_finding,
    open_finding,
    propose,
    reject,
    waive,
    withdraw,
    witness,
)
from countermark.records.digest import pretty_json, sha256_hex
from countermark.records.release import ReleaseRef
from countermark.records.signoff import bound_digests
from countermark.registry.bodies import FindingOpened
from countermark.registry.git import Git
from countermark.registry.repository import Draft
from countermark.registry.standing import ReleaseState
from countermark.registry.tags import check_tags
from tests.governance.conftest import gated
from tests.governance.desk import MODEL, REF, Desk, make_pack, plain_pack, renamed, scorer_bytes, without_gates
from tests.registry.people import PEOPLE, governance, key
from tests.registry.test_repository import git


def release(desk: Desk) -> ReleaseState:
    return desk.bank.state().release(REF)


def finding(severity: str = "high", test: str | None = "cal.jeffreys") -> FindingOpened:
    return FindingOpened(model=MODEL, release=str(REF), severity=severity, test=test, text="Grade 7 is off")  # type: ignore[arg-type]


# proposals


def test_a_proposal_binds_what_was_built_and_committed(desk: Desk) -> None:
    (desk.root / "paired.json").write_text("{}")
    done = propose(desk.bank, key("dana"), MODEL, evidence=[desk.root / "paired.json"], note="First version")
    made = release(desk)
    pack = without_gates(plain_pack())
    assert made.proposal.digests["pack"] == pack.pack_hash
    assert {n: made.proposal.digests[n] for n in ("results", "evidence", "scorer", "decision")} == {
        n: pack.digests[n] for n in ("results", "evidence", "scorer", "decision")
    }
    assert made.proposal.commit == git(desk.root, "rev-parse", "HEAD")
    assert sorted(f.name for f in made.proposal.files) == ["dataset.parquet", "pack.json", "profile.json", "scorer.json", "validation_pack.pdf"]  # fmt: skip
    assert made.proposal.evidence[0].sha256 == sha256_hex(b"{}")
    assert (made.proposal.change, made.proposal.change_class, made.proposal.tier) == ("model", "new model", 1)
    assert made.proposal.developers == ("Dan Developer",)
    assert done.tags[0].name == f"candidate/{MODEL}/v1.0.0/1"
    assert check_tags(desk.bank.git, desk.bank.state()) == ()


def without_profile(desk: Desk) -> None:
    """The lock of a build that made no reference profile."""
    path = desk.root / f"models/{MODEL}/dvc.lock"
    lock = yaml.safe_load(path.read_text())
    stage = lock["stages"]["all"]
    stage["outs"] = [out for out in stage["outs"] if not out["path"].endswith("/profile.json")]
    path.write_text(yaml.safe_dump(lock))
    desk.commit("no profile")


NOT_READY: dict[str, tuple[Callable[[Desk], object], str]] = {
    "conf that is not committed": (lambda d: d.write("conf/model/toy_pd.yaml", b"x"), "is not committed as it was built"),
    "a scorer that was built after the commit": (
        lambda d: d.write(f"models/{MODEL}/out/scorer.json", b"other"), "is not what the committed build made"),
    "a pack that was deleted": (lambda d: (d.root / f"reports/{MODEL}/pack.json").unlink(), "cannot be read"),
    "a model without a build": (lambda d: (git(d.root, "rm", "-q", f"models/{MODEL}/dvc.lock"), d.commit("x")), "has no committed build"),
    "a damaged lock": (lambda d: (d.write(f"models/{MODEL}/dvc.lock", b"{"), d.commit("x")), "lock file is damaged"),
    "a lock without a reference profile": (without_profile, "the build of 'toy_pd' has no 'profile.json'"),
    "a lock without a pack": (lambda d: (d.write(f"models/{MODEL}/dvc.lock", b"stages: {}"), d.commit("x")), "has no 'pack.json'"),
    "a scorer that the pack does not name": (
        lambda d: d.build(without_gates(plain_pack()), scorer_json=b"{}"), "not the one that the pack was made with"),
    "a pack whose numbers were edited": (
        lambda d: d.build(without_gates(plain_pack()), pack_json=pretty_json(without_gates(plain_pack()).model_dump(mode="json")).replace(b'"tier": 1', b'"tier": 3')), "'pack_hash' does not match"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", NOT_READY, ids=list(NOT_READY))
def test_what_is_not_ready_cannot_be_proposed(desk: Desk, sentence: str) -> None:
    spoil, says = NOT_READY[sentence]
    spoil(desk)
    with pytest.raises(CountermarkError, match=says):
        propose(desk.bank, key("dana"), MODEL)


@pytest.mark.parametrize("name", ["evidence", "results", "policy", "decision", "spec"])
def test_a_pack_sealed_again_after_an_edit_is_found_out_by_its_digests(desk: Desk, name: str) -> None:
    honest = without_gates(plain_pack())
    forged = honest.model_copy(update={"digests": {**honest.digests, name: "0" * 64}}).sealed()
    desk.build(forged)
    with pytest.raises(RegistryError, match=f"the pack states a wrong {name} digest"):
        propose(desk.bank, key("dana"), MODEL)


def test_a_model_without_a_decision_policy_binds_its_absence(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    pack = plain_pack()
    bare = pack.model_copy(update={"digests": {k: v for k, v in pack.digests.items() if k != "decision"}})
    before = release(desk)
    assert bound_digests(bare.digests)["decision"] == sha256_hex(b"null")
    assert change_of(bare, before) == ("policy", "decision policy")
    assert "decision" in differing_digests(bare, before)


def test_evidence_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(RegistryError, match="the evidence cannot be read"):
        propose(desk.bank, key("dana"), MODEL, evidence=[desk.root / "none.json"])


def test_evidence_from_outside_of_the_bank_is_refused(desk: Desk, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (desk.root / "linked.json").symlink_to(outside)
    for path in (outside, desk.root / ".." / outside.name, desk.root / "linked.json", Path("/etc/hostname")):
        with pytest.raises(RegistryError, match="evidence is a file of the bank"):
            propose(desk.bank, key("dana"), MODEL, evidence=[path])
        with pytest.raises(RegistryError, match="evidence is a file of the bank"):
            close_finding(desk.bank, key("vera"), "F-1", "settled", path)
    assert desk.bank.state().position == 0


@pytest.mark.parametrize("reason", ["", " \n"])
def test_no_step_is_signed_without_its_reason(desk: Desk, reason: str) -> None:
    propose(desk.bank, key("dana"), MODEL)
    steps: list[Callable[[], object]] = [
        lambda: reject(desk.bank, key("vera"), REF, reason),
        lambda: withdraw(desk.bank, key("dana"), REF, reason),
        lambda: retire(desk.bank, key("rik"), REF, reason),
        lambda: retire(desk.bank, key("rik"), REF, reason, archive=False),
        lambda: waive(desk.bank, key("rik"), REF, subject=("t", None), reason=reason, owner=None, expires="2027-01-01"),
    ]
    for step in steps:
        with pytest.raises(RegistryError, match="no reason is given"):
            step()
    assert desk.bank.state().position == 1


def test_only_those_who_build_propose(desk: Desk) -> None:
    with pytest.raises(RegistryError, match="this needs developer or owner"):
        propose(desk.bank, key("vera"), MODEL)


CHANGES: dict[str, tuple[dict[str, str], tuple[str, str]]] = {
    "another scorer": ({"scorer": "0" * 64}, ("model", "material")),
    "other results": ({"results": "0" * 64}, ("model", "material")),
    "a new cut-off": ({"decision": "0" * 64}, ("policy", "decision policy")),
    "other tests": ({"evidence": "0" * 64}, ("evidence", "non-material")),
    "other words": ({}, ("document", "descriptive")),
}


@pytest.mark.parametrize("sentence", CHANGES, ids=list(CHANGES))
def test_a_change_has_its_class(desk: Desk, sentence: str) -> None:
    digests, expected = CHANGES[sentence]
    propose(desk.bank, key("dana"), MODEL)
    pack = without_gates(plain_pack())
    changed = pack.model_copy(update={"digests": {**pack.digests, **digests}})
    assert change_of(changed, release(desk)) == expected


def test_without_a_release_before_it_is_a_new_model() -> None:
    assert change_of(plain_pack(), None) == ("model", "new model")


# approvals


def test_four_eyes_make_a_release(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict(text="Sound."))
    assert release(desk).status == "candidate"
    done = approve(desk.bank, key("rik"), REF, Verdict(expires="2027-11-30"))
    assert release(desk).status == "approved"
    assert done.tags[0].name == f"approve/{MODEL}/v1.0.0/risk/rik/3"
    assert release(desk).expires == "2027-11-30"


def test_the_message_names_every_test_and_who_can_cover_it(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys", "data.hash", "rep.c2st")
    propose(desk.bank, key("dana"), MODEL)
    open_finding(desk.bank, key("aud"), finding("critical"))
    with pytest.raises(RegistryError, match="is held up by 4 tests or findings") as caught:
        approve(desk.bank, key("vera"), REF, Verdict())
    told = str(caught.value)
    for words in (
        "cal.jeffreys (E2) Not evaluated: a waiver by risk, or a condition",
        "rep.c2st (C4) Not evaluated",
        "data.hash (C1) Not evaluated",
        "F-2 critical finding by aud: close it, or a waiver by risk",
        "risk (rik) waives: countermark finding waive toy_pd@v1.0.0 --test TEST",
        "countermark release approve toy_pd@v1.0.0 --condition TEXT --test TEST --expires DATE",
    ):
        assert words in told
    assert release(desk).approvals == ()


def test_waivers_per_test_let_the_approvals_through(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys", "rep.c2st")
    propose(desk.bank, key("dana"), MODEL)
    for test in ("cal.jeffreys", "rep.c2st"):
        waive(desk.bank, key("rik"), REF, subject=(test, None), reason="Known", owner=None, expires="2027-06-30")
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict())
    assert release(desk).status == "approved"
    assert [w.body.owner for w in release(desk).waivers] == ["Ann Owner", "Ann Owner"]


def test_a_condition_covers_the_tests_that_it_names(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys", "rep.c2st")
    propose(desk.bank, key("dana"), MODEL)
    verdict = Verdict(condition="Recalibrate", tests=("cal.jeffreys",), expires="2027-05-22")
    with pytest.raises(RegistryError, match=r"held up by 1 test or finding") as caught:
        approve(desk.bank, key("vera"), REF, verdict)
    assert "rep.c2st" in str(caught.value)
    assert "cal.jeffreys (" not in str(caught.value)
    both = Verdict(condition="Recalibrate", tests=("cal.jeffreys", "rep.c2st"), expires="2027-05-22", owner="Olga")
    approve(desk.bank, key("vera"), REF, both)
    (condition,) = release(desk).conditions
    assert (condition.owner, condition.tests) == ("Olga", ("cal.jeffreys", "rep.c2st"))


def test_a_condition_without_a_name_settles_what_this_person_has_open(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    open_finding(desk.bank, key("vera"), finding("high"))
    approve(desk.bank, key("vera"), REF, Verdict(condition="recalibrate grade 7", expires="2027-05-22"))
    (condition,) = release(desk).conditions
    assert (condition.findings, condition.tests) == (("F-2",), ("cal.jeffreys",))
    assert condition.owner == "Ann Owner"


@pytest.mark.parametrize(("who", "severity"), [("aud", "high"), ("vera", "critical")])
def test_a_condition_without_a_name_settles_no_other_persons_and_no_critical_finding(
    desk: Desk, who: str, severity: str
) -> None:
    propose(desk.bank, key("dana"), MODEL)
    open_finding(desk.bank, key(who), finding(severity))
    with pytest.raises(RegistryError, match="held up"):
        approve(desk.bank, key("vera"), REF, Verdict(condition="later", expires="2027-05-22"))


BAD_VERDICTS: dict[str, tuple[Verdict, str]] = {
    "a condition without an end": (Verdict(condition="x"), "a condition needs an end"),
    "tests without a condition": (Verdict(tests=("cal.jeffreys",)), "covered by a condition"),
    "a condition on a test that is fine": (Verdict(condition="x", tests=("stab.psi",), expires="2027-01-01"), "is no gating test"),
    "a role that one does not have": (Verdict(role="risk"), "has no role in which to judge"),
    "an approval that is over": (Verdict(expires="2020-01-01"), "had lapsed when it was given"),
    "an expiry that is no date": (Verdict(expires="soon"), "this is no expiry"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", BAD_VERDICTS, ids=list(BAD_VERDICTS))
def test_a_bad_verdict_is_refused(desk: Desk, sentence: str) -> None:
    verdict, says = BAD_VERDICTS[sentence]
    propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match=says):
        approve(desk.bank, key("vera"), REF, verdict)


def test_who_built_it_does_not_approve_it(tmp_path: Path) -> None:
    people = {**PEOPLE, "dana2": ("Dana Developer", ("validator",)), "dan": ("Dan Developer", ("validator",))}
    desk = Desk(tmp_path / "bank", governance(people), without_gates(plain_pack()))
    propose(desk.bank, key("dana"), MODEL)
    for who, why in (("dana2", "proposed it"), ("dan", "named among its developers")):
        with pytest.raises(RegistryError, match=f"{who} may not judge .*{why}"):
            approve(desk.bank, key(who), REF, Verdict())


def test_who_has_two_fitting_roles_names_one(tmp_path: Path) -> None:
    people = {**PEOPLE, "vera": ("Vera Validator", ("validator", "risk"))}
    desk = Desk(tmp_path / "bank", governance(people), without_gates(plain_pack()))
    propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match="several roles would fit"):
        approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("vera"), REF, Verdict(role="risk"))
    assert release(desk).approvals[0].body.role == "risk"


def test_a_proposal_that_hides_a_failed_gate_is_not_approved(tmp_path: Path) -> None:
    """An insider signs a proposal whose list of gates is shorter than the pack's."""
    desk = gated(tmp_path, "cal.jeffreys")
    forge(desk, gates=[])
    with pytest.raises(RegistryError, match="tells other gates than its pack"):
        approve(desk.bank, key("vera"), REF, Verdict())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tier": 2}, "tells other tier than its pack"),
        ({"developers": ["Somebody Else"]}, "tells other developers than its pack"),
        ({"opinion": "Fit for use"}, "tells other opinion than its pack"),
        ({"controls": [{"tests": ["cal.jeffreys"], "text": "x", "owner": "y", "expires": "2030-01-01"}]}, "tells other controls"),
        ({"digests": {"results": "0" * 64}}, "states another results digest than its pack"),
        ({"digests": {"pack": "0" * 64}}, "states another pack digest than its pack"),
        ({"digests": {"policy": "0" * 64}}, "states another policy digest than its pack"),
    ],
)  # fmt: skip
def test_a_proposal_that_says_other_than_its_pack_is_not_approved(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    desk = gated(tmp_path, "cal.jeffreys")
    forge(desk, **changes)
    waive(desk.bank, key("rik"), REF, subject=("cal.jeffreys", None), reason="x", owner="y", expires="2027-06-30")
    with pytest.raises(RegistryError, match=says):
        approve(desk.bank, key("vera"), REF, Verdict())


def forge(desk: Desk, **changes: Any) -> None:
    """Sign a proposal with some of its fields changed."""
    real = desk.bank.log.append

    def append(signer: Any, make: Any, now: Any) -> Any:
        def forged(state: Any) -> Draft:
            draft = make(state)
            digests = {**draft.body["digests"], **changes.get("digests", {})}
            return Draft(draft.kind, {**draft.body, **changes, "digests": digests}, draft.tags)

        return real(signer, forged, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("countermark.registry.repository.LogRepository.append", lambda self, *args: append(*args))
        propose(desk.bank, key("dana"), MODEL)


def test_an_approval_needs_the_files_that_it_approves(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    desk.write(f"reports/{MODEL}/pack.json", b"edited after the proposal")
    approve(desk.bank, key("vera"), REF, Verdict())
    for path in (desk.root / ".dvc/cache/files/md5").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(RegistryError, match=r"pack\.json' of the candidate is not on this machine"):
        approve(desk.bank, key("rik"), REF, Verdict())


# rejections, withdrawals, supersession


def test_a_rejected_candidate_says_who_and_why(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    reject(desk.bank, key("vera"), REF, "too thin")
    assert release(desk).status == "dev"
    with pytest.raises(RegistryError, match="no candidate any more: rejected by vera: too thin"):
        approve(desk.bank, key("rik"), REF, Verdict())
    propose(desk.bank, key("dana"), MODEL)
    assert release(desk).status == "candidate"


def test_a_candidate_is_withdrawn_by_its_proposer_or_owner_only(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match="this needs owner"):
        withdraw(desk.bank, key("eli"), REF, "no")
    withdraw(desk.bank, key("olga"), REF, "a better one is coming")
    assert release(desk).closing == "withdrawn by olga: a better one is coming"


def test_a_new_candidate_of_the_same_version_starts_without_approvals(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict())
    desk.build(without_gates(make_pack(title="Toy PD, better words")))
    propose(desk.bank, key("dana"), MODEL)
    assert release(desk).approvals == ()


def test_a_version_follows_its_spec(desk: Desk) -> None:
    desk.build(without_gates(renamed(plain_pack(), "1.2.0")))
    propose(desk.bank, key("dana"), MODEL)
    assert list(desk.bank.state().releases) == [ReleaseRef(MODEL, "1.2.0")]


# findings and witnesses


def test_a_finding_takes_the_owner_of_its_release_and_lands_in_an_inbox(desk: Desk) -> None:
    propose(desk.bank, key("olga"), MODEL)
    open_finding(desk.bank, key("vera"), finding())
    (opened,) = desk.bank.state().open_findings(MODEL)
    assert opened.body.owner == "Ann Owner"
    close_finding(desk.bank, key("vera"), opened.id, "Mended", evidence=desk.root / "conf/bank.yaml")
    assert desk.bank.state().open_findings(MODEL) == ()
    with pytest.raises(RegistryError, match="is closed already"):
        close_finding(desk.bank, key("vera"), opened.id, "Again")


def test_a_finding_on_a_model_takes_its_owner_and_may_be_a_roles(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    plain = FindingOpened(model=MODEL, severity="medium", text="Labels come late")
    open_finding(desk.bank, key("vera"), plain)
    open_finding(desk.bank, key("vera"), msgspec.structs.replace(plain, owner="risk", due="2027-01-31"))
    state = desk.bank.state()
    first, second = state.open_findings(MODEL)
    assert first.body.owner == state.release(REF).proposal.owner
    assert [t.subject for t in state.tasks("rik") if t.kind == "finding"] == [second.id]
    reached = {
        p.principal
        for p in state.governance.body.principals
        if first.id in {t.subject for t in state.tasks(p.principal)}
    }
    assert reached == {"olga"}, "the owner in the pack is no principal: whoever owns models hears of it"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model": "toy_dp"}, "the log knows no model 'toy_dp'"),
        ({"owner": "Nobody"}, "an owner whom the governance state knows"),
        ({"due": "1999-01-01"}, "cannot be due in the past"),
        ({"due": "soon"}, "soon"),
        ({"test": "no.such"}, "knows a test 'no.such'"),
        ({"test": "cal.jeffrey"}, "cal.jeffreys"),
        ({"text": " "}, "says what was found"),
    ],
)
def test_a_finding_that_could_reach_nobody_or_says_nothing_is_not_signed(
    desk: Desk, change: dict[str, Any], why: str
) -> None:
    propose(desk.bank, key("dana"), MODEL)
    before = desk.bank.state().position
    good = FindingOpened(model=MODEL, severity="critical", text="Grade 7 is off", owner="vera", test="cal.jeffreys")
    with pytest.raises(RegistryError, match=why):
        open_finding(desk.bank, key("vera"), msgspec.structs.replace(good, **change))
    assert desk.bank.state().position == before
    opened = open_finding(desk.bank, key("vera"), good)
    with pytest.raises(RegistryError, match="nothing is said of what settles"):
        close_finding(desk.bank, key("vera"), f"F-{opened.position}", "  ")


def test_the_tests_of_a_bank_whose_pack_is_not_at_hand_are_those_of_its_policy(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    shutil.rmtree(desk.root / "reports")
    shutil.rmtree(desk.root / ".dvc")
    with pytest.raises(RegistryError, match="knows a test"):
        open_finding(desk.bank, key("vera"), finding())
    desk.write("conf/policy/standard.yaml", b"limits: {cal.jeffreys: {}}\ngating:\n")
    open_finding(desk.bank, key("vera"), finding())


def test_a_finding_on_an_unknown_release(desk: Desk) -> None:
    with pytest.raises(RegistryError, match="knows no release"):
        open_finding(desk.bank, key("vera"), finding())


def test_a_witness_signs_the_head(desk: Desk) -> None:
    done = witness(desk.bank, key("aud"), "weekly")
    assert desk.bank.state().events[done.position].body == {"note": "weekly"}


# inbox


def test_each_inbox_holds_what_that_person_can_do(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys")
    propose(desk.bank, key("dana"), MODEL)

    def kinds(who: str) -> list[str]:
        return [task.kind for task in desk.bank.state().tasks(who)]

    assert kinds("vera") == ["approve"]
    assert kinds("Rik Risk") == ["waive", "approve"]
    assert kinds("dana") == kinds("eli") == []
    waive(
        desk.bank, key("rik"), REF, subject=("cal.jeffreys", None), reason="x", owner="Olga Owner", expires="2026-11-20"
    )
    approve(desk.bank, key("vera"), REF, Verdict(expires="2026-11-25"))
    approve(desk.bank, key("rik"), REF, Verdict())
    assert kinds("eli") == ["publish"]
    assert kinds("vera") == ["expiring"]
    assert kinds("olga") == ["publish", "expiring"]
    with pytest.raises(RegistryError, match="knows no 'nobody'"):
        kinds("nobody")


# keys and roots


def test_the_trust_root_comes_from_outside_what_is_committed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    git(desk.root, "config", "--unset", "countermark.trustRoot")
    desk.write("governance/trust_root", desk.trust_root.encode())
    desk.commit("a root that anybody could commit")
    with pytest.raises(RegistryError, match="no trust root is pinned"):
        desk.bank.state()
    assert open_registry(desk.root, trust_root=f"sha256:{desk.trust_root.upper()}").trust_root == desk.trust_root
    monkeypatch.setenv("COUNTERMARK_TRUST_ROOT", desk.trust_root)
    assert desk.bank.trust_root == desk.trust_root
    monkeypatch.setenv("COUNTERMARK_TRUST_ROOT", "0" * 64)
    with pytest.raises(RegistryError, match="another trust root"):
        desk.bank.state()
    with pytest.raises(RegistryError, match="the trust root is no digest"):
        pinned_root(Git(desk.root), "latest")


def test_a_registry_without_a_root_names_it_when_it_is_needed(desk: Desk) -> None:
    git(desk.root, "config", "--unset", "countermark.trustRoot")
    with pytest.raises(RegistryError, match="no trust root is pinned"):
        assert desk.bank.directory


def test_a_bank_outside_git(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="in no git repository"):
        open_registry(tmp_path)


def test_the_key_comes_from_the_option_or_from_git(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    with pytest.raises(RegistryError, match="no key to sign with"):
        signer_of(desk.root)
    assert signer_of(desk.root, key("dana").path).public == key("dana").public
    git(desk.root, "config", "user.signingkey", str(key("vera").path))
    assert signer_of(desk.root).public == key("vera").public
    for literal in (key("rik").public, f"key::{key('rik').public} rik@bank"):
        git(desk.root, "config", "user.signingkey", literal)
        assert signer_of(desk.root).public == key("rik").public
    assert git(desk.root, "status", "--porcelain") == ""


def test_the_scorer_of_the_desk_is_the_packs() -> None:
    assert sha256_hex(scorer_bytes()) == plain_pack().digests["scorer"]

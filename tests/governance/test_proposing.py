"""What a proposal may not hide, repeat or outlive: unanswered texts, second proposals, approvals without an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import RegistryError
from countermark.governance import candidate, gates
from countermark.governance.fetch import fetch
from countermark.governance.publication import publish
from countermark.governance.workflow import Verdict, approve, propose, reject, replaced, waive
from countermark.records.evidence import Pack
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import GovernanceBody
from tests.governance.conftest import gated
from tests.governance.desk import MODEL, REF, Desk, make_pack, plain_pack, without_gates
from tests.registry.people import REF as TOY
from tests.registry.people import Log, governance, key

TEXTS = "text.unanswered"


def half_written(*tests: str) -> Pack:
    """The pack of a model whose title and developer nobody has put into words yet."""
    return without_gates(make_pack(title="Unanswered: title of toy_pd", purpose=purpose()), *tests)


def purpose() -> dict[str, Any]:
    known: dict[str, Any] = plain_pack().spec["purpose"]
    return {**known, "affected": "Unanswered: who is affected?"}


# texts that nobody has written


def test_what_nobody_has_written_is_a_gate(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written())
    propose(desk.bank, key("dana"), MODEL)
    (gate,) = desk.bank.state().release(REF).proposal.gates
    assert (gate.test, gate.light, gate.hard) == (TEXTS, "fail", True)
    assert set(gate.sections) == {"title", "purpose.affected"}


def test_only_risk_lets_an_unwritten_text_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written())
    propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match="is held up by 1 test or finding") as caught:
        approve(desk.bank, key("vera"), REF, Verdict())
    assert f"{TEXTS} (" in str(caught.value)
    assert "a waiver by risk alone; no condition can cover it" in str(caught.value)
    with pytest.raises(RegistryError, match="is held up"):
        approve(desk.bank, key("vera"), REF, Verdict(condition="later", tests=(TEXTS,), expires="2027-05-22"))
    waive(desk.bank, key("rik"), REF, subject=(TEXTS, None), reason="A pilot", owner=None, expires="2027-05-22")
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict())
    assert desk.bank.state().release(REF).status == "approved"


@pytest.mark.usefixtures("quick")
def test_publish_refuses_once_the_waiver_has_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written())
    propose(desk.bank, key("dana"), MODEL)
    waive(desk.bank, key("rik"), REF, subject=(TEXTS, None), reason="A pilot", owner=None, expires="2026-11-03")
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict())
    desk.clock.set(desk.clock.now().replace(day=5))
    with pytest.raises(RegistryError, match="is held up") as caught:
        publish(desk.bank, key("eli"), REF)
    assert TEXTS in str(caught.value)


def test_propose_lists_the_texts_on_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written("cal.jeffreys"))
    monkeypatch.chdir(desk.root)
    done = CliRunner().invoke(app, ["release", "propose", MODEL, "--key", str(key("dana").path)])
    assert done.exit_code == 0, done.exception
    assert f"{TEXTS} (" in done.output
    assert "purpose.affected" in done.output
    assert "Fail; waiver only" in done.output
    assert "cal.jeffreys (E2) Not evaluated" in done.output


def test_a_proposal_that_hides_an_unwritten_text_is_not_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written())
    with monkeypatch.context() as patch:
        patch.setattr(candidate, "gates_of", gates.tests_of)
        propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match="tells other gates than its pack"):
        approve(desk.bank, key("vera"), REF, Verdict())


@pytest.mark.usefixtures("quick")
def test_what_was_published_before_there_was_this_gate_is_still_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "bank", pack=half_written())
    with monkeypatch.context() as patch:
        patch.setattr(candidate, "gates_of", gates.tests_of)
        propose(desk.bank, key("dana"), MODEL)
        approve(desk.bank, key("vera"), REF, Verdict())
        approve(desk.bank, key("rik"), REF, Verdict())
        publish(desk.bank, key("eli"), REF)
    assert fetch(desk.bank, REF, tmp_path / "review")


def test_many_unwritten_texts_are_counted() -> None:
    spec = {**plain_pack().spec, "purpose": {**purpose(), "permitted": ["Unanswered"] * 40}}
    (gate,) = gates.gates_of(without_gates(plain_pack()).model_copy(update={"spec": spec}))
    assert len(gate.sections) == 12
    assert gate.sections[-1] == "30 more"


# a second proposal


def test_the_same_candidate_is_not_proposed_twice(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys")
    propose(desk.bank, key("dana"), MODEL)
    waive(desk.bank, key("rik"), REF, subject=("cal.jeffreys", None), reason="x", owner=None, expires="2027-06-30")
    approve(desk.bank, key("vera"), REF, Verdict())
    before = desk.bank.state().position
    with pytest.raises(
        RegistryError, match="is proposed already: the same commit and digests, at log position 1"
    ) as no:
        propose(desk.bank, key("dana"), MODEL, note="again")
    assert "would void what was signed for the first: approvals 1, waivers 1" in str(no.value)
    assert f"countermark release list {MODEL}" in str(no.value)
    assert desk.bank.state().position == before
    desk.write("evidence.json", b"{}")
    propose(desk.bank, key("dana"), MODEL, evidence=[desk.root / "evidence.json"])
    assert desk.bank.state().release(REF).approvals == (), "other evidence makes another candidate"


def test_a_rejected_candidate_is_proposed_again_as_it_was(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    reject(desk.bank, key("vera"), REF, "thin")
    done = propose(desk.bank, key("dana"), MODEL)
    assert replaced(done.state, done.position) == (), "nothing stood any more"


def test_a_second_proposal_says_what_it_voids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = gated(tmp_path, "cal.jeffreys")
    first = propose(desk.bank, key("dana"), MODEL)
    assert replaced(first.state, first.position) == ()
    waive(desk.bank, key("rik"), REF, subject=("cal.jeffreys", None), reason="x", owner=None, expires="2027-06-30")
    approve(desk.bank, key("vera"), REF, Verdict())
    desk.build(without_gates(make_pack(title="Better words"), "cal.jeffreys"))
    monkeypatch.chdir(desk.root)
    done = CliRunner().invoke(app, ["release", "propose", MODEL, "--key", str(key("dana").path)])
    assert done.exit_code == 0, done.exception
    assert "replaces the candidate at log position 1, and what was signed for it counts no more:" in done.output
    assert "approval by Vera Validator as validator (position 3)" in done.output
    assert "waiver of cal.jeffreys by Rik Risk (position 2)" in done.output


def test_a_file_that_a_failed_build_removed_is_built_again(desk: Desk) -> None:
    (desk.root / f"models/{MODEL}/out/scorer.json").unlink()
    with pytest.raises(RegistryError, match="cannot be read") as caught:
        propose(desk.bank, key("dana"), MODEL)
    assert f"countermark build {MODEL}, where a build has failed since" in str(caught.value)


# how long an approval may count


def limited() -> GovernanceBody:
    return governance(longest_approval_days=365)


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (Verdict(expires="2099-12-31"), "it counts until 2099-12-31; the governance allows 365 days, until 2027-11-02"),
        (Verdict(condition="x", tests=("cal.jeffreys",), expires="2027-11-03"), "the governance allows 365 days"),
    ],
)
def test_nobody_approves_for_longer_than_governance_allows(tmp_path: Path, verdict: Verdict, says: str) -> None:
    desk = gated(tmp_path, "cal.jeffreys", body=limited())
    propose(desk.bank, key("dana"), MODEL)
    late = ("cal.jeffreys", None)
    with pytest.raises(RegistryError, match="the governance allows 365 days"):
        waive(desk.bank, key("rik"), REF, subject=late, reason="x", owner=None, expires="2099-12-31")
    waive(desk.bank, key("rik"), REF, subject=late, reason="x", owner=None, expires="2027-11-02")
    with pytest.raises(RegistryError, match=says):
        approve(desk.bank, key("vera"), REF, verdict)
    approve(desk.bank, key("vera"), REF, Verdict())
    assert desk.bank.state().release(REF).expires == "2027-11-02", "the longest that there is"


def test_without_a_limit_an_approval_needs_no_end(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict(expires="2099-12-31"))
    assert [a.body.expires for a in desk.bank.state().release(REF).approvals] == [None, "2099-12-31"]
    assert "longest_approval_days" not in governance().document(), "written as before there were limits"


def test_the_log_itself_keeps_the_limit() -> None:
    """Whoever does not use our tools gets no further."""
    log = Log(governance(longest_approval_days=365))
    candidate = log.propose(gates=[{"test": "x", "light": "fail", "sections": ["A1"], "hard": False}])
    ends = (None, "2099-12-31", "2027-11-02")
    log.waive(candidate, test="x", expires="2099-12-31")
    log.waive(candidate, test="x", expires="2027-11-02")
    for end in ends:
        log.approve(candidate, "validator", by="vera", expires=end)
    state = log.fold()
    assert [w.body.expires for w in state.releases[ReleaseRef.parse(TOY)].waivers] == ["2027-11-02"]
    assert [a.body.expires for a in state.releases[ReleaseRef.parse(TOY)].approvals] == ["2027-11-02"]
    assert [r.reason.partition(";")[0] for r in state.refused] == [
        "it counts until 2099-12-31", "it has no end", "it counts until 2099-12-31",
    ]  # fmt: skip

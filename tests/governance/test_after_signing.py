"""What reaches production when something is signed, and what a revocation leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.errors import RegistryError
from countermark.governance.amendment import amend, approve_amendment, revoke
from countermark.governance.check import check_all, check_release, passed
from countermark.governance.publication import retire
from countermark.governance.workflow import Verdict, approve, open_finding, propose, witness
from countermark.records.clock import iso
from countermark.registry.bodies import FindingOpened
from countermark.registry.repository import Draft
from countermark.registry.tags import check_tags, ended_tags
from tests.governance.desk import MODEL, REF, Desk
from tests.governance.test_charter import document, write
from tests.governance.test_publication import detail, live, outcomes
from tests.registry.people import key
from tests.registry.test_repository import git

pytestmark = pytest.mark.usefixtures("quick")


def served(desk: Desk) -> int:
    """Position of the log in the serving directory."""
    bank = desk.bank
    return bank.directory.state(bank.now).position


def test_a_revocation_reaches_the_serving_directory_at_once(desk: Desk) -> None:
    live(desk)
    bank = desk.bank
    assert bank.directory.state(bank.now).authorised(MODEL)
    revoke(bank, key("rik"), "vera", 2, "stolen")
    assert bank.directory.state(bank.now).authorised(MODEL) == ()
    assert bank.directory.state(bank.now).lost[0].ref == REF


def test_whatever_is_signed_reaches_the_serving_directory(desk: Desk, tmp_path: Path) -> None:
    live(desk)
    finding = FindingOpened(model=MODEL, release=str(REF), severity="low", text="Late labels")
    charter = write(tmp_path, document(conflicts=[]))
    for what, sign in {
        "a finding": lambda: open_finding(desk.bank, key("vera"), finding),
        "a witness": lambda: witness(desk.bank, key("aud")),
        "an amendment": lambda: amend(desk.bank, key("rik"), charter),
        "its approval": lambda: approve_amendment(desk.bank, key("vera"), desk.bank.state().position),
        "a withdrawal": lambda: retire(desk.bank, key("rik"), REF, "incident", archive=False),
        "a revocation": lambda: revoke(desk.bank, key("aud"), "dana", None, "left")[0],
    }.items():
        done = sign()  # type: ignore[no-untyped-call]
        assert served(desk) == done.position, what


def test_a_clone_that_nothing_is_served_from_gets_no_serving_directory(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    revoke(desk.bank, key("rik"), "vera", None, "left")
    assert not desk.bank.serves
    assert not (desk.root / "releases").exists()


def test_revoke_says_what_production_loses_and_where_it_is_known(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    live(desk)
    monkeypatch.chdir(desk.root)
    who = ["--key", str(key("rik").path)]
    done = CliRunner().invoke(app, ["governance", "revoke", "vera", "--position", "2", "--reason", "stolen", *who])
    assert done.exit_code == 0, done.exception
    assert f"{REF} is not authorised for prod any more" in done.output
    assert "approval at log position 2 by vera: the key is revoked from position 2 on" in done.output
    assert f"{desk.root / 'releases'} holds it" in done.output
    assert "countermark release export --to DIR" in done.output
    again = CliRunner().invoke(app, ["governance", "revoke", "dana", "--reason", "left", *who])
    assert f"{REF} is not authorised" not in again.output, "only what this revocation took"


# what verify says afterwards


def test_a_revocation_that_was_handled_does_not_fail_for_ever(desk: Desk) -> None:
    """The tags of what it voided stay in every clone; nobody did anything wrong in keeping them."""
    live(desk)
    (done,) = revoke(desk.bank, key("rik"), "vera", 2, "stolen")
    checks = check_all(desk.bank)
    assert outcomes(checks)["tags"] == "holds"
    assert outcomes(checks)["ended tags"] == "open"
    told = detail(checks, "ended tags")
    since = f"has no effect since the revocation at position {done.position}"
    for name, position in ((f"approve/{MODEL}/v1.0.0/validator/vera/2", 2), (str(REF), 4), (f"{MODEL}#prod#1", 5)):
        assert f"'{name}': its entry at log position {position} {since}" in told
    assert "git tag -d NAME" in told
    assert passed(checks)
    assert outcomes(check_release(desk.bank, REF, render_again=False))["ended tags"] == "open"
    for tag in ended_tags(desk.bank.git, desk.bank.state()):
        git(desk.root, "tag", "-d", tag.name)
    assert "ended tags" not in outcomes(check_all(desk.bank))


def test_a_publication_that_was_voided_does_not_fail_for_ever_either(desk: Desk) -> None:
    live(desk)
    revoke(desk.bank, key("rik"), "eli", 4, "stolen")
    assert desk.bank.state().release(REF).publication is None
    assert passed(check_all(desk.bank))


def test_a_tag_that_a_thief_makes_after_the_revocation_fails(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    stolen = desk.bank
    revoke(desk.bank, key("rik"), "vera", 2, "stolen")
    with pytest.raises(RegistryError, match="the key is revoked"):
        approve(stolen, key("vera"), REF, Verdict())
    forced = _forced(desk, f"approve/{MODEL}/v1.0.0/validator/vera/3")
    problems = check_tags(desk.bank.git, desk.bank.state())
    assert [(p.name, p.what) for p in problems] == [
        (forced, "its entry at log position 3 has no effect: the key is revoked from position 2 on")
    ]
    assert not passed(check_all(desk.bank))


def _forced(desk: Desk, name: str) -> str:
    """Append an approval of vera's as somebody would who does not use our tools."""
    from countermark.registry.events import Entry, payload_bytes
    from countermark.registry.sshsig import LOG_NAMESPACE
    from countermark.registry.tags import TagDraft

    bank = desk.bank
    state = bank.state()
    release = state.release(REF)
    draft = Draft("approval", {}, (TagDraft(name, release.proposal.commit, "mine"),))
    _, tags = bank.log._sign(key("vera"), "vera", state, draft, bank.now)
    payload = payload_bytes(
        position=state.position + 1, previous=state.head, kind="approval", at=iso(bank.now), principal="vera",
        body={
            "release": str(REF), "candidate": release.candidate, "role": "validator", "expires": None, "text": "",
            "digests": {n: release.proposal.digests[n] for n in ("results", "evidence", "scorer", "decision")},
            "conditions": [],
        },
        tags=tags,
    )  # fmt: skip
    entry = Entry(payload, key("vera").sign(payload, LOG_NAMESPACE))
    assert bank.log._publish(entry, tags, bank.git.resolve("refs/countermark/log"), "vera", "approval")
    return name


def test_verify_names_the_entry_on_the_screen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    live(desk)
    revoke(desk.bank, key("rik"), "vera", 2, "stolen")
    monkeypatch.chdir(desk.root)
    done = CliRunner().invoke(app, ["verify", "--all", "--json"])
    assert done.exit_code == 0, done.output
    told = {check["check"]: check["outcome"] for check in json.loads(done.output)}
    assert (told["tags"], told["ended tags"]) == ("holds", "open")

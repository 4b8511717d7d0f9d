"""Publication, authorisation, retirement, export and fetch; and what verify finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from countermark.errors import CountermarkError, RegistryError
from countermark.governance import candidate, publication
from countermark.governance.access import open_registry
from countermark.governance.check import Check, check_all, check_document, check_release, passed
from countermark.governance.fetch import fetch
from countermark.governance.publication import assign, bundle_bytes, export, publish, retire
from countermark.governance.workflow import Verdict, approve, carry_over, open_finding, propose, waive
from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.release import ReleaseRef
from countermark.records.signoff import SignOff
from countermark.registry.bodies import FindingOpened, PublicationBody
from countermark.registry.bundle import Bundle, build_bundle
from countermark.registry.directory import ServingDirectory
from countermark.registry.repository import Draft
from countermark.registry.tags import TagDraft, check_tags
from countermark.report.attachments import embedded_files
from countermark.report.final import check_match
from countermark.report.render import render, render_final
from countermark.stages.evidence_input import published_baseline
from countermark.stages.files import ModelFiles
from tests.governance.conftest import gated
from tests.governance.desk import DRAFT, MODEL, REF, Desk, plain_pack, renamed, scorer_bytes, without_gates
from tests.governance.test_workflow import without_profile
from tests.registry.people import key
from tests.registry.test_repository import git


def approved(desk: Desk) -> Desk:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict())
    return desk


def live(desk: Desk) -> Desk:
    approved(desk)
    publish(desk.bank, key("eli"), REF)
    assign(desk.bank, key("eli"), REF)
    return desk


# publication


def test_a_candidate_without_a_reference_profile_is_not_published(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is that was proposed before a stage made the profile."""
    without_profile(desk)
    monkeypatch.setattr(candidate, "_REQUIRED", ("pack.json", "validation_pack.pdf", "scorer.json"))
    with pytest.raises(RegistryError, match=rf"the candidate of '{REF}' has no 'profile\.json'") as told:
        publish(approved(desk).bank, key("eli"), REF)
    assert "under a new version, and propose it" in str(told.value)
    assert desk.bank.state().release(REF).publication is None


@pytest.mark.usefixtures("quick")
def test_a_published_release_is_served_from_its_bundle(desk: Desk) -> None:
    done = publish(approved(desk).bank, key("eli"), REF)
    bank = desk.bank
    state = bank.state()
    assert state.release(REF).status == "published"
    bundle = bank.directory.bundle_of(bank.directory.state(bank.now), REF)
    assert bundle.digest == done.built.digest
    assert bundle.member("scorer.json") == scorer_bytes()
    assert bundle.member("decision.json") == canonical_json(plain_pack().spec["decision"])
    assert bundle.log() == state.entries[:4], "the log up to the last approval"
    assert bundle.member("validation_pack.pdf") == done.final.read_bytes()
    assert done.final.name == f"{MODEL}_v1.0.0_final.pdf"
    assert check_tags(bank.git, state) == ()
    assert state.authorised(MODEL) == (), "published is not authorised"
    assign(bank, key("eli"), REF)
    assert [a.ref for a in bank.directory.state(bank.now).authorised(MODEL)] == [REF]


@pytest.mark.usefixtures("quick")
def test_the_baseline_is_what_the_next_pack_compares_with(desk: Desk) -> None:
    done = publish(approved(desk).bank, key("eli"), REF)
    baseline = json.loads(done.baseline.read_bytes())
    assert done.baseline == desk.root / f"governance/baselines/{MODEL}/1.0.0.json"
    assert baseline["version"] == "1.0.0"
    assert baseline["digests"]["results"] == plain_pack().digests["results"]
    rows = {f"{r.test_id}|{r.sample}|{r.segment}" for r in plain_pack().register_rows if r.statistic is not None}
    assert set(baseline["rows"]) <= rows
    for version in ("1.9.0", "1.10.0"):
        done.baseline.with_name(f"{version}.json").write_text(json.dumps({"version": version}))
    files = ModelFiles(desk.root, type("S", (), {"name": MODEL})(), {}, desk.root, desk.root)
    assert published_baseline(files) == {"version": "1.10.0"}


@pytest.mark.usefixtures("quick")
def test_what_has_no_quorum_is_not_published(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict())
    with pytest.raises(RegistryError, match="has no quorum") as caught:
        publish(desk.bank, key("eli"), REF)
    assert "missing risk" in str(caught.value)
    assert "(risk: rik)" in str(caught.value)
    assert not (desk.root / "releases").exists()


@pytest.mark.usefixtures("quick")
def test_a_finding_after_the_approvals_stops_the_publication(desk: Desk) -> None:
    approved(desk)
    body = FindingOpened(model=MODEL, release=str(REF), severity="high", text="Found late")
    open_finding(desk.bank, key("aud"), body)
    with pytest.raises(RegistryError, match=r"held up by 1 test or finding") as caught:
        publish(desk.bank, key("eli"), REF)
    assert "F-4 high finding by aud" in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_only_an_engineer_or_owner_publishes_and_only_once(desk: Desk) -> None:
    approved(desk)
    with pytest.raises(RegistryError, match="this needs engineer or owner"):
        publish(desk.bank, key("dana"), REF)
    publish(desk.bank, key("olga"), REF)
    with pytest.raises(RegistryError, match="is published already"):
        publish(desk.bank, key("eli"), REF)


@pytest.mark.usefixtures("quick")
def test_files_that_changed_since_the_proposal_are_found_by_digest_or_refused(desk: Desk) -> None:
    approved(desk)
    desk.write(f"models/{MODEL}/out/scorer.json", b"a newer build")
    done = publish(desk.bank, key("eli"), REF)
    assert Bundle.open(done.built.bundle).member("scorer.json") == scorer_bytes()


@pytest.mark.usefixtures("quick")
def test_a_rejected_release_is_not_published_or_assigned(desk: Desk) -> None:
    from countermark.governance.workflow import reject

    propose(desk.bank, key("dana"), MODEL)
    with pytest.raises(RegistryError, match="is not published"):
        assign(desk.bank, key("eli"), REF)
    reject(desk.bank, key("vera"), REF, "no")
    with pytest.raises(RegistryError, match="no candidate any more"):
        publish(desk.bank, key("eli"), REF)


@pytest.mark.usefixtures("quick")
def test_an_approval_between_building_and_signing_is_not_left_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle names the log up to the last approval; if another one comes in meanwhile, it is made again."""
    approved(desk)
    honest, calls = publication.build, []

    def build(*args: object) -> object:
        made = honest(*args)  # type: ignore[arg-type]
        calls.append(made.upto)
        if len(calls) == 1:
            approve(open_registry(desk.root, clock=desk.clock), key("vera"), REF, Verdict(text="Renewed."))
        return made

    monkeypatch.setattr(publication, "build", build)
    done = publish(desk.bank, key("eli"), REF)
    assert calls == [3, 4]
    assert len(Bundle.open(done.built.bundle).log()) == 5


@pytest.mark.usefixtures("quick")
def test_the_next_version_leaves_the_last_one_authorised_until_it_is_retired(desk: Desk) -> None:
    live(desk)
    second = ReleaseRef(MODEL, "1.1.0")
    desk.build(without_gates(renamed(plain_pack(), "1.1.0")))
    propose(desk.bank, key("dana"), MODEL)
    assert desk.bank.state().release(second).proposal.change == "document"
    approve(desk.bank, key("vera"), second, Verdict())
    approve(desk.bank, key("rik"), second, Verdict())
    publish(desk.bank, key("eli"), second)
    assign(desk.bank, key("eli"), second)
    assert [str(a.ref) for a in desk.bank.state().authorised(MODEL)] == [str(REF), str(second)]
    retire(desk.bank, key("eli"), REF, "replaced")
    state = desk.bank.directory.state(desk.bank.now)
    assert [(str(a.ref), a.sequence) for a in state.authorised(MODEL)] == [(str(second), 2)]
    assert state.release(REF).status == "archived"
    assert f"{MODEL}#prod!#3" in git(desk.root, "tag")
    with pytest.raises(RegistryError, match="is archived"):
        assign(desk.bank, key("eli"), REF)


@pytest.mark.usefixtures("quick")
def test_an_authorisation_is_withdrawn_and_given_again(desk: Desk) -> None:
    live(desk)
    with pytest.raises(RegistryError, match="is authorised for it already"):
        assign(desk.bank, key("eli"), REF)
    retire(desk.bank, key("rik"), REF, "an incident", archive=False)
    assert desk.bank.state().authorised(MODEL) == ()
    with pytest.raises(RegistryError, match="is not authorised for prod"):
        retire(desk.bank, key("rik"), REF, "again", archive=False)
    assign(desk.bank, key("eli"), REF)
    assert desk.bank.state().authorised(MODEL)[0].sequence == 3
    retire(desk.bank, key("eli"), REF, "off", archive=False)
    retire(desk.bank, key("eli"), REF, "archived while nowhere in use")
    assert desk.bank.state().release(REF).status == "archived"


@pytest.mark.usefixtures("quick")
def test_export_makes_a_lost_bundle_again_byte_for_byte(desk: Desk, tmp_path: Path) -> None:
    live(desk)
    digest = desk.bank.state().authorised(MODEL)[0].bundle_digest
    shutil.rmtree(desk.root / "releases")
    directory, written = export(desk.bank, tmp_path / "server")
    assert written == (REF,)
    served = ServingDirectory(tmp_path / "server", desk.trust_root)
    assert served.bundle_of(served.state(desk.bank.now), REF).digest == digest
    assert directory.path == tmp_path / "server"


@pytest.mark.usefixtures("quick")
def test_a_bundle_that_does_not_come_out_the_same_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    live(desk)
    shutil.rmtree(desk.root / "releases")

    def other(pack: bytes, signoff: SignOff, log: bytes, out: Path, paper: str = "a4") -> None:
        out.write_bytes(b"%PDF another text engine")

    monkeypatch.setattr(publication, "render_final", other)
    bank = desk.bank
    with pytest.raises(RegistryError, match="does not come out the same"):
        bundle_bytes(bank, bank.state(), REF)


# another environment


@pytest.mark.usefixtures("quick")
def test_approvals_carry_over_to_a_rebuild_with_the_same_digests(desk: Desk) -> None:
    live(desk)
    pack = without_gates(plain_pack())
    desk.build(pack.model_copy(update={"digests": {**pack.digests, "lock": "e" * 64}}).sealed())
    done = carry_over(desk.bank, key("eli"), REF, "new libraries")
    ((position, body),) = desk.bank.state().release(REF).equivalences
    assert position == done.position
    assert body.environment != desk.bank.state().release(REF).proposal.digests["environment"]
    assert desk.bank.state().authorised(MODEL)


@pytest.mark.usefixtures("quick")
def test_approvals_do_not_carry_over_to_other_digests(desk: Desk) -> None:
    live(desk)
    desk.build(without_gates(plain_pack(), "cal.jeffreys"))
    with pytest.raises(RegistryError, match="differs in evidence, so approvals do not carry over") as caught:
        carry_over(desk.bank, key("eli"), REF)
    assert "evidence: approved" in str(caught.value)
    desk.build(without_gates(renamed(plain_pack(), "1.1.0")))
    with pytest.raises(RegistryError, match="the build is of another version"):
        carry_over(desk.bank, key("eli"), REF)


# fetch


@pytest.mark.usefixtures("quick")
def test_a_reviewer_fetches_documents_and_data_without_a_build(desk: Desk, tmp_path: Path) -> None:
    """On a clone that has nothing but git and the shared cache."""
    propose(desk.bank, key("dana"), MODEL)
    shared = tmp_path / "shared"
    shutil.move(desk.root / ".dvc/cache", shared)
    desk.write(".dvc/config", f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {shared}\n".encode())
    shutil.rmtree(desk.root / "models" / MODEL / "out")
    shutil.rmtree(desk.root / "reports")
    written = fetch(desk.bank, REF, tmp_path / "review")
    assert sorted(p.name for p in written) == ["dataset.parquet", "pack.json", "profile.json", "proposal.json", "scorer.json", "validation_pack.pdf"]  # fmt: skip
    assert (tmp_path / "review/validation_pack.pdf").read_bytes() == DRAFT
    assert json.loads((tmp_path / "review/proposal.json").read_bytes())["proposer"] == "dana"
    few = fetch(desk.bank, REF, tmp_path / "documents", data=False)
    assert sorted(p.name for p in few) == ["pack.json", "proposal.json", "validation_pack.pdf"]


@pytest.mark.usefixtures("quick")
def test_a_published_release_is_fetched_with_its_final(desk: Desk, tmp_path: Path) -> None:
    live(desk)
    fetch(desk.bank, REF, tmp_path / "review")
    assert (tmp_path / "review/validation_pack.pdf").read_bytes().startswith(b"%PDF-1.7 final")
    assert (tmp_path / "review/validation_pack_draft.pdf").read_bytes() == DRAFT


def test_a_damaged_cache_is_named(desk: Desk, tmp_path: Path) -> None:
    propose(desk.bank, key("dana"), MODEL)
    (desk.root / f"models/{MODEL}/out/dataset.parquet").unlink()
    file = next(f for f in desk.bank.state().release(REF).proposal.files if f.name == "dataset.parquet")
    cached = desk.root / ".dvc/cache/files/md5" / file.md5[:2] / file.md5[2:]
    cached.write_bytes(b"PAR1 rowz")
    with pytest.raises(RegistryError, match="is damaged where DVC keeps it") as caught:
        fetch(desk.bank, REF, tmp_path / "review")
    assert caught.value.file == str(cached)
    assert not (tmp_path / "review").exists(), "nothing is written before everything is found"


def test_a_folder_that_may_not_be_written(desk: Desk, tmp_path: Path) -> None:
    propose(desk.bank, key("dana"), MODEL)
    (tmp_path / "review").write_text("a file")
    with pytest.raises(RegistryError, match="cannot be written"):
        fetch(desk.bank, REF, tmp_path / "review")


# verify


def outcomes(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.outcome for check in checks}


def detail(checks: tuple[Check, ...], name: str) -> str:
    return next(check.detail for check in checks if check.name == name)


@pytest.mark.usefixtures("quick")
def test_verify_a_candidate_then_a_release_then_everything(tmp_path: Path) -> None:
    desk = gated(tmp_path, "cal.jeffreys")
    propose(desk.bank, key("dana"), MODEL)
    checks = check_release(desk.bank, REF)
    assert outcomes(checks) == {"log": "holds", "tags": "holds", "pack": "holds", "gates": "open", "approvals": "open"}
    assert passed(checks)
    waive(desk.bank, key("rik"), REF, subject=("cal.jeffreys", None), reason="x", owner="y", expires="2027-06-30")
    approve(desk.bank, key("vera"), REF, Verdict())
    approve(desk.bank, key("rik"), REF, Verdict())
    publish(desk.bank, key("eli"), REF)
    checks = check_release(desk.bank, REF, render_again=False)
    assert outcomes(checks) == {"log": "holds", "tags": "holds", "approvals": "holds", "bundle": "holds"}
    assert "until 2027-07-01" in detail(checks, "approvals")
    everything = check_all(desk.bank)
    assert set(outcomes(everything).values()) == {"holds"}
    assert f"reports/{MODEL}/pack.json" in outcomes(everything)


def test_no_check_at_all_proves_nothing() -> None:
    assert not passed(())
    assert not passed((Check("a", "open", ""),))
    assert not passed((Check("a", "holds", ""), Check("b", "fails", "")))
    assert passed((Check("a", "holds", ""), Check("b", "open", "")))


def flip(path: Path, at: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[bytes(data).index(at) + len(at) // 2] ^= 1
    path.write_bytes(bytes(data))


FLIPS = {"scorer": b'{"scorer"', "policy": b'"cutoff"', "pack": b'"countermark/pack/1"', "log": b'{"payload":"'}
FLIPS["scorer"] = scorer_bytes()
FLIPS["policy"] = canonical_json(plain_pack().spec["decision"])
MEMBERS = {"scorer": "scorer.json", "policy": "decision.json", "pack": "pack.json", "log": "log.jsonl"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", list(FLIPS))
def test_a_flipped_byte_in_the_bundle_is_reported_by_name(desk: Desk, what: str) -> None:
    live(desk)
    flip(next((desk.root / "releases/bundles").iterdir()), FLIPS[what])
    checks = check_release(desk.bank, REF)
    assert outcomes(checks)["bundle"] == "fails"
    assert f"member '{MEMBERS[what]}' of the bundle is damaged" in detail(checks, "bundle")
    assert not passed(checks)


@pytest.mark.usefixtures("quick")
def test_a_flipped_byte_in_the_exported_log_is_reported_by_position(desk: Desk) -> None:
    live(desk)
    log = desk.root / "releases/registry.jsonl"
    lines = log.read_bytes().split(b"\n")
    lines[2] = lines[2][:40] + (b"A" if lines[2][40:41] != b"A" else b"B") + lines[2][41:]
    log.write_bytes(b"\n".join(lines))
    with pytest.raises(RegistryError, match="log position 2"):
        desk.bank.directory.state(desk.bank.now)


@pytest.mark.usefixtures("quick")
def test_a_moved_tag_is_reported_by_name(desk: Desk) -> None:
    live(desk)
    desk.commit("worse")
    git(desk.root, "tag", "-f", str(REF), "HEAD")
    checks = check_release(desk.bank, REF, render_again=False)
    assert f"'{REF}': the tag was moved" in detail(checks, "tags")
    assert not passed(check_all(desk.bank))


@pytest.mark.usefixtures("quick")
def test_a_flipped_byte_in_a_pack_is_reported_by_name(desk: Desk) -> None:
    live(desk)
    flip(desk.root / f"reports/{MODEL}/pack.json", b'"opinion"')
    checks = check_all(desk.bank)
    assert outcomes(checks)[f"reports/{MODEL}/pack.json"] == "fails"


@pytest.mark.usefixtures("quick")
def test_a_lapsed_release_does_not_verify(desk: Desk) -> None:
    propose(desk.bank, key("dana"), MODEL)
    approve(desk.bank, key("vera"), REF, Verdict(expires="2026-11-10"))
    approve(desk.bank, key("rik"), REF, Verdict())
    publish(desk.bank, key("eli"), REF)
    desk.clock.set(desk.clock.now().replace(month=12))
    checks = check_release(desk.bank, REF, render_again=False)
    assert outcomes(checks)["approvals"] == "fails"
    assert "missing validator" in detail(checks, "approvals") or "no quorum" in detail(checks, "approvals")


# documents, rendered for real


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Path]:
    """A release published with the real renderer."""
    desk = gated(tmp_path_factory.mktemp("final"), "cal.jeffreys")
    propose(desk.bank, key("dana"), MODEL)
    body = FindingOpened(model=MODEL, release=str(REF), severity="high", test="cal.jeffreys", text="Grade 7 is off")
    open_finding(desk.bank, key("vera"), body)
    verdict = Verdict(condition="Recalibrate grade 7", expires="2027-05-22", tests=("cal.jeffreys",), findings=("F-2",))
    approve(desk.bank, key("vera"), REF, verdict)
    approve(desk.bank, key("rik"), REF, Verdict())
    done = publish(desk.bank, key("eli"), REF)
    return desk, done.final


def text_of(path: Path) -> str:
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    return " ".join(" ".join(page.get_textpage().get_text_bounded().split()) for page in document)


def test_the_final_carries_its_sign_off_page(final: tuple[Desk, Path]) -> None:
    _, path = final
    text = text_of(path)
    assert "Draft" not in text.replace("Draft PDF", "")
    assert "Final – signed" in text
    for words in ("A4 Sign-off", "Vera Validator (vera)", "Rik Risk (rik)", "Recalibrate grade 7", "2027-05-22", "F-2", "Fit with conditions"):  # fmt: skip
        assert words in text, words
    assert "not decided" not in text


def test_a_final_verifies_alone_and_in_its_bank(final: tuple[Desk, Path]) -> None:
    desk, path = final
    alone = check_document(path, desk.trust_root, desk.bank.now, render_again=False)
    assert outcomes(alone) == {"pack": "holds", "signatures": "holds"}
    assert "Vera Validator (validator), Rik Risk (risk)" in detail(alone, "signatures")
    home = check_document(path, desk.trust_root, desk.bank.now, bank=desk.bank)
    assert outcomes(home) == {"pack": "holds", "signatures": "holds", "today": "holds", "document": "holds"}
    released = check_release(desk.bank, REF)
    assert outcomes(released)["document"] == "holds"


def test_a_final_without_a_trust_root_proves_no_name(final: tuple[Desk, Path]) -> None:
    desk, path = final
    assert outcomes(check_document(path, None, desk.bank.now, render_again=False))["signatures"] == "open"
    wrong = check_document(path, "0" * 64, desk.bank.now, render_again=False)
    assert outcomes(wrong)["signatures"] == "fails"


def test_a_number_painted_over_in_the_document_is_found(final: tuple[Desk, Path], tmp_path: Path) -> None:
    """The attached data is whole, the page says something else."""
    desk, path = final
    data = path.read_bytes()
    at = data.index(b"/Type /EmbeddedFile")
    start = data.index(b"stream\n") + 40
    assert start < at
    painted = tmp_path / "painted.pdf"
    painted.write_bytes(data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :])
    checks = check_document(painted, desk.trust_root, desk.bank.now)
    assert outcomes(checks) == {"pack": "holds", "signatures": "holds", "document": "fails"}


def test_signatures_of_another_pack_do_not_make_a_final(final: tuple[Desk, Path], tmp_path: Path) -> None:
    desk, path = final
    pack, log = (next(f for f in embedded_files(path.read_bytes()) if f.startswith(start)) for start in (b"{\n", b'{"payload'))  # fmt: skip
    state = desk.bank.state()
    then = state.at(position=4)
    signoff = publication.signoff_of(then, REF)
    other = plain_pack()
    with pytest.raises(CountermarkError, match="binds another evidence digest"):
        render_final(json.dumps(other.model_dump(mode="json")).encode(), signoff, log, tmp_path / "x.pdf")
    with pytest.raises(CountermarkError, match="of another release"):
        check_match(without_gates(other, "cal.jeffreys").model_copy(update={"identity": {**other.identity, "version": "2.0.0"}}), signoff)  # fmt: skip
    unsigned = msgspec.structs.replace(signoff, signatures=())
    with pytest.raises(CountermarkError, match="needs signatures"):
        check_match(without_gates(other, "cal.jeffreys"), unsigned)
    assert SignOff.from_json(signoff.to_json()) == signoff
    with pytest.raises(CountermarkError, match="unknown paper size"):
        render_final(pack, signoff, log, tmp_path / "x.pdf", "a5")


def test_a_revoked_approver_is_told_by_the_banks_log(final: tuple[Desk, Path], tmp_path: Path) -> None:
    from countermark.governance.amendment import revoke
    from countermark.records.clock import SimulatedClock

    desk, path = final
    copy = tmp_path / "copy"
    shutil.copytree(desk.root, copy)
    bank = open_registry(copy, clock=SimulatedClock(desk.bank.now))
    revoke(bank, key("aud"), "vera", 3, "stolen")
    checks = check_document(path, desk.trust_root, bank.now, bank=bank, render_again=False)
    assert "the approval at log position 3 counts no more: the key is revoked" in detail(checks, "signatures")
    assert outcomes(check_document(path, desk.trust_root, bank.now, render_again=False))["signatures"] == "holds"


def test_a_draft_is_signed_by_nobody(final: tuple[Desk, Path], tmp_path: Path) -> None:
    desk, path = final
    pack = next(f for f in embedded_files(path.read_bytes()) if f.startswith(b"{\n"))
    render(pack, tmp_path / "draft.pdf", "letter")
    checks = check_document(tmp_path / "draft.pdf", desk.trust_root, desk.bank.now)
    assert outcomes(checks) == {"pack": "holds", "signatures": "open", "document": "holds"}


def test_what_is_no_pack_is_refused(tmp_path: Path, desk: Desk) -> None:
    with pytest.raises(RegistryError, match="cannot be read"):
        check_document(tmp_path / "none.pdf", None, desk.bank.now)
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7 <</Type /EmbeddedFile/Filter /FlateDecode/Length 4>>\nstream\nxxxx")
    with pytest.raises(RegistryError, match="this is no validation pack"):
        check_document(tmp_path / "x.pdf", None, desk.bank.now)


def test_the_digest_of_a_bundle_binds_the_final(final: tuple[Desk, Path]) -> None:
    desk, path = final
    bundle = desk.bank.directory.bundle(desk.bank.state().release(REF).publication.bundle_digest)  # type: ignore[union-attr]
    assert bundle.manifest.members["validation_pack.pdf"] == sha256_hex(path.read_bytes())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("member", "name"), [("spec.json", "spec"), ("profile.json", "reference profile"), ("pack.json", "pack")]
)
def test_verify_names_a_member_that_one_engineer_published_and_nobody_approved(
    desk: Desk, member: str, name: str
) -> None:
    """Signed by hand: the tool itself does not make such a bundle."""
    bank = approved(desk).bank
    state = bank.state()
    honest = Bundle.open(publication.build(bank, state, REF).bundle)
    members = {part: data for part, data in honest.members.items() if part != "manifest.json"}
    manifest = honest.manifest
    forged = build_bundle(
        REF, {**members, member: b'{"forged":1}'},
        results=manifest.results, evidence=manifest.evidence, environment=manifest.environment,
    )  # fmt: skip
    release = state.release(REF)
    body = PublicationBody(
        release=str(REF), candidate=release.candidate, commit=release.proposal.commit, bundle=sha256_hex(forged),
        files={"validation_pack.pdf": sha256_hex(members["validation_pack.pdf"])},
    )  # fmt: skip
    tag = TagDraft(str(REF), release.proposal.commit, "published")
    bank.log.append(key("eli"), lambda _: Draft("publication", body.document(), (tag,)), bank.now)
    bank.directory.write_bundle(forged)
    found = {check.name: check for check in check_release(desk.bank, REF, render_again=False)}
    assert found["bundle"].outcome == "fails"
    assert f"holds another {name} than was approved" in found["bundle"].detail


@pytest.mark.usefixtures("quick")
def test_an_approval_names_spec_and_profile_too(desk: Desk) -> None:
    state = approved(desk).bank.state()
    release = state.release(REF)
    for approval in release.approvals:
        assert {"spec", "profile"} <= set(approval.body.digests)
        assert approval.body.digests.items() <= release.proposal.digests.items()

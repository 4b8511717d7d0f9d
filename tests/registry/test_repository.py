"""The log in real git repositories: transactions, remotes, races, tags."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gto.api
import pytest

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.release import ReleaseRef
from countermark.registry.events import Entry, TagRecord, payload_bytes
from countermark.registry.git import Git
from countermark.registry.repository import LOG_REF, Draft, LogRepository
from countermark.registry.signing import KeySigner
from countermark.registry.sshsig import LOG_NAMESPACE
from countermark.registry.state import RegistryState
from countermark.registry.tags import TagDraft, check_tags, read_tag
from tests.registry.people import DIGESTS, PEOPLE, START, governance, key

TOY = ReleaseRef("toy", "1.0.0")


def shell(folder: Path, *command: str, stdin: bytes | None = None, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def git(folder: Path, *args: str, **environment: str) -> str:
    return shell(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args, stdin=None, **environment)


def new_repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def commit(folder: Path, text: str) -> str:
    (folder / "file.txt").write_text(text)
    git(folder, "add", "file.txt")
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD")


class Office:
    """A repository whose people act in turn, an hour apart."""

    def __init__(self, folder: Path, root: str | None = None, remote: str | None = None) -> None:
        self.folder = folder
        self.log = LogRepository(folder, root, remote)
        self.now = START

    def found(self) -> str:
        return self.log.begin(key("rik"), governance(), self.now)

    def do(self, who: str, make: Callable[[RegistryState], Draft]) -> int:
        self.now += timedelta(hours=1)
        return self.log.append(key(who), make, self.now).position

    @property
    def state(self) -> RegistryState:
        return self.log.state(self.now)

    def propose(self, ref: str = "toy@v1.0.0", who: str = "dana") -> int:
        head = Git(self.folder).commit_of("HEAD")
        model, _, version = ref.partition("@v")
        body = {
            "release": ref, "commit": head, "tier": 1, "change": "model", "change_class": "new model",
            "owner": "Olga Owner", "developers": ["A. Builder"], "digests": DIGESTS, "files": [], "gates": [], "controls": [],
            "opinion": "Fit for use", "evidence": [], "note": "",
        }  # fmt: skip
        tag = TagDraft(f"candidate/{model}/v{version}/{{position}}", head, f"{ref} proposed")
        return self.do(who, lambda _: Draft("proposal", body, (tag,)))

    def approve(self, role: str, who: str, ref: str = "toy@v1.0.0") -> int:
        def make(state: RegistryState) -> Draft:
            release = state.release(ReleaseRef.parse(ref))
            bound = {name: DIGESTS[name] for name in ("results", "evidence", "scorer", "decision")}
            body = {"release": ref, "candidate": release.candidate, "role": role, "digests": bound, "conditions": [], "expires": None, "text": ""}  # fmt: skip
            name = f"approve/{release.ref.model}/v{release.ref.version}/{role}/{who}/{{position}}"
            return Draft("approval", body, (TagDraft(name, release.proposal.commit, "yes"),))

        return self.do(who, make)

    def publish(self, ref: str = "toy@v1.0.0") -> int:
        def make(state: RegistryState) -> Draft:
            release = state.release(ReleaseRef.parse(ref))
            target = release.proposal.commit
            body = {"release": ref, "candidate": release.candidate, "commit": target, "bundle": "b" * 64, "files": {}}
            return Draft("publication", body, (TagDraft(ref, target, "published"),))

        return self.do("eli", make)

    def assign(self, ref: str = "toy@v1.0.0") -> int:
        def make(state: RegistryState) -> Draft:
            release = state.release(ReleaseRef.parse(ref))
            n = state.next_sequence(release.ref.model)
            body = {"release": ref, "environment": "prod", "sequence": n}
            return Draft(
                "authorisation", body, (TagDraft(f"{release.ref.model}#prod#{n}", release.proposal.commit, "x"),)
            )

        return self.do("eli", make)

    def retire(self, ref: str = "toy@v1.0.0") -> int:
        def make(state: RegistryState) -> Draft:
            release = state.release(ReleaseRef.parse(ref))
            n = state.next_sequence(release.ref.model)
            body = {"release": ref, "sequence": n, "reason": "replaced"}
            return Draft(
                "retirement", body, (TagDraft(f"{release.ref.model}#prod!#{n}", release.proposal.commit, "x"),)
            )

        return self.do("eli", make)

    def release(self, ref: str = "toy@v1.0.0") -> None:
        self.propose(ref)
        self.approve("validator", "vera", ref)
        self.approve("risk", "rik", ref)
        self.publish(ref)
        self.assign(ref)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(new_repository(tmp_path / "bank"))
    made.found()
    return made


def problems(office: Office) -> dict[str, str]:
    return {problem.name: problem.what for problem in check_tags(office.log.git, office.state)}


def test_a_life_in_git(office: Office) -> None:
    office.release()
    assert office.state.authorised("toy")[0].ref == TOY
    assert problems(office) == {}
    assert git(office.folder, "rev-list", "--count", LOG_REF) == "6"
    assert git(office.folder, "status", "--porcelain") == "", "the working tree is not touched"
    tags = git(office.folder, "tag").split()
    assert tags == ["approve/toy/v1.0.0/risk/rik/3", "approve/toy/v1.0.0/validator/vera/2", "candidate/toy/v1.0.0/1", "toy#prod#1", "toy@v1.0.0"]  # fmt: skip


def test_git_verify_tag_accepts_our_tags(office: Office, tmp_path: Path) -> None:
    office.release()
    allowed = tmp_path / "allowed"
    allowed.write_text("".join(f'{name} namespaces="git" {key(name).public}\n' for name in PEOPLE))
    for tag, who in (
        ("toy@v1.0.0", "eli"),
        ("candidate/toy/v1.0.0/1", "dana"),
        ("approve/toy/v1.0.0/risk/rik/3", "rik"),
    ):
        done = subprocess.run(
            ["git", "-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-tag", tag],
            cwd=office.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f'Good "git" signature for {who} ' in done.stderr


def test_a_refused_entry_writes_nothing(office: Office) -> None:
    office.propose()
    before = git(office.folder, "for-each-ref")
    with pytest.raises(RegistryError, match=r"approval refused: .*this needs risk"):
        office.approve("risk", "vera")
    assert git(office.folder, "for-each-ref") == before


def test_a_stranger_cannot_append(office: Office) -> None:
    with pytest.raises(RegistryError, match="the key belongs to no principal"):
        office.propose(who="stranger")


def test_without_a_pinned_root_nothing_is_believed(office: Office) -> None:
    with pytest.raises(RegistryError, match="no trust root is pinned"):
        LogRepository(office.folder, None).state(office.now)


def test_without_a_log_the_message_says_how_to_start(tmp_path: Path) -> None:
    made = Office(new_repository(tmp_path / "bank"))
    with pytest.raises(RegistryError, match="there is no log") as caught:
        assert made.state
    assert "countermark governance init" in str(caught.value)


def test_a_second_start_is_refused(office: Office) -> None:
    with pytest.raises(RegistryError, match="has a log already"):
        office.found()


def test_a_start_by_a_stranger_is_refused(tmp_path: Path) -> None:
    made = Office(new_repository(tmp_path / "bank"))
    with pytest.raises(RegistryError, match="belongs to none of the principals"):
        made.log.begin(key("stranger"), governance(), START)


def test_a_start_with_a_key_that_has_lapsed_is_refused(tmp_path: Path) -> None:
    made = Office(new_repository(tmp_path / "bank"))
    with pytest.raises(RegistryError, match="the log cannot start: the key lapsed"):
        made.log.begin(key("rik"), governance(expires={"rik": "2026-10-01"}), START)
    assert git(made.folder, "for-each-ref", "refs/countermark") == ""


# tags


def _forged(office: Office, name: str, tagger: str, signer: str) -> None:
    """A tag with any tagger header, signed by any key, as ``git tag -s`` would make it."""
    head = Git(office.folder).commit_of("HEAD")
    git(
        office.folder, "-c", "gpg.format=ssh", "-c", f"user.signingkey={key(signer).path}",
        "tag", "-f", "-s", "-m", "approved", name, head,
        GIT_COMMITTER_NAME=tagger, GIT_COMMITTER_EMAIL=f"{tagger}@countermark",
    )  # fmt: skip


def test_a_forged_tagger_header(office: Office) -> None:
    office.propose()
    _forged(office, "approve/toy/v1.0.0/validator/vera/2", "vera", "dana")
    assert problems(office) == {"approve/toy/v1.0.0/validator/vera/2": "no entry of the log made this tag"}
    assert office.state.releases[TOY].approvals == ()
    headers, public = read_tag(
        shell(office.folder, "git", "cat-file", "tag", "approve/toy/v1.0.0/validator/vera/2").encode() + b"\n"
    )
    assert headers["tagger"].startswith("vera ")
    assert public == key("dana").public, "identity is the signature's, never the header's"


def test_a_forged_tagger_header_on_a_recorded_tag(office: Office) -> None:
    """An insider records, on the log, a tag object that somebody else's key signed."""
    office.propose()
    _forged(office, "toy@v1.0.0", "eli", "dana")
    forged = git(office.folder, "rev-parse", "refs/tags/toy@v1.0.0")
    office.approve("validator", "vera")
    office.approve("risk", "rik")
    git(office.folder, "tag", "-d", "toy@v1.0.0")
    honest = LogRepository._sign

    def sign(self: LogRepository, *args: Any) -> tuple[Entry, Any]:
        _, tags = honest(self, *args)
        signer, principal, before, draft, now = args
        tags = (TagRecord(tags[0].name, forged),)
        payload = payload_bytes(
            position=before.position + 1, previous=before.head, kind=draft.kind,
            at=iso(now), principal=principal, body=draft.body, tags=tags,
        )  # fmt: skip
        return Entry(payload, signer.sign(payload, LOG_NAMESPACE)), tags

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogRepository, "_sign", sign)
        office.publish()
    assert problems(office) == {"toy@v1.0.0": "the tag was signed by another key than its entry on the log"}


def test_a_moved_tag(office: Office) -> None:
    office.release()
    commit(office.folder, "worse")
    _forged(office, "toy@v1.0.0", "eli", "eli")
    found = problems(office)
    assert list(found) == ["toy@v1.0.0"]
    assert "the tag was moved" in found["toy@v1.0.0"]


def test_a_deleted_tag(office: Office) -> None:
    office.release()
    git(office.folder, "tag", "-d", "toy#prod#1")
    assert problems(office) == {"toy#prod#1": "the tag is missing"}


def test_a_lightweight_tag_in_the_place_of_a_signed_one(office: Office) -> None:
    office.release()
    git(office.folder, "tag", "-f", "toy@v1.0.0", "HEAD")
    assert "the tag was moved" in problems(office)["toy@v1.0.0"]


def test_a_tag_that_no_entry_made_stands_in_the_way(office: Office) -> None:
    office.propose()
    office.approve("validator", "vera")
    office.approve("risk", "rik")
    git(office.folder, "tag", "toy@v1.0.0", "HEAD")
    with pytest.raises(RegistryError, match=r"tag 'toy@v1\.0\.0' is there already"):
        office.publish()
    assert office.state.releases[TOY].publication is None
    git(office.folder, "tag", "-d", "toy@v1.0.0")
    office.publish()
    assert problems(office) == {}


def test_a_flipped_byte_in_a_tag_object(office: Office) -> None:
    office.release()
    content = shell(office.folder, "git", "cat-file", "tag", "toy@v1.0.0").encode() + b"\n"
    with pytest.raises(RegistryError, match="not of these bytes"):
        read_tag(content.replace(b"published", b"publishee"))
    flipped = Git(office.folder).write("tag", content.replace(b"published", b"publishee"))
    git(office.folder, "update-ref", "refs/tags/toy@v1.0.0", flipped)
    assert "the tag was moved" in problems(office)["toy@v1.0.0"]


def test_an_unsigned_tag_is_no_signature() -> None:
    with pytest.raises(RegistryError, match="the tag is not signed"):
        read_tag(b"object 0\n\nhello\n")


def test_a_lost_tag_object_is_reported(office: Office) -> None:
    office.release()
    made = git(office.folder, "rev-parse", "refs/tags/toy@v1.0.0")
    git(office.folder, "update-ref", "-d", "refs/tags/toy@v1.0.0")
    (office.folder / ".git" / "objects" / made[:2] / made[2:]).unlink()
    found = [p.what for p in check_tags(office.log.git, office.state) if p.name == "toy@v1.0.0"]
    assert found == ["the tag is missing", "the tag object that the log recorded is not in this repository"]


# the chain in git


def test_a_merge_commit_in_the_log(office: Office) -> None:
    office.propose()
    head = git(office.folder, "rev-parse", LOG_REF)
    tree = git(office.folder, "rev-parse", f"{LOG_REF}^{{tree}}")
    merge = git(
        office.folder, "commit-tree", tree, "-p", head, "-p", git(office.folder, "rev-parse", "HEAD"), "-m", "x"
    )
    git(office.folder, "update-ref", LOG_REF, merge)
    with pytest.raises(RegistryError, match="no single chain"):
        assert office.state


def test_a_commit_without_payload_in_the_log(office: Office) -> None:
    head = git(office.folder, "rev-parse", LOG_REF)
    empty = shell(office.folder, "git", "mktree", stdin=b"")
    git(office.folder, "update-ref", LOG_REF, git(office.folder, "commit-tree", empty, "-p", head, "-m", "x"))
    with pytest.raises(RegistryError, match="log position 1: the commit holds no payload"):
        assert office.state


def test_a_chain_splice_in_git(office: Office) -> None:
    """The same trees on other parents: an entry is left out, the commits look fine."""
    office.release()
    commits = git(office.folder, "rev-list", "--reverse", LOG_REF).split()
    parent = commits[0]
    for skipped in (*commits[1:2], *commits[3:]):
        tree = git(office.folder, "rev-parse", f"{skipped}^{{tree}}")
        parent = git(office.folder, "commit-tree", tree, "-p", parent, "-m", "x")
    git(office.folder, "update-ref", LOG_REF, parent)
    with pytest.raises(RegistryError, match="log position 2: the entry was signed for another place"):
        assert office.state


def test_two_in_one_repository_race_and_the_loser_folds_again(office: Office) -> None:
    seen: list[int] = []

    def slow(state: RegistryState) -> Draft:
        seen.append(state.position)
        if len(seen) == 1:
            Office(office.folder, office.log.trust_root).propose()
        return Draft("witness", {"note": f"after {state.position}"})

    office.now += timedelta(hours=1)
    done = office.log.append(key("aud"), slow, office.now)
    assert seen == [0, 1]
    assert (done.position, done.attempts) == (2, 2)
    assert [event.type for event in office.state.events] == ["governance", "proposal", "witness"]


def test_a_log_that_never_stands_still(office: Office) -> None:
    def hurried(state: RegistryState) -> Draft:
        other = Office(office.folder, office.log.trust_root)
        other.do("rik", lambda _: Draft("witness", {"note": str(state.position)}))
        return Draft("witness", {"note": ""})

    with pytest.raises(RegistryError, match="kept moving"):
        office.log.append(key("aud"), hurried, START + timedelta(hours=1))


# sharing


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Office, Office, Path]:
    """Two clones of one bare repository, with a log that both trust."""
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(bare))
    first = new_repository(tmp_path / "one")
    git(first, "remote", "add", "origin", str(bare))
    git(first, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", str(bare), "two")
    one = Office(first, remote="origin")
    root = one.found()
    return one, Office(tmp_path / "two", root, "origin"), bare


def test_what_one_appends_the_other_reads(shared: tuple[Office, Office, Path]) -> None:
    one, two, bare = shared
    one.release()
    two.now = one.now
    assert two.log.sync(two.now) == ()
    assert two.state.authorised("toy")[0].ref == TOY
    assert check_tags(two.log.git, two.state) == ()
    assert git(bare, "rev-parse", LOG_REF) == git(two.folder, "rev-parse", LOG_REF)


def test_two_proposers_race_and_the_loser_folds_again(shared: tuple[Office, Office, Path]) -> None:
    one, two, bare = shared
    two.log.sync(two.now)
    seen: list[int] = []

    def slow(state: RegistryState) -> Draft:
        seen.append(state.position)
        if len(seen) == 1:
            one.propose("toy@v1.0.0")
        return Draft("witness", {"note": f"after {state.position}"})

    two.now += timedelta(hours=2)
    done = two.log.append(key("aud"), slow, two.now)
    assert seen == [0, 1], "the loser looked at the log again"
    assert (done.position, done.attempts) == (2, 2)
    one.now = two.now
    one.log.sync(one.now)
    assert [e.type for e in one.state.events] == ["governance", "proposal", "witness"]
    assert one.state.refused == ()
    assert check_tags(one.log.git, one.state) == ()
    assert git(bare, "rev-parse", LOG_REF) == git(one.folder, "rev-parse", LOG_REF)


def test_many_proposers_race_in_threads_and_every_entry_lands_once(
    shared: tuple[Office, Office, Path], tmp_path: Path
) -> None:
    one, _, bare = shared
    offices = []
    for i in range(3):
        git(tmp_path, "clone", "-q", str(bare), f"racer{i}")
        offices.append(Office(tmp_path / f"racer{i}", one.log.trust_root, "origin"))
    failures: list[BaseException] = []

    def run(i: int) -> None:
        try:
            for version in range(2):
                offices[i].now = START
                offices[i].propose(f"model{i}@v{version}.0.0")
        except RegistryError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    one.now += timedelta(hours=5)
    one.log.sync(one.now)
    state = one.state
    assert sorted(map(str, state.releases)) == [f"model{i}@v{v}.0.0" for i in range(3) for v in range(2)]
    assert state.position == 6
    assert check_tags(one.log.git, state) == ()


def test_the_loser_of_a_race_for_one_publication_is_told_why(shared: tuple[Office, Office, Path]) -> None:
    one, two, _ = shared
    one.propose()
    one.approve("validator", "vera")
    one.approve("risk", "rik")
    two.now = one.now
    two.log.sync(two.now)
    one.publish()
    with pytest.raises(RegistryError, match="is published already"):
        two.publish()


def test_an_unsigned_entry_pushed_to_the_ref(shared: tuple[Office, Office, Path]) -> None:
    one, two, bare = shared
    two.log.sync(two.now)
    before = git(two.folder, "rev-parse", LOG_REF)
    payload = Git(one.folder).write("blob", b"{}")
    tree = shell(one.folder, "git", "mktree", stdin=f"100644 blob {payload}\tpayload.json\n100644 blob {payload}\tpayload.sig\n".encode())  # fmt: skip
    forged = git(one.folder, "commit-tree", tree, "-p", git(one.folder, "rev-parse", LOG_REF), "-m", "x")
    git(one.folder, "push", "-q", str(bare), f"{forged}:{LOG_REF}")
    with pytest.raises(RegistryError, match="log position 1"):
        two.log.sync(two.now)
    assert git(two.folder, "rev-parse", LOG_REF) == before, "nothing of it was taken over"
    with pytest.raises(RegistryError, match="log position 1"):
        two.propose()


def test_a_remote_log_that_was_rewritten(shared: tuple[Office, Office, Path]) -> None:
    one, two, bare = shared
    one.propose()
    two.now = one.now
    two.log.sync(two.now)
    git(bare, "update-ref", LOG_REF, git(bare, "rev-parse", f"{LOG_REF}~1"))
    one.do("aud", lambda _: Draft("witness", {"note": "one log"}))
    assert git(bare, "rev-parse", LOG_REF) == git(one.folder, "rev-parse", LOG_REF), "a shortened log is healed"
    git(bare, "update-ref", LOG_REF, git(bare, "rev-parse", f"{LOG_REF}~2"))
    git(bare, "for-each-ref")
    stray = Office(one.folder.parent / "three", one.log.trust_root, "origin")
    git(one.folder.parent, "clone", "-q", str(bare), "three")
    stray.now = one.now
    stray.do("aud", lambda _: Draft("witness", {"note": "another log"}))
    with pytest.raises(RegistryError, match="have forked"):
        two.log.sync(two.now + timedelta(hours=3))


def test_a_tag_moved_on_the_remote_is_told_and_not_taken_over(shared: tuple[Office, Office, Path]) -> None:
    one, two, bare = shared
    one.release()
    two.now = one.now
    two.log.sync(two.now)
    git(bare, "update-ref", "refs/tags/toy@v1.0.0", git(bare, "rev-parse", "main"))
    (warning,) = two.log.sync(two.now)
    assert "toy@v1.0.0" in warning
    assert check_tags(two.log.git, two.state) == ()


def test_a_tag_that_stands_on_the_remote_only(shared: tuple[Office, Office, Path]) -> None:
    one, _, bare = shared
    one.propose()
    one.approve("validator", "vera")
    one.approve("risk", "rik")
    honest = LogRepository.sync
    with pytest.MonkeyPatch.context() as patch:
        # Between the last look and the push.
        def sync(self: LogRepository, now: datetime) -> tuple[str, ...]:
            made = honest(self, now)
            git(bare, "update-ref", "refs/tags/toy@v1.0.0", git(bare, "rev-parse", "main"))
            return made

        patch.setattr(LogRepository, "sync", sync)
        with pytest.raises(RegistryError, match=r"tag 'toy@v1\.0\.0' is on the remote already"):
            one.publish()
    assert one.state.releases[TOY].publication is None


def test_a_remote_that_does_not_answer(shared: tuple[Office, Office, Path]) -> None:
    one, _, bare = shared
    bare.rename(bare.with_name("gone.git"))
    with pytest.raises(RegistryError, match="could not be asked for the log"):
        one.propose()


def test_a_remote_that_refuses_the_push(shared: tuple[Office, Office, Path]) -> None:
    one, _, bare = shared
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RegistryError, match="could not be pushed"):
        one.propose()
    assert one.state.releases == {}


def test_an_expired_key_with_a_back_dated_clock_in_git(tmp_path: Path) -> None:
    made = Office(new_repository(tmp_path / "bank"))
    made.log.begin(key("rik"), governance(expires={"vera": "2026-11-30"}), START)
    made.propose()
    made.approve("validator", "vera")
    today = datetime(2027, 1, 15, tzinfo=UTC)
    assert made.log.state(today).releases[TOY].approvals == ()


def test_a_clock_a_little_behind_does_not_write_dates_that_go_back(office: Office) -> None:
    office.propose()
    late = office.now - timedelta(minutes=2)
    done = office.log.append(key("aud"), lambda _: Draft("witness", {"note": ""}), late)
    assert done.state.events[-1].at == done.state.events[-2].at
    slow = late - timedelta(minutes=30)
    with pytest.raises(RegistryError, match="is dated in the future"):
        office.log.append(key("aud"), lambda _: Draft("witness", {"note": ""}), slow)


def test_an_entry_from_the_future_is_answered_by_a_revocation(office: Office) -> None:
    """Nothing is written behind it, or everything would go back in time when its day comes."""
    next_year = office.now + timedelta(days=365)
    bomb = office.log.append(key("dana"), lambda _: Draft("witness", {"note": ""}), next_year).position
    with pytest.raises(RegistryError, match=f"log position {bomb} is dated in the future"):
        office.propose()
    body = {"public": key("dana").public, "position": bomb, "reason": "dated in the future"}
    office.do("rik", lambda _: Draft("key_revocation", body))
    office.do("aud", lambda _: Draft("witness", {"note": ""}))
    later = office.log.state(next_year + timedelta(days=1))
    assert [entry.position for entry in later.refused] == [bomb]


def test_git_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = KeySigner(key("dana").path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RegistryError, match="'git' is not installed"):
        Git(tmp_path).line("version")
    with pytest.raises(RegistryError, match="'ssh-keygen' is not installed"):
        signer.sign(b"x", "git")


def test_names_that_are_no_commits(office: Office) -> None:
    with pytest.raises(RegistryError, match="no such commit"):
        office.log.git.commit_of("nothing")
    assert office.log.git.config("countermark.none") is None


def _gto(office: Office) -> dict[str, dict[str, bool]]:
    """Versions that GTO shows, by model, and whether each is in prod."""
    models = gto.api.show(str(office.folder))
    return {
        model: {
            row["version"]: any(stage["stage"] == "prod" for stage in row["stages"])
            for row in gto.api.show(str(office.folder), model, versions_per_stage=-1)
        }
        for model in models
    }


def _ours(office: Office) -> dict[str, dict[str, bool]]:
    found: dict[str, dict[str, bool]] = {}
    for ref, release in office.state.releases.items():
        if release.publication is not None:
            authorised = ref in [a.ref for a in office.state.authorised(ref.model)]
            found.setdefault(ref.model, {})[f"v{ref.version}"] = authorised
    return found


def test_gto_show_agrees_with_our_fold(office: Office) -> None:
    office.release()
    assert _gto(office) == _ours(office) == {"toy": {"v1.0.0": True}}
    commit(office.folder, "second")
    office.release("toy@v1.1.0")
    commit(office.folder, "third")
    office.release("other@v0.1.0")
    office.propose("waiting@v1.0.0")
    assert _gto(office) == _ours(office)
    office.retire("toy@v1.0.0")
    assert _gto(office) == _ours(office) == {"toy": {"v1.0.0": False, "v1.1.0": True}, "other": {"v0.1.0": True}}
    table = subprocess.run(
        [Path(sys.executable).parent / "gto", "show"], cwd=office.folder, capture_output=True, text=True, check=True
    ).stdout
    assert "v1.1.0" in table
    assert "waiting" not in table


def test_a_log_is_not_begun_with_a_name_that_could_be_another_ones(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    body = governance({**PEOPLE, "d2": ("D\u0430na Developer", ("validator",))})
    with pytest.raises(RegistryError, match="the name of the person behind 'd2' could be taken for another one"):
        LogRepository(tmp_path, None, None).begin(key("rik"), body, START)

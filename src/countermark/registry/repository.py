"""The log in a git repository: read, appended to, shared.

``refs/countermark/log`` is a chain of commits, one per entry; each holds the payload and its signature. An entry and
its tags move in one transaction, locally and on the remote, so that no tag is ever without its entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.digest import sha256_hex
from countermark.registry.bodies import GovernanceBody
from countermark.registry.events import GENESIS_PREVIOUS, Entry, TagRecord, broken, payload_bytes, read_chain
from countermark.registry.fold import AHEAD, fold
from countermark.registry.git import Git
from countermark.registry.signing import Signer
from countermark.registry.sshsig import LOG_NAMESPACE
from countermark.registry.state import RegistryState
from countermark.registry.tags import TagDraft, tag_object
from countermark.registry.trust import check_governance, check_names

LOG_REF = "refs/countermark/log"
_REMOTE_REF = "refs/countermark/remote/log"
_ATTEMPTS = 8
_OVERTAKEN = ("(fetch first)", "(non-fast-forward)", "(already exists)", "cannot lock ref", "incorrect old value")
"""What git says when somebody else's push came first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it is signed.

    Attributes:
        kind: Type of the event.
        body: Its body.
        tags: Tags to make with it; ``{position}`` in a name stands for the entry's position.
    """

    kind: str
    body: dict[str, Any]
    tags: tuple[TagDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append left behind.

    Attributes:
        position: Position of the new entry.
        state: The state that it makes.
        tags: The tags that were made.
        attempts: 1, or more if others were faster.
    """

    position: int
    state: RegistryState
    tags: tuple[TagRecord, ...]
    attempts: int


class LogRepository:
    """The log of a git repository.

    Args:
        root: A folder of the repository.
        trust_root: SHA-256 of the genesis payload; None while there is none yet.
        remote: Name of the remote that shares the log; None for a log that is not shared.
    """

    def __init__(self, root: Path, trust_root: str | None, remote: str | None = None) -> None:
        self.git = Git(root)
        self.trust_root = trust_root
        self.remote = remote

    def entries(self, ref: str = LOG_REF) -> tuple[Entry, ...]:
        """The log as stored, oldest first; empty if there is none.

        Raises:
            RegistryError: If the commits are no chain of entries.
        """
        if self.git.resolve(ref) is None:
            return ()
        lines = self.git.run("rev-list", "--parents", ref).decode("ascii").split("\n")
        chain = [line.split() for line in reversed(lines) if line]
        for position, commit in enumerate(chain):
            if commit[1:] != ([chain[position - 1][0]] if position else []):
                raise broken(position, "the commits of the log are no single chain")
        names = [f"{commit[0]}:{file}" for commit in chain for file in ("payload.json", "payload.sig")]
        found = self.git.read_many(names)
        made: list[Entry] = []
        for position in range(len(chain)):
            payload, signature = found[2 * position], found[2 * position + 1]
            if payload is None or signature is None:
                raise broken(position, "the commit holds no payload with its signature")
            made.append(Entry(payload, signature))
        return tuple(made)

    def state(self, now: datetime) -> RegistryState:
        """The fold of the log.

        Raises:
            RegistryError: If there is no log, no trust root is pinned, or the log is not to be trusted.
        """
        return self._fold(self.entries(), now)

    def _fold(self, entries: tuple[Entry, ...], now: datetime) -> RegistryState:
        if not entries:
            raise RegistryError(
                "there is no log in this repository",
                expected=LOG_REF,
                hint="'countermark governance init' starts one; 'git config countermark.remote NAME' shares one",
            )
        if self.trust_root is None:
            raise RegistryError(
                "no trust root is pinned, so nobody's signature means anything",
                expected="the digest of the genesis, from a person you trust",
                hint="countermark governance trust DIGEST, or COUNTERMARK_TRUST_ROOT, or --trust-root",
            )
        return fold(entries, self.trust_root, now)

    def begin(self, signer: Signer, body: GovernanceBody, now: datetime) -> str:
        """Write the genesis of a log, and return its trust root.

        Raises:
            RegistryError: If there is a log already, or the governance could not keep its promises.
        """
        self.sync(now)
        if self.git.resolve(LOG_REF) is not None or self.git.resolve(_REMOTE_REF) is not None:
            raise RegistryError("this repository has a log already", hint="countermark governance show")
        check_governance(body)
        check_names(body)
        principal = next((p.principal for p in body.principals for k in p.keys if _same_key(k.public, signer)), None)
        if principal is None:
            raise RegistryError(
                "the key that signs belongs to none of the principals",
                expected="one of: " + ", ".join(p.principal for p in body.principals),
                hint="the first signer must be a principal",
            )
        payload = payload_bytes(
            position=0, previous=GENESIS_PREVIOUS, kind="governance", at=iso(now), principal=principal,
            body=body.document(),
        )  # fmt: skip
        root = sha256_hex(payload)
        entry = Entry(payload, signer.sign(payload, LOG_NAMESPACE))
        refused = fold((entry,), root, now).refused
        if refused:
            raise RegistryError(f"the log cannot start: {refused[0].reason}", hint="nothing was written")
        if not self._publish(entry, (), None, principal, "governance"):
            raise RegistryError("somebody else started a log at the same time", hint="countermark governance show")
        self.trust_root = root
        return root

    def append(self, signer: Signer, make: Callable[[RegistryState], Draft], now: datetime) -> Appended:
        """Sign and append one entry with its tags.

        ``make`` is asked again whenever somebody else was faster: what was true may not be true any more.

        Args:
            signer: Who signs; the principal follows from the key.
            make: The entry for a state.
            now: The present.

        Raises:
            RegistryError: If the entry would have no effect (nothing is written then), or the race is lost too often.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            self.sync(now)
            # The head that the entry will follow is the one it was decided on, whatever moves meanwhile.
            head = self.git.resolve(LOG_REF)
            before = self._fold(self.entries(head or LOG_REF), now)
            author = before.governance.author(signer.public)
            if author is None:
                raise RegistryError(
                    "the key belongs to no principal of the governance state",
                    expected="a key of: " + ", ".join(p.principal for p in before.governance.body.principals),
                    got=signer.public,
                    hint="choose another with --key, or ask for an amendment",
                )
            draft = make(before)
            if draft.kind != "key_revocation":
                _refuse_future(before)
            entry, tags = self._sign(signer, author.principal, before, draft, now)
            after = fold((*before.entries, entry), before.trust_root, now)
            refusal = next((r for r in after.refused if r.position == after.position), None)
            if refusal is not None:
                raise RegistryError(f"{draft.kind} refused: {refusal.reason}", hint="nothing was written")
            if self._publish(entry, tags, head, author.principal, draft.kind):
                return Appended(after.position, after, tags, attempt)
        raise RegistryError(
            "the log kept moving while this entry was being written",
            got=f"{_ATTEMPTS} attempts",
            hint="run the same command again",
        )

    def _sign(
        self, signer: Signer, principal: str, before: RegistryState, draft: Draft, now: datetime
    ) -> tuple[Entry, tuple[TagRecord, ...]]:
        position = before.position + 1
        # Clocks differ a little between machines; along the log dates do not go back.
        at = max([now, *(event.at for event in before.events if event.at <= now + AHEAD)])
        tags: list[TagRecord] = []
        for tag in draft.tags:
            name = tag.name.replace("{position}", str(position))
            content = tag_object(TagDraft(name, tag.target, tag.message), signer, principal, at)
            tags.append(TagRecord(name, self.git.write("tag", content)))
        payload = payload_bytes(
            position=position, previous=before.head, kind=draft.kind, at=iso(at), principal=principal,
            body=draft.body, tags=tags,
        )  # fmt: skip
        return Entry(payload, signer.sign(payload, LOG_NAMESPACE)), tuple(tags)

    def _publish(
        self, entry: Entry, tags: tuple[TagRecord, ...], parent: str | None, principal: str, kind: str
    ) -> bool:
        """Store the entry, push it with its tags, and move the local refs; False if somebody else was faster."""
        commit = self._commit(entry, parent, principal, kind)
        if self.remote is not None and not self._push(commit, tags):
            return False
        zero = "0" * len(commit)
        moves = [
            f"update {LOG_REF} {commit} {parent or zero}",
            *(f"create refs/tags/{t.name} {t.object}" for t in tags),
        ]
        done = self.git.try_("update-ref", "--stdin", stdin=("\n".join(moves) + "\n").encode("utf-8"))
        if done.code == 0:
            return True
        taken = [t.name for t in tags if self.git.resolve(f"refs/tags/{t.name}") not in (None, t.object)]
        if taken:
            raise RegistryError(
                f"tag '{taken[0]}' is there already, and the log did not make it",
                got=done.err[-200:],
                hint=f"look at it with 'git tag -v {taken[0]}'; delete it if nobody answers for it",
            )
        if self.git.resolve(LOG_REF) != parent:
            return False
        raise RegistryError("git could not move the log", got=done.err[-300:])

    def _commit(self, entry: Entry, parent: str | None, principal: str, kind: str) -> str:
        names = {"payload.json": entry.payload, "payload.sig": entry.signature}
        rows = [f"100644 blob {self.git.write('blob', data)}\t{name}" for name, data in names.items()]
        tree = self.git.line("mktree", stdin=("\n".join(rows) + "\n").encode("utf-8"))
        identity = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", principal), ("EMAIL", f"{principal}@countermark"))
        }
        parents = [] if parent is None else ["-p", parent]
        return self.git.line("commit-tree", tree, *parents, "-m", f"{kind} by {principal}", env=identity)

    def _push(self, commit: str, tags: tuple[TagRecord, ...]) -> bool:
        refs = [f"{commit}:{LOG_REF}", *(f"{tag.object}:refs/tags/{tag.name}" for tag in tags)]
        done = self.git.try_("push", "--atomic", "--porcelain", str(self.remote), *refs)
        if done.code == 0:
            return True
        told = done.out.decode("utf-8", "replace")
        if any(word in told + done.err for word in _OVERTAKEN):
            clash = [t.name for t in tags if f":refs/tags/{t.name}\t[rejected] (already exists)" in told]
            if clash:
                raise RegistryError(
                    f"tag '{clash[0]}' is on the remote already, and the log did not make it",
                    hint=f"look at it with 'git fetch --tags' and 'git tag -v {clash[0]}'",
                )
            return False
        raise RegistryError(
            f"the log could not be pushed to '{self.remote}'",
            got=done.err[-300:],
            hint="nothing was written; run the same command again when the remote answers",
        )

    def sync(self, now: datetime) -> tuple[str, ...]:
        """Take over what others appended.

        Returns:
            Warnings: tags that the remote moved.

        Raises:
            RegistryError: If the remote cannot be asked, holds a log that is not to be trusted, or the logs forked.
        """
        if self.remote is None:
            return ()
        pattern = f"+{LOG_REF}*:{_REMOTE_REF}*"
        done = self.git.try_("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", self.remote, pattern)
        if done.code != 0:
            raise RegistryError(
                f"remote '{self.remote}' could not be asked for the log",
                got=done.err[-300:],
                hint="git config countermark.remote '' works with the local log alone",
            )
        theirs, ours = self.git.resolve(_REMOTE_REF), self.git.resolve(LOG_REF)
        if theirs is None or theirs == ours or (ours is not None and self.git.is_ancestor(theirs, ours)):
            return self._fetch_tags()
        if ours is not None and not self.git.is_ancestor(ours, theirs):
            raise RegistryError(
                f"the log here and the log of '{self.remote}' have forked",
                expected="one of them to continue the other",
                got=f"{ours[:12]} here, {theirs[:12]} there",
                hint="somebody rewrote a log; compare both before anything else is signed",
            )
        entries = self.entries(_REMOTE_REF)
        if self.trust_root is None:
            read_chain(entries)
        else:
            self._fold(entries, now)
        self.git.run("update-ref", LOG_REF, theirs, ours or "0" * len(theirs))
        return self._fetch_tags()

    def _fetch_tags(self) -> tuple[str, ...]:
        done = self.git.try_("fetch", "--no-write-fetch-head", str(self.remote), "refs/tags/*:refs/tags/*")
        return tuple(line.strip() for line in done.err.splitlines() if "[rejected]" in line)


def _refuse_future(state: RegistryState) -> None:
    """Append nothing behind an entry from the future: once its time came, what follows would go back in time."""
    ahead = next((entry for entry in state.refused if entry.future), None)
    if ahead is not None:
        at = state.events[ahead.position].at
        raise RegistryError(
            f"log position {ahead.position} is dated in the future: {iso(at)}, by {ahead.principal}",
            expected=f"nothing later than {iso(state.now + AHEAD)}",
            hint="set the clock of this machine; if it is right, revoke the key that signed that entry from there on",
        )


def _same_key(text: str, signer: Signer) -> bool:
    return text.split()[:2] == signer.public.split()[:2]

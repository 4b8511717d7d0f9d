"""The log's public face: annotated, signed tags in GTO's grammar, checked against what the log recorded."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from countermark.errors import RegistryError
from countermark.records.release import ReleaseRef
from countermark.registry.events import Event
from countermark.registry.git import Git
from countermark.registry.signing import Signer
from countermark.registry.sshsig import TAG_NAMESPACE, verify
from countermark.registry.state import RegistryState

_ARMOUR = b"-----BEGIN SSH SIGNATURE-----"
_GRAMMAR = re.compile(r"[a-z][a-z0-9_]*(@v[0-9].*|#[a-z0-9_]+!?(#[0-9]+)?)|(candidate|approve)/.*")


@dataclass(frozen=True, slots=True)
class TagDraft:
    """A tag to be made: its name, the commit that it marks, and its message."""

    name: str
    target: str
    message: str


@dataclass(frozen=True, slots=True)
class TagProblem:
    """A tag that is not what the log says."""

    name: str
    what: str


def tag_object(draft: TagDraft, signer: Signer, principal: str, at: datetime) -> bytes:
    """Content of a signed annotated tag, as ``git verify-tag`` checks it."""
    body = (
        f"object {draft.target}\ntype commit\ntag {draft.name}\n"
        f"tagger {principal} <{principal}@countermark> {int(at.timestamp())} +0000\n\n{draft.message.rstrip()}\n"
    ).encode()
    return body + signer.sign(body, TAG_NAMESPACE)


def read_tag(content: bytes) -> tuple[dict[str, str], str]:
    """Headers of a tag object, and the public key whose signature it carries.

    Raises:
        RegistryError: If it carries none, or one that is not of these bytes.
    """
    start = content.find(_ARMOUR)
    if start < 0:
        raise RegistryError("the tag is not signed", expected="an SSH signature")
    public = verify(content[:start], content[start:], TAG_NAMESPACE)
    head = content[:start].split(b"\n\n", 1)[0].decode("utf-8", "replace")
    return dict(line.split(" ", 1) for line in head.split("\n") if " " in line), public


def check_tags(git: Git, state: RegistryState, only: ReleaseRef | None = None) -> tuple[TagProblem, ...]:
    """Compare the repository's tags with the log.

    Every tag that an effective entry recorded must be there, be that very object, be signed by the key that signed the
    entry, and mark the commit that was proposed. A tag in the registry's grammar that no such entry recorded is
    reported too: what its header says about who made it proves nothing. A tag of an entry that a revocation has voided
    is no problem, as nobody did anything wrong in keeping it: ``ended_tags`` lists those.
    """
    refs = _tag_refs(git)
    refused = {entry.position for entry in state.refused}
    effective = [event for event in state.events if event.position not in refused]
    recorded = {tag.name: (tag.object, event) for event in effective for tag in event.tags}
    wanted = [name for name in recorded if only is None or _is_about(name, only)]
    contents = dict(zip(wanted, git.read_many([recorded[name][0] for name in wanted]), strict=True))
    problems: list[TagProblem] = []
    for name in wanted:
        made, event = recorded[name]
        if name not in refs:
            problems.append(TagProblem(name, "the tag is missing"))
        elif refs[name] != made:
            problems.append(
                TagProblem(name, f"the tag was moved: the log recorded object {made[:12]}, found {refs[name][:12]}")
            )
        problem = _wrong(name, contents[name], event, state)
        if problem is not None:
            problems.append(TagProblem(name, problem))
    problems += [TagProblem(name, what) for name, what, ended in _strangers(refs, recorded, state, only) if not ended]
    return tuple(problems)


def ended_tags(git: Git, state: RegistryState, only: ReleaseRef | None = None) -> tuple[TagProblem, ...]:
    """Tags of entries that had an effect until a key was revoked. They prove nothing any more, and may be deleted."""
    refused = {entry.position for entry in state.refused}
    recorded = {tag.name for event in state.events if event.position not in refused for tag in event.tags}
    found = _strangers(_tag_refs(git), recorded, state, only)
    return tuple(TagProblem(name, what) for name, what, ended in found if ended)


def _strangers(
    refs: Mapping[str, str], recorded: Container[str], state: RegistryState, only: ReleaseRef | None
) -> list[tuple[str, str, bool]]:
    """Tags in the registry's grammar that no effective entry made: name, what is wrong, whether a revocation did it."""
    reasons = {refused.position: refused.reason for refused in state.refused}
    made = {(t.name, t.object): e.position for e in state.events if e.position in reasons for t in e.tags}
    ends: dict[int, int] | None = None
    found = []
    for name, object_ in refs.items():
        if name in recorded or not _GRAMMAR.fullmatch(name) or not (only is None or _is_about(name, only)):
            continue
        position = made.get((name, object_))
        if position is None:
            found.append((name, "no entry of the log made this tag", False))
            continue
        ends = _revoked_entries(state) if ends is None else ends
        told = f"its entry at log position {position} has no effect"
        if position in ends:
            found.append((name, f"{told} since the revocation at position {ends[position]}", True))
        else:
            found.append((name, f"{told}: {reasons[position]}", False))
    return found


def _revoked_entries(state: RegistryState) -> dict[int, int]:
    """Entries that had an effect until a revocation, and the log position of that revocation.

    Each revocation is judged at its own date: what had lapsed or was refused before it was not ended by it.
    """
    refused = {entry.position for entry in state.refused}
    found: dict[int, int] = {}

    def voided(count: int, at: datetime) -> set[int]:
        return {entry.position for entry in state.refold(state.entries[:count], state.trust_root, at).refused}

    for event in state.events:
        if event.type == "key_revocation" and event.position not in refused:
            ended = voided(event.position + 1, event.at) - voided(event.position, event.at)
            found |= {position: event.position for position in ended & refused if position not in found}
    return found


def _tag_refs(git: Git) -> Mapping[str, str]:
    out = git.run("for-each-ref", "--format=%(objectname) %(refname:strip=2)", "refs/tags").decode("utf-8")
    return {name: made for made, _, name in (line.partition(" ") for line in out.splitlines())}


def _is_about(name: str, ref: ReleaseRef) -> bool:
    version = f"{ref.model}/v{ref.version}/"
    return name == str(ref) or name.startswith((f"{ref.model}#", f"candidate/{version}", f"approve/{version}"))


def _wrong(name: str, content: bytes | None, event: Event, state: RegistryState) -> str | None:
    if content is None:
        return "the tag object that the log recorded is not in this repository"
    try:
        headers, public = read_tag(content)
    except RegistryError as broken:
        return f"the tag object is damaged: {broken.what}"
    if public != event.key:
        return "the tag was signed by another key than its entry on the log"
    if headers.get("tag") != name:
        return f"the tag object carries the name '{headers.get('tag')}'"
    release = state.releases.get(ReleaseRef.parse(str(event.body["release"])))
    if event.type in ("proposal", "publication") and headers.get("object") != event.body["commit"]:
        return "the tag marks another commit than the log says"
    if release is not None and release.publication is not None and event.type in _USES:
        marked = headers.get("object")
        if marked != release.publication.body.commit:
            return "the tag marks another commit than the release was published on"
    return None


_USES = ("authorisation", "deauthorisation", "retirement")


def recorded_objects(events: Iterable[Event]) -> dict[str, str]:
    """Object id of every tag of these entries, by name."""
    return {tag.name: tag.object for event in events for tag in event.tags}

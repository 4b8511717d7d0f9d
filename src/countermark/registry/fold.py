"""The fold: from a log to what is so. Pure: entries, a trust root and an instant in, a state out.

The log itself must be whole: a broken chain or a bad signature is an error that names its position. An authentic entry
whose author may not do what it says has no effect, and is listed with the reason.

Validity is judged at log position, never by a date that the signer can set. Three rules follow from that:

- dates never go back along the log;
- a revocation names a position, and voids what that key signed from there on, whatever it was dated;
- an entry of a key that has lapsed by now counts only if a later entry of another person, dated before the lapse,
  shows that it was there in time. Otherwise anybody who finds an old key could write yesterday's approvals today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.digest import sha256_hex
from countermark.registry.bodies import BODIES, GovernanceBody, read_body
from countermark.registry.events import Entry, Event, broken, read_chain
from countermark.registry.progress import Accepted, FutureError, RefusalError, Run, refuse_unless, tagged
from countermark.registry.rules import RULES, TAGGING
from countermark.registry.standing import Refused, ReleaseState, Status, blocking_findings
from countermark.registry.state import RegistryState
from countermark.registry.trust import Author, Governance

AHEAD = timedelta(minutes=5)
"""How far clocks may disagree: an entry dated further into the future has no effect yet."""
_UNWITNESSED = "the key has lapsed since, and no other person's entry shows that this was written before"


def fold(entries: Sequence[Entry], trust_root: str, now: datetime) -> RegistryState:
    """Fold a log.

    Args:
        entries: The log from its genesis on.
        trust_root: SHA-256 of the genesis payload, pinned outside the log.
        now: The verifier's present.

    Raises:
        RegistryError: If the log is empty, starts from another root, breaks its chain, or holds a bad signature.
    """
    kept = tuple(entries)
    events = read_chain(kept)
    genesis = _genesis(kept, events, trust_root)
    void: dict[int, str] = {}
    revoked: dict[str, int] = {}
    while True:
        made = _run(genesis, events, void, revoked, now)
        # One at a time, in log order: a revocation may void a later one.
        fresh = next(((k, n) for k, n in made.revocations if k not in revoked), None)
        if fresh is not None:
            revoked[fresh[0]] = fresh[1]
            continue
        doubtful = _unwitnessed(made, now)
        if not doubtful:
            return _state(kept, events, made, revoked, trust_root, now)
        void.update(dict.fromkeys(doubtful, _UNWITNESSED))


def _run(
    genesis: Governance,
    events: Sequence[Event],
    void: Mapping[int, str],
    revoked: Mapping[str, int],
    now: datetime,
) -> Run:
    """Apply every entry of a log in order.

    Args:
        genesis: The governance of position 0.
        events: The log, authentic.
        void: Positions without effect, with the reason.
        revoked: Position from which each key counts for nothing.
        now: The verifier's present.
    """
    made = Run(genesis)
    for event in events:
        try:
            if event.position in void:
                raise RefusalError(void[event.position])
            author = _author(made, event, revoked, now)
            known = made.governance.persons
            if event.position > 0:
                _apply(made, event, author)
        except RefusalError as refusal:
            future = isinstance(refusal, FutureError)
            made.refused.append(Refused(event.position, event.type, event.principal, str(refusal), future))
        else:
            made.accepted.append(Accepted(event.position, event.at, event.key, author, known))
    return made


def _author(made: Run, event: Event, revoked: Mapping[str, int], now: datetime) -> Author:
    author = made.governance.author(event.key)
    own_revocation = event.type == "key_revocation" and event.key in str(event.body.get("public"))
    if event.position >= revoked.get(event.key, event.position + 1) and not own_revocation:
        raise RefusalError(f"the key is revoked from position {revoked[event.key]} on")
    if author is None:
        raise RefusalError("the key that signed it belongs to no principal of the governance state")
    if author.principal != event.principal:
        raise RefusalError(f"it says '{event.principal}', but the key that signed it is '{author.principal}'")
    reached = _reached(made, event)
    if reached is not None and event.at < reached:
        raise RefusalError(f"its date goes back: the log was already at {iso(reached)}")
    if event.at > now + AHEAD:
        raise FutureError(f"it is dated in the future: {iso(event.at)}")
    if event.at >= author.expires:
        raise RefusalError(f"the key lapsed at {iso(author.expires)}")
    return author


def _reached(made: Run, event: Event) -> datetime | None:
    """The latest date so far. A revocation is not held up by the entries that it voids, however far they are dated."""
    key = position = None
    if event.type == "key_revocation":
        key, position = event.body.get("public"), event.body.get("position")
    return next(
        (
            entry.at
            for entry in reversed(made.accepted)
            if not (entry.key in str(key) and isinstance(position, int) and entry.position >= position)
        ),
        None,
    )


def _apply(made: Run, event: Event, author: Author) -> None:
    try:
        body = read_body(event.body, BODIES[event.type])
        if event.type not in TAGGING:
            # Otherwise a witness could carry the tag of a release that nobody approved.
            tagged(event)
        rule = RULES.get(event.type)
        if rule is None:
            refuse_unless(event.type == "witness", f"a log has one '{event.type}', at its start")
            return
        rule(made, event, author, body)
    except RegistryError as wrong:
        # A body that is not of its type, a name that names nothing: the entry is authentic and says nothing.
        raise RefusalError(wrong.what if wrong.got is None else f"{wrong.what}: {wrong.got}") from None


def genesis_digest(entries: Sequence[Entry]) -> str:
    """The trust root of a log: SHA-256 of its genesis payload."""
    if not entries:
        raise RegistryError("the log is empty", hint="countermark governance init")
    return sha256_hex(entries[0].payload)


def _genesis(entries: Sequence[Entry], events: Sequence[Event], trust_root: str) -> Governance:
    found = genesis_digest(entries)
    if found != trust_root:
        raise RegistryError(
            "the log starts from another trust root than the one that is pinned",
            expected=trust_root,
            got=found,
            hint="ask the head of model risk for the digest; pin it with 'countermark governance trust DIGEST'",
        )
    if events[0].type != "governance":
        raise broken(0, "a log starts with its governance", "governance", events[0].type)
    body = read_body(events[0].body, GovernanceBody)
    state = Governance.of(body, 0)
    author = state.author(events[0].key)
    if author is None or author.principal != events[0].principal or body.version != 1 or events[0].tags:
        raise broken(0, "the governance is not signed by one of its own principals", "version 1, signed by a principal")
    return state


def _unwitnessed(made: Run, now: datetime) -> list[int]:
    """Accepted entries of lapsed keys that nobody else's entry vouches for in time."""
    return [
        entry.position
        for entry in made.accepted
        if entry.position > 0 and _lapse_of(entry, made) <= now and not _witnessed(entry, made)
    ]


def _lapse_of(entry: Accepted, made: Run) -> datetime:
    """When the key lapses: as the state in force says, so that a renewed key stays good."""
    author = made.governance.author(entry.key)
    return entry.author.expires if author is None else max(author.expires, entry.author.expires)


def _witnessed(entry: Accepted, made: Run) -> bool:
    lapse = _lapse_of(entry, made)
    return any(
        later.position > entry.position
        and later.person != entry.person
        and later.person in entry.known
        and later.at < lapse
        for later in made.accepted
    )


def _state(
    entries: tuple[Entry, ...],
    events: tuple[Event, ...],
    made: Run,
    revoked: dict[str, int],
    trust_root: str,
    now: datetime,
) -> RegistryState:
    granted = {body.release for body, _ in made.granted if body.environment == "prod"}
    releases = {
        ref: replace(state, status=_status(made, state, now, granted))
        for ref, state in sorted(made.releases.items(), key=lambda item: item[0].order)
    }
    return RegistryState(
        trust_root=trust_root,
        now=now,
        governance=made.governance,
        releases=releases,
        findings=dict(made.findings),
        reviews=tuple(made.reviews),
        amendments=tuple(made.amendments.values()),
        revoked=dict(revoked),
        refused=tuple(made.refused),
        granted=tuple(made.granted),
        sequences=dict(made.sequences),
        entries=entries,
        events=events,
        refold=fold,
    )


def _status(made: Run, state: ReleaseState, now: datetime, granted: set[str]) -> Status:
    """The status that people read: what the rules keep, and what follows from quorum, gates and authorisations."""
    if state.status == "published" and str(state.ref) in granted:
        return "prod"
    if state.status != "candidate":
        return state.status
    quorum = state.quorum_lapse(made.governance.roles_for(state.proposal.tier), now)
    held = quorum is not None and not state.uncovered(now) and not blocking_findings(made.findings, state, now)
    return "approved" if held else "candidate"


def describe(state: RegistryState) -> str:
    """One line about a log: how long, who signed last, what was refused."""
    last = state.events[-1]
    refused = f", {len(state.refused)} without effect" if state.refused else ""
    return f"{len(state.entries)} entries{refused}; last {last.type} by {last.principal} at {iso(last.at)}"

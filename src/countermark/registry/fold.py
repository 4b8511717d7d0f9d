"""The fold: from a log to what is so. Pure: entries, a trust root and an instant in, a state out.

The log itself must be whole: a broken chain or a bad signature is an error that names its position. An authentic entry
whose author may not do what it says has no effect, and is listed with the reason.

Validity is judged at log position, never by a date that the signer can set. Three rules follow from that:

- dates never go back along the log;
- a revocation names a position, and voids what that key permitted from there on, whatever it was dated;
- what an entry of a key permits that has lapsed by now counts only if a later entry of another person, dated before
  the lapse, shows that it was there in time. Otherwise anybody who finds an old key could write yesterday's approvals
  today.

Neither makes a release more permitted: what only takes something away outlasts its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from countermark.errors import RegistryError
from countermark.records.clock import iso
from countermark.records.digest import sha256_hex
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import BODIES, GovernanceBody, read_body
from countermark.registry.events import Entry, Event, broken, read_chain
from countermark.registry.progress import (
    Accepted,
    DatedError,
    FutureError,
    RefusalError,
    Revocation,
    Run,
    VoidError,
    refuse_unless,
    tagged,
)
from countermark.registry.rules import CAUTIOUS, OUTLASTING, RULES, TAGGING, outlast
from countermark.registry.sshsig import parse_public
from countermark.registry.standing import Lost, Refused, ReleaseState, Status, Unwitnessed, blocking_findings
from countermark.registry.state import RegistryState
from countermark.registry.trust import LINES_OF_CONTROL, Author, Governance

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
    first, made = _settled(genesis, events, now)
    return _state(kept, events, first, made, _ahead(genesis, events, made), trust_root)


def _settled(genesis: Governance, events: Sequence[Event], now: datetime) -> tuple[Run, Run]:
    """Apply the log until no revocation and no lapsed key voids anything more.

    Returns:
        The pass that no entry is void in, and the one that counts.
    """
    void: dict[int, RefusalError] = {}
    revoked: dict[str, Revocation] = {}
    first: Run | None = None
    while True:
        made = _run(Run(genesis, now, events, dict(revoked)), void)
        first = first or made
        # One at a time, in log order: a revocation may void a later one. A second one may reach back further.
        fresh = next((r for r in made.revocations if r.key not in revoked or r.since < revoked[r.key].since), None)
        if fresh is not None:
            known = revoked.get(fresh.key)
            revoked[fresh.key] = fresh if known is None else replace(known, since=fresh.since)
            # What had no effect when the revocation was signed gets none by it.
            void |= {p: why for p, why in made.reasons.items() if fresh.since <= p < fresh.position}
            continue
        doubtful = [entry.position for entry in _doubtful(made) if _lapse_of(entry, made) <= now]
        if not doubtful:
            return first, made
        void.update(dict.fromkeys(doubtful, VoidError(_UNWITNESSED)))


def _run(made: Run, void: Mapping[int, RefusalError]) -> Run:
    """Apply every entry of a log in order.

    Args:
        made: A fresh pass.
        void: Positions without effect, with the reason.
    """
    for event in made.events:
        behind = made.latest is not None and event.at < made.latest
        try:
            if event.position in void:
                raise void[event.position]
            author = _author(made, event)
            known = made.governance.persons
            if event.position > 0:
                _apply(made, event, author)
        except RefusalError as refusal:
            future, dead = isinstance(refusal, FutureError), isinstance(refusal, VoidError)
            made.refused.append(Refused(event.position, event.type, event.principal, str(refusal), future, dead))
            if dead:
                made.latest = _later(made.latest, event.at)
            if type(refusal) is RefusalError:
                made.reasons[event.position] = refusal
        else:
            made.reached, made.latest = _later(made.reached, event.at), _later(made.latest, event.at)
            made.accepted.append(Accepted(event.position, event.at, event.key, author, known, event.type, behind))
    return made


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _author(made: Run, event: Event) -> Author:
    author = made.governance.author(event.key)
    revocation = made.revoked.get(event.key)
    if revocation is not None and event.position > revocation.position and not _revokes(event, event.key):
        raise DatedError(f"the key is revoked from position {revocation.since} on")
    if author is None:
        raise RefusalError("the key that signed it belongs to no principal of the governance state")
    if author.principal != event.principal:
        raise RefusalError(f"it says '{event.principal}', but the key that signed it is '{author.principal}'")
    reached = _reached(made, event, author)
    if reached is not None and event.at < reached:
        raise DatedError(f"its date goes back: the log was already at {iso(reached)}")
    if revocation is not None and event.position >= revocation.since and _from_the_future(made, event, revocation):
        raise DatedError(f"the key is revoked from position {revocation.since} on")
    if event.at > made.now + AHEAD:
        raise FutureError(f"it is dated in the future: {iso(event.at)}")
    if event.at >= author.expires:
        raise RefusalError(f"the key lapsed at {iso(author.expires)}")
    return author


def _reached(made: Run, event: Event, author: Author) -> datetime | None:
    """The latest date so far. A revocation is not held up by the entries that it voids, however far they are dated.

    That holds for a key that is good today, or if others of the second or third line signed the log later and before it
    lapsed. Otherwise anybody who finds an old key could turn the log's clock back with it.
    """
    if event.type != "key_revocation" or not (
        author.expires > made.now or _seconded(made, event.position, author.identity, author.expires)
    ):
        return made.reached
    since = event.body.get("position")
    if not isinstance(since, int):
        return made.reached
    return max((e.at for e in made.accepted if e.position < since or not _revokes(event, e.key)), default=None)


def _seconded(made: Run, after: int, person: str, before: datetime) -> bool:
    """Whether others of the second or third line signed behind a position, dated before an instant.

    One whose key is good today is enough, or two others: one found key speaks for nobody.
    """
    others: set[str] = set()
    for later in made.events[after + 1 :]:
        other, gone = made.governance.author(later.key), made.revoked.get(later.key)
        if other is None or other.principal != later.principal or (gone and later.position >= gone.since):
            continue
        if later.at < min(before, other.expires) and other.identity != person and other.roles & LINES_OF_CONTROL:
            others.add(other.identity)
            if other.expires > made.now or len(others) > 1:
                return True
    return False


def _from_the_future(made: Run, event: Event, revocation: Revocation) -> bool:
    """Whether an entry of a revoked key was dated ahead: today's date or other people's later entries show it."""
    ahead = event.at > made.now + AHEAD or _seconded(made, revocation.position, revocation.by, event.at)
    return event.position < revocation.position and ahead


def _revokes(event: Event, key: str) -> bool:
    """Whether an entry revokes this very key; a comment behind another key names nobody."""
    if event.type != "key_revocation":
        return False
    try:
        return parse_public(str(event.body.get("public")))[0] == key
    except RegistryError:
        return False


def _apply(made: Run, event: Event, author: Author) -> None:
    try:
        body = read_body(event.body, BODIES[event.type])
        if event.type not in TAGGING:
            # Otherwise a witness could carry the tag of a release that nobody approved.
            tagged(event)
        revocation = made.revoked.get(event.key)
        if revocation is not None and event.position >= revocation.since and event.type not in OUTLASTING:
            outlast(made, event, author, revocation)
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


def _doubtful(made: Run) -> list[Accepted]:
    """Entries that permit something and that nobody else's entry vouches for before their key lapses."""
    found = []
    for place, entry in enumerate(made.accepted):
        lapse = _lapse_of(entry, made)
        if entry.position == 0 or entry.type in CAUTIOUS or lapse.year == 9999:
            continue
        after = (made.accepted[k] for k in range(place + 1, len(made.accepted)))
        if not any(later.at < lapse and _vouches(later, entry, made) for later in after):
            found.append(entry)
    return found


def _lapse_of(entry: Accepted, made: Run) -> datetime:
    """When the key lapses: as the state in force says, so that a renewed key stays good."""
    author = made.governance.author(entry.key)
    return entry.author.expires if author is None else max(author.expires, entry.author.expires)


def _vouches(later: Accepted, entry: Accepted, made: Run) -> bool:
    if later.person == entry.person or later.person not in entry.known:
        return False
    gone = made.revoked.get(later.key)
    if gone is not None and later.position >= gone.since:
        return False
    # Behind a date that the log had reached, nobody vouches for anything: a revocation turned its clock back.
    return not (entry.behind or later.behind)


def _ahead(genesis: Governance, events: Sequence[Event], made: Run) -> list[Run]:
    """The log as it will count when keys lapse that nobody vouches for until then, soonest first."""
    ends = {_lapse_of(entry, made) for entry in _doubtful(made)}
    return [_settled(genesis, events, end)[1] for end in sorted(ends) if made.now < end]


def _state(
    entries: tuple[Entry, ...],
    events: tuple[Event, ...],
    first: Run,
    made: Run,
    ahead: Sequence[Run],
    trust_root: str,
) -> RegistryState:
    granted = {body.release for body, _ in made.granted if body.environment == "prod"}
    releases = {
        ref: replace(state, status=_status(made, state, made.now, granted))
        for ref, state in sorted(made.releases.items(), key=lambda item: item[0].order)
    }
    numbers = {**dict.fromkeys(first.sequences, 0), **made.sequences}
    return RegistryState(
        trust_root=trust_root,
        now=made.now,
        governance=made.governance,
        releases=releases,
        findings=dict(made.findings),
        reviews=tuple(made.reviews),
        amendments=tuple(made.amendments.values()),
        revoked={key: revocation.since for key, revocation in made.revoked.items()},
        refused=tuple(made.refused),
        granted=tuple(made.granted),
        # A void authorisation used its number too: its tag is there.
        sequences={model: max(number, first.sequences.get(model, 0)) for model, number in numbers.items()},
        lost=_lost(events, first, made),
        unwitnessed=_unwitnessed(events, made, ahead),
        ends=_ends(made, ahead),
        entries=entries,
        events=events,
        refold=fold,
    )


def _grants(made: Run) -> list[tuple[str, str]]:
    return [(body.release, body.environment) for body, _ in made.granted]


def _lost(events: Sequence[Event], first: Run, made: Run) -> tuple[Lost, ...]:
    """Releases that were authorised until an entry behind them became void."""
    before, now = {refused.position for refused in first.refused}, _grants(made)
    fresh = [refused for refused in made.refused if refused.position not in before]
    found = []
    for release, environment in dict.fromkeys(_grants(first)):
        if (release, environment) in now:
            continue
        own = [refused for refused in fresh if events[refused.position].body.get("release") == release]
        cause = next((r for r in (*own, *fresh) if r.void), next(iter((*own, *fresh)), None))
        if cause is not None:
            told = f"{cause.type} at log position {cause.position} by {cause.principal}: {cause.reason}"
            found.append(Lost(ReleaseRef.parse(release), environment, told))
    return tuple(found)


def _unwitnessed(events: Sequence[Event], made: Run, ahead: Sequence[Run]) -> tuple[Unwitnessed, ...]:
    """Entries that will be void when their keys lapse, soonest first, each once."""
    persons = {entry.position: entry.author.person for entry in made.accepted}
    found: dict[int, Unwitnessed] = {}
    for run in ahead:
        for refused in run.refused:
            place = refused.position
            if refused.void and place in persons and place not in found:
                release = events[place].body.get("release")
                named = None if release is None else str(release)
                found[place] = Unwitnessed(place, refused.type, refused.principal, persons[place], named, run.now)
    return tuple(found.values())


def _ends(made: Run, ahead: Sequence[Run]) -> dict[tuple[str, str], datetime]:
    """When authorisations end because an entry behind them will be void."""
    found: dict[tuple[str, str], datetime] = {}
    for run in ahead:
        for grant in _grants(made):
            if grant not in _grants(run):
                found.setdefault(grant, run.now)
    return found


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

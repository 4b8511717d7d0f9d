"""Who may do what, entry by entry: the transitions of the fold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from countermark.records.digest import digest_of
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import (
    AmendmentApproval,
    ApprovalBody,
    AuthorisationBody,
    Condition,
    DeauthorisationBody,
    EquivalenceBody,
    FindingClosed,
    FindingOpened,
    GovernanceBody,
    KeyRevocation,
    ProposalBody,
    PublicationBody,
    RejectionBody,
    RetirementBody,
    ReviewSigned,
    WaiverBody,
    WithdrawalBody,
    read_body,
)
from countermark.registry.events import Event
from countermark.registry.progress import (
    RefusalError,
    Revocation,
    Run,
    VoidError,
    current_candidate,
    known_release,
    need_role,
    refuse_unless,
    tagged,
)
from countermark.registry.sshsig import parse_public
from countermark.registry.standing import (
    BOUND,
    Approval,
    FindingState,
    PendingAmendment,
    Publication,
    ReleaseState,
    Status,
    Waiver,
    blocking_findings,
)
from countermark.registry.trust import (
    LINES_OF_CONTROL,
    Author,
    Governance,
    check_names,
    lapse,
    names_in,
    same_person,
)

# governance -----------------------------------------------------------------------------------------------------------


def _amendment(made: Run, event: Event, author: Author, body: GovernanceBody) -> None:
    need_role(author, *sorted(LINES_OF_CONTROL))
    refuse_unless(
        body.version == made.governance.body.version + 1,
        f"it amends version {body.version - 1}, but version {made.governance.body.version} is in force",
    )
    check_names(body, (p.person for p in made.governance.body.principals))
    Governance.of(body, event.position)
    made.amendments[event.position] = PendingAmendment(
        event.position, event.at, event.principal, body, digest_of(dict(event.body)), (_consent(event, author),)
    )


def _consent(event: Event, author: Author) -> tuple[str, str, int]:
    return author.identity, event.key, event.position


def _amendment_approval(made: Run, event: Event, author: Author, body: AmendmentApproval) -> None:
    need_role(author, *sorted(LINES_OF_CONTROL))
    pending = made.amendments.get(body.amendment)
    if pending is None:
        raise RefusalError(f"no amendment waits at position {body.amendment}")
    refuse_unless(body.digest == pending.digest, "it approves another text than the amendment's")
    pending = replace(pending, consents=(*pending.consents, _consent(event, author)))
    made.amendments[body.amendment] = pending
    if len(pending.persons) >= made.governance.body.amendment_quorum:
        made.governance = Governance.of(pending.body, event.position)
        # Whatever else was on its way amends a version that is gone.
        made.amendments.clear()


def _key_revocation(made: Run, event: Event, author: Author, body: KeyRevocation) -> None:
    public = parse_public(body.public)[0]
    owner = made.governance.author(public)
    if owner is None or owner.identity != author.identity:
        need_role(author, "risk", "auditor")
    refuse_unless(0 < body.position <= event.position, f"position {body.position} is not in the log before it")
    made.revocations.append(Revocation(public, body.position, event.position, author.identity))
    for position, pending in list(made.amendments.items()):
        kept = tuple(c for c in pending.consents if not (c[1] == public and c[2] >= body.position))
        if kept:
            made.amendments[position] = replace(pending, consents=kept)
        else:
            del made.amendments[position]


# candidates -----------------------------------------------------------------------------------------------------------


def candidate_tag(ref: ReleaseRef, position: int) -> str:
    """Tag of the candidate proposed at a position; outside GTO's grammar, as a candidate is no registration."""
    return f"candidate/{ref.model}/v{ref.version}/{position}"


def approval_tag(ref: ReleaseRef, role: str, principal: str, position: int) -> str:
    """Tag of the approval given at a position."""
    return f"approve/{ref.model}/v{ref.version}/{role}/{principal}/{position}"


def assignment_tag(ref: ReleaseRef, environment: str, sequence: int, *, leave: bool = False) -> str:
    """Tag that takes a model's version into an environment, or out of it."""
    return f"{ref.model}#{environment}{'!' if leave else ''}#{sequence}"


def _proposal(made: Run, event: Event, author: Author, body: ProposalBody) -> None:
    need_role(author, "developer", "owner")
    ref = ReleaseRef.parse(body.release)
    before = made.releases.get(ref)
    if before is not None:
        refuse_unless(before.publication is None, f"'{ref}' is published already; propose the next version")
        refuse_unless(before.status != "archived", f"'{ref}' is archived; propose the next version")
    refuse_unless(bool(made.governance.roles_for(body.tier)), f"tier {body.tier} has no quorum")
    refuse_unless(_COMMIT.fullmatch(body.commit) is not None, "it names no commit")
    for file in body.files:
        plain = not file.path.startswith("/") and not {"", ".", ".."} & set(file.path.split("/"))
        digests = _DIGEST.fullmatch(file.sha256) is not None and _MD5.fullmatch(file.md5) is not None
        refuse_unless(plain and digests, f"'{file.path[:60]}' is no file of a bank with its digests")
    names = [file.name for file in body.files]
    refuse_unless(len(set(names)) == len(names), "two of its files have one name")
    refuse_unless(any(map(str.strip, body.developers)), "it names nobody who built it, so that four eyes mean nothing")
    missing = [name for name in BOUND if not body.digests.get(name)]
    refuse_unless(not missing, f"it does not bind the digest of {', '.join(missing)}")
    tagged(event, candidate_tag(ref, event.position))
    made.releases[ref] = ReleaseState(ref, "candidate", event.position, body, event.principal, author.person, event.at)


def barred(governance: Governance, state: ReleaseState, person: str) -> str | None:
    """Why this person must not judge this candidate, or None: four eyes, counted by person."""
    if same_person(person, state.proposer_person):
        return f"'{person}' proposed it; four eyes need another person"
    stated = [name for text in state.proposal.developers for name in names_in(text)]
    built = (*stated, *(governance.person_of(name) for name in stated))
    if any(same_person(person, name) for name in built):
        return f"'{person}' is named among its developers; four eyes need another person"
    rival = governance.in_conflict(person, (state.ref.model, state.proposer_person, *built))
    return None if rival is None else f"'{person}' has a declared conflict with '{rival}'"


def _judge(made: Run, author: Author, state: ReleaseState, role: str) -> None:
    roles = made.governance.roles_for(state.proposal.tier)
    refuse_unless(role in roles, f"tier {state.proposal.tier} asks for {', '.join(roles)}, not for {role}")
    need_role(author, role)
    _not_barred(made, author, state)


def _not_barred(made: Run, author: Author, state: ReleaseState) -> None:
    reason = barred(made.governance, state, author.person)
    if reason is not None:
        raise RefusalError(reason)


def _approval(made: Run, event: Event, author: Author, body: ApprovalBody) -> None:
    state = current_candidate(made, body.release, body.candidate)
    _judge(made, author, state, body.role)
    stated = dict.fromkeys((*BOUND, *body.digests))
    differing = [name for name in stated if body.digests.get(name) != state.proposal.digests.get(name)]
    refuse_unless(not differing, f"it approves another {' and '.join(differing)} digest than the candidate's")
    refuse_unless(event.at < lapse(body.expires), "it had lapsed when it was given")
    _not_too_long(made, event, body.expires, *(condition.expires for condition in body.conditions))
    for condition in body.conditions:
        refuse_unless(
            bool(condition.owner.strip()) and bool(condition.text.strip()), "a condition has no owner or text"
        )
        lapse(condition.expires)
    other = next((a for a in state.approvals if a.identity == author.identity and a.body.role != body.role), None)
    if other is not None:
        raise RefusalError(f"'{author.person}' approved it as {other.body.role} already; four eyes need another person")
    _gates_hold(made, state, event.at, body.conditions)
    tagged(event, approval_tag(state.ref, body.role, event.principal, event.position))
    approval = Approval(event.position, event.at, event.principal, author.person, body)
    made.releases[state.ref] = replace(state, approvals=(*state.approvals, approval))


def _not_too_long(made: Run, event: Event, *ends: str | None) -> None:
    """Nobody signs for longer than the governance in force allows; a signature without an end never ends."""
    days = made.governance.body.longest_approval_days
    if days is None:
        return
    # The last day counts to its end.
    last = event.at + timedelta(days=days + 1)
    for text in ends:
        told = "has no end" if text is None else f"counts until {text}"
        refuse_unless(
            lapse(text) <= last,
            f"it {told}; the governance allows {days} days, until {event.at + timedelta(days):%Y-%m-%d}",
        )


def _gates_hold(made: Run, state: ReleaseState, at: datetime, extra: Sequence[Condition] = ()) -> None:
    """No gating test without a cover, and no critical or high finding that is open and uncovered."""
    bare = ", ".join(gate.test for gate in state.uncovered(at, extra))
    refuse_unless(not bare, f"gating tests without a waiver, condition or control: {bare}")
    open_ = ", ".join(f.id for f in blocking_findings(made.findings, state, at, extra))
    refuse_unless(not open_, f"open critical or high findings: {open_}")


def _rejection(made: Run, event: Event, author: Author, body: RejectionBody) -> None:
    state = current_candidate(made, body.release, body.candidate)
    refuse_unless(state.publication is None, f"'{state.ref}' is published; retire it instead")
    _judge(made, author, state, body.role)
    made.releases[state.ref] = replace(state, status="dev", closing=f"rejected by {event.principal}: {body.reason}")


def _withdrawal(made: Run, event: Event, author: Author, body: WithdrawalBody) -> None:
    state = current_candidate(made, body.release, body.candidate)
    refuse_unless(state.publication is None, f"'{state.ref}' is published; retire it instead")
    if not same_person(author.person, state.proposer_person):
        need_role(author, "owner")
    made.releases[state.ref] = replace(state, status="dev", closing=f"withdrawn by {event.principal}: {body.reason}")


# findings and waivers -------------------------------------------------------------------------------------------------


def _finding_opened(made: Run, event: Event, author: Author, body: FindingOpened) -> None:
    if body.release is not None:
        state = known_release(made, body.release)
        refuse_unless(state.ref.model == body.model, f"'{body.release}' is no release of '{body.model}'")
    lapse(body.due)
    id_ = f"F-{event.position}"
    made.findings[id_] = FindingState(id_, event.position, event.at, event.principal, author.person, body)


def _finding(made: Run, id_: str) -> FindingState:
    refuse_unless(id_ in made.findings, f"the log knows no finding '{id_}'")
    finding = made.findings[id_]
    refuse_unless(finding.closed is None, f"finding '{id_}' is closed already")
    return finding


def _finding_closed(made: Run, event: Event, author: Author, body: FindingClosed) -> None:
    finding = _finding(made, body.finding)
    need_role(author, *sorted(LINES_OF_CONTROL))
    refuse_unless(bool(body.text.strip()), "it does not say what settles the finding")
    for state in made.releases.values():
        if state.ref.model == finding.body.model and finding.body.release in (None, str(state.ref)):
            _not_barred(made, author, state)
    made.findings[finding.id] = replace(finding, closed=event.position)


def _waiver(made: Run, event: Event, author: Author, body: WaiverBody) -> None:
    state = current_candidate(made, body.release, body.candidate)
    need_role(author, "risk")
    _not_barred(made, author, state)
    refuse_unless((body.test is None) != (body.finding is None), "it waives not exactly one test or finding")
    refuse_unless(bool(body.owner.strip()) and bool(body.reason.strip()), "a waiver needs an owner and a reason")
    refuse_unless(event.at < lapse(body.expires), "it had lapsed when it was given")
    _not_too_long(made, event, body.expires)
    if body.test is not None:
        gates = ", ".join(gate.test for gate in state.proposal.gates)
        refuse_unless(
            any(gate.test == body.test for gate in state.proposal.gates),
            f"'{body.test}' is no gating test that Failed or was Not evaluated; those are: {gates or 'none'}",
        )
    else:
        _finding(made, str(body.finding))
    waiver = Waiver(event.position, event.at, event.principal, author.person, body)
    made.releases[state.ref] = replace(state, waivers=(*state.waivers, waiver))


# publication and use --------------------------------------------------------------------------------------------------


def _publication(made: Run, event: Event, author: Author, body: PublicationBody) -> None:
    need_role(author, "engineer", "owner")
    state = current_candidate(made, body.release, body.candidate)
    refuse_unless(state.publication is None, f"'{state.ref}' is published already")
    refuse_unless(body.commit == state.proposal.commit, "it names another commit than the candidate's")
    refuse_unless(_DIGEST.fullmatch(body.bundle) is not None, "it names no bundle digest")
    for other in made.releases.values():
        if other.publication is not None and other.ref.model == state.ref.model:
            same = other.publication.body.commit == body.commit
            refuse_unless(not same, f"'{other.ref}' is published on the same commit; a version needs its own")
    roles = made.governance.roles_for(state.proposal.tier)
    missing = ", ".join(state.missing_roles(roles, event.at)) or "persons"
    refuse_unless(state.quorum_lapse(roles, event.at) is not None, f"the quorum does not stand; missing: {missing}")
    _gates_hold(made, state, event.at)
    tagged(event, str(state.ref))
    publication = Publication(event.position, event.at, event.principal, body.bundle, event.tags[0].object, body, roles)
    made.releases[state.ref] = replace(state, status="published", publication=publication)


def _standing(made: Run, state: ReleaseState, at: datetime) -> None:
    if state.publication is None:
        raise RefusalError(f"'{state.ref}' is not published")
    refuse_unless(state.status != "archived", f"'{state.ref}' is archived")
    missing = ", ".join(state.missing_roles(state.publication.roles, at)) or "persons"
    stands = state.quorum_lapse(state.publication.roles, at) is not None
    refuse_unless(stands, f"the quorum does not stand any more; missing: {missing}")
    _gates_hold(made, state, at)


def _authorisation(made: Run, event: Event, author: Author, body: AuthorisationBody) -> None:
    need_role(author, "engineer")
    state = known_release(made, body.release)
    _standing(made, state, event.at)
    refuse_unless(_ENVIRONMENT.fullmatch(body.environment) is not None, "an environment is a lower-case word")
    refuse_unless(
        not _is_granted(made, body.release, body.environment), f"'{body.release}' is authorised for it already"
    )
    tagged(event, assignment_tag(state.ref, body.environment, body.sequence))
    _next_sequence(made, state.ref, body.sequence)
    made.granted.append((body, event))
    made.releases[state.ref] = replace(state, taken_out=state.taken_out - {body.environment})


def _is_granted(made: Run, release: str, environment: str) -> bool:
    return any(body.release == release and body.environment == environment for body, _ in made.granted)


def _next_sequence(made: Run, ref: ReleaseRef, sequence: int) -> None:
    last = made.sequences.get(ref.model, 0)
    refuse_unless(sequence > last, f"its tag number {sequence} is used; the last one is {last}")
    made.sequences[ref.model] = sequence


def _ungrant(made: Run, release: str, environment: str | None) -> None:
    made.granted = [
        (body, event)
        for body, event in made.granted
        if body.release != release or environment not in (None, body.environment)
    ]


def _deauthorisation(made: Run, event: Event, author: Author, body: DeauthorisationBody) -> None:
    need_role(author, "engineer", "owner", "risk")
    state = known_release(made, body.release)
    refuse_unless(
        _is_granted(made, body.release, body.environment), f"'{body.release}' is not authorised for {body.environment}"
    )
    tagged(event, assignment_tag(state.ref, body.environment, body.sequence, leave=True))
    _next_sequence(made, state.ref, body.sequence)
    _ungrant(made, body.release, body.environment)
    made.releases[state.ref] = replace(state, taken_out=state.taken_out | {body.environment})


def _retirement(made: Run, event: Event, author: Author, body: RetirementBody) -> None:
    need_role(author, "engineer", "owner", "risk")
    state = known_release(made, body.release)
    refuse_unless(state.status == "published", f"'{state.ref}' is {state.status}, not published")
    if _is_granted(made, body.release, "prod"):
        if body.sequence is None:
            raise RefusalError("it is in prod, and needs the tag that takes it out")
        tagged(event, assignment_tag(state.ref, "prod", body.sequence, leave=True))
        _next_sequence(made, state.ref, body.sequence)
    else:
        tagged(event)
    _ungrant(made, body.release, None)
    made.releases[state.ref] = replace(state, status="archived", closing=f"retired by {event.principal}: {body.reason}")


def _equivalence(made: Run, event: Event, author: Author, body: EquivalenceBody) -> None:
    need_role(author, "engineer", "validator")
    state = known_release(made, body.release)
    refuse_unless(state.publication is not None, f"'{state.ref}' is not published")
    differing = [name for name in BOUND if body.digests.get(name) != state.proposal.digests[name]]
    refuse_unless(not differing, f"the rebuild has another {' and '.join(differing)} digest")
    made.releases[state.ref] = replace(state, equivalences=(*state.equivalences, (event.position, body)))


def _review(made: Run, event: Event, author: Author, body: ReviewSigned) -> None:
    need_role(author, "owner", *sorted(LINES_OF_CONTROL))
    made.reviews.append((event, body))


# entries of keys that were revoked later ------------------------------------------------------------------------------

CAUTIOUS = frozenset({"rejection", "withdrawal", "finding_opened", "deauthorisation", "retirement", "key_revocation"})
"""Types of entries that only ever take something away: they outlast their key, or else its end would permit more."""
OUTLASTING = CAUTIOUS | {"amendment", "amendment_approval"}
"""Types that outlast a revocation that reaches back: an amendment ends by another amendment."""


def outlast(made: Run, event: Event, author: Author, revocation: Revocation) -> None:
    """Apply an entry that stands before the revocation of its key, which reaches back to it.

    Whatever permits something is void. What only takes something away stays, and so does what it took: a proposal
    still ends the candidate before it, and a version that was published so is not published again.
    """
    reason = f"the key is revoked from position {revocation.since} on"
    if event.type == "review_signed":
        signed = read_body(event.body, ReviewSigned)
        # What it asks for stays asked; what it says is done is not believed.
        _review(made, event, author, msgspec.structs.replace(signed, done=()))
    elif event.type == "proposal":
        _proposal(made, event, author, read_body(event.body, ProposalBody))
        _close(made, event, "dev", f"proposed at position {event.position}, and {reason}")
    elif event.type == "publication":
        _publication(made, event, author, read_body(event.body, PublicationBody))
        _close(made, event, "archived", f"published at position {event.position}, and {reason}")
    raise VoidError(reason)


def _close(made: Run, event: Event, status: Status, why: str) -> None:
    ref = ReleaseRef.parse(str(event.body["release"]))
    made.releases[ref] = replace(made.releases[ref], status=status, closing=why, publication=None)


_DIGEST = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9_]*")
Rule: TypeAlias = Callable[[Run, Event, Author, Any], None]
RULES: Mapping[str, Rule] = {
    "amendment": _amendment,
    "amendment_approval": _amendment_approval,
    "key_revocation": _key_revocation,
    "proposal": _proposal,
    "approval": _approval,
    "rejection": _rejection,
    "withdrawal": _withdrawal,
    "finding_opened": _finding_opened,
    "finding_closed": _finding_closed,
    "waiver": _waiver,
    "publication": _publication,
    "authorisation": _authorisation,
    "deauthorisation": _deauthorisation,
    "retirement": _retirement,
    "equivalence": _equivalence,
    "review_signed": _review,
}
"""The rule of each type of event; a witness needs none, and a second genesis has none."""
TAGGING = frozenset({"proposal", "approval", "publication", "authorisation", "deauthorisation", "retirement"})
"""Types of events that make tags; an entry of another type records none."""

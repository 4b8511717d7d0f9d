"""Values of a registry state: a release and how it stands, findings, authorisations, what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from countermark.records.release import ReleaseRef
from countermark.registry.bodies import (
    BLOCKING,
    ApprovalBody,
    Condition,
    EquivalenceBody,
    FindingOpened,
    Gate,
    GovernanceBody,
    ProposalBody,
    PublicationBody,
    Role,
    WaiverBody,
)
from countermark.registry.trust import identity_of, lapse

Status: TypeAlias = Literal["dev", "candidate", "approved", "published", "prod", "archived"]
BOUND = ("results", "evidence", "scorer", "decision")
"""Digests of a candidate that an approval names; one that differs is an approval of something else."""
APPROVED = (*BOUND, "spec", "profile")
"""What an approval names where the proposal states it. Approvals of before named the first four alone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An authentic entry without effect, and why.

    ``future`` marks one that its date alone keeps from having an effect; ``void`` one that had an effect once, until
    its key was revoked or lapsed.
    """

    position: int
    type: str
    principal: str
    reason: str
    future: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class Unwitnessed:
    """An entry that counts until its key lapses, unless somebody else signs the log before.

    Attributes:
        position: Log position.
        type: Type of the entry.
        principal: Who signed.
        person: The human being.
        release: The release that it is about; None where it is about more than one.
        lapses: When the key lapses.
    """

    position: int
    type: str
    principal: str
    person: str
    release: str | None
    lapses: datetime


@dataclass(frozen=True, slots=True)
class Lost:
    """A release that was authorised, and is not any more because an entry behind it is void.

    Attributes:
        ref: The release.
        environment: Where it was authorised.
        reason: Which entry counts no more, and why.
    """

    ref: ReleaseRef
    environment: str
    reason: str


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval that was accepted.

    Attributes:
        position: Log position.
        at: When.
        principal: By whom.
        person: The human being.
        body: What was approved, in which role, under which conditions.
    """

    position: int
    at: datetime
    principal: str
    person: str
    body: ApprovalBody

    @property
    def identity(self) -> str:
        """The person, however the name is spelt."""
        return identity_of(self.person)

    @property
    def lapses(self) -> datetime:
        """When it counts no more."""
        return lapse(self.body.expires)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A waiver that was accepted."""

    position: int
    at: datetime
    principal: str
    person: str
    body: WaiverBody


@dataclass(frozen=True, slots=True)
class FindingState:
    """A finding of the log.

    Attributes:
        id: ``F-POSITION``.
        opened: When.
        by: Principal who opened it.
        person: The human being.
        body: What it says.
        closed: Position of the entry that closed it, or None.
    """

    id: str
    position: int
    opened: datetime
    by: str
    person: str
    body: FindingOpened
    closed: int | None = None

    @property
    def blocking(self) -> bool:
        """Whether it stops approvals and publications while it is open."""
        return self.closed is None and self.body.severity in BLOCKING


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication that was accepted.

    Attributes:
        position: Log position.
        at: When.
        principal: By whom.
        bundle_digest: SHA-256 of the bundle.
        tag_object: Id of the tag object ``MODEL@vX.Y.Z``.
        body: What was published.
        roles: Roles whose approval the governance asked for then; a later amendment does not reach back.
    """

    position: int
    at: datetime
    principal: str
    bundle_digest: str
    tag_object: str
    body: PublicationBody
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A release that may be used in an environment.

    Attributes:
        ref: The release.
        bundle_digest: SHA-256 of its bundle.
        position: Log position of the authorisation.
        tag_object: Id of the authorisation's tag object.
        sequence: Number of that tag.
        environment: ``prod``, or another name.
        at: When it was given.
        lapses: When the approvals and waivers behind it end: it is not served from then on.
    """

    ref: ReleaseRef
    bundle_digest: str
    position: int
    tag_object: str
    sequence: int
    environment: str
    at: datetime
    lapses: datetime


@dataclass(frozen=True, slots=True)
class ReleaseState:
    """One version of one model.

    Attributes:
        ref: The release.
        status: ``dev`` (rejected or withdrawn), ``candidate``, ``approved``, ``published``, ``prod``, ``archived``.
        candidate: Log position of the proposal that counts; earlier ones are superseded.
        proposal: What is proposed.
        proposer: Principal who proposed.
        proposer_person: The human being.
        proposed_at: When.
        approvals: Approvals of this candidate, oldest first.
        waivers: Waivers for this candidate.
        closing: Why it was rejected, withdrawn or retired; None otherwise.
        publication: The publication, or None.
        equivalences: Rebuilds in other environments that gave the same digests.
        taken_out: Environments that somebody has taken it out of, and that nobody has given it again.
    """

    ref: ReleaseRef
    status: Status
    candidate: int
    proposal: ProposalBody
    proposer: str
    proposer_person: str
    proposed_at: datetime
    approvals: tuple[Approval, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    closing: str | None = None
    publication: Publication | None = None
    equivalences: tuple[tuple[int, EquivalenceBody], ...] = ()
    taken_out: frozenset[str] = frozenset()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Conditions of the approvals."""
        return tuple(condition for approval in self.approvals for condition in approval.body.conditions)

    @property
    def expires(self) -> str | None:
        """The earliest expiry among approvals and conditions, as it was written."""
        stated = [a.body.expires for a in self.approvals] + [c.expires for c in self.conditions]
        dated = [text for text in stated if text is not None]
        return min(dated, key=lapse, default=None)

    def quorum_lapse(self, roles: Sequence[Role], now: datetime) -> datetime | None:
        """When the quorum of these roles ends, or None if it does not stand at ``now``.

        One person counts for one role: an approval names the role in which it was given.
        """
        ends: list[datetime] = []
        persons: set[str] = set()
        for role in roles:
            standing = [
                a for a in self.approvals if a.body.role == role and now < a.lapses and a.identity not in persons
            ]
            if not standing:
                return None
            best = max(standing, key=lambda approval: approval.lapses)
            persons.add(best.identity)
            ends.append(best.lapses)
        return min(ends) if ends else None

    def missing_roles(self, roles: Sequence[Role], now: datetime) -> tuple[Role, ...]:
        """Roles of the quorum without a standing approval."""
        have = {a.body.role for a in self.approvals if now < a.lapses}
        return tuple(role for role in roles if role not in have)

    def cover_of(self, gate: Gate, now: datetime, extra: Sequence[Condition] = ()) -> datetime | None:
        """When the last cover of a gating test ends, or None if nothing covers it at ``now``.

        Covers are a waiver by risk, a condition of an approval, and a control that the pack declares. A test that no
        control can condition (``hard``) is covered by a waiver alone.
        """
        ends = [lapse(w.body.expires) for w in self.waivers if w.body.test == gate.test]
        if not gate.hard:
            ends += [lapse(c.expires) for c in (*self.conditions, *extra) if gate.test in c.tests]
            ends += [lapse(c.expires) for c in self.proposal.controls if gate.test in c.tests]
        return max((end for end in ends if now < end), default=None)

    def hang_on(self, tests: Sequence[str], ends: datetime, now: datetime, *, hard: bool = False) -> tuple[str, ...]:
        """Of the tests that a cover names, the gating ones that nothing covers for longer than it.

        Args:
            tests: Tests that the cover names.
            ends: When it ends, or ended.
            now: The instant.
            hard: Whether it covers tests that no control can condition.
        """
        named = [gate for gate in self.proposal.gates if gate.test in tests and (hard or not gate.hard)]
        covers = [(gate.test, self.cover_of(gate, now)) for gate in named]
        return tuple(test for test, until in covers if until is None or until <= ends)

    def uncovered(self, now: datetime, extra: Sequence[Condition] = ()) -> tuple[Gate, ...]:
        """Gating tests that Failed or were Not evaluated and that nothing covers."""
        return tuple(gate for gate in self.proposal.gates if self.cover_of(gate, now, extra) is None)

    def covers_finding(self, finding: FindingState, now: datetime, extra: Sequence[Condition] = ()) -> bool:
        """Whether a waiver covers a blocking finding, or a condition where it is not critical."""
        if any(w.body.finding == finding.id and now < lapse(w.body.expires) for w in self.waivers):
            return True
        conditions = (*self.conditions, *extra)
        named = any(finding.id in c.findings and now < lapse(c.expires) for c in conditions)
        return named and finding.body.severity != "critical"


@dataclass(frozen=True, slots=True)
class PendingAmendment:
    """An amendment on its way to a quorum.

    ``consents`` are log positions by key of those who signed it, with the identity of the person.
    """

    position: int
    at: datetime
    principal: str
    body: GovernanceBody
    digest: str
    consents: tuple[tuple[str, str, int], ...]

    @property
    def persons(self) -> frozenset[str]:
        """Identities of those who signed it."""
        return frozenset(identity for identity, _, _ in self.consents)


def blocking_findings(
    findings: Mapping[str, FindingState], state: ReleaseState, now: datetime, extra: Sequence[Condition] = ()
) -> tuple[FindingState, ...]:
    """Open critical and high findings of a release, or of its model as a whole, that nothing covers at ``now``."""
    return tuple(
        finding
        for finding in findings.values()
        if finding.blocking
        and finding.body.model == state.ref.model
        and finding.body.release in (None, str(state.ref))
        and not state.covers_finding(finding, now, extra)
    )

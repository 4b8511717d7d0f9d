"""What each type of event says: the body of its payload, closed and typed."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from countermark.errors import RegistryError

Role: TypeAlias = Literal["developer", "owner", "validator", "risk", "engineer", "auditor"]
Severity: TypeAlias = Literal["critical", "high", "medium", "low", "observation"]
BLOCKING: frozenset[str] = frozenset({"critical", "high"})
"""Severities of open findings that stop an approval or a publication."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Closed, frozen body of an event."""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        return made


BodyType = TypeVar("BodyType", bound=Body)


class Key(Body, frozen=True, kw_only=True):
    """A public key of a principal, and the instant or date after which it counts for nothing."""

    public: str
    expires: str | None = None


class Principal(Body, frozen=True, kw_only=True):
    """A name that keys speak for. Several principals may be one person; four eyes are counted by person."""

    principal: str
    person: str
    roles: tuple[Role, ...]
    keys: tuple[Key, ...]


class GovernanceBody(Body, frozen=True, kw_only=True):
    """Who may do what: body of ``governance`` (genesis) and ``amendment``.

    Attributes:
        version: 1 at genesis; an amendment carries the next number.
        quorum: Roles that must approve a release, by tier ("1" is the highest).
        amendment_quorum: Persons of the second or third line that an amendment needs.
        conflicts: Pairs of a person with another person or a model that the first must not approve.
        longest_approval_days: For how long approvals, conditions and waivers may count at most; None sets no limit.
    """

    version: int
    principals: tuple[Principal, ...]
    quorum: dict[str, tuple[Role, ...]]
    amendment_quorum: int
    conflicts: tuple[tuple[str, str], ...] = ()
    longest_approval_days: int | None = None

    def document(self) -> dict[str, Any]:
        """As JSON values; without a limit it is written as it was before there were limits."""
        made: dict[str, Any] = msgspec.to_builtins(self)
        if self.longest_approval_days is None:
            del made["longest_approval_days"]
        return made


class AmendmentApproval(Body, frozen=True, kw_only=True):
    """Agreement with an amendment: its position and the digest of its body."""

    amendment: int
    digest: str


class KeyRevocation(Body, frozen=True, kw_only=True):
    """A key that is not to be believed from a log position on, which may lie in the past."""

    public: str
    position: int
    reason: str


class Witness(Body, frozen=True, kw_only=True):
    """Nothing but the fact that somebody else saw the log up to here."""

    note: str = ""


class Gate(Body, frozen=True, kw_only=True):
    """A gating test that Failed or was Not evaluated in the candidate's pack."""

    test: str
    light: Literal["fail", "not_evaluated"]
    sections: tuple[str, ...]
    hard: bool = False


class Control(Body, frozen=True, kw_only=True):
    """A compensating control that the model's owners declared for gating tests."""

    tests: tuple[str, ...]
    text: str
    owner: str
    expires: str


class Attachment(Body, frozen=True, kw_only=True):
    """A file that speaks for a proposal, by digest."""

    name: str
    sha256: str


class CandidateFile(Body, frozen=True, kw_only=True):
    """A file of the candidate: where the build put it, and how to know it again.

    Attributes:
        path: Relative to the bank.
        sha256: Digest of its content.
        md5: The name under which DVC keeps it.
        size: Bytes.
    """

    path: str
    sha256: str
    md5: str
    size: int

    @property
    def name(self) -> str:
        """File name without folders."""
        return self.path.rpartition("/")[2]


class ProposalBody(Body, frozen=True, kw_only=True):
    """A candidate: what is proposed, and everything that it is bound by.

    Attributes:
        release: ``MODEL@vX.Y.Z``.
        commit: Commit whose lock files describe the candidate.
        tier: 1 is the highest; picks the quorum.
        change: ``model`` for a new scorer, ``policy`` for a new decision policy on an unchanged scorer,
            ``evidence`` where only the tests change, ``document`` where none of them does.
        change_class: What the bank's policy calls such a change.
        owner: Owner of the model.
        developers: Names of those who built it; none of them may approve.
        digests: Content digests of the pack, by name.
        files: The candidate's files.
        gates: Gating tests that Failed or were Not evaluated.
        controls: Controls that the pack declares for them.
        opinion: What the tool proposes.
        evidence: Further evidence by digest, such as a comparison of champion and challenger.
    """

    release: str
    commit: str
    tier: int
    change: Literal["model", "policy", "evidence", "document"]
    change_class: str
    owner: str
    developers: tuple[str, ...]
    digests: dict[str, str]
    files: tuple[CandidateFile, ...]
    gates: tuple[Gate, ...]
    controls: tuple[Control, ...]
    opinion: str
    evidence: tuple[Attachment, ...] = ()
    note: str = ""


class Condition(Body, frozen=True, kw_only=True):
    """What an approval depends on. It covers the tests and findings that it names, until it expires."""

    text: str
    owner: str
    expires: str
    tests: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


class ApprovalBody(Body, frozen=True, kw_only=True):
    """One person's yes to one candidate, in one role, bound to the candidate's digests."""

    release: str
    candidate: int
    role: Role
    digests: dict[str, str]
    conditions: tuple[Condition, ...] = ()
    expires: str | None = None
    text: str = ""


class RejectionBody(Body, frozen=True, kw_only=True):
    """One person's no to one candidate."""

    release: str
    candidate: int
    role: Role
    reason: str


class WithdrawalBody(Body, frozen=True, kw_only=True):
    """A candidate taken back by those who proposed it."""

    release: str
    candidate: int
    reason: str


class FindingOpened(Body, frozen=True, kw_only=True):
    """Something that somebody has to act on. Its id is ``F-POSITION``."""

    model: str
    release: str | None = None
    severity: Severity
    test: str | None = None
    text: str
    owner: str | None = None
    due: str | None = None


class FindingClosed(Body, frozen=True, kw_only=True):
    """A finding settled, with the words or the digest that settle it."""

    finding: str
    text: str
    evidence: str | None = None


class WaiverBody(Body, frozen=True, kw_only=True):
    """Risk accepts a failed or missing gating test of a candidate, or a finding, until a date."""

    release: str
    candidate: int
    test: str | None = None
    finding: str | None = None
    reason: str
    owner: str
    expires: str


class PublicationBody(Body, frozen=True, kw_only=True):
    """A release as published: the bundle that everything is served from, and the Final document."""

    release: str
    candidate: int
    commit: str
    bundle: str
    files: dict[str, str]


class AuthorisationBody(Body, frozen=True, kw_only=True):
    """A published release may be used in an environment; ``sequence`` is the number of its tag."""

    release: str
    environment: str = "prod"
    sequence: int


class DeauthorisationBody(Body, frozen=True, kw_only=True):
    """A release may no longer be used in an environment."""

    release: str
    environment: str = "prod"
    sequence: int
    reason: str


class RetirementBody(Body, frozen=True, kw_only=True):
    """A release is archived; ``sequence`` is the number of the tag that takes it out of prod, if it was there."""

    release: str
    sequence: int | None = None
    reason: str


class EquivalenceBody(Body, frozen=True, kw_only=True):
    """A rebuild of a published release in another environment gave the same results and evidence digests."""

    release: str
    commit: str
    digests: dict[str, str]
    environment: str
    note: str = ""


class Action(Body, frozen=True, kw_only=True):
    """Something that a review decided, with owner and date."""

    id: str
    owner: str
    due: str
    text: str
    model: str | None = None


class ReviewSigned(Body, frozen=True, kw_only=True):
    """A weekly review as signed: digest of its minutes, its actions, and earlier actions that are done."""

    review: str
    digest: str
    actions: tuple[Action, ...] = ()
    done: tuple[str, ...] = ()
    checkpoint: str | None = None


BODIES: dict[str, type[Body]] = {
    "governance": GovernanceBody,
    "amendment": GovernanceBody,
    "amendment_approval": AmendmentApproval,
    "key_revocation": KeyRevocation,
    "witness": Witness,
    "proposal": ProposalBody,
    "approval": ApprovalBody,
    "rejection": RejectionBody,
    "withdrawal": WithdrawalBody,
    "finding_opened": FindingOpened,
    "finding_closed": FindingClosed,
    "waiver": WaiverBody,
    "publication": PublicationBody,
    "authorisation": AuthorisationBody,
    "deauthorisation": DeauthorisationBody,
    "retirement": RetirementBody,
    "equivalence": EquivalenceBody,
    "review_signed": ReviewSigned,
}


def read_body(document: Any, kind: type[BodyType]) -> BodyType:
    """Read a body strictly.

    Raises:
        RegistryError: If it is not of that type.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as wrong:
        raise RegistryError("the body is not of its type", got=str(wrong)[:200]) from None

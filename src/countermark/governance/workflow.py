"""The life of a candidate: proposed, judged, withdrawn; and findings on the way. Each step signs one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from countermark.errors import RegistryError
from countermark.governance.access import BankRegistry
from countermark.governance.candidate import candidate_pack, proposal_of, read_candidate
from countermark.governance.finding_checks import checked_finding
from countermark.governance.gates import require_covered
from countermark.governance.given import evidence_digest, require_reason
from countermark.governance.store import CandidateStore
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import (
    ApprovalBody,
    Attachment,
    Condition,
    EquivalenceBody,
    FindingClosed,
    FindingOpened,
    ProposalBody,
    RejectionBody,
    WaiverBody,
    WithdrawalBody,
    Witness,
)
from countermark.registry.repository import Appended, Draft
from countermark.registry.rules import approval_tag, barred, candidate_tag
from countermark.registry.signing import Signer
from countermark.registry.standing import APPROVED, BOUND, ReleaseState
from countermark.registry.state import RegistryState
from countermark.registry.tags import TagDraft
from countermark.registry.trust import Author

_WAITING = ("candidate", "approved")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an approver says.

    Attributes:
        role: Role in which it is said; None where the approver has just one that the tier asks for.
        condition: Text of a condition, or None.
        tests: Gating tests that the condition covers.
        findings: Findings that it covers; with neither, it covers the release's open findings and their tests.
        owner: Who answers for the condition; the model's owner by default.
        expires: Until when approval and condition count; otherwise an approval counts for as long as governance allows.
        text: Further words.
    """

    role: str | None = None
    condition: str | None = None
    tests: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    owner: str | None = None
    expires: str | None = None
    text: str = ""


def propose(
    bank: BankRegistry, signer: Signer, model: str, *, evidence: Sequence[Path] = (), note: str = ""
) -> Appended:
    """Sign a built and committed model as a candidate.

    Raises:
        RegistryError: If the build is not committed, not whole, proposed already as it is, or the entry would have no
            effect.
    """
    candidate = read_candidate(bank.root, model, bank.git)
    attached = tuple(Attachment(name=path.name, sha256=evidence_digest(bank.root, path)) for path in evidence)

    def make(state: RegistryState) -> Draft:
        body = proposal_of(candidate, state, evidence=attached, note=note)
        _refuse_again(state, candidate.ref, body)
        name = candidate_tag(candidate.ref, state.position + 1)
        told = _message(f"{candidate.ref} proposed: {body.opinion}", body.digests)
        return Draft("proposal", body.document(), (TagDraft(name, candidate.commit, told),))

    return bank.append(signer, make)


def _refuse_again(state: RegistryState, ref: ReleaseRef, body: ProposalBody) -> None:
    """Refuse a candidate that waits for judgement as it is: a second one would void what was signed for the first."""
    known = state.releases.get(ref)
    if known is None or known.publication is not None or known.status not in _WAITING:
        return
    same = (known.proposal.commit, known.proposal.digests, known.proposal.files) == (
        body.commit, body.digests, body.files,
    )  # fmt: skip
    if same and set(body.evidence) <= set(known.proposal.evidence):
        signed = f"approvals {len(known.approvals)}, waivers {len(known.waivers)}"
        raise RegistryError(
            f"'{ref}' is proposed already: the same commit and digests, at log position {known.candidate}",
            got=f"a second proposal, which would void what was signed for the first: {signed}",
            hint=f"countermark release list {ref.model} shows what it waits for; countermark release withdraw {ref} "
            "--reason ... starts over",
        )


def replaced(state: RegistryState, position: int) -> tuple[str, ...]:
    """What the proposal at a log position left without effect: the candidate before it, approvals and waivers.

    Args:
        state: The state after it.
        position: Log position of the proposal.
    """
    before = state.at(position=position - 1)
    known = before.releases.get(ReleaseRef.parse(str(state.events[position].body["release"])))
    if known is None or known.status not in _WAITING:
        return ()
    lines = [f"replaces the candidate at log position {known.candidate}, and what was signed for it counts no more:"]
    lines += [f"  approval by {a.person} as {a.body.role} (position {a.position})" for a in known.approvals]
    lines += [
        f"  waiver of {w.body.test or w.body.finding} by {w.person} (position {w.position})" for w in known.waivers
    ]
    return tuple(lines if len(lines) > 1 else [f"replaces the candidate at log position {known.candidate}"])


def _message(headline: str, digests: Mapping[str, str]) -> str:
    return f"{headline}\n\n" + "\n".join(f"{name} {digests[name]}" for name in BOUND)


def approve(bank: BankRegistry, signer: Signer, ref: ReleaseRef, verdict: Verdict) -> Appended:
    """Sign an approval of the candidate of a release.

    The pack is read by its digest and recomputed first: nobody signs what the proposal merely says.

    Raises:
        RegistryError: If the person may not approve, a gate or finding is not covered, or the pack is not what the
            proposal says.
    """
    store = CandidateStore(bank.root)

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        author = _author(state, signer)
        role = judging_role(state, release, author, verdict.role)
        candidate_pack(store, release)
        conditions = _conditions(state, release, author, verdict)
        require_covered(state, release, conditions)
        stated = release.proposal.digests
        days = state.governance.body.longest_approval_days
        last = None if days is None else f"{state.now + timedelta(days=days):%Y-%m-%d}"
        body = ApprovalBody(
            release=str(ref),
            candidate=release.candidate,
            role=role,  # type: ignore[arg-type]
            digests={name: stated[name] for name in APPROVED if name in stated},
            conditions=conditions,
            expires=verdict.expires or last,
            text=verdict.text,
        )
        name = approval_tag(ref, role, author.principal, state.position + 1)
        told = _message(f"{ref} approved as {role} by {author.person}", body.digests)
        return Draft("approval", body.document(), (TagDraft(name, release.proposal.commit, told),))

    return bank.append(signer, make)


def _author(state: RegistryState, signer: Signer) -> Author:
    author = state.governance.author(signer.public)
    if author is None:
        raise RegistryError("the key belongs to no principal of the governance state", got=signer.public)
    return author


def judging_role(state: RegistryState, release: ReleaseState, author: Author, wanted: str | None) -> str:
    """The role in which a person judges a candidate.

    Raises:
        RegistryError: If the person may not judge it, or could in several roles and named none.
    """
    if release.status == "dev":
        raise RegistryError(
            f"'{release.ref}' is no candidate any more: {release.closing}",
            hint=f"countermark release propose {release.ref.model}",
        )
    reason = barred(state.governance, release, author.person)
    if reason is not None:
        raise RegistryError(f"{author.principal} may not judge '{release.ref}': {reason}")
    asked = state.roles_for(release.ref)
    own = [role for role in asked if role in author.roles and wanted in (None, role)]
    if not own:
        raise RegistryError(
            f"{author.principal} has no role in which to judge '{release.ref}'",
            expected=f"{' and '.join(asked)} (tier {release.proposal.tier})",
            got=", ".join(sorted(author.roles)),
        )
    given = {approval.body.role for approval in release.approvals}
    open_ = [role for role in own if role not in given] or own
    if len(open_) > 1:
        raise RegistryError("several roles would fit", expected="--role " + " or --role ".join(open_))
    return open_[0]


def _conditions(state: RegistryState, release: ReleaseState, author: Author, verdict: Verdict) -> tuple[Condition, ...]:
    if verdict.condition is None:
        if verdict.tests or verdict.findings:
            raise RegistryError("tests and findings are covered by a condition", expected="--condition TEXT")
        return ()
    if verdict.expires is None:
        raise RegistryError("a condition needs an end", expected="--expires YYYY-MM-DD")
    tests, findings = verdict.tests, verdict.findings
    if not tests and not findings:
        # A condition without a name settles what this person has found open on the release.
        own = [f for f in state.blocking(release.ref) if f.body.severity != "critical" and f.person == author.person]
        findings = tuple(finding.id for finding in own)
        tests = tuple(dict.fromkeys(finding.body.test for finding in own if finding.body.test is not None))
    known = {gate.test for gate in release.proposal.gates}
    strange = [test for test in verdict.tests if test not in known]
    if strange:
        raise RegistryError(
            f"'{strange[0]}' is no gating test that Failed or was Not evaluated",
            expected="one of: " + (", ".join(sorted(known)) or "none: every gating test passed"),
        )
    owner = verdict.owner or release.proposal.owner
    return (Condition(text=verdict.condition, owner=owner, expires=verdict.expires, tests=tests, findings=findings),)


def reject(bank: BankRegistry, signer: Signer, ref: ReleaseRef, reason: str, role: str | None = None) -> Appended:
    """Sign a rejection of the candidate of a release.

    Raises:
        RegistryError: If the person may not judge it, or no reason is given.
    """
    require_reason(reason)

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        own = judging_role(state, release, _author(state, signer), role)
        body = RejectionBody(release=str(ref), candidate=release.candidate, role=own, reason=reason)  # type: ignore[arg-type]
        return Draft("rejection", body.document())

    return bank.append(signer, make)


def withdraw(bank: BankRegistry, signer: Signer, ref: ReleaseRef, reason: str) -> Appended:
    """Take a candidate back.

    Raises:
        RegistryError: If the person did not propose it and does not own it, or no reason is given.
    """
    require_reason(reason)

    def make(state: RegistryState) -> Draft:
        body = WithdrawalBody(release=str(ref), candidate=state.release(ref).candidate, reason=reason)
        return Draft("withdrawal", body.document())

    return bank.append(signer, make)


def witness(bank: BankRegistry, signer: Signer, note: str = "") -> Appended:
    """Sign nothing but that the log was seen up to here: what makes older entries of lapsing keys stay good."""
    return bank.append(signer, lambda _: Draft("witness", Witness(note=note).document()))


def carry_over(bank: BankRegistry, signer: Signer, ref: ReleaseRef, note: str = "") -> Appended:
    """Sign that a rebuild in another environment gave the digests that were approved, so that approvals stand for it.

    Raises:
        RegistryError: If the build that is checked out is of another version, or a digest differs; each is named.
    """
    candidate = read_candidate(bank.root, ref.model, bank.git)

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        if candidate.ref != ref:
            raise RegistryError("the build is of another version", expected=str(ref), got=str(candidate.ref))
        rebuilt = proposal_of(candidate, state)
        differing = [name for name in BOUND if rebuilt.digests[name] != release.proposal.digests[name]]
        if differing:
            lines = [
                f"{name}: approved {release.proposal.digests[name][:12]}, rebuilt {rebuilt.digests[name][:12]}"
                for name in differing
            ]
            raise RegistryError(
                f"the rebuild of '{ref}' differs in {' and '.join(differing)}, so approvals do not carry over",
                got="\n    " + "\n    ".join(lines),
                hint=f"propose it as a version of its own: countermark release propose {ref.model}",
            )
        body = EquivalenceBody(
            release=str(ref),
            commit=candidate.commit,
            digests={name: rebuilt.digests[name] for name in BOUND},
            environment=rebuilt.digests["environment"],
            note=note,
        )
        return Draft("equivalence", body.document())

    return bank.append(signer, make)


def open_finding(bank: BankRegistry, signer: Signer, finding: FindingOpened) -> Appended:
    """Put a finding on the log; without an owner, the owner of the model answers for it.

    Raises:
        RegistryError: If its model, release or test is unknown, its owner is no principal and no role, its date lies in
            the past, or it says nothing.
    """

    def make(state: RegistryState) -> Draft:
        return Draft("finding_opened", checked_finding(bank.root, state, finding).document())

    return bank.append(signer, make)


def close_finding(bank: BankRegistry, signer: Signer, id_: str, text: str, evidence: Path | None = None) -> Appended:
    """Settle a finding.

    Raises:
        RegistryError: If it is unknown or closed, nothing is said, or the person may not close it.
    """
    if not text.strip():
        raise RegistryError(f"nothing is said of what settles finding '{id_}'", expected="--text TEXT")
    digest = None if evidence is None else evidence_digest(bank.root, evidence)
    body = FindingClosed(finding=id_, text=text, evidence=digest)
    return bank.append(signer, lambda _: Draft("finding_closed", body.document()))


def waive(
    bank: BankRegistry, signer: Signer, ref: ReleaseRef, *, subject: tuple[str | None, str | None], reason: str,
    owner: str | None, expires: str,
) -> Appended:  # fmt: skip
    """Accept, in role risk, a failed or missing gating test or a finding of a candidate until a date.

    Args:
        bank: The bank.
        signer: Who signs.
        ref: The release.
        subject: Test id or None, finding id or None: one of the two.
        reason: Why it is accepted.
        owner: Who answers for it; the model's owner by default.
        expires: Until when.

    Raises:
        RegistryError: If the person may not waive it, there is nothing to waive, or no reason is given.
    """
    require_reason(reason)

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        body = WaiverBody(
            release=str(ref),
            candidate=release.candidate,
            test=subject[0],
            finding=subject[1],
            reason=reason,
            owner=owner or release.proposal.owner,
            expires=expires,
        )
        return Draft("waiver", body.document())

    return bank.append(signer, make)

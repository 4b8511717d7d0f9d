"""From approvals to production: the Final, the bundle, the baseline, and the authorisations."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from countermark.errors import RegistryError
from countermark.governance.access import BankRegistry
from countermark.governance.candidate import PROFILE, SCORER, candidate_file, candidate_pack
from countermark.governance.gates import require_covered
from countermark.governance.given import require_reason
from countermark.governance.store import CandidateStore
from countermark.portfolio.dag import REPORT
from countermark.records.clock import iso
from countermark.records.digest import canonical_json, pretty_json, sha256_hex
from countermark.records.evidence import Pack
from countermark.records.release import ReleaseRef
from countermark.records.signoff import Cover, LoggedFinding, Signature, SignOff
from countermark.registry.bodies import AuthorisationBody, DeauthorisationBody, PublicationBody, RetirementBody
from countermark.registry.bundle import Bundle, build_bundle
from countermark.registry.directory import ServingDirectory, require_approved_content
from countermark.registry.events import log_lines
from countermark.registry.repository import Appended, Draft
from countermark.registry.rules import assignment_tag
from countermark.registry.signing import Signer
from countermark.registry.standing import Approval, FindingState, ReleaseState
from countermark.registry.state import RegistryState
from countermark.registry.tags import TagDraft
from countermark.report.render import render_final

BASELINES = "governance/baselines"
BASELINE_FORMAT = "countermark/baseline/1"
DRAFT_NAME, FINAL_NAME = "validation_pack.pdf", "validation_pack.pdf"


@dataclass(frozen=True, slots=True)
class Built:
    """A bundle that is ready to be published, and what it was made of.

    Attributes:
        bundle: Bytes of the bundle.
        final: Bytes of the Final document.
        pack: The pack.
        profile: The reference profile.
        upto: Log position of the last approval in it.
    """

    bundle: bytes
    final: bytes
    pack: Pack
    profile: bytes
    upto: int

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle."""
        return sha256_hex(self.bundle)


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication left behind."""

    appended: Appended
    built: Built
    final: Path
    baseline: Path


def fingerprint(public: str) -> str:
    """Fingerprint of a public key, as ``ssh-keygen -l`` prints it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def signoff_of(state: RegistryState, ref: ReleaseRef) -> SignOff:
    """The sign-off of a release from the log up to its last approval: the same for everybody who holds that log.

    Args:
        state: The state at the position of the last approval.
        ref: The release.
    """
    release = state.release(ref)
    digests = release.proposal.digests
    return SignOff(
        release=str(ref),
        opinion="Fit with conditions" if _covers(release) else "Fit for use",
        tier=release.proposal.tier,
        proposer=release.proposer_person,
        signatures=tuple(_signature(state, approval) for approval in release.approvals),
        covers=_covers(release),
        findings=tuple(
            _logged(state, release, finding)
            for finding in state.findings.values()
            if finding.body.model == ref.model and finding.body.release in (None, str(ref))
        ),
        results=digests["results"],
        evidence=digests["evidence"],
        decision=digests["decision"],
        candidate=release.candidate,
        position=state.position,
        head=state.head,
        trust_root=state.trust_root,
    )


def _signature(state: RegistryState, approval: Approval) -> Signature:
    return Signature(
        role=approval.body.role,
        person=approval.person,
        principal=approval.principal,
        at=iso(approval.at),
        position=approval.position,
        key=fingerprint(state.events[approval.position].key),
        expires=approval.body.expires,
        text=approval.body.text,
    )


def _covers(release: ReleaseState) -> tuple[Cover, ...]:
    found = [
        Cover(
            kind="waiver", subjects=(str(w.body.test or w.body.finding),), text=w.body.reason, owner=w.body.owner,
            expires=w.body.expires, by=w.person,
        )
        for w in release.waivers
    ]  # fmt: skip
    found += [
        Cover(
            kind="condition", subjects=(*c.tests, *c.findings), text=c.text, owner=c.owner, expires=c.expires,
            by=a.person,
        )
        for a in release.approvals
        for c in a.body.conditions
    ]  # fmt: skip
    found += [
        Cover(kind="control", subjects=c.tests, text=c.text, owner=c.owner, expires=c.expires)
        for c in release.proposal.controls
    ]
    return tuple(found)


def _logged(state: RegistryState, release: ReleaseState, finding: FindingState) -> LoggedFinding:
    status = "closed" if finding.closed is not None else "open"
    if finding.closed is None and finding.blocking:
        status = "open, covered" if release.covers_finding(finding, state.now) else "open"
    return LoggedFinding(
        id=finding.id, severity=finding.body.severity, text=finding.body.text, by=finding.person, status=status
    )


def build(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> Built:
    """Make the Final and the bundle of an approved or published release: the same bytes every time.

    Raises:
        RegistryError: If a file of the candidate is not to be found whole, or the proposal is false.
        ReportError: If the Final cannot be rendered.
    """
    release = state.release(ref)
    before = state.position + 1 if release.publication is None else release.publication.position
    upto = max(approval.position for approval in release.approvals if approval.position < before)
    then = state.at(position=upto)
    store = CandidateStore(bank.root)
    pack = candidate_pack(store, release)
    pack_bytes = candidate_file(store, release, "pack.json")
    profile = candidate_file(store, release, PROFILE)
    log = log_lines(then.entries)
    with tempfile.TemporaryDirectory(prefix="countermark-final-") as scratch:
        out = Path(scratch) / FINAL_NAME
        render_final(pack_bytes, signoff_of(then, ref), log, out, _paper(bank, release))
        final = out.read_bytes()
    members = {
        "scorer.json": candidate_file(store, release, SCORER),
        "decision.json": canonical_json(pack.spec["decision"]),
        "spec.json": canonical_json(pack.spec),
        "pack.json": pack_bytes,
        "validation_pack.pdf": final,
        "log.jsonl": log,
        PROFILE: profile,
    }
    digests = release.proposal.digests
    bundle = build_bundle(
        ref, members, results=digests["results"], evidence=digests["evidence"], environment=digests["environment"]
    )
    # Whoever serves it holds the bundle to the proposal; what would be refused there is not made here.
    if release.publication is None:
        require_approved_content(state, ref, Bundle.open(bundle))
    return Built(bundle, final, pack, profile, upto)


def _paper(bank: BankRegistry, release: ReleaseState) -> str:
    """The paper size as committed with the candidate: the draft was rendered with it."""
    prefix = bank.git.line("rev-parse", "--show-prefix")
    done = bank.git.try_("show", f"{release.proposal.commit}:{prefix}models/{release.ref.model}/params.yaml")
    try:
        return str(yaml.safe_load(done.out)["bank"]["paper"])
    except (yaml.YAMLError, KeyError, TypeError):
        return "a4"


def require_approved(state: RegistryState, release: ReleaseState) -> None:
    """Refuse what has no quorum, and say whose approval is missing.

    Raises:
        RegistryError: Naming the roles and who holds them.
    """
    if release.status == "dev":
        raise RegistryError(f"'{release.ref}' is no candidate any more: {release.closing}")
    roles = state.roles_for(release.ref)
    missing = release.missing_roles(roles, state.now)
    if missing or release.quorum_lapse(roles, state.now) is None:
        who = "; ".join(f"{role}: {', '.join(state.governance.holders(role)) or 'nobody yet'}" for role in missing)
        raise RegistryError(
            f"'{release.ref}' has no quorum",
            expected=f"tier {release.proposal.tier}: one approval each of {' and '.join(roles)}, by different persons",
            got=f"missing {', '.join(missing) or 'a second person'}",
            hint=f"they approve with 'countermark release approve {release.ref}' ({who})" if who else None,
        )
    require_covered(state, release)


def publish(bank: BankRegistry, signer: Signer, ref: ReleaseRef) -> Published:
    """Publish an approved release: Final, bundle, baseline, log entry and tag; then export the serving directory.

    Raises:
        RegistryError: If the release has no quorum, a gate or finding is not covered, or a file is not what was
            approved.
    """
    built: Built | None = None

    def make(state: RegistryState) -> Draft:
        nonlocal built
        release = state.release(ref)
        if release.publication is not None:
            raise RegistryError(f"'{ref}' is published already", hint=f"countermark release assign {ref}")
        require_approved(state, release)
        last = max(approval.position for approval in release.approvals)
        if built is None or built.upto != last:
            built = build(bank, state, ref)
        body = PublicationBody(
            release=str(ref),
            candidate=release.candidate,
            commit=release.proposal.commit,
            bundle=built.digest,
            files={FINAL_NAME: sha256_hex(built.final)},
        )
        told = f"{ref} published\n\nbundle {built.digest}\n" + "\n".join(
            f"{name} {value}" for name, value in sorted(release.proposal.digests.items())
        )
        return Draft("publication", body.document(), (TagDraft(str(ref), release.proposal.commit, told),))

    appended = bank.log.append(signer, make, bank.now)
    if built is None:
        raise RegistryError("nothing was published")
    directory = bank.directory
    directory.write_bundle(built.bundle)
    directory.write_log(appended.state.entries)
    final = _write(bank.root / REPORT.format(model=ref.model) / f"{ref.model}_v{ref.version}_final.pdf", built.final)
    baseline = bank.root / BASELINES / ref.model / f"{ref.version}.json"
    _write(baseline, pretty_json(baseline_of(built, appended.state, ref)))
    return Published(appended, built, final, baseline)


def _write(path: Path, data: bytes) -> Path:
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise RegistryError(f"'{path.name}' cannot be written", got=error.strerror, file=path) from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def baseline_of(built: Built, state: RegistryState, ref: ReleaseRef) -> dict[str, Any]:
    """What later packs compare with: key numbers, every statistic by test, sample and segment, digests, profile."""
    pack = built.pack
    publication = state.release(ref).publication
    return {
        "format": BASELINE_FORMAT,
        "release": str(ref),
        "version": ref.version,
        "as_of": pack.as_of,
        "bundle": built.digest,
        "position": None if publication is None else publication.position,
        "digests": dict(sorted(pack.digests.items())),
        "key_numbers": [number.model_dump(mode="json") for number in pack.summary.key_numbers],
        "rows": {
            f"{row.test_id}|{row.sample}|{row.segment}": row.statistic
            for row in pack.register_rows
            if row.statistic is not None
        },
        "profile": sha256_hex(built.profile),
    }


def assign(bank: BankRegistry, signer: Signer, ref: ReleaseRef, environment: str = "prod") -> Appended:
    """Authorise a published release for an environment.

    Raises:
        RegistryError: If it is not published, or its approvals or covers do not stand any more.
    """

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        if release.publication is None:
            raise RegistryError(f"'{ref}' is not published", hint=f"countermark release publish {ref}")
        require_approved(state, release)
        number = state.next_sequence(ref.model)
        body = AuthorisationBody(release=str(ref), environment=environment, sequence=number)
        tag = TagDraft(
            assignment_tag(ref, environment, number), release.proposal.commit, f"{ref} authorised for {environment}"
        )
        return Draft("authorisation", body.document(), (tag,))

    return _exported(bank, bank.log.append(signer, make, bank.now))


def retire(
    bank: BankRegistry, signer: Signer, ref: ReleaseRef, reason: str, *, archive: bool = True, environment: str = "prod"
) -> Appended:
    """Take a release out of production, and archive it.

    Args:
        bank: The bank.
        signer: Who signs.
        ref: The release.
        reason: Why.
        archive: False only withdraws the authorisation, so that it can be given again.
        environment: Where the authorisation is withdrawn; archiving withdraws it everywhere.

    Raises:
        RegistryError: If it is not published, or was not authorised, or no reason is given.
    """
    require_reason(reason)

    def make(state: RegistryState) -> Draft:
        release = state.release(ref)
        number = state.next_sequence(ref.model)
        tag = TagDraft(
            assignment_tag(ref, environment, number, leave=True), release.proposal.commit, f"{ref} left {environment}"
        )
        if not archive:
            left = DeauthorisationBody(release=str(ref), environment=environment, sequence=number, reason=reason)
            return Draft("deauthorisation", left.document(), (tag,))
        in_prod = release.status == "prod"
        body = RetirementBody(release=str(ref), sequence=number if in_prod else None, reason=reason)
        return Draft("retirement", body.document(), (tag,) if in_prod else ())

    return _exported(bank, bank.log.append(signer, make, bank.now))


def _exported(bank: BankRegistry, appended: Appended) -> Appended:
    bank.directory.write_log(appended.state.entries)
    return appended


def export(bank: BankRegistry, to: Path | None = None) -> tuple[ServingDirectory, tuple[ReleaseRef, ...]]:
    """Write the log and the bundle of every published release into a serving directory.

    A bundle that is not on this machine is made again from the candidate's files, and has to come out the same.

    Raises:
        RegistryError: If a bundle can neither be found nor be made again.
    """
    state, home = bank.state(), bank.directory
    target = home if to is None else ServingDirectory(to, bank.trust_root)
    written: list[ReleaseRef] = []
    for ref, release in state.releases.items():
        if release.publication is not None:
            target.write_bundle(bundle_bytes(bank, state, ref))
            written.append(ref)
    target.write_log(state.entries)
    return target, tuple(written)


def bundle_bytes(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> bytes:
    """The bundle of a published release: from the bank's serving directory, or made again.

    Raises:
        RegistryError: If it is not published, or does not come out as it was published.
    """
    publication = state.release(ref).publication
    if publication is None:
        raise RegistryError(f"'{ref}' is not published", hint=f"countermark release publish {ref}")
    try:
        return bank.directory.read_bundle(publication.bundle_digest)
    except RegistryError:
        built = build(bank, state, ref)
    if built.digest != publication.bundle_digest:
        raise RegistryError(
            f"the bundle of '{ref}' is not here, and does not come out the same on this machine",
            expected=publication.bundle_digest,
            got=built.digest,
            hint="take it from a serving directory that has it; another version of the text engine may break lines "
            "elsewhere",
        )
    return built.bundle

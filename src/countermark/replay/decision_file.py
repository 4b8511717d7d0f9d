"""From a replayed decision to its file: who, what, why, by which release, and the proof."""

from __future__ import annotations

from collections.abc import Iterable

from countermark.errors import ReplayError
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord
from countermark.records.decision_file import (
    DecisionFile,
    FileApproval,
    FileDifference,
    FileInput,
    FileProof,
    FileRelease,
    Later,
    RequestField,
    SecondOpinion,
)
from countermark.records.release import ReleaseRef
from countermark.registry.standing import Approval
from countermark.registry.state import RegistryState
from countermark.replay.replay import Replayed
from countermark.scoring.release import OpenRelease

CLASSIFICATION = "Confidential: personal data"


def decision_file(
    replayed: Replayed,
    state: RegistryState,
    *,
    made_at: str,
    notes: Iterable[str] = (),
    second_opinion: SecondOpinion | None = None,
) -> DecisionFile:
    """Put the file of a decision together.

    Args:
        replayed: The replay, with what became of the decision.
        state: The fold of the signed log.
        made_at: ISO instant.
        notes: What a reader must know besides.
        second_opinion: An approximate explanation.

    Raises:
        ReplayError: If the record or the release could not be read: then there is nothing to tell but the differences.
    """
    record, release = _readable(replayed)
    spec, policy = release.spec, release.decider.policy
    return DecisionFile(
        id=record.id,
        at=record.at,
        made_at=made_at,
        channel=record.channel if record.caller is None else f"{record.channel} with key '{record.caller}'",
        model=record.model,
        title=spec.title,
        classification=CLASSIFICATION,
        entity=record.entity,
        decision=record.decision,
        favourable=None if policy is None else record.decision == policy.favourable,
        p=float.fromhex(record.p),
        margin=float.fromhex(record.margin),
        p_bits=record.p,
        margin_bits=record.margin,
        grade=record.grade,
        cutoff=None if policy is None else policy.cutoff,
        reasons=record.reasons,
        request=tuple(RequestField(name=name, value=value) for name, value in sorted(record.request.items())),
        inputs=_inputs(record, release),
        views=record.views,
        route=_route(record),
        release=_release(replayed, record, state),
        proof=_proof(replayed, record, state),
        identical=replayed.identical,
        differences=tuple(
            FileDifference(what=d.what, recorded=d.recorded, found=d.found) for d in replayed.differences
        ),
        notes=tuple(notes),
        later=_later(replayed),
        second_opinion=second_opinion,
        scale=spec.grades.scale.kind,
    )


def _readable(replayed: Replayed) -> tuple[DecisionRecord, OpenRelease]:
    record, entry, release = replayed.record, replayed.entry, replayed.release
    if record is None or entry is None or release is None:
        missing = "its entry on the ledger" if record is None else "the bundle of its release"
        raise ReplayError(
            f"decision '{replayed.id}' has no file",
            expected=f"{missing}, unchanged",
            got="; ".join(f"{d.what}: {d.found}" for d in replayed.differences)[:400],
        )
    return record, release


def contributions(record: DecisionRecord, release: OpenRelease) -> dict[str, float]:
    """What each input adds to the margin beyond the mean over favourable development rows, by name."""
    scorer = release.decider.scorer
    phi = scorer.score_row(record.features, contributions=True).phi
    assert phi is not None
    reference = release.profile.reason_reference
    return {
        name: worth - float.fromhex(reference[name])
        for name, worth in zip(scorer.input_names, phi.tolist(), strict=True)
    }


def _inputs(record: DecisionRecord, release: OpenRelease) -> tuple[FileInput, ...]:
    worth = contributions(record, release)
    views = {view.view: view for view in record.views}
    made = []
    for name, value in record.features.items():
        feature = release.spec.features.get(name)
        source = (feature.source if feature is not None and feature.source else name).partition(".")
        view = views.get(source[0]) if source[1] else None
        made.append(
            FileInput(
                name=name,
                meaning=name if feature is None else feature.meaning,
                value=value,
                unit=None if feature is None else feature.unit,
                origin="request" if view is None else f"{view.view}{', no history' if view.unknown else ''}",
                as_of=record.at if view is None else view.as_of,
                expired=view is not None and (source[2] in view.expired or name in view.expired),
                contribution=worth.get(name, 0.0),
            )
        )
    return tuple(sorted(made, key=lambda item: (-abs(item.contribution), item.name)))


def _route(record: DecisionRecord) -> str:
    route = record.route
    if route.arm == "pinned":
        return f"named by whoever scored the file, whatever the routing said (routing table {route.table})"
    if route.rollout is None:
        return f"{route.arm}; no rollout was in force (routing table {route.table})"
    return (
        f"{route.arm} of rollout {route.rollout}, stage {route.stage}: candidate answered {route.share:.4g} of all, "
        f"this case has place {route.bucket} of 4294967296 (routing table {route.table})"
    )


def _release(replayed: Replayed, record: DecisionRecord, state: RegistryState) -> FileRelease:
    ref = ReleaseRef(record.model, record.release.version)
    known, given = state.releases.get(ref), replayed.authorisation
    published = None if known is None else known.publication
    return FileRelease(
        ref=str(ref),
        proposed_by="not on the log" if known is None else known.proposer_person,
        proposed_at="" if known is None else iso(known.proposed_at),
        approvals=tuple(
            FileApproval(
                role=a.body.role,
                person=a.person,
                at=iso(a.at),
                position=a.position,
                expires=a.body.expires,
                conditions=tuple(f"{c.text} (owner {c.owner}, until {c.expires})" for c in a.body.conditions),
                revoked=state.revoked.get(state.events[a.position].key),
            )
            for a in _approvals(ref, record.release.position, state)
        ),
        published_by=None if published is None else state.governance.person_of(published.principal),
        published_at=None if published is None else iso(published.at),
        authorised_at=None if given is None else iso(given.at),
        environment="prod" if given is None else given.environment,
        position=record.release.position,
        tag_object=record.release.tag_object,
        opinion="" if known is None else known.proposal.opinion,
    )


def _approvals(ref: ReleaseRef, position: int, state: RegistryState) -> tuple[Approval, ...]:
    """Approvals that the release was authorised on, whatever a revocation has voided since, and later ones."""
    known = state.releases.get(ref)
    now = () if known is None else known.approvals
    then = state.at(position=position).releases.get(ref) if 0 <= position <= state.position else None
    before = () if then is None else then.approvals
    return (*before, *(a for a in now if not before or a.position > position))


def _proof(replayed: Replayed, record: DecisionRecord, state: RegistryState) -> FileProof:
    entry, place = replayed.entry, replayed.place
    assert entry is not None
    assert place is not None
    covering = place.checkpoint
    return FileProof(
        chain=entry.chain,
        seq=entry.seq,
        hash=entry.hash,
        checkpoint=None if covering is None else covering.digest,
        checkpoint_at=None if covering is None else covering.at,
        checkpoint_signed=place.by is not None,
        included=place.included,
        bundle=record.release.bundle,
        scorer=record.digests.scorer,
        policy=record.digests.decision_policy,
        environment=record.digests.environment,
        log_position=state.position,
        log_head=state.head,
        trust_root=state.trust_root,
        linked=place.linked,
        witness=place.told,
    )


def _later(replayed: Replayed) -> tuple[Later, ...]:
    found = [
        Later(kind="override", at=o.at, by=o.by, text=f"decided otherwise: {o.outcome}. {o.reason}")
        for o in replayed.overrides
    ]
    found += [
        Later(
            kind="outcome",
            at=o.known_at,
            by=o.source,
            text=f"outcome {o.value:g}, observed {o.observed_at[:10]}" + ("" if o.final else ", not final"),
        )
        for o in replayed.outcomes
    ]
    found += [
        Later(kind="disposition", at=d.at, by=d.by, text=d.disposition + (f": {d.note}" if d.note else ""))
        for d in replayed.dispositions
    ]
    return tuple(sorted(found, key=lambda item: item.at))

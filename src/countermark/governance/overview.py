"""What people look at: releases as rows, the governance state as a document."""

from __future__ import annotations

from typing import Any

from countermark.governance.publication import fingerprint
from countermark.records.clock import iso
from countermark.registry.standing import ReleaseState
from countermark.registry.state import RegistryState


def release_rows(state: RegistryState, model: str | None = None) -> list[dict[str, Any]]:
    """One row per release, ordered by model and version.

    Args:
        state: The registry's state.
        model: Only releases of this model.
    """
    return [_row(state, release) for ref, release in state.releases.items() if model is None or ref.model == model]


def _row(state: RegistryState, release: ReleaseState) -> dict[str, Any]:
    ref = release.ref
    until = state.standing_until(ref)
    sequences = [body.sequence for body, _ in state.granted if body.release == str(ref)]
    lapsed = release.publication is not None and release.status != "archived" and until is None
    return {
        "release": str(ref),
        "status": release.status,
        "opinion": release.proposal.opinion,
        "change_class": release.proposal.change_class,
        "tier": release.proposal.tier,
        "candidate": release.candidate,
        "commit": release.proposal.commit,
        "bundle": None if release.publication is None else release.publication.bundle_digest,
        "authorisations": sequences,
        "lapsed": lapsed,
        "until": None if until is None or until.year == 9999 else iso(until)[:10],
        "notes": _notes(state, release, lapsed),
    }


def _notes(state: RegistryState, release: ReleaseState, lapsed: bool) -> list[str]:
    notes = [f"approved by {a.person} as {a.body.role}" for a in release.approvals]
    notes += [f"condition: {c.text} (owner {c.owner}, until {c.expires})" for c in release.conditions]
    notes += [
        f"waiver of {w.body.test or w.body.finding} by {w.person}, until {w.body.expires}" for w in release.waivers
    ]
    if lapsed:
        notes.append("LAPSED: an approval, waiver or control behind it has ended; it is not served")
    if release.closing is not None:
        notes.append(release.closing)
    if release.status == "candidate":
        missing = release.missing_roles(state.roles_for(release.ref), state.now)
        notes += [f"waits for {role}: {', '.join(state.governance.holders(role)) or 'nobody yet'}" for role in missing]
        notes += [f"uncovered: {gate.test} ({gate.light})" for gate in release.uncovered(state.now)]
    notes += [f"open {f.body.severity} finding {f.id}: {f.body.text}" for f in state.blocking(release.ref)]
    return notes


def governance_document(state: RegistryState) -> dict[str, Any]:
    """The governance state in force, with fingerprints, what waits for a quorum, and what was refused."""
    body = state.governance.body
    return {
        "trust_root": state.trust_root,
        "position": state.position,
        "head": state.head,
        "version": body.version,
        "since_position": state.governance.position,
        "principals": [
            {
                "principal": p.principal,
                "person": p.person,
                "roles": list(p.roles),
                "keys": [
                    {
                        "fingerprint": fingerprint(key.public),
                        "expires": key.expires,
                        "revoked_from": state.revoked.get(" ".join(key.public.split()[:2])),
                    }
                    for key in p.keys
                ],
            }
            for p in body.principals
        ],
        "quorum": {tier: list(roles) for tier, roles in body.quorum.items()},
        "amendment_quorum": body.amendment_quorum,
        "longest_approval_days": body.longest_approval_days,
        "conflicts": [list(pair) for pair in body.conflicts],
        "amendments": [
            {"position": a.position, "by": a.principal, "version": a.body.version, "signed": sorted(a.persons)}
            for a in state.amendments
        ],
        "refused": [
            {"position": r.position, "type": r.type, "principal": r.principal, "reason": r.reason}
            for r in state.refused
        ],
    }

"""Who signed a release, and under which conditions: what the Final document prints beside the draft's numbers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from countermark.records.digest import canonical_json, digest_of

NO_POLICY = digest_of(None)
"""Digest that stands for the decision policy of a model that has none: its value is used as it is."""
SIGNOFF_FORMAT = "countermark/signoff/1"


def bound_digests(stated: Mapping[str, str]) -> dict[str, str]:
    """Digests of a pack as a release binds them: every release has a decision policy, if only the absence of one."""
    return {"decision": NO_POLICY, **stated}


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One approval.

    Attributes:
        role: Role in which it was given.
        person: Who.
        principal: The name that the key speaks for.
        at: Instant on the log.
        position: Log position.
        key: Fingerprint of the key, as OpenSSH prints it.
        expires: Until when it counts, or None.
        text: What the person added.
    """

    role: str
    person: str
    principal: str
    at: str
    position: int
    key: str
    expires: str | None = None
    text: str = ""


class Cover(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a gating test that Failed or was Not evaluated, or a finding, is accepted under.

    Attributes:
        kind: ``waiver``, ``condition`` or ``control``.
        subjects: Test ids and finding ids.
        text: Reason or control.
        owner: Who answers for it.
        expires: Until when.
        by: Person who signed it; None for a control that the pack declares.
    """

    kind: str
    subjects: tuple[str, ...]
    text: str
    owner: str
    expires: str
    by: str | None = None


class LoggedFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finding that people put on the log."""

    id: str
    severity: str
    text: str
    by: str
    status: str


class SignOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sign-off of a release: a pure function of the signed log up to its last approval.

    Attributes:
        release: ``MODEL@vX.Y.Z``.
        opinion: What people decided.
        tier: Tier of the model.
        proposer: Person who proposed it.
        signatures: Approvals, oldest first.
        covers: Waivers, conditions and controls.
        findings: Findings of the log on this release.
        results: Digest of what changes scores, which the approvals bind.
        evidence: Digest of the tests, which the approvals bind.
        decision: Digest of the decision policy, which the approvals bind.
        candidate: Log position of the proposal.
        position: Log position of the last approval.
        head: Digest of that entry.
        trust_root: Digest of the genesis payload.
    """

    format: str = SIGNOFF_FORMAT
    release: str
    opinion: str
    tier: int
    proposer: str
    signatures: tuple[Signature, ...]
    covers: tuple[Cover, ...]
    findings: tuple[LoggedFinding, ...]
    results: str
    evidence: str
    decision: str
    candidate: int
    position: int
    head: str
    trust_root: str

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(msgspec.to_builtins(self))

    @classmethod
    def from_json(cls, data: bytes) -> SignOff:
        """Read a sign-off.

        Raises:
            ValueError: If it is not one.
        """
        return msgspec.json.decode(data, type=cls)

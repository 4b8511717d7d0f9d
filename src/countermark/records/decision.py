"""What the ledger keeps of a decision, and of what became of it.

A record is written once, as the canonical bytes of :func:`encode`, and never written again: whatever is hashed or
replayed is hashed and replayed over those bytes. Numbers that a replay compares bit for bit are float64 in hex text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

Value = float | int | str | bool | None
"""A value of a request: JSON number, text, truth or null."""


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen record; unknown fields are refused when it is read."""


class ReleaseBinding(Closed, frozen=True, kw_only=True):
    """The release that decided.

    Attributes:
        model: Name of the model.
        version: Version of the release, ``1.2.0``.
        position: Position of its authorisation on the release log.
        tag_object: Object id of the authorisation's tag.
        bundle: SHA-256 of the bundle, hex.
    """

    model: str
    version: str
    position: int
    tag_object: str
    bundle: str


class ViewReading(Closed, frozen=True, kw_only=True):
    """What was read of one feature view.

    Attributes:
        view: Name of the view.
        version: Digest of its definition.
        as_of: Instant the values were read for.
        expired: Features whose value was older than ``max_age`` and was read as null.
        unknown: Whether the store had nothing at all of the entity: its features are those of an empty history.
    """

    view: str
    version: str
    as_of: str
    expired: tuple[str, ...] = ()
    unknown: bool = False


class GivenReason(Closed, frozen=True, kw_only=True):
    """A reason on the answer.

    Attributes:
        code: Code in the decision policy.
        text: Text as the customer reads it.
        contribution: What the reason's inputs add to the margin beyond the reference, float64 hex.
    """

    code: str
    text: str
    contribution: str


class Route(Closed, frozen=True, kw_only=True):
    """Why this release decided.

    Attributes:
        arm: ``champion``, ``candidate`` (canary or shadow of a rollout), ``challenger`` (standing), or ``pinned``: the
            release was named by whoever scored a file, whatever the routing said.
        rollout: Id of the rollout in force, or None.
        stage: Its stage.
        share: Share of traffic that the candidate had.
        bucket: Place of the entity in [0, 2**32).
        table: Version of the routing table.
    """

    arm: Literal["champion", "candidate", "challenger", "pinned"]
    rollout: str | None = None
    stage: str | None = None
    share: float = 0.0
    bucket: int = 0
    table: int = 0


class Digests(Closed, frozen=True, kw_only=True):
    """SHA-256 of what made the score: scorer file, decision policy, numeric environment."""

    scorer: str
    decision_policy: str
    environment: str


class DecisionRecord(Closed, frozen=True, kw_only=True):
    """One decision, with all that a replay needs.

    Attributes:
        id: UUID, or the caller's idempotency key.
        at: Instant of the decision.
        channel: How it was asked for.
        caller: Name of the API key that asked; None where keys are not asked for.
        model: Name of the model.
        entity: Whom it is about, as the caller names them; None where the model has no entity.
        request: The validated request.
        features: The scorer's input vector by name.
        views: Feature views that were read.
        release: The release that decided.
        digests: Digests of what made the score.
        margin: Margin, float64 hex.
        p: Calibrated probability (or the value, for amounts), float64 hex.
        grade: Name of the grade, or None.
        decision: Outcome in the policy's words.
        reasons: Reasons, worst first; empty for a favourable outcome.
        route: Why this release decided.
        latency_us: Microseconds from the request to the record; of a shadow, of the shadow's own scoring.
        error: Why a shadow gave no score; then margin and p are empty text. Always None on a decision.
    """

    format: Literal["countermark/decision/1"] = "countermark/decision/1"
    id: str
    at: str
    channel: Literal["http", "file", "import", "simulation"]
    caller: str | None = None
    model: str
    entity: str | None
    request: dict[str, Value]
    features: dict[str, float | str | None]
    views: tuple[ViewReading, ...]
    release: ReleaseBinding
    digests: Digests
    margin: str
    p: str
    grade: str | None
    decision: str
    reasons: tuple[GivenReason, ...]
    route: Route
    latency_us: int = 0
    error: str | None = None

    @property
    def probability(self) -> float:
        """The calibrated probability."""
        return float.fromhex(self.p)


class OutcomeRecord(Closed, frozen=True, kw_only=True):
    """What became of a decision, as far as known.

    Attributes:
        model: Name of the model.
        decision: Id of the decision, or None where only the entity is known.
        entity: Whom it is about.
        observed_at: When the outcome happened.
        known_at: When the bank learned of it.
        value: 1 for the event, 0 for none, or the amount.
        final: Whether the label has matured; a later record may correct one that has not.
        source: System that reported it.
    """

    format: Literal["countermark/outcome/1"] = "countermark/outcome/1"
    model: str
    decision: str | None
    entity: str | None
    observed_at: str
    known_at: str
    value: float
    final: bool = True
    source: str


class OverrideRecord(Closed, frozen=True, kw_only=True):
    """A person's decision in place of the model's.

    Attributes:
        decision: Id of the decision that was overridden.
        at: When.
        by: Who, as the bank names its staff.
        outcome: The outcome that holds.
        reason: Why.
        caller: Name of the API key that sent it; None where keys are not asked for.
    """

    format: Literal["countermark/override/1"] = "countermark/override/1"
    decision: str
    at: str
    by: str
    outcome: str
    reason: str
    caller: str | None = None


class DispositionRecord(Closed, frozen=True, kw_only=True):
    """What an investigation of an alert came to.

    Attributes:
        decision: Id of the decision that raised the alert.
        at: When.
        by: Who.
        disposition: ``escalated``, ``reported``, ``dismissed`` or the bank's own word.
        note: Text without personal data.
        caller: Name of the API key that sent it; None where keys are not asked for.
    """

    format: Literal["countermark/disposition/1"] = "countermark/disposition/1"
    decision: str
    at: str
    by: str
    disposition: str
    note: str = ""
    caller: str | None = None


class EventRecord(Closed, frozen=True, kw_only=True):
    """Something that happened to an entity, as it reached the bank: what online features are made of.

    Attributes:
        table: Table of the source that the event is a row of.
        event: Values by column.
        known_at: When it reached the bank.
    """

    format: Literal["countermark/event-record/1"] = "countermark/event-record/1"
    table: str
    event: dict[str, Value]
    known_at: str


class ImportedDecision(Closed, frozen=True, kw_only=True):
    """A decision that another system made.

    Attributes:
        id: Its id there.
        at: When it was made, ISO 8601 with a zone.
        model: Name of the model.
        system: The system that made it.
        decision: Its outcome.
        entity: Whom it is about.
        version: Version of the model, as that system names it.
        p: Its probability, if known.
        reasons: Reason codes, worst first.
        request: Values by field, as far as known.
    """

    format: Literal["countermark/import/1"] = "countermark/import/1"
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    at: str
    model: str
    system: str
    decision: str
    entity: str | None = None
    version: str | None = None
    p: float | None = None
    reasons: tuple[str, ...] = ()
    request: dict[str, Value] = {}


_ENCODER = msgspec.json.Encoder(order="sorted")
_Record = TypeVar("_Record", bound=Closed)


def encode(record: Closed) -> bytes:
    """The bytes of a record: JSON in UTF-8, keys sorted, no blanks."""
    return _ENCODER.encode(record)


def decode(data: bytes, of: type[_Record]) -> _Record:
    """Read a record.

    Raises:
        msgspec.ValidationError: If the bytes are no such record.
    """
    return msgspec.json.decode(data, type=of)


def as_document(record: Closed) -> dict[str, Any]:
    """A record as plain JSON values."""
    document: dict[str, Any] = msgspec.to_builtins(record)
    return document

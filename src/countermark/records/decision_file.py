"""The file of one decision: what was known, what was decided and why, by which release, and the proof of it."""

from __future__ import annotations

from typing import Literal

from countermark.records.decision import Closed, GivenReason, Value, ViewReading


class FileDifference(Closed, frozen=True, kw_only=True):
    """Something that is not as it was recorded."""

    what: str
    recorded: str
    found: str


class RequestField(Closed, frozen=True, kw_only=True):
    """One field of the request."""

    name: str
    value: Value


class FileInput(Closed, frozen=True, kw_only=True):
    """One input of the scorer.

    Attributes:
        name: Name of the input.
        meaning: What it is, in the words of the spec.
        value: The value that was scored; None was missing.
        unit: Its unit, or None.
        origin: ``request``, or the feature view that it was read from.
        as_of: Instant that the value was read for.
        expired: Whether the value was too old and was therefore read as missing.
        contribution: What it adds to the margin, beyond the mean over favourable development rows.
    """

    name: str
    meaning: str
    value: float | str | None
    unit: str | None
    origin: str
    as_of: str
    expired: bool
    contribution: float


class FileApproval(Closed, frozen=True, kw_only=True):
    """A signature behind the release, as it stood when the release was authorised.

    ``revoked`` is the log position from which its key has been revoked since, or None: an approval at that position or
    behind it counts no more.
    """

    role: str
    person: str
    at: str
    position: int
    expires: str | None
    conditions: tuple[str, ...]
    revoked: int | None = None


class FileRelease(Closed, frozen=True, kw_only=True):
    """The release that decided, and who answers for it.

    Attributes:
        ref: ``MODEL@vX.Y.Z``.
        proposed_by: Who proposed it.
        proposed_at: When.
        approvals: Who approved it.
        published_by: Who published it.
        published_at: When.
        authorised_at: When it was authorised for the environment that it answered in.
        environment: That environment.
        position: Log position of the authorisation.
        tag_object: Id of the authorisation's tag.
        opinion: What the validation pack proposed.
    """

    ref: str
    proposed_by: str
    proposed_at: str
    approvals: tuple[FileApproval, ...]
    published_by: str | None
    published_at: str | None
    authorised_at: str | None
    environment: str
    position: int
    tag_object: str
    opinion: str


class FileProof(Closed, frozen=True, kw_only=True):
    """Where the decision is written down, and what it was made with.

    Attributes:
        chain: Chain of the ledger.
        seq: Place on it.
        hash: SHA-256 of the entry.
        checkpoint: Digest of the newest checkpoint that covers the entry and that somebody answers for; where there is
            none, of the newest that covers it; or None.
        checkpoint_at: When it was taken.
        checkpoint_signed: Whether somebody answers for it.
        included: Whether the entry was found in what that checkpoint saw.
        bundle: SHA-256 of the release's bundle.
        scorer: SHA-256 of the scorer.
        policy: SHA-256 of the decision policy.
        environment: Digest of the libraries that made the numbers.
        log_position: Last position of the release log that was read.
        log_head: Digest of that entry.
        trust_root: Digest of the genesis that the log was checked against.
        linked: Whether the entries before and after it name it, and are whole; None in files that do not say.
        witness: Who answers for the checkpoint, or that nobody does, in words.
    """

    chain: str
    seq: int
    hash: str
    checkpoint: str | None
    checkpoint_at: str | None
    checkpoint_signed: bool
    included: bool
    bundle: str
    scorer: str
    policy: str
    environment: str
    log_position: int
    log_head: str
    trust_root: str
    linked: bool | None = None
    witness: str = ""


class Later(Closed, frozen=True, kw_only=True):
    """What happened to the decision afterwards: an override, an outcome, or what an investigation came to."""

    kind: Literal["override", "outcome", "disposition"]
    at: str
    by: str
    text: str


class OpinionLine(Closed, frozen=True, kw_only=True):
    """One input in a second opinion: its weight there, and its exact contribution."""

    input: str
    stated: str
    weight: float
    exact: float


WEAK_FIT = 0.5
"""Share of the variation that a second opinion must explain to be called one; below it whoever shows it warns."""


class SecondOpinion(Closed, frozen=True, kw_only=True):
    """An approximate explanation beside the exact one, for an inquiry.

    Attributes:
        method: Name of the method.
        version: Version of the library.
        seed: Seed of its random draws.
        samples: Rows that were drawn.
        fit: Share of the scorer's variation around this case that the approximation explains (weighted R squared).
        lines: Largest weights first.
        agrees: Inputs among the exact and the approximate first ``top`` alike.
        top: How many are compared.
    """

    method: str
    version: str
    seed: int
    samples: int
    fit: float
    lines: tuple[OpinionLine, ...]
    agrees: int
    top: int

    @property
    def weak(self) -> bool:
        """Whether it explains too little of the scorer around the case to be relied on."""
        return self.fit < WEAK_FIT


class DecisionFile(Closed, frozen=True, kw_only=True):
    """All that the bank can say of one decision.

    Attributes:
        id: Id of the decision.
        at: When it was made.
        made_at: When this file was made.
        channel: How it was asked for.
        model: Name of the model.
        title: Its title.
        classification: How confidential the file is.
        entity: Whom it is about.
        decision: Outcome in the policy's words.
        favourable: Whether that is the favourable outcome; None for a model without a decision policy.
        p: Calibrated probability, or the value.
        margin: Margin.
        p_bits: Probability as recorded, float64 hex.
        margin_bits: Margin as recorded, float64 hex.
        grade: Grade, or None.
        scale: How the grades were set: ``fixed`` by the bank's master scale, ``quantile`` by equal shares of the
            calibration sample of this release; empty where the file does not say.
        cutoff: Cut-off of the decision policy, or None.
        reasons: Reasons given, worst first.
        request: Fields of the request.
        inputs: The vector that was scored, largest contribution first.
        views: Feature views that were read.
        route: Why this release decided, in a sentence.
        release: The release.
        proof: The proof.
        identical: Whether the replay gave every bit again.
        differences: What differs otherwise.
        notes: What a reader must know to judge the replay.
        later: What happened afterwards, oldest first.
        second_opinion: An approximate explanation, where one was asked for.
    """

    format: Literal["countermark/decision_file/1"] = "countermark/decision_file/1"
    id: str
    at: str
    made_at: str
    channel: str
    model: str
    title: str
    classification: str
    entity: str | None
    decision: str
    favourable: bool | None
    p: float
    margin: float
    p_bits: str
    margin_bits: str
    grade: str | None
    cutoff: float | None
    reasons: tuple[GivenReason, ...]
    request: tuple[RequestField, ...]
    inputs: tuple[FileInput, ...]
    views: tuple[ViewReading, ...]
    route: str
    release: FileRelease
    proof: FileProof
    identical: bool
    differences: tuple[FileDifference, ...]
    notes: tuple[str, ...]
    later: tuple[Later, ...]
    second_opinion: SecondOpinion | None = None
    scale: str = ""

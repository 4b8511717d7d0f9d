"""The weekly review: what the people who answer for the models look at, and what they decide."""

from __future__ import annotations

from typing import Literal

from countermark.records.decision import Closed
from countermark.records.lights import Light
from countermark.records.watch import LiveFinding, Reading

FOLDER = "reviews"
"""Folder of the bank that holds a folder for every review."""
REVIEW, PAGES, MINUTES = "review.json", "review.pdf", "minutes.json"
"""Files of a review that a signature binds."""


class Needed(Closed, frozen=True, kw_only=True):
    """A decision that somebody must take.

    Attributes:
        kind: ``breach``, ``rollout``, ``approve``, ``waive``, ``publish``, ``assign``, ``amend``, ``finding``,
            ``promote``, ``expiring``, ``replay``, ``ledger``, ``bundle``, ``action`` or ``watch``: a model that nobody
            watches.
        light: How pressing: Fail is today, Watch is soon.
        subject: Model, release or person that it is about.
        text: What is to be decided, in a sentence.
        owner: Who decides; empty where nobody is named.
        due: Date, or None.
        command: What to type, or None.
    """

    kind: str
    light: Light
    subject: str
    text: str
    owner: str
    due: str | None = None
    command: str | None = None


class LogFinding(Closed, frozen=True, kw_only=True):
    """An open finding of the release log."""

    id: str
    severity: str
    text: str
    owner: str
    due: str | None
    opened: str


class ReviewRollout(Closed, frozen=True, kw_only=True):
    """A rollout that runs, or ended since the last review or without a person dealing with its end."""

    id: str
    champion: str | None
    candidate: str
    stage: str
    share: float
    started: str
    ended: str | None
    reason: str
    reconciled: bool


class ReviewChallenge(Closed, frozen=True, kw_only=True):
    """The standing challenger against the champion, on the same matured decisions."""

    champion: str
    challenger: str
    decisions: int
    labelled: int
    events: int
    auc_difference: float | None
    low: float | None
    high: float | None
    verdict: str


class ReviewModel(Closed, frozen=True, kw_only=True):
    """One production model.

    Attributes:
        model: Name.
        title: Title.
        owner: Owner.
        tier: Tier, 1 is the highest.
        authorised: Newest release that may be used.
        live: Version that answers, or None where no routing and no decision says so.
        quiet: Whether nothing needs to be said beyond its line.
        light: Worst light among checks, findings and rollouts.
        line: What is to be said in one line.
        window: First and last instant of the monitoring window; None without a monitoring run.
        decisions: Decisions in it.
        matured: Decisions old enough for a label.
        labelled: Of those, with one.
        readings: Checks of the newest monitoring run.
        off: Checks without a limit.
        live_findings: Open findings of production.
        log_findings: Open findings of the release log.
        rollouts: Rollouts to be talked about.
        challenge: Champion and challenger.
        planned: Whether the model has a monitoring plan.
        also: Versions of the others that may be used, oldest first.
        damaged: Bundles that cannot be opened: the release, and why.
    """

    model: str
    title: str
    owner: str
    tier: int
    authorised: str
    live: str | None
    quiet: bool
    light: Light
    line: str
    window: tuple[str, str] | None
    decisions: int
    matured: int
    labelled: int
    readings: tuple[Reading, ...]
    off: tuple[str, ...]
    live_findings: tuple[LiveFinding, ...]
    log_findings: tuple[LogFinding, ...]
    rollouts: tuple[ReviewRollout, ...]
    challenge: ReviewChallenge | None
    planned: bool = True
    also: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()


class ReviewAction(Closed, frozen=True, kw_only=True):
    """An action of an earlier review, and how it stands."""

    id: str
    review: str
    owner: str
    due: str
    text: str
    model: str | None
    status: Literal["done", "open", "overdue"]


class Expiring(Closed, frozen=True, kw_only=True):
    """An approval, condition, waiver, control or key that ends soon, or has ended."""

    subject: str
    owner: str
    what: str
    ends: str
    lapsed: bool


class ReplayedSample(Closed, frozen=True, kw_only=True):
    """Decisions of the period that were decided again.

    Attributes:
        drawn: How many were drawn.
        identical: How many came out the same to the last bit.
        seed: Seed of the draw.
        since: Start of the period, or None.
        releases: Releases that had answered.
        different: Ids of those that did not, with what differs.
    """

    drawn: int
    identical: int
    seed: int
    since: str | None
    releases: tuple[str, ...]
    different: tuple[tuple[str, str], ...]


class ReviewCheckpoint(Closed, frozen=True, kw_only=True):
    """Where the ledger stood: to be kept by those who sign."""

    digest: str
    at: str
    chains: dict[str, int]


class Review(Closed, frozen=True, kw_only=True):
    """A prepared review.

    Format 1 did not say how many decisions were to be replayed, nor which bundles could not be opened.

    Attributes:
        id: ISO week, ``2026-W50``.
        as_of: Instant that everything was read for.
        bank: Name of the bank.
        classification: How confidential it is.
        previous: The last signed review, or None.
        needed: Decisions that are needed, most pressing first.
        models: Production models by name.
        actions: Actions of earlier reviews: those not done, and those done since the last one.
        expiring: What ends within 30 days.
        replayed: Decisions decided again; None if there are none.
        checkpoint: Checkpoint of the ledger; None for an empty one.
        log_position: Last position of the release log.
        log_head: Digest of that entry.
        log_refused: Authentic entries of the log without effect.
        sample: How many decisions were to be replayed; None in format 1.
    """

    format: Literal["countermark/review/1", "countermark/review/2"] = "countermark/review/2"
    id: str
    as_of: str
    bank: str
    classification: str
    previous: str | None
    needed: tuple[Needed, ...]
    models: tuple[ReviewModel, ...]
    actions: tuple[ReviewAction, ...]
    expiring: tuple[Expiring, ...]
    replayed: ReplayedSample | None
    checkpoint: ReviewCheckpoint | None
    log_position: int
    log_head: str
    log_refused: int
    sample: int | None = None


class PreparedReview(Closed, frozen=True, kw_only=True):
    """What was prepared, as the ledger keeps it (kind ``review``, key = the review's id).

    Attributes:
        review: Id of the review.
        as_of: Instant that everything was read for.
        digest: SHA-256 of ``review.json``.
        pages: SHA-256 of ``review.pdf``.
        checkpoint: Digest of the ledger's checkpoint in the review.
    """

    format: Literal["countermark/review_prepared/1"] = "countermark/review_prepared/1"
    review: str
    as_of: str
    digest: str
    pages: str
    checkpoint: str | None = None


class MinutesAction(Closed, frozen=True, kw_only=True):
    """Something to be done, by somebody, until a date."""

    text: str
    owner: str
    due: str
    model: str | None = None


class MinutesDecision(Closed, frozen=True, kw_only=True):
    """A decision that was taken."""

    text: str
    by: str
    model: str | None = None


class Minutes(Closed, frozen=True, kw_only=True):
    """What a review came to (``reviews/ID/minutes.json``). Its digest is signed, and with it the two that it names.

    Format 1 did not name the PDF.

    Attributes:
        review: Id of the review.
        digest: SHA-256 of ``review.json``.
        pages: SHA-256 of ``review.pdf``; None in format 1.
        held: Date of the meeting.
        attendance: Who was there.
        absent: Who was not.
        decisions: Decisions that were taken.
        actions: What is to be done; the k-th has the id ``REVIEW-K``.
        done: Ids of earlier actions that are done.
        notes: Further words.
        checkpoint: Digest of the ledger's checkpoint in the review.
    """

    format: Literal["countermark/minutes/1", "countermark/minutes/2"] = "countermark/minutes/2"
    review: str
    digest: str
    pages: str | None = None
    held: str
    attendance: tuple[str, ...]
    absent: tuple[str, ...] = ()
    decisions: tuple[MinutesDecision, ...] = ()
    actions: tuple[MinutesAction, ...] = ()
    done: tuple[str, ...] = ()
    notes: str = ""
    checkpoint: str | None = None

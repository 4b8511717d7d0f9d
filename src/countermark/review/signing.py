"""Minutes onto the ledger, and the signature under them onto the release log."""

from __future__ import annotations

from pathlib import Path

import msgspec

from countermark.errors import ReviewError
from countermark.governance.access import BankRegistry
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso
from countermark.records.decision import as_document, encode
from countermark.records.digest import canonical_json, pretty_json, sha256_hex
from countermark.records.review import Minutes, Review
from countermark.registry.bodies import Action, ReviewSigned
from countermark.registry.repository import Appended, Draft
from countermark.registry.signing import Signer
from countermark.registry.state import RegistryState
from countermark.report.render import render_review
from countermark.review.minutes import read_minutes, template

FOLDER = "reviews"
REVIEW, PAGES, MINUTES, DRAFT = "review.json", "review.pdf", "minutes.json", "minutes.yaml"


def write_review(review: Review, folder: Path) -> tuple[Path, ...]:
    """Write ``review.json``, ``review.pdf`` and, where there are none yet, minutes to fill in.

    Raises:
        ReviewError: If the folder cannot be written to, or holds recorded minutes of this review.
        ReportError: If the document cannot be rendered.
    """
    if (folder / MINUTES).is_file():
        raise ReviewError(
            f"review {review.id} has recorded minutes",
            hint="what was held is not prepared again",
            file=folder / MINUTES,
        )
    data = pretty_json(as_document(review))
    written = [folder / REVIEW, folder / PAGES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written[0].write_bytes(data)
        if not (folder / DRAFT).is_file():
            written.append(folder / DRAFT)
            written[-1].write_text(template(review), encoding="utf-8")
    except OSError as error:
        raise ReviewError("the review cannot be written", got=error.strerror, file=folder) from None
    render_review(data, written[1])
    return tuple(written)


def record(bank: BankRegistry, ledger: Ledger, folder: Path, minutes: Path) -> Minutes:
    """Check minutes against the review in a folder, and put them and their actions on the ledger.

    Raises:
        ReviewError: With file and line, if they are not what minutes are, or the review was signed with others.
        LedgerError: If the ledger cannot be written.
    """
    review, digest = read_review(folder)
    state = bank.state()
    made = read_minutes(minutes, review, digest, state)
    data = _minutes_bytes(made)
    _refuse_signed(state, review.id, sha256_hex(data))
    at = iso(bank.now)
    actions = [("action", action.id, canonical_json(action.document()), at) for action in actions_of(made)]
    ledger.append_many([("review", made.review, encode(made), at), *actions])
    (folder / MINUTES).write_bytes(data)
    return made


def sign(bank: BankRegistry, signer: Signer, folder: Path) -> Appended:
    """Sign the recorded minutes of a review on the release log.

    The first signature carries the actions into their owners' inboxes; further ones bind the same minutes.

    Raises:
        ReviewError: If there are no recorded minutes, the review was changed since, or it was signed with others.
        RegistryError: If the key belongs to nobody.
    """
    review, digest = read_review(folder)
    made, data = read_recorded(folder)
    if made.digest != digest:
        raise ReviewError(
            f"the minutes are of another version of review {review.id}",
            expected=made.digest,
            got=digest,
            file=folder / REVIEW,
        )
    bound = sha256_hex(data)

    def make(state: RegistryState) -> Draft:
        first = _refuse_signed(state, review.id, bound)
        author = state.governance.author(signer.public)
        if author is not None and any(
            event.principal == author.principal for event, r in state.reviews if r.review == review.id
        ):
            raise ReviewError(f"{author.principal} has signed review {review.id} already")
        body = ReviewSigned(
            review=review.id,
            digest=bound,
            actions=actions_of(made) if first else (),
            done=made.done if first else (),
            checkpoint=made.checkpoint,
        )
        return Draft("review_signed", body.document())

    return bank.append(signer, make)


def actions_of(minutes: Minutes) -> tuple[Action, ...]:
    """Actions with their ids: ``REVIEW-1``, ``REVIEW-2`` and so on."""
    return tuple(
        Action(id=f"{minutes.review}-{k}", owner=a.owner, due=a.due, text=a.text, model=a.model)
        for k, a in enumerate(minutes.actions, start=1)
    )


def read_review(folder: Path) -> tuple[Review, str]:
    """The prepared review of a folder, and the SHA-256 of its file.

    Raises:
        ReviewError: If there is none, or it cannot be read.
    """
    data = _bytes(folder / REVIEW, "countermark review prepare")
    try:
        return msgspec.json.decode(data, type=Review), sha256_hex(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReviewError("this is no review", got=str(error)[:200], file=folder / REVIEW) from None


def read_recorded(folder: Path) -> tuple[Minutes, bytes]:
    """The recorded minutes of a folder, and their bytes.

    Raises:
        ReviewError: If there are none, or they cannot be read.
    """
    data = _bytes(folder / MINUTES, "countermark review record --minutes FILE")
    try:
        return msgspec.json.decode(data, type=Minutes), data
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReviewError("these are no minutes", got=str(error)[:200], file=folder / MINUTES) from None


def _refuse_signed(state: RegistryState, review: str, digest: str) -> bool:
    """Refuse other minutes than those that were signed; True if nobody has signed yet."""
    signed = [r for _, r in state.reviews if r.review == review]
    if any(r.digest != digest for r in signed):
        raise ReviewError(
            f"review {review} was signed with other minutes",
            expected=signed[0].digest,
            got=digest,
            hint="put what is to be corrected into the minutes of the next review",
        )
    return not signed


def _minutes_bytes(made: Minutes) -> bytes:
    return pretty_json(as_document(made))


def _bytes(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReviewError("there is no such file", got=error.strerror, hint=hint, file=path) from None

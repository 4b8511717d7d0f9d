"""The files of a review on the ledger, minutes beside them, and the signature under them on the release log."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from countermark.errors import ReviewError
from countermark.governance.access import BankRegistry
from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso
from countermark.records.decision import as_document, encode
from countermark.records.digest import canonical_json, pretty_json, sha256_hex
from countermark.records.review import MINUTES, PAGES, REVIEW, Minutes, PreparedReview, Review
from countermark.registry.bodies import Action, ReviewSigned
from countermark.registry.repository import Appended, Draft
from countermark.registry.signing import Signer
from countermark.registry.state import RegistryState
from countermark.report.render import render_review
from countermark.review.minutes import read_minutes, template

DRAFT = "minutes.yaml"
_Written = TypeVar("_Written", PreparedReview, Minutes)


def write_review(review: Review, folder: Path, ledger: Ledger, at: str) -> tuple[Path, ...]:
    """Write ``review.json``, ``review.pdf`` and, where there are none yet, minutes to fill in; digests to the ledger.

    Args:
        review: The review.
        folder: Where the files go.
        ledger: The ledger that keeps the digests of both files: minutes and signatures are held against them.
        at: The present, ISO.

    Raises:
        ReviewError: If the folder cannot be written to, or holds recorded minutes of this review.
        ReportError: If the document cannot be rendered.
        LedgerError: If the ledger cannot be written.
    """
    if (folder / MINUTES).is_file():
        raise ReviewError(
            f"review {review.id} has recorded minutes",
            hint="what was held is not prepared again here; --to FOLDER prepares it anew elsewhere",
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
    prepared = PreparedReview(
        review=review.id,
        as_of=review.as_of,
        digest=sha256_hex(data),
        pages=sha256_hex(written[1].read_bytes()),
        checkpoint=None if review.checkpoint is None else review.checkpoint.digest,
    )
    ledger.append("review", review.id, encode(prepared), at)
    return tuple(written)


def record(bank: BankRegistry, ledger: Ledger, folder: Path, minutes: Path) -> Minutes:
    """Check minutes against the review in a folder, and put them and their actions on the ledger.

    Raises:
        ReviewError: With file and line, if they are not what minutes are; if the review was signed with others, or the
            files of the folder are not those that were prepared last.
        LedgerError: If the ledger cannot be read or written.
    """
    review, _ = read_review(folder)
    found = _last(ledger, review.id, PreparedReview)
    if found is None:
        raise ReviewError(
            f"the ledger knows of no review {review.id} that was prepared",
            hint="countermark review prepare, with this ledger",
            file=folder / REVIEW,
        )
    prepared, _ = found
    _held_against(folder, {REVIEW: prepared.digest, PAGES: prepared.pages}, f"what was prepared of review {review.id}")
    state = bank.state()
    made = read_minutes(minutes, review, prepared, state)
    data = pretty_json(as_document(made))
    _refuse_signed(state, review.id, sha256_hex(data))
    at = iso(bank.now)
    actions = [("action", action.id, canonical_json(action.document()), at) for action in actions_of(made)]
    ledger.append_many([("review", made.review, encode(made), at), *actions])
    (folder / MINUTES).write_bytes(data)
    return made


def sign(bank: BankRegistry, signer: Signer, folder: Path, ledger: Ledger) -> Appended:
    """Sign the recorded minutes of a review on the release log.

    What is signed is the digest of the minutes, which name those of ``review.json`` and ``review.pdf``. The first
    signature carries the actions into their owners' inboxes; further ones bind the same minutes.

    Raises:
        ReviewError: If there are no recorded minutes, one of the three files is not what the ledger says of it, or
            the review was signed with other minutes.
        RegistryError: If the key belongs to nobody.
        LedgerError: If the ledger cannot be read.
    """
    review, _ = read_review(folder)
    made, data = read_recorded(folder)
    bound = sha256_hex(data)
    _require_recorded(ledger, folder, review.id, bound)
    named = {REVIEW: made.digest} if made.pages is None else {REVIEW: made.digest, PAGES: made.pages}
    _held_against(folder, named, f"what the minutes of review {review.id} name")

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


def _require_recorded(ledger: Ledger, folder: Path, review: str, digest: str) -> None:
    """Refuse minutes that are not those that the ledger holds last of a review."""
    found = _last(ledger, review, Minutes)
    if found is None:
        raise ReviewError(
            f"the ledger holds no minutes of review {review}",
            hint="countermark review record --minutes FILE, with this ledger",
            file=folder / MINUTES,
        )
    expected = sha256_hex(pretty_json(found[1].json()))
    if digest != expected:
        raise ReviewError(
            f"these are not the minutes of review {review} that were recorded",
            expected=expected,
            got=digest,
            hint="countermark review record --minutes FILE",
            file=folder / MINUTES,
        )


def _held_against(folder: Path, named: dict[str, str], what: str) -> None:
    """Refuse a file of a review that is not what was said of it."""
    for name, expected in named.items():
        got = sha256_hex(_bytes(folder / name, "countermark review prepare"))
        if got != expected:
            raise ReviewError(
                f"'{name}' is not {what}",
                expected=expected,
                got=got,
                hint="a review that was changed is prepared anew",
                file=folder / name,
            )


def _last(ledger: Ledger, review: str, of: type[_Written]) -> tuple[_Written, Entry] | None:
    """The newest record of a review of one type; on one chain the later entry is the newer, whatever its date."""
    newest: dict[str, tuple[_Written, Entry]] = {}
    for entry in sorted(ledger.get("review", review), key=lambda entry: entry.seq):
        try:
            newest[entry.chain] = msgspec.json.decode(entry.payload, type=of), entry
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return max(newest.values(), key=lambda found: found[1].at, default=None)


def _bytes(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReviewError("there is no such file", got=error.strerror, hint=hint, file=path) from None

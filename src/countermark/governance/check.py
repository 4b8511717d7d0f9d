"""One verb to check a release, a document, or everything. Named checks; what was not checked does not pass."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from countermark.errors import CountermarkError, RegistryError
from countermark.governance.access import BankRegistry
from countermark.governance.candidate import candidate_pack, differing_digests, verified_pack
from countermark.governance.gates import require_covered
from countermark.governance.publication import bundle_bytes, require_approved, signoff_of
from countermark.governance.review_files import check_files, check_pages, missing_files, review_in, signed_reviews
from countermark.governance.store import CandidateStore
from countermark.records.clock import iso
from countermark.records.digest import sha256_hex
from countermark.records.evidence import Pack
from countermark.records.release import ReleaseRef
from countermark.records.review import FOLDER, MINUTES
from countermark.registry.bundle import Bundle
from countermark.registry.directory import require_approved_content
from countermark.registry.events import log_lines, parse_lines, read_chain
from countermark.registry.fold import describe, fold
from countermark.registry.state import RegistryState
from countermark.registry.tags import check_tags, ended_tags
from countermark.report.attachments import embedded_files, paper_of
from countermark.report.reading import FORMAT
from countermark.report.render import render, render_final

_SHOWN = 6
Outcome: TypeAlias = Literal["holds", "fails", "open"]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    Attributes:
        name: What was checked.
        outcome: ``holds``, ``fails``, or ``open`` where there is nothing to check yet.
        detail: What was found.
    """

    name: str
    outcome: Outcome
    detail: str


def passed(checks: Sequence[Check]) -> bool:
    """Whether nothing fails and something holds: no check at all proves nothing."""
    return any(check.outcome == "holds" for check in checks) and all(check.outcome != "fails" for check in checks)


def _checked(name: str, run: Callable[[], str]) -> Check:
    try:
        return Check(name, "holds", run())
    except CountermarkError as wrong:
        found = f"; expected {wrong.expected}, got {wrong.got}" if wrong.expected and wrong.got else ""
        return Check(name, "fails", wrong.what + found)


def check_release(bank: BankRegistry, ref: ReleaseRef, *, render_again: bool = True) -> tuple[Check, ...]:
    """Check a release from the log to the last byte of its document.

    Args:
        bank: The bank.
        ref: The release.
        render_again: Whether the document is rendered again, which takes some seconds.

    Raises:
        RegistryError: If the log itself is not to be trusted, or does not know the release.
    """
    state = bank.state()
    release = state.release(ref)
    checks = [Check("log", "holds", describe(state)), _checked("tags", lambda: _tags(bank, state, ref))]
    checks += _ended(bank, state, ref)
    if release.publication is None:
        checks.append(_checked("pack", lambda: _candidate(bank, state, ref)))
        checks.append(_gates(state, ref))
        missing = ", ".join(release.missing_roles(state.roles_for(ref), state.now))
        quorum = "complete" if not missing else f"waits for {missing}"
        checks.append(Check("approvals", "open" if missing else "holds", f"{release.status}: {quorum}"))
        return tuple(checks)
    checks.append(_checked("approvals", lambda: _standing(state, ref)))
    checks.append(_checked("bundle", lambda: _bundle(bank, state, ref)))
    if render_again and checks[-1].outcome == "holds":
        checks.append(_checked("document", lambda: _document_again(bank, state, ref)))
    return tuple(checks)


def _tags(bank: BankRegistry, state: RegistryState, ref: ReleaseRef | None) -> str:
    problems = check_tags(bank.git, state, ref)
    if problems:
        raise RegistryError("; ".join(f"'{problem.name}': {problem.what}" for problem in problems))
    return "every tag is the object that the log recorded, signed by its author"


def _ended(bank: BankRegistry, state: RegistryState, ref: ReleaseRef | None) -> list[Check]:
    """Tags that a revocation left behind: open, as a bank that has handled a stolen key well has done nothing wrong."""
    found = ended_tags(bank.git, state, ref)
    if not found:
        return []
    told = "; ".join(f"'{tag.name}': {tag.what}" for tag in found[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    hint = "'git tag -d NAME' here and 'git push --delete REMOTE NAME' keep other tools from reading them"
    return [Check("ended tags", "open", f"{told}{more}; {hint}")]


def _candidate(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> str:
    release = state.release(ref)
    store = CandidateStore(bank.root)
    candidate_pack(store, release)
    for file in release.proposal.files:
        store.read(file)
    return f"{len(release.proposal.files)} files are what was proposed; the pack's digests follow from its content"


def _gates(state: RegistryState, ref: ReleaseRef) -> Check:
    try:
        require_covered(state, state.release(ref))
    except RegistryError as held:
        return Check("gates", "open", f"{held.what}:{held.got}")
    return Check("gates", "holds", "every gating test passed or is covered; no critical or high finding is open")


def _standing(state: RegistryState, ref: ReleaseRef) -> str:
    release = state.release(ref)
    if release.status == "archived":
        return f"archived: {release.closing}"
    require_approved(state, release)
    until = state.standing_until(ref)
    if until is None:
        raise RegistryError("an approval, waiver or control has lapsed")
    names = ", ".join(f"{a.person} ({a.body.role})" for a in release.approvals)
    return f"{release.status}; approved by {names}" + ("" if until.year == 9999 else f", until {iso(until)[:10]}")


def _bundle(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> str:
    publication = state.release(ref).publication
    if publication is None:
        raise RegistryError(f"'{ref}' is not published")
    bundle = _opened(bank, state, ref)
    require_approved_content(state, ref, bundle)
    pack = verified_pack(bundle.member("pack.json"))
    differing = differing_digests(pack, state.release(ref))
    if differing:
        raise RegistryError(f"the pack in the bundle has another {', '.join(differing)} digest than was approved")
    if bundle.log() != state.entries[: len(bundle.log())]:
        raise RegistryError("the log in the bundle is not the beginning of the log")
    return f"{publication.bundle_digest[:12]}: {len(bundle.manifest.members)} members whole"


def _opened(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> Bundle:
    """The bundle that is served from here, damaged or not; only where there is none is it made again."""
    publication = state.release(ref).publication
    if publication is not None and bank.directory.holds(publication.bundle_digest):
        return bank.directory.bundle(publication.bundle_digest)
    return Bundle.open(bundle_bytes(bank, state, ref), None if publication is None else publication.bundle_digest)


def _document_again(bank: BankRegistry, state: RegistryState, ref: ReleaseRef) -> str:
    bundle = _opened(bank, state, ref)
    then = state.at(position=len(bundle.log()) - 1)
    return _same_document(bundle.member("validation_pack.pdf"), bundle.member("pack.json"), then)


def _same_document(pdf: bytes, pack_bytes: bytes, then: RegistryState | None) -> str:
    """Render a document again from its own parts."""
    pack = verified_pack(pack_bytes)
    with tempfile.TemporaryDirectory(prefix="countermark-verify-") as scratch:
        out = Path(scratch) / "again.pdf"
        if then is None:
            render(pack_bytes, out, paper_of(pdf))
        else:
            ref = ReleaseRef(str(pack.identity.get("id")), str(pack.identity.get("version")))
            render_final(pack_bytes, signoff_of(then, ref), log_lines(then.entries), out, paper_of(pdf))
        again = out.read_bytes()
    if again != pdf:
        raise RegistryError(
            "the document is not what its own data gives",
            expected=sha256_hex(again),
            got=sha256_hex(pdf),
            hint="it was edited, or rendered with another version of the text engine",
        )
    return f"rendered again from its own data: the same {len(pdf):,} bytes"


def check_document(
    path: Path, trust_root: str | None, now: datetime, *, bank: BankRegistry | None = None, render_again: bool = True
) -> tuple[Check, ...]:
    """Check a validation pack as a PDF, alone: its numbers, its signatures, its bytes; or a signed review.

    Args:
        path: The PDF.
        trust_root: Pinned digest of the genesis; without it signatures stay open.
        now: The present.
        bank: The bank, where there is one: its log says what became of the release.
        render_again: Whether the document is rendered again, which takes some seconds.

    Raises:
        RegistryError: If the file cannot be read, or is neither a pack nor a review of ours.
    """
    try:
        pdf = path.read_bytes()
    except OSError as error:
        raise RegistryError("the document cannot be read", got=error.strerror, file=path) from None
    review = review_in(embedded_files(pdf))
    if review is not None:
        return (_reviewed(path, review, bank),)
    pack_bytes, log = _parts(pdf, path)
    found = _Document(pdf, pack_bytes, log)
    checks = [_checked("pack", found.numbers)]
    if found.pack is None:
        return tuple(checks)
    if log is None:
        checks.append(Check("signatures", "open", "a draft: nobody has signed it"))
    elif trust_root is None:
        checks.append(Check("signatures", "open", "no trust root is pinned (--trust-root), so no name is proved"))
    else:
        checks.append(_checked("signatures", lambda: found.signatures(trust_root, now, bank)))
    if bank is not None and bank.log.trust_root is not None:
        checks.append(_today(bank, found.pack))
    if render_again and (log is None or found.state is not None):
        checks.append(_checked("document", lambda: _same_document(pdf, pack_bytes, found.state)))
    return tuple(checks)


def _reviewed(path: Path, review: str, bank: BankRegistry | None) -> Check:
    """A review as a PDF: what the log signed are its minutes, and they name the document."""
    name = f"review {review}"
    if bank is None or bank.log.trust_root is None:
        return Check(name, "open", "only the bank's own log says what was signed")
    digest = signed_reviews(bank.state()).get(review)
    if digest is None:
        return Check(name, "open", "nobody has signed it")
    if not path.with_name(MINUTES).is_file():
        return Check(name, "open", f"its signed minutes are not beside it ({MINUTES}, SHA-256 {digest})")
    return _checked(name, lambda: check_pages(path, digest))


def _review_folder(folder: Path, digest: str) -> Check:
    name, missing = f"{FOLDER}/{folder.name}", missing_files(folder)
    if MINUTES in missing:
        return Check(name, "open", f"signed; {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not here")
    checked = _checked(name, lambda: check_files(folder, digest))
    more = f"; not here: {', '.join(missing)}" if missing else ""
    return Check(name, "open" if missing and checked.outcome == "holds" else checked.outcome, checked.detail + more)


@dataclass(slots=True)
class _Document:
    """A document while it is checked; each step leaves what the next one needs."""

    pdf: bytes
    pack_bytes: bytes
    log: bytes | None
    pack: Pack | None = None
    state: RegistryState | None = None

    def numbers(self) -> str:
        """The pack is whole, and its digests follow from its numbers."""
        self.pack = verified_pack(self.pack_bytes)
        return f"{self.pack.identity.get('id')} {self.pack.identity.get('version')}: digests follow from the numbers"

    def signatures(self, trust_root: str, now: datetime, bank: BankRegistry | None) -> str:
        """The attached log approves this pack, and what it holds still counts."""
        entries = parse_lines(self.log or b"")
        last = read_chain(entries)[-1].at if entries else now
        state = fold(entries, trust_root, last)
        told = _signed(state, self.pack)
        self.state = state
        # A longer log may hold the witnesses that entries of lapsed keys need, and revocations.
        longer = bank.log.entries() if bank is not None else ()
        current = fold(longer if longer[: len(entries)] == entries else entries, trust_root, max(now, last))
        void = [refused for refused in current.refused if refused.position in _approving(state)]
        if void:
            raise RegistryError(f"the approval at log position {void[0].position} counts no more: {void[0].reason}")
        return told


def _approving(state: RegistryState) -> set[int]:
    return {approval.position for release in state.releases.values() for approval in release.approvals}


def _parts(pdf: bytes, path: Path) -> tuple[bytes, bytes | None]:
    files = embedded_files(pdf)
    pack = next((data for data in files if _is_pack(data)), None)
    if pack is None:
        raise RegistryError(
            "this is no validation pack", expected="a PDF with its pack.json or review.json attached", file=path
        )
    return pack, next((data for data in files if data.startswith(b'{"payload":')), None)


def _is_pack(data: bytes) -> bool:
    try:
        document = json.loads(data)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def _signed(state: RegistryState, pack: Pack | None) -> str:
    if pack is None:
        raise RegistryError("the pack is not whole")
    ref = ReleaseRef(str(pack.identity.get("id")), str(pack.identity.get("version")))
    release = state.release(ref)
    differing = differing_digests(pack, release)
    if differing:
        raise RegistryError(f"the signatures bind another {' and '.join(differing)} digest than the pack's")
    require_approved(state, release)
    return "approved by " + ", ".join(f"{a.person} ({a.body.role})" for a in release.approvals)


def _today(bank: BankRegistry, pack: Pack) -> Check:
    """What the bank's own log says of the release now."""
    try:
        state = bank.state()
        ref = ReleaseRef(str(pack.identity.get("id")), str(pack.identity.get("version")))
        release = state.release(ref)
    except RegistryError as unknown:
        return Check("today", "open", unknown.what)
    if pack.digests.get("evidence") != release.proposal.digests["evidence"]:
        return Check("today", "open", f"the log's {ref} is another candidate than this document")
    lapsed = release.publication is not None and state.standing_until(ref) is None
    return Check("today", "open" if lapsed else "holds", f"{ref} is {release.status}" + (", lapsed" if lapsed else ""))


def check_all(bank: BankRegistry) -> tuple[Check, ...]:
    """Check the log, every tag, published bundle and built pack of a bank, and the files of every signed review.

    Raises:
        RegistryError: If the log itself is not to be trusted.
    """
    state = bank.state()
    checks = [Check("log", "holds", describe(state)), _checked("tags", lambda: _tags(bank, state, None))]
    checks += _ended(bank, state, None)
    for ref, release in state.releases.items():
        if release.publication is not None:
            checks.append(_checked(f"{ref} bundle", lambda ref=ref: _bundle(bank, state, ref)))  # type: ignore[misc]
            checks.append(_checked(f"{ref} approvals", lambda ref=ref: _standing(state, ref)))  # type: ignore[misc]
    for path in sorted(bank.root.glob("reports/*/pack.json")):
        name = path.relative_to(bank.root).as_posix()
        checks.append(_checked(name, lambda path=path: _built(path)))  # type: ignore[misc]
    for review, digest in signed_reviews(state).items():
        if (bank.root / FOLDER / review).is_dir():
            checks.append(_review_folder(bank.root / FOLDER / review, digest))
    return tuple(checks)


def _built(path: Path) -> str:
    pack = verified_pack(path.read_bytes())
    return f"{pack.identity.get('version')}, {pack.summary.opinion}: digests follow from the numbers"

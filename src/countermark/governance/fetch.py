"""A release on a reviewer's desk: its documents and its data, without building anything."""

from __future__ import annotations

from pathlib import Path

from countermark.errors import RegistryError
from countermark.governance.access import BankRegistry
from countermark.governance.candidate import DRAFT, PACK, candidate_pack
from countermark.governance.publication import bundle_bytes
from countermark.governance.store import CandidateStore
from countermark.records.digest import pretty_json
from countermark.records.release import ReleaseRef
from countermark.registry.bundle import Bundle

DOCUMENTS = (PACK, DRAFT)
PROPOSAL = "proposal.json"


def fetch(bank: BankRegistry, ref: ReleaseRef, to: Path, *, data: bool = True) -> tuple[Path, ...]:
    """Write the files of a release into a folder.

    ``validation_pack.pdf`` is the Final of a published release, and the draft of a candidate.

    Args:
        bank: The bank.
        ref: The release.
        to: Folder; made if it is not there.
        data: False fetches the documents only.

    Returns:
        The files written.

    Raises:
        RegistryError: If a file is not to be found whole, or the pack is not what the proposal says.
    """
    state = bank.state()
    release = state.release(ref)
    store = CandidateStore(bank.root)
    candidate_pack(store, release)
    content = {file.name: store.read(file) for file in release.proposal.files if data or file.name in DOCUMENTS}
    if release.publication is not None:
        bundle = Bundle.open(bundle_bytes(bank, state, ref), release.publication.bundle_digest)
        content["validation_pack_draft.pdf"] = content[DRAFT]
        content[DRAFT] = bundle.member(DRAFT)
    told = {
        "candidate": release.candidate,
        "proposer": release.proposer,
        "status": release.status,
        **release.proposal.document(),
    }
    content[PROPOSAL] = pretty_json(told)
    return tuple(_write(to / name, made) for name, made in sorted(content.items()))


def _write(path: Path, data: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise RegistryError(f"'{path.name}' cannot be written", got=error.strerror, file=path) from None
    return path

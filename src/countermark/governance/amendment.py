"""How it changes who is trusted: amendments by quorum, and revocations."""

from __future__ import annotations

from pathlib import Path

from countermark.errors import RegistryError
from countermark.governance.access import BankRegistry
from countermark.governance.charter import read_charter
from countermark.registry.bodies import AmendmentApproval, KeyRevocation
from countermark.registry.repository import Appended, Draft
from countermark.registry.signing import Signer
from countermark.registry.sshsig import parse_public
from countermark.registry.state import RegistryState


def amend(bank: BankRegistry, signer: Signer, file: Path) -> Appended:
    """Propose a governance file as the next version.

    Raises:
        RegistryError: If the file could not keep its promises, or the person may not amend.
    """

    def make(state: RegistryState) -> Draft:
        body = read_charter(file, state.governance.body.version + 1)
        return Draft("amendment", body.document())

    return bank.append(signer, make)


def approve_amendment(bank: BankRegistry, signer: Signer, position: int) -> Appended:
    """Agree with a waiting amendment.

    Raises:
        RegistryError: If none waits at that position, or the person may not agree.
    """

    def make(state: RegistryState) -> Draft:
        waiting = next((a for a in state.amendments if a.position == position), None)
        if waiting is None:
            known = ", ".join(str(a.position) for a in state.amendments) or "none waits"
            raise RegistryError(f"no amendment waits at log position {position}", expected=known)
        body = AmendmentApproval(amendment=position, digest=waiting.digest)
        return Draft("amendment_approval", body.document())

    return bank.append(signer, make)


def revoke(bank: BankRegistry, signer: Signer, who: str, position: int | None, reason: str) -> tuple[Appended, ...]:
    """Revoke every key of a principal, or the key of a public key file, from a log position on.

    Raises:
        RegistryError: If there is no such key, or the person may not revoke it.
    """
    return tuple(_revoke(bank, signer, public, position, reason) for public in _keys(bank.state(), who))


def _keys(state: RegistryState, who: str) -> tuple[str, ...]:
    if who.endswith(".pub"):
        try:
            return (parse_public(Path(who).read_text(encoding="utf-8"))[0],)
        except OSError as error:
            raise RegistryError("the key file cannot be read", got=error.strerror, file=who) from None
    own = tuple(public for public, author in state.governance.authors.items() if author.principal == who)
    if not own:
        raise RegistryError(
            f"the governance state knows no principal '{who}'",
            expected="one of: " + ", ".join(p.principal for p in state.governance.body.principals),
        )
    return own


def _revoke(bank: BankRegistry, signer: Signer, public: str, position: int | None, reason: str) -> Appended:
    def make(state: RegistryState) -> Draft:
        start = state.position + 1 if position is None else position
        return Draft("key_revocation", KeyRevocation(public=public, position=start, reason=reason).document())

    return bank.append(signer, make)

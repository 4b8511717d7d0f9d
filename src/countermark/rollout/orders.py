"""Orders of people: requests that the controller takes up, or refuses, once and for good.

An order lies on whatever chain its author could write to, and does nothing there. The controller reads it, judges it by
the release log and the clock of that moment, and writes what follows on its own chain: that alone counts. What the
controller does by itself (the next stage, a rollback) needs no order: it chooses among authorised releases only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from countermark.errors import RegistryError, RolloutError
from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Ledger
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import encode
from countermark.records.digest import sha256_hex
from countermark.registry.signing import Signer
from countermark.registry.sshsig import ROLLOUT_NAMESPACE, verify
from countermark.registry.state import RegistryState
from countermark.registry.trust import Author
from countermark.rollout.events import WRITER, Order, RolloutEvent, SignedOrder

ROLES: Mapping[str, tuple[str, ...]] = {
    "started": ("engineer",),
    "stopped": ("engineer", "risk"),
    "reconciled": ("engineer", "owner", "risk", "validator"),
    "challenger_named": ("engineer",),
    "challenger_dismissed": ("engineer",),
}
"""Events that are orders, and the roles in which they are given."""

STALE = timedelta(days=1)
"""How long an order waits for a controller."""

AHEAD = timedelta(minutes=5)
"""How far the clock of a person may be before that of the controller."""

_UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError)


@dataclass(frozen=True, slots=True)
class Asked:
    """An entry of kind ``rollout`` that the controller did not write.

    Attributes:
        entry: The entry.
        digest: What it is known by: SHA-256 of the key and the text that it has signed, so that a copy is the same
            order; of the whole entry where nothing is signed.
        event: What is asked for; None if nobody can tell.
        order: The order around it; None if nobody signed one.
        key: The public key that signed it.
        flaw: Why it is no order at all.
    """

    entry: Entry
    digest: str
    event: RolloutEvent | None = None
    order: Order | None = None
    key: str | None = None
    flaw: str | None = None

    @property
    def place(self) -> str:
        """What it asks for, and where it lies."""
        where = f"entry {self.entry.seq} of chain '{self.entry.chain}'"
        if self.event is None:
            return where
        return f"'{self.event.type}' of rollout {self.event.rollout[:60]} ({where})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done with an order.

    Attributes:
        verdict: ``waits`` until the release log that it names has arrived.
        reason: Why it does not count, or what it waits for.
        author: Who gave it, if it counts.
    """

    verdict: Literal["counts", "waits", "refused"]
    reason: str = ""
    author: Author | None = None


def give_order(ledger: Ledger, state: RegistryState, event: RolloutEvent, signer: Signer) -> RolloutEvent:
    """Sign an event in the name of the key's principal, and put it on the ledger for the controller.

    Returns:
        The event as it was signed, with the digest of the order: the controller names it in what it writes.

    Raises:
        RolloutError: If the key is nobody's, or its principal may not give this order.
        RegistryError: If the key cannot sign.
    """
    author = state.governance.author(signer.public)
    if author is None:
        raise RolloutError("the key belongs to no principal of the governance state", got=signer.public)
    named = msgspec.structs.replace(event, by=author.principal)
    barred = _barred(author, named, state, parse_instant(named.at))
    if barred is not None:
        raise RolloutError(
            f"{author.principal} may not give the order '{event.type}'",
            expected=f"somebody with role {' or '.join(ROLES[event.type])}, with a key that stands",
            got=barred,
        )
    body = encode(Order(event=named, position=state.position, head=state.head))
    signature = signer.sign(body, ROLLOUT_NAMESPACE).decode("ascii")
    signed = SignedOrder(body=body.decode("utf-8"), signature=signature)
    ledger.append("rollout", named.rollout, encode(signed), named.at)
    return msgspec.structs.replace(named, order=_digest(body, signer.public))


def signed_order(entry: Entry) -> SignedOrder | None:
    """The signed order that an entry holds, whoever signed it; None where it holds something else."""
    try:
        return msgspec.json.decode(entry.payload, type=SignedOrder)
    except _UNREADABLE:
        return None


def read_order(entry: Entry) -> Asked:
    """Read an entry that somebody else than the controller wrote; whatever it holds is an answer, never an error."""
    unsigned = sha256_hex(entry.payload)
    signed = signed_order(entry)
    try:
        if signed is None:
            event = msgspec.json.decode(entry.payload, type=RolloutEvent)
            return Asked(entry, unsigned, event, flaw="nobody has signed it")
        order = signed.order
    except _UNREADABLE:
        return Asked(entry, unsigned, flaw="it is no rollout event")
    try:
        body = signed.body.encode("utf-8")
        key = verify(body, signed.signature.encode("utf-8"), ROLLOUT_NAMESPACE)
    except RegistryError as error:
        return Asked(entry, unsigned, order.event, flaw=error.what)
    except ValueError:
        return Asked(entry, unsigned, order.event, flaw="its signature cannot be read")
    flaw = None
    if (entry.key, entry.at) != (order.event.rollout, order.event.at):
        flaw = "it was signed for another rollout or another time"
    # A flaw of this entry is no flaw of the order: whoever puts it elsewhere cannot have it refused.
    return Asked(entry, unsigned if flaw else _digest(body, key), order.event, order, key, flaw)


def judge(asked: Asked, state: RegistryState | None, now: datetime) -> Judgement:
    """Whether an order counts: by the release log and the time in which the controller first reads it.

    Args:
        asked: The order.
        state: The fold of the signed log; None where no log was read yet.
        now: The controller's clock.
    """
    event, order = asked.event, asked.order
    if event is not None and event.type not in ROLES:
        return Judgement("refused", f"only the controller writes this, on chain '{WRITER}'")
    if asked.flaw is not None or event is None or order is None or asked.key is None:
        return Judgement("refused", asked.flaw or "it is no order")
    late = _out_of_time(event.at, now)
    if late is not None:
        return Judgement("refused", late)
    if state is None or order.position > state.position:
        return Judgement("waits", f"the release log has not arrived at position {order.position}")
    if order.position < 0 or state.entries[order.position].digest != order.head:
        return Judgement("refused", "it names another release log")
    author = state.governance.author(asked.key)
    if author is None:
        return Judgement("refused", "its key belongs to no principal")
    barred = _barred(author, event, state, now)
    return Judgement("counts", author=author) if barred is None else Judgement("refused", barred)


def refusal(asked: Asked, reason: str, now: datetime) -> RolloutEvent:
    """The event that says why an order was not taken up."""
    event = asked.event
    return RolloutEvent(
        rollout=asked.entry.key,
        model="" if event is None else event.model,
        type="refused",
        at=iso(now),
        by="" if event is None else event.by,
        stage="",
        share=0.0,
        champion=None,
        candidate="" if event is None else event.candidate,
        reason=f"{asked.place} counts for nothing: {reason}",
        order=asked.digest,
    )


def _digest(body: bytes, key: str) -> str:
    """What a signed order is known by: somebody else's signature under the same text makes another order of it."""
    return sha256_hex(key.encode("utf-8") + b"\n" + body)


def _out_of_time(at: str, now: datetime) -> str | None:
    try:
        given = parse_instant(at)
    except (ValueError, ArithmeticError):
        return "it says no time"
    if given > now + AHEAD:
        return f"it is dated {at}, more than {AHEAD.seconds // 60} minutes after the controller's clock"
    if given < now - STALE:
        return f"it is dated {at}, more than {STALE.days} day before the controller read it"
    return None


def _barred(author: Author, event: RolloutEvent, state: RegistryState, now: datetime) -> str | None:
    """Why somebody may not give an order, or None."""
    if state.position >= state.revoked.get(author.key, state.position + 1):
        return f"the key of {author.principal} was revoked"
    if author.expires <= now:
        return f"the key of {author.principal} had lapsed"
    if event.by != author.principal:
        return f"{author.principal} signed it in the name of {event.by}"
    if not author.roles & set(ROLES[event.type]):
        held = ", ".join(sorted(author.roles))
        return f"{author.principal} has role {held}; this needs {' or '.join(ROLES[event.type])}"
    return None

"""What happens in a rollout, as it is written on the ledger (kind ``rollout``, key = the rollout's id)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from countermark.errors import RolloutError
from countermark.ledger.entry import Entry
from countermark.records.decision import Closed, encode

WRITER = "rollout"
"""The chain of the controller. It has one writer at a time: whoever holds it leads."""

Type = Literal[
    "started", "advanced", "completed", "rolled_back", "inconclusive", "stopped", "reconciled",
    "challenger_named", "challenger_dismissed", "refused",
]  # fmt: skip


class GuardReading(Closed, frozen=True, kw_only=True):
    """How a guard stood when something was decided.

    Attributes:
        guard: ``errors``, ``latency``, ``decision_rate``, ``score_psi`` or ``group_approval ATTRIBUTE=GROUP``.
        verdict: ``fail`` turns the release back; ``thin`` has too few pairs to say anything, and a stage waits for it;
            ``not evaluated`` cannot be looked at here, and a stage waits for it as well; ``left out`` is a group too
            small to be judged, and nothing waits for it.
        n: Pairs that were looked at.
        value: Estimate of what is guarded.
        limit: Its limit.
        log_e: Log of the evidence against being within the limit; None where the guard is no such test.
        reason: What else there is to say: why it was not evaluated, or how many cases had no pair.
    """

    guard: str
    verdict: Literal["pass", "fail", "thin", "not evaluated", "left out"]
    n: int
    value: float | None
    limit: float
    log_e: float | None = None
    reason: str = ""


class RolloutEvent(Closed, frozen=True, kw_only=True):
    """Something that happened in a rollout, as the controller has written it; or, signed, what a person asks for.

    Attributes:
        rollout: Id of the rollout.
        model: Name of the model.
        type: What happened.
        at: When, by the clock of the controller; in an order, by that of the person.
        by: Who or what did it: a principal, or ``controller``. Whose order was refused, if it said so.
        stage: Stage that was entered (``shadow``, ``canary 5%``, ``full``), or in which it ended.
        share: Share of entities that the candidate answers from now on.
        champion: Version that it replaces; None only where a model has never answered before.
        candidate: Version that takes over.
        plan: The whole plan; on ``started`` only.
        reason: Why, in words.
        readings: How the guards stood.
        order: Digest of the order that it follows from; None where the controller acted by itself.
        cursor: Where every chain stood; on ``started`` only: the cases of the rollout come later.
    """

    format: Literal["countermark/rollout/2"] = "countermark/rollout/2"
    rollout: str
    model: str
    type: Type
    at: str
    by: str
    stage: str
    share: float
    champion: str | None
    candidate: str
    plan: dict[str, Any] | None = None
    reason: str = ""
    readings: tuple[GuardReading, ...] = ()
    order: str | None = None
    cursor: dict[str, int] | None = None


class Order(Closed, frozen=True, kw_only=True):
    """What a person signs.

    Attributes:
        event: What is to happen.
        position: Last position of the release log that the person saw.
        head: Digest of that entry: an order for another bank is none here.
    """

    event: RolloutEvent
    position: int
    head: str


class SignedOrder(Closed, frozen=True, kw_only=True):
    """An order as it is written on the ledger.

    Attributes:
        body: The order as JSON text; these bytes are signed.
        signature: Armoured SSH signature, namespace ``countermark-rollout``.
    """

    format: Literal["countermark/rollout_order/1"] = "countermark/rollout_order/1"
    body: str
    signature: str

    @property
    def order(self) -> Order:
        """What was signed."""
        return msgspec.json.decode(self.body, type=Order)


def event_of(entry: Entry) -> RolloutEvent:
    """Read an event that the controller wrote.

    Raises:
        RolloutError: If the entry is no such event.
    """
    try:
        return msgspec.json.decode(entry.payload, type=RolloutEvent)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise RolloutError(
            f"entry {entry.seq} of chain '{entry.chain}' is no rollout event", got=str(error)[:200]
        ) from None


def event_bytes(event: RolloutEvent) -> bytes:
    """The bytes of an event of the controller, as the ledger keeps them."""
    return encode(event)

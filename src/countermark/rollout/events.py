"""What happens in a rollout, as it is written on the ledger (kind ``rollout``, key = the rollout's id)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from countermark.errors import RolloutError
from countermark.ledger.entry import Entry
from countermark.records.decision import Closed, encode

Type = Literal[
    "started", "advanced", "completed", "rolled_back", "inconclusive", "stopped", "reconciled",
    "challenger_named", "challenger_dismissed",
]  # fmt: skip


class GuardReading(Closed, frozen=True, kw_only=True):
    """How a guard stood when something was decided.

    Attributes:
        guard: ``errors``, ``latency``, ``decision_rate``, ``score_psi`` or ``group_approval ATTRIBUTE=GROUP``.
        verdict: ``fail`` turns the release back; ``thin`` has too few pairs to say anything, and a stage waits for it;
            ``not evaluated`` cannot be looked at here: no protected groups are at hand.
        n: Pairs that were looked at.
        value: Estimate of what is guarded.
        limit: Its limit.
        log_e: Log of the evidence against being within the limit; None where the guard is no such test.
    """

    guard: str
    verdict: Literal["pass", "fail", "thin", "not evaluated"]
    n: int
    value: float | None
    limit: float
    log_e: float | None = None


class RolloutEvent(Closed, frozen=True, kw_only=True):
    """Something that happened in a rollout.

    Attributes:
        rollout: Id of the rollout.
        model: Name of the model.
        type: What happened.
        at: When.
        by: Who or what did it: a principal, or ``controller``.
        stage: Stage that was entered (``shadow``, ``canary 5%``, ``full``), or in which it ended.
        share: Share of entities that the candidate answers from now on.
        champion: Version that it replaces; None only where a model has never answered before.
        candidate: Version that takes over.
        plan: The whole plan; on ``started`` only.
        reason: Why, in words.
        readings: How the guards stood.
    """

    format: Literal["countermark/rollout/1"] = "countermark/rollout/1"
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


def event_of(entry: Entry) -> RolloutEvent:
    """Read an event from the ledger.

    Raises:
        RolloutError: If the entry is no such event.
    """
    try:
        return msgspec.json.decode(entry.payload, type=RolloutEvent)
    except msgspec.DecodeError as error:
        raise RolloutError(
            f"entry {entry.seq} of chain '{entry.chain}' is no rollout event", got=str(error)[:200]
        ) from None


def event_bytes(event: RolloutEvent) -> bytes:
    """The bytes of an event, as the ledger keeps them."""
    return encode(event)

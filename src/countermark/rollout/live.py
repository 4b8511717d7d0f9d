"""What is live, beside what is authorised: at any instant, from the ledger and the signed log."""

from __future__ import annotations

from dataclasses import dataclass

from countermark.ledger.ledger import Ledger
from countermark.registry.state import RegistryState
from countermark.rollout.controller import latest_table
from countermark.rollout.events import event_of
from countermark.rollout.machine import RolloutState, fold


@dataclass(frozen=True, slots=True)
class Standing:
    """One model at an instant.

    Attributes:
        model: Its name.
        authorised: Versions that tags and log allow, oldest first.
        champion: Version that answers; None if nothing may.
        candidate: Version under rollout.
        share: Share of entities that the candidate answers.
        challenger: Standing challenger.
        rollout: The last rollout, running or ended.
        divergences: What a person has to reconcile.
    """

    model: str
    authorised: tuple[str, ...]
    champion: str | None
    candidate: str | None
    share: float
    challenger: str | None
    rollout: RolloutState | None
    divergences: tuple[str, ...]


def rollouts(ledger: Ledger, *, until: str | None = None) -> dict[str, RolloutState]:
    """Rollouts by id, as they stand or stood.

    Args:
        ledger: The ledger.
        until: ISO instant; later events are left out.

    Raises:
        RolloutError: If the ledger holds what could not have happened.
    """
    events = [event_of(entry) for entry in ledger.read(["rollout"]) if until is None or entry.at <= until]
    return fold(sorted(events, key=lambda event: event.at))


def standing(ledger: Ledger, state: RegistryState, *, until: str | None = None) -> tuple[Standing, ...]:
    """Authorised beside live, for every model of the log.

    Args:
        ledger: The ledger.
        state: The fold of the signed log, as of the same instant.
        until: ISO instant; None for the present.
    """
    table = latest_table(ledger, until=until)
    states = rollouts(ledger, until=until)
    found = []
    for model in state.models:
        allowed = tuple(authorisation.ref.version for authorisation in state.authorised(model))
        route = table.models.get(model)
        mine = [rollout for rollout in states.values() if rollout.model == model]
        last = mine[-1] if mine else None
        champion = route.champion if route is not None else (allowed[0] if allowed else None)
        if champion is not None and champion not in allowed:
            champion = allowed[0] if allowed else None
        found.append(
            Standing(
                model=model,
                authorised=allowed,
                champion=champion,
                candidate=None if route is None else route.candidate,
                share=0.0 if route is None else route.share,
                challenger=None if route is None else route.challenger,
                rollout=last,
                divergences=tuple(_divergences(allowed, champion, last)),
            )
        )
    return tuple(found)


def _divergences(allowed: tuple[str, ...], champion: str | None, last: RolloutState | None) -> list[str]:
    """Authorised and live differ after a rollback, and stay different until a person reconciles them."""
    found = []
    if champion is None:
        found.append("no release is authorised: nothing answers")
    if last is not None and last.ended in ("rolled_back", "inconclusive") and not last.reconciled:
        words = {"rolled_back": "was rolled back", "inconclusive": "ended inconclusive"}[last.ended]
        still = "is still authorised" if last.candidate in allowed else "is no longer authorised"
        found.append(f"{last.candidate} {words} at {last.events[-1].at} and {still}; reconcile rollout {last.id}")
    newest = allowed[-1] if allowed else None
    running = last is not None and last.running
    tried = last is not None and last.candidate == newest
    if newest is not None and newest != champion and not running and not tried:
        found.append(f"{newest} is authorised and has not been rolled out")
    return found

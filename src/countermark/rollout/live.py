"""What is live, beside what is authorised: at any instant, from the controller's chain and the signed log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Ledger, pass_over
from countermark.records.clock import parse_instant
from countermark.registry.state import RegistryState
from countermark.rollout.controller import latest_table
from countermark.rollout.events import RolloutEvent
from countermark.rollout.machine import RolloutState
from countermark.rollout.orders import Asked, judge, read_order
from countermark.rollout.story import Story, by_controller, no_effect, told

REMEMBERED = timedelta(days=7)
"""How long a refused order is shown."""


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
        ordered: Orders that wait for the controller, in words.
        divergences: What a person has to reconcile.
        silent: Whether nothing answers although the bank relies on the model; the first divergence says so.
    """

    model: str
    authorised: tuple[str, ...]
    champion: str | None
    candidate: str | None
    share: float
    challenger: str | None
    rollout: RolloutState | None
    ordered: tuple[str, ...]
    divergences: tuple[str, ...]
    silent: bool = False


def rollouts(
    ledger: Ledger, *, until: str | None = None, counts: Callable[[Entry], bool] | None = None
) -> dict[str, RolloutState]:
    """Rollouts by id, as they stand or stood: what the controller has written.

    Args:
        ledger: The ledger.
        until: ISO instant; what was written later is left out.
        counts: Whether an entry is part of it at all, whatever its date; every one is otherwise.
    """
    return told(_written(ledger, until, counts)[0]).states


def outcome_of(ledger: Ledger, order: str) -> RolloutEvent | None:
    """What the controller made of an order, or None while it waits.

    Args:
        ledger: The ledger.
        order: Digest of the order.
    """
    return told(_written(ledger, None)[0]).outcomes.get(order)


def _written(
    ledger: Ledger, until: str | None, counts: Callable[[Entry], bool] | None = None
) -> tuple[list[Entry], list[Entry]]:
    """What the controller wrote, in the order of its chain, and what else there is of kind ``rollout``.

    The controller's chain counts as far as the last entry of that time: a clock that was set back tears no hole in it.
    What was changed after it was written is passed over, as the controller does; ``damage`` names it.
    """
    mine: list[Entry] = []
    others: list[Entry] = []
    for entry in ledger.read(["rollout"], damaged=pass_over):
        if counts is not None and not counts(entry):
            continue
        (mine if by_controller(entry) else others).append(entry)
    if until is None:
        return mine, others
    end = max((k for k, entry in enumerate(mine) if entry.at <= until), default=-1)
    return mine[: end + 1], [entry for entry in others if entry.at <= until]


def damage(ledger: Ledger) -> tuple[str, ...]:
    """Entries about rollouts and routing that were changed after they were written, in words: they have no effect."""
    found: list[str] = []
    for _ in ledger.read(["rollout", "routing"], damaged=lambda *what: found.append(no_effect(*what))):
        pass
    return tuple(found)


def _waiting(story: Story, others: Sequence[Entry]) -> list[Asked]:
    found = {asked.digest: asked for entry in others if (asked := read_order(entry)).digest not in story.outcomes}
    return list(found.values())


def standing(
    ledger: Ledger,
    state: RegistryState,
    *,
    until: str | None = None,
    counts: Callable[[Entry], bool] | None = None,
) -> tuple[Standing, ...]:
    """Authorised beside live, for every model of the log.

    Args:
        ledger: The ledger.
        state: The fold of the signed log, as of the same instant.
        until: ISO instant; None for the present.
        counts: Whether an entry is part of it at all, whatever its date; only with ``until``.
    """
    table = latest_table(ledger, until=until, counts=counts)
    mine, others = _written(ledger, until, counts)
    story = told(mine)
    waiting = _waiting(story, others)
    found = []
    for model in state.models:
        allowed = tuple(authorisation.ref.version for authorisation in state.authorised(model))
        route = table.models.get(model)
        last = next((one for one in reversed(story.states.values()) if one.model == model), None)
        entitled = allowed[:1] if route is None else route.proven
        champion = next((version for version in entitled if version in allowed), None)
        moving = (last is not None and last.running) or (route is not None and route.candidate is not None)
        silent = champion is None and (bool(allowed) or moving or _ended_by_itself(state, model))
        asked = [one for one in waiting if one.event is not None and one.event.model == model]
        found.append(
            Standing(
                model=model,
                authorised=allowed,
                champion=champion,
                candidate=None if route is None else route.candidate,
                share=0.0 if route is None else route.share,
                challenger=None if route is None else route.challenger,
                rollout=last,
                ordered=tuple(_ordered(one, state) for one in asked if _stands(one, state)),
                divergences=(
                    *_divergences(allowed, champion, last, silent=silent),
                    *(event.reason for event in story.refused if event.model == model and _recent(event.at, state.now)),
                    *(_refused(one, state) for one in asked if not _stands(one, state)),
                ),
                silent=silent,
            )
        )
    return tuple(found)


def _ended_by_itself(state: RegistryState, model: str) -> bool:
    """Whether a release ended in production that nobody took out: its approvals lapsed, or an entry became void.

    A model that somebody retired or took out, or that was never authorised, is missed by nobody.
    """
    void = any(lost.environment == "prod" and lost.ref.model == model for lost in state.lost)
    return void or bool(state.lapsed(model))


def strays(ledger: Ledger, state: RegistryState, *, until: str | None = None) -> tuple[str, ...]:
    """Entries that belong to no model and have no effect, in words: of the last days, or on the controller's chain.

    Args:
        ledger: The ledger.
        state: The fold of the signed log, as of the same instant.
        until: ISO instant; None for the present.
    """
    mine, others = _written(ledger, until)
    story = told(mine)
    known = set(state.models)
    return (
        *damage(ledger),
        *story.odd,
        *(event.reason for event in story.refused if event.model not in known and _recent(event.at, state.now)),
        *(
            _refused(one, state)
            for one in _waiting(story, others)
            if (one.event is None or one.event.model not in known) and _recent(one.entry.at, state.now)
        ),
    )


def _stands(asked: Asked, state: RegistryState) -> bool:
    return judge(asked, state, state.now).verdict != "refused"


def _ordered(asked: Asked, state: RegistryState) -> str:
    by = "" if asked.event is None else f" by {asked.event.by} at {asked.event.at}"
    held = judge(asked, state, state.now)
    return f"{asked.place} was ordered{by}, not yet taken up" + (f": {held.reason}" if held.reason else "")


def _refused(asked: Asked, state: RegistryState) -> str:
    return f"{asked.place} counts for nothing: {judge(asked, state, state.now).reason or 'its model is not known'}"


def _recent(at: str, now: datetime) -> bool:
    """Whether it was refused lately: the ledger forgets nothing, and people need not read it for ever."""
    try:
        return parse_instant(at) > now - REMEMBERED
    except (ValueError, ArithmeticError):
        return True


def _divergences(
    allowed: tuple[str, ...], champion: str | None, last: RolloutState | None, *, silent: bool
) -> list[str]:
    """Authorised and live differ after a rollback, and stay different until a person reconciles them."""
    found = []
    if silent and not allowed:
        found.append("no release is authorised any more: nothing answers")
    elif silent:
        found.append("no authorised release has answered everybody before: nothing answers until a rollout is started")
    if last is not None and last.ended in ("rolled_back", "inconclusive") and not last.reconciled:
        words = {"rolled_back": "was rolled back", "inconclusive": "ended inconclusive"}[last.ended]
        still = "is still authorised" if last.candidate in allowed else "is no longer authorised"
        found.append(f"{last.candidate} {words} at {last.events[-1].at} and {still}; reconcile rollout {last.id}")
    newest = allowed[-1] if allowed else None
    running = last is not None and last.running
    tried = last is not None and last.candidate == newest
    # Where nothing answers, the first sentence has said that a rollout is to be started.
    if newest is not None and champion not in (None, newest) and not running and not tried:
        found.append(f"{newest} is authorised and has not been rolled out")
    return found

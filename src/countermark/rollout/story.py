"""What the controller has written, folded in the order of its chain: the one truth about rollouts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from countermark.errors import RolloutError
from countermark.ledger.entry import Entry, Row
from countermark.ledger.ledger import what_changed
from countermark.rollout.events import WRITER, RolloutEvent, event_of
from countermark.rollout.machine import STANDING, RolloutState, follow
from countermark.rollout.orders import ROLES, signed_order


@dataclass(slots=True)
class Story:
    """Everything that has happened to rollouts.

    Attributes:
        states: Rollouts by id, in order of their start.
        challengers: Version of the standing challenger by model.
        outcomes: What became of each order that was read, by its digest.
        refused: Orders that were refused, oldest first.
        odd: Entries of the controller's chain that follow from nothing, in words; they have no effect.
    """

    states: dict[str, RolloutState] = field(default_factory=dict)
    challengers: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, RolloutEvent] = field(default_factory=dict)
    refused: list[RolloutEvent] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def copy(self) -> Story:
        """One that goes on without this one."""
        return Story(dict(self.states), dict(self.challengers), dict(self.outcomes), list(self.refused), list(self.odd))

    def add(self, event: RolloutEvent) -> None:
        """Go on by one event.

        Raises:
            RolloutError: If it does not follow from those before it; then nothing has changed.
        """
        if event.order is None and (event.type in ROLES or event.type == "refused"):
            raise RolloutError(f"'{event.type}' of rollout '{event.rollout}' names no order")
        if event.order is not None and event.order in self.outcomes:
            raise RolloutError(f"the order behind '{event.type}' of rollout '{event.rollout}' has an outcome already")
        if event.type == "refused":
            self.refused.append(event)
        elif event.type in STANDING:
            self._standing(event)
        else:
            self.states[event.rollout] = follow(self.states, event)
        if event.order is not None:
            self.outcomes[event.order] = event

    def _standing(self, event: RolloutEvent) -> None:
        if event.type == "challenger_named":
            self.challengers[event.model] = event.candidate
        elif self.challengers.get(event.model) == event.candidate:
            del self.challengers[event.model]
        else:
            raise RolloutError(f"version '{event.candidate}' is not the challenger of '{event.model}'")

    def read(self, entry: Entry) -> None:
        """Go on by an entry of the controller's chain; one that does not follow is named in ``odd``."""
        try:
            self.add(event_of(entry))
        except (RolloutError, ValueError, ArithmeticError) as error:
            what = error.what if isinstance(error, RolloutError) else type(error).__name__
            self.odd.append(f"entry {entry.seq} of chain '{entry.chain}' has no effect: {what}")

    @property
    def running(self) -> list[RolloutState]:
        """Rollouts that have not ended."""
        return [state for state in self.states.values() if state.running]


def no_effect(chain: str, row: Row) -> str:
    """What is said of an entry that was changed after it was written."""
    return f"{what_changed(chain, row)}, and has no effect"


def told(entries: Iterable[Entry]) -> Story:
    """The story of a ledger.

    Args:
        entries: Entries of kind ``rollout``; those of other chains are requests, and no part of it.
    """
    story = Story()
    for entry in entries:
        if by_controller(entry):
            story.read(entry)
    return story


def by_controller(entry: Entry) -> bool:
    """Whether an entry is what the controller wrote, and no order that was put on its chain."""
    return entry.chain == WRITER and signed_order(entry) is None

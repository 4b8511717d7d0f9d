"""Decisions and shadows of running rollouts, brought together into pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import msgspec

from countermark.ledger.entry import Entry
from countermark.records.decision import DecisionRecord, decode
from countermark.records.groups import Groups
from countermark.rollout.evidence import RolloutEvidence, Yardstick, count, miss
from countermark.rollout.machine import RolloutState

MOST_WAITING = 20_000
"""Records that wait for their other half at most; beyond that the oldest are given up early."""


@dataclass(slots=True)
class _Half:
    """A case that one release has scored, until the other's score comes.

    ``decided`` says whether it was answered: a shadow whose decision never comes was never a case.
    """

    since: datetime
    stage: str | None
    within: timedelta
    decided: bool = False
    arms: dict[str, DecisionRecord] = field(default_factory=dict)


class Pairing:
    """Counts the pairs of running rollouts, each case once.

    Args:
        groups: Protected groups by entity; None where they are not at hand.

    Attributes:
        faults: Why the evidence of a rollout cannot be counted, by its id.
    """

    def __init__(self, groups: Groups | None) -> None:
        self._waiting: dict[tuple[str, str], _Half] = {}
        self._evidence: dict[str, RolloutEvidence] = {}
        self.faults: dict[str, str] = {}
        self._groups = groups
        self._sized = 0
        self._sizes: dict[str, int] = {}

    def evidence(self, rollout: str) -> RolloutEvidence:
        """Counts of a rollout."""
        return self._evidence.setdefault(rollout, RolloutEvidence())

    def __len__(self) -> int:
        """Cases that wait for their other half."""
        return len(self._waiting)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Entities of every protected group at hand, by ``ATTRIBUTE=GROUP``."""
        if self._groups is not None and len(self._groups) > self._sized:
            for named in islice(self._groups.values(), self._sized, None):
                for attribute, group in named.items():
                    name = f"{attribute}={group}"
                    self._sizes[name] = self._sizes.get(name, 0) + 1
            self._sized = len(self._groups)
        return self._sizes

    def take(
        self,
        entries: Iterable[Entry],
        states: Mapping[str, RolloutState],
        yards: Mapping[str, Yardstick],
        now: datetime,
    ) -> Iterator[str]:
        """Count what can be counted, and give up what has waited too long.

        Args:
            entries: Entries of kinds ``decision`` and ``shadow``.
            states: Rollouts by id.
            yards: What the evidence of each running rollout is counted against.
            now: The controller's clock: how long a case has waited is its own to say.

        Yields:
            Entries that cannot be read, in words. Their case counts as one without its other half.
        """
        for entry in entries:
            try:
                record = decode(entry.payload, DecisionRecord)
            except (msgspec.DecodeError, RecursionError, ValueError):
                yield f"entry {entry.seq} of chain '{entry.chain}' is no record of a {entry.kind}"
                continue
            rollout = record.route.rollout
            if rollout is not None and rollout in yards and record.route.arm != "challenger":
                try:
                    self._pair(record, states[rollout], yards[rollout], now, decided=entry.kind == "decision")
                except Exception as error:  # noqa: BLE001 - one rollout's trouble is named, and is no other's
                    self.faults[rollout] = type(error).__name__
        self._give_up(states, now)

    def _pair(
        self, record: DecisionRecord, state: RolloutState, by: Yardstick, now: datetime, *, decided: bool
    ) -> None:
        key = (state.id, record.id)
        half = self._waiting.get(key)
        if half is None:
            if len(self._waiting) >= MOST_WAITING:
                self._drop(next(iter(self._waiting)), running=True)
            within = timedelta(seconds=state.plan.pair_seconds)
            half = self._waiting[key] = _Half(now, record.route.stage, within)
        half.decided = half.decided or decided
        # Only what the guards ask for is kept: a request can be large.
        half.arms[record.route.arm] = msgspec.structs.replace(record, request={}, features={}, views=(), reasons=())
        if len(half.arms) == 2 and half.decided:
            del self._waiting[key]
            evidence = self.evidence(state.id)
            count(evidence, half.arms["champion"], half.arms["candidate"], by)
            if half.stage == state.stage:
                evidence.stage_pairs += 1

    def _give_up(self, states: Mapping[str, RolloutState], now: datetime) -> None:
        for key in [key for key, half in self._waiting.items() if now - half.since >= half.within]:
            self._drop(key, running=states[key[0]].running)

    def _drop(self, key: tuple[str, str], *, running: bool) -> None:
        half = self._waiting.pop(key)
        if half.decided and running:
            miss(self.evidence(key[0]))

    def next_stage(self, rollout: str) -> None:
        """Count the pairs of a new stage from nothing."""
        self.evidence(rollout).stage_pairs = 0

    def forget(self, rollout: str) -> None:
        """Let go of the cases of a rollout that has ended."""
        self._waiting = {key: half for key, half in self._waiting.items() if key[0] != rollout}
        self.faults.pop(rollout, None)

"""Decisions and shadows of running rollouts, brought together into pairs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
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
"""Cases of one rollout that wait for their other half at most; beyond that the oldest are given up early."""


@dataclass(slots=True)
class _Half:
    """A case that one release has scored, until the other's score comes.

    ``decided`` says whether it was answered: a shadow whose decision never comes was never a case.
    """

    since: datetime
    stage: str | None
    decided: bool = False
    arms: dict[str, DecisionRecord] = field(default_factory=dict)


class Pairing:
    """Counts the pairs of running rollouts, each case once.

    Args:
        groups: Protected groups by entity; None where they are not at hand.
    """

    def __init__(self, groups: Groups | None) -> None:
        self._taken: dict[str, list[tuple[DecisionRecord, bool]]] = {}
        self._waiting: dict[str, dict[str, _Half]] = {}
        self._evidence: dict[str, RolloutEvidence] = {}
        self._groups = groups
        self._sized = 0
        self._sizes: dict[str, int] = {}

    def evidence(self, rollout: str) -> RolloutEvidence:
        """Counts of a rollout."""
        return self._evidence.setdefault(rollout, RolloutEvidence())

    def __len__(self) -> int:
        """Cases that wait for their other half."""
        return sum(map(len, self._waiting.values()))

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

    def take(self, entries: Iterable[Entry], running: Container[str]) -> Iterator[str]:
        """Keep what belongs to a rollout that runs, to be counted by :meth:`count`.

        Args:
            entries: Entries of kinds ``decision`` and ``shadow``.
            running: Ids of the rollouts that run.

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
            if rollout is not None and rollout in running and record.route.arm != "challenger":
                # Only what the guards ask for is kept: a request can be large.
                kept = msgspec.structs.replace(record, request={}, features={}, views=(), reasons=())
                self._taken.setdefault(rollout, []).append((kept, entry.kind == "decision"))

    def count(self, state: RolloutState, by: Yardstick, now: datetime) -> None:
        """Count what a rollout's cases show by now, and give up those that have waited too long.

        Args:
            state: The rollout.
            by: What its evidence is counted against.
            now: The controller's clock: how long a case has waited is its own to say.
        """
        waiting = self._waiting.setdefault(state.id, {})
        for record, decided in self._taken.pop(state.id, ()):
            if record.id not in waiting and len(waiting) >= MOST_WAITING:
                self._give_up(state.id, next(iter(waiting)))
            half = waiting.setdefault(record.id, _Half(now, record.route.stage))
            half.decided = half.decided or decided
            half.arms[record.route.arm] = record
            if len(half.arms) == 2 and half.decided:
                del waiting[record.id]
                evidence = self.evidence(state.id)
                count(evidence, half.arms["champion"], half.arms["candidate"], by)
                if half.stage == state.stage:
                    evidence.stage_pairs += 1
        within = timedelta(seconds=state.plan.pair_seconds)
        for case in [case for case, half in waiting.items() if now - half.since >= within]:
            self._give_up(state.id, case)

    def _give_up(self, rollout: str, case: str) -> None:
        if self._waiting[rollout].pop(case).decided:
            miss(self.evidence(rollout))

    def next_stage(self, rollout: str) -> None:
        """Count the pairs of a new stage from nothing."""
        self.evidence(rollout).stage_pairs = 0

    def forget(self, rollout: str) -> None:
        """Let go of the cases of a rollout that has ended."""
        self._waiting.pop(rollout, None)
        self._taken.pop(rollout, None)

"""What the ledger shows of a rollout so far: pairs of decisions on the same cases, counted as they come."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from countermark.records.decision import DecisionRecord
from countermark.records.groups import Groups
from countermark.records.profile import NumericProfile


@dataclass(slots=True)
class PairCounts:
    """Cases on which the candidate alone, both or neither, or the champion alone decided against the customer."""

    up: int = 0
    same: int = 0
    down: int = 0

    @property
    def n(self) -> int:
        """Pairs."""
        return self.up + self.same + self.down

    def add(self, move: int) -> None:
        """Count one pair: +1, 0 or -1."""
        if move > 0:
            self.up += 1
        elif move < 0:
            self.down += 1
        else:
            self.same += 1


@dataclass(slots=True)
class RolloutEvidence:
    """Counts since the start of a rollout.

    Attributes:
        pairs: Cases scored by both releases.
        stage_pairs: Of those, in the present stage.
        failures: Cases on which the candidate gave an error.
        slow: Cases on which the candidate took longer than the latency guard allows.
        moves: Paired decisions.
        group_moves: Paired decisions by ``ATTRIBUTE=GROUP``.
        candidate_scores: Candidate's scores in the bins of its reference profile.
        champion_scores: Champion's scores in the bins of its own.
        psi_looks: Looks that the PSI guard has taken.
    """

    pairs: int = 0
    stage_pairs: int = 0
    failures: int = 0
    slow: int = 0
    moves: PairCounts = field(default_factory=PairCounts)
    group_moves: dict[str, PairCounts] = field(default_factory=dict)
    candidate_scores: list[int] = field(default_factory=list)
    champion_scores: list[int] = field(default_factory=list)
    psi_looks: int = 0


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What evidence is counted against.

    Attributes:
        unfavourable: The policy's word for a decision against the customer, by version.
        profiles: Score histogram of the reference profile, by version.
        slow_us: Microseconds beyond which a score is slow; None without a latency guard.
        groups: Protected groups; None where they are not at hand.
    """

    unfavourable: Mapping[str, str | None]
    profiles: Mapping[str, NumericProfile]
    slow_us: float | None
    groups: Groups | None


def count(evidence: RolloutEvidence, champion: DecisionRecord, candidate: DecisionRecord, by: Yardstick) -> None:
    """Add one pair: what both releases said of one case, whoever answered it."""
    evidence.pairs += 1
    evidence.stage_pairs += 1
    if by.slow_us is not None and candidate.latency_us > by.slow_us:
        evidence.slow += 1
    if candidate.error is not None:
        evidence.failures += 1
        return
    if champion.error is not None:
        return
    against = [record.decision == by.unfavourable[record.release.version] for record in (candidate, champion)]
    move = int(against[0]) - int(against[1])
    evidence.moves.add(move)
    for attribute, group in (by.groups or {}).get(champion.entity or "", {}).items():
        evidence.group_moves.setdefault(f"{attribute}={group}", PairCounts()).add(move)
    _score(evidence.candidate_scores, by.profiles[candidate.release.version], candidate.probability)
    _score(evidence.champion_scores, by.profiles[champion.release.version], champion.probability)


def _score(counts: list[int], profile: NumericProfile, value: float) -> None:
    if not counts:
        counts.extend([0] * (len(profile.edges) + 1))
    counts[bisect_left(profile.edges, value)] += 1

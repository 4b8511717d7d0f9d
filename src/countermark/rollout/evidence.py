"""What the ledger shows of a rollout so far: pairs of decisions on the same cases, counted as they come."""

from __future__ import annotations

import math
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
        failures: Cases on which the candidate gave an error, or nothing.
        missing: Of those, cases of which the other release's score never came.
        slow: Cases on which the candidate took longer than the latency guard allows.
        moves: Paired decisions.
        group_moves: Paired decisions by ``ATTRIBUTE=GROUP``.
        candidate_scores: Candidate's scores in the bins of its reference profile.
        champion_scores: Champion's scores in the bins of its own.
        psi_looks: Looks that the PSI guard has taken.
        psi_seen: Both scores at the last look.
    """

    pairs: int = 0
    stage_pairs: int = 0
    failures: int = 0
    missing: int = 0
    slow: int = 0
    moves: PairCounts = field(default_factory=PairCounts)
    group_moves: dict[str, PairCounts] = field(default_factory=dict)
    candidate_scores: list[int] = field(default_factory=list)
    champion_scores: list[int] = field(default_factory=list)
    psi_looks: int = 0
    psi_seen: tuple[tuple[int, ...], tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What evidence is counted against.

    Attributes:
        unfavourable: The policy's word for a decision against the customer, by version.
        profiles: Score histogram of the reference profile, by version.
        slow_us: Microseconds beyond which a score is slow; None without a latency guard.
        groups: Protected groups; None where they are not at hand.
        psi_pairs: Pairs at which the PSI guard looks first; None without one.
    """

    unfavourable: Mapping[str, str | None]
    profiles: Mapping[str, NumericProfile]
    slow_us: float | None
    groups: Groups | None
    psi_pairs: int | None = None


def count(evidence: RolloutEvidence, champion: DecisionRecord, candidate: DecisionRecord, by: Yardstick) -> None:
    """Add one pair: what both releases said of one case, whoever answered it.

    A candidate's record that cannot be read is an error of the candidate; a champion's is as good as none.
    """
    evidence.pairs += 1
    if by.slow_us is not None and candidate.latency_us > by.slow_us:
        evidence.slow += 1
    theirs = None if candidate.error is not None else _said(candidate, by)
    if theirs is None:
        evidence.failures += 1
        return
    ours = None if champion.error is not None else _said(champion, by)
    if ours is None:
        return
    if theirs.against is not None and ours.against is not None:
        move = int(theirs.against) - int(ours.against)
        evidence.moves.add(move)
        for attribute, group in (by.groups or {}).get(champion.entity or "", {}).items():
            evidence.group_moves.setdefault(f"{attribute}={group}", PairCounts()).add(move)
    for counts, said in ((evidence.candidate_scores, theirs), (evidence.champion_scores, ours)):
        if not counts:
            counts.extend([0] * said.bins)
        counts[said.bin] += 1
    if by.psi_pairs is not None:
        look(evidence, by.psi_pairs)


def miss(evidence: RolloutEvidence) -> None:
    """Count a decision that only one release has scored: an error of the candidate, and no pair of its stage."""
    evidence.pairs += 1
    evidence.failures += 1
    evidence.missing += 1


def look(evidence: RolloutEvidence, least: int) -> None:
    """Set the scores aside for the PSI guard each time their number has doubled, from ``least`` on.

    The look belongs to the pair that makes the number full: who counts the same pairs again takes the same looks.
    """
    n = sum(evidence.candidate_scores)
    if n < least:
        return
    number = int(math.log2(n / least)) + 1
    if number > evidence.psi_looks:
        evidence.psi_looks = number
        evidence.psi_seen = (tuple(evidence.candidate_scores), tuple(evidence.champion_scores))


@dataclass(frozen=True, slots=True)
class _Said:
    """One release's word on a case: whether it is against the customer (None without a policy), and its score's bin."""

    against: bool | None
    bin: int
    bins: int


def _said(record: DecisionRecord, by: Yardstick) -> _Said | None:
    version = record.release.version
    if version not in by.profiles:
        return None
    try:
        p = record.probability
    except ValueError:
        return None
    if not math.isfinite(p):
        return None
    edges, word = by.profiles[version].edges, by.unfavourable[version]
    return _Said(None if word is None else record.decision == word, bisect_left(edges, p), len(edges) + 1)

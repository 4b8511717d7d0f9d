"""The guards of a rollout: each a test that may be looked at after every decision."""

from __future__ import annotations

import math
from collections.abc import Iterator

from countermark.config.rollout import Guards, PsiGuard, RolloutPlan
from countermark.metrics.sequential import Sequential, mean_shift, rate_above, spent
from countermark.metrics.stability import psi
from countermark.records.profile import NumericProfile
from countermark.rollout.events import GuardReading
from countermark.rollout.evidence import RolloutEvidence


def declared(guards: Guards) -> tuple[str, ...]:
    """Names of the guards that a plan declares."""
    return tuple(name for name in Guards.model_fields if getattr(guards, name) is not None)


def read_guards(
    plan: RolloutPlan, evidence: RolloutEvidence, profiles: tuple[NumericProfile, NumericProfile]
) -> tuple[GuardReading, ...]:
    """How every declared guard stands.

    The plan's ``alpha`` is shared evenly among the guards, and the share of ``group_approval`` among its groups: a
    release within all limits is turned back with probability ``alpha`` at most, however often this is called.

    Args:
        plan: The plan.
        evidence: Counts so far; the number of PSI looks is raised when one is taken.
        profiles: Score histograms of the reference profiles of candidate and champion.
    """
    names = declared(plan.guards)
    alpha = plan.alpha / max(1, len(names))
    return tuple(_readings(plan.guards, evidence, profiles, alpha))


def _readings(
    guards: Guards, evidence: RolloutEvidence, profiles: tuple[NumericProfile, NumericProfile], alpha: float
) -> Iterator[GuardReading]:
    if guards.errors is not None:
        test = rate_above(evidence.failures, evidence.pairs, guards.errors.limit)
        yield _tested("errors", test, guards.errors.limit, guards.errors.min_pairs, alpha)
    if guards.latency is not None:
        test = rate_above(evidence.slow, evidence.pairs, guards.latency.share)
        yield _tested("latency", test, guards.latency.share, guards.latency.min_pairs, alpha)
    if guards.decision_rate is not None:
        limit, moves = guards.decision_rate.limit, evidence.moves
        test = mean_shift(moves.up, moves.same, moves.down, limit)
        yield _tested("decision_rate", test, limit, guards.decision_rate.min_pairs, alpha)
    if guards.group_approval is not None:
        limit = guards.group_approval.limit
        if not evidence.group_moves:
            yield GuardReading(guard="group_approval", verdict="not evaluated", n=0, value=None, limit=limit)
        for group, moves in sorted(evidence.group_moves.items()):
            test = mean_shift(moves.up, moves.same, moves.down, limit)
            share = alpha / len(evidence.group_moves)
            yield _tested(f"group_approval {group}", test, limit, guards.group_approval.min_pairs, share)
    if guards.score_psi is not None:
        yield _psi(guards.score_psi, evidence, profiles, alpha)


def _tested(name: str, test: Sequential, limit: float, least: int, alpha: float) -> GuardReading:
    verdict = "fail" if test.rejects(alpha) else "thin" if test.n < least else "pass"
    return GuardReading(
        guard=name,
        verdict=verdict,  # type: ignore[arg-type]
        n=test.n,
        value=test.estimate,
        limit=limit,
        log_e=test.log_e,
    )


def _psi(
    guard: PsiGuard, evidence: RolloutEvidence, profiles: tuple[NumericProfile, NumericProfile], alpha: float
) -> GuardReading:
    """Looked at when the number of pairs has doubled: each look spends a part of the error probability."""
    n = sum(evidence.candidate_scores)
    if n < guard.min_pairs:
        return GuardReading(guard="score_psi", verdict="thin", n=n, value=None, limit=guard.limit)
    look = int(math.log2(n / guard.min_pairs)) + 1
    level = 1.0 - spent(alpha, look)
    candidate = psi(profiles[0].counts, evidence.candidate_scores, level=level)
    champion = psi(profiles[1].counts, evidence.champion_scores, level=level)
    excess = (candidate.value or 0.0) - (champion.value or 0.0)
    noise = candidate.critical or 0.0
    new_look = look > evidence.psi_looks
    evidence.psi_looks = max(look, evidence.psi_looks)
    failed = new_look and excess > guard.limit + noise
    return GuardReading(guard="score_psi", verdict="fail" if failed else "pass", n=n, value=excess, limit=guard.limit)

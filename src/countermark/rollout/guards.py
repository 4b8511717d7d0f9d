"""The guards of a rollout: each a test that may be looked at after every decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from countermark.config.rollout import GroupGuard, Guards, PsiGuard, RolloutPlan, ShiftGuard
from countermark.metrics.sequential import Sequential, mean_shift, rate_above, spent
from countermark.metrics.stability import psi
from countermark.records.profile import NumericProfile
from countermark.rollout.events import GuardReading
from countermark.rollout.evidence import RolloutEvidence, look


def declared(guards: Guards) -> tuple[str, ...]:
    """Names of the guards that a plan declares."""
    return tuple(name for name in Guards.model_fields if getattr(guards, name) is not None)


def read_guards(
    plan: RolloutPlan,
    evidence: RolloutEvidence,
    profiles: tuple[NumericProfile, NumericProfile],
    sizes: Mapping[str, int],
) -> tuple[GuardReading, ...]:
    """How every declared guard stands.

    The plan's ``alpha`` is shared evenly among the guards, and the share of ``group_approval`` among its groups: a
    release within all limits is turned back with probability ``alpha`` at most, however often this is called.

    Args:
        plan: The plan.
        evidence: Counts so far; a PSI look that is due is taken.
        profiles: Score histograms of the reference profiles of candidate and champion.
        sizes: Entities of every ``ATTRIBUTE=GROUP`` that is at hand; empty where there are no groups.
    """
    names = declared(plan.guards)
    alpha = plan.alpha / max(1, len(names))
    guards = plan.guards
    found = [*_rates(guards, evidence, alpha)]
    if guards.decision_rate is not None:
        found.append(_decisions(guards.decision_rate, evidence, alpha))
    if guards.group_approval is not None:
        found.extend(_groups(guards.group_approval, evidence, sizes, alpha))
    if guards.score_psi is not None:
        found.append(_psi(guards.score_psi, evidence, profiles, alpha))
    return tuple(found)


def _rates(guards: Guards, evidence: RolloutEvidence, alpha: float) -> Iterator[GuardReading]:
    if guards.errors is not None:
        test = rate_above(evidence.failures, evidence.pairs, guards.errors.limit)
        reading = _tested("errors", test, guards.errors.limit, guards.errors.min_pairs, alpha)
        if evidence.missing:
            said = f"{evidence.missing} without a score of the other release"
            reading = msgspec.structs.replace(reading, reason=said)
        yield reading
    if guards.latency is not None:
        test = rate_above(evidence.slow, evidence.pairs - evidence.missing, guards.latency.share)
        yield _tested("latency", test, guards.latency.share, guards.latency.min_pairs, alpha)


def _decisions(guard: ShiftGuard, evidence: RolloutEvidence, alpha: float) -> GuardReading:
    moves = evidence.moves
    if moves.n == 0 and sum(evidence.candidate_scores) > 0:
        return _unseen("decision_rate", guard.limit, "a release has no decision policy")
    return _tested("decision_rate", mean_shift(moves.up, moves.same, moves.down, guard.limit), guard.limit,
                   guard.min_pairs, alpha)  # fmt: skip


def _groups(
    guard: GroupGuard, evidence: RolloutEvidence, sizes: Mapping[str, int], alpha: float
) -> Iterator[GuardReading]:
    name, least = "group_approval", guard.least
    if not evidence.group_moves:
        blind = evidence.moves.n == 0 and sum(evidence.candidate_scores) > 0
        why = "no protected groups are at hand" if not sizes else "no case so far is of a group that is at hand"
        why = "a release has no decision policy" if blind else why
        yield _unseen(name, guard.limit, why)
        return
    judged = [group for group in sorted(evidence.group_moves) if sizes.get(group, 0) >= least]
    for group, moves in sorted(evidence.group_moves.items()):
        if group in judged:
            test = mean_shift(moves.up, moves.same, moves.down, guard.limit)
            yield _tested(f"{name} {group}", test, guard.limit, guard.min_pairs, alpha / len(judged))
        else:
            said = f"fewer than {least} entities"
            yield GuardReading(
                guard=f"{name} {group}", verdict="left out", n=moves.n, value=None, limit=guard.limit, reason=said
            )
    if not judged:
        why = f"no group has {least} entities"
        yield GuardReading(guard=name, verdict="thin", n=0, value=None, limit=guard.limit, reason=why)


def _unseen(name: str, limit: float, why: str) -> GuardReading:
    return GuardReading(guard=name, verdict="not evaluated", n=0, value=None, limit=limit, reason=why)


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
    look(evidence, guard.min_pairs)
    if evidence.psi_seen is None:
        n = sum(evidence.candidate_scores)
        return GuardReading(guard="score_psi", verdict="thin", n=n, value=None, limit=guard.limit)
    level = 1.0 - spent(alpha, evidence.psi_looks)
    seen = [
        psi(profile.counts, counts, level=level) for profile, counts in zip(profiles, evidence.psi_seen, strict=True)
    ]
    (candidate, noise), (champion, _) = ((one.value, one.critical) for one in seen)
    if candidate is None or champion is None or noise is None:
        return _unseen("score_psi", guard.limit, "a reference profile has no scores")
    excess = candidate - champion
    return GuardReading(
        guard="score_psi",
        verdict="fail" if excess > guard.limit + noise else "pass",
        n=sum(evidence.psi_seen[0]),
        value=excess,
        limit=guard.limit,
    )

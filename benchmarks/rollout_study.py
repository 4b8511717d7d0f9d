"""How often is a good release turned back, and how fast is a bad one? Simulated rollouts under the bank's own plan.

Pairs are drawn, counted, guarded and decided on by the code that runs in production; only the ledger is left out.
Prints, for 500 good releases and 125 of each planted fault: how they ended and after how many pairs.
"""

from __future__ import annotations

import argparse
import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from countermark.config.operations import rollout_plan
from countermark.config.rollout import RolloutPlan
from countermark.records.profile import NumericProfile
from countermark.rollout.evidence import PairCounts, RolloutEvidence
from countermark.rollout.guards import read_guards
from countermark.rollout.machine import RolloutState, begin, fold, step

START = datetime(2026, 1, 1, tzinfo=UTC)
PER_HOUR = 60
CUTOFF = 0.30
SIZES = {"sex=female": 40_000, "sex=male": 60_000}

Fault = Callable[[np.random.Generator, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def scores(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Champion's and a retrained candidate's probabilities of the same cases; margins differ by noise."""
    margin = rng.normal(-1.6, 1.0, n)
    return margin, margin + rng.normal(0.0, 0.12, n)


def nothing(
    rng: np.random.Generator, margin: np.ndarray, women: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A good release: margins, errors, slow scores."""
    del women
    n = margin.size
    return margin, rng.random(n) < 0.0002, rng.random(n) < 0.002


def errors(rng: np.random.Generator, margin: np.ndarray, women: np.ndarray) -> tuple[np.ndarray, ...]:
    """Two per cent of cases give an error."""
    margin, _, slow = nothing(rng, margin, women)
    return margin, rng.random(margin.size) < 0.02, slow


def slow(rng: np.random.Generator, margin: np.ndarray, women: np.ndarray) -> tuple[np.ndarray, ...]:
    """Five per cent of scores take too long."""
    margin, failed, _ = nothing(rng, margin, women)
    return margin, failed, rng.random(margin.size) < 0.05


def shifted(rng: np.random.Generator, margin: np.ndarray, women: np.ndarray) -> tuple[np.ndarray, ...]:
    """A unit was mixed up: margins are half a unit too high."""
    margin, failed, late = nothing(rng, margin, women)
    return margin + 0.5, failed, late


def unfair(rng: np.random.Generator, margin: np.ndarray, women: np.ndarray) -> tuple[np.ndarray, ...]:
    """One group's margins are 0.7 too high."""
    margin, failed, late = nothing(rng, margin, women)
    return margin + 0.7 * women, failed, late


def play(plan: RolloutPlan, profile: NumericProfile, fault: Fault, seed: int) -> tuple[str, int, str]:
    """One rollout: how it ended, after how many pairs, and why."""
    rng = np.random.default_rng(seed)
    event = begin("study-1", "study", "1.0.0", "2.0.0", plan, now=START, by="study")
    events, evidence, now = [event], RolloutEvidence(), START
    state: RolloutState = fold(events)["study-1"]
    while state.running:
        now += timedelta(hours=1)
        hour(rng, profile, fault, evidence)
        readings = read_guards(plan, evidence, (profile, profile), SIZES)
        following = step(state, readings, evidence.stage_pairs, now)
        if following is not None:
            events.append(following)
            state = fold(events)["study-1"]
            evidence.stage_pairs = 0
    last = state.events[-1]
    failed = [reading.guard.split()[0] for reading in last.readings if reading.verdict == "fail"]
    return str(state.ended), evidence.pairs, failed[0] if failed else ""


def hour(rng: np.random.Generator, profile: NumericProfile, fault: Fault, evidence: RolloutEvidence) -> None:
    """Count one hour's pairs."""
    ours, theirs = scores(rng, PER_HOUR)
    women = (rng.random(PER_HOUR) < 0.4).astype(float)
    theirs, failed, late = fault(rng, theirs, women)
    first, second = 1 / (1 + np.exp(-ours)), 1 / (1 + np.exp(-theirs))
    if not evidence.candidate_scores:
        evidence.candidate_scores = [0] * len(profile.counts)
        evidence.champion_scores = [0] * len(profile.counts)
    for k in range(PER_HOUR):
        evidence.pairs += 1
        evidence.stage_pairs += 1
        evidence.slow += bool(late[k])
        if failed[k]:
            evidence.failures += 1
            continue
        move = int(second[k] >= CUTOFF) - int(first[k] >= CUTOFF)
        evidence.moves.add(move)
        group = "sex=female" if women[k] else "sex=male"
        evidence.group_moves.setdefault(group, PairCounts()).add(move)
        evidence.candidate_scores[bisect_left(profile.edges, second[k])] += 1
        evidence.champion_scores[bisect_left(profile.edges, first[k])] += 1


def main() -> None:
    """Play all rollouts and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--good", type=int, default=500)
    parser.add_argument("--each", type=int, default=125)
    asked = parser.parse_args()
    plan = rollout_plan(Path(__file__).parents[1], "standard")
    margin, _ = scores(np.random.default_rng(0), 50_000)
    p = 1 / (1 + np.exp(-margin))
    edges = np.quantile(p, np.linspace(0.05, 0.95, 19))
    counts = np.bincount(np.searchsorted(edges, p, side="left"), minlength=20)
    profile = NumericProfile(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()), missing=0)
    print(f"plan {plan.name} {plan.version}, alpha {plan.alpha:g}, {PER_HOUR} pairs an hour, guards looked at hourly")
    faults: list[tuple[str, Fault, int]] = [
        ("good", nothing, asked.good),
        ("2 % errors", errors, asked.each),
        ("5 % slow", slow, asked.each),
        ("margin +0.5", shifted, asked.each),
        ("one group +0.7", unfair, asked.each),
    ]
    for name, fault, runs in faults:
        ends = [play(plan, profile, fault, 1000 * k + 17) for k in range(runs)]
        how = Counter(end for end, _, _ in ends)
        pairs = [n for end, n, _ in ends if end == "rolled_back"]
        by = Counter(guard for end, _, guard in ends if end == "rolled_back")
        share = how["rolled_back"] / runs
        half = 1.96 * math.sqrt(share * (1 - share) / runs)
        delay = ""
        if pairs:
            delay = f"; pairs to rollback: median {statistics.median(pairs):.0f}, longest {max(pairs)}; by {dict(by)}"
        print(f"{name:15} n {runs:4}  rolled back {share:6.1%} (± {half:.1%})  {dict(how)}{delay}")


if __name__ == "__main__":
    main()

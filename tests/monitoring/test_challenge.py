"""Champion and challenger on the same decisions, once their labels have matured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from countermark.errors import MonitoringError
from countermark.metrics.challenger import brier_difference
from countermark.metrics.discrimination import auc_difference
from countermark.monitoring.challenge import ChallengeEvidence, compare
from countermark.monitoring.window import read_production
from countermark.records.clock import iso
from countermark.records.decision import DecisionRecord, decode, encode
from countermark.scoring.decider import VALUE_ONLY
from tests.monitoring.productions import AS_OF, World, bound, outcome, population

Rng = np.random.Generator


def noisy(record: DecisionRecord, rng: Rng) -> DecisionRecord:
    """A score that ranks worse than the truth."""
    p = float(np.clip(record.probability + rng.normal(0, 0.25), 0.01, 0.99))
    return msgspec.structs.replace(record, p=p.hex(), decision="decline" if p >= 0.3 else "approve")


def paired(
    world: World, n: int, *, ago: float = 45, champion: Any = None, challenger: Any = None, canary: bool = False
) -> list[DecisionRecord]:
    """Decisions of 1.0.0 with shadows of 2.0.0, or the other way round, all with a label."""
    rng, cases = np.random.default_rng(9), population(n, 2)
    made = world.decide(n, ago=ago)
    answered = []
    at = iso(AS_OF - timedelta(days=ago))
    for k, truth in enumerate(made):
        first = truth if champion is None else champion(truth, rng)
        second = bound(truth if challenger is None else challenger(truth, rng), "2.0.0")
        answers, shadow = (second, first) if canary else (first, second)
        named = msgspec.structs.replace(answers, id=f"{truth.id}-{'c' if canary else 'p'}", model="pair")
        other = msgspec.structs.replace(shadow, id=named.id, model="pair")
        world.ledger.append_many(
            [
                ("decision", named.id, encode(named), at),
                ("shadow", other.id, encode(other), at),
                ("outcome", named.id, encode(outcome(named.id, float(cases.y[k]), at, model="pair")), at),
            ]
        )
        answered.append(named)
    return answered


def compared(world: World, *, days: float = 0, **more: Any) -> ChallengeEvidence:
    production = read_production(world.ledger, AS_OF + timedelta(days=days))["pair"]
    return compare(production, "1.0.0", "2.0.0", **{"maturity_days": 30, **more})


def test_a_better_challenger_is_better(world: World) -> None:
    made = paired(world, 500, champion=noisy)
    found = compared(world)
    assert (found.verdict, found.model, found.champion, found.challenger) == ("better", "pair", "1.0.0", "2.0.0")
    assert (found.decisions, found.matured, found.labelled, found.errors) == (500, 500, 500, 0)
    y = population(500, 2).y
    a = population(500, 2).p
    b = np.array([r.probability for r in made])
    ranked, squared = auc_difference(y, a, b), brier_difference(y, a, b)
    assert ranked.interval is not None
    assert squared.interval is not None
    assert (found.auc.difference, found.auc.low, found.auc.high) == pytest.approx(
        (ranked.difference, *ranked.interval), rel=1e-8
    )
    assert (found.auc.champion, found.auc.challenger) == pytest.approx((ranked.auc_b, ranked.auc_a), rel=1e-8)
    assert (found.brier.difference, found.brier.low) == pytest.approx(
        (squared.difference, squared.interval[0]), rel=1e-8
    )
    assert found.brier.champion == pytest.approx(((b - y) ** 2).mean(), rel=1e-8)
    assert found.events == int(y.sum())
    assert found.changed == int(((a >= 0.3) != (b >= 0.3)).sum()) > 0


def test_a_worse_challenger_is_worse(world: World) -> None:
    paired(world, 500, challenger=noisy)
    found = compared(world)
    assert found.verdict == "worse"
    assert found.auc.high is not None
    assert found.auc.high < 0


def test_the_same_score_shows_no_difference(world: World) -> None:
    paired(world, 300)
    found = compared(world)
    assert (found.verdict, found.changed, found.auc.difference) == ("no difference shown", 0, 0.0)


def test_pairs_are_read_in_both_directions(world: World) -> None:
    """In a canary the challenger answers and the champion is the shadow: the same comparison."""
    paired(world, 300, champion=noisy)
    one = compared(world)
    paired(world, 300, champion=noisy, canary=True)
    both = compared(world)
    assert (both.decisions, both.labelled, both.events) == (600, 600, 2 * one.events)
    assert both.auc.difference == pytest.approx(one.auc.difference)
    assert both.verdict == "better"


def test_immature_labels_do_not_count(world: World) -> None:
    paired(world, 300, ago=29, champion=noisy)
    found = compared(world)
    assert (found.verdict, found.decisions, found.matured, found.labelled) == ("too few labels", 300, 0, 0)
    assert found.auc.reason
    assert (found.auc.difference, found.brier.champion) == (None, None)
    assert compared(world, days=2).verdict == "better"


def test_too_few_events_conclude_nothing(world: World) -> None:
    paired(world, 300, champion=noisy)
    assert compared(world, minimum_events=290).verdict == "too few labels"


def test_errors_of_the_challenger_are_counted_and_not_compared(world: World) -> None:
    def fails(record: DecisionRecord, rng: Rng) -> DecisionRecord:
        broken = msgspec.structs.replace(record, p="", margin="", decision="", error="ScorerError: broken")
        return broken if rng.random() < 0.1 else record

    paired(world, 300, challenger=fails)
    found = compared(world)
    assert 10 < found.errors < 60
    assert (found.decisions, found.labelled) == (300, 300 - found.errors)
    assert found.changed == 0


def test_a_champion_that_fails_in_shadow_is_no_error_of_the_challenger(world: World) -> None:
    def fails(record: DecisionRecord, _: Rng) -> DecisionRecord:
        return msgspec.structs.replace(record, p="", margin="", decision="", error="ScorerError: broken")

    paired(world, 50, champion=fails, canary=True)
    found = compared(world)
    assert (found.decisions, found.errors) == (0, 0)


def test_a_shadow_that_is_there_twice_counts_once(world: World) -> None:
    made = paired(world, 50)
    twice = bound(made[0], "2.0.0")
    world.put("shadow", twice.id, twice, twice.at)
    world.put("shadow", made[1].id, bound(made[1], "3.0.0"), made[1].at)
    assert compared(world).decisions == 50


def test_without_a_pair_there_is_evidence_of_nothing(world: World) -> None:
    paired(world, 20)
    production = read_production(world.ledger, AS_OF)["pair"]
    found = compare(production, "1.0.0", "9.0.0", maturity_days=30)
    assert (found.model, found.decisions, found.verdict) == ("pair", 0, "too few labels")


def test_one_outcome_that_cannot_be_one_does_not_end_the_comparison(world: World) -> None:
    made = paired(world, 400)
    before = compared(world)
    world.told(made[0].id, 7.5, ago=1, model="pair")
    assert compared(world) == before, "the outcome before it holds"


def test_amounts_are_refused(world: World) -> None:
    def estimated(record: DecisionRecord, _: Rng) -> DecisionRecord:
        return msgspec.structs.replace(record, decision=VALUE_ONLY)

    made = paired(world, 50, champion=estimated)
    world.told(made[0].id, 0.4, ago=1, model="pair")
    with pytest.raises(MonitoringError, match="1 of 50 outcomes that are neither"):
        compared(world)


def test_it_is_read_as_it_was_written(world: World) -> None:
    paired(world, 50)
    assert decode(encode(compared(world)), ChallengeEvidence) == compared(world)

"""What the ledger said at an instant: nothing learned later, and the last word where there were several."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermark.errors import LedgerError, MonitoringError
from countermark.monitoring.window import pin, read_production
from countermark.records.clock import iso
from countermark.scoring.decider import VALUE_ONLY
from tests.ledger.damage import change
from tests.monitoring.productions import AS_OF, World, bound, record


def outcomes(world: World, days: float = 0.0) -> dict[str, float]:
    production = read_production(world.ledger, AS_OF + timedelta(days=days))["m"]
    return {key: found.value for key, found in production.outcomes.items()}


def test_what_was_learned_later_does_not_count(world: World) -> None:
    one, two = world.decide(2, ago=60)
    world.told(one.id, 1, ago=10)
    world.told(two.id, 1, ago=-1)
    assert outcomes(world) == {one.id: 1}
    assert outcomes(world, days=2) == {one.id: 1, two.id: 1}
    assert outcomes(world, days=-11) == {}


def test_an_outcome_counts_from_when_the_bank_learned_of_it(world: World) -> None:
    """Its place on the ledger may be earlier than what it says of itself; the later of the two holds."""
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 1, ago=10, known_at=iso(AS_OF + timedelta(days=3)))
    assert outcomes(world) == {}
    assert outcomes(world, days=4) == {one.id: 1}


def test_the_last_word_holds(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 1, ago=20)
    world.told(one.id, 0, ago=10)
    assert outcomes(world) == {one.id: 0}
    assert outcomes(world, days=-15) == {one.id: 1}


def test_the_last_word_is_the_one_learned_last_and_not_the_one_written_last(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 0, ago=10)
    world.told(one.id, 1, ago=9, known_at=iso(AS_OF - timedelta(days=20)))
    assert outcomes(world) == {one.id: 0}


def test_instants_are_compared_as_instants(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 1, ago=1, known_at="2026-06-01T01:30:00+02:00")
    assert outcomes(world) == {one.id: 1}, "half past eleven of the day before, in UTC"


def test_an_unresolved_outcome_is_no_label(world: World) -> None:
    one, two = world.decide(2, ago=60)
    world.told(one.id, 1, ago=20, final=False)
    world.told(two.id, 1, ago=20)
    world.told(two.id, 0, ago=10, final=False)
    assert outcomes(world) == {two.id: 1}


def test_an_outcome_of_another_model_is_none_of_this_one(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 1, ago=20, model="other")
    assert outcomes(world) == {}


def test_an_outcome_by_entity_belongs_to_its_only_decision_before_it(world: World) -> None:
    one, two, three = world.decide(3, ago=60)
    again = record("again", iso(AS_OF - timedelta(days=50)), 0.1, entity=two.entity)
    world.put("decision", again.id, again, again.at)
    for entity in (one.entity, two.entity, "a stranger"):
        world.told(None, 1, ago=20, entity=entity)
    # Seen before the decision was made: about something else.
    world.told(None, 1, ago=20, entity=three.entity, observed_at=iso(AS_OF - timedelta(days=70)))
    assert outcomes(world) == {one.id: 1}


@pytest.mark.parametrize("entity_first", [True, False])
def test_the_last_word_holds_whether_it_names_the_decision_or_the_entity(world: World, entity_first: bool) -> None:
    (one,) = world.decide(1, ago=60)
    names: list[dict[str, Any]] = [{"decision": one.id}, {"decision": None, "entity": one.entity}]
    first, second = reversed(names) if entity_first else names
    world.told(**second, value=1, ago=10)
    world.told(**first, value=0, ago=20)
    assert outcomes(world) == {one.id: 1}
    assert outcomes(world, days=-15) == {one.id: 0}


def test_of_two_learned_at_once_the_one_that_names_the_decision_says_more(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 0, ago=20)
    world.told(None, 1, ago=20, entity=one.entity)
    assert outcomes(world) == {one.id: 0}


def test_a_correction_by_entity_that_could_be_about_several_decisions_corrects_none(world: World) -> None:
    one, two = world.decide(2, ago=60)
    again = record("again", iso(AS_OF - timedelta(days=50)), 0.1, entity=one.entity)
    world.put("decision", again.id, again, again.at)
    world.told(one.id, 0, ago=20)
    world.told(two.id, 0, ago=20)
    world.told(None, 1, ago=10, entity=one.entity)
    world.told(None, 1, ago=10, entity=two.entity, observed_at=iso(AS_OF - timedelta(days=70)))
    assert outcomes(world) == {one.id: 0, two.id: 0}
    world.told(None, 1, ago=9, entity=one.entity, observed_at=iso(AS_OF - timedelta(days=55)))
    assert outcomes(world) == {one.id: 1, two.id: 0}, "observed before the second decision was made"


def test_an_entity_that_is_named_like_a_decision_is_no_decision(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(None, 1, ago=20, entity=one.id)
    assert outcomes(world) == {}


def test_decisions_shadows_and_overrides_up_to_the_instant(world: World) -> None:
    early, late = world.decide(1, ago=5) + world.decide(1, ago=-5)
    world.put("shadow", early.id, bound(early, "2.0.0"), early.at)
    world.overrides([early, late])
    production = read_production(world.ledger, AS_OF)["m"]
    assert [r.id for r in production.decisions] == [early.id]
    assert [s.release.version for s in production.shadows[early.id]] == ["2.0.0"]
    assert production.overridden == {early.id}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    ages=st.lists(st.integers(0, 90), min_size=1, max_size=8), days=st.integers(1, 60), until_days=st.integers(0, 40)
)
def test_a_window_holds_its_end_and_not_its_beginning(
    world: World, ages: list[int], days: int, until_days: int
) -> None:
    at = [iso(AS_OF - timedelta(days=age)) for age in ages]
    made = tuple(record(f"r{k}", when, 0.1) for k, when in enumerate(at))
    world.decide(1)
    production = read_production(world.ledger, AS_OF)["m"]
    production = type(production)("m", made, {}, {}, frozenset(), AS_OF)
    found = production.between(days, until_days=until_days)
    assert [r.id for r in found] == [f"r{k}" for k, age in enumerate(ages) if until_days <= age < until_days + days]


def test_what_a_checkpoint_since_does_not_cover_was_written_later(world: World) -> None:
    """An entry may bear any date: the instant itself, or a day long past."""
    one, two, three = world.decide(3, ago=60)
    world.told(one.id, 1, ago=10)
    assert read_production(world.ledger, AS_OF)["m"].checkpoint is None
    taken = world.ledger.checkpoint(iso(AS_OF))
    for late, ago in ((two, 0), (three, 20)):
        world.told(late.id, 1, ago=ago)
    world.decide(5, ago=3)
    world.ledger.checkpoint(iso(AS_OF + timedelta(days=1)))
    found = read_production(world.ledger, AS_OF)["m"]
    assert (set(found.outcomes), len(found.decisions), found.checkpoint) == ({one.id}, 3, taken.digest)
    later = read_production(world.ledger, AS_OF + timedelta(hours=1))["m"]
    assert (set(later.outcomes), len(later.decisions)) == ({one.id, two.id, three.id}, 8)


def test_a_checkpoint_dated_in_the_future_bounds_nothing(world: World) -> None:
    world.decide(1, ago=60)
    world.ledger.checkpoint(iso(AS_OF + timedelta(days=36500)))
    world.decide(1, ago=50)
    assert len(read_production(world.ledger, AS_OF, AS_OF)["m"].decisions) == 2


def test_figures_of_an_instant_are_pinned_once(world: World) -> None:
    assert pin(world.ledger, AS_OF, AS_OF) is None, "an empty ledger"
    world.decide(1, ago=60)
    now = AS_OF + timedelta(hours=1)
    taken = pin(world.ledger, AS_OF, now)
    assert taken is not None
    assert taken.at == iso(now)
    assert pin(world.ledger, AS_OF, now + timedelta(days=1)) == taken
    assert pin(world.ledger, now + timedelta(hours=1), now + timedelta(days=1)) != taken
    with pytest.raises(MonitoringError, match="nothing is known of the future"):
        pin(world.ledger, now + timedelta(seconds=1), now)


def test_labels_of_records(world: World) -> None:
    made = world.decide(3, ago=60, change=lambda r, _: msgspec.structs.replace(r, decision=VALUE_ONLY))
    world.told(made[0].id, 1, ago=5)
    world.told(made[2].id, 0.25, ago=5)
    found, y = read_production(world.ledger, AS_OF)["m"].labelled(tuple(made))
    assert ([r.id for r in found], y.tolist()) == ([made[0].id, made[2].id], [1.0, 0.25])


def odd(world: World) -> tuple[int, int]:
    return read_production(world.ledger, AS_OF)["m"].odd_within(30)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 0.5},
        {"value": -1},
        {"observed_at": "2999-01-01T00:00:00.000000Z"},
        {"observed_at": "1-01-02T00:00:00.000000Z"},
        {"observed_at": "0800-01-02T00:00:00.000000Z"},
        {"known_at": "soon"},
    ],
)
def test_what_cannot_be_an_outcome_is_set_aside_until_it_is_corrected(world: World, changes: dict[str, Any]) -> None:
    one, two = world.decide(2, ago=60)
    world.told(one.id, 1, ago=20)
    wrong = {"value": 1, **changes}
    world.told(one.id, wrong.pop("value"), ago=10, **wrong)
    assert outcomes(world) == {one.id: 1}, "what was told before holds"
    assert odd(world) == (1, 2)
    world.told(two.id, 0, ago=9)
    assert odd(world) == (1, 3), "of another case"
    world.told(one.id, 0, ago=8)
    assert (outcomes(world), odd(world)) == ({one.id: 0, two.id: 0}, (0, 4))


def test_a_wrong_outcome_by_entity_is_corrected_by_the_entity(world: World) -> None:
    one, two = world.decide(2, ago=60)
    for made in (one, two):
        world.told(None, 7, ago=20, entity=made.entity)
    world.told(None, 1, ago=10, entity=one.entity)
    assert (outcomes(world), odd(world)) == ({one.id: 1}, (1, 3))


def test_a_wrong_outcome_is_corrected_by_one_that_names_the_same_case_otherwise(world: World) -> None:
    one, two = world.decide(2, ago=60)
    world.told(one.id, 7, ago=20)
    world.told(None, 7, ago=20, entity=two.entity)
    assert odd(world) == (2, 2)
    world.told(None, 1, ago=10, entity=one.entity)
    world.told(two.id, 1, ago=10)
    assert (outcomes(world), odd(world)) == ({one.id: 1, two.id: 1}, (0, 4))


@pytest.mark.parametrize("kind", ["decision", "outcome", "override"])
def test_an_entry_that_was_changed_is_believed_by_nobody(world: World, kind: str) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 0, ago=20)
    world.overrides([one])
    (entry,) = world.ledger.read([kind])
    change(world.folder, entry.seq, payload=entry.payload.replace(b"final", b"Final").replace(b"m", b"n"))
    with pytest.raises(LedgerError, match=f"entry {entry.seq} of chain 'chain-000' was changed after it was written"):
        read_production(world.ledger, AS_OF)


def test_a_wrong_outcome_of_an_entity_is_corrected_by_the_entity_where_nobody_knows_the_decision(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    again = record("again", iso(AS_OF - timedelta(days=50)), 0.1, entity=one.entity)
    world.put("decision", again.id, again, again.at)
    world.told(None, 7, ago=20, entity=one.entity)
    assert odd(world) == (1, 1)
    world.told(None, 1, ago=10, entity=one.entity)
    assert (outcomes(world), odd(world)) == ({}, (0, 2))


def test_an_unresolved_outcome_may_say_anything(world: World) -> None:
    (one,) = world.decide(1, ago=60)
    world.told(one.id, 0.5, ago=20, final=False)
    assert (outcomes(world), odd(world)) == ({}, (0, 0))


def test_models_are_kept_apart(world: World) -> None:
    world.decide(2)
    world.decide(3, change=lambda r, _: msgspec.structs.replace(r, model="other"))
    assert {name: len(found.decisions) for name, found in read_production(world.ledger, AS_OF).items()} == {
        "m": 2,
        "other": 3,
    }

"""Drawn customers: repeatable, like their rows, drifting where told, judged late, with their history before them."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import SimulationError
from countermark.features.audit import TOLERANCE
from countermark.features.intake import EventIntake
from countermark.features.online import open_store
from countermark.records.clock import parse_instant
from countermark.simulation.drift import Drift, driftable, drifted, read_drifts
from countermark.simulation.resample import Names, Resampler, _Fresh, read_rows
from countermark.simulation.traffic import Application
from tests.serving.releases import pd_spec
from tests.simulation.customers import customers, fraud_model, fraud_rows

FIRST = dt.date(2027, 1, 1)


def life(made: Resampler, days: int = 2, daily: int = 6) -> list[Application]:
    return [made.place(draw, made.instant(draw, FIRST)) for draws in made.draw(days, daily) for draw in draws]


@given(seed=st.integers(0, 2**32), days=st.integers(1, 3), daily=st.integers(1, 6))
def test_the_same_seed_draws_the_same_life_and_a_longer_one_begins_like_it(seed: int, days: int, daily: int) -> None:
    made = life(customers(seed=seed), days, daily)
    assert made == life(customers(seed=seed), days, daily)
    assert life(customers(seed=seed), days + 1, daily)[: len(made)] == made


def test_another_seed_draws_another_life() -> None:
    assert life(customers(seed=1)) != life(customers(seed=2))


@given(
    factor=st.floats(0.1, 10, allow_nan=False), day=st.integers(0, 3), field=st.sampled_from(["amount", "main.amount"])
)
def test_a_drift_multiplies_its_field_from_its_day_on_and_nothing_else(factor: float, day: int, field: str) -> None:
    plain, drifting = customers(), customers(drifts=(f"{field}={factor!r}@{day}",))
    for draws in plain.draw(3, 4):
        for draw in draws:
            at = plain.instant(draw, FIRST)
            one, other = plain.place(draw, at), drifting.place(draw, at)
            by = factor if draw.day >= day else 1.0
            request, events = (by, 1.0) if field == "amount" else (1.0, by)
            assert other.request == {**one.request, "amount": one.request["amount"] * request}
            assert [e.event for e in other.history] == [
                {**e.event, "amount": e.event["amount"] * events} for e in one.history
            ]
            assert (other.outcome, other.delay, other.at, other.entity) == (one.outcome, one.delay, at, one.entity)


@given(days=st.floats(1, 400), seed=st.integers(0, 1000))
def test_outcomes_are_those_of_the_row_and_never_early(days: float, seed: int) -> None:
    made = customers(seed=seed, label_days=days)
    dataset = {row["_key"]: row for row in fraud_rows().dataset.to_pylist()}
    for draw in made.draw(1, 10)[0]:
        application = made.place(draw, made.instant(draw, FIRST))
        assert application.outcome == dataset[made.row(draw)["id"]]["_y"]
        assert application.delay >= application.horizon == dt.timedelta(days=days)


def test_labels_are_late_by_different_lengths_around_the_models_horizon() -> None:
    made = customers()
    delays = [application.delay.days for application in life(made, 4, 25)]
    assert made.horizon.days == 183
    assert len(set(delays)) > 20
    assert sorted(delays)[50] < 1.2 * 183


@given(seed=st.integers(0, 2**32))
def test_history_comes_before_the_request_and_is_of_its_own_new_entities(seed: int) -> None:
    seen: set[str] = set()
    for application in life(customers(seed=seed)):
        card = application.request["card"]
        assert card not in seen
        assert application.entity == card
        seen.add(card)
        assert [e.known_at for e in application.history] == sorted(e.known_at for e in application.history)
        for event in application.history:
            assert parse_instant(event.event["at"]) < event.known_at <= application.at
            assert event.event["card"] == card
            assert event.event["id"] not in seen
            seen.add(event.event["id"])


def test_the_rows_of_the_newest_sample_are_drawn_with_replacement_at_their_time_of_day() -> None:
    made = customers()
    assert made.sample == "out_of_time"
    draws = [draw for day in made.draw(10, 20) for draw in day]
    rows = [made.row(draw) for draw in draws]
    assert len({row["id"] for row in rows}) < len(rows) == 200
    assert min(row["at"] for row in rows) >= datetime(2026, 4, 1, tzinfo=UTC)
    assert all(made.instant(d, FIRST).time() == r["at"].time() for d, r in zip(draws, rows, strict=True))


def test_a_request_without_drift_gets_the_vector_of_its_row_from_an_online_store(tmp_path: Path) -> None:
    made = customers()
    store, intake = open_store(f"sqlite:///{tmp_path / 'f.sqlite'}"), EventIntake(made.spec)
    for plan in made.builder.plans:
        store.publish(plan, [], datetime(2027, 1, 1, tzinfo=UTC))
    compared = 0
    for draw in made.draw(1, 60)[0]:
        application = made.place(draw, made.instant(draw, FIRST))
        for event in application.history:
            intake.ingest(event.table, event.event, store, event.known_at)
        vector, _ = made.builder.build(application.request, store, application.at)
        for name, value in made.vector(draw).items():
            assert vector[name] == (value if value is None else pytest.approx(value, rel=TOLERANCE))
        compared += vector["n"] != 0
    store.close()
    assert compared > 5


def test_an_event_may_come_after_the_last_day_of_the_file() -> None:
    intake = EventIntake(fraud_model())
    event = {"id": "n", "card": "c", "amount": 5.0, "at": "2031-01-01T10:00:00Z"}
    assert len(intake.plans_for("main", event)) == 1


def test_names_tell_lives_apart() -> None:
    one, other = life(customers(names=Names("a", 5))), life(customers(names=Names("b", 9)))
    assert not {a.id for a in one} & {a.id for a in other}
    assert not {a.entity for a in one} & {a.entity for a in other}
    assert [a.outcome for a in one] == [a.outcome for a in other]


@given(old=st.lists(st.integers(0, 9) | st.sampled_from(["a", "b"]), max_size=8), number=st.integers(0, 10**6))
def test_new_ids_are_of_the_old_ones_type_one_for_each_and_never_shared(old: list[int | str], number: int) -> None:
    one, other = _Fresh(Names("n", 1), number), _Fresh(Names("n", 1), number + 1)
    new = [one.of(value) for value in old]
    assert [type(value) for value in new] == [type(value) for value in old]
    assert len(set(new)) == len(set(old))
    assert new == [one.of(value) for value in old]
    assert not set(new) & {other.of(value) for value in old}
    assert one.of(None) is None


MISTAKES = {
    "a misspelt field": ("amuont=2@3", "called 'amuont'", "did you mean 'amount'?"),
    "a feature of a view": ("spent=2@3", "computed by feature view 'velocity'", None),
    "a key": ("card=2@3", "called 'card'", None),
    "a time of an event": ("main.at=2@3", "it is no number", None),
    "no day": ("amount=2", "not written as it must be", None),
    "no number": ("amount=lots@3", "not written as it must be", None),
    "a negative factor": ("amount=-1@3", "not written as it must be", None),
    "an endless factor": ("amount=inf@3", "not written as it must be", None),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_drift_that_cannot_be_planted_is_refused(mistake: str) -> None:
    text, told, hint = MISTAKES[mistake]
    with pytest.raises(SimulationError, match=told) as caught:
        read_drifts((text,), fraud_model())
    if hint is not None:
        assert caught.value.hint == hint


def test_a_text_field_does_not_drift() -> None:
    with pytest.raises(SimulationError, match="it is no number"):
        read_drifts(("purpose=2@0",), pd_spec())


def test_drifts_are_read_by_the_name_of_their_field() -> None:
    assert read_drifts(("amount=0.5@14",), fraud_model()) == (Drift(None, "amount", 0.5, 14),)
    assert read_drifts(("main.amount=2@0",), fraud_model())[0].name == "main.amount"
    assert set(driftable(fraud_model())) == {"amount", "main.amount", "main.at"}


def test_whole_numbers_stay_whole_and_what_is_missing_stays_missing() -> None:
    assert drifted(3, 1.5) == 4
    assert isinstance(drifted(3, 1.5), int)
    assert drifted(None, 2.0) is None


def test_a_sample_or_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no sample 'out_of_tim'") as caught:
        Resampler(fraud_rows(), seed=1, sample="out_of_tim")
    assert caught.value.hint == "did you mean 'out_of_time'?"
    with pytest.raises(SimulationError, match="no model 'toy'"):
        read_rows(tmp_path, "toy")
    rows = fraud_rows()
    other = type(rows)(rows.spec, {"main": rows.tables["main"].slice(0, 250)}, rows.dataset, rows.protected)
    with pytest.raises(SimulationError, match="not among the accepted rows"):
        Resampler(other, seed=1)

"""Online equals offline: the store, fed one event at a time, gives what the table of requests gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.features.definitions import ViewPlan
from countermark.features.materialize import entity_states
from countermark.features.online import OnlineStore, open_store
from countermark.features.views import build_view
from tests.features.streams import (
    SHORT,
    START,
    WINDOWS,
    as_requests,
    as_table,
    event,
    moments,
    near,
    oracle,
    plan,
    view,
)

LATER = dt.timedelta(minutes=10)
SENT: dict[str, dict[str, Any]] = {
    "known at once": {},
    "known when they arrive": {"known_at": "k"},
    "known after a delay": {"known_delay": {"hours": 7}},
    "corrected": {"known_at": "k", "event_key": "id"},
    "withheld when old": {"known_at": "k", "max_age": {"days": 2}},
    "in short windows": {"known_at": "k", "features": SHORT},
    "in tiles": {"known_at": "k", "tile": {"hours": 6}, "features": WINDOWS},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


DENSE = ("in short windows", "in tiles")


@contextmanager
def fresh(folder: Path) -> Iterator[OnlineStore]:
    """A new store."""
    path = folder / f"{len(list(folder.iterdir()))}.sqlite"
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def arrival(declared: Any, one: dict[str, Any]) -> dt.datetime | None:
    """When an event reaches the bank, as its table tells it."""
    moment: dt.datetime | None = one[declared.known_at or "t"]
    return moment


def sent(declared: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events in the order in which they arrive; those that never can are left out."""
    there = [one for one in events if one["t"] is not None and arrival(declared, one) is not None]
    return sorted(there, key=lambda one: arrival(declared, one) or START)


def replayed(
    store: OnlineStore, compiled: ViewPlan, events: list[dict[str, Any]], requests: list[tuple[Any, Any]], cut: int
) -> list[dict[str, Any]]:
    """Answers of a store that got the first events by a build and the others one by one, each before its requests."""
    declared = compiled.view
    if cut:
        as_of = arrival(declared, events[cut - 1])
        assert as_of is not None
        built = [one for one in events if (arrival(declared, one) or START) <= as_of]
        store.publish(compiled, entity_states(compiled, as_table(built), as_of), as_of)
    else:
        as_of, built = START - dt.timedelta(days=1), []
        store.publish(compiled, (), as_of)
    waiting = [one for one in events if one not in built]
    answers: list[Any] = [None] * len(requests)
    for place, (entity, at) in sorted(enumerate(requests), key=lambda item: item[1][1]):
        while waiting and (arrival(declared, waiting[0]) or START) <= at:
            one = waiting.pop(0)
            store.ingest(compiled, one, arrival(declared, one) or START)
        answers[place] = store.read(compiled, entity, at).values
    return answers


@pytest.mark.parametrize("how", SENT)
@given(data=st.data())
def test_online_equals_offline(how: str, data: st.DataObject, folder: Path) -> None:
    declared = view(**SENT[how])
    # Dense streams where rows are dropped or merged early, sparse ones where windows are long.
    span = 36 * 60 if how in DENSE else 12 * 24 * 60
    events = sent(declared, data.draw(st.lists(event(moments(span), moments(span)), max_size=14)))
    cut = data.draw(st.integers(0, len(events)), label="cut")
    latest = arrival(declared, events[cut - 1]) if cut else START
    assert latest is not None
    after = st.integers(0, span + 60).map(lambda m: latest + dt.timedelta(minutes=m))
    requests = data.draw(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), after), min_size=1, max_size=5))
    compiled = plan(declared)
    with fresh(folder) as store:
        online = replayed(store, compiled, events, requests, cut)
    offline = build_view(compiled, as_table(events), as_requests(requests)).columns.to_pylist()
    for left, right in zip(online, offline, strict=True):
        assert list(left) == list(right)
        for name in left:
            same = near(left[name], right[name]) if name in ("true_sum", "mean") else left[name] == right[name]
            assert same, (name, left[name], right[name])
            assert type(left[name]) is type(right[name])
    assert offline == [oracle(declared, events, *request) for request in requests]


@pytest.mark.parametrize("how", SENT)
def test_a_busy_entity_over_weeks(how: str, folder: Path) -> None:
    """Long enough that rows are dropped, versions replaced and tiles merged again and again."""
    rng = np.random.default_rng(17)
    declared = view(**SENT[how])
    events: list[dict[str, Any]] = []
    for _ in range(300):
        at = START + dt.timedelta(minutes=int(rng.integers(0, 20 * 24 * 60)))
        late = int(rng.integers(0, 3)) * int(rng.integers(0, 24 * 60))
        events.append(
            {
                "e": "a",
                "t": at,
                "k": at + dt.timedelta(minutes=late),
                "v": None if rng.random() < 0.1 else int(rng.integers(-5, 6)),
                "w": None if rng.random() < 0.1 else float(rng.normal()),
                "s": None if rng.random() < 0.2 else str(rng.choice(["x", "y", "z"])),
                "b": None if rng.random() < 0.2 else bool(rng.random() < 0.5),
                "id": None if rng.random() < 0.3 else int(rng.integers(1, 60)),
            }
        )
    events = sent(declared, events)
    asked = [(arrival(declared, one) or START) + dt.timedelta(minutes=int(rng.integers(0, 600))) for one in events]
    requests: list[tuple[Any, Any]] = [("a", at) for at in asked]
    compiled = plan(declared)
    with fresh(folder) as store:
        online = replayed(store, compiled, events, requests, 100)[100:]
        (state,) = store._all("SELECT length(state) FROM entities")  # type: ignore[attr-defined]
    offline = build_view(compiled, as_table(events), as_requests(requests)).columns.to_pylist()[100:]
    for left, right in zip(online, offline, strict=True):
        assert all(near(left[name], right[name]) for name in right), (left, right)
    if how in DENSE:
        assert state[0] < 0.5 * 8 * len(events) * (3 + compiled.width)

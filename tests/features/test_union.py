"""An event may come by two roads, in a table and alone: whatever comes between, online equals offline."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from countermark.contracts.instants import UTC
from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.materialize import entity_states
from countermark.features.online import OnlineStore, open_store
from countermark.features.union import union
from countermark.features.views import ARRIVED, build_view
from tests.features.streams import (
    FEATURES,
    SHORT,
    START,
    WINDOWS,
    as_requests,
    as_table,
    near,
    once,
    oracle,
    plan,
    values,
    view,
)
from tests.servers import redis_server

KINDS = ("sqlite", "redis")
MINUTE = dt.timedelta(minutes=1)
BY_DAY = {name: f for name, f in FEATURES.items() if "hours" not in f and "minutes" not in f and name != "young"}
VIEWS: dict[str, dict[str, Any]] = {
    "known at once": {},
    "known when they say": {"known_at": "k"},
    "known after a delay": {"known_delay": {"hours": 7}},
    "corrected": {"known_at": "k", "event_key": "id"},
    "corrected, known at once": {"event_key": "id"},
    "in short windows": {"known_at": "k", "features": SHORT},
    "by calendar day": {"clock": "day", "features": BY_DAY},
    "in tiles": {"known_at": "k", "tile": {"hours": 6}, "features": WINDOWS},
    "in tiles, known at once": {"tile": {"hours": 6}, "features": WINDOWS},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('union')}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, folder: str, server: str) -> str:
    return folder if request.param == "sqlite" else server


def emptied(address: str) -> OnlineStore:
    """A store in which nothing is."""
    if not address.startswith("sqlite:///"):
        redis.Redis.from_url(address).flushall()
        return open_store(address)
    folder = Path(address.removeprefix("sqlite:///"))
    return open_store(f"{address}/{len(list(folder.iterdir()))}.sqlite")


SECOND = dt.timedelta(seconds=1)
APART = [0, 0, 0.1, 0.3, 1, 5, 700, 3000, 3600, 5000, 7300, 40_000, 200_000]


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[str, dt.datetime, Any]]:
    """Events that come alone, get into the table, or both, once or more often; publications and requests between."""
    span = draw(st.sampled_from([20, 90, 36 * 60, 12 * 24 * 60]))
    grid = st.one_of(
        st.integers(0, 8).map(lambda n: START + n * span / 8 * MINUTE),
        st.integers(0, span * 60).map(lambda n: START + n * SECOND),
    )
    apart = st.sampled_from(APART).map(lambda s: s * SECOND)
    life: list[tuple[str, dt.datetime, Any]] = []
    for given_values in draw(st.lists(st.fixed_dictionaries(values()), max_size=9)):
        happened = draw(grid)
        event = {"t": happened, "k": happened + draw(st.sampled_from([0, 0, 2, 4000])) * SECOND, **given_values}
        for road in draw(st.sampled_from([("came",), ("listed",), ("came", "listed"), ("came", "came", "listed"),
                                          ("listed", "came", "listed")])):  # fmt: skip
            later, side = draw(apart), draw(st.sampled_from([1, 1, 1, -1]))
            life.append((road, max(event["k"] + side * later, START), event))
    for at, behind in draw(st.lists(st.tuples(grid, apart), max_size=4)):
        life.append(("publish", at + draw(apart), behind))
    asked = st.tuples(grid, apart, st.sampled_from(["a", "a", "b", "c", None]))
    for at, later, entity in draw(st.lists(asked, min_size=1, max_size=6)):
        life.append(("ask", at + later, entity))
    return sorted(life, key=lambda step: step[1])


def lived(
    store: OnlineStore, compiled: ViewPlan, life: list[tuple[str, dt.datetime, Any]]
) -> Iterator[tuple[Any, dt.datetime, dict[str, Any], tuple[Any, ...]]]:
    """Entity, instant and answer of each request, and the table, the log and the instant it was built as of by then."""
    table: list[dict[str, Any]] = []
    log: list[dict[str, Any]] = []
    before = START - dt.timedelta(days=1)
    store.publish(compiled, (), before)
    built: tuple[list[dict[str, Any]], dt.datetime] = ([], before)
    for step, at, thing in life:
        if step == "listed":
            table.append(thing)
        elif step == "came":
            if store.ingest(compiled, thing, at):
                log.append(thing | {"arrived": at})
        elif step == "publish":
            as_of = at - thing
            try:
                store.publish(compiled, entity_states(compiled, as_table(table), as_of), as_of)
            except FeatureStoreError:
                newest = max((e["arrived"] for e in log), default=before)
                assert compiled.tile
                assert as_of < built[1] or as_of < newest - dt.timedelta(hours=1)
                continue
            built = list(table), as_of
        else:
            yield thing, at, store.read(compiled, thing, at).values, (*built, list(log))


def offline(
    compiled: ViewPlan, asked: list[tuple[Any, dt.datetime]], known: tuple[Any, ...], log: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What the point-in-time join gives over every event once."""
    table, as_of, _ = known
    came = as_table(log).append_column(ARRIVED, pa.array([e["arrived"] for e in log], UTC))
    whole = union(compiled, as_table(table), came, as_of)
    rows: list[dict[str, Any]] = build_view(compiled, whole, as_requests(asked)).columns.to_pylist()
    return rows


def agrees(compiled: ViewPlan, left: dict[str, Any], right: dict[str, Any]) -> None:
    assert list(left) == list(right)
    for name in left:
        same = near(left[name], right[name]) if compiled.tile else left[name] == right[name]
        assert same, (name, left[name], right[name])
        assert type(left[name]) is type(right[name])


@pytest.mark.parametrize("how", VIEWS)
@settings(max_examples=20)
@given(life=lives())
def test_online_equals_offline_by_whatever_road_events_come(how: str, life: Any, folder: str) -> None:
    holds(how, life, folder)


@pytest.mark.parametrize("how", ["known when they say", "corrected", "in tiles"])
@settings(max_examples=15)
@given(life=lives())
def test_and_so_it_does_in_redis(how: str, life: Any, server: str) -> None:
    holds(how, life, server)


def holds(how: str, life: list[tuple[str, dt.datetime, Any]], address: str) -> None:
    """Every answer is what the definition says of what was known by then, and what the join gives afterwards."""
    declared = view(**VIEWS[how])
    compiled = plan(declared)
    store = emptied(address)
    answers = list(lived(store, compiled, life))
    store.close()
    for entity, at, online, known in answers:
        events = once(declared, known[0], known[2], known[1])
        agrees(compiled, online, oracle(declared, events, entity, at.date() if declared.clock == "day" else at))
    # Later arrivals change nothing for an earlier request, so that one join answers all requests of a publication; but
    # where a request counts by its day, what comes later on that day is of the day too.
    for _, group in groupby(answers, key=lambda answer: answer[3] if declared.clock == "day" else answer[3][:2]):
        served = list(group)
        log = served[-1][3][2]
        expected = offline(compiled, [(entity, at) for entity, at, _, _ in served], served[0][3], log)
        for (_, _, online, _), row in zip(served, expected, strict=True):
            agrees(compiled, online, row)


COUNTING = {
    "n": {"kind": "window", "function": "count", "days": 3},
    "sum": {"kind": "window", "column": "w", "function": "sum", "days": 3},
}
ROADS: dict[str, dict[str, Any]] = {
    "known at once": {},
    "known when they say": {"known_at": "k"},
    "corrected": {"known_at": "k", "event_key": "id"},
    "in tiles": {"known_at": "k", "tile": {"minutes": 5}},
}
HOUR = dt.timedelta(hours=1)


def payment(at: dt.datetime, **given_values: Any) -> dict[str, Any]:
    return {"e": "a", "t": at, "k": at, "v": 1, "w": 5.0, "s": "x", "b": True, "id": 7} | given_values


def counted(store: OnlineStore, compiled: ViewPlan, at: dt.datetime) -> tuple[Any, Any]:
    found = store.read(compiled, "a", at).values
    return found["n"], found["sum"]


def build(store: OnlineStore, compiled: ViewPlan, table: list[dict[str, Any]], as_of: dt.datetime) -> None:
    store.publish(compiled, entity_states(compiled, as_table(table), as_of), as_of)


@pytest.mark.parametrize("how", ROADS)
def test_an_event_in_flight_while_its_table_is_built_counts_once(how: str, address: str) -> None:
    compiled = plan(view(features=COUNTING, **ROADS[how]))
    happened = START + HOUR
    one = payment(happened)
    for arrives in (0.3, 2 * 3600 if how != "in tiles" else 1800):
        store = emptied(address)
        store.publish(compiled, (), START)
        store.ingest(compiled, one, happened + arrives * SECOND)
        build(store, compiled, [one], happened + arrives / 2 * SECOND)
        assert counted(store, compiled, happened + 3 * HOUR) == (1, 5.0)
        # And again, from a table that has it still, and from one that has it no more.
        build(store, compiled, [one], happened + arrives * SECOND)
        assert counted(store, compiled, happened + 3 * HOUR) == (1, 5.0)
        build(store, compiled, [], happened + arrives * SECOND)
        assert counted(store, compiled, happened + 3 * HOUR) == (1, 5.0)
        store.close()


@pytest.mark.parametrize("how", ROADS)
def test_an_event_that_the_table_brought_first_counts_once_when_it_comes(how: str, address: str) -> None:
    compiled = plan(view(features=COUNTING, **ROADS[how]))
    happened = START + HOUR
    one, other = payment(happened), payment(happened + MINUTE, id=8)
    store = emptied(address)
    build(store, compiled, [one, payment(happened + SECOND, id=9)], happened + 10 * MINUTE)
    for hours in range(1, 6):  # so many that a tile of the hour of the table would be merged
        store.ingest(compiled, payment(happened + hours * HOUR, id=10 + hours), happened + hours * HOUR)
    store.ingest(compiled, one, happened + 6 * HOUR)
    assert counted(store, compiled, happened + 7 * HOUR) == (7, 35.0)
    store.ingest(compiled, other, happened + 7 * HOUR)
    assert counted(store, compiled, happened + 7 * HOUR) == (8, 40.0)
    # A key says that a repeated event is one; without it, it is two.
    store.ingest(compiled, one, happened + 8 * HOUR)
    assert counted(store, compiled, happened + 8 * HOUR) == ((8, 40.0) if how == "corrected" else (9, 45.0))
    store.close()


@pytest.mark.parametrize("how", ["known when they say", "corrected", "in tiles"])
def test_an_event_that_is_stamped_later_than_it_came_is_not_lost(how: str, address: str) -> None:
    compiled = plan(view(features=COUNTING, **ROADS[how]))
    happened = START + HOUR
    one = payment(happened, k=happened + 2 * SECOND)
    store = emptied(address)
    store.publish(compiled, (), START)
    store.ingest(compiled, one, happened + SECOND)
    build(store, compiled, [one], happened + 1.5 * SECOND)
    assert counted(store, compiled, happened + 1.9 * SECOND) == (0, None)
    assert counted(store, compiled, happened + MINUTE) == (1, 5.0)
    store.close()


def test_an_event_that_the_table_does_not_have_yet_is_not_lost(address: str) -> None:
    for how in ("known at once", "corrected", "in tiles"):
        compiled = plan(view(features=COUNTING, **ROADS[how]))
        store = emptied(address)
        store.publish(compiled, (), START)
        store.ingest(compiled, payment(START + MINUTE), START + MINUTE)
        build(store, compiled, [payment(START, e="b")], START + 2 * MINUTE)
        assert counted(store, compiled, START + HOUR) == (1, 5.0), how
        store.close()


def test_an_older_version_from_the_table_that_comes_again_does_not_take_over(address: str) -> None:
    declared = view(known_at="k", event_key="id", features=SHORT)
    compiled = plan(declared)
    first, moved = payment(START, w=1.0), payment(START + 200 * HOUR, w=2.0)
    built = START + 201 * HOUR
    store = emptied(address)
    build(store, compiled, [first, moved], built)
    store.ingest(compiled, first, built + HOUR)
    assert store.read(compiled, "a", built + 2 * HOUR).values["rows"] == 1
    store.close()


def test_one_of_several_events_of_one_instant_that_comes_again_is_not_the_newest(address: str) -> None:
    compiled = plan(view(known_at="k", features={"latest": FEATURES["latest"]}))
    older, newer = payment(START, v=1), payment(START, v=2, k=START + SECOND)
    store = emptied(address)
    build(store, compiled, [older, newer], START + HOUR)
    store.ingest(compiled, older, START + 2 * HOUR)
    assert store.read(compiled, "a", START + 3 * HOUR).values == {"latest": 2}
    store.close()


def test_a_tiled_view_is_not_rebuilt_as_of_an_earlier_time_than_before(address: str) -> None:
    compiled = plan(view(features=COUNTING, known_at="k", tile={"minutes": 5}))
    store = emptied(address)
    build(store, compiled, [payment(START)], START + 2 * HOUR)
    with pytest.raises(FeatureStoreError, match="rebuilt as of too long ago"):
        build(store, compiled, [payment(START)], START + HOUR)
    assert counted(store, compiled, START + 2 * HOUR) == (1, 5.0)
    store.close()


def test_a_tiled_view_leaves_to_the_table_what_was_there_an_hour_before(address: str) -> None:
    """The rule for events that are merged, and the only one by which an event that came is forgotten."""
    compiled = plan(view(features=COUNTING, known_at="k", tile={"minutes": 5}))
    store = emptied(address)
    store.publish(compiled, (), START)
    for seconds in (0, 1):
        store.ingest(compiled, payment(START + seconds * SECOND), START + seconds * SECOND)
    store.ingest(compiled, payment(START + 118 * MINUTE), START + 118 * MINUTE)
    build(store, compiled, [], START + 59 * MINUTE)
    assert counted(store, compiled, START + 2 * HOUR) == (3, 15.0)
    build(store, compiled, [], START + HOUR)
    assert counted(store, compiled, START + 2 * HOUR) == (2, 10.0)
    store.close()


SUMS: dict[str, list[float]] = {
    "payments and reversals": [*(x for k in range(30) for x in (k * 31.37 + 0.01, -k * 31.37 - 0.01)), 0.02],
    "large reversals": [1e9 + 0.01, -1e9, 0.02] * 20,
    "a deposit and its reversal": [0.1] * 9 + [1e6] + [0.1] * 9 + [-1e6] + [0.1] * 9,
    "payments, all reversed": [
        *(amounts := [k * 217.03 + 1.99 for k in range(20)]),
        *(-x for x in amounts[::-1]),
        0.01,
    ],
    "far apart": [1e16, 1.0, -1e16, 1e-9] * 10,
}


@pytest.mark.parametrize("sentence", SUMS)
def test_tiled_sums_hold_where_what_was_paid_is_reversed(sentence: str, tmp_path: Path) -> None:
    """Against the correctly rounded sum; a plain sum misses it by up to all of its digits."""
    mean = {"kind": "window", "column": "w", "function": "mean", "days": 3}
    compiled = plan(view(known_at="k", tile={"hours": 6}, features=COUNTING | {"mean": mean}))
    amounts = SUMS[sentence]
    moments = [START + 37 * k * MINUTE for k in range(len(amounts))]
    events = [payment(at, w=w) for at, w in zip(moments, amounts, strict=True)]
    store = open_store(f"sqlite:///{tmp_path}/f.sqlite")
    store.publish(compiled, (), START - HOUR)
    for one in events:
        store.ingest(compiled, one, one["k"])
    late = payment(moments[-1] + 8 * HOUR, w=0.0)
    store.ingest(compiled, late, late["k"])
    asked = late["k"] + HOUR
    online = store.read(compiled, "a", asked).values
    offline_row = build_view(compiled, as_table([*events, late]), as_requests([("a", asked)])).columns.to_pylist()[0]
    exact = math.fsum(amounts)
    for name, value in (("sum", exact), ("mean", exact / (len(amounts) + 1))):
        assert math.isclose(online[name], offline_row[name], rel_tol=1e-12, abs_tol=0)  # type: ignore[arg-type]
        assert math.isclose(online[name], value, rel_tol=1e-12, abs_tol=0)  # type: ignore[arg-type]
    store.close()


def test_sums_that_leave_the_finite_numbers_say_so(tmp_path: Path) -> None:
    compiled = plan(view(known_at="k", tile={"hours": 6}, features=COUNTING))
    store = open_store(f"sqlite:///{tmp_path}/f.sqlite")
    store.publish(compiled, (), START)
    for minutes in (1, 2):
        store.ingest(compiled, payment(START + minutes * MINUTE, w=1.7e308), START + minutes * MINUTE)
    assert counted(store, compiled, START + HOUR) == (2, math.inf)
    store.close()


def test_zero_has_no_sign_and_what_a_view_does_not_read_tells_no_events_apart(address: str) -> None:
    compiled = plan(view(known_at="k", features=COUNTING))
    store = emptied(address)
    build(store, compiled, [payment(START, w=0.0), payment(START, w=None, s="x")], START)
    store.ingest(compiled, payment(START, w=-0.0, s="other"), START + SECOND)
    store.ingest(compiled, payment(START, w=None, s=None), START + SECOND)
    assert counted(store, compiled, START + HOUR) == (2, 0.0)
    store.ingest(compiled, payment(START, w=1.0), START + SECOND)
    assert counted(store, compiled, START + HOUR) == (3, 1.0)
    store.close()

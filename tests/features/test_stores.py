"""Online stores: SQLite and a real Redis, published whole or not at all, written by several processes."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.events import event_row
from countermark.features.materialize import entity_states
from countermark.features.online import OnlineStore, open_store
from countermark.features.redis_store import RedisStore
from countermark.features.state import added, unpack
from tests.features.streams import FEATURES, START, TYPES, as_table, plan, view
from tests.servers import redis_server

KINDS = ("sqlite", "redis")
HOUR = dt.timedelta(hours=1)
COUNTING = {
    "n": {"kind": "window", "function": "count", "days": 3},
    "sum": {"kind": "window", "column": "v", "function": "sum", "days": 3},
    "latest": {"kind": "column", "column": "s"},
}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


_COUNT = iter(range(1000))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> str:
    """A store that nothing was published in: a new file, or Redis under versions of a view that no test shares."""
    return redis_url if request.param == "redis" else f"sqlite:///{tmp_path}/new folder/f.sqlite"


@pytest.fixture
def compiled(request: pytest.FixtureRequest) -> ViewPlan:
    """A view of a version of its own."""
    days = 30 + next(_COUNT)
    unique = {"kind": "window", "function": "count", "days": days}
    return plan(view(known_at="k", features=COUNTING | {"unique": unique}))


@pytest.fixture
def store(url: str) -> Iterator[OnlineStore]:
    opened = open_store(url)
    yield opened
    opened.close()


def event(**given: Any) -> dict[str, Any]:
    return {"e": "a", "t": START, "k": START, "v": 1, "w": 1.0, "s": "x", "b": True, "id": None} | given


def states(compiled: ViewPlan, events: list[dict[str, Any]], as_of: dt.datetime = START) -> list[tuple[str, bytes]]:
    return list(entity_states(compiled, as_table(events), as_of))


def seen(store: OnlineStore, compiled: ViewPlan, entity: str | None = "a", hours: float = 5) -> dict[str, Any]:
    values = store.read(compiled, entity, START + hours * HOUR).values
    return {name: values[name] for name in COUNTING}


def test_what_was_never_published_is_refused_and_not_read_as_empty(store: OnlineStore, compiled: ViewPlan) -> None:
    for work in (
        lambda: store.read(compiled, "a", START),
        lambda: store.ingest(compiled, event(), START),
        lambda: store.entities(compiled),
    ):
        with pytest.raises(FeatureStoreError, match="feature view 'v' is not in the feature store"):
            work()


def test_a_published_view_is_read_and_grows(store: OnlineStore, compiled: ViewPlan) -> None:
    made = store.publish(compiled, states(compiled, [event(v=2), event(e="é:b", s="y")]), START)
    assert (made.view, made.version, made.entities, made.as_of) == ("v", compiled.version, 2, START)
    assert made in store.generations()
    assert store.entities(compiled) == ("a", "é:b")
    assert seen(store, compiled) == {"n": 1, "sum": 2.0, "latest": "x"}
    assert seen(store, compiled, "é:b") == {"n": 1, "sum": 1.0, "latest": "y"}
    nothing = {"n": 0, "sum": None, "latest": None}
    assert seen(store, compiled, "nobody") == nothing
    assert seen(store, compiled, None) == nothing
    later = START + HOUR
    assert store.ingest(compiled, event(v=40, s=None, t=later, k=later), later)
    assert store.ingest(compiled, event(e="new", v=7), later)
    assert seen(store, compiled) == {"n": 2, "sum": 42.0, "latest": None}
    assert seen(store, compiled, "new") == {"n": 1, "sum": 7.0, "latest": "x"}


def test_an_event_without_entity_or_time_is_seen_by_nobody(store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, (), START)
    for missing in ("e", "t", "k"):
        assert not store.ingest(compiled, event(**{missing: None}), START)
    assert store.entities(compiled) == ()


def test_a_rebuild_keeps_what_arrived_after_its_as_of(store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, states(compiled, [event(v=1)]), START)
    for hours, entity in ((1, "a"), (2, "a"), (3, "a"), (3, "late only")):
        moment = START + hours * HOUR
        store.ingest(compiled, event(e=entity, v=10 * hours, t=moment, k=moment), moment)
    # The rebuild covers the first two hours and what arrived at their end, and corrects the first event.
    rebuilt = [event(v=2), *(event(v=10 * h, t=START + h * HOUR, k=START + h * HOUR) for h in (1, 2))]
    made = store.publish(compiled, states(compiled, rebuilt, START + 2 * HOUR), START + 2 * HOUR)
    assert seen(store, compiled) == {"n": 4, "sum": 62.0, "latest": "x"}
    assert seen(store, compiled, "late only") == {"n": 1, "sum": 30.0, "latest": "x"}
    assert made.entities == 2
    assert [g.number for g in store.generations() if g.version == compiled.version] == [made.number]


def test_a_publication_that_was_overtaken_is_refused(store: OnlineStore, compiled: ViewPlan) -> None:
    def overtaken() -> Iterator[tuple[str, bytes]]:
        yield from states(compiled, [event(v=1)])
        store.publish(compiled, states(compiled, [event(v=2)]), START)

    with pytest.raises(FeatureStoreError, match="another publication of feature view 'v' came first"):
        store.publish(compiled, overtaken(), START)
    assert seen(store, compiled)["sum"] == 2.0


def test_two_versions_of_a_view_live_side_by_side(store: OnlineStore, compiled: ViewPlan) -> None:
    other = plan(
        view(known_at="k", features={"n": FEATURES["rows"], "sum": FEATURES["sum"], "latest": COUNTING["latest"]})
    )
    store.publish(compiled, states(compiled, [event(v=1)]), START)
    store.publish(other, states(other, [event(v=5)]), START)
    assert (seen(store, compiled)["sum"], seen(store, other)["sum"]) == (1.0, 5.0)
    assert {g.version for g in store.generations()} >= {compiled.version, other.version}


PROCESS = """
import datetime as dt, json, sys
from countermark.config.feature_view import FeatureView
from countermark.features.definitions import compile_view
from countermark.features.online import open_store
url, view, types, task, work = sys.argv[1:]
compiled = compile_view(FeatureView.model_validate_json(view), json.loads(types), time_zone="UTC")
store = open_store(url)
start = dt.datetime(2020, 3, 26, tzinfo=dt.timezone.utc)
if task == "ingest":
    print("ready", flush=True)
    sys.stdin.readline()
    for k in range(40):
        moment = start + dt.timedelta(seconds=60 * k + int(work))
        store.ingest(compiled, {"e": "a", "t": moment, "k": moment, "v": 1, "s": "x"}, moment)
else:
    def dying():
        for k in range(20000):
            yield f"entity {k}", bytes.fromhex(work)
            if k == 12000:
                print("halfway", flush=True)
                sys.stdin.readline()
    store.publish(compiled, dying(), start)
"""


def process(url: str, compiled: ViewPlan, *arguments: str) -> subprocess.Popen[str]:
    declared, types = compiled.view.model_dump_json(exclude_none=True), json.dumps(TYPES)
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, url, declared, types, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def dying_publisher(url: str, compiled: ViewPlan) -> subprocess.Popen[str]:
    """A publisher that waits, half of it written, to be killed."""
    publisher = process(url, compiled, "publish", states(compiled, [event(v=99)])[0][1].hex())
    assert publisher.stdout is not None
    assert publisher.stdout.readline() == "halfway\n"
    return publisher


def test_several_processes_ingest_and_nothing_is_lost(url: str, store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, (), START)
    writers = [process(url, compiled, "ingest", str(k)) for k in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")  # type: ignore[union-attr]
        writer.stdin.flush()  # type: ignore[union-attr]
    # A rebuild in the middle of it loses nothing either.
    store.publish(compiled, (), START - HOUR)
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert seen(store, compiled) == {"n": 120, "sum": 120.0, "latest": "x"}


def test_a_publisher_that_is_killed_leaves_the_old_version(url: str, store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, states(compiled, [event(v=1)]), START)
    publisher = dying_publisher(url, compiled)
    assert (store.entities(compiled), seen(store, compiled)["sum"]) == (("a",), 1.0)
    publisher.send_signal(signal.SIGKILL)
    publisher.communicate()
    assert (store.entities(compiled), seen(store, compiled)["sum"]) == (("a",), 1.0)
    made = store.publish(compiled, states(compiled, [event(v=3)]), START)
    assert (store.entities(compiled), seen(store, compiled)["sum"]) == (("a",), 3.0)
    assert [g for g in store.generations() if g.version == compiled.version] == [made]


def test_what_a_dead_publisher_left_is_swept(tmp_path: Path, compiled: ViewPlan) -> None:
    opened = open_store(f"sqlite:///{tmp_path}/f.sqlite")
    opened.publish(compiled, states(compiled, [event()]), START)
    dead = dying_publisher(f"sqlite:///{tmp_path}/f.sqlite", compiled)
    dead.kill()
    dead.communicate()
    opened.publish(compiled, states(compiled, [event()]), START)
    left = opened._all("SELECT count(*) FROM entities")  # type: ignore[attr-defined]
    assert left == [(1,)]
    opened.close()


def test_a_reader_never_sees_two_publications_at_once(url: str, store: OnlineStore, compiled: ViewPlan) -> None:
    """Every publication gives all entities one value: a reader meets no older one after a newer one."""
    names = [f"e{k}" for k in range(200)]

    def build(value: int) -> list[tuple[str, bytes]]:
        return states(compiled, [event(e=name, v=value) for name in names])

    store.publish(compiled, build(1), START)
    stop, wrong, reads = threading.Event(), [], [0]

    def reading() -> None:
        newest = 1.0
        while not stop.is_set():
            for name in names[:: max(1, reads[0] % 7)]:
                value = seen(store, compiled, name)["sum"]
                reads[0] += 1
                if value < newest:
                    wrong.append((newest, value))
                newest = max(newest, value)

    reader = threading.Thread(target=reading)
    reader.start()
    for value in range(2, 8):
        store.publish(compiled, build(value), START)
    time.sleep(0.05)
    stop.set()
    reader.join()
    assert not wrong
    assert reads[0] > 20
    assert seen(store, compiled, names[-1])["sum"] == 7.0


def test_an_event_that_is_written_while_a_rebuild_is_published_is_not_lost(redis_url: str, compiled: ViewPlan) -> None:
    store, other = RedisStore(redis_url), RedisStore(redis_url)
    store.publish(compiled, (), START - HOUR)
    published: list[Any] = []
    read = store._state

    def racing(*arguments: Any) -> Any:
        answer = read(*arguments)
        if not published:
            published.append(other.publish(compiled, (), START - HOUR))
        return answer

    store._state = racing  # type: ignore[method-assign,assignment]
    assert store.ingest(compiled, event(), START)
    assert len(published) == 1
    assert seen(other, compiled)["n"] == 1
    store.close()
    other.close()


def test_an_event_that_came_twice_counts_once_under_its_key(store: OnlineStore) -> None:
    keyed = plan(view(known_at="k", event_key="id", features=COUNTING))
    store.publish(keyed, (), START)
    for hours, value in ((0, 5), (1, 5), (2, 8)):
        store.ingest(keyed, event(id=3, v=value), START + hours * HOUR)
    assert seen(store, keyed, hours=1.5) == {"n": 1, "sum": 5.0, "latest": "x"}
    assert seen(store, keyed, hours=2) == {"n": 1, "sum": 8.0, "latest": "x"}


def test_an_event_is_not_seen_before_it_arrived(store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, (), START - HOUR)
    store.ingest(compiled, event(), START + dt.timedelta(minutes=5))
    assert seen(store, compiled, hours=0)["n"] == 0
    assert seen(store, compiled, hours=1)["n"] == 1


def test_a_state_that_has_moved_on_says_for_when_it_answers(store: OnlineStore, compiled: ViewPlan) -> None:
    store.publish(compiled, states(compiled, [event()], START + 100 * HOUR), START + 100 * HOUR)
    row = store.read(compiled, "a", START + HOUR)
    assert row.as_of == START + 100 * HOUR - dt.timedelta(minutes=10)
    assert row.values["n"] == 0


BAD_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"v": "7"}, "column 'v' .* has the wrong type"),
    "a fraction for a whole number": ({"v": 1.5}, "column 'v' .* has the wrong type"),
    "a truth for a number": ({"v": True}, "column 'v' .* has the wrong type"),
    "a whole number beyond float64": ({"v": 2**53 + 1}, "column 'v' .* has the wrong type"),
    "a number for text": ({"s": 7}, "column 's' .* has the wrong type"),
    "no time": ({"t": "yesterday"}, "column 't' .* has the wrong type"),
}


@pytest.mark.parametrize("sentence", BAD_EVENTS)
def test_bad_events_are_refused_by_column(sentence: str, compiled: ViewPlan) -> None:
    change, message = BAD_EVENTS[sentence]
    with pytest.raises(FeatureStoreError, match=message) as caught:
        event_row(compiled, event(**change), arrived=None)
    assert "7" not in str(caught.value)
    with pytest.raises(FeatureStoreError, match="lacks columns that feature view 'v' reads"):
        event_row(compiled, {"e": "a"}, arrived=None)


def test_damaged_states_are_refused(compiled: ViewPlan) -> None:
    row = event_row(compiled, event(), arrived=None)
    assert row is not None
    state = added(None, compiled, row)
    assert unpack(state, compiled).rows == 1
    other = plan(view(known_at="k", event_key="id", features=COUNTING))
    for spoiled, by in ((state[:-1], compiled), (b"", compiled), (b"x" + state[1:], compiled), (state, other)):
        with pytest.raises(FeatureStoreError, match="a state of feature view 'v' is damaged"):
            unpack(spoiled, by)


def test_a_tiled_view_rebuilt_as_of_too_long_ago(store: OnlineStore) -> None:
    tiled = plan(
        view(known_at="k", tile={"minutes": 5}, features={"n": {"kind": "window", "function": "count", "days": 3}})
    )
    store.publish(tiled, (), START)
    for minutes in range(0, 180, 10):
        moment = START + dt.timedelta(minutes=minutes)
        store.ingest(tiled, event(t=moment, k=moment), moment)
    with pytest.raises(FeatureStoreError, match="was rebuilt as of too long ago"):
        store.publish(tiled, (), START + HOUR)
    assert store.read(tiled, "a", START + 3 * HOUR).values["n"] == 18


def test_unusable_places(tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match="there is no feature store of this kind"):
        open_store("mysql://x")
    with pytest.raises(FeatureStoreError, match="the feature store cannot be used") as caught:
        open_store(f"unix://{tmp_path}/nobody.sock")
    assert caught.value.got == "ConnectionError"
    with pytest.raises(FeatureStoreError, match="address of the feature store cannot be read"):
        open_store("redis://host:port")
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 40)
    with pytest.raises(FeatureStoreError, match="the feature store cannot be used"):
        open_store(f"sqlite:///{tmp_path}/text")
    with pytest.raises(FeatureStoreError, match="the feature store cannot be used"):
        open_store(f"sqlite:///{tmp_path}/text/under a file")


def test_the_file_of_a_store_is_private_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "made" / "features.sqlite"
    for mode in (0o600, 0o640):
        open_store(f"sqlite:///{path}").close()
        assert path.stat().st_mode & 0o777 == mode
        path.chmod(0o640)

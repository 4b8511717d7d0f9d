"""Online feature store in Redis: one round trip a read, compare-and-set writes, publication by one pointer.

Keys, under ``countermark:features:2:VERSION:``: ``current`` (number of the generation that is read), ``changes``
(counts ingested events), ``staged`` (numbers of generations that have keys), ``NUMBER:about``, ``NUMBER:taken``
(entities by how many of their events came alone), ``NUMBER:state:ENTITY``.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import redis

from countermark.errors import FeatureStoreError
from countermark.features.definitions import ViewPlan
from countermark.features.events import entity_text, event_row
from countermark.features.reading import FeatureRow, Generation, folded, overtaken, unpublished
from countermark.features.state import NEVER, added, caught_up, late_tiles, taken_of
from countermark.features.times import instant, microseconds

_ROOT = "countermark:features:2:"
_VERSIONS = _ROOT + "versions"
_NUMBERS = _ROOT + "numbers"
_BATCH = 1000
_MOST_TRIES = 1000

# current, changes, state, taken; number, old state, new state, entity, events that came alone
_SET_STATE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[3], ARGV[3])
redis.call('ZADD', KEYS[4], ARGV[5], ARGV[4])
redis.call('INCR', KEYS[2])
return 1
"""
# current, changes, versions; number that is read, changes that were seen, new number, version
_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[4])
return 1
"""


class RedisStore:
    """Feature states in Redis.

    A write of many processes to one entity is a compare-and-set that the loser repeats. How much a crash of the server
    may lose is set in its own configuration (``appendfsync``); the event log still has the events.

    Args:
        url: ``redis://host:port/db``, ``rediss://...`` or ``unix://path``.

    Raises:
        FeatureStoreError: If the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            self._redis: Any = redis.Redis.from_url(url)
        except ValueError as error:
            raise FeatureStoreError(
                "the address of the feature store cannot be read", expected="redis://host:port/db", got=str(error)
            ) from None
        self._numbers: dict[str, bytes] = {}
        self._set_state = self._redis.register_script(_SET_STATE)
        self._swap = self._redis.register_script(_SWAP)
        with _guarded():
            self._redis.ping()

    def read(self, plan: ViewPlan, entity: str | int | None, now: dt.datetime) -> FeatureRow:
        """See :class:`~countermark.features.online.OnlineStore`."""
        with _guarded():
            _, state = self._state(plan, entity_text(entity))
        return folded(plan, state, now)

    def _state(self, plan: ViewPlan, entity: str | None) -> tuple[bytes, bytes | None]:
        """Number of the generation that is read, and the state of an entity in it."""
        current, name = _key(plan, "current"), "" if entity is None else entity
        number = self._numbers.get(plan.version, b"0")
        while True:
            found, state = self._redis.mget(current, _state_key(plan, number, name))
            if found is None:
                raise unpublished(plan)
            if found == number:
                return number, None if entity is None else state
            number = self._numbers[plan.version] = found

    def ingest(self, plan: ViewPlan, event: Mapping[str, Any], known_at: dt.datetime) -> bool:
        """See :class:`~countermark.features.online.OnlineStore`."""
        row = event_row(plan, event, arrived=microseconds(known_at))
        if row is None:
            return False
        entity = entity_text(event[plan.entity])
        assert entity is not None
        with _guarded():
            for _ in range(_MOST_TRIES):
                number, old = self._state(plan, entity)
                state = added(old, plan, row)
                keys = [
                    _key(plan, "current"),
                    _key(plan, "changes"),
                    _state_key(plan, number, entity),
                    _generation_key(plan, number, "taken"),
                ]
                seen = b"" if old is None else old
                if self._set_state(keys=keys, args=[number, seen, state, entity, taken_of(state)]):
                    return True
        raise FeatureStoreError(
            f"an event for feature view '{plan.name}' could not be written", got=f"{_MOST_TRIES} lost races"
        )

    def publish(self, plan: ViewPlan, states: Iterable[tuple[str, bytes]], as_of: dt.datetime) -> Generation:
        """See :class:`~countermark.features.online.OnlineStore`."""
        source = iter(states)
        with _guarded():
            number = str(self._redis.incr(_NUMBERS)).encode()
            self._redis.sadd(_key(plan, "staged"), number)
            while batch := list(islice(source, _BATCH)):
                self._write(plan, number, batch)
            about = json.dumps({"view": plan.name, "as_of": microseconds(as_of)})
            self._redis.set(_generation_key(plan, number, "about"), about)
            self._replace(plan, number, microseconds(as_of))
            self._numbers[plan.version] = number
            self._sweep(plan, number)
            entities = self._redis.zcard(_generation_key(plan, number, "taken"))
        return Generation(plan.name, plan.version, int(number), as_of, int(entities))

    def _write(self, plan: ViewPlan, number: bytes, rows: Iterable[tuple[str, bytes]]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for entity, state in rows:
            pipe.set(_state_key(plan, number, entity), state)
            pipe.zadd(_generation_key(plan, number, "taken"), {entity: taken_of(state)})
        pipe.execute()

    def _replace(self, plan: ViewPlan, number: bytes, as_of: int) -> None:
        """Add what came alone to the staged states until nothing has come, and in that moment move the pointer."""
        bases: dict[str, bytes | None] = {}
        done: dict[str, bytes] = {}
        for _ in range(_MOST_TRIES):
            old, changes = self._redis.mget(_key(plan, "current"), _key(plan, "changes"))
            if old is not None and int(old) > int(number):
                raise overtaken(plan)
            if old is not None:
                if plan.tile and as_of < self._read_up_to(plan, old):
                    raise late_tiles(plan)
                self._catch_up(plan, (old, number), as_of, (bases, done))
            keys = [_key(plan, "current"), _key(plan, "changes"), _VERSIONS]
            if self._swap(keys=keys, args=[old or b"", changes or b"0", number, plan.version]):
                return
        raise FeatureStoreError(
            f"feature view '{plan.name}' could not be published", got=f"{_MOST_TRIES} times an event came between"
        )

    def _read_up_to(self, plan: ViewPlan, number: bytes) -> int:
        """Microseconds up to which the table of a publication was read; of one that has just been removed, never."""
        about = self._redis.get(_generation_key(plan, number, "about"))
        return NEVER if about is None else int(json.loads(about)["as_of"])

    def _catch_up(
        self,
        plan: ViewPlan,
        numbers: tuple[bytes, bytes],
        as_of: int,
        seen: tuple[dict[str, bytes | None], dict[str, bytes]],
    ) -> None:
        (old, new), (bases, done) = numbers, seen
        for name in self._redis.zrangebyscore(_generation_key(plan, old, "taken"), "(0", "+inf"):
            entity = name.decode()
            state = self._redis.get(_state_key(plan, old, entity))
            if done.get(entity) == state:
                continue
            if entity not in bases:
                bases[entity] = self._redis.get(_state_key(plan, new, entity))
            joined = caught_up(bases[entity], state, plan, as_of=as_of)
            self._write(plan, new, [(entity, joined)])
            done[entity] = state

    def _sweep(self, plan: ViewPlan, number: bytes) -> None:
        """Remove the keys that older publications left."""
        for old in self._redis.smembers(_key(plan, "staged")):
            if int(old) < int(number):
                for keys in _portions(self._redis.scan_iter(match=_generation_key(plan, old, "*"), count=_BATCH)):
                    self._redis.unlink(*keys)
                self._redis.srem(_key(plan, "staged"), old)

    def generations(self) -> tuple[Generation, ...]:
        """See :class:`~countermark.features.online.OnlineStore`."""
        with _guarded():
            return tuple(sorted(self._described(), key=lambda found: (found.view, found.version)))

    def _described(self) -> Iterator[Generation]:
        for version in self._redis.smembers(_VERSIONS):
            root = f"{_ROOT}{version.decode()}:"
            number = int(self._redis.get(f"{root}current"))
            about = json.loads(self._redis.get(f"{root}{number}:about"))
            entities = int(self._redis.zcard(f"{root}{number}:taken"))
            yield Generation(about["view"], version.decode(), number, instant(about["as_of"]), entities)

    def entities(self, plan: ViewPlan) -> tuple[str, ...]:
        """See :class:`~countermark.features.online.OnlineStore`."""
        with _guarded():
            number = self._redis.get(_key(plan, "current"))
            if number is None:
                raise unpublished(plan)
            names = self._redis.zrange(_generation_key(plan, number, "taken"), 0, -1)
        return tuple(sorted(name.decode() for name in names))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise FeatureStoreError(
            "the feature store cannot be used",
            expected="a Redis server that answers",
            got=type(error).__name__,
            hint="check the address and the server",
        ) from error


def _portions(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    source = iter(keys)
    while portion := list(islice(source, _BATCH)):
        yield portion


def _key(plan: ViewPlan, name: str) -> str:
    return f"{_ROOT}{plan.version}:{name}"


def _generation_key(plan: ViewPlan, number: bytes, name: str) -> str:
    return f"{_ROOT}{plan.version}:{int(number)}:{name}"


def _state_key(plan: ViewPlan, number: bytes, entity: str) -> str:
    return f"{_ROOT}{plan.version}:{int(number)}:state:{entity}"

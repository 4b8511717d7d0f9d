"""What waits for a disk or a database waits beside the loop; and an event that comes twice at once is taken once."""

from __future__ import annotations

import http.client
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from countermark.ledger.opening import open_ledger
from countermark.records.clock import SystemClock
from countermark.records.decision import DecisionRecord, decode
from tests.servers import PostgresServer, redis_server
from tests.serving.releases import ReleaseBank, fraud_spec, pd_spec, publish_empty, requests
from tests.serving.servers import Answer, Server, serving

ROW = requests(pd_spec(), 1, seed=2)[0]
PATIENT = 30.0


def event(card: str, identity: str, amount: float = 20.0) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"table": "main", "event": {"id": identity, "card": card, "at": at, "amount": amount}, "id": identity}


def answers_meanwhile(server: Server, slow: Callable[[], Answer], release: Callable[[], None], status: int) -> None:
    """The service answers others while one call waits; once what it waits for is free, so does that one."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow)
        try:
            time.sleep(0.5)
            assert not waiting.done()
            start = time.monotonic()
            assert [server.call("GET", "/health").status for _ in range(10)] == [200] * 10
            assert time.monotonic() - start < 2.0
            assert not waiting.done()
        finally:
            release()
        assert waiting.result(PATIENT).status == status


def test_a_store_that_is_slow_to_write_holds_up_nobody_else(bank: ReleaseBank, tmp_path: Path) -> None:
    file = tmp_path / "features.sqlite"
    publish_empty(f"sqlite:///{file}", fraud_spec(), SystemClock().now())
    with serving(bank.folder, bank.trust_root, ledger=str(tmp_path / "ledger"), features=f"sqlite:///{file}") as server:
        writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")
        slow = server.connection(PATIENT)

        def released() -> None:
            assert server.decide("toy_pd", ROW).status == 200
            assert server.decide("toy_fraud", {"card": "k", "amount": 5.0}).status == 200
            writer.execute("ROLLBACK")

        answers_meanwhile(server, lambda: server.call("POST", "/v1/events", event("k", "e"), on=slow), released, 202)
        writer.close()


def test_a_store_that_is_slow_to_read_holds_up_nobody_else(bank: ReleaseBank, tmp_path: Path) -> None:
    with (
        redis_server() as url,
        serving(bank.folder, bank.trust_root, ledger=str(tmp_path / "l"), features=url) as server,
    ):
        publish_empty(url, fraud_spec(), SystemClock().now())
        slow = server.connection(PATIENT)
        with redis.Redis.from_url(url) as admin:
            process = int(admin.info()["process_id"])
        os.kill(process, signal.SIGSTOP)

        def released() -> None:
            assert server.decide("toy_pd", ROW).status == 200
            os.kill(process, signal.SIGCONT)

        answers_meanwhile(
            server, lambda: server.decide("toy_fraud", {"card": "k", "amount": 5.0}, on=slow), released, 200
        )


def test_a_database_that_is_slow_to_read_holds_up_nobody_else(bank: ReleaseBank, postgres: PostgresServer) -> None:
    url = postgres.schema()
    with serving(bank.folder, bank.trust_root, ledger=url) as server:
        identity = server.decide("toy_pd", ROW).json["id"]
        with psycopg.connect(url) as session:
            session.execute("LOCK TABLE countermark_ledger IN ACCESS EXCLUSIVE MODE")
            slow = server.connection(PATIENT)
            answers_meanwhile(
                server, lambda: server.call("GET", f"/v1/decisions/{identity}", on=slow), session.rollback, 200
            )


def four_for_each_worker(server: Server, url: str) -> list[http.client.HTTPConnection]:
    """Connections; a decision on each shows by its chain which worker has it."""
    found: dict[str, list[http.client.HTTPConnection]] = {}
    end = time.monotonic() + PATIENT
    while len(found) < 2 or min(map(len, found.values())) < 4:
        assert time.monotonic() < end, {chain: len(held) for chain, held in found.items()}
        connection = server.connection(PATIENT)
        identity = server.decide("toy_pd", ROW, on=connection).json["id"]
        with open_ledger(url) as ledger:
            held = found.setdefault(ledger.get("decision", identity)[0].chain, [])
        if len(held) < 4:
            held.append(connection)
        else:
            connection.close()
    return [connection for held in found.values() for connection in held]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_event_sent_to_two_workers_at_once_is_taken_once(
    bank: ReleaseBank, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """Eight callers, four at each worker, all with the same events at the same moments."""
    url = str(tmp_path / "ledger")
    if kind == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.schema()
    store = f"sqlite:///{tmp_path}/features.sqlite"
    publish_empty(store, fraud_spec(), SystemClock().now())
    bodies = [event(f"card-{k % 5}", f"event-{k}") for k in range(40)]
    told: list[list[dict[str, Any]]] = [[] for _ in range(8)]
    together = threading.Barrier(8)
    with serving(bank.folder, bank.trust_root, ledger=url, workers=2, features=store) as server:
        connections = four_for_each_worker(server, url)

        def send(caller: int) -> None:
            connection = connections[caller]
            for body in bodies:
                together.wait()
                answer = server.call("POST", "/v1/events", body, on=connection)
                assert answer.status == 202, answer.body
                told[caller].append(answer.json)
            connection.close()

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(send, caller) for caller in range(8)]:
                done.result(60)
        time.sleep(1.1)
        decided = [server.decide("toy_fraud", {"card": f"card-{k}", "amount": 5.0}).json["id"] for k in range(5)]
        server.stop()
    with open_ledger(url) as ledger:
        found = list(ledger.read(["event"]))
        features = [decode(ledger.get("decision", one)[0].payload, DecisionRecord).features for one in decided]
        assert ledger.verify().ok
    assert Counter(entry.key for entry in found) == Counter(body["id"] for body in bodies)
    assert [(f["n"], f["spent"]) for f in features] == [(8.0, 160.0)] * 5, "each is in the features once"
    known = {entry.key: decode_known(entry.payload) for entry in found}
    for answers in told:
        assert [(a["id"], a["known_at"]) for a in answers] == [(b["id"], known[b["id"]]) for b in bodies]


def decode_known(payload: bytes) -> str:
    """When an event became known, as its record says."""
    from countermark.records.decision import EventRecord

    return decode(payload, EventRecord).known_at

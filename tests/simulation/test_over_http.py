"""Traffic over HTTP: to a real service, and to services that go wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from countermark.errors import SimulationError
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SystemClock
from countermark.records.decision import DecisionRecord, decode
from countermark.serving.keys import make_key, write_keys
from countermark.simulation.bank_life import tell
from countermark.simulation.over_http import Caller, fresh_names, percentile, send
from tests.serving.releases import ReleaseBank, publish_empty
from tests.serving.servers import serving
from tests.simulation.customers import customers, fraud_model

FAST = 10_000.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """Address, key and ledger of a running ``countermark serve`` of the toy fraud model."""
    folder = tmp_path_factory.mktemp("service")
    bank = ReleaseBank(folder / "releases")
    bank.release("toy_fraud@v1.0.0", model=fraud_model())
    text, key = make_key("simulator", ("decide:toy_fraud", "events", "outcomes", "read"))
    write_keys(folder / "keys.json", {key.sha256: key})
    features = f"sqlite:///{folder / 'features.sqlite'}"
    publish_empty(features, fraud_model(), SystemClock().now())
    ledger = str(folder / "ledger")
    with serving(bank.folder, bank.trust_root, ledger=ledger, keys=folder / "keys.json", features=features) as server:
        yield f"http://127.0.0.1:{server.port}", text, ledger


def test_a_life_is_sent_answered_and_read_back(service: tuple[str, str, str]) -> None:
    url, key, folder = service
    said: list[str] = []
    made = customers(drifts=("amount=1.5@1",), names=fresh_names())
    tell(said.append, made)
    caller = Caller(url, key, FAST)
    send(said.append, caller, made, SystemClock(), (2, 10))
    caller.close()
    told = "\n".join(said)
    assert "SYNTHETIC" in told
    assert "decision   200  20" in told
    assert "outcome    202  20" in told
    assert "✓ every acknowledged decision can be read back: 20 of 20" in told
    assert "milliseconds of a decision: p50" in told
    with open_ledger(folder) as ledger:
        mine = [decode(e.payload, DecisionRecord) for e in ledger.read(["decision"])]
    assert len([record for record in mine if record.id.startswith(made.names.prefix)]) == 20
    assert max(record.features["n"] or 0.0 for record in mine if not isinstance(record.features["n"], str)) > 0
    assert {record.channel for record in mine} == {"http"}


def test_refused_requests_fail_the_claim_unless_they_drift(service: tuple[str, str, str]) -> None:
    url, key, _ = service
    said: list[str] = []
    drifting = customers(drifts=("amount=100000@1",), names=fresh_names())
    send(said.append, Caller(url, key, FAST), drifting, SystemClock(), (2, 3))
    assert any(line.startswith("decision   422  3") for line in said), said
    other, _ = make_key("nobody", ("decide",))
    with pytest.raises(SimulationError, match="did not go as claimed") as caught:
        send(said.append, Caller(url, other, FAST), customers(names=fresh_names()), SystemClock(), (1, 2))
    assert "no request or event was refused" in (caught.value.got or "")


def test_a_service_without_the_model_or_no_service_is_refused(service: tuple[str, str, str]) -> None:
    url, key, _ = service
    made = customers()
    made.spec = made.spec.model_copy(update={"name": "toy_fruad"})
    with pytest.raises(SimulationError, match="does not serve model 'toy_fruad'") as caught:
        send(print, Caller(url, key, FAST), made, SystemClock(), (1, 1))
    assert caught.value.hint == "did you mean 'toy_fraud'?"
    with pytest.raises(SimulationError, match="does not answer"):
        send(print, Caller("http://127.0.0.1:9", None, FAST), customers(), SystemClock(), (1, 1))
    with pytest.raises(SimulationError, match="no address"):
        Caller("localhost:8000", None, FAST)


@contextmanager
def forgetful(reads: Mapping[str, Any], status: int = 200) -> Iterator[str]:
    """A service that acknowledges every decision, and answers a reader as told."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, code: int, document: Mapping[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            ready: dict[str, Any] = {"models": {"toy_fraud": []}}
            self.answer(200, ready) if self.path == "/ready" else self.answer(status, reads)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            decided = self.path.endswith("/decisions")
            self.answer(200 if decided else 202, {"decision": "approve"} if decided else {})

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("reads", "status"), [({}, 404), ({"decision": "decline"}, 200), ({}, 503)], ids=["lost", "changed", "unreadable"]
)
def test_an_acknowledged_decision_that_cannot_be_read_back_ends_non_zero(reads: dict[str, Any], status: int) -> None:
    said: list[str] = []
    with forgetful(reads, status) as url, pytest.raises(SimulationError) as caught:
        send(said.append, Caller(url, None, FAST), customers(), SystemClock(), (1, 3))
    assert caught.value.got == "every acknowledged decision can be read back"
    assert caught.value.exit_code == 16
    assert "✗ every acknowledged decision can be read back: 0 of 3" in said


def test_calls_are_never_sent_faster_than_the_rate() -> None:
    with forgetful({"decision": "approve"}) as url:
        caller = Caller(url, None, 50.0)
        start = time.monotonic()
        for _ in range(11):
            caller.call("GET", "/ready")
        assert time.monotonic() - start >= 10 / 50.0
        caller.close()


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(k) for k in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_names_of_two_lives_differ() -> None:
    one, other = fresh_names(), fresh_names()
    assert one.prefix != other.prefix
    assert one.first != other.first
    assert max(one.first, other.first) + (1 << 40) < 2**53

"""The service over real sockets: every endpoint, every refusal."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from countermark.ledger.opening import open_ledger
from countermark.records.decision import DecisionRecord, decode
from tests.serving.releases import fraud_spec, pd_spec, requests
from tests.serving.servers import Server

GOOD = {"income": 30000.0, "dti": 12.5, "age": 44, "purpose": "car"}
Keys = tuple[Path, dict[str, str]]


@pytest.fixture
def key(keys: Keys) -> str:
    return keys[1]["all"]


def test_a_decision_is_answered_with_score_grade_and_reasons_and_is_on_the_ledger(
    server: Server, key: str, ledger_folder: str
) -> None:
    declined = 0
    for k, request in enumerate(requests(pd_spec(), 30, seed=5)):
        answer = server.decide("toy_pd", request, entity=f"c{k}", key=key)
        assert answer.status == 200, answer.body
        found = answer.json
        assert found["release"] == "toy_pd@v1.0.0"
        assert (found["decision"] == "decline") == (found["probability"] >= 0.3)
        assert bool(found["reasons"]) == (found["decision"] == "decline")
        declined += found["decision"] == "decline"
        with open_ledger(ledger_folder) as ledger:
            entries = ledger.get("decision", found["id"])
        record = decode(entries[0].payload, DecisionRecord)
        assert len(entries) == 1
        assert float.fromhex(record.p) == found["probability"]
        assert [r.code for r in record.reasons] == [r["code"] for r in found["reasons"]]
        assert record.entity == f"c{k}"
        assert record.latency_us > 0
        stored = server.call("GET", f"/v1/decisions/{found['id']}", key=key)
        assert stored.status == 200
        assert stored.body == entries[0].payload
    assert 0 < declined < 30


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"incme": 1.0}, "incme", "unknown"),
        ({"age": 17}, "age", "minimum"),
        ({"age": 101}, "age", "maximum"),
        ({"age": None}, "age", "missing"),
        ({"age": 44.5}, "age", "type"),
        ({"age": "44"}, "age", "type"),
        ({"age": True}, "age", "type"),
        ({"purpose": "boat"}, "purpose", "allowed"),
        ({"purpose": 1}, "purpose", "type"),
        ({"income": -1.0}, "income", "minimum"),
        ({"income": 1e300}, "income", "maximum"),
    ],
)
def test_a_field_that_breaks_its_contract_is_refused_by_name(
    server: Server, key: str, change: dict[str, Any], field: str, rule: str
) -> None:
    answer = server.decide("toy_pd", GOOD | change, key=key)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(p["field"], p["rule"]) for p in answer.json["problems"]] == [(field, rule)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"request": {}, "more": 1}', 422),
        (b'{"request": {"age": [1]}}', 422),
        (b'{"request": {"age": {"a": 1}}}', 422),
        (b'{"request": {"age": NaN}}', 400),
        (b'{"request": {"age": 44}, "id": 5}', 422),
        (b'{"request": {"age": 44}, "id": ""}', 422),
        (b'{"request": {"age": 44}, "id": "' + b"x" * 1000 + b'"}', 422),
        (b'{"request": {"age": 44}, "id": "a\\u0000b"}', 422),
        (b'{"request": {"age": 44}, "id": "\\ud800"}', 400),
        (b'{"request": {"age": 44}, "id": "a/b"}', 422),
        (b'{"request": {"age": 44}, "id": "a b"}', 422),
        (b'{"request": {"age": 44}, "id": "a\\n"}', 422),
        (b'{"request": {"age": 44}, "entity": ""}', 422),
        (b'{"request": {"age": 44, "income": 1e999}}', 422),
        (b'{"request": {"age": 44, "age": ' + b"9" * 400 + b"}}", 422),
        (b"[" * 100000, 422),
        (b'{"request": {"income": 1.0, "dti": 1.0, "age": 44, "purpose": "car", "age": 45}}', 422),
        (b'{"id": "a", "request": {"income": 1.0, "dti": 1.0, "age": 44, "purpose": "car"}, "id": "b"}', 422),
    ],
)
def test_a_body_that_is_no_request_is_refused(server: Server, key: str, body: bytes, status: int) -> None:
    answer = server.call("POST", "/v1/models/toy_pd/decisions", body, key=key)
    assert answer.status == status, answer.body
    assert answer.json["status"] == status


def test_a_body_beyond_the_limit_is_refused(server: Server, key: str) -> None:
    answer = server.call("POST", "/v1/models/toy_pd/decisions", b" " * (256 * 1024 + 1), key=key)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("POST", "/v1/models/toy_pd/decisions", None, 401),
        ("POST", "/v1/models/toy_pd/decisions", "nobody", 401),
        ("POST", "/v1/models/toy_pd/decisions", "pd", 200),
        ("POST", "/v1/models/toy_fraud/decisions", "pd", 403),
        ("POST", "/v1/models/toy_pd/decisions", "read", 403),
        ("POST", "/v1/events", "pd", 403),
        ("POST", "/v1/outcomes", "events", 403),
        ("GET", "/v1/decisions/none", "pd", 403),
        ("GET", "/v1/decisions/none", "read", 404),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", "pd", 403),
        ("GET", "/metrics", "read", 200),
        ("POST", "/v2/models/toy_fraud/infer", "pd", 403),
        ("GET", "/ready", None, 200),
        ("GET", "/health", None, 200),
        ("GET", "/nothing", "all", 404),
        ("GET", "/", None, 404),
        ("DELETE", "/v1/decisions/none", "all", 405),
        ("GET", "/v1/models/toy_pd/decisions", "all", 405),
        ("POST", "/health", "all", 405),
        ("POST", "/v1/models/other/decisions", "all", 404),
    ],
)
def test_keys_open_what_their_scopes_say(
    server: Server, keys: Keys, method: str, path: str, name: str | None, status: int
) -> None:
    text = None if name is None else keys[1].get(name, "cmk_nobody")
    body = {"request": GOOD} if method == "POST" else None
    assert server.call(method, path, body, key=text).status == status


def test_the_key_may_come_as_a_header_of_its_own(server: Server, key: str) -> None:
    connection = server.connection()
    connection.request("GET", "/metrics", headers={"X-Api-Key": key})
    assert connection.getresponse().status == 200
    connection.close()


def test_a_repeated_id_gives_the_same_decision_on_every_worker(server: Server, key: str, ledger_folder: str) -> None:
    first = server.decide("toy_pd", GOOD, id="order-1", key=key)
    answers = [server.decide("toy_pd", GOOD, id="order-1", key=key) for _ in range(12)]
    assert {a.status for a in answers} == {200}
    assert {a.body for a in answers} == {first.body}
    other = server.decide("toy_pd", GOOD | {"age": 50}, id="order-1", key=key)
    assert other.status == 409
    with open_ledger(ledger_folder) as ledger:
        assert len(ledger.get("decision", "order-1")) == 1


def test_the_same_id_at_the_same_time_is_decided_once(server: Server, key: str, ledger_folder: str) -> None:
    bodies: list[bytes] = []

    def ask() -> None:
        bodies.append(server.decide("toy_pd", GOOD, id="race-1", key=key).body)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == 16
    assert len(set(bodies)) == 1
    with open_ledger(ledger_folder) as ledger:
        assert len(ledger.get("decision", "race-1")) == 1


def test_an_event_moves_the_features_of_the_next_decision(server: Server, key: str, ledger_folder: str) -> None:
    event = {"id": "e1", "card": "k1", "at": "2026-11-01T10:00:00Z", "amount": 20.0}
    now = {"card": "k2", "amount": 50.0}
    before = server.decide("toy_fraud", now, key=key)
    assert before.status == 200, before.body
    sent = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {"table": "main", "event": event | {"id": "e2", "card": "k2", "at": sent}, "id": "event-2"}
    taken = [server.call("POST", "/v1/events", body, key=key) for _ in range(2)]
    assert [a.status for a in taken] == [202, 202], taken[0].body
    assert taken[0].json["known_at"] == taken[1].json["known_at"]
    changed = body | {"event": body["event"] | {"amount": 21.0}}  # type: ignore[operator]
    assert server.call("POST", "/v1/events", changed, key=key).status == 409
    time.sleep(1.1)
    after = server.decide("toy_fraud", now, key=key).json
    with open_ledger(ledger_folder) as ledger:
        features = [
            decode(ledger.get("decision", found)[0].payload, DecisionRecord).features
            for found in (before.json["id"], after["id"])
        ]
        assert len(ledger.get("event", "event-2")) == 1
    assert [f["n"] for f in features] == [0.0, 1.0]
    assert features[1]["spent"] == 20.0
    assert (len(before.json["without_history"]), after["without_history"]) == (1, [])


@pytest.mark.parametrize(("card", "entity"), [("", None), ("  ", None), ("k1", "k2")])
def test_a_request_that_names_no_one_entity_is_refused(server: Server, key: str, card: str, entity: str | None) -> None:
    answer = server.decide("toy_fraud", {"card": card, "amount": 50.0}, key=key, entity=entity)
    assert answer.status == 422
    assert [(p["field"], p["rule"]) for p in answer.json["problems"]] == [("card", "entity")]


@pytest.mark.parametrize(
    "body",
    [
        {"table": "other", "event": {"a": 1}},
        {"table": "main", "event": {"card": "k"}},
        {"table": "main", "event": {"id": "1", "card": "k", "at": "yesterday", "amount": 1.0}},
        {"table": "main", "event": {"id": "1", "card": "k", "at": "2026-01-01T00:00:00Z", "amount": 1.0, "colour": 1}},
        {"table": "main"},
    ],
)
def test_an_event_outside_its_contract_is_refused(server: Server, key: str, body: dict[str, Any]) -> None:
    assert server.call("POST", "/v1/events", body, key=key).status == 422


def test_outcomes_overrides_and_dispositions_are_linked_to_their_decision(
    server: Server, key: str, ledger_folder: str
) -> None:
    decided = server.decide("toy_pd", GOOD, entity="c9", key=key).json
    made = decided["id"]
    outcome = {"model": "toy_pd", "decision": made, "observed_at": "2026-11-01", "value": 1, "source": "core"}
    assert server.call("POST", "/v1/outcomes", outcome, key=key).status == 202
    same = {"by": "u7", "outcome": decided["decision"], "reason": "none"}
    assert server.call("POST", f"/v1/decisions/{made}/override", same, key=key).status == 422
    linked = {"by": "u7", "outcome": "approve with a lower limit", "reason": "payslip"}
    assert server.call("POST", f"/v1/decisions/{made}/override", linked, key=key).status == 202
    assert server.call("POST", f"/v1/decisions/{made}/disposition", linked, key=key).status == 202
    with open_ledger(ledger_folder) as ledger:
        found = [json.loads(ledger.get(kind, made)[0].payload) for kind in ("outcome", "override", "disposition")]
        stored = decode(ledger.get("decision", made)[0].payload, DecisionRecord)
    assert [f["decision"] for f in found] == [made] * 3
    assert (stored.caller, found[1]["caller"], found[2]["caller"]) == ("all", "all", "all")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (
            "/v1/outcomes",
            {"model": "nothing", "decision": "d", "observed_at": "2026-01-01", "value": 1, "source": "s"},
            404,
        ),
        ("/v1/outcomes", {"model": "toy_pd", "observed_at": "2026-01-01", "value": 1, "source": "s"}, 422),
        (
            "/v1/outcomes",
            {"model": "toy_pd", "decision": "none", "observed_at": "2026-01-01", "value": 1, "source": "s"},
            404,
        ),
        (
            "/v1/outcomes",
            {"model": "toy_pd", "decision": "order-1", "observed_at": "soon", "value": 1, "source": "s"},
            422,
        ),
        ("/v1/decisions/none/override", {"by": "u", "outcome": "o"}, 404),
        ("/v1/decisions/none/override", {"by": "u"}, 422),
    ],
)
def test_what_cannot_be_linked_is_refused(
    server: Server, key: str, path: str, body: dict[str, Any], status: int
) -> None:
    answer = server.call("POST", path, body, key=key)
    assert answer.status == status, answer.body


def test_the_open_inference_protocol_decides_like_any_other_request(server: Server, key: str) -> None:
    assert server.call("GET", "/v2").json["name"] == "countermark"
    assert server.call("GET", "/v2/health/ready").json == {"ready": True}
    assert server.call("GET", "/v2/health/live").status == 200
    assert server.call("GET", "/v2/models/toy_pd/ready").status == 200
    assert server.call("GET", "/v2/models/other/ready").status == 404
    fields = {i["name"]: i["datatype"] for i in server.call("GET", "/v2/models/toy_pd").json["inputs"]}
    assert fields == {"age": "INT64", "dti": "FP64", "income": "FP64", "purpose": "BYTES"}
    rows = requests(pd_spec(), 3, seed=8)
    inputs = [
        {"name": name, "datatype": kind, "shape": [3], "data": [row[name] for row in rows]}
        for name, kind in fields.items()
    ]
    answer = server.call("POST", "/v2/models/toy_pd/infer", {"id": "q", "inputs": inputs}, key=key)
    assert answer.status == 200, answer.body
    outputs = {o["name"]: o["data"] for o in answer.json["outputs"]}
    assert answer.json["id"] == "q"
    single = [server.decide("toy_pd", row, key=key).json for row in rows]
    assert outputs["probability"] == [one["probability"] for one in single]
    assert outputs["decision"] == [one["decision"] for one in single]
    for wrong in (
        [],
        [inputs[0], inputs[0]],
        [inputs[0] | {"datatype": "FP16"}],
        [inputs[0] | {"shape": [2]}],
        [*inputs[1:], inputs[0] | {"data": [1], "shape": [1]}],
        [{**item, "data": item["data"] * 40, "shape": [120]} for item in inputs],
    ):
        assert server.call("POST", "/v2/models/toy_pd/infer", {"inputs": wrong}, key=key).status == 422


def test_metrics_add_up_over_the_workers(server: Server, key: str) -> None:
    def total() -> float:
        text = server.call("GET", "/metrics", key=key).body.decode()
        lines = [line for line in text.splitlines() if line.startswith("countermark_decisions_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = total()
    for _ in range(20):
        assert server.decide("toy_pd", GOOD, key=key).status == 200
    assert total() - before == 20


def test_one_connection_carries_many_requests(server: Server, key: str) -> None:
    connection = server.connection()
    statuses = [server.decide("toy_pd", GOOD, key=key, on=connection).status for _ in range(20)]
    connection.close()
    assert set(statuses) == {200}


def test_openapi_describes_the_fields_of_every_model(server: Server) -> None:
    document = server.call("GET", "/openapi.json").json
    body = document["paths"]["/v1/models/toy_pd/decisions"]["post"]["requestBody"]
    fields = body["content"]["application/json"]["schema"]["properties"]["request"]["properties"]
    assert fields["age"] == {"type": "integer", "minimum": 18, "maximum": 100}
    assert fields["purpose"] == {"type": ["string", "null"], "enum": ["car", "home", "other", None]}
    assert set(document["paths"]["/v1/models/toy_fraud/decisions"]["post"]) >= {"requestBody", "responses"}
    assert fraud_spec().title


def test_a_worker_stays_under_250_mb(server: Server) -> None:
    for process in server.workers():
        status = Path(f"/proc/{process}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        assert resident < 250_000


def test_a_caller_cannot_make_up_metrics(server: Server, key: str) -> None:
    assert server.call("GET", "/made/up", key=key).status == 404
    refused = server.call("GET", "/v1/events", key=key)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    told = server.call("GET", "/metrics", key=key).body.decode()
    assert "made/up" not in told
    assert 'endpoint="other"' in told


def test_a_caller_who_hangs_up_leaves_no_trace(server: Server, key: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            f"POST /v1/models/toy_pd/decisions HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        time.sleep(0.2)
    time.sleep(0.3)
    assert "Traceback" not in server.text()
    assert server.decide("toy_pd", GOOD, key=key).status == 200


def test_the_log_is_json_without_values(server: Server) -> None:
    lines = [json.loads(line) for line in server.text().splitlines() if line.startswith("{")]
    assert {"worker ready", "leads rollouts"} <= {line["event"] for line in lines}
    assert "payslip" not in server.text()

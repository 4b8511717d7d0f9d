"""A call of the Open Inference Protocol is carried out as a whole or not at all, and its repeat decides nothing again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from countermark.ledger.opening import open_ledger
from tests.serving.releases import pd_spec, requests
from tests.serving.servers import Server

KINDS = {"income": "FP64", "dti": "FP64", "age": "INT64", "purpose": "BYTES"}
ROWS = requests(pd_spec(), 8, seed=31)


@pytest.fixture
def key(keys: tuple[Path, dict[str, str]]) -> str:
    return keys[1]["all"]


def body(rows: list[dict[str, Any]], identity: str | None = None) -> dict[str, Any]:
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, kind in KINDS.items()
    ]
    return {"inputs": inputs} if identity is None else {"inputs": inputs, "id": identity}


def decisions(ledger_folder: str) -> int:
    with open_ledger(ledger_folder) as ledger:
        return sum(1 for _ in ledger.read(["decision"]))


def ids(answer: Any) -> list[str]:
    found: list[str] = {output["name"]: output["data"] for output in answer.json["outputs"]}["id"]
    return found


@pytest.mark.parametrize("identity", [None, "refused-call"])
def test_of_a_call_with_one_bad_row_nothing_is_recorded(
    server: Server, key: str, ledger_folder: str, identity: str | None
) -> None:
    bad = [dict(row) for row in ROWS]
    bad[5]["age"] = 5
    before = decisions(ledger_folder)
    for _ in range(3):
        answer = server.call("POST", "/v2/models/toy_pd/infer", body(bad, identity), key=key)
        assert answer.status == 422
        assert answer.json["row"] == 6
        assert [(p["field"], p["rule"]) for p in answer.json["problems"]] == [("age", "minimum")]
    assert decisions(ledger_folder) == before


def test_a_call_that_is_sent_again_under_its_id_gives_the_same_decisions(
    server: Server, key: str, ledger_folder: str
) -> None:
    before = decisions(ledger_folder)
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(server.call, "POST", "/v2/models/toy_pd/infer", body(ROWS, "nightly"), key=key)
            for _ in range(8)
        ]
        answers = [call.result(30) for call in calls]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert ids(answers[0]) == [f"nightly.{k}of8" for k in range(1, 9)]
    assert decisions(ledger_folder) == before + 8
    with open_ledger(ledger_folder) as ledger:
        entries = [ledger.get("decision", name) for name in ids(answers[0])]
    assert len({found[0].chain for found in entries}) == 1
    assert [found[0].seq - entries[0][0].seq for found in entries] == list(range(8)), "one transaction"


def test_other_rows_under_an_id_that_was_used_are_refused_and_not_recorded(
    server: Server, key: str, ledger_folder: str
) -> None:
    assert server.call("POST", "/v2/models/toy_pd/infer", body(ROWS, "taken"), key=key).status == 200
    before = decisions(ledger_folder)
    changed = [*ROWS[:3], {**ROWS[3], "age": 99}, *ROWS[4:]]
    assert server.call("POST", "/v2/models/toy_pd/infer", body(changed, "taken"), key=key).status == 409
    assert decisions(ledger_folder) == before


def test_a_call_without_an_id_decides_each_time(server: Server, key: str, ledger_folder: str) -> None:
    before = decisions(ledger_folder)
    for call in (body(ROWS), body(ROWS), body(ROWS, "")):
        assert server.call("POST", "/v2/models/toy_pd/infer", call, key=key).status == 200
    assert decisions(ledger_folder) == before + 24


@pytest.mark.parametrize("identity", ["x" * 500, "a\x00b"])
def test_an_id_that_the_ledger_cannot_keep_is_refused(server: Server, key: str, identity: str) -> None:
    assert server.call("POST", "/v2/models/toy_pd/infer", body(ROWS, identity), key=key).status == 422


def test_the_id_of_a_decision_belongs_to_one_entity(server: Server, key: str, ledger_folder: str) -> None:
    first = server.decide("toy_pd", ROWS[0], id="one-id", entity="A", key=key)
    assert first.status == 200
    assert server.decide("toy_pd", ROWS[0], id="one-id", entity="A", key=key).body == first.body
    for more in ({"entity": "B"}, {}):
        answer = server.decide("toy_pd", ROWS[0], id="one-id", key=key, **more)
        assert answer.status == 409, answer.body
    with open_ledger(ledger_folder) as ledger:
        assert len(ledger.get("decision", "one-id")) == 1

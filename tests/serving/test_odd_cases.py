"""What a release fails of is that release's failure: recorded, counted by the guards, and no end of anything else."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from countermark.config.rollout import RolloutPlan
from countermark.config.spec import ModelSpec
from countermark.features.online import OnlineStore, open_store
from countermark.features.request import RequestError
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SystemClock, iso
from countermark.records.decision import DecisionRecord, Value, decode, encode
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.rollout.controller import WRITER, Controller
from countermark.rollout.machine import begin
from countermark.rollout.orders import give_order
from countermark.serving import leader
from countermark.serving.leader import RolloutLeader
from countermark.serving.release import Ask, ServedRelease
from countermark.serving.requests import DecisionRequest
from countermark.serving.service import DecisionService, ShadowScorer
from tests.features.specs import spec
from tests.registry.people import key
from tests.serving.releases import (
    FRAUD_CONTRACT,
    FRAUD_FEATURES,
    FRAUD_VIEWS,
    ReleaseBank,
    policy,
    publish_empty,
)

ODD = ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00")


def dated(version: str, expression: str) -> ModelSpec:
    """A fraud model that reads the date in ``since``."""
    contract, views = copy.deepcopy(FRAUD_CONTRACT), copy.deepcopy(FRAUD_VIEWS)
    contract["columns"]["since"] = {"type": "date"}
    views["velocity"]["features"]["h"] = {"kind": "on_demand", "expression": expression}
    features = {**FRAUD_FEATURES, "h": {"meaning": "m", "source": "velocity.h"}}
    return spec(
        {
            "name": "toy_fraud",
            "version": version,
            "=contract": contract,
            "=data": {"time": "at", "entity": "card"},
            "feature_views": views,
            "=features": features,
            "=decision": policy(tuple(features)).model_dump(mode="json"),
        }
    )


class Desk:
    """A service of two releases, the second a candidate that may be told to fail of anything."""

    def __init__(self, folder: Path) -> None:
        bank = ReleaseBank(folder / "releases")
        models = dated("1.0.0", "1 if is_null(request.since) else 0"), dated("2.0.0", "hour(request.since)")
        bank.release("toy_fraud@v1.0.0", model=models[0])
        bank.release("toy_fraud@v2.0.0", model=models[1], seed=1)
        store = f"sqlite:///{folder}/features.sqlite"
        for model in models:
            publish_empty(store, model, SystemClock().now())
        self.bank, self.store, self._folder = bank, open_store(store), folder / "ledger"
        self.ledger: Ledger = open_ledger(self._folder)
        self.route(0.0)
        self.service = DecisionService(bank.directory, self.ledger, self.store, SystemClock())
        self.shadows = ShadowScorer(self.service, self.ledger.append_many)

    def route(self, share: float) -> None:
        now = iso(SystemClock().now())
        planned = ModelRoute(
            champion="1.0.0", candidate="2.0.0", share=share, shadow=True, rollout="toy_fraud-1", stage="s"
        )
        table = RoutingTable(version=1 + int(share), at=now, models={"toy_fraud": planned})
        with open_ledger(self._folder, writer=WRITER) as controller:
            controller.append("routing", "routing", encode(table), now)

    def ask(self, identity: str, since: str = "2020-01-01") -> DecisionRecord:
        request: dict[str, Value] = {"card": "c", "amount": 5.0, "since": since}
        prepared = self.service.prepare("toy_fraud", DecisionRequest(request=request, id=identity))
        self.ledger.append("decision", identity, prepared.payload, prepared.record.at)
        self.shadows.submit(prepared)
        return prepared.record

    def shadows_of(self, count: int) -> list[DecisionRecord]:
        """The shadows on the ledger, once there are so many."""
        end = time.monotonic() + 20
        while True:
            found = [decode(entry.payload, DecisionRecord) for entry in self.ledger.read(["shadow"])]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, (len(found), self.shadows.failed, self.shadows.trouble)
            time.sleep(0.02)

    def close(self) -> None:
        self.shadows.close()
        self.ledger.close()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate fails of a mistake of the program, with a value of the request in its message."""
    decide = ServedRelease.decide

    def fails(self: ServedRelease, ask: Ask, store: OnlineStore | None) -> DecisionRecord:
        if self.ref.version == "2.0.0":
            raise OverflowError(f"a customer's secret {ask.request['amount']}")
        return decide(self, ask, store)

    monkeypatch.setattr(ServedRelease, "decide", fails)


@pytest.mark.parametrize("since", ODD)
def test_a_date_that_no_clock_shows_is_refused_and_shadows_go_on(desk: Desk, since: str) -> None:
    assert desk.ask("before").decision in ("approve", "decline")
    with pytest.raises(RequestError, match="field 'since' of a request to 'toy_fraud' is refused: type"):
        desk.ask("odd", since)
    for k in range(5):
        desk.ask(f"after-{k}")
    found = desk.shadows_of(6)
    assert [record.error for record in found] == [None] * 6
    assert (desk.shadows.scored, desk.shadows.failed, desk.shadows.dropped) == (6, 0, 0)


@pytest.mark.usefixtures("failing")
def test_whatever_a_candidate_fails_of_in_shadow_is_recorded_as_its_failure(desk: Desk) -> None:
    for k in range(5):
        assert desk.ask(f"d{k}").route.arm == "champion"
    found = desk.shadows_of(5)
    assert {record.id for record in found} == {f"d{k}" for k in range(5)}
    for record in found:
        assert (record.release.version, record.route.arm, record.margin, record.p) == ("2.0.0", "candidate", "", "")
        assert str(record.error).startswith("OverflowError in fails (test_odd_cases.py:")
        assert "secret" not in str(record.error)


@pytest.mark.usefixtures("failing")
def test_whatever_a_candidate_fails_of_in_canary_the_champion_answers(desk: Desk) -> None:
    desk.route(1.0)
    desk.service.refresh()
    answered = desk.ask("d")
    assert (answered.release.version, answered.route.arm, answered.error) == ("1.0.0", "champion", None)
    (record,) = desk.shadows_of(1)
    assert (record.id, record.release.version, record.route.arm) == ("d", "2.0.0", "candidate")
    assert str(record.error).startswith("OverflowError in fails")


def test_shadows_that_cannot_be_stored_are_counted_and_the_next_are_scored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = desk.shadows._append

    def fails(_: Any) -> None:
        raise ValueError("of a mistake that nobody thought of")

    monkeypatch.setattr(desk.shadows, "_append", fails)
    desk.ask("lost")
    end = time.monotonic() + 20
    while not desk.shadows.failed:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert desk.shadows.trouble.startswith("ValueError in fails (test_odd_cases.py:")
    monkeypatch.setattr(desk.shadows, "_append", append)
    desk.ask("kept")
    assert [record.id for record in desk.shadows_of(1)] == ["kept"]
    assert (desk.shadows.scored, desk.shadows.failed) == (1, 1)


class Told:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **more: Any) -> None:
        self.lines.append((event, more))

    info = error

    def wait_for(self, event: str, count: int) -> list[dict[str, Any]]:
        end = time.monotonic() + 20
        while len(found := [more for line, more in self.lines if line == event]) < count:
            assert time.monotonic() < end, self.lines
            time.sleep(0.02)
        return found


@pytest.fixture
def led(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """A leader of the desk's rollouts, quick to try again."""
    monkeypatch.setattr(leader, "RETRY_SECONDS", 0.1)
    told = Told()
    made = RolloutLeader(f"{tmp_path / 'ledger'}", lambda: desk.service.catalog, SystemClock(), told)
    yield told
    assert made._thread.is_alive()
    made.close()


def test_a_leader_that_fails_of_anything_leads_again(led: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    led.wait_for("leads rollouts", 1)
    tick, failed = Controller.tick, threading.Event()

    def once(self: Controller) -> Any:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("of a mistake that nobody thought of")
        return tick(self)

    monkeypatch.setattr(Controller, "tick", once)
    led.wait_for("leads rollouts", 2)
    (why,) = led.wait_for("rollouts are not led by this worker any more", 1)
    assert why["error"] == "ZeroDivisionError: of a mistake that nobody thought of"
    assert isinstance(why["exc_info"], ZeroDivisionError)


@pytest.mark.usefixtures("failing")
def test_a_record_that_cannot_be_read_is_named_and_a_faulty_release_turned_back_all_the_same(
    desk: Desk, led: Told
) -> None:
    plan = RolloutPlan.model_validate(
        {
            "name": "test",
            "version": "1",
            "source_note": "n",
            "shadow": {"min_pairs": 1000, "max_hours": 1},
            "steps": [0.5],
            "step": {"min_pairs": 1000, "max_hours": 1},
            "guards": {"errors": {"limit": 0.02, "min_pairs": 1}},
        }
    )
    now = datetime.now(UTC)
    order = begin("r1", "toy_fraud", "1.0.0", "2.0.0", plan, now=now, by="")
    give_order(desk.ledger, desk.bank.directory.state(now), order, key("eli"))
    end = time.monotonic() + 20
    while desk.service.table.models["toy_fraud"].rollout != "r1":
        assert time.monotonic() < end, led.lines
        time.sleep(0.05)
        desk.service.refresh()
    strange = desk.ledger.append("shadow", "d0", b'{"format":"of a newer worker"}', iso(SystemClock().now()))
    for k in range(1, 61):
        desk.ask(f"d{k}")
    while not any(more.get("what") == "rolled_back" for _, more in led.lines):
        assert time.monotonic() < end, led.lines
        time.sleep(0.05)
    named = f"entry {strange.seq} of chain '{strange.chain}' is no record of a shadow"
    assert any(named in str(more) for _, more in led.lines)
    assert "rollouts are not led by this worker any more" not in [line for line, _ in led.lines]

"""Rollouts led by the service itself: shadows paired, routing sticky, faulty releases turned back within a second."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from countermark.config.rollout import RolloutPlan
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.records.clock import parse_instant
from countermark.records.decision import DecisionRecord, decode
from countermark.records.routing import bucket_of
from countermark.rollout.events import RolloutEvent, event_bytes, event_of
from countermark.rollout.machine import begin
from countermark.rollout.orders import give_order
from countermark.rollout.story import by_controller
from tests.registry.people import key
from tests.serving.releases import ReleaseBank, pd_spec, requests
from tests.serving.servers import Server, serving


def plan(*, shadow_pairs: int, step_pairs: int, shift: float = 0.1, guard_pairs: int = 1) -> RolloutPlan:
    return RolloutPlan.model_validate(
        {
            "name": "test",
            "version": "1",
            "source_note": "n",
            "shadow": {"min_pairs": shadow_pairs, "max_hours": 1},
            "steps": [0.5],
            "step": {"min_pairs": step_pairs, "max_hours": 1},
            "guards": {
                "errors": {"limit": 0.02, "min_pairs": guard_pairs},
                "decision_rate": {"limit": shift, "min_pairs": guard_pairs},
            },
        }
    )


class Traffic:
    """Callers on connections of their own, until they are stopped."""

    def __init__(self, server: Server, callers: int = 4) -> None:
        self.answers: list[tuple[float, int, dict[str, Any]]] = []
        self._server = server
        self._rows = requests(pd_spec(), 400, seed=3)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(k,)) for k in range(callers)]

    def _run(self, caller: int) -> None:
        connection = self._server.connection()
        k = caller * 97
        while not self._stop.is_set():
            k += 1
            entity = f"c{k % 300}"
            try:
                answer = self._server.decide("toy_pd", self._rows[k % 300], entity=entity, on=connection)
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            self.answers.append((time.time(), answer.status, {"entity": entity, **answer.json}))
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def ledger_folder(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


@pytest.fixture
def running(bank: ReleaseBank, ledger_folder: str) -> Iterator[Server]:
    with serving(bank.folder, bank.trust_root, ledger=ledger_folder, workers=2) as server:
        yield server


def start(bank: ReleaseBank, ledger_folder: str, candidate: str, how: RolloutPlan) -> None:
    event = begin("r1", "toy_pd", "1.0.0", candidate, how, now=datetime.now(UTC), by="")
    with open_ledger(ledger_folder) as ledger:
        give_order(ledger, bank.directory.state(datetime.now(UTC)), event, key("eli"))


def events(ledger: Ledger, rollout: str = "r1") -> list[RolloutEvent]:
    return [event_of(entry) for entry in ledger.get("rollout", rollout) if by_controller(entry)]


def events_of(ledger_folder: str, rollout: str) -> list[RolloutEvent]:
    with open_ledger(ledger_folder) as ledger:
        return events(ledger, rollout)


def wait_for(ledger_folder: str, kinds: set[str], seconds: float = 25.0) -> list[RolloutEvent]:
    end = time.monotonic() + seconds
    with open_ledger(ledger_folder) as ledger:
        while time.monotonic() < end:
            found = events(ledger)
            if kinds & {event.type for event in found}:
                return found
            time.sleep(0.05)
    raise AssertionError([(e.type, e.stage, e.reason) for e in found])


def records(ledger_folder: str, kind: str) -> list[DecisionRecord]:
    with open_ledger(ledger_folder) as ledger:
        return [decode(entry.payload, DecisionRecord) for entry in ledger.read([kind])]


@pytest.mark.slow
def test_a_good_release_takes_over_and_every_decision_has_its_pair(
    running: Server, bank: ReleaseBank, ledger_folder: str
) -> None:
    with Traffic(running) as traffic:
        start(bank, ledger_folder, "2.0.0", plan(shadow_pairs=40, step_pairs=150, shift=0.2))
        story = wait_for(ledger_folder, {"completed", "rolled_back", "inconclusive"})
        time.sleep(1.0)
    assert [(e.type, e.stage) for e in story] == [
        ("started", "shadow"),
        ("advanced", "canary 0.5"),
        ("completed", "full"),
    ]
    assert {status for _, status, _ in traffic.answers} == {200}
    assert traffic.answers[-1][2]["release"] == "toy_pd@v2.0.0"
    decisions = [r for r in records(ledger_folder, "decision") if r.route.rollout == "r1"]
    shadows = {r.id: r for r in records(ledger_folder, "shadow")}
    assert len(decisions) >= 190
    assert {r.id for r in decisions} == set(shadows)
    for record in decisions:
        pair = shadows[record.id]
        assert {record.route.arm, pair.route.arm} == {"champion", "candidate"}
        assert (pair.request, pair.entity) == (record.request, record.entity)
        assert pair.release.version != record.release.version
    # Sticky: a share of one half answers the same entities on both workers, by their bucket alone.
    canary = [r for r in decisions if r.route.stage == "canary 0.5"]
    assert {r.route.arm for r in canary} == {"champion", "candidate"}
    for record in canary:
        assert record.route.bucket == bucket_of("r1", str(record.entity))
        assert (record.route.arm == "candidate") == (record.route.bucket < 2**31)
    with open_ledger(ledger_folder) as ledger:
        assert len({chain for chain in ledger.heads() if chain.startswith("chain-")}) >= 2
        assert ledger.verify().ok


@pytest.mark.parametrize(
    ("candidate", "guard"), [("3.0.0", "decision_rate"), pytest.param("4.0.0", "errors", marks=pytest.mark.slow)]
)
def test_a_faulty_release_is_turned_back_on_every_worker_within_a_second(
    running: Server, bank: ReleaseBank, ledger_folder: str, candidate: str, guard: str
) -> None:
    with open_ledger(ledger_folder) as ledger:
        # Somebody who can write to the ledger, and has no key: named in the log, and nothing follows from it.
        false = begin(
            "r0", "toy_pd", "1.0.0", "3.0.0", plan(shadow_pairs=1, step_pairs=1), now=datetime.now(UTC), by="eli"
        )
        ledger.append("rollout", "r0", event_bytes(false), false.at)
    with Traffic(running) as traffic:
        start(bank, ledger_folder, candidate, plan(shadow_pairs=1, step_pairs=100000))
        story = wait_for(ledger_folder, {"rolled_back", "completed", "inconclusive"})
        time.sleep(1.6)
    turned = story[-1]
    assert turned.type == "rolled_back"
    assert guard in turned.reason
    # The champion answers wherever the candidate fails, so no caller ever sees an error.
    assert {status for _, status, _ in traffic.answers} == {200}
    end = parse_instant(turned.at).timestamp()
    late = [at - end for at, _, answer in traffic.answers if answer["route"]["rollout"] is not None]
    assert late, "the rollout never ran"
    assert max(late) < 1.0
    after = [answer for at, _, answer in traffic.answers if at > end + 1.0]
    assert len(after) > 20
    assert {answer["release"] for answer in after} == {"toy_pd@v1.0.0"}
    assert [e.type for e in events_of(ledger_folder, "r0")] == ["refused"], "nothing followed"
    assert "'started' of rollout r0" in running.text()
    assert "counts for nothing: nobody has signed it" in running.text()
    failed = [r for r in records(ledger_folder, "shadow") if r.error is not None]
    assert bool(failed) == (candidate == "4.0.0")
    assert all("ScorerError" in str(r.error) and r.margin == "" for r in failed)
    print(f"rollback of {candidate}: last answer of the rollout {max(late):.2f} s after the event")


@pytest.mark.slow
def test_another_worker_leads_on_when_the_leader_is_killed(
    running: Server, bank: ReleaseBank, ledger_folder: str
) -> None:
    with Traffic(running):
        start(bank, ledger_folder, "2.0.0", plan(shadow_pairs=10**6, step_pairs=10**6, shift=0.2))
        time.sleep(1.0)
        leader = [line for line in running.text().splitlines() if '"leads rollouts"' in line]
        assert len(leader) == 1
        os.kill(json.loads(leader[0])["process"], signal.SIGKILL)
        end = time.monotonic() + 10
        while sum('"leads rollouts"' in line for line in running.text().splitlines()) < 2:
            assert time.monotonic() < end, running.text()[-2000:]
            time.sleep(0.1)
        with open_ledger(ledger_folder) as ledger:
            assert [e.type for e in events(ledger)] == ["started"]

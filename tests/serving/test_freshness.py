"""A log that cannot be read keeps no rollback from a worker, and a worker that cannot look says so."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countermark.errors import RegistryError
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SystemClock, iso
from countermark.records.decision import encode
from countermark.records.routing import ModelRoute, RoutingTable
from countermark.rollout.controller import WRITER
from countermark.serving import worker
from countermark.serving.http import Application
from countermark.serving.keys import make_key, write_keys
from countermark.serving.service import DecisionService
from countermark.serving.settings import Settings
from countermark.serving.worker import Worker
from tests.serving.releases import ReleaseBank, pd_spec, requests
from tests.serving.servers import Server, serving

ROWS = requests(pd_spec(), 60, seed=12)
CANARY = ModelRoute(champion="1.0.0", candidate="2.0.0", share=0.5, shadow=True, rollout="toy_pd-1", stage="canary 0.5")
ROLLED_BACK = ModelRoute(champion="1.0.0")


@pytest.fixture
def own_bank(tmp_path: Path) -> ReleaseBank:
    bank = ReleaseBank(tmp_path / "releases")
    bank.release("toy_pd@v1.0.0")
    bank.release("toy_pd@v2.0.0", seed=1)
    return bank


def put(ledger: Ledger, version: int, route: ModelRoute) -> None:
    """A routing table, as the controller would write it."""
    now = iso(SystemClock().now())
    ledger.append("routing", "routing", encode(RoutingTable(version=version, at=now, models={"toy_pd": route})), now)


def month_21(log: bytes) -> bytes:
    """The log with one bit flipped: its last entry is dated in month 21."""
    lines = log.split(b"\n")
    entry = json.loads(lines[-2])
    payload = bytearray(base64.b64decode(entry["payload"]))
    payload[payload.index(b'"at":"') + 11] ^= 2
    entry["payload"] = base64.b64encode(bytes(payload)).decode()
    lines[-2] = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    return b"\n".join(lines)


def within(seconds: float, holds: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, told()
        time.sleep(0.05)


def answers(server: Server) -> Counter[str]:
    return Counter(server.decide("toy_pd", row, entity=f"e{k}").json["release"] for k, row in enumerate(ROWS))


def ready(server: Server, of: int = 8) -> set[int]:
    """Statuses of so many new connections: both workers answer some of them."""
    return {server.call("GET", "/ready").status for _ in range(of)}


@pytest.mark.slow
def test_a_rollback_reaches_every_worker_while_the_log_is_broken(own_bank: ReleaseBank, tmp_path: Path) -> None:
    ledger_folder, log = str(tmp_path / "ledger"), own_bank.folder / "registry.jsonl"
    with open_ledger(ledger_folder, writer=WRITER) as controller:
        put(controller, 1, CANARY)
        with serving(
            own_bank.folder, own_bank.trust_root, ledger=ledger_folder, workers=2, more=("--no-rollouts",)
        ) as server:
            assert set(answers(server)) == {"toy_pd@v1.0.0", "toy_pd@v2.0.0"}
            whole = log.read_bytes()
            log.write_bytes(month_21(whole))
            within(5.0, lambda: server.text().count("refresh failed") == 2, server.text)
            put(controller, 2, ROLLED_BACK)
            time.sleep(1.0)
            for _ in range(3):
                assert answers(server) == {"toy_pd@v1.0.0": 60}
            assert ready(server) == {200}, "the last verified log is not too old yet"
            within(worker.STALE_SECONDS + 3.0, lambda: ready(server) == {503}, server.text)
            told = server.call("GET", "/ready")
            assert (told.json["ready"], told.json["stale"]) == (False, ["signed log"])
            assert server.call("GET", "/v2/health/ready").status == 503
            assert answers(server) == {"toy_pd@v1.0.0": 60}, "what was verified goes on"
            log.write_bytes(whole)
            within(3.0, lambda: ready(server) == {200}, server.text)
            assert server.text().count('"refreshed again"') == 2


class _Scope:
    def __init__(self, path: str) -> None:
        self.method, self.path, self.headers = "GET", path, dict[str, str]()


class _Protocol:
    status: int
    body: bytes

    def response_bytes(self, status: int, _: Any, body: bytes) -> None:
        self.status, self.body = status, body


@pytest.fixture
def open_worker(own_bank: ReleaseBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker in this process, whose looks grow old in half a second."""
    monkeypatch.setattr(worker, "STALE_SECONDS", 0.5)
    interval = sys.getswitchinterval()
    made = Worker(
        Settings(
            directory=str(own_bank.folder),
            trust_root=own_bank.trust_root,
            ledger=str(tmp_path / "ledger"),
            store=None,
            keys=None,
            rollouts=False,
        )
    )
    yield made
    made.close()
    sys.setswitchinterval(interval)


async def _get(application: Application, path: str) -> _Protocol:
    protocol = _Protocol()
    await application.__rsgi__(_Scope(path), protocol)
    return protocol


class Told:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **more: Any) -> None:
        self.lines.append((event, more))

    info = error


@pytest.mark.parametrize("name", ["signed log", "routing table"])
def test_the_thread_that_refreshes_survives_whatever_a_look_fails_of(
    open_worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    application, told = Application(open_worker.settings), Told()
    application._worker = open_worker
    monkeypatch.setattr(open_worker, "log", told)

    def asked() -> tuple[int, list[str]]:
        answer = asyncio.run(_get(application, "/ready"))
        return answer.status, json.loads(answer.body)["stale"]

    def fails() -> None:
        raise RecursionError("of a mistake that nobody thought of")

    assert asked() == (200, [])
    looks = dict(open_worker._looks)
    monkeypatch.setattr(open_worker, "_looks", {**looks, name: fails})
    with open_ledger(tmp_path / "ledger", writer=WRITER) as controller:
        put(controller, 7, ROLLED_BACK)
        within(3.0, lambda: asked() == (503, [name]), lambda: str(asked()))
        assert open_worker.service.table.version == (0 if name == "routing table" else 7)
        monkeypatch.setattr(open_worker, "_looks", looks)
        within(3.0, lambda: asked() == (200, []), lambda: str(asked()))
    assert open_worker.service.table.version == 7
    (failed, why), (again, of) = told.lines
    assert (failed, why["of"]) == ("refresh failed; the last good state goes on", name)
    assert why["error"] == "RecursionError: of a mistake that nobody thought of"
    assert isinstance(why["exc_info"], RecursionError)
    assert (again, of) == ("refreshed again", {"of": name})


def test_the_routing_table_is_read_where_the_log_cannot_be(own_bank: ReleaseBank, tmp_path: Path) -> None:
    """Also for who refreshes by hand, as files and the simulator do."""
    with open_ledger(tmp_path / "ledger", writer=WRITER) as ledger:
        service = DecisionService(own_bank.directory, ledger, None, SystemClock())
        put(ledger, 3, CANARY)
        log = own_bank.folder / "registry.jsonl"
        log.write_bytes(log.read_bytes()[:-40])
        with pytest.raises(RegistryError):
            service.refresh()
        assert service.table.version == 3


def test_a_key_file_that_cannot_be_read_is_read_again_until_it_can(
    open_worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    _, key = make_key("ops", ("read",))
    known = {key.sha256: key}
    path.write_bytes(b"{")
    monkeypatch.setattr(open_worker, "settings", msgspec.structs.replace(open_worker.settings, keys=str(path)))
    within(3.0, lambda: open_worker.stale() == ("keys",), lambda: str(open_worker.stale()))
    write_keys(path, known)
    within(3.0, lambda: open_worker.stale() == (), lambda: str(open_worker.stale()))
    assert open_worker.keys == known

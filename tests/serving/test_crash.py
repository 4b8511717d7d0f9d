"""kill -9 of workers and of the parent under load: every acknowledged decision is on the ledger once."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from countermark.ledger.opening import open_ledger
from tests.servers import PostgresServer
from tests.serving.releases import ReleaseBank, pd_spec, requests
from tests.serving.servers import Server, serving

pytestmark = pytest.mark.slow


class Load:
    """Callers with ids of their own; what was acknowledged is kept."""

    def __init__(self, server: Server, callers: int = 8) -> None:
        self.acknowledged: list[str] = []
        self.lost = 0
        self._server, self._stop = server, threading.Event()
        self._rows = requests(pd_spec(), 100, seed=2)
        self._threads = [threading.Thread(target=self._run, args=(k,)) for k in range(callers)]
        for thread in self._threads:
            thread.start()

    def _run(self, caller: int) -> None:
        connection, k = self._server.connection(), 0
        while not self._stop.is_set():
            k += 1
            try:
                answer = self._server.decide("toy_pd", self._rows[k % 100], id=f"k{caller}-{k}", on=connection)
            except (OSError, http.client.HTTPException):
                self.lost += 1
                connection.close()
                time.sleep(0.02)
                continue
            if answer.status == 200:
                self.acknowledged.append(answer.json["id"])
            else:
                self.lost += 1
        connection.close()

    def grow(self, by: int, seconds: float = 30.0) -> None:
        goal, end = len(self.acknowledged) + by, time.monotonic() + seconds
        while len(self.acknowledged) < goal:
            assert time.monotonic() < end, self._server.text()[-3000:]
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_is_killed_nothing_acknowledged_is_lost_or_doubled(
    bank: ReleaseBank, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "ledger")
    if kind == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.schema()
    with serving(bank.folder, bank.trust_root, ledger=url, workers=2) as server:
        load = Load(server)
        load.grow(200)
        for _ in range(3):
            os.kill(server.workers()[0], signal.SIGKILL)
            load.grow(200)
        left = server.workers()
        server.process.kill()
        server.process.wait()
        end = time.monotonic() + 15
        while any(_alive(process) for process in left):
            assert time.monotonic() < end, "workers outlive their parent"
            time.sleep(0.05)
        died = time.monotonic()
        server.start()
        load.grow(200)
        back = time.monotonic() - died
        load.stop()
        assert server.stop() == 0
    with open_ledger(url) as ledger:
        report = ledger.verify()
        found = [entry.key for entry in ledger.read(["decision"])]
    assert report.ok, report.problems
    assert len(found) == len(set(found))
    assert set(load.acknowledged) <= set(found)
    assert len(load.acknowledged) == len(set(load.acknowledged))
    print(
        f"{kind}: {len(load.acknowledged)} acknowledged, {len(found)} on the ledger, {load.lost} calls lost, "
        f"{len(report.chains)} chains verify; back {back:.1f} s after the parent died"
    )


def _killed_at_once(server: Server, times: int) -> list[float]:
    """Kill the newest worker as soon as it is there, again and again; seconds until a new one answered for its slot."""
    back = []
    for _ in range(times):
        before = set(server.workers())
        os.kill(max(before), signal.SIGKILL)
        killed, end = time.monotonic(), time.monotonic() + 15
        while not set(server.workers()) - before:
            assert server.process.poll() is None, "the service ended: " + server.text()[-3000:]
            assert time.monotonic() < end, server.text()[-3000:]
            time.sleep(0.01)
        back.append(time.monotonic() - killed)
    return back


def test_the_same_worker_killed_again_and_again_does_not_end_the_service(bank: ReleaseBank, tmp_path: Path) -> None:
    """The pause before its start doubles up to five seconds; the other worker answers all the while."""
    url = str(tmp_path / "ledger")
    with serving(bank.folder, bank.trust_root, ledger=url, workers=2) as server:
        steady = min(server.workers())
        load = Load(server)
        load.grow(100)
        back = _killed_at_once(server, 7)
        load.grow(100)
        assert steady in server.workers()
        load.stop()
        assert server.stop() == 0
    assert max(back) < 7.0, back
    with open_ledger(url) as ledger:
        assert ledger.verify().ok
        found = [entry.key for entry in ledger.read(["decision"])]
    assert len(found) == len(set(found))
    assert set(load.acknowledged) <= set(found)
    print(
        f"killed 7 times in a row; started again after {', '.join(f'{s:.1f}' for s in back)} s; {len(found)} decisions"
    )


def test_the_only_worker_killed_five_times_comes_back(bank: ReleaseBank, tmp_path: Path) -> None:
    with serving(bank.folder, bank.trust_root, ledger=str(tmp_path / "ledger")) as server:
        _killed_at_once(server, 5)
        server.wait()
        assert server.decide("toy_pd", requests(pd_spec(), 1, seed=2)[0]).status == 200
        assert server.stop() == 0


def test_workers_that_cannot_start_end_the_service(bank: ReleaseBank, tmp_path: Path) -> None:
    """Its manager then sees it; a service that never ran must not look as if it did."""
    (tmp_path / "ledger").write_text("no folder")
    with serving(bank.folder, bank.trust_root, ledger=str(tmp_path / "ledger"), workers=2, ready=False) as server:
        assert server.process.wait(30) == 1
        assert "workers cannot start; the service ends" in server.text()


def _alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False

"""The life of a finding, and who is told of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from countermark.config.monitor import MonitorPlan
from countermark.errors import MonitoringError
from countermark.monitoring.findings import findings_of, standing_findings, worst_of
from countermark.monitoring.run import ModelRun, run_monitor
from countermark.monitoring.sinks import log_findings, post_findings, tell
from countermark.records.clock import iso
from countermark.records.decision import decode
from countermark.records.lights import Light
from countermark.records.watch import LiveFinding, ModelWatch, Reading
from tests.monitoring.productions import AS_OF, World, only, plan, profile, release


def watch(*readings: tuple[str, str, Light], day: int = 1, off: tuple[str, ...] = ()) -> ModelWatch:
    made = tuple(
        Reading(check=check, subject=subject, n=9, value=0.5, limit="l", light=light, rule="r", owner="Olga",
                weight={"x": 0.9, "z": 0.1}.get(subject, 0.0))
        for check, subject, light in readings
    )  # fmt: skip
    at = f"2026-06-{day:02d}T00:00:00.000000Z"
    return ModelWatch(model="m", release="1.0.0", plan="m 1.0.0", as_of=at, window=(at, at), decisions=9, matured=0,
                      labelled=0, readings=made, off=off)  # fmt: skip


def life(*lights: Light | None) -> list[tuple[str, Light] | None]:
    """What is written of one finding in successive runs; None where the check is not made."""
    before: dict[str, LiveFinding] = {}
    told: list[tuple[str, Light] | None] = []
    for day, light in enumerate(lights, 1):
        readings = [] if light is None else [("feature_psi", "x", light)]
        found = findings_of(watch(*readings, day=day), before)
        before |= {finding.id: finding for finding in found}
        told.append((found[0].status, found[0].light) if found else None)
    return told


def test_a_finding_opens_worsens_gets_better_and_closes() -> None:
    fail, warn, good, silent = Light.FAIL, Light.WATCH, Light.PASS, Light.NOT_EVALUATED
    assert life(good, warn, warn, fail, warn, good, good, fail) == [
        None,
        ("open", warn),
        ("open", warn),
        ("worse", fail),
        ("better", warn),
        ("closed", good),
        None,
        ("open", fail),
    ]
    assert life(fail, silent, silent, fail) == [("open", fail), None, None, ("open", fail)]
    assert life(silent, warn) == [None, ("open", warn)]


def test_a_finding_knows_since_when_it_stands() -> None:
    first = findings_of(watch(("feature_psi", "x", Light.WATCH)), {})[0]
    second = findings_of(watch(("feature_psi", "x", Light.FAIL), day=5), {first.id: first})[0]
    assert (first.id, first.since, second.since, second.at) == ("m/feature_psi/x", first.at, first.at, second.at)
    closed = findings_of(watch(("feature_psi", "x", Light.PASS), day=6), {first.id: second})[0]
    again = findings_of(watch(("feature_psi", "x", Light.WATCH), day=7), {first.id: closed})[0]
    assert (closed.since, again.since) == (first.at, again.at)


def test_what_is_no_longer_watched_is_closed_and_says_so() -> None:
    open_ones = {
        f.id: f
        for f in findings_of(
            watch(("feature_psi", "gone", Light.FAIL), ("kpi", "old", Light.WATCH), ("adverse_impact", "sex=f", Light.FAIL)), {}
        )
    }  # fmt: skip
    found = findings_of(
        watch(("feature_psi", "x", Light.PASS), ("adverse_impact", "sex", Light.NOT_EVALUATED)), open_ones
    )
    assert [(f.id, f.status, f.light) for f in found] == [
        ("m/feature_psi/gone", "closed", Light.INFORMATION),
        ("m/kpi/old", "closed", Light.INFORMATION),
    ]
    assert found[0].text == "drift (PSI) of gone is no longer watched: release 1.0.0, plan m 1.0.0"
    off = findings_of(watch(off=("adverse_impact",)), open_ones)
    assert "m/adverse_impact/sex=f" in {f.id for f in off}
    other = msgspec.structs.replace(watch(), model="other")
    assert findings_of(other, open_ones) == (), "another model's findings stay"


def test_the_worst_and_most_important_come_first() -> None:
    found = findings_of(
        watch(("feature_psi", "z", Light.FAIL), ("auc", "score", Light.WATCH), ("feature_psi", "x", Light.FAIL)), {}
    )
    assert [f.id for f in found] == ["m/feature_psi/x", "m/feature_psi/z", "m/auc/score"]
    assert worst_of(found) is Light.FAIL
    assert worst_of(f for f in found if f.check == "auc") is Light.WATCH
    assert worst_of(()) is Light.PASS
    assert worst_of(msgspec.structs.replace(f, status="closed") for f in found) is Light.PASS


def test_a_run_is_on_the_ledger(world: World) -> None:
    world.decide(100)
    run = world.run(only("daily_volume"))
    assert [f.text for f in run.findings] == ["daily volume is 3.333 on 100 rows; limit ≥ 30 pass, ≥ 10 watch"]
    (entry,) = world.ledger.read(["monitor"])
    assert decode(entry.payload, ModelWatch) == run.watch
    assert (entry.key, entry.at) == ("m", iso(AS_OF))
    assert standing_findings(world.ledger) == {"m/daily_volume/all": run.findings[0]}
    assert standing_findings(world.ledger, until=iso(AS_OF.replace(year=2025))) == {}


def test_a_run_as_of_the_past_opens_nothing_that_a_newer_run_found_well(world: World) -> None:
    world.decide(1500)
    assert world.run(only("daily_volume")).findings == ()
    past = world.run(only("daily_volume"), days=-40)
    assert [f.light for f in past.findings] == [Light.FAIL], "it is told: nothing was decided then"
    assert standing_findings(world.ledger) == {}, "and does not stand: the newest reading is Pass"
    assert len(list(world.ledger.read(["monitor"]))) == 2
    ahead = AS_OF.replace(year=2099)
    run_monitor(world.ledger, {"m": world.releases}, {"m": plan(limits={})}, ahead)
    made = run_monitor(world.ledger, {"m": world.releases}, {"m": only("auc")}, AS_OF, now=AS_OF)
    assert made[0].watch.release == "1.0.0"
    world.decide(10, ago=-1)
    later = AS_OF + timedelta(days=60)
    run_monitor(world.ledger, {"m": world.releases}, {"m": only("daily_volume")}, later, now=later)
    assert set(standing_findings(world.ledger)) == {"m/daily_volume/all"}, "a run dated ahead keeps nobody silent"


def test_runs_follow_one_another(world: World) -> None:
    world.decide(1500)
    assert world.run(only("daily_volume")).findings == ()
    assert world.run(only("daily_volume"), days=20).findings[0].status == "open"
    world.decide(3000, ago=-29)
    assert world.run(only("daily_volume"), days=30).findings[0].status == "closed"
    assert world.run(only("daily_volume"), days=31).findings == ()


def test_a_run_as_of_the_past_does_not_unsay_a_newer_one(world: World) -> None:
    assert world.run(only("daily_volume"), days=10).findings[0].status == "open"
    world.decide(3000, ago=5)
    assert world.run(only("daily_volume"), days=20).findings[0].status == "closed"
    assert world.run(only("daily_volume"), days=-20).findings[0].status == "open"
    assert standing_findings(world.ledger)["m/daily_volume/all"].status == "closed"


def test_a_finding_of_an_input_closes_when_a_release_without_it_takes_over(world: World) -> None:
    world.decide(2500, change=lambda r, _: msgspec.structs.replace(r, features={**r.features, "region": "moon"}))
    declared = only("unseen_share")
    assert [f.subject for f in world.run(declared).findings] == ["region"]
    world.releases["1.0.0"] = release(profile=profile(categorical={}))
    (found,) = world.run(declared, days=1).findings
    assert (found.status, found.light) == ("closed", Light.INFORMATION)


# --- sinks


@contextmanager
def listener(status: int = 204) -> Iterator[tuple[str, list[Any]]]:
    """A server that keeps what it is sent."""
    taken: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append((self.path, self.headers["content-type"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def runs(world: World) -> tuple[ModelRun, ...]:
    return (world.run(plan()),)


def test_the_webhook_gets_the_findings(runs: tuple[ModelRun, ...]) -> None:
    with listener() as (address, taken):
        post_findings(address, runs)
        post_findings(address, ())
    (path, kind, body), (_, _, nothing) = taken
    assert (path, kind, nothing) == ("/hook", "application/json", [])
    assert [msgspec.convert(item, LiveFinding) for item in body] == list(runs[0].findings)
    assert body[0]["id"] == "m/daily_volume/all"


@pytest.mark.parametrize("status", [400, 500])
def test_a_webhook_that_refuses_is_told(runs: tuple[ModelRun, ...], status: int) -> None:
    with listener(status) as (address, _), pytest.raises(MonitoringError, match=str(status)):
        post_findings(address, runs)


def test_a_webhook_that_is_not_there_is_told(runs: tuple[ModelRun, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(MonitoringError, match="did not take the findings"):
            post_findings(address, runs, seconds=2)


@pytest.mark.parametrize("address", ["http://[::1", "http://a b/", "http://127.0.0.1:port/"])
def test_an_address_that_is_none_is_told(runs: tuple[ModelRun, ...], address: str) -> None:
    with pytest.raises(MonitoringError, match="did not take the findings"):
        post_findings(address, runs, seconds=2)


@pytest.mark.parametrize("address", ["ftp://example.org", "file:///etc/passwd", "example.org"])
def test_a_webhook_is_http(runs: tuple[ModelRun, ...], address: str) -> None:
    with pytest.raises(MonitoringError, match="needs an HTTP address"):
        post_findings(address, runs)


def test_the_log_grows_by_a_line_per_finding(runs: tuple[ModelRun, ...], tmp_path: Path) -> None:
    path = tmp_path / "findings.jsonl"
    log_findings(path, runs)
    log_findings(path, runs)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 * len(runs[0].findings) > 0
    assert msgspec.json.decode(lines[0], type=LiveFinding) == runs[0].findings[0]


def test_a_log_that_cannot_be_written_is_told(runs: tuple[ModelRun, ...], tmp_path: Path) -> None:
    with pytest.raises(MonitoringError, match="the log of findings cannot be written"):
        log_findings(tmp_path / "nowhere" / "findings.jsonl", runs)


def test_both_sinks_are_tried_and_all_failures_are_told(runs: tuple[ModelRun, ...], tmp_path: Path) -> None:
    nowhere, log = tmp_path / "nowhere" / "findings.jsonl", tmp_path / "findings.jsonl"
    with listener() as (address, taken):
        with pytest.raises(MonitoringError, match="the log of findings cannot be written"):
            tell(runs, log=nowhere, webhook=address)
        assert len(taken) == 1, "the webhook was called all the same"
        tell(runs, log=log, webhook=address)
    assert len(log.read_text(encoding="utf-8").splitlines()) == len(runs[0].findings)
    with listener(500) as (address, _):
        with pytest.raises(MonitoringError) as raised:
            tell(runs, log=nowhere, webhook=address)
        assert raised.value.what == "neither the log nor the webhook took the findings"
        assert str(nowhere) in str(raised.value.got)
        assert "500" in str(raised.value.got)
        with pytest.raises(MonitoringError, match="the webhook did not take the findings"):
            tell(runs, log=log, webhook=address)
    tell(runs)


@contextmanager
def answering(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that answers every request with these bytes, a pause before each, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def answer() -> None:
        with suppress(OSError):
            while not stopped.is_set():
                taken, _ = server.accept()
                with taken, suppress(OSError):
                    taken.recv(1 << 20)
                    for piece in pieces:
                        stopped.wait(pause)
                        taken.sendall(piece)
                    taken.shutdown(socket.SHUT_WR)
                    taken.recv(1 << 20)

    threading.Thread(target=answer, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
    finally:
        stopped.set()
        server.close()


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ((b"HTTP/1.1 204 No Content\r\nX-Drip: a",), "cut off in its header"),
        ((b"HTTP/1.1 204 No Content\r\nX-Drip: a\r\n",), "cut off in its header"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",), "IncompleteRead"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsho",), "IncompleteRead"),
        ((b"",), ""),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(
    runs: tuple[ModelRun, ...], pieces: tuple[bytes, ...], why: str
) -> None:
    with answering(*pieces) as address, pytest.raises(MonitoringError) as raised:
        post_findings(address, runs, seconds=5)
    assert raised.value.what == "the webhook did not take the findings"
    assert why in str(raised.value.got)


def test_an_answer_that_drips_is_given_up_in_time(runs: tuple[ModelRun, ...]) -> None:
    """Each read is quick, and all of them together are not."""
    drip = (b"HTTP/1.1 200 OK\r\nX-Drip: ", *(b"a" for _ in range(100)), b"\r\nContent-Length: 0\r\n\r\n")
    start = time.monotonic()
    with answering(*drip, pause=0.1) as address, pytest.raises(MonitoringError, match="did not take") as raised:
        post_findings(address, runs, seconds=0.5)
    assert time.monotonic() - start < 5
    assert raised.value.got == "no whole answer within 0.5 seconds"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nas long as it lasts",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_whole_answer_is_taken(runs: tuple[ModelRun, ...], answer: bytes) -> None:
    with answering(answer) as address:
        post_findings(address, runs)


def test_the_plan_names_who_acts(world: World) -> None:
    declared: MonitorPlan = only("daily_volume", owner="Somebody else")
    assert world.run(declared).findings[0].owner == "Somebody else"

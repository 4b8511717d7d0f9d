"""The decision service over HTTP: requests per second and latency, with reasons and a durable ledger on.

Beside it in the same run: a bare Granian RSGI hello-world under the same load generator. The figures of other servers
were recorded on the reference machine (2 shared cores, 30 float features, CatBoost 300 trees of depth 6).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONNECTIONS = (1, 8, 32)
RECORDED = {"MLflow": (158, 151, 183), "MLServer in-process": (627, 653, 692), "FastAPI + uvicorn": (606, 777, 750)}
"""Requests per second at 1, 8 and 32 connections, as recorded; not run here."""

_HELLO = """
class App:
    async def __rsgi__(self, scope, protocol):
        protocol.response_str(200, [("content-type", "text/plain")], "hello")
app = App()
"""


# --- the load generator, a process of its own


async def _caller(port: int, bodies: list[bytes], until: float, times: list[float], errors: list[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    k = 0
    while time.perf_counter() < until:
        begin = time.perf_counter()
        writer.write(bodies[k % len(bodies)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        times.append(time.perf_counter() - begin)
        if not head.startswith(b"HTTP/1.1 200"):
            errors.append(body.decode()[:200])
        k += 1
    writer.close()


async def _load(port: int, bodies: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    times: list[float] = []
    errors: list[str] = []
    begin = time.perf_counter()
    calls = (_caller(port, bodies[c:] + bodies[:c], begin + seconds, times, errors) for c in range(connections))
    await asyncio.gather(*calls)
    took = time.perf_counter() - begin
    if errors:
        raise SystemExit(f"{len(errors)} errors: {errors[0]}")
    cuts = statistics.quantiles(times, n=100)
    return {"rps": len(times) / took, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


def _generate(port: int, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--load", str(port), str(bodies), str(connections), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- what is measured


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("the server ended before it answered")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(1.0)
            return
    raise SystemExit("the server does not listen")


def _http(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode() + body


def _cpu(parent: int) -> float:
    """Processor seconds of the workers so far."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    fields = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def _with_cpu(parent: int, port: int, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    before = _cpu(parent)
    found = _generate(port, bodies, connections, seconds)
    return found | {"cpu": (_cpu(parent) - before) / (found["rps"] * seconds) * 1000}


def _measure(
    name: str, command: list[str], port: int, bodies: list[bytes], seconds: float
) -> dict[int, dict[str, float]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bodies.json"
        file.write_text(json.dumps([body.decode() for body in bodies]))
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait(port, process)
            _generate(port, file, 4, 0.5)
            found = {n: _with_cpu(process.pid, port, file, n, seconds) for n in CONNECTIONS}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    for n, row in found.items():
        rate = f"{name:32} {n:>3} connections {row['rps']:>8.0f} requests/s"
        print(f"{rate}   p50 {row['p50']:.2f} ms   p99 {row['p99']:.2f} ms   cpu {row['cpu']:.3f} ms", flush=True)
    return found


def _hello(folder: Path, workers: int, seconds: float) -> dict[int, dict[str, float]]:
    (folder / "hello.py").write_text(_HELLO)
    port = _port()
    command = [sys.executable, "-m", "granian", "--interface", "rsgi", "--port", str(port), "--workers", str(workers)]
    command += ["--log-level", "critical", "--working-dir", str(folder), "hello:app"]
    return _measure(f"Granian hello-world, {workers} worker(s)", command, port, [_http("GET", "/")], seconds)


def _service(folder: Path, workers: int, seconds: float) -> dict[int, dict[str, float]]:
    sys.path.insert(0, str(ROOT))
    sys.path.insert(0, str(ROOT / "src"))
    from tests.serving.releases import ReleaseBank, requests, wide_spec

    from countermark.serving.keys import make_key, write_keys

    bank = ReleaseBank(folder / "releases")
    bank.release("toy_wide@v1.0.0", trees=300, depth=6, cutoff=0.2)
    text, key = make_key("bench", ("decide",))
    write_keys(folder / "keys.json", {key.sha256: key})
    bodies = [
        _http("POST", "/v1/models/toy_wide/decisions", json.dumps({"request": row}).encode()).replace(
            b"host:", f"authorization: Bearer {text}\r\nhost:".encode(), 1
        )
        for row in requests(wide_spec(), 200)
    ]
    port = _port()
    command = [str(Path(sys.executable).parent / "countermark"), "serve", "--releases", str(bank.folder)]
    command += [
        "--ledger",
        str(folder / "ledger"),
        "--trust-root",
        bank.trust_root,
        "--keys",
        str(folder / "keys.json"),
    ]
    command += ["--port", str(port), "--workers", str(workers)]
    found = _measure(f"Countermark, {workers} worker(s)", command, port, bodies, seconds)
    _check(folder / "ledger")
    return found


def _check(ledger: Path) -> None:
    """The figures count only if every decision is on a chain that verifies, with reasons."""
    from countermark.ledger.opening import open_ledger
    from countermark.records.decision import DecisionRecord, decode

    with open_ledger(ledger) as book:
        report = book.verify()
        sample = [decode(entry.payload, DecisionRecord) for entry in book.read(["decision"], limit=500)]
    reasons = sum(bool(record.reasons) for record in sample)
    held = f"{report.entries} decisions on the ledger, verified: {report.ok}"
    print(f"{'':32} {held}; {reasons} of the first {len(sample)} with reasons")
    if not report.ok:
        raise SystemExit("the ledger does not verify")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.load:
        port, file, connections, seconds = chosen.load
        bodies = [text.encode() for text in json.loads(Path(file).read_text())]
        print(json.dumps(asyncio.run(_load(int(port), bodies, int(connections), float(seconds)))))
        return
    with tempfile.TemporaryDirectory(prefix="countermark-bench-") as name:
        hello = _hello(Path(name), chosen.workers, chosen.seconds)
        ours = _service(Path(name), chosen.workers, chosen.seconds)
    rows: dict[str, Any] = {"hello-world, this run": [hello[n]["rps"] for n in CONNECTIONS]}
    rows |= {f"{peer}, as recorded": list(rates) for peer, rates in RECORDED.items()}
    for peer, rates in rows.items():
        ratios = "   ".join(f"{n}: {ours[n]['rps'] / rate:.2f}x" for n, rate in zip(CONNECTIONS, rates, strict=True))
        print(f"ratio to {peer:34} {ratios}")


if __name__ == "__main__":
    main()

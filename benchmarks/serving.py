"""The decision service over HTTP: requests per second and latency, with reasons and a durable ledger on.

Beside it in the same run: a bare Granian RSGI hello-world under the same load generator; and, with ``--peers PYTHON``,
MLflow and MLServer (in-process) with a CatBoost model of the same size, run by an interpreter that has the packages
mlserver, mlflow-skinny and catboost. Without it their recorded figures stand in (reference machine, 2 shared cores, 30
float features, CatBoost 300 trees of depth 6): a machine that is faster today makes those ratios too good.
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

_PEER_MODEL = """
import sys, numpy, catboost, mlflow.catboost
rng = numpy.random.default_rng(1)
x = rng.normal(size=(4000, 30))
y = (x[:, :5].sum(axis=1) + rng.normal(size=4000) > 0).astype(int)
model = catboost.CatBoostClassifier(iterations=300, depth=6, verbose=False, allow_writing_files=False)
model.fit(x, y)
model.save_model("model.cbm")
mlflow.catboost.save_model(model, "mlflow")
"""

_PEER_RUNTIME = """
import catboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Scorer(MLModel):
    async def load(self):
        self.scorer = catboost.CatBoostClassifier()
        self.scorer.load_model("model.cbm")
        return True

    async def predict(self, payload):
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        scores = self.scorer.predict_proba(rows)[:, 1]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("p", scores)])
"""

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


def _cpu(process: int) -> float:
    """Processor seconds of a process and all below it so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below = [task.joinpath("children").read_text().split() for task in Path(f"/proc/{process}/task").iterdir()]
    return own + sum(_cpu(int(child)) for children in below for child in children)


def _with_cpu(parent: int, port: int, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    before = _cpu(parent)
    found = _generate(port, bodies, connections, seconds)
    return found | {"cpu": (_cpu(parent) - before) / (found["rps"] * seconds) * 1000}


def _measure(
    name: str, command: list[str], port: int, bodies: list[bytes], seconds: float, where: Path = ROOT
) -> dict[int, dict[str, float]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    if where != ROOT:
        environment = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bodies.json"
        file.write_text(json.dumps([body.decode() for body in bodies]))
        process = subprocess.Popen(
            command, env=environment, cwd=where, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
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


def _peers(folder: Path, python: Path, seconds: float) -> dict[str, list[float]]:
    """MLflow and MLServer under the same load: requests per second at each number of connections."""
    folder.mkdir()
    (folder / "make.py").write_text(_PEER_MODEL)
    subprocess.run([str(python), "make.py"], cwd=folder, check=True, capture_output=True)
    rows = [[round(0.01 * (k * column % 97) - 0.5, 3) for column in range(1, 31)] for k in range(200)]
    port = _port()
    (folder / "runtime.py").write_text(_PEER_RUNTIME)
    settings = {"parallel_workers": 0, "http_port": port, "grpc_port": _port(), "metrics_port": _port(), "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings | {"host": "127.0.0.1"}))
    (folder / "model-settings.json").write_text(json.dumps({"name": "m", "implementation": "runtime.Scorer"}))
    infer = [{"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": row}]} for row in rows]
    bodies = [_http("POST", "/v2/models/m/infer", json.dumps(body).encode()) for body in infer]
    command = [str(python.parent / "mlserver"), "start", "."]
    served = {"MLServer in-process": _measure("MLServer, in-process", command, port, bodies, seconds, folder)}
    port = _port()
    names = [str(column) for column in range(30)]
    split = [{"dataframe_split": {"columns": names, "data": [row]}} for row in rows]
    bodies = [_http("POST", "/invocations", json.dumps(body).encode()) for body in split]
    command = [str(python.parent / "mlflow"), "models", "serve", "-m", "mlflow", "-p", str(port)]
    served["MLflow"] = _measure("MLflow", [*command, "--env-manager", "local"], port, bodies, seconds, folder)
    return {name: [found[n]["rps"] for n in CONNECTIONS] for name, found in served.items()}


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
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with the peers")
    chosen = parser.parse_args()
    if chosen.load:
        port, file, connections, seconds = chosen.load
        bodies = [text.encode() for text in json.loads(Path(file).read_text())]
        print(json.dumps(asyncio.run(_load(int(port), bodies, int(connections), float(seconds)))))
        return
    with tempfile.TemporaryDirectory(prefix="countermark-bench-") as name:
        hello = _hello(Path(name), chosen.workers, chosen.seconds)
        ours = _service(Path(name), chosen.workers, chosen.seconds)
        peers = {} if chosen.peers is None else _peers(Path(name) / "peers", chosen.peers.absolute(), chosen.seconds)
    rows: dict[str, Any] = {"hello-world, this run": [hello[n]["rps"] for n in CONNECTIONS]}
    rows |= {f"{peer}, this run": rates for peer, rates in peers.items()}
    rows |= {f"{peer}, as recorded": list(rates) for peer, rates in RECORDED.items()}
    for peer, rates in rows.items():
        ratios = "   ".join(f"{n}: {ours[n]['rps'] / rate:.2f}x" for n, rate in zip(CONNECTIONS, rates, strict=True))
        print(f"ratio to {peer:34} {ratios}")


if __name__ == "__main__":
    main()

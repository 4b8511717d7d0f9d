"""A running service for tests: the installed command, real workers, real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """One ``countermark serve``."""

    def __init__(self, arguments: list[str], port: int, folder: Path) -> None:
        self.port = port
        self.log = folder / f"serve-{port}.log"
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "countermark"), *self._arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                start_new_session=True,
            )

    def wait(self, seconds: float = 30.0, path: str = "/ready") -> None:
        """Until the service answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError("the service ended: " + self.text()[-3000:])
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", path).status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the service does not answer: " + self.text()[-3000:])

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def connection(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        on: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """One request; a body that is no bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = on or self.connection()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            if on is None:
                connection.close()

    def decide(self, model: str, request: Mapping[str, Any], **more: Any) -> Answer:
        key = more.pop("key", None)
        on = more.pop("on", None)
        return self.call("POST", f"/v1/models/{model}/decisions", {"request": request, **more}, key=key, on=on)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(text) for text in children.read_text().split()]

    def stop(self, sign: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """End the service; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serving(
    folder: Path,
    trust_root: str,
    *,
    ledger: str,
    workers: int = 1,
    keys: Path | None = None,
    features: str | None = None,
    more: tuple[str, ...] = (),
    ready: bool = True,
) -> Iterator[Server]:
    """Run the service on a serving directory."""
    port = free_port()
    arguments = ["serve", "--releases", str(folder), "--ledger", ledger, "--trust-root", trust_root]
    arguments += ["--port", str(port), "--workers", str(workers), *more]
    arguments += ["--insecure"] if keys is None else ["--keys", str(keys)]
    arguments += [] if features is None else ["--features", features]
    server = Server(arguments, port, Path(tempfile.mkdtemp(prefix="countermark-serve-")))
    try:
        if ready:
            server.wait()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if server.process.poll() is None:
                server.stop()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(server.process.pid, signal.SIGKILL)

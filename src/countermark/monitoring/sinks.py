"""Who is told of the findings of a run, beside the ledger: a log file and a webhook."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from countermark.errors import MonitoringError
from countermark.monitoring.run import ModelRun, UnwatchedRun
from countermark.records.decision import as_document

SECONDS = 10.0
"""How long a webhook may take, from the look-up of its name to the last byte of its answer."""

_SHOW = "they are on the ledger: countermark monitor show"
_Runs = Sequence[ModelRun | UnwatchedRun]


def tell(runs: _Runs, *, log: Path | None = None, webhook: str | None = None) -> None:
    """Tell every sink that was asked for; one that fails keeps no other from being told.

    Raises:
        MonitoringError: If one of them failed, naming all that did. The findings are on the ledger all the same.
    """
    sinks: list[Callable[[], None]] = []
    if log is not None:
        sinks.append(partial(log_findings, log, runs))
    if webhook is not None:
        sinks.append(partial(post_findings, webhook, runs))
    failed: list[MonitoringError] = []
    for sink in sinks:
        try:
            sink()
        except MonitoringError as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise MonitoringError(
            "neither the log nor the webhook took the findings",
            got="; ".join(f"{one.place or 'webhook'}: {one.got or one.expected}" for one in failed),
            hint=_SHOW,
        )


def log_findings(path: Path, runs: _Runs) -> None:
    """Append the findings of a run to a file, one JSON object a line.

    Raises:
        MonitoringError: If the file cannot be written. The findings are on the ledger all the same.
    """
    lines = [json.dumps(as_document(finding), sort_keys=True) + "\n" for run in runs for finding in run.findings]
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(lines)
    except OSError as error:
        raise MonitoringError(
            "the log of findings cannot be written", got=error.strerror, hint=_SHOW, file=path
        ) from None


def post_findings(url: str, runs: _Runs, *, seconds: float = SECONDS) -> None:
    """Send the findings of a run to a webhook: one POST with a JSON array, also an empty one.

    Raises:
        MonitoringError: If the address is not HTTP, or the other side does not take it: it refuses, or its answer is
            not there as a whole in time. The findings are on the ledger all the same.
    """
    if not url.startswith(("http://", "https://")):
        raise MonitoringError("a webhook needs an HTTP address", expected="http:// or https://")
    body = json.dumps([as_document(finding) for run in runs for finding in run.findings]).encode()
    # A timeout of a socket is one of each read, and the look-up of a name has none: the whole is timed from outside.
    answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(_post(url, body, seconds)), name="webhook", daemon=True).start()
    try:
        why = answer.get(timeout=seconds)
    except queue.Empty:
        why = f"no whole answer within {seconds:g} seconds"
    if why is not None:
        raise MonitoringError("the webhook did not take the findings", got=why, hint=_SHOW)


def _post(url: str, body: bytes, seconds: float) -> str | None:
    """Send it; why it was not taken, or None."""
    try:
        request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"}, method="POST")
        opener = urllib.request.build_opener(_Http, _Https)
        with opener.open(request, timeout=seconds) as taken:
            taken.read()
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        return str(error)[:200] or type(error).__name__
    return None


class _Lines:
    """Remembers the last line of a header.

    Args:
        stream: What the other side sends.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._stream.readline(limit)
        self.last = line
        return line

    def close(self) -> None:
        self._stream.close()


class _Answer(http.client.HTTPResponse):
    """An answer whose header has an end: the library takes one that was cut off for a whole one."""

    def begin(self) -> None:
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            self.fp = stream
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.HTTPException("the answer was cut off in its header")


class _Connection(http.client.HTTPConnection):
    response_class = _Answer


class _SafeConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SafeConnection, req)

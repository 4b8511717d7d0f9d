"""One worker of the service: what it opens, and the thread that keeps it up to date."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from countermark.errors import CountermarkError
from countermark.features.online import OnlineStore, open_store
from countermark.ledger.committer import GroupCommitter
from countermark.ledger.opening import open_ledger
from countermark.records.clock import SystemClock
from countermark.records.groups import read_groups
from countermark.registry.directory import ServingDirectory
from countermark.serving import metrics
from countermark.serving.catalog import Refusal
from countermark.serving.keys import ApiKey, read_keys
from countermark.serving.leader import RolloutLeader
from countermark.serving.service import DecisionService, ShadowScorer
from countermark.serving.settings import Settings

PATIENCE_SECONDS = 3.0
"""For how long a caller waits for a database that went away; then the answer is 503 and nothing was decided."""

SWITCH_SECONDS = 0.0005
"""How long one thread of a worker computes while another waits for its turn."""

POLL_SECONDS = 0.2
"""How often a worker looks for a new routing table: a rollback reaches every worker well within a second."""


def json_log() -> Any:
    """The log of this process: a JSON object per line on standard error; names and counts, never a request's values."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        process=os.getpid(),
    )


class Worker:
    """Everything one process holds open.

    Args:
        settings: What it was started with.

    Raises:
        CountermarkError: If the log, ledger, store or keys cannot be opened: the worker does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self.log = json_log()
        # The thread that commits must not wait five milliseconds for its turn after every transaction.
        sys.setswitchinterval(SWITCH_SECONDS)
        self.settings = settings
        self.keys: Mapping[str, ApiKey] | None = None
        self._keys_stamp: int | None = None
        self._read_keys()
        self._store: OnlineStore | None = None if settings.store is None else open_store(settings.store)
        self._ledger = open_ledger(settings.ledger, patience=PATIENCE_SECONDS)
        self.committer = GroupCommitter(self._ledger)
        self.service = DecisionService(
            ServingDirectory(Path(settings.directory), settings.trust_root),
            self._ledger,
            self._store,
            SystemClock(),
            environment=settings.environment,
            told=self._tell,
        )
        self._shadow_ledger = open_ledger(settings.ledger, patience=PATIENCE_SECONDS)
        self.shadows = ShadowScorer(self.service, self._shadow_ledger.append_many)
        self._stop = threading.Event()
        self._reported = (0, 0, 0)
        self._poll = threading.Thread(target=self._keep_fresh, name="refresh", daemon=True)
        self._poll.start()
        self._leader: RolloutLeader | None = None
        if settings.rollouts:
            groups = None if settings.groups is None else read_groups(Path(settings.groups))
            self._leader = RolloutLeader(
                settings.ledger, lambda: self.service.catalog, self.service.clock, self.log, groups=groups
            )
        self._gauge()
        self.log.info(
            "worker ready",
            chain=self.committer.chain,
            releases=[str(r.ref) for models in self.service.catalog.models.values() for r in models.values()],
        )

    def _tell(self, refusal: Refusal) -> None:
        self.log.error("release refused", release=refusal.release, reason=refusal.reason)

    def _keep_fresh(self) -> None:
        told = ""
        while not self._stop.wait(POLL_SECONDS):
            failed = ""
            try:
                self.service.refresh()
                self._read_keys()
            except CountermarkError as error:
                failed = str(error)
            if failed != told:
                if failed:
                    self.log.error("refresh failed; the last verified state goes on", error=failed)
                else:
                    self.log.info("refreshed again")
                told = failed
            self._gauge()

    def _read_keys(self) -> None:
        if self.settings.keys is None:
            return
        path = Path(self.settings.keys)
        with contextlib.suppress(OSError):
            stamp = path.stat().st_mtime_ns
            if stamp == self._keys_stamp:
                return
            self._keys_stamp = stamp
        self.keys = read_keys(path)

    def _gauge(self) -> None:
        catalog = self.service.catalog
        metrics.SERVED.set(sum(len(versions) for versions in catalog.models.values()))
        metrics.REFUSED_RELEASES.set(len(catalog.refused))
        metrics.TABLE.set(self.service.table.version)
        found = (self.shadows.scored, self.shadows.dropped, self.shadows.failed)
        for fate, now, before in zip(("scored", "dropped", "not stored"), found, self._reported, strict=True):
            if now > before:
                metrics.SHADOWS.labels(fate).inc(now - before)
        self._reported = found

    def close(self) -> None:
        """Store what waits and let everything go."""
        self._stop.set()
        self._poll.join()
        if self._leader is not None:
            self._leader.close()
        self.shadows.close()
        self.committer.close()
        self._shadow_ledger.close()
        self._ledger.close()
        if self._store is not None:
            self._store.close()


def end_with_parent(parent: int) -> None:
    """Let the kernel end this worker when its parent dies, however it dies: an orphan would keep its chain and port."""
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)

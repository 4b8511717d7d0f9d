"""One worker of the service: what it opens, and the thread that keeps it up to date."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from countermark.errors import CountermarkError
from countermark.features.definitions import ViewPlan
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
from countermark.serving.requests import DecisionRequest
from countermark.serving.service import DecisionService, Prepared, ShadowScorer
from countermark.serving.settings import Settings

PATIENCE_SECONDS = 3.0
"""For how long a caller waits for a database that went away; then the answer is 503 and nothing was decided."""

SWITCH_SECONDS = 0.0005
"""How long one thread of a worker computes while another waits for its turn."""

POLL_SECONDS = 0.2
"""How often a worker looks for a new routing table: a rollback reaches every worker well within a second."""

STALE_SECONDS = 10.0
"""How old the last good look at the signed log, the routing table or the keys may be; then the worker is not ready."""


FEATURE_THREADS = 4
"""How many decisions of a worker may wait for the feature store at once."""

_Found = TypeVar("_Found")


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
        # One thread each: events of an entity are taken in as they were recorded, and the ledger answers one at a time.
        self._takers = ThreadPoolExecutor(1, "events")
        self._readers = ThreadPoolExecutor(1, "look-ups")
        self._deciders = ThreadPoolExecutor(FEATURE_THREADS, "features")
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
        self._looks: Mapping[str, Callable[[], None]] = {
            "routing table": self.service.refresh_table,
            "keys": self._read_keys,
            "signed log": self.service.refresh_catalog,
        }
        self._troubles: dict[str, str] = {}
        self._seen = dict.fromkeys(self._looks, time.monotonic())
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

    async def decide(self, model: str, asked: DecisionRequest, caller: str | None = None) -> Prepared:
        """Decide: beside the loop where a release of the model reads the feature store, at once where none does.

        Raises:
            NotServedError: If no release of the model may answer.
            RequestError: If a field breaks its contract.
            FeatureStoreError: If features cannot be read.
            ScorerError: If the vector holds what the scorer refuses.
        """

        def prepare() -> Prepared:
            return self.service.prepare(model, asked, caller=caller)

        if not any(release.builder.plans for release in self.service.catalog.models.get(model, {}).values()):
            return prepare()
        return await asyncio.get_running_loop().run_in_executor(self._deciders, prepare)

    async def look_up(self, question: Callable[[str], _Found], key: str) -> _Found:
        """Ask the ledger beside the loop: a database that is slow to answer keeps nobody else waiting.

        Raises:
            LedgerError: If the ledger cannot be read or the entry was changed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, question, key)

    async def take_in(self, views: tuple[ViewPlan, ...], event: Mapping[str, Any], known_at: datetime) -> None:
        """Give an event to the feature store beside the loop, one after the other in the order of their records.

        Raises:
            FeatureStoreError: If there is no store, or it does not answer.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._takers, self.service.ingest, views, event, known_at)

    def _tell(self, refusal: Refusal) -> None:
        self.log.error("release refused", release=refusal.release, reason=refusal.reason)

    def stale(self) -> tuple[str, ...]:
        """What this worker has not been able to look at for too long: then it may act on what no longer holds."""
        now = time.monotonic()
        return tuple(name for name, at in self._seen.items() if now - at > STALE_SECONDS)

    def _keep_fresh(self) -> None:
        """Each look is on its own: a log that cannot be read keeps no rollback and no revoked key from this worker."""
        while not self._stop.wait(POLL_SECONDS):
            for name, look in self._looks.items():
                if self._done(name, look):
                    self._seen[name] = time.monotonic()
            self._done("figures", self._gauge)

    def _done(self, name: str, look: Callable[[], None]) -> bool:
        try:
            look()
        except Exception as error:
            # Of any kind: without this thread no rollback would reach the worker any more.
            known = isinstance(error, CountermarkError)
            told = str(error) if known else f"{type(error).__name__}: {error}"
            if self._troubles.get(name) != told:
                self._troubles[name] = told
                trace = None if known else error
                self.log.error("refresh failed; the last good state goes on", of=name, error=told, exc_info=trace)
            return False
        if self._troubles.pop(name, None) is not None:
            self.log.info("refreshed again", of=name)
        return True

    def _read_keys(self) -> None:
        if self.settings.keys is None:
            return
        path = Path(self.settings.keys)
        stamp = None
        with contextlib.suppress(OSError):
            stamp = path.stat().st_mtime_ns
            if stamp == self._keys_stamp:
                return
        # A file that cannot be read is read again until it can: the stamp is kept only with its keys.
        self.keys, self._keys_stamp = read_keys(path), stamp

    def _gauge(self) -> None:
        catalog = self.service.catalog
        metrics.SERVED.set(sum(len(versions) for versions in catalog.models.values()))
        metrics.REFUSED_RELEASES.set(len(catalog.refused))
        metrics.TABLE.set(self.service.table.version)
        found = (self.shadows.scored, self.shadows.dropped, self.shadows.failed)
        for fate, now, before in zip(("scored", "dropped", "not stored"), found, self._reported, strict=True):
            if now > before:
                metrics.SHADOWS.labels(fate).inc(now - before)
        if found[2] > self._reported[2]:
            self.log.error("shadows not stored", count=found[2] - self._reported[2], error=self.shadows.trouble)
        self._reported = found

    def close(self) -> None:
        """Store what waits and let everything go."""
        self._stop.set()
        self._deciders.shutdown()
        self._poll.join()
        if self._leader is not None:
            self._leader.close()
        self.shadows.close()
        self.committer.close()
        self._takers.shutdown()
        self._readers.shutdown()
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

"""The decision service without its transport: what HTTP, files and the simulator all call."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from countermark.errors import CountermarkError, FeatureStoreError, RegistryError, ServingError
from countermark.features.definitions import ViewPlan
from countermark.features.online import OnlineStore
from countermark.ledger.entry import Entry
from countermark.ledger.ledger import Ledger
from countermark.records.clock import Clock, iso
from countermark.records.decision import DecisionRecord, EventRecord, ImportedDecision, Route, decode, encode
from countermark.records.identity import new_id
from countermark.records.routing import RoutingTable
from countermark.registry.directory import ServingDirectory
from countermark.serving.catalog import Catalog, Refusal, load_catalog, without_lapsed
from countermark.serving.release import Ask, ServedRelease
from countermark.serving.requests import DecisionRequest
from countermark.serving.router import NO_TABLE, Target, champion_of, read_table, route
from countermark.serving.seen import SeenLog


class NotServedError(ServingError):
    """No release of the model may answer."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decision that is made and not yet durable.

    Attributes:
        record: The record.
        payload: Its bytes, to be appended under kind ``decision`` and key ``record.id``.
        target: Who answered and who is scored in shadow.
        ask: What was asked.
        fresh: Whether its id was drawn for it, and not given by the caller.
    """

    record: DecisionRecord
    payload: bytes
    target: Target
    ask: Ask
    fresh: bool


def same_case(stored: DecisionRecord, asked: DecisionRecord) -> bool:
    """Whether a decision under an id that was used before is about the same case: model, entity and request."""
    return (stored.model, stored.entity, stored.request) == (asked.model, asked.entity, asked.request)


class DecisionService:
    """Routes, scores and records decisions of the releases that may be served.

    Args:
        directory: The serving directory.
        ledger: Where decisions are recorded; also read for the routing table. None where nothing is recorded.
        store: The online feature store; None where no model reads a view.
        clock: Where time comes from.
        environment: Environment whose authorisations count.
        told: Called with each refusal when the catalog changes, for the log.
        writes: Whether how far the signed log was seen is noted beside the ledger.

    Raises:
        RegistryError: If the signed log cannot be verified.
    """

    def __init__(
        self,
        directory: ServingDirectory,
        ledger: Ledger | None,
        store: OnlineStore | None,
        clock: Clock,
        *,
        environment: str = "prod",
        told: Callable[[Refusal], None] | None = None,
        writes: bool = True,
    ) -> None:
        self.clock = clock
        self.store = store
        self._directory = directory
        self._ledger = ledger
        self._environment = environment
        self._seen = SeenLog.beside(ledger, directory, writes=writes)
        self._told = told
        self._refused: frozenset[tuple[str, str]] = frozenset()
        self._stamp: tuple[int, int] | None = None
        self.table: RoutingTable = NO_TABLE
        self.catalog: Catalog = Catalog({}, (), -1, None)
        self.refresh()

    def refresh(self) -> None:
        """Look again at the signed log and the routing table; cheap when neither has changed.

        The table is read even if the log cannot be: a rollback must not wait for a log to be mended.

        Raises:
            RegistryError: If the log was replaced by one that cannot be verified; what was served goes on.
            LedgerError: If the ledger cannot be read.
            ServingError: If the newest routing table cannot be read; the one before goes on.
        """
        try:
            self.refresh_catalog()
        finally:
            self.refresh_table()

    def refresh_catalog(self) -> None:
        """Look again at the signed log.

        Raises:
            RegistryError: If the log was replaced by one that cannot be verified; what was served goes on.
        """
        now = self.clock.now()
        stamp = self._stamp_of()
        lapsed = self.catalog.until is not None and now >= self.catalog.until
        if stamp != self._stamp or lapsed:
            try:
                self.catalog = load_catalog(
                    self._directory, now, environment=self._environment, earlier=self.catalog, seen=self._seen
                )
                self._stamp = stamp
            except RegistryError:
                self.catalog = without_lapsed(self.catalog, now)
                raise
            finally:
                self._tell()

    def refresh_table(self) -> None:
        """Look again at the routing table.

        Raises:
            LedgerError: If the ledger cannot be read.
            ServingError: If the newest routing table cannot be read; the one before goes on.
        """
        if self._ledger is not None:
            self.table = read_table(self._ledger)

    def _stamp_of(self) -> tuple[int, int] | None:
        try:
            return self._directory.stamp()
        except OSError:
            return None

    def _tell(self) -> None:
        found = frozenset((refusal.release, refusal.reason) for refusal in self.catalog.refused)
        if self._told is not None:
            for refusal in self.catalog.refused:
                if (refusal.release, refusal.reason) not in self._refused:
                    self._told(refusal)
        self._refused = found

    def prepare(
        self,
        model: str,
        asked: DecisionRequest,
        *,
        channel: str = "http",
        now: datetime | None = None,
        caller: str | None = None,
        pinned: ServedRelease | None = None,
    ) -> Prepared:
        """Decide on a request; the decision holds only once its payload is durable on the ledger.

        Args:
            model: Name of the model.
            asked: The request.
            channel: ``http``, ``file``, ``simulation``.
            now: Instant of the request; the clock's present otherwise.
            caller: Name of the API key that asked.
            pinned: The release that decides, whoever is routed to; there are no shadows then.

        Raises:
            NotServedError: If no release of the model may answer.
            RequestError: If a field breaks its contract.
            FeatureStoreError: If features cannot be read.
            ScorerError: If the vector holds what the scorer refuses.
        """
        instant = self.clock.now() if now is None else now
        key = asked.id if asked.id is not None else new_id(instant)
        first = pinned or self.champion(model)
        if first is None:
            raise self.not_served(model)
        about = first.entity(asked.request, asked.entity)
        if pinned is not None:
            target: Target | None = Target(pinned, Route(arm="pinned", table=self.table.version), ())
        else:
            target = route(self.catalog, self.table, model, about if about is not None else key)
        if target is None:
            raise self.not_served(model)
        ask = Ask(
            id=key,
            at=iso(instant),
            now=instant,
            channel=channel,
            entity=about,
            request=asked.request,
            route=target.route,
            caller=caller,
        )
        start = time.perf_counter_ns()
        try:
            record = target.release.decide(ask, self.store)
        except Exception as error:  # noqa: BLE001 - whatever a candidate fails of, the champion answers
            return self._fall_back(target, ask, error, fresh=asked.id is None)
        micros = (time.perf_counter_ns() - start) // 1000
        payload = encode(msgspec.structs.replace(record, latency_us=micros))
        return Prepared(record, payload, target, ask, fresh=asked.id is None)

    def _fall_back(self, target: Target, ask: Ask, error: Exception, *, fresh: bool) -> Prepared:
        """Where the candidate fails, the champion answers, and the failure is scored as the candidate's shadow.

        Raises:
            Exception: The error if nothing else may answer; the champion's if it fails too.
        """
        champion = [(release, planned) for release, planned in target.shadows if planned.arm == "champion"]
        if target.route.arm != "candidate" or not champion:
            raise error
        release, planned = champion[0]
        others = tuple(shadow for shadow in target.shadows if shadow[1].arm != "champion")
        turned = Target(release, planned, ((target.release, target.route), *others))
        asked = replace(ask, route=planned)
        record = release.decide(asked, self.store)
        return Prepared(record, encode(record), turned, asked, fresh)

    def champion(self, model: str) -> ServedRelease | None:
        """The release that answers whom no candidate answers; None if nothing of the model may answer."""
        return champion_of(self.catalog, self.table, model)

    def not_served(self, model: str) -> NotServedError:
        """The error that says why a model is not served."""
        unproven = ", ".join(f"v{version}" for version in self.catalog.models.get(model, {}))
        if unproven:
            return NotServedError(
                f"no release of '{model}' may answer",
                expected="a release that answered everybody before, or one that a rollout brought in",
                got=f"authorised: {unproven}, turned back or never ramped",
                hint=f"countermark rollout start {model}@vVERSION",
            )
        served = ", ".join(sorted(self.catalog.models))
        return NotServedError(
            f"model '{model}' is not served",
            expected=f"one of: {served}" if served else "an authorised release of any model; there is none",
            got=self.catalog.why_not(model) or "no release of it is authorised",
            hint="countermark status",
        )

    def views_of(self, table: str, event: Mapping[str, Any]) -> tuple[ViewPlan, ...]:
        """Feature views that an event feeds: of every release that may be served, each version of a view once.

        Raises:
            RequestError: If a column is unknown, of the wrong type or outside its contract.
            FeatureStoreError: If no view reads the table, or the event feeds none.
        """
        found: dict[tuple[str, str], ViewPlan] = {}
        refused: FeatureStoreError | None = None
        for versions in self.catalog.models.values():
            for release in versions.values():
                try:
                    plans = release.intake.plans_for(table, event)
                except FeatureStoreError as error:
                    refused = error
                    continue
                found |= {(plan.name, plan.version): plan for plan in plans}
        if not found:
            raise refused or FeatureStoreError("no release that may be served reads feature views")
        return tuple(found.values())

    def ingest(self, views: tuple[ViewPlan, ...], event: Mapping[str, Any], known_at: datetime) -> None:
        """Give an event to the online store.

        Raises:
            FeatureStoreError: If there is no store, or it does not answer.
        """
        if self.store is None:
            raise FeatureStoreError("there is no feature store", hint="start the service with --features URL")
        for plan in views:
            self.store.ingest(plan, event, known_at)

    def _entries(self, kind: str, key: str) -> list[Entry]:
        return [] if self._ledger is None else self._ledger.get(kind, key)

    def stored(self, identity: str) -> DecisionRecord | None:
        """A decision of the ledger.

        Raises:
            LedgerError: If the ledger cannot be read or the entry was changed.
        """
        found = self._entries("decision", identity)
        return decode(found[0].payload, DecisionRecord) if found else None

    def model_of(self, identity: str) -> str | None:
        """Model of a decision that was made here or imported; None if the ledger has none of this id.

        Raises:
            LedgerError: If the ledger cannot be read or the entry was changed.
        """
        decided = self.stored(identity)
        if decided is not None:
            return decided.model
        found = self._entries("import", identity)
        return decode(found[0].payload, ImportedDecision).model if found else None

    def recorded_event(self, identity: str) -> EventRecord | None:
        """An event of the ledger.

        Raises:
            LedgerError: If the ledger cannot be read or the entry was changed.
        """
        found = self._entries("event", identity)
        return decode(found[0].payload, EventRecord) if found else None

    def shadow_payload(self, ask: Ask, release: ServedRelease, planned: Route) -> bytes:
        """Score a request with a release that does not answer it; an error becomes part of the record."""
        start = time.perf_counter_ns()
        asked = msgspec.structs.replace(planned)
        shadowed = replace(ask, route=asked)
        try:
            record = release.decide(shadowed, self.store)
        except Exception as error:  # noqa: BLE001 - a failure of any kind is this release's, and is recorded as such
            record = _failed(shadowed, release, error)
        micros = (time.perf_counter_ns() - start) // 1000
        return encode(msgspec.structs.replace(record, latency_us=micros))


def _named(error: Exception) -> str:
    """What went wrong, without a value of the request: an error of our own says no values, of another the kind and
    place do.
    """
    if isinstance(error, CountermarkError):
        return f"{type(error).__name__}: {error.what}"
    frames = traceback.extract_tb(error.__traceback__, -1)
    place = f" in {frames[-1].name} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return type(error).__name__ + place


def _failed(ask: Ask, release: ServedRelease, error: Exception) -> DecisionRecord:
    return DecisionRecord(
        id=ask.id,
        at=ask.at,
        channel=ask.channel,
        model=release.ref.model,
        entity=ask.entity,
        request=dict(ask.request),
        features={},
        views=(),
        release=release.binding,
        digests=release.digests,
        margin="",
        p="",
        grade=None,
        decision="",
        reasons=(),
        route=ask.route,
        error=_named(error),
    )


class ShadowScorer:
    """Scores shadows off the caller's path: one thread and a bounded queue; the surplus is counted.

    Attributes:
        dropped: Shadows that found the queue full.
        scored: Shadows that are on the ledger, failures of a release among them.
        failed: Shadows that could not be stored.
        trouble: What the last of these failed of.

    Args:
        service: The service.
        append: Stores entries ``(kind, key, payload, at)``.
        most_waiting: Requests that may wait.
    """

    def __init__(
        self,
        service: DecisionService,
        append: Callable[[list[tuple[str, str, bytes, str]]], Any],
        *,
        most_waiting: int = 4096,
    ) -> None:
        self.dropped = 0
        self.scored = 0
        self.failed = 0
        self.trouble = ""
        self._service = service
        self._append = append
        self._waiting: queue.Queue[Prepared | None] = queue.Queue(most_waiting)
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def submit(self, prepared: Prepared) -> None:
        """Hand in a decision whose target has shadows; never waits."""
        if not prepared.target.shadows:
            return
        try:
            self._waiting.put_nowait(prepared)
        except queue.Full:
            self.dropped += len(prepared.target.shadows)

    def _run(self) -> None:
        while (prepared := self._waiting.get()) is not None:
            batch = [prepared]
            while len(batch) < 64 and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    self._waiting.put(None)
                    break
                batch.append(more)
            self._score(batch)

    def _score(self, batch: list[Prepared]) -> None:
        due = sum(len(item.target.shadows) for item in batch)
        try:
            self._append(
                [
                    ("shadow", item.ask.id, self._service.shadow_payload(item.ask, release, planned), item.ask.at)
                    for item in batch
                    for release, planned in item.target.shadows
                ]
            )
        except Exception as error:  # noqa: BLE001 - the thread lives on: later shadows must not pay for these
            self.failed += due
            self.trouble = _named(error)
        else:
            self.scored += due

    def close(self) -> None:
        """Score what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

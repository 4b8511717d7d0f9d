"""The service over HTTP: an RSGI application for Granian."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from countermark.errors import FeatureStoreError, LedgerError, ScorerError
from countermark.features.request import RequestError
from countermark.ledger.entry import EntryRef
from countermark.records.clock import iso, parse_instant
from countermark.records.decision import (
    Closed,
    DecisionRecord,
    DispositionRecord,
    EventRecord,
    OutcomeRecord,
    OverrideRecord,
    encode,
)
from countermark.serving import inference, metrics, openapi
from countermark.serving.keys import ApiKey, find_key
from countermark.serving.refused import Refused
from countermark.serving.release import ServedRelease
from countermark.serving.requests import (
    DecisionRequest,
    EventRequest,
    LinkedRequest,
    OutcomeRequest,
    answer,
    problem,
)
from countermark.serving.service import NotServedError, Prepared
from countermark.serving.settings import Settings, read_settings
from countermark.serving.worker import Worker, end_with_parent

MAX_BODY = 256 * 1024
"""Bytes of a request's body; a larger one is refused unread."""

_JSON = [("content-type", "application/json")]
_PROBLEM = [("content-type", "application/problem+json")]
_TEXT = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]
_Body = TypeVar("_Body", bound=Closed)


Handler = Callable[[Any, Any, tuple[str, ...]], Awaitable[tuple[int, list[tuple[str, str]], bytes]]]


class Application:
    """The RSGI application of one worker.

    Args:
        settings: What the worker was started with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._worker: Worker | None = None
        self._decoders: dict[type[Closed], msgspec.json.Decoder[Any]] = {}
        self._routes: dict[tuple[str, str, int], Handler] = {
            ("GET", "health", 1): self._live,
            ("GET", "ready", 1): self._ready,
            ("GET", "metrics", 1): self._metrics,
            ("GET", "openapi.json", 1): self._openapi,
        }

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open everything, before the first request."""
        del loop
        end_with_parent(self._settings.parent)
        self._worker = Worker(self._settings)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Store what waits, after the last request."""
        del loop
        if self._worker is not None:
            self._worker.close()

    @property
    def worker(self) -> Worker:
        """The open worker."""
        assert self._worker is not None
        return self._worker

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        parts = tuple(part for part in scope.path.split("/") if part)
        try:
            handler = self._find(scope.method, parts)
            status, headers, body = await handler(scope, protocol, parts)
        except Refused as refused:
            status, headers, body = refused.status, _PROBLEM, refused.body
        except LedgerError:
            self.worker.log.exception("not durable", endpoint="/".join(parts[:2]))
            status, headers = 503, _PROBLEM
            body = problem(503, "Not recorded", "the ledger did not take it: nothing was decided; try again")
        if status >= 400:
            metrics.REFUSED.labels("/".join(parts[:2]), str(status)).inc()
        protocol.response_bytes(status, headers, body)

    def _find(self, method: str, parts: tuple[str, ...]) -> Handler:
        match (method, parts):
            case ("POST", ("v1", "models", _, "decisions")):
                return self._decide
            case ("POST", ("v1", "events")):
                return self._event
            case ("POST", ("v1", "outcomes")):
                return self._outcome
            case ("GET", ("v1", "decisions", _)):
                return self._decision
            case ("POST", ("v1", "decisions", _, "override" | "disposition")):
                return self._linked
            case (_, ("v2", *_)):
                return self._inference
            case _:
                found = self._routes.get((method, parts[0] if parts else "", len(parts)))
        if found is None:
            raise Refused(404, "Not found", "there is no such endpoint", hint="GET /openapi.json lists them all")
        return found

    # --- who asks, and what

    def _allow(self, scope: Any, wanted: str, model: str | None = None) -> ApiKey | None:
        if self.worker.keys is None:
            return None
        header = scope.headers.get("authorization") or ""
        presented = header[7:] if header[:7].lower() == "bearer " else scope.headers.get("x-api-key")
        key = find_key(self.worker.keys, presented)
        if key is None:
            raise Refused(401, "No valid key", "send 'Authorization: Bearer KEY'")
        if not key.allows(wanted, model):
            raise Refused(403, "Not allowed", f"this key has no scope '{wanted}'")
        return key

    async def _read(self, scope: Any, protocol: Any, of: type[_Body]) -> _Body:
        body = await self._bytes(scope, protocol)
        decoder = self._decoders.get(of)
        if decoder is None:
            decoder = self._decoders[of] = msgspec.json.Decoder(of)
        try:
            found: _Body = decoder.decode(body)
        except msgspec.ValidationError as error:
            raise Refused(422, "Refused", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(400, "No JSON", "the body is no valid JSON") from None
        return found

    async def _bytes(self, scope: Any, protocol: Any) -> bytes:
        stated = scope.headers.get("content-length")
        if stated is not None and int(stated) > MAX_BODY:
            raise Refused(413, "Too large", f"a body has at most {MAX_BODY} bytes")
        body: bytes = await protocol()
        if len(body) > MAX_BODY:
            raise Refused(413, "Too large", f"a body has at most {MAX_BODY} bytes")
        return body

    # --- decisions

    async def _decide(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        start = time.perf_counter()
        model = parts[2]
        self._allow(scope, "decide", model)
        asked = await self._read(scope, protocol, DecisionRequest)
        record = await self.decide(model, asked)
        metrics.SECONDS.labels(model).observe(time.perf_counter() - start)
        return 200, _JSON, answer(record)

    async def decide(self, model: str, asked: DecisionRequest) -> DecisionRecord:
        """Decide and record; the record is durable when this returns.

        Raises:
            Refused: If the request cannot be decided on, saying why.
            LedgerError: If the decision could not be recorded.
        """
        prepared = self._prepare(model, asked)
        record = prepared.record
        ref = await self.worker.committer.submit_async("decision", record.id, prepared.payload, record.at)
        if ref.repeated:
            return self._repeated(record)
        metrics.DECISIONS.labels(model, record.release.version, record.route.arm, record.decision).inc()
        self.worker.shadows.submit(prepared)
        return record

    def _prepare(self, model: str, asked: DecisionRequest) -> Prepared:
        try:
            return self.worker.service.prepare(model, asked.request, identity=asked.id, entity=asked.entity)
        except NotServedError as error:
            raise Refused(404, "Not served", str(error)) from None
        except RequestError as error:
            raise Refused(422, "Refused", error.what, problems=error.problems) from None
        except ScorerError as error:
            raise Refused(422, "Refused", str(error)) from None
        except FeatureStoreError as error:
            self.worker.log.error("features not available", model=model, error=str(error))
            raise Refused(503, "No features", "the feature store did not answer; nothing was decided") from None

    def _repeated(self, record: DecisionRecord) -> DecisionRecord:
        stored = self.worker.service.stored(record.id)
        if stored is None or (stored.model, stored.request) != (record.model, record.request):
            raise Refused(409, "Another decision", "this id was used for another request")
        return stored

    async def _decision(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        del protocol
        self._allow(scope, "read")
        stored = self.worker.service.stored(parts[2])
        if stored is None:
            raise Refused(404, "Not found", "the ledger has no decision of this id")
        return 200, _JSON, encode(stored)

    # --- what happened

    async def _store(self, kind: str, key: str, record: Closed, at: str) -> EntryRef:
        return await self.worker.committer.submit_async(kind, key, encode(record), at)

    async def _event(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        del parts
        self._allow(scope, "events")
        asked = await self._read(scope, protocol, EventRequest)
        now = self.worker.service.clock.now()
        try:
            views = self.worker.service.views_of(asked.table, asked.event)
        except RequestError as error:
            raise Refused(422, "Refused", error.what, problems=error.problems) from None
        except FeatureStoreError as error:
            raise Refused(422, "Refused", str(error)) from None
        key = asked.id or uuid4().hex
        earlier = None if asked.id is None else self._earlier_event(asked)
        if earlier is None:
            record = EventRecord(table=asked.table, event=asked.event, known_at=iso(now))
            await self._store("event", key, record, iso(now))
        else:
            # Recorded before. Taking it in again is safe for views that know an event by its key, and mends a store
            # that failed the first time; the others would count it twice.
            now = parse_instant(earlier)
            views = tuple(view for view in views if view.view.event_key is not None)
        try:
            self.worker.service.ingest(views, asked.event, now)
        except FeatureStoreError as error:
            self.worker.log.error("event recorded and not yet in the feature store", error=str(error))
            raise Refused(503, "No features", "the event is recorded; the feature store did not take it") from None
        metrics.EVENTS.labels(asked.table).inc()
        return (
            202,
            _JSON,
            msgspec.json.encode({"id": key, "known_at": iso(now), "views": sorted(v.name for v in views)}),
        )

    def _earlier_event(self, asked: EventRequest) -> str | None:
        """When an event of this id became known, if it did."""
        found = self.worker.service.recorded_event(str(asked.id))
        if found is None:
            return None
        if (found.table, found.event) != (asked.table, asked.event):
            raise Refused(409, "Another event", "this id was used for another event")
        return found.known_at

    async def _outcome(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        del parts
        self._allow(scope, "outcomes")
        asked = await self._read(scope, protocol, OutcomeRequest)
        if asked.decision is None and asked.entity is None:
            raise Refused(422, "Refused", "an outcome names a decision or an entity")
        if asked.model not in self.worker.service.catalog.known:
            raise Refused(404, "Not found", "no release of this model is on the log")
        observed = _instant(asked.observed_at)
        if asked.decision is not None:
            model = self.worker.service.model_of(asked.decision)
            if model is None:
                raise Refused(404, "Not found", "the ledger has no decision of this id")
            if model != asked.model:
                raise Refused(422, "Refused", "the decision was made by another model")
        now = iso(self.worker.service.clock.now())
        record = OutcomeRecord(
            model=asked.model,
            decision=asked.decision,
            entity=asked.entity,
            observed_at=observed,
            known_at=now,
            value=asked.value,
            final=asked.final,
            source=asked.source,
        )
        ref = await self._store("outcome", asked.decision or str(asked.entity), record, now)
        metrics.OUTCOMES.labels(asked.model).inc()
        return 202, _JSON, msgspec.json.encode({"chain": ref.chain, "seq": ref.seq, "known_at": now})

    async def _linked(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        self._allow(scope, "outcomes")
        asked = await self._read(scope, protocol, LinkedRequest)
        if self.worker.service.model_of(parts[2]) is None:
            raise Refused(404, "Not found", "the ledger has no decision of this id")
        now, kind = iso(self.worker.service.clock.now()), parts[3]
        record: Closed
        if kind == "override":
            record = OverrideRecord(decision=parts[2], at=now, by=asked.by, outcome=asked.outcome, reason=asked.reason)
        else:
            record = DispositionRecord(
                decision=parts[2], at=now, by=asked.by, disposition=asked.outcome, note=asked.reason
            )
        ref = await self._store(kind, parts[2], record, now)
        return 202, _JSON, msgspec.json.encode({"chain": ref.chain, "seq": ref.seq, "at": now})

    # --- the service itself

    async def _live(self, *_: Any) -> tuple[int, Any, bytes]:
        return 200, _JSON, b'{"status":"alive"}'

    async def _ready(self, *_: Any) -> tuple[int, Any, bytes]:
        catalog = self.worker.service.catalog
        body = {
            "ready": bool(catalog.models),
            "models": {name: [str(r.ref) for r in versions.values()] for name, versions in catalog.models.items()},
            "refused": [refusal.release for refusal in catalog.refused],
            "log_position": catalog.position,
            "routing_table": self.worker.service.table.version,
        }
        return 200 if catalog.models else 503, _JSON, msgspec.json.encode(body)

    async def _metrics(self, scope: Any, *_: Any) -> tuple[int, Any, bytes]:
        self._allow(scope, "read")
        return 200, _TEXT, metrics.exposition()

    async def _openapi(self, *_: Any) -> tuple[int, Any, bytes]:
        return 200, _JSON, msgspec.json.encode(openapi.document(self.worker.service.catalog))

    async def _inference(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        match (scope.method, parts[1:]):
            case ("GET", ("health", "live")):
                return 200, _JSON, b'{"live":true}'
            case ("GET", ("health", "ready")):
                ready = bool(self.worker.service.catalog.models)
                return 200 if ready else 503, _JSON, msgspec.json.encode({"ready": ready})
            case ("GET", ()):
                return 200, _JSON, msgspec.json.encode(inference.server_metadata())
            case ("GET", ("models", model)):
                return 200, _JSON, msgspec.json.encode(inference.model_metadata(self._served(model)))
            case ("GET", ("models", model, "ready")):
                return 200, _JSON, msgspec.json.encode({"name": self._served(model).ref.model, "ready": True})
            case ("POST", ("models", model, "infer")):
                self._allow(scope, "decide", model)
                release = self._served(model)
                asked = await self._read(scope, protocol, inference.InferRequest)
                decided = [self.decide(model, row) for row in inference.rows(asked, release)]
                records = await asyncio.gather(*decided)
                return 200, _JSON, msgspec.json.encode(inference.response(asked, release, records))
        raise Refused(404, "Not found", "there is no such endpoint of the Open Inference Protocol here")

    def _served(self, model: str) -> ServedRelease:
        release = self.worker.service.catalog.standing(model)
        if release is None:
            raise Refused(404, "Not served", str(self.worker.service.not_served(model)))
        return release


def _instant(text: str) -> str:
    try:
        return iso(parse_instant(text))
    except ValueError as error:
        raise Refused(422, "Refused", f"observed_at: {error}") from None


def create() -> Application:
    """The application of this worker; Granian calls it in every worker process."""
    return Application(read_settings())

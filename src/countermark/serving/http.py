"""The service over HTTP: an RSGI application for Granian."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from countermark.errors import FeatureStoreError, LedgerError, ScorerError
from countermark.features.request import RequestError
from countermark.ledger.entry import EntryRef, Item
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
from countermark.records.identity import new_id
from countermark.records.outcomes import date_problem, value_problem
from countermark.serving import inference, metrics, openapi
from countermark.serving.keys import find_key
from countermark.serving.refused import Refused
from countermark.serving.release import ServedRelease
from countermark.serving.requests import (
    DecisionRequest,
    EventRequest,
    LinkedRequest,
    OutcomeRequest,
    answer,
    problem,
    repeated_name,
)
from countermark.serving.service import NotServedError, Prepared, same_case
from countermark.serving.settings import Settings, read_settings
from countermark.serving.worker import Worker, end_with_parent

MAX_BODY = 256 * 1024
"""Bytes of a request's body; a larger one is refused unread."""

_JSON = [("content-type", "application/json")]
_PROBLEM = [("content-type", "application/problem+json")]
_TEXT = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]
_Body = TypeVar("_Body", bound=Closed)


_ENDPOINTS = {("v1", name) for name in ("models", "events", "outcomes", "decisions")} | {("v2", "models")}
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
            status, headers, body = refused.status, [*_PROBLEM, *refused.headers], refused.body
        except LedgerError:
            self.worker.log.exception("not durable", endpoint=_endpoint(parts))
            status, headers = 503, _PROBLEM
            body = problem(503, "Not recorded", "the ledger did not take it: nothing was decided; try again")
        except ProtocolClosed:
            # The caller hung up before the body was whole: nothing was read, and there is nobody to answer.
            return
        if status >= 400:
            metrics.REFUSED.labels(_endpoint(parts), str(status)).inc()
        protocol.response_bytes(status, headers, body)

    def _find(self, method: str, parts: tuple[str, ...]) -> Handler:
        found = self._match(method, parts)
        if found is not None:
            return found
        allowed = [other for other in ("GET", "POST") if self._match(other, parts) is not None]
        if allowed:
            raise Refused(405, "Wrong method", f"this endpoint takes {allowed[0]}", headers=[("allow", allowed[0])])
        raise Refused(404, "Not found", "there is no such endpoint", hint="GET /openapi.json lists them all")

    def _match(self, method: str, parts: tuple[str, ...]) -> Handler | None:
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
                return self._routes.get((method, parts[0] if parts else "", len(parts)))

    # --- who asks, and what

    def _allow(self, scope: Any, wanted: str, model: str | None = None) -> str | None:
        """Name of the key that asks; None where keys are not asked for."""
        if self.worker.keys is None:
            return None
        header = scope.headers.get("authorization") or ""
        presented = header[7:] if header[:7].lower() == "bearer " else scope.headers.get("x-api-key")
        key = find_key(self.worker.keys, presented)
        if key is None:
            raise Refused(401, "No valid key", "send 'Authorization: Bearer KEY'")
        if not key.allows(wanted, model):
            raise Refused(403, "Not allowed", f"this key has no scope '{wanted}'")
        return key.name

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
        twice = repeated_name(body, found)
        if twice is not None:
            raise Refused(422, "Refused", f"the body has '{twice}' twice in one object")
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
        caller = self._allow(scope, "decide", model)
        asked = await self._read(scope, protocol, DecisionRequest)
        record = await self.decide(model, asked, caller)
        metrics.SECONDS.labels(model).observe(time.perf_counter() - start)
        return 200, _JSON, answer(record)

    async def decide(self, model: str, asked: DecisionRequest, caller: str | None = None) -> DecisionRecord:
        """Decide and record; the record is durable when this returns.

        Raises:
            Refused: If the request cannot be decided on, saying why.
            LedgerError: If the decision could not be recorded.
        """
        prepared = await self._prepared(model, asked, caller)
        record = prepared.record
        ref = await self.worker.committer.submit_async(
            "decision", record.id, prepared.payload, record.at, fresh=prepared.fresh
        )
        return await self._stored(prepared, ref)

    async def decide_all(
        self, model: str, asked: list[DecisionRequest], caller: str | None = None
    ) -> list[DecisionRecord]:
        """Decide on several requests and record them in one transaction: all of them or none.

        Raises:
            Refused: If one of them cannot be decided on, saying which and why; then none is recorded.
            LedgerError: If they could not be recorded; then none is.
        """
        rows = (self._prepared(model, one, caller, row=place) for place, one in enumerate(asked, 1))
        made: list[Prepared] = []
        for found in await asyncio.gather(*rows, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
            made.append(found)
        items: list[Item] = [("decision", one.record.id, one.payload, one.record.at) for one in made]
        refs = await asyncio.gather(*self.worker.committer.submit_all_async(items))
        return [await self._stored(one, ref) for one, ref in zip(made, refs, strict=True)]

    async def _stored(self, prepared: Prepared, ref: EntryRef) -> DecisionRecord:
        """The decision that the ledger holds, once it does."""
        record = prepared.record
        if ref.repeated:
            return await self._repeated(record)
        metrics.DECISIONS.labels(record.model, record.release.version, record.route.arm, record.decision).inc()
        self.worker.shadows.submit(prepared)
        return record

    async def _prepared(self, model: str, asked: DecisionRequest, caller: str | None, **place: Any) -> Prepared:
        try:
            return await self.worker.decide(model, asked, caller)
        except NotServedError as error:
            raise Refused(404, "Not served", str(error)) from None
        except RequestError as error:
            raise Refused(422, "Refused", error.what, problems=error.problems, **place) from None
        except ScorerError as error:
            raise Refused(422, "Refused", str(error), **place) from None
        except FeatureStoreError as error:
            self.worker.log.error("features not available", model=model, error=str(error))
            raise Refused(503, "No features", "the feature store did not answer; nothing was decided") from None

    async def _repeated(self, record: DecisionRecord) -> DecisionRecord:
        stored = await self.worker.look_up(self.worker.service.stored, record.id)
        if stored is None or not same_case(stored, record):
            raise Refused(409, "Another decision", "this id was used for another request")
        return stored

    async def _decision(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        del protocol
        self._allow(scope, "read")
        stored = await self.worker.look_up(self.worker.service.stored, parts[2])
        if stored is None:
            raise Refused(404, "Not found", "the ledger has no decision of this id")
        return 200, _JSON, encode(stored)

    # --- what happened

    async def _store(self, kind: str, key: str, record: Closed, at: str, *, fresh: bool = False) -> EntryRef:
        return await self.worker.committer.submit_async(kind, key, encode(record), at, fresh=fresh)

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
        key = asked.id or new_id(now)
        record = EventRecord(table=asked.table, event=asked.event, known_at=iso(now))
        ref = await self._store("event", key, record, iso(now), fresh=asked.id is None)
        if ref.repeated:
            # The ledger has it from before, or from another worker in this moment. Taking it in again is safe for views
            # that know an event by its key, and mends a store that failed the first time; the others would count it
            # twice.
            now = parse_instant(await self._known_at(key, asked))
            views = tuple(view for view in views if view.view.event_key is not None)
        try:
            await self.worker.take_in(views, asked.event, now)
        except FeatureStoreError as error:
            self.worker.log.error("event recorded and not yet in the feature store", error=str(error))
            raise Refused(503, "No features", "the event is recorded; the feature store did not take it") from None
        metrics.EVENTS.labels(asked.table).inc()
        return (
            202,
            _JSON,
            msgspec.json.encode({"id": key, "known_at": iso(now), "views": sorted(v.name for v in views)}),
        )

    async def _known_at(self, key: str, asked: EventRequest) -> str:
        """When the event of this id that the ledger holds became known."""
        found = await self.worker.look_up(self.worker.service.recorded_event, key)
        if found is None or (found.table, found.event) != (asked.table, asked.event):
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
        instant = self.worker.service.clock.now()
        observed = self._possible(asked, instant)
        if asked.decision is not None:
            model = await self.worker.look_up(self.worker.service.model_of, asked.decision)
            if model is None:
                raise Refused(404, "Not found", "the ledger has no decision of this id")
            if model != asked.model:
                raise Refused(422, "Refused", "the decision was made by another model")
        now = iso(instant)
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

    def _possible(self, asked: OutcomeRequest, now: datetime) -> str:
        """The instant of an outcome that can be one of its model."""
        try:
            observed = parse_instant(asked.observed_at)
        except ValueError as error:
            raise Refused(422, "Refused", f"observed_at: {error}") from None
        wrong = date_problem(observed, now)
        if wrong is not None:
            raise Refused(422, "Refused", f"observed_at: {wrong}")
        release = next(iter(self.worker.service.catalog.models.get(asked.model, {}).values()), None)
        # Of a model that is not served any more, nobody here knows what its outcome is: any number is taken.
        wrong = value_problem(asked.value, amounts=release is None or release.spec.is_amount)
        if wrong is not None:
            raise Refused(422, "Refused", f"value: {wrong} of model '{asked.model}'")
        return iso(observed)

    async def _linked(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        caller = self._allow(scope, "outcomes")
        asked = await self._read(scope, protocol, LinkedRequest)
        if await self.worker.look_up(self.worker.service.model_of, parts[2]) is None:
            raise Refused(404, "Not found", "the ledger has no decision of this id")
        now, kind = iso(self.worker.service.clock.now()), parts[3]
        record: Closed
        if kind == "override":
            decided = await self.worker.look_up(self.worker.service.stored, parts[2])
            if decided is not None and decided.decision == asked.outcome:
                raise Refused(422, "Refused", "outcome: this is what was decided; an override is another outcome")
            record = OverrideRecord(
                decision=parts[2], at=now, by=asked.by, outcome=asked.outcome, reason=asked.reason, caller=caller
            )
        else:
            record = DispositionRecord(
                decision=parts[2], at=now, by=asked.by, disposition=asked.outcome, note=asked.reason, caller=caller
            )
        ref = await self._store(kind, parts[2], record, now)
        return 202, _JSON, msgspec.json.encode({"chain": ref.chain, "seq": ref.seq, "at": now})

    # --- the service itself

    async def _live(self, *_: Any) -> tuple[int, Any, bytes]:
        return 200, _JSON, b'{"status":"alive"}'

    async def _ready(self, *_: Any) -> tuple[int, Any, bytes]:
        catalog, stale = self.worker.service.catalog, self.worker.stale()
        ready = bool(catalog.models) and not stale
        body = {
            "ready": ready,
            "stale": stale,
            "models": {name: [str(r.ref) for r in versions.values()] for name, versions in catalog.models.items()},
            "refused": [refusal.release for refusal in catalog.refused],
            "log_position": catalog.position,
            "routing_table": self.worker.service.table.version,
        }
        return 200 if ready else 503, _JSON, msgspec.json.encode(body)

    async def _metrics(self, scope: Any, *_: Any) -> tuple[int, Any, bytes]:
        self._allow(scope, "read")
        return 200, _TEXT, metrics.exposition()

    async def _openapi(self, *_: Any) -> tuple[int, Any, bytes]:
        return 200, _JSON, msgspec.json.encode(openapi.document(self.worker.service))

    async def _inference(self, scope: Any, protocol: Any, parts: tuple[str, ...]) -> tuple[int, Any, bytes]:
        match (scope.method, parts[1:]):
            case ("GET", ("health", "live")):
                return 200, _JSON, b'{"live":true}'
            case ("GET", ("health", "ready")):
                ready = bool(self.worker.service.catalog.models) and not self.worker.stale()
                return 200 if ready else 503, _JSON, msgspec.json.encode({"ready": ready})
            case ("GET", ()):
                return 200, _JSON, msgspec.json.encode(inference.server_metadata())
            case ("GET", ("models", model)):
                return 200, _JSON, msgspec.json.encode(inference.model_metadata(self._served(model)))
            case ("GET", ("models", model, "ready")):
                return 200, _JSON, msgspec.json.encode({"name": self._served(model).ref.model, "ready": True})
            case ("POST", ("models", model, "infer")):
                caller = self._allow(scope, "decide", model)
                release = self._served(model)
                asked = await self._read(scope, protocol, inference.InferRequest)
                records = await self.decide_all(model, inference.rows(asked, release), caller)
                return 200, _JSON, msgspec.json.encode(inference.response(asked, release, records))
        raise Refused(404, "Not found", "there is no such endpoint of the Open Inference Protocol here")

    def _served(self, model: str) -> ServedRelease:
        release = self.worker.service.champion(model)
        if release is None:
            raise Refused(404, "Not served", str(self.worker.service.not_served(model)))
        return release


def _endpoint(parts: tuple[str, ...]) -> str:
    """The endpoint's name in metrics and log: a caller cannot make up new ones."""
    return "/".join(parts[:2]) if parts[:2] in _ENDPOINTS else "other"


def create() -> Application:
    """The application of this worker; Granian calls it in every worker process."""
    return Application(read_settings())

"""Traffic of a bank's own model to a running service, in the service's own time. SYNTHETIC.

The clock of a service is its own: no client can set it. A day of the life is therefore a number of requests, sent one
after another at a bounded rate; the service stamps them, and outcomes come when their day is sent, or at the end.
"""

from __future__ import annotations

import http.client
import json
import math
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from countermark.config.problems import nearest, one_of
from countermark.errors import SimulationError
from countermark.records.clock import Clock, iso
from countermark.simulation.claims import Claims
from countermark.simulation.resample import Draw, Names, Resampler
from countermark.simulation.traffic import Application

Say = Callable[[str], None]
NO_ANSWER = 0
"""The status of a call that nobody answered."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; ``NO_ANSWER`` where the connection failed."""

    status: int
    body: bytes
    seconds: float

    @property
    def document(self) -> Mapping[str, Any]:
        """The body as JSON; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Caller:
    """Calls a service over one connection, never faster than a rate.

    Args:
        url: Address of the service.
        key: API key, or None.
        rate: Calls a second, at most.

    Raises:
        SimulationError: If the address is none.
    """

    def __init__(self, url: str, key: str | None, rate: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SimulationError("this is no address of a service", expected="http://host:port", got=f"'{url}'")
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = make(parts.hostname, parts.port, timeout=30)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pause = 1.0 / rate
        self._next = time.monotonic()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """One call, when its turn has come."""
        wait = self._next - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._next = max(self._next, time.monotonic()) + self._pause
        data = None if body is None else json.dumps(body).encode("utf-8")
        start = time.perf_counter()
        try:
            self._connection.request(method, self._prefix + path, data, self._headers)
            answer = self._connection.getresponse()
            return Reply(answer.status, answer.read(), time.perf_counter() - start)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Reply(NO_ANSWER, b"", time.perf_counter() - start)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


@dataclass
class Tally:
    """What came back.

    Attributes:
        statuses: Answers by kind of call and status.
        decisions: Acknowledged decisions by outcome.
        refusals: Refused events and decisions by reason, of customers under no drift and under one.
        seconds: Time of every decision that was answered.
        acknowledged: Outcome of every acknowledged decision by id.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    refusals: dict[bool, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    seconds: list[float] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)


def fresh_names() -> Names:
    """Names that no earlier life has used: a service remembers whom it has seen."""
    return Names(f"sim{secrets.token_hex(4)}", (1 << 40) + secrets.randbelow(1 << 51))


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def send(say: Say, caller: Caller, made: Resampler, clock: Clock, size: tuple[int, int]) -> None:
    """Send a life to a service, and end with an error if a claim does not hold.

    Args:
        say: Called with each line.
        caller: The service.
        made: The customers.
        clock: The present, to move histories to; the service stamps everything itself.
        size: Days, and requests a day.

    Raises:
        SimulationError: If the service does not serve the model, or naming the claims that did not hold.
    """
    started = time.monotonic()
    claims, tally = Claims(say), Tally()
    require_served(caller, made.spec.name)
    due: dict[int, list[Application]] = defaultdict(list)
    days = made.draw(*size)
    for day, draws in enumerate(days):
        _outcomes(caller, tally, made, clock, due.pop(day, []))
        for draw in draws:
            application = made.place(draw, clock.now())
            if _decide(caller, tally, made, application, draw):
                due[day + -(-draw.delay // timedelta(days=1))].append(application)
    _outcomes(caller, tally, made, clock, [one for day in sorted(due) for one in due[day]])
    lost = _read_back(caller, tally)
    _summary(say, tally)
    _judge(claims, tally, lost, size[0] * size[1])
    claims.close(time.monotonic() - started)


def require_served(caller: Caller, model: str) -> None:
    """Refuse to send to a service that does not serve the model.

    Raises:
        SimulationError: Naming what it serves.
    """
    reply = caller.call("GET", "/ready")
    if reply.status == NO_ANSWER:
        raise SimulationError("the service does not answer", hint="countermark serve, or correct --url")
    served = sorted(reply.document.get("models", {}))
    if model not in served:
        raise SimulationError(
            f"the service does not serve model '{model}'",
            expected=one_of(served),
            got=f"'{model}'",
            hint=nearest(model, served),
        )


def _decide(caller: Caller, tally: Tally, made: Resampler, application: Application, draw: Draw) -> bool:
    drifting = bool(made.drifts_of(draw))
    for event in application.history:
        body = {"table": event.table, "event": event.event, "id": event.id}
        _note(tally, "event", caller.call("POST", "/v1/events", body), drifting)
    body = {"request": application.request, "id": application.id, "entity": application.entity}
    reply = caller.call("POST", f"/v1/models/{quote(made.spec.name)}/decisions", body)
    _note(tally, "decision", reply, drifting)
    if reply.status != 200:
        return False
    decision = str(reply.document.get("decision"))
    tally.seconds.append(reply.seconds)
    tally.decisions[decision] += 1
    tally.acknowledged[application.id] = decision
    return True


def _note(tally: Tally, kind: str, reply: Reply, drifting: bool) -> None:
    tally.statuses[kind, reply.status] += 1
    if reply.status not in (200, 202):
        tally.refusals[drifting][str(reply.document.get("detail", f"{kind}: status {reply.status}"))] += 1


def _outcomes(caller: Caller, tally: Tally, made: Resampler, clock: Clock, due: list[Application]) -> None:
    for application in due:
        body = {
            "model": made.spec.name,
            "decision": application.id,
            "observed_at": iso(clock.now()),
            "value": application.outcome,
            "source": "simulator",
        }
        tally.statuses["outcome", caller.call("POST", "/v1/outcomes", body).status] += 1


def _read_back(caller: Caller, tally: Tally) -> list[str]:
    """Acknowledged decisions that the service does not give back as it acknowledged them."""
    lost = []
    for identity, decision in tally.acknowledged.items():
        reply = caller.call("GET", f"/v1/decisions/{quote(identity)}")
        tally.statuses["read back", reply.status] += 1
        if reply.status != 200 or reply.document.get("decision") != decision:
            lost.append(identity)
    return lost


def _summary(say: Say, tally: Tally) -> None:
    say("")
    for (kind, status), n in sorted(tally.statuses.items()):
        say(f"{kind:<10} {'no answer' if status == NO_ANSWER else status}  {n:,}")
    say("decisions: " + (", ".join(f"{name} {n:,}" for name, n in sorted(tally.decisions.items())) or "none"))
    for refusals in tally.refusals.values():
        for why, n in sorted(refusals.items()):
            say(f"refused {n:,}: {why}")
    if tally.seconds:
        shown = ", ".join(
            f"p{100 * share:g} {1000 * percentile(tally.seconds, share):.1f}" for share in (0.5, 0.9, 0.99)
        )
        say(f"milliseconds of a decision: {shown}, most {1000 * max(tally.seconds):.1f} (one connection, as seen here)")


def _judge(claims: Claims, tally: Tally, lost: list[str], asked: int) -> None:
    silent = sum(n for (_, status), n in tally.statuses.items() if status == NO_ANSWER)
    claims.hold("every call was answered", not silent, f"{silent:,} were not" if silent else "")
    plain = tally.refusals.get(False, Counter())
    shown = "; ".join(f"{n:,} times {why}" for why, n in sorted(plain.items()))
    claims.hold("no request or event was refused but for its drift", asked > 0 and not plain, shown)
    wrong = sum(n for (kind, status), n in tally.statuses.items() if kind == "outcome" and status != 202)
    claims.hold("every outcome was taken", not wrong, f"{wrong:,} were not" if wrong else "")
    claims.hold(
        "every acknowledged decision can be read back",
        not lost and bool(tally.acknowledged),
        f"{len(tally.acknowledged) - len(lost):,} of {len(tally.acknowledged):,}",
    )

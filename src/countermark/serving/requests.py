"""What callers send and what they get back."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeAlias

import msgspec

from countermark.features.request import FieldProblem
from countermark.ledger.entry import MAX_KEY
from countermark.records.decision import Closed, DecisionRecord, Value
from countermark.records.identity import Id

Key: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY, pattern=r"^[^\x00]*$")]
"""What the ledger can find again: text without NUL, neither empty nor endless."""

_Words: TypeAlias = Annotated[str, msgspec.Meta(max_length=2000)]


class DecisionRequest(Closed, frozen=True, kw_only=True):
    """Body of ``POST /v1/models/{model}/decisions``.

    Attributes:
        request: Fields that the model's contract promises.
        id: The caller's own id (:data:`countermark.records.identity.ID_RULE`): the same id gives the same decision
            again; about another case it is refused.
        entity: Whom it is about, for a model whose requests do not say.
    """

    request: dict[str, Value]
    id: Id | None = None
    entity: Key | None = None


class EventRequest(Closed, frozen=True, kw_only=True):
    """Body of ``POST /v1/events``.

    Attributes:
        table: Table of the source that the event is a row of.
        event: Values by column.
        id: The sender's own id; an event that comes again under it is taken once.
    """

    table: str
    event: dict[str, Value]
    id: Key | None = None


class OutcomeRequest(Closed, frozen=True, kw_only=True):
    """Body of ``POST /v1/outcomes``.

    Attributes:
        model: Name of the model.
        decision: Id of the decision; or
        entity: whom it is about.
        observed_at: When the outcome happened, ISO 8601 with a zone.
        value: 1 for the event, 0 for none, or the amount.
        final: Whether the label has matured.
        source: System that reports it.
    """

    model: str
    observed_at: str
    value: float
    source: Key
    decision: Key | None = None
    entity: Key | None = None
    final: bool = True


class LinkedRequest(Closed, frozen=True, kw_only=True):
    """Body of ``POST /v1/decisions/{id}/override`` and ``.../disposition``.

    Attributes:
        by: Who, as the bank names its staff.
        outcome: The outcome that holds, or the disposition.
        reason: Why; no personal data.
    """

    by: Key
    outcome: Key
    reason: _Words = ""


class _RepeatedNameError(ValueError):
    """An object of a body has a name twice."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedNameError(next(name for name in names if names.count(name) > 1))


_MEMBER = re.compile(rb'"\s*:')
"""The end of a member's name. A text inside a string may look like one, so that there are never too few."""


def repeated_name(body: bytes, asked: Closed | None = None) -> str | None:
    """The first name that an object of a JSON text has twice: readers disagree on which of its values counts.

    Args:
        body: The JSON text.
        asked: What was decoded from it, where that is known.
    """
    if isinstance(asked, DecisionRequest):
        told = 1 + len(asked.request) + (asked.id is not None) + (asked.entity is not None)
        if len(_MEMBER.findall(body)) == told:
            return None
    try:
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except _RepeatedNameError as error:
        return str(error)[:80]
    except RecursionError:
        # Whatever is nested as deep as this is no field of any contract, and is refused as one.
        return None
    return None


_ANSWER = msgspec.json.Encoder(order="sorted")


def answer(record: DecisionRecord) -> bytes:
    """The answer to a decision request: what was decided, why, and by which release."""
    return _ANSWER.encode(
        {
            "id": record.id,
            "at": record.at,
            "model": record.model,
            "release": f"{record.model}@v{record.release.version}",
            "score": float.fromhex(record.margin),
            "probability": float.fromhex(record.p),
            "grade": record.grade,
            "decision": record.decision,
            "reasons": [
                {"code": given.code, "text": given.text, "contribution": float.fromhex(given.contribution)}
                for given in record.reasons
            ],
            "without_history": [view.view for view in record.views if view.unknown],
            "route": {"arm": record.route.arm, "rollout": record.route.rollout, "stage": record.route.stage},
        }
    )


def problem(status: int, title: str, detail: str, problems: tuple[FieldProblem, ...] = (), **more: Any) -> bytes:
    """An error in the form of RFC 9457 (application/problem+json). Names fields and rules, never values."""
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    if problems:
        document["problems"] = [
            {"field": found.field, "rule": found.rule, "expected": found.expected, "hint": found.hint}
            for found in problems
        ]
    return _ANSWER.encode(document)

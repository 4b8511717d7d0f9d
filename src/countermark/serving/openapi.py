"""The OpenAPI description of what this worker serves, made from the releases themselves."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from countermark.config.contract import ColumnContract
from countermark.features.plans import table_contract
from countermark.ledger.entry import MAX_KEY
from countermark.records.identity import ID_PATTERN, ID_RULE
from countermark.serving.release import ServedRelease
from countermark.serving.service import DecisionService

_KEY: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[^\\u0000]*$"}
_TYPES = {"integer": "integer", "number": "number", "text": "string", "boolean": "boolean", "date": "string"}


def document(service: DecisionService) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for model in sorted(service.catalog.models):
        champion = service.champion(model)
        if champion is not None:
            paths[f"/v1/models/{model}/decisions"] = {"post": _decision(model, champion)}
    paths |= _fixed()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Countermark decision service", "version": version("countermark")},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Decision": _ANSWER, "Problem": _PROBLEM, "Receipt": {"type": "object"}},
        },
        "security": [{"key": []}],
    }


def field_schema(promise: ColumnContract) -> dict[str, Any]:
    """JSON Schema of one field of a request."""
    kind = _TYPES[promise.type]
    schema: dict[str, Any] = {"type": [kind, "null"] if promise.nullable else kind}
    if promise.type in ("integer", "number"):
        schema |= {k: v for k, v in (("minimum", promise.minimum), ("maximum", promise.maximum)) if v is not None}
    if promise.type == "date":
        schema["description"] = "date or time in ISO 8601"
    if promise.allowed is not None and promise.type != "date":
        schema["enum"] = [*promise.allowed, *([None] if promise.nullable else [])]
    if promise.pattern is not None:
        schema["pattern"] = promise.pattern
    return schema


def _decision(model: str, release: ServedRelease) -> dict[str, Any]:
    contract = table_contract(release.spec, release.spec.data.table)
    assert contract is not None  # the release's vector builder needed it
    fields = {name: field_schema(contract.columns[name]) for name in release.builder.fields}
    required = [name for name in release.builder.fields if not contract.columns[name].nullable]
    request = {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": False,
    }
    body = {
        "type": "object",
        "properties": {
            "request": request,
            "id": {
                "type": ["string", "null"],
                "pattern": ID_PATTERN,
                "description": f"own id, {ID_RULE}; the same id gives the same decision again",
            },
            "entity": {**_KEY, "type": ["string", "null"]},
        },
        "required": ["request"],
        "additionalProperties": False,
    }
    return {
        "summary": release.spec.title,
        "operationId": f"decide_{model}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses("200", "The decision, durable on the ledger.", "Decision", (400, 404, 409, 413, 422)),
    }


def _responses(status: str, text: str, schema: str, errors: tuple[int, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    found: dict[str, Any] = {status: {"description": text, "content": content}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for code in sorted({*errors, 401, 403, 503}):
        found[str(code)] = {"description": _ERRORS[code], "content": problem}
    return found


_ERRORS = {
    400: "The body is no JSON.",
    401: "No valid key.",
    403: "The key has no such scope.",
    404: "Nothing here, or not served.",
    409: "The id was used for something else.",
    413: "The body is too large.",
    422: "A field breaks its contract.",
    503: "Not recorded: nothing was decided.",
}


def _post(summary: str, identity: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {
        "post": {
            "summary": summary,
            "operationId": identity,
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": _responses("202", "Recorded.", "Receipt", (400, 404, 409, 413, 422)),
        }
    }


def _fixed() -> dict[str, Any]:
    text, moment = _KEY, {"type": "string", "format": "date-time"}
    optional = {**_KEY, "type": ["string", "null"]}
    parameter = {"name": "id", "in": "path", "required": True, "schema": text}
    linked = {"by": text, "outcome": text, "reason": {"type": "string", "maxLength": 2000}}
    found: dict[str, Any] = {
        "/v1/events": _post(
            "An event that feeds feature views",
            "ingest_event",
            {"table": text, "event": {"type": "object"}, "id": optional},
            ["table", "event"],
        ),
        "/v1/outcomes": _post(
            "What became of a decision",
            "record_outcome",
            {
                "model": text,
                "observed_at": moment,
                "value": {"type": "number"},
                "source": text,
                "decision": optional,
                "entity": optional,
                "final": {"type": "boolean"},
            },
            ["model", "observed_at", "value", "source"],
        ),
        "/v1/decisions/{id}": {
            "get": {
                "summary": "The record of a decision",
                "operationId": "read_decision",
                "parameters": [parameter],
                "responses": _responses("200", "The record.", "Receipt", (404,)),
            }
        },
    }
    for kind, words in (("override", "A person's decision in its place"), ("disposition", "What an alert came to")):
        path = _post(words, f"record_{kind}", linked, ["by", "outcome"])
        path["post"]["parameters"] = [parameter]
        found[f"/v1/decisions/{{id}}/{kind}"] = path
    for name, words in (("health", "Whether the process lives"), ("ready", "Whether a release may answer")):
        found[f"/{name}"] = {
            "get": {
                "summary": words,
                "operationId": name,
                "security": [],
                "responses": {"200": {"description": "Yes."}, "503": {"description": "No."}},
            }
        }
    return found


_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "at": {"type": "string", "format": "date-time"},
        "model": {"type": "string"},
        "release": {"type": "string"},
        "score": {"type": "number"},
        "probability": {"type": "number"},
        "grade": {"type": ["string", "null"]},
        "decision": {"type": "string"},
        "reasons": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "code": {"type": "string"},
                    "text": {"type": "string"},
                    "contribution": {"type": "number"},
                },
                "required": ["code", "text", "contribution"],
            },
        },
        "without_history": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Feature views whose store knows nothing of the entity; their features are those of nobody.",
        },
        "route": {"type": "object"},
    },
    "required": [
        "id",
        "at",
        "model",
        "release",
        "score",
        "probability",
        "grade",
        "decision",
        "reasons",
        "without_history",
        "route",
    ],
}

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "rule": {"type": "string"},
                    "expected": {"type": "string"},
                    "hint": {"type": ["string", "null"]},
                },
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}

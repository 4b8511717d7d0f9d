"""The Open Inference Protocol, version 2: what general tools speak. It decides and records like any other request."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from countermark.features.plans import table_contract
from countermark.records.decision import Closed, DecisionRecord, Value
from countermark.records.identity import CallId
from countermark.serving.refused import Refused
from countermark.serving.release import ServedRelease
from countermark.serving.requests import DecisionRequest

_DATATYPES = {"integer": "INT64", "number": "FP64", "text": "BYTES", "boolean": "BOOL", "date": "BYTES"}
MAX_ROWS = 64
"""Rows of one call: each is a decision of its own on the ledger."""


class Tensor(Closed, frozen=True, kw_only=True):
    """One input: a column over the rows of the call."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Value]
    parameters: dict[str, Any] | None = None


class InferRequest(Closed, frozen=True, kw_only=True):
    """Body of ``POST /v2/models/{model}/infer``.

    Attributes:
        inputs: Columns.
        id: The caller's own id: the same id with the same rows gives the same decisions again.
        outputs: Not looked at: every output is answered.
        parameters: Not looked at.
    """

    inputs: list[Tensor]
    id: CallId | None = None
    outputs: list[dict[str, Any]] | None = None
    parameters: dict[str, Any] | None = None


def server_metadata() -> dict[str, Any]:
    """``GET /v2``."""
    return {"name": "countermark", "version": version("countermark"), "extensions": []}


def model_metadata(release: ServedRelease) -> dict[str, Any]:
    """``GET /v2/models/{model}``."""
    inputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _fields(release).items()]
    outputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in _OUTPUTS.items()]
    return {
        "name": release.ref.model,
        "versions": [release.ref.version],
        "platform": "countermark",
        "inputs": inputs,
        "outputs": outputs,
    }


_OUTPUTS = {
    "probability": "FP64", "score": "FP64", "grade": "BYTES", "decision": "BYTES", "id": "BYTES", "version": "BYTES",
}  # fmt: skip


def rows(asked: InferRequest, release: ServedRelease) -> list[DecisionRequest]:
    """The requests of a call, one per row; under the id of the call each has an id of its own.

    Raises:
        Refused: If the tensors are no columns of one length, or of another type than the model's fields.
    """
    fields = _fields(release)
    lengths = {len(tensor.data) for tensor in asked.inputs}
    if len(lengths) != 1 or not 1 <= (count := lengths.pop()) <= MAX_ROWS:
        raise Refused(422, "Refused", f"every input needs the same number of rows, 1 to {MAX_ROWS}")
    names = [tensor.name for tensor in asked.inputs]
    if len(set(names)) != len(names):
        raise Refused(422, "Refused", "an input is there twice")
    for tensor in asked.inputs:
        if tensor.shape not in ((count,), (count, 1)):
            raise Refused(422, "Refused", f"input '{tensor.name}': shape {[count]} or {[count, 1]} is expected")
        wanted = fields.get(tensor.name)
        if wanted is not None and tensor.datatype not in _accepted(wanted):
            raise Refused(422, "Refused", f"input '{tensor.name}': datatype {wanted} is expected")
    columns = {tensor.name: tensor.data for tensor in asked.inputs}
    return [
        DecisionRequest(
            request={name: data[k] for name, data in columns.items()},
            # With the number of rows, so that of the rows of a call either all were recorded before or none.
            id=f"{asked.id}.{k + 1}of{count}" if asked.id else None,
        )
        for k in range(count)
    ]


def _accepted(wanted: str) -> tuple[str, ...]:
    return (
        ("FP64", "FP32", "INT64", "INT32")
        if wanted == "FP64"
        else (wanted, "INT32")
        if wanted == "INT64"
        else (wanted,)
    )


def _fields(release: ServedRelease) -> dict[str, str]:
    contract = table_contract(release.spec, release.spec.data.table)
    assert contract is not None  # the release's vector builder needed it
    return {name: _DATATYPES[contract.columns[name].type] for name in release.builder.fields}


def response(asked: InferRequest, release: ServedRelease, records: list[DecisionRecord]) -> dict[str, Any]:
    """The answer to a call: columns over its rows."""
    columns: dict[str, list[Any]] = {
        "probability": [record.probability for record in records],
        "score": [float.fromhex(record.margin) for record in records],
        "grade": [record.grade or "" for record in records],
        "decision": [record.decision for record in records],
        "id": [record.id for record in records],
        "version": [record.release.version for record in records],
    }
    # A call whose rows fall to champion and candidate has no one version: its rows say.
    answered = dict.fromkeys(columns["version"])
    found: dict[str, Any] = {
        "model_name": release.ref.model,
        "model_version": next(iter(answered)) if len(answered) == 1 else release.ref.version,
        "outputs": [
            {"name": name, "datatype": _OUTPUTS[name], "shape": [len(records)], "data": data}
            for name, data in columns.items()
        ],
    }
    return found if asked.id is None else found | {"id": asked.id}

"""A whole model spec for tests, with the parts under test replaced."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from countermark.config.spec import ModelSpec
from countermark.contracts.checks import ContractResult, check, contract_document
from countermark.contracts.reshape import shaped

BASE: dict[str, Any] = {
    "name": "test_pd",
    "title": "Test",
    "kind": "pd",
    "version": "1.0.0",
    "as_of": "2020-12-31",
    "identity": {"owner": "o", "developer": "d"},
    "tiering": {
        "is_model": "yes",
        "exposure": "low",
        "purpose": "low",
        "complexity": "low",
        "interconnection": "low",
        "data_quality": "low",
    },
    "purpose": {
        "decision": "d",
        "population": "p",
        "permitted": ["x"],
        "prohibited": ["y"],
        "affected": "a",
        "automated": False,
        "natural_persons": True,
        "can_decline": True,
    },
    "source": {
        "kind": "csv",
        "name": "loans",
        "title": "Loans",
        "owner": "o",
        "licence": "none",
        "personal_data": "none",
        "time_zone": "UTC",
        "currency": "EUR",
        "path": "loans.csv",
        "row_key": "id",
        "as_of": "2020-12-31",
    },
    "contract": {
        "name": "loans",
        "columns": {
            "id": {"type": "text"},
            "y": {"type": "integer"},
            "x": {"type": "number", "nullable": True},
            "g": {"type": "text", "nullable": True},
            "late": {"type": "number"},
            "sex": {"type": "integer", "nullable": True},
            "age": {"type": "integer"},
            "day": {"type": "date", "nullable": True},
        },
    },
    "data": {"time": "day", "leaks": ["late"]},
    "outcome": {
        "column": "y",
        "definition": "d",
        "horizon_months": 6,
        "maturity": {"basis": "dates"},
    },
    "features": {"x": {"meaning": "x"}, "grade": {"meaning": "g", "source": "g", "type": "categorical"}},
    "split": {"kind": "stratified", "seed": 1},
    "learner": {"kind": "logistic"},
    "grades": {"scale": {"kind": "quantile", "count": 2}},
    "decision": {"name": "d", "version": "1.0.0", "cutoff": 0.2, "cutoff_rationale": "r"},
    "policy": {
        "name": "standard",
        "version": "1.0.0",
        "owner": "o",
        "source_note": "n",
        "limits": {},
        "gating": {},
    },
}

ROWS: list[dict[str, Any]] = [
    {"id": "k1", "y": "0", "x": "1.5", "g": "b", "late": "0", "sex": "1", "age": "24", "day": "2019-01-31"},
    {"id": "k2", "y": "1", "x": None, "g": None, "late": "9", "sex": "2", "age": "25", "day": "2019-04-01"},
    {"id": "k3", "y": "0", "x": "-2", "g": "a", "late": "0", "sex": "3", "age": "17", "day": "2020-06-30"},
    {"id": "k4", "y": "1", "x": "0", "g": "b", "late": "8", "sex": None, "age": "60", "day": "2020-05-15"},
]


def merged(base: Any, change: Any) -> Any:
    """``base`` with ``change`` laid over it, mappings merged; a leading '=' on a key replaces whole."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    out = dict(base)
    for key, value in change.items():
        if key.startswith("="):
            out[key[1:]] = value
        else:
            out[key] = merged(base.get(key), value)
    return out


def spec(change: dict[str, Any] | None = None) -> ModelSpec:
    """The test model, changed."""
    return ModelSpec.model_validate(merged(BASE, change or {}))


def text_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a delimited file gives them: text or null."""
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]})


def contracted(model: ModelSpec, raw: pa.Table) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Accepted tables by name and the contract document, through the real contract room."""
    tables = shaped(raw, model.source)
    results: dict[str, ContractResult] = {
        c.table: check(tables[c.table], c, model.source) for c in (model.contract, *model.table_contracts.values())
    }
    document, _ = contract_document(results, {"name": model.source.name, "digest": "0" * 64})
    return {name: result.accepted for name, result in results.items()}, document

"""Model inputs under their feature names, typed as the scorer takes them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.spec import Feature, ModelSpec
from countermark.errors import ConfigError, GuardError
from countermark.features.views import build_view


def column_of(table: pa.Table, name: str, where: str) -> pa.ChunkedArray:
    """A column that a spec names.

    Raises:
        ConfigError: If the table does not have it; names the nearest one.
    """
    if name in table.column_names:
        return table.column(name)
    near = difflib.get_close_matches(name, table.column_names, n=1)
    raise ConfigError(
        f"{where} names column '{name}', which the contracted table does not have",
        expected="one of: " + ", ".join(table.column_names),
        got=f"'{name}'",
        hint=f"did you mean '{near[0]}'?" if near else "correct the name, or declare the column in the contract",
    )


def view_columns(spec: ModelSpec, main: pa.Table, tables: Mapping[str, pa.Table]) -> dict[str, pa.ChunkedArray]:
    """Every view feature that an input uses, as ``VIEW.FEATURE``, in the order of ``main``.

    Raises:
        ConfigError: If the model gives the view no time or no entity, or its table is missing.
    """
    found: dict[str, pa.ChunkedArray] = {}
    for name, view in spec.feature_views.items():
        used = [f for n, f in spec.features.items() if (f.source or n).startswith(f"{name}.")]
        if not used:
            continue
        if view.table not in tables:
            raise ConfigError(
                f"feature view '{name}' reads table '{view.table}', which the source does not give",
                expected="one of: " + ", ".join(tables),
                got=f"'{view.table}'",
                hint="correct 'table' of the view; 'unpivot' and 'table_contracts' declare further tables",
            )
        key = view.entity if view.entity in main.column_names else (spec.data.entity or view.entity)
        request = {"entity": column_of(main, key, f"feature view '{name}'"), "time": _request_time(spec, main, name)}
        built = build_view(view, tables[view.table], pa.table(request), time_zone=spec.source.time_zone)
        found |= {f"{name}.{feature}": built.column(feature) for feature in built.column_names}
    return found


def _request_time(spec: ModelSpec, main: pa.Table, view: str) -> pa.ChunkedArray | pa.Array:
    if spec.data.time is not None:
        return column_of(main, spec.data.time, "data.time")
    if spec.data.observed_at is None:
        raise ConfigError(
            f"feature view '{view}' needs a time to be computed as of, and the model declares none",
            expected="data.time (a column) or data.observed_at (a date)",
            hint="declare when the decision is taken",
        )
    day = np.datetime64(spec.data.observed_at, "D")
    return pa.array(np.full(main.num_rows, day), type=pa.date32())


def model_inputs(spec: ModelSpec, main: pa.Table, views: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Inputs by feature name: float64 with null, or text with null.

    Ordinal text with ``levels`` becomes 0, 1, 2 ... in the declared order.

    Raises:
        ConfigError: Unknown column, or a type that the feature cannot take.
        GuardError: Values outside ``levels``, infinite values, or no value at all.
    """
    inputs = {}
    for name, feature in spec.features.items():
        if name.startswith("_"):
            raise ConfigError(f"feature '{name}' starts with '_'", expected="a name that is not reserved", got=name)
        declared = feature.source or name
        raw = views[declared] if declared in views else column_of(main, declared, f"feature '{name}'")
        column = _typed(name, feature, raw)
        if column.null_count == len(column):
            raise GuardError(f"input '{name}' has no value in any row", hint="remove the feature, or repair its source")
        inputs[name] = column
    return inputs


def _typed(name: str, feature: Feature, raw: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = raw.type
    if feature.levels is not None:
        return _ordinal(name, feature.levels, raw)
    if feature.type == "categorical":
        if pa.types.is_temporal(kind) or pa.types.is_floating(kind):
            raise ConfigError(
                f"categorical feature '{name}' comes from a column of type {kind}",
                expected="text, integer or boolean",
                hint="declare the column's type in the contract, or make the feature numeric",
            )
        return raw.cast(pa.string())
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise ConfigError(
            f"numeric feature '{name}' comes from a column of type {kind}",
            expected="integer, number or boolean; or text with 'levels'",
            hint="declare 'type: categorical', or give the order of its values under 'levels'",
        )
    numbers = raw.cast(pa.uint8()).cast(pa.float64()) if pa.types.is_boolean(kind) else raw.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    if pc.any(pc.is_inf(numbers)).as_py():
        raise GuardError(f"input '{name}' has infinite values", hint="repair its source")
    return numbers


def _ordinal(name: str, levels: tuple[str, ...], raw: pa.ChunkedArray) -> pa.ChunkedArray:
    if len(set(levels)) != len(levels):
        raise ConfigError(f"feature '{name}' lists a level twice", got=", ".join(levels))
    if not (pa.types.is_string(raw.type) or pa.types.is_integer(raw.type)):
        raise ConfigError(f"feature '{name}' has 'levels' and comes from a column of type {raw.type}", expected="text")
    place = pc.index_in(raw.cast(pa.string()), value_set=pa.array(list(levels), pa.string()))
    unknown = place.null_count - raw.null_count
    if unknown:
        raise GuardError(
            f"feature '{name}' has values outside its 'levels'",
            expected="one of: " + ", ".join(levels),
            got=f"{unknown} of {len(raw)} rows with another value",
            hint="add the level where it belongs in the order, or let the contract refuse it",
        )
    return place.cast(pa.float64())


def input_report(inputs: Mapping[str, pa.ChunkedArray]) -> dict[str, dict[str, Any]]:
    """Counts of missing and distinct values of each input."""
    return {
        name: {
            "type": "text" if pa.types.is_string(column.type) else "number",
            "missing": column.null_count,
            "distinct": len(pc.unique(pc.drop_null(column))),
        }
        for name, column in inputs.items()
    }

"""Model inputs under their feature names, typed as the scorer takes them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.spec import Feature, ModelSpec
from countermark.contracts.instants import UTC
from countermark.errors import ConfigError, GuardError
from countermark.features.definitions import ViewPlan
from countermark.features.guards import Guard
from countermark.features.plans import REQUEST, ModelViews, OnDemand, model_views
from countermark.features.views import build_view, clock_times, operands

LARGEST_NUMBER = 3.4e38
"""Trees compare 32-bit numbers, and a mean of larger ones is no number any more."""


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


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """What the inputs need of feature views.

    Attributes:
        columns: Column per needed feature, as ``VIEW.FEATURE``, in the order of the training rows.
        versions: Version of every view that was read.
        expired: Rows whose value was withheld because of its age, by ``VIEW.FEATURE``.
        guard: That no row sees itself.
    """

    columns: Mapping[str, pa.ChunkedArray]
    versions: Mapping[str, str]
    expired: Mapping[str, int]
    guard: Guard


def view_columns(spec: ModelSpec, main: pa.Table, tables: Mapping[str, pa.Table]) -> ViewColumns:
    """Every view feature that an input uses, directly or through an expression.

    Raises:
        ConfigError: If a view's definition does not fit its table or the model.
    """
    views = model_views(spec)
    found: dict[str, pa.ChunkedArray] = {}
    expired: dict[str, int] = {}
    seen: list[str] = []
    for name, plan in views.plans.items():
        if plan.table not in tables:
            raise ConfigError(
                f"feature view '{name}' reads table '{plan.table}', which the source does not give",
                expected="one of: " + ", ".join(tables),
                got=f"'{plan.table}'",
                hint="correct 'table' of the view; 'unpivot' and 'table_contracts' declare further tables",
            )
        time = _request_time(spec, main)
        request = {"entity": column_of(main, views.keys[name], f"feature view '{name}'"), "time": time}
        built = build_view(plan, tables[plan.table], pa.table(request))
        found |= {f"{name}.{feature}": built.columns.column(feature) for feature in built.columns.column_names}
        expired |= {f"{name}.{feature}": count for feature, count in built.expired.items()}
        own = _own_events(spec, plan, main, time)
        if own:
            seen.append(f"{own} rows would see themselves in feature view '{name}'")
    for feature in views.on_demand:
        found[feature.name] = _evaluated(spec, feature, main, found)
    versions = {name: plan.version for name, plan in views.plans.items()}
    return ViewColumns(found, versions, expired, _own_event_guard(spec, views, seen))


def _own_event_guard(spec: ModelSpec, views: ModelViews, seen: list[str]) -> Guard:
    own = [name for name, plan in views.plans.items() if plan.table == spec.data.table]
    if not own or spec.data.time is None:
        return Guard("own_event", None, "not evaluated: no feature view reads the training rows' own table by time")
    told = "no row sees itself in " + ", ".join(f"feature view '{name}'" for name in own)
    return Guard("own_event", not seen, "; ".join(seen) or told)


def _own_events(spec: ModelSpec, plan: ViewPlan, main: pa.Table, time: pa.ChunkedArray) -> int:
    """Training rows that are visible to the very request they stand for."""
    if plan.table != spec.data.table or spec.data.time is None:
        return 0
    asked = clock_times(plan, time)
    happened = clock_times(plan, main.column(plan.event_time))
    known = pc.add(clock_times(plan, main.column(plan.view.known_at or plan.event_time)), plan.known_delay)
    visible = pc.and_(pc.less_equal(happened, asked), pc.less_equal(known, asked))
    return int(pc.sum(pc.fill_null(visible, False)).as_py() or 0)


def _evaluated(
    spec: ModelSpec, feature: OnDemand, main: pa.Table, found: Mapping[str, pa.ChunkedArray]
) -> pa.ChunkedArray:
    expression = feature.expression
    columns = {}
    for written, canonical in zip(expression.names, feature.reads, strict=True):
        request, _, field = canonical.partition(".")
        columns[written] = (
            column_of(main, field, f"feature '{feature.name}'") if request == REQUEST else found[canonical]
        )
    values = expression.table(operands(expression, columns, spec.source.time_zone))
    if expression.type == "time":
        return pa.chunked_array([pa.array(values, pa.int64()).cast(UTC)])
    kind = {"number": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}[expression.type]
    return pa.chunked_array([pa.array(values, kind)])


def _request_time(spec: ModelSpec, main: pa.Table) -> pa.ChunkedArray:
    if spec.data.time is not None:
        return column_of(main, spec.data.time, "data.time")
    assert spec.data.observed_at is not None  # compiled views have a time
    day = np.datetime64(spec.data.observed_at, "D")
    return pa.chunked_array([pa.array(np.full(main.num_rows, day), type=pa.date32())])


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
    beyond = pc.sum(pc.greater(pc.abs(numbers), LARGEST_NUMBER)).as_py()
    if beyond:
        raise GuardError(
            f"input '{name}' has numbers that no learner can compare",
            expected=f"numbers of at most {LARGEST_NUMBER:.1e}, missing where there is none",
            got=f"{beyond} of {len(numbers)} rows beyond",
            hint="give the column a 'maximum' in its contract, or declare the code of a missing value",
        )
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

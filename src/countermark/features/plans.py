"""The feature views of a model, compiled together: what is read of which view, and in which order expressions run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from countermark.config.contract import Contract
from countermark.config.feature_view import FeatureView, OnDemandFeature
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.spec import ModelSpec
from countermark.config.yamlfile import KeyPath
from countermark.errors import ConfigError
from countermark.features.definitions import (
    VALUE_TYPES,
    ColumnType,
    DefinitionError,
    ViewPlan,
    compile_view,
)
from countermark.features.on_demand import Expression, ValueType, compile_expression

REQUEST = "request"


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A compiled on-demand feature.

    Attributes:
        name: ``VIEW.FEATURE``.
        expression: The expression.
        reads: Canonical name of each thing the expression reads: ``request.FIELD`` or ``VIEW.FEATURE``.
    """

    name: str
    expression: Expression
    reads: tuple[str, ...]

    def row(self, values: Mapping[str, Any]) -> Any:
        """Evaluate from values by canonical name."""
        return self.expression.at([values[name] for name in self.reads])


@dataclass(frozen=True, slots=True)
class ModelViews:
    """What a model needs of its feature views.

    Attributes:
        plans: Views that are read, by name, in the order of the declaration.
        keys: Column of the request that names the entity, by view.
        on_demand: On-demand features in the order in which they can be evaluated.
        types: Type of every feature of every view, by ``VIEW.FEATURE``.
        request_types: Type of every column of the table of training rows.
        fields: Columns of the request that the model's inputs need.
    """

    plans: Mapping[str, ViewPlan]
    keys: Mapping[str, str]
    on_demand: tuple[OnDemand, ...]
    types: Mapping[str, ColumnType]
    request_types: Mapping[str, ColumnType]
    fields: tuple[str, ...]


def table_contract(spec: ModelSpec, table: str) -> Contract | None:
    """The contract of a table of the source; None if there is none."""
    contracts = (spec.contract, *spec.table_contracts.values())
    return next((contract for contract in contracts if contract.table == table), None)


def column_types(contract: Contract) -> dict[str, ColumnType]:
    """Type of every column that a contract promises."""
    return {name: column.type for name, column in contract.columns.items()}


def model_views(spec: ModelSpec) -> ModelViews:
    """Compile the feature views of a model.

    Views and on-demand features that no input of the model needs are checked and left out.

    Raises:
        DefinitionError: The first mistake, with its key in the spec.
    """
    plans = {name: _plan(spec, name, view) for name, view in spec.feature_views.items()}
    found = {name: plan for name, plan in plans.items() if plan is not None}
    contract = table_contract(spec, spec.data.table)
    request = column_types(contract) if contract is not None else {}
    types: dict[str, ColumnType] = {
        f"{view}.{name}": kind
        for view, plan in found.items()
        for name, kind in zip(plan.names, plan.types, strict=True)
    }
    expressions = _on_demand(spec, types, request)
    wanted = _needed(spec, {feature.name: feature for feature in expressions}, types)
    used = {name: plan for name, plan in found.items() if any(f"{name}.{f}" in wanted for f in plan.names)}
    keys = {name: _request_key(spec, plan, request) for name, plan in used.items()}
    fields = [name.removeprefix(f"{REQUEST}.") for name in wanted if name.startswith(f"{REQUEST}.")]
    return ModelViews(
        plans=used,
        keys=keys,
        on_demand=tuple(feature for feature in expressions if feature.name in wanted),
        types=types,
        request_types=request,
        fields=tuple(dict.fromkeys([*fields, *keys.values()])),
    )


def _plan(spec: ModelSpec, name: str, view: FeatureView) -> ViewPlan | None:
    if view.name != name:
        raise DefinitionError(
            Problem(
                ("feature_views", name, "name"),
                f"feature view '{view.name}' is filed under another name",
                expected=f"name: {name}",
                got=f"name: {view.name}",
            )
        )
    if not view.reads_events:
        return None
    assert view.table is not None
    contract = table_contract(spec, view.table)
    if contract is None:
        tables = [c.table for c in (spec.contract, *spec.table_contracts.values())]
        raise DefinitionError(
            Problem(
                ("feature_views", name, "table"),
                f"feature view '{name}' reads table '{view.table}', which no contract of the model is for",
                expected=one_of(tables),
                got=f"'{view.table}'",
                hint=nearest(view.table, tables) or "'unpivot' and 'table_contracts' declare further tables",
            )
        )
    if spec.data.time is None and spec.data.observed_at is None:
        raise DefinitionError(
            Problem(
                ("data",),
                f"feature view '{name}' needs a time to be computed as of, and the model declares none",
                expected="data.time (a column) or data.observed_at (a date)",
                hint="declare when the decision is taken",
            )
        )
    own = view.table == spec.data.table
    if own and spec.data.time is not None and view.known_at is None and view.known_delay is None:
        raise DefinitionError(
            Problem(
                ("feature_views", name),
                f"feature view '{name}' would see the very row that asks: it reads the table of training rows",
                expected="'known_delay' or 'known_at'",
                hint="say how long after it happened a row is known: 'known_delay: {seconds: 1}'",
            )
        )
    try:
        return compile_view(view, column_types(contract), time_zone=spec.source.time_zone)
    except DefinitionError as error:
        raise _moved(error, ("feature_views", name)) from None


def _moved(error: DefinitionError, above: KeyPath) -> DefinitionError:
    return DefinitionError(Problem((*above, *error.path), error.what, error.expected, error.got, error.hint))


def _request_key(spec: ModelSpec, plan: ViewPlan, request: Mapping[str, ColumnType]) -> str:
    key = plan.entity if plan.entity in request else (spec.data.entity or plan.entity)
    problem = None
    if key not in request:
        problem = ("names no column of the table of training rows", one_of(request), f"'{key}'", nearest(key, request))
    elif request[key] != plan.column_types[plan.entity]:
        problem = (
            "is asked by another type of entity than its table has",
            f"{plan.column_types[plan.entity]}, as '{plan.entity}' of table '{plan.table}'",
            f"{request[key]}, as '{key}' of table '{spec.data.table}'",
            "give both columns one type in their contracts",
        )
    if problem is not None:
        what, expected, got, hint = problem
        raise DefinitionError(
            Problem(("feature_views", plan.name, "entity"), f"feature view '{plan.name}' {what}", expected, got, hint)
        )
    return key


def _on_demand(
    spec: ModelSpec, types: dict[str, ColumnType], request: Mapping[str, ColumnType]
) -> tuple[OnDemand, ...]:
    """Every on-demand feature, each after those it reads; adds their types to ``types``."""
    waiting = {
        f"{view}.{name}": feature
        for view, declared in spec.feature_views.items()
        for name, feature in declared.features.items()
        if isinstance(feature, OnDemandFeature)
    }
    done: list[OnDemand] = []
    while waiting:
        ready: list[OnDemand] = []
        failures: dict[str, ConfigError] = {}
        for name, feature in waiting.items():
            try:
                ready.append(_expression(spec, name, feature, types, request))
            except ConfigError as error:
                failures[name] = error
        if not ready:
            raise _unready(*next(iter(failures.items())), waiting)
        for compiled in ready:
            del waiting[compiled.name]
            types[compiled.name] = _COLUMN_TYPES[compiled.expression.type]
        done += ready
    return tuple(done)


_COLUMN_TYPES: dict[ValueType, ColumnType] = {"number": "number", "boolean": "boolean", "text": "text", "time": "date"}


def _expression(
    spec: ModelSpec,
    name: str,
    feature: OnDemandFeature,
    types: Mapping[str, ColumnType],
    request: Mapping[str, ColumnType],
) -> OnDemand:
    view = name.partition(".")[0]
    inside = f"{view}."
    known: dict[str, ValueType] = {f"{REQUEST}.{column}": VALUE_TYPES[kind] for column, kind in request.items()}
    known |= {other: VALUE_TYPES[kind] for other, kind in types.items()}
    known |= {o.removeprefix(inside): VALUE_TYPES[kind] for o, kind in types.items() if o.startswith(inside)}
    expression = compile_expression(feature.expression, known, time_zone=spec.source.time_zone)
    return OnDemand(name, expression, tuple(n if "." in n else f"{inside}{n}" for n in expression.names))


def _unready(name: str, error: ConfigError, waiting: Mapping[str, OnDemandFeature]) -> DefinitionError:
    view, _, inner = name.partition(".")
    path: KeyPath = ("feature_views", view, "features", inner, "expression")
    asked = (error.got or "").strip("'")
    if len(waiting) > 1 and (asked in waiting or f"{view}.{asked}" in waiting):
        rest = ", ".join(f"'{other}'" for other in waiting)
        return DefinitionError(
            Problem(path, f"on-demand feature '{name}' waits for one that waits for it", got=f"a circle of {rest}")
        )
    return DefinitionError(Problem(path, f"feature '{name}': {error.what}", error.expected, error.got, error.hint))


def _needed(spec: ModelSpec, expressions: Mapping[str, OnDemand], types: Mapping[str, ColumnType]) -> dict[str, None]:
    """Canonical names of everything that the model's inputs need, in a fixed order."""
    needed: dict[str, None] = {}

    def need(name: str) -> None:
        if name not in needed:
            for other in expressions[name].reads if name in expressions else ():
                need(other)
            needed[name] = None

    for name, feature in spec.features.items():
        declared = feature.source or name
        view, dot, inner = declared.partition(".")
        if dot and view in spec.feature_views:
            if declared not in types:
                known = list(spec.feature_views[view].features)
                raise DefinitionError(
                    Problem(
                        ("features", name, "source"),
                        f"feature '{name}' asks view '{view}' for '{inner}', which it does not have",
                        expected=one_of(known),
                        got=f"'{inner}'",
                        hint=nearest(inner, known),
                    )
                )
            need(declared)
        else:
            need(f"{REQUEST}.{declared}")
    return needed


def view_problems(spec: ModelSpec) -> Iterator[Problem]:
    """The first mistake of a model's feature views, for the check of a compiled spec.

    Args:
        spec: The resolved spec.
    """
    try:
        model_views(spec)
    except DefinitionError as error:
        yield Problem(error.path, error.what, error.expected, error.got, error.hint)

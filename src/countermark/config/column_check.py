"""Do contracts, views and model name columns that exist, of types that fit?

What the accepted tables hold is known before any data is read: exactly the columns of their contracts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from countermark.config.contract import ColumnContract, Contract
from countermark.config.feature_view import FeatureView, OnDemandFeature, WindowFeature
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.source_check import MAIN
from countermark.config.spec import Feature, ModelSpec
from countermark.config.yamlfile import KeyPath

_NUMBERS = ("integer", "number")


def contracts_of(spec: ModelSpec) -> Mapping[KeyPath, Contract]:
    """Every contract of a model by its key in the spec."""
    found: dict[KeyPath, Contract] = {("contract",): spec.contract}
    return found | {("table_contracts", name): contract for name, contract in spec.table_contracts.items()}


def no_column(path: KeyPath, what: str, name: str, columns: Mapping[str, ColumnContract]) -> Problem:
    """The problem of a column that the contracted table does not have."""
    return Problem(
        path,
        f"{what} names column '{name}', which the contracted table does not have",
        expected=one_of(columns),
        got=f"'{name}'",
        hint=nearest(name, columns) or "correct the name, or declare the column in the contract",
    )


def view_type(spec: ModelSpec, view: FeatureView, inner: str) -> str | None:
    """Contract type of a view's feature; None where an expression makes it or the view's own column is at fault."""
    feature = view.features[inner]
    if isinstance(feature, OnDemandFeature):
        return None
    if isinstance(feature, WindowFeature) and feature.function in ("count", "sum", "mean", "time_since"):
        return "number"
    contract = next((c for c in contracts_of(spec).values() if c.table == view.table), None)
    if contract is None or feature.column not in contract.columns:
        return None
    return contract.columns[feature.column].type


def table_problems(spec: ModelSpec) -> Iterator[Problem]:
    """Contracts of tables that the source does not give, and of columns that it drops, renames or never makes."""
    source = spec.source
    given = {MAIN: None} | {plan.table: {plan.key, plan.period_column, *plan.columns} for plan in source.unpivot}
    seen: dict[str, str] = {}
    for path, contract in contracts_of(spec).items():
        if contract.table not in given:
            yield Problem(
                (*path, "table"),
                f"contract '{contract.name}' is of table '{contract.table}', which source '{source.name}' has not",
                expected=one_of(given),
                got=f"'{contract.table}'",
                hint=nearest(contract.table, given) or "'unpivot' of the source makes further tables",
            )
            continue
        if contract.table in seen:
            yield Problem(
                (*path, "table"),
                f"two contracts are of table '{contract.table}': '{seen[contract.table]}' and '{contract.name}'",
                expected="one contract for each table",
                got=f"'table: {contract.table}' in both",
                hint="a contract without 'table' is of table 'main'",
            )
            continue
        seen[contract.table] = contract.name
        made = given[contract.table]
        yield from _main_problems(spec, path, contract) if made is None else _made_problems(path, contract, made)


def _main_problems(spec: ModelSpec, path: KeyPath, contract: Contract) -> Iterator[Problem]:
    source = spec.source
    for name in contract.columns:
        if name in source.drop_columns:
            yield Problem(
                (*path, "columns", name),
                f"contract '{contract.name}' promises column '{name}', which source '{source.name}' drops",
                expected="columns that the source keeps",
                got=f"'{name}' under 'drop_columns'",
            )
        elif name in source.rename and name not in source.rename.values():
            yield Problem(
                (*path, "columns", name),
                f"contract '{contract.name}' promises column '{name}', which source '{source.name}' renames",
                expected=f"'{source.rename[name]}', its new name",
                got=f"'{name}'",
            )
    estimated = source.estimated_vintage
    if estimated is not None:
        promise = contract.columns.get(estimated.column)
        if promise is None and contract.extra_columns == "refuse":
            yield Problem(
                (*path, "columns"),
                f"contract '{contract.name}' does not know column '{estimated.column}', the source's estimated vintage",
                expected=f"'{estimated.column}: {{type: date}}'",
                got="no such column",
            )
        elif promise is not None and (promise.type != "date" or promise.format is not None):
            yield Problem(
                (*path, "columns", estimated.column),
                f"column '{estimated.column}' of contract '{contract.name}' is the source's estimated vintage, a date",
                expected="type: date",
                got=f"type: {promise.type}",
            )
    if contract.extra_columns == "refuse":
        for name in source.reconcile:
            if name != "rows" and name not in contract.columns:
                yield Problem(
                    ("source", "reconcile", name),
                    f"'reconcile' of source '{source.name}' sums column '{name}', which its table does not have",
                    expected=one_of(("rows", *contract.columns)),
                    got=f"'{name}'",
                    hint=nearest(name, contract.columns),
                )


def _made_problems(path: KeyPath, contract: Contract, made: set[str]) -> Iterator[Problem]:
    for name in contract.columns:
        if name not in made:
            yield Problem(
                (*path, "columns", name),
                f"contract '{contract.name}' promises column '{name}', which table '{contract.table}' does not have",
                expected=one_of(sorted(made)),
                got=f"'{name}'",
                hint=nearest(name, sorted(made)),
            )
    missing = sorted(made - set(contract.columns))
    if missing and contract.extra_columns == "refuse":
        yield Problem(
            (*path, "columns"),
            f"contract '{contract.name}' does not know columns of table '{contract.table}'",
            expected="every column that 'unpivot' makes, or 'extra_columns: drop'",
            got=", ".join(f"'{name}'" for name in missing),
        )


def model_problems(spec: ModelSpec) -> Iterator[Problem]:
    """Columns that the model names and its contracts do not, and types that do not fit their use."""
    tables: dict[str, Contract] = {}
    for one in contracts_of(spec).values():
        tables.setdefault(one.table, one)
    if spec.data.table not in tables:
        yield Problem(
            ("data", "table"),
            f"'data.table' names '{spec.data.table}', which no contract of the model is of",
            expected=one_of(tables),
            got=f"'{spec.data.table}'",
            hint=nearest(spec.data.table, tables),
        )
        return
    if spec.source.row_key is None and spec.data.table != MAIN:
        yield Problem(
            ("data", "table"),
            f"table '{spec.data.table}' has no column that identifies a row",
            expected="'row_key' in the source, a column of that table",
            got="none; file order numbers the rows of table 'main' alone",
        )
    contract = tables[spec.data.table]
    columns = contract.columns
    for path, what, name in _named_columns(spec, contract):
        if name not in columns:
            yield no_column(path, what, name, columns)
    time = columns.get(spec.data.time or "")
    if time is not None and time.type != "date":
        yield Problem(
            ("data", "time"),
            f"'data.time' names '{spec.data.time}', which is no date",
            expected="a column of type date",
            got=f"type: {time.type}",
            hint="declare it as 'type: date' in the contract",
        )
    for name, feature in spec.features.items():
        yield from _feature_problems(spec, name, feature, columns)
    yield from _outcome_problems(spec, columns)


def _named_columns(spec: ModelSpec, contract: Contract) -> Iterator[tuple[KeyPath, str, str]]:
    """Key, words and name of every column of the main table that the model names, but for its inputs."""
    yield ("outcome", "column"), "the outcome", spec.outcome.column
    if spec.source.row_key is not None:
        yield ("source", "row_key"), "'row_key' of the source", spec.source.row_key
    for key, name in (("entity", spec.data.entity), ("time", spec.data.time)):
        if name is not None:
            yield ("data", key), f"'data.{key}'", name
    for index, name in enumerate(spec.data.segments):
        yield ("data", "segments", str(index)), "'data.segments'", name
    if contract.extra_columns == "refuse":
        elsewhere = {*spec.source.drop_columns, *spec.source.rename}
        for index, name in enumerate(spec.data.leaks):
            if name not in elsewhere:
                yield ("data", "leaks", str(index)), "'data.leaks'", name
    if spec.split.kind == "grouped":
        yield ("split", "group"), "'split.group'", spec.split.group
    if spec.fairness is not None:
        for attribute, declared in spec.fairness.attributes.items():
            path = ("fairness", "attributes", attribute, "column")
            yield path, f"protected attribute '{attribute}'", declared.column


def _feature_problems(
    spec: ModelSpec, name: str, feature: Feature, columns: Mapping[str, ColumnContract]
) -> Iterator[Problem]:
    path = ("features", name)
    if name.startswith("_"):
        yield Problem(
            path, f"feature '{name}' starts with '_'", expected="a name that is not reserved", got=f"'{name}'"
        )
    if feature.levels is not None and len(set(feature.levels)) != len(feature.levels):
        yield Problem(
            (*path, "levels"),
            f"feature '{name}' lists a level twice",
            expected="every level once",
            got=", ".join(feature.levels),
        )
    declared = feature.source or name
    view_name, dot, inner = declared.partition(".")
    key = (*path, "source") if feature.source is not None else path
    if dot and view_name in spec.feature_views and declared not in columns:
        view = spec.feature_views[view_name]
        if inner not in view.features:
            yield Problem(
                key,
                f"feature '{name}' asks view '{view_name}' for '{inner}', which it does not have",
                expected=one_of(view.features),
                got=f"'{inner}'",
                hint=nearest(inner, view.features) or "correct 'source' of the feature",
            )
            return
        kind = view_type(spec, view, inner)
    elif declared not in columns:
        made = [f"{one}.{inner}" for one, view in spec.feature_views.items() for inner in view.features]
        told = no_column(key, f"feature '{name}'", declared, columns)
        near = nearest(declared, [*columns, *made])
        yield told if near is None else Problem(told.path, told.what, told.expected, told.got, near)
        return
    else:
        kind = columns[declared].type
    if kind is not None:
        yield from _type_problems(path, name, feature, kind)


def _type_problems(path: KeyPath, name: str, feature: Feature, kind: str) -> Iterator[Problem]:
    if feature.levels is not None:
        if kind not in ("text", "integer"):
            yield Problem(
                (*path, "levels"),
                f"feature '{name}' has 'levels' and comes from a column of type {kind}",
                expected="a column of type text or integer",
                got=f"type: {kind}",
            )
    elif feature.type == "categorical" and kind in ("number", "date"):
        yield Problem(
            (*path, "type"),
            f"categorical feature '{name}' comes from a column of type {kind}",
            expected="text, integer or boolean",
            got=f"type: {kind}",
            hint="declare the column's type in the contract, or make the feature numeric",
        )
    elif feature.type == "numeric" and kind in ("text", "date"):
        yield Problem(
            path,
            f"numeric feature '{name}' comes from a column of type {kind}",
            expected="integer, number or boolean; or text with 'levels'",
            got=f"type: {kind}",
            hint="declare 'type: categorical', or give the order of its values under 'levels'",
        )


def _outcome_problems(spec: ModelSpec, columns: Mapping[str, ColumnContract]) -> Iterator[Problem]:
    outcome, promise = spec.outcome, columns.get(spec.outcome.column)
    if promise is None:
        return
    if spec.is_amount:
        if promise.type not in _NUMBERS:
            yield Problem(
                ("outcome", "column"),
                f"the outcome '{outcome.column}' is no number",
                expected="a column of type integer or number",
                got=f"type: {promise.type}",
            )
        return
    kind = promise.type
    shared = {_plain(value, kind) for value in outcome.events} & {_plain(value, kind) for value in outcome.non_events}
    if shared:
        yield Problem(
            ("outcome", "positive"),
            "'positive' and 'negative' of the outcome are the same",
            expected="two different values",
            got=", ".join(f"'{value}' in both" for value in sorted(shared)),
        )
        return
    for key, values in (("positive", outcome.events), ("negative", outcome.non_events)):
        for value in values:
            if not _can_hold(promise, value):
                yield Problem(
                    ("outcome", key),
                    f"'{key}' of the outcome is a value that column '{outcome.column}' never has",
                    expected=_what_it_holds(promise),
                    got=repr(value),
                    hint="correct it, or the column's promise in the contract",
                )


def _plain(value: object, kind: str) -> str:
    """How a value of the spec compares with the column's: beside numbers and truth, 1, 1.0, true and '1' are one."""
    if kind == "text":
        return str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return f"{float(str(value).lower().replace('true', '1').replace('false', '0')):g}"
    except ValueError:
        return str(value)


def _can_hold(promise: ColumnContract, value: object) -> bool:
    told = _plain(value, promise.type)
    if promise.allowed is not None:
        return told in {_plain(one, promise.type) for one in promise.allowed}
    if promise.type in _NUMBERS and isinstance(value, str):
        return told.replace(".", "").replace("-", "").isdigit()
    return promise.type != "boolean" or told in ("0", "1")


def _what_it_holds(promise: ColumnContract) -> str:
    if promise.allowed is not None:
        return "one of its allowed values: " + ", ".join(repr(value) for value in promise.allowed)
    return f"a value of type {promise.type}"

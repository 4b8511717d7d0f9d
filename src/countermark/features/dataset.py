"""The modelling data set: one row per training row, inputs, outcome and keys; protected attributes apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.feature_view import OnDemandFeature
from countermark.config.spec import ModelSpec
from countermark.contracts.currency import refuse_mixed
from countermark.contracts.instants import local_dates, zone_of
from countermark.contracts.reshape import ROW
from countermark.contracts.tables import content_digest
from countermark.errors import ConfigError, GuardError
from countermark.features.groups import group_names
from countermark.features.guards import TEST, TRAIN, copy_guards, declared_guards, overlap_guard, require
from countermark.features.inputs import column_of, input_report, model_inputs, view_columns
from countermark.features.outcome import label_maturity, outcome_values, resolved_rows
from countermark.features.segments import segment_columns

SAMPLES = (*TRAIN, *TEST)


@dataclass(frozen=True, slots=True)
class DatasetResult:
    """A model's data.

    Attributes:
        dataset: ``_key``, ``_y``, ``_entity``, ``_time``, ``_vintage``, ``_segment_*`` and the inputs.
        protected: ``_key`` and one group name per protected attribute; only ``_key`` where none is declared.
        report: Waterfall, lineage, guards, maturity, counts and digest; plain JSON (``dataset.json``).
    """

    dataset: pa.Table
    protected: pa.Table
    report: Mapping[str, Any]


def assemble(
    spec: ModelSpec,
    tables: Mapping[str, pa.Table],
    *,
    contract: Mapping[str, Any] | None = None,
) -> DatasetResult:
    """Make the modelling data set from contracted tables.

    Rows keep the order of the source. Samples are added later by :func:`add_samples`.

    Args:
        spec: The resolved model.
        tables: Accepted rows of each contracted table, by name.
        contract: Parsed ``contract.json``; starts the waterfall at the source's rows.

    Raises:
        ConfigError: Declarations that do not fit the tables.
        GuardError: A guard stopped the build.
    """
    first = require(declared_guards(spec))
    refuse_mixed({n: f.unit for n, f in spec.features.items()}, spec.source, what=f"model '{spec.name}'")
    main = _main_table(spec, tables)
    _check_leaks(spec, main, contract)
    waterfall = _waterfall_start(spec, main, contract)
    main = _resolved(spec, main, waterfall)
    outcome = column_of(main, spec.outcome.column, "outcome")
    time = _observation_dates(spec, main)
    maturity = label_maturity(spec, time, main.num_rows)
    dated = require([maturity.guard])
    for step, keep, reason in (
        ("mature labels", maturity.keep, "label not final on the as-of date"),
        ("filled windows", _warmed_up(spec, time, main.num_rows)[maturity.keep], "windows reach before the data begin"),
    ):
        if not keep.all():
            kept = pa.array(keep)
            main, outcome, time = main.filter(kept), outcome.filter(kept), None if time is None else time.filter(kept)
            _step(waterfall, step, main.num_rows, reason)
    columns = _reserved(spec, main, outcome, time)
    views = view_columns(spec, main, tables)
    own = require([views.guard])
    inputs = model_inputs(spec, main, views.columns)
    raw = _protected_columns(spec, main)
    copies = require(copy_guards(inputs, outcome, raw))
    dataset = pa.table(_without_clash(columns, inputs)).combine_chunks()
    protected = _groups(spec, columns["_key"], raw)
    report = {
        "rows_in": waterfall[0]["rows"],
        "waterfall": waterfall,
        "samples": {},
        "lineage": _lineage(spec, tables, contract, views.versions),
        "content_digest": content_digest(dataset),
        "protected_digest": content_digest(protected),
        "maturity": maturity.report,
        "overlap": {"entities": None, "reason": "not evaluated before the split"},
        "guards": [guard.as_json() for guard in (*first, *dated, *own, *copies)],
        "columns": input_report(inputs),
        "expired": dict(views.expired),
        "protected": {name: _counts(protected.column(name)) for name in protected.column_names if name != "_key"},
    }
    return DatasetResult(dataset, protected, report)


def _main_table(spec: ModelSpec, tables: Mapping[str, pa.Table]) -> pa.Table:
    name = spec.data.table
    if name not in tables:
        raise ConfigError(
            f"data.table names '{name}', which the source does not give",
            expected="one of: " + ", ".join(tables),
            got=f"'{name}'",
        )
    return tables[name]


def _check_leaks(spec: ModelSpec, main: pa.Table, contract: Mapping[str, Any] | None) -> None:
    known = {*main.column_names, *spec.source.drop_columns, *spec.source.rename}
    if contract is not None:
        known |= set(contract["tables"][spec.data.table].get("dropped_columns", ()))
    for name in spec.data.leaks:
        if name not in known:
            column_of(main, name, "data.leaks")


def _step(waterfall: list[dict[str, Any]], step: str, rows: int, reason: str) -> None:
    dropped = waterfall[-1]["rows"] - rows if waterfall else 0
    waterfall.append({"step": step, "rows": rows, "dropped": dropped, "reason": reason})


def _waterfall_start(spec: ModelSpec, main: pa.Table, contract: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    waterfall: list[dict[str, Any]] = []
    if contract is None:
        _step(waterfall, "contracted rows", main.num_rows, "")
        return waterfall
    table = contract["tables"][spec.data.table]
    _step(waterfall, "source rows", int(table["rows"]), "")
    _step(waterfall, "contract kept", main.num_rows, f"quarantined under contract '{table['contract']}'")
    return waterfall


def _resolved(spec: ModelSpec, main: pa.Table, waterfall: list[dict[str, Any]]) -> pa.Table:
    """Rows whose outcome is resolved; the others are a step of the waterfall where any are declared."""
    outcome = column_of(main, spec.outcome.column, "outcome")
    if not spec.outcome.unresolved:
        return main
    kept = main.filter(pa.array(resolved_rows(spec, outcome)))
    _step(waterfall, "resolved outcomes", kept.num_rows, "outcome missing or not resolved")
    return kept


def _without_clash(reserved: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    clash = sorted(set(reserved) & set(inputs))
    if clash:
        raise ConfigError("a feature has a reserved name", got=", ".join(clash))
    return {**reserved, **inputs}


def _observation_dates(spec: ModelSpec, main: pa.Table) -> pa.Array | None:
    plan = spec.data
    if plan.time is not None and plan.observed_at is not None:
        raise ConfigError("data has both 'time' and 'observed_at'", expected="a column or one date, not both")
    if plan.observed_at is not None:
        return pa.array(np.full(main.num_rows, np.datetime64(plan.observed_at, "D")), type=pa.date32())
    if plan.time is None:
        return None
    column = column_of(main, plan.time, "data.time")
    if not pa.types.is_temporal(column.type):
        raise ConfigError(
            f"data.time names '{plan.time}', which is no date",
            expected="a column of type date",
            got=str(column.type),
            hint="declare it as 'type: date' in the contract",
        )
    if column.null_count:
        raise GuardError(
            f"the observation date '{plan.time}' is missing",
            expected="a date in every row",
            got=f"{column.null_count} of {len(column)} rows without one",
            hint="make the column 'nullable: false' in the contract, so that such rows go to quarantine",
        )
    return local_dates(column, zone_of(spec.source.time_zone)).combine_chunks()


def _warmed_up(spec: ModelSpec, time: pa.Array | None, rows: int) -> NDArray[np.bool_]:
    """Rows (n,) far enough from the first one that windows do not reach before the data."""
    days = spec.data.warm_up_days
    if days == 0:
        return np.ones(rows, dtype=bool)
    if time is None:
        raise ConfigError(
            "'data.warm_up_days' counts from the first row's date, and the rows have none",
            expected="data.time (a column)",
            hint="remove 'warm_up_days', or declare the column",
        )
    dates = time.to_numpy(zero_copy_only=False).astype("datetime64[D]")
    warm: NDArray[np.bool_] = dates >= dates.min() + np.timedelta64(days, "D")
    return warm


def _reserved(
    spec: ModelSpec, main: pa.Table, outcome: pa.ChunkedArray, time: pa.Array | None
) -> dict[str, pa.Array | pa.ChunkedArray]:
    key = column_of(main, spec.source.row_key or ROW, "source.row_key").cast(pa.string())
    distinct = len(pc.unique(key))
    if key.null_count or distinct != len(key):
        raise GuardError(
            "the row key does not identify a row",
            expected="a unique key in every row",
            got=f"{distinct} different keys in {len(key)} rows",
            hint="name a unique column as 'row_key' of the source, or none to use file order",
        )
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"_key": key, "_y": outcome_values(spec, outcome)}
    if spec.data.entity is not None:
        columns["_entity"] = column_of(main, spec.data.entity, "data.entity").cast(pa.string())
    if time is not None:
        columns["_time"] = time
        columns["_vintage"] = vintage_labels(time, spec.data.vintage)
    return columns | {f"_segment_{name}": column for name, column in segment_columns(spec, main).items()}


def vintage_labels(time: pa.Array, by: str) -> pa.Array:
    """Cohort of each date as text that sorts in time: ``2013``, ``2013Q2`` or ``2013-05``."""
    months = time.to_numpy(zero_copy_only=False).astype("datetime64[M]").astype(np.int64)
    different, place = np.unique(months, return_inverse=True)
    labels = []
    for month in different.tolist():
        year, number = 1970 + month // 12, month % 12
        labels.append(
            {"year": f"{year}", "quarter": f"{year}Q{number // 3 + 1}", "month": f"{year}-{number + 1:02d}"}[by]
        )
    return pa.array(labels, pa.string()).take(pa.array(place))


def _protected_columns(spec: ModelSpec, main: pa.Table) -> dict[str, pa.ChunkedArray]:
    if spec.fairness is None:
        return {}
    return {
        name: column_of(main, declared.column, f"protected attribute '{name}'")
        for name, declared in spec.fairness.attributes.items()
    }


def _groups(spec: ModelSpec, key: pa.ChunkedArray | pa.Array, raw: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    columns: dict[str, Any] = {"_key": key}
    for name, column in raw.items():
        assert spec.fairness is not None
        columns[name] = group_names(name, spec.fairness.attributes[name], column)
    return pa.table(columns).combine_chunks()


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column).to_pylist()
    return {item["values"]: item["counts"] for item in sorted(counted, key=lambda item: str(item["values"]))}


def _lineage(
    spec: ModelSpec,
    tables: Mapping[str, pa.Table],
    contract: Mapping[str, Any] | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for name, feature in spec.features.items():
        declared = feature.source or name
        view_name, _, inner = declared.partition(".")
        view = spec.feature_views.get(view_name) if inner else None
        if view is None:
            features[name] = {"table": spec.data.table, "column": declared}
        else:
            made = view.features[inner]
            how = {"expression": made.expression} if isinstance(made, OnDemandFeature) else {"column": made.column}
            features[name] = {"view": view_name, "table": view.table, **how, "feature": inner}
    source = {} if contract is None else contract["source"]
    return {
        "source": spec.source.name,
        "source_digest": source.get("digest"),
        "tables": {name: {"rows": t.num_rows, "content_digest": content_digest(t)} for name, t in tables.items()},
        "row_key": spec.source.row_key or ROW,
        "entity": spec.data.entity,
        "time": spec.data.time or spec.data.observed_at,
        "outcome": {"column": spec.outcome.column, "horizon_months": spec.outcome.horizon_months},
        "features": features,
        "views": {
            name: {
                "version": versions.get(name),
                "event_time": view.event_time,
                "known_at": view.known_at,
                "known_delay": None if view.known_delay is None else view.known_delay.model_dump(exclude_none=True),
                "as_of": spec.data.time or spec.data.observed_at,
            }
            for name, view in spec.feature_views.items()
        },
        "leaks_kept_out": list(spec.data.leaks),
    }


def add_samples(
    dataset: pa.Table, labels: Sequence[str | None], report: Mapping[str, Any], *, reason: str = "dropped by the split"
) -> tuple[pa.Table, dict[str, Any]]:
    """Write each row's sample, drop rows that the split left out, and guard against overlap.

    Args:
        dataset: The assembled data set.
        labels: ``development``, ``calibration``, ``holdout`` or ``out_of_time`` per row; None drops the row.
        report: The report of :func:`assemble`; not changed.
        reason: Why rows without a label were dropped, for the waterfall.

    Returns:
        The data set with ``_sample`` after ``_y``, and the completed report.

    Raises:
        GuardError: An entity in both train and test, no development rows, or no test rows.
        ConfigError: A label that is no sample, or another number of labels than rows.
    """
    if len(labels) != dataset.num_rows:
        raise ConfigError(
            "another number of sample labels than rows", expected=str(dataset.num_rows), got=str(len(labels))
        )
    unknown = sorted({label for label in labels if label is not None} - set(SAMPLES))
    if unknown:
        raise ConfigError("a split gave unknown samples", expected=", ".join(SAMPLES), got=", ".join(unknown))
    column = pa.array(list(labels), type=pa.string())
    kept = pc.is_valid(column)
    rows, samples = dataset.filter(kept), column.filter(kept)
    listed: list[str] = samples.to_pylist()
    entities = rows.column("_entity") if "_entity" in rows.column_names else None
    guard, both = overlap_guard(entities, listed)
    require([guard])
    labelled = rows.add_column(rows.column_names.index("_y") + 1, "_sample", samples).combine_chunks()
    complete = dict(report)
    if rows.num_rows < dataset.num_rows:
        complete["waterfall"] = [dict(step) for step in report["waterfall"]]
        _step(complete["waterfall"], "split", rows.num_rows, reason)
    complete["samples"] = _sample_counts(rows.column("_y"), listed)
    complete["overlap"] = {"entities": both, "reason": guard.detail}
    complete["guards"] = [*report["guards"], guard.as_json()]
    complete["content_digest"] = content_digest(labelled)
    return labelled, complete


def _sample_counts(y: pa.ChunkedArray, samples: Sequence[str]) -> dict[str, dict[str, int | None]]:
    values = y.to_numpy()
    binary = pa.types.is_integer(y.type)
    labels = np.asarray(samples, dtype=object)
    counts = {}
    for role in SAMPLES:
        mask = labels == role
        if mask.any():
            counts[role] = {"n": int(mask.sum()), "events": int(values[mask].sum()) if binary else None}
    if "development" not in counts or not any(role in counts for role in TEST):
        raise GuardError(
            "the split leaves no development rows or no test rows",
            expected="rows in 'development' and in 'holdout' or 'out_of_time'",
            got=", ".join(f"{c['n']} in {role}" for role, c in counts.items()) or "no rows",
            hint="change the shares or the date of the split",
        )
    return counts

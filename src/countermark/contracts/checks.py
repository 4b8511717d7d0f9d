"""Judge a table by its contract: accept, quarantine with reasons, or stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.contract import ColumnContract, Contract
from countermark.config.source import CsvSource, Source, WheelSource
from countermark.contracts.coercion import coerce
from countermark.contracts.currency import check_currency
from countermark.contracts.instants import local_dates, zone_of
from countermark.contracts.reshape import MAIN, ROW
from countermark.contracts.schema import FUTURE, KEY_UNIQUE, pandera_schema, refuse_contradictions
from countermark.errors import ContractError
from countermark.records.digest import round_significant

QUARANTINE = pa.schema(
    [
        ("key", pa.string()),
        ("table", pa.string()),
        ("rule", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
    ]
)
_RENAMED = {"not_nullable": "required"}


@dataclass(frozen=True, slots=True)
class ContractResult:
    """Verdict on one table.

    Attributes:
        accepted: Rows that keep the contract, typed as declared, in their order, with the row number kept.
        quarantine: One row per broken rule: key, table, rule, column, value (null where personal).
        report: Counts by rule and column; plain JSON.
    """

    accepted: pa.Table
    quarantine: pa.Table
    report: Mapping[str, Any]


def check(table: pa.Table, contract: Contract, source: Source, *, file: Path | str | None = None) -> ContractResult:
    """Judge every row of a table by its contract.

    Args:
        table: The table as ingested.
        contract: Its contract.
        source: Its source.
        file: The contract's file, named in errors.

    Returns:
        Accepted rows, quarantined failures, and the report.

    Raises:
        ContractError: Contradictory contract, missing or unexpected columns, a column without values or of
            another type, row count or freshness out of bounds, or more failing rows than tolerated.
    """
    place = None if file is None else str(file)
    refuse_contradictions(contract, source, file=place)
    check_currency(contract, source, file=place)
    table, dropped, duplicates = _declared_columns(table, contract, source, place)
    typed, failures = _typed(table, contract, source, place)
    failures |= _pandera_failures(typed, contract, source, failures)
    bad = np.zeros(table.num_rows, dtype=bool)
    for mask in failures.values():
        bad |= mask
    report = _report(contract, source, typed, failures, bad)
    report["duplicates"] = duplicates
    report["dropped_columns"] = dropped
    _judge(contract, report, place)
    accepted = typed.filter(pa.array(~bad)).combine_chunks()
    report["columns"] = _column_report(accepted, contract)
    report["freshness"] = _freshness(accepted, contract, source, place)
    return ContractResult(accepted, _quarantine(table, contract, source, failures), report)


def contract_document(
    results: Mapping[str, ContractResult], manifest: Mapping[str, Any]
) -> tuple[dict[str, Any], pa.Table]:
    """The ``contract.json`` document and the joined quarantine of all tables of a source.

    Args:
        results: Verdicts by table name.
        manifest: Manifest of the ingested source.
    """
    document = {"tables": {name: dict(result.report) for name, result in results.items()}, "source": dict(manifest)}
    return document, pa.concat_tables([QUARANTINE.empty_table(), *(r.quarantine for r in results.values())])


def _declared_columns(
    table: pa.Table, contract: Contract, source: Source, file: str | None
) -> tuple[pa.Table, list[str], int]:
    def refuse(what: str, names: list[str], expected: str, hint: str) -> ContractError:
        return ContractError(
            f"table '{contract.table}' {what}",
            expected=expected,
            got=", ".join(f"'{n}'" for n in names),
            hint=hint,
            file=file,
        )

    missing = [name for name in contract.columns if name not in table.column_names]
    if missing:
        raise refuse(
            "lacks columns that its contract promises",
            missing,
            "columns of the table: " + ", ".join(table.column_names[:40]),
            "correct the contract, or 'rename' in the source; names are compared exactly",
        )
    extra = [name for name in table.column_names if name not in contract.columns and name != ROW]
    if extra and contract.extra_columns == "refuse":
        raise refuse(
            "has columns that its contract does not know",
            extra,
            "only the declared columns",
            "declare them, drop them in the source, or set 'extra_columns: drop'",
        )
    empty = [name for name in contract.columns if table.column(name).null_count == table.num_rows]
    if empty and table.num_rows:
        raise refuse(
            "has columns without any value",
            empty,
            "at least one value in each column",
            "check the export, or drop the column in the source",
        )
    kept = ([ROW] if ROW in table.column_names else []) + list(contract.columns)
    return table.select(kept), extra, _duplicates(table, contract, source)


def _duplicates(table: pa.Table, contract: Contract, source: Source) -> int:
    aside = {ROW}
    if contract.table == MAIN:
        aside |= {source.row_key or ROW}
        aside |= set() if source.estimated_vintage is None else {source.estimated_vintage.column}
    names = [name for name in table.column_names if name not in aside]
    return int(table.select(names).to_pandas(split_blocks=True).duplicated(keep="first").sum()) if names else 0


def _typed(
    table: pa.Table, contract: Contract, source: Source, file: str | None
) -> tuple[pa.Table, dict[tuple[str, str], NDArray[np.bool_]]]:
    decimal = source.csv.decimal if isinstance(source, WheelSource | CsvSource) else "."
    failures: dict[tuple[str, str], NDArray[np.bool_]] = {}
    typed = table
    for name, promise in contract.columns.items():
        try:
            column, failed = coerce(table.column(name), promise, name=name, time_zone=source.time_zone, decimal=decimal)
        except ContractError as error:
            raise ContractError(
                f"table '{contract.table}': {error.what}",
                expected=error.expected,
                got=error.got,
                hint=error.hint,
                file=file,
            ) from error
        failures[("type", name)] = failed
        typed = typed.set_column(typed.column_names.index(name), name, column)
    return typed, failures


def _frame(typed: pa.Table, contract: Contract) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, promise in contract.columns.items():
        column = typed.column(name)
        match promise.type:
            case "integer":
                columns[name] = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
            case "boolean":
                columns[name] = column.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
            case "text":
                columns[name] = pd.Series(column.to_pandas(), dtype="string")
            case "date" if pa.types.is_date32(column.type):
                columns[name] = column.cast(pa.timestamp("us")).to_pandas()
            case _:
                columns[name] = column.to_pandas()
    return pd.DataFrame(columns)


def _pandera_failures(
    typed: pa.Table, contract: Contract, source: Source, unfit: Mapping[tuple[str, str], NDArray[np.bool_]]
) -> dict[tuple[str, str], NDArray[np.bool_]]:
    rows = typed.num_rows
    found = {pair: np.zeros(rows, dtype=bool) for pair in _declared_rules(contract, source)}
    try:
        pandera_schema(contract, source).validate(_frame(typed, contract), lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        rules = {rule.name for rule in contract.rules}
        whole = cases["schema_context"].eq("DataFrameSchema") & cases["check"].isin(rules)
        column = cases["column"].where(~whole, "")
        for (rule, name), places in cases.groupby([cases["check"], column], sort=False)["index"]:
            found[(_RENAMED.get(str(rule), str(rule)), str(name))][places.astype("int64").to_numpy()] = True
    for name in contract.columns:
        if ("required", name) in found:
            found[("required", name)] &= ~unfit[("type", name)]  # already told as 'type'
    return found


def _declared_rules(contract: Contract, source: Source) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, promise in contract.columns.items():
        declared = {
            "required": not promise.nullable,
            "minimum": promise.minimum is not None,
            "maximum": promise.maximum is not None,
            "allowed": promise.allowed is not None,
            "pattern": promise.pattern is not None,
            "unique": promise.unique,
            FUTURE: promise.type == "date" and source.as_of is not None,
            KEY_UNIQUE: name == source.row_key and contract.table == MAIN,
        }
        pairs += [(rule, name) for rule, present in declared.items() if present]
    return pairs + [(rule.name, "") for rule in contract.rules]


def _report(
    contract: Contract,
    source: Source,
    typed: pa.Table,
    failures: Mapping[tuple[str, str], NDArray[np.bool_]],
    bad: NDArray[np.bool_],
) -> dict[str, Any]:
    rows = typed.num_rows
    return {
        "contract": contract.name,
        "key": source.row_key or ROW,
        "rows": rows,
        "accepted": int(rows - bad.sum()),
        "quarantined": int(bad.sum()),
        "tolerance": contract.tolerance,
        "rules": [
            {
                "rule": rule,
                "column": column or None,
                "failed": int(mask.sum()),
                "share": round_significant(float(mask.sum()) / rows, 9) if rows else 0.0,
            }
            for (rule, column), mask in failures.items()
        ],
    }


def _judge(contract: Contract, report: Mapping[str, Any], file: str | None) -> None:
    rows, quarantined = report["rows"], report["quarantined"]
    if rows < contract.rows_min or (contract.rows_max is not None and rows > contract.rows_max):
        most = "no upper bound" if contract.rows_max is None else str(contract.rows_max)
        raise ContractError(
            f"table '{contract.table}' has a row count out of bounds",
            expected=f"at least {contract.rows_min} rows, {most if contract.rows_max is None else 'at most ' + most}",
            got=f"{rows} rows",
            hint="check that the extract is complete, or correct 'rows_min' and 'rows_max'",
            file=file,
        )
    if quarantined == 0:
        return
    share = quarantined / rows
    if share <= contract.tolerance and quarantined < rows:
        return
    worst = sorted(
        (r for r in report["rules"] if r["failed"]), key=lambda r: (-r["failed"], r["rule"], r["column"] or "")
    )
    told = "; ".join(
        f"rule '{r['rule']}'"
        + (f" on column '{r['column']}'" if r["column"] else "")
        + f" failed in {r['failed']} rows"
        for r in worst[:5]
    )
    raise ContractError(
        f"table '{contract.table}' breaks contract '{contract.name}': {told}",
        expected=f"at most {contract.tolerance:.4%} of rows in quarantine, and one row left",
        got=f"{quarantined} of {rows} rows ({share:.4%})",
        hint="repair the data, or change the rule or 'tolerance' with the data's owner",
        file=file,
    )


def _column_report(accepted: pa.Table, contract: Contract) -> dict[str, Any]:
    return {
        name: {
            "type": promise.type,
            "missing": accepted.column(name).null_count,
            "distinct": len(pc.unique(pc.drop_null(accepted.column(name)))),
            "personal": promise.personal,
        }
        for name, promise in contract.columns.items()
    }


def _freshness(accepted: pa.Table, contract: Contract, source: Source, file: str | None) -> dict[str, Any] | None:
    rule = contract.freshness
    if rule is None or source.as_of is None:
        return None
    newest = pc.max(local_dates(accepted.column(rule.column), zone_of(source.time_zone))).as_py()
    as_of = pd.Timestamp(source.as_of).date()
    if newest is None or newest > as_of or (as_of - newest).days > rule.max_age_days:
        raise ContractError(
            f"table '{contract.table}' is not fresh by column '{rule.column}'",
            expected=f"newest value at most {rule.max_age_days} days before {source.as_of}, and not after it",
            got="no value" if newest is None else newest.isoformat(),
            hint="fetch the current extract, or correct 'freshness' or the source's 'as_of'",
            file=file,
        )
    return {
        "column": rule.column,
        "newest": newest.isoformat(),
        "as_of": source.as_of,
        "age_days": (as_of - newest).days,
        "max_age_days": rule.max_age_days,
    }


def _quarantine(
    table: pa.Table, contract: Contract, source: Source, failures: Mapping[tuple[str, str], NDArray[np.bool_]]
) -> pa.Table:
    rows: list[tuple[int, int, dict[str, str | None]]] = []
    keys = _keys(table, contract, source)
    for order, ((rule, column), mask) in enumerate(failures.items()):
        places = np.flatnonzero(mask)
        if not places.size:
            continue
        told: list[str | None] = [None] * places.size
        if column and not contract.columns[column].personal:
            told = table.column(column).take(pa.array(places)).cast(pa.string()).to_pylist()
        names = keys.take(pa.array(places)).to_pylist()
        for place, key, value in zip(places.tolist(), names, told, strict=True):
            row = {"key": key, "table": contract.table, "rule": rule, "column": column or None, "value": value}
            rows.append((place, order, row))
    rows.sort(key=lambda item: item[:2])
    return pa.Table.from_pylist([row for _, _, row in rows], schema=QUARANTINE)


def _keys(table: pa.Table, contract: Contract, source: Source) -> pa.ChunkedArray | pa.Array:
    """Row names in quarantine: the key where the table has one and it is not personal, else 'row N' from 0."""
    key = source.row_key or ROW
    promise: ColumnContract | None = contract.columns.get(key)
    if key in table.column_names and not (promise is not None and promise.personal):
        return table.column(key).cast(pa.string())
    return pa.array([f"row {index}" for index in range(table.num_rows)])

"""Stages from raw data to the modelling data set: spec, ingest, contract, dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from pydantic import TypeAdapter

from countermark.config.source import Source
from countermark.config.wording import dashed
from countermark.contracts.checks import ContractResult, check, contract_document
from countermark.contracts.sources import ingest, read_ingested, write_ingested
from countermark.contracts.tables import read_table, write_table
from countermark.contracts.zones import refuse_mixed_zones
from countermark.errors import StaleError
from countermark.features.dataset import add_samples, assemble
from countermark.portfolio.compile import check_model
from countermark.stages.files import ModelFiles, open_model, read_json, write_bytes, write_json
from countermark.stages.narratives import read_narrative
from countermark.training.splits import SplitRows, assign_samples

Progress = Callable[[str], None]

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def run_spec(root: Path, name: str, progress: Progress) -> None:
    """Recompose the model and refuse compiled files that differ.

    The output is constant for a model on purpose: later stages wait for it, and no edit of a comment makes them
    stale. It names the model, so that DVC does not take it from the cache of another one.
    """
    check_model(root, name)
    read_narrative(root, name)
    files = open_model(root, name)
    write_bytes(files.out / "spec.checked", f"countermark/spec/1 {name}\n".encode())
    progress(f"{name}: compiled spec equals conf/")


def run_ingest(root: Path, name: str, progress: Progress) -> None:
    """Read a source into data/sources/NAME."""
    path = root / "sources" / name / "params.yaml"
    if not path.is_file():
        raise StaleError(f"source '{name}' is not compiled", hint="run countermark compile", file=path)
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))["source"]
    source = _SOURCE.validate_python(dashed({"source": declared})["source"])
    ingested = ingest(source, root)
    write_ingested(ingested, root / "data" / "sources" / name)
    for table_name, table in ingested.tables.items():
        progress(f"{name}.{table_name}: {table.num_rows:,} rows x {table.num_columns} columns")


def run_contract(root: Path, name: str, progress: Progress) -> None:
    """Hold every table of the source to its contract."""
    files = open_model(root, name, words=False)
    spec = files.spec
    tables, manifest = read_ingested(files.source), read_json(files.source / "manifest.json")
    contracts = (spec.contract, *spec.table_contracts.values())
    refuse_mixed_zones(contracts, manifest.get("zones", {}), file=f"conf/contract/{spec.contract.name}.yaml")
    results: dict[str, ContractResult] = {}
    for contract in contracts:
        place = root / "conf" / "contract" / f"{contract.name}.yaml"
        result = check(
            tables[contract.table], contract, spec.source, file=place.relative_to(root) if place.is_file() else None
        )
        results[contract.table] = result
        progress(
            f"{contract.table}: {result.report['accepted']:,} of {result.report['rows']:,} rows accepted, "
            f"{result.report['quarantined']:,} in quarantine"
        )
    unfinished = files.out / ".accepted"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for table_name, result in results.items():
        write_table(unfinished / f"{table_name}.parquet", result.accepted)
    shutil.rmtree(files.out / "accepted", ignore_errors=True)
    unfinished.replace(files.out / "accepted")
    document, quarantine = contract_document(results, manifest)
    write_table(files.out / "quarantine.parquet", quarantine)
    write_json(files.out / "contract.json", document)


def run_dataset(root: Path, name: str, progress: Progress) -> None:
    """Make the modelling data set and its samples."""
    files = open_model(root, name, words=False)
    spec = files.spec
    tables = {path.stem: read_table(path) for path in sorted((files.out / "accepted").glob("*.parquet"))}
    result = assemble(spec, tables, contract=read_json(files.out / "contract.json"))
    split = assign_samples(spec.split, _split_rows(files, result.dataset, tables))
    reasons = [f"{split.dropped_entities} out-of-time entities were seen in development"] if split.dropped_rows else []
    if split.gap_rows:
        reasons.append(f"{split.gap_rows} labels were not final when the out-of-time period began")
    dataset, report = add_samples(
        result.dataset, split.sample.tolist(), result.report, reason="; ".join(reasons) or "dropped"
    )
    write_table(files.out / "dataset.parquet", dataset)
    write_table(files.out / "protected.parquet", result.protected)
    write_json(files.out / "dataset.json", report)
    for role, counts in report["samples"].items():
        events = "" if counts["events"] is None else f", {counts['events']:,} events"
        progress(f"{role}: {counts['n']:,} rows{events}")


def _split_rows(files: ModelFiles, dataset: pa.Table, tables: dict[str, pa.Table]) -> SplitRows:
    def column(name: str) -> np.ndarray[Any, Any] | None:
        if name not in dataset.column_names:
            return None
        return np.asarray(dataset.column(name).to_numpy(zero_copy_only=False))

    time = column("_time")
    group = None
    split = files.spec.split
    if split.kind == "grouped":
        group = _group_keys(split.group, files, dataset, tables)
    return SplitRows(
        key=np.asarray(column("_key"), dtype=object),
        y=np.asarray(column("_y")),
        entity=column("_entity"),
        group=group,
        time=None if time is None else time.astype("datetime64[D]"),
        continuous=files.spec.is_amount,
    )


def _group_keys(
    group: str, files: ModelFiles, dataset: pa.Table, tables: dict[str, pa.Table]
) -> np.ndarray[Any, Any] | None:
    """Group of every row of the data set, found by row key in the accepted table."""
    main = tables[files.spec.data.table]
    if group == files.spec.data.entity:
        return np.asarray(dataset.column("_entity").to_pylist(), dtype=object)
    if group not in main.column_names:
        return None
    key = files.spec.source.row_key or "_row"
    by_key = dict(
        zip(
            main.column(key).cast(pa.string()).to_pylist(),
            main.column(group).cast(pa.string()).to_pylist(),
            strict=True,
        )
    )
    return np.asarray([by_key[k] for k in dataset.column("_key").to_pylist()], dtype=object)

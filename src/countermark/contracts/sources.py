"""Raw data in, tables and a manifest out."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from countermark.config.source import CsvSource, ParquetSource, Source, SqlSource, WheelSource
from countermark.contracts.delimited import read_delimited
from countermark.contracts.instants import utc_columns, zone_of
from countermark.contracts.reshape import MAIN, control_totals, shaped
from countermark.contracts.sql import check_query
from countermark.contracts.tables import content_digest, read_table, write_table
from countermark.contracts.wheel import default_cache, read_member
from countermark.contracts.zones import clock_zones, mixed_zones
from countermark.errors import SourceError
from countermark.records.digest import pretty_json, sha256_hex

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a source gave.

    Attributes:
        tables: ``main`` and the unpivoted tables. Delimited files give text columns; types come from contracts.
        manifest: Source name, digests, row counts, control totals; plain JSON. Title, owner, licence and notes stay
            in the spec: a word mended there reads nothing again.
    """

    tables: Mapping[str, pa.Table]
    manifest: Mapping[str, Any]


def ingest(source: Source, root: Path, cache: Path | None = None) -> Ingested:
    """Read a source, verify its bytes, and shape its tables as declared.

    Args:
        source: The declared source.
        root: Folder that relative paths start from.
        cache: Folder of verified wheels; None: ``default_cache()``.

    Raises:
        SourceError: Whatever keeps the bytes from being the declared ones, or the tables from being made.
    """
    zone_of(source.time_zone)
    data, place = _bytes(source, root, default_cache() if cache is None else cache)
    digest = sha256_hex(data)
    table, zones = _parsed(source, data, place)
    tables = {name: t.combine_chunks() for name, t in shaped(table, source).items()}
    _refuse_nested(tables, place)
    options = source.csv if isinstance(source, WheelSource | CsvSource) else None
    manifest: dict[str, Any] = {
        "name": source.name,
        "kind": source.kind,
        "synthetic": source.synthetic,
        "time_zone": source.time_zone,
        "currency": source.currency,
        "as_of": source.as_of,
        "digest": digest,
        "declared": source.sha256,
        "origin": _origin(source),
        "row_key": source.row_key,
        "rename": dict(source.rename),
        "dropped": list(source.drop_columns),
        "estimated_vintage": None if source.estimated_vintage is None else source.estimated_vintage.column,
        "tables": {
            name: {"rows": t.num_rows, "columns": t.column_names, "content_digest": content_digest(t)}
            for name, t in tables.items()
        },
        "reconcile": control_totals(tables[MAIN], source.reconcile, options),
    }
    mixed = mixed_zones(zones, tables, source)
    if mixed:
        manifest["zones"] = mixed
    return Ingested(tables=tables, manifest=manifest)


def write_ingested(ingested: Ingested, folder: Path) -> None:
    """Write ``TABLE.parquet`` files and ``manifest.json`` into a folder that appears whole or not at all.

    Args:
        ingested: What a source gave.
        folder: Output folder; replaced if it exists.

    Raises:
        SourceError: If the place may not be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise SourceError("no permission to write the ingested tables", file=folder) from error
    try:
        for name, table in ingested.tables.items():
            write_table(unfinished / f"{name}.parquet", table)
        (unfinished / MANIFEST).write_bytes(pretty_json(ingested.manifest))
        unfinished.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _refuse_nested(tables: Mapping[str, pa.Table], place: Path | str) -> None:
    """A list, a map or raw bytes is no value that a contract could judge."""
    nested = {
        field.name: str(field.type)
        for table in tables.values()
        for field in table.schema
        if pa.types.is_nested(field.type) or _is_bytes(field.type)
    }
    if nested:
        raise SourceError(
            "columns of the file hold no single values",
            expected="numbers, text, truth or dates",
            got=", ".join(f"'{name}' of type {kind}" for name, kind in nested.items()),
            hint=f"leave them out: 'drop_columns: [{', '.join(nested)}]' in the source, or flatten them in the export",
            file=place,
        )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _origin(source: Source) -> dict[str, str]:
    match source:
        case WheelSource():
            return {
                "package": source.package,
                "version": source.version,
                "wheel_sha256": source.wheel_sha256,
                "member": source.member,
            }
        case SqlSource():
            return {"query": source.query, "snapshot": source.snapshot}
        case CsvSource() | ParquetSource():
            return {"path": source.path}


def _bytes(source: Source, root: Path, cache: Path) -> tuple[bytes, Path | str]:
    match source:
        case WheelSource():
            return read_member(source, cache), source.member
        case SqlSource():
            path = root / source.snapshot
            hint = f"freeze the query of source '{source.name}' first; builds never reach the database"
        case CsvSource() | ParquetSource():
            path = root / source.path
            hint = f"correct 'path' of source '{source.name}'; it is relative to the root of the repository"
    data = _read(path, hint)
    if isinstance(source, SqlSource):
        check_query(source, root)
    found = sha256_hex(data)
    if source.sha256 is not None and found != source.sha256:
        raise SourceError(
            f"the file of source '{source.name}' is not the declared one",
            expected=source.sha256,
            got=found,
            hint="restore the file, or correct 'sha256' if the change is wanted",
            file=path,
        )
    return data, path


def _read(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise SourceError("there is no such file", file=path, hint=hint) from error
    except IsADirectoryError as error:
        raise SourceError("the path is a folder", expected="a file", file=path, hint=hint) from error
    except PermissionError as error:
        raise SourceError(
            "no permission to read the file", file=path, hint="check the file's owner and mode"
        ) from error


def _parsed(source: Source, data: bytes, place: Path | str) -> tuple[pa.Table, dict[str, str | None]]:
    """The table with UTC instants, and the zone of each timestamp column as it was read."""
    if isinstance(source, CsvSource) or (isinstance(source, WheelSource) and source.format != "parquet"):
        return read_delimited(data, source.csv, file=place), {}
    try:
        table = pq.read_table(io.BytesIO(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError("the file is not readable as Parquet", file=place, hint="write it again") from error
    if table.num_rows == 0:
        raise SourceError("the file has no rows", expected="at least one row", got="0 rows", file=place)
    names = table.column_names
    if len(set(names)) != len(names):
        raise SourceError("column names occur more than once", expected="a unique name for each column", file=place)
    return utc_columns(table.replace_schema_metadata(None), source.time_zone), clock_zones(table)


def read_ingested(folder: Path) -> dict[str, pa.Table]:
    """Read back the tables that :func:`write_ingested` wrote, by name.

    Raises:
        SourceError: If the folder or a table cannot be read.
    """
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise SourceError("there are no ingested tables", file=folder, hint="run the source's ingest stage")
    return {path.stem: read_table(path) for path in paths}

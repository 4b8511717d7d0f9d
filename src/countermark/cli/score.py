"""``countermark score``: decisions for a file."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.place import bank_root

if TYPE_CHECKING:
    from countermark.serving.batch import FileRow, FileScorer, ScoredRow

_FILE = click.Path(path_type=Path, dir_okay=False)
_COLUMNS = ("id", "entity", "at", "release", "score", "probability", "grade", "decision", "reasons", "refused")


@click.command()
@click.option("--release", "wanted", required=True, help="MODEL@vX.Y.Z; or MODEL, to be routed as over HTTP.")
@click.option("--releases", type=click.Path(path_type=Path), help="Serving directory; releases/ of the bank otherwise.")
@click.option("--input", "source", type=_FILE, required=True, help="Cases: .csv, .jsonl or .parquet.")
@click.option("--output", "target", type=_FILE, required=True, help="Decisions: .csv, .jsonl or .parquet.")
@click.option("--ledger", envvar="COUNTERMARK_LEDGER", help="Address of the ledger; without it nothing is recorded.")
@click.option("--features", envvar="COUNTERMARK_FEATURES", help="Online feature store: sqlite:///PATH or redis://...")
@click.option("--id", "id_column", help="Column with the id of a case: scored again, it gives the same decision.")
@click.option("--entity", "entity_column", help="Column that names the entity; the model's own otherwise.")
@click.option("--as-of", help="Instant of the decisions; the present otherwise.")
@click.option("--trust-root", envvar="COUNTERMARK_TRUST_ROOT", metavar="DIGEST", help="Digest of the genesis.")
def score(
    wanted: str,
    releases: Path | None,
    source: Path,
    target: Path,
    ledger: str | None,
    features: str | None,
    id_column: str | None,
    entity_column: str | None,
    as_of: str | None,
    trust_root: str | None,
) -> None:
    """Score a file: the same decisions, reasons and records as over HTTP.

    A case that breaks its contract is refused by field and rule in the column 'refused'; the others are decided.
    """
    from contextlib import ExitStack

    from countermark.cli.serve import trusted
    from countermark.features.online import open_store
    from countermark.ledger.opening import open_ledger
    from countermark.records.clock import SimulatedClock, SystemClock, parse_instant
    from countermark.records.release import ReleaseRef
    from countermark.registry.directory import ServingDirectory
    from countermark.serving.batch import FileScorer, store_of
    from countermark.serving.service import DecisionService

    directory = (releases or bank_root() / "releases").absolute()
    root = trusted(trust_root, directory)
    ref = ReleaseRef.parse(wanted) if "@" in wanted else None
    model = wanted if ref is None else ref.model
    now = SystemClock().now() if as_of is None else parse_instant(as_of)
    with ExitStack() as stack:
        book = None if ledger is None else stack.enter_context(open_ledger(ledger))
        store = None if features is None else open_store(features)
        if store is not None:
            stack.callback(store.close)
        service = DecisionService(
            ServingDirectory(directory, root), book, store, SystemClock() if as_of is None else SimulatedClock(now)
        )
        store_of(service, model)
        scorer = FileScorer(service, book, model, now, ref)
        rows = _rows(source, scorer, id_column, entity_column)
        counts = _write(target, scorer.score(rows))
    click.echo(f"decided {counts['decided']}, refused {counts['refused']}; wrote {target}")
    if book is None:
        click.echo("note: nothing was recorded; name the ledger with --ledger", err=True)


def _rows(source: Path, scorer: FileScorer, id_column: str | None, entity_column: str | None) -> Iterator[FileRow]:
    from countermark.errors import ServingError
    from countermark.serving.batch import FileRow

    readers: dict[str, Callable[[Path, FileScorer], Iterator[Mapping[str, Any]]]] = {
        ".csv": _csv,
        ".jsonl": _json_lines,
        ".parquet": _parquet,
    }
    if source.suffix not in readers:
        raise ServingError(
            "this kind of file is not read", expected=", ".join(readers), got=f"'{source.suffix}'", file=source
        )
    entity = entity_column or scorer.entity_column
    checked: frozenset[str] | None = None
    for values in readers[source.suffix](source, scorer):
        if checked is None or not checked >= values.keys():
            scorer.check_columns(values, own=[name for name in (id_column, entity_column) if name])
            checked = frozenset(values)
        own, about = values.get(id_column or ""), values.get(entity or "")
        yield FileRow(
            scorer.request_of(values),
            None if own is None or id_column is None else str(own),
            None if about is None else str(about),
        )


def _csv(source: Path, scorer: FileScorer) -> Iterator[Mapping[str, Any]]:
    with _opened(source) as stream:
        for row in csv.DictReader(stream, strict=True):
            yield {name: scorer.typed(name, text or "") for name, text in row.items() if name is not None}


def _json_lines(source: Path, _: FileScorer) -> Iterator[Mapping[str, Any]]:
    import msgspec

    from countermark.errors import ServingError
    from countermark.records.decision import Value

    decoder = msgspec.json.Decoder(dict[str, Value])
    with _opened(source) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise ServingError(f"line {number} is no case", got=str(error)[:200], file=source) from None


def _parquet(source: Path, scorer: FileScorer) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from countermark.errors import ServingError

    try:
        for batch in pq.ParquetFile(source).iter_batches(4096):
            for row in batch.to_pylist():
                yield {name: _plain(scorer.types.get(name), value) for name, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        raise ServingError("this file cannot be read", got=str(error)[:200], file=source) from None


def _plain(kind: str | None, value: Any) -> Any:
    """A value of a Parquet file as JSON would carry it."""
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if kind == "integer" and value.is_integer() else value
    return value


def _opened(source: Path) -> Any:
    from countermark.errors import ServingError

    try:
        return source.open(encoding="utf-8", newline="")
    except OSError as error:
        raise ServingError("this file cannot be read", got=error.strerror, file=source) from None


def _document(scored: ScoredRow) -> dict[str, Any]:
    record, row = scored.record, scored.row
    if record is None:
        return {**dict.fromkeys(_COLUMNS), "id": row.id, "entity": row.entity, "refused": scored.refused}
    return {
        "id": record.id,
        "entity": record.entity,
        "at": record.at,
        "release": f"{record.model}@v{record.release.version}",
        "score": float.fromhex(record.margin),
        "probability": record.probability,
        "grade": record.grade,
        "decision": record.decision,
        "reasons": ";".join(reason.code for reason in record.reasons),
        "refused": None,
    }


def _write(target: Path, scored: Iterable[ScoredRow]) -> dict[str, int]:
    """Write decisions as they become durable; the file appears under its name when it is whole."""
    from countermark.errors import ServingError

    writers: dict[str, Callable[[Path, Iterator[dict[str, Any]]], None]] = {
        ".csv": _write_csv,
        ".jsonl": _write_json_lines,
        ".parquet": _write_parquet,
    }
    if target.suffix not in writers:
        raise ServingError(
            "this kind of file is not written", expected=", ".join(writers), got=f"'{target.suffix}'", file=target
        )
    counts = {"decided": 0, "refused": 0}

    def documents() -> Iterator[dict[str, Any]]:
        for one in scored:
            counts["refused" if one.record is None else "decided"] += 1
            yield _document(one)

    partial = target.with_name(f".{target.name}.partial")
    try:
        writers[target.suffix](partial, documents())
        partial.replace(target)
    except OSError as error:
        raise ServingError("this file cannot be written", got=error.strerror, file=target) from None
    finally:
        partial.unlink(missing_ok=True)
    return counts


def _write_csv(path: Path, documents: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(documents)


def _write_json_lines(path: Path, documents: Iterator[dict[str, Any]]) -> None:
    import msgspec

    with path.open("wb") as stream:
        for document in documents:
            stream.write(msgspec.json.encode(document) + b"\n")


def _write_parquet(path: Path, documents: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {"score", "probability"}
    schema = pa.schema([(name, pa.float64() if name in numbers else pa.string()) for name in _COLUMNS])
    pq.write_table(pa.Table.from_pylist(list(documents), schema), path)

"""``countermark score``: decisions for a file."""

from __future__ import annotations

import csv
import datetime as dt
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countermark.cli.place import bank_root, ledger_address, ledger_option
from countermark.cli.production import moment

if TYPE_CHECKING:
    from countermark.serving.batch import FileScorer, ScoredRow
    from countermark.serving.requests import DecisionRequest

_FILE = click.Path(path_type=Path, dir_okay=False)
_COLUMNS = ("id", "entity", "at", "release", "score", "probability", "grade", "decision", "reasons", "refused")


@click.command()
@click.option("--release", "wanted", required=True, help="MODEL@vX.Y.Z; or MODEL, to be routed as over HTTP.")
@click.option("--releases", type=click.Path(path_type=Path), help="Serving directory; releases/ of the bank otherwise.")
@click.option("--input", "source", type=_FILE, required=True, help="Cases: .csv, .jsonl or .parquet.")
@click.option("--output", "target", type=_FILE, required=True, help="Decisions: .csv, .jsonl or .parquet.")
@ledger_option
@click.option("--no-record", is_flag=True, help="Decide without a record: nothing of it can be replayed or reviewed.")
@click.option("--features", envvar="COUNTERMARK_FEATURES", help="Online feature store: sqlite:///PATH or redis://...")
@click.option("--id", "id_column", help="Column with the id of a case; the file and the row make the id otherwise.")
@click.option("--entity", "entity_column", help="Column that names the entity; the model's own otherwise.")
@click.option("--as-of", help="Instant of the cases; the present otherwise. The present says who may decide.")
@click.option("--run", "run_name", help="Name of this run: a file that was scored is decided anew under another one.")
@click.option("--trust-root", envvar="COUNTERMARK_TRUST_ROOT", metavar="DIGEST", help="Digest of the genesis.")
def score(
    wanted: str,
    releases: Path | None,
    source: Path,
    target: Path,
    address: str | None,
    no_record: bool,
    features: str | None,
    id_column: str | None,
    entity_column: str | None,
    as_of: str | None,
    run_name: str | None,
    trust_root: str | None,
) -> None:
    """Score a file: the same decisions, reasons and records as over HTTP.

    The whole file is read and checked before the first case is decided. A case that breaks its contract is refused by
    field and rule in the column 'refused'; the others are decided, and each is on the ledger before it is written to
    the output. The same command again gives the same decisions.
    """
    from contextlib import ExitStack

    from countermark.cli.serve import trusted
    from countermark.features.online import open_store
    from countermark.ledger.opening import open_ledger
    from countermark.records.clock import SystemClock, iso
    from countermark.records.release import ReleaseRef
    from countermark.registry.directory import ServingDirectory
    from countermark.serving.batch import FileScorer, store_of
    from countermark.serving.service import DecisionService

    ledger = _ledger(address, no_record)
    directory = (releases or bank_root() / "releases").absolute()
    root = trusted(trust_root, directory)
    ref = ReleaseRef.parse(wanted) if "@" in wanted else None
    model = wanted if ref is None else ref.model
    if id_column is not None and run_name is not None:
        raise click.UsageError("--run makes new ids for cases without their own; with --id the column has to")
    then = None if as_of is None else moment(as_of)
    with ExitStack() as stack:
        book = None if ledger is None else stack.enter_context(open_ledger(ledger))
        store = None if features is None else open_store(features)
        if store is not None:
            stack.callback(store.close)
        service = DecisionService(ServingDirectory(directory, root), book, store, SystemClock(), writes=not no_record)
        store_of(service, model)
        scorer = FileScorer(service, None if no_record else book, model, then, ref)
        asked = _Asked(source, scorer, id_column, entity_column)
        stamp = _stamp(source)
        basis = asked.basis(wanted, None if then is None else iso(then), run_name)
        _check_target(target, source)
        for _ in asked.rows(basis):
            pass
        counts = _write(target, scorer.score(asked.steady(asked.rows(basis), stamp)))
    recorded = "NOTHING WAS RECORDED (--no-record)" if no_record else "every decision is on the ledger"
    known = f", {counts['known']} of them from before" if counts["known"] else ""
    click.echo(f"decided {counts['decided']}, refused {counts['refused']}; {recorded}{known}; wrote {target}")


def _ledger(given: str | None, no_record: bool) -> str | None:
    """The ledger: to record on, or with ``--no-record`` to be routed by; None outside a bank with ``--no-record``."""
    from countermark.errors import ConfigError, ServingError

    try:
        return ledger_address(given)
    except ConfigError:
        if no_record:
            return None
        raise ServingError(
            "it is not said where the decisions are recorded",
            expected="--ledger ADDRESS or COUNTERMARK_LEDGER, outside a bank",
            hint="to decide without any record, say so: --no-record",
        ) from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The file, and what the command says of its cases."""

    source: Path
    scorer: FileScorer
    id_column: str | None
    entity_column: str | None

    def rows(self, basis: str) -> Iterator[DecisionRequest]:
        """Every case, checked; the whole file is read so once before the first case is decided.

        Raises:
            ServingError: If the file is not right throughout.
        """
        from countermark.records.identity import row_id
        from countermark.serving.requests import DecisionRequest

        entity = self.entity_column or self.scorer.entity_column
        checked: frozenset[str] | None = None
        for row, (line, raw, values) in enumerate(_READERS[self.source.suffix](self.source, self.scorer), 1):
            if checked is None or not checked >= raw.keys():
                self._check_columns(raw)
                checked = frozenset(raw)
            own = row_id(basis, row) if self.id_column is None else self._own(raw.get(self.id_column), row, line)
            about = values.get(entity or "")
            yield DecisionRequest(
                request=self.scorer.request_of(values), id=own, entity=None if about is None else str(about)
            )

    def _check_columns(self, raw: Mapping[str, Any]) -> None:
        from countermark.errors import ServingError

        named = [name for name in (self.id_column, self.entity_column) if name]
        for name in named:
            if name not in raw and self.source.suffix != ".jsonl":
                raise ServingError(
                    f"the file has no column '{name}'", expected="one of: " + ", ".join(raw), file=self.source
                )
        self.scorer.check_columns(raw, own=named, file=self.source)

    def _own(self, value: Any, row: int, line: int | None) -> str:
        from countermark.errors import ServingError
        from countermark.records.identity import ID_RULE, is_id

        text = "" if value is None or isinstance(value, bool) else str(value)
        if is_id(text):
            return text
        raise ServingError(
            f"case {row} has no id that can be used",
            expected=f"in '{self.id_column}': {ID_RULE}",
            got="none" if not text else f"{len(text)} characters",
            file=self.source,
            line=line,
        )

    def basis(self, *said: str | None) -> str:
        """What ids of cases without their own are made of: the bytes of the file, and what was asked of it.

        Raises:
            ServingError: If the file cannot be read.
        """
        from countermark.errors import ServingError
        from countermark.records.digest import digest_of, file_digest

        if self.source.suffix not in _READERS:
            raise ServingError(
                "this kind of file is not read",
                expected=", ".join(_READERS),
                got=f"'{self.source.suffix}'",
                file=self.source,
            )
        if self.source.exists() and not self.source.is_file():
            raise ServingError(
                "this is no ordinary file",
                hint="write the cases to a file first: it is checked as a whole before it is decided on",
                file=self.source,
            )
        try:
            return digest_of([file_digest(self.source), self.entity_column, *said])
        except OSError as error:
            raise ServingError("this file cannot be read", got=error.strerror, file=self.source) from None

    def steady(self, rows: Iterator[DecisionRequest], stamp: tuple[int, ...]) -> Iterator[DecisionRequest]:
        """The same cases, as long as the file is the one that was checked.

        Raises:
            ServingError: If it was changed.
        """
        from countermark.errors import ServingError

        for count, row in enumerate(chain(rows, (None,))):
            if (row is None or count % 64 == 0) and _stamp(self.source) != stamp:
                raise ServingError("this file was changed while it was scored", file=self.source)
            if row is not None:
                yield row


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


_Case = tuple[int | None, Mapping[str, Any], Mapping[str, Any]]
"""The line of a case, its values as they are written, and as its contract types them."""


def _csv(source: Path, scorer: FileScorer) -> Iterator[_Case]:
    from countermark.serving.cases import csv_cases

    for line, raw in csv_cases(source):
        yield line, raw, {name: scorer.typed(name, text) for name, text in raw.items()}


def _json_lines(source: Path, _: FileScorer) -> Iterator[_Case]:
    from countermark.serving.cases import json_cases

    for line, values in json_cases(source):
        yield line, values, values


def _parquet(source: Path, scorer: FileScorer) -> Iterator[_Case]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from countermark.errors import ServingError
    from countermark.serving.cases import check_once

    try:
        with pq.ParquetFile(source) as opened:
            check_once(opened.schema_arrow.names, source)
            for batch in opened.iter_batches(4096):
                for row in batch.to_pylist():
                    values = {name: _plain(scorer.types.get(name), value) for name, value in row.items()}
                    yield None, row, values
    except (pa.ArrowException, OSError) as error:
        raise ServingError("this file cannot be read", got=str(error)[:200], file=source) from None
    except (ValueError, OverflowError) as error:  # its text may hold a value
        raise ServingError("this file holds what cannot be read", got=type(error).__name__, file=source) from None


_READERS: dict[str, Callable[[Path, FileScorer], Iterator[_Case]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}


def _plain(kind: str | None, value: Any) -> Any:
    """A value of a Parquet file as JSON would carry it."""
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if kind == "integer" and value.is_integer() else value
    return value


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


def _check_target(target: Path, source: Path) -> None:
    from countermark.errors import ServingError

    if target.suffix not in _WRITERS:
        raise ServingError(
            "this kind of file is not written", expected=", ".join(_WRITERS), got=f"'{target.suffix}'", file=target
        )
    if target.exists() and target.samefile(source):
        raise ServingError("the output is the input", expected="another file", file=target)


def _write(target: Path, scored: Iterable[ScoredRow]) -> dict[str, int]:
    """Write decisions as they become durable; the file appears under its name when it is whole.

    Every run writes to a file of its own first. What has been decided when a run fails stays in it.
    """
    from countermark.errors import ServingError

    counts = {"decided": 0, "refused": 0, "known": 0}

    def documents() -> Iterator[dict[str, Any]]:
        for one in scored:
            counts["refused" if one.record is None else "decided"] += 1
            counts["known"] += one.known
            yield _document(one)

    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
        os.close(handle)
        partial = Path(name)
        _WRITERS[target.suffix](partial, documents())
        partial.replace(target)
        partial = None
    except OSError as error:
        raise ServingError("this file cannot be written", got=error.strerror, file=target) from None
    finally:
        if partial is not None:
            _keep(partial, counts)
    return counts


def _keep(partial: Path, counts: Mapping[str, int]) -> None:
    """After a failure: decisions that were made are on the ledger, and their answers must not be lost."""
    if not counts["decided"]:
        partial.unlink(missing_ok=True)
        return
    click.echo(f"what was decided so far is in {partial}", err=True)
    click.echo("the same command again writes the whole file and decides none of it twice", err=True)


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
    group: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema) as out:
        try:
            for document in documents:
                group.append(document)
                if len(group) == 4096:
                    out.write_table(pa.Table.from_pylist(group, schema))
                    group.clear()
        finally:
            out.write_table(pa.Table.from_pylist(group, schema))


_WRITERS: dict[str, Callable[[Path, Iterator[dict[str, Any]]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}

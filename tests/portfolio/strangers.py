"""Odd files, and the road from one to a data set: scaffold, compile, ingest, contract, data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from countermark.config.load import load_model
from countermark.config.spec import ModelSpec
from countermark.contracts.checks import check
from countermark.contracts.sources import ingest
from countermark.contracts.tables import read_table
from countermark.features.dataset import assemble
from countermark.portfolio.bank import write_bank
from countermark.portfolio.compile import compile_bank, write
from countermark.portfolio.scaffold import Request, Scaffold, scaffold_model
from countermark.stages.data import run_contract, run_dataset, run_ingest, run_spec

N = 300
_RNG = np.random.default_rng(21)
INCOME = [round(float(v), 2) for v in _RNG.gamma(4, 9, N)]
BASE: dict[str, list[Any]] = {
    "id": [1000 + 7 * i for i in range(N)],
    "income": INCOME,
    "region": list(_RNG.choice(["N", "S", "E"], N)),
    "default": [int(v) for v in _RNG.random(N) < 0.3],
}


def csv_text(columns: Mapping[str, Sequence[Any]], *, delimiter: str = ",", end: str = "\n") -> str:
    """Delimited text, quoted where it has to be."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=end)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def every(*values: Any) -> list[Any]:
    """A column that repeats the values."""
    return [values[i % len(values)] for i in range(N)]


class Stranger:
    """A bank with one odd file in it, and what the scaffold makes of it."""

    def __init__(
        self, folder: Path, data: str | bytes | pa.Table | Mapping[str, Sequence[Any]], name: str = ""
    ) -> None:
        self.root = folder / "bank"
        if not self.root.exists():
            write_bank(self.root, "test bank")
        self.file = self.root / (name or ("odd.parquet" if isinstance(data, pa.Table) else "odd.csv"))
        if isinstance(data, pa.Table):
            pq.write_table(data, self.file)
        elif isinstance(data, bytes):
            self.file.write_bytes(data)
        else:
            text = data if isinstance(data, str) else csv_text(data)
            self.file.write_bytes(text.encode())

    def scaffold(self, **changes: Any) -> Scaffold:
        """What ``new model`` would write."""
        request: dict[str, Any] = {"name": "odd", "kind": "pd", "data": self.file, "outcome": None, "as_of": None}
        return scaffold_model(self.root, Request(**(request | changes)), {"purpose": "Why?"})

    def spec(self, **changes: Any) -> ModelSpec:
        """The composed and checked spec of what ``new model`` writes, questions kept."""
        made = self.scaffold(**changes)
        self.questions = made.questions
        for relative, text in made.files.items():
            path = self.root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_model(self.root, "odd").spec

    def dataset(self, **changes: Any) -> tuple[ModelSpec, pa.Table, pa.Table]:
        """The spec, the accepted table and the data set, through the rooms that a build calls."""
        spec = self.spec(**changes)
        tables = ingest(spec.source, self.root).tables
        accepted = check(tables["main"], spec.contract, spec.source).accepted
        return spec, accepted, assemble(spec, {"main": accepted}).dataset

    def build(self, **changes: Any) -> tuple[ModelSpec, pa.Table, pa.Table]:
        """The same through compiled files and the stages themselves, split included."""
        spec = self.spec(**changes)
        write(self.root, compile_bank(self.root))
        for stage in (run_spec, run_ingest, run_contract, run_dataset):
            stage(self.root, "odd", lambda _: None)
        out = self.root / "models/odd/out"
        return spec, read_table(out / "accepted/main.parquet"), read_table(out / "dataset.parquet")

    def asks(self, part: str) -> bool:
        """Whether an open question holds these words."""
        return any(part in question for question in self.questions)

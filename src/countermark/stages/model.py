"""Stages that fit, freeze and score: train, challenge, score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from countermark.contracts.tables import write_table
from countermark.scoring.frozen import FrozenScorer
from countermark.stages.files import ModelFiles, open_model, write_bytes, write_json
from countermark.stages.samples import ModelData, read_data
from countermark.training.table import TrainingTable
from countermark.training.train import Trained, train, train_challenger

Progress = Callable[[str], None]


def run_train(root: Path, name: str, progress: Progress) -> None:
    """Fit and freeze the candidate."""
    files = open_model(root, name, words=False)
    trained = train(files.spec, _table(read_data(files)), progress)
    _write(files, trained, "scorer.json", "training.json")


def run_challenge(root: Path, name: str, progress: Progress) -> None:
    """Fit and freeze the simple model that the candidate must beat."""
    files = open_model(root, name, words=False)
    trained = train_challenger(files.spec, _table(read_data(files)), progress)
    _write(files, trained, "challenger.json", "challenger_training.json")


def run_score(root: Path, name: str, progress: Progress) -> None:
    """Score every row with the frozen candidate and the frozen challenger."""
    files = open_model(root, name, words=False)
    data = read_data(files)
    scorer = read_scorer(files, "scorer.json")
    margin = scorer.margin(data.features)
    p = scorer.probability(margin)
    columns = {
        "_key": pa.array(data.key, type=pa.string()),
        "margin": pa.array(margin),
        "p": pa.array(p),
        "grade": pa.array(np.asarray(scorer.grade(p), dtype=np.int64)),
    }
    if files.has_challenger:
        challenger = read_scorer(files, "challenger.json")
        challenger_margin = challenger.margin(data.features)
        columns["challenger_margin"] = pa.array(challenger_margin)
        columns["challenger_p"] = pa.array(challenger.probability(challenger_margin))
    write_table(files.out / "scores.parquet", pa.table(columns))
    progress(f"{data.key.size:,} rows scored")


def read_scorer(files: ModelFiles, file: str) -> FrozenScorer:
    """Open a frozen scorer of the model."""
    return FrozenScorer.from_bytes((files.out / file).read_bytes())


def _table(data: ModelData) -> TrainingTable:
    return TrainingTable(
        features=data.features, y=data.y, sample=data.sample, key=data.key, entity=data.reserved.get("_entity")
    )


def _write(files: ModelFiles, trained: Trained, scorer: str, report: str) -> None:
    write_bytes(files.out / scorer, trained.scorer.to_bytes())
    write_json(files.out / report, trained.report)

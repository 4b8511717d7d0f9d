"""Read what the earlier stages left and make the input of every section of evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from countermark.contracts.tables import read_table
from countermark.errors import EvidenceError
from countermark.portfolio.dag import stage_named
from countermark.stages.files import ModelFiles, read_json
from countermark.stages.model import read_scorer
from countermark.stages.samples import ModelData, read_data, text_column
from countermark.training.splits import SAMPLES
from countermark.validation.inputs import EvidenceInput, Sample

_LABELS = {
    "development": "development",
    "calibration": "calibration",
    "holdout": "hold-out",
    "out_of_time": "out-of-time",
}


def evidence_input(files: ModelFiles) -> EvidenceInput:
    """Everything that the sections look at.

    Raises:
        EvidenceError: If the scores or the protected attributes are not of the same rows as the data set.
    """
    data = read_data(files)
    scores = read_table(files.out / "scores.parquet")
    protected = read_table(files.out / "protected.parquet")
    _require_same_rows(data, scores)
    groups = protected_groups(data, protected)
    scorer = read_scorer(files, "scorer.json")
    dataset = read_json(files.out / "dataset.json")
    samples: dict[str, Sample] = {}
    for role in SAMPLES:
        rows = np.flatnonzero(data.sample == role)
        if rows.size:
            sample = _sample(role, rows, data, scores, groups, scorer.grades)
            samples[role] = replace(sample, amounts=files.spec.is_amount)
    return EvidenceInput(
        spec=files.spec,
        samples=samples,
        scorer=scorer,
        challenger=read_scorer(files, "challenger.json") if files.has_challenger else None,
        contract=read_json(files.out / "contract.json"),
        dataset=dataset,
        training=read_json(files.out / "training.json"),
        previous=published_baseline(files),
        data_hash=str(dataset["content_digest"]),
        semantics={
            **declared_versions(files, "evidence", "semantics"),
            **declared_versions(files, "evidence", "libraries"),
        },
    )


def declared_versions(files: ModelFiles, stage: str, part: Literal["semantics", "libraries"]) -> dict[str, str]:
    """Compiled versions of the rooms or libraries that a stage declares; DVC runs the stage again for no other."""
    declared = stage_named(stage)
    names = declared.rooms if part == "semantics" else declared.libraries
    return {name: str(files.params[part][name]) for name in names}


def _sample(
    role: Any,
    rows: NDArray[np.int64],
    data: ModelData,
    scores: pa.Table,
    groups: Mapping[str, NDArray[np.object_]],
    grades: tuple[Any, ...],
) -> Sample:
    def score(name: str) -> NDArray[Any] | None:
        return scores.column(name).to_numpy()[rows] if name in scores.column_names else None

    time = data.reserved.get("_time")
    return Sample(
        role=role,
        label=_LABELS[role],
        y=np.asarray(data.y[rows]),
        margin=np.asarray(score("margin"), dtype=np.float64),
        p=np.asarray(score("p"), dtype=np.float64),
        grade=np.asarray(score("grade"), dtype=np.int64),
        grade_pd=np.array([grade.pd for grade in grades], dtype=np.float64),
        grade_names=tuple(grade.name for grade in grades),
        features={name: column[rows] for name, column in data.features.items()},
        segments={
            name.removeprefix("_segment_"): column[rows]
            for name, column in data.reserved.items()
            if name.startswith("_segment_")
        },
        time=None if time is None else time[rows].astype("datetime64[D]"),
        vintage=_rows(data.reserved.get("_vintage"), rows),
        entity=_rows(data.reserved.get("_entity"), rows),
        protected={name: column[rows] for name, column in groups.items()},
        challenger_margin=score("challenger_margin"),
        challenger_p=score("challenger_p"),
    )


def _rows(column: NDArray[np.object_] | None, rows: NDArray[np.int64]) -> NDArray[np.object_] | None:
    return None if column is None else column[rows]


def _require_same_rows(data: ModelData, table: pa.Table) -> None:
    if not np.array_equal(text_column(table.column("_key")), data.key):
        raise EvidenceError(
            "the scores are not of the data set's rows",
            expected=f"{data.key.size} keys in the data set's order",
            got=f"{table.num_rows} other rows",
            hint="run the stages through 'countermark build'",
        )


def protected_groups(data: ModelData, table: pa.Table) -> dict[str, NDArray[np.object_]]:
    """Groups in the order of the data set, joined by key."""
    names = [name for name in table.column_names if name != "_key"]
    place = {key: index for index, key in enumerate(table.column("_key").to_pylist())}
    missing = sum(1 for key in data.key if key not in place)
    if missing and names:
        raise EvidenceError(
            "protected attributes are missing for some rows",
            expected="a row of protected.parquet for every row of the data set",
            got=f"{missing} rows without",
            hint="run the stages through 'countermark build'",
        )
    if not names:
        return {}
    order = np.array([place[key] for key in data.key], dtype=np.int64)
    return {name: text_column(table.column(name))[order] for name in names}


def published_baseline(files: ModelFiles) -> Mapping[str, Any] | None:
    """The baseline of the last published release, or None at first validation."""
    folder = files.root / "governance" / "baselines" / files.spec.name
    published = list(folder.glob("*.json")) if folder.is_dir() else []
    if not published:
        return None
    newest = max(published, key=_version_order)
    baseline: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return baseline


def _version_order(path: Path) -> tuple[int, ...]:
    """``1.10.0`` comes after ``1.9.0``."""
    return tuple(int(part) for part in path.stem.split(".") if part.isdigit())

"""The profile stage: what a release is compared with when it is live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from countermark.contracts.tables import read_table
from countermark.monitoring.profile import ProfileRows, make_profile
from countermark.records.digest import pretty_json
from countermark.stages.evidence_input import protected_groups
from countermark.stages.files import open_model, write_bytes
from countermark.stages.model import read_scorer
from countermark.stages.samples import read_data

Progress = Callable[[str], None]

_NEWEST_FIRST = ("out_of_time", "holdout")


def run_profile(root: Path, name: str, progress: Progress) -> None:
    """Write the reference profile of the newest test sample."""
    files = open_model(root, name)
    data = read_data(files)
    scores = read_table(files.out / "scores.parquet")
    groups = protected_groups(data, read_table(files.out / "protected.parquet"))
    p, grade = scores.column("p").to_numpy(), scores.column("grade").to_numpy()

    def rows(sample: str) -> ProfileRows:
        place: NDArray[np.int64] = np.flatnonzero(data.sample == sample)
        return ProfileRows(
            name=sample,
            features={key: column[place] for key, column in data.features.items()},
            y=data.y[place],
            p=p[place],
            grade=grade[place],
            groups={key: of[place] for key, of in groups.items()},
        )

    newest = next(sample for sample in _NEWEST_FIRST if (data.sample == sample).any())
    profile = make_profile(
        name, read_scorer(files, "scorer.json"), files.spec.decision, rows(newest), rows("development")
    )
    write_bytes(files.out / "profile.json", pretty_json(msgspec.to_builtins(profile)))
    progress(f"{newest}: {profile.n:,} rows, {len(profile.numeric) + len(profile.categorical)} inputs")

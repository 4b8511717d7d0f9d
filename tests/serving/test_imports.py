"""What the service carries in memory: nothing of the training stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "catboost", "dvc", "duckdb", "hydra", "lime", "matplotlib", "omegaconf", "optbinning", "optuna", "pandas",
    "pandera", "polars", "pyarrow", "shap", "sklearn", "statsmodels", "weasyprint",
)  # fmt: skip
ROOMS = ("training", "validation", "report", "charts", "portfolio", "stages", "governance")


def test_the_service_imports_nothing_of_the_training_stack() -> None:
    program = (
        "import sys, countermark.serving.http, countermark.serving.server, countermark.serving.batch\n"
        "import countermark.serving.imports, granian\n"
        "print(' '.join(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    loaded = set(done.stdout.split())
    assert "countermark.serving.http" in loaded
    assert not loaded & set(HEAVY)
    assert not loaded & {f"countermark.{room}" for room in ROOMS}

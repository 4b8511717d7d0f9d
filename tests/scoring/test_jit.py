"""Compiled kernels: no fused operation, nothing written beside the sources, a cache that is used again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import countermark

ROOT = Path(__file__).parents[2]
SOURCES = Path(countermark.__file__).parent
SCRIPT = """
import os
import re
from tests.scoring.builders import DOCUMENTS, columns, linear_document, row, scorer
from pathlib import Path
from countermark.metrics import jit
from countermark.scoring import additive, calibrate, exact_math, trees, trees_row
table = columns(300)
ROW = (trees_row.score_row, trees_row.explain_row, additive.score_row, additive.explain_row)
for kind in ("linear", "trees"):
    frozen = scorer(kind)
    frozen.warm_up()
    before = [function.signatures for function in ROW]
    frozen.score_row(row(table, 0))
    frozen.score_row(row(table, 1), contributions=True)
    assert any(before) and before == [function.signatures for function in ROW], kind
for kind in os.environ.get("KINDS", " ".join(DOCUMENTS)).split():
    frozen = scorer(kind)
    margins = frozen.margin(table)
    frozen.contributions(table)
    print(kind, frozen.score_row(row(table, 0), contributions=True).margin.hex(), margins[7].hex())
    frozen.grade(frozen.probability(margins))
cache = jit.cache_directory(Path(trees.__file__).parent)
print("cache", cache is not None)
if cache is None:
    for function in (exact_math.exp, exact_math.log, additive._effect, additive.batch_margins, trees_row.explain_row,
                     trees.batch_margins, trees._tabulate_tree, calibrate._between, calibrate.probabilities):
        assembly = "".join(function.inspect_asm().values())
        assert "mul" in assembly, function
        assert not re.search(r"vf(n?m(add|sub)|maddsub)", assembly), function
    print("no fused operation")
"""


def _run(**environment: str) -> list[str]:
    kept = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
    paths = {"PYTHONPATH": os.pathsep.join([str(SOURCES.parent), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=kept | paths | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _files() -> set[Path]:
    return {path for path in SOURCES.rglob("*") if path.suffix in (".nbi", ".nbc")}


@pytest.fixture(scope="module")
def without_cache() -> list[str]:
    """What is printed where no cache directory can be written, as in a read-only container."""
    before = _files()
    lines = _run(HOME="/dev/null/home")
    assert _files() == before
    return lines


def test_a_read_only_home_compiles_in_memory(without_cache: list[str]) -> None:
    assert "cache False" in without_cache


def test_compiled_code_has_no_fused_operation(without_cache: list[str]) -> None:
    assert without_cache[-1] == "no fused operation"


def test_the_cache_lies_where_it_is_asked_and_gives_the_same_bits(tmp_path: Path, without_cache: list[str]) -> None:
    before = _files()
    first = _run(COUNTERMARK_CACHE_DIR=str(tmp_path), KINDS="linear")
    files = sorted(tmp_path.rglob("*.nbc"))
    assert files
    assert all(path.relative_to(tmp_path).parts[0].startswith("kernels-") for path in files)
    assert _run(COUNTERMARK_CACHE_DIR=str(tmp_path), KINDS="linear") == first
    assert sorted(tmp_path.rglob("*.nbc")) == files
    assert first[0] in without_cache
    assert _files() == before


def test_a_server_imports_no_training_and_no_data_frame() -> None:
    """What a scorer process needs at start, and nothing that is slow to load or built for development."""
    script = (
        "import sys; import countermark.scoring.frozen, countermark.scoring.decision\n"
        "print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": str(SOURCES.parent)})  # fmt: skip
    loaded = set(done.stdout.split())
    assert {"numba", "numpy", "pydantic"} <= loaded
    slow = {"catboost", "duckdb", "dvc", "hydra", "omegaconf", "matplotlib", "optbinning", "optuna", "pandas", "pandera",
            "polars", "pyarrow", "sklearn", "statsmodels", "weasyprint"}  # fmt: skip
    assert not loaded & slow

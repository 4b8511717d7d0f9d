"""The order that digests rely on is the registry's."""

from __future__ import annotations

import subprocess
import sys

from countermark.validation.registry import SECTIONS
from countermark.validation.section_order import ORDER, WRITTEN

_SCRIPT = """
import sys
import countermark.validation.sealing, countermark.validation.opinion
heavy = {"catboost", "duckdb", "dvc", "hydra", "optuna", "optbinning", "pandas", "pandera", "pyarrow", "sklearn"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""


def test_the_order_is_the_registrys() -> None:
    assert tuple(entry.code for entry in SECTIONS) == ORDER
    assert {e.code for e in SECTIONS if e.compute is None and e.write is not None} == WRITTEN


def test_a_pack_is_verified_without_the_training_stack() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

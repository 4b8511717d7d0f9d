"""The same scorer bytes on other processors, thread counts, locales and directories, simulated by environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.training.fingerprint import fingerprint

ROOT = Path(__file__).parents[2]

MACHINES = {
    # The C library, NumPy and OpenBLAS each choose their routines by processor: make all three choose the oldest.
    "a processor without AVX": {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
    },
    "more threads, another place": {
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "4",
        "OMP_NUM_THREADS": "4",
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "2",
    },
}


def test_same_bytes_on_other_machines(tmp_path: Path) -> None:
    running = {}
    for name, machine in MACHINES.items():
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))} | machine
        running[name] = subprocess.Popen(
            [sys.executable, "-m", "tests.training.fingerprint"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    here = fingerprint()
    for name, process in running.items():
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.splitlines() == here, name

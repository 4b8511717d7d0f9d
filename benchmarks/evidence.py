"""Seconds and peak memory of the evidence stage and of the render stage of every built model.

Each stage runs in a process of its own, on a copy of the files that the build left, so that nothing of the bank is
touched. Peak memory is the highest resident set of that process or of one that it started.

    python benchmarks/evidence.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RENDER_LIMIT_MB = 500.0
NEEDED = {"evidence": "models/{name}/out/scores.parquet", "render": "reports/{name}/pack.json"}
RUN = """
import sys
from pathlib import Path
from countermark.stages.run import run_stage
run_stage(Path(sys.argv[1]), sys.argv[2], sys.argv[3], lambda line: None)
"""


@dataclass(frozen=True)
class Cost:
    """What a stage took: wall-clock seconds and peak resident megabytes."""

    seconds: float
    megabytes: float


def copy_of(name: str, folder: Path) -> Path:
    """The compiled spec and the outputs of one model in a folder of their own."""
    for part in (f"models/{name}", f"reports/{name}"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
    baseline = ROOT / "governance" / "baselines" / name
    if baseline.is_dir():
        shutil.copytree(baseline, folder / "governance" / "baselines" / name)
    return folder


def cost(bank: Path, stage: str, name: str) -> Cost:
    """Run a stage in a child process and ask the kernel what it took."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", RUN, str(bank), stage, name], env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"stage {stage} of {name} failed")
    return Cost(time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6)


def main() -> None:
    names = sorted(path.parent.name for path in ROOT.glob("models/*/params.yaml"))
    rows: list[tuple[str, Cost, float | None]] = []
    missing: list[str] = []
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            bank = copy_of(name, Path(scratch))
            for stage, needed in NEEDED.items():
                if (bank / needed.format(name=name)).is_file():
                    rows.append(
                        (f"{name} {stage}", cost(bank, stage, name), RENDER_LIMIT_MB if stage == "render" else None)
                    )
                else:
                    missing.append(f"{name} {stage}: not built here; run 'make repro' first")
    print(f"{'what':28} {'seconds':>8} {'peak MB':>8} {'limit MB':>9} {'ratio':>6}")
    for what, found, limit in rows:
        against = f"{'none':>9} {'':>6}" if limit is None else f"{limit:9.0f} {found.megabytes / limit:6.2f}"
        against += "  over the limit" if limit is not None and found.megabytes > limit else ""
        print(f"{what:28} {found.seconds:8.2f} {found.megabytes:8.0f} {against}".rstrip())
    print("\n".join(missing), end="\n" if missing else "")


if __name__ == "__main__":
    main()

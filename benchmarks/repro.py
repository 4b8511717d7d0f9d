"""``dvc repro`` of one model against plain DVC on as many trivial stages, in one run.

Makes the toy bank of the tests in a temporary folder and, beside it, a repository with a generated dvc.yaml of the
same number of stages, each of which copies one small file. Prints the seconds of a forced rebuild (every stage runs)
and of a rebuild with nothing to do. What ours takes beyond plain DVC is the work of the stages: the models, the
evidence and the document.

    python benchmarks/repro.py [--repeat 3]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.e2e.shell import must, run, shell, toy_bank  # noqa: E402

TARGET = "models/toy/dvc.yaml"


def timed(done: subprocess.CompletedProcess[str], start: float) -> tuple[float, int]:
    """Seconds since start, and how many stages DVC ran."""
    spent = time.perf_counter() - start
    return spent, must(done).count("Running stage ")


def repro(folder: Path, *arguments: str) -> tuple[float, int]:
    """Run ``dvc repro`` in a folder."""
    start = time.perf_counter()
    return timed(shell(folder, sys.executable, "-m", "dvc", "repro", *arguments), start)


def plain_repository(folder: Path, stages: int) -> Path:
    """A git and DVC repository whose stages copy one file along."""
    folder.mkdir()
    must(shell(folder, "git", "init", "-q"))
    must(shell(folder, sys.executable, "-m", "dvc", "init", "-q"))
    for key in ("core.analytics", "core.check_update", "core.autostage"):
        must(shell(folder, sys.executable, "-m", "dvc", "config", key, "false"))
    (folder / "f0.txt").write_text("1\n", encoding="utf-8")
    lines = ["stages:"]
    for k in range(1, stages + 1):
        lines += [f"  copy{k}:", f"    cmd: cp f{k - 1}.txt f{k}.txt", f"    deps: [f{k - 1}.txt]"]
        lines += [f"    outs: [f{k}.txt]"]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def nothing_to_do(folder: Path, repeat: int, *arguments: str) -> float:
    """Median seconds of ``dvc repro`` when every stage is fresh."""
    found = []
    for _ in range(repeat):
        spent, ran = repro(folder, *arguments)
        if ran:
            raise SystemExit(f"{ran} stages ran where none was stale")
        found.append(spent)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="runs with nothing to do; the median is printed")
    repeat = parser.parse_args().repeat
    with tempfile.TemporaryDirectory() as scratch:
        bank = toy_bank(Path(scratch) / "bank")
        repro(bank, TARGET)
        full, stages = repro(bank, "--force", TARGET)
        plain = plain_repository(Path(scratch) / "plain", stages)
        repro(plain)
        plain_full, plain_stages = repro(plain, "--force")
        if plain_stages != stages:
            raise SystemExit(f"plain DVC ran {plain_stages} stages, the model {stages}")
        idle, plain_idle = nothing_to_do(bank, repeat, TARGET), nothing_to_do(plain, repeat)
        builds = []
        for _ in range(repeat):
            start = time.perf_counter()
            builds.append(timed(run(bank, "build", "toy"), start)[0])
    rows = (
        (f"dvc repro --force, {stages} stages", full, plain_full),
        ("dvc repro, nothing to do", idle, plain_idle),
        ("countermark build, nothing to do", statistics.median(builds), plain_idle),
    )
    print(f"{'what':36} {'ours s':>8} {'plain DVC s':>12} {'ratio':>7}")
    for what, ours, peer in rows:
        print(f"{what:36} {ours:8.2f} {peer:12.2f} {ours / peer:7.2f}")


if __name__ == "__main__":
    main()

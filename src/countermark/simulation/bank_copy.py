"""A throw-away copy of a bank: its files as they lie there, and the same DVC cache; no history, no log, no ledger."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from countermark.errors import SimulationError


def copy_bank(root: Path, target: Path) -> None:
    """Copy the files of a bank that git would keep, and what its sources read.

    Ledger, release log, serving directory and feature store are not copied, so nothing that is played in the copy can
    reach them. The copy shares the DVC cache: what was built before is not built anew.

    Args:
        root: The bank's folder, in a git repository.
        target: The copy; must not exist.

    Raises:
        SimulationError: If the bank is in no git repository, has no DVC, or the target exists.
    """
    if target.exists():
        raise SimulationError("the folder exists already", expected="a new folder", got=target.name, file=target)
    listed = _output(root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    cache = _output(root, str(Path(sys.executable).parent / "dvc"), "cache", "dir").strip()
    for relative in filter(None, listed.split("\0")):
        _copy(root, target, relative)
    for stages in sorted((root / "sources").glob("*/dvc.yaml")):
        for relative in _deps(stages):
            _copy(root, target, relative)
    (target / ".dvc").mkdir(exist_ok=True)
    (target / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")


def _deps(stages: Path) -> list[str]:
    document = yaml.safe_load(stages.read_text(encoding="utf-8"))
    return [str(path) for stage in document["stages"].values() for path in stage.get("deps", ())]


def _copy(root: Path, target: Path, relative: str) -> None:
    source, place = root / relative, target / relative
    if place.exists() or not source.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place)
    else:
        shutil.copy2(source, place, follow_symlinks=False)


def _output(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SimulationError(
            "this bank cannot be copied",
            expected="a bank in a git repository, with DVC",
            got=(done.stderr.strip().splitlines() or ["no word"])[-1],
            hint="git init && dvc init",
        )
    return done.stdout

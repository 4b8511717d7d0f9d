"""Run the installed command line in a real bank with real git and DVC."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bank import make_bank

BIN = Path(sys.executable).parent


def run(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``countermark ARGS`` in a folder."""
    return shell(folder, str(BIN / "countermark"), *args, **environment)


def shell(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the interpreter's scripts on the path."""
    merged = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=merged)


def must(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that has to succeed."""
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def commit(bank: Path, message: str) -> None:
    """Commit everything."""
    must(shell(bank, "git", "add", "-A"))
    must(shell(bank, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", message))


def init_bank(folder: Path) -> Path:
    """An empty bank made by the installed command."""
    must(run(folder.parent, "init", str(folder)))
    return folder


def toy_bank(folder: Path) -> Path:
    """The toy bank with git and DVC, compiled, not built."""
    init_bank(folder)
    staged = make_bank(folder.parent / f"{folder.name}-files")
    for path in sorted(staged.rglob("*")):
        relative = path.relative_to(staged)
        if path.is_file() and (relative.parts[0] == "conf" or path.suffix == ".csv"):
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    must(run(folder, "compile"))
    return folder


def lock_text(bank: Path) -> dict[str, str]:
    """Text of every dvc.lock of a bank, by relative path."""
    return {
        path.relative_to(bank).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(bank.rglob("dvc.lock"))
        if ".dvc" not in path.parts
    }

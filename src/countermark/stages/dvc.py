"""Run DVC as a program, with our own environment and no analytics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from countermark.errors import BuildError


def repro(root: Path, targets: tuple[str, ...], *, force: bool = False) -> None:
    """Run ``dvc repro`` in the bank; its output is the live progress.

    Args:
        root: The bank's root.
        targets: dvc.yaml files; empty rebuilds the whole bank.
        force: Run every stage.

    Raises:
        BuildError: DVC is not set up here, or a stage failed.
    """
    if not (root / ".dvc").is_dir():
        raise BuildError(
            "this bank has no DVC repository",
            expected="a '.dvc' folder at the root",
            hint="run 'countermark init' for a new bank, or 'dvc init' in this one",
            file=root,
        )
    command = [sys.executable, "-m", "dvc", "repro", *targets, *(["--force"] if force else [])]
    done = subprocess.run(command, cwd=root, env=environment(), check=False)
    if done.returncode != 0:
        raise BuildError(
            "the build stopped",
            expected="every stage to succeed",
            got=f"dvc repro ended with {done.returncode}; the first error is above",
            hint="mend the cause and run the same command: finished stages are not run again",
        )


def environment() -> dict[str, str]:
    """The caller's environment with this interpreter's scripts first and DVC's analytics off."""
    scripts = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", os.defpath)
    return {
        **os.environ,
        "PATH": path if path.split(os.pathsep)[0] == scripts else scripts + os.pathsep + path,
        "DVC_NO_ANALYTICS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def initialise(root: Path) -> None:
    """Make a git and a DVC repository in a new bank, analytics off.

    Raises:
        BuildError: git or DVC is missing or refused.
    """
    if not (root / ".git").exists():
        _run(["git", "init", "-q", "-b", "main"], root)
    _run([sys.executable, "-m", "dvc", "init", "-q"], root)
    for key in ("core.analytics", "core.check_update", "core.autostage"):
        _run([sys.executable, "-m", "dvc", "config", key, "false"], root)
    _run(["git", "add", ".dvc", ".dvcignore"], root)


def _run(command: list[str], root: Path) -> None:
    try:
        done = subprocess.run(command, cwd=root, env=environment(), check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise BuildError(f"'{command[0]}' is not installed", hint=f"install {command[0]}") from None
    if done.returncode != 0:
        raise BuildError(
            f"'{' '.join(command[-3:])}' failed", got=(done.stderr or done.stdout).strip()[-500:], file=root
        )

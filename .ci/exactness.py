"""The exactness check: rebuild the bank from an empty cache and compare every byte with dvc.lock.

Usage: python .ci/exactness.py [BANK]

A copy of the committed state is cloned next to nothing: empty cache, empty run cache, no outputs. Every stage must
run (a stage that is skipped proves nothing), and `git status` must be clean afterwards, which says that no
dvc.lock changed: every output has the digest that git claims for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

_RAN = re.compile(r"Running stage '([^']+)'")


def stages_of(bank: Path) -> set[str]:
    """Addresses of every stage in the bank, as DVC prints them."""
    found: set[str] = set()
    for path in sorted(bank.rglob("dvc.yaml")):
        relative = path.relative_to(bank).as_posix()
        prefix = "" if relative == "dvc.yaml" else relative + ":"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found |= {prefix + name for name in document.get("stages", {})}
    return found


def rebuild(bank: Path, folder: Path) -> list[str]:
    """Clone, rebuild from nothing, and return what is wrong (empty: exact)."""
    clone = folder / "bank"
    subprocess.run(["git", "clone", "-q", str(bank), str(clone)], check=True)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ran: set[str] = set()
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        ran |= set(_RAN.findall(line))
    if process.wait() != 0:
        return [f"dvc repro ended with {process.returncode}"]
    wrong = [f"stage '{name}' did not run" for name in sorted(stages_of(clone) - ran)]
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    ).stdout
    if status:
        difference = subprocess.run(["git", "diff"], cwd=clone, check=True, capture_output=True, text=True).stdout
        wrong.append(f"git status is not clean:\n{status}{difference}")
    if not stages_of(clone):
        wrong.append("the bank has no stages: an empty rebuild proves nothing")
    return wrong


def main() -> int:
    """Check the bank given, or the one that holds this script."""
    bank = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory(prefix="countermark-exactness-") as folder:
        wrong = rebuild(bank.resolve(), Path(folder))
    for text in wrong:
        print(f"not exact: {text}")
    print("exactness: " + ("FAILED" if wrong else "every stage ran from an empty cache and git status is clean"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

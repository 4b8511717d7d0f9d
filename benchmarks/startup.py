"""Start-up of the command line against the interpreter alone, in one run.

Prints the median wall-clock time of ``countermark --help`` and ``countermark --version`` and of ``python -c pass``,
bytecode compiled, the three commands taken in turn so that a busy machine slows all of them alike.

    python benchmarks/startup.py [--repeat 15]
"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

BIN = Path(sys.executable).parent


def seconds(command: list[str], folder: str) -> float:
    """Wall-clock seconds of one run of a command that has to succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def compile_bytecode() -> None:
    """Compile what the commands import: the package and click."""
    for name in ("countermark", "click"):
        spec = find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            compileall.compile_dir(folder, quiet=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    compile_bytecode()
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "countermark --help": [str(BIN / "countermark"), "--help"],
        "countermark --version": [str(BIN / "countermark"), "--version"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for command in commands.values():
            seconds(command, folder)
        for _ in range(repeat):
            for name, command in commands.items():
                found[name].append(seconds(command, folder))
    peer = statistics.median(found.pop("python -c pass"))
    print(f"median of {repeat}")
    print(f"{'what':24} {'ours ms':>9} {'python -c pass ms':>18} {'ratio':>7}")
    for name, times in found.items():
        ours = statistics.median(times)
        print(f"{name:24} {ours * 1e3:9.1f} {peer * 1e3:18.1f} {ours / peer:7.2f}")


if __name__ == "__main__":
    main()

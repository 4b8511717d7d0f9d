"""Run writer processes and compare what they acknowledged with what the ledger holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from countermark.ledger import open_ledger

ROOT = Path(__file__).resolve().parent.parent.parent


class Writer:
    """A writer process; what it tells goes to a file, as a pipe that nobody reads would stop it.

    Args:
        address: Address of the ledger.
        prefix: What its keys begin with.
        threads: Threads that submit.
    """

    def __init__(self, address: str, prefix: str, threads: int = 8) -> None:
        self._told = tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.writer_process", address, prefix, str(threads)],
            stdout=self._told,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"},
        )
        while not self._lines():
            assert self.process.poll() is None
            time.sleep(0.005)

    def _lines(self) -> list[str]:
        size = os.fstat(self._told.fileno()).st_size
        return os.pread(self._told.fileno(), size, 0).decode().split("\n")[:-1]

    def count(self) -> int:
        """Entries acknowledged so far."""
        return sum(1 for line in self._lines()[1:] if not line.startswith("failed"))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def acknowledged(self) -> tuple[list[tuple[str, str, int, str]], list[str]]:
        """What it had told when it was killed: acknowledged entries, and failures. A torn last line was not told."""
        told, failed = [], []
        for line in self._lines()[1:]:
            words = line.split(" ")
            if words[0] == "failed":
                failed.append(line)
            else:
                told.append((words[0], words[1], int(words[2]), words[3]))
        self._told.close()
        return told, failed


def check_all_there_once(address: str, told: list[tuple[str, str, int, str]]) -> int:
    """Every acknowledged entry is in the ledger once, at its place; every chain verifies. The number of entries."""
    with open_ledger(address) as ledger:
        stored = [(entry.key, entry.chain, entry.seq, entry.hash) for entry in ledger.read()]
        report = ledger.verify()
    assert report.ok, report.first_problem
    assert len({key for key, *_ in stored}) == len(stored)
    assert len({key for key, *_ in told}) == len(told)
    assert set(told) <= set(stored)
    return len(stored)

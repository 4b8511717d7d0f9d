"""Durable entries a second of the ledger, beside a bare loop that appends the same bytes to a file and flushes it.

One process, one event loop and the committer's thread, as in one worker of the decision service. The bare loop writes
as many bytes at a time as the ledger committed on average, hashes nothing and can find nothing again: it is what the
disk allows.

    python benchmarks/ledger.py [--seconds 3] [--postgres]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from countermark.ledger import GroupCommitter, open_ledger  # noqa: E402

PAYLOAD = os.urandom(2500)
AT = "2026-12-04T14:00:00.000000Z"
TARGET = 4000.0


async def load(committer: GroupCommitter, connections: int, seconds: float, tag: str) -> list[float]:
    """Latencies of entries that are submitted one after the other on each of some connections."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def connection(place: int) -> None:
        number = 0
        while (start := time.perf_counter()) < end:
            await committer.submit_async("decision", f"{tag}-{place}-{number}", PAYLOAD, AT)
            latencies.append(time.perf_counter() - start)
            number += 1

    await asyncio.gather(*(connection(place) for place in range(connections)))
    return latencies


def bare(folder: Path, size: int, seconds: float) -> float:
    """Flushed appends a second of some bytes."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    data, count, start = os.urandom(size), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        count += 1
    rate = count / (time.perf_counter() - start)
    os.close(descriptor)
    (folder / "bare").unlink()
    return rate


def measure(address: str, folder: Path, seconds: float) -> None:
    """Print a table for 1, 8, 32 and 64 connections."""
    print(
        f"{'connections':>11} {'entries/s':>10} {'commits/s':>10} {'batch':>6} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'cpu us':>7} {'bare/s':>9} {'ratio':>6}"
    )
    with open_ledger(address) as ledger, GroupCommitter(ledger) as committer:
        for connections in (1, 8, 32, 64):
            entries, commits, cpu = committer.entries, committer.commits, time.process_time()
            start = time.perf_counter()
            latencies = sorted(asyncio.run(load(committer, connections, seconds, f"c{connections}")))
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            entries, commits = committer.entries - entries, committer.commits - commits
            batch = entries / commits
            limit = batch * bare(folder, int(batch * len(PAYLOAD)), min(seconds, 2.0))
            verdict = ""
            if connections == 32:
                verdict = f"  {entries / wall / TARGET:.1f}x the target of {TARGET:.0f}/s"
            print(
                f"{connections:11} {entries / wall:10.0f} {commits / wall:10.0f} {batch:6.1f} "
                f"{latencies[len(latencies) // 2] * 1e3:7.2f} {latencies[int(len(latencies) * 0.99)] * 1e3:7.2f} "
                f"{cpu / entries * 1e6:7.1f} {limit:9.0f} {entries / wall / limit:6.2f}{verdict}"
            )
        cursor = ledger.cursor()
        start = time.perf_counter()
        for _ in range(200):
            list(ledger.read(kinds=["routing"], after=cursor))
        print(f"a poll that finds nothing: {(time.perf_counter() - start) / 200 * 1e6:.0f} us")
        start = time.perf_counter()
        report = ledger.verify()
        wall = time.perf_counter() - start
        print(
            f"verify: {report.entries} entries, {report.entries / wall:.0f} a second, problems: {report.first_problem}"
        )


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a new PostgreSQL server."""
    from tests.servers import postgres_server

    with postgres_server() as server:
        yield server.schema()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--postgres", action="store_true", help="measure PostgreSQL too")
    options.add_argument("--folder", type=Path, help="folder on the disk to measure; the temporary folder otherwise")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        folder = Path(scratch)
        print(f"SQLite, {len(PAYLOAD)} bytes an entry")
        measure(str(folder / "ledger"), folder, chosen.seconds)
        if chosen.postgres:
            with postgres() as address:
                print(f"PostgreSQL, {len(PAYLOAD)} bytes an entry")
                measure(address, folder, chosen.seconds)


if __name__ == "__main__":
    main()

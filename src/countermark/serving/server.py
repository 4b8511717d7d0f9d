"""Start the workers: one parent that binds the address and starts again whoever falls."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path

import msgspec

from countermark.errors import ServingError
from countermark.serving.settings import SETTINGS_VARIABLE, Settings

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
TARGET = "countermark.serving.http:create"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Set to 1 before numpy is imported: a row is scored by one thread, and workers must not fight for cores."""

_RESPAWN_SECONDS = 0.2
_END_SECONDS = 10


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_free(host: str, port: int) -> None:
    """Refuse an address that cannot be bound, before any worker starts.

    Raises:
        ServingError: Naming the address.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ServingError(
            f"cannot listen on {host}:{port}", got=error.strerror, hint="choose another --port, or end what listens"
        ) from None


def run(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was begun, and return.

    Every worker is an equal process on one socket, with a chain of the ledger of its own. A worker that dies is
    started again, however often; if the parent dies, the workers end with it. If no worker ever comes to run, it ends.

    Args:
        settings: What every worker opens.
        host: Address to listen on.
        port: Port.
        workers: Number of worker processes.

    Raises:
        ServingError: If the address cannot be bound.
    """
    require_free(host, port)
    folder = Path(tempfile.mkdtemp(prefix="countermark-metrics-"))
    os.environ[METRICS_FOLDER] = str(folder)
    os.environ[SETTINGS_VARIABLE] = msgspec.json.encode(msgspec.structs.replace(settings, parent=os.getpid())).decode()
    # Imported before the workers are forked: they share its memory, and one that is started again is there at once.
    from granian.constants import Interfaces
    from granian.log import LogLevels

    import countermark.serving.http  # noqa: F401
    from countermark.serving.supervisor import Supervisor

    server = Supervisor(
        TARGET,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=workers,
        factory=True,
        websockets=False,
        log_level=LogLevels.warning,
        respawn_interval=_RESPAWN_SECONDS,
        workers_kill_timeout=_END_SECONDS,
    )
    try:
        server.serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""A stand-in for the network between a client and PostgreSQL: it can lose an answer, or fall silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Proxy:
    """Forwards a unix socket of PostgreSQL from a folder of its own.

    Args:
        folder: Folder for the new socket.
        server: Folder of the server's socket.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self.lose_after: bytes | None = None
        """Drop the connection instead of the next answer to a message with these bytes; the server has acted on it."""
        self.hang_after: bytes | None = None
        """Drop the client in the same moment, but keep the server's session open: a network that fell silent."""
        self.lost = 0
        self._target = str(server / ".s.PGSQL.5432")
        self._kept: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            try:
                data = client.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                _end(server)
                return
            loses = self.lose_after is not None and self.lose_after in data
            hangs = self.hang_after is not None and self.hang_after in data
            if loses or hangs:
                self.lost += 1
                _end(client)
            if hangs:
                self.hang_after = None
                # The message never arrives; the server's side stays open.
                self._kept.append(server)
                return
            server.sendall(data)
            if loses:
                self.lose_after = None
                # Wait for the server's answer, so that what was asked is done; the answer itself is gone.
                server.settimeout(5)
                return

    def _forward(self, server: socket.socket, client: socket.socket) -> None:
        while True:
            try:
                data = server.recv(1 << 20)
                if not data:
                    break
                client.sendall(data)
            except OSError:
                break
        _end(client)
        if server not in self._kept:
            _end(server)

    def close(self) -> None:
        _end(self._listener)
        for server in self._kept:
            _end(server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

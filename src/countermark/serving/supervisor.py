"""The parent of the workers: whoever falls is started again, and a crash loop of one slot does not end the others.

Granian ends the whole service when a worker that it has just started again dies within five and a half seconds. A
decision service goes on: the slot is started again after a pause that doubles, and the other workers answer meanwhile.
"""

from __future__ import annotations

import time
from typing import Any

from granian.server import MPServer

from countermark.errors import ServingError
from countermark.serving.worker import json_log

SETTLED_SECONDS = 5.0
"""A worker that has lived this long had started well: when it falls, it is started again at once."""

FIRST_SECONDS = 0.1
MOST_SECONDS = 5.0
MOST_FALLS = 5
"""Falls in a row by which a service that never ran shows that it cannot start."""

USED = (
    "_respawn_workers", "_reload", "_serve_loop", "main_loop_interrupt", "interrupt_children", "interrupt_signal",
    "reload_signal", "wrks",
)  # fmt: skip
"""What is used of Granian beside its public surface; a version without them is refused before it serves."""


class BackOff:
    """How long to wait before a slot is started again."""

    def __init__(self) -> None:
        self._falls: dict[int, int] = {}

    def fell(self, slot: int, lived: float) -> float:
        """Count a fall; seconds to wait: none for a worker that had started well, else a pause that doubles.

        Args:
            slot: Number of the slot.
            lived: Seconds that its worker lived.
        """
        falls = 0 if lived >= SETTLED_SECONDS else self.falls(slot) + 1
        self._falls[slot] = falls
        return 0.0 if falls == 0 else min(FIRST_SECONDS * 2.0 ** (falls - 1), MOST_SECONDS)

    def falls(self, slot: int) -> int:
        """Falls of a slot in a row, each soon after its start."""
        return self._falls.get(slot, 0)


class Supervisor(MPServer):
    """Granian with a loop of our own around its workers.

    Raises:
        ServingError: If the installed Granian is built in another way than this one relies on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        missing = [name for name in USED if not hasattr(self, name)]
        if missing:
            raise ServingError(
                "this version of Granian is not supported",
                expected="the version of requirements-serve.lock",
                got=f"one without '{missing[0]}'",
            )
        self._back_off = BackOff()
        self._settled = False
        self._log = json_log()

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """Until a signal to end, or until it is plain that no worker can start."""
        due: dict[int, float] = {}
        while True:
            self.main_loop_interrupt.wait(None if not due else max(min(due.values()) - time.monotonic(), 0.0))
            # Cleared before anything is read: who falls from here on sets it again and is seen in the next round.
            self.main_loop_interrupt.clear()
            if self.interrupt_signal:
                return
            if self.reload_signal:
                due.clear()
                self.interrupt_children.clear()
                self._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]
                self.main_loop_interrupt.set()
                continue
            while self.interrupt_children:
                slot = self.interrupt_children.pop(0)
                wait = self._fell(slot)
                if wait is None:
                    self.interrupt_children.append(slot)
                    return
                due[slot] = time.monotonic() + wait
            for slot in sorted(slot for slot, at in due.items() if at <= time.monotonic()):
                del due[slot]
                self._respawn_workers([slot], spawn_target, target_loader)

    def _fell(self, slot: int) -> float | None:
        """Seconds until a slot is started again; None if no worker of this service has ever run."""
        now, worker = time.monotonic(), self.wrks[slot]
        lived, code = now - worker.birth, worker.inner.exitcode
        wait = self._back_off.fell(slot, lived)
        self._settled = self._settled or any(now - one.birth >= SETTLED_SECONDS for one in self.wrks)
        falls = self._back_off.falls(slot)
        # Ended by a signal (a negative code), it was killed: that says nothing about whether it can start.
        hopeless = falls >= MOST_FALLS and not self._settled and code is not None and code >= 0
        if hopeless:
            self._log.error("workers cannot start; the service ends", slot=slot, falls=falls, exit=code)
            return None
        self._log.warning("worker fell; started again", slot=slot, falls=falls, exit=code, seconds=round(wait, 1))
        return wait

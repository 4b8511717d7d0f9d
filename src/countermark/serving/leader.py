"""The thread that leads rollouts: every worker runs one, and the ledger lets one of them lead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from countermark.errors import CountermarkError, LedgerError, RolloutError
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.records.clock import Clock
from countermark.records.groups import Groups
from countermark.registry.state import RegistryState
from countermark.rollout.controller import WRITER, Controller, ReleaseFacts
from countermark.rollout.events import RolloutEvent
from countermark.serving.catalog import Catalog

TICK_SECONDS = 0.15
"""How often the leader looks at the evidence: with the workers' poll, a rollback is in force within a second."""

RETRY_SECONDS = 2.0
"""How often the others try to take over."""


def release_facts(catalog: Catalog) -> dict[str, dict[str, ReleaseFacts]]:
    """What the rollout controller knows of the releases that may be served."""
    return {
        model: {
            version: ReleaseFacts(
                version=version,
                unfavourable=None if release.decider.policy is None else release.decider.policy.unfavourable,
                score=release.profile.score,
            )
            for version, release in versions.items()
        }
        for model, versions in catalog.models.items()
    }


def trusted_log(catalog: Catalog) -> RegistryState:
    """The log that a catalog was folded from: it says whose orders count.

    Raises:
        RolloutError: If none was read yet.
    """
    if catalog.state is None:
        raise RolloutError("no release log was read yet, so that nobody's order can count")
    return catalog.state


class RolloutLeader:
    """Leads the rollouts of a ledger for as long as it holds the controller's chain.

    Args:
        url: The ledger.
        catalog: Gives the releases that may be served now.
        clock: Where time comes from.
        log: A structured logger.
        groups: Protected groups by entity, for the guard of group approval.
    """

    def __init__(
        self, url: str, catalog: Callable[[], Catalog], clock: Clock, log: Any, *, groups: Groups | None = None
    ) -> None:
        self._url = url
        self._catalog = catalog
        self._clock = clock
        self._log = log
        self._groups = groups
        self._known: tuple[Catalog | None, Mapping[str, Mapping[str, ReleaseFacts]]] = (None, {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout", daemon=True)
        self._thread.start()

    def _facts(self) -> Mapping[str, Mapping[str, ReleaseFacts]]:
        catalog = self._catalog()
        if catalog is not self._known[0]:
            self._known = (catalog, release_facts(catalog))
        return self._known[1]

    def _run(self) -> None:
        while True:
            self._attempt()
            if self._stop.wait(RETRY_SECONDS):
                return

    def _attempt(self) -> None:
        try:
            with open_ledger(self._url, writer=WRITER) as ledger:
                self._lead(ledger)
        except CountermarkError as error:
            self._log.error("rollouts are not led by this worker any more", error=str(error))
        except Exception as error:  # noqa: BLE001 - the thread must live to lead again: nobody else turns releases back
            told = f"{type(error).__name__}: {error}"
            self._log.error("rollouts are not led by this worker any more", error=told, exc_info=error)

    def _lead(self, ledger: Ledger) -> None:
        try:
            controller = Controller(
                ledger, self._facts, lambda: trusted_log(self._catalog()), self._clock, groups=self._groups
            )
        except LedgerError:
            return
        self._log.info("leads rollouts", chain=ledger.chain)
        noticed: tuple[str, ...] = ()
        while not self._stop.wait(TICK_SECONDS):
            done = controller.tick()
            for event in (*controller.taken, *done):
                self._tell(event)
            for text in controller.noticed:
                if text not in noticed:
                    self._log.error("rollout evidence or order unread", what=text)
            noticed = controller.noticed

    def _tell(self, event: RolloutEvent) -> None:
        if event.type == "refused":
            self._log.error("rollout order refused", rollout=event.rollout, reason=event.reason)
            return
        self._log.info(
            "rollout",
            rollout=event.rollout,
            model=event.model,
            what=event.type,
            by=event.by,
            stage=event.stage,
            share=event.share,
            reason=event.reason,
        )

    def close(self) -> None:
        """Give up the lead."""
        self._stop.set()
        self._thread.join()

"""The thread that leads rollouts: every worker runs one, and the ledger lets one of them lead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from countermark.errors import CountermarkError, LedgerError
from countermark.ledger.ledger import Ledger
from countermark.ledger.opening import open_ledger
from countermark.records.clock import Clock
from countermark.records.groups import Groups
from countermark.rollout.controller import WRITER, Controller, ReleaseFacts
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

    def _lead(self, ledger: Ledger) -> None:
        try:
            controller = Controller(ledger, self._facts, self._clock, groups=self._groups)
        except LedgerError:
            return
        self._log.info("leads rollouts", chain=ledger.chain)
        while not self._stop.wait(TICK_SECONDS):
            for event in controller.tick():
                self._log.info(
                    "rollout",
                    rollout=event.rollout,
                    model=event.model,
                    what=event.type,
                    stage=event.stage,
                    share=event.share,
                    reason=event.reason,
                )

    def close(self) -> None:
        """Give up the lead."""
        self._stop.set()
        self._thread.join()

"""A governed model without a build: signed releases of the toy fraud model, in production in this process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from countermark.features.online import open_store
from countermark.governance.access import BankRegistry
from countermark.records.clock import SimulatedClock
from countermark.simulation.bank_life import BankStory, Scale, day_of
from countermark.simulation.claims import Claims
from countermark.simulation.desk import Desk
from countermark.simulation.life import Life
from countermark.simulation.resample import Resampler
from tests.registry.people import key
from tests.serving.releases import ReleaseBank
from tests.simulation.customers import customers, fraud_model

GOOD, FAULTY = "1.0.0", "1.0.1"


class ReadyDesk(Desk):
    """A desk on which everything is signed already."""

    def __init__(self, root: Path, releases: ReleaseBank, clock: SimulatedClock) -> None:
        self.root, self.model, self.clock = root, "toy_fraud", clock
        self.keys = cast(Any, {name: key(name) for name in ("eli", "rik")})
        self._releases = releases

    @property
    def bank(self) -> BankRegistry:
        """What a life asks of a registry, a minute later."""
        self.clock.set(self.clock.now() + timedelta(minutes=1))
        state = self._releases.log.fold(self.clock.now())
        return cast(BankRegistry, SimpleNamespace(directory=self._releases.directory, state=lambda: state))


class House:
    """A bank in a folder: its life, its story, and what was said.

    Args:
        folder: An empty folder.
        scale: How large the life is.
        made: The customers.
        cutoff: Cut-off of the second release.
    """

    def __init__(self, folder: Path, scale: Scale, made: Resampler | None = None, *, cutoff: float = 0.3) -> None:
        self.said: list[str] = []
        self.made = made or customers(seed=scale.seed, drifts=scale.drifts, label_days=scale.label_days)
        releases = ReleaseBank(folder / "releases")
        releases.release(f"toy_fraud@v{GOOD}", model=fraud_model())
        releases.release(f"toy_fraud@v{FAULTY}", model=fraud_model(FAULTY), cutoff=cutoff)
        clock = SimulatedClock(day_of(self.made, 0) - timedelta(days=1))
        store = open_store(f"sqlite:///{folder / 'features.sqlite'}")
        for plan in self.made.builder.plans:
            store.publish(plan, [], clock.now())
        self.claims = Claims(self.said.append)
        self.life = Life(ReadyDesk(folder, releases, clock), clock, store, self.said.append)
        self.story = BankStory(self.life, self.made, scale, self.claims)

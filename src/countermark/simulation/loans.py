"""Traffic of the simulated loan model: applications by the day, statements by the month, outcomes a month later."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from countermark.simulation.population import (
    Population,
    default_margin,
    draw_amounts,
    draw_population,
    draw_statements,
)
from countermark.simulation.traffic import Application, Event

LABEL_DAYS = 31
"""Days until the bank knows whether a payment was missed."""


class LoanTraffic:
    """Seeded customers who are none of those of the training data.

    Args:
        customers: How many.
        seed: Seed; the same seed gives the same life.
    """

    def __init__(self, customers: int, seed: int) -> None:
        people = draw_population(customers, seed + 1)
        self.people = Population(
            customer=np.array([f"L{k:06d}" for k in range(customers)], dtype=object),
            income=people.income,
            region=people.region,
            sex=people.sex,
            strain=people.strain,
        )
        self._rng = np.random.default_rng([seed, 3])
        self._made = 0

    def statements(self, day: datetime, months: int = 1) -> list[Event]:
        """Statements of every customer for the months that end on or before a day, oldest first."""
        balance, late = draw_statements(self.people, months, self._rng)
        found = []
        for back in range(months - 1, -1, -1):
            end = _month_end(day, back)
            known = end + timedelta(hours=6)
            column = months - 1 - back
            for k in range(self.people.size):
                event = {
                    "customer": str(self.people.customer[k]),
                    "statement_at": end.date().isoformat(),
                    "balance": float(balance[k, column]),
                    "late": int(late[k, column]),
                }
                found.append(Event(f"{event['customer']}-{event['statement_at']}", known, "statements", event))
        return found

    def applications(self, day: datetime, count: int, *, income_factor: float = 1.0) -> list[Application]:
        """Applications of a day, in order of time.

        Args:
            day: Its midnight.
            count: How many.
            income_factor: A planted drift: stated incomes times this, while the risk stays as it was.
        """
        chosen = self._rng.choice(self.people.size, count, replace=False)
        people = Population(*(getattr(self.people, name)[chosen] for name in Population.__dataclass_fields__))
        amount = draw_amounts(people, self._rng)
        missed = self._rng.random(count) < 1 / (1 + np.exp(-default_margin(people, amount)))
        seconds = np.sort(self._rng.integers(8 * 3600, 20 * 3600, count))
        self._made += count
        return [
            Application(
                id=f"loan-{self._made - count + k:06d}",
                at=day + timedelta(seconds=int(seconds[k])),
                request={
                    "customer": str(people.customer[k]),
                    "income": float(round(people.income[k] * income_factor)),
                    "amount": float(amount[k]),
                    "region": str(people.region[k]),
                },
                entity=str(people.customer[k]),
                groups={"sex": {"f": "female", "m": "male"}[str(people.sex[k])]},
                outcome=float(missed[k]),
                horizon=timedelta(days=LABEL_DAYS),
                delay=timedelta(days=LABEL_DAYS),
            )
            for k in range(count)
        ]


def _month_end(day: datetime, back: int) -> datetime:
    first = day.replace(day=1)
    for _ in range(back):
        first = (first - timedelta(days=1)).replace(day=1)
    return first - timedelta(days=1)

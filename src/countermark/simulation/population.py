"""Simulated loan customers: who they are, what their statements say, and who misses a payment. SYNTHETIC."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

REGIONS = ("Coast", "Hills", "Plain")
MONTH_ENDS = tuple(
    date(year, month, day)
    for year, month, day in (
        (2025, 1, 31), (2025, 2, 28), (2025, 3, 31), (2025, 4, 30), (2025, 5, 31), (2025, 6, 30),
    )
)  # fmt: skip
"""Dates of the statements of the training data."""


@dataclass(frozen=True, slots=True)
class Population:
    """Customers, as columns.

    Attributes:
        customer: Ids, object (n,).
        income: Monthly income, float64 (n,).
        region: Object (n,).
        sex: Object (n,); protected, and without any part in who misses a payment.
        strain: How stretched a customer is, standard normal, float64 (n,); nobody sees it.
    """

    customer: NDArray[np.object_]
    income: NDArray[np.float64]
    region: NDArray[np.object_]
    sex: NDArray[np.object_]
    strain: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Customers."""
        return int(self.income.size)


def draw_population(n: int, seed: int) -> Population:
    """Draw customers."""
    rng = np.random.default_rng([seed, 1])
    return Population(
        customer=np.array([f"C{k:06d}" for k in range(n)], dtype=object),
        income=np.asarray(np.round(np.exp(rng.normal(8.0, 0.45, n)), 0), dtype=np.float64),
        region=rng.choice(np.array(REGIONS, dtype=object), n, p=[0.5, 0.3, 0.2]),
        sex=rng.choice(np.array(["f", "m"], dtype=object), n),
        strain=rng.normal(0.0, 1.0, n),
    )


def draw_statements(
    people: Population, months: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Balances as a share of the limit, and days late, float64 and int64 (n, months)."""
    stretched = people.strain[:, np.newaxis]
    balance = 1 / (1 + np.exp(-(-0.6 + 0.9 * stretched + rng.normal(0, 0.5, (people.size, months)))))
    late = rng.poisson(np.exp(-2.2 + 0.9 * stretched), (people.size, months)) * 15
    return np.round(balance, 4), np.minimum(late, 90).astype(np.int64)


def default_margin(people: Population, amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of a missed payment within a month; what a perfect model would know."""
    burden = np.log(amount / people.income)
    return np.asarray(-2.6 + 1.15 * people.strain + 0.8 * burden - 0.4 * (np.log(people.income) - 8.0))


def draw_amounts(people: Population, rng: np.random.Generator) -> NDArray[np.float64]:
    """Amounts applied for."""
    return np.round(people.income * np.exp(rng.normal(0.0, 0.5, people.size)), -1) + 100.0


def training_csv(n: int, seed: int) -> str:
    """Text of the training file: one application per customer, July to November 2025."""
    people, rng = draw_population(n, seed), np.random.default_rng([seed, 2])
    amount = draw_amounts(people, rng)
    balance, late = draw_statements(people, len(MONTH_ENDS), rng)
    happened = rng.random(n) < 1 / (1 + np.exp(-default_margin(people, amount)))
    day = np.datetime64("2025-07-01") + rng.integers(0, 150, n).astype("timedelta64[D]")
    order = np.argsort(day, kind="stable")
    out = io.StringIO()
    months = range(1, len(MONTH_ENDS) + 1)
    balances, lates = ",".join(f"balance_{k}" for k in months), ",".join(f"late_{k}" for k in months)
    out.write(f"id,customer,applied_at,income,amount,region,sex,{balances},{lates},missed\n")
    for place, k in enumerate(order.tolist(), start=1):
        fields = [
            str(place), str(people.customer[k]), str(day[k]), f"{people.income[k]:.0f}", f"{amount[k]:.0f}",
            str(people.region[k]), str(people.sex[k]), *(f"{v:.4f}" for v in balance[k]),
            *(str(v) for v in late[k]), str(int(happened[k])),
        ]  # fmt: skip
        out.write(",".join(fields) + "\n")
    return out.getvalue()

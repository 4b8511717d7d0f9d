"""What an outcome can be."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from countermark.records.outcomes import date_problem, value_problem

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        (NOW, None),
        (NOW + timedelta(days=1), None),
        (NOW + timedelta(days=1, microseconds=1), "in the future"),
        (datetime(1900, 1, 1, tzinfo=UTC), None),
        (datetime(1899, 12, 31, 23, 59, tzinfo=UTC), "before 1900"),
    ],
)
def test_dates(happened: datetime, words: str | None) -> None:
    found = date_problem(happened, NOW)
    assert found is None if words is None else words in str(found)


@pytest.mark.parametrize(
    ("value", "event", "amount"),
    [
        (0.0, True, True),
        (1.0, True, True),
        (0.5, False, True),
        (-1.0, False, True),
        (7.5, False, True),
        (math.nan, False, False),
        (math.inf, False, False),
    ],
)
def test_values(value: float, event: bool, amount: bool) -> None:
    assert (value_problem(value, amounts=False) is None) == event
    assert (value_problem(value, amounts=True) is None) == amount

from __future__ import annotations

import pytest

from countermark.validation.phrasing import counted, named, plus_months, same_person


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2026-06-30", 12, "2027-06-30"),
        ("2026-11-15", 3, "2027-02-15"),
        ("2026-06-30", 0, "2026-06-30"),
    ],
)
def test_months_are_calendar_months(day: str, months: int, expected: str) -> None:
    assert plus_months(day, months) == expected


@pytest.mark.parametrize("person", [None, "", " ", "?", "TBD", "todo", "None", "unknown", "n/a"])
def test_a_placeholder_is_nobody(person: str | None) -> None:
    assert not named(person)


def test_names_are_compared_without_case_and_spacing() -> None:
    assert named("Ann Owner")
    assert same_person("Ann  Owner", "ann owner ")
    assert not same_person("Ann Owner", "Anna Owner")


def test_counts_carry_their_noun() -> None:
    assert counted(1, "row") == "1 row"
    assert counted(12345, "row") == "12 345 rows"
    assert counted(2, "digest differs", "digests differ") == "2 digests differ"

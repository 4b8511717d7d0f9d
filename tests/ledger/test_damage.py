"""No reader believes an entry that was changed after it was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from countermark.errors import LedgerError
from countermark.ledger import open_ledger, verify_export
from countermark.ledger.entry import Row
from countermark.replay.sample import draw
from tests.ledger.damage import change
from tests.ledger.entries import AT, item


@pytest.fixture
def damaged_url(url: str) -> str:
    """Twelve entries, of which 5 and 8 were changed."""
    with open_ledger(url) as ledger:
        ledger.append_many([item(n, "decision" if n % 2 else "outcome") for n in range(12)])
    change(url, 5, payload=b'{"n":6}')
    change(url, 8, at=AT)
    return url


def test_reading_stops_at_an_entry_that_was_changed_and_names_it(damaged_url: str) -> None:
    with open_ledger(damaged_url) as ledger:
        for kinds, seq in ((None, 5), (["decision"], 5), (["outcome"], 8), (["decision", "outcome"], 5)):
            with pytest.raises(LedgerError) as raised:
                list(ledger.read(kinds))
            assert raised.value.what == f"entry {seq} of chain 'chain-000' was changed after it was written"
            assert raised.value.hint == "verify the ledger: countermark ledger verify"
        assert len(list(ledger.read(after={"chain-000": 8}))) == 3
        assert [e.seq for e in ledger.read(["outcome"], limit=3)] == [0, 2, 4]


def test_a_reader_that_has_to_go_on_is_told_between_the_neighbours(damaged_url: str) -> None:
    told: list[object] = []
    with open_ledger(damaged_url) as ledger:
        for entry in ledger.read(damaged=lambda chain, row: told.append((chain, row[0]))):
            told.append(entry.seq)
    assert told == [0, 1, 2, 3, 4, ("chain-000", 5), 6, 7, ("chain-000", 8), 9, 10, 11]


def test_the_latest_is_checked_too(url: str) -> None:
    with open_ledger(url) as ledger:
        ledger.append_many([item(0, "routing"), item(1, "routing")])
    change(url, 1, payload=b"{}")
    found: list[Row] = []
    with open_ledger(url) as ledger:
        with pytest.raises(LedgerError, match="entry 1 of chain 'chain-000' was changed"):
            ledger.latest("routing")
        assert ledger.latest("routing", damaged=lambda _, row: found.append(row)) is None
    assert [row[0] for row in found] == [1]


def test_verification_and_export_still_see_every_damaged_entry(damaged_url: str, tmp_path: Path) -> None:
    with open_ledger(damaged_url) as ledger:
        report = ledger.verify()
        ledger.export(tmp_path / "export.jsonl")
    for found in (report, verify_export(tmp_path / "export.jsonl")):
        assert [p.seq for p in found.problems if "was changed" in p.what] == [5, 8]
        assert found.entries == 12


def test_a_decision_that_was_changed_can_be_drawn_for_replay(damaged_url: str) -> None:
    """It is replaying that names the damage: a draw without it would hide it, one that fails would stop every replay."""
    with open_ledger(damaged_url) as ledger:
        assert set(draw(ledger, 100, 7)) == {f"decision-{n}" for n in range(1, 12, 2)}
        with pytest.raises(LedgerError, match="entry 5"):
            ledger.get("decision", "decision-5")
        assert draw(ledger, 100, 7, after="2026-12-04T14:00:11.000000Z") == ()
        assert draw(ledger, 100, 7, model="other") == ()


def test_the_trigger_is_in_the_way_of_a_change(tmp_path: Path) -> None:
    """What the tests above do needs somebody who takes it away first."""
    with open_ledger(tmp_path) as ledger:
        ledger.append(*item(0))
    with sqlite3.connect(tmp_path / "chain-000.sqlite") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE entries SET key = 'x'")

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import LedgerError
from countermark.ledger import Entry
from countermark.ledger.batch import Batch
from countermark.ledger.entry import (
    GENESIS,
    MAX_PAYLOAD,
    EntryRef,
    Item,
    check_chain_name,
    check_item,
    entry_hash,
    entry_of,
    intact,
    link,
)
from tests.ledger.entries import AT, item, items


def test_the_hash_of_a_known_entry() -> None:
    message = (
        bytes(32)
        + b"\0\0\0\x09chain-000"
        + b"\0\0\0\x08\0\0\0\0\0\0\0\0"
        + b"\0\0\0\x1b2026-12-04T14:00:00.000000Z"
        + b"\0\0\0\x08decision"
        + b"\0\0\0\x02id"
        + b"\0\0\0\x02{}"
    )
    (row,) = link("chain-000", 0, GENESIS, [("decision", "id", b"{}", AT)])
    assert row[6] == hashlib.sha256(message).digest()
    assert row[6].hex() == "a8391eab836f9a3521ac536703f4f5e15efd378f9a6734ce7dcc6e7ce69a9bf4"
    manual = Path(__file__).parents[2] / "docs" / "reference" / "ledger_format.md"
    assert row[6].hex() in manual.read_text(encoding="utf-8")


@given(st.lists(items, max_size=8), st.integers(0, 1 << 40))
def test_a_link_hashes_as_one_entry_does(batch: list[Item], seq: int) -> None:
    rows = link("chain-000", seq, b"\x07" * 32, batch)
    previous = b"\x07" * 32
    for place, row in enumerate(rows):
        assert row[0] == seq + place
        assert row[5] == previous
        assert entry_hash("chain-000", row) == row[6]
        assert intact("chain-000", row)
        assert entry_of("chain-000", row).row == row
        previous = row[6]


@given(items, items, st.integers(0, 300), st.integers(0, 300), st.text("ab", max_size=3), st.text("ab", max_size=3))
def test_different_entries_have_different_hashes(
    one: Item, other: Item, seq: int, place: int, chain: str, second: str
) -> None:
    (row,), (beside,) = link(chain, seq, GENESIS, [one]), link(second, place, GENESIS, [other])
    assert (row[6] == beside[6]) == ((one, seq, chain) == (other, place, second))


def test_bytes_do_not_move_between_fields() -> None:
    (row,), (beside,) = (
        link("c", 0, GENESIS, [("decision", "ab", b"c", AT)]),
        link("c", 0, GENESIS, [("decision", "a", b"bc", AT)]),
    )
    assert row[6] != beside[6]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("decisions", "k", b"", AT), "'decisions' is no kind of entry"),
        (("decision", "", b"", AT), "the key of this decision cannot be stored"),
        (("decision", "k" * 513, b"", AT), "text of length|str of length 513"),
        (("decision", "a\x00b", b"", AT), "the key of this decision cannot be stored"),
        (("decision", "\ud800", b"", AT), "the key of this decision cannot be stored"),
        (("decision", 7, b"", AT), "got: int"),
        (("decision", "k", "text", AT), "the payload of this decision cannot be stored"),
        (("decision", "k", bytearray(b"x"), AT), "got: bytearray"),
        (("decision", "k", bytes(MAX_PAYLOAD + 1), AT), f"got: {MAX_PAYLOAD + 1} bytes"),
        (("decision", "k", b"", "2026-12-04T14:00:00Z"), "not in the form that sorts in time"),
        (("decision", "k", b"", "2026-12-04T14:00:00.000000+00:00"), "not in the form that sorts in time"),
        (("decision", "k", b"", "٢٠٢٦-12-04T14:00:00.000000Z"), "not in the form that sorts in time"),
        (("decision", "k", b"", "2026-13-04T14:00:00.000000Z"), "not in the form that sorts in time"),
        (("decision", "k", b"", None), "got: None"),
    ],
)
def test_what_cannot_be_stored_is_refused(bad: Item, message: str) -> None:
    with pytest.raises(LedgerError) as raised:
        check_item(bad)
    assert any(part in str(raised.value) for part in message.split("|"))


def test_a_message_shows_no_key() -> None:
    with pytest.raises(LedgerError) as raised:
        check_item(("decision", "customer 4711\x00", b"", AT))
    assert "4711" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "Chain", "a/b", "../x", "7up", "a" * 49, "a b"])
def test_a_chain_needs_a_plain_name(name: str) -> None:
    with pytest.raises(LedgerError, match="cannot name a chain"):
        check_chain_name(name)


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, 7), (1, b"x"), (2, None), (3, 1.5), (4, "text"), (5, None), (6, "hash"), (3, "\udcff"), (0, -1)],
)
def test_a_row_that_is_not_well_formed_is_not_intact(place: int, value: object) -> None:
    (row,) = link("c", 0, GENESIS, [item(1)])
    damaged = list(row)
    damaged[place] = value
    assert not intact("c", tuple(damaged))  # type: ignore[arg-type]


def test_an_entry_reads_its_payload() -> None:
    good, bad = (entry_of("c", row) for row in link("c", 0, GENESIS, [item(1), item(2, payload=b"\xff")]))
    assert good.json() == {"n": 1}
    assert isinstance(good, Entry)
    assert good.ref == EntryRef("c", 0, good.hash)
    with pytest.raises(LedgerError, match="the payload of entry 1 of 'c' is no JSON"):
        bad.json()


def test_a_batch_answers_every_item() -> None:
    stored = EntryRef("other", 5, "aa", True)
    batch = Batch(
        [item(1), item(2), item(1), item(1, "shadow"), item(1, "shadow"), item(3)], {("decision", "decision-2"): stored}
    )
    assert [fresh[1] for fresh in batch.fresh] == ["decision-1", "shadow-1", "shadow-1", "decision-3"]
    rows = link("c", 10, GENESIS, batch.fresh)
    refs = batch.refs("c", rows)
    assert [(ref.chain, ref.seq, ref.repeated) for ref in refs] == [
        ("c", 10, False),
        ("other", 5, True),
        ("c", 10, True),
        ("c", 11, False),
        ("c", 12, False),
        ("c", 13, False),
    ]

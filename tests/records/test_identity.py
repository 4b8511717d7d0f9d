"""Ids that sort in time, as RFC 9562 lays them out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote
from uuid import RFC_4122, UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.identity import ID_PATTERN, MAX_ID, CallId, Id, file_stem, is_id, new_id, row_id

INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def test_the_example_of_the_rfc() -> None:
    """RFC 9562, appendix A.6: 2022-02-22 14:22:22.00 -05:00, rand_a CC3, rand_b 18C4DC0C0C07398F."""
    at = datetime(2022, 2, 22, 14, 22, 22, 797_000, tzinfo=timezone(timedelta(hours=-5))) - timedelta(milliseconds=797)
    made = UUID(new_id(at, lambda n: bytes.fromhex("18C4DC0C0C07398F")[:n]))
    assert str(made) == "017f22e2-79b0-7000-98c4-dc0c0c07398f", "without a fraction of a millisecond, rand_a is 0"
    assert made.int >> 80 == 0x017F22E279B0
    assert (made.version, made.variant) == (7, RFC_4122)


@given(INSTANTS, INSTANTS)
def test_ids_sort_as_their_instants_do(one: datetime, other: datetime) -> None:
    first, second = sorted((one, other))
    worst = (lambda n: b"\xff" * n, lambda n: b"\x00" * n)
    ids = new_id(first, worst[0]), new_id(second, worst[1])
    assert (ids[0] < ids[1]) == (first < second)
    assert {UUID(made).version for made in ids} == {7}
    assert {UUID(made).variant for made in ids} == {RFC_4122}


def test_ids_of_one_instant_differ_and_the_clock_alone_orders_them() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    made = {new_id(at) for _ in range(2000)}
    assert len(made) == 2000
    assert len({text[:18] for text in made}) == 1
    assert new_id(datetime(1901, 1, 1, tzinfo=UTC)).startswith("00000000-0000-7")


GOOD = ("a", "7", "_x", "order-17", "A.b_c:d@e+f=g~h", "0192f0c1-0000-7000-8000-000000000000", "x" * MAX_ID)
BAD = (
    "", "a/b", "a b", " a", "a\n", "a\x00", "..", ".a", "-a", "~a", "Größe", "a%2Fb", "a\\b", "a?b", "a#b", "a,b", "'a'",
    "x" * (MAX_ID + 1),
)  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_an_id_that_holds_to_the_rule(text: str) -> None:
    assert is_id(text)
    assert re.search(ID_PATTERN, text)
    assert msgspec.convert(text, Id) == text
    assert file_stem(text) == text
    assert unquote(text) == text


@pytest.mark.parametrize("text", BAD)
def test_an_id_that_does_not(text: str) -> None:
    assert not is_id(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Id)


def test_an_id_of_several_decisions_leaves_room_for_its_endings_and_may_be_nothing() -> None:
    for text in ("", "x", "x" * (MAX_ID - 16)):
        assert msgspec.convert(text, CallId) == text
        assert is_id(f"{text or 'x'}.64of64")
    for text in ("a/b", "x\n", "\n", "x" * (MAX_ID - 15)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text, CallId)


@given(st.lists(st.one_of(st.text(max_size=4), st.sampled_from(GOOD + BAD)), unique=True))
def test_no_two_ids_have_one_file_name(ids: list[str]) -> None:
    """Also ids of ledgers from before the rule."""
    stems = [file_stem(identity) for identity in ids]
    assert len(set(stems)) == len(ids)
    for stem in stems:
        assert re.fullmatch(r"[A-Za-z0-9_~][A-Za-z0-9._:@+=~-]*", stem)
        assert len(f"decision_{stem}.json") < 255


@given(INSTANTS, st.integers(1, 10**9))
def test_ids_that_are_made_here_hold_to_the_rule(at: datetime, row: int) -> None:
    assert is_id(new_id(at))
    assert is_id(row_id("0f" * 32, row))
    assert row_id("0f" * 32, row) != row_id("0f" * 32, row + 1) != row_id("1f" * 32, row + 1)

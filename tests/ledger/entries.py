"""Items for ledger tests."""

from __future__ import annotations

from hypothesis import strategies as st

from countermark.ledger import KINDS
from countermark.ledger.entry import Item

AT = "2026-12-04T14:00:00.000000Z"


def instant(second: int) -> str:
    return f"2026-12-04T{14 + second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000000Z"


def item(number: int, kind: str = "decision", payload: bytes | None = None) -> Item:
    return kind, f"{kind}-{number}", b'{"n":%d}' % number if payload is None else payload, instant(number % 3600)


keys = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
items = st.tuples(
    st.sampled_from([kind for kind in KINDS if kind != "checkpoint"]),
    keys,
    st.binary(max_size=40),
    st.integers(0, 30000).map(instant),
)

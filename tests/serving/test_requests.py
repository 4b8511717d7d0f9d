"""Bodies: a name that stands twice in one object is found, however it is written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from countermark.serving.requests import DecisionRequest, EventRequest, repeated_name

NAMES = st.sampled_from(["a", "b", 'c":', "d\\", "é", ""])
VALUES = st.one_of(st.none(), st.integers(-9, 9), st.sampled_from(['":', '\\":"', "x"]))
SPACE = st.sampled_from(["", " ", "\n\t"])


@st.composite
def members(draw: st.DrawFn) -> list[tuple[str, Any]]:
    return draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))


@given(inner=members(), outer=st.lists(st.sampled_from(["id", "entity", "request"]), max_size=3), space=SPACE)
def test_a_name_that_stands_twice_is_found(inner: list[tuple[str, Any]], outer: list[str], space: str) -> None:
    def text(pairs: list[tuple[str, str]]) -> str:
        return "{" + ",".join(f"{json.dumps(name)}{space}:{space}{value}" for name, value in pairs) + "}"

    request = text([(name, json.dumps(value)) for name, value in inner])
    around = [(name, request if name == "request" else '"k"') for name in ["request", *outer]]
    body = text(around).encode()
    asked = msgspec.json.decode(body, type=DecisionRequest)
    twice = len({name for name, _ in inner}) < len(inner) or len(dict(around)) < len(around)
    assert (repeated_name(body, asked) is not None) == twice


def test_a_name_that_stands_twice_is_found_in_an_event() -> None:
    body = b'{"table": "t", "event": {"b": 1, "b": 2}}'
    assert repeated_name(body, msgspec.json.decode(body, type=EventRequest)) == "b"
    assert repeated_name(b'{"a":' * 4000 + b"1" + b"}" * 4000) is None, "too deep for any contract"

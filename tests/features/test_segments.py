"""Segments are few named parts: values, declared bands, or an error that says what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.consistency import spec_problems
from countermark.errors import ConfigError
from countermark.features.groups import band_names
from countermark.features.segments import MOST_SEGMENTS, segment_columns
from tests.features.specs import spec


def segments(values: pa.Array, **data: Any) -> list[str | None]:
    model = spec({"data": {"segments": ["x"]} | data})
    return segment_columns(model, pa.table({"x": values}))["x"].to_pylist()


def test_few_values_are_the_segments() -> None:
    assert segments(pa.array(["b", None, "a"])) == ["b", None, "a"]
    assert segments(pa.array([36, 60, None])) == ["36", "60", None]
    assert segments(pa.array([True, None])) == ["true", None]


def test_bands_of_whole_numbers_and_of_fractions_are_named_apart() -> None:
    assert segments(pa.array([9, 10, 49, 50, None]), bands={"x": [10, 50]}) == [
        "below 10", "10-49", "10-49", "50+", None,
    ]  # fmt: skip
    assert segments(pa.array([9.99, 10.0, 49.5, 1e9, None]), bands={"x": [10, 50]}) == [
        "below 10", "10 to below 50", "10 to below 50", "50+", None,
    ]  # fmt: skip


def test_edges_of_large_amounts_keep_their_digits() -> None:
    assert band_names((1_250_000.0, 2_500_000.0), fractions=True) == ["1250000 to below 2500000", "2500000+"]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_every_number_falls_into_the_band_that_its_edges_say(values: list[float], edges: list[int]) -> None:
    named = segments(pa.array(values), bands={"x": edges})
    names = [f"below {edges[0]}", *band_names(tuple(map(float, edges)), fractions=True)]
    assert named == [names[sum(value >= edge for edge in edges)] for value in values]


def test_as_many_values_as_a_federation_has_states_are_allowed_and_one_more_is_not() -> None:
    few = pa.array([f"s{i}" for i in range(MOST_SEGMENTS)])
    assert len(set(segments(few))) == MOST_SEGMENTS
    with pytest.raises(ConfigError) as caught:
        segments(pa.array([f"s{i}" for i in range(MOST_SEGMENTS + 1)]))
    assert "segment 'x' takes too many values" in str(caught.value)
    assert "61 different values in 61 rows" in str(caught.value)
    assert "group the values where the data is made" in str(caught.value)
    with pytest.raises(ConfigError, match=r"bands: \{x: \[0, 1000, 5000\]\}"):
        segments(pa.array(np.arange(61)))


def test_bands_of_a_column_that_turned_out_to_be_text() -> None:
    with pytest.raises(ConfigError, match="segment 'x' has bands and is no number"):
        segments(pa.array(["a"]), bands={"x": [1]})


PROBLEMS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "a continuous column": ({"segments": ["late"]}, "segment 'late' is continuous", ("data", "segments", "0")),
    "a date": ({"segments": ["g", "day"]}, "segment 'day' is a date", ("data", "segments", "1")),
    "bands of text": (
        {"segments": ["g"], "bands": {"g": [1]}}, "segment 'g' has bands and is no number", ("data", "bands", "g"),
    ),
    "bands of no segment": (
        {"segments": ["g"], "bands": {"age": [1]}}, "'bands' names 'age', which is no segment", ("data", "bands", "age"),
    ),
    "bands that fall": (
        {"segments": ["age"], "bands": {"age": [60, 30]}}, "the bands of segment 'age' do not ascend",
        ("data", "bands", "age"),
    ),
    "bands without an edge": (
        {"segments": ["age"], "bands": {"age": []}}, "the bands of segment 'age' do not ascend",
        ("data", "bands", "age"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_the_spec_alone_shows_is_told_at_compile(case: str) -> None:
    data, what, path = PROBLEMS[case]
    found = [problem for problem in spec_problems(spec({"data": data})) if problem.what == what]
    assert [problem.path for problem in found] == [path]
    assert found[0].expected


def test_a_banded_number_and_named_values_are_no_problem() -> None:
    model = spec({"data": {"segments": ["g", "late", "age"], "bands": {"late": [1, 5]}}})
    assert not [problem for problem in spec_problems(model) if "segment" in problem.what or "bands" in problem.what]

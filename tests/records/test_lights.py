from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.records.lights import Light, worst

ORDER = (Light.INFORMATION, Light.PASS, Light.WATCH, Light.NOT_EVALUATED, Light.FAIL)
LIGHTS = st.sampled_from(list(Light))


@pytest.mark.parametrize(
    ("light", "glyph", "word"),
    [
        (Light.PASS, "●", "Pass"),
        (Light.WATCH, "▲", "Watch"),
        (Light.FAIL, "■", "Fail"),
        (Light.NOT_EVALUATED, "◇", "Not evaluated"),
        (Light.INFORMATION, "○", "Information"),
    ],
)
def test_a_light_is_a_glyph_and_a_word(light: Light, glyph: str, word: str) -> None:
    assert (light.glyph, light.word) == (glyph, word)


def test_no_two_lights_look_alike() -> None:
    assert len({light.glyph for light in Light}) == len({light.word for light in Light}) == len(Light) == 5


def test_the_worst_of_nothing_is_information() -> None:
    assert worst([]) is Light.INFORMATION


@pytest.mark.parametrize(("a", "b"), list(itertools.product(ORDER, ORDER)))
def test_the_worst_of_two(a: Light, b: Light) -> None:
    assert worst([a, b]) is ORDER[max(ORDER.index(a), ORDER.index(b))]


@given(st.lists(LIGHTS, max_size=8), st.lists(LIGHTS, max_size=8))
def test_the_worst_of_groups_is_the_worst_of_all(a: list[Light], b: list[Light]) -> None:
    assert worst([worst(a), worst(b)]) is worst(a + b) is worst(iter(b + a))


@given(st.lists(LIGHTS, min_size=1))
def test_the_worst_is_one_of_them(lights: list[Light]) -> None:
    assert worst(lights) in lights


def test_what_could_not_be_looked_at_is_never_a_pass() -> None:
    assert worst([Light.PASS] * 9 + [Light.NOT_EVALUATED]) is Light.NOT_EVALUATED

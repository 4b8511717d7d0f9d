"""Figures: same record, same bytes; real text; nothing dropped; readable without colour."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from importlib import resources

import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st

from countermark.charts.figure import draw
from countermark.charts.palette import PAPER, looks_for, shade
from countermark.charts.scales import linear_scale, log_scale
from countermark.charts.svg import _WIDTHS, coordinate, shorten, text_width
from countermark.records.evidence import Figure, ReferenceLine, Series
from tests.report import builders

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {b.id: b for s in builders.body() for b in s.blocks if isinstance(b, Figure)}
ALT = "A figure for a test with enough words."


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter(f"{SVG}text")]


def bars(values: tuple[float | None, ...], **rest: object) -> Figure:
    one = Series(name="Holdout", role="holdout", mark="bars", x=tuple(f"c{k}" for k in range(len(values))), y=values)
    return Figure(id="X1-F1", chart="bars", caption="c", alt=ALT, series=(one,), **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_kind_is_well_formed_deterministic_and_inside_its_frame(name: str) -> None:
    svg = draw(FIGURES[name])
    assert svg == draw(FIGURES[name].model_copy())
    root = ET.fromstring(svg)
    _, _, width, height = (float(v) for v in root.attrib["viewBox"].split())
    assert width == (640 if FIGURES[name].size == "full" else 306)
    for node in root.iter(f"{SVG}text"):
        x, y, size = float(node.attrib["x"]), float(node.attrib["y"]), float(node.attrib["font-size"])
        if "transform" not in node.attrib:
            assert -1 <= x <= width + 1, node.text
            assert x + text_width(node.text or "", size) <= width + 10, node.text
        assert 0 <= y <= height + 1, node.text
        assert size * 0.75 >= 7.1
    assert FIGURES[name].alt == root.attrib["aria-label"]


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_coordinates_are_rounded_and_paths_are_few(name: str) -> None:
    svg = draw(FIGURES[name])
    shapes = re.sub(r"<text.*?</text>", "", re.sub(r' aria-label="[^"]*"', "", svg))
    assert not re.search(r"\d\.\d\d", shapes.replace('stroke-width="', ""))
    assert svg.count("<path") + svg.count("<rect") < 140


def test_counts_intervals_limits_and_units_are_drawn() -> None:
    printed = " ".join(texts(draw(builders.grade_figure("E2-F1"))))
    assert "41\u202f220" in printed
    assert "2\u202f283" in printed
    assert "Default rate (%)" in printed
    forest = texts(draw(builders.forest_figure("F1-F1")))
    assert "0.842\u00a0to\u00a00.900" in forest
    assert "parity" in forest
    assert "611" in forest
    psi = " ".join(texts(draw(builders.psi_figure("E3-F1"))))
    assert "watch 0.10" in psi
    assert "n per point: largest" in psi


def test_bars_always_start_at_zero() -> None:
    scale = linear_scale([0.6, 0.61], (0, 100), "number", zero=True)
    assert scale.low == 0
    root = ET.fromstring(draw(bars((0.6, 0.61))))
    widths = [float(r.attrib["width"]) for r in root.iter(f"{SVG}rect")]
    assert widths[1] / widths[0] == pytest.approx(0.61 / 0.6, rel=0.01)


def test_a_role_looks_the_same_in_every_figure_and_differs_without_colour() -> None:
    def of(*roles: str) -> tuple[object, ...]:
        return looks_for([Series(name=r, role=r, x=(1.0,), y=(1.0,)) for r in roles])  # type: ignore[arg-type]

    alone, among = of("out_of_time")[0], of("development", "holdout", "out_of_time")[2]
    assert alone == among
    looks = of("development", "holdout", "out_of_time", "calibration", "reference")
    assert len({(look.dash, look.marker) for look in looks}) == 5  # type: ignore[attr-defined]
    grey = sorted(_luminance(look.colour) for look in looks)  # type: ignore[attr-defined]
    assert grey[-1] - grey[0] > 0.15
    twice = looks_for([Series(name=n, role="holdout", x=(1.0,), y=(1.0,)) for n in "ab"])
    assert twice[0].colour == twice[1].colour
    assert twice[0].dash != twice[1].dash


def _luminance(colour: str) -> float:
    def channel(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(int(colour[k : k + 2], 16)) for k in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    a, b = sorted((_luminance(one), _luminance(other)))
    return (b + 0.05) / (a + 0.05)


@given(st.floats(0, 1))
def test_heat_map_text_keeps_its_contrast(fraction: float) -> None:
    background, ink = shade(fraction)
    assert contrast(background, ink) >= 4.5


def test_lines_are_visible_on_paper() -> None:
    roles = ("development", "holdout", "out_of_time", "calibration", "reference", "group")
    for role in roles:
        look = looks_for([Series(name="x", role=role, x=(1.0,), y=(1.0,))])[0]  # type: ignore[arg-type]
        assert contrast(look.colour, PAPER) >= 3


def test_missing_values_break_lines_and_are_never_drawn() -> None:
    one = Series(name="a", x=(1.0, 2.0, 3.0, 4.0), y=(1.0, None, 3.0, 4.0))
    svg = draw(Figure(id="X1-F1", chart="xy", caption="c", alt=ALT, series=(one,)))
    lines = [p for p in ET.fromstring(svg).iter(f"{SVG}path") if p.attrib.get("stroke-width") == "1.8"]
    assert len(lines) == 3  # legend key and two stretches
    empty = Series(name="a", x=(1.0,), y=(None,))
    assert texts(draw(Figure(id="X1-F1", chart="xy", caption="c", alt=ALT, series=(empty,)))) == ["No value to draw."]


@given(
    st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=20),
    st.sampled_from(["number", "share", "int", "auc"]),
    st.booleans(),
)
def test_linear_axes_hold_all_values_between_round_ticks(values: list[float], style: str, zero: bool) -> None:
    scale = linear_scale(values, (10, 200), style, zero=zero)  # type: ignore[arg-type]
    pad = 1e-6 * max(1.0, *(abs(v) for v in values))
    assert scale.low <= min(values) + pad
    assert scale.high >= max(values) - pad
    assert all(10 <= scale.at(v) <= 200 for v in values)
    assert len(scale.ticks) == len(scale.labels) >= 2
    if zero:
        assert scale.low <= 0 <= scale.high


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=10))
def test_log_axes_hold_all_values(values: list[float]) -> None:
    scale = log_scale(values, (0, 100), "number")
    assert scale.low <= min(values) * (1 + 1e-6)
    assert scale.high >= max(values) * (1 - 1e-6)
    assert all(0 <= scale.at(v) <= 100 for v in values)


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_coordinates_have_one_decimal_and_no_minus_zero(value: float) -> None:
    text = coordinate(value)
    assert re.fullmatch(r"-?\d+(\.\d)?", text)
    assert text != "-0"


@given(st.text(max_size=60))
def test_shortened_text_fits(text: str) -> None:
    assert text_width(shorten(text, 10, 80), 10) <= 80 or len(text) == 0


def test_the_width_table_is_the_one_of_the_shipped_font() -> None:
    with resources.files("countermark.report").joinpath("fonts", "Inter-Regular.ttf").open("rb") as stream:
        font = TTFont(stream)
        cmap, metrics, units = font.getBestCmap(), font["hmtx"], font["head"].unitsPerEm
        actual = tuple(round(1000 * metrics[cmap[code]][0] / units) for code in range(0x20, 0x7F))
    assert actual == _WIDTHS


def test_hostile_names_are_text_and_nothing_else() -> None:
    evil = '<script>&"' + "W" * 500
    one = Series(name=evil, role="group", mark="bars", x=(evil, "b"), y=(1.0, 2.0))
    line = ReferenceLine(axis="x", value=1.5, label=evil)
    for chart in ("bars", "forest", "waterfall", "flow", "xy"):
        figure = Figure(id="X1-F1", chart=chart, caption="c", alt=ALT, series=(one,), lines=(line,))
        root = ET.fromstring(draw(figure))
        assert not list(root.iter("script"))


@pytest.mark.parametrize("size", ["half", "full"])
@pytest.mark.parametrize("most", [150_000.0, 40_000.0, 7_141_778.0, 0.03])
@pytest.mark.parametrize("chart", ["xy", "forest"])
def test_axis_labels_stay_inside_and_apart(size: str, most: float, chart: str) -> None:
    x: tuple[float | str, ...] = (0.0, most / 3, most) if chart == "xy" else ("a", "b", "c")
    y = (0.1, 0.2, 0.3) if chart == "xy" else (-most, most / 2, most)
    one = Series(name="development", role="development", x=x, y=y, low=y if chart == "forest" else None, high=y)
    if chart == "xy":
        one = one.model_copy(update={"low": y})
    svg = ET.fromstring(draw(Figure(id="X1-F1", chart=chart, size=size, caption="c", alt=ALT, series=(one,))))  # type: ignore[arg-type]
    width = float(svg.attrib["width"])
    by_line: dict[str, list[tuple[float, float]]] = {}
    for element in svg.iter(f"{SVG}text"):
        left = float(element.attrib["x"])
        right = left + text_width(element.text or "", float(element.attrib["font-size"]))
        assert right <= width + 0.6, element.text
        by_line.setdefault(element.attrib["y"], []).append((left, right))
    for spans in by_line.values():
        ordered = sorted(spans)
        assert all(before[1] <= after[0] + 0.2 for before, after in itertools.pairwise(ordered))


def test_one_row_of_legend_stands_beside_the_axis_title() -> None:
    def height(label: str) -> float:
        one = Series(name="out of time", role="out_of_time", x=(1.0, 2.0), y=(0.1, 0.2))
        svg = draw(Figure(id="X1-F1", chart="xy", size="half", caption="c", alt=ALT, y_label=label, series=(one,)))
        return float(ET.fromstring(svg).attrib["height"])

    assert height("Share of rows") == height("Share") < height("A title that is far too long to leave room for a name")


def test_half_figures_with_a_diagonal_are_nearly_square() -> None:
    def height(*lines: ReferenceLine) -> float:
        one = Series(name="a", x=(0.0, 1.0), y=(0.0, 1.0))
        figure = Figure(id="X1-F1", chart="xy", size="half", caption="c", alt=ALT, series=(one,), lines=lines)
        return float(ET.fromstring(draw(figure)).attrib["height"])

    assert height(ReferenceLine(axis="diagonal", label="no skill")) > height() + 40

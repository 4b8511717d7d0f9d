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

from countermark.charts.figure import draw, draw_pair
from countermark.charts.palette import PAPER, looks_for, shade
from countermark.charts.scales import linear_scale, log_scale
from countermark.charts.svg import _WIDTHS, SMALL, coordinate, shorten, text_width, wrap
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

    assert height(ReferenceLine(axis="diagonal", label="no skill")) > height() + 30


Box = tuple[float, float, float, float]


def boxes(svg: str) -> list[tuple[str, Box]]:
    """Every upright text of a figure with the box that it takes: left, top, right, bottom."""
    found = []
    for node in ET.fromstring(svg).iter(f"{SVG}text"):
        if "transform" not in node.attrib:
            x, y, size = (float(node.attrib[key]) for key in ("x", "y", "font-size"))
            found.append((node.text or "", (x, y - 0.75 * size, x + text_width(node.text or "", size), y + 0.2 * size)))
    return found


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] - 0.3 and b[0] < a[2] - 0.3 and a[1] < b[3] - 0.3 and b[1] < a[3] - 0.3


def assert_no_text_covers_another(svg: str) -> None:
    told = boxes(svg)
    height = float(ET.fromstring(svg).attrib["height"])
    for (text, a), (other, b) in itertools.combinations(told, 2):
        assert not overlap(a, b), (text, other)
    assert all(box[3] <= height + 1 for _, box in told)


def data_points(svg: str, width: str = "1.8") -> list[tuple[float, float]]:
    """Points along the drawn lines of the series."""
    points = []
    for node in ET.fromstring(svg).iter(f"{SVG}path"):
        if node.attrib.get("stroke-width") != width:
            continue
        corners = [tuple(float(v) for v in part.split()) for part in re.split("[ML]", node.attrib["d"]) if part]
        for (x0, y0), (x1, y1) in itertools.pairwise(corners):
            points += [(x0 + (x1 - x0) * k / 50, y0 + (y1 - y0) * k / 50) for k in range(51)]
    return points


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_no_text_covers_another(name: str) -> None:
    assert_no_text_covers_another(draw(FIGURES[name]))


@given(st.lists(st.floats(0.7, 1.3), min_size=1, max_size=4))
def test_names_of_reference_lines_never_cover_one_another(limits: list[float]) -> None:
    one = Series(name="AIR", role="group", x=("a", "b"), y=(0.9, 1.1), low=(0.8, 1.0), high=(1.0, 1.2), n=(100, 200))
    lines = tuple(ReferenceLine(axis="x", value=v, label=f"limit number {k}") for k, v in enumerate(limits))
    for size in ("half", "full"):
        figure = Figure(
            id="X1-F1", chart="forest", size=size, caption="c", alt=ALT, y_label="AIR", series=(one,), lines=lines
        )  # type: ignore[arg-type]
        svg = draw(figure)
        assert_no_text_covers_another(svg)
        assert sum(text.startswith("limit number") for text in texts(svg)) == len(limits)


@pytest.mark.parametrize("high", [1.0, 0.95, 0.3, 0.05])
@pytest.mark.parametrize("axis", ["x", "y", "diagonal"])
def test_the_name_of_a_reference_line_covers_no_data_where_there_is_room(axis: str, high: float) -> None:
    x = tuple(k / 30 for k in range(31))
    one = Series(name="curve", role="out_of_time", x=x, y=tuple(high * (1 - v) ** 2 + 0.2 for v in x))
    line = ReferenceLine(axis=axis, value=0.2, label="event rate")  # type: ignore[arg-type]
    second = ReferenceLine(axis="y", value=0.22, label="second line")
    for size in ("half", "full"):
        figure = Figure(id="X1-F1", chart="xy", size=size, caption="c", alt=ALT, series=(one,), lines=(line, second))  # type: ignore[arg-type]
        svg = draw(figure)
        told = dict(boxes(svg))
        assert not overlap(told["event rate"], told["second line"])
        left, top, right, bottom = told["event rate"]
        assert not [p for p in data_points(svg) if left < p[0] < right and top < p[1] < bottom]


def groups(count: int) -> tuple[Series, ...]:
    return tuple(
        Series(
            name=f"group {k}", role="group", x=tuple(0.1 * j + 0.01 * k for j in range(1, 6)),
            y=tuple(0.1 * j for j in range(1, 6)), n=tuple(100 * (k + 1) + j for j in range(5)),
        )
        for k in range(count)
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
def test_the_rows_behind_every_series_are_shown(count: int) -> None:
    series = groups(count)
    svg = draw(Figure(id="X1-F1", chart="xy", caption="c", alt=ALT, series=series, x_format="share", y_format="share"))
    printed = [text.replace("\u202f", "") for text in texts(svg)]
    for one in series:
        total = f"(n\u00a0=\u00a0{sum(one.n or ())})"
        each = all(str(n) in printed for n in one.n or ())
        assert each or any(total in text for text in printed), one.name
    if count > 4:
        drawn = len(re.findall("<rect", svg))
        assert drawn >= sum(len(one.x) for one in series)
        assert f"in all {sum(sum(one.n or ()) for one in series)}" in " ".join(printed)


@pytest.mark.parametrize("trials", [1, 2, 3, 5, 12])
def test_what_is_counted_has_whole_ticks(trials: int) -> None:
    one = Series(name="trial", role="development", mark="points", x=tuple(float(k) for k in range(1, trials + 1)),
                 y=tuple(0.7 + 0.01 * k for k in range(trials)))  # fmt: skip
    figure = Figure(
        id="X1-F1", chart="xy", size="half", caption="c", alt=ALT, series=(one,), x_format="int", y_format="auc"
    )
    height = float(ET.fromstring(draw(figure)).attrib["height"])
    axis = [text for text, box in boxes(draw(figure)) if box[1] > height - 20]
    assert axis
    assert all(re.fullmatch("−?[0-9]+", text) for text in axis), axis


def test_a_band_lies_between_its_ends_alone() -> None:
    x = tuple(k / 59 for k in range(60))
    band = Series(name="band", role="reference", mark="area", x=x, y=x, low=tuple(v * 0.95 for v in x),
                  high=tuple(v * 1.05 for v in x))  # fmt: skip
    curve = Series(name="curve", role="out_of_time", x=x, y=x)
    svg = draw(Figure(id="X1-F1", chart="xy", caption="c", alt=ALT, series=(band, curve)))
    (polygon,) = [
        n for n in ET.fromstring(svg).iter(f"{SVG}path") if n.attrib["d"].endswith("Z") and "stroke" not in n.attrib
    ]
    corners = [
        tuple(float(v) for v in part.split()) for part in re.split("[ML]", polygon.attrib["d"].rstrip("Z")) if part
    ]
    assert len(corners) == 120
    highest = [y for at, y in corners if at == max(a for a, _ in corners)]
    assert len(highest) == 2
    assert abs(highest[0] - highest[1]) < 25  # a tenth of the plot, not its whole height


def test_names_of_categories_are_whole_and_slant_where_they_do_not_fit() -> None:
    names = (
        "car",
        "credit_card",
        "major_purchase",
        "medical",
        "vacation",
        "small_business",
        "house",
        "moving",
        "other",
    )
    one = Series(name="rate", role="development", mark="points", x=names, y=tuple(0.1 for _ in names))
    svg = draw(Figure(id="X1-F1", chart="xy", size="half", caption="c", alt=ALT, series=(one,)))
    assert set(names) <= set(texts(svg))
    assert svg.count("rotate(-45") == len(names)
    for node in ET.fromstring(svg).iter(f"{SVG}text"):
        if "transform" in node.attrib:
            end = float(node.attrib["x"]) + text_width(node.text or "", SMALL)
            assert end - 0.7071 * text_width(node.text or "", SMALL) >= -1, node.text
    ordered = Series(name="rate", role="development", mark="points", x=tuple(f"20{k:02d}Q1" for k in range(40)),
                     y=tuple(0.1 for _ in range(40)))  # fmt: skip
    many = draw(Figure(id="X1-F1", chart="xy", caption="c", alt=ALT, series=(ordered,)))
    assert "rotate" not in many
    assert_no_text_covers_another(many)


def test_lines_end_neither_inside_a_number_nor_inside_a_count() -> None:
    assert wrap("710 to 1\u202f511", SMALL, 36, 2) == ["710 to", "1\u202f511"]
    assert wrap("graduate school (N = 259)", SMALL, 60, 3) == ["graduate", "school", "(N\u00a0=\u00a0259)"]


def test_a_heat_map_names_every_column_and_its_cells_inside_the_frame() -> None:
    names = ("18-24 (N = 156)", "25-34 (N = 445)", "graduate school (N = 259)")
    figure = Figure(
        id="X1-F1", chart="heatmap", size="half", caption="c", alt=ALT, y_label="Share of declined", y_format="share",
        rows=("R01 A reason that is long", "R02 Another"), columns=names, cells=((0.9, 0.5, 0.2), (0.1, 0.2, 0.3)),
    )  # fmt: skip
    svg = draw(figure)
    printed = " ".join(texts(svg)).replace("\u00a0", " ")
    assert all(word in printed for word in ("18-24", "(N = 156)", "graduate", "(N = 259)", "Share of declined (%)"))
    width = float(ET.fromstring(svg).attrib["width"])
    assert all(box[0] >= 0 and box[2] <= width + 0.5 for _, box in boxes(svg))
    for node in ET.fromstring(svg).iter(f"{SVG}rect"):
        assert float(node.attrib["x"]) + float(node.attrib["width"]) <= width + 0.5


def test_a_flow_divides_its_last_box() -> None:
    steps = Series(name="rows", mark="bars", x=("read", "kept", "used"), y=(227_214.0, 227_213.0, 227_213.0))
    parts = Series(name="samples", mark="bars", x=("development", "out-of-time"), y=(87_000.0, 140_213.0))
    alone = draw(Figure(id="X1-F1", chart="flow", caption="c", alt=ALT, series=(steps,), y_format="int"))
    divided = draw(Figure(id="X1-F1", chart="flow", caption="c", alt=ALT, series=(steps, parts), y_format="int"))
    assert "−1" in texts(divided)
    assert {"development", "out-of-time", "140\u202f213"} <= set(texts(divided))
    assert not {"−86\u202f213", "−140\u202f213"} & set(texts(divided))  # a part is no loss
    assert divided.count('fill="#7B8794"') == alone.count('fill="#7B8794"') + 2


def test_numbers_beside_the_rows_of_one_figure_share_their_decimals() -> None:
    steps = Series(
        name="margin", role="holdout", mark="bars", x=("start", "a", "b", "c"), y=(-1.987, 0.5267, 0.04366, -0.004)
    )
    printed = texts(draw(Figure(id="X1-F1", chart="waterfall", size="half", caption="c", alt=ALT, series=(steps,))))
    assert [t for t in printed if re.fullmatch(r"[+−]\d\.\d{3}", t)][:4] == ["−1.987", "+0.527", "+0.044", "−0.004"]
    one = Series(
        name="AIR", role="group", x=("a", "b"), y=(0.8825, 1.032), low=(0.84391, 1.0123), high=(0.92292, 1.0531)
    )
    told = texts(draw(Figure(id="X1-F1", chart="forest", caption="c", alt=ALT, series=(one,))))
    assert "0.844\u00a0to\u00a00.923" in told
    assert "1.012\u00a0to\u00a01.053" in told


def test_two_plots_in_one_row_begin_at_one_height() -> None:
    def grid(svg: str) -> float:
        path = next(n for n in ET.fromstring(svg).iter(f"{SVG}path") if n.attrib.get("stroke") == "#E4E7EB")
        return min(float(v) for v in re.findall(r"[ML][\d.]+ ([\d.]+)", path.attrib["d"]))

    few = Series(name="hold-out", role="holdout", x=(0.0, 1.0), y=(0.0, 1.0))
    many = tuple(Series(name=f"a long name of series {k}", role="group", x=(0.0, 1.0), y=(0.0, 1.0)) for k in range(4))
    left = Figure(id="X1-F1", chart="xy", size="half", caption="c", alt=ALT, y_label="Share", series=(few,))
    right = Figure(id="X1-F2", chart="xy", size="half", caption="c", alt=ALT, y_label="Share", series=many)
    assert grid(draw(left)) < grid(draw(right))
    pair = draw_pair(left, right)
    assert grid(pair[0]) == grid(pair[1]) == grid(draw(right))
    assert draw_pair(left, bars((1.0,)))[0] == draw(left)

"""Widths, densities and page breaks: what keeps a pack short and readable."""

from __future__ import annotations

import re
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.charts.svg import text_width
from countermark.records.digest import pretty_json
from countermark.records.evidence import Block, Column, Fact, Facts, Figure, KeyNumber, Paragraph, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.report.prose import linked
from countermark.report.render import _environment, render
from countermark.report.summary_page import FITS, MOST_UNCUT, summary_view
from countermark.report.tables import A4, FONT_SIZE, LETTER, table_view
from countermark.report.text_safety import breakable, unbreakable
from countermark.report.views import PackViews, widened
from tests.report import builders

PROSE = "The people scored differ from those the model was fitted on, so development figures do not carry over. "


def table(columns: dict[str, str], *rows: dict[str, Scalar]) -> Table:
    made = tuple(Column(key=key, label=key, format=style) for key, style in columns.items())  # type: ignore[arg-type]
    return Table(id="E1-T1", caption="A claim.", columns=made, rows=rows)


def half(identifier: str, label: str, chart: str = "xy") -> Figure:
    one = Series(name="", x=(1.0, 2.0, 3.0), y=(0.1, 0.4, 0.2)) if chart == "xy" else Series(name="", x=("a",), y=(1,))
    alt = f"{identifier} rises and then falls again."
    return Figure(id=identifier, chart=chart, size="half", caption="c.", alt=alt, x_label=label, series=(one,))  # type: ignore[arg-type]


def page_texts(path: Path) -> list[str]:
    return [re.sub(r"\s+", " ", page.get_textpage().get_text_range()) for page in pypdfium2.PdfDocument(path)]


def test_each_half_figure_is_drawn_once_wherever_its_page_ends(tmp_path: Path) -> None:
    blocks: list[Block] = []
    for k in range(14):
        blocks.append(half(f"E1-F{k + 1}", f"axis{k:02d}mark"))
        if k % 2:
            blocks.append(Paragraph(text=PROSE * (k % 5)))
    section = builders.section("E1", "Discrimination", Light.PASS, "It ranks.", *blocks)
    out = tmp_path / "pack.pdf"
    render(pretty_json(builders.pack(sections=(section,), register_rows=()).model_dump(mode="json")), out)
    pages = page_texts(out)
    for k in range(14):
        drawn = [number for number, text in enumerate(pages) for _ in re.findall(f"axis{k:02d}mark", text)]
        assert len(drawn) == 1, (k, drawn)
        assert f"E1-{k + 1} c." in pages[drawn[0]]


def test_absent_sections_share_pages_and_a_part_of_them_starts_none(tmp_path: Path) -> None:
    absent = tuple(
        builders.section(f"{letter}{k}", "Section", Light.NOT_EVALUATED, "Not computed by this build: no data.")
        .model_copy(update={"status": "not_computed"})
        for letter in "FGH"
        for k in range(1, 5)
    )  # fmt: skip
    out = tmp_path / "pack.pdf"
    render(pretty_json(builders.pack(sections=absent, register_rows=()).model_dump(mode="json")), out)
    pages = page_texts(out)
    assert sum("Not computed by this build" in page for page in pages[3:]) == 1


def test_prose_is_given_the_room_that_numbers_leave() -> None:
    rows = [{"id": f"F-{k}", "n": 140_267 + k, "p": 0.2, "why": PROSE * 2, "what": PROSE} for k in range(8)]
    view = table_view(table({"id": "text", "n": "int", "p": "pvalue", "why": "text", "what": "text"}, *rows))
    width = {str(head.label): head.width for head in view.heads}
    assert not view.wide
    assert width["why"] > width["what"] > width["n"] > 0
    assert width["why"] + width["what"] > 65


def test_only_a_table_that_cannot_stand_upright_turns() -> None:
    narrow = table({f"c{k}": "int" for k in range(9)}, {f"c{k}": 140_267 for k in range(9)})
    broad = table({f"c{k}": "int" for k in range(16)}, {f"c{k}": 140_267 for k in range(16)})
    assert not table_view(narrow).wide
    assert table_view(broad).wide
    assert " wide small brief" in table_view(broad).css
    assert not table_view(table({"a": "text", "b": "text"}, {"a": PROSE * 9, "b": PROSE * 9})).wide
    names = [f"c{k}" for k in range(9)]
    assert table_view(table(dict.fromkeys(names, "text"), dict.fromkeys(names, PROSE * 2))).wide
    assert not table_view(table(dict.fromkeys(names, "text"), dict.fromkeys(names, "a few words"))).wide


@given(
    st.lists(
        st.sampled_from(["text", "int", "share", "light", "hash", "number", "money"]), min_size=1, max_size=14
    ),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 60)), min_size=1, max_size=9),
)  # fmt: skip
def test_widths_fill_the_table_and_numbers_never_break(formats: list[str], seeds: list[tuple[int, int]]) -> None:
    def value(style: str, seed: tuple[int, int]) -> Scalar:
        words = " ".join(("scored", "outcome", "people", "differ")[k % 4] for k in range(seed[1]))
        return {"text": words, "light": Light.NOT_EVALUATED.value, "hash": "0" * 64}.get(style, seed[0])

    columns = {f"k{k}": style for k, style in enumerate(formats)}
    made = table(columns, *({key: value(style, seed) for key, style in columns.items()} for seed in seeds))
    for room in (A4, LETTER):
        view = table_view(made, room)
        assert sum(head.width for head in view.heads) == pytest.approx(100, abs=0.2)
        assert 0 < view.width <= 100
        if view.wide:
            continue
        inner = room.portrait * view.width / 100
        size = 7.6 if view.small else FONT_SIZE
        for position, style in enumerate(formats):
            if style in ("int", "money"):
                longest = max(text_width(str(row[position].html), size) for row in view.rows)
                assert inner * view.heads[position].width / 100 >= longest


def test_half_figures_that_stand_alone_take_the_width() -> None:
    blocks = (
        half("E1-F1", "a"),
        half("E1-F2", "b"),
        half("E1-F3", "c"),
        Paragraph(text="x"),
        half("E1-F4", "d"),
        half("E1-F5", "e", "forest"),
        half("E1-F6", "f", "bars"),
    )
    sizes = [block.size for block in widened(blocks) if isinstance(block, Figure)]
    assert sizes == ["half", "half", "full", "half", "half", "half"]
    assert [block.id for block in widened(blocks) if isinstance(block, Figure)] == [f"E1-F{k}" for k in range(1, 7)]


def test_short_facts_stand_in_two_columns_and_long_ones_in_one() -> None:
    views = PackViews(builders.pack(sections=()))

    def view(value: str) -> bool:
        facts = tuple(Fact(label=f"Fact {k}", value=value) for k in range(8))
        return views.block(Facts(id="A1-T1", caption="Facts.", facts=facts)).double

    assert view("monthly")
    assert not view(PROSE)
    few = Facts(id="A1-T1", caption="Facts.", facts=(Fact(label="a", value="b"),))
    assert not views.block(few).double


@given(st.text(alphabet="ab_./=,:;|9 \n&<", max_size=60))
def test_the_pieces_are_those_between_which_a_line_may_end(text: str) -> None:
    html = str(breakable(text)).replace("&amp;", "&").replace("&lt;", "<").replace("\u00a0", " ").replace("\u202f", " ")
    assert html.replace("<wbr>", "") == text
    for piece in unbreakable(text):
        assert "\n" not in piece
    assert "".join(unbreakable(text)).replace("\u00a0", "").replace("\u202f", "") == re.sub(r"[ \n]", "", text)


def test_lines_never_end_inside_a_number_nor_before_a_mark() -> None:
    assert "<wbr>" not in breakable("0.78820000012345")
    assert unbreakable("(0.7882\u00a0to\u00a00.8210)") == ["(0.7882\u00a0to\u00a00.8210)"]
    assert breakable("stab.psi, vintage 2009Q1 *").endswith("2009Q1\u00a0*")
    assert "<wbr>" in breakable("cal.multi_year_normal")
    assert "<wbr>" not in breakable("cal.multi_year_normal", prose=True)


def test_finding_ids_are_one_link_and_not_a_link_to_the_section_in_them() -> None:
    html = str(linked("See F-C4-01 and C4.", {"id-F-C4-01", "id-C4"}))
    assert html == 'See <a href="#id-F-C4-01">F-C4-01</a> and <a href="#id-C4">C4</a>.'
    assert str(linked("See F-C4-01.", {"id-C4"})) == "See F-C4-01."


def test_only_what_page_two_cuts_is_printed_in_full_and_at_most_half_a_page() -> None:
    long = PROSE * 3
    summary = builders.summary().model_copy(update={"why": (long, "short"), "not_evaluated": ("a", "b", "c", "d")})
    pack = builders.pack(summary=summary)
    fit = next(fit for fit in FITS if fit.line < 280 and fit.items > 2)
    view = summary_view(pack, fit, ())
    assert ("Why", long.rstrip()) in [(label, str(text).rstrip()) for label, text in view.uncut]
    assert "short" not in [str(text) for _, text in view.uncut]
    assert str(view.why[0]).endswith('<a href="#summary-in-full">…</a>')
    assert str(view.why[0]) != PROSE * 3
    told = re.sub("<.*?>", "", str(view.why[0])).rstrip("…")
    assert long.startswith(f"{told} ")
    everything = summary.model_copy(update={"conditions": tuple(f"{k} {long}" for k in range(40))})
    crowded = summary_view(builders.pack(summary=everything), FITS[-1], ())
    assert len(crowded.uncut) <= MOST_UNCUT
    assert crowded.uncut_more > 20
    assert summary_view(pack, FITS[0], ()).uncut == ()


@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_page_two_is_one_page_and_what_it_cuts_is_where_it_says(paper: str, tmp_path: Path) -> None:
    condition = f"Calibrate again on matured vintages, {'and count what was left out of them, ' * 6}Owner A, by 2027."
    summary = builders.summary().model_copy(
        update={
            "conditions": tuple(f"{k}: {condition}" for k in range(5)),
            "not_evaluated": tuple(f"F{k} fair.air: {PROSE * 2}" for k in range(6)),
            "not_computed": ("D3", "E4"),
            "restrictions": tuple(f"Not for: use number {k}" for k in range(12)),
        }
    )
    out = tmp_path / "pack.pdf"
    raw = pretty_json(builders.pack(summary=summary, sections=builders.body()[:1]).model_dump(mode="json"))
    render(raw, out, paper)
    pages = page_texts(out)
    assert "Summary for the committee" in pages[1]
    assert "Signature" in pages[1]
    assert "Contents" in pages[2]
    assert "Sections not computed" in pages[1]
    assert condition not in pages[1]
    assert "…" in pages[1]
    place = re.search(r"Shortened texts stand in full on page (\d+)", pages[1])
    assert place is not None
    assert condition in pages[int(place.group(1)) - 1]
    with pikepdf.open(out) as pdf:
        links = [str(a.Dest) for a in pdf.pages[1].get("/Annots", ())]
    assert links.count("summary-in-full") >= 6


def test_no_list_of_page_two_ends_inside_a_word() -> None:
    summary = builders.summary().model_copy(
        update={"why": (PROSE * 4,), "conditions": tuple(PROSE * 3 for _ in range(9))}
    )
    words = set(PROSE.split())
    for fit in FITS[:-2]:
        view = summary_view(builders.pack(summary=summary), fit, {"id-I3"})
        for text in (*view.why, *view.conditions):
            told = re.sub("<.*?>", "", str(text))
            assert told.startswith("and ") or {word.rstrip("…,.") for word in told.split()} <= {
                w.rstrip(",.") for w in words
            }
    short = summary_view(builders.pack(summary=summary), FITS[-4], {"id-I3"})
    assert str(short.conditions[-1]).endswith('more</a>, <a href="#id-I3">I3</a>')


def test_a_value_in_quotes_is_no_link() -> None:
    anchors = {"id-C4", "id-D1", "id-A1"}
    assert str(linked("the share of 'C4 to D1' (C4)", anchors)).count("<a ") == 1
    assert str(linked("the owner's C4 and Fisher's D1", anchors)).count("<a ") == 2
    assert str(linked("from 'A1 to A4' and 'C4' it's D1", anchors)).count("<a ") == 1


def test_a_version_is_no_number() -> None:
    view = table_view(table({"name": "text", "version": "text"}, *({"name": n, "version": v} for n, v in
                      (("numpy", "2.4.6"), ("ortools", "9.15.6755")))))  # fmt: skip
    assert [cell.css for cell in view.rows[0]] == ["t", "t"]
    plain = table_view(
        table({"name": "text", "share": "text"}, {"name": "a", "share": "> 99.99"}, {"name": "b", "share": "0.5"})
    )
    assert plain.rows[0][1].css == "n"


def test_a_long_value_has_the_row_for_itself() -> None:
    long = PROSE[:96]
    values = ("high", "medium", long, "low", long, "x", "y", "z", "last")
    facts = Facts(id="B1-T1", caption="Facts.", facts=tuple(Fact(label=f"F{k}", value=v) for k, v in enumerate(values)))
    block = PackViews(builders.pack(sections=())).block(facts)
    assert block.double
    assert [[cell.span for cell in row] for row in block.facts] == [[1, 1], [3], [3], [3], [1, 1], [1, 1]]
    assert [str(cell.label) for row in block.facts for cell in row] == [f"F{k}" for k in range(9)]


def test_a_page_holds_no_fewer_than_three_rows_of_a_table(tmp_path: Path) -> None:
    sections = []
    for k in range(8):
        made = table({"name": "text", "n": "int"}, *({"name": f"row{k}x{j}", "n": j} for j in range(12)))
        made = made.model_copy(update={"id": f"E{k + 1}-T1"})
        filler = Paragraph(text=PROSE * (20 + k))
        sections.append(builders.section(f"E{k + 1}", "Section", Light.PASS, "It holds.", filler, made))
    out = tmp_path / "pack.pdf"
    render(pretty_json(builders.pack(sections=tuple(sections), register_rows=()).model_dump(mode="json")), out)
    split = 0
    for k in range(8):
        counts = [len(re.findall(rf"row{k}x\d+", page)) for page in page_texts(out)]
        shown = [n for n in counts if n]
        assert sum(shown) == 12
        assert min(shown) >= 3, shown
        split += len(shown) > 1
    assert split >= 2  # else nothing was tested


def test_a_key_number_without_value_says_why_in_its_place() -> None:
    key = KeyNumber(
        label="Worst adverse impact ratio", section="F1", test_id=None, value=None, format="number",
        light=Light.NOT_EVALUATED, note="no protected attribute is available in the data of this model at all",
    )  # fmt: skip
    pack = builders.pack(summary=builders.summary().model_copy(update={"key_numbers": (key,)}))
    view = summary_view(pack, FITS[0], ())
    assert view.key_numbers[0].absent
    assert len(str(view.key_numbers[0].note)) <= 60
    assert [label for label, _ in view.uncut] == ["Worst adverse impact ratio"]


def test_free_height_becomes_air_within_bounds() -> None:
    view = summary_view(builders.pack(), FITS[0], ())
    assert view.with_air(0).gap == view.gap
    assert view.gap < view.with_air(40).gap < view.with_air(60).gap
    assert view.with_air(5000).gap == view.gap + 12


def test_the_renderer_starts_no_program_and_inherits_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEASYPRINT_DLL_DIRECTORIES", "/nowhere")
    monkeypatch.setenv("HTTP_PROXY", "http://nowhere")
    env = _environment(tmp_path, 0)
    assert env["PATH"] == str(tmp_path)
    assert not {"WEASYPRINT_DLL_DIRECTORIES", "HTTP_PROXY"} & set(env)

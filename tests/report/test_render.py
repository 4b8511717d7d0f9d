"""The document itself: PDF/A-3a, tags, attachments, page 2, determinism, hostile texts."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pytest
from weasyprint.urls import FatalURLFetchingError

from countermark.errors import ReportError
from countermark.records.digest import digest_of, pretty_json
from countermark.records.evidence import Column, Facts, Figure, Narrative, Pack, Table
from countermark.records.formats import NUMERIC, format_column, format_interval, format_value
from countermark.records.lights import Light
from countermark.report import document
from countermark.report.attachments import REGISTER_COLUMNS, register_csv
from countermark.report.portfolio import portfolio_of
from countermark.report.reading import read_pack
from countermark.report.render import RenderStats, render, render_portfolio
from tests.report import builders

EVIL = '<script>alert(1)</script> & "quotes" </table> {{ 7*7 }} '
LONG = "W" * 400
MIXED = "שלום مرحبا 漢字 🙂 \u202e\u0007\u200b Ω é ≥"


def dump(pack: Pack) -> bytes:
    return pretty_json(pack.model_dump(mode="json"))


def page_texts(path: Path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    return [re.sub(r"\s+", " ", page.get_textpage().get_text_range()) for page in document]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, RenderStats]:
    out = tmp_path_factory.mktemp("pack") / "pack.pdf"
    raw = dump(builders.pack())
    return out, raw, render(raw, out)


@pytest.fixture(scope="module")
def small() -> bytes:
    body = builders.body()
    return dump(builders.pack(sections=(body[0], body[2]), register_rows=builders.register(4)))


def test_it_is_pdf_a_3a_in_structure(rendered: tuple[Path, bytes, RenderStats]) -> None:
    with pikepdf.open(rendered[0]) as pdf:
        root = pdf.Root
        assert not pdf.is_encrypted
        assert pdf.pdf_version == "1.7"
        assert root.OutputIntents[0].S == "/GTS_PDFA1"
        xmp = bytes(root.Metadata.read_bytes())
        assert b'part="3"' in xmp
        assert b'conformance="A"' in xmp
        assert b"2016-01-31T00:00:00Z" in xmp
        assert root.MarkInfo.Marked
        assert str(root.Lang) == "en"
        assert root.ViewerPreferences.DisplayDocTitle
        assert "Personal-loan PD" in str(pdf.docinfo["/Title"])
        assert "/StructTreeRoot" in root
        assert "/JavaScript" not in root.get("/Names", {})
        assert "/ID" in pdf.trailer


def _elements(node: Any, kind: str | None = None) -> list[Any]:
    found, stack = [], [node]
    while stack:
        element = stack.pop()
        if isinstance(element, pikepdf.Array):
            stack.extend(reversed(list(element)))
        elif isinstance(element, pikepdf.Dictionary):
            if element.get("/Type") == "/StructElem" and (kind is None or kind == element.S):
                found.append(element)
            if "/K" in element:
                stack.append(element.K)
    return found


def test_tags_headings_cells_figures_and_links(rendered: tuple[Path, bytes, RenderStats]) -> None:
    pack = builders.pack()
    with pikepdf.open(rendered[0]) as pdf:
        tree = pdf.Root.StructTreeRoot
        elements = _elements(tree.K)
        levels = [int(str(e.S)[2]) for e in elements if re.fullmatch(r"/H[1-6]", str(e.S))]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        heads = [e for e in elements if e.S == "/TH"]
        assert heads
        assert {str(e.A.Scope) for e in heads} == {"/Column", "/Row"}
        alts = [str(e.Alt) for e in elements if e.S == "/Figure"]
        wanted = [b.alt for s in pack.sections for b in s.blocks if isinstance(b, Figure)]
        assert sorted(alts) == sorted(wanted)
        names = [str(v) for v in tree.IDTree.Names[::2]]
        assert names == sorted(names)
        links = [a for page in pdf.pages for a in page.get("/Annots", ()) if a.Subtype == "/Link"]
        assert links
        assert all(str(a.Contents).startswith("Go to ") and "/StructParent" in a for a in links)
        targets = {str(k) for k in pdf.Root.Names.Dests.Names[::2]}
        assert {str(a.Dest) for a in links} <= targets


def test_running_heads_are_artefacts_and_every_marked_content_has_a_parent(
    rendered: tuple[Path, bytes, RenderStats],
) -> None:
    with pikepdf.open(rendered[0]) as pdf:
        reachable = {e.objgen for e in _elements(pdf.Root.StructTreeRoot.K)}
        numbers = pdf.Root.StructTreeRoot.ParentTree.Nums
        parents = {int(numbers[k]): numbers[k + 1] for k in range(0, len(numbers), 2)}
        for page in pdf.pages:
            artefacts = 0
            for operands, operator in pikepdf.parse_content_stream(page):
                if str(operator) == "BDC" and operands[0] == "/Artifact":
                    artefacts += 1
                elif str(operator) == "BDC":
                    parent = parents[int(page.StructParents)][int(operands[1].MCID)]
                    assert parent.objgen in reachable
            assert artefacts >= (0 if page.index == 0 else 4)


def test_marked_content_and_its_owner_name_each_other(rendered: tuple[Path, bytes, RenderStats]) -> None:
    with pikepdf.open(rendered[0]) as pdf:
        numbers = pdf.Root.StructTreeRoot.ParentTree.Nums
        parents = {int(numbers[k]): numbers[k + 1] for k in range(0, len(numbers), 2)}
        owned = set()
        elements = _elements(pdf.Root.StructTreeRoot.K)
        for element in elements:
            for kid in element.get("/K", ()):
                if isinstance(kid, int):
                    page = int(element.Pg.StructParents)
                    assert parents[page][kid].objgen == element.objgen
                    owned.add((page, kid))
        marked = {
            (int(page.StructParents), int(operands[1].MCID))
            for page in pdf.pages
            for operands, operator in pikepdf.parse_content_stream(page)
            if str(operator) == "BDC" and operands[0] != "/Artifact"
        }
        assert owned == marked
        cells = [e for e in elements if e.S in ("/TD", "/TH")]
        assert len(cells) > 200
        assert any(isinstance(kid, int) for cell in cells for kid in cell.K)


def test_bookmarks_reach_the_sections(rendered: tuple[Path, bytes, RenderStats]) -> None:
    titles = [(b.level, b.get_title()) for b in pypdfium2.PdfDocument(rendered[0]).get_toc()]
    assert (1, "E2 Calibration") in titles
    assert any(level == 2 for level, _ in titles)


def test_attachments_are_the_bytes_with_relation_type_and_date(rendered: tuple[Path, bytes, RenderStats]) -> None:
    path, raw, _ = rendered
    pack = builders.pack()
    wanted = {
        "pack.json": (raw, "/Source", "/application/json"),
        "spec.json": (pretty_json(pack.spec), "/Supplement", "/application/json"),
        "policy.json": (pretty_json(pack.policy), "/Supplement", "/application/json"),
        "register.csv": (register_csv(pack), "/Data", "/text/csv"),
    }
    with pikepdf.open(path) as pdf:
        assert len(pdf.Root.AF) == 4
        for spec in pdf.Root.AF:
            content, relation, mime = wanted.pop(str(spec.UF))
            stream = spec.EF.F
            assert stream.read_bytes() == content
            assert spec.AFRelationship == relation
            assert stream.Subtype == mime
            assert str(stream.Params.ModDate) == "D:20160131000000Z"
    assert not wanted


def test_the_register_has_its_columns_and_rows() -> None:
    pack = builders.pack()
    rows = list(csv.DictReader(io.StringIO(register_csv(pack).decode())))
    assert tuple(rows[0]) == REGISTER_COLUMNS
    assert len(REGISTER_COLUMNS) == 29
    assert len(rows) == len(pack.register_rows)
    assert rows[4]["light"] == "not_evaluated"
    assert float(rows[0]["statistic"]) == pack.register_rows[0].statistic


def test_only_the_shipped_fonts_are_embedded(rendered: tuple[Path, bytes, RenderStats]) -> None:
    with pikepdf.open(rendered[0]) as pdf:
        found = set()
        for obj in pdf.objects:
            if isinstance(obj, pikepdf.Dictionary) and obj.get("/Type") == "/FontDescriptor":
                found.add(re.sub(r"^/[A-Z]+\+", "", str(obj.FontName)))
                assert any(key in obj for key in ("/FontFile2", "/FontFile3", "/FontFile"))
        assert found
        assert all(name.startswith(("Inter", "JetBrains-Mono")) for name in found)


def test_page_two_is_the_summary_and_page_three_the_contents(rendered: tuple[Path, bytes, RenderStats]) -> None:
    pages = page_texts(rendered[0])
    assert "Summary for the committee" in pages[1]
    assert "Signature" in pages[1]
    for text in ("Unable to conclude", "0.689", "fair.air", "small_business", "make repro", "F-001", "94.6"):
        assert text in pages[1]
    assert "Contents" in pages[2]
    assert all("Draft – unsigned" in page for page in pages)
    hashed = builders.pack().pack_hash[:12]
    assert all(hashed in page for page in pages)
    assert f"Page 2 of {len(pages)}" in pages[1]


def test_light_words_and_glyphs_survive_without_colour(rendered: tuple[Path, bytes, RenderStats]) -> None:
    text = "".join(page_texts(rendered[0]))
    for light in Light:
        assert re.search(rf"{light.glyph}\s*{light.word}", text), light
    page = pypdfium2.PdfDocument(rendered[0])[1].render(scale=1.5, grayscale=True).to_numpy()
    assert page.min() < 60  # ink
    assert page.max() > 250  # paper


def test_printed_table_numbers_are_those_of_the_json(rendered: tuple[Path, bytes, RenderStats]) -> None:
    text = " ".join(page_texts(rendered[0]))
    document = json.loads(rendered[1])
    table = next(b for s in document["sections"] for b in s["blocks"] if b.get("id") == "E2-T1")
    for row in table["rows"]:
        # The JSON numbers, formatted here by other means.
        wanted = rf"{row['n']:,} {row['events']:,} {100 * row['pd']:.2f} {100 * row['rate']:.2f}".replace(",", " ")
        assert wanted in text, wanted


def test_every_number_of_the_document_is_that_of_the_json_after_formatting(
    rendered: tuple[Path, bytes, RenderStats],
) -> None:
    """Cells of tables, facts, key numbers and the numbers beside rows of figures: rounding, and nothing else."""
    text = re.sub(r"\s+", "", "".join(page_texts(rendered[0])))
    pack = builders.pack()
    wanted: list[str] = []
    for section in pack.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                for column in block.columns:
                    if column.format in NUMERIC:
                        wanted += format_column([row.get(column.key) for row in block.rows], column.format)
            elif isinstance(block, Facts):
                wanted += [format_value(fact.value, fact.format) for fact in block.facts]
            elif isinstance(block, Figure) and block.chart in ("forest", "bars"):
                ends = [v for s in block.series for v in (*s.y, *(s.low or ()), *(s.high or ()))]
                wanted += format_column(ends, block.y_format)[: len(block.series[0].y)]
            elif isinstance(block, Figure) and block.chart == "waterfall":
                steps = [y for y in block.series[0].y if y is not None]
                wanted += format_column([*steps, sum(steps)], block.y_format)
    for number in pack.summary.key_numbers:
        wanted.append(format_value(number.value, number.format))
        wanted.append(format_interval(number.ci_low, number.ci_high, number.format))
    assert len(wanted) > 150
    missing = [value for value in wanted if re.sub(r"\s+", "", value) not in text]
    assert not missing, missing


def test_unanswered_questions_and_absent_sections_are_printed(rendered: tuple[Path, bytes, RenderStats]) -> None:
    text = " ".join(page_texts(rendered[0]))
    assert "Unanswered" in text
    assert "Who is affected by the decision" in text
    assert "Not computed. Not computed by this build: staging" in text
    assert "No rule failed on any row." in text


def test_same_bytes_in_another_directory_time_zone_and_locale(tmp_path: Path, small: bytes) -> None:
    source = tmp_path / "pack.json"
    source.write_bytes(small)
    code = (
        "import sys; from pathlib import Path; from countermark.report.render import render;"
        "render(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))"
    )
    digests = []
    for number, (zone, locale, seed) in enumerate(
        (("Asia/Kolkata", "C", "1"), ("America/New_York", "tr_TR.UTF-8", "2"))
    ):
        folder = tmp_path / f"d{number}" / ("x" * (number + 1))
        folder.mkdir(parents=True)
        env = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONHASHSEED": seed, "FONTCONFIG_FILE": "/nowhere",
               "SOURCE_DATE_EPOCH": str(number), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}  # fmt: skip
        out = folder / "pack.pdf"
        subprocess.run([sys.executable, "-c", code, str(source), str(out)], cwd=folder, env=env, check=True)
        digests.append(hashlib.sha256(out.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def hostile_pack() -> Pack:
    summary = builders.summary().model_copy(
        update={
            "decision_asked": EVIL + LONG,
            "why": (EVIL * 20, LONG * 2, MIXED),
            "conditions": tuple(f"{EVIL} {k} " * 6 for k in range(12)),
            "not_evaluated": tuple(f"test {k}: {LONG}" for k in range(12)),
            "restrictions": (LONG,) * 6,
            "worst_segment": EVIL * 12,
            "strip": tuple((f"E{k}", LONG, Light.NOT_EVALUATED) for k in range(60)),
            "top_findings": (EVIL * 10,) * 5,
            "reproduce": "x/" * 300,
        }
    )
    section = builders.section(
        "E1",
        EVIL + LONG,
        Light.FAIL,
        EVIL + MIXED,
        Narrative(key="n", question=EVIL, markdown=f"# t\n\n### deep\n\n{EVIL}\n\n[x](http://a.b) ![i](http://a/b.png)\n\n{LONG}\n{MIXED}"),
        Table(
            id="E1-T1",
            caption=EVIL,
            columns=tuple(Column(key=f"k{k}", label=LONG[:40] if k == 0 else f"{EVIL}{k}") for k in range(16)),
            rows=tuple({f"k{k}": (LONG, EVIL, MIXED, None)[k % 4] for k in range(16)} for _ in range(2)),
        ),
        builders.vintage_figure("E1-F1").model_copy(update={"caption": EVIL, "alt": EVIL + MIXED, "x_label": MIXED}),
    )  # fmt: skip
    identity = {**builders.identity(), "title": EVIL + MIXED, "id": LONG, "classification": "a'; } @page { size: A6 }"}
    return builders.pack(identity=identity, summary=summary, sections=(section,), register_rows=())


def test_hostile_texts_do_not_break_the_document(tmp_path: Path) -> None:
    out = tmp_path / "evil.pdf"
    stats = render(dump(hostile_pack()), out, "letter")
    pages = page_texts(out)
    assert stats.pages == len(pages)
    assert "Signature" in pages[1]
    assert "Summary for the committee" not in pages[2]
    text = "".join(pages)
    assert "<script>" in text  # printed, not run
    assert "{{ 7*7 }}" in text
    assert "[U+05E9]" in text
    assert "[U+202E]" in text
    assert "Texts that page 2 had to shorten, in full" in text
    assert "more; all of them are in the attached" in text
    with pikepdf.open(out) as pdf:
        assert not [a for page in pdf.pages for a in page.get("/Annots", ()) if "/A" in a]
        size = [float(v) for v in pdf.pages[1].MediaBox]
        assert size[2:] == pytest.approx([612, 792], abs=0.5)


def test_letter_and_a4_differ_in_paper_only(tmp_path: Path, small: bytes) -> None:
    out = tmp_path / "a4.pdf"
    render(small, out)
    with pikepdf.open(out) as pdf:
        assert [float(v) for v in pdf.pages[0].MediaBox][2:] == pytest.approx([595.28, 841.89], abs=0.5)


def _edited(raw: bytes, **changes: object) -> bytes:
    return pretty_json({**json.loads(raw), **changes})


def _sealed(raw: bytes, **changes: object) -> bytes:
    document = {**json.loads(raw), **changes}
    document.pop("pack_hash")
    return pretty_json({**document, "pack_hash": digest_of(document)})


BAD_PACKS = {
    "not JSON": (lambda raw: raw[:200], "the pack is not JSON"),
    "NaN inside": (lambda raw: raw.replace(b'"1.0.0"', b"NaN"), "the pack is not JSON"),
    "not an object": (lambda raw: b"[]", "not a JSON object"),
    "unknown format": (lambda raw: _edited(raw, format="countermark/pack/9"), "unknown pack format"),
    "no format": (lambda raw: b"{}", "unknown pack format"),
    "edited after sealing": (lambda raw: _edited(raw, as_of="2020-01-01"), "'pack_hash' does not match"),
    "hash removed": (lambda raw: _edited(raw, pack_hash=""), "'pack_hash' does not match"),
    "schema broken, hash right": (lambda raw: _sealed(raw, extra=1), "breaks its schema at 'extra'"),
    "not a date": (lambda raw: _sealed(raw, as_of="soon"), "'as_of' is not a date"),
    "not a day": (lambda raw: _sealed(raw, as_of="2020-13-01"), "'as_of' is not a date"),
}


@pytest.mark.parametrize("name", sorted(BAD_PACKS))
def test_bad_packs_are_refused_before_rendering(name: str, tmp_path: Path, small: bytes) -> None:
    break_it, message = BAD_PACKS[name]
    out = tmp_path / "pack.pdf"
    out.write_bytes(b"the old one")
    with pytest.raises(ReportError, match=re.escape(message)):
        render(break_it(small), out)
    assert out.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["pack.pdf"]


def test_unknown_paper_and_missing_folder_are_refused(tmp_path: Path, small: bytes) -> None:
    with pytest.raises(ReportError, match="unknown paper size"):
        render(small, tmp_path / "x.pdf", "a5")
    with pytest.raises(ReportError, match="unknown paper size"):
        render_portfolio({}, tmp_path / "x.pdf", "a5")
    with pytest.raises(ReportError, match="folder of the PDF does not exist"):
        render(small, tmp_path / "nowhere" / "x.pdf")


def test_nothing_is_fetched_while_rendering() -> None:
    fetcher = document.PackageOnly({"E1-F1": "<svg/>"})
    assert fetcher.fetch("figure:E1-F1").read() == b"<svg/>"
    for url in ("http://example.org/a.png", "file:///etc/passwd", "data:text/plain,x", "figure:other"):
        with pytest.raises(FatalURLFetchingError, match="are not fetched while rendering"):
            fetcher.fetch(url)


def test_a_summary_that_never_fits_is_refused(monkeypatch: pytest.MonkeyPatch, small: bytes) -> None:
    monkeypatch.setattr(document, "FITS", ())
    with pytest.raises(ReportError, match="the committee summary does not fit one page"):
        document.pack_pdf(read_pack(small), small, "a4")


class PlantedHarfBuzz:
    """Stands for a machine that has HarfBuzz-Subset; being asked for anything is a failure."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"HarfBuzz-Subset was used: {name}")


def test_fonts_are_subset_by_the_locked_library_whatever_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = portfolio_of((builders.pack(sections=()),))
    used: list[str] = []
    for name in ("_fonttools_subset", "_harfbuzz_subset"):
        original = getattr(document.pdf_fonts.Font, name)

        def spied(font: Any, *args: Any, _name: str = name, _original: Any = original) -> None:
            used.append(_name)
            _original(font, *args)

        monkeypatch.setattr(document.pdf_fonts.Font, name, spied)
    monkeypatch.setattr(document.pdf_fonts, "harfbuzz_subset", PlantedHarfBuzz())
    _, pages = document.portfolio_pdf(page, "a4")
    assert pages == 1
    assert set(used) == {"_fonttools_subset"}


def test_the_rendering_process_ignores_a_planted_subsetter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = portfolio_of((builders.pack(sections=()),)).model_dump(mode="json")
    plain = render_portfolio(page, tmp_path / "plain.pdf")
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(
        "import weasyprint.pdf.fonts as fonts\n"
        "class Planted:\n"
        "    def __getattr__(self, name):\n"
        "        raise SystemExit('HarfBuzz-Subset was used')\n"
        "fonts.harfbuzz_subset = Planted()\n"
    )
    monkeypatch.syspath_prepend(planted)
    assert render_portfolio(page, tmp_path / "planted.pdf").sha256 == plain.sha256


def test_a_target_that_cannot_be_replaced_is_named(tmp_path: Path, small: bytes) -> None:
    target = tmp_path / "x.pdf"
    target.mkdir()
    with pytest.raises(ReportError, match="the PDF cannot be written"):
        render(small, target)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pdf"]


@pytest.mark.parametrize("count", [1, 2, 24])
def test_the_portfolio_is_one_page(count: int, tmp_path: Path) -> None:
    packs = tuple(
        builders.pack(sections=(), identity={**builders.identity(), "id": f"model_{k:02d}"}) for k in range(count)
    )
    out = tmp_path / "portfolio.pdf"
    stats = render_portfolio(portfolio_of(packs).model_dump(mode="json"), out)
    (page,) = page_texts(out)
    assert stats.pages == 1
    for pack in packs:
        assert pack.pack_hash[:12] in page
        assert str(pack.identity["id"]) in page
    assert "Unable to conclude" in page
    assert count > 16 or "■ Fail" in page


def test_bad_portfolios_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="the portfolio breaks its schema at 'models'"):
        render_portfolio({"as_of": "2020-01-01"}, tmp_path / "p.pdf")
    with pytest.raises(ReportError, match="a portfolio needs at least one pack"):
        portfolio_of(())
    many = portfolio_of((builders.pack(sections=()),)).model_dump(mode="json")
    many["models"] = many["models"] * 49
    with pytest.raises(ReportError, match="the portfolio does not fit one page"):
        render_portfolio(many, tmp_path / "p.pdf")

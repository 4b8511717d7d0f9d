"""Reviews and decision files hold whatever they are given: nothing, very much, very long names, nothing said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pypdfium2
import pytest

from countermark.records.decision import as_document
from countermark.records.digest import pretty_json
from countermark.records.lights import Light
from countermark.report.render import render_decision_file, render_review
from countermark.report.short import middle
from tests.report.short_documents import FILES, LONG, REVIEWS, crowded, model, reading, review

MARGIN = 18 * 72 / 25.4 - 2.0


def words(path: Path) -> list[str]:
    """Text of every page; nothing may stand in the margins or over the running heads."""
    document = pypdfium2.PdfDocument(path)
    texts = []
    for page in document:
        width, height = page.get_size()
        text = page.get_textpage()
        for k in range(text.count_rects()):
            left, bottom, right, top = text.get_rect(k)
            assert left >= MARGIN, (path.name, text.get_text_bounded(left, bottom, right, top))
            assert right <= width - MARGIN, (path.name, text.get_text_bounded(left, bottom, right, top))
            assert 0 < bottom < top < height
        texts.append(re.sub(r"\s+", " ", text.get_text_range()))
    return texts


def filled(path: Path) -> list[float]:
    """How much of each page's height is used by the body."""
    shares = []
    for page in pypdfium2.PdfDocument(path):
        height = page.get_size()[1]
        text = page.get_textpage()
        rects = [text.get_rect(k) for k in range(text.count_rects())]
        body = [bottom for _, bottom, _, top in rects if bottom > 55 and top < height - 55]
        shares.append(1 - min(body, default=height) / height)
    return shares


def reviewed(name: str, folder: Path) -> tuple[Path, list[str]]:
    out = folder / "review.pdf"
    render_review(pretty_json(as_document(REVIEWS[name]())), out)
    return out, words(out)


def filed(name: str, folder: Path) -> list[str]:
    out = folder / "file.pdf"
    render_decision_file(pretty_json(as_document(FILES[name]())), out)
    return words(out)


def test_a_review_of_nothing_is_one_page_that_says_so(tmp_path: Path) -> None:
    (text,) = reviewed("nothing", tmp_path)[1]
    for said in (
        "None: no breach",
        "the ledger is empty",
        "no decision in this period",
        "Ending within 30 days nothing",
    ):
        assert said in text


def test_a_review_of_eighty_models_wastes_no_page_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    out, pages = reviewed("crowded", tmp_path)
    whole, made = " ".join(pages), crowded()
    assert "53 decisions needed today" in pages[0]
    for one in made.models:
        assert f"Default of {one.model}" in whole
    for told in ("80 releases", "64 chains", "and 24 more in the attached file", "170 of 200 decisions"):
        assert told in whole
    # Only the last page, and the one before a block that is kept together, may be emptier than two thirds.
    thin = [k + 1 for k, share in enumerate(filled(out)[:-1]) if share < 0.66]
    assert len(thin) <= 2, thin
    assert len(pages) <= 26


def test_the_first_page_is_filled_and_a_change_names_where_it_came_from(tmp_path: Path) -> None:
    """One model: its block begins on the first page, and nothing but the last page is half empty."""
    readings = (
        *(reading("feature_psi", f"x{k}", Light.PASS) for k in range(6)),
        *(reading("missing_shift", f"x{k}", Light.PASS, reference=0.125) for k in range(6)),
        reading("decision_shift", "all", Light.WATCH, reference=0.9133),
        reading("auc", "score", Light.PASS, reference=0.75),
    )
    made = model("toy", loud=True, readings=readings, also=("0.8.0", "0.9.0"))
    then = {"since": "2026-04-01T00:00:00.000000Z", "at": "2026-05-02T00:00:00.000000Z"}
    old = msgspec.structs.replace(made.live_findings[0], **then)
    made = msgspec.structs.replace(made, live_findings=(old,))
    out = tmp_path / "review.pdf"
    render_review(pretty_json(as_document(review(models=(made,)))), out)
    pages = words(out)
    assert "Default of toy" in pages[0]
    assert all(share > 0.66 for share in filled(out)[:-1])
    whole = " ".join(pages)
    assert "toy@v1.0.0 authorised (also v0.8.0, v0.9.0)" in whole
    assert "since 2026-04-01, measured 2026-05-02" in whole
    assert "from 12.50 %" in whole.replace("\u202f", " ").replace("\xa0", " ")
    assert "from 91.33 %" in whole.replace("\u202f", " ").replace("\xa0", " ")


def test_long_names_keep_their_ends_and_stay_inside_the_page(tmp_path: Path) -> None:
    _, pages = reviewed("long names", tmp_path)
    whole = " ".join(pages)
    assert "input_7" in whole.replace(" ", ""), "names that differ at the end stay apart"
    assert len(pages) <= 8


def test_what_nobody_said_is_said_to_be_missing(tmp_path: Path) -> None:
    _, pages = reviewed("unsaid", tmp_path)
    whole = " ".join(pages)
    assert "nobody named" in whole
    assert "nothing was said" in whole
    assert "Not evaluated none was drawn" in whole, "nothing was replayed, so nothing is identical"
    assert "toy ■ Fail" in whole, "a model without a title has its name"
    assert "· ·" not in whole
    assert ": , –" not in whole, "an end without words"


@pytest.mark.parametrize("name", FILES)
def test_a_decision_file_is_one_page_whatever_it_holds(name: str, tmp_path: Path) -> None:
    (text,) = filed(name, tmp_path)
    made: Any = FILES[name]()
    for reason in made.reasons:
        assert reason.code[:12] in text, "every reason is told"
    assert "Proof" in text
    if name in ("crowded", "long names"):
        for told in ("smaller ones in the attached file", "more in the attached file", "earlier ones in the attached"):
            assert told in text
    if name == "unsaid":
        assert "No outcome" in text
        assert "nobody named" in text


def test_a_name_loses_its_middle() -> None:
    assert middle("short") == "short"
    assert middle("x" * 60) == "x" * 60
    cut = middle(f"{LONG}{LONG}_1")
    assert len(cut) == 60
    assert cut.startswith(LONG[:30])
    assert cut.endswith("region__1")


def test_the_same_review_gives_the_same_bytes(tmp_path: Path) -> None:
    data = pretty_json(as_document(review()))
    first, second = (render_review(data, tmp_path / name).sha256 for name in ("a.pdf", "b.pdf"))
    assert first == second

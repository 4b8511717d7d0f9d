"""The scorer file: canonical bytes, samples of every kind that must always open, damage that must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.errors import ScorerError
from countermark.records.digest import sha256_hex
from countermark.scoring.format import IsotonicCalibration, ScorerDocument, build, parse, serialise
from countermark.scoring.frozen import FrozenScorer
from tests.scoring.builders import DOCUMENTS, linear_document, regression_document, scorer, trees_document

FORMATS = Path(__file__).parents[1] / "formats"
KINDS = sorted(DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_open_to_the_same_scorer(kind: str) -> None:
    frozen = scorer(kind)
    data = frozen.to_bytes()
    again = FrozenScorer.from_bytes(data, digest=frozen.digest)
    assert again.to_bytes() == data
    assert again.document == frozen.document
    assert again.digest == frozen.digest == sha256_hex(data)


@given(st.integers(0, 10_000))
def test_any_forest_survives_the_file(seed: int) -> None:
    document = trees_document(seed, count=4, depth=5)
    assert parse(serialise(document)) == document


def test_other_links_and_calibrations_survive_the_file() -> None:
    isotonic = IsotonicCalibration(margins=(-1.0, 1.0), values=(0.1, 0.2))
    for document in (regression_document(), linear_document(isotonic)):
        assert parse(serialise(document)) == document


def test_the_file_is_text_that_people_can_open() -> None:
    text = scorer("trees").to_bytes().decode("utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["format"] == "countermark/scorer/1"
    assert max(len(line) for line in text.splitlines()) < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_released_files_open_and_score_as_they_did(kind: str) -> None:
    data = (FORMATS / f"scorer_1_{kind}.json").read_bytes()
    expected = json.loads((FORMATS / f"scorer_1_{kind}.expected.json").read_text(encoding="utf-8"))
    frozen = FrozenScorer.from_bytes(data)
    assert frozen.digest == expected["digest"]
    for case in expected["cases"]:
        one = frozen.score_row(case["row"], contributions=True)
        assert one.phi is not None
        got = {"margin": one.margin, "p": one.p, "grade": one.grade}
        assert got == {key: case[key] for key in got}
        np.testing.assert_allclose(one.phi, case["phi"], rtol=0, atol=1e-12)


def _edit(kind: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    raw = DOCUMENTS[kind]().model_dump(mode="json")
    change(raw)
    return dict(raw)


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "an unknown key": ("linear", lambda d: d.update(extra=1), "extra"),
    "no inputs": ("linear", lambda d: d.update(inputs=[]), "inputs"),
    "an unknown model": ("linear", lambda d: d["model"].update(kind="forest"), "model"),
    "a not-a-number": ("linear", lambda d: d["model"].update(intercept=float("nan")), "finite"),
    "two inputs of one name": ("linear", lambda d: d["inputs"][0].update(name="dti"), "same name"),
    "levels of a number": ("linear", lambda d: d["inputs"][0].update(levels=["a"]), "no 'levels'"),
    "a category without levels": ("linear", lambda d: d["inputs"][1].update(levels=[]), "needs 'levels'"),
    "a repeated level": ("linear", lambda d: d["inputs"][1].update(levels=["a", "a"]), "duplicates"),
    "unseen as a refused missing": ("linear", lambda d: d["inputs"][3].update(missing="refuse"), "needs 'missing"),
    "grades that end early": ("linear", lambda d: d["grades"].pop(), "end at 1"),
    "grades out of order": ("linear", lambda d: d["grades"][0].update(upper=0.5), "increasing"),
    "a PD above 1": ("linear", lambda d: d["grades"][-1].update(pd=1.2), "inside 0..1"),
    "a grade of no probability": ("linear", lambda d: d["grades"][0].update(upper=0.0), "above 0"),
    "two grades of one name": ("linear", lambda d: d["grades"][0].update(name="B"), "same name"),
    "calibration of a regression": ("trees", lambda d: d.update(link="identity"), "takes no calibration"),
    "a split on no input": ("trees", lambda d: d["model"]["trees"][0]["splits"][0].__setitem__(0, 9), "names input 9"),
    "too few leaves": ("trees", lambda d: d["model"]["trees"][0]["leaves"].pop(), "leaves and weights"),
    "no weight": ("trees", lambda d: d["model"]["trees"][0].update(weights=[0] * 16), "positive weight"),
    "a code that does not exist": ("trees", lambda d: _tree(d, [1, "is", 7.0]), "a code that input 'purpose'"),
    "half a code": ("trees", lambda d: _tree(d, [1, "is", 0.5]), "a code that input 'purpose'"),
    "a number asked for a code": ("trees", lambda d: _tree(d, [0, "is", 1.0]), "asks 'is' of input 'income'"),
    "a code asked for a border": ("trees", lambda d: _tree(d, [1, "gt", 1.0]), "asks 'gt' of input 'purpose'"),
    "a border beyond float32": ("trees", lambda d: _tree(d, [0, "gt", 0.1]), "no float32"),
    "two encodings": ("trees", lambda d: d["model"]["encodings"].append(d["model"]["encodings"][0]), "two encodings"),
    "a short encoding": ("trees", lambda d: d["model"]["encodings"][0]["values"].pop(), "a value per level"),
    "an encoded number": ("trees", lambda d: d["model"]["encodings"][0].update(input=0), "needs a categorical"),
    "a missing category that passes": ("trees", lambda d: d["model"].update(missing_passes=[1]), "needs a numeric"),
    "missing inputs out of order": ("trees", lambda d: d["model"].update(missing_passes=[2, 0]), "must increase"),
    "missing inputs out of range": ("trees", lambda d: d["model"].update(missing_passes=[-1]), "names input -1"),
    "a term of no input": ("linear", lambda d: d["model"]["terms"][0].update(input=9), "names input 9"),
    "a term without fill": ("linear", lambda d: d["model"]["terms"][0].update(fill=None), "needs 'fill'"),
    "a clip upside down": ("linear", lambda d: d["model"]["terms"][0].update(clip=[1, 0]), "(low, high)"),
    "an indicator of a number": ("linear", lambda d: d["model"]["terms"][-1].update(input=0), "needs a categorical"),
    "an indicator of no code": ("linear", lambda d: d["model"]["terms"][-1].update(code=6), "a code that input"),
    "bins out of order": ("scorecard", lambda d: d["model"]["characteristics"][0].update(edges=[1, 0, 2]), "increase"),
    "too few bins": ("scorecard", lambda d: d["model"]["characteristics"][0]["woe"].pop(), "one value more"),
    "too few levels": ("scorecard", lambda d: d["model"]["characteristics"][1]["woe"].pop(), "one 'woe' per level"),
    "a negative slope": ("trees", lambda d: d["calibration"].update(slope=-1), "calibration.platt.slope"),
    "knots that fall": ("linear", lambda d: d.update(calibration=_knots(values=[0.3, 0.2])), "must not decrease"),
    "knots out of order": ("linear", lambda d: d.update(calibration=_knots(margins=[1, 0])), "must increase"),
    "knots without values": ("linear", lambda d: d.update(calibration=_knots(values=[0.3])), "differ in length"),
    "a clip at zero": ("linear", lambda d: d.update(calibration=_knots(clip=[0, 0.5])), "inside (0, 1)"),
}  # fmt: skip


def test_pools_of_a_regression_may_lie_anywhere() -> None:
    pools = [
        {"name": name, "upper": upper, "pd": value} for name, upper, value in (("P1", -2.5, -3.0), ("P2", 40.0, 9.0))
    ]
    raw = _edit("linear", lambda d: d.update(link="identity", calibration={"kind": "none"}, grades=pools))
    scorer = FrozenScorer.from_bytes(serialise(build(raw)))
    values = np.array([-9.0, -2.5, -2.4, 39.0, 41.0])
    assert scorer.probability(values).tolist() == values.tolist()
    assert scorer.grade(values).tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(ScorerError, match="increasing"):
        build(raw | {"grades": pools[::-1]})


def _tree(raw: dict[str, Any], split: list[Any]) -> None:
    raw["model"]["trees"] = [{"splits": [split], "leaves": [0.0, 1.0], "weights": [1.0, 1.0]}]


def _knots(**change: Any) -> dict[str, Any]:
    return {"kind": "isotonic", "margins": [0, 1], "values": [0.1, 0.2]} | change


@pytest.mark.parametrize("case", BROKEN)
def test_a_document_that_breaks_the_format_is_refused_with_its_place(case: str) -> None:
    kind, change, message = BROKEN[case]
    with pytest.raises(ScorerError) as caught:
        build(_edit(kind, change))
    assert message in str(caught.value)
    assert "damaged at" in str(caught.value)


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "an empty file": (lambda b: b"", "no JSON text"),
    "half a file": (lambda b: b[: len(b) // 2], "no JSON text"),
    "no text": (lambda b: b"\xff" + b, "no JSON text"),
    "nesting without end": (lambda b: b"[" * 100_000, "no JSON text"),
    "another document": (lambda b: b"[1]", "unknown format"),
    "another version": (lambda b: b.replace(b"scorer/1", b"scorer/2"), "'countermark/scorer/2'"),
    "a byte order mark": (lambda b: b"\xef\xbb\xbf" + b, "no JSON text"),
    "another spacing": (lambda b: b.replace(b": ", b":"), "canonical"),
    "another number form": (lambda b: b.replace(b"-1.3", b"-1.30"), "canonical"),
    "a text for a number": (lambda b: b.replace(b"-1.3", b'"-1.3"'), "canonical"),
    "a repeated key": (lambda b: b.replace(b'"link"', b'"link": "sigmoid",\n "link"'), "canonical"),
    "no closing newline": (lambda b: b.rstrip(b"\n"), "canonical"),
    "a lost part": (lambda b: json.dumps({"format": "countermark/scorer/1"}).encode(), "damaged at 'inputs'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused(case: str) -> None:
    damage, message = DAMAGED[case]
    with pytest.raises(ScorerError) as caught:
        FrozenScorer.from_bytes(damage(scorer("linear").to_bytes()))
    assert message in str(caught.value)


def test_another_file_than_the_recorded_one_is_refused() -> None:
    with pytest.raises(ScorerError, match="not the recorded one"):
        FrozenScorer.from_bytes(scorer("linear").to_bytes(), digest=scorer("trees").digest)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_damage_is_refused_or_gives_a_valid_other_scorer(at: int, noise: bytes) -> None:
    data = serialise(linear_document())
    at %= len(data)
    changed = data[:at] + noise + data[at + len(noise) :]
    try:
        frozen = FrozenScorer.from_bytes(changed)
    except ScorerError:
        return
    assert isinstance(frozen.document, ScorerDocument)
    assert frozen.to_bytes() == changed

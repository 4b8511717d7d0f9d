"""The frozen scorer: same bits by row and by batch, exact contributions, calibration, grades, refusals."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from countermark.errors import ScorerError
from countermark.scoring.format import (
    IndicatorTerm,
    IsotonicCalibration,
    LinearModel,
    PlattCalibration,
    ScorerDocument,
    StandardisedTerm,
)
from countermark.scoring.frozen import FrozenScorer
from tests.scoring.builders import (
    DOCUMENTS,
    INPUTS,
    columns,
    linear_document,
    regression_document,
    row,
    scorer,
    trees_document,
)

KINDS = sorted(DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_and_a_batch_give_the_same_bits(kind: str) -> None:
    frozen, table = scorer(kind), columns(700)
    margins = frozen.margin(table)
    p = frozen.probability(margins)
    grade = frozen.grade(p)
    phi, _ = frozen.contributions(table)
    for r in range(700):
        one = frozen.score_row(row(table, r), contributions=True)
        assert one.margin.hex() == float(margins[r]).hex()
        assert one.p.hex() == float(p[r]).hex()
        assert one.grade == grade[r]
        assert one.phi is not None
        assert one.phi.tobytes() == phi[r].tobytes()
        assert frozen.score_row(row(table, r)).phi is None


@given(seed=st.integers(0, 10_000), depth=st.integers(0, 10), n=st.sampled_from([1, 2, 255, 256, 257]))
def test_any_forest_gives_the_same_bits_by_row_and_by_batch(seed: int, depth: int, n: int) -> None:
    frozen, table = FrozenScorer(trees_document(seed, depth=depth)), columns(n, seed)
    margins, (phi, base) = frozen.margin(table), frozen.contributions(table)
    assert np.abs(phi.sum(axis=1) + base - margins).max() < 1e-12
    for r in {0, n // 2, n - 1}:
        one = frozen.score_row(row(table, r), contributions=True)
        assert one.margin.hex() == float(margins[r]).hex()
        assert one.phi is not None
        assert one.phi.tobytes() == phi[r].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_add_up_to_the_margin(kind: str) -> None:
    frozen, table = scorer(kind), columns(3000, 5)
    phi, base = frozen.contributions(table)
    assert phi.shape == (3000, len(INPUTS))
    assert np.abs(phi.sum(axis=1) + base - frozen.margin(table)).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_writes_to_nothing_and_ignores_other_columns(kind: str) -> None:
    frozen, table = scorer(kind), columns(50)
    before = {name: values.copy() for name, values in table.items()}
    for values in table.values():
        values.flags.writeable = False
    margins = frozen.margin(table)
    np.testing.assert_array_equal(margins, frozen.margin({**table, "unused": np.zeros(3)}))
    frozen.contributions(table)
    margins.flags.writeable = False
    frozen.grade(frozen.probability(margins))
    for name, values in table.items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_and_columns_does_not_matter(kind: str) -> None:
    frozen, table = scorer(kind), columns(600, 3)
    order = np.random.default_rng(1).permutation(600)
    shuffled = {name: table[name][order] for name in reversed(list(table))}
    np.testing.assert_array_equal(frozen.margin(table)[order], frozen.margin(shuffled))


def test_no_rows_give_no_scores() -> None:
    frozen = scorer("trees")
    table = columns(0)
    assert frozen.margin(table).shape == (0,)
    assert frozen.contributions(table)[0].shape == (0, len(INPUTS))
    assert frozen.grade(frozen.probability(frozen.margin(table))).shape == (0,)


def test_missing_answers_splits_as_the_file_says() -> None:
    document = trees_document()
    raw = document.model_dump(mode="json")
    tree = {"splits": [[0, "gt", 0.0]], "leaves": [1.0, 2.0], "weights": [1.0, 1.0]}
    raw["model"] |= {"trees": [tree], "scale": 1.0, "bias": 0.0, "encodings": []}
    table = columns(1) | {"income": np.array([np.nan])}
    for passes, want in (([], 1.0), ([0], 2.0)):
        raw["model"]["missing_passes"] = passes
        assert FrozenScorer(ScorerDocument.model_validate(raw)).margin(table)[0] == want


def test_an_unseen_level_has_its_own_code_or_counts_as_missing() -> None:
    frozen = scorer("linear")
    base = row(columns(1), 0) | {"income": 0.1, "dti": 0.2, "age": 0.0, "purpose": "car", "state": "CA"}
    known = frozen.score_row(base).margin
    assert frozen.score_row(base | {"purpose": "boat"}).margin - known == pytest.approx(0.05 - 0.2)
    assert frozen.score_row(base | {"purpose": None}).margin - known == pytest.approx(0.5 - 0.2)
    card = scorer("scorecard")
    assert card.score_row(base | {"state": "ZZ"}).margin == card.score_row(base | {"state": None}).margin


def test_linear_terms_fill_and_clip() -> None:
    frozen = scorer("linear")
    base = {"income": 50.0, "dti": 0.2, "age": 0.0, "purpose": "car", "state": "CA"}
    assert frozen.score_row(base).margin == frozen.score_row(base | {"income": 2.0}).margin
    filled = frozen.score_row(base | {"income": -0.3}).margin + 0.45
    assert frozen.score_row(base | {"income": None}).margin == pytest.approx(filled, abs=1e-15)


def test_scorecard_bins_hold_their_lower_edge() -> None:
    frozen = scorer("scorecard")
    base = {"dti": 0.0, "age": 0.0, "purpose": "car", "state": "CA"}
    at, below = (frozen.score_row(base | {"income": x}).margin for x in (0.0, math.nextafter(0.0, -1.0)))
    assert at - below == pytest.approx(-0.9 * (0.2 - -0.1))
    np.testing.assert_allclose(frozen.points(np.array([0.0, 1.0])), [487.1, 487.1 - 28.85])
    with pytest.raises(ScorerError, match="no points"):
        scorer("linear").points(np.zeros(1))


def test_regression_is_the_margin_itself() -> None:
    frozen = FrozenScorer(regression_document())
    table = columns(20)
    margins = frozen.margin(table)
    np.testing.assert_array_equal(frozen.probability(margins), margins)
    assert frozen.score_row(row(table, 0)).grade == -1
    with pytest.raises(ScorerError, match="no grades"):
        frozen.grade(margins)


ISOTONIC = IsotonicCalibration(margins=(-2.0, 0.0, 1.0), values=(0.0, 0.4, 0.9), clip=(1e-4, 0.95))


def test_isotonic_knots_are_interpolated_or_stepped_and_clipped() -> None:
    margins = np.array([-9.0, -2.0, -1.0, 0.0, 0.5, 1.0, 9.0])
    linear = FrozenScorer(linear_document(ISOTONIC)).probability(margins)
    np.testing.assert_allclose(linear, [1e-4, 1e-4, 0.2, 0.4, 0.65, 0.9, 0.9], atol=1e-15)
    step = FrozenScorer(linear_document(ISOTONIC.model_copy(update={"between": "step"}))).probability(margins)
    np.testing.assert_allclose(step, [1e-4, 1e-4, 1e-4, 0.4, 0.4, 0.9, 0.9], atol=1e-15)


def test_platt_and_beta_have_their_closed_forms() -> None:
    margins = np.linspace(-8, 8, 101)
    platt = FrozenScorer(linear_document(PlattCalibration(slope=0.7, intercept=0.3))).probability(margins)
    np.testing.assert_allclose(platt, 1 / (1 + np.exp(-(0.7 * margins + 0.3))), rtol=1e-14)
    q = 1 / (1 + np.exp(-margins))
    odds = np.exp(0.1) * q**0.9 / (1 - q) ** 1.1
    np.testing.assert_allclose(scorer("scorecard").probability(margins), odds / (1 + odds), rtol=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
@pytest.mark.parametrize("kind", [*KINDS, "isotonic"])
def test_probabilities_are_open_and_do_not_fall(kind: str, values: list[float]) -> None:
    frozen = FrozenScorer(linear_document(ISOTONIC)) if kind == "isotonic" else scorer(kind)
    p = frozen.probability(np.sort(np.array(values)))
    assert ((p > 0.0) & (p < 1.0)).all()
    assert (np.diff(p) >= -(2.0**-52)).all()
    assert (np.diff(frozen.grade(p)) >= 0).all() or kind != "isotonic"


def test_a_probability_on_a_bound_has_the_better_grade() -> None:
    p = np.array([0.0, 0.1, math.nextafter(0.1, 1.0), 0.3, 0.6, 0.61, 1.0])
    assert scorer("trees").grade(p).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_what_a_scorer_says_of_itself() -> None:
    frozen = scorer("trees")
    assert frozen.input_names == ("income", "purpose", "dti", "state", "age")
    assert frozen.inputs[1].levels == ("car", "home", "other")
    assert [grade.name for grade in frozen.grades] == ["A", "B", "C", "D"]


def _replaced(name: str, values: Any) -> dict[str, NDArray[Any]]:
    return columns(4) | {name: values}


def _without(name: str) -> dict[str, NDArray[Any]]:
    return {key: values for key, values in columns(4).items() if key != name}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing column": (_without("purpose"), "column 'purpose' is missing", "a categorical column"),
    "text for a number": (_replaced("dti", np.array(["1", "2", "3", "4"])), "'dti' has the wrong type", "float64"),
    "truth values for a number": (_replaced("dti", np.ones(4, dtype=bool)), "'dti' has the wrong type", "bool"),
    "numbers for text": (_replaced("state", np.ones(4)), "'state' has the wrong type", "text"),
    "numbers among text": (_replaced("state", np.array(["CA", 1, None, 2.5], object)), "no text", "float, int"),
    "a list": (_replaced("dti", [1.0, 2.0, 3.0, 4.0]), "'dti' has the wrong shape", "list"),
    "two dimensions": (_replaced("dti", np.ones((4, 1))), "'dti' has the wrong shape", "2 dimensions"),
    "unequal lengths": (_replaced("dti", np.ones(3)), "differ in length", "3, 4"),
    "infinity": (_replaced("dti", np.array([1.0, np.inf, -np.inf, np.nan])), "'dti' is infinite", "2 rows"),
    "missing where refused": (_replaced("age", np.array([1, np.nan, 2, 3])), "'age' must not be missing", "1 row"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_columns_that_cannot_be_scored_are_refused(case: str) -> None:
    table, what, detail = REFUSED[case]
    for call in (scorer("trees").check_columns, scorer("linear").margin, scorer("scorecard").contributions):
        with pytest.raises(ScorerError) as caught:
            call(table)
        assert what in str(caught.value)
        assert detail in str(caught.value)


REFUSED_ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing number": ({"dti": ...}, "input 'dti' is missing", "numeric"),
    "a missing text": ({"state": ...}, "input 'state' is missing", "categorical"),
    "text for a number": ({"dti": "0.5"}, "'dti' has the wrong type", "str"),
    "a truth value for a number": ({"dti": True}, "'dti' has the wrong type", "bool"),
    "NumPy's truth value for a number": ({"dti": np.True_}, "'dti' has the wrong type", "bool"),
    "a decimal": ({"dti": Decimal("0.5")}, "'dti' has the wrong type", "Decimal"),
    "a number for text": ({"state": 3}, "'state' has the wrong type", "int"),
    "a list for text": ({"state": ["CA"]}, "'state' has the wrong type", "list"),
    "infinity": ({"dti": math.inf}, "'dti' is infinite", "1 row"),
    "missing where refused": ({"age": None}, "'age' must not be missing", "1 row"),
    "NaN where refused": ({"age": math.nan}, "'age' must not be missing", "1 row"),
}


@pytest.mark.parametrize("contributions", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_rows_that_cannot_be_scored_are_refused(case: str, kind: str, contributions: bool) -> None:
    change, what, detail = REFUSED_ROWS[case]
    good = {"income": 1.0, "purpose": "car", "dti": 0.1, "state": "CA", "age": 1.0}
    bad = {name: value for name, value in (good | change).items() if value is not ...}
    with pytest.raises(ScorerError) as caught:
        scorer(kind).score_row(bad, contributions=contributions)
    assert what in str(caught.value)
    assert detail in str(caught.value)


@pytest.mark.parametrize(("unseen", "missing"), [("refuse", "accept"), ("refuse", "refuse")])
def test_levels_that_the_file_refuses_are_counted_and_not_quoted(unseen: str, missing: str) -> None:
    raw = linear_document().model_dump(mode="json")
    raw["inputs"][1] |= {"unseen": unseen, "missing": missing}
    frozen = FrozenScorer(ScorerDocument.model_validate(raw))
    table = columns(4) | {"purpose": np.array(["secret", "car", "home", "secret"], object)}
    with pytest.raises(ScorerError) as caught:
        frozen.margin(table)
    assert "2 rows with another" in str(caught.value)
    assert "secret" not in str(caught.value)
    good = {"income": 1.0, "purpose": "secret", "dti": 0.1, "state": "CA", "age": 1.0}
    with pytest.raises(ScorerError, match="level that the scorer does not know"):
        frozen.score_row(good)
    if missing == "refuse":
        with pytest.raises(ScorerError, match="'purpose' must not be missing"):
            frozen.score_row(good | {"purpose": None})
        with pytest.raises(ScorerError, match="'purpose' must not be missing"):
            frozen.margin(columns(2) | {"purpose": np.array([None, "car"], object)})


def test_whole_numbers_and_float32_are_numbers() -> None:
    frozen = scorer("linear")
    table = columns(3) | {"dti": np.array([1, 0, 2])}
    same = table | {"dti": np.array([1.0, 0.0, 2.0])}
    np.testing.assert_array_equal(frozen.margin(table), frozen.margin(same))
    np.testing.assert_array_equal(
        frozen.margin(table | {"dti": np.array([1, 0, 2], dtype=np.float32)}), frozen.margin(same)
    )
    good = {"income": 1, "purpose": "car", "dti": np.float64(0.5), "state": "CA", "age": np.int64(1)}
    assert frozen.score_row(good) == frozen.score_row(
        {k: float(v) if k in ("income", "dti", "age") else v for k, v in good.items()}
    )


@pytest.mark.parametrize("kept", [("income",), ("purpose",), ("income", "purpose")])
def test_scorers_of_one_or_two_inputs_score_rows_as_batches(kept: tuple[str, ...]) -> None:
    parts = tuple(part for part in INPUTS if part.name in kept)
    terms = [
        StandardisedTerm(input=k, mean=0.0, scale=1.0, coefficient=0.5, background=0.0, fill=0.0)
        if part.type == "numeric"
        else IndicatorTerm(input=k, code=1, coefficient=-0.7, background=0.3)
        for k, part in enumerate(parts)
    ]
    frozen = FrozenScorer(ScorerDocument(inputs=parts, model=LinearModel(intercept=0.1, terms=tuple(terms))))
    table = columns(60)
    margins = frozen.margin(table)
    assert [frozen.score_row(row(table, r)).margin for r in range(60)] == margins.tolist()


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    good = {"income": 1.0, "purpose": "car", "dti": 10**400, "state": "CA", "age": 1.0}
    with pytest.raises(ScorerError, match="'dti' is infinite"):
        scorer("trees").score_row(good)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_was_read_once_is_scored_and_explained_as_the_row(kind: str) -> None:
    frozen, table = scorer(kind), columns(40)
    for r in range(40):
        encoded, whole = frozen.encode_row(row(table, r)), frozen.score_row(row(table, r), contributions=True)
        assert frozen.score_encoded(encoded) == whole._replace(phi=None)
        explained = frozen.score_encoded(encoded, contributions=True)
        assert explained._replace(phi=None) == whole._replace(phi=None)
        assert explained.phi is not None
        assert whole.phi is not None
        assert explained.phi.tobytes() == whole.phi.tobytes()
    with pytest.raises(ScorerError, match="encoded by another scorer"):
        scorer(kind).score_encoded(encoded)
    with pytest.raises(ScorerError, match="'dti' is infinite"):
        frozen.score_encoded(frozen.encode_row(row(table, 0) | {"dti": -math.inf}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scorer_is_made_ready_before_the_first_row(kind: str) -> None:
    frozen = scorer(kind)
    frozen.warm_up()
    table = columns(3)
    assert frozen.score_row(row(table, 1)).margin == frozen.margin(table)[1]


def test_threads_share_a_scorer() -> None:
    frozen, table = scorer("trees"), columns(400)
    rows = [row(table, r) for r in range(400)]
    with ThreadPoolExecutor(4) as pool:
        found = [one.margin for one in pool.map(frozen.score_row, rows * 5)]
    assert found == frozen.margin(table).tolist() * 5


def test_every_code_of_an_encoded_or_one_hot_input_is_scored_by_row_as_by_batch() -> None:
    frozen = scorer("trees")
    for purpose in ("car", "home", "other", "never seen", None):
        for state in ("CA", "NY", "TX", "WA", "never seen", None):
            one = {"income": 0.3, "purpose": purpose, "dti": None, "state": state, "age": 0.1}
            table = {
                part.name: np.array([one[part.name]], dtype=float if part.type == "numeric" else object)
                for part in frozen.inputs
            }
            assert frozen.score_row(one).margin == frozen.margin(table)[0]

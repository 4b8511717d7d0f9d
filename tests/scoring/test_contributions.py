"""Contributions against Shapley's definition, summed over every coalition."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.scoring.format import (
    InputPart,
    LinearModel,
    ScorerDocument,
    StandardisedTerm,
    Tree,
    TreesModel,
)
from countermark.scoring.frozen import FrozenScorer
from tests.oracles import oracle
from tests.scoring.builders import INPUTS, columns, row, scorer, trees_document


def shapley(value: Callable[[frozenset[int]], float], players: int) -> list[float]:
    """Shapley values by definition."""
    phi = []
    for i in range(players):
        others = [k for k in range(players) if k != i]
        total = 0.0
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            for chosen in combinations(others, size):
                inside = frozenset(chosen)
                total += weight * (value(inside | {i}) - value(inside))
        phi.append(total)
    return phi


def test_the_definition_gives_the_worked_interaction() -> None:
    worked = oracle("shap_interaction_exact")
    background, x = np.array(worked.inputs["background"]), np.array(worked.inputs["x"])

    def value(inside: frozenset[int]) -> float:
        mixed = np.array([[x[k] if k in inside else b[k] for k in range(3)] for b in background])
        return float((mixed[:, 0] * mixed[:, 1] + mixed[:, 2]).mean())

    worked.check("phi", shapley(value, 3))
    worked.check("base_value", value(frozenset()))
    worked.check("prediction", value(frozenset({0, 1, 2})))


def test_the_linear_model_gives_the_worked_contributions() -> None:
    worked = oracle("shap_linear_additivity")
    background = np.array(worked.inputs["background"])
    names = ("a", "b", "c")
    terms = tuple(
        StandardisedTerm(
            input=k, mean=0.0, scale=1.0, coefficient=c, background=float(background[:, k].mean()), fill=0.0
        )
        for k, c in enumerate(worked.inputs["coef"])
    )
    frozen = FrozenScorer(
        ScorerDocument(
            inputs=tuple(InputPart(name=name, type="numeric") for name in names),
            model=LinearModel(intercept=worked.inputs["intercept"], terms=terms),
        )
    )
    one = frozen.score_row(dict(zip(names, worked.inputs["x"], strict=True)), contributions=True)
    assert one.phi is not None
    worked.check("phi", one.phi)
    worked.check("base_value", frozen.base)
    worked.check("margin", one.margin)
    assert frozen.base + one.phi.sum() - one.margin == pytest.approx(0.0, abs=1e-12)


def _tree_value(tree: Tree, went: list[bool], inside: frozenset[int], depth: int, node: int) -> float:
    """Expected leaf of a row below a node: inputs inside the coalition follow the row, others the weights."""
    if depth < 0:
        return tree.leaves[node]
    width = 1 << depth
    low, high = 2 * node * width, (2 * node + 1) * width
    left, right = sum(tree.weights[low:high]), sum(tree.weights[high : high + width])
    if tree.splits[depth][0] in inside:
        return _tree_value(tree, went, inside, depth - 1, 2 * node + went[depth])
    share = right / (left + right) if left + right > 0 else 0.5
    return (1 - share) * _tree_value(tree, went, inside, depth - 1, 2 * node) + share * _tree_value(
        tree, went, inside, depth - 1, 2 * node + 1
    )


@given(st.integers(0, 10_000), st.booleans())
def test_trees_give_the_shapley_values_of_the_path_dependent_game(seed: int, zero: bool) -> None:
    document = trees_document(seed, count=1, depth=5, zero_leaves=zero)
    assert isinstance(document.model, TreesModel)
    frozen, one = FrozenScorer(document), row(columns(1, seed), 0)
    tree = document.model.trees[0]
    encoded = FrozenScorer(document)._encoder.vector(one)
    position = frozen._encoder.position
    state = document.model.encodings[0].values
    went = []
    for k, test, operand in tree.splits:
        x = float(encoded[position[k]])
        if k == 3:
            x = state[int(x)]
        if math.isnan(x):
            went.append(k in document.model.missing_passes)
        else:
            with np.errstate(over="ignore"):
                went.append(x == operand if test == "is" else bool(np.float32(x) > np.float32(operand)))
    top = len(tree.splits) - 1
    want = shapley(lambda inside: _tree_value(tree, went, inside, top, 0), len(INPUTS))
    got = frozen.score_row(one, contributions=True)
    assert got.phi is not None
    np.testing.assert_allclose(got.phi, np.array(want) * document.model.scale, atol=1e-12)
    empty = _tree_value(tree, went, frozenset(), top, 0)
    assert frozen.base == pytest.approx(empty * document.model.scale + document.model.bias, abs=1e-12)


@pytest.mark.parametrize("kind", ["linear", "scorecard"])
def test_additive_contributions_are_effects_less_their_background_mean(kind: str) -> None:
    frozen = scorer(kind)
    good = {"income": 0.3, "purpose": "home", "dti": 0.4, "state": "NY", "age": 0.2}
    other = {"income": -0.9, "purpose": "boat", "dti": None, "state": None, "age": -0.4}
    one, two = (frozen.score_row(case, contributions=True) for case in (good, other))
    assert one.phi is not None
    assert two.phi is not None
    for k, name in enumerate(frozen.input_names):
        swapped = frozen.score_row(good | {name: other[name]})
        assert swapped.margin - one.margin == pytest.approx(two.phi[k] - one.phi[k], abs=1e-12)


def test_background_shares_give_contributions_with_mean_zero() -> None:
    frozen = scorer("linear")
    table = columns(1000)
    phi, base = frozen.contributions(table)
    levels = [(frozen.inputs[1].levels or ()).index(v) if v in ("car", "home", "other") else 3 + (v is not None)
              for v in table["purpose"]]  # fmt: skip
    effect = np.array([0.2, -0.4, 0.1, 0.5, 0.05])
    shares = np.array([0.3, 0.3, 0.2, 0.1, 0.1])
    np.testing.assert_allclose(phi[:, 1], effect[levels] - effect @ shares, atol=1e-15)
    assert base == pytest.approx(-1.3 + -0.8 * 0.02 + 0.45 * 0.04 + 0.6 * -0.01 + effect @ shares + 0.3 * 0.25)


def test_a_deep_tree_is_tabulated() -> None:
    frozen = FrozenScorer(trees_document(3, count=3, depth=10))
    table = columns(100)
    phi, base = frozen.contributions(table)
    assert np.abs(phi.sum(axis=1) + base - frozen.margin(table)).max() < 1e-12


def test_rows_in_leaves_without_weight_add_up_too() -> None:
    raw = trees_document(5, count=6, depth=5, zero_leaves=False).model_dump(mode="json")
    for tree in raw["model"]["trees"]:
        tree["weights"] = [0.0 if k % 3 else 2.0 for k in range(len(tree["weights"]))]
    frozen = FrozenScorer(ScorerDocument.model_validate(raw))
    table = columns(500, 2)
    phi, base = frozen.contributions(table)
    assert np.abs(phi.sum(axis=1) + base - frozen.margin(table)).max() < 1e-12

"""Accumulated local effects and monotonicity against worked examples and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from countermark.errors import EvidenceError
from countermark.metrics.effects import (
    ale_edges,
    ale_first_order,
    isotonic_distance,
    monotonicity_violations,
)
from tests.oracles import oracle

CURVES = st.lists(st.integers(-20, 20), min_size=1, max_size=25)


def test_worked_example_of_ale() -> None:
    example = oracle("ale_first_order")
    x = np.array(example.inputs["X"])
    curve = ale_first_order(lambda v: v**2 + v * x[:, 1], x[:, 0], example.inputs["edges"])
    assert curve is not None
    example.check("local_effects", curve.local[:, 0])
    example.check("ale_centred", curve.effect[:, 0])


@given(st.integers(0, 10_000), st.integers(1, 20))
def test_ale_of_an_additive_function_is_exact_at_the_edges(seed: int, intervals: int) -> None:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, 60)).round(1)

    def shape(v: np.ndarray) -> np.ndarray:
        return v**3 - v

    edges = ale_edges(x, intervals)
    curve = ale_first_order(lambda v: shape(v) + np.sin(z), x, edges)
    assert curve is not None
    difference = curve.effect[:, 0] - shape(curve.edges)
    np.testing.assert_allclose(difference, difference[0], atol=1e-9)
    middle = (curve.effect[1:, 0] + curve.effect[:-1, 0]) / 2
    assert np.sum(curve.counts * middle) == pytest.approx(0.0, abs=1e-9)
    assert curve.counts.sum() == 60


def test_ale_of_two_outputs_is_two_curves() -> None:
    x = np.linspace(0, 1, 11)
    both = ale_first_order(lambda v: np.column_stack([v, 2 * v]), x, ale_edges(x, 5))
    assert both is not None
    np.testing.assert_allclose(both.effect[:, 1], 2 * both.effect[:, 0])


def test_an_empty_interval_is_merged() -> None:
    x = np.array([0.0, 1.0, 9.0, 10.0])
    curve = ale_first_order(lambda v: v, x, [0.0, 1.0, 4.0, 6.0, 10.0])
    assert curve is not None
    np.testing.assert_array_equal(curve.edges, [0.0, 1.0, 10.0])
    np.testing.assert_array_equal(curve.counts, [2, 2])
    tail = ale_first_order(lambda v: v, np.array([0.0, 1.0]), [0.0, 1.0, 4.0, 6.0])
    assert tail is not None
    np.testing.assert_array_equal(tail.edges, [0.0, 6.0])


def test_without_two_edges_there_is_no_shape() -> None:
    assert ale_first_order(lambda v: v, [3.0, 3.0], ale_edges([3.0, 3.0, np.nan], 4)) is None
    assert ale_edges([np.nan], 4).size == 0
    with pytest.raises(EvidenceError, match="at least one interval"):
        ale_edges([1.0], 0)


def test_worked_example_of_monotonicity() -> None:
    example = oracle("monotonicity_violation")
    curve, direction = example.inputs["curve"], example.inputs["expected_direction"]
    result = monotonicity_violations(curve, direction)
    example.check("violations", result.violations)
    example.check("violation_rate", result.rate)
    example.check("max_drop", result.max_drop)
    example.check("isotonic_l1_distance", isotonic_distance(curve, direction))


@given(CURVES)
def test_direction_mirrors_and_sorted_curves_never_violate(values: list[int]) -> None:
    curve = np.array(values, dtype=float)
    up = monotonicity_violations(curve, "increasing")
    assert up == monotonicity_violations(-curve, "decreasing")
    assert monotonicity_violations(np.sort(curve), "increasing").violations == 0
    assert (up.violations == 0) == (isotonic_distance(curve, "increasing") == 0.0)


@given(CURVES)
def test_isotonic_distance_equals_scikit_learn(values: list[int]) -> None:
    curve = np.array(values, dtype=float)
    fitted = IsotonicRegression().fit_transform(np.arange(curve.size), curve)
    assert isotonic_distance(curve, "increasing") == pytest.approx(np.abs(curve - fitted).sum(), abs=1e-9)


def test_rows_are_counted_one_by_one() -> None:
    curves = [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [0.0, 1.0, 0.5]]
    result = monotonicity_violations(curves, "increasing")
    assert (result.steps, result.violations, result.curves, result.curves_violating) == (6, 3, 3, 2)
    assert result.max_drop == 1.0
    assert monotonicity_violations(curves, "increasing", tolerance=0.5).violations == 2


def test_one_point_has_no_steps() -> None:
    result = monotonicity_violations([1.0], "increasing")
    assert (result.steps, result.rate, result.max_drop) == (0, None, 0.0)
    assert isotonic_distance([], "increasing") == 0.0


def test_inputs_are_not_written() -> None:
    x = np.array([0.3, 0.1, 0.2])
    edges = np.array([0.1, 0.2, 0.3])
    for array in (x, edges):
        array.flags.writeable = False
    ale_edges(x, 2)
    ale_first_order(lambda v: v, x, edges)
    monotonicity_violations(x, "increasing")
    isotonic_distance(x, "decreasing")

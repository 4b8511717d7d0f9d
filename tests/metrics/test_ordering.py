from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportions_ztest

from countermark.errors import EvidenceError
from countermark.metrics.ordering import grade_order, neighbouring_grades
from tests.oracles import oracle


def test_neighbouring_grades_match_the_worked_example():
    example = oracle("adjacent_grade_ordering")
    b, w = example.inputs["better"], example.inputs["worse"]
    got = grade_order(b["n"], b["d"], w["n"], w["d"])
    example.check("z", got.z)
    example.check("p_one_sided", got.p_differentiation)
    example.check("p_fisher", got.p_fisher)
    assert (got.method, got.inverted) == ("z", False)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_order_test_equals_scipy_and_statsmodels(n_b, n_w, data):
    d_b, d_w = data.draw(st.integers(0, n_b)), data.draw(st.integers(0, n_w))
    got = grade_order(n_b, d_b, n_w, d_w)
    if d_b + d_w in (0, n_b + n_w):
        assert got.reason is not None
        assert got.p_inversion is None
        return
    table = [[d_w, n_w - d_w], [d_b, n_b - d_b]]
    assert got.p_fisher == pytest.approx(fisher_exact(table, alternative="greater").pvalue, abs=1e-9)
    if got.method == "z":
        z, p = proportions_ztest([d_w, d_b], [n_w, n_b], alternative="larger")
        assert (got.z, got.p_differentiation) == (pytest.approx(z, abs=1e-9), pytest.approx(p, abs=1e-9))
        assert got.p_inversion == pytest.approx(1 - p, abs=1e-9)
    else:
        smallest = min(d_b + d_w, n_b + n_w - d_b - d_w) * min(n_b, n_w) / (n_b + n_w)
        assert smallest < 5
        assert got.p_inversion == pytest.approx(fisher_exact(table, alternative="less").pvalue, abs=1e-9)
    assert got.inverted == (d_w / n_w < d_b / n_b)


def test_small_grades_use_fisher_and_empty_ones_give_a_reason():
    assert grade_order(40, 1, 40, 3).method == "Fisher"
    assert grade_order(0, 0, 10, 1).reason == "a grade is empty"
    assert grade_order(10, 0, 10, 0).reason == "no events in either grade"
    assert grade_order(3, 3, 4, 4).reason == "no non-events in either grade"
    with pytest.raises(EvidenceError, match="counts per group are impossible"):
        grade_order(3, 4, 4, 4)


def test_empty_grades_are_skipped():
    pairs = neighbouring_grades(np.array([100, 0, 100, 100]), np.array([1, 0, 20, 5]))
    assert [(b, w) for b, w, _ in pairs] == [(0, 2), (2, 3)]
    assert [t.inverted for _, _, t in pairs] == [False, True]
    assert pairs[1][2].p_inversion < 0.01
    assert neighbouring_grades(np.array([5]), np.array([1])) == ()

"""Holm and Benjamini-Hochberg against the worked example, statsmodels and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from countermark.errors import EvidenceError
from countermark.metrics.multiplicity import adjusted_where_defined, benjamini_hochberg, holm
from tests.oracles import oracle

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_worked_example() -> None:
    example = oracle("multiplicity_holm_bh")
    example.check("holm", holm(example.inputs["p"]))
    example.check("benjamini_hochberg", benjamini_hochberg(example.inputs["p"]))


@given(P_VALUES)
def test_equals_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


@given(P_VALUES, st.integers(0, 1000))
def test_order_of_the_family_does_not_matter(p: list[float], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(p))
    for adjust in (holm, benjamini_hochberg):
        np.testing.assert_array_equal(adjust(np.array(p)[order]), adjust(p)[order])


@given(P_VALUES)
def test_never_below_raw_and_holm_never_below_benjamini_hochberg(p: list[float]) -> None:
    # One rounding: p * m / m may differ from p in the last bit.
    assert np.all(benjamini_hochberg(p) >= np.array(p) - 1e-15)
    assert np.all(holm(p) >= benjamini_hochberg(p) - 1e-15)


def test_undefined_tests_are_not_counted_in_the_family() -> None:
    assert adjusted_where_defined([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert adjusted_where_defined([None, None]) == [None, None]


@pytest.mark.parametrize("bad", [[-0.1], [1.1], [float("nan")], [[0.1, 0.2]]])
def test_what_is_no_p_value_is_refused(bad: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(EvidenceError, match=r"numbers in \[0, 1\]"):
            adjust(bad)


def test_inputs_are_not_written() -> None:
    p = np.array([0.3, 0.01, 0.2])
    p.flags.writeable = False
    holm(p)
    benjamini_hochberg(p)

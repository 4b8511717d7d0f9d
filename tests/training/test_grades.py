from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.learner import Grades
from countermark.errors import TrainingError
from countermark.training.grades import fit_grades


def grades(**scale: object) -> Grades:
    names = scale.pop("names", None)
    return Grades.model_validate({"scale": scale, "names": names})


def outcomes(p: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(9).random(p.size) < p).astype(np.float64)


def test_quantile_grades_have_equal_shares_and_mean_pds() -> None:
    p = np.random.default_rng(1).beta(1, 8, 1000)
    scale = fit_grades(grades(kind="quantile", count=5), p, outcomes(p))
    assert [row.n for row in scale.rows] == [200] * 5
    assert [row.name for row in scale.rows] == ["R1", "R2", "R3", "R4", "R5"]
    assert scale.rows[-1].upper == 1.0
    ordered = np.sort(p)
    for k, row in enumerate(scale.rows):
        assert row.pd == pytest.approx(ordered[200 * k : 200 * (k + 1)].mean(), rel=1e-5)
    assert sum(row.events or 0 for row in scale.rows) == outcomes(p).sum()
    assert scale.merged == ()


@given(st.lists(st.sampled_from([0.01, 0.02, 0.05, 0.2, 0.4]), min_size=1, max_size=60), st.integers(2, 12))
def test_grades_always_ascend_and_hold_every_row(values: list[float], count: int) -> None:
    p = np.array(values)
    scale = fit_grades(grades(kind="quantile", count=count), p, outcomes(p))
    assert sum(row.n for row in scale.rows) == p.size
    assert all(low.upper < high.upper and low.pd < high.pd for low, high in pairwise(scale.rows))
    assert scale.rows[-1].upper == 1.0
    assert len(scale.rows) + len(scale.merged) == scale.declared == count


def test_a_constant_probability_is_one_grade() -> None:
    scale = fit_grades(grades(kind="quantile", count=5), np.full(50, 0.2), np.zeros(50))
    assert [(row.name, row.upper, row.pd) for row in scale.rows] == [("R1", 1.0, 0.2)]
    assert len(scale.merged) == 4


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60), st.integers(2, 8))
def test_pools_of_amounts_hold_every_row_wherever_the_amounts_lie(values: list[float], count: int) -> None:
    estimate = np.round(np.array(values), 3)
    scale = fit_grades(grades(kind="quantile", count=count), estimate, estimate + 0.5, amounts=True)
    assert sum(row.n for row in scale.rows) == estimate.size
    assert all(low.upper < high.upper and low.pd < high.pd for low, high in pairwise(scale.rows))
    assert scale.rows[-1].upper == pytest.approx(float(estimate.max()), rel=1e-6)
    assert [row.name for row in scale.rows] == [f"P{k + 1}" for k in range(len(scale.rows))]
    assert len(scale.rows) + len(scale.merged) == count


def test_fixed_pools_may_end_below_the_largest_amount() -> None:
    estimate = np.array([-0.1, 0.2, 0.4, 0.9, 1.3])
    scale = fit_grades(grades(kind="fixed", upper=(0.0, 0.5, 1.0)), estimate, np.zeros(5), amounts=True)
    assert [(row.upper, row.n) for row in scale.rows] == [(0.0, 1), (0.5, 2), (1.0, 2)]
    assert [row.pd for row in scale.rows] == pytest.approx([-0.1, 0.3, 1.1])


@pytest.mark.parametrize(
    ("scale", "what"),
    [
        ({"kind": "fixed", "upper": (0.5, 0.2)}, "is not a scale of pools"),
        ({"kind": "fixed", "upper": (0.2, 0.5), "pd": (0.1, 0.3)}, "pools of amounts have no PD"),
    ],
)
def test_pools_that_are_no_scale_are_refused(scale: dict[str, object], what: str) -> None:
    with pytest.raises(TrainingError, match=what):
        fit_grades(grades(**scale), np.array([0.1, 0.3]), np.zeros(2), amounts=True)


def test_fixed_bounds_are_kept_and_a_probability_on_a_bound_has_the_better_grade() -> None:
    p = np.array([0.01, 0.02, 0.03, 0.2, 0.5])
    scale = fit_grades(grades(kind="fixed", upper=(0.02, 0.1, 1.0), names=("A", "B", "C")), p, np.zeros(5))
    assert [(row.name, row.upper, row.n) for row in scale.rows] == [("A", 0.02, 2), ("B", 0.1, 1), ("C", 1.0, 2)]
    assert scale.rows[2].pd == pytest.approx(0.35)


def test_a_fixed_grade_without_rows_is_merged_and_the_other_names_stay() -> None:
    p = np.array([0.01, 0.02, 0.2, 0.5])
    scale = fit_grades(grades(kind="fixed", upper=(0.02, 0.1, 1.0), names=("A", "B", "C")), p, np.zeros(4))
    assert [row.name for row in scale.rows] == ["A", "C"]
    assert len(scale.merged) == 1
    assert "0 calibration rows" in scale.merged[0]
    last = fit_grades(grades(kind="fixed", upper=(0.1, 0.9, 1.0)), p, np.zeros(4))
    assert [(row.name, row.upper) for row in last.rows] == [("R1", 0.1), ("R3", 1.0)]


def test_policy_pds_stand_even_without_rows() -> None:
    p = np.array([0.01, 0.5])
    scale = fit_grades(grades(kind="fixed", upper=(0.02, 0.1, 1.0), pd=(0.015, 0.05, 0.4)), p, np.zeros(2))
    assert [(row.pd, row.n) for row in scale.rows] == [(0.015, 1), (0.05, 0), (0.4, 1)]


BAD_SCALES = {
    "bounds not ascending": ({"kind": "fixed", "upper": (0.2, 0.1, 1.0)}, "is not a scale"),
    "last bound not 1": ({"kind": "fixed", "upper": (0.1, 0.2)}, "is not a scale"),
    "PD outside its grade": ({"kind": "fixed", "upper": (0.1, 1.0), "pd": (0.2, 0.3)}, "does not fit its bounds"),
    "PDs not ascending": ({"kind": "fixed", "upper": (0.1, 1.0), "pd": (0.1, 0.1)}, "does not fit its bounds"),
    "too few PDs": ({"kind": "fixed", "upper": (0.1, 1.0), "pd": (0.05,)}, "does not fit its bounds"),
    "too few names": ({"kind": "quantile", "count": 3, "names": ("A", "B")}, "does not fit the scale"),
    "a name twice": ({"kind": "quantile", "count": 2, "names": ("A", "A")}, "does not fit the scale"),
}


@pytest.mark.parametrize("case", BAD_SCALES)
def test_bad_scales_are_refused(case: str) -> None:
    scale, what = BAD_SCALES[case]
    with pytest.raises(TrainingError, match=what) as caught:
        fit_grades(grades(**scale), np.array([0.05, 0.3]), np.zeros(2))
    assert caught.value.hint

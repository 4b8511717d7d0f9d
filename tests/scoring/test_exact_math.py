"""Exponential and logarithm against 80-bit arithmetic, and their fixed bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from countermark.scoring import exact_math

Wide = Callable[[NDArray[np.longdouble]], NDArray[np.longdouble]]
RNG = np.random.default_rng(7)


def _softplus(x: NDArray[np.longdouble]) -> NDArray[np.longdouble]:
    return np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))


CASES: dict[str, tuple[Callable[[float], float], Wide, NDArray[np.float64], float]] = {
    "exp": (exact_math.exp, np.exp, RNG.uniform(-708, 709.7, 20_000), 1.0),
    "exp near zero": (exact_math.exp, np.exp, RNG.uniform(-2, 2, 20_000), 1.0),
    "exp of tiny": (exact_math.exp, np.exp, 10.0 ** RNG.uniform(-300, -1, 2_000), 1.0),
    "exp subnormal": (exact_math.exp, np.exp, RNG.uniform(-745, -708, 5_000), 1.0),
    "log": (exact_math.log, np.log, 10.0 ** RNG.uniform(-307, 308, 20_000), 1.0),
    "log near one": (exact_math.log, np.log, RNG.uniform(0.5, 2.0, 20_000), 1.0),
    "log at one": (exact_math.log, np.log, 1.0 + RNG.uniform(-1e-6, 1e-6, 5_000), 1.0),
    "log1p": (exact_math.log1p, np.log1p, 10.0 ** RNG.uniform(-30, 1, 20_000), 1.5),
    "sigmoid": (exact_math.sigmoid, lambda x: 1 / (1 + np.exp(-x)), RNG.uniform(-700, 40, 20_000), 2.5),
    "softplus": (exact_math.softplus, _softplus, RNG.uniform(-700, 700, 20_000), 2.5),
}


@pytest.mark.parametrize("name", CASES)
def test_error_in_units_in_the_last_place(name: str) -> None:
    function, wide, points, limit = CASES[name]
    assert np.finfo(np.longdouble).nmant >= 63, "the reference needs 80-bit arithmetic"
    exact = wide(points.astype(np.longdouble))
    got = np.array([function(float(x)) for x in points])
    ulp = np.abs(got.astype(np.longdouble) - exact) / np.spacing(np.abs(exact).astype(np.float64))
    assert float(ulp.max()) < limit


def test_edges() -> None:
    exp, log = exact_math.exp, exact_math.log
    assert (exp(0.0), exp(-np.inf), exp(np.inf), exp(710.0), exp(-746.0)) == (1.0, 0.0, np.inf, np.inf, 0.0)
    assert np.isnan(exp(np.nan))
    assert exp(709.782712893384) < np.inf
    assert (log(1.0), log(0.0), log(np.inf)) == (0.0, -np.inf, np.inf)
    assert np.isnan(log(-1.0))
    assert log(5e-324) == np.log(5e-324)
    assert exact_math.log1p(1e-300) == 1e-300
    assert exact_math.log1p(np.inf) == np.inf
    assert (exact_math.sigmoid(-1e9), exact_math.sigmoid(1e9), exact_math.sigmoid(0.0)) == (0.0, 1.0, 0.5)
    assert (exact_math.softplus(-1e9), exact_math.softplus(1e9)) == (0.0, 1e9)


@given(st.floats(-700, 700))
def test_sigmoid_is_symmetric(x: float) -> None:
    assert exact_math.sigmoid(x) + exact_math.sigmoid(-x) == pytest.approx(1.0, abs=2.3e-16)


def test_the_bits_are_fixed() -> None:
    grid = np.linspace(-40, 40, 20_001)
    values = [(exact_math.exp(x), exact_math.log(abs(x) + 0.1), exact_math.sigmoid(x)) for x in grid.tolist()]
    digest = hashlib.sha256(np.array(values, dtype="<f8").tobytes()).hexdigest()
    assert digest == "2ff7f3577604dea9f7e427c78c1e54e1da17ed723928d3c89979cf51c1bbc9a6"


@pytest.mark.parametrize("name", ["exp", "log"])
def test_plain_python_runs_the_same_operations(name: str) -> None:
    function: Any = getattr(exact_math, name)
    for x in (0.1, 0.7, 3.0, 30.0):
        assert float(function.py_func(x)).hex() == function(x).hex()

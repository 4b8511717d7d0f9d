"""Logistic and ridge regression solved to the bottom, so that rounding removes what processors disagree on.

A quasi-Newton fit stops where its tolerance says, and where that is depends on the last bits of a matrix product.
Newton's method converges quadratically: one more step moves nothing above 1e-12, and coefficients rounded to a
few significant digits are the same on every processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from countermark.errors import TrainingError
from countermark.records.digest import round_significant

FloatArray = NDArray[np.float64]

_STEP_TOLERANCE = 1e-11
_HALVINGS = 40


def fit_logistic(
    x: FloatArray,
    target: FloatArray,
    *,
    weight: FloatArray | None = None,
    penalty: FloatArray | float = 0.0,
    max_iter: int = 100,
) -> tuple[FloatArray, float]:
    """Weighted logistic regression with an unpenalised intercept, by Newton's method with step halving.

    Minimises ``sum w (log(1 + exp(z)) - t z) + 1/2 sum penalty b^2`` with ``z = x b + intercept``.

    Args:
        x: Design without a constant column, float64 (n, k).
        target: Outcome or fractional target in [0, 1], float64 (n,).
        weight: Row weights, float64 (n,); None: ones.
        penalty: L2 penalty per coefficient, scalar or (k,).
        max_iter: Newton steps.

    Returns:
        Coefficients (k,) and intercept.

    Raises:
        TrainingError: If the optimum is not reached: separated classes or collinear columns without a penalty.
    """
    n, k = x.shape
    weights = np.ones(n) if weight is None else weight
    design = np.column_stack([x, np.ones(n)])
    ridge = np.concatenate([np.broadcast_to(np.asarray(penalty, dtype=np.float64), (k,)), [0.0]])
    beta = np.zeros(k + 1)
    share = float(weights @ target / weights.sum())
    beta[-1] = np.log(share / (1 - share))
    with threadpool_limits(limits=1):
        for _ in range(max_iter):
            z = design @ beta
            p = np.asarray(expit(z), dtype=np.float64)
            gradient = design.T @ (weights * (p - target)) + ridge * beta
            hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag(ridge)
            step = _solve(hessian, gradient)
            beta, moved = _descend(design, target, weights, ridge, beta, step)
            if moved <= _STEP_TOLERANCE * (1.0 + float(np.abs(beta).max())):
                return beta[:-1], float(beta[-1])
    raise TrainingError(
        "logistic regression did not reach its optimum",
        expected=f"convergence within {max_iter} steps",
        got="still moving",
        hint="lower 'learner.c' (a stronger penalty), raise 'learner.max_iter', or drop a column that "
        "separates the outcome completely",
    )


def fit_ridge(x: FloatArray, y: FloatArray, *, penalty: float) -> tuple[FloatArray, float]:
    """Least squares with an L2 penalty and an unpenalised intercept, by the normal equations.

    Args:
        x: Standardised design, float64 (n, k).
        y: Outcome, float64 (n,).
        penalty: L2 penalty of each coefficient.

    Returns:
        Coefficients (k,) and intercept.
    """
    with threadpool_limits(limits=1):
        centre = x.mean(axis=0)
        centred = x - centre
        level = float(y.mean())
        beta = _solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - level))
    return beta, level - float(centre @ beta)


def settle(value: float, digits: int) -> float:
    """Round a fitted number to significant digits, and to an absolute grid two decimals finer.

    A coefficient that is zero but for cancellation has no significant digits of its own: the grid removes it.
    """
    return round_significant(round(float(value), digits + 2), digits)


def _solve(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    # Diagonal scaling first: columns of very different size would otherwise look collinear.
    scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(np.float64).tiny))
    try:
        solution = np.linalg.solve(matrix / np.outer(scale, scale), vector / scale) / scale
    except np.linalg.LinAlgError:
        solution = np.full(vector.size, np.nan)
    if not bool(np.isfinite(solution).all()):
        raise TrainingError(
            "the normal equations have no single solution",
            expected="columns that are not copies of one another, or a penalty",
            got="a singular matrix",
            hint="drop a duplicated or constant input, or lower 'learner.c'",
        )
    return np.asarray(solution, dtype=np.float64)


def _descend(
    design: FloatArray,
    target: FloatArray,
    weights: FloatArray,
    ridge: FloatArray,
    beta: FloatArray,
    step: FloatArray,
) -> tuple[FloatArray, float]:
    """Take the Newton step, halved while it makes the loss worse."""
    start = _loss(design @ beta, target, weights) + 0.5 * float(ridge @ (beta * beta))
    slack = 1e-12 * (1.0 + abs(start))
    factor = 1.0
    for _ in range(_HALVINGS):
        trial = beta - factor * step
        if _loss(design @ trial, target, weights) + 0.5 * float(ridge @ (trial * trial)) <= start + slack:
            return trial, factor * float(np.abs(step).max())
        factor /= 2
    return beta, 0.0


def _loss(z: FloatArray, target: FloatArray, weights: FloatArray) -> float:
    return float(weights @ (np.logaddexp(0.0, z) - target * z))

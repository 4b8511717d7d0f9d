"""Weight of evidence in the direction of risk: the one formula behind scorecards and encoded categories."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.training.newton import FloatArray


def risk_woe(events: FloatArray, n: FloatArray, *, rate: float, prior: float) -> FloatArray:
    """Log odds of each bin less the log odds of the sample, shrunk by a prior of ``prior`` rows at the sample's rate.

    ``ln((e + m r) / (n - e + m (1 - r))) - ln(r / (1 - r))``. A bin without rows has weight 0; higher is riskier.
    The textbook's weight of evidence has the opposite sign and no prior.

    Args:
        events: Events per bin, float64 (b,).
        n: Rows per bin, float64 (b,).
        rate: Event rate of the sample, inside (0, 1).
        prior: Rows that the prior weighs, above 0.
    """
    good = n - events + prior * (1.0 - rate)
    return np.asarray(np.log((events + prior * rate) / good) - np.log(rate / (1.0 - rate)), dtype=np.float64)


def mean_shift(total: FloatArray, n: FloatArray, *, mean: float, prior: float) -> FloatArray:
    """Mean outcome of each bin less the sample's, shrunk by ``prior`` rows at the sample's mean."""
    return np.asarray((total + prior * mean) / (n + prior) - mean, dtype=np.float64)


def information_value(events: FloatArray, n: FloatArray) -> float:
    """Information value: ``sum (share of events - share of non-events) ln(ratio)``, half a row added per cell.

    Args:
        events: Events per bin (b,), with at least one event overall.
        n: Rows per bin (b,), with at least one non-event overall.
    """
    used = n > 0
    bad, good = events[used] + 0.5, (n - events)[used] + 0.5
    p, q = bad / bad.sum(), good / good.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def totals(codes: NDArray[np.int64], y: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Sum of the outcome and number of rows per code."""
    return (
        np.bincount(codes, weights=y, minlength=size).astype(np.float64),
        np.bincount(codes, minlength=size).astype(np.float64),
    )

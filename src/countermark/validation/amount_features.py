"""What one input says of an amount: its rank, its strength alone, and the mean amount by bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.amounts import MeanInterval, mean_interval
from countermark.metrics.binning import LevelBins, NumericBins
from countermark.metrics.discrimination import Auc
from countermark.metrics.somers import generalised_auc

_METHOD = "Somers' D, normal"


def amount_area(amounts: NDArray[Any], score: NDArray[Any], *, confidence: float = 0.95) -> Auc:
    """Generalised AUC of a score against realised amounts as a card holds it; above 0.5 both rise together."""
    found = generalised_auc(amounts, score, confidence=confidence)
    variance = None if found.se is None else found.se**2
    method = None if found.interval is None else _METHOD
    return Auc(
        found.value, variance, found.interval, None, found.interval, method, found.p_chance, 0, found.n, found.reason
    )


def amount_alone(
    bins: NumericBins | LevelBins,
    x: NDArray[Any],
    amounts: NDArray[Any],
    test: tuple[NDArray[Any], NDArray[Any]],
    confidence: float,
) -> Auc:
    """Generalised AUC on the test sample of the development mean of the input's bin.

    One row's weight at the overall mean keeps thin bins from giving the outcome away.

    Args:
        bins: Bins fixed on development.
        x: Development values.
        amounts: Development amounts.
        test: Values and amounts of the test sample.
        confidence: Level of the interval.
    """
    index = bins.index(x)
    size = int(max(index.max(initial=0), bins.index(test[0]).max(initial=0))) + 1
    n, total = np.bincount(index, minlength=size), np.bincount(index, weights=amounts, minlength=size)
    base = float(np.mean(amounts)) if amounts.size else 0.0
    mean = (total + base) / (n + 1.0)
    return amount_area(test[1], mean[bins.index(test[0])], confidence=confidence)


def explained_share(bins: NumericBins | LevelBins, x: NDArray[Any], amounts: NDArray[Any]) -> float | None:
    """Share of the variance of the amounts that lies between the bins of one input (correlation ratio, squared)."""
    if not amounts.size:
        return None
    index = bins.index(x)
    n, total = np.bincount(index), np.bincount(index, weights=amounts)
    mean, spread = float(np.mean(amounts)), float(np.sum((amounts - np.mean(amounts)) ** 2))
    used = n > 0
    between = float(np.sum(n[used] * (total[used] / n[used] - mean) ** 2))
    return between / spread if spread > 0.0 else None


def bin_means(
    bins: NumericBins | LevelBins, x: NDArray[Any], amounts: NDArray[Any], confidence: float
) -> tuple[MeanInterval, ...]:
    """Mean amount of every bin, in the order of the bins."""
    index = bins.index(x)
    return tuple(mean_interval(amounts[index == k], confidence=confidence) for k in range(bins.counts(x).size))

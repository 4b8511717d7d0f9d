"""The bootstrap: means over rows drawn with replacement."""

from __future__ import annotations

import numpy as np

from countermark.metrics.arrays import Floats

_AT_ONCE = 64


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of columns over resampled rows, float64 (resamples, columns).

    Args:
        values: Columns side by side, float64 (n, columns).
        resamples: How often n rows are drawn with replacement.
        seed: Seed of the draws.
    """
    n = values.shape[0]
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start)
        weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(size)])
        means[start : start + size] = weights @ values / n
    return means

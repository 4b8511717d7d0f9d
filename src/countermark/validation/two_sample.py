"""A classifier that tries to tell two samples apart: if it can, they are not one population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from countermark.metrics.binning import LevelBins, development_bins

FOLDS = 3
LEAST_ROWS = 200
"""Rows of either sample below which the classifier has too little to learn from: 'cannot tell' would mean nothing."""
_MOST_LEVELS = 30
_DIGITS = 6


def out_of_fold_scores(
    first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]], *, seed: int
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Score every row by a classifier that did not see it.

    Gradient-boosted trees over all inputs, three folds drawn with the seed, one thread: sums in another order
    would give other trees. Scores are rounded, so that the last bit of a processor decides no rank. Dates
    are no model inputs and so cannot give the answer away.

    Args:
        first: Inputs of the first sample: float64 with NaN, or object (text or None).
        second: The same inputs of the second sample.
        seed: Seed of the folds.

    Returns:
        Origin of each row (0 first, 1 second) and its out-of-fold probability of being of the second.
    """
    table = _matrix(first, second)
    n = len(next(iter(first.values())))
    origin = (np.arange(len(table)) >= n).astype(np.int8)
    fold = _folds(origin, seed)
    score = np.empty(len(table))
    # Small samples need small leaves, or the classifier cannot split and 'cannot tell' would mean nothing.
    leaf = int(np.clip(len(table) // 40, 5, 50))
    with threadpool_limits(limits=1):
        for k in range(FOLDS):
            learner = HistGradientBoostingClassifier(
                max_iter=40,
                max_depth=4,
                learning_rate=0.15,
                min_samples_leaf=leaf,
                early_stopping=False,
                random_state=seed,
            )
            inside = fold == k
            learner.fit(table[~inside], origin[~inside])
            score[inside] = learner.predict_proba(table[inside])[:, 1]
    return origin, np.round(score, _DIGITS)


def _matrix(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Inputs as numbers; a text input becomes one flag per frequent level, plus new and missing."""
    parts: list[NDArray[np.float64]] = []
    for name in sorted(first):
        both = np.concatenate([first[name], second[name]])
        if both.dtype.kind != "O":
            parts.append(both.astype(np.float64)[:, None])
            continue
        bins = development_bins(both)
        index = bins.index(both)
        levels = len(bins.levels) if isinstance(bins, LevelBins) else 0
        counts = np.bincount(index, minlength=levels + 2)
        frequent = sorted(np.argsort(-counts, kind="stable")[:_MOST_LEVELS].tolist())
        parts += [(index == level).astype(np.float64)[:, None] for level in frequent if counts[level]]
    return np.hstack(parts)


def _folds(origin: NDArray[np.int8], seed: int) -> NDArray[np.int64]:
    """Fold of each row, each fold with the same share of both samples."""
    rng = np.random.default_rng(seed)
    fold = np.empty(origin.size, dtype=np.int64)
    for side in (0, 1):
        place = np.flatnonzero(origin == side)
        fold[rng.permutation(place)] = np.arange(place.size) % FOLDS
    return fold

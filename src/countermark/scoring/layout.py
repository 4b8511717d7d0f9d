"""Everything that a kernel reads about a model, in two flat arrays.

Numba unpacks every array of a call anew, some 50 ns each: a model of fifteen arrays costs more to hand over than one
row costs to score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Layout: TypeAlias = tuple[NDArray[np.uint32], NDArray[np.float64]]
"""Whole numbers and numbers. The whole numbers open with the place where each part starts."""


def lay_out(whole: Sequence[Any], numbers: Sequence[Any]) -> Layout:
    """Join the parts of a model.

    Args:
        whole: Parts of whole numbers (arrays, or nested sequences of them), none below 0.
        numbers: Parts of numbers, likewise.

    Returns:
        Whole numbers and numbers. Entry ``k`` of the whole numbers is where part ``k`` starts, parts of whole numbers
        counted first, then parts of numbers; each in its own array.
    """
    heads = len(whole) + len(numbers)
    wholes = [np.asarray(part).astype(np.uint32).ravel() for part in whole]
    reals = [np.asarray(part, dtype=np.float64).ravel() for part in numbers]
    starts = np.array([*(heads + _starts(wholes)), *_starts(reals)], dtype=np.uint32)
    return np.concatenate([starts, *wholes]), np.concatenate([*reals, [0.0]])


def _starts(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.cumsum([0, *(part.size for part in parts)], dtype=np.int64)[:-1]

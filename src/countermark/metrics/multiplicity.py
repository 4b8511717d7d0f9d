"""Adjusting a family of p-values: Holm inside one model, Benjamini-Hochberg for screens of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.errors import EvidenceError


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjustment: controls the chance of even one false alarm in the family.

    The i-th smallest of m p-values is multiplied by (m - i), i = 0, 1, ...; the results are made
    non-decreasing and capped at 1.

    Args:
        p_values: Raw p-values, (m,), each in [0, 1].

    Returns:
        Adjusted p-values in the order given, (m,).

    Raises:
        EvidenceError: If a p-value is not in [0, 1].
    """
    p, order = _checked(p_values)
    m = p.size
    stepped = np.maximum.accumulate(p[order] * (m - np.arange(m)))
    return _restored(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini and Hochberg's step-up adjustment: controls the share of false alarms among alarms.

    The i-th smallest of m p-values is multiplied by m / i, i = 1, 2, ...; the results are made
    non-decreasing from the top and capped at 1.

    Args:
        p_values: Raw p-values, (m,), each in [0, 1].

    Returns:
        Adjusted p-values in the order given, (m,).

    Raises:
        EvidenceError: If a p-value is not in [0, 1].
    """
    p, order = _checked(p_values)
    m = p.size
    stepped = p[order] * m / np.arange(1, m + 1)
    return _restored(np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0), order)


def adjusted_where_defined(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini-Hochberg over the p-values that exist; an undefined test stays None and is not counted."""
    defined = [i for i, p in enumerate(p_values) if p is not None]
    adjusted = benjamini_hochberg([p for p in p_values if p is not None])
    result: list[float | None] = [None] * len(p_values)
    for i, value in zip(defined, adjusted, strict=True):
        result[i] = float(value)
    return result


def _checked(p_values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not bool(np.all((p >= 0) & (p <= 1))):
        raise EvidenceError("p-values must be a list of numbers in [0, 1]")
    return p, np.argsort(p, kind="stable")


def _restored(values: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    result = np.empty_like(values)
    result[order] = values
    return result

"""All places where a scorer can change its mind about one numeric input."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from countermark.metrics.effects import ale_edges
from countermark.scoring.format import LinearModel, NumericBins, ScorecardModel, StandardisedTerm, TreesModel
from countermark.scoring.frozen import FrozenScorer

_QUANTILES = 64


def border_grid(scorer: FrozenScorer, name: str, development: ArrayLike) -> NDArray[np.float64]:
    """Ascending points of one input that together reach every value its effect can take.

    For trees and bins, one point in every cell between two borders of the scorer. For a linear term, its
    clipping bounds and quantiles of the development values; these alone where the scorer names no border.

    Args:
        scorer: The frozen scorer.
        name: A numeric input.
        development: Its development values.

    Returns:
        Distinct points, ascending. One or none if there are no borders and the values do not vary.
    """
    values = ale_edges(development, _QUANTILES)
    borders = np.unique(np.array(_borders(scorer, name), dtype=np.float64))
    if borders.size == 0:
        return values
    # A border belongs to the cell below it in trees and to the cell above it in bins: with one point below the
    # first and one above the last, every cell holds a point either way. Splits compare float32 values.
    first = np.nextafter(np.float32(borders[0]), np.float32(-np.inf))
    last = np.nextafter(np.float32(borders[-1]), np.float32(np.inf))
    ends = np.array([first, last], dtype=np.float64)
    grid = np.unique(np.concatenate([borders, ends[np.isfinite(ends)]]))
    # Between the bounds of a linear term the effect is a straight line; quantiles walk along it.
    return np.unique(np.concatenate([grid, values])) if _is_linear(scorer) else grid


def _is_linear(scorer: FrozenScorer) -> bool:
    return isinstance(scorer.document.model, LinearModel)


def _borders(scorer: FrozenScorer, name: str) -> list[float]:
    """Split points, bin edges and clipping bounds of one input; none for a scorer without a document."""
    document = getattr(scorer, "document", None)
    if document is None:
        return []
    index = [part.name for part in document.inputs].index(name)
    model = document.model
    if isinstance(model, TreesModel):
        return [operand for tree in model.trees for k, test, operand in tree.splits if k == index and test == "gt"]
    if isinstance(model, ScorecardModel):
        return [
            edge
            for part in model.characteristics
            if isinstance(part, NumericBins) and part.input == index
            for edge in part.edges
        ]
    return [
        bound
        for term in model.terms
        if isinstance(term, StandardisedTerm) and term.input == index and term.clip is not None
        for bound in term.clip
    ]

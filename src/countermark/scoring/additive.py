"""Kernels of models that add one effect per term: the linear model and the scorecard.

One row and many rows go through the same function, so both give the same bits. Contributions are closed form: the
effect of an input less its mean over the frozen background sample, which is its exact interventional Shapley value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.jit import kernel, row_kernel
from countermark.scoring import calibrate
from countermark.scoring.encode import refused
from countermark.scoring.format import IndicatorTerm, LinearModel, MissingTerm, NumericBins, ScorecardModel
from countermark.scoring.layout import Layout, lay_out

_STANDARDISED, _INDICATOR, _MISSING, _BINS, _LEVELS = range(5)
_SIZES, _REFUSES, _INPUT, _KIND, _PLACE, _COLUMN, _NUMBERS, _BACKGROUND, _EDGES, _EFFECTS, _INTERCEPT, _FINISH = range(
    12
)


class _Terms:
    """Terms as they are collected: three places and six numbers each, and shared tables of edges and effects."""

    def __init__(self) -> None:
        self.input: list[int] = []
        self.kind: list[int] = []
        self.place: list[tuple[int, int, int]] = []
        self.numbers: list[tuple[float, ...]] = []
        self.background: list[float] = []
        self.edges: list[float] = []
        self.effects: list[float] = []

    def add(
        self, k: int, kind: int, background: float, numbers: tuple[float, ...], place: tuple[int, int, int]
    ) -> None:
        self.input.append(k)
        self.kind.append(kind)
        self.background.append(background)
        self.numbers.append((*numbers, *([0.0] * (6 - len(numbers)))))
        self.place.append(place)


def pack(
    model: LinearModel | ScorecardModel,
    position: NDArray[np.int64],
    refuses: NDArray[np.int64],
    finish: NDArray[np.float64],
) -> Layout:
    """The flat arrays of an additive model.

    Args:
        model: The linear model or scorecard.
        position: Where each original input stands in an encoded row.
        refuses: Of each encoded input, 1 where a missing value is refused.
        finish: What :func:`countermark.scoring.calibrate.pack` gives.
    """
    terms = _linear_terms(model) if isinstance(model, LinearModel) else _scorecard_terms(model)
    return lay_out(
        whole=([len(terms.input)], refuses, terms.input, terms.kind, terms.place, position[terms.input]),
        numbers=(terms.numbers, terms.background, terms.edges, terms.effects, [model.intercept], finish),
    )


def _linear_terms(model: LinearModel) -> _Terms:
    terms = _Terms()
    for term in model.terms:
        background = term.coefficient * term.background
        if isinstance(term, IndicatorTerm):
            terms.add(term.input, _INDICATOR, background, (term.coefficient,), (term.code, 0, 0))
        elif isinstance(term, MissingTerm):
            terms.add(term.input, _MISSING, background, (term.coefficient,), (0, 0, 0))
        else:
            fill = np.nan if term.fill is None else term.fill
            low, high = term.clip or (-np.inf, np.inf)
            numbers = (term.coefficient, term.mean, term.scale, fill, low, high)
            terms.add(term.input, _STANDARDISED, background, numbers, (0, 0, 0))
    return terms


def _scorecard_terms(model: ScorecardModel) -> _Terms:
    terms = _Terms()
    for item in model.characteristics:
        background = item.coefficient * item.background
        place = (len(terms.edges), 0, len(terms.effects))
        terms.effects.extend(item.coefficient * woe for woe in item.woe)
        if isinstance(item, NumericBins):
            terms.edges.extend(item.edges)
            terms.effects.append(item.coefficient * item.missing_woe)
            terms.add(item.input, _BINS, background, (), (place[0], len(terms.edges), place[2]))
        else:
            terms.add(item.input, _LEVELS, background, (), place)
    return terms


def expected_margin(layout: Layout) -> float:
    """The margin that the contributions start from: the mean over the background sample."""
    places, numbers = layout
    start, total = int(places[_BACKGROUND]), float(numbers[places[_INTERCEPT]])
    for value in numbers[start : start + int(places[places[_SIZES]])]:
        total += float(value)
    return total


@kernel
def _effect(x: float, term: int, places: NDArray[np.uint32], numbers: NDArray[np.float64]) -> float:
    """What one term adds for one encoded value."""
    kind, place = places[places[_KIND] + term], places[_PLACE] + 3 * term
    own, effects = places[_NUMBERS] + 6 * term, places[_EFFECTS]
    if kind == _STANDARDISED:
        if x != x:
            x = numbers[own + 3]
        if x < numbers[own + 4]:
            x = numbers[own + 4]
        if x > numbers[own + 5]:
            x = numbers[own + 5]
        return float(numbers[own] * ((x - numbers[own + 1]) / numbers[own + 2]))
    if kind == _INDICATOR:
        return float(numbers[own]) if x == places[place] else 0.0
    if kind == _MISSING:
        return float(numbers[own]) if x != x else 0.0
    if kind == _LEVELS:
        return float(numbers[effects + places[place + 2] + np.int64(x)])
    low, high, edges = places[place], places[place + 1], places[_EDGES]
    if x != x:
        return float(numbers[effects + places[place + 2] + (high - low) + 1])
    count = 0
    for edge in range(low, high):
        count += numbers[edges + edge] <= x
    return float(numbers[effects + places[place + 2] + count])


@kernel
def _margin(encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64]) -> float:
    """Margin of one encoded row."""
    total, column = numbers[places[_INTERCEPT]], places[_COLUMN]
    for term in range(places[places[_SIZES]]):
        total += _effect(encoded[places[column + term]], term, places, numbers)
    return float(total)


@row_kernel
def score_row(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64]
) -> tuple[float, float, int]:
    """Margin, probability and grade of one encoded row; NaN if it holds what the file refuses."""
    if refused(encoded, places, places[_REFUSES]):
        return np.nan, np.nan, -1
    margin = _margin(encoded, places, numbers)
    p = calibrate.probability(margin, numbers, places[_FINISH])
    return margin, p, calibrate.grade(p, numbers, places[_FINISH])


@kernel
def _explain(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64], phi: NDArray[np.float64]
) -> None:
    """Contributions of one encoded row, into ``phi``, by original input."""
    owner, background, column = places[_INPUT], places[_BACKGROUND], places[_COLUMN]
    for k in range(phi.size):
        phi[k] = 0.0
    for term in range(places[places[_SIZES]]):
        effect = _effect(encoded[places[column + term]], term, places, numbers)
        phi[places[owner + term]] += effect - numbers[background + term]


@row_kernel
def explain_row(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64], phi: NDArray[np.float64]
) -> tuple[float, float, int]:
    """As :func:`score_row`, and contributions by original input, into ``phi``."""
    _explain(encoded, places, numbers, phi)
    return score_row(encoded, places, numbers)


@kernel
def batch_margins(
    encoded: NDArray[np.float64],
    places: NDArray[np.uint32],
    numbers: NDArray[np.float64],
    margins: NDArray[np.float64],
) -> None:
    """Margins of encoded rows (inputs, n), into ``margins``."""
    row = np.empty(encoded.shape[0], dtype=np.float64)
    for r in range(encoded.shape[1]):
        for k in range(row.size):
            row[k] = encoded[k, r]
        margins[r] = _margin(row, places, numbers)


@kernel
def batch_contributions(
    encoded: NDArray[np.float64], places: NDArray[np.uint32], numbers: NDArray[np.float64], phi: NDArray[np.float64]
) -> None:
    """Contributions of encoded rows (inputs, n), into ``phi`` (n, inputs), by original input."""
    row = np.empty(encoded.shape[0], dtype=np.float64)
    for r in range(encoded.shape[1]):
        for k in range(row.size):
            row[k] = encoded[k, r]
        _explain(row, places, numbers, phi[r])

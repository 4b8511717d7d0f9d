"""Kernels of models that add one effect per term: the linear model and the scorecard.

One row and many rows go through the same function, so both give the same bits. Contributions are closed form: the
effect of an input less its mean over the frozen background sample, which is its exact interventional Shapley value.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.scoring import calibrate
from countermark.scoring.encode import any_infinite
from countermark.scoring.format import IndicatorTerm, LinearModel, MissingTerm, NumericBins, ScorecardModel
from countermark.scoring.jit import kernel

Packed: TypeAlias = tuple[Any, ...]

_STANDARDISED, _INDICATOR, _MISSING, _BINS, _LEVELS = range(5)


class _Terms:
    """Terms as they are collected: five numbers each, and shared tables of edges and effects."""

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

    def packed(self, intercept: float, position: NDArray[np.int64]) -> Packed:
        return (
            np.array(self.input, dtype=np.int64),
            np.array(self.kind, dtype=np.int64),
            np.array(self.place, dtype=np.int64),
            np.array(self.numbers, dtype=np.float64),
            np.array(self.background, dtype=np.float64),
            np.array(self.edges or [0.0], dtype=np.float64),
            np.array(self.effects or [0.0], dtype=np.float64),
            float(intercept),
            np.array([position[k] for k in self.input], dtype=np.int64),
        )


def pack(model: LinearModel | ScorecardModel, position: NDArray[np.int64]) -> Packed:
    """Flat arrays of an additive model, in the order that the kernels unpack.

    Args:
        model: The linear model or scorecard.
        position: Where each original input stands in an encoded row.

    Returns:
        Of each term its input, kind, places in the tables, numbers and background mean; edges; effects; intercept;
        and of each term the place of its input in the encoded row.
    """
    terms = _linear_terms(model) if isinstance(model, LinearModel) else _scorecard_terms(model)
    return terms.packed(model.intercept, position)


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


def expected_margin(packed: Packed) -> float:
    """The margin that the contributions start from: the mean over the background sample."""
    total = float(packed[7])
    for value in packed[4]:
        total += float(value)
    return total


@kernel
def _effect(x: float, term: int, packed: Packed) -> float:
    """What one term adds for one encoded value."""
    _, kind, place, numbers, _, edges, effects, _, _ = packed
    if kind[term] == _STANDARDISED:
        if x != x:
            x = numbers[term, 3]
        if x < numbers[term, 4]:
            x = numbers[term, 4]
        if x > numbers[term, 5]:
            x = numbers[term, 5]
        return float(numbers[term, 0] * ((x - numbers[term, 1]) / numbers[term, 2]))
    if kind[term] == _INDICATOR:
        return float(numbers[term, 0]) if x == place[term, 0] else 0.0
    if kind[term] == _MISSING:
        return float(numbers[term, 0]) if x != x else 0.0
    if kind[term] == _LEVELS:
        return float(effects[place[term, 2] + np.int64(x)])
    low, high = place[term, 0], place[term, 1]
    if x != x:
        return float(effects[place[term, 2] + (high - low) + 1])
    count = 0
    for edge in range(low, high):
        count += edges[edge] <= x
    return float(effects[place[term, 2] + count])


@kernel
def _margin(encoded: NDArray[np.float64], packed: Packed) -> float:
    """Margin of one encoded row."""
    total, column = packed[7], packed[8]
    for term in range(column.size):
        total += _effect(encoded[column[term]], term, packed)
    return float(total)


@kernel
def score_row(encoded: NDArray[np.float64], packed: Packed, finish: Packed) -> tuple[float, float, int]:
    """Margin, probability and grade of one encoded row; NaN if a number of it is infinite."""
    if any_infinite(encoded):
        return np.nan, np.nan, -1
    margin = _margin(encoded, packed)
    p = calibrate.probability(margin, finish)
    return margin, p, calibrate.grade(p, finish)


@kernel
def _explain(encoded: NDArray[np.float64], packed: Packed, phi: NDArray[np.float64]) -> None:
    """Contributions of one encoded row, into ``phi``, by original input."""
    term_input, background, column = packed[0], packed[4], packed[8]
    for k in range(phi.size):
        phi[k] = 0.0
    for term in range(column.size):
        phi[term_input[term]] += _effect(encoded[column[term]], term, packed) - background[term]


@kernel
def explain_row(
    encoded: NDArray[np.float64], packed: Packed, finish: Packed, phi: NDArray[np.float64]
) -> tuple[float, float, int]:
    """As :func:`score_row`, and contributions by original input, into ``phi``."""
    _explain(encoded, packed, phi)
    return score_row(encoded, packed, finish)


@kernel
def batch_margins(encoded: NDArray[np.float64], packed: Packed, margins: NDArray[np.float64]) -> None:
    """Margins of encoded rows (inputs, n), into ``margins``."""
    row = np.empty(encoded.shape[0], dtype=np.float64)
    for r in range(encoded.shape[1]):
        for k in range(row.size):
            row[k] = encoded[k, r]
        margins[r] = _margin(row, packed)


@kernel
def batch_contributions(encoded: NDArray[np.float64], packed: Packed, phi: NDArray[np.float64]) -> None:
    """Contributions of encoded rows (inputs, n), into ``phi`` (n, inputs), by original input."""
    row = np.empty(encoded.shape[0], dtype=np.float64)
    for r in range(encoded.shape[1]):
        for k in range(row.size):
            row[k] = encoded[k, r]
        _explain(row, packed, phi[r])

"""Parts of a sample as a reader meets them: levels of a segment, bins, and bands where no segment is declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.binning import LevelBins, NumericBins, quantile_cuts
from countermark.records.formats import format_value
from countermark.validation.amounts import rank_strength
from countermark.validation.inputs import EvidenceInput

_BANDS = 4
_STRONGEST = 2


def levels_of(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Name of every segment column, each of its levels as text (missing ones named), and the rows inside (n,)."""
    for column, values in columns.items():
        text: NDArray[np.str_] = np.array(["(missing)" if v is None else str(v) for v in values], dtype=np.str_)
        for level in np.unique(text).tolist():
            yield column, level, text == level


def readable_bins(inputs: EvidenceInput, name: str, bins: NumericBins | LevelBins) -> tuple[str, ...]:
    """A name per bin of an input: levels of an ordinal input by their words, numbers with at most four digits."""
    if isinstance(bins, LevelBins) or not bins.cuts:
        return bins.labels
    missing = bins.labels[-1]
    declared = inputs.spec.features.get(name)
    if declared is not None and declared.levels:
        return (*_level_names(bins.cuts, declared.levels), missing)
    cuts = [_tidy(c) for c in bins.cuts]
    inner = (f"{a} to {b}" for a, b in pairwise(cuts))
    return (f"≤ {cuts[0]}", *inner, f"> {cuts[-1]}", missing)


def _level_names(cuts: tuple[float, ...], levels: tuple[str, ...]) -> tuple[str, ...]:
    """Levels 0, 1, 2 ... that fall between neighbouring cuts: 'B1', 'B1 to B5'."""
    ends = (-1.0, *cuts, float(len(levels) - 1))
    names = []
    for low, high in pairwise(ends):
        inside = [level for k, level in enumerate(levels) if low < k <= high]
        names.append("no level" if not inside else inside[0] if len(inside) == 1 else f"{inside[0]} to {inside[-1]}")
    return tuple(names)


def _tidy(value: float) -> str:
    if abs(value) >= 1000.0:
        return format_value(round(value), "int")
    return f"{value:.4g}".replace("-", "−")


def band_segments(inputs: EvidenceInput) -> dict[str, NDArray[Any]]:
    """Quarters of the two numeric inputs that rank best in development, as segments of the test sample.

    The cuts are fixed on development, so that the bands mean the same on every sample. Ties in strength go by name.
    """
    development, test = inputs.samples["development"], inputs.test
    strength: dict[str, float] = {}
    for name, values in development.features.items():
        if values.dtype.kind == "O" or name not in test.features:
            continue
        known = ~np.isnan(values)
        area = rank_strength(inputs.spec, development.y[known], values[known])
        if area is not None and len(quantile_cuts(values[known], _BANDS)) > 0:
            strength[name] = abs(area - 0.5)
    found: dict[str, NDArray[Any]] = {}
    for name in sorted(strength, key=lambda k: (-strength[k], k))[:_STRONGEST]:
        values = development.features[name]
        bins = NumericBins(quantile_cuts(values[~np.isnan(values)], _BANDS))
        labels = np.array(readable_bins(inputs, name, bins), dtype=object)
        found[f"{name} band"] = labels[bins.index(test.features[name])]
    return found

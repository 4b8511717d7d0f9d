"""Make the reference profile of a release from the rows that validated it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.config.policy import DecisionPolicy
from countermark.errors import MonitoringError
from countermark.metrics.binning import NumericBins, quantile_cuts
from countermark.metrics.discrimination import auc
from countermark.metrics.reliability import brier
from countermark.records.digest import round_significant
from countermark.records.profile import (
    CategoricalProfile,
    Expected,
    GroupProfile,
    NumericProfile,
    ReferenceProfile,
)
from countermark.scoring.decision import favourable_reference, is_unfavourable
from countermark.scoring.frozen import FrozenScorer

BINS = 10
"""Quantile bins of an input; live rows are counted in the same bins."""
_SCORE_BINS = 20
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class ProfileRows:
    """Scored rows of one sample.

    Attributes:
        name: Name of the sample.
        features: Inputs by name: float64 with NaN, or object with None; (n,) each.
        y: Outcome (n,).
        p: Calibrated probability or value, (n,).
        grade: Grade index (n,), -1 without grades.
        groups: Group name of each row per protected attribute, object (n,).
    """

    name: str
    features: Mapping[str, NDArray[Any]]
    y: NDArray[Any]
    p: NDArray[np.float64]
    grade: NDArray[np.int64]
    groups: Mapping[str, NDArray[np.object_]]


def numeric_profile(values: NDArray[np.float64], bins: int) -> NumericProfile:
    """Counts of a numeric column in its own quantile bins."""
    made = NumericBins(quantile_cuts(values, bins))
    counts = made.counts(values).tolist()
    seen = values[~np.isnan(values)]
    ends = (float(seen.min()), float(seen.max())) if seen.size else (None, None)
    return NumericProfile(
        edges=made.cuts, counts=tuple(counts[:-1]), missing=counts[-1], minimum=ends[0], maximum=ends[1]
    )


def categorical_profile(values: NDArray[np.object_], levels: tuple[str, ...]) -> CategoricalProfile:
    """Counts of a text column over the levels that a scorer knows."""
    place = {level: k for k, level in enumerate(levels)}
    counts, other, missing = [0] * len(levels), 0, 0
    for value in values:
        if value is None:
            missing += 1
        elif value in place:
            counts[place[value]] += 1
        else:
            other += 1
    return CategoricalProfile(levels=levels, counts=tuple(counts), other=other, missing=missing)


def make_profile(
    model: str,
    scorer: FrozenScorer,
    policy: DecisionPolicy | None,
    reference: ProfileRows,
    development: ProfileRows,
) -> ReferenceProfile:
    """Profile of the newest test sample, and what reasons are measured from.

    Args:
        model: Name of the model.
        scorer: The frozen scorer.
        policy: The decision policy; None for a model whose value is used as it is.
        reference: Rows that live traffic is compared with.
        development: Development rows; the reference of reasons is their mean contribution where favourable.

    Raises:
        MonitoringError: If the reference has no rows.
        ScorerError: If no development row has the favourable outcome.
    """
    n = int(reference.p.size)
    if n == 0:
        raise MonitoringError("a reference profile needs rows", got=f"no rows in sample '{reference.name}'")
    favourable = np.ones(n, dtype=bool) if policy is None else ~is_unfavourable(policy, reference.p)
    binary = _is_event(reference.y)
    phi, _ = scorer.contributions(reference.features)
    return ReferenceProfile(
        model=model,
        sample=reference.name,
        n=n,
        events=int(reference.y.sum()) if binary else None,
        numeric={
            item.name: numeric_profile(reference.features[item.name], BINS)
            for item in scorer.inputs
            if item.type == "numeric"
        },
        categorical={
            item.name: categorical_profile(reference.features[item.name], item.levels or ())
            for item in scorer.inputs
            if item.type == "categorical"
        },
        score=numeric_profile(reference.p, _SCORE_BINS),
        grades={grade.name: int(np.count_nonzero(reference.grade == k)) for k, grade in enumerate(scorer.grades)},
        favourable=int(favourable.sum()),
        groups={name: _groups(reference, of, favourable, binary) for name, of in sorted(reference.groups.items())},
        performance=_performance(reference) if binary else {},
        importance={
            name: round_significant(math.fsum(np.abs(phi[:, k]).tolist()) / n, _DIGITS)
            for k, name in enumerate(scorer.input_names)
        },
        reason_reference=_reasons_from(scorer, policy, development),
    )


def _is_event(y: NDArray[Any]) -> bool:
    return bool(np.issubdtype(y.dtype, np.integer))


def _groups(
    rows: ProfileRows, of: NDArray[np.object_], favourable: NDArray[np.bool_], binary: bool
) -> dict[str, GroupProfile]:
    found = {}
    for group in sorted({str(name) for name in of if name is not None}):
        mask = of == group
        found[group] = GroupProfile(
            n=int(mask.sum()),
            favourable=int((mask & favourable).sum()),
            events=int(rows.y[mask].sum()) if binary else None,
        )
    return found


def _performance(rows: ProfileRows) -> dict[str, Expected]:
    """AUC with DeLong's interval, and the Brier score with the interval of its mean."""
    found: dict[str, Expected] = {}
    ranked = auc(rows.y, rows.p)
    if ranked.value is not None and ranked.interval is not None:
        found["auc"] = _expected(ranked.value, *ranked.interval)
    if brier(rows.y, rows.p).value is not None and rows.p.size > 1:
        squares = (rows.p - rows.y) ** 2
        mean, half = float(squares.mean()), 1.959963984540054 * float(squares.std(ddof=1)) / math.sqrt(squares.size)
        found["brier"] = _expected(mean, max(0.0, mean - half), min(1.0, mean + half))
    return found


def _expected(value: float, low: float, high: float) -> Expected:
    return Expected(
        value=round_significant(value, _DIGITS),
        low=round_significant(low, _DIGITS),
        high=round_significant(high, _DIGITS),
    )


def _reasons_from(scorer: FrozenScorer, policy: DecisionPolicy | None, rows: ProfileRows) -> dict[str, str]:
    phi, _ = scorer.contributions(rows.features)
    mean = phi.mean(axis=0) if policy is None else favourable_reference(policy, phi, rows.p)
    # Rounded, so that the same text is frozen whatever the processor's order of summation.
    return {
        name: round_significant(float(value), _DIGITS).hex()
        for name, value in zip(scorer.input_names, mean.tolist(), strict=True)
    }

"""A second opinion on one score, for an inquiry: LIME around the case, drawn from the release's reference profile.

The exact contributions are the explanation; this one is approximate. It needs no training data: each input is drawn
from its histogram in the profile. An input counts as 'like this case' when it falls into the case's own bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.errors import ReplayError
from countermark.records.decision import DecisionRecord
from countermark.records.decision_file import OpinionLine, SecondOpinion
from countermark.records.profile import CategoricalProfile, NumericProfile, ReferenceProfile
from countermark.replay.decision_file import contributions
from countermark.scoring.release import OpenRelease

METHODS = ("lime",)
SAMPLES = 4000
_POOL = 1000
"""Rows that stand for a histogram: a share below one in a thousand is not drawn."""
_TOP = 4
_NOT_LISTED = "a level that is not listed"

Value = float | str | None


class _Bins:
    """One input as bins: how often each occurs, and a value that stands for it."""

    def __init__(self, name: str, counts: list[int], values: list[Value], names: list[str], own: int) -> None:
        self.name, self.values, self.names, self.own = name, values, names, own
        self.pool = _spread(counts)


def explain(method: str, record: DecisionRecord, release: OpenRelease, *, seed: int = 0) -> SecondOpinion:
    """Explain a score a second time.

    Args:
        method: ``lime``.
        record: The decision.
        release: The release that decided.
        seed: Seed of the draws; the same seed gives the same opinion.

    Raises:
        ReplayError: If the method is unknown or its library is not installed.
    """
    if method not in METHODS:
        raise ReplayError("there is no such second opinion", expected="'lime'", got=f"'{method[:40]}'")
    try:
        from lime.lime_tabular import LimeTabularExplainer  # type: ignore[import-untyped]
    except ImportError:
        raise ReplayError(
            "the library 'lime' is not installed", hint="install the 'train' extra: pip install 'countermark[train]'"
        ) from None
    bins = [_bins(name, record.features[name], release.profile) for name in release.decider.scorer.input_names]
    explainer = LimeTabularExplainer(
        np.column_stack([one.pool for one in bins]).astype(np.float64),
        mode="regression",
        feature_names=[one.name for one in bins],
        categorical_features=list(range(len(bins))),
        categorical_names={k: one.names for k, one in enumerate(bins)},
        random_state=seed,
    )
    case = np.array([one.own for one in bins], dtype=np.float64)
    told = explainer.explain_instance(
        case, lambda rows: _margins(rows, bins, release), num_features=len(bins), num_samples=SAMPLES
    )
    weights = {bins[k].name: float(weight) for k, weight in told.as_map()[1]}
    return _opinion(weights, contributions(record, release), bins, fit=float(told.score), seed=seed)


def _opinion(
    weights: Mapping[str, float], exact: Mapping[str, float], bins: list[_Bins], *, fit: float, seed: int
) -> SecondOpinion:
    top = min(_TOP, len(bins))
    ranked = sorted(weights, key=lambda name: (-abs(weights[name]), name))
    true = sorted(exact, key=lambda name: (-abs(exact[name]), name))
    stated = {one.name: one.names[one.own] for one in bins}
    return SecondOpinion(
        method="LIME",
        version=version("lime"),
        seed=seed,
        samples=SAMPLES,
        fit=float(f"{fit:.6g}"),
        lines=tuple(
            OpinionLine(input=name, stated=stated[name], weight=float(f"{weights[name]:.6g}"), exact=exact[name])
            for name in ranked
        ),
        agrees=len(set(ranked[:top]) & set(true[:top])),
        top=top,
    )


def _margins(rows: NDArray[np.float64], bins: list[_Bins], release: OpenRelease) -> NDArray[np.float64]:
    scorer, columns = release.decider.scorer, {}
    for one, item, codes in zip(bins, scorer.inputs, rows.T.astype(np.int64), strict=True):
        values: NDArray[Any] = np.array(one.values, dtype=object)[codes]
        columns[one.name] = values if item.type == "categorical" else values.astype(np.float64)
    return scorer.margin(columns)


def _bins(name: str, value: Value, profile: ReferenceProfile) -> _Bins:
    numeric = profile.numeric.get(name)
    if numeric is not None:
        return _numeric_bins(name, None if value is None or isinstance(value, str) else float(value), numeric)
    return _level_bins(name, None if value is None else str(value), profile.categorical[name])


def _numeric_bins(name: str, value: float | None, known: NumericProfile) -> _Bins:
    edges = list(known.edges)
    low = known.minimum if known.minimum is not None else 0.0
    high = known.maximum if known.maximum is not None else 0.0
    ends = [min([low, *edges[:1]]), *edges, max([high, *edges[-1:]])]
    values: list[Value] = [(a + b) / 2 for a, b in pairwise(ends)]
    names = [f"{name} {_span(k, edges)}".strip() for k in range(len(values))]
    own = int(np.searchsorted(np.array(edges), value, side="left")) if value is not None else len(values)
    counts = [*known.counts, known.missing]
    values.append(None)
    names.append(f"{name} is missing")
    values[own] = value
    return _Bins(name, counts, values, names, own)


def _span(k: int, edges: list[float]) -> str:
    if not edges:
        return "at any value"
    if k == 0:
        return f"≤ {edges[0]:.6g}"
    return f"> {edges[-1]:.6g}" if k == len(edges) else f"in {edges[k - 1]:.6g} to {edges[k]:.6g}"


def _level_bins(name: str, value: str | None, known: CategoricalProfile) -> _Bins:
    values: list[Value] = [*known.levels, _NOT_LISTED, None]
    own = known.levels.index(value) if value in known.levels else len(values) - (1 if value is None else 2)
    counts = [*known.counts, known.other, known.missing]
    if value is not None:
        values[own] = value
    names = [f"{name} is {level}" for level in known.levels]
    names += [f"{name} is another level", f"{name} is missing"]
    return _Bins(name, counts, values, names, own)


def _spread(counts: list[int]) -> NDArray[np.int64]:
    """``_POOL`` bin numbers in the proportions of the counts (largest remainder)."""
    weights = np.array(counts, dtype=np.float64)
    if weights.sum() == 0:
        weights[:] = 1.0
    exact = weights / weights.sum() * _POOL
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: _POOL - int(whole.sum())]] += 1
    return np.repeat(np.arange(weights.size), whole)

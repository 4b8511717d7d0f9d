"""The reference profile of a release: what its inputs, scores and decisions looked like when it was validated.

Aggregates only. Monitoring and rollout compare live traffic with it and need none of the training data.
"""

from __future__ import annotations

from typing import Literal

from countermark.records.decision import Closed


class NumericProfile(Closed, frozen=True, kw_only=True):
    """Histogram of a numeric input.

    Attributes:
        edges: Inner edges, ascending; bin k holds ``edges[k-1] < x <= edges[k]``, the first and last are open.
        counts: Rows per bin, one more than there are edges.
        missing: Rows without a value.
        minimum: Smallest value seen, None where there was none.
        maximum: Largest value seen.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    minimum: float | None = None
    maximum: float | None = None


class CategoricalProfile(Closed, frozen=True, kw_only=True):
    """Counts of a categorical input.

    Attributes:
        levels: Levels in order of the scorer.
        counts: Rows per level.
        other: Rows with another level.
        missing: Rows without a value.
    """

    levels: tuple[str, ...]
    counts: tuple[int, ...]
    other: int
    missing: int


class GroupProfile(Closed, frozen=True, kw_only=True):
    """Decisions about one protected group.

    Attributes:
        n: Rows.
        favourable: Rows with the favourable outcome.
        events: Rows with the event, None for amounts.
    """

    n: int
    favourable: int
    events: int | None = None


class Expected(Closed, frozen=True, kw_only=True):
    """A performance figure of the validation with its 95 % interval."""

    value: float
    low: float
    high: float


class ReferenceProfile(Closed, frozen=True, kw_only=True):
    """``profile.json``.

    Attributes:
        model: Name of the model.
        sample: Sample the profile describes: the newest test sample.
        n: Rows of it.
        events: Events in it, None for amounts.
        numeric: Histograms of numeric inputs by name.
        categorical: Counts of categorical inputs by name.
        score: Histogram of the calibrated probability (or the value).
        grades: Rows per grade name, best first.
        favourable: Rows with the favourable outcome.
        groups: Protected attribute to group to counts; empty where none is declared.
        performance: ``auc``, ``brier`` and others with intervals.
        importance: Mean absolute contribution of each input to the margin.
        reason_reference: Mean contribution of each input over favourable development rows, float64 hex, in the order
            of the scorer's inputs.
    """

    format: Literal["countermark/profile/1"] = "countermark/profile/1"
    model: str
    sample: str
    n: int
    events: int | None
    numeric: dict[str, NumericProfile]
    categorical: dict[str, CategoricalProfile]
    score: NumericProfile
    grades: dict[str, int]
    favourable: int
    groups: dict[str, dict[str, GroupProfile]]
    performance: dict[str, Expected]
    importance: dict[str, float]
    reason_reference: dict[str, str]

"""Feature views (conf/feature_view/*.yaml): features computed from an event table as of a time."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, Name


class LatestFeature(Declared):
    """The column's value in the newest row that was known, ``lag`` rows back (0 = newest)."""

    kind: Literal["latest"]
    column: str
    lag: int = Field(default=0, ge=0)


class WindowFeature(Declared):
    """An aggregate of a column over the last ``days`` days before the as-of time (the time itself included)."""

    kind: Literal["window"]
    column: str
    function: Literal["count", "sum", "mean", "min", "max"]
    days: int = Field(ge=1)


ViewFeature: TypeAlias = Annotated[LatestFeature | WindowFeature, Field(discriminator="kind")]


class FeatureView(Declared):
    """Features of one entity from one table of a source, point-in-time correct.

    A row is used only if ``event_time <= t`` and, where ``known_at`` is declared, ``known_at <= t``.
    """

    name: Name
    table: str = Field(description="Table of the source: 'main' or an unpivoted one.")
    entity: str
    event_time: str
    known_at: str | None = None
    features: dict[str, ViewFeature] = Field(min_length=1)

"""Feature views (conf/feature_view/*.yaml): features computed from an event table as of a time."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from countermark.config.base import Declared, Name

_MICROSECONDS = {"seconds": 1_000_000, "minutes": 60_000_000, "hours": 3_600_000_000, "days": 86_400_000_000}
DAY = _MICROSECONDS["days"]
"""Microseconds of a day."""


class Duration(Declared):
    """A length of time in one of its units."""

    seconds: int | None = Field(default=None, ge=1)
    minutes: int | None = Field(default=None, ge=1)
    hours: int | None = Field(default=None, ge=1)
    days: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_unit(self) -> Duration:
        given = [unit for unit in _MICROSECONDS if getattr(self, unit) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a length of time is given in one of {', '.join(_MICROSECONDS)}, got {len(given)} of them"
            )
        return self

    @property
    def microseconds(self) -> int:
        """The length in microseconds."""
        return sum(size * (getattr(self, unit) or 0) for unit, size in _MICROSECONDS.items())


class ColumnFeature(Declared):
    """The column's value in the newest row that was known, ``lag`` rows back (0 = newest)."""

    kind: Literal["column"]
    column: str
    lag: int = Field(default=0, ge=0, le=1000)
    max_age: Duration | None = Field(
        default=None, description="A row older than this gives null and a flag; None: as the view says."
    )


class WindowFeature(Duration):
    """An aggregate over the rows with ``t - length < event_time <= t``; the length is given by its unit."""

    kind: Literal["window"]
    function: Literal["count", "sum", "mean", "min", "max", "last", "time_since"]
    column: str | None = Field(
        default=None,
        description="Column whose values are taken; 'count' and 'time_since' may do without and take rows.",
    )
    filter: str | None = Field(default=None, description="Condition over the event's columns; other rows do not count.")

    @model_validator(mode="after")
    def _column_where_needed(self) -> WindowFeature:
        if self.column is None and self.function not in ("count", "time_since"):
            raise ValueError(f"function '{self.function}' needs a 'column'")
        return self


class OnDemandFeature(Declared):
    """An expression over ``request.FIELD``, features of this view and ``VIEW.FEATURE`` of others."""

    kind: Literal["on_demand"]
    expression: str = Field(min_length=1, max_length=2000)


ViewFeature: TypeAlias = Annotated[ColumnFeature | WindowFeature | OnDemandFeature, Field(discriminator="kind")]


class FeatureView(Declared):
    """Features of one entity from one table of a source, point-in-time correct.

    A request at time t sees a row if ``event_time <= t`` and it was known by t. A view whose features are all
    ``on_demand`` reads no table.
    """

    name: Name
    table: str | None = Field(default=None, description="Table of the source: 'main' or an unpivoted one.")
    entity: str | None = Field(default=None, description="Column that names whom the features are about.")
    event_time: str | None = Field(default=None, description="Column that says when a row happened.")
    known_at: str | None = Field(default=None, description="Column that says when a row became known.")
    known_delay: Duration | None = Field(default=None, description="A row is known this long after its event time.")
    event_key: str | None = Field(
        default=None, description="Rows of an entity with one key are versions of one event; the last one known counts."
    )
    max_age: Duration | None = Field(default=None, description="Largest age of the row behind a 'column' feature.")
    tile: Duration | None = Field(
        default=None,
        description="Windows begin at whole tiles of this size, kept summed; None: exact, every event kept.",
    )
    clock: Literal["instant", "day"] = Field(
        default="instant", description="'day': event times are calendar dates, and a request counts by its local day."
    )
    features: dict[str, ViewFeature] = Field(min_length=1)

    @property
    def reads_events(self) -> bool:
        """Whether a feature of the view is computed from events."""
        return any(feature.kind != "on_demand" for feature in self.features.values())

    @model_validator(mode="after")
    def _events_are_described(self) -> FeatureView:
        needed = {"table": self.table, "entity": self.entity, "event_time": self.event_time}
        absent = [name for name, value in needed.items() if value is None]
        if self.reads_events and absent:
            raise ValueError(f"a view with column or window features needs {', '.join(absent)}")
        if not self.reads_events and len(absent) < len(needed):
            raise ValueError("a view of on_demand features alone reads no table: leave table, entity, event_time out")
        if self.known_at is not None and self.known_delay is not None:
            raise ValueError("'known_at' and 'known_delay' both say when a row is known; give one of them")
        if "request" in self.features or any("." in name for name in self.features):
            raise ValueError("a feature of a view is not called 'request' and has no '.' in its name")
        return self

    @model_validator(mode="after")
    def _days_by_calendar(self) -> FeatureView:
        if self.clock == "day":
            lengths = [self.known_delay, self.max_age, self.tile]
            lengths += [f.max_age for f in self.features.values() if isinstance(f, ColumnFeature)]
            lengths += [f for f in self.features.values() if isinstance(f, WindowFeature)]
            if any(length is not None and length.microseconds % DAY for length in lengths):
                raise ValueError("with 'clock: day' every length of time is in whole days")
        return self

    @model_validator(mode="after")
    def _tiles_hold_windows(self) -> FeatureView:
        if self.tile is None:
            return self
        if self.event_key is not None:
            raise ValueError("a tile cannot take an event back: 'tile' and 'event_key' exclude one another")
        for name, feature in self.features.items():
            if isinstance(feature, ColumnFeature):
                raise ValueError(f"a tile holds no rows: put 'column' feature '{name}' into a view without 'tile'")
            if isinstance(feature, WindowFeature) and feature.microseconds % self.tile.microseconds:
                raise ValueError(f"the window of '{name}' is no whole number of tiles")
        return self

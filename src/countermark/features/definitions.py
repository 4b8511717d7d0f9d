"""A declared feature view, checked against its table and made ready to run; its version digests its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from countermark.config.feature_view import ColumnFeature, FeatureView, OnDemandFeature, ViewFeature, WindowFeature
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.yamlfile import KeyPath
from countermark.errors import ConfigError
from countermark.features import fold
from countermark.features.on_demand import Expression, ValueType, compile_expression
from countermark.features.tiles import LATEST, TALL
from countermark.features.times import local_day
from countermark.records.digest import digest_of

ColumnType: TypeAlias = Literal["integer", "number", "text", "boolean", "date"]
"""Type of a column as its contract declares it."""

VIEW_FORMAT = "countermark/view/1"
MOST_FILTERS = 62

VALUE_TYPES: dict[ColumnType, ValueType] = {
    "integer": "number", "number": "number", "text": "text", "boolean": "boolean", "date": "time",
}  # fmt: skip
"""Type of a column inside an expression."""


class DefinitionError(ConfigError):
    """A view's definition cannot be run.

    Args:
        problem: What is wrong, with its key inside the view.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what, expected=problem.expected, got=problem.got, hint=problem.hint)
        self.path: KeyPath = problem.path


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column of the events that the state of an entity keeps.

    Attributes:
        name: Column name.
        type: Its type.
        presence: Only whether it has a value is kept (1 or null).
    """

    name: str
    type: ColumnType
    presence: bool


@dataclass(frozen=True)
class ViewPlan:
    """A view ready to run.

    Attributes:
        view: The declared view; it reads events.
        version: SHA-256 of its meaning: the definition, the types of its columns, the zone of its times.
        time_zone: Zone of the source.
        table: Name of its table.
        entity: Its entity column.
        event_time: Its event-time column.
        stored: Columns kept.
        filters: Conditions on events.
        names: Features computed from events, in the order of the declaration.
        types: Type of each of them.
        column_types: Type of every column of its table.
        program: What the fold does for each of them, int64 (features, WIDTH).
    """

    view: FeatureView
    version: str
    time_zone: str
    table: str
    entity: str
    event_time: str
    stored: tuple[StoredColumn, ...]
    filters: tuple[Expression, ...]
    names: tuple[str, ...]
    types: tuple[ColumnType, ...]
    column_types: Mapping[str, ColumnType]
    program: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Name of the view."""
        return self.view.name

    @cached_property
    def zone(self) -> ZoneInfo:
        """Zone of clock times and dates."""
        return ZoneInfo(self.time_zone)

    @cached_property
    def by_day(self) -> bool:
        """Whether times are calendar days."""
        return self.view.clock == "day"

    @cached_property
    def known_delay(self) -> int:
        """Microseconds after its event time at which a row is known."""
        return self.view.known_delay.microseconds if self.view.known_delay is not None else 0

    @cached_property
    def tile(self) -> int:
        """Size of a tile in microseconds; 0: exact windows."""
        return self.view.tile.microseconds if self.view.tile is not None else 0

    @cached_property
    def keeps(self) -> int:
        """How many of the newest rows a state keeps whatever their age."""
        lags = [f.lag for f in self.view.features.values() if isinstance(f, ColumnFeature)]
        return max(lags) + 1 if lags else 0

    @cached_property
    def expires(self) -> bool:
        """Whether a feature has a largest age."""
        return bool((self.program[:, fold.MAX_AGE] != fold.NO_LIMIT).any())

    @cached_property
    def longest(self) -> int:
        """Length of the longest window in microseconds; 0 without windows."""
        return max((f.microseconds for f in self.view.features.values() if isinstance(f, WindowFeature)), default=0)

    def on_clock(self, at: int) -> int:
        """An instant on the view's clock: itself, or its calendar day in the zone."""
        return local_day(at, self.zone) if self.by_day else at

    @cached_property
    def nothing(self) -> Mapping[str, int | None]:
        """Features of an entity without events: counts are 0, everything else is null."""
        counts = self.program[:, fold.KIND] == fold.COUNT
        return {name: 0 if count else None for name, count in zip(self.names, counts, strict=True)}

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Value row and filter of every group that tiles are summed by."""
        pairs = [(int(value), int(bit)) for value, bit in self.program[:, [fold.VALUE, fold.FILTER]]]
        return tuple(dict.fromkeys(pairs))

    @cached_property
    def state_program(self) -> NDArray[np.int64]:
        """The program over a packed state: over events, or over groups where the view is tiled."""
        if not self.tile:
            return self.program
        program = self.program.copy()
        for k, (value, bit) in enumerate(self.program[:, [fold.VALUE, fold.FILTER]]):
            program[k, fold.VALUE] = TALL * self.groups.index((int(value), int(bit)))
        return program

    @cached_property
    def width(self) -> int:
        """Numbers of a row of a packed state."""
        return TALL * len(self.groups) if self.tile else len(self.stored)

    @cached_property
    def text_rows(self) -> tuple[int, ...]:
        """Which numbers of a row of a packed state stand for texts."""
        if not self.tile:
            return self.text_columns
        texts = self.text_columns
        return tuple(TALL * g + LATEST for g, (value, _) in enumerate(self.groups) if value in texts)

    @cached_property
    def text_columns(self) -> tuple[int, ...]:
        """Which stored columns hold texts."""
        return tuple(k for k, column in enumerate(self.stored) if column.type == "text" and not column.presence)

    @cached_property
    def event_columns(self) -> tuple[str, ...]:
        """Every column of an event that the view reads."""
        view = self.view
        times = [name for name in (view.event_time, view.known_at, view.event_key) if name is not None]
        read = [column.name for column in self.stored] + [name for e in self.filters for name in e.names]
        return tuple(dict.fromkeys([self.entity, *times, *read]))


def view_version(view: FeatureView, types: Mapping[str, ColumnType], *, time_zone: str) -> str:
    """SHA-256 of a view's meaning: two views with one version give the same values for the same events.

    Args:
        view: A view that reads events.
        types: Type of every column of its table.
        time_zone: Zone of its source.

    Raises:
        DefinitionError: As :func:`compile_view`.
    """
    return compile_view(view, types, time_zone=time_zone).version


def compile_view(view: FeatureView, types: Mapping[str, ColumnType], *, time_zone: str) -> ViewPlan:
    """Check a view against its table and make it ready to run.

    Args:
        view: A view that reads events.
        types: Type of every column of its table.
        time_zone: Zone of its source.

    Raises:
        DefinitionError: Unknown columns, columns of the wrong type, a filter that is no condition.
    """
    assert view.table is not None
    assert view.entity is not None
    assert view.event_time is not None
    _check_columns(view, types)
    builder = _Builder(view, types, time_zone)
    events = {name: f for name, f in view.features.items() if not isinstance(f, OnDemandFeature)}
    rows = [builder.row(name, feature) for name, feature in events.items()]
    read = {view.entity, view.event_time, view.known_at, view.event_key, *(column.name for column in builder.stored)}
    read |= {name for expression in builder.filters.values() for name in expression.names}
    meaning = {
        "format": VIEW_FORMAT,
        "view": view.model_dump(mode="json"),
        "types": {name: kind for name, kind in types.items() if name in read},
        "time_zone": time_zone,
    }
    return ViewPlan(
        view=view,
        version=digest_of(meaning),
        time_zone=time_zone,
        table=view.table,
        entity=view.entity,
        event_time=view.event_time,
        stored=tuple(builder.stored),
        filters=tuple(builder.filters.values()),
        names=tuple(events),
        types=tuple(feature_type(f, types) for f in events.values()),
        column_types=dict(types),
        program=np.array(rows, dtype=np.int64).reshape(len(rows), fold.WIDTH),
    )


def feature_type(feature: ColumnFeature | WindowFeature, types: Mapping[str, ColumnType]) -> ColumnType:
    """Type of the values of a feature that is computed from events."""
    if isinstance(feature, WindowFeature):
        if feature.function == "count":
            return "integer"
        if feature.function in ("mean", "time_since", "sum"):
            return "number"
    assert feature.column is not None
    return types[feature.column]


class _Builder:
    """Places of columns and filters, shared by the features that use them."""

    def __init__(self, view: FeatureView, types: Mapping[str, ColumnType], time_zone: str) -> None:
        self.view = view
        self.types = types
        self.time_zone = time_zone
        self.stored: list[StoredColumn] = []
        self.filters: dict[str, Expression] = {}

    def row(self, name: str, feature: ViewFeature) -> list[int]:
        """The program of one feature."""
        if isinstance(feature, ColumnFeature):
            limit = feature.max_age or self.view.max_age
            oldest = fold.NO_LIMIT if limit is None else limit.microseconds
            return [fold.COLUMN, self._place(feature.column, presence=False), -1, 0, feature.lag, oldest]
        assert isinstance(feature, WindowFeature)
        kind = fold.FUNCTIONS[feature.function]
        column = -1
        if feature.column is not None:
            column = self._place(feature.column, presence=kind in (fold.COUNT, fold.SINCE))
        return [kind, column, self._filter(name, feature.filter), feature.microseconds, 0, fold.NO_LIMIT]

    def _place(self, name: str, *, presence: bool) -> int:
        kind = self.types[name]
        # A number says itself whether it is there; of other columns no more is kept than is needed.
        wanted = StoredColumn(name, kind, presence and kind in ("text", "date"))
        if wanted not in self.stored:
            self.stored.append(wanted)
        return self.stored.index(wanted)

    def _filter(self, name: str, text: str | None) -> int:
        if text is None:
            return -1
        if text not in self.filters:
            path: KeyPath = ("features", name, "filter")
            try:
                types = {column: VALUE_TYPES[kind] for column, kind in self.types.items()}
                expression = compile_expression(text, types, time_zone=self.time_zone)
            except ConfigError as error:
                raise DefinitionError(Problem(path, error.what, error.expected, error.got, error.hint)) from None
            if expression.type != "boolean":
                raise DefinitionError(
                    Problem(
                        path,
                        f"the filter of feature '{self.view.name}.{name}' is no condition",
                        expected="a comparison, or a boolean column",
                        got=f"a {expression.type}",
                    )
                )
            self.filters[text] = expression
        if len(self.filters) > MOST_FILTERS:
            raise DefinitionError(
                Problem(
                    ("features",),
                    f"feature view '{self.view.name}' has more than {MOST_FILTERS} filters",
                    hint="split the view",
                )
            )
        return list(self.filters).index(text)


def _check_columns(view: FeatureView, types: Mapping[str, ColumnType]) -> None:
    keys: list[tuple[KeyPath, str | None]] = [
        ((key,), getattr(view, key)) for key in ("entity", "event_time", "known_at", "event_key")
    ]
    keys += [
        (("features", name, "column"), feature.column)
        for name, feature in view.features.items()
        if not isinstance(feature, OnDemandFeature)
    ]
    for path, column in keys:
        if column is not None and column not in types:
            raise DefinitionError(
                Problem(
                    path,
                    f"feature view '{view.name}' names columns that table '{view.table}' does not have",
                    expected=one_of(types),
                    got=f"'{column}'",
                    hint=nearest(column, types) or "correct the view, or declare the column in the table's contract",
                )
            )
    for key in ("event_time", "known_at"):
        column = getattr(view, key)
        if column is not None and types[column] != "date":
            raise DefinitionError(
                Problem(
                    (key,),
                    f"feature view '{view.name}' takes '{column}' for a time, and it is none",
                    expected="a column of type date",
                    got=types[column],
                    hint="declare it as 'type: date' in the table's contract",
                )
            )
    for key in ("entity", "event_key"):
        column = getattr(view, key)
        if column is not None and types[column] not in ("text", "integer"):
            raise DefinitionError(
                Problem(
                    (key,),
                    f"feature view '{view.name}' takes '{column}' for a key, and it is none",
                    expected="a column of type text or integer",
                    got=types[column],
                )
            )
    for name, feature in view.features.items():
        _check_value_type(view, name, feature, types)


def _check_value_type(view: FeatureView, name: str, feature: ViewFeature, types: Mapping[str, ColumnType]) -> None:
    if isinstance(feature, OnDemandFeature) or feature.column is None:
        return
    kind = types[feature.column]
    function = feature.function if isinstance(feature, WindowFeature) else "latest value"
    if function in ("sum", "mean", "min", "max") and kind not in ("integer", "number"):
        raise DefinitionError(
            Problem(
                ("features", name, "column"),
                f"feature '{view.name}.{name}' takes the {function} of a column that is no number",
                expected="integer or number",
                got=kind,
                hint="count it, or take its last value",
            )
        )
    if kind == "date" and function not in ("count", "time_since"):
        raise DefinitionError(
            Problem(
                ("features", name, "column"),
                f"feature '{view.name}.{name}' takes the {function} of a date",
                expected="integer, number, boolean or text",
                got=kind,
                hint="take 'time_since', or count it",
            )
        )

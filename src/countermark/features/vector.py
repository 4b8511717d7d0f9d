"""From a request and the online store to the scorer's input vector: the values that the data set's row would have."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from countermark.config.spec import Feature, ModelSpec
from countermark.errors import ConfigError, FeatureStoreError
from countermark.features.definitions import ColumnType, ViewPlan
from countermark.features.online import OnlineStore
from countermark.features.plans import REQUEST, ModelViews, model_views, table_contract
from countermark.features.reading import folded
from countermark.features.request import FieldProblem, RecordReader, RequestError
from countermark.features.state import empty_run, pack
from countermark.features.times import instant, microseconds
from countermark.records.clock import iso
from countermark.records.decision import ViewReading

InputValue = float | str | None


class VectorBuilder:
    """Builds input vectors of one model.

    Attributes:
        views: The model's compiled views.
        fields: Fields that a request must bring; those that may be null may be left out.
        time_field: Column of the training table whose place the time of the request takes; never part of a request.

    Args:
        spec: The resolved model.

    Raises:
        ConfigError: If the spec's views cannot be compiled or its features fit no column.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.model = spec.name
        self.views: ModelViews = model_views(spec)
        self.time_field = spec.data.time
        contract = table_contract(spec, spec.data.table)
        if contract is None:
            raise ConfigError(f"model '{spec.name}' has no contract for table '{spec.data.table}'")
        fields = tuple(name for name in self.views.fields if name != self.time_field)
        absent = [name for name in fields if name not in contract.columns]
        if absent:
            raise ConfigError(
                f"model '{spec.name}' takes inputs from columns that its contract does not promise",
                expected="columns of contract '" + contract.name + "'",
                got=", ".join(f"'{name}'" for name in absent),
            )
        zone = ZoneInfo(spec.source.time_zone)
        self._reader = RecordReader(f"a request to '{spec.name}'", contract, fields, (), zone)
        self.fields = self._reader.fields
        needed = {name for feature in self.views.on_demand for name in feature.reads}
        needed |= {feature.source or name for name, feature in spec.features.items()}
        self._plans = tuple(
            (plan, self.views.keys[view], tuple((n, f"{view}.{n}") for n in plan.names if f"{view}.{n}" in needed))
            for view, plan in self.views.plans.items()
        )
        self._inputs = tuple(self._input(spec, name, feature) for name, feature in spec.features.items())

    @property
    def plans(self) -> tuple[ViewPlan, ...]:
        """Views that are read from the store."""
        return tuple(plan for plan, _, _ in self._plans)

    def warm_up(self) -> None:
        """Compile what the first request would else wait for."""
        for plan in self.plans:
            folded(plan, pack(empty_run(plan), plan), instant(0))

    def build(
        self, request: Mapping[str, Any], store: OnlineStore | None, now: dt.datetime
    ) -> tuple[dict[str, InputValue], tuple[ViewReading, ...]]:
        """The input vector of a request.

        Args:
            request: Values by field: JSON numbers, text, truth, null; dates as ISO text or datetimes.
            store: The online store; None for a model that reads no view.
            now: Instant of the request.

        Returns:
            Value of every input in the order of the spec, and what was read of each view.

        Raises:
            RequestError: If a field is unknown, missing, of the wrong type or outside its contract.
            FeatureStoreError: If there is no store, or a view was never published there.
        """
        typed = self._reader.read(request)
        values: dict[str, Any] = {f"{REQUEST}.{name}": value for name, value in typed.items()}
        if self.time_field is not None:
            values[f"{REQUEST}.{self.time_field}"] = microseconds(now)
        readings = []
        shown = iso(now) if self._plans else ""
        for plan, key, wanted in self._plans:
            if store is None:
                raise _no_store(self.model, plan)
            row = store.read(plan, typed[key], now)
            for name, slot in wanted:
                values[slot] = row.values[name]
            as_of = shown if row.as_of is now else iso(row.as_of)
            withheld = tuple(name for name, _ in wanted if name in row.expired) if row.expired else ()
            readings.append(
                ViewReading(view=plan.name, version=plan.version, as_of=as_of, expired=withheld, unknown=not row.known)
            )
        for feature in self.views.on_demand:
            values[feature.name] = feature.row(values)
        vector: dict[str, InputValue] = {}
        for name, slot, convert in self._inputs:
            value = values[slot]
            vector[name] = None if value is None else convert(value)
        return vector, tuple(readings)

    def _input(self, spec: ModelSpec, name: str, feature: Feature) -> tuple[str, str, Callable[[Any], InputValue]]:
        declared = feature.source or name
        if declared in self.views.types and declared.partition(".")[0] in spec.feature_views:
            slot, kind = declared, self.views.types[declared]
        else:
            slot, kind = f"{REQUEST}.{declared}", self.views.request_types[declared]
        return name, slot, _converter(f"a request to '{spec.name}'", name, feature, kind)


_TAKES: dict[str, tuple[ColumnType, ...]] = {
    "ordinal": ("text", "integer"),
    "categorical": ("text", "integer", "boolean"),
    "numeric": ("integer", "number", "boolean"),
}


def _converter(what: str, name: str, feature: Feature, kind: ColumnType) -> Callable[[Any], InputValue]:
    """How a typed value becomes an input, as :mod:`countermark.features.inputs` does it for a column."""
    how = "ordinal" if feature.levels is not None else feature.type
    takes = _TAKES[how]
    if kind not in takes:
        raise ConfigError(
            f"{how} feature '{name}' comes from a value of type {kind}",
            expected=" or ".join(takes) + ("; or text with 'levels'" if how == "numeric" else ""),
        )
    if feature.levels is not None:
        places = {level: float(place) for place, level in enumerate(feature.levels)}
        listed = "one of: " + ", ".join(feature.levels)

        def ordinal(value: Any) -> InputValue:
            place = places.get(_text(value))
            if place is None:
                raise RequestError(what, (FieldProblem(feature.source or name, "levels", listed),))
            return place

        return ordinal
    if feature.type == "categorical":
        return _text
    return float


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _no_store(model: str, plan: ViewPlan) -> FeatureStoreError:
    return FeatureStoreError(
        f"model '{model}' reads feature view '{plan.name}', and there is no feature store",
        expected="a store: sqlite:///path or redis://host:port/db",
        hint="give the store's URL",
    )

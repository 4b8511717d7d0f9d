"""Planted drift: one numeric field times a factor, from a day on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from countermark.config.problems import nearest, one_of
from countermark.config.spec import ModelSpec
from countermark.errors import SimulationError
from countermark.features.vector import VectorBuilder

_FORM = re.compile(r"([^=@]+)=([^=@]+)@([0-9]+)").fullmatch
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, slots=True)
class Drift:
    """A field that drifts.

    Attributes:
        table: Table of the events that it is a column of; None for a field of the request.
        field: Its name.
        factor: What its values are multiplied by.
        day: First day, counted from 0.
    """

    table: str | None
    field: str
    factor: float
    day: int

    @property
    def name(self) -> str:
        """As it is written in the option."""
        return self.field if self.table is None else f"{self.table}.{self.field}"


def read_drifts(texts: Iterable[str], spec: ModelSpec) -> tuple[Drift, ...]:
    """Read options of the form ``FIELD=FACTOR@DAY``.

    FIELD is a numeric field of the model's requests, a feature that is one, or ``TABLE.COLUMN`` for a numeric column of
    the events that its feature views read.

    Raises:
        SimulationError: If the text has another form, the factor is no positive number, or the field is unknown or no
            number.
    """
    known = driftable(spec)
    return tuple(_read(text, spec, known) for text in texts)


def driftable(spec: ModelSpec) -> dict[str, tuple[str | None, str, str]]:
    """Every field that reaches the model: table or None, column and type, by the name it may be called by."""
    builder = VectorBuilder(spec)
    found: dict[str, tuple[str | None, str, str]] = {
        field: (None, field, builder.views.request_types[field]) for field in builder.fields
    }
    for name, feature in spec.features.items():
        if feature.source in found:
            found.setdefault(name, found[str(feature.source)])
    for plan in builder.plans:
        for column in plan.event_columns:
            if column not in (plan.entity, plan.view.event_key):
                found.setdefault(f"{plan.table}.{column}", (plan.table, column, plan.column_types[column]))
    keys = {*builder.views.keys.values(), spec.data.entity}
    return {name: place for name, place in found.items() if place[0] is not None or place[1] not in keys}


def _read(text: str, spec: ModelSpec, known: Mapping[str, tuple[str | None, str, str]]) -> Drift:
    form = _FORM(text)
    factor = _number(form[2]) if form else None
    if form is None or factor is None:
        raise SimulationError(
            "a drift is not written as it must be",
            expected="FIELD=FACTOR@DAY with a positive factor, such as annual_inc=0.6@14",
            got=f"'{text}'",
        )
    name = form[1].strip()
    numbers = [field for field, (_, _, kind) in known.items() if kind in _NUMBERS]
    if name not in known:
        feature = spec.features.get(name)
        source = "" if feature is None else feature.source or ""
        view = spec.feature_views.get(source.partition(".")[0])
        raise SimulationError(
            f"'{name}' is computed by feature view '{view.name}', so its inputs drift and not itself"
            if view is not None
            else f"nothing that reaches model '{spec.name}' is called '{name}'",
            expected=one_of(numbers),
            got=f"'{name}'",
            hint=nearest(name, numbers),
        )
    table, field, kind = known[name]
    if kind not in _NUMBERS:
        raise SimulationError(
            f"field '{name}' cannot be multiplied: it is no number", expected=one_of(numbers), got=f"type {kind}"
        )
    return Drift(table, field, factor, int(form[3]))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def drifted(value: float | int | None, factor: float) -> float | int | None:
    """A value times a factor; a whole number stays one, and what is missing stays missing."""
    if value is None:
        return None
    return round(value * factor) if isinstance(value, int) else value * factor

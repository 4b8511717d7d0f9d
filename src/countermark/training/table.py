"""The rows that training sees, and what is known of each input before anything is fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.errors import TrainingError
from countermark.records.digest import round_significant
from countermark.scoring.format import InputPart

FloatArray = NDArray[np.float64]

REPORT_DIGITS = 9


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """The modelling data set, one entry per row and in its fixed order.

    Attributes:
        features: Every model input under its name: float64 with NaN, or object (text or None).
        y: Outcome (n,): 0 or 1, or a number for a continuous outcome.
        sample: Sample label per row, object (n,).
        key: Row key, object (n,) of text.
        entity: Entity key per row, object (n,), text or None; None: no entities.
    """

    features: Mapping[str, NDArray[Any]]
    y: NDArray[Any]
    sample: NDArray[np.object_]
    key: NDArray[np.object_]
    entity: NDArray[np.object_] | None = None

    def rows(self, label: str) -> Rows:
        """The rows of one sample."""
        members = np.flatnonzero(self.sample == label)
        return Rows(
            columns={name: values[members] for name, values in self.features.items()},
            y=self.y[members].astype(np.float64),
            key=self.key[members],
            entity=None if self.entity is None else self.entity[members],
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one sample: what a learner is fitted or judged on."""

    columns: Mapping[str, NDArray[Any]]
    y: FloatArray
    key: NDArray[np.object_]
    entity: NDArray[np.object_] | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.size)

    def take(self, members: NDArray[np.int64]) -> Rows:
        """Some of the rows."""
        return Rows(
            columns={name: values[members] for name, values in self.columns.items()},
            y=self.y[members],
            key=self.key[members],
            entity=None if self.entity is None else self.entity[members],
        )


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input.

    Attributes:
        name: Feature name.
        type: ``numeric`` or ``categorical``.
        direction: 1 or -1 where the spec enforces the direction of the effect on risk, else 0.
        expected: 1 or -1 where the spec only expects a direction, else 0.
    """

    name: str
    type: Literal["numeric", "categorical"]
    direction: int = 0
    expected: int = 0


def declared_inputs(spec: ModelSpec) -> tuple[Input, ...]:
    """The inputs of a spec, in its order. An ordinal text column arrives as a number."""
    signs = {"increasing": 1, "decreasing": -1, "none": 0}
    return tuple(
        Input(
            name=name,
            type="numeric" if feature.levels is not None else feature.type,
            direction=signs[feature.expected] if feature.monotone else 0,
            expected=signs[feature.expected],
        )
        for name, feature in spec.features.items()
    )


def check_columns(inputs: tuple[Input, ...], rows: Rows) -> list[str]:
    """Refuse inputs that cannot be fitted; name those that carry nothing.

    Args:
        inputs: The declared inputs.
        rows: The development sample.

    Returns:
        Names of constant inputs, in order. They are allowed, and recorded.

    Raises:
        TrainingError: If a column is absent, of the wrong type, infinite, or has no value at all.
    """
    constant = []
    for item in inputs:
        if item.name not in rows.columns:
            raise TrainingError(
                f"input '{item.name}' is not in the data set",
                expected="a column per declared feature",
                got=f"{len(rows.columns)} columns without it",
                hint="rebuild the data set stage",
            )
        values = rows.columns[item.name]
        kinds = "fiu" if item.type == "numeric" else "OU"
        if values.dtype.kind not in kinds:
            raise TrainingError(
                f"input '{item.name}' has the wrong type",
                expected="numbers" if item.type == "numeric" else "text",
                got=str(values.dtype),
                hint=f"set 'features.{item.name}.type', or give an ordinal text column 'levels'",
            )
        distinct = _distinct(values)
        if not distinct:
            raise TrainingError(
                f"input '{item.name}' has no value in the development sample",
                expected="a value in at least one row",
                got=f"{rows.n} of {rows.n} rows missing",
                hint=f"remove 'features.{item.name}', or check its source",
            )
        if item.type == "numeric" and bool(np.isinf(values).any()):
            raise TrainingError(
                f"input '{item.name}' is infinite in some rows",
                expected="finite numbers, or missing",
                got=f"{int(np.isinf(values).sum())} infinite values",
                hint="give its contract column a range",
            )
        if len(distinct) == 1 and not bool(missing_rows(values).any()):
            constant.append(item.name)
    if len(constant) == len(inputs):
        raise TrainingError(
            "every input is constant in the development sample",
            expected="at least one input that varies",
            got=f"{len(constant)} constant inputs",
            hint="check the sources of the features",
        )
    return constant


def _distinct(values: NDArray[Any]) -> set[object]:
    """Every level of a text column; smallest and largest number of a numeric one; nothing where all is missing."""
    if values.dtype.kind not in "fiu":
        return set(levels_of(values))
    finite = values[np.isfinite(values)]
    return {float(finite.min()), float(finite.max())} if finite.size else set()


def levels_of(values: NDArray[Any]) -> tuple[str, ...]:
    """The distinct levels of a text column, in code point order."""
    return tuple(sorted({str(value) for value in values if value is not None}))


def missing_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value is missing: NaN in numbers, None in text."""
    if values.dtype.kind in "fiu":
        return np.asarray(np.isnan(values.astype(np.float64)))
    return np.array([value is None for value in values], dtype=bool)


def level_codes(values: NDArray[Any], levels: tuple[str, ...]) -> NDArray[np.int64]:
    """Codes of the scorer file: position in ``levels``, then missing, then unseen."""
    table: dict[str | None, int] = {level: k for k, level in enumerate(levels)}
    table[None] = len(levels)
    return np.array([table.get(value, len(levels) + 1) for value in values.tolist()], dtype=np.int64)


def numeric_input(name: str) -> InputPart:
    """A numeric input of the scorer file; missing values are accepted."""
    return InputPart(name=name, type="numeric")


def categorical_input(name: str, levels: tuple[str, ...]) -> InputPart:
    """A categorical input of the scorer file; an unseen level has its own code."""
    return InputPart(name=name, type="categorical", levels=levels, unseen="accept")


def refuse_class_weights(class_weights: str | tuple[float, float], *, continuous: bool) -> None:
    """Refuse class weights of an outcome that has no classes.

    Raises:
        TrainingError: If the outcome is continuous and weights are declared.
    """
    if continuous and class_weights != "none":
        raise TrainingError(
            "class weights need an outcome of two classes",
            expected="'learner.class_weights: none'",
            got=str(class_weights),
            hint="leave 'class_weights' out for a continuous outcome",
        )


def row_weights(y: FloatArray, class_weights: str | tuple[float, float]) -> FloatArray:
    """Weight per row: ones, declared per class, or balanced (each class weighs half of the rows)."""
    if class_weights == "none":
        return np.ones(y.size)
    low, high = class_pair(y, class_weights)
    return np.where(y == 1, high, low)


def class_pair(y: FloatArray, class_weights: str | tuple[float, float]) -> tuple[float, float]:
    """Weights of class 0 and 1."""
    if class_weights == "none":
        return 1.0, 1.0
    if class_weights == "balanced":
        events = int(np.count_nonzero(y))
        pair = y.size / (2.0 * (y.size - events)), y.size / (2.0 * events)
        return round_significant(pair[0], REPORT_DIGITS), round_significant(pair[1], REPORT_DIGITS)
    return float(class_weights[0]), float(class_weights[1])


def rounded(value: float) -> float:
    """A number as a report keeps it: 9 significant digits."""
    return round_significant(float(value), REPORT_DIGITS) if math.isfinite(value) else float(value)

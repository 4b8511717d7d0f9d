"""The modelling data set as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from countermark.contracts.tables import read_table
from countermark.stages.files import ModelFiles


@dataclass(frozen=True, slots=True)
class ModelData:
    """Columns of dataset.parquet.

    Attributes:
        key: Row keys, object (n,).
        y: Outcome (n,).
        sample: Sample label per row, object (n,).
        features: Model inputs by name: float64 with NaN, or object with None.
        reserved: The other reserved columns by name, object (n,).
    """

    key: NDArray[np.object_]
    y: NDArray[Any]
    sample: NDArray[np.object_]
    features: Mapping[str, NDArray[Any]]
    reserved: Mapping[str, NDArray[np.object_]]


def read_data(files: ModelFiles) -> ModelData:
    """Read dataset.parquet."""
    table = read_table(files.out / "dataset.parquet")
    features = {name: _input(table.column(name)) for name in table.column_names if not name.startswith("_")}
    fixed = ("_key", "_y", "_sample")
    reserved = {
        name: text_column(table.column(name))
        for name in table.column_names
        if name.startswith("_") and name not in fixed
    }
    return ModelData(
        key=text_column(table.column("_key")),
        y=table.column("_y").to_numpy(),
        sample=text_column(table.column("_sample")),
        features=features,
        reserved=reserved,
    )


def text_column(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """A column as Python objects, null as None."""
    return np.array(column.to_pylist(), dtype=object)


def _input(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(), dtype=np.float64)
    return text_column(column)

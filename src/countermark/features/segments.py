"""Segments by which evidence is broken down: few named parts, never a part per value of a continuous column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from countermark.config.segment_check import band_hint
from countermark.config.spec import ModelSpec
from countermark.errors import ConfigError
from countermark.features.groups import band_names, band_places
from countermark.features.inputs import column_of

MOST_SEGMENTS = 60
"""Enough for the states of a federation; beyond it a column names rows, not parts of a portfolio."""


def segment_columns(spec: ModelSpec, main: pa.Table) -> dict[str, pa.ChunkedArray | pa.Array]:
    """The declared segments of each row (text or null), by column name.

    A column with declared bands gets their names, and ``below X`` under the first edge.

    Raises:
        ConfigError: A column that is not there, bands of a column that is no number, or a column with more
            different values than anybody could read evidence by.
    """
    return {
        name: _banded(name, spec.data.bands[name], column_of(main, name, "data.segments"))
        if name in spec.data.bands
        else _listed(name, column_of(main, name, "data.segments"))
        for name in spec.data.segments
    }


def _banded(name: str, edges: tuple[float, ...], column: pa.ChunkedArray) -> pa.Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ConfigError(
            f"segment '{name}' has bands and is no number",
            expected="a column of type integer or number",
            got=str(column.type),
            hint="remove its 'bands': its values are the segments",
        )
    names = band_names(edges, fractions=pa.types.is_floating(column.type))
    place = band_places(edges, column) + 1
    missing = pc.is_null(column).to_numpy().astype(bool)
    return pa.array([f"below {edges[0]:.10g}", *names]).take(pa.array(place, mask=missing))


def _listed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    different = len(pc.unique(column.drop_null()))
    if different > MOST_SEGMENTS:
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        raise ConfigError(
            f"segment '{name}' takes too many values",
            expected=f"at most {MOST_SEGMENTS} different values, or declared bands of a number",
            got=f"{different} different values in {len(column)} rows",
            hint=band_hint(name) if number else "group the values where the data is made, or choose another segment",
        )
    return column.cast(pa.string())

"""Protected attributes as named groups, kept apart from every input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from countermark.config.spec import Protected
from countermark.errors import ConfigError


def group_names(attribute: str, declared: Protected, column: pa.ChunkedArray) -> pa.Array:
    """The group of each row (text, no null).

    Values that are not listed, below the first band or missing fall into ``undocumented``.

    Args:
        attribute: Name of the attribute, for errors.
        declared: Its groups or bands.
        column: Raw values.

    Raises:
        ConfigError: Groups and bands at once, a value in two groups, bands of a text column or not ascending,
            or a reference group without rows.
    """
    if declared.groups is not None and declared.bands is not None:
        raise ConfigError(f"protected attribute '{attribute}' has both 'groups' and 'bands'", expected="one of them")
    if declared.bands is not None:
        named = _banded(attribute, declared.bands, column)
    elif declared.groups is not None:
        named = _listed(attribute, declared.groups, column)
    else:
        named = column.cast(pa.string()).combine_chunks()
    names = pc.fill_null(named, declared.undocumented)
    found = sorted(set(pc.unique(names).to_pylist()))
    if declared.reference not in found:
        raise ConfigError(
            f"the reference group of protected attribute '{attribute}' has no rows",
            expected="one of: " + ", ".join(found),
            got=f"'{declared.reference}'",
            hint="correct 'reference', 'groups' or 'bands'",
        )
    return names


def band_names(edges: tuple[float, ...], *, fractions: bool = False) -> list[str]:
    """Names of bands by their lower edges: ``25-34`` for whole numbers, ``0.5 to below 1.5`` else, ``60+`` last.

    Args:
        edges: Lower edges, ascending.
        fractions: The values may lie between whole numbers, so that ``25-34`` would leave a gap.
    """
    whole = not fractions and all(float(edge).is_integer() for edge in edges)
    names = []
    for low, high in pairwise(edges):
        names.append(f"{int(low)}-{int(high) - 1}" if whole else f"{low:.10g} to below {high:.10g}")
    return [*names, f"{edges[-1]:.10g}+"]


def band_places(edges: tuple[float, ...], column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Place (n,) of each number among the bands; -1 below the first edge and for a missing number."""
    values = pc.fill_null(column.cast(pa.float64()), -np.inf).to_numpy()
    places: NDArray[np.int64] = np.searchsorted(np.asarray(edges, dtype=float), values, side="right") - 1
    return places


def _banded(attribute: str, edges: tuple[float, ...], column: pa.ChunkedArray) -> pa.Array:
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise ConfigError(f"the bands of protected attribute '{attribute}' do not ascend", got=str(list(edges)))
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ConfigError(f"protected attribute '{attribute}' has bands and is no number", got=str(column.type))
    place = band_places(edges, column)
    return pa.array(band_names(edges)).take(pa.array(place, mask=place < 0))


def _listed(attribute: str, groups: dict[str, tuple[str | int, ...]], column: pa.ChunkedArray) -> pa.Array:
    of_value: dict[str, str] = {}
    for group, values in groups.items():
        for value in values:
            if str(value) in of_value:
                raise ConfigError(f"protected attribute '{attribute}' puts a value into two groups", got=str(value))
            of_value[str(value)] = group
    raw = column.cast(pa.int64()) if pa.types.is_boolean(column.type) else column
    place = pc.index_in(raw.cast(pa.string()), value_set=pa.array(list(of_value), pa.string()))
    return pa.array(list(of_value.values()), pa.string()).take(place.combine_chunks())

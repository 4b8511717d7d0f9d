"""Are segments named parts of a portfolio, and not one part per value of a continuous column?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from countermark.config.column_check import contracts_of
from countermark.config.problems import Problem, nearest, one_of
from countermark.config.spec import ModelSpec


def segment_problems(spec: ModelSpec) -> Iterator[Problem]:
    """Continuous segments without bands, dates, bands of what is no number or no segment, edges that do not ascend.

    Args:
        spec: The resolved spec. Whole numbers are left to the data: a few of them are segments, many are not.
    """
    for name, edges in spec.data.bands.items():
        if name not in spec.data.segments:
            yield Problem(
                ("data", "bands", name),
                f"'bands' names '{name}', which is no segment",
                expected=one_of(spec.data.segments),
                got=f"'{name}'",
                hint=nearest(name, spec.data.segments) or f"list '{name}' under 'data.segments' too",
            )
        elif not edges or any(low >= high for low, high in pairwise(edges)):
            yield Problem(
                ("data", "bands", name),
                f"the bands of segment '{name}' do not ascend",
                expected="lower edges, each above the one before",
                got=", ".join(f"{edge:g}" for edge in edges) or "an empty list",
            )
    columns = next((c.columns for c in contracts_of(spec).values() if c.table == spec.data.table), {})
    for index, name in enumerate(spec.data.segments):
        kind = columns[name].type if name in columns else None
        got = f"a column of type {kind}"
        if name in spec.data.bands:
            if kind in ("text", "boolean", "date"):
                yield Problem(
                    ("data", "bands", name),
                    f"segment '{name}' has bands and is no number",
                    expected="a column of type integer or number",
                    got=got,
                    hint="remove its 'bands'",
                )
        elif kind == "number":
            yield Problem(
                ("data", "segments", str(index)),
                f"segment '{name}' is continuous",
                expected="a column of few values, or declared bands",
                got=got,
                hint=band_hint(name),
            )
        elif kind == "date":
            yield Problem(
                ("data", "segments", str(index)),
                f"segment '{name}' is a date",
                expected="a column of few values",
                got=got,
                hint="remove it: evidence is broken down by vintage anyway ('data.vintage')",
            )


def band_hint(name: str) -> str:
    """How bands of a numeric segment are declared."""
    return f"declare the lower edges of its bands: 'data: {{segments: [{name}], bands: {{{name}: [0, 1000, 5000]}}}}'"

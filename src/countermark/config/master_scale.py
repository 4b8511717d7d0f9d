"""Is a declared master scale a scale?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from countermark.config.learner import FixedGrades, Grades
from countermark.config.problems import Problem


def grade_problems(grades: Grades, *, amounts: bool = False) -> Iterator[Problem]:
    """Bounds or PDs that do not ascend, and names that do not fit their number.

    Args:
        grades: The declared scale.
        amounts: The scale holds pools of amounts: bounds need not lie inside 0..1, and pools have no PD.
    """
    scale = grades.scale
    if isinstance(scale, FixedGrades):
        yield from _pool_problems(scale) if amounts else _fixed_problems(scale)
    declared = len(scale.upper) if isinstance(scale, FixedGrades) else scale.count
    names = grades.names
    if names is not None and (len(names) != declared or len(set(names)) != len(names)):
        yield Problem(
            ("grades", "names"),
            "'grades.names' does not fit the scale",
            expected=f"{declared} different names",
            got=f"{len(names)} names, {len(set(names))} different",
            hint="give one name per grade, best first, or leave 'names' out",
        )


def _fixed_problems(scale: FixedGrades) -> Iterator[Problem]:
    if scale.upper[-1] != 1.0 or any(low >= high for low, high in pairwise((0.0, *scale.upper))):
        yield Problem(
            ("grades", "scale", "upper"),
            "'grades.scale.upper' is not a scale",
            expected="ascending bounds above 0, the last one 1",
            got=", ".join(f"{bound:g}" for bound in scale.upper),
            hint="list the upper PD bound of each grade, best grade first",
        )
        return
    if scale.pd is None:
        return
    edges = (0.0, *scale.upper)
    inside = len(scale.pd) == len(scale.upper) and all(
        low <= pd <= high for low, pd, high in zip(edges, scale.pd, scale.upper, strict=False)
    )
    if not inside or any(low >= high for low, high in pairwise(scale.pd)):
        yield Problem(
            ("grades", "scale", "pd"),
            "'grades.scale.pd' does not fit its bounds",
            expected="one ascending PD per bound, inside its grade",
            got=", ".join(f"{pd:g}" for pd in scale.pd),
            hint="leave 'pd' out to freeze the mean predicted PD",
        )


def _pool_problems(scale: FixedGrades) -> Iterator[Problem]:
    if any(low >= high for low, high in pairwise(scale.upper)):
        yield Problem(
            ("grades", "scale", "upper"),
            "'grades.scale.upper' is not a scale of pools",
            expected="ascending bounds of the estimate",
            got=", ".join(f"{bound:g}" for bound in scale.upper),
            hint="list the upper bound of each pool, lowest first; estimates above the last one join the last pool",
        )
    if scale.pd is not None:
        yield Problem(
            ("grades", "scale", "pd"),
            "pools of amounts have no PD",
            expected="no 'grades.scale.pd'",
            got=", ".join(f"{pd:g}" for pd in scale.pd),
            hint="leave 'pd' out: the value of a pool is the mean estimate, frozen",
        )

"""Does a tuning space fit its learner?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from countermark.config.learner import Choice, FloatRange, Learner, SearchRange, Tuning
from countermark.config.problems import Problem, one_of

NOT_SEARCHED = {
    "kind": "a learner is declared, not searched",
    "threads": "it pins the result and improves nothing",
    "significant_digits": "it pins the result and improves nothing",
}
"""Settings that a search must leave alone, and why."""


def space_problems(tuning: Tuning, learner: Learner) -> Iterator[Problem]:
    """Settings that the learner does not have, ranges that are none, and values that the learner refuses."""
    known = sorted(set(type(learner).model_fields) - set(NOT_SEARCHED))
    for name, spread in sorted(tuning.space.items()):
        if name in NOT_SEARCHED and name in type(learner).model_fields:
            yield Problem(
                ("tuning", "space", name),
                f"'tuning.space' names '{name}', which is not searched: {NOT_SEARCHED[name]}",
                expected=one_of(known),
                got=name,
                hint=f"set 'learner.{name}' and remove it from 'tuning.space'",
            )
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            yield Problem(
                ("tuning", "space", name),
                f"'tuning.space' names '{name}', which learner '{learner.kind}' does not have",
                expected=one_of(known),
                got=name,
                hint=f"did you mean '{near[0]}'?" if near else "see 'learner' in the model's params.yaml",
            )
        else:
            yield from _range_problems(name, spread, learner)


def _range_problems(name: str, spread: SearchRange, learner: Learner) -> Iterator[Problem]:
    if not isinstance(spread, Choice) and (
        spread.low > spread.high or (isinstance(spread, FloatRange) and spread.log and spread.low <= 0)
    ):
        yield Problem(
            ("tuning", "space", name),
            f"'tuning.space.{name}' is not a range",
            expected="'low' up to 'high', above 0 on a log scale",
            got=f"{spread.low:g} .. {spread.high:g}",
            hint="swap or mend the ends",
        )
        return
    offered = spread.values if isinstance(spread, Choice) else (spread.low, spread.high)
    for value in offered:
        refused = refused_value(learner, {name: value})
        if refused is not None:
            yield refused
            return


def refused_value(learner: Learner, params: dict[str, Any]) -> Problem | None:
    """Why the learner does not take these settings of the space; None if it does."""
    try:
        type(learner).model_validate(learner.model_dump() | params)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        return Problem(
            ("tuning", "space", name),
            f"'tuning.space.{name}' offers a value that learner '{learner.kind}' refuses",
            expected=first["msg"].lower(),
            got=str(params.get(name)),
            hint=f"narrow 'tuning.space.{name}'",
        )
    return None

"""Does the spec say what its kind of model needs, and nothing that it cannot have?"""

from __future__ import annotations

from collections.abc import Iterator

from countermark.config.problems import Problem
from countermark.config.spec import ModelSpec


def live_measures(spec: ModelSpec) -> tuple[str, ...]:
    """Measures of a use limit that are no input of the model."""
    return ("mean_estimate", "mean_outcome") if spec.is_amount else ("approval_rate", "outcome_rate")


def kind_problems(spec: ModelSpec) -> Iterator[Problem]:
    """A cut-off where nobody is declined, or none where somebody is.

    Args:
        spec: The resolved spec.
    """
    if not spec.is_amount:
        if spec.decision is None:
            yield Problem(
                ("decision",),
                "'decision' is missing",
                expected=f"a decision policy with a cut-off and reason texts; kind '{spec.kind}' needs one",
                hint="add '- /decision@decision: NAME' to 'defaults'",
            )
        return
    if spec.decision is not None:
        yield Problem(
            ("decision",),
            f"a model of kind '{spec.kind}' has no cut-off",
            expected="no 'decision'",
            got=f"decision policy '{spec.decision.name}'",
            hint="remove it from 'defaults': the model estimates an amount and declines nobody",
        )
    if spec.purpose.can_decline:
        yield Problem(
            ("purpose", "can_decline"),
            f"a model of kind '{spec.kind}' declines nobody",
            expected="can_decline: false",
            got="can_decline: true",
            hint="the model that declines is another one, of kind 'pd', 'fraud' or 'aml'",
        )

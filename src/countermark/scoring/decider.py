"""One decision from an input vector: score, grade, outcome and reasons, the same wherever it is made.

Server, batch, replay and simulation decide through this module, so that a replay can compare bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermark.config.policy import DecisionPolicy
from countermark.errors import ScorerError
from countermark.records.decision import GivenReason
from countermark.records.profile import ReferenceProfile
from countermark.scoring.decision import ReasonMap, decide, reason_map
from countermark.scoring.frozen import FrozenScorer


class Decided(NamedTuple):
    """What a release says about one input vector.

    Attributes:
        margin: Margin.
        p: Calibrated probability.
        grade: Name of the grade, or None where the scorer has no grades.
        decision: Outcome in the policy's words.
        reasons: Reasons, worst first; empty for a favourable outcome.
    """

    margin: float
    p: float
    grade: str | None
    decision: str
    reasons: tuple[GivenReason, ...]


VALUE_ONLY = "estimate"
"""The outcome of a model without a decision policy: its value is used as it is."""


class Decider:
    """A frozen scorer under a decision policy.

    Args:
        scorer: The frozen scorer.
        policy: The decision policy; None for a model whose value is used as it is.
        profile: The reference profile of the release; its ``reason_reference`` is what reasons are measured from.

    Raises:
        ScorerError: If an input has no reason code or no reference.
    """

    def __init__(self, scorer: FrozenScorer, policy: DecisionPolicy | None, profile: ReferenceProfile) -> None:
        self.scorer = scorer
        self.policy = policy
        names = scorer.input_names
        absent = [name for name in names if name not in profile.reason_reference]
        if absent:
            raise ScorerError(
                "the reference profile does not fit the scorer",
                expected="a reason reference for every input",
                got="none for " + ", ".join(f"'{name}'" for name in absent),
            )
        self._reference = np.array([float.fromhex(profile.reason_reference[name]) for name in names])
        self._reasons = None if policy is None else _covering(policy, names)
        self._grades = tuple(grade.name for grade in scorer.grades)

    def decide(self, vector: Mapping[str, float | str | None]) -> Decided:
        """Decide on one input vector.

        Raises:
            ScorerError: If an input is missing, of the wrong type, infinite, or a level the scorer refuses.
        """
        policy, mapped = self.policy, self._reasons
        if policy is None or mapped is None:
            row = self.scorer.score_row(vector)
            return Decided(row.margin, row.p, self._grade(row.grade), VALUE_ONLY, ())
        row = self.scorer.score_row(vector, contributions=True)
        assert row.phi is not None
        outcome = decide(policy, row.p)
        reasons = () if outcome == policy.favourable else self._given(mapped, row.phi, policy.max_reasons)
        return Decided(row.margin, row.p, self._grade(row.grade), outcome, reasons)

    def _grade(self, index: int) -> str | None:
        return self._grades[index] if index >= 0 else None

    def _given(self, mapped: ReasonMap, phi: NDArray[np.float64], limit: int) -> tuple[GivenReason, ...]:
        totals = [0.0] * len(mapped.codes)
        # Python sums in the order of the inputs: the same bits on any processor.
        for code, worth in zip(mapped.of_input.tolist(), (phi - self._reference).tolist(), strict=True):
            if code >= 0:
                totals[code] += worth
        adverse = sorted((k for k, total in enumerate(totals) if total > 0.0), key=lambda k: (-totals[k], k))
        return tuple(
            GivenReason(code=mapped.codes[k], text=mapped.texts[k], contribution=totals[k].hex())
            for k in adverse[:limit]
        )


def _covering(policy: DecisionPolicy, names: tuple[str, ...]) -> ReasonMap:
    mapped = reason_map(policy, names)
    if policy.reasons and mapped.uncovered:
        raise ScorerError(
            "inputs have no reason code",
            expected="every scored input under one reason of the decision policy",
            got=", ".join(f"'{name}'" for name in mapped.uncovered),
            hint="add them to 'reasons' in conf/decision",
        )
    return mapped

"""The decision policy applied to a score: the outcome at the cut-off, and the reasons behind it.

A reason is worth what its inputs add to the risk beyond what they add, on average, for cases with the favourable
outcome. Only positive worths are reasons; equal worths are ordered by code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.config.policy import DecisionPolicy
from countermark.errors import ScorerError

NO_ADVERSE_FACTOR = "no adverse factor"
"""Printed where no reason raises the risk above the reference."""


def is_unfavourable(policy: DecisionPolicy, p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each probability is at or above the cut-off, bool (n,)."""
    return np.asarray(p, dtype=np.float64) >= policy.cutoff


def decide(policy: DecisionPolicy, p: float) -> str:
    """The outcome of one probability: the policy's word for favourable or unfavourable."""
    return policy.unfavourable if p >= policy.cutoff else policy.favourable


@dataclass(frozen=True, slots=True)
class ReasonMap:
    """Which reason code every scored input belongs to.

    Attributes:
        codes: Reason codes, ascending.
        texts: Text of each code, as a customer reads it.
        of_input: Position in ``codes`` of each input, int64 (inputs,); -1 for an input without a code.
        uncovered: Inputs without a code.
        ambiguous: Inputs with more than one code; the first code in order counts.
        unknown: Features named by a reason that the scorer does not use.
    """

    codes: tuple[str, ...]
    texts: tuple[str, ...]
    of_input: NDArray[np.int64]
    uncovered: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def faults(self) -> int:
        """Inputs that do not have exactly one code."""
        return len(self.uncovered) + len(self.ambiguous)


def reason_map(policy: DecisionPolicy, input_names: Sequence[str]) -> ReasonMap:
    """Map the inputs of a scorer to the reason codes of a policy."""
    codes = tuple(sorted(policy.reasons))
    named = [set(policy.reasons[code].features) for code in codes]
    hits = [[k for k, features in enumerate(named) if name in features] for name in input_names]
    return ReasonMap(
        codes=codes,
        texts=tuple(policy.reasons[code].text for code in codes),
        of_input=np.array([found[0] if found else -1 for found in hits], dtype=np.int64),
        uncovered=tuple(name for name, found in zip(input_names, hits, strict=True) if not found),
        ambiguous=tuple(name for name, found in zip(input_names, hits, strict=True) if len(found) > 1),
        unknown=tuple(sorted(set().union(*named) - set(input_names))) if named else (),
    )


def favourable_reference(
    policy: DecisionPolicy, phi: NDArray[np.float64], p: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean contribution of each input over the cases with the favourable outcome, float64 (inputs,).

    Args:
        policy: The decision policy (``reference: mean_favourable``).
        phi: Contributions, float64 (n, inputs).
        p: Calibrated probabilities, float64 (n,).

    Raises:
        ScorerError: If no case is favourable.
    """
    favourable = ~is_unfavourable(policy, p)
    if not favourable.any():
        raise ScorerError(
            "there is no reference for reasons",
            expected=f"at least one case with the outcome '{policy.favourable}'",
            got=f"0 of {favourable.size}",
        )
    return np.asarray(phi[favourable].mean(axis=0), dtype=np.float64)


def reason_totals(phi: NDArray[np.float64], reference: NDArray[np.float64], reasons: ReasonMap) -> NDArray[np.float64]:
    """Worth of each reason: contributions less the reference, summed by code, float64 (n, codes)."""
    worth = np.asarray(phi, dtype=np.float64) - reference
    totals = np.zeros((worth.shape[0], len(reasons.codes)))
    for k, code in enumerate(reasons.of_input):
        if code >= 0:
            totals[:, code] += worth[:, k]
    return totals


def rank_reasons(totals: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Positions of the reasons of each case, worst first, int64 (n, limit); -1 where there is no further reason.

    ``totals`` has one column per code in ascending order of code, so a stable sort breaks ties by code.
    """
    order = np.argsort(-totals, axis=1, kind="stable")[:, :limit]
    ranked = np.where(np.take_along_axis(totals, order, axis=1) > 0.0, order, -1)
    if ranked.shape[1] < limit:
        ranked = np.pad(ranked, ((0, 0), (0, limit - ranked.shape[1])), constant_values=-1)
    return ranked.astype(np.int64)


def reason_codes(contributions: Mapping[str, float], code_of: Mapping[str, str], max_reasons: int) -> tuple[str, ...]:
    """Reason codes of one case, worst first.

    Args:
        contributions: What each input adds to the risk beyond the reference.
        code_of: Reason code of each input.
        max_reasons: Most reasons that are given.

    Returns:
        Codes with a positive total, largest first, equal ones by code; none twice; empty for no adverse factor.

    Raises:
        ScorerError: If an input has no reason code.
    """
    totals: dict[str, float] = {}
    for name, value in contributions.items():
        if name not in code_of:
            raise ScorerError(
                f"input '{name}' has no reason code",
                expected="every scored input under one reason of the decision policy",
                hint="add it to 'reasons' in conf/decision",
            )
        totals[code_of[name]] = totals.get(code_of[name], 0.0) + value
    adverse = sorted((code for code, total in totals.items() if total > 0.0), key=lambda code: (-totals[code], code))
    return tuple(adverse[:max_reasons])


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says about one score.

    Attributes:
        outcome: The policy's word.
        reasons: (code, text) of each reason, worst first; empty when favourable or when nothing is adverse.
    """

    outcome: str
    reasons: tuple[tuple[str, str], ...]

    @property
    def reason_text(self) -> str:
        """The reason texts, or that there is no adverse factor."""
        return "; ".join(text for _, text in self.reasons) or NO_ADVERSE_FACTOR


def decide_with_reasons(
    policy: DecisionPolicy, p: float, phi: NDArray[np.float64], reference: NDArray[np.float64], reasons: ReasonMap
) -> Decision:
    """Outcome of one case, with its reasons where it is unfavourable.

    Args:
        policy: The decision policy.
        p: Calibrated probability.
        phi: Contributions, float64 (inputs,).
        reference: What :func:`favourable_reference` gave when the release was made.
        reasons: What :func:`reason_map` gave.
    """
    outcome = decide(policy, p)
    if outcome == policy.favourable:
        return Decision(outcome, ())
    ranked = rank_reasons(reason_totals(phi[np.newaxis, :], reference, reasons), policy.max_reasons)[0]
    return Decision(outcome, tuple((reasons.codes[k], reasons.texts[k]) for k in ranked if k >= 0))

"""The decision policy: cut-off, reason codes, reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.policy import DecisionPolicy, Reason
from countermark.errors import ScorerError
from countermark.scoring.decision import (
    NO_ADVERSE_FACTOR,
    decide,
    decide_with_reasons,
    favourable_reference,
    is_unfavourable,
    rank_reasons,
    reason_codes,
    reason_map,
    reason_totals,
)
from tests.oracles import oracle

WORKED = oracle("adverse_action_reason_codes")


def _policy(**reasons: tuple[str, ...]) -> DecisionPolicy:
    return DecisionPolicy(
        name="toy",
        version="1",
        cutoff=0.2,
        cutoff_rationale="break-even",
        reasons={code: Reason(text=f"text of {code}", features=features) for code, features in reasons.items()},
    )


def _worked_policy() -> DecisionPolicy:
    found: dict[str, list[str]] = {}
    for feature, code in WORKED.inputs["feature_to_reason"].items():
        found.setdefault(code, []).append(feature)
    return _policy(**{code: tuple(features) for code, features in found.items()})


def test_the_cut_off_belongs_to_the_unfavourable_side() -> None:
    policy = _policy()
    assert [decide(policy, p) for p in (0.1999999, 0.2, 0.9)] == ["approve", "decline", "decline"]
    assert is_unfavourable(policy, np.array([0.1, 0.2])).tolist() == [False, True]


def test_the_worked_reason_codes() -> None:
    given_ = WORKED.inputs
    codes = reason_codes(given_["contributions_to_risk"], given_["feature_to_reason"], given_["max_reasons"])
    assert list(codes) == WORKED.expected["codes"]


def test_the_worked_reason_codes_by_column() -> None:
    names = tuple(WORKED.inputs["contributions_to_risk"])
    phi = np.array([[WORKED.inputs["contributions_to_risk"][name] for name in names]])
    reasons = reason_map(_worked_policy(), names)
    totals = reason_totals(phi, np.zeros(len(names)), reasons)
    for code, total in WORKED.expected["aggregated"].items():
        assert totals[0, reasons.codes.index(code)] == pytest.approx(total, abs=WORKED.tolerance)
    ranked = rank_reasons(totals, 4)[0]
    assert [reasons.codes[k] for k in ranked] == WORKED.expected["codes"]
    decision = decide_with_reasons(_worked_policy(), 0.5, phi[0], np.zeros(len(names)), reasons)
    assert [code for code, _ in decision.reasons] == WORKED.expected["codes"]
    assert decision.reason_text.startswith("text of R06; text of R02")


@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 1)), min_size=6, max_size=6), st.integers(1, 6))
def test_both_roads_agree_and_reasons_are_positive_distinct_and_ordered(values: list[float], limit: int) -> None:
    names = tuple("abcdef")
    code_of = dict(zip(names, ("R1", "R2", "R1", "R3", "R4", "R5"), strict=True))
    policy = _policy(R1=("a", "c"), R2=("b",), R3=("d",), R4=("e",), R5=("f",))
    reasons = reason_map(policy, names)
    totals = reason_totals(np.array([values]), np.zeros(6), reasons)
    ranked = [k for k in rank_reasons(totals, limit)[0] if k >= 0]
    codes = [reasons.codes[k] for k in ranked]
    assert tuple(codes) == reason_codes(dict(zip(names, values, strict=True)), code_of, limit)
    assert len(set(codes)) == len(codes) <= limit
    worth = [totals[0, k] for k in ranked]
    assert all(w > 0 for w in worth)
    assert sorted(zip([-w for w in worth], codes, strict=True)) == list(zip([-w for w in worth], codes, strict=True))


def test_no_adverse_factor() -> None:
    policy = _policy(R1=("a",))
    reasons = reason_map(policy, ("a",))
    decision = decide_with_reasons(policy, 0.9, np.array([0.1]), np.array([0.4]), reasons)
    assert decision.outcome == "decline"
    assert decision.reasons == ()
    assert decision.reason_text == NO_ADVERSE_FACTOR
    assert decide_with_reasons(policy, 0.1, np.array([9.0]), np.array([0.0]), reasons).reasons == ()


def test_the_reference_is_the_mean_of_the_favourable() -> None:
    phi = np.array([[1.0, 0.0], [3.0, 2.0], [50.0, 50.0]])
    np.testing.assert_array_equal(favourable_reference(_policy(), phi, np.array([0.1, 0.19, 0.2])), [2.0, 1.0])
    with pytest.raises(ScorerError, match="no reference for reasons"):
        favourable_reference(_policy(), phi, np.array([0.3, 0.4, 0.2]))


def test_inputs_without_exactly_one_code_are_named() -> None:
    reasons = reason_map(_policy(R2=("a", "ghost"), R1=("a", "b")), ("a", "b", "c"))
    assert reasons.codes == ("R1", "R2")
    assert reasons.of_input.tolist() == [0, 0, -1]
    assert (reasons.uncovered, reasons.ambiguous, reasons.unknown, reasons.faults) == (("c",), ("a",), ("ghost",), 2)
    empty = reason_map(_policy(), ("a",))
    assert empty.unknown == ()
    assert rank_reasons(reason_totals(np.ones((2, 1)), np.zeros(1), empty), 3).tolist() == [[-1, -1, -1]] * 2
    with pytest.raises(ScorerError, match="input 'c' has no reason code"):
        reason_codes({"c": 1.0}, {"a": "R1"}, 3)

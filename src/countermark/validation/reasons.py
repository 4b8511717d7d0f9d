"""G2: the reasons that people are given: do they cover every input, and are they what moved the score?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.intervals import wilson_interval
from countermark.records.evidence import Block, Finding, RegisterRow
from countermark.scoring.decision import (
    ReasonMap,
    favourable_reference,
    is_unfavourable,
    rank_reasons,
    reason_map,
    reason_totals,
)
from countermark.validation import reason_exhibits as exhibits
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import counted, listed, printed, rounded

SECTION = "G2"
TEST = "xai.reason_codes"
_MOST_CASES = 400
_DONORS = 50
_NOISE = 0.01

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Explained:
    """The test sample with its reasons.

    Attributes:
        reasons: Map of inputs to codes.
        totals: Worth of each reason, float64 (n, codes).
        ranked: Positions of the reasons given, int64 (n, max_reasons), -1 for none.
        declined: Cases with the unfavourable outcome, bool (n,).
        reference: Mean contribution of favourable development cases, float64 (inputs,).
        start: Margin of the average favourable case: what the reasons are measured from.
    """

    reasons: ReasonMap
    totals: Floats
    ranked: NDArray[np.int64]
    declined: NDArray[np.bool_]
    reference: Floats
    start: float

    @property
    def unexplained(self) -> int:
        """Declined cases without an adverse factor."""
        return int(np.count_nonzero(self.declined & (self.ranked[:, 0] < 0)))


@dataclass(frozen=True, slots=True)
class Share:
    """Cases for which a statement held, out of those it was checked on."""

    held: int
    checked: int

    @property
    def value(self) -> float | None:
        """Share; None where nothing was checked."""
        return self.held / self.checked if self.checked else None


def reasons(inputs: EvidenceInput) -> SectionEvidence:
    """G2: reason codes of declined cases: coverage, fidelity, stability, frequency, worked cases."""
    mapped = reason_map(inputs.spec.decision_policy, [item.name for item in inputs.scorer.inputs])
    undefined = _undefined(inputs, mapped)
    found = None if undefined is not None else _explain(inputs, mapped)
    fidelity = Share(0, 0) if found is None else _fidelity(inputs, found)
    stability = Share(0, 0) if found is None else _stability(inputs, found)
    rows = (
        _coverage_row(inputs, mapped),
        _share_row(inputs, fidelity, undefined),
        _stability_row(inputs, stability, undefined),
        _unexplained_row(inputs, found, undefined),
    )
    blocks: list[Block] = [*exhibits.policy_blocks(inputs, mapped)]
    if found is not None:
        checks = (("fidelity", fidelity.held, fidelity.checked), ("stability", stability.held, stability.checked))
        blocks += exhibits.case_blocks(inputs, found, checks)
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, mapped, fidelity, undefined),
        would_change=(
            "A scored input without exactly one reason code, or a share of cases below the limit whose risk falls when "
            "the inputs of the top reason are set to those of favourable cases."
        ),
        so_what=_so_what(inputs, found),
        rows=rows,
        blocks=tuple(blocks),
        findings=_findings(inputs, found),
        extras={
            "fidelity": rounded(fidelity.value),
            "stability": rounded(stability.value),
            "uncovered": list(mapped.uncovered),
            "unexplained": None if found is None else found.unexplained,
        },
    )


def _undefined(inputs: EvidenceInput, mapped: ReasonMap) -> str | None:
    policy, development = inputs.spec.decision_policy, inputs.samples["development"]
    if not mapped.codes:
        return "the decision policy declares no reasons"
    if not inputs.test.n:
        return "the test sample has no rows"
    if not development.n or bool(is_unfavourable(policy, development.p).all()):
        return f"no development case has the outcome '{policy.favourable}', so there is no reference"
    return None


def _explain(inputs: EvidenceInput, mapped: ReasonMap) -> Explained:
    policy, development, test = inputs.spec.decision_policy, inputs.samples["development"], inputs.test
    before, base = inputs.scorer.contributions(development.features)
    reference = favourable_reference(policy, before, development.p)
    phi, _ = inputs.scorer.contributions(test.features)
    totals = reason_totals(phi, reference, mapped)
    ranked = rank_reasons(totals, policy.max_reasons)
    return Explained(mapped, totals, ranked, is_unfavourable(policy, test.p), reference, base + float(reference.sum()))


def _drawn(chosen: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """The chosen rows, or a seeded draw of them in their order."""
    at = np.flatnonzero(chosen)
    if at.size <= _MOST_CASES:
        return at
    return np.sort(np.random.default_rng(seed).choice(at, _MOST_CASES, replace=False))


def _fidelity(inputs: EvidenceInput, found: Explained) -> Share:
    """Declined cases whose risk falls when the inputs of their top reason come from favourable cases instead."""
    test = inputs.test
    cases = _drawn(found.declined & (found.ranked[:, 0] >= 0), inputs.spec.seed)
    donors = _donors(inputs)
    held = 0
    for code in range(len(found.reasons.codes)):
        own = cases[found.ranked[cases, 0] == code]
        if not own.size:
            continue
        swapped: Columns = {}
        for k, item in enumerate(inputs.scorer.inputs):
            if found.reasons.of_input[k] == code:
                swapped[item.name] = np.tile(donors[item.name], own.size)
            else:
                swapped[item.name] = np.repeat(test.features[item.name][own], _DONORS)
        margin = inputs.scorer.margin(swapped).reshape(own.size, _DONORS).mean(axis=1)
        held += int(np.count_nonzero(margin < test.margin[own]))
    return Share(held, int(cases.size))


def _donors(inputs: EvidenceInput) -> Columns:
    """Inputs of favourable development cases, drawn with a seed."""
    development: Sample = inputs.samples["development"]
    favourable = np.flatnonzero(~is_unfavourable(inputs.spec.decision_policy, development.p))
    at = np.random.default_rng(inputs.spec.seed).choice(favourable, _DONORS, replace=True)
    return {item.name: development.features[item.name][at] for item in inputs.scorer.inputs}


def _stability(inputs: EvidenceInput, found: Explained) -> Share:
    """Declined cases whose top reason stays under normal noise of 1 % of each numeric input's standard deviation."""
    cases = _drawn(found.declined, inputs.spec.seed)
    if not cases.size:
        return Share(0, 0)
    rng = np.random.default_rng(inputs.spec.seed)
    noisy: Columns = {}
    for item in inputs.scorer.inputs:
        values = inputs.test.features[item.name][cases]
        if item.type == "numeric":
            known = inputs.samples["development"].features[item.name]
            known = known[~np.isnan(known)]
            spread = float(known.std()) if known.size else 0.0
            values = values + _NOISE * spread * rng.normal(size=cases.size)
        noisy[item.name] = values
    phi, _ = inputs.scorer.contributions(noisy)
    ranked = rank_reasons(reason_totals(phi, found.reference, found.reasons), 1)
    return Share(int(np.count_nonzero(ranked[:, 0] == found.ranked[cases, 0])), int(cases.size))


def _thin(inputs: EvidenceInput, checked: int, undefined: str | None) -> str | None:
    least = inputs.spec.policy.minimum_group
    if undefined is not None or checked >= least:
        return undefined
    outcome = inputs.spec.decision_policy.unfavourable
    return f"{counted(checked, 'case')} with the outcome '{outcome}'; the policy asks for {least}"


def _coverage_row(inputs: EvidenceInput, mapped: ReasonMap) -> RegisterRow:
    return inputs.row(Statistic(
        TEST, SECTION, "Scored inputs without exactly one reason code", sample=inputs.test.role, n=inputs.test.n,
        segment="coverage", value=float(mapped.faults), limit="xai.reason_coverage", fmt="int",
    ))  # fmt: skip


def _share_row(inputs: EvidenceInput, fidelity: Share, undefined: str | None) -> RegisterRow:
    interval = wilson_interval(fidelity.checked, fidelity.held, confidence=inputs.spec.policy.confidence).interval
    return inputs.row(Statistic(
        TEST, SECTION, "Cases whose risk falls when their top reason is set to the reference",
        sample=inputs.test.role, n=fidelity.checked, segment="fidelity", value=fidelity.value, interval=interval,
        ci_method="Wilson", limit="xai.reason_fidelity", undefined=_thin(inputs, fidelity.checked, undefined),
        seed=inputs.spec.seed, fmt="share",
    ))  # fmt: skip


def _stability_row(inputs: EvidenceInput, stability: Share, undefined: str | None) -> RegisterRow:
    interval = wilson_interval(stability.checked, stability.held, confidence=inputs.spec.policy.confidence).interval
    return inputs.row(Statistic(
        TEST, SECTION, "Cases whose top reason stays under 1 % noise", sample=inputs.test.role, n=stability.checked,
        segment="stability", value=stability.value, interval=interval, ci_method="Wilson",
        undefined=_thin(inputs, stability.checked, undefined), gating=False, seed=inputs.spec.seed, fmt="share",
    ))  # fmt: skip


def _unexplained_row(inputs: EvidenceInput, found: Explained | None, undefined: str | None) -> RegisterRow:
    n = 0 if found is None else int(np.count_nonzero(found.declined))
    return inputs.row(Statistic(
        TEST, SECTION, "Cases with the unfavourable outcome and no adverse factor", sample=inputs.test.role, n=n,
        segment="no adverse factor", value=None if found is None else float(found.unexplained),
        undefined=undefined, gating=False, fmt="int",
    ))  # fmt: skip


def _conclusion(inputs: EvidenceInput, mapped: ReasonMap, fidelity: Share, undefined: str | None) -> str:
    names = listed([f"'{name}'" for name in (*mapped.uncovered, *mapped.ambiguous)])
    fault = f"{counted(mapped.faults, 'scored input')} without exactly one reason code ({names})"
    thin = _thin(inputs, fidelity.checked, undefined)
    if thin is not None:
        start = f"There is {fault}; whether" if mapped.faults else "Whether"
        return f"{start} the reasons are what moved the score was not evaluated: {thin}."
    checked = (
        f"setting the top reason to the reference lowers the risk in {printed(fidelity.value, 'share')} of "
        f"{counted(fidelity.checked, 'case')}"
    )
    if mapped.faults:
        return f"There is {fault}; {checked}."
    return f"Every scored input has exactly one reason code, and {checked}."


def _so_what(inputs: EvidenceInput, found: Explained | None) -> str:
    policy = inputs.spec.decision_policy
    if found is None or not found.declined.any():
        return f"No case of the sample has the outcome '{policy.unfavourable}', so nobody would be given a reason."
    top = found.ranked[found.declined, 0]
    counts = np.bincount(top[top >= 0], minlength=len(found.reasons.codes))
    k = int(np.argmax(counts))
    share = float(counts[k]) / float(np.count_nonzero(found.declined))
    return (
        f"The reason given first most often is {found.reasons.codes[k]} ('{found.reasons.texts[k]}'), to "
        f"{printed(share, 'share')} of the {counted(int(found.declined.sum()), 'case')} with the outcome "
        f"'{policy.unfavourable}': its text has to be right before any other."
    )


def _findings(inputs: EvidenceInput, found: Explained | None) -> tuple[Finding, ...]:
    if found is None or not found.unexplained:
        return ()
    return (
        Finding(
            id="G2-no-adverse-factor",
            severity="medium" if inputs.gates(TEST) else "low",
            section=SECTION,
            evidence_id=f"{TEST}|{inputs.test.role}|no adverse factor",
            fact=f"{counted(found.unexplained, 'case')} with the outcome "
            f"'{inputs.spec.decision_policy.unfavourable}' and no "
            "reason above the reference.",
            why="A person who is declined would be told that there is no adverse factor.",
            recommendation="Review the reference and the reasons that hold several inputs; decide these cases by hand.",
            opened=inputs.spec.as_of,
        ),
    )

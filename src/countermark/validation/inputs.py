"""What every section of evidence is computed from, and the one way to make a register row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec
from countermark.errors import EvidenceError
from countermark.records.digest import round_significant
from countermark.records.evidence import Block, Finding, Format, RegisterRow, SampleRole
from countermark.records.lights import Light
from countermark.records.limits import AnyLimit, Verdict, judge
from countermark.scoring.frozen import FrozenScorer

EVIDENCE_DIGITS = 9
"""Significant digits of every number that enters evidence: last bits differ between processors."""
_OUTSIDE: tuple[SampleRole, ...] = ("holdout", "out_of_time")


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample with its scores.

    Attributes:
        role: ``development`` (fitted on), ``calibration``, ``holdout``, ``out_of_time``.
        label: Name printed in captions.
        y: Outcome, int8 (n,), 1 = event; realised amount, float64 (n,), of a sample of amounts.
        margin: Raw score, float64 (n,), higher is riskier.
        p: Calibrated probability, float64 (n,); the estimate of a sample of amounts.
        grade: Grade index, int64 (n,), 0 = best; pool index, 0 = lowest, of a sample of amounts.
        grade_pd: PD of each grade, float64 (g,); value of each pool.
        grade_names: Name of each grade.
        features: Model inputs as the scorer takes them: float64 with NaN, or object (str or None).
        segments: Segment columns, object (n,), text or None.
        time: Observation dates, datetime64[D] (n,), or None.
        vintage: Cohort label per row (text, sorts in time), or None.
        entity: Entity key per row, or None.
        protected: Group name per row for each protected attribute, object (n,).
        challenger_margin: Margin of the challenger on the same rows, or None.
        challenger_p: Probability of the challenger on the same rows, or None.
        amounts: The outcome is an amount or a share, so no row is an event.
    """

    role: SampleRole
    label: str
    y: NDArray[Any]
    margin: NDArray[np.float64]
    p: NDArray[np.float64]
    grade: NDArray[np.int64]
    grade_pd: NDArray[np.float64]
    grade_names: tuple[str, ...]
    features: Mapping[str, NDArray[Any]]
    segments: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    time: NDArray[np.datetime64] | None = None
    vintage: NDArray[np.object_] | None = None
    entity: NDArray[np.object_] | None = None
    protected: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    challenger_margin: NDArray[np.float64] | None = None
    challenger_p: NDArray[np.float64] | None = None
    amounts: bool = False

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.y.size)

    @property
    def events(self) -> int:
        """Rows with the event; none of them is one where the outcome is an amount."""
        return 0 if self.amounts else int(np.count_nonzero(self.y))


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic as a section found it, before it is judged.

    Attributes:
        test_id: Id of section 3 of the validation standard, such as ``cal.jeffreys``.
        section: Section code, such as ``E2``.
        label: What is measured, for a reader.
        sample: Role or name of the sample.
        n: Rows behind it.
        events: Events among them.
        value: The statistic. None if undefined; then give ``undefined``.
        limit: Key into ``policy.limits``; None makes the row Information (or Not evaluated when ``undefined`` is
            given).
        judged: The number to judge when it is not ``value`` (a p-value, an interval end).
        segment: Segment, group, grade or input; ``all`` otherwise.
        interval: Interval of ``value``; judged too unless ``judge_interval`` is False or ``judged`` is given.
        judge_interval: Whether the interval decides with the value.
        ci_method: Method of the interval.
        h0: Null hypothesis.
        alternative: Alternative.
        effect: Size of the effect.
        df: Degrees of freedom.
        p_raw: p-value.
        p_adj: p-value after adjustment for the number of tests.
        power: Power against ``power_alternative``.
        power_alternative: What the power is against.
        material: Whether the effect is large enough to matter; None where that is not asked.
        undefined: Why there is no value, or why it is not judged.
        gating: Override of the policy's gating table for rows that never gate (raw grades, segments); None follows the
            table.
        seed: Seed of a resampled figure.
        fmt: How the value is printed.
    """

    test_id: str
    section: str
    label: str
    _: KW_ONLY
    sample: str
    n: int
    events: int | None = None
    value: float | None
    limit: str | None = None
    judged: float | None = None
    segment: str = "all"
    interval: tuple[float, float] | None = None
    judge_interval: bool = True
    ci_method: str | None = None
    h0: str | None = None
    alternative: str | None = None
    effect: float | None = None
    df: float | None = None
    p_raw: float | None = None
    p_adj: float | None = None
    power: float | None = None
    power_alternative: str | None = None
    material: bool | None = None
    undefined: str | None = None
    gating: bool | None = None
    seed: int | None = None
    fmt: Format = "number"


def _verdict(found: Statistic, declared: AnyLimit | None) -> Verdict:
    if declared is None:
        if found.undefined is None:
            return Verdict(Light.INFORMATION, "no limit set", None)
        return Verdict(Light.NOT_EVALUATED, "undefined or too few observations", found.undefined)
    return judge(
        declared,
        _clean(found.value if found.judged is None else found.judged),
        interval=found.interval if found.judge_interval and found.judged is None else None,
        power=found.power,
        material=found.material,
        undefined=found.undefined,
    )


@dataclass(frozen=True, slots=True)
class Register:
    """Where a statistic is judged under a spec's policy and recorded. Knows no sample, so that the pack can use it too.

    Attributes:
        spec: The resolved model spec.
        data_hash: Content digest of the modelling data set.
        semantics: Semantics versions and numeric libraries, as compiled.
        previous: Parsed baseline of the last published release, or None at first validation.
    """

    spec: ModelSpec
    data_hash: str
    semantics: Mapping[str, str]
    previous: Mapping[str, Any] | None

    def gates(self, test_id: str) -> bool:
        """Whether the policy makes this test gating for this model."""
        rule = self.spec.policy.gating.get(test_id)
        if rule is None or self.spec.kind not in rule.kinds:
            return False
        match rule.when:
            case "always":
                return True
            case "natural_persons":
                return self.spec.purpose.natural_persons
            case "can_decline":
                return self.spec.purpose.can_decline
            case "direction_declared":
                return any(f.expected != "none" for f in self.spec.features.values())

    def row(self, found: Statistic) -> RegisterRow:
        """Judge one statistic under the policy and record it.

        Raises:
            EvidenceError: If the policy has no such limit.
        """
        policy = self.spec.policy
        declared = None if found.limit is None else self._limit(found.limit)
        low, high = found.interval if found.interval is not None else (None, None)
        verdict = _verdict(found, declared)
        return RegisterRow(
            test_id=found.test_id,
            section=found.section,
            kind=self.spec.kind,
            segment=found.segment,
            sample=found.sample,
            n=found.n,
            events=None if self.spec.is_amount else found.events,
            statistic=_clean(found.value),
            effect=_clean(found.effect),
            ci_low=_clean(low),
            ci_high=_clean(high),
            ci_method=found.ci_method if found.interval is not None else None,
            h0=found.h0,
            alternative=found.alternative,
            df=_clean(found.df),
            p_raw=_clean(found.p_raw),
            p_adj=_clean(found.p_adj),
            power=_clean(found.power),
            power_alternative=found.power_alternative,
            light=verdict.light,
            light_rule=verdict.rule,
            threshold=None if declared is None else declared.text,
            threshold_source=None if declared is None else declared.source,
            policy_version=policy.version,
            previous_value=self._previous(found.test_id, found.sample, found.segment),
            n_reason=verdict.reason,
            data_hash=self.data_hash,
            semantics_ref=",".join(f"{k}={v}" for k, v in sorted(self.semantics.items())),
            seed=found.seed,
            gating=self.gates(found.test_id) if found.gating is None else found.gating,
            label=found.label,
            format=found.fmt,
        )

    def _limit(self, name: str) -> AnyLimit:
        policy = self.spec.policy
        if name not in policy.limits:
            raise EvidenceError(
                f"policy '{policy.name}' has no limit '{name}'",
                expected="one of: " + ", ".join(sorted(policy.limits)),
                hint=f"add it under 'limits' in conf/policy/{policy.name}.yaml",
            )
        return policy.limits[name]

    def _previous(self, test_id: str, sample: str, segment: str) -> float | None:
        if self.previous is None:
            return None
        value = self.previous.get("rows", {}).get(f"{test_id}|{sample}|{segment}")
        return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class EvidenceInput(Register):
    """Everything a section may look at. Sections read; they never write to these arrays.

    Attributes:
        samples: By role. ``development`` is always present; tests run on :attr:`test`.
        scorer: The frozen scorer.
        challenger: The frozen challenger, if the spec declares one.
        contract: Parsed ``contract.json`` (layout in the contracts room).
        dataset: Parsed ``dataset.json`` (layout in the features room).
        training: Parsed ``training.json`` (layout in the training room).
    """

    samples: Mapping[str, Sample]
    scorer: FrozenScorer
    challenger: FrozenScorer | None
    contract: Mapping[str, Any]
    dataset: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def test(self) -> Sample:
        """The sample that gates: out-of-time where there is one, else hold-out."""
        for role in ("out_of_time", "holdout"):
            if role in self.samples:
                return self.samples[role]
        raise EvidenceError("there is no test sample", expected="'out_of_time' or 'holdout'")

    @property
    def outside(self) -> tuple[Sample, ...]:
        """The samples that nothing was fitted on: hold-out and out-of-time, where there are such."""
        return tuple(self.samples[role] for role in _OUTSIDE if role in self.samples)


@dataclass(frozen=True, slots=True)
class SectionEvidence:
    """What one section function returns. The light is not its to say: the gating rows decide.

    Attributes:
        code: Section code, such as ``E1``.
        conclusion: One sentence with the key number; limits before strengths.
        would_change: What would change the light.
        so_what: What it means for the decision.
        rows: Register rows.
        blocks: Tables, figures, paragraphs in reading order.
        findings: Findings raised by this section.
        applicable: False prints one line ("Not applicable to this kind, because ...").
        extras: Values other sections and page 2 use, by name.
    """

    code: str
    conclusion: str
    would_change: str | None = None
    so_what: str | None = None
    rows: tuple[RegisterRow, ...] = ()
    blocks: tuple[Block, ...] = ()
    findings: tuple[Finding, ...] = ()
    applicable: bool = True
    extras: Mapping[str, Any] = field(default_factory=dict)


def evidence_number(value: float) -> float:
    """Round a number to the digits that evidence keeps."""
    return round_significant(float(value), EVIDENCE_DIGITS)


def _clean(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return evidence_number(value)

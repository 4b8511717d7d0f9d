"""F1: who gets the favourable outcome, at the cut-off in use and around it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from countermark.metrics.fairness import (
    ImpactRatio,
    MeanDifference,
    absolute_interval,
    adverse_impact_ratio,
    standardised_mean_difference,
)
from countermark.metrics.intervals import wilson_interval
from countermark.records.evidence import Block, Figure, ReferenceLine, RegisterRow, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.records.limits import AnyLimit, judge
from countermark.validation.groups import (
    Group,
    Mask,
    empty_attribute_rows,
    favourable,
    groups_of,
    left_open,
    provenance,
    without_attributes,
)
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.sentences import (
    between,
    columns,
    counted,
    described,
    level,
    listed,
    printed,
    rounded,
    sentence,
    with_interval,
    with_light,
)
from countermark.validation.series import estimates

SECTION = "F1"
TESTS = {"fair.air": "Adverse impact ratio", "fair.smd": "Standardised mean difference of the score"}
_AROUND = ((0.95, "cut-off -5 %"), (1.05, "cut-off +5 %"))
_CURVES = 6


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """A group with its disparity at the cut-off in use."""

    group: Group
    ratio: ImpactRatio
    score: MeanDifference
    air_row: RegisterRow
    smd_row: RegisterRow


def outcome_disparity(inputs: EvidenceInput) -> SectionEvidence:
    """F1: adverse impact ratios with intervals at the cut-off in use and at 5 % either side, and score differences."""
    if inputs.spec.fairness is None:
        return without_attributes(
            inputs, SECTION, TESTS, "Who gets the favourable outcome",
            "Nothing in this pack shows that groups of people are treated alike; absence of data is no such evidence.",
        )  # fmt: skip
    outcomes = tuple(_outcome(inputs, group) for group in groups_of(inputs, inputs.test))
    absent = empty_attribute_rows(inputs, SECTION, TESTS)
    mirrored = tuple(row for o in outcomes if (row := _mirrored_row(inputs, o)) is not None)
    around = tuple(
        _air_row(inputs, o.group, air_of(inputs, o.group, factor), f"{inputs.test.role}, {name}", gating=False)
        for factor, name in _AROUND
        for o in outcomes
    )
    rows = (*(o.air_row for o in outcomes), *(o.smd_row for o in outcomes), *absent, *mirrored, *around)
    blocks: list[Block] = [_selection_table(inputs, outcomes)]
    if any(o.air_row.statistic is not None for o in outcomes):
        blocks += [_forest(inputs, outcomes), _cutoff_table(inputs, outcomes, around), _cutoff_curve(inputs, outcomes)]
    blocks += [_score_table(inputs, outcomes), provenance(inputs, "F1-T4")]
    worst = _worst(outcomes)
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, outcomes, worst, absent),
        would_change=(
            f"An adverse impact ratio outside its limits ({inputs.spec.policy.limits['fair.air'].text}) with an "
            "interval that excludes parity; it is a screening ratio and no legal threshold for lending."
        ),
        so_what=(
            f"A ratio below one means that fewer of the group than of its reference group get the outcome "
            f"'{inputs.spec.decision_policy.favourable}'; whether the difference is justified is a question of F2, F3 "
            "and law."
        ),
        rows=rows,
        blocks=tuple(blocks),
        extras={"evaluated": worst is not None, "worst_air": None if worst is None else _as_extra(worst)},
    )


def air_of(inputs: EvidenceInput, group: Group, factor: float = 1.0) -> ImpactRatio:
    """Adverse impact ratio of a group at the cut-off in use times a factor."""
    chosen = favourable(inputs, inputs.test, factor)
    limit = inputs.spec.policy.limits["fair.air"]
    return adverse_impact_ratio(
        _count(chosen & group.member),
        _count(group.member),
        _count(chosen & group.reference),
        _count(group.reference),
        screening_ratio=limit.fail if limit.kind == "lower" else 0.8,
        confidence=inputs.spec.policy.confidence,
    )


def straddles(limit: AnyLimit, value: float, interval: tuple[float, float]) -> bool:
    """Whether the interval of a ratio is to be judged beside its point.

    The standard's rule for ratios: Pass where the point meets the limit and the interval stays clear of the fail
    region; Fail where the point fails and the interval excludes parity; Watch between. The general interval rule
    is the same but for one case: a failing point whose interval reaches the pass region without reaching parity.
    There the point alone decides.
    """
    failing = judge(limit, value).light is Light.FAIL
    return not (failing and not interval[0] <= 1.0 <= interval[1])


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _outcome(inputs: EvidenceInput, group: Group) -> GroupOutcome:
    test = inputs.test
    ratio = air_of(inputs, group)
    score = standardised_mean_difference(
        test.margin[group.member], test.margin[group.reference], confidence=inputs.spec.policy.confidence
    )
    undefined = group.thin or score.reason
    smd_row = inputs.row(Statistic(
        "fair.smd", SECTION, f"Score of {group.name} against {group.reference_name} in standard deviations",
        sample=test.role, n=group.n, events=_count(group.member & (test.y == 1)), segment=group.segment,
        value=None if undefined or score.pooled is None else abs(score.pooled),
        effect=None if undefined else score.pooled,
        interval=None if undefined else absolute_interval(score.interval), ci_method="Hedges-Olkin, pooled sd",
        h0="equal mean scores", p_raw=score.p_welch, limit="fair.smd", undefined=undefined,
        gating=group.gating(undefined), fmt="ratio",
    ))  # fmt: skip
    return GroupOutcome(group, ratio, score, _air_row(inputs, group, ratio, test.role), smd_row)


def _air_row(
    inputs: EvidenceInput, group: Group, ratio: ImpactRatio, sample: str, *, gating: bool | None = None
) -> RegisterRow:
    test = inputs.test
    undefined = group.thin or ratio.reason
    value, interval = (None, None) if undefined else (ratio.value, ratio.interval)
    both = value is None or interval is None or straddles(inputs.spec.policy.limits["fair.air"], value, interval)
    small = min(ratio.n) < 100
    return inputs.row(Statistic(
        "fair.air", SECTION, f"Adverse impact ratio of {group.name} against {group.reference_name}",
        sample=sample, n=group.n, events=_count(group.member & (test.y == 1)), segment=group.segment,
        value=value, interval=interval, judge_interval=both, ci_method=ratio.interval_method,
        h0="equal selection rates (ratio 1)", p_raw=ratio.p_fisher if small else ratio.p_value, limit="fair.air",
        undefined=undefined, gating=group.gating(undefined) if gating is None else gating, fmt="ratio",
    ))  # fmt: skip


def _mirrored_row(inputs: EvidenceInput, outcome: GroupOutcome) -> RegisterRow | None:
    """The same ratio read from the other side, where the reference group is the one selected less."""
    value, interval, group = outcome.ratio.value, outcome.ratio.interval, outcome.group
    if group.thin is not None or value is None or value <= 1.0 or interval is None:
        return None
    return inputs.row(Statistic(
        "fair.air", SECTION, f"Upper side of the ratio: reference group {group.reference_name} against {group.name}",
        sample=inputs.test.role, n=group.n, segment=f"{group.segment}, upper side", value=value, interval=interval,
        judge_interval=straddles(inputs.spec.policy.limits["fair.air_upper"], value, interval),
        ci_method=outcome.ratio.interval_method, limit="fair.air_upper", gating=False, fmt="ratio",
    ))  # fmt: skip


def _worst(outcomes: Sequence[GroupOutcome]) -> GroupOutcome | None:
    judged = [o for o in outcomes if o.air_row.statistic is not None]
    return min(judged, key=lambda o: (o.air_row.statistic or 0.0, o.group.segment), default=None)


def _as_extra(worst: GroupOutcome) -> dict[str, Any]:
    row = worst.air_row
    return {
        "attribute": worst.group.attribute,
        "group": worst.group.name,
        "reference": worst.group.reference_name,
        "value": row.statistic,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "ci_method": row.ci_method,
        "n": worst.group.n,
        "n_reference": _count(worst.group.reference),
        "light": row.light.value,
    }


def _selection_table(inputs: EvidenceInput, outcomes: Sequence[GroupOutcome]) -> Table:
    test, confidence = inputs.test, inputs.spec.policy.confidence
    chosen = favourable(inputs, test)
    rows: list[dict[str, Scalar]] = []
    seen: set[str] = set()
    for o in outcomes:
        if o.group.attribute not in seen:
            seen.add(o.group.attribute)
            rows.append(
                _rate_row(
                    o.group.attribute, f"{o.group.reference_name} (reference)", o.group.reference, chosen, confidence
                )
            )
        row = _rate_row(o.group.attribute, o.group.name, o.group.member, chosen, confidence)
        judged = o.air_row.statistic is not None
        rows.append(
            row
            | {
                "air": o.air_row.statistic,
                "air_interval": between(o.ratio.interval, "ratio") if judged else "–",
                "short": o.ratio.shortfall if judged else None,
                "light": o.air_row.light.value,
            }
        )
    share = float(chosen.mean()) if test.n else None
    return Table(
        id="F1-T1",
        caption=(
            f"{printed(share, 'share')} of all get '{inputs.spec.decision_policy.favourable}' below the cut-off "
            f"{printed(inputs.spec.decision_policy.cutoff, 'share')}; rates by group with "
            f"{level(inputs.spec.policy)} Wilson "
            f"intervals, 'short' is selections missing to the screening ratio ({described(test)})."
        ),
        columns=columns(
            ("group", "Group", "text"), ("n", "n", "int"), ("rate", "Rate", "share"),
            ("interval", "Interval", "text"), ("air", "AIR", "ratio"), ("air_interval", "Interval of AIR", "text"),
            ("short", "Short", "int"), ("light", "Light", "light"),
        ),
        rows=tuple(rows),
        empty="No group can be compared.",
    )  # fmt: skip


def _rate_row(attribute: str, name: str, member: Mask, chosen: Mask, confidence: float) -> dict[str, Scalar]:
    n, selected = _count(member), _count(member & chosen)
    found = wilson_interval(n, selected, confidence=confidence)
    return {
        "group": f"{attribute}: {name}",
        "n": n,
        "rate": rounded(found.rate),
        "interval": between(found.interval, "share"),
        "air": None,
        "air_interval": "",
        "short": None,
        "light": None,
    }


def _forest(inputs: EvidenceInput, outcomes: Sequence[GroupOutcome]) -> Figure:
    judged = [o for o in outcomes if o.air_row.statistic is not None]
    worst = min(judged, key=lambda o: o.air_row.statistic or 0.0)
    thin = len(outcomes) - len(judged)
    limit = inputs.spec.policy.limits["fair.air"]
    lines = [ReferenceLine(axis="x", value=1.0, label="parity")]
    if limit.kind == "lower":
        lines.append(ReferenceLine(axis="x", value=limit.fail, label=f"screening ratio {limit.fail:g}"))
    return Figure(
        id="F1-F1",
        chart="forest",
        caption=(
            f"{worst.group.name} has the lowest ratio, "
            f"{with_interval(worst.air_row.statistic, worst.ratio.interval, 'ratio')} against "
            f"{worst.group.reference_name}; bars are {level(inputs.spec.policy)} intervals"
            f"{f', {thin} too small to judge' if thin else ''} ({described(inputs.test)})."
        ),
        alt=(
            f"Adverse impact ratios of {counted(len(judged), 'group')} with intervals against parity. "
            + "; ".join(
                f"{o.group.segment} {with_interval(o.air_row.statistic, o.ratio.interval, 'ratio')}" for o in judged[:6]
            )
            + "."
        ),
        y_label="Adverse impact ratio",
        y_format="ratio",
        series=(
            estimates(
                "AIR",
                [o.group.label for o in judged],
                [o.air_row.statistic for o in judged],
                [o.ratio.interval for o in judged],
                role="group",
                n=[o.group.n for o in judged],
            ),
        ),
        lines=tuple(lines),
    )


def _cutoff_table(inputs: EvidenceInput, outcomes: Sequence[GroupOutcome], around: Sequence[RegisterRow]) -> Table:
    by_key = {(row.segment, row.sample.rpartition(", ")[2]): row for row in around}
    rows: list[dict[str, Scalar]] = []
    for o in outcomes:
        entries = {"in use": o.air_row} | {name: by_key[o.group.segment, name] for _, name in _AROUND}
        row: dict[str, Scalar] = {"group": o.group.label, "n": o.group.n}
        for key, name in (("low", _AROUND[0][1]), ("use", "in use"), ("high", _AROUND[1][1])):
            found = entries[name]
            ends = None if found.ci_low is None or found.ci_high is None else (found.ci_low, found.ci_high)
            row |= {key: found.statistic, f"{key}_interval": between(ends, "ratio")}
        rows.append(row)
    moved = [
        o.group.name for o in outcomes if {by_key[o.group.segment, n].light for _, n in _AROUND} - {o.air_row.light}
    ]
    claim = f"The light of {listed(moved)} changes" if moved else "No light changes"
    return Table(
        id="F1-T2",
        caption=f"{claim} when the cut-off moves by 5 % of its value ({described(inputs.test)}).",
        columns=columns(
            ("group", "Group", "text"), ("n", "n", "int"), ("low", "AIR at −5 %", "ratio"),
            ("low_interval", "Interval", "text"), ("use", "AIR in use", "ratio"), ("use_interval", "Interval", "text"),
            ("high", "AIR at +5 %", "ratio"), ("high_interval", "Interval", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _cutoff_curve(inputs: EvidenceInput, outcomes: Sequence[GroupOutcome]) -> Figure:
    """AIR of the judged groups over cut-offs from the 5 % to the 95 % quantile of the probability."""
    test = inputs.test
    judged = [o for o in outcomes if o.air_row.statistic is not None]
    shown = sorted(judged, key=lambda o: (o.air_row.statistic or 0.0, o.group.segment))[:_CURVES]
    ordered = np.sort(test.p)
    cuts = np.unique(ordered[np.arange(1, 20) * test.n // 20])
    series = []
    for o in shown:
        mine, theirs = np.sort(test.p[o.group.member]), np.sort(test.p[o.group.reference])
        rate = np.searchsorted(mine, cuts, side="left") / mine.size
        base = np.searchsorted(theirs, cuts, side="left") / theirs.size
        ratio = [float(a / b) if b > 0 else None for a, b in zip(rate, base, strict=True)]
        series.append(
            Series(
                name=o.group.label, role="group", mark="line",
                x=tuple(rounded(float(c)) or 0.0 for c in cuts), y=tuple(rounded(v) for v in ratio),
            )
        )  # fmt: skip
    first = series[0]
    ends = [v for v in first.y if v is not None]
    claim = (
        f"{shown[0].group.name}: the ratio goes from {printed(ends[0], 'ratio')} at strict to "
        f"{printed(ends[-1], 'ratio')} at lenient cut-offs"
        if ends
        else "No cut-off selects anyone of the reference group"
    )
    return Figure(
        id="F1-F2",
        chart="xy",
        caption=f"{claim}; the cut-off in use is marked ({described(test)}).",
        alt=f"Adverse impact ratio against the cut-off, {counted(len(series), 'group')}. {claim}.",
        x_label="Cut-off (probability)",
        y_label="Adverse impact ratio",
        x_format="share",
        series=tuple(series),
        lines=(
            ReferenceLine(axis="y", value=1.0, label="parity"),
            ReferenceLine(axis="x", value=rounded(inputs.spec.decision_policy.cutoff), label="cut-off in use"),
        ),
    )


def _score_table(inputs: EvidenceInput, outcomes: Sequence[GroupOutcome]) -> Table:
    judged = [o for o in outcomes if o.smd_row.statistic is not None]
    top = max(judged, key=lambda o: o.smd_row.statistic or 0.0, default=None)
    claim = (
        "No score difference could be judged"
        if top is None
        else f"Scores differ most for {top.group.name}, by {printed(top.smd_row.effect, 'ratio')} standard deviations"
    )
    return Table(
        id="F1-T3",
        caption=f"{claim}; positive is riskier than the reference group ({described(inputs.test)}).",
        columns=columns(
            ("group", "Group", "text"), ("n", "n", "int"), ("pooled", "Difference (pooled sd)", "ratio"),
            ("interval", "Interval", "text"), ("total", "Difference (all-applicant sd)", "ratio"),
            ("p", "p (Welch)", "pvalue"), ("light", "Light", "light"),
        ),
        rows=tuple(
            {
                "group": o.group.label,
                "n": o.group.n,
                "pooled": o.smd_row.effect,
                "interval": between(o.score.interval, "ratio") if o.smd_row.statistic is not None else "–",
                "total": rounded(o.score.total) if o.smd_row.statistic is not None else None,
                "p": o.smd_row.p_raw,
                "light": o.smd_row.light.value,
            }
            for o in outcomes
        ),
        empty="No group can be compared.",
    )  # fmt: skip


def _conclusion(
    inputs: EvidenceInput,
    outcomes: Sequence[GroupOutcome],
    worst: GroupOutcome | None,
    absent: Sequence[RegisterRow],
) -> str:
    thin = [o.group.segment for o in outcomes if o.air_row.statistic is None]
    parts = left_open(absent, thin, "persons")
    if worst is not None:
        parts.append(
            f"the lowest adverse impact ratio is {printed(worst.air_row.statistic, 'ratio')} "
            f"({level(inputs.spec.policy)} interval {between(worst.ratio.interval, 'ratio')}), {worst.group.name} "
            f"against {worst.group.reference_name}, n = {printed(worst.group.n, 'int')}"
        )
        apart = with_light([o.smd_row for o in outcomes], Light.FAIL)
        if apart:
            far = [f"{r.segment} by {printed(r.statistic, 'ratio')} standard deviations" for r in apart]
            # What fails comes before what is only to watch.
            parts.insert(0, f"mean scores differ beyond the limit for {listed(far)}")
    return sentence(parts) if parts else "No group could be compared."

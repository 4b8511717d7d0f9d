"""F2: are people who deserve the same outcome treated the same, whatever their group?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from countermark.metrics.fairness import ErrorParity, RateDifference, absolute_interval, error_parity
from countermark.metrics.intervals import wilson_interval
from countermark.records.evidence import Block, Figure, Paragraph, ReferenceLine, RegisterRow, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.validation.groups import (
    Group,
    Mask,
    empty_attribute_rows,
    favourable,
    groups_of,
    left_open,
    without_attributes,
)
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.phrasing import limit_phrase
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
    with_light,
)
from countermark.validation.series import estimates

SECTION = "F2"
TESTS = {"fair.equal_opportunity": "Equal opportunity", "fair.equalized_odds": "Equalised odds"}
SELECTIVE_LABELS = (
    "Outcomes exist only for people who were accepted when the data were made. For people who were declined then, "
    "nobody knows whether they would have repaid, so error rates describe the accepted and may differ for all who "
    "applied, most of all for a group that was declined more often."
)


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """A group with its error rates against the reference group."""

    group: Group
    errors: ErrorParity
    opportunity: RegisterRow
    odds: RegisterRow
    precision: RegisterRow


def error_rate_parity(inputs: EvidenceInput) -> SectionEvidence:
    """F2: equal opportunity and equalised odds by group, with intervals and the selective-labels caveat."""
    if inputs.spec.fairness is None:
        return without_attributes(
            inputs, SECTION, TESTS, "Whether error rates are equal between groups",
            "Whether the model errs alike on all groups is unknown.",
        )  # fmt: skip
    found = tuple(_errors(inputs, group) for group in groups_of(inputs, inputs.test))
    absent = empty_attribute_rows(inputs, SECTION, TESTS)
    rows = (
        *(f.opportunity for f in found),
        *(f.odds for f in found),
        *(f.precision for f in found),
        *absent,
    )
    blocks: list[Block] = [_table(inputs, found)]
    if any(f.opportunity.statistic is not None for f in found):
        blocks.append(_figure(inputs, found))
    blocks.append(Paragraph(text=SELECTIVE_LABELS))
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, found, absent),
        would_change=(
            "A difference in true positive rates outside its limits "
            f"({limit_phrase(inputs.spec.policy.limits['fair.equal_opportunity'].text, 'points')}). "
            "Outcomes of declined applicants could change every figure here."
        ),
        so_what=(
            "Positive is the favourable outcome: a lower true positive rate means that more people of the group who "
            "would have repaid are declined."
        ),
        rows=rows,
        blocks=tuple(blocks),
        extras={"evaluated": any(f.opportunity.statistic is not None for f in found)},
    )


def _errors(inputs: EvidenceInput, group: Group) -> GroupErrors:
    test, both = inputs.test, group.both
    chosen, event = favourable(inputs, test), test.y == 1
    errors = error_parity(chosen[both], event[both], group.member[both], confidence=inputs.spec.policy.confidence)
    tpr, fpr = errors.true_positive, errors.false_positive
    thin_tpr = (
        group.thin or tpr.reason or _thin_cases(tpr, inputs.spec.policy.minimum_group, "person without the event")
    )
    thin_odds = thin_tpr or fpr.reason or _thin_cases(fpr, inputs.spec.policy.minimum_events, "person with the event")
    events = int(np.count_nonzero(event & group.member))
    against = f"{group.name} against {group.reference_name}"
    opportunity = inputs.row(Statistic(
        "fair.equal_opportunity", SECTION, f"Difference in true positive rates, {against}", sample=test.role, n=group.n,
        events=events, segment=group.segment, value=None if thin_tpr or tpr.value is None else abs(tpr.value),
        effect=None if thin_tpr else tpr.value, interval=None if thin_tpr else absolute_interval(tpr.interval),
        ci_method="Newcombe", h0="equal rates", limit="fair.equal_opportunity", undefined=thin_tpr,
        gating=group.gating(thin_tpr), fmt="points",
    ))  # fmt: skip
    odds = inputs.row(Statistic(
        "fair.equalized_odds", SECTION, f"Largest difference in error rates, {against}", sample=test.role, n=group.n,
        events=events, segment=group.segment, value=None if thin_odds else errors.odds,
        interval=None if thin_odds else errors.odds_interval, ci_method="Newcombe", h0="equal rates",
        limit="fair.equalized_odds", undefined=thin_odds, gating=group.gating(thin_odds), fmt="points",
    ))  # fmt: skip
    return GroupErrors(group, errors, opportunity, odds, _precision(inputs, group, chosen, event))


def _thin_cases(difference: RateDifference, least: int, noun: str) -> str | None:
    short = min(difference.n)
    if short >= least:
        return None
    nouns = noun.replace("person", "persons", 1)
    return f"{counted(short, noun, nouns)} in the smaller group; the policy asks for {least}"


def _precision(inputs: EvidenceInput, group: Group, chosen: Mask, event: Mask) -> RegisterRow:
    """Share without the event among those of the group who get the favourable outcome."""
    selected = int(np.count_nonzero(chosen & group.member))
    good = int(np.count_nonzero(chosen & group.member & ~event))
    found = wilson_interval(selected, good, confidence=inputs.spec.policy.confidence)
    undefined = group.thin or found.reason
    return inputs.row(Statistic(
        "fair.precision", SECTION, f"Share without the event among selected {group.name}", sample=inputs.test.role,
        n=selected, events=selected - good, segment=group.segment, value=None if undefined else found.rate,
        interval=None if undefined else found.interval, ci_method=found.method, undefined=undefined, gating=False,
        fmt="share",
    ))  # fmt: skip


def _table(inputs: EvidenceInput, found: Sequence[GroupErrors]) -> Table:
    rows: list[dict[str, Scalar]] = []
    for f in found:
        tpr, fpr = f.errors.true_positive, f.errors.false_positive
        judged = f.opportunity.statistic is not None
        rows.append(
            {
                "group": f.group.label,
                "n": f.group.n,
                "tpr": rounded(tpr.rates[0]) if judged else None,
                "tpr_interval": between(tpr.interval, "points") if judged else "–",
                "fpr": rounded(fpr.rates[0]) if f.odds.statistic is not None else None,
                "fpr_interval": between(fpr.interval, "points") if f.odds.statistic is not None else "–",
                "opportunity": f.opportunity.light.value,
                "odds": f.odds.light.value,
            }
        )
    return Table(
        id="F2-T1",
        caption=(
            f"{_claim(found)}; intervals are {level(inputs.spec.policy)} Newcombe intervals of the difference to the "
            f"reference group ({described(inputs.test)})."
        ),
        columns=columns(
            ("group", "Group", "text"), ("n", "n", "int"), ("tpr", "TPR", "share"),
            ("tpr_interval", "Interval of TPR difference", "text"), ("fpr", "FPR", "share"),
            ("fpr_interval", "Interval of FPR difference", "text"), ("opportunity", "Opportunity", "light"),
            ("odds", "Odds", "light"),
        ),
        rows=tuple(rows),
        empty="No group can be compared.",
    )  # fmt: skip


def _claim(found: Sequence[GroupErrors]) -> str:
    worst = _worst(found)
    if worst is None:
        return "No error rate could be compared"
    return (
        f"True positive rates differ most for {worst.group.name}, by {printed(worst.opportunity.effect, 'points')} "
        f"from {worst.group.reference_name}"
    )


def _worst(found: Sequence[GroupErrors]) -> GroupErrors | None:
    judged = [f for f in found if f.opportunity.statistic is not None]
    return max(judged, key=lambda f: f.opportunity.statistic or 0.0, default=None)


def _figure(inputs: EvidenceInput, found: Sequence[GroupErrors]) -> Figure:
    judged = [f for f in found if f.opportunity.statistic is not None]
    names = tuple(f.group.label for f in judged)
    return Figure(
        id="F2-F1",
        chart="forest",
        caption=f"{_claim(found)}; bars are {level(inputs.spec.policy)} intervals ({described(inputs.test)}).",
        alt=(
            f"Differences in true and false positive rates to the reference group, {counted(len(judged), 'group')}. "
            + "; ".join(
                f"{f.group.segment} true positive {printed(f.errors.true_positive.value, 'points')}, false positive "
                f"{printed(f.errors.false_positive.value, 'points')}"
                for f in judged[:6]
            )
            + "."
        ),
        y_label="Difference to the reference group",
        y_format="points",
        series=(
            _series("true positive rate", names, [f.errors.true_positive for f in judged]),
            _series(
                "false positive rate",
                tuple(n for n, f in zip(names, judged, strict=True) if f.odds.statistic is not None),
                [f.errors.false_positive for f in judged if f.odds.statistic is not None],
            ),
        ),
        lines=(ReferenceLine(axis="x", value=0.0, label="parity"),),
    )


def _series(name: str, x: tuple[str, ...], differences: Sequence[RateDifference]) -> Series:
    values, intervals = [d.value for d in differences], [d.interval for d in differences]
    return estimates(name, x, values, intervals, role="group", n=[d.n[0] for d in differences])


def _conclusion(inputs: EvidenceInput, found: Sequence[GroupErrors], absent: Sequence[RegisterRow]) -> str:
    thin = sorted({f.group.segment for f in found if f.opportunity.statistic is None})
    parts = ["outcomes of declined applicants are unknown, so error rates hold for accepted ones"]
    parts += left_open(absent, thin, "persons")
    worst = _worst(found)
    if worst is not None:
        ends = between(worst.errors.true_positive.interval, "points")
        parts.append(
            f"the true positive rate of {worst.group.name} differs by {printed(worst.opportunity.effect, 'points')} "
            f"from {worst.group.reference_name} ({level(inputs.spec.policy)} interval {ends}), the largest difference"
        )
    failing = with_light([f.odds for f in found], Light.FAIL)
    if failing:
        far = [f"{r.segment} by {printed(r.statistic, 'points')}" for r in failing]
        parts.insert(0, f"error rates differ beyond the limit for {listed(far)}")
    return sentence(parts)

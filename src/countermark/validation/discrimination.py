"""E1: does the score rank risk, on every sample, segment and vintage, and still as well as before?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from countermark.metrics.calibration import grade_counts
from countermark.metrics.discrimination import Auc, auc, auc_bootstrap, cap, ks
from countermark.metrics.ordering import GradeOrder, neighbouring_grades
from countermark.metrics.precision import average_precision
from countermark.records.evidence import RegisterRow, SampleRole
from countermark.validation import discrimination_exhibits as exhibits
from countermark.validation.discrimination_exhibits import MEASURE
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.ranking import (
    ROLES,
    SE_SEGMENT,
    SECTION,
    Pair,
    Part,
    initial_rows,
    most_inverted,
    neighbours,
    no_interval,
    part_name,
    ranking_extras,
    ranking_of,
    ranking_section,
    shared_customers,
)
from countermark.validation.sentences import counted, printed


def discrimination(inputs: EvidenceInput) -> SectionEvidence:
    """E1: AUC with interval on every sample, by segment and vintage; KS, CAP, drop, order of grades."""
    test, policy = inputs.test, inputs.spec.policy
    areas = {
        r: auc(s.y, s.margin, confidence=policy.confidence) for r in ROLES if (s := inputs.samples.get(r)) is not None
    }
    found = ranking_of(inputs, areas, _pairs(test), partial(_part, inputs), _usable)
    area = areas[test.role]
    rows = (
        *_auc_rows(inputs, areas),
        *_cluster_rows(inputs, area),
        _drop_row(inputs, areas),
        *initial_rows(inputs, MEASURE, area, _thin_sample(inputs, test)),
        *_rank_rows(inputs, area),
        *_order_rows(inputs, found.pairs),
        *(_part_row(inputs, part) for part in (*found.segments, *found.vintages)),
    )
    extras = ranking_extras(
        inputs,
        MEASURE,
        found,
        lambda area: {"events": area.events},
        # From a handful of events the standard error itself is a guess, and so is what it could detect.
        nameable=area.events >= policy.minimum_events,
    )
    return ranking_section(inputs, MEASURE, found, rows, exhibits.blocks(inputs, found), extras)


def too_few_events(inputs: EvidenceInput, n: int, events: int, name: str) -> str | None:
    """The reason why ranking must not be judged: fewer events or non-events than the policy asks for."""
    least = inputs.spec.policy.minimum_events
    if events < least:
        return f"{name} has {counted(events, 'event')}; the policy asks for {least}"
    if n - events < least:
        return f"{name} has {counted(n - events, 'non-event')}; the policy asks for {least}"
    return None


def _thin_sample(inputs: EvidenceInput, sample: Sample) -> str | None:
    return too_few_events(inputs, sample.n, sample.events, f"the {sample.label} sample")


def _part(inputs: EvidenceInput, column: str, level: str, inside: NDArray[np.bool_], proposed: bool) -> Part[Auc]:
    test = inputs.test
    y = test.y[inside]
    area = auc(y, test.margin[inside], confidence=inputs.spec.policy.confidence)
    n, events = int(y.size), int(np.count_nonzero(y))
    thin = too_few_events(inputs, n, events, part_name(column, level, proposed))
    return Part(column, level, n, area, thin, events=events, proposed=proposed)


def _usable(part: Part[Auc]) -> bool:
    return part.area.value is not None and part.thin is None


def _pairs(test: Sample) -> tuple[Pair[GradeOrder], ...]:
    n, d = grade_counts(test.y, test.grade, len(test.grade_names))
    return neighbours(test.grade_names, neighbouring_grades(n, d))


def _auc_rows(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> Iterator[RegisterRow]:
    for role, area in areas.items():
        sample = inputs.samples[role]
        thin = _thin_sample(inputs, sample) or no_interval(MEASURE, area)
        fitted = role == "development"
        yield inputs.row(Statistic(
            "disc.auc_delong", SECTION, f"AUC, {sample.label}",
            sample=role, n=sample.n, events=sample.events, value=area.value, interval=area.interval,
            ci_method=area.method, judged=None if area.interval is None else area.interval[0],
            limit=None if fitted else "disc.auc_chance", h0="AUC = 1/2", alternative="AUC > 1/2",
            effect=area.gini, p_raw=area.p_chance, undefined=thin, gating=None if role == inputs.test.role else False,
            fmt="auc",
        ))  # fmt: skip
    test = inputs.test
    area = areas[test.role]
    thin = _thin_sample(inputs, test)
    yield inputs.row(Statistic(
        "disc.auc", SECTION, "AUC too high to be believed",
        sample=test.role, n=test.n, events=test.events, value=area.value, limit="disc.auc_ceiling",
        effect=area.gini, undefined=thin or (area.reason if area.value is None else None), fmt="auc",
    ))  # fmt: skip
    yield inputs.row(Statistic(
        "disc.auc_delong", SECTION, "Standard error of the AUC (DeLong)",
        sample=test.role, n=test.n, events=test.events, segment=SE_SEGMENT, value=area.se,
        undefined=area.reason if area.se is None else None, gating=False, fmt="score",
    ))  # fmt: skip


def _cluster_rows(inputs: EvidenceInput, area: Auc) -> Iterator[RegisterRow]:
    """The AUC by customer, where a customer has more than one row: rows are then not independent."""
    test, policy = inputs.test, inputs.spec.policy
    text = shared_customers(test)
    if text is None:
        return
    got = auc_bootstrap(
        test.y, test.margin, cluster=text, resamples=policy.bootstrap_resamples, confidence=policy.confidence,
        seed=policy.seed,
    )  # fmt: skip
    thin = _thin_sample(inputs, test) or got.reason
    yield inputs.row(Statistic(
        "disc.auc_bootstrap", SECTION, f"AUC by customer ({printed(got.clusters, 'int')} customers)",
        sample=test.role, n=test.n, events=test.events, value=area.value, interval=got.interval,
        ci_method="percentile bootstrap of customers", judged=None if got.interval is None else got.interval[0],
        limit="disc.auc_chance", undefined=thin, gating=inputs.gates("disc.auc_delong"), seed=policy.seed, fmt="auc",
    ))  # fmt: skip


def _drop_row(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> RegisterRow:
    development, test = inputs.samples["development"], inputs.test
    before, now = areas["development"], areas[test.role]
    thin = (
        _thin_sample(inputs, test)
        or too_few_events(inputs, development.n, development.events, "the development sample")
        or before.reason
        or now.reason
    )
    drop = interval = None
    if before.gini is not None and now.gini is not None:
        drop = before.gini - now.gini
        half = _half_width(inputs, before, now)
        interval = None if half is None else (drop - half, drop + half)
    return inputs.row(Statistic(
        "disc.gini_drop", SECTION, f"Gini drop, development to {test.label}",
        sample=test.role, n=test.n, events=test.events, value=drop, interval=interval,
        ci_method="DeLong, independent samples", limit="disc.gini_drop", undefined=thin, fmt="points",
    ))  # fmt: skip


def _half_width(inputs: EvidenceInput, before: Auc, now: Auc) -> float | None:
    if before.variance is None or now.variance is None:
        return None
    return float(2.0 * ndtri(0.5 + inputs.spec.policy.confidence / 2) * np.sqrt(before.variance + now.variance))


def _rank_rows(inputs: EvidenceInput, area: Auc) -> Iterator[RegisterRow]:
    test = inputs.test
    gap, profile, precision = ks(test.y, test.margin), cap(test.y, test.margin), average_precision(test.y, test.margin)
    prevalence = printed(precision.prevalence, "share")
    ratio, why = profile.accuracy_ratio, profile.reason
    for test_id, label, value, reason in (
        ("disc.ks", "KS at distinct scores", gap.value, gap.reason),
        ("disc.cap_ar", "Accuracy ratio of the CAP (= Gini = 2 AUC - 1)", ratio, why),
        ("disc.average_precision", f"Average precision; {prevalence} without skill", precision.value, precision.reason),
    ):
        interval = None
        if test_id == "disc.cap_ar" and area.interval is not None:
            interval = (2.0 * area.interval[0] - 1.0, 2.0 * area.interval[1] - 1.0)
        yield inputs.row(Statistic(
            test_id, SECTION, label, sample=test.role, n=test.n, events=test.events, value=value, interval=interval,
            ci_method="DeLong, normal", undefined=reason, gating=False, fmt="auc",
        ))  # fmt: skip


def _order_rows(inputs: EvidenceInput, pairs: tuple[Pair[GradeOrder], ...]) -> Iterator[RegisterRow]:
    test = inputs.test
    thin = _thin_sample(inputs, test)
    judged = [p for p in pairs if p.p_adjusted is not None]
    inverted = [p for p in judged if p.test.inverted]
    if thin is None and not judged:
        thin = "no two neighbouring grades with events"
    worst = most_inverted(pairs)
    yield inputs.row(Statistic(
        "disc.grade_order", SECTION, "Inverted neighbouring grades",
        sample=test.role, n=test.n, events=test.events, segment="inversions", value=float(len(inverted)),
        limit="disc.grade_inversions", undefined=thin, fmt="int",
    ))  # fmt: skip
    yield inputs.row(Statistic(
        "disc.grade_order", SECTION, "Most significant inversion of neighbouring grades (Holm)",
        sample=test.role, n=test.n, events=test.events, value=None if worst is None else worst.p_adjusted,
        limit="disc.grade_order", h0="the worse grade has the higher rate", alternative="the grades are inverted",
        effect=None if worst is None else worst.test.difference,
        p_raw=None if worst is None else worst.test.p_inversion, p_adj=None if worst is None else worst.p_adjusted,
        undefined=thin, fmt="pvalue",
    ))  # fmt: skip
    for pair in pairs:
        yield inputs.row(Statistic(
            "disc.grade_order", SECTION, f"Grade {pair.high} against {pair.low} ({pair.test.method or 'no test'})",
            sample=test.role, n=test.n, events=test.events, segment=f"{pair.low}<{pair.high}", value=pair.test.z,
            h0="rate of the worse grade >= rate of the better", alternative="inverted", effect=pair.test.difference,
            p_raw=pair.test.p_inversion, p_adj=pair.p_adjusted, undefined=pair.test.reason, gating=False,
        ))  # fmt: skip


def _part_row(inputs: EvidenceInput, part: Part[Auc]) -> RegisterRow:
    thin = part.thin or no_interval(MEASURE, part.area)
    return inputs.row(Statistic(
        "disc.auc_delong", SECTION, f"AUC, {part.column} {part.level}{part.mark}",
        sample=inputs.test.role, n=part.n, events=part.events, segment=part.name, value=part.area.value,
        interval=part.area.interval, ci_method=part.area.method,
        judged=None if part.area.interval is None else part.area.interval[0],
        limit=None if part.proposed else "disc.auc_chance", h0="AUC = 1/2", effect=part.area.gini,
        p_raw=part.area.p_chance, undefined=thin, gating=False, fmt="auc",
    ))  # fmt: skip

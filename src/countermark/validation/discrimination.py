"""E1: does the score rank risk, on every sample, segment and vintage, and still as well as before?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from countermark.metrics.calibration import grade_counts
from countermark.metrics.discrimination import Auc, auc, auc_bootstrap, auc_deterioration, cap, ks
from countermark.metrics.multiplicity import holm
from countermark.metrics.ordering import neighbouring_grades
from countermark.metrics.power import detectable_auc_drop
from countermark.metrics.precision import average_precision
from countermark.records.evidence import RegisterRow, SampleRole
from countermark.records.lights import Light
from countermark.validation import discrimination_exhibits as exhibits
from countermark.validation.bands import band_segments
from countermark.validation.discrimination_exhibits import PROPOSED, Pair, PartAuc
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, counted, listed, printed, rounded

SECTION = "E1"
ROLES: tuple[SampleRole, ...] = ("development", "holdout", "out_of_time")
SE_SEGMENT = "standard error"
"""Segment under which the standard error is registered, so that a later pack can use it as the initial one."""


def discrimination(inputs: EvidenceInput) -> SectionEvidence:
    """E1: AUC with interval on every sample, by segment and vintage; KS, CAP, drop, order of grades."""
    test = inputs.test
    level = inputs.spec.policy.confidence
    areas = {r: auc(s.y, s.margin, confidence=level) for r in ROLES if (s := inputs.samples.get(r)) is not None}
    segments = tuple(_parts(inputs, test.segments))
    if worst_part(inputs, segments) is None:
        segments += tuple(_parts(inputs, band_segments(inputs), proposed=True))
    vintages = () if test.vintage is None else tuple(_parts(inputs, {"vintage": test.vintage}))
    pairs = _pairs(test)
    rows = (
        *_auc_rows(inputs, areas),
        *_cluster_rows(inputs, areas[test.role]),
        _drop_row(inputs, areas),
        *_initial_rows(inputs, areas[test.role]),
        *_rank_rows(inputs, areas[test.role]),
        *_order_rows(inputs, pairs),
        *(_part_row(inputs, part) for part in (*segments, *vintages)),
    )
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, areas, pairs, rows),
        would_change=_would_change(inputs, areas[test.role]),
        so_what=_so_what(inputs, segments),
        rows=rows,
        blocks=exhibits.blocks(inputs, areas, segments, vintages, pairs),
        extras=_extras(inputs, areas, segments),
    )


def too_few_events(inputs: EvidenceInput, n: int, events: int, name: str) -> str | None:
    """The reason why ranking must not be judged: fewer events or non-events than the policy asks for."""
    least = inputs.spec.policy.minimum_events
    if events < least:
        return f"{name} has {counted(events, 'event')}; the policy asks for {least}"
    if n - events < least:
        return f"{name} has {counted(n - events, 'non-event')}; the policy asks for {least}"
    return None


def worst_part(inputs: EvidenceInput, parts: tuple[PartAuc, ...]) -> PartAuc | None:
    """The part with the lowest AUC among those with enough events; None if there is none."""
    fit = [p for p in parts if p.auc.value is not None and too_few_events(inputs, p.n, p.events, p.name) is None]
    return min(fit, key=lambda p: (p.auc.value, p.name), default=None)


def initial_auc(inputs: EvidenceInput) -> tuple[float | None, float | None]:
    """AUC and standard error of the last published release on the same kind of sample, where known."""
    rows = {} if inputs.previous is None else inputs.previous.get("rows", {})
    role = inputs.test.role
    value, se = rows.get(f"disc.auc_delong|{role}|all"), rows.get(f"disc.auc_delong|{role}|{SE_SEGMENT}")
    return None if value is None else float(value), None if se is None else float(se)


def _parts(inputs: EvidenceInput, columns: Any, *, proposed: bool = False) -> Iterator[PartAuc]:
    test = inputs.test
    for column, values in columns.items():
        text: NDArray[np.str_] = np.array(["(missing)" if v is None else str(v) for v in values], dtype=np.str_)
        for name in np.unique(text).tolist():
            inside = text == name
            y = test.y[inside]
            area = auc(y, test.margin[inside], confidence=inputs.spec.policy.confidence)
            yield PartAuc(column, name, int(y.size), int(np.count_nonzero(y)), area, proposed=proposed)


def _pairs(test: Sample) -> tuple[Pair, ...]:
    n, d = grade_counts(test.y, test.grade, len(test.grade_names))
    found = neighbouring_grades(n, d)
    raw = [t.p_inversion for _, _, t in found if t.p_inversion is not None]
    adjusted = iter(holm(np.array(raw)).tolist())
    names = test.grade_names
    return tuple(
        Pair(names[b], names[w], t, None if t.p_inversion is None else float(next(adjusted))) for b, w, t in found
    )


def _auc_rows(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> Iterator[RegisterRow]:
    for role, area in areas.items():
        sample = inputs.samples[role]
        thin = too_few_events(inputs, sample.n, sample.events, f"the {sample.label} sample") or _no_interval(area)
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
    thin = too_few_events(inputs, test.n, test.events, f"the {test.label} sample")
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


def _no_interval(area: Auc) -> str | None:
    return area.reason or "the AUC has no interval" if area.interval is None else None


def _cluster_rows(inputs: EvidenceInput, area: Auc) -> Iterator[RegisterRow]:
    """The AUC by customer, where a customer has more than one row: rows are then not independent."""
    test, policy = inputs.test, inputs.spec.policy
    if test.entity is None:
        return
    text = np.array([str(v) for v in test.entity], dtype=np.str_)
    if np.unique(text).size == text.size:
        return
    got = auc_bootstrap(
        test.y, test.margin, cluster=text, resamples=policy.bootstrap_resamples, confidence=policy.confidence,
        seed=policy.seed,
    )  # fmt: skip
    thin = too_few_events(inputs, test.n, test.events, f"the {test.label} sample") or got.reason
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
        too_few_events(inputs, test.n, test.events, f"the {test.label} sample")
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


def _initial_rows(inputs: EvidenceInput, area: Auc) -> Iterator[RegisterRow]:
    test = inputs.test
    initial, se_initial = initial_auc(inputs)
    thin = too_few_events(inputs, test.n, test.events, f"the {test.label} sample")
    got = auc_deterioration(1.0 if initial is None else initial, area.value, area.se, se_initial=se_initial)
    if initial is None:
        thin = "no AUC of a published release to compare with; the next pack compares with this one"
    forms = [("current against initial, initial AUC taken as known (ECB 2.5.4.1)", "all", got.s, got.p)]
    if got.s_both is not None:
        forms.append(("current against initial, both variances", "both variances", got.s_both, got.p_both))
    for label, segment, s, p in forms:
        yield inputs.row(Statistic(
            "disc.auc_vs_initial", SECTION, f"AUC {label}",
            sample=test.role, n=test.n, events=test.events, segment=segment,
            value=None if initial is None else s, judged=p, limit="disc.auc_vs_initial",
            effect=None if initial is None or area.value is None else initial - area.value,
            h0="no deterioration", alternative="AUC has fallen", p_raw=None if initial is None else p,
            undefined=thin or got.reason, gating=False if initial is None or segment != "all" else None,
        ))  # fmt: skip


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


def _order_rows(inputs: EvidenceInput, pairs: tuple[Pair, ...]) -> Iterator[RegisterRow]:
    test = inputs.test
    thin = too_few_events(inputs, test.n, test.events, f"the {test.label} sample")
    judged = [p for p in pairs if p.p_adjusted is not None]
    inverted = [p for p in judged if p.test.inverted]
    if thin is None and not judged:
        thin = "no two neighbouring grades with events"
    worst = min(judged, key=lambda p: 1.0 if p.p_adjusted is None else p.p_adjusted, default=None)
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
            "disc.grade_order", SECTION, f"Grade {pair.worse} against {pair.better} ({pair.test.method or 'no test'})",
            sample=test.role, n=test.n, events=test.events, segment=f"{pair.better}<{pair.worse}", value=pair.test.z,
            h0="rate of the worse grade >= rate of the better", alternative="inverted", effect=pair.test.difference,
            p_raw=pair.test.p_inversion, p_adj=pair.p_adjusted, undefined=pair.test.reason, gating=False,
        ))  # fmt: skip


def _part_row(inputs: EvidenceInput, part: PartAuc) -> RegisterRow:
    thin = too_few_events(inputs, part.n, part.events, part.name) or _no_interval(part.auc)
    return inputs.row(Statistic(
        "disc.auc_delong", SECTION, f"AUC, {part.column} {part.level}{PROPOSED if part.proposed else ''}",
        sample=inputs.test.role, n=part.n, events=part.events, segment=part.name, value=part.auc.value,
        interval=part.auc.interval, ci_method=part.auc.method,
        judged=None if part.auc.interval is None else part.auc.interval[0],
        limit=None if part.proposed else "disc.auc_chance", h0="AUC = 1/2", effect=part.auc.gini,
        p_raw=part.auc.p_chance, undefined=thin, gating=False, fmt="auc",
    ))  # fmt: skip


def _conclusion(
    inputs: EvidenceInput, areas: dict[SampleRole, Auc], pairs: tuple[Pair, ...], rows: tuple[RegisterRow, ...]
) -> str:
    test = inputs.test
    area = areas[test.role]
    main = next(r for r in rows if r.test_id == "disc.auc_delong" and r.sample == test.role and r.segment == "all")
    level = f"{100 * inputs.spec.policy.confidence:g} %"
    if main.light is Light.NOT_EVALUATED:
        return f"Ranking was not evaluated: {main.n_reason}."
    number = f"AUC {printed(area.value, 'auc')} ({level} interval {between(area.interval, 'auc')})"
    if main.light is Light.FAIL:
        return f"The score is not shown to rank better than chance: {number} on the {test.label} sample."
    inverted = [f"{p.better}/{p.worse}" for p in pairs if p.test.inverted]
    order = f"neighbouring grades {listed(inverted)} are in the wrong order" if inverted else "no grade is out of order"
    before = areas["development"].value
    drop = "" if before is None else f", against {printed(before, 'auc')} in development"
    return f"The score ranks with {number} on the {test.label} sample{drop}; {order}."


def _would_change(inputs: EvidenceInput, area: Auc) -> str:
    power = inputs.spec.policy.power.detect_at
    drop = detectable_auc_drop(area.se, alpha=inputs.spec.policy.alpha, power=power)
    text = "An interval that reaches 0.5, a Gini drop beyond the limit, or a significant inversion of grades."
    if drop.value is None:
        return text
    size = printed(drop.value, "auc")
    return f"{text} The smallest fall in AUC that this sample finds with {100 * power:g} % power is {size}."


def _so_what(inputs: EvidenceInput, segments: tuple[PartAuc, ...]) -> str:
    worst = worst_part(inputs, segments)
    if worst is None:
        return "No segment has enough events to say where the score ranks worst."
    bands = "The spec declares no usable segment, so bands of two inputs stand in. " if worst.proposed else ""
    return (
        f"{bands}Ranking is weakest in {worst.column} {worst.level} (N = {printed(worst.n, 'int')}, "
        f"AUC {printed(worst.auc.value, 'auc')}, interval {between(worst.auc.interval, 'auc')}): "
        "decisions there lean on the score with the least support."
    )


def _extras(inputs: EvidenceInput, areas: dict[SampleRole, Auc], segments: tuple[PartAuc, ...]) -> dict[str, Any]:
    policy, worst = inputs.spec.policy, worst_part(inputs, segments)
    area = areas[inputs.test.role]
    drop = detectable_auc_drop(area.se, alpha=policy.alpha, power=policy.power.detect_at)
    return {
        "auc": {role: _area(a, inputs.samples[role].n) for role, a in areas.items()},
        "test_role": inputs.test.role,
        "worst_segment": None
        if worst is None
        else {"name": f"{worst.name}{PROPOSED if worst.proposed else ''}", **_area(worst.auc, worst.n)},
        # From a handful of events the standard error itself is a guess, and so is what it could detect.
        "smallest_detectable_auc_drop": rounded(drop.value) if area.events >= policy.minimum_events else None,
        "smallest_detectable_power": policy.power.detect_at,
    }


def _area(area: Auc, n: int) -> dict[str, Any]:
    low, high = (None, None) if area.interval is None else area.interval
    return {"value": rounded(area.value), "low": rounded(low), "high": rounded(high), "n": n, "events": area.events}

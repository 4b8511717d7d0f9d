"""E1 of amounts: do higher estimates go with higher realised amounts, on every sample, segment and vintage?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from countermark.metrics.amounts import loss_capture, pool_order
from countermark.metrics.discrimination import auc_deterioration
from countermark.metrics.multiplicity import holm
from countermark.metrics.power import detectable_auc_drop
from countermark.metrics.somers import Gauc, generalised_auc
from countermark.metrics.stability import rank_agreement
from countermark.records.evidence import RegisterRow, SampleRole
from countermark.records.lights import Light
from countermark.validation import amount_ranking_exhibits as exhibits
from countermark.validation.amount_ranking_exhibits import PROPOSED, PartGauc, PoolPair
from countermark.validation.amounts import rank_codes, ranking, segment_names, too_few_amounts
from countermark.validation.bands import band_segments
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, level, listed, printed, rounded

SECTION = "E1"
ROLES: tuple[SampleRole, ...] = ("development", "holdout", "out_of_time")
SE_SEGMENT = "standard error"
"""Segment under which the standard error is registered, so that a later pack can use it as the initial one."""


def amount_ranking(inputs: EvidenceInput) -> SectionEvidence:
    """E1: generalised AUC with interval on every sample, by segment and vintage; loss capture, drop, order of pools."""
    test = inputs.test
    areas = {r: ranking(inputs, s.y, s.p) for r in ROLES if (s := inputs.samples.get(r)) is not None}
    segments = tuple(_parts(inputs, test.segments))
    if worst_part(inputs, segments) is None:
        segments += tuple(_parts(inputs, band_segments(inputs), proposed=True))
    vintages = () if test.vintage is None else tuple(_parts(inputs, {"vintage": test.vintage}))
    pairs = _pairs(test)
    rows = (
        *_sample_rows(inputs, areas),
        *_cluster_rows(inputs, areas[test.role]),
        _drop_row(inputs, areas),
        *_initial_rows(inputs, areas[test.role]),
        *_further_rows(inputs),
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


def thin_sample(inputs: EvidenceInput, sample: Sample, area: Gauc) -> str | None:
    """The reason why the ranking of a sample must not be judged."""
    return too_few_amounts(inputs, sample.n, f"the {sample.label} sample", varied=area.varied)


def worst_part(inputs: EvidenceInput, parts: tuple[PartGauc, ...]) -> PartGauc | None:
    """The part with the lowest generalised AUC among those with enough rows; None if there is none."""
    fit = [p for p in parts if p.gauc.interval is not None and _thin_part(inputs, p) is None]
    return min(fit, key=lambda p: (p.gauc.value, p.name), default=None)


def _thin_part(inputs: EvidenceInput, part: PartGauc) -> str | None:
    return too_few_amounts(inputs, part.n, part.name, varied=part.gauc.varied)


def _parts(inputs: EvidenceInput, columns: Mapping[str, NDArray[Any]], *, proposed: bool = False) -> Iterator[PartGauc]:
    test = inputs.test
    for column, values in columns.items():
        text = segment_names(values)
        for name in np.unique(text).tolist():
            inside = text == name
            found = ranking(inputs, test.y[inside], test.p[inside])
            mean = float(np.mean(test.y[inside]))
            yield PartGauc(column, name, int(inside.sum()), mean, found, proposed=proposed)


def _pairs(test: Sample) -> tuple[PoolPair, ...]:
    used = [k for k in range(len(test.grade_names)) if bool((test.grade == k).any())]
    tests = [(a, b, pool_order(test.y[test.grade == a], test.y[test.grade == b])) for a, b in itertools.pairwise(used)]
    raw = [t.p_inversion for _, _, t in tests if t.p_inversion is not None]
    adjusted = iter(holm(np.array(raw)).tolist())
    names = test.grade_names
    return tuple(
        PoolPair(names[a], names[b], t, None if t.p_inversion is None else float(next(adjusted))) for a, b, t in tests
    )


def _sample_rows(inputs: EvidenceInput, areas: dict[SampleRole, Gauc]) -> Iterator[RegisterRow]:
    for role, area in areas.items():
        sample = inputs.samples[role]
        fitted = role == "development"
        undefined = thin_sample(inputs, sample, area) or (area.reason if area.interval is None else None)
        yield inputs.row(Statistic(
            "disc.somersd_gauc", SECTION, f"Generalised AUC, {sample.label}",
            sample=role, n=sample.n, value=area.value, interval=area.interval, ci_method="Somers' D, normal",
            judged=None if area.interval is None else area.interval[0],
            limit=None if fitted else "disc.gauc_chance", h0="gAUC = 1/2", alternative="gAUC > 1/2",
            effect=area.somers_d, p_raw=area.p_chance, undefined=undefined,
            gating=None if role == inputs.test.role else False, fmt="auc",
        ))  # fmt: skip
    test, area = inputs.test, areas[inputs.test.role]
    thin = thin_sample(inputs, test, area)
    yield inputs.row(Statistic(
        "disc.somersd_gauc", SECTION, "Generalised AUC too high to be believed",
        sample=test.role, n=test.n, segment="ceiling", value=area.value, limit="disc.gauc_ceiling",
        effect=area.somers_d, undefined=thin or (area.reason if area.value is None else None), fmt="auc",
    ))  # fmt: skip
    yield inputs.row(Statistic(
        "disc.somersd_gauc", SECTION, "Standard error of the generalised AUC (ECB annex 3.2)",
        sample=test.role, n=test.n, segment=SE_SEGMENT, value=area.se,
        undefined=area.reason if area.se is None else None, gating=False, fmt="score",
    ))  # fmt: skip
    if inputs.spec.kind == "lgd":
        bare = generalised_auc(test.y, test.p, confidence=inputs.spec.policy.confidence)
        yield inputs.row(Statistic(
            "disc.somersd_gauc", SECTION, "Generalised AUC of the values themselves, not of buckets",
            sample=test.role, n=test.n, segment="not bucketed", value=bare.value, interval=bare.interval,
            ci_method="Somers' D, normal", effect=bare.somers_d, p_raw=bare.p_chance,
            undefined=thin or (bare.reason if bare.interval is None else None), gating=False, fmt="auc",
        ))  # fmt: skip


def _cluster_rows(inputs: EvidenceInput, area: Gauc) -> Iterator[RegisterRow]:
    """The same by customer, where a customer has more than one row: rows are then not independent."""
    test, spec = inputs.test, inputs.spec
    if test.entity is None:
        return
    text = np.array([str(v) for v in test.entity], dtype=np.str_)
    customers = int(np.unique(text).size)
    if customers == text.size:
        return
    got = generalised_auc(
        rank_codes(spec, test.y), rank_codes(spec, test.p), cluster=text, confidence=spec.policy.confidence
    )
    thin = too_few_amounts(inputs, customers, f"the {test.label} sample by customer", varied=area.varied)
    yield inputs.row(Statistic(
        "disc.somersd_gauc", SECTION, f"Generalised AUC by customer ({printed(customers, 'int')} customers)",
        sample=test.role, n=test.n, segment="by customer", value=got.value, interval=got.interval,
        ci_method="Somers' D, clustered by customer", judged=None if got.interval is None else got.interval[0],
        limit="disc.gauc_chance", undefined=thin or (got.reason if got.interval is None else None), fmt="auc",
    ))  # fmt: skip


def _drop_row(inputs: EvidenceInput, areas: dict[SampleRole, Gauc]) -> RegisterRow:
    development, test = inputs.samples["development"], inputs.test
    before, now = areas["development"], areas[test.role]
    undefined = thin_sample(inputs, test, now) or thin_sample(inputs, development, before)
    drop = interval = None
    if before.value is not None and now.value is not None:
        drop = before.value - now.value
        if before.se is not None and now.se is not None:
            z = float(ndtri(0.5 + inputs.spec.policy.confidence / 2))
            half = z * math.hypot(before.se, now.se)
            interval = (drop - half, drop + half)
    return inputs.row(Statistic(
        "disc.gauc_drop", SECTION, f"Drop in gAUC, development to {test.label}",
        sample=test.role, n=test.n, value=drop, interval=interval, ci_method="Somers' D, independent samples",
        limit="disc.gauc_drop", undefined=undefined or (before.reason or now.reason if drop is None else None),
        fmt="points",
    ))  # fmt: skip


def _initial_rows(inputs: EvidenceInput, area: Gauc) -> Iterator[RegisterRow]:
    test = inputs.test
    rows = {} if inputs.previous is None else inputs.previous.get("rows", {})
    initial = rows.get(f"disc.somersd_gauc|{test.role}|all")
    se_initial = rows.get(f"disc.somersd_gauc|{test.role}|{SE_SEGMENT}")
    undefined = thin_sample(inputs, test, area)
    if initial is None:
        undefined = "no gAUC of a published release to compare with; the next pack compares with this one"
    got = auc_deterioration(
        1.0 if initial is None else float(initial), area.value, area.se,
        se_initial=None if se_initial is None else float(se_initial),
    )  # fmt: skip
    forms = [("initial gAUC taken as known", "all", got.s, got.p)]
    if got.s_both is not None:
        forms.append(("both variances", "both variances", got.s_both, got.p_both))
    for told, segment, s, p in forms:
        yield inputs.row(Statistic(
            "disc.gauc_vs_initial", SECTION, f"gAUC current against initial, {told}",
            sample=test.role, n=test.n, segment=segment, value=None if initial is None else s, judged=p,
            limit="disc.gauc_vs_initial",
            effect=None if initial is None or area.value is None else float(initial) - area.value,
            h0="no deterioration", alternative="gAUC has fallen", p_raw=None if initial is None else p,
            undefined=undefined or got.reason, gating=False,
        ))  # fmt: skip


def _further_rows(inputs: EvidenceInput) -> Iterator[RegisterRow]:
    test = inputs.test
    few = None if test.n >= 2 else "fewer than two rows"
    agreement = rank_agreement(test.p, test.y)
    constant = few or "estimates or realised amounts do not vary"
    for label, segment, value in (
        ("Spearman's rank correlation", "all", agreement.spearman),
        ("Kendall's tau-b", "kendall", agreement.kendall),
    ):
        yield inputs.row(Statistic(
            "disc.rank", SECTION, f"{label} of estimated and realised amounts", sample=test.role, n=test.n,
            segment=segment, value=value, undefined=constant if value is None else None, gating=False, fmt="auc",
        ))  # fmt: skip
    capture = loss_capture(test.y, test.p)
    yield inputs.row(Statistic(
        "disc.loss_capture", SECTION, "Loss capture ratio, every row weighing alike", sample=test.role, n=test.n,
        value=capture.ratio, effect=capture.area_model, undefined=capture.reason, gating=False, fmt="auc",
    ))  # fmt: skip


def _order_rows(inputs: EvidenceInput, pairs: tuple[PoolPair, ...]) -> Iterator[RegisterRow]:
    test = inputs.test
    judged = [p for p in pairs if p.p_adjusted is not None]
    worst = min(judged, key=lambda p: 1.0 if p.p_adjusted is None else p.p_adjusted, default=None)
    undefined = too_few_amounts(inputs, test.n, f"the {test.label} sample")
    if worst is None:
        undefined = undefined or "no two neighbouring pools with rows enough to compare"
    yield inputs.row(Statistic(
        "disc.pool_order", SECTION, "Most significant inversion of neighbouring pools (Holm)",
        sample=test.role, n=test.n, value=None if worst is None else worst.p_adjusted, limit="disc.pool_order",
        h0="the higher pool has the higher mean", alternative="the pools are inverted",
        effect=None if worst is None else worst.test.difference, df=None if worst is None else worst.test.df,
        p_raw=None if worst is None else worst.test.p_inversion, p_adj=None if worst is None else worst.p_adjusted,
        undefined=undefined, fmt="pvalue",
    ))  # fmt: skip
    for pair in pairs:
        yield inputs.row(Statistic(
            "disc.pool_order", SECTION, f"Pool {pair.higher} against {pair.lower} (Welch)", sample=test.role, n=test.n,
            segment=f"{pair.lower}<{pair.higher}", value=pair.test.t, effect=pair.test.difference, df=pair.test.df,
            h0="the higher pool has the higher mean", alternative="inverted", p_raw=pair.test.p_inversion,
            p_adj=pair.p_adjusted, undefined=pair.test.reason, gating=False,
        ))  # fmt: skip


def _part_row(inputs: EvidenceInput, part: PartGauc) -> RegisterRow:
    area = part.gauc
    undefined = _thin_part(inputs, part) or (area.reason if area.interval is None else None)
    return inputs.row(Statistic(
        "disc.somersd_gauc", SECTION, f"gAUC, {part.column} {part.level}{PROPOSED if part.proposed else ''}",
        sample=inputs.test.role, n=part.n, segment=part.name, value=area.value, interval=area.interval,
        ci_method="Somers' D, normal", judged=None if area.interval is None else area.interval[0],
        limit=None if part.proposed else "disc.gauc_chance", h0="gAUC = 1/2", effect=area.somers_d,
        p_raw=area.p_chance, undefined=undefined, gating=False, fmt="auc",
    ))  # fmt: skip


def _conclusion(
    inputs: EvidenceInput, areas: dict[SampleRole, Gauc], pairs: tuple[PoolPair, ...], rows: tuple[RegisterRow, ...]
) -> str:
    test = inputs.test
    area = areas[test.role]
    main = next(r for r in rows if r.sample == test.role and r.segment == "all")
    if main.light is Light.NOT_EVALUATED:
        return f"Ranking was not evaluated: {main.n_reason}."
    number = f"gAUC {printed(area.value, 'auc')} ({level(inputs.spec.policy)} interval {between(area.interval, 'auc')})"
    if main.light is Light.FAIL:
        return f"The estimate is not shown to rank better than chance: {number} on the {test.label} sample."
    inverted = [f"{p.lower}/{p.higher}" for p in pairs if p.test.inverted]
    order = f"neighbouring pools {listed(inverted)} are in the wrong order" if inverted else "no pool is out of order"
    before = areas["development"].value
    drop = "" if before is None else f", against {printed(before, 'auc')} in development"
    return f"The estimate ranks with {number} on the {test.label} sample{drop}; {order}."


def _would_change(inputs: EvidenceInput, area: Gauc) -> str:
    power = inputs.spec.policy.power.detect_at
    drop = detectable_auc_drop(area.se, alpha=inputs.spec.policy.alpha, power=power)
    text = "An interval that reaches 0.5, or a drop in gAUC beyond the limit."
    if drop.value is None:
        return text
    size = printed(drop.value, "auc")
    return f"{text} The smallest fall in gAUC that this sample finds with {100 * power:g} % power is {size}."


def _so_what(inputs: EvidenceInput, segments: tuple[PartGauc, ...]) -> str:
    worst = worst_part(inputs, segments)
    if worst is None:
        return "No segment has enough rows to say where the estimate ranks worst."
    bands = "The spec declares no usable segment, so bands of two inputs stand in. " if worst.proposed else ""
    return (
        f"{bands}Ranking is weakest in {worst.column} {worst.level} (N = {printed(worst.n, 'int')}, "
        f"gAUC {printed(worst.gauc.value, 'auc')}, interval {between(worst.gauc.interval, 'auc')}): "
        "amounts there are told apart least."
    )


def _extras(inputs: EvidenceInput, areas: dict[SampleRole, Gauc], segments: tuple[PartGauc, ...]) -> dict[str, Any]:
    policy, worst = inputs.spec.policy, worst_part(inputs, segments)
    area = areas[inputs.test.role]
    drop = detectable_auc_drop(area.se, alpha=policy.alpha, power=policy.power.detect_at)
    thin = thin_sample(inputs, inputs.test, area)
    return {
        "gauc": {role: _numbers(a, inputs.samples[role].n) for role, a in areas.items()},
        "test_role": inputs.test.role,
        "worst_segment": None
        if worst is None
        else {"name": f"{worst.name}{PROPOSED if worst.proposed else ''}", **_numbers(worst.gauc, worst.n)},
        "smallest_detectable_gauc_drop": rounded(drop.value) if thin is None else None,
        "smallest_detectable_power": policy.power.detect_at,
    }


def _numbers(area: Gauc, n: int) -> dict[str, Any]:
    low, high = (None, None) if area.interval is None else area.interval
    return {"value": rounded(area.value), "low": rounded(low), "high": rounded(high), "n": n}

"""E1 of amounts: do higher estimates go with higher realised amounts, on every sample, segment and vintage?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from countermark.metrics.amounts import PoolOrder, loss_capture, pool_order
from countermark.metrics.somers import Gauc, generalised_auc
from countermark.metrics.stability import rank_agreement
from countermark.records.evidence import RegisterRow, SampleRole
from countermark.validation import amount_ranking_exhibits as exhibits
from countermark.validation.amount_ranking_exhibits import MEASURE
from countermark.validation.amounts import rank_codes, ranking, too_few_amounts
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
from countermark.validation.sentences import printed


def amount_ranking(inputs: EvidenceInput) -> SectionEvidence:
    """E1: generalised AUC with interval on every sample, by segment and vintage; loss capture, drop, order of pools."""
    test = inputs.test
    areas = {r: ranking(inputs, s.y, s.p) for r in ROLES if (s := inputs.samples.get(r)) is not None}
    found = ranking_of(inputs, areas, _pairs(test), partial(_part, inputs), _usable)
    area = areas[test.role]
    thin = thin_sample(inputs, test, area)
    rows = (
        *_sample_rows(inputs, areas),
        *_cluster_rows(inputs, area),
        _drop_row(inputs, areas),
        *initial_rows(inputs, MEASURE, area, thin),
        *_further_rows(inputs),
        *_order_rows(inputs, found.pairs),
        *(_part_row(inputs, part) for part in (*found.segments, *found.vintages)),
    )
    extras = ranking_extras(inputs, MEASURE, found, lambda _: {}, nameable=thin is None)
    return ranking_section(inputs, MEASURE, found, rows, exhibits.blocks(inputs, found), extras)


def thin_sample(inputs: EvidenceInput, sample: Sample, area: Gauc) -> str | None:
    """The reason why the ranking of a sample must not be judged."""
    return too_few_amounts(inputs, sample.n, f"the {sample.label} sample", varied=area.varied)


def _part(inputs: EvidenceInput, column: str, level: str, inside: NDArray[np.bool_], proposed: bool) -> Part[Gauc]:
    test = inputs.test
    area = ranking(inputs, test.y[inside], test.p[inside])
    mean = float(np.mean(test.y[inside]))
    n = int(inside.sum())
    thin = too_few_amounts(inputs, n, part_name(column, level, proposed), varied=area.varied)
    return Part(column, level, n, area, thin, mean=mean, proposed=proposed)


def _usable(part: Part[Gauc]) -> bool:
    return part.area.interval is not None and part.thin is None


def _pairs(test: Sample) -> tuple[Pair[PoolOrder], ...]:
    used = [k for k in range(len(test.grade_names)) if bool((test.grade == k).any())]
    tests = [(a, b, pool_order(test.y[test.grade == a], test.y[test.grade == b])) for a, b in itertools.pairwise(used)]
    return neighbours(test.grade_names, tests)


def _sample_rows(inputs: EvidenceInput, areas: dict[SampleRole, Gauc]) -> Iterator[RegisterRow]:
    for role, area in areas.items():
        sample = inputs.samples[role]
        fitted = role == "development"
        undefined = thin_sample(inputs, sample, area) or no_interval(MEASURE, area)
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
    text = shared_customers(test)
    if text is None:
        return
    customers = int(np.unique(text).size)
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


def _order_rows(inputs: EvidenceInput, pairs: tuple[Pair[PoolOrder], ...]) -> Iterator[RegisterRow]:
    test = inputs.test
    worst = most_inverted(pairs)
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
            "disc.pool_order", SECTION, f"Pool {pair.high} against {pair.low} (Welch)", sample=test.role, n=test.n,
            segment=f"{pair.low}<{pair.high}", value=pair.test.t, effect=pair.test.difference, df=pair.test.df,
            h0="the higher pool has the higher mean", alternative="inverted", p_raw=pair.test.p_inversion,
            p_adj=pair.p_adjusted, undefined=pair.test.reason, gating=False,
        ))  # fmt: skip


def _part_row(inputs: EvidenceInput, part: Part[Gauc]) -> RegisterRow:
    area = part.area
    undefined = part.thin or no_interval(MEASURE, area)
    return inputs.row(Statistic(
        "disc.somersd_gauc", SECTION, f"gAUC, {part.column} {part.level}{part.mark}",
        sample=inputs.test.role, n=part.n, segment=part.name, value=area.value, interval=area.interval,
        ci_method="Somers' D, normal", judged=None if area.interval is None else area.interval[0],
        limit=None if part.proposed else "disc.gauc_chance", h0="gAUC = 1/2", effect=area.somers_d,
        p_raw=area.p_chance, undefined=undefined, gating=False, fmt="auc",
    ))  # fmt: skip

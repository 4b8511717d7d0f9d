"""The checks of a monitoring run: production against the reference profile of the release that decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.config.monitor import MonitorLimits, MonitorPlan
from countermark.metrics.binning import NumericBins
from countermark.metrics.calibration import jeffreys_test
from countermark.metrics.discrimination import Auc, auc
from countermark.metrics.fairness import adverse_impact_ratio
from countermark.metrics.intervals import wilson_interval
from countermark.metrics.multiplicity import benjamini_hochberg
from countermark.metrics.stability import Psi, psi
from countermark.monitoring.findings import ODD_OUTCOMES, UNJUDGED
from countermark.monitoring.profile import categorical_profile
from countermark.monitoring.window import Production
from countermark.records.decision import DecisionRecord
from countermark.records.digest import round_significant
from countermark.records.groups import Groups
from countermark.records.lights import Light
from countermark.records.limits import AnyLimit, ExactLimit, judge
from countermark.records.profile import NumericProfile, ReferenceProfile
from countermark.records.watch import Reading

EVIDENCE = 0.05
"""A change beyond its limit counts only where chance alone gives it with less than this probability: the q-value of
Benjamini and Hochberg over the inputs, or the p-value where there is one figure."""
_DIGITS = 9
_JUDGED = ExactLimit(kind="exact", value=0, source="what decided is held to its own reference profile")
_NO_POLICY = "the model has no decision policy"
_NONE = ExactLimit(kind="exact", value=0, source="an outcome is 0 or 1, or a finite amount, and has happened")
_Missing = tuple[str, float | None, float, Psi]
"""Input, change of the share missing, share in the reference, and missing against present as counts."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What the checks look at.

    Attributes:
        plan: The monitoring plan.
        profile: Reference profile of the release.
        favourable: The policy's word for a favourable decision; None without a policy.
        release: Version that the profile belongs to.
        window: Decisions of the window.
        own: Of those, the decisions of ``release``: what may be compared with its profile.
        matured: Decisions old enough for a label.
        labelled: Of those, the ones with a label.
        y: Their labels (n,): 0 or 1, or amounts.
        days: Days of the window.
        overridden: Ids of decisions that people overrode.
        groups: Protected groups by entity; None where they are not at hand.
        reference_group: Reference group by attribute.
        odd: Outcomes learned in the window that cannot be one of this model, and all that were learned in it.
    """

    plan: MonitorPlan
    profile: ReferenceProfile
    favourable: str | None
    release: str
    window: tuple[DecisionRecord, ...]
    own: tuple[DecisionRecord, ...]
    matured: tuple[DecisionRecord, ...]
    labelled: tuple[DecisionRecord, ...]
    y: NDArray[np.float64]
    days: int
    overridden: frozenset[str]
    groups: Groups | None
    reference_group: Mapping[str, str]
    odd: tuple[int, int] = (0, 0)


def watch(
    production: Production, plan: MonitorPlan, profile: ReferenceProfile, release: str, **more: object
) -> Watched:
    """The view of production that the checks look at."""
    window = production.between(plan.window_days)
    matured = production.between(plan.performance_days, until_days=plan.maturity_days)
    labelled, y = production.labelled(matured)
    return Watched(
        plan=plan,
        profile=profile,
        release=release,
        window=window,
        own=tuple(record for record in window if record.release.version == release),
        matured=matured,
        labelled=labelled,
        y=y,
        days=plan.window_days,
        overridden=production.overridden,
        odd=production.odd_within(plan.window_days),
        **more,  # type: ignore[arg-type]
    )


def readings(watched: Watched) -> tuple[Reading, ...]:
    """Every check that has a limit."""
    found: list[Reading] = []
    for check in (_volume, _inputs, _score, _odd_outcomes, _performance, _fairness, _kpis):
        found.extend(_judged(figure, watched.plan.owner, watched.profile.importance) for figure in check(watched))
    return tuple(found)


def unjudged(production: Production, plan: MonitorPlan, release: str, why: str) -> tuple[Reading, ...]:
    """What can be said where the release that made most decisions of the window cannot be opened.

    That it is so is a reading of its own; no other release's profile is put in its place.

    Args:
        production: Production of the model.
        plan: The monitoring plan.
        release: Version of the release.
        why: Why it cannot be opened.
    """
    window = production.between(plan.window_days)
    n, made = len(window), sum(record.release.version == release for record in window)
    odd, told = production.odd_within(plan.window_days)
    volume = plan.limits.daily_volume
    figures = [_Figure(UNJUDGED, f"release {release}", _JUDGED, n, float(made))]
    if volume is not None:
        figures.append(_Figure("daily_volume", "all", volume, n, n / plan.window_days))
    if odd:
        figures.append(_Figure(ODD_OUTCOMES, "all", _NONE, told, float(odd)))
    because = f"release {release} cannot be opened: {why}"
    for name in MonitorLimits.model_fields:
        limit = getattr(plan.limits, name)
        if limit is not None and name != "daily_volume":
            figures.append(_Figure(name, "all", limit, n, None, undefined=because))
    for name, kpi in plan.kpis.items():
        figures.append(_Figure("kpi", name, kpi.limit, n, None, undefined=because, owner=kpi.owner))
    return tuple(_judged(figure, plan.owner, {}) for figure in figures)


def checks_off(limits: MonitorLimits) -> tuple[str, ...]:
    """Checks without a limit."""
    return tuple(name for name in MonitorLimits.model_fields if getattr(limits, name) is None)


@dataclass(frozen=True, slots=True)
class _Figure:
    """What a check found, before it is judged.

    Attributes:
        check: Name of the check.
        subject: What it looked at: an input, a group, or ``all``.
        limit: Its limit.
        n: Rows behind the value.
        value: The figure; None if undefined.
        interval: Its 95 % interval, judged with it.
        reference: The same figure at validation.
        undefined: Why it is not judged.
        owner: Who has to look; the plan's owner otherwise.
    """

    check: str
    subject: str
    limit: AnyLimit
    n: int
    value: float | None
    interval: tuple[float, float] | None = None
    reference: float | None = None
    undefined: str | None = None
    owner: str | None = None


def _judged(found: _Figure, owner: str, weights: Mapping[str, float]) -> Reading:
    # Rounded before it is judged, so that the light follows from the figure that is kept, on any processor.
    value = _rounded(found.value)
    low, high = (_rounded(end) for end in found.interval or (None, None))
    interval = None if low is None or high is None else (low, high)
    verdict = judge(found.limit, value, interval=interval, undefined=found.undefined)
    return Reading(
        check=found.check,
        subject=found.subject,
        n=found.n,
        value=value,
        low=low,
        high=high,
        reference=_rounded(found.reference),
        limit=found.limit.text,
        light=verdict.light,
        rule=verdict.rule,
        reason=verdict.reason,
        owner=found.owner or owner,
        weight=weights.get(found.subject, 0.0),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round_significant(value, _DIGITS)


def _volume(watched: Watched) -> Iterator[_Figure]:
    limit = watched.plan.limits.daily_volume
    if limit is not None:
        n = len(watched.window)
        yield _Figure("daily_volume", "all", limit, n, n / watched.days)


def _too_few(watched: Watched, records: tuple[DecisionRecord, ...]) -> str | None:
    n, least = len(records), watched.plan.minimum_rows
    whose = f" of release {watched.release}" if n < len(watched.window) else ""
    return f"{n} decisions{whose} in the window, {least} are needed" if n < least else None


def _by_chance(limit: AnyLimit, value: float | None, chance: float | None) -> str | None:
    """Why a figure beyond its limit is not judged: too few rows to tell it from chance."""
    if chance is None or chance < EVIDENCE or judge(limit, value).light in (Light.PASS, Light.NOT_EVALUATED):
        return None
    return f"beyond the limit, and as far as this by chance with probability {chance:.2g}"


def _inputs(watched: Watched) -> Iterator[_Figure]:
    """Missing values, unseen levels, expired features, and drift of every input; drifts are screened together."""
    limits, thin, n = watched.plan.limits, _too_few(watched, watched.own), len(watched.own)
    if limits.expired_share is not None:
        expired = sum(1 for record in watched.own if any(view.expired for view in record.views))
        share = expired / n if n else None
        yield _Figure("expired_share", "all", limits.expired_share, n, share, undefined=thin)
    drifts: list[tuple[str, Psi]] = []
    missings: list[_Missing] = []
    for name in (*watched.profile.numeric, *watched.profile.categorical):
        counts, reference, missing, unseen = _counts(watched, name)
        known = sum(reference)
        then = reference[-1] / known if known else 0.0
        present = psi((known - reference[-1], reference[-1]), (n - missing, missing))
        missings.append((name, missing / n - then if n else None, then, present))
        if limits.unseen_share is not None and unseen is not None:
            share, before = unseen / n if n else None, reference[-2] / known if known else None
            yield _Figure("unseen_share", name, limits.unseen_share, n, share, reference=before, undefined=thin)
        drifts.append((name, psi(reference, counts)))
    if limits.missing_shift is not None:
        yield from _missing(watched, limits.missing_shift, missings, thin)
    if limits.feature_psi is not None:
        yield from _drifts(watched, limits.feature_psi, drifts, thin)


def _q_values(tests: list[tuple[str, Psi]]) -> dict[str, float]:
    """q-value of every input whose change has a p-value."""
    defined = [(name, found.p_value) for name, found in tests if found.p_value is not None]
    q_values = benjamini_hochberg([p for _, p in defined])
    return {name: float(q) for (name, _), q in zip(defined, q_values, strict=True)}


def _missing(watched: Watched, limit: AnyLimit, missings: list[_Missing], thin: str | None) -> Iterator[_Figure]:
    q_values = _q_values([(name, found) for name, _, _, found in missings])
    for name, shift, then, _ in missings:
        why = thin or _by_chance(limit, shift, q_values.get(name))
        n = len(watched.own)
        yield _Figure("missing_shift", name, limit, n, shift, reference=then, undefined=why)


def _drifts(watched: Watched, limit: AnyLimit, drifts: list[tuple[str, Psi]], thin: str | None) -> Iterator[_Figure]:
    q_values = _q_values(drifts)
    for name, found in drifts:
        why = thin or _not_judged(limit, found, q_values.get(name))
        yield _Figure("feature_psi", name, limit, len(watched.own), found.value, undefined=why)


def _not_judged(limit: AnyLimit, found: Psi, q_value: float | None) -> str | None:
    """Why a PSI is not judged: too few rows to call it small, or beyond its limit by chance."""
    if found.value is None or judge(limit, found.value).light is Light.PASS:
        return found.too_thin
    return _by_chance(limit, found.value, q_value)


def _counts(watched: Watched, name: str) -> tuple[list[int], list[int], int, int | None]:
    """Rows per bin now and in the reference, the missing bin last; missing rows; rows with an unseen level."""
    values = [record.features.get(name) for record in watched.own]
    if name in watched.profile.numeric:
        then = watched.profile.numeric[name]
        numbers = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
        now = NumericBins(then.edges).counts(numbers).tolist()
        return now, [*then.counts, then.missing], now[-1], None
    reference = watched.profile.categorical[name]
    found = categorical_profile(np.array(values, dtype=object), reference.levels)
    return (
        [*found.counts, found.other, found.missing],
        [*reference.counts, reference.other, reference.missing],
        found.missing,
        found.other,
    )


def _score(watched: Watched) -> Iterator[_Figure]:
    limits, thin, n = watched.plan.limits, _too_few(watched, watched.own), len(watched.own)
    if limits.score_psi is not None:
        found = score_psi(watched.profile.score, [record.probability for record in watched.own])
        why = thin or _not_judged(limits.score_psi, found, found.p_value)
        yield _Figure("score_psi", "score", limits.score_psi, n, found.value, undefined=why)
    limit = limits.decision_shift
    if limit is not None and watched.favourable is None:
        yield _Figure("decision_shift", "all", limit, n, None, undefined=_NO_POLICY)
    elif limit is not None:
        all_then, good_then, good = watched.profile.n, watched.profile.favourable, _favourable(watched, watched.own)
        shift = abs(good / n - good_then / all_then) if n else None
        moved = psi((all_then - good_then, good_then), (n - good, good))
        why = thin or _by_chance(limit, shift, moved.p_value)
        yield _Figure("decision_shift", "all", limit, n, shift, reference=good_then / all_then, undefined=why)


def score_psi(profile: NumericProfile, scores: list[float]) -> Psi:
    """PSI of scores against the histogram of a reference profile."""
    counts = NumericBins(profile.edges).counts(np.array(scores, dtype=np.float64))
    return psi(profile.counts, counts[:-1])


def _favourable(watched: Watched, records: tuple[DecisionRecord, ...]) -> int:
    return sum(1 for record in records if record.decision == watched.favourable)


def _performance(watched: Watched) -> Iterator[_Figure]:
    """Realised performance of the model, whichever release decided: matured labels only."""
    limits, y = watched.plan.limits, watched.y
    n, events = int(y.size), int((y == 1.0).sum())
    p = np.array([record.probability for record in watched.labelled], dtype=np.float64)
    thin = _no_labels(watched)
    if thin is None and min(events, n - events) < watched.plan.minimum_events:
        thin = f"{events} events and {n - events} non-events, {watched.plan.minimum_events} of each are needed"
    expected = watched.profile.performance.get("auc")
    ranked = auc(y, p) if thin is None else None
    value = None if ranked is None else ranked.value
    if limits.auc is not None:
        yield _Figure(
            "auc",
            "score",
            limits.auc,
            n,
            value,
            interval=None if ranked is None else ranked.interval,
            reference=None if expected is None else expected.value,
            undefined=thin,
        )
    if limits.auc_drop is not None:
        yield _auc_drop(watched, limits.auc_drop, n, ranked, thin)
    if limits.calibration is not None:
        found = jeffreys_test(n, events, float(p.mean())).p_value if thin is None else None
        # The profile holds no p-value of the validation, and nothing else is the same figure.
        yield _Figure("calibration", "all", limits.calibration, n, found, undefined=thin)


def _odd_outcomes(watched: Watched) -> Iterator[_Figure]:
    """Outcomes that were set aside; made only where there are some, and never off: they hide what became of a case."""
    odd, told = watched.odd
    if odd:
        yield _Figure(ODD_OUTCOMES, "all", _NONE, told, float(odd))


def _no_labels(watched: Watched) -> str | None:
    """Why matured labels say nothing, where they are none or no labels of an event."""
    y = watched.y
    if y.size == 0:
        return f"no matured label: {len(watched.matured)} decisions are old enough and have none"
    odd = int(((y != 0.0) & (y != 1.0)).sum())
    if watched.profile.events is None:
        return "the outcome is an amount, and this check is about events"
    return f"{odd} of {y.size} outcomes are neither 0 nor 1" if odd else None


def _auc_drop(watched: Watched, limit: AnyLimit, n: int, ranked: Auc | None, thin: str | None) -> _Figure:
    expected = watched.profile.performance.get("auc")
    drop = ends = None
    if expected is None:
        thin = thin or "the validation has no AUC to compare with"
    elif ranked is not None and ranked.value is not None:
        drop = expected.value - ranked.value
        if ranked.interval is not None:
            ends = (expected.value - ranked.interval[1], expected.value - ranked.interval[0])
    then = None if expected is None else expected.value
    return _Figure("auc_drop", "score", limit, n, drop, interval=ends, reference=then, undefined=thin)


def _fairness(watched: Watched) -> Iterator[_Figure]:
    """Adverse impact ratio of every protected group, against its reference group."""
    limit = watched.plan.limits.adverse_impact
    if limit is None:
        return
    why = None
    if watched.favourable is None:
        why = _NO_POLICY
    elif not watched.reference_group:
        why = "the release declares no protected attribute"
    elif watched.groups is None:
        why = "protected groups are kept apart and were not given to this run"
    if why is not None or watched.groups is None:
        for attribute in sorted(watched.reference_group) or ["all"]:
            yield _Figure("adverse_impact", attribute, limit, 0, None, undefined=why)
        return
    for attribute, reference in sorted(watched.reference_group.items()):
        counts = {group: [0, 0] for group in (reference, *watched.profile.groups.get(attribute, {}))}
        for record in watched.window:
            group = watched.groups.get(record.entity or "", {}).get(attribute)
            if group is not None:
                cell = counts.setdefault(group, [0, 0])
                cell[0] += record.decision == watched.favourable
                cell[1] += 1
        base = counts.pop(reference)
        if not counts:
            why = f"no decision is about an entity of another group than '{reference}'"
            yield _Figure("adverse_impact", attribute, limit, 0, None, undefined=why)
        for group, (selected, n) in sorted(counts.items()):
            yield _impact(watched, limit, f"{attribute}={group}", (selected, n), (base[0], base[1]))


def _impact(
    watched: Watched, limit: AnyLimit, subject: str, group: tuple[int, int], reference: tuple[int, int]
) -> _Figure:
    least = watched.plan.minimum_group
    thin = None
    if min(group[1], reference[1]) < least:
        thin = f"{group[1]} decisions in the group and {reference[1]} in its reference, {least} are needed"
    found = adverse_impact_ratio(group[0], group[1], reference[0], reference[1]) if thin is None else None
    return _Figure(
        "adverse_impact",
        subject,
        limit,
        group[1],
        None if found is None else found.value,
        interval=None if found is None else found.interval,
        reference=_impact_then(watched, subject),
        undefined=thin or (None if found is None else found.reason),
    )


def _impact_then(watched: Watched, subject: str) -> float | None:
    """The same ratio on the rows that validated the release; None where one of the two groups was not among them."""
    attribute, _, group = subject.partition("=")
    then = watched.profile.groups.get(attribute, {})
    own, base = then.get(group), then.get(watched.reference_group[attribute])
    if own is None or base is None or not own.n or not base.n:
        return None
    return adverse_impact_ratio(own.favourable, own.n, base.favourable, base.n).value


def _kpi_then(watched: Watched, measure: str) -> float | None:
    """What a KPI was on the rows that validated the release; None for what only production has."""
    profile = watched.profile
    if measure == "favourable_rate" and watched.favourable is not None:
        return profile.favourable / profile.n
    if measure == "outcome_rate" and profile.events is not None:
        return profile.events / profile.n
    return None


def _kpis(watched: Watched) -> Iterator[_Figure]:
    n, thin = len(watched.window), _too_few(watched, watched.window)
    for name, kpi in watched.plan.kpis.items():
        rows, hits, why = n, 0, thin
        value: float | None = None
        if kpi.measure == "decisions_per_day":
            value, why = n / watched.days, None
        elif kpi.measure == "mean_score":
            value = float(np.mean([record.probability for record in watched.window])) if n else None
        elif kpi.measure == "outcome_rate":
            rows, hits, why = int(watched.y.size), int((watched.y == 1.0).sum()), _no_labels(watched)
            if why is None and rows < watched.plan.minimum_rows:
                why = f"{rows} matured labels, {watched.plan.minimum_rows} are needed"
        elif kpi.measure == "override_rate":
            hits = sum(1 for record in watched.window if record.id in watched.overridden)
        else:
            hits = _favourable(watched, watched.window)
            why = thin or (None if watched.favourable is not None else _NO_POLICY)
        interval = None
        if kpi.measure in ("outcome_rate", "override_rate", "favourable_rate") and rows:
            value, interval = hits / rows, wilson_interval(rows, hits).interval
        yield _Figure(
            "kpi",
            name,
            kpi.limit,
            rows,
            value,
            interval=interval,
            reference=_kpi_then(watched, kpi.measure),
            undefined=why,
            owner=kpi.owner,
        )

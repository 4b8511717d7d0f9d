"""E2 of amounts: were the estimates too low, over the portfolio, by block of pools, segment and vintage?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.amounts import Coverage, amount_errors, calibration_line, coverage_ratio
from countermark.metrics.multiplicity import holm
from countermark.metrics.power import Detectable
from countermark.metrics.shortfall import (
    detectable_shortfall,
    power_pools,
    shortfall_bootstrap,
    shortfall_power,
    shortfall_test,
)
from countermark.records.evidence import RegisterRow
from countermark.records.lights import Light
from countermark.validation import amount_level_exhibits as exhibits
from countermark.validation.amount_level_exhibits import BackTest, means_text
from countermark.validation.amounts import gap_format, value_format, value_word
from countermark.validation.bands import levels_of
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.sentences import between, counted, interval_numbers, level, listed, printed, rounded

SECTION = "E2"


def amount_level(inputs: EvidenceInput) -> SectionEvidence:
    """E2: t-tests of realised against estimated amounts, coverage, slope and size of the errors."""
    test, policy = inputs.test, inputs.spec.policy
    whole = back_test(inputs, "the portfolio", test.y, test.p)
    pools = _family(_pools(inputs))
    blocks = _family(_blocks(inputs))
    segments = _family(_segments(inputs))
    vintages, outside = _family(_vintages(inputs)), " and ".join(s.role for s in inputs.outside)
    coverage = coverage_ratio(
        test.y, test.p, resamples=policy.bootstrap_resamples, confidence=policy.confidence, seed=policy.seed
    )
    found = detectable_shortfall(whole.n, whole.test.s or 0.0, alpha=policy.alpha, power=policy.power.detect_at)
    detectable = found if whole.reason is None else Detectable(None, whole.reason)
    rows = (
        _test_row(inputs, whole, "all"),
        *(_test_row(inputs, b, f"block {b.name}") for b in blocks),
        *(_pool_row(inputs, p) for p in pools if p.n),
        _coverage_row(inputs, coverage),
        _line_row(inputs),
        *_error_rows(inputs),
        *(_test_row(inputs, s, s.name, gating=False) for s in segments),
        *(_test_row(inputs, v, v.name, gating=False, sample=outside) for v in vintages),
    )
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, whole, coverage, rows),
        would_change=_would_change(inputs, whole, detectable),
        so_what=_so_what(inputs, whole, coverage, rows),
        rows=rows,
        blocks=exhibits.blocks(inputs, exhibits.Level(whole, pools, blocks, segments, vintages), rows),
        extras={
            "coverage": interval_numbers(coverage.ratio, coverage.interval),
            "mean_realised": rounded(whole.realised),
            "mean_estimated": rounded(whole.estimated),
            "p": rounded(whole.p),
            "power": rounded(whole.power),
            "n": whole.n,
            "smallest_detectable_shortfall": rounded(detectable.value),
            "smallest_detectable_power": policy.power.detect_at,
        },
    )


def level_test(inputs: EvidenceInput) -> str:
    """The id of the t-test of this kind."""
    return "cal.lgd_t" if inputs.spec.kind == "lgd" else "cal.ccf_t"


def back_test(inputs: EvidenceInput, name: str, realised: NDArray[Any], estimated: NDArray[Any]) -> BackTest:
    """Test one set of rows; fewer than the policy's smallest group are held against a bootstrap too."""
    policy = inputs.spec.policy
    test = shortfall_test(realised, estimated)
    n = test.n
    mean = float(np.mean(estimated)) if n else None
    reason = test.reason
    if n < policy.minimum_events:
        reason = f"{name} has {counted(n, 'row')}; the policy asks for {policy.minimum_events}"
    p = test.p_value
    if reason is None and n < policy.minimum_group and p is not None:
        drawn = shortfall_bootstrap(realised, estimated, resamples=policy.bootstrap_resamples, seed=policy.seed)
        p = p if drawn is None else min(p, drawn)
    power = None
    if test.s is not None and mean is not None:
        power = shortfall_power(n, test.s, alternative(inputs, mean), alpha=policy.alpha)
    return BackTest(name, n, float(np.mean(realised)) if n else None, mean, test, p, None, power, reason)


def alternative(inputs: EvidenceInput, estimated: float) -> float:
    """The under-estimation at which power is computed: points of LGD, or a share of the mean estimate."""
    power = inputs.spec.policy.power
    return power.lgd_shift if inputs.spec.kind == "lgd" else power.ead_relative * abs(estimated)


def alternative_text(inputs: EvidenceInput) -> str:
    """The alternative in words."""
    power = inputs.spec.policy.power
    if inputs.spec.kind == "lgd":
        return f"LGD + {100 * power.lgd_shift:g} pp"
    return f"mean estimate x {1 + power.ead_relative:g}"


def material(inputs: EvidenceInput, found: BackTest) -> bool | None:
    """Whether an under-estimation matters: relative to the mean estimate and, for an LGD, in points."""
    gap, estimated = found.test.mean_difference, found.estimated
    if gap is None or estimated is None or estimated <= 0.0:
        return None
    limits = inputs.spec.policy.materiality
    small = gap / estimated < limits.amount_relative
    return not (small and (inputs.spec.kind != "lgd" or gap < limits.lgd_absolute))


def _family(tests: Iterator[BackTest]) -> tuple[BackTest, ...]:
    """Tests of one family with their Holm-adjusted p; those that must not be judged take no part."""
    found = tuple(tests)
    raw = [t.p for t in found if t.reason is None and t.p is not None]
    adjusted = iter(holm(np.array(raw)).tolist())
    return tuple(
        replace(t, p_adjusted=float(next(adjusted)) if t.reason is None and t.p is not None else None) for t in found
    )


def _pools(inputs: EvidenceInput) -> Iterator[BackTest]:
    test = inputs.test
    for k, name in enumerate(test.grade_names):
        own = test.grade == k
        yield back_test(inputs, name, test.y[own], test.p[own])


def _blocks(inputs: EvidenceInput) -> Iterator[BackTest]:
    """Neighbouring pools merged, lowest first, until a block has the power that the policy asks for."""
    test, policy = inputs.test, inputs.spec.policy
    names = test.grade_names
    own_rows = [test.grade == k for k in range(len(names))]
    gaps = tuple((test.y - test.p)[own] for own in own_rows)
    shifts = tuple(alternative(inputs, float(np.mean(test.p[own]))) if own.any() else 0.0 for own in own_rows)
    parts = power_pools(gaps, shifts, alpha=policy.alpha, floor=policy.power.floor, least=policy.minimum_group)
    for part in parts:
        own = np.isin(test.grade, part)
        name = names[part[0]] if len(part) == 1 else f"{names[part[0]]} to {names[part[-1]]}"
        yield back_test(inputs, name, test.y[own], test.p[own])


def _segments(inputs: EvidenceInput) -> Iterator[BackTest]:
    test = inputs.test
    for column, name, own in levels_of(test.segments):
        yield back_test(inputs, f"{column}={name}", test.y[own], test.p[own])


def _vintages(inputs: EvidenceInput) -> Iterator[BackTest]:
    """By vintage, over every sample that was not fitted on."""
    dated = [s for s in inputs.outside if s.vintage is not None]
    if not dated:
        return
    vintage = np.concatenate([np.asarray(s.vintage).astype(str) for s in dated])
    realised, estimated = np.concatenate([s.y for s in dated]), np.concatenate([s.p for s in dated])
    for name in np.unique(vintage).tolist():
        own = vintage == name
        yield back_test(inputs, f"vintage={name}", realised[own], estimated[own])


def _test_row(
    inputs: EvidenceInput, found: BackTest, segment: str, *, gating: bool | None = None, sample: str | None = None
) -> RegisterRow:
    means = means_text(inputs.spec, found)
    few = ", smaller of t and bootstrap p" if found.n < inputs.spec.policy.minimum_group else ""
    adjusted = " (Holm)" if found.p_adjusted is not None else ""
    what = found.name if segment in ("all", found.name) else segment
    return inputs.row(Statistic(
        level_test(inputs), SECTION, f"t-test p, {what}: {means}{few}{adjusted}",
        sample=sample or inputs.test.role, n=found.n, segment=segment, value=found.p,
        judged=found.p if found.p_adjusted is None else found.p_adjusted, limit=level_test(inputs),
        effect=found.test.mean_difference, h0="estimated >= realised", alternative="amounts under-estimated",
        df=float(found.test.df), p_raw=found.p, p_adj=found.p_adjusted, power=found.power,
        power_alternative=alternative_text(inputs), material=material(inputs, found), undefined=found.reason,
        gating=gating, fmt="pvalue",
    ))  # fmt: skip


def _pool_row(inputs: EvidenceInput, pool: BackTest) -> RegisterRow:
    means = means_text(inputs.spec, pool)
    return inputs.row(Statistic(
        level_test(inputs), SECTION, f"t-test p, pool {pool.name}: {means}", sample=inputs.test.role, n=pool.n,
        segment=f"pool {pool.name}", value=pool.p, effect=pool.test.mean_difference, h0="estimated >= realised",
        alternative="amounts under-estimated", df=float(pool.test.df), p_raw=pool.p, p_adj=pool.p_adjusted,
        power=pool.power, power_alternative=alternative_text(inputs), undefined=pool.reason, gating=False,
        fmt="pvalue",
    ))  # fmt: skip


def _few(inputs: EvidenceInput) -> str | None:
    test, least = inputs.test, inputs.spec.policy.minimum_group
    if test.n >= least:
        return None
    return f"the {test.label} sample has {counted(test.n, 'row')}; the policy asks for {least}"


def _coverage_row(inputs: EvidenceInput, coverage: Coverage) -> RegisterRow:
    test = inputs.test
    return inputs.row(Statistic(
        "cal.coverage", SECTION, "Realised over estimated, portfolio (two-sided)", sample=test.role, n=test.n,
        value=coverage.ratio, interval=coverage.interval, ci_method="percentile bootstrap of rows",
        limit="cal.coverage", h0="ratio = 1", undefined=_few(inputs) or coverage.reason,
        seed=inputs.spec.policy.seed, fmt="ratio",
    ))  # fmt: skip


def _line_row(inputs: EvidenceInput) -> RegisterRow:
    test = inputs.test
    line = calibration_line(test.y, test.p, confidence=inputs.spec.policy.confidence)
    return inputs.row(Statistic(
        "cal.line", SECTION, "Slope of realised on estimated amounts", sample=test.role, n=test.n, value=line.slope,
        interval=line.slope_interval, ci_method="least squares, HC1", limit="cal.line", effect=line.intercept,
        h0="slope = 1", undefined=_few(inputs) or line.reason, gating=False, fmt="ratio",
    ))  # fmt: skip


def _error_rows(inputs: EvidenceInput) -> Iterator[RegisterRow]:
    test, style = inputs.test, gap_format(inputs.spec)
    found = amount_errors(test.y, test.p)
    for label, segment, value, fmt in (
        ("Mean absolute error", "mae", found.mae, style),
        ("Root mean squared error", "rmse", found.rmse, style),
        ("R2 against the mean of the sample", "r2", found.r_squared, "auc"),
    ):
        yield inputs.row(Statistic(
            "cal.error", SECTION, label, sample=test.role, n=test.n, segment=segment, value=value,
            undefined=found.reason if value is None else None, gating=False, fmt=fmt,
        ))  # fmt: skip


def _of(inputs: EvidenceInput, rows: tuple[RegisterRow, ...], light: Light) -> list[str]:
    """Where a gating t-test has this light, in words."""
    found = [r.segment for r in rows if r.test_id == level_test(inputs) and r.gating and r.light is light]
    return ["the portfolio" if segment == "all" else segment for segment in found]


def _number(inputs: EvidenceInput, whole: BackTest, coverage: Coverage) -> str:
    style = value_format(inputs.spec)
    return (
        f"realised {printed(whole.realised, style)} against estimated {printed(whole.estimated, style)} on average, "
        f"ratio {printed(coverage.ratio, 'ratio')} ({level(inputs.spec.policy)} interval "
        f"{between(coverage.interval, 'ratio')}, t-test p {printed(whole.p, 'pvalue')})"
    )


def _conclusion(inputs: EvidenceInput, whole: BackTest, coverage: Coverage, rows: tuple[RegisterRow, ...]) -> str:
    label = f"on the {inputs.test.label} sample"
    row = rows[0]
    if whole.realised is None or coverage.ratio is None:
        return f"The level was not evaluated: {coverage.reason or row.n_reason}."
    number, failing = _number(inputs, whole, coverage), _of(inputs, rows, Light.FAIL)
    if failing:
        return f"The {value_word(inputs.spec)} is under-estimated in {listed(failing)}: {number} {label}."
    ratio_row = next(r for r in rows if r.test_id == "cal.coverage")
    if ratio_row.light is Light.FAIL:
        direction = "over" if coverage.ratio < 1.0 else "under"
        return f"The {value_word(inputs.spec)} is {direction}-estimated beyond the limit: {number} {label}."
    if row.light is Light.NOT_EVALUATED:
        return f"The level could not be confirmed ({row.n_reason}): {number} {label}."
    watched = _of(inputs, rows, Light.WATCH)
    held = f"To be watched, {listed(watched)}" if watched else "No under-estimation beyond the limits was found"
    over = "" if coverage.interval is None or coverage.interval[1] >= 1.0 else "; amounts are over-estimated"
    return f"{held}: {number} {label}{over}."


def _would_change(inputs: EvidenceInput, whole: BackTest, detectable: Detectable) -> str:
    policy = inputs.spec.policy
    text = "A t-test p below the limit, or a ratio outside its band."
    if detectable.value is None:
        return text
    size = printed(detectable.value, gap_format(inputs.spec))
    return (
        f"{text} The smallest mean under-estimation that this sample finds with {100 * policy.power.detect_at:g} % "
        f"power is {size}; power at {alternative_text(inputs)} is {printed(whole.power, 'share')}."
    )


def _so_what(inputs: EvidenceInput, whole: BackTest, coverage: Coverage, rows: tuple[RegisterRow, ...]) -> str:
    if coverage.interval is None or rows[0].light is Light.NOT_EVALUATED:
        return "Provisions and prices that use the estimate have no support from outcomes yet."
    low, high = coverage.interval
    if low > 1.0:
        return "More was lost or drawn than estimated: provisions, prices and capital rest on too low an amount."
    if high < 1.0:
        return "The estimates are prudent: capital tolerates that, an unbiased provision or price does not."
    if _of(inputs, rows, Light.FAIL):
        return "The portfolio is right on average, but not everywhere: the failing part rests on a wrong amount."
    gap = printed(abs(whole.test.mean_difference or 0.0), gap_format(inputs.spec))
    return f"Provisions and prices may use the estimate as it is; its mean is {gap} from what came."

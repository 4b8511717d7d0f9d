"""E2: are the probabilities right, over the portfolio, by block of grades, and along the whole scale?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from countermark.metrics.calibration import (
    JeffreysTest,
    binomial_correlated,
    binomial_critical,
    binomial_test,
    grade_counts,
    hosmer_lemeshow,
    jeffreys_test,
    multi_year_normal,
    retail_correlation,
    spiegelhalter,
)
from countermark.metrics.intervals import ObservedExpected, observed_over_expected
from countermark.metrics.multiplicity import holm
from countermark.metrics.power import Detectable, block_of, detectable_pd_multiple, jeffreys_power, power_blocks
from countermark.metrics.reliability import (
    brier,
    calibration_error,
    corp,
    murphy,
    quantile_edges,
    recalibration,
)
from countermark.records.evidence import RegisterRow
from countermark.records.lights import Light
from countermark.validation import calibration_exhibits as exhibits
from countermark.validation.calibration_exhibits import BINS, GradeBlock, GradeLine, VintageLine
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.sentences import between, counted, level, listed, printed, rounded

SECTION = "E2"


@dataclass(frozen=True, slots=True)
class Portfolio:
    """The portfolio against one stated PD.

    Attributes:
        segment: ``all`` for the PD of the master scale, ``mean probability`` for the mean of p.
        pd: Stated PD of the portfolio.
        test: Jeffreys test of the portfolio.
        power: Power at the policy's alternative; None if undefined.
        ratio: Observed over expected events.
        detectable: Smallest multiple of the PD that the test would have found.
    """

    segment: str
    pd: float
    test: JeffreysTest
    power: float | None
    ratio: ObservedExpected
    detectable: Detectable


def calibration(inputs: EvidenceInput) -> SectionEvidence:
    """E2: Jeffreys over portfolio and blocks of grades, binomial tests, scores, slope and reliability curve."""
    scale, mean = _portfolios(inputs)
    grades = _grades(inputs)
    blocks = _blocks(inputs, grades)
    vintages = _vintages(inputs)
    rows = (
        *(_portfolio_row(inputs, p) for p in (scale, mean)),
        *(_block_row(inputs, b) for b in blocks),
        *(_grade_row(inputs, g) for g in grades if g.n),
        _ratio_row(inputs, mean),
        *_binomial_rows(inputs, scale),
        *_chi_square_rows(inputs, grades),
        *_score_rows(inputs),
        *_slope_rows(inputs),
        _years_row(inputs, vintages),
    )
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, scale, mean, rows),
        would_change=_would_change(inputs, scale, rows),
        so_what=_so_what(mean, rows),
        rows=rows,
        blocks=exhibits.blocks(inputs, grades, blocks, vintages, rows),
        extras=_extras(inputs, scale, mean),
    )


def material(inputs: EvidenceInput, observed: float | None, pd: float) -> bool | None:
    """Whether an under-estimation matters: 10 % relative or 5 basis points, as the policy sets."""
    if observed is None or pd <= 0.0:
        return None
    limits, gap = inputs.spec.policy.materiality, observed - pd
    return not (gap / pd < limits.pd_relative and gap < limits.pd_absolute)


def _too_few_rows(inputs: EvidenceInput) -> str | None:
    test, least = inputs.test, inputs.spec.policy.minimum_group
    if test.n >= least:
        return None
    return f"the {test.label} sample has {counted(test.n, 'row')}; the policy asks for {least}"


def _too_few_events(inputs: EvidenceInput) -> str | None:
    test, least = inputs.test, inputs.spec.policy.minimum_events
    if test.events >= least:
        return _too_few_rows(inputs)
    return f"the {test.label} sample has {counted(test.events, 'event')}; the policy asks for {least}"


def _portfolios(inputs: EvidenceInput) -> tuple[Portfolio, Portfolio]:
    test, policy = inputs.test, inputs.spec.policy
    found = []
    for segment, stated in (("all", test.grade_pd[test.grade]), ("mean probability", test.p)):
        expected = float(np.sum(stated))
        pd = expected / test.n if test.n else 0.0
        possible = test.n > 0 and 0.0 < pd < 1.0
        found.append(
            Portfolio(
                segment=segment,
                pd=pd,
                test=jeffreys_test(test.n, test.events, pd),
                power=_power(inputs, test.n, pd, policy.power.portfolio_pd_multiple) if possible else None,
                ratio=observed_over_expected(test.n, test.events, expected, confidence=policy.confidence),
                detectable=(
                    detectable_pd_multiple(test.n, pd, alpha=policy.alpha, power=policy.power.detect_at)
                    if possible
                    else Detectable(None, "no observations")
                ),
            )
        )
    return found[0], found[1]


def _power(inputs: EvidenceInput, n: int, pd: float, multiple: float) -> float | None:
    return jeffreys_power(n, pd, multiple * pd, alpha=inputs.spec.policy.alpha).power


def _grades(inputs: EvidenceInput) -> tuple[GradeLine, ...]:
    test = inputs.test
    n, d = grade_counts(test.y, test.grade, len(test.grade_names))
    tests = [jeffreys_test(int(k), int(e), float(pd)) for k, e, pd in zip(n, d, test.grade_pd, strict=True)]
    raw = [t.p_value for t in tests if t.p_value is not None]
    adjusted = iter(holm(np.array(raw)).tolist())
    return tuple(
        GradeLine(
            name=name,
            n=int(k),
            events=int(e),
            pd=float(pd),
            p_raw=t.p_value,
            p_adjusted=None if t.p_value is None else float(next(adjusted)),
            reason=t.reason,
        )
        for name, k, e, pd, t in zip(test.grade_names, n, d, test.grade_pd, tests, strict=True)
    )


def _blocks(inputs: EvidenceInput, grades: tuple[GradeLine, ...]) -> tuple[GradeBlock, ...]:
    """Neighbouring grades merged, best to worst, until a block has the power that the policy asks for."""
    policy = inputs.spec.policy
    n, pd = np.array([float(g.n) for g in grades]), np.array([g.pd for g in grades])
    multiple = policy.power.block_pd_multiple
    parts = power_blocks(n, pd, multiple=multiple, alpha=policy.alpha, floor=policy.power.floor)
    found = []
    for part in parts:
        rows, block_pd = block_of(n, pd, part)
        events = sum(grades[i].events for i in part)
        name = grades[part[0]].name if len(part) == 1 else f"{grades[part[0]].name} to {grades[part[-1]].name}"
        test = jeffreys_test(rows, events, block_pd)
        power = None if test.p_value is None else _power(inputs, rows, block_pd, multiple)
        found.append((name, part, rows, events, block_pd, test, power))
    adjusted = iter(holm(np.array([f[5].p_value for f in found if f[5].p_value is not None])).tolist())
    return tuple(
        GradeBlock(
            name=name, grades=part, n=rows, events=events, pd=block_pd, p_raw=test.p_value,
            p_adjusted=None if test.p_value is None else float(next(adjusted)), power=power,
            ratio=observed_over_expected(rows, events, rows * block_pd, confidence=policy.confidence),
            reason=test.reason,
        )
        for name, part, rows, events, block_pd, test, power in found
    )  # fmt: skip


def _vintages(inputs: EvidenceInput) -> tuple[VintageLine, ...]:
    """Observed and predicted rate by vintage, over every sample that was not fitted on."""
    found: dict[str, list[float]] = {}
    for sample in inputs.outside:
        if sample.vintage is None:
            continue
        for name in np.unique(sample.vintage.astype(str)).tolist():
            inside = sample.vintage.astype(str) == name
            line = found.setdefault(name, [0.0, 0.0, 0.0])
            line[0] += float(np.count_nonzero(inside))
            line[1] += float(np.count_nonzero(sample.y[inside]))
            line[2] += float(np.sum(sample.p[inside]))
    return tuple(VintageLine(name, int(n), int(d), expected) for name, (n, d, expected) in sorted(found.items()))


def _portfolio_row(inputs: EvidenceInput, part: Portfolio) -> RegisterRow:
    test, policy = inputs.test, inputs.spec.policy
    multiple = policy.power.portfolio_pd_multiple
    what = "PD of the master scale" if part.segment == "all" else "mean calibrated probability"
    return inputs.row(Statistic(
        "cal.jeffreys", SECTION, f"Jeffreys p, portfolio, {what} {printed(part.pd, 'share')}",
        sample=test.role, n=test.n, events=test.events, segment=part.segment, value=part.test.p_value,
        limit="cal.jeffreys", effect=part.ratio.ratio, h0="PD >= true rate", alternative="risk under-estimated",
        p_raw=part.test.p_value, power=part.power, power_alternative=f"PD x {multiple:g}",
        material=material(inputs, part.test.observed, part.pd),
        undefined=_too_few_rows(inputs) or part.test.reason, fmt="pvalue",
    ))  # fmt: skip


def _block_row(inputs: EvidenceInput, block: GradeBlock) -> RegisterRow:
    test, policy = inputs.test, inputs.spec.policy
    observed = block.events / block.n if block.n else None
    return inputs.row(Statistic(
        "cal.jeffreys", SECTION, f"Jeffreys p, grades {block.name}, PD {printed(block.pd, 'share')} (Holm)",
        sample=test.role, n=block.n, events=block.events, segment=f"grades {block.name}", value=block.p_raw,
        judged=block.p_adjusted, limit="cal.jeffreys", effect=block.ratio.ratio, h0="PD >= true rate",
        alternative="risk under-estimated", p_raw=block.p_raw, p_adj=block.p_adjusted, power=block.power,
        power_alternative=f"PD x {policy.power.block_pd_multiple:g}", material=material(inputs, observed, block.pd),
        undefined=_too_few_rows(inputs) or block.reason, fmt="pvalue",
    ))  # fmt: skip


def _grade_row(inputs: EvidenceInput, grade: GradeLine) -> RegisterRow:
    return inputs.row(Statistic(
        "cal.jeffreys", SECTION, f"Jeffreys p, grade {grade.name}, PD {printed(grade.pd, 'share')}",
        sample=inputs.test.role, n=grade.n, events=grade.events, segment=f"grade {grade.name}", value=grade.p_raw,
        effect=grade.events / (grade.n * grade.pd) if grade.pd > 0.0 else None, h0="PD >= true rate",
        alternative="risk under-estimated", p_raw=grade.p_raw, p_adj=grade.p_adjusted, undefined=grade.reason,
        gating=False, fmt="pvalue",
    ))  # fmt: skip


def _ratio_row(inputs: EvidenceInput, mean: Portfolio) -> RegisterRow:
    test = inputs.test
    return inputs.row(Statistic(
        "cal.oe_ratio", SECTION, "Observed over expected events, portfolio (two-sided)",
        sample=test.role, n=test.n, events=test.events, value=mean.ratio.ratio, interval=mean.ratio.interval,
        ci_method="Clopper-Pearson", limit="cal.oe_ratio", h0="ratio = 1",
        undefined=_too_few_events(inputs) or mean.ratio.reason, fmt="ratio",
    ))  # fmt: skip


def _binomial_rows(inputs: EvidenceInput, part: Portfolio) -> Iterator[RegisterRow]:
    test = inputs.test
    got = binomial_test(test.n, test.events, part.pd)
    critical = "" if got.value is None else _critical(test.n, part.pd)
    yield inputs.row(Statistic(
        "cal.binomial", SECTION, f"Binomial p, portfolio{critical}",
        sample=test.role, n=test.n, events=test.events, value=got.value, limit="cal.binomial", effect=part.ratio.ratio,
        h0="PD >= true rate", p_raw=got.value, power=part.power, undefined=_too_few_events(inputs) or got.reason,
        fmt="pvalue",
    ))  # fmt: skip
    rho = retail_correlation(part.pd)
    spread = binomial_correlated(test.n, test.events, part.pd, rho)
    yield inputs.row(Statistic(
        "cal.binomial_correlated", SECTION,
        f"Binomial p with asset correlation {printed(rho, 'share')} (Basel CRE31, other retail, from the PD)",
        sample=test.role, n=test.n, events=test.events, value=spread.value, h0="PD >= true rate", p_raw=spread.value,
        undefined=spread.reason, fmt="pvalue",
    ))  # fmt: skip


def _critical(n: int, pd: float) -> str:
    usual, strict = (printed(binomial_critical(n, pd, at), "int") for at in (0.95, 0.99))
    return f"; {usual} events reject at 95 %, {strict} at 99 %"


def _chi_square_rows(inputs: EvidenceInput, grades: tuple[GradeLine, ...]) -> Iterator[RegisterRow]:
    test, thin = inputs.test, _too_few_events(inputs)
    got = hosmer_lemeshow(
        np.array([g.n for g in grades]), np.array([g.events for g in grades]), np.array([g.pd for g in grades])
    )
    joined = f", {counted(got.merged, 'thin grade')} merged into a neighbour" if got.merged else ""
    yield inputs.row(Statistic(
        "cal.hosmer_lemeshow", SECTION,
        f"Hosmer-Lemeshow over {counted(got.groups, 'grade')}{joined}; df = groups, PDs are given",
        sample=test.role, n=test.n, events=test.events, value=got.statistic, judged=got.p_value,
        limit="cal.hosmer_lemeshow", h0="every PD is right", df=got.df, p_raw=got.p_value, gating=False,
        undefined=thin or got.reason,
    ))  # fmt: skip
    z = spiegelhalter(test.y, test.p)
    yield inputs.row(Statistic(
        "cal.spiegelhalter", SECTION, "Spiegelhalter z (above 0: too optimistic)",
        sample=test.role, n=test.n, events=test.events, value=z.z, judged=z.p_two_sided, limit="cal.spiegelhalter",
        h0="every probability is right", alternative="two-sided", p_raw=z.p_two_sided, undefined=thin or z.reason,
    ))  # fmt: skip


def _score_rows(inputs: EvidenceInput) -> Iterator[RegisterRow]:
    test, thin = inputs.test, _too_few_events(inputs)
    score, parts, groups = brier(test.y, test.p), corp(test.y, test.p), murphy(test.y, test.p, test.grade)
    bins = calibration_error(test.y, test.p, quantile_edges(inputs.samples["development"].p, BINS))
    informed = (
        ("cal.brier", "Brier score", "all", score.value, score.reason if score.value is None else None),
        ("cal.brier", "Brier skill against the event rate", "skill", score.skill, score.reason),
        ("cal.brier_murphy", "Murphy reliability over grades", "reliability", groups.reliability, groups.reason),
        ("cal.brier_murphy", "Murphy resolution over grades", "resolution", groups.resolution, groups.reason),
        ("cal.brier_murphy", "Murphy residual (p varies within grades)", "residual", groups.residual, groups.reason),
        ("cal.corp", "CORP miscalibration (MCB)", "miscalibration", parts.miscalibration, parts.reason),
        ("cal.corp", "CORP discrimination (DSC)", "discrimination", parts.discrimination, parts.reason),
        ("cal.corp", "CORP uncertainty (UNC)", "uncertainty", parts.uncertainty, parts.reason),
        (
            "cal.ece",
            f"Expected calibration error, {BINS} bins of the development sample",
            "all",
            bins.value,
            bins.reason,
        ),
    )
    for test_id, label, segment, value, reason in informed:
        yield inputs.row(Statistic(
            test_id, SECTION, label, sample=test.role, n=test.n, events=test.events, segment=segment, value=value,
            undefined=reason, fmt="points" if test_id == "cal.ece" else "score",
        ))  # fmt: skip
    share = parts.miscalibration_share
    yield inputs.row(Statistic(
        "cal.corp", SECTION, "CORP miscalibration over uncertainty (MCB / UNC)",
        sample=test.role, n=test.n, events=test.events, value=share, limit="cal.mcb_share",
        undefined=thin or parts.reason, fmt="share",
    ))  # fmt: skip


def _slope_rows(inputs: EvidenceInput) -> Iterator[RegisterRow]:
    test, thin = inputs.test, _too_few_events(inputs)
    got = recalibration(test.y, test.p, confidence=inputs.spec.policy.confidence)
    moved = f" ({counted(got.clipped, 'probability', 'probabilities')} of 0 or 1 moved)" if got.clipped else ""
    yield inputs.row(Statistic(
        "cal.slope_citl", SECTION, f"Calibration slope{moved}",
        sample=test.role, n=test.n, events=test.events, segment="slope", value=got.slope, interval=got.slope_interval,
        ci_method="Wald", limit="cal.slope", h0="a = 0 and b = 1", df=2, p_raw=got.p_value,
        undefined=thin or got.reason, fmt="ratio",
    ))  # fmt: skip
    yield inputs.row(Statistic(
        "cal.slope_citl", SECTION, "Calibration in the large, log odds (above 0: risk under-estimated)",
        sample=test.role, n=test.n, events=test.events, segment="in the large", value=got.in_the_large,
        interval=got.in_the_large_interval, ci_method="Wald", undefined=thin or got.reason, fmt="ratio",
    ))  # fmt: skip


def _years_row(inputs: EvidenceInput, vintages: tuple[VintageLine, ...]) -> RegisterRow:
    used = [v for v in vintages if v.n >= inputs.spec.policy.minimum_group]
    rate, pd = np.array([v.events / v.n for v in used]), np.array([v.expected / v.n for v in used])
    got = multi_year_normal(rate, pd)
    period = inputs.spec.data.vintage
    reason = "no dates, so no vintages" if not vintages else got.reason
    return inputs.row(Statistic(
        "cal.multi_year_normal", SECTION,
        f"Multi-period normal test over {counted(len(used), period)}, each counted alike; power unknown",
        sample=" and ".join(s.role for s in inputs.outside),
        n=sum(v.n for v in used), events=sum(v.events for v in used), value=got.z,
        judged=got.p_upper, limit="cal.multi_year_normal", h0="PD >= long-run rate", df=got.df, p_raw=got.p_upper,
        effect=None if not used else float(np.mean(rate - pd)), undefined=reason,
    ))  # fmt: skip


def _of(rows: tuple[RegisterRow, ...], *lights: Light) -> list[str]:
    """Where a gating Jeffreys test has one of these lights, in words."""
    words = {"all": "the portfolio", "mean probability": "the mean probability"}
    found = [r.segment for r in rows if r.test_id == "cal.jeffreys" and r.gating and r.light in lights]
    return [words.get(segment, segment) for segment in found]


def _where(rows: tuple[RegisterRow, ...], light: Light) -> str:
    """'the portfolio and 9 of 10 blocks of grades'; blocks by name where they are few."""
    found = _of(rows, light)
    if not found:
        return ""
    blocks = [name for name in found if name.startswith("grades ")]
    every = sum(r.test_id == "cal.jeffreys" and r.gating and r.segment.startswith("grades ") for r in rows)
    parts = ["the portfolio"] if len(blocks) < len(found) else []
    if len(blocks) > 3:
        parts.append(f"{len(blocks)} of {every} blocks of grades")
    else:
        parts += blocks
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _slope_said(rows: tuple[RegisterRow, ...]) -> str:
    """A slope below one: low risks are under-estimated more than high ones."""
    row = next((r for r in rows if r.test_id == "cal.slope_citl" and r.segment == "slope"), None)
    if row is None or row.statistic is None or row.ci_high is None or row.ci_low is None:
        return ""
    if row.ci_low <= 1.0 <= row.ci_high:
        return ""
    told = f"; the slope is {printed(row.statistic, 'ratio')}, so "
    first, last = ("low", "high") if row.ci_high < 1.0 else ("high", "low")
    return f"{told}{first} risks are under-estimated more than {last} ones"


def _conclusion(inputs: EvidenceInput, scale: Portfolio, mean: Portfolio, rows: tuple[RegisterRow, ...]) -> str:
    test = inputs.test
    row = rows[0]
    if mean.ratio.ratio is None:
        return f"Calibration was not evaluated: {mean.ratio.reason}."
    ratio, ends = printed(mean.ratio.ratio, "ratio"), between(mean.ratio.interval, "ratio")
    p_value = printed(scale.test.p_value, "pvalue")
    number = f"observed over expected is {ratio} ({level(inputs.spec.policy)} interval {ends}, Jeffreys p {p_value})"
    failing, watched = _where(rows, Light.FAIL), _of(rows, Light.WATCH)
    if failing:
        return f"Risk is under-estimated in {failing}: {number} on the {test.label} sample{_slope_said(rows)}."
    level_row = next((r for r in rows if r.test_id == "cal.oe_ratio"), None)
    if level_row is not None and level_row.light is Light.FAIL:
        direction = "over" if mean.ratio.ratio < 1.0 else "under"
        return (
            f"Risk is {direction}-estimated beyond the limit: {number} on the {test.label} sample{_slope_said(rows)}."
        )
    if row.light is Light.NOT_EVALUATED:
        return f"Calibration could not be confirmed ({row.n_reason}): {number} on the {test.label} sample."
    held = "No under-estimation beyond the limits was found" if not watched else f"To be watched, {listed(watched)}"
    over = "" if mean.ratio.interval is None or mean.ratio.interval[1] >= 1.0 else "; risk is over-estimated"
    return f"{held}: {number} on the {test.label} sample{over}."


def _would_change(inputs: EvidenceInput, scale: Portfolio, rows: tuple[RegisterRow, ...]) -> str:
    policy = inputs.spec.policy
    open_rows = _of(rows, Light.NOT_EVALUATED)
    more = f" More outcomes would decide {listed(open_rows)}." if open_rows else ""
    if scale.detectable.value is None:
        return f"A Jeffreys p below the limit.{more}"
    times = printed(scale.detectable.value, "ratio")
    return (
        f"A Jeffreys p below the limit. The smallest PD error that this sample finds with "
        f"{100 * policy.power.detect_at:g} % power is {times} times the PD; power at "
        f"{policy.power.portfolio_pd_multiple:g} times is {printed(scale.power, 'share')}.{more}"
    )


def _so_what(mean: Portfolio, rows: tuple[RegisterRow, ...]) -> str:
    if mean.ratio.interval is None or rows[0].light is Light.NOT_EVALUATED:
        return "Prices, provisions and cut-offs that use the probability have no support from outcomes yet."
    low, high = mean.ratio.interval
    if low > 1.0:
        return "Losses exceed what the probabilities say: prices, provisions and the cut-off rest on too low a risk."
    if high < 1.0:
        return "The probabilities are prudent: capital tolerates that, an unbiased provision or price does not."
    if _of(rows, Light.FAIL):
        return (
            "The portfolio is right on average, but not everywhere: decisions in the failing part rest on a wrong PD."
        )
    return "Prices, provisions and cut-offs may use the probability as it is, within the interval printed."


def _extras(inputs: EvidenceInput, scale: Portfolio, mean: Portfolio) -> dict[str, Any]:
    low, high = (None, None) if mean.ratio.interval is None else mean.ratio.interval
    return {
        "oe": {"value": rounded(mean.ratio.ratio), "low": rounded(low), "high": rounded(high)},
        "p": rounded(scale.test.p_value),
        "power": rounded(scale.power),
        "power_alternative": inputs.spec.policy.power.portfolio_pd_multiple,
        "pd": rounded(scale.pd),
        "mean_p": rounded(mean.pd),
        "observed": rounded(scale.test.observed),
        "n": inputs.test.n,
        "events": inputs.test.events,
        "smallest_detectable_pd_multiple": rounded(scale.detectable.value),
        "smallest_detectable_power": inputs.spec.policy.power.detect_at,
    }

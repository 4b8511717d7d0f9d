"""Figures and tables of E2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from countermark.metrics.calibration import retail_correlation
from countermark.metrics.intervals import ObservedExpected, RateInterval, wilson_interval
from countermark.metrics.reliability import calibration_error, consistency_band, corp, quantile_edges
from countermark.records.evidence import (
    Block,
    Fact,
    Facts,
    Figure,
    Paragraph,
    ReferenceLine,
    RegisterRow,
    Scalar,
    Series,
    Table,
)
from countermark.validation.inputs import EvidenceInput
from countermark.validation.sentences import (
    between,
    columns,
    counted,
    described,
    level,
    listed,
    no_trend,
    outside_development,
    printed,
    raw_and_adjusted,
    rounded,
    row_name,
    row_value,
    with_interval,
)
from countermark.validation.series import estimates, numbers

BINS = 10
_GRID = 60
_BAND_RESAMPLES = 200
_MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class GradeLine:
    """One grade of the master scale against its outcomes."""

    name: str
    n: int
    events: int
    pd: float
    p_raw: float | None
    p_adjusted: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class GradeBlock:
    """Neighbouring grades merged until the Jeffreys test has power. ``grades`` are positions on the scale."""

    name: str
    grades: tuple[int, ...]
    n: int
    events: int
    pd: float
    p_raw: float | None
    p_adjusted: float | None
    power: float | None
    ratio: ObservedExpected
    reason: str | None


@dataclass(frozen=True, slots=True)
class VintageLine:
    """One vintage: rows, events, expected events."""

    name: str
    n: int
    events: int
    expected: float


def blocks(
    inputs: EvidenceInput,
    grades: tuple[GradeLine, ...],
    merged: tuple[GradeBlock, ...],
    vintages: tuple[VintageLine, ...],
    rows: tuple[RegisterRow, ...],
) -> tuple[Block, ...]:
    """Everything E2 prints, in reading order; a figure without data is left out."""
    found: list[Block | None] = [
        _block_table(inputs, merged, rows),
        _reliability(inputs),
        _bin_table(inputs),
        _grade_figure(inputs, grades),
        _decomposition(inputs),
        # Where every block is one grade, the table of blocks says it all.
        _grade_table(inputs, grades, merged) if len(merged) < sum(g.n > 0 for g in grades) else None,
        _vintage_figure(inputs, vintages) if len(vintages) > 1 else None,
        _vintage_table(inputs, vintages)
        if len(vintages) > 1
        else Paragraph(text=no_trend([v.name for v in vintages], "calibration")),
        _test_table(inputs, rows),
        _facts(inputs),
    ]
    return tuple(b for b in found if b is not None)


def _block_table(inputs: EvidenceInput, merged: tuple[GradeBlock, ...], rows: tuple[RegisterRow, ...]) -> Table:
    lights = {r.segment: r for r in rows if r.test_id == "cal.jeffreys" and r.gating}
    lines: list[dict[str, Scalar]] = []
    for block in merged:
        row = lights.get(f"grades {block.name}")
        lines.append(
            {
                "grades": block.name,
                "n": block.n,
                "events": block.events,
                "pd": rounded(block.pd),
                "rate": rounded(block.events / block.n),
                "oe": with_interval(block.ratio.ratio, block.ratio.interval, "ratio"),
                "p": raw_and_adjusted(block.p_raw, block.p_adjusted),
                "power": rounded(block.power),
                "light": None if row is None else row.light.value,
            }
        )
    powers = [b.power for b in merged if b.power is not None]
    least = printed(min(powers), "share") if powers else "unknown"
    multiple = inputs.spec.policy.power.block_pd_multiple
    return Table(
        id="E2-T1",
        caption=(
            f"{counted(len(merged), 'block')} of grades carry the light; the least power at PD x {multiple:g} is "
            f"{least} ({described(inputs.test)}; {level(inputs.spec.policy)} Clopper-Pearson limits)."
        ),
        columns=columns(
            ("grades", "Grades", "text"), ("n", "N", "int"), ("events", "D", "int"), ("pd", "PD", "share"),
            ("rate", "Observed", "share"), ("oe", "O/E (interval)", "text"), ("p", "p (Holm)", "text"),
            ("power", "Power", "share"),
            ("light", "Light", "light"),
        ),
        rows=tuple(lines),
        empty="No grade has rows in the test sample.",
    )  # fmt: skip


def _reliability(inputs: EvidenceInput) -> Figure | None:
    test, policy = inputs.test, inputs.spec.policy
    curve = corp(test.y, test.p)
    if curve.reason is not None:
        return None
    at = np.unique(np.quantile(test.p, np.linspace(0.005, 0.995, _GRID), method="nearest"))
    where = np.searchsorted(curve.p, at)
    band = consistency_band(
        test.p, at, resamples=min(_BAND_RESAMPLES, policy.bootstrap_resamples), confidence=policy.confidence,
        seed=policy.seed,
    )  # fmt: skip
    x = numbers(at)
    fitted = curve.fitted[where]
    outside = int(np.count_nonzero((fitted < band.low) | (fitted > band.high)))
    bins = _bin_points(inputs)
    claim = (
        f"The isotonic curve leaves the consistency band at {outside} of {at.size} points"
        if outside
        else "The isotonic curve stays inside the consistency band"
    )
    return Figure(
        id="E2-F1", chart="xy",
        caption=f"{claim} ({described(test)}; bins of the development sample with {level(policy)} Wilson bars).",
        alt=(
            f"Observed rate against predicted probability on the {test.label} sample, with the diagonal. Isotonic "
            f"curve from {printed(float(fitted[0]), 'share')} at p {printed(float(at[0]), 'share')} to "
            f"{printed(float(fitted[-1]), 'share')} at p {printed(float(at[-1]), 'share')}; "
            f"{outside} of {at.size} points outside the {level(inputs.spec.policy)} consistency band."
        ),
        x_label="Predicted probability", y_label="Observed rate", x_format="share", y_format="share",
        series=(
            Series(
                name="consistency band", role="reference", mark="area", x=x, y=x,
                low=tuple(rounded(float(v)) for v in band.low), high=tuple(rounded(float(v)) for v in band.high),
            ),
            Series(name="isotonic curve", role=test.role, x=x, y=numbers(fitted)),
            bins,
        ),
        lines=(ReferenceLine(axis="diagonal", label="calibrated"),),
    )  # fmt: skip


def _bin_points(inputs: EvidenceInput) -> Series:
    test, confidence = inputs.test, inputs.spec.policy.confidence
    got = calibration_error(test.y, test.p, quantile_edges(inputs.samples["development"].p, BINS))
    used = [i for i in range(got.n.size) if got.n[i] > 0]
    events = [round(float(got.observed[i]) * int(got.n[i])) for i in used]
    ends = [
        wilson_interval(int(got.n[i]), d, confidence=confidence).interval for i, d in zip(used, events, strict=True)
    ]
    return estimates(
        "bins", numbers(got.predicted[used]), numbers(got.observed[used]), ends, role=test.role,
        n=[int(got.n[i]) for i in used],
    )  # fmt: skip


def _bin_table(inputs: EvidenceInput) -> Table:
    test, confidence = inputs.test, inputs.spec.policy.confidence
    got = calibration_error(test.y, test.p, quantile_edges(inputs.samples["development"].p, BINS))
    rows: list[dict[str, Scalar]] = []
    for i in range(got.n.size):
        n = int(got.n[i])
        d = round(float(got.observed[i]) * n) if n else 0
        rows.append(
            {
                "from": rounded(float(got.edges[i])),
                "to": rounded(float(got.edges[i + 1])),
                "n": n,
                "events": d,
                "predicted": rounded(float(got.predicted[i])),
                "observed": rounded(float(got.observed[i])),
                "interval": between(wilson_interval(n, d, confidence=confidence).interval, "share"),
            }
        )
    value = "undefined" if got.value is None else printed(got.value, "points")
    return Table(
        id="E2-T2",
        caption=f"Expected calibration error is {value} ({described(test)}; equal shares of the development sample).",
        columns=columns(
            ("from", "From", "share"), ("to", "To", "share"), ("n", "N", "int"), ("events", "D", "int"),
            ("predicted", "Predicted", "share"), ("observed", "Observed", "share"),
            ("interval", "Wilson interval", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _grade_figure(inputs: EvidenceInput, grades: tuple[GradeLine, ...]) -> Figure | None:
    used = [g for g in grades if g.n]
    if not used:
        return None
    confidence = inputs.spec.policy.confidence
    rates = [wilson_interval(g.n, g.events, confidence=confidence) for g in used]
    low = [g.name for g, r in zip(used, rates, strict=True) if r.interval is not None and g.pd < r.interval[0]]
    names = tuple(g.name for g in used)
    claim = f"Observed rates lie above the PD in {listed(low)}" if low else "No grade's observed rate lies above its PD"
    first, last = used[0], used[-1]
    return Figure(
        id="E2-F2", chart="xy",
        caption=f"{claim} beyond the interval ({described(inputs.test)}; bars are {level(inputs.spec.policy)} Wilson).",
        alt=(
            f"Observed event rate with interval and PD by grade. Grade {first.name}: observed "
            f"{printed(first.events / first.n, 'share')}, PD {printed(first.pd, 'share')}; grade {last.name}: observed "
            f"{printed(last.events / last.n, 'share')}, PD {printed(last.pd, 'share')}. "
            f"Above the PD beyond the interval: {listed(low) if low else 'none'}."
        ),
        x_label="Grade", y_label="Event rate", x_format="text", y_format="share", size="half",
        series=(
            _observed(inputs, names, rates, [g.n for g in used]),
            Series(name="PD", role="reference", mark="line", x=names, y=tuple(rounded(g.pd) for g in used)),
        ),
    )  # fmt: skip


def _observed(inputs: EvidenceInput, x: Sequence[str], rates: Sequence[RateInterval], n: Sequence[int]) -> Series:
    """Observed rates with their intervals."""
    return estimates("observed", x, [r.rate for r in rates], [r.interval for r in rates], role=inputs.test.role, n=n)


def _grade_table(inputs: EvidenceInput, grades: tuple[GradeLine, ...], merged: tuple[GradeBlock, ...]) -> Table:
    home = {i: b.name for b in merged for i in b.grades}
    confidence = inputs.spec.policy.confidence
    rows: list[dict[str, Scalar]] = []
    for i, g in enumerate(grades):
        rate = wilson_interval(g.n, g.events, confidence=confidence)
        rows.append(
            {
                "grade": g.name,
                "n": g.n,
                "events": g.events,
                "pd": rounded(g.pd),
                "rate": rounded(rate.rate),
                "interval": between(rate.interval, "share"),
                "expected": rounded(g.n * g.pd),
                "raw": rounded(g.p_raw),
                "holm": rounded(g.p_adjusted),
                "block": home.get(i, ""),
            }
        )
    small = [g.name for g in grades if g.p_adjusted is not None and g.p_adjusted < inputs.spec.policy.alpha]
    claim = f"Grades {listed(small)} stand out even after Holm's adjustment" if small else "No single grade stands out"
    return Table(
        id="E2-T3",
        caption=f"{claim} ({described(inputs.test)}; grades alone are information, blocks are judged).",
        columns=columns(
            ("grade", "Grade", "text"), ("n", "N", "int"), ("events", "D", "int"), ("pd", "PD", "share"),
            ("rate", "Observed", "share"), ("interval", "Wilson interval", "text"),
            ("expected", "Expected D", "number"),
            ("raw", "p", "pvalue"), ("holm", "p (Holm)", "pvalue"),
            ("block", "Block", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _vintage_figure(inputs: EvidenceInput, vintages: tuple[VintageLine, ...]) -> Figure | None:
    if not vintages:
        return None
    rates = [wilson_interval(v.n, v.events, confidence=inputs.spec.policy.confidence) for v in vintages]
    predicted = [v.expected / v.n for v in vintages]
    low = [
        v.name
        for v, r, p in zip(vintages, rates, predicted, strict=True)
        if r.interval is not None and p < r.interval[0]
    ]
    claim = (
        f"The observed rate exceeds the predicted one in {listed(low)}"
        if low
        else "No vintage's observed rate exceeds the predicted one"
    )
    n, d = sum(v.n for v in vintages), sum(v.events for v in vintages)
    names = tuple(v.name for v in vintages)
    return Figure(
        id="E2-F3", chart="xy",
        caption=(
            f"{claim} beyond the interval ({outside_development(inputs)}, N = {printed(n, 'int')}, "
            f"D = {printed(d, 'int')}; bars are {level(inputs.spec.policy)} Wilson)."
        ),
        alt=(
            f"Observed and predicted event rate by vintage, {names[0]} to {names[-1]}. First: observed "
            f"{printed(rates[0].rate, 'share')}, predicted {printed(predicted[0], 'share')}; last: observed "
            f"{printed(rates[-1].rate, 'share')}, predicted {printed(predicted[-1], 'share')}."
        ),
        x_label="Vintage", y_label="Event rate", x_format="text", y_format="share",
        series=(
            _observed(inputs, names, rates, [v.n for v in vintages]),
            Series(name="predicted", role="reference", mark="line", x=names, y=tuple(rounded(p) for p in predicted)),
        ),
    )  # fmt: skip


def _vintage_table(inputs: EvidenceInput, vintages: tuple[VintageLine, ...]) -> Table:
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "vintage": v.name,
            "n": v.n,
            "events": v.events,
            "observed": rounded(v.events / v.n),
            "predicted": rounded(v.expected / v.n),
            "oe": rounded(v.events / v.expected) if v.expected > 0.0 else None,
        }
        for v in vintages[-_MOST_ROWS:]
    )
    n, d = sum(v.n for v in vintages), sum(v.events for v in vintages)
    total = sum(v.expected for v in vintages)
    ratio = printed(d / total, "ratio") if total > 0.0 else "undefined"
    latest = "; the latest are printed" if len(vintages) > _MOST_ROWS else ""
    return Table(
        id="E2-T4",
        caption=(
            f"Over {counted(len(vintages), 'vintage')} observed over expected is {ratio}{latest} "
            f"({outside_development(inputs)}, N = {printed(n, 'int')}, D = {printed(d, 'int')})."
        ),
        columns=columns(
            ("vintage", "Vintage", "text"), ("n", "N", "int"), ("events", "D", "int"),
            ("observed", "Observed", "share"),
            ("predicted", "Predicted", "share"), ("oe", "O/E", "ratio"),
        ),
        rows=rows,
        total_rows=len(vintages),
    )  # fmt: skip


def _decomposition(inputs: EvidenceInput) -> Figure | None:
    parts = corp(inputs.test.y, inputs.test.p)
    if parts.miscalibration is None or parts.discrimination is None or parts.uncertainty is None:
        return None
    values = (parts.uncertainty, -parts.discrimination, parts.miscalibration)
    share = printed(parts.miscalibration_share, "share")
    return Figure(
        id="E2-F4", chart="waterfall", size="half",
        caption=f"Miscalibration is {share} of uncertainty ({described(inputs.test)}; isotonic (CORP) decomposition).",
        alt=(
            f"Brier score {printed(parts.brier, 'score')} as uncertainty {printed(parts.uncertainty, 'score')} minus "
            f"discrimination {printed(parts.discrimination, 'score')} plus miscalibration "
            f"{printed(parts.miscalibration, 'score')}."
        ),
        y_label="Brier score", y_format="score",
        series=(
            Series(
                name="Brier score", role=inputs.test.role, mark="bars",
                x=("uncertainty", "discrimination", "miscalibration"), y=tuple(rounded(v) for v in values),
            ),
        ),
    )  # fmt: skip


def _test_table(inputs: EvidenceInput, rows: tuple[RegisterRow, ...]) -> Table:
    lines: tuple[dict[str, Scalar], ...] = tuple(
        {
            "test": row_name(r),
            "value": row_value(r),
            "p": r.p_raw,
            "power": r.power,
            "light": r.light.value,
        }
        for r in rows
        if not r.segment.startswith("grade")
    )
    gating = sum(r.gating for r in rows if not r.segment.startswith("grade"))
    return Table(
        id="E2-T5",
        caption=(
            f"{counted(gating, 'portfolio test gates', 'portfolio tests gate')} the light ({described(inputs.test)})."
        ),
        columns=columns(
            ("test", "Test, and what it measures", "text"), ("value", "Value (interval)", "text"),
            ("p", "p", "pvalue"), ("power", "Power", "share"), ("light", "Light", "light"),
        ),
        rows=lines,
    )  # fmt: skip


def _facts(inputs: EvidenceInput) -> Facts:
    test, policy = inputs.test, inputs.spec.policy
    pd = float(np.mean(test.grade_pd[test.grade])) if test.n else 0.0
    return Facts(
        id="E2-T6",
        caption="Choices behind the tests, fixed before the outcomes were seen.",
        facts=(
            Fact(
                label="Asset correlation (Basel CRE31, other retail)",
                value=rounded(retail_correlation(pd)),
                format="share",
            ),
            Fact(label="Alternative for portfolio power", value=f"PD × {policy.power.portfolio_pd_multiple:g}"),
            Fact(label="Alternative for block power", value=f"PD × {policy.power.block_pd_multiple:g}"),
            Fact(label="Power below which a pass is not evaluated", value=policy.power.floor, format="share"),
            Fact(label="Material from, relative to PD", value=policy.materiality.pd_relative, format="share"),
            Fact(label="Material from, absolute", value=policy.materiality.pd_absolute, format="points"),
            Fact(label="Hosmer-Lemeshow degrees of freedom", value="number of groups: the PDs were given"),
        ),
    )

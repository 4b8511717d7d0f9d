"""Figures and tables of E2 for amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from countermark.config.spec import ModelSpec
from countermark.metrics.amounts import MeanInterval, mean_interval
from countermark.metrics.binning import NumericBins, quantile_cuts
from countermark.metrics.shortfall import Shortfall
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
from countermark.validation.amounts import gap_format, value_format, value_word
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
)
from countermark.validation.series import estimates

BINS = 10
_MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class BackTest:
    """Realised against estimated amounts of some rows.

    Attributes:
        name: What is tested: the portfolio, a pool, a block of pools, a segment, a vintage.
        n: Rows.
        realised: Mean realised amount; None without rows.
        estimated: Mean estimate; None without rows.
        test: Paired t-test.
        p: p to be judged: of the t-test, or the smaller of it and a bootstrap's where rows are few.
        p_adjusted: Holm-adjusted over its family; None where it stands alone or is undefined.
        power: Power at the policy's alternative; None if undefined.
        reason: Why it must not be judged.
    """

    name: str
    n: int
    realised: float | None
    estimated: float | None
    test: Shortfall
    p: float | None
    p_adjusted: float | None
    power: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Level:
    """Every back-test of E2.

    Attributes:
        whole: The portfolio.
        pools: Every pool.
        blocks: Pools merged until the test has power; these gate.
        segments: Declared segments.
        vintages: Vintages of every sample that was not fitted on.
    """

    whole: BackTest
    pools: tuple[BackTest, ...]
    blocks: tuple[BackTest, ...]
    segments: tuple[BackTest, ...]
    vintages: tuple[BackTest, ...]


@dataclass(frozen=True, slots=True)
class _Bin:
    """Rows of the test sample whose estimates fall into one tenth of development."""

    n: int
    estimated: float
    realised: MeanInterval


def blocks(inputs: EvidenceInput, found: Level, rows: tuple[RegisterRow, ...]) -> tuple[Block, ...]:
    """Everything E2 prints, in reading order; a figure without data is left out."""
    bins = _bins(inputs)
    parts: list[Block | None] = [
        _block_table(inputs, found, rows),
        _reliability(inputs, bins),
        _bin_table(inputs, bins),
        _pool_figure(inputs, found),
        # Where every block is one pool, the table of blocks says it all.
        _pool_table(inputs, found) if len(found.blocks) < sum(p.n > 0 for p in found.pools) else None,
        _part_table("E2-T4", "segment", inputs, found.segments, rows) if found.segments else None,
        _vintage_figure(inputs, found.vintages) if len(found.vintages) > 1 else None,
        _part_table("E2-T5", "vintage", inputs, found.vintages, rows)
        if len(found.vintages) > 1
        else Paragraph(text=no_trend([v.name.removeprefix("vintage=") for v in found.vintages], "back-test")),
        _error_table(inputs, rows),
        _choices(inputs),
        Paragraph(text=_left_out(inputs)),
    ]
    return tuple(b for b in parts if b is not None)


def _left_out(inputs: EvidenceInput) -> str:
    """What the standard asks for and the spec has no place for."""
    if inputs.spec.kind == "lgd":
        return (
            "Not tested, because the spec has no place for it: downturn coverage, best estimate of expected loss and "
            "LGD in default, regulatory floors, the cure component, discounting and costs of the workout. Losses below "
            "0 and above the exposure are kept as they are (C3)."
        )
    return (
        "The test is of the outcome as declared, a conversion factor or an exposure in money, not of both. Not tested, "
        "because the spec has no place for it: calibration by band of utilisation, rows whose limit was already drawn, "
        "and floors."
    )


def _block_table(inputs: EvidenceInput, found: Level, rows: tuple[RegisterRow, ...]) -> Table:
    style, gap = value_format(inputs.spec), gap_format(inputs.spec)
    lights = {r.segment: r.light.value for r in rows if r.gating}
    powers = [b.power for b in found.blocks if b.power is not None]
    least = printed(min(powers), "share") if powers else "unknown"
    lines: tuple[dict[str, Scalar], ...] = tuple(
        {
            "pools": test.name,
            "n": test.n,
            "realised": rounded(test.realised),
            "estimated": rounded(test.estimated),
            "gap": rounded(test.test.mean_difference),
            "p": raw_and_adjusted(test.p, test.p_adjusted)
            if test.p_adjusted is not None
            else printed(test.p, "pvalue"),
            "power": rounded(test.power),
            "light": lights.get(segment),
        }
        for test, segment in ((found.whole, "all"), *((b, f"block {b.name}") for b in found.blocks))
    )
    return Table(
        id="E2-T1",
        caption=f"The portfolio and {counted(len(found.blocks), 'block')} of pools carry the light; the least power of "
        f"a block is {least} ({described(inputs.test)}; one-sided t-tests).",
        columns=columns(
            ("pools", "Pools", "text"), ("n", "N", "int"), ("realised", "Mean realised", style),
            ("estimated", "Mean estimated", style), ("gap", "Difference", gap), ("p", "p (Holm)", "text"),
            ("power", "Power", "share"), ("light", "Light", "light"),
        ),
        rows=lines,
    )  # fmt: skip


def _bins(inputs: EvidenceInput) -> tuple[_Bin, ...]:
    """Tenths of the development estimates, those that hold a row of the test sample."""
    test = inputs.test
    cuts = NumericBins(quantile_cuts(inputs.samples["development"].p, BINS))
    index = cuts.index(test.p)
    return tuple(
        _Bin(
            int((index == k).sum()),
            float(np.mean(test.p[index == k])),
            mean_interval(test.y[index == k], confidence=inputs.spec.policy.confidence),
        )
        for k in np.unique(index).tolist()
    )


def _reliability(inputs: EvidenceInput, bins: tuple[_Bin, ...]) -> Figure | None:
    test, style, word = inputs.test, value_format(inputs.spec), value_word(inputs.spec)
    if len(bins) < 2:
        return None
    ends = [b.realised.interval for b in bins]
    low = sum(e is not None and b.estimated < e[0] for b, e in zip(bins, ends, strict=True))
    first, last = bins[0], bins[-1]
    claim = f"The mean realised {word} lies above the estimate in {low} of {counted(len(bins), 'bin')}"
    return Figure(
        id="E2-F1", chart="xy", size="half",
        caption=f"{claim} beyond the interval ({described(test)}; tenths of development, "
        f"{level(inputs.spec.policy)} Student).",
        alt=(
            f"Mean realised {word} with interval against mean estimate by tenth of the development estimates, with the "
            f"diagonal: from realised {printed(first.realised.mean, style)} at estimate "
            f"{printed(first.estimated, style)} to {printed(last.realised.mean, style)} at "
            f"{printed(last.estimated, style)}; {low} of {len(bins)} bins lie above."
        ),
        x_label=f"Mean estimated {word}", y_label=f"Mean realised {word}", x_format=style, y_format=style,
        series=(
            estimates(
                "bins", [rounded(b.estimated) or 0.0 for b in bins], [b.realised.mean for b in bins], ends,
                role=test.role, n=[b.n for b in bins],
            ),
        ),
        lines=(ReferenceLine(axis="diagonal", label="calibrated"),),
    )  # fmt: skip


def _bin_table(inputs: EvidenceInput, bins: tuple[_Bin, ...]) -> Table:
    style = value_format(inputs.spec)
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "n": b.n,
            "estimated": rounded(b.estimated),
            "realised": rounded(b.realised.mean),
            "interval": between(b.realised.interval, style),
            "ratio": rounded(b.realised.mean / b.estimated)
            if b.realised.mean is not None and b.estimated > 0
            else None,
        }
        for b in bins
    )
    return Table(
        id="E2-T2",
        caption=f"Estimated and realised means by tenth of the development estimates ({described(inputs.test)}).",
        columns=columns(
            ("estimated", "Mean estimated", style), ("realised", "Mean realised", style),
            ("interval", "Interval", "text"), ("ratio", "Realised / estimated", "ratio"), ("n", "N", "int"),
        ),
        rows=rows,
        empty="The test sample has no rows.",
    )  # fmt: skip


def means_text(spec: ModelSpec, found: BackTest) -> str:
    """'realised 31.2 %, estimated 30.8 %': both means of a back-test as they are printed."""
    style = value_format(spec)
    return f"realised {printed(found.realised, style)}, estimated {printed(found.estimated, style)}"


def _estimated(tests: Sequence[tuple[str, BackTest]]) -> Series:
    """Mean estimates as a line that the realised means are read against."""
    return Series(
        name="estimated", role="reference", mark="line", x=tuple(name for name, _ in tests),
        y=tuple(rounded(test.estimated) for _, test in tests),
    )  # fmt: skip


def _pool_figure(inputs: EvidenceInput, found: Level) -> Figure | None:
    test, style, word = inputs.test, value_format(inputs.spec), value_word(inputs.spec)
    used = [(k, p) for k, p in enumerate(found.pools) if p.n]
    if not used:
        return None
    names = tuple(p.name for _, p in used)
    means = [mean_interval(test.y[test.grade == k], confidence=inputs.spec.policy.confidence) for k, _ in used]
    low = [
        p.name
        for (_, p), m in zip(used, means, strict=True)
        if m.interval is not None and p.estimated is not None and p.estimated < m.interval[0]
    ]
    claim = f"Realised amounts lie above the estimate in {listed(low)}" if low else "No pool lies above its estimate"
    first, last = used[0][1], used[-1][1]
    return Figure(
        id="E2-F2", chart="xy", size="half",
        caption=f"{claim} beyond the interval ({described(test)}; bars are {level(inputs.spec.policy)} Student).",
        alt=(
            f"Mean realised {word} with interval and mean estimate by pool. Pool {first.name}: "
            f"{means_text(inputs.spec, first)}; pool {last.name}: {means_text(inputs.spec, last)}."
        ),
        x_label="Pool", y_label=f"Mean {word}", x_format="text", y_format=style,
        series=(
            estimates(
                "realised", names, [m.mean for m in means], [m.interval for m in means], role=test.role,
                n=[p.n for _, p in used],
            ),
            _estimated([(name, p) for name, (_, p) in zip(names, used, strict=True)]),
        ),
    )  # fmt: skip


def _pool_table(inputs: EvidenceInput, found: Level) -> Table:
    style = value_format(inputs.spec)
    small = [p.name for p in found.pools if p.p_adjusted is not None and p.p_adjusted < inputs.spec.policy.alpha]
    claim = f"Pools {listed(small)} stand out even after Holm's adjustment" if small else "No single pool stands out"
    return Table(
        id="E2-T3",
        caption=f"{claim} ({described(inputs.test)}; pools alone are information, blocks are judged).",
        columns=columns(
            ("pool", "Pool", "text"), ("value", "Pool value", style), ("n", "N", "int"),
            ("realised", "Mean realised", style), ("estimated", "Mean estimated", style), ("raw", "p", "pvalue"),
            ("holm", "p (Holm)", "pvalue"), ("reason", "Not judged, because", "text"),
        ),
        rows=tuple(
            {
                "pool": p.name,
                "value": rounded(float(inputs.test.grade_pd[k])),
                "n": p.n,
                "realised": rounded(p.realised),
                "estimated": rounded(p.estimated),
                "raw": rounded(p.p),
                "holm": rounded(p.p_adjusted),
                "reason": p.reason,
            }
            for k, p in enumerate(found.pools)
        ),
    )  # fmt: skip


def _part_table(
    table_id: str, kind: str, inputs: EvidenceInput, parts: tuple[BackTest, ...], rows: tuple[RegisterRow, ...]
) -> Table:
    style, gap = value_format(inputs.spec), gap_format(inputs.spec)
    lights = {r.segment: r.light.value for r in rows if not r.gating}
    ordered = sorted(parts, key=lambda p: (-(p.test.mean_difference or float("-inf")), p.name))
    shown = parts if kind == "vintage" and len(parts) <= _MOST_ROWS else tuple(ordered[:_MOST_ROWS])
    worst = next((p for p in ordered if p.reason is None), None)
    claim = f"No {kind} has rows enough, so none is judged"
    if worst is not None:
        claim = f"The estimate falls shortest in {worst.name}, by {printed(worst.test.mean_difference, gap)} on average"
        claim += "; the largest are printed" if len(shown) < len(parts) else ""
    n = sum(p.n for p in parts)
    where = described(inputs.test) if kind == "segment" else f"{outside_development(inputs)}, N = {printed(n, 'int')}"
    return Table(
        id=table_id,
        caption=f"{claim} ({where}; one-sided t-tests, Holm over the {kind}s; none of them gates).",
        columns=columns(
            ("name", kind.capitalize(), "text"), ("n", "N", "int"), ("realised", "Mean realised", style),
            ("estimated", "Mean estimated", style), ("gap", "Difference", gap), ("p", "p (Holm)", "text"),
            ("light", "Light", "light"),
        ),
        rows=tuple(
            {
                "name": p.name.removeprefix("vintage="),
                "n": p.n,
                "realised": rounded(p.realised),
                "estimated": rounded(p.estimated),
                "gap": rounded(p.test.mean_difference),
                "p": raw_and_adjusted(p.p, p.p_adjusted),
                "light": lights.get(p.name),
            }
            for p in shown
        ),
        total_rows=len(parts),
    )  # fmt: skip


def _vintage_figure(inputs: EvidenceInput, vintages: tuple[BackTest, ...]) -> Figure:
    style, word = value_format(inputs.spec), value_word(inputs.spec)
    names = tuple(v.name.removeprefix("vintage=") for v in vintages)
    first, last = vintages[0], vintages[-1]
    n = sum(v.n for v in vintages)
    above = sum((v.test.mean_difference or 0.0) > 0.0 for v in vintages)
    return Figure(
        id="E2-F3", chart="xy", size="half",
        caption=f"The mean realised {word} lies above the mean estimate in {above} of "
        f"{counted(len(vintages), 'vintage')} ({outside_development(inputs)}, N = {printed(n, 'int')}).",
        alt=(
            f"Mean realised and mean estimated {word} by vintage, {names[0]} to {names[-1]}. First: "
            f"{means_text(inputs.spec, first)}; last: {means_text(inputs.spec, last)}."
        ),
        x_label="Vintage", y_label=f"Mean {word}", x_format="text", y_format=style,
        series=(
            Series(
                name="realised", role=inputs.test.role, mark="points", x=names,
                y=tuple(rounded(v.realised) for v in vintages), n=tuple(v.n for v in vintages),
            ),
            _estimated(list(zip(names, vintages, strict=True))),
        ),
    )  # fmt: skip


def _error_table(inputs: EvidenceInput, rows: tuple[RegisterRow, ...]) -> Table:
    shown = [r for r in rows if r.test_id in ("cal.coverage", "cal.line", "cal.error")]
    coverage = next(r for r in shown if r.test_id == "cal.coverage")
    return Table(
        id="E2-T6",
        caption=f"Realised over estimated is {printed(coverage.statistic, 'ratio')} ({described(inputs.test)}; sizes "
        "of errors are information).",
        columns=columns(
            ("test", "Test, and what it measures", "text"), ("value", "Value (interval)", "text"),
            ("light", "Light", "light"),
        ),
        rows=tuple(
            {
                "test": row_name(r),
                "value": row_value(r),
                "light": r.light.value,
            }
            for r in shown
        ),
    )  # fmt: skip


def _choices(inputs: EvidenceInput) -> Facts:
    policy, lgd = inputs.spec.policy, inputs.spec.kind == "lgd"
    shift: Fact = (
        Fact(label="Alternative for power, LGD", value=policy.power.lgd_shift, format="points")
        if lgd
        else Fact(label="Alternative for power, of the mean estimate", value=policy.power.ead_relative, format="share")
    )
    absolute = (Fact(label="Material from, absolute", value=policy.materiality.lgd_absolute, format="points"),)
    return Facts(
        id="E2-T7",
        caption="Choices behind the tests, fixed before the outcomes were seen.",
        facts=(
            shift,
            Fact(label="Power below which a pass is not evaluated", value=policy.power.floor, format="share"),
            Fact(
                label="Material from, relative to the estimate",
                value=policy.materiality.amount_relative,
                format="share",
            ),
            *(absolute if lgd else ()),
            Fact(label="Rows below which a bootstrap must agree", value=policy.minimum_group, format="int"),
            Fact(label="Rows below which nothing is judged", value=policy.minimum_events, format="int"),
            Fact(label="Rows count alike", value="no weight by exposure: the data set holds none"),
        ),
    )

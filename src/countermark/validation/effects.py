"""G3: what shape does the effect of each input have, and does it keep the direction that was promised?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import Feature
from countermark.metrics.effects import (
    AleCurve,
    Direction,
    Violations,
    ale_edges,
    ale_first_order,
    isotonic_distance,
    monotonicity_violations,
)
from countermark.records.evidence import (
    Block,
    Figure,
    ReferenceLine,
    RegisterRow,
    Scalar,
    Series,
    Table,
)
from countermark.records.lights import Light
from countermark.validation.amounts import gap_format, value_format, value_word
from countermark.validation.border_grid import border_grid
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.phrasing import limit_phrase
from countermark.validation.sentences import (
    columns,
    counted,
    described,
    listed,
    printed,
    rounded,
    sentence,
    with_light,
)

SECTION = "G3"
Columns: TypeAlias = Mapping[str, NDArray[Any]]
Floats: TypeAlias = NDArray[np.float64]

_INTERVALS = 20
_ALE_ROWS = 20_000
_ICE_ROWS = 2_000
_CHUNK = 200_000
_DRAWN = 6
_SMALL_NUMBER = 1e-12
"""Rounding of a probability; a step this small against the direction is no violation of it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The accumulated local effect of one numeric input.

    Attributes:
        curve: Effects in margin (column 0) and probability (column 1); None if the input does not vary.
        rows: Rows behind it.
    """

    name: str
    curve: AleCurve | None
    rows: int

    @property
    def span(self) -> float:
        """Largest minus smallest effect in margin space; 0 without a curve."""
        return 0.0 if self.curve is None else float(np.ptp(self.curve.effect[:, 0]))


@dataclass(frozen=True, slots=True)
class Direct:
    """How one input keeps its declared direction, on average and row by row.

    Attributes:
        ale: Steps of the average curve.
        ice: Steps of every row's own curve over the whole grid, in margin space.
        drop: Largest step against the direction in probability.
        isotonic: Distance of the average curve to the nearest monotone one, in margin space.
        rows: Rows checked.
        grid: Points of the grid.
    """

    name: str
    direction: Direction
    enforced: bool
    ale: Violations | None
    ice: Violations
    drop: float
    isotonic: float
    rows: int
    grid: int


def effect_shapes(inputs: EvidenceInput) -> SectionEvidence:
    """G3: accumulated local effects of every numeric input, and violations of declared directions row by row."""
    shapes = tuple(_shape(inputs, name) for name in _numeric(inputs))
    directs = tuple(d for s in shapes if (d := _direct(inputs, s)) is not None)
    rows = (
        *(_share_row(inputs, d) for d in directs),
        *(_drop_row(inputs, d) for d in directs),
        *(_width_row(inputs, s) for s in shapes),
    )
    levels = {name: _level_effects(inputs, name) for name in _categorical(inputs)}
    blocks: list[Block] = [_violation_table(inputs, directs)]
    drawn = sorted(shapes, key=lambda s: (-s.span, s.name))
    figures = [_effect_figure(inputs, s, s.curve) for s in drawn[:_DRAWN] if s.curve is not None]
    figures += [_bars(inputs, name, effects) for name, effects in levels.items() if effects]
    blocks += [f.model_copy(update={"id": f"G3-F{k}"}) for k, f in enumerate(figures, start=1)]
    blocks.append(_span_table(inputs, drawn))
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, directs, rows, drawn),
        would_change=(
            "Steps against a declared direction (limit: "
            f"{limit_phrase(inputs.spec.policy.limits['xai.monotonicity'].text, 'share')}), or a single drop of "
            f"{_smallest_drop(inputs)} or more."
        ),
        so_what=(
            "Where an effect runs against its declared direction, an estimate can rise for a change that should have "
            "lowered it."
            if inputs.spec.is_amount
            else "Where an effect runs against its declared direction, an applicant can be scored riskier for a change "
            "that should have helped."
        ),
        rows=rows,
        blocks=tuple(blocks),
        extras={
            "directions_declared": len(directs),
            "directions_broken": sorted({r.segment.partition(":")[0] for r in with_light(rows, Light.FAIL)}),
        },
    )


def _numeric(inputs: EvidenceInput) -> tuple[str, ...]:
    return tuple(i.name for i in inputs.scorer.inputs if i.type == "numeric")


def _categorical(inputs: EvidenceInput) -> tuple[str, ...]:
    return tuple(i.name for i in inputs.scorer.inputs if i.type == "categorical")


def _drawn_rows(inputs: EvidenceInput, sample: Sample, most: int) -> NDArray[np.int64]:
    """A fixed draw of rows, in order; all of them if they are few."""
    if sample.n <= most:
        return np.arange(sample.n)
    chosen = np.random.default_rng(inputs.spec.seed).choice(sample.n, most, replace=False)
    return np.sort(chosen).astype(np.int64)


def _taken(features: Columns, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in features.items()}


def _shape(inputs: EvidenceInput, name: str) -> Shape:
    test = inputs.test
    rows = _drawn_rows(inputs, test, _ALE_ROWS)
    rows = rows[~np.isnan(test.features[name][rows])]
    rest = _taken(test.features, rows)

    def predict(values: Floats) -> Floats:
        margin = inputs.scorer.margin({**rest, name: values})
        return np.column_stack([margin, inputs.scorer.probability(margin)])

    values = test.features[name][rows]
    return Shape(name, ale_first_order(predict, values, ale_edges(values, _INTERVALS)), int(rows.size))


def _direct(inputs: EvidenceInput, shape: Shape) -> Direct | None:
    """Check the declared direction of an input; None if none is declared."""
    declared = inputs.spec.features.get(shape.name)
    if declared is None or declared.expected == "none":
        return None
    direction: Direction = declared.expected
    test = inputs.test
    rows = _drawn_rows(inputs, test, _ICE_ROWS)
    grid = border_grid(inputs.scorer, shape.name, inputs.samples["development"].features[shape.name])
    ice, drop = _row_curves(inputs, shape.name, _taken(test.features, rows), grid, direction)
    curve = None if shape.curve is None else shape.curve.effect[:, 0]
    # Accumulating leaves rounding dust in flat stretches; the row curves below carry none and have tolerance zero.
    tolerance = 1e-9 * max(shape.span, 1.0)
    return Direct(
        name=shape.name,
        direction=direction,
        enforced=declared.monotone,
        ale=None if curve is None else monotonicity_violations(curve, direction, tolerance=tolerance),
        ice=ice,
        drop=drop,
        isotonic=0.0 if curve is None else isotonic_distance(curve, direction),
        rows=int(rows.size),
        grid=int(grid.size),
    )


def _row_curves(
    inputs: EvidenceInput, name: str, rest: Columns, grid: Floats, direction: Direction
) -> tuple[Violations, float]:
    """Every row's own curve over the whole grid: violations in margin space, largest drop in probability."""
    n = len(rest[name])
    total = Violations(0, 0, 0, 0, 0.0)
    drop, dust = 0.0, _SMALL_NUMBER * max(1.0, _mean_size(inputs))
    for start in range(0, n if grid.size > 1 else 0, max(1, _CHUNK // max(grid.size, 1))):
        rows = slice(start, min(n, start + max(1, _CHUNK // grid.size)))
        size = rows.stop - rows.start
        spread = {k: np.repeat(v[rows], grid.size) for k, v in rest.items()} | {name: np.tile(grid, size)}
        margin = inputs.scorer.margin(spread)
        part = monotonicity_violations(margin.reshape(size, grid.size), direction)
        p = inputs.scorer.probability(margin).reshape(size, grid.size)
        drop = max(drop, monotonicity_violations(p, direction, tolerance=dust).max_drop)
        total = Violations(
            total.steps + part.steps,
            total.violations + part.violations,
            total.curves + part.curves,
            total.curves_violating + part.curves_violating,
            max(total.max_drop, part.max_drop),
        )
    return total, (drop if drop > dust else 0.0)


def _share_row(inputs: EvidenceInput, direct: Direct) -> RegisterRow:
    """Share of steps against the direction; average and row curves count together."""
    thin = _thin(inputs, direct)
    ale = direct.ale or Violations(0, 0, 0, 0, 0.0)
    share = max(direct.ice.rate or 0.0, ale.rate or 0.0)
    return inputs.row(Statistic(
        "xai.monotonicity", SECTION, f"Share of steps of {direct.name} against '{direct.direction}'",
        sample=inputs.test.role, n=direct.rows, segment=direct.name, value=None if thin else share,
        effect=None if thin else direct.isotonic, limit="xai.monotonicity", undefined=thin, seed=inputs.spec.seed,
        fmt="share",
    ))  # fmt: skip


def _mean_size(inputs: EvidenceInput) -> float:
    """What a drop is counted in: one, or the mean size of an exposure's estimate."""
    size = float(np.abs(inputs.test.p).mean()) if inputs.spec.kind == "ead" and inputs.test.n else 1.0
    return size if size > 0.0 else 1.0


def _smallest_drop(inputs: EvidenceInput) -> str:
    """The drop that the policy fails, in words: of a share, or of the mean size of an exposure's estimate."""
    return "a basis point of the mean estimate" if inputs.spec.kind == "ead" else "a basis point"


def _drop_row(inputs: EvidenceInput, direct: Direct) -> RegisterRow:
    thin, word = _thin(inputs, direct), value_word(inputs.spec)
    unit = ", of the mean estimate" if inputs.spec.kind == "ead" else ""
    return inputs.row(Statistic(
        "xai.monotonicity", SECTION,
        f"Largest drop of the {word} of {direct.name} against '{direct.direction}'{unit}",
        sample=inputs.test.role, n=direct.rows, segment=f"{direct.name}: largest drop",
        value=None if thin else direct.drop / _mean_size(inputs), limit="xai.monotonicity_drop", undefined=thin,
        seed=inputs.spec.seed,
        fmt="points",
    ))  # fmt: skip


def _width_row(inputs: EvidenceInput, shape: Shape) -> RegisterRow:
    """How far the accumulated effect of an input reaches, in margin; information."""
    p_width = None if shape.curve is None else float(np.ptp(shape.curve.effect[:, 1]))
    return inputs.row(Statistic(
        "xai.pdp_ale", SECTION, f"Width of the accumulated local effect of {shape.name} in margin",
        sample=inputs.test.role, n=shape.rows, segment=shape.name, value=None if shape.curve is None else shape.span,
        effect=p_width, undefined=None if shape.curve is not None else "the input does not vary in the test sample",
        gating=False,
    ))  # fmt: skip


def _thin(inputs: EvidenceInput, direct: Direct) -> str | None:
    least = inputs.spec.policy.minimum_group
    if direct.rows < least:
        return f"{counted(direct.rows, 'row')} can be checked; the policy asks for {least}"
    if direct.ice.steps == 0:
        return "the input has a single value in development, so there is no step to check"
    return None


def _level_effects(inputs: EvidenceInput, name: str) -> list[tuple[str, int, float, float]]:
    """Level, rows, mean margin and mean probability if every row had the level, most frequent first."""
    test = inputs.test
    rows = _drawn_rows(inputs, test, _ICE_ROWS)
    rest = _taken(test.features, rows)
    values = test.features[name]
    levels = sorted({str(v) for v in values if v is not None})
    counts = {level: int(sum(v == level for v in values)) for level in levels}
    found = []
    for level in sorted(levels, key=lambda v: (-counts[v], v))[:15]:
        margin = inputs.scorer.margin({**rest, name: np.full(rows.size, level, dtype=object)})
        p = inputs.scorer.probability(margin)
        found.append((level, counts[level], float(margin.mean()), float(p.mean())))
    return found


def _violation_table(inputs: EvidenceInput, directs: Sequence[Direct]) -> Table:
    order = sorted(directs, key=lambda d: (-(d.ice.rate or 0.0), d.name))
    broken = [d for d in order if d.ice.violations or (d.ale is not None and d.ale.violations)]
    claim = "No direction is declared"
    if directs:
        end = "are broken somewhere" if len(broken) > 1 else "is broken somewhere" if broken else "is broken anywhere"
        claim = f"{len(broken) or 'None'} of {counted(len(directs), 'declared direction')} {end}"
    rows: list[dict[str, Scalar]] = [
        {
            "input": d.name,
            "direction": f"{d.direction}, enforced" if d.enforced else d.direction,
            "ale": None if d.ale is None else d.ale.violations,
            "steps": d.ice.steps,
            "against": d.ice.violations,
            "affected": rounded(d.ice.curves_violating / d.ice.curves if d.ice.curves else None),
            "drop": rounded(d.drop),
            "isotonic": rounded(d.isotonic) if d.isotonic > _SMALL_NUMBER else 0.0,
        }
        for d in order[:40]
    ]
    return Table(
        id="G3-T1",
        caption=(
            f"{claim}; every drawn row is moved over the whole grid, steps are compared in margin space with tolerance "
            f"zero, the largest drop is in {value_word(inputs.spec)} ({described(inputs.test)})."
        ),
        columns=columns(
            ("input", "Input", "text"), ("direction", "Declared", "text"), ("steps", "Row steps", "int"),
            ("against", "Against", "int"), ("ale", "Average against", "int"),
            ("affected", "Rows affected", "share"), ("drop", "Largest drop", gap_format(inputs.spec)),
            ("isotonic", "Isotonic distance", "number"),
        ),
        rows=tuple(rows),
        total_rows=len(directs),
        empty="No input declares a direction.",
    )  # fmt: skip


def _drawn_part(edges: tuple[float, ...]) -> slice:
    """Which edges are drawn: an outer interval wider than all inner ones would squeeze them into a corner."""
    if len(edges) <= 4:
        return slice(0, len(edges))
    inner = edges[-2] - edges[1]
    return slice(int(edges[1] - edges[0] > inner), len(edges) - int(edges[-1] - edges[-2] > inner))


def _effect_figure(inputs: EvidenceInput, shape: Shape, curve: AleCurve) -> Figure:
    """The effect on the probability; the width in margin stands in the table."""
    declared = inputs.spec.features.get(shape.name)
    unit = "" if declared is None or declared.unit is None else f" ({declared.unit})"
    expected = "no direction declared" if declared is None or declared.expected == "none" else declared.expected
    edges = tuple(rounded(float(e)) or 0.0 for e in curve.edges)
    part = _drawn_part(edges)
    x, y = edges[part], tuple(rounded(float(v)) for v in curve.effect[part, 1])
    whole = [v for v in (rounded(float(v)) for v in curve.effect[:, 1]) if v is not None]
    style, word = gap_format(inputs.spec), value_word(inputs.spec)
    width = printed(max(whole) - min(whole), style)
    ends = [e for e, shown in ((edges[0], part.start == 0), (edges[-1], part.stop == len(edges))) if not shown]
    cut = f"; not drawn: the range to {' and to '.join(printed(e, 'number') for e in ends)}" if ends else ""
    n = (0, *(int(v) for v in curve.counts))[part]
    return Figure(
        id="G3-F0",
        chart="xy",
        caption=(
            f"{shape.name} moves the {word} by up to {width} over its range; declared: {expected} "
            f"({described(inputs.test)}; {counted(shape.rows, 'row')}, n is rows per quantile interval{cut})."
        ),
        alt=(
            f"Accumulated local effect of {shape.name} on the {word}, from {printed(whole[0], style)} at "
            f"{printed(edges[0], 'number')} to {printed(whole[-1], style)} at {printed(edges[-1], 'number')}; "
            f"smallest {printed(min(whole), style)}, largest {printed(max(whole), style)}; declared "
            f"direction: {expected}."
        ),
        x_label=f"{shape.name}{_scale_of(declared)}{unit}",
        y_label=f"Effect on {word}",
        y_format=style,
        series=(Series(name="effect", role=inputs.test.role, mark="line", x=x, y=y, n=n),),
        lines=(ReferenceLine(axis="y", value=0.0, label="average"),),
        size="half",
    )


def _scale_of(declared: Feature | None) -> str:
    """What the numbers of an ordinal input stand for."""
    if declared is None or not declared.levels:
        return ""
    return f" (0 is {declared.levels[0]}, {len(declared.levels) - 1} is {declared.levels[-1]})"


def _bars(inputs: EvidenceInput, name: str, effects: Sequence[tuple[str, int, float, float]]) -> Figure:
    total = sum(n for _, n, _, _ in effects)
    mean = sum(n * p for _, n, _, p in effects) / max(total, 1)
    word, style, gap = value_word(inputs.spec), value_format(inputs.spec), gap_format(inputs.spec)
    unit = "points" if gap == "points" else "its unit"
    most, least = ("highest", "lowest") if inputs.spec.is_amount else ("riskiest", "least")
    top, bottom = max(effects, key=lambda e: e[3]), min(effects, key=lambda e: e[3])
    return Figure(
        id="G3-F0",
        chart="bars",
        caption=(
            f"{name}: all else equal, '{top[0]}' is {most} with a mean {word} of {printed(top[3], style)} and "
            f"'{bottom[0]}' {least} with {printed(bottom[3], style)} ({described(inputs.test)}; at most "
            f"{printed(_ICE_ROWS, 'int')} rows set to each level)."
        ),
        alt=(
            f"Bars of the effect of each level of {name} on the mean {word}, in {unit} from the average. "
            + "; ".join(f"{level} {printed(p - mean, gap)}" for level, _, _, p in effects[:8])
            + "."
        ),
        y_label=f"Effect on {word}",
        y_format=gap,
        series=(
            Series(
                name="effect",
                role=inputs.test.role,
                mark="bars",
                x=tuple(level for level, _, _, _ in effects),
                y=tuple(rounded(p - mean) for _, _, _, p in effects),
                n=tuple(n for _, n, _, _ in effects),
            ),
        ),
        size="half",
    )


def _span_table(inputs: EvidenceInput, drawn: Sequence[Shape]) -> Table:
    rows: list[dict[str, Scalar]] = [
        {
            "input": s.name,
            "span": rounded(s.span) if s.curve is not None else None,
            "p_span": None if s.curve is None else rounded(float(np.ptp(s.curve.effect[:, 1]))),
            "rows": s.rows,
            "intervals": 0 if s.curve is None else int(s.curve.counts.size),
        }
        for s in drawn[:40]
    ]
    claim = f"{drawn[0].name} has the widest effect" if drawn else "There is no numeric input"
    return Table(
        id="G3-T2",
        caption=f"{claim}; widths of accumulated local effects ({described(inputs.test)}).",
        columns=columns(
            ("input", "Input", "text"), ("span", "Width in margin", "number"),
            ("p_span", f"Width in {value_word(inputs.spec)}", gap_format(inputs.spec)), ("rows", "Rows", "int"),
            ("intervals", "Intervals", "int"),
        ),
        rows=tuple(rows),
        total_rows=len(drawn),
        empty="The model has no numeric input.",
    )  # fmt: skip


def _conclusion(
    inputs: EvidenceInput, directs: Sequence[Direct], rows: Sequence[RegisterRow], drawn: Sequence[Shape]
) -> str:
    parts = []
    failed = sorted({r.segment.partition(":")[0] for r in with_light(rows, Light.FAIL)})
    thin = with_light(rows, Light.NOT_EVALUATED)
    worst = max(directs, key=lambda d: (d.ice.rate or 0.0, d.drop), default=None)
    if failed:
        parts.append(f"the declared direction of {listed(failed)} is broken")
    if not directs:
        parts.append("no input declares a direction, so none could be broken")
    elif thin:
        parts.append(
            f"directions of {counted(len({r.segment.partition(':')[0] for r in thin}), 'input')} could not be judged"
        )
    if worst is not None and worst.ice.steps:
        steps = sum(d.ice.steps for d in directs)
        against = sum(d.ice.violations for d in directs)
        of_all = f"{printed(steps, 'int')} steps of {counted(worst.rows, 'row')}"
        told = f"none of {of_all} runs against a declared direction"
        if against:
            told = (
                f"{printed(against, 'int')} of {of_all} run against a declared direction, most of "
                f"{worst.name} ({printed(worst.ice.rate, 'share')}, largest drop "
                f"{printed(worst.drop, gap_format(inputs.spec))})"
            )
        parts.append(f"{told} ({counted(len(directs), 'direction')} declared, {inputs.test.label} sample)")
    if drawn and drawn[0].curve is not None:
        parts.append(f"the widest effect is that of {drawn[0].name}, {printed(drawn[0].span, 'number')} in margin")
    return sentence(parts)

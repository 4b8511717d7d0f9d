"""Figures and tables of E1 for amounts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.amounts import PoolOrder, loss_capture, mean_interval
from countermark.metrics.discrimination import Curve, thin_curve
from countermark.metrics.somers import LGD_BUCKETS, Gauc, bucketed
from countermark.metrics.stability import rank_agreement
from countermark.records.evidence import Block, Figure, Paragraph, ReferenceLine, SampleRole, Scalar, Series, Table
from countermark.validation.amounts import value_format, value_word
from countermark.validation.discrimination_exhibits import PROPOSED
from countermark.validation.inputs import EvidenceInput
from countermark.validation.sentences import (
    between,
    columns,
    counted,
    described,
    level,
    listed,
    no_trend,
    printed,
    rounded,
)

_POINTS = 80
_BARS = 12
_MOST_ROWS = 8
_MOST_FOREST = 20

__all__ = ["PROPOSED", "PartGauc", "PoolPair", "blocks"]


@dataclass(frozen=True, slots=True)
class PartGauc:
    """Generalised AUC of one part of a sample (a segment, a vintage). ``proposed``: a band that nobody declared."""

    column: str
    level: str
    n: int
    mean: float
    gauc: Gauc
    proposed: bool = False

    @property
    def name(self) -> str:
        """Name as the register holds it."""
        return f"{self.column} {self.level}" if self.proposed else f"{self.column}={self.level}"


@dataclass(frozen=True, slots=True)
class PoolPair:
    """Two neighbouring pools with the adjusted p of their inversion."""

    lower: str
    higher: str
    test: PoolOrder
    p_adjusted: float | None


def blocks(
    inputs: EvidenceInput,
    areas: dict[SampleRole, Gauc],
    segments: tuple[PartGauc, ...],
    vintages: tuple[PartGauc, ...],
    pairs: tuple[PoolPair, ...],
) -> tuple[Block, ...]:
    """Everything E1 prints, in reading order; a figure without data is left out."""
    found: list[Block | None] = [
        _sample_table(inputs, areas),
        _capture(inputs),
        _distributions(inputs),
        _segment_figure(inputs, areas, segments),
        _part_table("E1-T2", "segment", inputs, segments) if segments else None,
        _vintage_figure(inputs, vintages),
        _part_table("E1-T3", "vintage", inputs, vintages)
        if len(vintages) > 1
        else Paragraph(text=no_trend([p.level for p in vintages], "ranking")),
        _pool_table(inputs, pairs),
    ]
    return tuple(b for b in found if b is not None)


def _interval(area: Gauc) -> str:
    return between(area.interval, "auc")


def _sample_table(inputs: EvidenceInput, areas: dict[SampleRole, Gauc]) -> Table:
    rows: list[dict[str, Scalar]] = []
    for role, area in areas.items():
        sample = inputs.samples[role]
        rows.append(
            {
                "sample": sample.label,
                "n": sample.n,
                "gauc": rounded(area.value),
                "interval": _interval(area),
                "somers": rounded(area.somers_d),
                "se": rounded(area.se),
                "spearman": rounded(rank_agreement(sample.p, sample.y).spearman),
                "capture": rounded(loss_capture(sample.y, sample.p).ratio),
            }
        )
    area = areas[inputs.test.role]
    claim = f"gAUC is {printed(area.value, 'auc')} ({_interval(area)})" if area.value is not None else "No gAUC"
    form = "in the twelve ECB buckets" if inputs.spec.kind == "lgd" else "of the values themselves"
    return Table(
        id="E1-T1",
        caption=f"{claim} ({described(inputs.test)}; {form}; {level(inputs.spec.policy)} intervals, ECB annex 3.2).",
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("gauc", "gAUC", "auc"), ("interval", "Interval", "text"),
            ("somers", "Somers' D", "auc"), ("se", "Std. error", "score"), ("spearman", "Spearman", "auc"),
            ("capture", "Loss capture", "auc"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(rounded(float(v)) or 0.0 for v in values)


def _line(name: str, role: SampleRole, x: NDArray[np.float64], y: NDArray[np.float64]) -> Series:
    thin = thin_curve(Curve(x, y, x), _POINTS)
    return Series(name=name, role=role, x=_numbers(thin.x), y=_numbers(thin.y))


def _capture(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    found = loss_capture(test.y, test.p)
    if found.ratio is None:
        return None
    fifth = [
        printed(float(np.interp(0.2, *curve)), "share") for curve in ((found.x, found.y), (found.ideal_x, found.ideal))
    ]
    return Figure(
        id="E1-F1", chart="xy", size="half",
        caption=f"The fifth with the highest estimates holds {fifth[0]} of the realised amount; {fifth[1]} would be "
        f"ideal ({described(test)}).",
        alt=(
            f"Share of the realised amount against share of rows, highest estimates first, on the {test.label} sample: "
            f"{fifth[0]} at 20 % of rows, between the diagonal and the ideal order with {fifth[1]}. Loss capture ratio "
            f"{printed(found.ratio, 'auc')}."
        ),
        x_label="Share of rows, highest estimates first", y_label="Share of realised amount", x_format="share",
        y_format="share",
        series=(
            _line("estimate", test.role, found.x, found.y),
            _line("ideal order", "reference", found.ideal_x, found.ideal),
        ),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _distributions(inputs: EvidenceInput) -> Figure | None:
    """Realised and estimated amounts side by side: an estimate that cannot reach the tails shows here."""
    test, style = inputs.test, value_format(inputs.spec)
    if not test.n:
        return None
    names, cuts = _bins(inputs)
    counts = [np.bincount(bucketed(v, cuts), minlength=len(names)) for v in (test.y, test.p)]
    middle = [printed(float(np.median(v)), style) for v in (test.y, test.p)]
    return Figure(
        id="E1-F2", chart="xy", size="half",
        caption=f"The median realised {value_word(inputs.spec)} is {middle[0]}, the median estimate {middle[1]} "
        f"({described(test)}).",
        alt=(
            f"Share of rows in each of {len(names)} bins, realised beside estimated, on the {test.label} sample. "
            f"Median realised {middle[0]}, median estimate {middle[1]}."
        ),
        x_label=value_word(inputs.spec), y_label="Share of rows", x_format="text", y_format="share",
        series=tuple(
            Series(
                name=name, role=role, mark="bars", x=names, y=_numbers(count / test.n), n=tuple(count.tolist()),
            )
            for name, role, count in (("realised", test.role, counts[0]), ("estimated", "reference", counts[1]))
        ),
    )  # fmt: skip


def _bins(inputs: EvidenceInput) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The twelve ECB buckets of an LGD; equal shares of the development amounts otherwise."""
    if inputs.spec.kind == "lgd":
        ends = [f"{round(100 * cut)}" for cut in LGD_BUCKETS]
        inner = [f"{a}–{b} %" for a, b in itertools.pairwise(ends)]
        return (f"< {ends[0]} %", *inner, f"≥ {ends[-1]} %"), LGD_BUCKETS
    amounts = inputs.samples["development"].y
    cuts = tuple(float(c) for c in np.unique(np.quantile(amounts, np.linspace(0, 1, _BARS + 1)[1:-1])))
    ends = [printed(cut, "number") for cut in cuts]
    inner = [f"{a} to {b}" for a, b in itertools.pairwise(ends)]
    return (f"< {ends[0]}", *inner, f"≥ {ends[-1]}"), cuts


def _judged(inputs: EvidenceInput, parts: tuple[PartGauc, ...]) -> list[PartGauc]:
    """Parts with an interval and rows enough; the others stand in the table only."""
    policy = inputs.spec.policy
    return [
        p
        for p in parts
        if p.gauc.interval is not None and p.n >= policy.minimum_group and p.gauc.varied >= policy.minimum_events
    ]


def _by_gauc(part: PartGauc) -> tuple[float, str]:
    return (2.0 if part.gauc.value is None else part.gauc.value, part.name)


def _part_series(name: str, role: SampleRole, x: list[str], parts: list[PartGauc]) -> Series:
    intervals = [p.gauc.interval for p in parts]
    return Series(
        name=name, role=role, mark="points", x=tuple(x), y=tuple(rounded(p.gauc.value) for p in parts),
        low=tuple(None if i is None else rounded(i[0]) for i in intervals),
        high=tuple(None if i is None else rounded(i[1]) for i in intervals), n=tuple(p.n for p in parts),
    )  # fmt: skip


def _segment_figure(inputs: EvidenceInput, areas: dict[SampleRole, Gauc], parts: tuple[PartGauc, ...]) -> Figure | None:
    known = _judged(inputs, parts)
    if not known:
        return None
    shown = sorted(known, key=_by_gauc)[:_MOST_FOREST]
    low, best, whole = shown[0], max(known, key=_by_gauc), areas[inputs.test.role]
    cut = "" if len(shown) == len(known) else f"; the {len(shown)} lowest of {len(known)} are drawn"
    return Figure(
        id="E1-F3", chart="forest",
        caption=f"Ranking is weakest in {low.column} {low.level}{PROPOSED if low.proposed else ''}: "
        f"gAUC {printed(low.gauc.value, 'auc')}, {_interval(low.gauc)} ({described(inputs.test)}{cut}).",
        alt=(
            f"gAUC with interval of {counted(len(shown), 'segment')}, from {printed(low.gauc.value, 'auc')} in "
            f"{low.name} (N = {printed(low.n, 'int')}) to {printed(best.gauc.value, 'auc')} in {best.name} "
            f"(N = {printed(best.n, 'int')}); whole sample {printed(whole.value, 'auc')}."
        ),
        x_label="gAUC", x_format="auc", y_format="auc",
        series=(_part_series("gAUC", inputs.test.role, [p.name for p in shown], shown),),
        lines=(
            ReferenceLine(axis="x", value=0.5, label="chance"),
            ReferenceLine(axis="x", value=rounded(whole.value), label="whole sample"),
        ),
    )  # fmt: skip


def _vintage_figure(inputs: EvidenceInput, parts: tuple[PartGauc, ...]) -> Figure | None:
    known = _judged(inputs, parts)
    if len(known) < 2:
        return None
    low = min(known, key=_by_gauc)
    return Figure(
        id="E1-F4", chart="xy", size="half",
        caption=f"Lowest vintage {low.level}: gAUC {printed(low.gauc.value, 'auc')}, {_interval(low.gauc)} "
        f"({described(inputs.test)}).",
        alt=(
            f"gAUC by vintage, {known[0].level} to {known[-1].level}: first {printed(known[0].gauc.value, 'auc')}, "
            f"last {printed(known[-1].gauc.value, 'auc')}, lowest {printed(low.gauc.value, 'auc')} in {low.level} "
            f"(N = {printed(low.n, 'int')})."
        ),
        x_label="Vintage", y_label="gAUC", x_format="text", y_format="auc",
        series=(_part_series(inputs.test.label, inputs.test.role, [p.level for p in known], known),),
        lines=(ReferenceLine(axis="y", value=0.5, label="chance"),),
    )  # fmt: skip


def _part_table(table_id: str, kind: str, inputs: EvidenceInput, parts: tuple[PartGauc, ...]) -> Table:
    ordered = parts if kind == "vintage" and len(parts) <= _MOST_ROWS else tuple(sorted(parts, key=_by_gauc))
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "column": p.column,
            "level": p.level,
            "n": p.n,
            "mean": rounded(p.mean),
            "gauc": rounded(p.gauc.value),
            "interval": _interval(p.gauc),
        }
        for p in ordered[:_MOST_ROWS]
    )
    known = sorted(_judged(inputs, parts), key=_by_gauc)
    claim = f"No {kind} has rows enough, so none is judged"
    if known:
        thin = len(parts) - len(known)
        claim = f"gAUC lies between {printed(known[0].gauc.value, 'auc')} and {printed(known[-1].gauc.value, 'auc')}"
        claim += f"; {counted(thin, kind)} with too few rows not judged" if thin else ""
        claim += "; the lowest are printed" if len(parts) > _MOST_ROWS else ""
    return Table(
        id=table_id,
        caption=f"{claim} ({described(inputs.test)}).",
        columns=columns(
            ("column", "By", "text"), ("level", "Level", "text"), ("n", "N", "int"),
            ("mean", "Mean realised", value_format(inputs.spec)), ("gauc", "gAUC", "auc"),
            ("interval", "Interval", "text"),
        ),
        rows=rows,
        total_rows=len(parts),
    )  # fmt: skip


def _pool_table(inputs: EvidenceInput, pairs: tuple[PoolPair, ...]) -> Table:
    test, style = inputs.test, value_format(inputs.spec)
    after = {p.higher: p for p in pairs}
    rows: list[dict[str, Scalar]] = []
    for k, name in enumerate(test.grade_names):
        own = test.y[test.grade == k]
        found, pair = mean_interval(own, confidence=inputs.spec.policy.confidence), after.get(name)
        rows.append(
            {
                "pool": name,
                "value": rounded(float(test.grade_pd[k])),
                "n": int(own.size),
                "mean": rounded(found.mean),
                "interval": between(found.interval, style),
                "inversion": None if pair is None else rounded(pair.p_adjusted),
                "verdict": _verdict(pair),
            }
        )
    inverted = [f"{p.lower}/{p.higher}" for p in pairs if p.test.inverted]
    claim = "The order of pools cannot be seen"
    if inverted:
        claim = f"Pools {listed(inverted)} are inverted"
    elif any(p.test.reason is None for p in pairs):
        claim = "No pair of neighbouring pools is inverted"
    return Table(
        id="E1-T4",
        caption=f"{claim} ({described(test)}; Student's intervals, Welch's test, Holm).",
        columns=columns(
            ("pool", "Pool", "text"), ("value", "Pool value", style), ("n", "N", "int"),
            ("mean", "Mean realised", style), ("interval", "Interval", "text"),
            ("inversion", "p inverted (Holm)", "pvalue"), ("verdict", "Against the lower pool", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _verdict(pair: PoolPair | None) -> str | None:
    if pair is None:
        return None
    if pair.test.reason is not None:
        return pair.test.reason
    return "inverted" if pair.test.inverted else "in order"

"""Figures and tables of E1 for amounts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from countermark.metrics.amounts import PoolOrder, loss_capture, mean_interval
from countermark.metrics.discrimination import Curve
from countermark.metrics.somers import LGD_BUCKETS, Gauc, bucketed
from countermark.metrics.stability import rank_agreement
from countermark.records.evidence import Block, Figure, ReferenceLine, SampleRole, Scalar, Series, Table
from countermark.validation.amounts import value_format, value_word
from countermark.validation.inputs import EvidenceInput
from countermark.validation.ranking import Measure, Pair, Ranking
from countermark.validation.ranking_exhibits import PartForm, interval_of, order_claim, part_blocks, verdict
from countermark.validation.sentences import between, columns, described, level, printed, rounded
from countermark.validation.series import curve_line, numbers

_BARS = 12


MEASURE = Measure(
    name="gAUC",
    test="disc.somersd_gauc",
    against_initial="disc.gauc_vs_initial",
    source="",
    initial_gates=False,
    model="estimate",
    band="pool",
    few="rows",
    method="",
    change="An interval that reaches 0.5, or a drop in gAUC beyond the limit.",
    weak="amounts there are told apart least.",
)


def blocks(inputs: EvidenceInput, found: Ranking[Gauc, PoolOrder]) -> tuple[Block, ...]:
    """Everything E1 prints, in reading order; a figure without data is left out."""
    parts: list[Block | None] = [
        _sample_table(inputs, found.areas),
        _capture(inputs),
        _distributions(inputs),
        *part_blocks(inputs, found, _part_form(inputs), ("E1-F3", "E1-F4")),
        _pool_table(inputs, found.pairs),
    ]
    return tuple(b for b in parts if b is not None)


def _sample_table(inputs: EvidenceInput, areas: Mapping[SampleRole, Gauc]) -> Table:
    rows: list[dict[str, Scalar]] = []
    for role, area in areas.items():
        sample = inputs.samples[role]
        rows.append(
            {
                "sample": sample.label,
                "n": sample.n,
                "gauc": rounded(area.value),
                "interval": interval_of(area),
                "somers": rounded(area.somers_d),
                "se": rounded(area.se),
                "spearman": rounded(rank_agreement(sample.p, sample.y).spearman),
                "capture": rounded(loss_capture(sample.y, sample.p).ratio),
            }
        )
    area = areas[inputs.test.role]
    claim = f"gAUC is {printed(area.value, 'auc')} ({interval_of(area)})" if area.value is not None else "No gAUC"
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
            curve_line("estimate", test.role, Curve(found.x, found.y, found.x)),
            curve_line("ideal order", "reference", Curve(found.ideal_x, found.ideal, found.ideal_x)),
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
                name=name, role=role, mark="bars", x=names, y=numbers(count / test.n), n=tuple(count.tolist()),
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


def _part_form(inputs: EvidenceInput) -> PartForm[Gauc]:
    return PartForm(
        MEASURE,
        cells=lambda p: {
            "mean": rounded(p.mean),
            "gauc": rounded(p.area.value),
            "interval": interval_of(p.area),
        },
        columns=(
            ("mean", "Mean realised", value_format(inputs.spec)),
            ("gauc", "gAUC", "auc"),
            ("interval", "Interval", "text"),
        ),
        thin=lambda p: p.thin is not None or p.area.interval is None,
        few="too few rows",
        enough="rows enough",
    )


def _pool_table(inputs: EvidenceInput, pairs: tuple[Pair[PoolOrder], ...]) -> Table:
    test, style = inputs.test, value_format(inputs.spec)
    after = {p.high: p for p in pairs}
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
                "verdict": verdict(pair),
            }
        )
    return Table(
        id="E1-T4",
        caption=f"{order_claim(MEASURE, pairs)} ({described(test)}; Student's intervals, Welch's test, Holm).",
        columns=columns(
            ("pool", "Pool", "text"), ("value", "Pool value", style), ("n", "N", "int"),
            ("mean", "Mean realised", style), ("interval", "Interval", "text"),
            ("inversion", "p inverted (Holm)", "pvalue"), ("verdict", "Against the lower pool", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip

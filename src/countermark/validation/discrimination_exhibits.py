"""Figures and tables of E1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from countermark.metrics.calibration import grade_counts
from countermark.metrics.discrimination import Auc, Curve, auc, cap, roc_curve
from countermark.metrics.intervals import wilson_interval
from countermark.metrics.ordering import GradeOrder
from countermark.metrics.precision import precision_recall_curve
from countermark.records.evidence import Block, Figure, ReferenceLine, SampleRole, Scalar, Series, Table
from countermark.validation.inputs import EvidenceInput, Sample
from countermark.validation.ranking import Measure, Pair, Ranking
from countermark.validation.ranking_exhibits import PartForm, interval_of, order_claim, part_blocks, verdict
from countermark.validation.sentences import (
    between,
    columns,
    described,
    level,
    listed,
    printed,
    rounded,
)
from countermark.validation.series import curve_line, numbers

_BARS = 24


MEASURE = Measure(
    name="AUC",
    test="disc.auc_delong",
    against_initial="disc.auc_vs_initial",
    source=" (ECB 2.5.4.1)",
    initial_gates=True,
    model="score",
    band="grade",
    few="events",
    method="; DeLong intervals",
    change="An interval that reaches 0.5, a Gini drop beyond the limit, or a significant inversion of grades.",
    weak="decisions there lean on the score with the least support.",
)


def blocks(inputs: EvidenceInput, found: Ranking[Auc, GradeOrder]) -> tuple[Block, ...]:
    """Everything E1 prints, in reading order; a figure without data is left out."""
    areas = found.areas
    parts: list[Block | None] = [
        _sample_table(inputs, areas),
        _roc(inputs, areas),
        _cap(inputs, areas),
        _precision_recall(inputs),
        _densities(inputs),
        *part_blocks(inputs, found, _part_form(inputs), ("E1-F5", "E1-F6")),
        _grade_table(inputs, found.pairs),
    ]
    return tuple(b for b in parts if b is not None)


def _sample_table(inputs: EvidenceInput, areas: Mapping[SampleRole, Auc]) -> Table:
    test = inputs.test
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "sample": inputs.samples[role].label,
            "n": inputs.samples[role].n,
            "events": inputs.samples[role].events,
            "auc": rounded(a.value),
            "interval": interval_of(a),
            "logit": between(a.logit, "auc"),
            "gini": rounded(a.gini),
            "se": rounded(a.se),
        }
        for role, a in areas.items()
    )
    area = areas[test.role]
    claim = (
        f"AUC is {printed(area.value, 'auc')} ({interval_of(area)})" if area.value is not None else "AUC is undefined"
    )
    return Table(
        id="E1-T1",
        caption=f"{claim} ({described(test)}; intervals are {level(inputs.spec.policy)} DeLong, normal and logit).",
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("events", "D", "int"), ("auc", "AUC", "auc"),
            ("interval", "Interval", "text"), ("logit", "Logit interval", "text"), ("gini", "Gini", "auc"),
            ("se", "Std. error", "score"),
        ),
        rows=rows,
    )  # fmt: skip


def _roc(inputs: EvidenceInput, areas: Mapping[SampleRole, Auc]) -> Figure | None:
    used = [inputs.samples[r] for r, a in areas.items() if a.value is not None]
    test, area = inputs.test, areas[inputs.test.role]
    if area.value is None:
        return None
    tenth = roc_curve(test.y, test.margin)
    at = float(np.interp(0.1, tenth.x, tenth.y))
    return Figure(
        id="E1-F1", chart="xy", size="half",
        caption=f"The riskiest rows hold the events: AUC {printed(area.value, 'auc')}, {interval_of(area)} "
        f"({described(test)}).",
        alt=(
            f"ROC curves of {listed([s.label for s in used])} above the diagonal by their AUC: "
            + "; ".join(f"{s.label} {printed(areas[s.role].value, 'auc')}" for s in used)
            + f". At a false positive rate of 10 % the {test.label} curve finds {printed(at, 'share')} of events."
        ),
        x_label="Share of non-events", y_label="Share of events", x_format="share", y_format="share",
        series=tuple(curve_line(s.label, s.role, roc_curve(s.y, s.margin)) for s in used),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _cap(inputs: EvidenceInput, areas: Mapping[SampleRole, Auc]) -> Figure | None:
    used = [inputs.samples[r] for r, a in areas.items() if a.value is not None]
    test = inputs.test
    profile = cap(test.y, test.margin)
    if profile.accuracy_ratio is None:
        return None
    rate = test.events / test.n
    fifth = float(np.interp(0.2, profile.curve.x, profile.curve.y))
    ideal = Series(name="ideal", role="reference", x=(0.0, rounded(rate) or 0.0, 1.0), y=(0.0, 1.0, 1.0))
    return Figure(
        id="E1-F2", chart="xy", size="half",
        caption=f"The riskiest fifth holds {printed(fifth, 'share')} of events; accuracy ratio "
        f"{printed(profile.accuracy_ratio, 'auc')} ({described(test)}).",
        alt=(
            f"Cumulative accuracy profile of {listed([s.label for s in used])} between the diagonal and the ideal "
            f"curve, which turns at {printed(rate, 'share')} of rows. On the {test.label} sample the riskiest 20 % of "
            f"rows hold {printed(fifth, 'share')} of events."
        ),
        x_label="Share of rows, riskiest first", y_label="Share of events", x_format="share", y_format="share",
        series=(*(curve_line(s.label, s.role, cap(s.y, s.margin).curve) for s in used), ideal),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _precision_recall(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    curve = precision_recall_curve(test.y, test.margin)
    if curve.reason is not None:
        return None
    rate = test.events / test.n
    half = float(curve.y[int(np.searchsorted(curve.x, 0.5))])
    return Figure(
        id="E1-F3", chart="xy", size="half",
        caption=f"Half of the events are found at {printed(half, 'share')} precision, against {printed(rate, 'share')} "
        f"without skill ({described(test)}).",
        alt=(
            f"Precision against recall on the {test.label} sample. Precision falls to the event rate of "
            f"{printed(rate, 'share')} as recall reaches 100 %; at 50 % recall it is {printed(half, 'share')}."
        ),
        x_label="Recall", y_label="Precision", x_format="share", y_format="share",
        series=(curve_line(test.label, test.role, _from_first_event(curve)),),
        lines=(ReferenceLine(axis="y", value=rounded(rate), label="event rate"),),
    )  # fmt: skip


def _from_first_event(curve: Curve) -> Curve:
    """Precision where something was found: before the first event it is zero or one by the luck of a row."""
    found = curve.x > 0.0
    return Curve(curve.x[found], curve.y[found], curve.threshold[found])


def _densities(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    if auc(test.y, test.margin).value is None or float(test.margin.min()) == float(test.margin.max()):
        return None
    low, high = (float(v) for v in np.quantile(test.margin, [0.001, 0.999]))
    edges = np.linspace(low, high, _BARS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    middle = numbers((edges[1:] + edges[:-1]) / 2)
    series = []
    for name, part in (("non-events", test.margin[test.y == 0]), ("events", test.margin[test.y == 1])):
        count = np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0]
        share = numbers(count / max(1, part.size))
        series.append(Series(name=name, mark="step", role="group", x=middle, y=share, n=tuple(count.tolist())))
    centre = [printed(float(np.median(test.margin[test.y == k])), "ratio") for k in (0, 1)]
    return Figure(
        id="E1-F4", chart="xy", size="half",
        caption=f"The median score of events is {centre[1]}, of non-events {centre[0]}, in log odds "
        f"({described(test)}).",
        alt=(
            f"Distribution of the score of non-events and events on the {test.label} sample, "
            f"{_BARS} bins. Median score of non-events {centre[0]}, of events {centre[1]}."
        ),
        x_label="Score (log odds)", y_label="Share of class", y_format="share", series=tuple(series),
    )  # fmt: skip


def _part_form(inputs: EvidenceInput) -> PartForm[Auc]:
    least = inputs.spec.policy.minimum_events
    return PartForm(
        MEASURE,
        cells=lambda p: {
            "events": p.events,
            "auc": rounded(p.area.value),
            "interval": interval_of(p.area),
            "gini": rounded(p.area.gini),
        },
        columns=(
            ("events", "D", "int"),
            ("auc", "AUC", "auc"),
            ("interval", "Interval", "text"),
            ("gini", "Gini", "auc"),
        ),
        thin=lambda p: p.thin is not None,
        few=f"fewer than {least} events or non-events",
        enough=f"{least} events and non-events",
    )


def _grade_table(inputs: EvidenceInput, pairs: tuple[Pair[GradeOrder], ...]) -> Table:
    test: Sample = inputs.test
    n, d = (v.astype(np.int64) for v in grade_counts(test.y, test.grade, len(test.grade_names)))
    after = {p.high: p for p in pairs}
    rows: list[dict[str, Scalar]] = []
    for i, name in enumerate(test.grade_names):
        rate, pair = wilson_interval(int(n[i]), int(d[i]), confidence=inputs.spec.policy.confidence), after.get(name)
        rows.append(
            {
                "grade": name,
                "n": int(n[i]),
                "events": int(d[i]),
                "rate": rounded(rate.rate),
                "interval": between(rate.interval, "share"),
                "method": None if pair is None else pair.test.method,
                "order": None if pair is None else rounded(pair.test.p_differentiation),
                "inversion": None if pair is None else rounded(pair.p_adjusted),
                "verdict": verdict(pair),
            }
        )
    return Table(
        id="E1-T4",
        caption=f"{order_claim(MEASURE, pairs)} ({described(test)}; Wilson intervals; Fisher's test where an expected "
        "count is below 5).",
        columns=columns(
            ("grade", "Grade", "text"), ("n", "N", "int"), ("events", "D", "int"), ("rate", "Event rate", "share"),
            ("interval", "Interval", "text"), ("method", "Test", "text"), ("order", "p riskier", "pvalue"),
            ("inversion", "p inverted (Holm)", "pvalue"), ("verdict", "Against the better grade", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip

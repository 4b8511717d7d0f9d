"""Figures and tables of E1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from countermark.metrics.calibration import grade_counts
from countermark.metrics.discrimination import Auc, Curve, auc, cap, roc_curve, thin_curve
from countermark.metrics.intervals import wilson_interval
from countermark.metrics.ordering import GradeOrder
from countermark.metrics.precision import precision_recall_curve
from countermark.records.evidence import Block, Figure, Paragraph, ReferenceLine, SampleRole, Scalar, Series, Table
from countermark.validation.inputs import EvidenceInput, Sample
from countermark.validation.sentences import between, columns, counted, described, listed, no_trend, printed, rounded
from countermark.validation.series import estimates

_POINTS = 80
_BARS = 24
_MOST_ROWS = 8
_MOST_FOREST = 20
PROPOSED = " (quartile of development, proposed by the tool)"
"""What is said of a band that the tool chose because the spec declares no usable segment."""


@dataclass(frozen=True, slots=True)
class PartAuc:
    """AUC of one part of a sample (a segment, a vintage). ``proposed``: a band of an input, which nobody declared."""

    column: str
    level: str
    n: int
    events: int
    auc: Auc
    proposed: bool = False

    @property
    def name(self) -> str:
        """Name as the register holds it."""
        return f"{self.column} {self.level}" if self.proposed else f"{self.column}={self.level}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbouring grades with the adjusted p of their inversion."""

    better: str
    worse: str
    test: GradeOrder
    p_adjusted: float | None


def blocks(
    inputs: EvidenceInput,
    areas: dict[SampleRole, Auc],
    segments: tuple[PartAuc, ...],
    vintages: tuple[PartAuc, ...],
    pairs: tuple[Pair, ...],
) -> tuple[Block, ...]:
    """Everything E1 prints, in reading order; a figure without data is left out."""
    found: list[Block | None] = [
        _sample_table(inputs, areas),
        _roc(inputs, areas),
        _cap(inputs, areas),
        _precision_recall(inputs),
        _densities(inputs),
        _segment_figure(inputs, segments),
        _part_table("E1-T2", "segment", inputs, segments) if segments else None,
        _vintage_figure(inputs, vintages),
        _part_table("E1-T3", "vintage", inputs, vintages)
        if len(vintages) > 1
        else Paragraph(text=no_trend([p.level for p in vintages], "ranking")),
        _grade_table(inputs, pairs),
    ]
    return tuple(b for b in found if b is not None)


def _interval(area: Auc) -> str:
    return between(area.interval, "auc")


def _sample_table(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> Table:
    test = inputs.test
    level = f"{100 * inputs.spec.policy.confidence:g} %"
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "sample": inputs.samples[role].label,
            "n": inputs.samples[role].n,
            "events": inputs.samples[role].events,
            "auc": rounded(a.value),
            "interval": _interval(a),
            "logit": between(a.logit, "auc"),
            "gini": rounded(a.gini),
            "se": rounded(a.se),
        }
        for role, a in areas.items()
    )
    area = areas[test.role]
    claim = f"AUC is {printed(area.value, 'auc')} ({_interval(area)})" if area.value is not None else "AUC is undefined"
    return Table(
        id="E1-T1",
        caption=f"{claim} ({described(test)}; intervals are {level} DeLong, normal and logit).",
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("events", "D", "int"), ("auc", "AUC", "auc"),
            ("interval", "Interval", "text"), ("logit", "Logit interval", "text"), ("gini", "Gini", "auc"),
            ("se", "Std. error", "score"),
        ),
        rows=rows,
    )  # fmt: skip


def _line(name: str, role: SampleRole, curve: Curve) -> Series:
    thin = thin_curve(curve, _POINTS)
    return Series(name=name, role=role, x=_numbers(thin.x), y=_numbers(thin.y))


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    return tuple(rounded(float(v)) or 0.0 for v in values)


def _roc(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> Figure | None:
    used = [inputs.samples[r] for r, a in areas.items() if a.value is not None]
    test, area = inputs.test, areas[inputs.test.role]
    if area.value is None:
        return None
    tenth = roc_curve(test.y, test.margin)
    at = float(np.interp(0.1, tenth.x, tenth.y))
    return Figure(
        id="E1-F1", chart="xy", size="half",
        caption=f"The riskiest rows hold the events: AUC {printed(area.value, 'auc')}, {_interval(area)} "
        f"({described(test)}).",
        alt=(
            f"ROC curves of {listed([s.label for s in used])} above the diagonal by their AUC: "
            + "; ".join(f"{s.label} {printed(areas[s.role].value, 'auc')}" for s in used)
            + f". At a false positive rate of 10 % the {test.label} curve finds {printed(at, 'share')} of events."
        ),
        x_label="Share of non-events", y_label="Share of events", x_format="share", y_format="share",
        series=tuple(_line(s.label, s.role, roc_curve(s.y, s.margin)) for s in used),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _cap(inputs: EvidenceInput, areas: dict[SampleRole, Auc]) -> Figure | None:
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
        series=(*(_line(s.label, s.role, cap(s.y, s.margin).curve) for s in used), ideal),
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
        series=(_line(test.label, test.role, _from_first_event(curve)),),
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
    middle = _numbers((edges[1:] + edges[:-1]) / 2)
    series = []
    for name, part in (("non-events", test.margin[test.y == 0]), ("events", test.margin[test.y == 1])):
        count = np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0]
        share = _numbers(count / max(1, part.size))
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


def _judged(inputs: EvidenceInput, parts: tuple[PartAuc, ...]) -> list[PartAuc]:
    """Parts with an AUC, an interval and enough of both classes; the others stand in the table only."""
    least = inputs.spec.policy.minimum_events
    return [p for p in parts if p.auc.interval is not None and min(p.events, p.n - p.events) >= least]


def _by_auc(part: PartAuc) -> tuple[float, str]:
    return (2.0 if part.auc.value is None else part.auc.value, part.name)


def _segment_figure(inputs: EvidenceInput, parts: tuple[PartAuc, ...]) -> Figure | None:
    known = _judged(inputs, parts)
    if not known:
        return None
    shown = sorted(known, key=_by_auc)[:_MOST_FOREST]
    low, best = shown[0], max(known, key=_by_auc)
    whole = auc(inputs.test.y, inputs.test.margin)
    cut = "" if len(shown) == len(known) else f"; the {len(shown)} lowest of {len(known)} are drawn"
    return Figure(
        id="E1-F5", chart="forest",
        caption=f"Ranking is weakest in {low.column} {low.level}{PROPOSED if low.proposed else ''}: "
        f"AUC {printed(low.auc.value, 'auc')}, "
        f"{_interval(low.auc)} ({described(inputs.test)}; DeLong intervals{cut}).",
        alt=(
            f"AUC with interval of {counted(len(shown), 'segment')}, from {printed(low.auc.value, 'auc')} in "
            f"{low.name} (N = {printed(low.n, 'int')}) to {printed(best.auc.value, 'auc')} in {best.name} "
            f"(N = {printed(best.n, 'int')}); whole sample {printed(whole.value, 'auc')}."
        ),
        x_label="AUC", x_format="auc", y_format="auc",
        series=(_part_series("AUC", inputs.test.role, [p.name for p in shown], shown),),
        lines=(
            ReferenceLine(axis="x", value=0.5, label="chance"),
            ReferenceLine(axis="x", value=rounded(whole.value), label="whole sample"),
        ),
    )  # fmt: skip


def _part_series(name: str, role: SampleRole, x: list[str], parts: list[PartAuc]) -> Series:
    values, intervals = [p.auc.value for p in parts], [p.auc.interval for p in parts]
    return estimates(name, x, values, intervals, role=role, n=[p.n for p in parts])


def _vintage_figure(inputs: EvidenceInput, parts: tuple[PartAuc, ...]) -> Figure | None:
    known = _judged(inputs, parts)
    if len(known) < 2:
        return None
    low = min(known, key=_by_auc)
    return Figure(
        id="E1-F6", chart="xy",
        caption=f"Lowest vintage {low.level}: AUC {printed(low.auc.value, 'auc')}, {_interval(low.auc)} "
        f"({described(inputs.test)}; DeLong intervals).",
        alt=(
            f"AUC by vintage, {known[0].level} to {known[-1].level}: first {printed(known[0].auc.value, 'auc')}, "
            f"last {printed(known[-1].auc.value, 'auc')}, lowest {printed(low.auc.value, 'auc')} in {low.level} "
            f"(N = {printed(low.n, 'int')}, D = {printed(low.events, 'int')})."
        ),
        x_label="Vintage", y_label="AUC", x_format="text", y_format="auc", size="half",
        series=(_part_series(inputs.test.label, inputs.test.role, [p.level for p in known], known),),
        lines=(ReferenceLine(axis="y", value=0.5, label="chance"),),
    )  # fmt: skip


def _part_table(table_id: str, kind: str, inputs: EvidenceInput, parts: tuple[PartAuc, ...]) -> Table:
    least = inputs.spec.policy.minimum_events
    ordered = parts if kind == "vintage" and len(parts) <= _MOST_ROWS else tuple(sorted(parts, key=_by_auc))
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "column": p.column,
            "level": p.level,
            "n": p.n,
            "events": p.events,
            "auc": rounded(p.auc.value),
            "interval": _interval(p.auc),
            "gini": rounded(p.auc.gini),
        }
        for p in ordered[:_MOST_ROWS]
    )
    thin = sum(min(p.events, p.n - p.events) < least for p in parts)
    known = sorted(_judged(inputs, parts), key=_by_auc)
    claim = f"No {kind} has {least} events and non-events, so none is judged"
    if known:
        claim = f"AUC lies between {printed(known[0].auc.value, 'auc')} and {printed(known[-1].auc.value, 'auc')}"
        claim += f"; {counted(thin, kind)} with fewer than {least} events or non-events not judged" if thin else ""
        claim += "; the lowest are printed" if len(parts) > _MOST_ROWS else ""
    return Table(
        id=table_id,
        caption=f"{claim} ({described(inputs.test)}).",
        columns=columns(
            ("column", "By", "text"), ("level", "Level", "text"), ("n", "N", "int"), ("events", "D", "int"),
            ("auc", "AUC", "auc"), ("interval", "Interval", "text"), ("gini", "Gini", "auc"),
        ),
        rows=rows,
        total_rows=len(parts),
    )  # fmt: skip


def _grade_table(inputs: EvidenceInput, pairs: tuple[Pair, ...]) -> Table:
    test: Sample = inputs.test
    n, d = (v.astype(np.int64) for v in grade_counts(test.y, test.grade, len(test.grade_names)))
    after = {p.worse: p for p in pairs}
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
                "verdict": _verdict(pair),
            }
        )
    inverted = [f"{p.better}/{p.worse}" for p in pairs if p.test.inverted]
    if inverted:
        claim = f"Grades {listed(inverted)} are inverted"
    elif any(p.test.reason is None for p in pairs):
        claim = "No pair of neighbouring grades is inverted"
    else:
        claim = "The order of grades cannot be seen"
    return Table(
        id="E1-T4",
        caption=f"{claim} ({described(test)}; Wilson intervals; Fisher's test where an expected count is below 5).",
        columns=columns(
            ("grade", "Grade", "text"), ("n", "N", "int"), ("events", "D", "int"), ("rate", "Event rate", "share"),
            ("interval", "Interval", "text"), ("method", "Test", "text"), ("order", "p riskier", "pvalue"),
            ("inversion", "p inverted (Holm)", "pvalue"), ("verdict", "Against the better grade", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _verdict(pair: Pair | None) -> str | None:
    if pair is None:
        return None
    if pair.test.reason is not None:
        return pair.test.reason
    return "inverted" if pair.test.inverted else "in order"

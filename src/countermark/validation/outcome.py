"""C3 outcome definition and sampling: what is predicted, on which windows, and whether labels are final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import ModelSpec, Outcome
from countermark.errors import EvidenceError
from countermark.metrics.intervals import wilson_interval
from countermark.records.evidence import (
    Block,
    Fact,
    Facts,
    Figure,
    Paragraph,
    RegisterRow,
    SampleRole,
    Scalar,
    Series,
    Table,
)
from countermark.validation.context import PackContext
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic, evidence_number
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, fact
from countermark.validation.sentences import between, described


def outcome_evidence(inputs: EvidenceInput) -> SectionEvidence:
    """C3, computed part: maturity, outcome rates by sample and cohort."""
    test = inputs.test
    rate = "no rows" if not test.n else f"{100 * test.events / test.n:.2f} %"
    rows = tuple(_rate_row(inputs, sample) for sample in inputs.samples.values())
    blocks = (_windows(inputs), by_cohort(_cohorts(inputs), "outcome rates"))
    return matured_outcome(inputs, f"The outcome rate is {rate} ({described(test)}).", rows, blocks)


def matured_outcome(
    inputs: EvidenceInput, measured: str, rows: tuple[RegisterRow, ...], blocks: tuple[Block, ...]
) -> SectionEvidence:
    """C3 from what was measured, after what is known of the maturity of labels."""
    final, said, matured = _maturity(inputs)
    return SectionEvidence(
        code="C3",
        conclusion=f"{said} {measured}",
        would_change="Dates by which maturity can be judged." if matured is None else "A later as-of date.",
        so_what=_maturity_meaning(matured),
        rows=(final, *rows),
        blocks=blocks,
        extras={"matured_share": matured},
    )


def by_cohort(cohorts: Figure | None, measured: str) -> Block:
    """The figure by cohort, or why there is none: no dates, or one cohort alone."""
    if cohorts is None:
        return Paragraph(text=f"The data has no dates, so {measured} cannot be shown by cohort.")
    if sum(len(one.x) for one in cohorts.series) == 1:
        return Paragraph(text=f"All rows are of one cohort, {cohorts.series[0].x[0]}: there is no trend to show.")
    return cohorts


def first_and_last(sample: Sample) -> dict[str, Scalar]:
    """The first and the last date of a sample, as a table of samples prints them."""
    if sample.time is None or not sample.n:
        return {"first": None, "last": None}
    return {"first": str(np.min(sample.time)), "last": str(np.max(sample.time))}


def dated_groups(inputs: EvidenceInput) -> tuple[tuple[str, SampleRole, list[Sample]], ...]:
    """Samples that hold cohorts: those of the development period, and out-of-time beside them."""
    dated = [sample for sample in inputs.samples.values() if sample.vintage is not None and sample.n]
    groups: tuple[tuple[str, SampleRole, list[Sample]], ...] = (
        ("development period", "development", [s for s in dated if s.role != "out_of_time"]),
        ("out-of-time", "out_of_time", [s for s in dated if s.role == "out_of_time"]),
    )
    return tuple(group for group in groups if group[2])


def cohorts_of(samples: Sequence[Sample]) -> tuple[tuple[str, ...], tuple[NDArray[Any], ...]]:
    """Every cohort of some samples in time, and the outcomes of its rows over all of them."""
    labels = np.concatenate([np.asarray(s.vintage, dtype=object) for s in samples])
    outcomes = np.concatenate([s.y for s in samples])
    names = tuple(sorted({str(label) for label in labels if label is not None}))
    return names, tuple(outcomes[labels == name] for name in names)


def _maturity_meaning(matured: float | None) -> str:
    """What the share of final labels means for every rate and mean."""
    if matured is None:
        return "Without maturity nobody knows how rates of recent cohorts are distorted, so their level is no estimate."
    if matured < 1.0:
        return "Some labels may still turn: rates of immature cohorts are floors, not estimates."
    return "Every label is final, so the rates are what happened, for those who were observed."


def _maturity(inputs: EvidenceInput) -> tuple[RegisterRow, str, float | None]:
    """The row on immature labels, its sentence, and the share of labels that are final (None: nobody knows)."""
    record = inputs.dataset["maturity"]
    n, immature = int(record["n"]), int(record["immature"])
    evaluated = bool(record["evaluated"]) and n > 0
    reason = None if evaluated else str(record["reason"]) or "the data has no dates to judge maturity by"
    share = immature / n if evaluated else None
    row = inputs.row(
        Statistic(
            "outcome.immature",
            "C3",
            "share of immature labels",
            sample="all",
            n=n,
            value=share,
            limit="outcome.immature",
            undefined=reason,
            fmt="share",
        )
    )
    if share is None:
        told = inputs.spec.outcome.maturity.note or reason
        return row, f"Maturity of labels is Not evaluated: {told}.", None
    return row, f"{100 * (1 - share):.2f} % of labels are mature.", evidence_number(1 - share)


def _rate_row(inputs: EvidenceInput, sample: Sample) -> RegisterRow:
    interval = wilson_interval(sample.n, sample.events, confidence=inputs.spec.policy.confidence)
    return inputs.row(
        Statistic(
            "outcome.rate",
            "C3",
            "outcome rate",
            sample=sample.role,
            n=sample.n,
            events=sample.events,
            value=interval.rate,
            interval=interval.interval,
            ci_method=interval.method,
            undefined=interval.reason,
            gating=False,
            fmt="share",
        )
    )


def _windows(inputs: EvidenceInput) -> Table:
    rows: list[dict[str, Scalar]] = []
    for sample in inputs.samples.values():
        interval = wilson_interval(sample.n, sample.events, confidence=inputs.spec.policy.confidence)
        rows.append(
            {
                "sample": sample.label,
                **first_and_last(sample),
                "n": sample.n,
                "events": sample.events,
                "rate": None if interval.rate is None else evidence_number(interval.rate),
                "interval": between(interval.interval, "share"),
            }
        )
    total = sum(sample.n for sample in inputs.samples.values())
    return Table(
        id="C3-T2",
        caption=f"{counted(len(rows), 'sample')} with {counted(total, 'row')}; rates with Wilson intervals.",
        columns=columns(
            ("sample", "Sample", "text"),
            ("first", "From", "date"),
            ("last", "To", "date"),
            ("n", "N", "int"),
            ("events", "D", "int"),
            ("rate", "Rate", "share"),
            ("interval", "Interval", "text"),
        ),
        rows=tuple(rows),
    )


def _cohorts(inputs: EvidenceInput) -> Figure | None:
    """Outcome rate by cohort: rows of the development period, and out-of-time rows beside them."""
    groups = dated_groups(inputs)
    if not groups:
        return None
    series = tuple(_cohort_series(name, role, samples, inputs) for name, role, samples in groups)
    rates = [(str(x), y) for one in series for x, y in zip(one.x, one.y, strict=True) if y is not None]
    low, high = min(rates, key=lambda r: r[1]), max(rates, key=lambda r: r[1])
    n = sum(sample.n for _, _, samples in groups for sample in samples)
    span = f"between {100 * low[1]:.2f} % ({low[0]}) and {100 * high[1]:.2f} % ({high[0]})"
    return Figure(
        id="C3-F1",
        chart="xy",
        caption=f"The outcome rate by cohort lies {span} ({counted(n, 'row')}; bars are Wilson intervals).",
        alt=f"Outcome rate by cohort with intervals; the lowest and highest cohort lie {span}.",
        x_label=f"Cohort ({inputs.spec.data.vintage})",
        y_label="Outcome rate",
        y_format="share",
        series=series,
    )


def _cohort_series(name: str, role: SampleRole, samples: list[Sample], inputs: EvidenceInput) -> Series:
    cohorts, outcomes = cohorts_of(samples)
    confidence = inputs.spec.policy.confidence
    intervals = [wilson_interval(int(y.size), int(np.count_nonzero(y)), confidence=confidence) for y in outcomes]
    return Series(
        name=name,
        role=role,
        mark="points",
        x=cohorts,
        y=tuple(i.rate for i in intervals),
        low=tuple(None if i.interval is None else i.interval[0] for i in intervals),
        high=tuple(None if i.interval is None else i.interval[1] for i in intervals),
        n=tuple(int(y.size) for y in outcomes),
    )


def _values(spec: ModelSpec) -> tuple[Fact, ...]:
    """What counts as an event, or in which unit an amount is measured."""
    outcome = spec.outcome
    if not spec.is_amount:
        return (
            fact("Event", ", ".join(str(value) for value in outcome.events)),
            fact("No event", ", ".join(str(value) for value in outcome.non_events)),
        )
    column = spec.contract.columns.get(outcome.column)
    unit = None if column is None else column.unit
    return (fact("Measured in", unit or ("shares of the exposure" if spec.kind == "lgd" else "no unit declared")),)


def _unresolved(outcome: Outcome) -> tuple[Fact, ...]:
    """What was left out as unresolved; nothing is said where nothing was declared."""
    if not outcome.unresolved:
        return ()
    told = ", ".join("missing" if value is None else str(value) for value in outcome.unresolved)
    return (fact("Unresolved, left out and counted", told),)


def outcome_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """C3, written part: definition, horizon, maturity rule, censoring."""
    if computed is None:
        raise EvidenceError("C3 needs its computed part", hint="the registry must give C3 a 'compute' function")
    spec = context.spec
    outcome = spec.outcome
    horizon = "lifetime" if outcome.horizon_months is None else counted(outcome.horizon_months, "month")
    by_dates = outcome.maturity.basis == "dates"
    facts = Facts(
        id="C3-T1",
        caption=f"The outcome is column '{outcome.column}' over a horizon of {horizon}.",
        facts=(
            fact("Definition", outcome.definition),
            fact("Column", outcome.column),
            *_values(spec),
            *_unresolved(outcome),
            fact("Horizon", horizon),
            fact("Delay of the label", counted(outcome.delay_days, "day")),
            fact("Maturity judged by", "dates" if by_dates else "nothing: there is no date to rely on"),
            fact("Immature labels", "stop the build" if outcome.immature == "refuse" else "are excluded and counted"),
            fact("Split", spec.split.kind.replace("_", "-")),
            fact("Note on maturity", outcome.maturity.note or "none"),
        ),
    )
    notes = tuple(Paragraph(text=text) for text in outcome.notes)
    censoring = Paragraph(
        text="Censoring: outcomes exist only for accepted cases. Nobody declined is in any sample, no reject inference "
        "was made, and rows are neither resampled nor weighted in evidence."
        if spec.purpose.can_decline
        else "Censoring: the model does not decide who is observed. Rows are neither resampled nor weighted."
    )
    blocks = (narrative_block("outcome", context.answers), facts, *notes, censoring, *computed.blocks)
    return replace(computed, blocks=blocks)

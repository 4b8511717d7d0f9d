"""C3 of amounts, computed part: maturity, mean amounts by sample and cohort, and what lies outside 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from countermark.metrics.amounts import MeanInterval, mean_interval
from countermark.metrics.intervals import clopper_pearson_interval
from countermark.records.evidence import Figure, RegisterRow, SampleRole, Scalar, Series, Table
from countermark.validation.amounts import value_format, value_word
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.outcome import by_cohort, cohorts_of, dated_groups, first_and_last, matured_outcome
from countermark.validation.sentences import between, columns, counted, described, level, printed, rounded, some
from countermark.validation.series import estimates

SECTION = "C3"


def amount_outcome(inputs: EvidenceInput) -> SectionEvidence:
    """C3: whether amounts are final, how large they are, and how many lie below 0 or above the exposure."""
    test = inputs.test
    mean = printed(_mean(inputs, test).mean, value_format(inputs.spec))
    measured = f"The mean realised {value_word(inputs.spec)} is {mean} ({described(test)})."
    rows = (*(_mean_row(inputs, sample) for sample in inputs.samples.values()), *_outside_rows(inputs))
    blocks = (_windows(inputs), _shape(inputs), by_cohort(_cohorts(inputs), "amounts"))
    return matured_outcome(inputs, measured, rows, blocks)


def _mean(inputs: EvidenceInput, sample: Sample) -> MeanInterval:
    return mean_interval(sample.y, confidence=inputs.spec.policy.confidence)


def _mean_row(inputs: EvidenceInput, sample: Sample) -> RegisterRow:
    found = _mean(inputs, sample)
    return inputs.row(Statistic(
        "outcome.mean", SECTION, f"mean realised {value_word(inputs.spec)}", sample=sample.role, n=sample.n,
        value=found.mean, interval=found.interval, ci_method="Student", undefined=found.reason, gating=False,
        fmt=value_format(inputs.spec),
    ))  # fmt: skip


def _beyond(inputs: EvidenceInput) -> tuple[tuple[str, str], ...]:
    """Name and words of what an amount of this kind may exceed."""
    if inputs.spec.kind == "lgd":
        return ("below 0", "realised losses below 0"), ("above 1", "realised losses above the exposure")
    return (("below 0", "realised amounts below 0"),)


def _hits(sample: Sample, name: str) -> int:
    return int(np.count_nonzero(sample.y < 0.0 if name == "below 0" else sample.y > 1.0))


def _outside_rows(inputs: EvidenceInput) -> Iterator[RegisterRow]:
    """Amounts that look impossible are kept as they are, and counted: they are never clipped."""
    test = inputs.test
    for name, words in _beyond(inputs):
        hits = _hits(test, name)
        found = clopper_pearson_interval(test.n, hits, confidence=inputs.spec.policy.confidence)
        yield inputs.row(Statistic(
            "outcome.outside", SECTION, f"{words}, kept as they are", sample=test.role, n=test.n, segment=name,
            value=found.rate, interval=found.interval, ci_method=found.method, undefined=found.reason, gating=False,
            fmt="share",
        ))  # fmt: skip


def _windows(inputs: EvidenceInput) -> Table:
    style = value_format(inputs.spec)
    rows: list[dict[str, Scalar]] = []
    for sample in inputs.samples.values():
        found = _mean(inputs, sample)
        rows.append(
            {
                "sample": sample.label,
                **first_and_last(sample),
                "n": sample.n,
                "mean": rounded(found.mean),
                "interval": between(found.interval, style),
            }
        )
    total = sum(sample.n for sample in inputs.samples.values())
    return Table(
        id="C3-T2",
        caption=f"{counted(len(rows), 'sample')}, N = {printed(total, 'int')} in all; means with Student's intervals.",
        columns=columns(
            ("sample", "Sample", "text"), ("first", "From", "date"), ("last", "To", "date"), ("n", "N", "int"),
            ("mean", "Mean realised", style), ("interval", "Interval", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _shape(inputs: EvidenceInput) -> Table:
    """Quantiles, and the rows at and beyond the ends: losses often come as nothing or all."""
    style = value_format(inputs.spec)
    rows: list[dict[str, Scalar]] = []
    for sample in inputs.samples.values():
        quantiles = np.quantile(sample.y, [0.0, 0.25, 0.5, 0.75, 1.0]) if sample.n else [None] * 5
        smallest, low, middle, high, largest = (rounded(None if q is None else float(q)) for q in quantiles)
        rows.append(
            {
                "sample": sample.label,
                "n": sample.n,
                "smallest": smallest,
                "low": low,
                "middle": middle,
                "high": high,
                "largest": largest,
                "negative": _hits(sample, "below 0"),
                "zero": int(np.count_nonzero(sample.y == 0.0)),
                "beyond": _hits(sample, "above 1") if inputs.spec.kind == "lgd" else None,
            }
        )
    hits = [(some(_hits(inputs.test, name), "row"), name) for name, _ in _beyond(inputs)]
    told = " and ".join(f"{count if k == 0 else count.lower()} {name}" for k, (count, name) in enumerate(hits))
    return Table(
        id="C3-T3",
        caption=f"{told}; realised amounts are kept as they are ({described(inputs.test)}).",
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("smallest", "Smallest", style),
            ("low", "Lower quarter", style), ("middle", "Median", style), ("high", "Upper quarter", style),
            ("largest", "Largest", style), ("negative", "Below 0", "int"), ("zero", "Exactly 0", "int"),
            ("beyond", "Above 1", "int"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _cohorts(inputs: EvidenceInput) -> Figure | None:
    """Mean amount by cohort: rows of the development period, and out-of-time rows beside them."""
    groups = dated_groups(inputs)
    if not groups:
        return None
    style, word = value_format(inputs.spec), value_word(inputs.spec)
    series = tuple(_cohort_series(name, role, samples, inputs) for name, role, samples in groups)
    means = [(str(x), y) for one in series for x, y in zip(one.x, one.y, strict=True) if y is not None]
    low, high = min(means, key=lambda m: (m[1], m[0])), max(means, key=lambda m: (m[1], m[0]))
    n = sum(sample.n for _, _, samples in groups for sample in samples)
    span = f"between {printed(low[1], style)} ({low[0]}) and {printed(high[1], style)} ({high[0]})"
    return Figure(
        id="C3-F1", chart="xy",
        caption=f"The mean realised {word} by cohort lies {span} (N = {printed(n, 'int')}; "
        f"{level(inputs.spec.policy)} Student).",
        alt=f"Mean realised {word} by cohort with intervals; the lowest and highest cohort lie {span}.",
        x_label=f"Cohort ({inputs.spec.data.vintage})", y_label=f"Mean realised {word}", y_format=style,
        series=series,
    )  # fmt: skip


def _cohort_series(name: str, role: SampleRole, samples: list[Sample], inputs: EvidenceInput) -> Series:
    cohorts, amounts = cohorts_of(samples)
    found = [mean_interval(y, confidence=inputs.spec.policy.confidence) for y in amounts]
    return estimates(
        name, cohorts, [m.mean for m in found], [m.interval for m in found], role=role, n=[m.n for m in found]
    )

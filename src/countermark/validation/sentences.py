"""Sentences that carry numbers: captions, conclusions and alt texts are made from the numbers they describe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from countermark.config.policy import Policy
from countermark.records.evidence import Column, Format, RegisterRow
from countermark.records.formats import format_estimate, format_interval, format_value
from countermark.records.lights import Light, worst
from countermark.validation.inputs import EvidenceInput, Sample, evidence_number

SAME_PERIOD = "the test sample is a random part of the development period, so change over time was not tested"
"""Said first by every section that a hold-out sample cannot answer for."""


def rounded(value: float | None) -> float | None:
    """A number for a table or figure, as evidence keeps it; None where there is none."""
    return None if value is None or not np.isfinite(value) else evidence_number(value)


def printed(value: float | int | None, style: Format) -> str:
    """A number as it is printed."""
    if style == "int" and value is not None:
        return format_value(int(value), "int")
    return format_value(rounded(value), style)


def between(interval: tuple[float, float] | None, style: Format) -> str:
    """An interval as it is printed."""
    low, high = (None, None) if interval is None else interval
    return format_interval(rounded(low), rounded(high), style)


def with_interval(value: float | None, interval: tuple[float, float] | None, style: Format) -> str:
    """A number with its interval as it is printed: '0.689 (0.686 to 0.693)'."""
    low, high = (None, None) if interval is None else interval
    return format_estimate(rounded(value), rounded(low), rounded(high), style)


def interval_numbers(value: float | None, interval: tuple[float, float] | None) -> dict[str, float | None]:
    """A number with its interval as an extra holds it."""
    low, high = (None, None) if interval is None else interval
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}


def raw_and_adjusted(raw: float | None, adjusted: float | None) -> str:
    """'0.012 (0.048)': raw and adjusted p."""
    return f"{printed(raw, 'pvalue')} ({printed(adjusted, 'pvalue')})"


def row_name(row: RegisterRow) -> str:
    """'cal.line: Slope of realised on estimated amounts', and whether it gates."""
    return f"{row.test_id}: {row.label}{' (gates)' if row.gating else ''}"


def row_value(row: RegisterRow) -> str:
    """The number of a row with its interval as it is printed."""
    interval = None if row.ci_low is None or row.ci_high is None else (row.ci_low, row.ci_high)
    return with_interval(row.statistic, interval, row.format)


def outside_development(inputs: EvidenceInput) -> str:
    """The samples that nothing was fitted on, in words: 'hold-out and out-of-time'."""
    return " and ".join(sample.label for sample in inputs.outside)


def described(sample: Sample) -> str:
    """The sample as a caption names it: label, rows and, where there are any to count, events."""
    if sample.amounts:
        return f"{sample.label}, N = {printed(sample.n, 'int')}"
    return f"{sample.label}, N = {printed(sample.n, 'int')}, D = {printed(sample.events, 'int')}"


def against_development(development: Sample, test: Sample) -> str:
    """Both samples of a comparison as a caption names them."""
    return f"{described(development)}, against {described(test)}"


def level(policy: Policy) -> str:
    """The confidence of the policy's intervals: '95 %'."""
    return f"{100 * policy.confidence:g} %"


def no_trend(vintages: Sequence[str], what: str) -> str:
    """Why nothing is shown over time: fewer than two vintages are no trend, and a chart of one point says nothing."""
    if not vintages:
        return f"No {what} by vintage: the data has no dates."
    return f"No {what} by vintage: all rows are of {vintages[0]}, so there is no trend to show."


def sentence(parts: Sequence[str]) -> str:
    """Clauses joined into one sentence."""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def with_light(rows: Iterable[RegisterRow], light: Light) -> tuple[RegisterRow, ...]:
    """The rows that have this light."""
    return tuple(row for row in rows if row.light is light)


def worst_light(rows: Iterable[RegisterRow]) -> Light:
    """The worst light of some rows, gating or not."""
    return worst(row.light for row in rows)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """'1 input', '3 inputs'."""
    return f"{printed(number, 'int')} {singular if number == 1 else plural or singular + 's'}"


def some(number: int, singular: str, plural: str | None = None) -> str:
    """A count at the head of a sentence: 'No input', '1 input', '3 inputs'."""
    return counted(number, singular, plural) if number else f"No {singular}"


def tally(rows: Sequence[RegisterRow]) -> str:
    """How many rows have which light: '11 Pass, 1 Watch'."""
    lights = (Light.FAIL, Light.NOT_EVALUATED, Light.WATCH, Light.PASS, Light.INFORMATION)
    parts = [f"{len(found)} {light.word}" for light in lights if (found := with_light(rows, light))]
    return ", ".join(parts) if parts else "no test"


def listed(names: Sequence[str], limit: int = 4) -> str:
    """'a, b, c and 2 more'."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def columns(*specs: tuple[str, str, Format]) -> tuple[Column, ...]:
    """Table columns from (key, label, format)."""
    return tuple(Column(key=key, label=label, format=style) for key, label, style in specs)

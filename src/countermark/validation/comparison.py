"""What E5 says alike of two models of events and of two models of an amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.discrimination import Curve
from countermark.records.evidence import Figure, Format, ReferenceLine, RegisterRow, SampleRole, Series
from countermark.records.lights import Light
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, described, interval_numbers, printed, rounded
from countermark.validation.series import curve_line, estimates

SECTION = "E5"


@dataclass(frozen=True, slots=True)
class Gain:
    """What the champion gains over the challenger on one sample, with its interval."""

    sample: Sample
    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class GainWords:
    """How a gain is spoken of.

    Attributes:
        claim: The gain at the head of a caption.
        method: How it was compared.
        measured: What it is, before 'with interval, by sample' in an alternative text.
        axis: Label of its axis.
        series: Name of its series.
        style: How it is printed.
    """

    claim: str
    method: str
    measured: str
    axis: str
    series: str
    style: Format


def challenger_kind(inputs: EvidenceInput) -> str:
    """Which learner the challenger is of: 'logistic'."""
    challenger = inputs.spec.challenger
    return "none" if challenger is None else challenger.learner.kind


def no_challenger(inputs: EvidenceInput, scores: NDArray[np.float64] | None) -> str | None:
    """Why nothing can be compared; ``scores`` are the challenger's on the test sample (n,)."""
    if inputs.spec.challenger is None:
        return "the spec declares no challenger"
    return "the challenger has no scores on the test sample" if scores is None else None


def not_compared(inputs: EvidenceInput, reason: str, tests: Mapping[str, str]) -> SectionEvidence:
    """E5 without a challenger: every test, by id with its label, Not evaluated for one reason."""
    test = inputs.test
    rows = tuple(
        inputs.row(Statistic(
            test_id, SECTION, label, sample=test.role, n=test.n, events=test.events, value=None, limit=test_id,
            undefined=reason,
        ))
        for test_id, label in tests.items()
    )  # fmt: skip
    return SectionEvidence(
        code=SECTION,
        conclusion=f"The model was not compared with a simpler one: {reason}.",
        would_change="A challenger in the spec ('challenger'), scored on the same rows.",
        so_what="Nothing shows that the complexity of this model is worth having.",
        rows=rows,
        extras={"gain": gain_numbers(Gain(test, None, None), None, None)},
    )


def comparison_conclusion(inputs: EvidenceInput, number: str, better: str, rows: Sequence[RegisterRow]) -> str:
    """Whether the champion is worse, no better, or better.

    Args:
        inputs: The evidence input.
        number: Both models and their difference in numbers.
        better: What a better champion does: 'ranks better than'.
        rows: The row on a worse champion, then the row on its gain.
    """
    kind, (worse, gain) = challenger_kind(inputs), rows[:2]
    if worse.light is Light.NOT_EVALUATED:
        return f"Champion and challenger ({kind}) could not be compared: {worse.n_reason}."
    where = f"on the {inputs.test.label} sample"
    if worse.light is Light.FAIL:
        return f"The champion is worse than the challenger ({kind}): {number} {where}."
    if gain.light is not Light.PASS:
        return f"No gain over the challenger ({kind}) is shown: {number} {where}."
    return f"The champion {better} the challenger ({kind}): {number} {where}."


def gain_numbers(gain: Gain, p_worse: float | None, p_two_sided: float | None) -> dict[str, float | None]:
    """The gain as an extra holds it."""
    p_values = {"p_worse": rounded(p_worse), "p_two_sided": rounded(p_two_sided)}
    return {**interval_numbers(gain.value, gain.interval), **p_values}


def gain_forest(inputs: EvidenceInput, gains: Mapping[str, Gain], words: GainWords) -> Figure | None:
    """The gain with its interval on every sample."""
    known = [g for g in gains.values() if g.interval is not None]
    if not known:
        return None
    main, style = gains[inputs.test.role], words.style
    return Figure(
        id="E5-F1", chart="forest", size="half",
        caption=f"{words.claim}: {printed(main.value, style)}, {between(main.interval, style)} "
        f"({described(main.sample)}; {words.method}).",
        alt=(
            f"{words.measured} with interval, by sample: "
            + "; ".join(f"{g.sample.label} {printed(g.value, style)} ({between(g.interval, style)})" for g in known)
            + "."
        ),
        x_label=words.axis, x_format=style, y_format=style,
        series=(
            estimates(
                words.series, [g.sample.label for g in known], [g.value for g in known],
                [g.interval for g in known], role=inputs.test.role, n=[g.sample.n for g in known],
            ),
        ),
        lines=(ReferenceLine(axis="x", value=0.0, label="no gain"),),
    )  # fmt: skip


def both_curves(role: SampleRole, champion: Curve, challenger: Curve) -> tuple[Series, ...]:
    """The curves of both models, the challenger's as the reference."""
    return curve_line("champion", role, champion), curve_line("challenger", "reference", challenger)


def share_at(curve: Curve, x: float) -> str:
    """The height of a curve at ``x``, as a share is printed."""
    return printed(float(np.interp(x, curve.x, curve.y)), "share")

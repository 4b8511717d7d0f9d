"""E5 of amounts: are the model's errors smaller than those of the simple one that could replace it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.amounts import amount_errors, error_difference, error_saved, loss_capture
from countermark.metrics.challenger import PairedMean
from countermark.metrics.discrimination import Curve, thin_curve
from countermark.metrics.somers import GaucDifference, generalised_auc_difference
from countermark.records.evidence import Block, Figure, ReferenceLine, RegisterRow, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.validation.amounts import gap_format, rank_codes, too_few_amounts
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, columns, described, level, printed, rounded

SECTION = "E5"
_POINTS = 80


@dataclass(frozen=True, slots=True)
class Comparison:
    """Champion and challenger on the same rows of one sample.

    Attributes:
        squared: Mean squared error of the champion less that of the challenger.
        absolute: The same of absolute errors.
        saved: Share of the challenger's squared error that the champion saves.
        gauc: Difference of the generalised AUCs.
        thin: Why it must not be judged.
    """

    sample: Sample
    squared: PairedMean
    absolute: PairedMean
    saved: PairedMean
    gauc: GaucDifference
    thin: str | None

    @property
    def p_worse(self) -> float | None:
        """One-sided p of H0 "the champion's squared error is not larger"; small means that it is."""
        two, gap = self.squared.p_two_sided, self.squared.difference
        if two is None or gap is None:
            return None
        return two / 2 if gap > 0.0 else 1.0 - two / 2


def amount_benchmark(inputs: EvidenceInput) -> SectionEvidence:
    """E5: champion against challenger by paired squared and absolute errors and by generalised AUC."""
    missing = _no_challenger(inputs)
    if missing is not None:
        return _not_compared(inputs, missing)
    found = {r: _compare(inputs, s) for r, s in inputs.samples.items() if s.challenger_p is not None}
    main = found[inputs.test.role]
    rows = (*_gain_rows(inputs, main), *_further_rows(inputs, main), *_sample_rows(inputs, found))
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, main, rows),
        would_change="An interval of the error saved that includes 0, or errors that are significantly larger.",
        so_what=_so_what(inputs, main),
        rows=rows,
        blocks=tuple(_blocks(inputs, found)),
        extras={"gain": _numbers(main), "challenger": _challenger_kind(inputs)},
    )


def _no_challenger(inputs: EvidenceInput) -> str | None:
    if inputs.spec.challenger is None:
        return "the spec declares no challenger"
    if inputs.test.challenger_p is None:
        return "the challenger has no scores on the test sample"
    return None


def _not_compared(inputs: EvidenceInput, reason: str) -> SectionEvidence:
    test = inputs.test
    rows = tuple(
        inputs.row(
            Statistic(test_id, SECTION, label, sample=test.role, n=test.n, value=None, limit=test_id, undefined=reason)
        )
        for test_id, label in (
            ("bench.error_diff", "Squared error, champion above challenger"),
            ("bench.error_gain", "Squared error saved"),
        )
    )
    return SectionEvidence(
        code=SECTION,
        conclusion=f"The model was not compared with a simpler one: {reason}.",
        would_change="A challenger in the spec ('challenger'), scored on the same rows.",
        so_what="Nothing shows that the complexity of this model is worth having.",
        rows=rows,
        extras={"gain": {"value": None, "low": None, "high": None, "p_worse": None, "p_two_sided": None}},
    )


def _compare(inputs: EvidenceInput, sample: Sample) -> Comparison:
    other = sample.challenger_p
    assert other is not None
    spec, confidence = inputs.spec, inputs.spec.policy.confidence
    return Comparison(
        sample=sample,
        squared=error_difference(sample.y, sample.p, other, confidence=confidence),
        absolute=error_difference(sample.y, sample.p, other, squared=False, confidence=confidence),
        saved=error_saved(sample.y, sample.p, other, confidence=confidence),
        gauc=generalised_auc_difference(
            rank_codes(spec, sample.y), rank_codes(spec, sample.p), rank_codes(spec, other), confidence=confidence
        ),
        thin=too_few_amounts(inputs, sample.n, f"the {sample.label} sample"),
    )


def _gain_rows(inputs: EvidenceInput, main: Comparison) -> Iterator[RegisterRow]:
    test, p_worse = main.sample, main.p_worse
    yield inputs.row(Statistic(
        "bench.error_diff", SECTION, "Squared error, champion minus challenger (below 0 favours the champion)",
        sample=test.role, n=test.n, value=main.squared.difference, interval=main.squared.interval,
        ci_method="paired normal", judged=p_worse, limit="bench.error_diff", h0="champion's error not larger",
        alternative="champion worse", p_raw=p_worse,
        undefined=main.thin or (main.squared.reason if p_worse is None else None),
    ))  # fmt: skip
    saved = main.saved
    yield inputs.row(Statistic(
        "bench.error_gain", SECTION, "Share of the challenger's squared error saved", sample=test.role, n=test.n,
        value=saved.difference, judged=None if saved.interval is None else saved.interval[0], interval=saved.interval,
        ci_method="paired normal, ratio", limit="bench.error_gain", h0="equal error", alternative="two-sided",
        p_raw=saved.p_two_sided, undefined=main.thin or (saved.reason if saved.interval is None else None),
        fmt="share",
    ))  # fmt: skip


def _further_rows(inputs: EvidenceInput, main: Comparison) -> Iterator[RegisterRow]:
    test = main.sample
    yield inputs.row(Statistic(
        "bench.error_diff", SECTION, "Absolute error, champion minus challenger (below 0 favours the champion)",
        sample=test.role, n=test.n, segment="absolute", value=main.absolute.difference,
        interval=main.absolute.interval, ci_method="paired normal", h0="equal absolute error",
        p_raw=main.absolute.p_two_sided,
        undefined=main.thin or (main.absolute.reason if main.absolute.interval is None else None), gating=False,
        fmt=gap_format(inputs.spec),
    ))  # fmt: skip
    gauc = main.gauc
    yield inputs.row(Statistic(
        "bench.gauc_diff", SECTION, "gAUC, champion minus challenger", sample=test.role, n=test.n,
        value=gauc.difference, interval=gauc.interval, ci_method="paired influences", h0="equal gAUC",
        alternative="two-sided", p_raw=gauc.p_two_sided,
        undefined=main.thin or (gauc.reason if gauc.interval is None else None), gating=False, fmt="auc",
    ))  # fmt: skip


def _sample_rows(inputs: EvidenceInput, found: dict[Any, Comparison]) -> Iterator[RegisterRow]:
    for role, item in found.items():
        if role == inputs.test.role:
            continue
        yield inputs.row(Statistic(
            "bench.error_gain", SECTION, f"Share of the challenger's squared error saved, {item.sample.label}",
            sample=role, n=item.sample.n, value=item.saved.difference, interval=item.saved.interval,
            ci_method="paired normal, ratio", h0="equal error", p_raw=item.saved.p_two_sided,
            undefined=item.thin or (item.saved.reason if item.saved.interval is None else None), gating=False,
            fmt="share",
        ))  # fmt: skip


def _challenger_kind(inputs: EvidenceInput) -> str:
    challenger = inputs.spec.challenger
    return "none" if challenger is None else challenger.learner.kind


def _rmse(sample: Sample, estimated: NDArray[np.float64] | None) -> float | None:
    return None if estimated is None else amount_errors(sample.y, estimated).rmse


def _conclusion(inputs: EvidenceInput, main: Comparison, rows: tuple[RegisterRow, ...]) -> str:
    kind, style = _challenger_kind(inputs), gap_format(inputs.spec)
    worse, gain = rows[0], rows[1]
    if worse.light is Light.NOT_EVALUATED:
        return f"Champion and challenger ({kind}) could not be compared: {worse.n_reason}."
    ours, theirs = (_rmse(main.sample, v) for v in (main.sample.p, main.sample.challenger_p))
    number = (
        f"root mean squared error {printed(ours, style)} against {printed(theirs, style)}, "
        f"{printed(main.saved.difference, 'share')} of the squared error saved ({level(inputs.spec.policy)} interval "
        f"{between(main.saved.interval, 'share')})"
    )
    where = f"on the {main.sample.label} sample"
    if worse.light is Light.FAIL:
        return f"The champion is worse than the challenger ({kind}): {number} {where}."
    if gain.light is not Light.PASS:
        return f"No gain over the challenger ({kind}) is shown: {number} {where}."
    return f"The champion errs less than the challenger ({kind}): {number} {where}."


def _so_what(inputs: EvidenceInput, main: Comparison) -> str:
    gap = main.gauc.difference
    told = "cannot be compared" if gap is None else f"differ by {printed(gap, 'auc')} in gAUC"
    off = main.absolute.difference or 0.0
    size, side = printed(abs(off), gap_format(inputs.spec)), "closer to" if off <= 0.0 else "further from"
    return f"On average the champion's estimate is {size} {side} what came; the two orders {told}."


def _blocks(inputs: EvidenceInput, found: dict[Any, Comparison]) -> Iterator[Block]:
    yield _table(inputs, found)
    figure = _forest(inputs, found)
    if figure is not None:
        yield figure
    curves = _curves(inputs)
    if curves is not None:
        yield curves


def _table(inputs: EvidenceInput, found: dict[Any, Comparison]) -> Table:
    style = gap_format(inputs.spec)
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "sample": c.sample.label,
            "n": c.sample.n,
            "champion": rounded(_rmse(c.sample, c.sample.p)),
            "challenger": rounded(_rmse(c.sample, c.sample.challenger_p)),
            "saved": rounded(c.saved.difference),
            "interval": between(c.saved.interval, "share"),
            "p": rounded(c.squared.p_two_sided),
            "absolute": rounded(c.absolute.difference),
            "gauc": rounded(c.gauc.difference),
        }
        for c in found.values()
    )
    main = found[inputs.test.role]
    return Table(
        id="E5-T1",
        caption=f"The champion saves {printed(main.saved.difference, 'share')} of the challenger's squared error "
        f"({described(main.sample)}; same rows, paired; a negative difference of absolute errors "
        "favours the champion).",
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("champion", "RMSE champion", style),
            ("challenger", "RMSE challenger", style), ("saved", "Squared error saved", "share"),
            ("interval", "Interval", "text"), ("p", "p (two-sided)", "pvalue"), ("absolute", "Absolute error", style),
            ("gauc", "gAUC gain", "auc"),
        ),
        rows=rows,
    )  # fmt: skip


def _forest(inputs: EvidenceInput, found: dict[Any, Comparison]) -> Figure | None:
    known = [c for c in found.values() if c.saved.interval is not None]
    main = found[inputs.test.role]
    if not known:
        return None
    ends = [c.saved.interval for c in known]
    return Figure(
        id="E5-F1", chart="forest", size="half",
        caption=f"Squared error saved against the challenger: {printed(main.saved.difference, 'share')}, "
        f"{between(main.saved.interval, 'share')} ({described(main.sample)}; paired).",
        alt=(
            "Share of the challenger's squared error that the champion saves, with interval, by sample: "
            + "; ".join(
                f"{c.sample.label} {printed(c.saved.difference, 'share')} ({between(c.saved.interval, 'share')})"
                for c in known
            )
            + "."
        ),
        x_label="Squared error saved", x_format="share", y_format="share",
        series=(
            Series(
                name="saved", role=inputs.test.role, mark="points", x=tuple(c.sample.label for c in known),
                y=tuple(rounded(c.saved.difference) for c in known),
                low=tuple(None if e is None else rounded(e[0]) for e in ends),
                high=tuple(None if e is None else rounded(e[1]) for e in ends), n=tuple(c.sample.n for c in known),
            ),
        ),
        lines=(ReferenceLine(axis="x", value=0.0, label="no gain"),),
    )  # fmt: skip


def _curves(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    if test.challenger_p is None:
        return None
    both = (("champion", loss_capture(test.y, test.p)), ("challenger", loss_capture(test.y, test.challenger_p)))
    if any(curve.ratio is None for _, curve in both):
        return None
    at = {name: printed(float(np.interp(0.2, c.x, c.y)), "share") for name, c in both}
    series = []
    for name, curve in both:
        thin = thin_curve(Curve(curve.x, curve.y, curve.x), _POINTS)
        x, y = (tuple(rounded(float(v)) or 0.0 for v in values) for values in (thin.x, thin.y))
        series.append(Series(name=name, role=test.role if name == "champion" else "reference", x=x, y=y))
    return Figure(
        id="E5-F2", chart="xy", size="half",
        caption=f"The fifth with the highest estimates holds {at['champion']} of the realised amount by the champion, "
        f"{at['challenger']} by the challenger ({described(test)}).",
        alt=(
            f"Loss capture curves of champion and challenger on the {test.label} sample. At 20 % of rows the champion "
            f"holds {at['champion']} of the realised amount and the challenger {at['challenger']}."
        ),
        x_label="Share of rows, highest estimates first", y_label="Share of realised amount", x_format="share",
        y_format="share", series=tuple(series), lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _numbers(main: Comparison) -> dict[str, float | None]:
    low, high = (None, None) if main.saved.interval is None else main.saved.interval
    return {
        "value": rounded(main.saved.difference),
        "low": rounded(low),
        "high": rounded(high),
        "p_worse": rounded(main.p_worse),
        "p_two_sided": rounded(main.squared.p_two_sided),
    }

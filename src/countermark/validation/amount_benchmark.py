"""E5 of amounts: are the model's errors smaller than those of the simple one that could replace it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.amounts import amount_errors, error_difference, error_saved, loss_capture
from countermark.metrics.challenger import PairedMean
from countermark.metrics.discrimination import Curve
from countermark.metrics.somers import GaucDifference, generalised_auc_difference
from countermark.records.evidence import Block, Figure, ReferenceLine, RegisterRow, Scalar, Table
from countermark.validation.amounts import gap_format, rank_codes, too_few_amounts
from countermark.validation.comparison import (
    SECTION,
    Gain,
    GainWords,
    both_curves,
    challenger_kind,
    comparison_conclusion,
    gain_forest,
    gain_numbers,
    no_challenger,
    not_compared,
    share_at,
)
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import between, columns, described, level, printed, rounded

_WORDS = GainWords(
    claim="Squared error saved against the challenger",
    method="paired",
    measured="Share of the challenger's squared error that the champion saves,",
    axis="Squared error saved",
    series="saved",
    style="share",
)


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
    missing = no_challenger(inputs, inputs.test.challenger_p)
    if missing is not None:
        tests = {
            "bench.error_diff": "Squared error, champion above challenger",
            "bench.error_gain": "Squared error saved",
        }
        return not_compared(inputs, missing, tests)
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
        extras={
            "gain": gain_numbers(_gain(main), main.p_worse, main.squared.p_two_sided),
            "challenger": challenger_kind(inputs),
        },
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


def _sample_rows(inputs: EvidenceInput, found: dict[str, Comparison]) -> Iterator[RegisterRow]:
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


def _rmse(sample: Sample, estimated: NDArray[np.float64] | None) -> float | None:
    return None if estimated is None else amount_errors(sample.y, estimated).rmse


def _conclusion(inputs: EvidenceInput, main: Comparison, rows: tuple[RegisterRow, ...]) -> str:
    style = gap_format(inputs.spec)
    ours, theirs = (_rmse(main.sample, v) for v in (main.sample.p, main.sample.challenger_p))
    number = (
        f"root mean squared error {printed(ours, style)} against {printed(theirs, style)}, "
        f"{printed(main.saved.difference, 'share')} of the squared error saved ({level(inputs.spec.policy)} interval "
        f"{between(main.saved.interval, 'share')})"
    )
    return comparison_conclusion(inputs, number, "errs less than", rows)


def _so_what(inputs: EvidenceInput, main: Comparison) -> str:
    gap = main.gauc.difference
    told = "cannot be compared" if gap is None else f"differ by {printed(gap, 'auc')} in gAUC"
    off = main.absolute.difference or 0.0
    size, side = printed(abs(off), gap_format(inputs.spec)), "closer to" if off <= 0.0 else "further from"
    return f"On average the champion's estimate is {size} {side} what came; the two orders {told}."


def _gain(item: Comparison) -> Gain:
    return Gain(item.sample, item.saved.difference, item.saved.interval)


def _blocks(inputs: EvidenceInput, found: dict[str, Comparison]) -> Iterator[Block]:
    yield _table(inputs, found)
    figure = gain_forest(inputs, {role: _gain(item) for role, item in found.items()}, _WORDS)
    yield from (block for block in (figure, _curves(inputs)) if block is not None)


def _table(inputs: EvidenceInput, found: dict[str, Comparison]) -> Table:
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


def _curves(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    if test.challenger_p is None:
        return None
    found = [loss_capture(test.y, estimated) for estimated in (test.p, test.challenger_p)]
    if any(one.ratio is None for one in found):
        return None
    champion, challenger = (Curve(one.x, one.y, one.x) for one in found)
    ours, theirs = share_at(champion, 0.2), share_at(challenger, 0.2)
    return Figure(
        id="E5-F2", chart="xy", size="half",
        caption=f"The fifth with the highest estimates holds {ours} of the realised amount by the champion, "
        f"{theirs} by the challenger ({described(test)}).",
        alt=(
            f"Loss capture curves of champion and challenger on the {test.label} sample. At 20 % of rows the champion "
            f"holds {ours} of the realised amount and the challenger {theirs}."
        ),
        x_label="Share of rows, highest estimates first", y_label="Share of realised amount", x_format="share",
        y_format="share", series=both_curves(test.role, champion, challenger),
        lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip

"""E5: is the model better than the simple one that could replace it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from countermark.metrics.challenger import Cell, PairedMean, SwapSet, brier_difference, swap_set
from countermark.metrics.discrimination import AucDifference, auc_difference, roc_curve
from countermark.metrics.intervals import wilson_interval
from countermark.metrics.ordering import grade_order
from countermark.metrics.power import detectable_auc_drop
from countermark.records.evidence import Block, Figure, ReferenceLine, RegisterRow, Scalar, Table
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
from countermark.validation.sentences import between, columns, counted, described, level, printed, rounded

_WORDS = GainWords(
    claim="Gain over the challenger",
    method="paired DeLong",
    measured="AUC of the champion minus AUC of the challenger",
    axis="Gain in AUC",
    series="gain",
    style="auc",
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Champion and challenger on the same rows of one sample."""

    sample: Sample
    auc: AucDifference
    brier: PairedMean | None
    thin: str | None


def benchmark(inputs: EvidenceInput) -> SectionEvidence:
    """E5: champion against challenger by paired DeLong, Brier score and swap set at equal approval rate."""
    missing = no_challenger(inputs, inputs.test.challenger_margin)
    if missing is not None:
        return not_compared(
            inputs, missing, {"bench.auc_diff": "Champion worse than challenger", "bench.gain": "Gain in AUC"}
        )
    found = {r: _compare(inputs, s) for r, s in inputs.samples.items() if s.challenger_margin is not None}
    main = found[inputs.test.role]
    swap = _swap(inputs)
    rows = (
        *_gain_rows(inputs, main),
        *_sample_rows(inputs, found),
        *_brier_rows(inputs, main),
        *_swap_rows(inputs, swap),
    )
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, main, rows),
        would_change=_would_change(inputs, main),
        so_what=_so_what(inputs, swap),
        rows=rows,
        blocks=tuple(_blocks(inputs, found, swap)),
        extras=_extras(inputs, main, swap),
    )


def _compare(inputs: EvidenceInput, sample: Sample) -> Comparison:
    margin = sample.challenger_margin
    assert margin is not None
    confidence, least = inputs.spec.policy.confidence, inputs.spec.policy.minimum_events
    got = auc_difference(sample.y, sample.margin, margin, confidence=confidence)
    paired = None if sample.challenger_p is None else brier_difference(sample.y, sample.p, sample.challenger_p)
    thin = None
    if min(sample.events, sample.n - sample.events) < least:
        thin = (
            f"the {sample.label} sample has {counted(sample.events, 'event')} and "
            f"{counted(sample.n - sample.events, 'non-event')}; the policy asks for {least} of each"
        )
    return Comparison(sample, got, paired, thin)


def _swap(inputs: EvidenceInput) -> SwapSet:
    """Approvals of both models at the approval rate that the champion's cut-off gives."""
    test = inputs.test
    challenger = test.challenger_margin
    assert challenger is not None
    rate = float(np.mean(test.p < inputs.spec.decision_policy.cutoff)) if test.n else 0.0
    return swap_set(test.y, test.margin, challenger, rate)


def _gain_rows(inputs: EvidenceInput, main: Comparison) -> Iterator[RegisterRow]:
    test, got = main.sample, main.auc
    undefined = main.thin or (got.reason if got.p_worse is None else None)
    yield inputs.row(Statistic(
        "bench.auc_diff", SECTION, "Champion worse than challenger (paired DeLong, one-sided)",
        sample=test.role, n=test.n, events=test.events, value=got.difference, judged=got.p_worse,
        interval=got.interval, ci_method="paired DeLong", limit="bench.auc_diff", h0="champion not worse",
        alternative="champion worse", p_raw=got.p_worse, undefined=undefined, fmt="auc",
    ))  # fmt: skip
    yield inputs.row(Statistic(
        "bench.gain", SECTION, "Gain in AUC over the challenger",
        sample=test.role, n=test.n, events=test.events, value=got.difference,
        judged=None if got.interval is None else got.interval[0], interval=got.interval, ci_method="paired DeLong",
        limit="bench.gain", h0="equal AUC", alternative="two-sided", p_raw=got.p_two_sided, undefined=undefined,
        fmt="auc",
    ))  # fmt: skip


def _sample_rows(inputs: EvidenceInput, found: dict[str, Comparison]) -> Iterator[RegisterRow]:
    for role, item in found.items():
        got = item.auc
        yield inputs.row(Statistic(
            "disc.delong_paired", SECTION, f"AUC champion minus challenger, {item.sample.label}",
            sample=role, n=item.sample.n, events=item.sample.events, value=got.difference, interval=got.interval,
            ci_method="paired DeLong", h0="equal AUC", alternative="two-sided", p_raw=got.p_two_sided,
            undefined=item.thin or (got.reason if got.interval is None else None), gating=False, fmt="auc",
        ))  # fmt: skip


def _brier_rows(inputs: EvidenceInput, main: Comparison) -> Iterator[RegisterRow]:
    if main.brier is None:
        return
    yield inputs.row(Statistic(
        "bench.brier_diff", SECTION, "Brier score, champion minus challenger (below 0 favours the champion)",
        sample=main.sample.role, n=main.sample.n, events=main.sample.events, value=main.brier.difference,
        interval=main.brier.interval, ci_method="paired normal", h0="equal Brier score", p_raw=main.brier.p_two_sided,
        undefined=main.thin or main.brier.reason, gating=False, fmt="score",
    ))  # fmt: skip


def _swap_rows(inputs: EvidenceInput, swap: SwapSet) -> Iterator[RegisterRow]:
    test, policy = inputs.test, inputs.spec.policy
    approval = printed(swap.approved / test.n if test.n else None, "share")
    for name, cell in (("swapped in", swap.swapped_in), ("swapped out", swap.swapped_out)):
        rate = wilson_interval(cell.n, cell.events, confidence=policy.confidence)
        few = f"{counted(cell.n, 'row')} {name}; the policy asks for {policy.minimum_group}"
        yield inputs.row(Statistic(
            "bench.swap_set", SECTION, f"Outcome rate of rows {name} at {approval} approved", segment=name,
            sample=test.role, n=cell.n, events=cell.events, value=rate.rate, interval=rate.interval,
            ci_method="Wilson", undefined=swap.reason or (few if cell.n < policy.minimum_group else None),
            gating=False, fmt="share",
        ))  # fmt: skip
    inside, outside = swap.swapped_in, swap.swapped_out
    order = grade_order(inside.n, inside.events, outside.n, outside.events)
    yield inputs.row(Statistic(
        "bench.swap_set", SECTION, "Outcome rate swapped out minus swapped in (above 0 favours the champion)",
        segment="difference", sample=test.role, n=inside.n + outside.n, events=inside.events + outside.events,
        value=order.difference, h0="swapped out not worse", p_raw=order.p_differentiation,
        undefined=swap.reason or ("no rows change sides" if not inside.n else order.reason), gating=False, fmt="points",
    ))  # fmt: skip


def _conclusion(inputs: EvidenceInput, main: Comparison, rows: tuple[RegisterRow, ...]) -> str:
    got = main.auc
    number = (
        f"AUC {printed(got.auc_a, 'auc')} against {printed(got.auc_b, 'auc')}, difference "
        f"{printed(got.difference, 'auc')} ({level(inputs.spec.policy)} interval {between(got.interval, 'auc')})"
    )
    return comparison_conclusion(inputs, number, "ranks better than", rows)


def _would_change(inputs: EvidenceInput, main: Comparison) -> str:
    policy = inputs.spec.policy
    text = "An interval of the difference that includes 0, or a champion that is significantly worse."
    if not main.auc.variance or main.thin is not None:
        return text
    found = detectable_auc_drop(main.auc.variance**0.5, alpha=policy.alpha, power=policy.power.detect_at)
    size, power = printed(found.value, "auc"), f"{100 * policy.power.detect_at:g} %"
    return f"{text} The smallest difference that this comparison finds with {power} power is {size}."


def _so_what(inputs: EvidenceInput, swap: SwapSet) -> str:
    inside, outside = swap.swapped_in, swap.swapped_out
    if swap.reason is not None or not inside.n:
        return "At the cut-off in use both models approve the same rows."
    words = inputs.spec.decision_policy
    return (
        f"At an equal approval rate {counted(inside.n, 'row')} of {printed(inputs.test.n, 'int')} change sides: those "
        f"only the champion would {words.favourable} had {printed(inside.rate, 'share')} events, those only the "
        f"challenger would {words.favourable} had {printed(outside.rate, 'share')}."
    )


def _gain(item: Comparison) -> Gain:
    return Gain(item.sample, item.auc.difference, item.auc.interval)


def _blocks(inputs: EvidenceInput, found: dict[str, Comparison], swap: SwapSet) -> Iterator[Block]:
    yield _table(inputs, found)
    figure = gain_forest(inputs, {role: _gain(item) for role, item in found.items()}, _WORDS)
    yield from (block for block in (figure, _curves(inputs)) if block is not None)
    yield _swap_table(inputs, swap)


def _table(inputs: EvidenceInput, found: dict[str, Comparison]) -> Table:
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "sample": c.sample.label,
            "n": c.sample.n,
            "events": c.sample.events,
            "champion": rounded(c.auc.auc_a),
            "challenger": rounded(c.auc.auc_b),
            "gain": rounded(c.auc.difference),
            "interval": between(c.auc.interval, "auc"),
            "p": rounded(c.auc.p_two_sided),
            "brier": None if c.brier is None else rounded(c.brier.difference),
        }
        for c in found.values()
    )
    main = found[inputs.test.role]
    return Table(
        id="E5-T1",
        caption=(
            f"The gain in AUC over the challenger is {printed(main.auc.difference, 'auc')} "
            f"({described(main.sample)}; same rows, paired DeLong; a negative Brier difference favours the champion)."
        ),
        columns=columns(
            ("sample", "Sample", "text"), ("n", "N", "int"), ("events", "D", "int"),
            ("champion", "AUC champion", "auc"), ("challenger", "AUC challenger", "auc"), ("gain", "Gain", "auc"),
            ("interval", "Interval", "text"), ("p", "p (two-sided)", "pvalue"), ("brier", "Brier difference", "score"),
        ),
        rows=rows,
    )  # fmt: skip


def _curves(inputs: EvidenceInput) -> Figure | None:
    test = inputs.test
    margin = test.challenger_margin
    if margin is None or test.events in (0, test.n):
        return None
    champion, challenger = roc_curve(test.y, test.margin), roc_curve(test.y, margin)
    ours, theirs = share_at(champion, 0.1), share_at(challenger, 0.1)
    return Figure(
        id="E5-F2", chart="xy", size="half",
        caption=(
            f"At a false positive rate of 10 % the champion finds {ours} of events, the challenger "
            f"{theirs} ({described(test)})."
        ),
        alt=(
            f"ROC curves of champion and challenger on the {test.label} sample. At 10 % of non-events the champion "
            f"finds {ours} of events and the challenger {theirs}."
        ),
        x_label="Share of non-events", y_label="Share of events", x_format="share", y_format="share",
        series=both_curves(test.role, champion, challenger), lines=(ReferenceLine(axis="diagonal", label="no skill"),),
    )  # fmt: skip


def _swap_table(inputs: EvidenceInput, swap: SwapSet) -> Table:
    confidence = inputs.spec.policy.confidence
    cells: tuple[tuple[str, Cell], ...] = (
        ("approved by both", swap.both),
        ("swapped in: champion only", swap.swapped_in),
        ("swapped out: challenger only", swap.swapped_out),
        ("approved by neither", swap.neither),
    )
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "cell": name,
            "n": cell.n,
            "share": rounded(cell.n / inputs.test.n) if inputs.test.n else None,
            "events": cell.events,
            "rate": rounded(cell.rate),
            "interval": between(wilson_interval(cell.n, cell.events, confidence=confidence).interval, "share"),
        }
        for name, cell in cells
    )
    approval = printed(swap.approved / inputs.test.n if inputs.test.n else None, "share")
    return Table(
        id="E5-T2",
        caption=(
            f"At {approval} approved by each model, {counted(swap.swapped_in.n, 'row')} change sides "
            f"({described(inputs.test)}; all outcomes observed, none inferred; {counted(swap.tied, 'row')} at the "
            f"challenger's cut)."
        ),
        columns=columns(
            ("cell", "Rows", "text"), ("n", "N", "int"), ("share", "Share", "share"), ("events", "D", "int"),
            ("rate", "Outcome rate", "share"), ("interval", "Wilson interval", "text"),
        ),
        rows=rows,
    )  # fmt: skip


def _extras(inputs: EvidenceInput, main: Comparison, swap: SwapSet) -> dict[str, Any]:
    got = main.auc
    return {
        "gain": gain_numbers(_gain(main), got.p_worse, got.p_two_sided),
        "challenger": challenger_kind(inputs),
        "auc": {"champion": rounded(got.auc_a), "challenger": rounded(got.auc_b)},
        "swap": {
            "approved": swap.approved,
            "n": swap.swapped_in.n,
            "rate_in": rounded(swap.swapped_in.rate),
            "rate_out": rounded(swap.swapped_out.rate),
        },
    }

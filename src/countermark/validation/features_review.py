"""D2 feature review: what each input means, which sign it has, and whether it gives the outcome away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.config.spec import Feature, ModelSpec
from countermark.errors import EvidenceError
from countermark.metrics.amounts import MeanInterval
from countermark.metrics.binning import LevelBins, NumericBins, development_bins
from countermark.metrics.discrimination import Auc, auc
from countermark.metrics.intervals import wilson_interval
from countermark.metrics.multiplicity import adjusted_where_defined
from countermark.metrics.stability import psi
from countermark.records.evidence import Figure, Paragraph, RegisterRow, Scalar, Series, Table
from countermark.records.formats import format_value
from countermark.validation.amount_features import (
    amount_alone,
    amount_area,
    bin_means,
    explained_share,
)
from countermark.validation.amounts import rank_measure, too_few_amounts, value_format
from countermark.validation.bands import readable_bins
from countermark.validation.context import PackContext
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic, evidence_number
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted
from countermark.validation.sentences import described

CHARTS = 6
"""Small charts printed, for the inputs with the highest information value."""
LEAKAGE_BINS = 20
CHART_BINS = 8


@dataclass(frozen=True, slots=True)
class Card:
    """What was found about one input.

    Attributes:
        found: ``increasing``, ``decreasing``, ``unclear`` (the interval holds 0.5) or ``no order``.
        rank: Rank AUC on development, known values only; above 0.5 the risk rises with the input.
        p_contrary: One-sided p of a sign against the expected one; None without a direction.
        single: AUC of the input alone on the test sample, bins and rates from development.
        information_value: Information value of events; share of the variance explained, of amounts.

    Of amounts, every AUC is the generalised one.
    """

    name: str
    feature: Feature
    found: str
    rank: Auc | None
    p_contrary: float | None
    single: Auc
    information_value: float | None
    psi: float | None


def review_evidence(inputs: EvidenceInput) -> SectionEvidence:
    """D2, computed part: sign, information value, stability, missing values, leakage and prohibited inputs."""
    spec = inputs.spec
    cards = tuple(_card(inputs, name, feature) for name, feature in spec.features.items())
    adjusted = adjusted_where_defined([card.p_contrary for card in cards])
    contrary = [c.name for c, p in zip(cards, adjusted, strict=True) if p is not None and p < spec.policy.alpha]
    prohibited = prohibited_inputs(spec)
    rows = (
        _prohibited_row(inputs, prohibited),
        *_leakage_rows(inputs, cards),
        *_sign_rows(inputs, cards, adjusted, contrary),
    )
    alone = max((c for c in cards if c.single.value is not None), key=lambda c: c.single.value or 0.0, default=None)
    parts = [f"{counted(len(prohibited), 'prohibited input')} ({', '.join(prohibited)})" if prohibited
             else "no input is prohibited"]  # fmt: skip
    if alone is not None:
        parts.append(f"the strongest single input is {alone.name} with {rank_measure(spec)} {alone.single.value:.3f}")
    signs = f"{counted(len(contrary), 'input')} with a sign" if contrary else "no sign is"
    parts.append(f"{signs} contrary to expectation")
    sentence = "; ".join(parts)
    drawn = cards if inputs.samples["development"].n else ()
    charted = sorted(drawn, key=lambda c: (-(c.information_value or 0.0), c.name))[:CHARTS]
    return SectionEvidence(
        code="D2",
        conclusion=sentence[0].upper() + sentence[1:] + ".",
        would_change="An input that gives the outcome away, a protected input, or a sign against expectation.",
        so_what="An input that alone ranks nearly perfectly is a leak until its timing is explained.",
        rows=rows,
        blocks=(
            _found_table(inputs, cards, adjusted),
            _profile_table(inputs, drawn),
            *(_chart(inputs, card, i) for i, card in enumerate(charted, start=1)),
        ),
        extras={
            "contrary": contrary,
            "prohibited": list(prohibited),
            "strongest": None if alone is None else alone.name,
        },
    )


def prohibited_inputs(spec: ModelSpec) -> tuple[str, ...]:
    """Inputs that are restricted, protected attributes, declared leaks, or the outcome itself."""
    protected = set() if spec.fairness is None else {a.column for a in spec.fairness.attributes.values()}
    attributes = set() if spec.fairness is None else set(spec.fairness.attributes)
    barred = protected | attributes | set(spec.data.leaks) | {spec.outcome.column}
    return tuple(
        name
        for name, feature in spec.features.items()
        if feature.restricted or name in barred or (feature.source or name) in barred
    )


def _card(inputs: EvidenceInput, name: str, feature: Feature) -> Card:
    development, test = inputs.samples["development"], inputs.test
    if name not in development.features:
        raise EvidenceError(
            f"input '{name}' of the spec is not in the data set",
            expected="one column per input",
            hint="run the dataset stage again",
        )
    x, x_test = development.features[name], test.features[name]
    bins, coarse = development_bins(x, LEAKAGE_BINS), development_bins(x, 10)
    y, level = development.y, inputs.spec.policy.confidence
    known = None if x.dtype.kind == "O" else ~np.isnan(x)
    area: Callable[..., Auc] = amount_area if development.amounts else auc
    rank = None if known is None else area(y[known], x[known], confidence=level)
    if development.amounts:
        single, information = amount_alone(bins, x, y, (x_test, test.y), level), explained_share(bins, x, y)
    else:
        single = _single(bins, x, y, x_test, test.y, level)
        # Information value is the same formula as PSI, of events against non-events.
        information = psi(_counts(bins, x[y == 0]), _counts(bins, x[y == 1])).value
    return Card(
        name=name,
        feature=feature,
        found=_found(rank),
        rank=rank,
        p_contrary=None if known is None else _p_contrary(area, x[known], y[known], feature),
        single=single,
        information_value=information,
        psi=psi(_counts(coarse, x), _counts(coarse, x_test)).value,
    )


def _counts(bins: NumericBins | LevelBins, values: NDArray[Any]) -> NDArray[np.int64]:
    return bins.counts(values)


def _found(rank: Auc | None) -> str:
    if rank is None:
        return "no order"
    if rank.interval is None or rank.value is None:
        return "unclear"
    low, high = rank.interval
    return "increasing" if low > 0.5 else "decreasing" if high < 0.5 else "unclear"


def _p_contrary(area: Callable[..., Auc], x: NDArray[Any], y: NDArray[Any], feature: Feature) -> float | None:
    """One-sided p of a sign against the expected one, known values only; None without a direction."""
    if feature.expected == "none":
        return None
    return area(y, -x if feature.expected == "increasing" else x).p_chance


def _single(
    bins: NumericBins | LevelBins,
    x: NDArray[Any],
    y: NDArray[np.int8],
    x_test: NDArray[Any],
    y_test: NDArray[np.int8],
    confidence: float,
) -> Auc:
    """AUC on the test sample of the development event rate of the input's bin, one row's weight at the base rate."""
    n, d = bins.counts(x), bins.counts(x[y == 1])
    base = float(np.count_nonzero(y)) / max(1, y.size)
    rate = (d + base) / (n + 1.0)
    return auc(y_test, rate[bins.index(x_test)], confidence=confidence)


def _prohibited_row(inputs: EvidenceInput, prohibited: tuple[str, ...]) -> RegisterRow:
    label = "prohibited inputs" + (f": {', '.join(prohibited)}" if prohibited else "")
    return inputs.row(
        Statistic(
            "feature.prohibited",
            "D2",
            label,
            sample="spec",
            n=len(inputs.spec.features),
            value=float(len(prohibited)),
            limit="feature.prohibited",
            fmt="int",
        )
    )


def _leakage_rows(inputs: EvidenceInput, cards: tuple[Card, ...]) -> tuple[RegisterRow, ...]:
    test = inputs.test
    thin = test.events < inputs.spec.policy.minimum_events
    reason = f"{test.events} events are fewer than {inputs.spec.policy.minimum_events}" if thin else None
    if test.amounts:
        reason = too_few_amounts(inputs, test.n, f"the {test.label} sample")
    measure = rank_measure(inputs.spec)
    each = tuple(
        inputs.row(
            Statistic(
                "feature.leakage",
                "D2",
                f"{measure} of one input",
                sample=test.role,
                segment=card.name,
                n=test.n,
                events=test.events,
                value=card.single.value,
                interval=card.single.interval,
                ci_method=card.single.method,
                limit="feature.leakage",
                judge_interval=False,
                undefined=reason or (card.single.reason if card.single.value is None else None),
                gating=False,
                fmt="auc",
            )
        )
        for card in cards
    )
    strongest = max((c for c in cards if c.single.value is not None), key=lambda c: c.single.value or 0.0, default=None)
    undefined = reason or (None if strongest is not None else cards[0].single.reason or f"no {measure} is defined")
    worst = inputs.row(
        Statistic(
            "feature.leakage",
            "D2",
            f"largest {measure} of one input" + (f": {strongest.name}" if strongest is not None else ""),
            sample=test.role,
            n=test.n,
            events=test.events,
            value=None if strongest is None else strongest.single.value,
            limit="feature.leakage",
            undefined=undefined,
            fmt="auc",
        )
    )
    return (worst, *each)


def _sign_rows(
    inputs: EvidenceInput, cards: tuple[Card, ...], adjusted: list[float | None], contrary: list[str]
) -> tuple[RegisterRow, ...]:
    development = inputs.samples["development"]
    declared = [card for card in cards if card.feature.expected != "none"]
    judged = [card for card in declared if card.p_contrary is not None]
    reason = None
    if not declared:
        reason = "no input declares an expected direction"
    elif not judged:
        reason = f"too few {'rows' if development.amounts else 'events'} or no spread to find a sign"
    each = tuple(
        inputs.row(
            Statistic(
                "feature.sign",
                "D2",
                f"rank {rank_measure(inputs.spec)}, expected {card.feature.expected}",
                sample=development.role,
                segment=card.name,
                n=development.n,
                events=development.events,
                value=card.rank.value,
                interval=card.rank.interval,
                ci_method=card.rank.method,
                h0="sign as expected",
                alternative="sign contrary",
                p_raw=card.p_contrary,
                p_adj=p,
                gating=False,
                fmt="auc",
            )
        )
        for card, p in zip(cards, adjusted, strict=True)
        if card.rank is not None and card.rank.value is not None and card.feature.expected != "none"
    )
    count = inputs.row(
        Statistic(
            "feature.sign",
            "D2",
            "inputs with a sign contrary to expectation" + (f": {', '.join(contrary)}" if contrary else ""),
            sample=development.role,
            n=development.n,
            events=development.events,
            value=float(len(contrary)) if reason is None else None,
            limit="feature.sign",
            undefined=reason,
            # Without a declared direction nothing was asked, so nothing can gate.
            gating=None if declared else False,
            fmt="int",
        )
    )
    return (count, *each)


def _found_table(inputs: EvidenceInput, cards: tuple[Card, ...], adjusted: list[float | None]) -> Table:
    development, test = inputs.samples["development"], inputs.test
    amounts, measure = development.amounts, rank_measure(inputs.spec)
    rows: list[dict[str, Scalar]] = []
    for card, p in zip(cards, adjusted, strict=True):
        verdict = "not declared" if card.feature.expected == "none" else "as expected"
        if card.feature.expected != "none" and card.found != card.feature.expected:
            verdict = "contrary" if p is not None and p < inputs.spec.policy.alpha else "not significant"
        rows.append(
            {
                "input": card.name,
                "found": card.found,
                "verdict": verdict,
                "rank": _rounded(None if card.rank is None else card.rank.value),
                "p_adj": _rounded(p),
                "single": _rounded(card.single.value),
                "iv": _rounded(card.information_value),
                "psi": _rounded(card.psi),
            }
        )
    return Table(
        id="D2-T2",
        caption=f"{_found_claim(cards)} (signs and {'share explained' if amounts else 'information value'}: "
        f"{described(development)}; {measure} alone and PSI: "
        f"{described(test)}).",
        columns=columns(
            ("input", "Input", "text"),
            ("found", "Found", "text"),
            ("verdict", "Sign", "text"),
            ("rank", f"Rank {measure}", "auc"),
            ("p_adj", "p contrary (BH)", "pvalue"),
            ("single", f"{measure} alone", "auc"),
            ("iv", "Explained", "share") if amounts else ("iv", "IV", "psi"),
            ("psi", "PSI", "psi"),
        ),
        rows=tuple(rows),
    )


def _found_claim(cards: tuple[Card, ...]) -> str:
    known = [c for c in cards if c.information_value is not None]
    top = max(known, key=lambda c: (c.information_value or 0.0, c.name), default=None)
    return "No information value is defined" if top is None else f"{top.name} holds most information alone"


def _profile_table(inputs: EvidenceInput, cards: tuple[Card, ...]) -> Table:
    """Every input in two bins, the one with the lowest outcome rate and the one with the highest."""
    development = inputs.samples["development"]
    rows: list[dict[str, Scalar]] = []
    for card in cards:
        x = development.features[card.name]
        found = [
            (level.mean, label, level.n)
            for label, level in _levels(inputs, card.name, x)
            if level.mean is not None and level.n >= inputs.spec.policy.minimum_group
        ]
        if not found:
            continue
        low, high = min(found), max(found)
        rows.append(
            {
                "input": card.name,
                "low": f"{low[1]} (n = {format_value(low[2], 'int')})",
                "low_rate": _rounded(low[0]),
                "high": f"{high[1]} (n = {format_value(high[2], 'int')})",
                "high_rate": _rounded(high[0]),
            }
        )
    widest = max(rows, key=lambda r: float(r["high_rate"] or 0.0) - float(r["low_rate"] or 0.0), default=None)
    style = value_format(inputs.spec)
    plural, word = ("Mean amounts", "mean") if development.amounts else ("Outcome rates", "rate")
    claim = "No bin has enough rows" if widest is None else f"{plural} differ most over {widest['input']}"
    return Table(
        id="D2-T3",
        caption=f"{claim}; bins of development with at least {inputs.spec.policy.minimum_group} rows "
        f"({described(development)}).",
        columns=columns(
            ("input", "Input", "text"),
            ("low", f"Bin with the lowest {word}", "text"),
            ("low_rate", word.capitalize(), style),
            ("high", f"Bin with the highest {word}", "text"),
            ("high_rate", word.capitalize(), style),
        ),
        rows=tuple(rows),
        empty="No input has a bin with enough rows.",
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else evidence_number(value)


def _levels(inputs: EvidenceInput, name: str, x: NDArray[Any]) -> list[tuple[str, MeanInterval]]:
    """Name of every bin of an input with its outcome rate, or its mean amount, and the interval."""
    development, level = inputs.samples["development"], inputs.spec.policy.confidence
    bins = development_bins(x, CHART_BINS)
    labels = readable_bins(inputs, name, bins)
    if development.amounts:
        return list(zip(labels, bin_means(bins, x, development.y, level), strict=True))
    n, d = bins.counts(x), bins.counts(x[development.y == 1])
    rates = [wilson_interval(int(rows), int(events), confidence=level) for rows, events in zip(n, d, strict=True)]
    means = [MeanInterval(r.rate, r.interval, int(rows), r.reason) for rows, r in zip(n, rates, strict=True)]
    return list(zip(labels, means, strict=True))


def _level_text(inputs: EvidenceInput, value: float | None) -> str:
    if inputs.spec.is_amount:
        return format_value(_rounded(value), value_format(inputs.spec))
    return f"{100 * (value or 0.0):.2f} %"


def _chart(inputs: EvidenceInput, card: Card, number: int) -> Figure:
    development = inputs.samples["development"]
    x = development.features[card.name]
    points = [(label, level) for label, level in _levels(inputs, card.name, x) if level.n]
    if x.dtype.kind == "O":
        points.sort(key=lambda p: (p[1].mean or 0.0, p[0]))
    first, last = points[0], points[-1]
    told = ", ".join(f"{label} {_level_text(inputs, i.mean)}" for label, i in points)
    word, bars = ("mean amount", "Student") if development.amounts else ("outcome rate", "Wilson")
    return Figure(
        id=f"D2-F{number}",
        chart="xy",
        caption=f"{card.name}: {word} from {_level_text(inputs, first[1].mean)} ('{first[0]}') to "
        f"{_level_text(inputs, last[1].mean)} ('{last[0]}') ({described(development)}; bars are {bars}).",
        alt=f"{word.capitalize()} by bin of {card.name} with {bars} intervals: {told}.",
        x_label=card.name if card.feature.unit is None else f"{card.name} ({card.feature.unit})",
        y_label=word.capitalize(),
        y_format=value_format(inputs.spec),
        series=(
            Series(
                name=development.label,
                role="development",
                mark="points",
                x=tuple(label for label, _ in points),
                y=tuple(i.mean for _, i in points),
                low=tuple(None if i.interval is None else i.interval[0] for _, i in points),
                high=tuple(None if i.interval is None else i.interval[1] for _, i in points),
                n=tuple(i.n for _, i in points),
            ),
        ),
        size="half",
    )


def review_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """D2, written part: meaning, source, treatment of missing values and availability of each input."""
    if computed is None:
        raise EvidenceError("D2 needs its computed part", hint="the registry must give D2 a 'compute' function")
    features: Mapping[str, Feature] = context.spec.features
    barred = set(prohibited_inputs(context.spec))
    cards = Table(
        id="D2-T1",
        caption=f"{len(barred) or 'None'} of {counted(len(features), 'input')} {'are' if len(barred) > 1 else 'is'} "
        "prohibited; what the spec declares of each.",
        columns=columns(
            ("input", "Input", "text"),
            ("meaning", "Meaning, source", "text"),
            ("type", "Type", "text"),
            ("expected", "Expected", "text"),
            ("missing", "Missing; known", "text"),
            ("status", "Status", "text"),
        ),
        rows=tuple(
            {
                "input": name,
                "meaning": f.meaning + ("" if f.source in (None, name) else f" ({f.source})"),
                "type": ("ordinal" if f.levels else f.type) + (f", {f.unit}" if f.unit else ""),
                "expected": ("none" if f.expected == "none" else f.expected) + (", enforced" if f.monotone else ""),
                "missing": f"{f.missing}; {f.available}",
                "status": ("prohibited" if name in barred else "permitted")
                + (f"; proxy: {f.proxy_note}" if f.proxy_note else ""),
            }
            for name, f in features.items()
        ),
    )
    shown = sum(isinstance(block, Figure) for block in computed.blocks)
    strength = "share of variance explained" if context.spec.is_amount else "information value"
    note = Paragraph(
        text=f"Charts show the {shown} inputs with the highest {strength} of {len(features)}; the table before "
        "them holds every input. The found sign is "
        f"the one-way rank {rank_measure(context.spec)} on development; it is called contrary only when its one-sided "
        "p, adjusted over all inputs (Benjamini-Hochberg), is below the policy's alpha. Inputs act together in the "
        "model, so a one-way sign "
        "is a screen and no proof."
    )
    return replace(computed, blocks=(narrative_block("inputs", context.answers), cards, note, *computed.blocks))

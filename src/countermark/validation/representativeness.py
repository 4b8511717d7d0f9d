"""C4: is the sample that the model was built on like the one it is judged and used on?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.binning import development_bins, share_outside
from countermark.metrics.discrimination import Auc, auc
from countermark.metrics.intervals import clopper_pearson_interval
from countermark.metrics.multiplicity import adjusted_where_defined
from countermark.metrics.stability import KsTest, Psi, ks_two_sample, psi
from countermark.records.evidence import Block, Figure, RegisterRow, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.records.limits import judge
from countermark.validation.bands import readable_bins
from countermark.validation.data_quality import too_few_rows
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import (
    SAME_PERIOD,
    against_development,
    between,
    columns,
    counted,
    level,
    listed,
    printed,
    rounded,
    sentence,
    with_light,
)
from countermark.validation.two_sample import FOLDS, LEAST_ROWS, out_of_fold_scores

SECTION = "C4"
_DRAWN = 4
_CASES_PER_SIDE = 20_000


def representativeness(inputs: EvidenceInput) -> SectionEvidence:
    """C4: drivers and segments of the test sample against development."""
    drivers = driver_shifts(inputs)
    classifier, scores = _classifier_row(inputs)
    ranges = _range_rows(inputs)
    moved = _psi_rows(inputs, drivers)
    gaps = _gap_rows(inputs)
    segments = _segment_rows(inputs)
    blocks: list[Block] = [_driver_table(inputs, drivers, moved, gaps, ranges)]
    if segments:
        blocks.append(_segment_table(inputs, segments))
    blocks += _histograms(inputs, drivers)
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, classifier, ranges, drivers),
        would_change=(
            "A lower interval end of the two-sample classifier above "
            f"{inputs.spec.policy.limits['rep.c2st'].text.split(' pass')[0].lstrip('≤ ')}, or an input with more rows "
            "outside the development range than the limit."
        ),
        so_what=_so_what(classifier, moved),
        rows=(classifier, *ranges, *moved, *gaps, *segments),
        blocks=tuple(blocks),
        extras={
            "c2st_auc": classifier.statistic,
            "c2st_interval": (classifier.ci_low, classifier.ci_high),
            "c2st_rows": scores,
            "largest_psi_driver": drivers_by_size(drivers)[0] if drivers else None,
        },
    )


def driver_shifts(inputs: EvidenceInput) -> dict[str, Psi]:
    """PSI of every model input, development against test, over bins fixed on development."""
    development, test = inputs.samples["development"], inputs.test
    level = inputs.spec.policy.confidence
    shifts = {}
    for name, values in test.features.items():
        bins = development_bins(development.features[name])
        shifts[name] = psi(bins.counts(development.features[name]), bins.counts(values), level=level)
    return shifts


def drivers_by_size(shifts: Mapping[str, Psi]) -> list[str]:
    """Inputs, the largest shift first; names break ties."""
    return sorted(shifts, key=lambda k: (-(shifts[k].value or 0.0), k))


def _classifier_row(inputs: EvidenceInput) -> tuple[RegisterRow, int]:
    """Can a classifier tell test rows from development rows? The lower interval end is judged."""
    development, test = inputs.samples["development"], inputs.test
    policy = inputs.spec.policy
    thin = None
    if min(development.n, test.n) < LEAST_ROWS:
        thin = f"a classifier learns too little from fewer than {LEAST_ROWS} rows of either sample"
    result: Auc | None = None
    used = 0
    if thin is None:
        then, now = (_at_most(s, policy.seed) for s in (development, test))
        origin, score = out_of_fold_scores(then, now, seed=policy.seed)
        if np.unique(score).size <= FOLDS:
            thin = "the classifier found no split: too few rows, or no input varies"
        result, used = auc(origin, score, confidence=policy.confidence), int(origin.size)
        thin = thin or (result.reason if result.interval is None else _inconclusive(inputs, result.interval))
    interval = None if result is None else result.interval
    row = inputs.row(Statistic(
        "rep.c2st", SECTION, "AUC of a classifier that tells test rows from development rows",
        sample=test.role, n=used, value=None if result is None else result.value,
        judged=None if interval is None else interval[0], interval=interval, ci_method="DeLong, out-of-fold scores",
        h0="both samples come from one population (AUC = 1/2)", alternative="AUC > 1/2",
        p_raw=None if result is None else result.p_chance, limit="rep.c2st", undefined=thin, seed=policy.seed,
        fmt="auc",
    ))  # fmt: skip
    return row, used


def _inconclusive(inputs: EvidenceInput, interval: tuple[float, float]) -> str | None:
    """A pass whose interval still reaches the fail region says nothing."""
    limit = inputs.spec.policy.limits["rep.c2st"]
    low, high = (judge(limit, end).light for end in interval)
    if low is Light.PASS and high is Light.FAIL:
        return f"inconclusive: the interval {between(interval, 'auc')} reaches from the pass to the fail region"
    return None


def _at_most(sample: Sample, seed: int) -> Mapping[str, NDArray[Any]]:
    """At most 20 000 rows of the inputs, drawn without replacement, kept in order."""
    if sample.n <= _CASES_PER_SIDE:
        return sample.features
    chosen = np.sort(np.random.default_rng(seed).choice(sample.n, _CASES_PER_SIDE, replace=False))
    return {name: values[chosen] for name, values in sample.features.items()}


def _range_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    development, test = inputs.samples["development"], inputs.test
    thin = too_few_rows(inputs, development, test) or _narrow_by_chance(inputs, development)
    rows = []
    for name, values in test.features.items():
        outside, n = share_outside(development.features[name], values)
        interval = clopper_pearson_interval(n, outside, confidence=inputs.spec.policy.confidence).interval
        rows.append(
            inputs.row(Statistic(
                "rep.range", SECTION, f"Rows with {name} outside the development range", sample=test.role, n=n,
                segment=name, value=outside / n if n else None, interval=interval, ci_method="Clopper-Pearson",
                limit="rep.range", undefined=thin, fmt="share",
            ))
        )  # fmt: skip
    return tuple(rows)


def _narrow_by_chance(inputs: EvidenceInput, development: Sample) -> str | None:
    """A short sample has a narrow range: of N values, 2 / (N + 1) of new ones fall outside though nothing changed."""
    share = 2.0 / (development.n + 1)
    if judge(inputs.spec.policy.limits["rep.range"], share).light is Light.PASS:
        return None
    rows = counted(development.n, "development row")
    return f"{rows} set too narrow a range: {printed(share, 'share')} of new values fall outside by chance"


def _psi_rows(inputs: EvidenceInput, drivers: Mapping[str, Psi]) -> tuple[RegisterRow, ...]:
    adjusted = adjusted_where_defined([d.p_value for d in drivers.values()])
    return tuple(
        inputs.row(Statistic(
            "rep.psi", SECTION, f"PSI of {name} against development", sample=inputs.test.role, n=inputs.test.n,
            segment=name, value=shift.value, limit="stab.csi", df=max(shift.bins - 1, 0), p_raw=shift.p_value,
            p_adj=p_adj, h0="the distribution is as in development", undefined=shift.too_thin, gating=False, fmt="psi",
        ))
        for (name, shift), p_adj in zip(drivers.items(), adjusted, strict=True)
    )  # fmt: skip


def _gap_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    development, test = inputs.samples["development"], inputs.test
    gaps: dict[str, KsTest] = {
        name: ks_two_sample(development.features[name], values)
        for name, values in test.features.items()
        if values.dtype.kind != "O"
    }
    adjusted = adjusted_where_defined([g.p_value for g in gaps.values()])
    thin = too_few_rows(inputs, development, test)
    return tuple(
        inputs.row(Statistic(
            "stab.ks_feature", SECTION, f"Largest gap between the distributions of {name}", sample=test.role,
            n=gap.n[1], segment=name, value=gap.gap, limit="stab.ks_feature", p_raw=gap.p_value, p_adj=p_adj,
            h0="the distribution is as in development",
            undefined=thin if gap.gap is not None else "no value in one of the samples", fmt="auc",
        ))
        for (name, gap), p_adj in zip(gaps.items(), adjusted, strict=True)
    )  # fmt: skip


def _segment_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    """Mix of each segment column, development against test."""
    development, test = inputs.samples["development"], inputs.test
    rows = []
    for name, values in test.segments.items():
        bins = development_bins(development.segments[name])
        shift = psi(bins.counts(development.segments[name]), bins.counts(values), level=inputs.spec.policy.confidence)
        rows.append(
            inputs.row(Statistic(
                "rep.psi", SECTION, f"PSI of the mix of segment {name}", sample=test.role, n=test.n,
                segment=f"segment {name}", value=shift.value, limit="stab.csi", df=max(shift.bins - 1, 0),
                p_raw=shift.p_value, h0="the mix is as in development", undefined=shift.too_thin, gating=False,
                fmt="psi",
            ))
        )  # fmt: skip
    return tuple(rows)


def _driver_table(
    inputs: EvidenceInput,
    drivers: Mapping[str, Psi],
    moved: tuple[RegisterRow, ...],
    gaps: tuple[RegisterRow, ...],
    ranges: tuple[RegisterRow, ...],
) -> Table:
    by_psi, by_gap, by_range = ({r.segment: r for r in rows} for rows in (moved, gaps, ranges))
    order = drivers_by_size(drivers)
    rows: list[dict[str, Scalar]] = []
    for name in order[:40]:
        gap = by_gap.get(name)
        rows.append(
            {
                "input": name,
                "psi": by_psi[name].statistic,
                "critical": rounded(drivers[name].critical),
                "smoothed": "yes" if drivers[name].smoothed else "no",
                "light": by_psi[name].light.value,
                "gap": None if gap is None else gap.statistic,
                "gap_p": None if gap is None else gap.p_adj,
                "outside": by_range[name].statistic,
                "range": by_range[name].light.value,
            }
        )
    top = order[0] if order else None
    claim = "There are no inputs" if top is None else f"{top} moved most, PSI {printed(drivers[top].value, 'psi')}"
    return Table(
        id="C4-T1",
        caption=(
            f"{claim} ({against_development(inputs.samples['development'], inputs.test)}; 'by chance' is the PSI that "
            "sampling alone exceeds one time in twenty; p is Benjamini-Hochberg adjusted)."
        ),
        columns=columns(
            ("input", "Input", "text"),
            ("psi", "PSI", "psi"),
            ("critical", "PSI by chance", "psi"),
            ("smoothed", "Empty bin", "text"),
            ("light", "PSI light", "light"),
            ("gap", "Largest gap", "auc"),
            ("gap_p", "p of gap", "pvalue"),
            ("outside", "Outside range", "share"),
            ("range", "Range light", "light"),
        ),
        rows=tuple(rows),
        total_rows=len(order),
    )


def _segment_table(inputs: EvidenceInput, segments: tuple[RegisterRow, ...]) -> Table:
    top = max(segments, key=lambda r: r.statistic or 0.0)
    return Table(
        id="C4-T2",
        caption=(
            f"Segment mix: the largest shift is {top.segment.removeprefix('segment ')}, PSI "
            f"{printed(top.statistic, 'psi')} ({against_development(inputs.samples['development'], inputs.test)})."
        ),
        columns=columns(("segment", "Segment column", "text"), ("psi", "PSI", "psi"), ("light", "Light", "light")),
        rows=tuple(
            {"segment": r.segment.removeprefix("segment "), "psi": r.statistic, "light": r.light.value}
            for r in segments
        ),
    )


def _histograms(inputs: EvidenceInput, drivers: Mapping[str, Psi]) -> list[Figure]:
    """Shares per development bin of the inputs that moved most, both samples."""
    development, test = inputs.samples["development"], inputs.test
    figures = []
    for k, name in enumerate(drivers_by_size(drivers)[:_DRAWN], start=1):
        bins = development_bins(development.features[name])
        counts = [bins.counts(s.features[name]) for s in (development, test)]
        used = np.flatnonzero(counts[0] + counts[1])
        if used.size == 0:
            continue
        names = readable_bins(inputs, name, bins)
        labels = tuple(names[i] for i in used)
        shares = [c[used] / max(int(c.sum()), 1) for c in counts]
        most = int(np.argmax(np.abs(shares[1] - shares[0])))
        figures.append(
            Figure(
                id=f"C4-F{k}",
                chart="xy",
                caption=(
                    f"{name}: the share of '{labels[most]}' went from {printed(float(shares[0][most]), 'share')} to "
                    f"{printed(float(shares[1][most]), 'share')}, PSI {printed(drivers[name].value, 'psi')} "
                    f"({against_development(development, test)})."
                ),
                alt=(
                    f"Share of rows per bin of {name} in development and in the {test.label} sample, "
                    f"{len(labels)} bins. Largest difference in bin '{labels[most]}': "
                    f"{printed(float(shares[0][most]), 'share')} against {printed(float(shares[1][most]), 'share')}."
                ),
                x_label=name,
                y_label="Share of rows",
                y_format="share",
                series=tuple(
                    Series(
                        name=s.label, role=s.role, mark="bars", x=labels,
                        y=tuple(rounded(float(v)) for v in share), n=tuple(int(v) for v in c[used]),
                    )
                    for s, share, c in zip((development, test), shares, counts, strict=True)
                ),
                size="half",
            )
        )  # fmt: skip
    return figures


def _so_what(classifier: RegisterRow, moved: tuple[RegisterRow, ...]) -> str:
    text = (
        "Where the populations differ, figures from development do not carry over; the test sample is the one that "
        "speaks for use, and inputs outside the development range are extrapolation."
    )
    apart = classifier.light in (Light.FAIL, Light.WATCH)
    if apart and not with_light(moved, Light.FAIL):
        return f"No single input moved beyond its fail limit: what differs is how inputs go together. {text}"
    return text


def _conclusion(
    inputs: EvidenceInput, classifier: RegisterRow, ranges: tuple[RegisterRow, ...], drivers: Mapping[str, Psi]
) -> str:
    outside = with_light(ranges, Light.FAIL)
    parts = [SAME_PERIOD] if inputs.test.role == "holdout" else []
    if outside:
        parts.append(f"too many rows lie outside the development range of {listed([r.segment for r in outside])}")
    if classifier.light is Light.NOT_EVALUATED:
        parts.append(f"whether the samples differ could not be decided ({classifier.n_reason})")
    else:
        ends = (classifier.ci_low or 0.0, classifier.ci_high or 0.0)
        parts.append(
            f"a classifier tells {inputs.test.label} rows from development rows with AUC "
            f"{printed(classifier.statistic, 'auc')} ({level(inputs.spec.policy)} interval {between(ends, 'auc')})"
        )
    order = drivers_by_size(drivers)
    if order:
        noisy = drivers[order[0]].too_thin is not None
        parts.append(
            f"of {counted(len(order), 'input')} {order[0]} moved most, PSI "
            f"{printed(drivers[order[0]].value, 'psi')}{', within sampling noise' if noisy else ''}"
        )
    return sentence(parts)

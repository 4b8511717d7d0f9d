"""G1: which inputs move the score, by two methods, and whether the contributions add up to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from countermark.metrics.resampling import resampled_means
from countermark.records.evidence import Block, Figure, Format, Paragraph, RegisterRow, Scalar, Table
from countermark.records.formats import format_column
from countermark.records.lights import Light
from countermark.records.limits import UpperLimit, plain
from countermark.validation.amounts import rank_difference, rank_measure
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.sentences import (
    columns,
    counted,
    described,
    level,
    listed,
    printed,
    rounded,
    with_interval,
)
from countermark.validation.series import estimates

SECTION = "G1"
_MOST_ROWS = 10_000
_REPEATS = 5
_CLUSTER_AT = 0.7
_MOST_BARS = 15
_TOP = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Driver:
    """What one input does to the score.

    Attributes:
        name: Input.
        importance: Mean absolute contribution, in margin.
        interval: Bootstrap interval of it.
        share: Share of the sum over all inputs.
        drop: Fall in AUC when the input is permuted; negative values are kept. None without both outcomes.
        drop_interval: Paired DeLong interval of the fall, averaged over the repeats.
        direction: Rank correlation of value and contribution, -1..1; None for a constant or categorical input.
        low: Mean contribution of the tenth of rows with the lowest values.
        high: Mean contribution of the tenth of rows with the highest values.
        level_low: Level with the lowest mean contribution, of a categorical input.
        level_high: Level with the highest mean contribution.
        missing: Mean contribution where the input is missing; None where it never is.
    """

    name: str
    importance: float
    interval: tuple[float, float]
    share: float
    drop: float | None
    drop_interval: tuple[float, float] | None
    direction: float | None
    low: float | None
    high: float | None
    level_low: str | None
    level_high: str | None
    missing: float | None


def drivers(inputs: EvidenceInput) -> SectionEvidence:
    """G1: additivity of the contributions; importance by contribution and by permutation; clusters of inputs."""
    test = inputs.test
    if test.n == 0:
        return _nothing(inputs)
    phi, base = inputs.scorer.contributions(test.features)
    residual = additivity_residual(phi, base, test.margin) / _unit(inputs)
    rows_used = _drawn(test, inputs.spec.seed)
    part = phi[rows_used]
    ranked = _ranked(inputs, part, rows_used)
    links = _associations(inputs, part, rows_used)
    names = [item.name for item in inputs.scorer.inputs]
    clusters = clustered(names, links, _CLUSTER_AT)
    rows = (_additivity_row(inputs, residual), *_global_rows(inputs, ranked, rows_used.size))
    blocks: list[Block] = [
        _importance_figure(inputs, ranked, rows_used.size),
        _permutation_figure(inputs, ranked, rows_used.size),
        _driver_table(inputs, ranked, rows_used.size),
        _reading(inputs, ranked, rows_used.size),
        Paragraph(text=_methods(inputs, ranked, rows_used.size)),
        _cluster_table(inputs, clusters, names, links, rows_used.size),
    ]
    top = ranked[0]
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(rows[0], residual, ranked, clusters),
        would_change=f"A residual beyond {plain(inputs.spec.policy.limits['xai.shap_additivity'].watch)} in margin."
        if isinstance(inputs.spec.policy.limits["xai.shap_additivity"], UpperLimit)
        else "A residual beyond the limit in margin.",
        so_what=(
            f"'{top.name}' carries {printed(top.share, 'share')} of all contributions: an error in it moves more "
            "decisions than an error in any other input, so its source deserves the first control."
        ),
        rows=rows,
        blocks=tuple(blocks),
        extras={
            "residual": rounded(residual),
            "top": [{"name": d.name, "share": rounded(d.share), "auc_drop": rounded(d.drop)} for d in ranked[:_TOP]],
            "clusters": [list(cluster) for cluster in clusters],
        },
    )


def additivity_residual(phi: Floats, base: float, margin: Floats) -> float:
    """Largest absolute difference between a margin and the sum of its contributions.

    Inputs are added one after another: the order in which a library sums a row changes with the processor, and so
    would the last bits, which are all that a residual has.
    """
    total = np.full(margin.shape, base)
    for k in range(phi.shape[1]):
        total = total + phi[:, k]
    return float(np.abs(total - margin).max())


def _unit(inputs: EvidenceInput) -> float:
    """What a residual is counted in: one, or the largest exposure, whose own rounding grows with its size."""
    return max(1.0, float(np.abs(inputs.test.margin).max())) if inputs.spec.kind == "ead" else 1.0


def _nothing(inputs: EvidenceInput) -> SectionEvidence:
    row = inputs.row(Statistic(
        "xai.shap_additivity", SECTION, "Largest additivity residual, in margin", sample=inputs.test.role, n=0,
        value=None, limit="xai.shap_additivity", undefined="the test sample has no rows",
    ))  # fmt: skip
    return SectionEvidence(
        code=SECTION,
        conclusion="The drivers were not evaluated: the test sample has no rows.",
        would_change="A test sample with rows.",
        so_what="Nothing is known of what moves the score outside development.",
        rows=(row,),
        extras={"residual": None, "top": [], "clusters": []},
    )


def _drawn(test: Sample, seed: int) -> NDArray[np.int64]:
    """Rows that importance is computed on: all, or a seeded draw in their order."""
    if test.n <= _MOST_ROWS:
        return np.arange(test.n)
    return np.sort(np.random.default_rng(seed).choice(test.n, _MOST_ROWS, replace=False))


def _ranked(inputs: EvidenceInput, phi: Floats, rows: NDArray[np.int64]) -> list[Driver]:
    """All inputs, most important first."""
    size = np.abs(phi)
    importance = size.mean(axis=0)
    bounds = bootstrap_means(
        size, inputs.spec.policy.bootstrap_resamples, inputs.spec.policy.confidence, inputs.spec.seed
    )
    drops = _permutation(inputs, rows)
    total = float(importance.sum())
    found = []
    for k, item in enumerate(inputs.scorer.inputs):
        values = inputs.test.features[item.name][rows]
        numeric = item.type == "numeric"
        shape = _numeric_shape(values, phi[:, k]) if numeric else _level_shape(values, phi[:, k])
        found.append(
            Driver(
                item.name, float(importance[k]), (float(bounds[0, k]), float(bounds[1, k])),
                float(importance[k]) / total if total > 0.0 else 0.0, *drops[k], *shape,
            )
        )  # fmt: skip
    return sorted(found, key=lambda d: (-d.importance, d.name))


def bootstrap_means(values: Floats, resamples: int, confidence: float, seed: int) -> Floats:
    """Percentile bootstrap interval of column means, float64 (2, columns). Rows are drawn with replacement."""
    means = resampled_means(values, resamples, seed)
    tail = (1.0 - confidence) / 2
    return np.quantile(means, [tail, 1.0 - tail], axis=0)


def _permutation(
    inputs: EvidenceInput, rows: NDArray[np.int64]
) -> list[tuple[float | None, tuple[float, float] | None]]:
    """Fall in AUC when each input is permuted among the rows, and its interval."""
    test, rng = inputs.test, np.random.default_rng(inputs.spec.seed)
    features = {item.name: test.features[item.name][rows] for item in inputs.scorer.inputs}
    y, margin = test.y[rows], test.margin[rows]
    found: list[tuple[float | None, tuple[float, float] | None]] = []
    for item in inputs.scorer.inputs:
        tests = []
        for _ in range(_REPEATS):
            shuffled = features | {item.name: features[item.name][rng.permutation(rows.size)]}
            tests.append(rank_difference(inputs.spec, y, margin, inputs.scorer.margin(shuffled)))
        drops = [difference for difference, _ in tests if difference is not None]
        if not drops:
            found.append((None, None))
            continue
        drop = float(np.mean(drops))
        halves = [(interval[1] - interval[0]) / 2 for _, interval in tests if interval is not None]
        half = float(np.mean(halves)) if halves else None
        found.append((drop, None if half is None else (drop - half, drop + half)))
    return found


def _numeric_shape(
    values: NDArray[Any], phi: Floats
) -> tuple[float | None, float | None, float | None, None, None, float | None]:
    known = ~np.isnan(values)
    missing = float(phi[~known].mean()) if not known.all() else None
    x, effect = values[known], phi[known]
    if x.size < 2 or np.ptp(x) == 0.0:
        return None, None, None, None, None, missing
    low, high = np.quantile(x, [0.1, 0.9])
    ends = float(effect[x <= low].mean()), float(effect[x >= high].mean())
    direction = _spearman(x, effect)
    return direction, *ends, None, None, missing


def _level_shape(
    values: NDArray[Any], phi: Floats
) -> tuple[None, float | None, float | None, str | None, str | None, float | None]:
    text = np.array(["" if v is None else str(v) for v in values], dtype=np.str_)
    known = np.array([v is not None for v in values], dtype=np.bool_)
    missing = float(phi[~known].mean()) if not known.all() else None
    means = {str(name): float(phi[known & (text == name)].mean()) for name in np.unique(text[known])}
    if not means:
        return None, None, None, None, None, missing
    low, high = min(means, key=lambda v: (means[v], v)), max(means, key=lambda v: (means[v], v))
    return None, means[low], means[high], low, high, missing


def _spearman(a: Floats, b: Floats) -> float | None:
    """Rank correlation; None where one side is constant."""
    if a.size < 3 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def _associations(inputs: EvidenceInput, phi: Floats, rows: NDArray[np.int64]) -> Floats:
    """Absolute rank correlation of every pair of inputs, on rows where both are known; levels by mean contribution."""
    found = []
    for k, item in enumerate(inputs.scorer.inputs):
        values = inputs.test.features[item.name][rows]
        found.append(values.astype(np.float64) if item.type == "numeric" else _level_means(values, phi[:, k]))
    matrix = np.eye(len(found))
    for i, a in enumerate(found):
        for j in range(i):
            both = ~np.isnan(a) & ~np.isnan(found[j])
            rank = _spearman(a[both], found[j][both])
            matrix[i, j] = matrix[j, i] = 0.0 if rank is None else abs(rank)
    return matrix


def _level_means(values: NDArray[Any], phi: Floats) -> Floats:
    means = np.full(values.size, np.nan)
    text = np.array(["" if v is None else str(v) for v in values], dtype=np.str_)
    known = np.array([v is not None for v in values], dtype=np.bool_)
    for name in np.unique(text[known]):
        own = known & (text == name)
        # Rounded, so that the mean of one level is one number in ranks whatever the order of summation.
        means[own] = round(float(phi[own].mean()), 9)
    return means


def clustered(names: list[str], links: Floats, threshold: float) -> tuple[tuple[str, ...], ...]:
    """Groups of inputs joined by links at or above a threshold (single linkage), largest first; singles left out."""
    group = list(range(len(names)))
    for i in range(len(names)):
        for j in range(i):
            if links[i, j] >= threshold and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    members = [tuple(n for n, g in zip(names, group, strict=True) if g == k) for k in sorted(set(group))]
    return tuple(sorted((m for m in members if len(m) > 1), key=lambda m: (-len(m), m)))


def _additivity_row(inputs: EvidenceInput, residual: float) -> RegisterRow:
    test = inputs.test
    return inputs.row(Statistic(
        "xai.shap_additivity", SECTION,
        f"Largest additivity residual, in {'the largest estimate' if inputs.spec.kind == 'ead' else 'margin'}",
        sample=test.role, n=test.n, events=test.events, value=residual, limit="xai.shap_additivity",
    ))  # fmt: skip


def _paired(inputs: EvidenceInput) -> str:
    """The method behind the interval of a fall in AUC or gAUC."""
    return "paired influences" if inputs.spec.is_amount else "paired DeLong"


def _no_drop(inputs: EvidenceInput) -> str:
    return f"the test sample has one {'realised amount' if inputs.spec.is_amount else 'outcome'} only"


def _global_rows(inputs: EvidenceInput, ranked: list[Driver], n: int) -> list[RegisterRow]:
    test, seed, measure = inputs.test, inputs.spec.seed, rank_measure(inputs.spec)
    found = []
    for d in ranked:
        found.append(
            inputs.row(Statistic(
                "xai.global", SECTION, f"Mean absolute contribution of {d.name}", sample=test.role, n=n,
                segment=d.name, value=d.importance, interval=d.interval, ci_method="percentile bootstrap of rows",
                effect=d.share, gating=False, seed=seed, fmt=_style(inputs),
            ))
        )  # fmt: skip
        found.append(
            inputs.row(Statistic(
                "xai.global", SECTION, f"Fall in {measure} when {d.name} is permuted", sample=test.role, n=n,
                segment=f"{d.name}: permuted", value=d.drop, interval=d.drop_interval,
                ci_method=f"{_paired(inputs)}, mean of {_REPEATS} permutations", gating=False, seed=seed, fmt="auc",
                undefined=None if d.drop is not None else _no_drop(inputs),
            ))
        )  # fmt: skip
    return found


def _importance_figure(inputs: EvidenceInput, ranked: list[Driver], n: int) -> Figure:
    shown, top, style = ranked[:_MOST_BARS], ranked[0], _style(inputs)
    return Figure(
        id="G1-F1", chart="bars", size="half",
        caption=f"'{top.name}' moves the score most ({_sample(inputs, n)}; {level(inputs.spec.policy)} bootstrap).",
        alt=f"Bars of mean absolute contribution in margin, falling from {top.name} at "
        f"{printed(top.importance, style)} to {shown[-1].name} at {printed(shown[-1].importance, style)}; "
        f"the first three inputs hold {printed(sum(d.share for d in ranked[:3]), 'share')} of the sum.",
        x_label="Mean absolute contribution (margin)", y_format=style,
        series=(
            estimates(
                "contribution", [d.name for d in shown], [d.importance for d in shown], [d.interval for d in shown],
                role=inputs.test.role, mark="bars",
            ),
        ),
    )  # fmt: skip


def _permutation_figure(inputs: EvidenceInput, ranked: list[Driver], n: int) -> Figure:
    shown = ranked[:_MOST_BARS]
    defined = [d for d in shown if d.drop is not None]
    most = max(defined, key=lambda d: (d.drop or 0.0, d.name), default=None)
    measure = rank_measure(inputs.spec)
    claim = f"The fall in {measure} is undefined" if most is None else f"{measure} falls most without '{most.name}'"
    size = "0 inputs could be tested" if most is None else f"the largest is {most.name}, {printed(most.drop, 'auc')}"
    return Figure(
        id="G1-F2", chart="bars", size="half",
        caption=f"{claim} ({_sample(inputs, n)}; {level(inputs.spec.policy)} {_paired(inputs)}).",
        alt=f"Bars of the fall in {measure} when one input is permuted, in the order of the contributions: {size}.",
        x_label=f"Fall in {measure} when permuted", y_format="auc",
        series=(
            estimates(
                "permutation", [d.name for d in shown], [d.drop for d in shown], [d.drop_interval for d in shown],
                role=inputs.test.role, mark="bars",
            ),
        ),
    )  # fmt: skip


def _style(inputs: EvidenceInput) -> Format:
    """How a contribution is printed: log-odds have one size for all models, an amount has that of its unit."""
    return "number" if inputs.spec.is_amount else "score"


def _column_style(inputs: EvidenceInput) -> Format:
    return "number" if inputs.spec.is_amount else "ratio"


def _sample(inputs: EvidenceInput, n: int) -> str:
    test = inputs.test
    return described(test) if n == test.n else f"{described(test)}, {printed(n, 'int')} drawn"


def _found(driver: Driver) -> str:
    if driver.direction is None:
        return "by level" if driver.level_low is not None else "constant"
    if abs(driver.direction) < 0.1:
        return "no single direction"
    return "increasing" if driver.direction > 0 else "decreasing"


def _driver_table(inputs: EvidenceInput, ranked: list[Driver], n: int) -> Table:
    rows: list[dict[str, Scalar]] = []
    for k, d in enumerate(ranked[:30], start=1):
        declared = inputs.spec.features.get(d.name)
        rows.append(
            {
                "rank": k, "input": d.name, "share": rounded(d.share),
                "phi": with_interval(d.importance, d.interval, _style(inputs)),
                "drop": with_interval(d.drop, d.drop_interval, "auc"),
                "found": _found(d), "expected": "none" if declared is None else declared.expected,
            }
        )  # fmt: skip
    three = sum(d.share for d in ranked[:3])
    return Table(
        id="G1-T1",
        caption=f"Three inputs hold {printed(three, 'share')} of all contributions ({_sample(inputs, n)}).",
        columns=columns(
            ("rank", "Rank", "int"), ("input", "Input", "text"), ("share", "Share", "share"),
            ("phi", "Mean abs. contribution", "text"), ("drop", f"Fall in {rank_measure(inputs.spec)}", "text"),
            ("found", "Found", "text"), ("expected", "Expected", "text"),
        ),
        rows=tuple(rows), total_rows=len(ranked),
    )  # fmt: skip


def _reading(inputs: EvidenceInput, ranked: list[Driver], n: int) -> Table:
    """What the top drivers mean, and what they add at their ends."""
    what = "estimate" if inputs.spec.is_amount else "risk in log-odds"
    top = ranked[:_TOP]
    told = format_column([rounded(v) for d in top for v in (d.low, d.high, d.missing)], _column_style(inputs))
    signed = [f"+{text}" if text[0].isdigit() else text for text in told]
    rows: list[dict[str, Scalar]] = []
    for k, d in enumerate(top):
        declared = inputs.spec.features.get(d.name)
        low, high, missing = signed[3 * k : 3 * k + 3]
        if d.level_low is not None:
            low, high = f"{low} ({d.level_low})", f"{high} ({d.level_high})"
        rows.append(
            {
                "input": d.name if declared is None or not declared.meaning else f"{d.name}: {declared.meaning}",
                "low": low,
                "high": high,
                "missing": missing,
            }
        )  # fmt: skip
    return Table(
        id="G1-T2",
        caption=f"What the top {len(rows)} inputs add to the {what}, on average in their lowest and highest "
        f"tenth; of levels, the one that adds least and most ({_sample(inputs, n)}).",
        columns=columns(
            ("input", "Input", "text"), ("low", "Lowest tenth", "text"), ("high", "Highest tenth", "text"),
            ("missing", "Missing", "text"),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _methods(inputs: EvidenceInput, ranked: list[Driver], n: int) -> str:
    both = [d for d in ranked if d.drop is not None]
    agreement = ""
    if len(both) > 2:
        rank = _spearman(np.array([d.importance for d in both]), np.array([d.drop for d in both], dtype=np.float64))
        if rank is not None:
            agreement = f" The two orders agree with a rank correlation of {printed(rank, 'ratio')}."
    return (
        "Contributions are exact and in the margin, before calibration: path-dependent for trees, against the frozen "
        "background means for linear models and scorecards. Permutation breaks the link of one input with all others, "
        f"so inputs that stand in for one another look weak by it; negative values are kept. Both use "
        f"{counted(n, 'row')} of the {inputs.test.label} sample.{agreement}"
    )


def _cluster_table(
    inputs: EvidenceInput, clusters: tuple[tuple[str, ...], ...], names: list[str], links: Floats, n: int
) -> Table:
    rows: list[dict[str, Scalar]] = []
    for cluster in clusters:
        at = [names.index(name) for name in cluster]
        pairs = [float(links[i, j]) for i in at for j in at if i < j]
        rows.append({"inputs": ", ".join(cluster), "count": len(cluster), "largest": rounded(max(pairs))})
    joined = sum(len(c) for c in clusters)
    claim = f"{counted(joined, 'input')} move together in {counted(len(clusters), 'cluster')}"
    return Table(
        id="G1-T3",
        caption=f"{claim} (absolute rank correlation of {_CLUSTER_AT:g} or more; {_sample(inputs, n)}).",
        columns=columns(
            ("inputs", "Inputs", "text"), ("count", "Inputs in cluster", "int"),
            ("largest", "Largest correlation", "ratio"),
        ),
        rows=tuple(rows),
        empty="No two inputs reach the threshold: importance can be read input by input.",
    )  # fmt: skip


def _conclusion(row: RegisterRow, residual: float, ranked: list[Driver], clusters: tuple[tuple[str, ...], ...]) -> str:
    leading = listed([d.name for d in ranked[:3]])
    held = printed(sum(d.share for d in ranked[:3]), "share")
    if row.light is Light.FAIL:
        missed = plain(float(f"{residual:.1e}"))
        return f"Contributions miss the score by up to {missed} in margin, so no driver below can be relied on."
    together = f"; {counted(len(clusters), 'cluster')} of inputs move together" if clusters else ""
    within = "" if row.threshold is None else f", within the limit of {row.threshold.split(' ')[1]} in margin"
    return f"Contributions add up to the score{within}; {leading} hold {held} of their sum{together}."

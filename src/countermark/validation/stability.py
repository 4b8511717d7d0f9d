"""E3: have scores, grades and inputs moved since development?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.binning import NumericBins, development_bins, quantile_cuts
from countermark.metrics.multiplicity import adjusted_where_defined, holm
from countermark.metrics.stability import (
    Psi,
    concentration_test,
    matrix_weighted_bandwidth,
    migration_z,
    points_shift,
    psi,
)
from countermark.records.evidence import Block, Figure, Paragraph, ReferenceLine, RegisterRow, Scalar, Series, Table
from countermark.records.lights import Light
from countermark.records.limits import judge
from countermark.validation.amounts import band_word
from countermark.validation.data_quality import too_few_rows
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.representativeness import driver_shifts, drivers_by_size
from countermark.validation.sentences import (
    SAME_PERIOD,
    against_development,
    columns,
    counted,
    listed,
    no_trend,
    printed,
    rounded,
    sentence,
    tally,
    with_light,
)

SECTION = "E3"
_SCORE_BINS = 10
_NO_REPEATS = "no customer was observed and graded at two dates, so no migration can be seen"


def stability(inputs: EvidenceInput) -> SectionEvidence:
    """E3: population and characteristic stability with their sampling limits, concentration and migration."""
    score, grade = _score_shift(inputs), _grade_shift(inputs)
    psi_rows = (_psi_row(inputs, "score", score), _psi_row(inputs, band_word(inputs.spec), grade))
    vintages = _vintage_shifts(inputs)
    vintage_rows = tuple(
        _psi_row(inputs, f"vintage {name}", shift, gating=False, sample="all but development")
        for name, shift in vintages.items()
    )
    drivers = driver_shifts(inputs)
    csi_rows = _csi_rows(inputs, drivers)
    hhi = _concentration_row(inputs)
    migration = _migration_rows(inputs)
    blocks: list[Block] = [_psi_table(inputs, psi_rows, (score, grade)), _csi_table(inputs, drivers, csi_rows)]
    if csi_rows:
        blocks.append(_csi_figure(inputs, drivers))
    blocks.append(_grade_figure(inputs))
    if sum(v.too_thin is None and v.value is not None for v in vintages.values()) > 1:
        blocks.append(_vintage_figure(inputs, vintages))
    elif len(vintages) < 2:
        blocks.append(Paragraph(text=no_trend(list(vintages), "stability")))
    else:
        count = counted(len(vintages), "vintage")
        blocks.append(Paragraph(text=f"No stability by vintage: of {count} at most one has enough rows."))
    blocks.append(_concentration_table(inputs, hhi))
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, psi_rows, score, csi_rows, migration),
        would_change=(
            f"A PSI outside its limits ({inputs.spec.policy.limits['stab.psi'].text}); the bands are industry custom, "
            "so the value that sampling alone exceeds is printed beside them."
        ),
        so_what=(
            f"A stable score means that {_set_on_development(inputs)} set on development meet the same population; "
            "it says nothing about calibration or ranking."
        ),
        rows=(*psi_rows, *vintage_rows, *csi_rows, hhi, *migration),
        blocks=tuple(blocks),
        extras={
            "psi_score": psi_rows[0].statistic,
            "psi_score_critical": rounded(score.critical),
            "psi_score_p": rounded(score.p_value),
            "psi_grade": psi_rows[1].statistic,
            "worst_csi": drivers_by_size(drivers)[0] if drivers else None,
        },
    )


def _set_on_development(inputs: EvidenceInput) -> str:
    return "pools and their values" if inputs.spec.is_amount else "cut-offs and grade PDs"


def _score_bins(inputs: EvidenceInput) -> NumericBins:
    return NumericBins(quantile_cuts(inputs.samples["development"].p, _SCORE_BINS))


def _score_shift(inputs: EvidenceInput) -> Psi:
    """PSI of the calibrated probability over development deciles."""
    bins, development = _score_bins(inputs), inputs.samples["development"]
    return psi(bins.counts(development.p), bins.counts(inputs.test.p), level=inputs.spec.policy.confidence)


def _grade_counts(sample: Sample) -> NDArray[np.int64]:
    return np.bincount(sample.grade, minlength=len(sample.grade_names)).astype(np.int64)


def _grade_shift(inputs: EvidenceInput) -> Psi:
    return psi(
        _grade_counts(inputs.samples["development"]), _grade_counts(inputs.test), level=inputs.spec.policy.confidence
    )


def _psi_row(
    inputs: EvidenceInput, what: str, shift: Psi, *, gating: bool | None = None, sample: str | None = None
) -> RegisterRow:
    thin = shift.too_thin or too_few_rows(inputs, inputs.samples["development"], inputs.test)
    return inputs.row(Statistic(
        "stab.psi", SECTION, f"PSI of the {what} against development", sample=sample or inputs.test.role,
        n=shift.n_actual,
        segment="all" if what == "score" else what, value=shift.value, limit="stab.psi",
        df=max(shift.bins - 1, 0), p_raw=shift.p_value,
        h0="the distribution is as in development", alternative="it is not", undefined=thin, gating=gating, fmt="psi",
    ))  # fmt: skip


def _vintage_shifts(inputs: EvidenceInput) -> dict[str, Psi]:
    """PSI of the score by vintage of all samples that were not fitted on, in time order."""
    bins, development = _score_bins(inputs), inputs.samples["development"]
    others = [s for role, s in sorted(inputs.samples.items()) if role != "development" and s.vintage is not None]
    if not others:
        return {}
    vintage = np.concatenate([s.vintage for s in others if s.vintage is not None]).astype(str)
    p = np.concatenate([s.p for s in others])
    expected, level = bins.counts(development.p), inputs.spec.policy.confidence
    return {str(name): psi(expected, bins.counts(p[vintage == name]), level=level) for name in np.unique(vintage)}


def _csi_rows(inputs: EvidenceInput, drivers: Mapping[str, Psi]) -> tuple[RegisterRow, ...]:
    adjusted = adjusted_where_defined([d.p_value for d in drivers.values()])
    thin = too_few_rows(inputs, inputs.samples["development"], inputs.test)
    return tuple(
        inputs.row(Statistic(
            "stab.csi", SECTION, f"CSI of {name} against development", sample=inputs.test.role, n=inputs.test.n,
            segment=name, value=shift.value, limit="stab.csi", df=max(shift.bins - 1, 0), p_raw=shift.p_value,
            p_adj=p_adj, effect=_margin_shift(inputs, name), h0="the distribution is as in development",
            undefined=shift.too_thin or thin, fmt="psi",
        ))
        for (name, shift), p_adj in zip(drivers.items(), adjusted, strict=True)
    )  # fmt: skip


def _margin_shift(inputs: EvidenceInput, name: str) -> float | None:
    """Change of the mean margin that the shift of one input goes with.

    The points of a bin are the mean margin of its development rows, so correlated inputs share their effect.
    """
    development = inputs.samples["development"]
    bins = development_bins(development.features[name])
    index = bins.index(development.features[name])
    expected, actual = bins.counts(development.features[name]), bins.counts(inputs.test.features[name])
    if development.n == 0:
        return None
    sums = np.bincount(index, weights=development.margin, minlength=expected.size)
    points = np.where(expected > 0, sums / np.maximum(expected, 1), float(development.margin.mean()))
    return points_shift(expected, actual, points)


def _concentration_row(inputs: EvidenceInput) -> RegisterRow:
    test = inputs.test
    result = concentration_test(_grade_counts(test), _grade_counts(inputs.samples["development"]))
    reason = result.reason or too_few_rows(inputs, test)
    if result.p_attainable is not None:
        best = judge(inputs.spec.policy.limits["stab.hhi"], result.p_attainable)
        if best.light is Light.PASS:
            reason = reason or (
                "the test could not have failed: from this starting concentration no shift gives a p below "
                f"{printed(result.p_attainable, 'pvalue')}"
            )
    return inputs.row(Statistic(
        "stab.hhi", SECTION, f"Concentration of {band_word(inputs.spec)}s against development, by number",
        sample=test.role, n=test.n,
        value=result.index, judged=result.p_value, effect=result.hhi, p_raw=result.p_value, limit="stab.hhi",
        h0=f"{band_word(inputs.spec)}s are no more concentrated than in development", alternative="more concentrated",
        undefined=reason, fmt="auc",
    ))  # fmt: skip


def _migrations(inputs: EvidenceInput) -> NDArray[np.int64] | None:
    """Grade at one date against grade at the customer's next date, over all samples; None without repeats."""
    samples = [s for _, s in sorted(inputs.samples.items()) if s.entity is not None and s.time is not None]
    if not samples:
        return None
    entity = np.concatenate([s.entity for s in samples if s.entity is not None]).astype(str)
    time = np.concatenate([s.time for s in samples if s.time is not None])
    grade = np.concatenate([s.grade for s in samples])
    order = np.lexsort((grade, time, entity))
    entity, time, grade = entity[order], time[order], grade[order]
    again = (entity[1:] == entity[:-1]) & (time[1:] > time[:-1])
    k = len(inputs.test.grade_names)
    table = np.zeros((k, k), dtype=np.int64)
    np.add.at(table, (grade[:-1][again], grade[1:][again]), 1)
    return table if again.any() else None


def _migration_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    table = _migrations(inputs)
    if table is None:
        return tuple(
            inputs.row(Statistic(test_id, SECTION, label, sample="all", n=0, value=None, undefined=_NO_REPEATS))
            for test_id, label in (
                ("stab.mwb", "Matrix weighted bandwidth"),
                ("stab.migration_z", "Migration z-test"),
            )
        )
    n = int(table.sum())
    result = matrix_weighted_bandwidth(table)
    thin = result.reason if result.upper is None else None
    rows = [
        inputs.row(Statistic(
            "stab.mwb", SECTION, f"Matrix weighted bandwidth, moves to {side} {band_word(inputs.spec)}s", sample="all",
            n=n, segment=side, value=value, undefined=thin, fmt="auc",
        ))
        for side, value in (("worse", result.upper), ("better", result.lower))
    ]  # fmt: skip
    z, p = migration_z(table)
    tested = np.isfinite(z)
    smallest = float(holm(p[tested]).min()) if tested.any() else None
    rows.append(
        inputs.row(Statistic(
            "stab.migration_z", SECTION, "Smallest Holm-adjusted p of a farther grade holding more than a nearer one",
            sample="all", n=n, value=float(z[tested].min()) if tested.any() else None,
            p_raw=float(p[tested].min()) if tested.any() else None, p_adj=smallest,
            undefined=None if tested.any() else "no cell of the migration matrix can be tested",
        ))
    )  # fmt: skip
    return tuple(rows)


def _psi_table(inputs: EvidenceInput, rows: tuple[RegisterRow, ...], shifts: tuple[Psi, ...]) -> Table:
    score = rows[0]
    return Table(
        id="E3-T1",
        caption=(
            f"PSI of the score is {printed(score.statistic, 'psi')}; sampling alone exceeds "
            f"{printed(shifts[0].critical, 'psi')} one time in twenty "
            f"({against_development(inputs.samples['development'], inputs.test)})."
        ),
        columns=columns(
            ("what", "Of", "text"),
            ("bins", "Bins", "int"),
            ("psi", "PSI", "psi"),
            ("critical", "PSI by chance", "psi"),
            ("p", "p", "pvalue"),
            ("smoothed", "Empty bin", "text"),
            ("light", "Light", "light"),
        ),
        rows=tuple(
            {
                "what": "score" if row.segment == "all" else row.segment,
                "bins": shift.bins,
                "psi": row.statistic,
                "critical": rounded(shift.critical),
                "p": row.p_raw,
                "smoothed": "yes" if shift.smoothed else "no",
                "light": row.light.value,
            }
            for row, shift in zip(rows, shifts, strict=True)
        ),
    )


def _csi_table(inputs: EvidenceInput, drivers: Mapping[str, Psi], rows: tuple[RegisterRow, ...]) -> Table:
    by_name = {row.segment: row for row in rows}
    order = drivers_by_size(drivers)
    printed_rows: list[dict[str, Scalar]] = [
        {
            "input": name,
            "csi": by_name[name].statistic,
            "critical": rounded(drivers[name].critical),
            "p": by_name[name].p_raw,
            "p_adj": by_name[name].p_adj,
            "shift": by_name[name].effect,
            "light": by_name[name].light.value,
        }
        for name in order[:40]
    ]
    return Table(
        id="E3-T2",
        caption=(
            f"Characteristic stability of {counted(len(rows), 'input')}: {tally(rows)} "
            f"({against_development(inputs.samples['development'], inputs.test)}; adjusted p is Benjamini-Hochberg; "
            "margin shift is the change of the mean score that goes with the shift, correlated inputs share it)."
        ),
        columns=columns(
            ("input", "Input", "text"),
            ("csi", "CSI", "psi"),
            ("critical", "CSI by chance", "psi"),
            ("p", "p", "pvalue"),
            ("p_adj", "Adjusted p", "pvalue"),
            ("shift", "Margin shift", "number"),
            ("light", "Light", "light"),
        ),
        rows=tuple(printed_rows),
        total_rows=len(rows),
    )


def _csi_figure(inputs: EvidenceInput, drivers: Mapping[str, Psi]) -> Figure:
    order = drivers_by_size(drivers)[:20]
    top, test = order[0], inputs.test
    values = tuple(rounded(drivers[name].value) for name in order)
    return Figure(
        id="E3-F1",
        chart="bars",
        caption=(
            f"{top} moved most, CSI {printed(drivers[top].value, 'psi')} "
            f"({against_development(inputs.samples['development'], test)})."
        ),
        alt=(
            f"Bars of the CSI of {counted(len(order), 'input')}, largest first: "
            + "; ".join(f"{name} {printed(drivers[name].value, 'psi')}" for name in order[:5])
            + "."
        ),
        y_label="CSI",
        y_format="psi",
        series=(Series(name=test.label, role=test.role, mark="bars", x=tuple(order), y=values),),
        size="half",
    )


def _grade_figure(inputs: EvidenceInput) -> Figure:
    development, test = inputs.samples["development"], inputs.test
    counts = [_grade_counts(s) for s in (development, test)]
    shares = [c / max(int(c.sum()), 1) for c in counts]
    most = int(np.argmax(np.abs(shares[1] - shares[0])))
    name, band = test.grade_names[most], band_word(inputs.spec)
    moved = f"{printed(float(shares[0][most]), 'share')} to {printed(float(shares[1][most]), 'share')}"
    return Figure(
        id="E3-F2",
        chart="xy",
        caption=(
            f"{band.capitalize()} {name} moved most, from {moved} of rows ({against_development(development, test)})."
        ),
        alt=(
            f"Share of rows in each of {counted(len(test.grade_names), band)}, development beside {test.label}. "
            f"The largest difference is in {band} {name}: {moved}."
        ),
        x_label=band.capitalize(),
        y_label="Share of rows",
        y_format="share",
        series=tuple(
            Series(
                name=s.label, role=s.role, mark="bars", x=s.grade_names,
                y=tuple(rounded(float(v)) for v in share), n=tuple(int(v) for v in c),
            )
            for s, share, c in zip((development, test), shares, counts, strict=True)
        ),
        size="half",
    )  # fmt: skip


def _vintage_figure(inputs: EvidenceInput, vintages: Mapping[str, Psi]) -> Figure:
    """PSI by vintage with the band that sampling alone stays in."""
    # A vintage so thin that noise alone breaks the bands has no PSI worth drawing; the register holds it.
    drawn = {name: v for name, v in vintages.items() if v.too_thin is None and v.value is not None}
    names = tuple(drawn)
    values = tuple(rounded(v.value) for v in drawn.values())
    critical = tuple(rounded(v.critical) for v in drawn.values())
    top = max(drawn, key=lambda name: (drawn[name].value or 0.0, name))
    above = sum(v is not None and c is not None and v > c for v, c in zip(values, critical, strict=True))
    n = sum(v.n_actual for v in drawn.values())
    thin = len(vintages) - len(drawn)
    left_out = f"; {counted(thin, 'thinner vintage is', 'thinner vintages are')} not drawn" if thin else ""
    watch = inputs.spec.policy.limits["stab.psi"]
    lines = [ReferenceLine(axis="y", value=watch.watch, label="watch")] if watch.kind == "upper" else []
    return Figure(
        id="E3-F3",
        chart="xy",
        caption=(
            f"{above} of {counted(len(names), 'vintage')} moved more than sampling explains; the largest PSI is "
            f"{printed(drawn[top].value, 'psi')} in {top} (score, all samples but development, "
            f"N = {printed(n, 'int')}{left_out})."
        ),
        alt=(
            f"PSI of the score by vintage, {names[0]} to {names[-1]}, from {printed(values[0], 'psi')} to "
            f"{printed(values[-1], 'psi')}; the largest is {printed(drawn[top].value, 'psi')} in {top}. Beside it the "
            f"value that sampling alone exceeds one time in twenty, {printed(critical[0], 'psi')} in {names[0]}."
        ),
        x_label="Vintage",
        y_label="PSI",
        y_format="psi",
        series=(
            Series(
                name="PSI", role=inputs.test.role, mark="line", x=names, y=values,
                n=tuple(v.n_actual for v in drawn.values()),
            ),
            Series(name="by chance, 1 in 20", role="reference", mark="line", x=names, y=critical),
        ),
        lines=tuple(lines),
    )  # fmt: skip


def _concentration_table(inputs: EvidenceInput, row: RegisterRow) -> Table:
    development, test = inputs.samples["development"], inputs.test
    result = concentration_test(_grade_counts(test), _grade_counts(development))
    return Table(
        id="E3-T3",
        caption=(
            f"Concentration index of {band_word(inputs.spec)}s {printed(result.index_initial, 'auc')} in development, "
            f"{printed(result.index, 'auc')} now, p {printed(result.p_value, 'pvalue')}, by number; "
            f"no exposure is given ({against_development(development, test)})."
        ),
        columns=columns(
            ("sample", "Sample", "text"),
            ("index", "Index", "auc"),
            ("hhi", "Sum of squared shares", "auc"),
            ("light", "Light", "light"),
        ),
        rows=(
            {
                "sample": development.label,
                "index": rounded(result.index_initial),
                "hhi": rounded(result.hhi_initial),
                "light": None,
            },
            {
                "sample": test.label,
                "index": rounded(result.index),
                "hhi": rounded(result.hhi),
                "light": row.light.value,
            },
        ),
    )


def _conclusion(
    inputs: EvidenceInput,
    psi_rows: tuple[RegisterRow, ...],
    score: Psi,
    csi: tuple[RegisterRow, ...],
    migration: tuple[RegisterRow, ...],
) -> str:
    parts = [SAME_PERIOD] if inputs.test.role == "holdout" else []
    row = psi_rows[0]
    if row.light is Light.NOT_EVALUATED:
        parts.append(f"stability of the score could not be judged: {row.n_reason}")
    else:
        against = "above" if (score.value or 0.0) > (score.critical or 0.0) else "within"
        parts.append(
            f"the PSI of the score is {printed(row.statistic, 'psi')}, {against} the {printed(score.critical, 'psi')} "
            "that sampling alone exceeds one time in twenty"
        )
        parts.append(f"the PSI of {band_word(inputs.spec)}s is {printed(psi_rows[1].statistic, 'psi')}")
    moved = [r.segment for r in (*with_light(csi, Light.FAIL), *with_light(csi, Light.WATCH))]
    if moved:
        parts.append(f"{counted(len(moved), 'input')} moved beyond the band ({listed(moved)})")
    if migration[0].light is Light.NOT_EVALUATED:
        parts.append("migration could not be evaluated")
    return sentence(parts)

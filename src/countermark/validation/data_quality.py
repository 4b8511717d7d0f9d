"""C2: is the data complete, valid, unique and kept apart between fitting and testing?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.metrics.intervals import clopper_pearson_interval
from countermark.metrics.stability import psi
from countermark.records.evidence import Block, Figure, RegisterRow, Scalar, Table
from countermark.records.formats import format_interval
from countermark.records.lights import Light
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.phrasing import limit_phrase
from countermark.validation.sentences import (
    columns,
    counted,
    described,
    level,
    listed,
    printed,
    rounded,
    sentence,
    some,
    with_light,
)

SECTION = "C2"
_ROLES = ("development", "calibration", "holdout", "out_of_time")
_MOST_ROWS = 40


def data_quality(inputs: EvidenceInput) -> SectionEvidence:
    """C2: missing values, contract, duplicates and overlap of the modelling data."""
    missing = _missing_rows(inputs)
    flag = _missing_flag_rows(inputs)
    contract = _contract_rows(inputs)
    overlap, twins = _overlap_row(inputs), _twin_row(inputs)
    rows = (*missing, *flag, *contract, overlap, twins)
    figure = _heat_map(inputs)
    blocks: list[Block] = [_missing_table(inputs, missing, flag)]
    if figure is not None:
        blocks.append(figure)
    blocks += [_rule_table(inputs), _source_tables(inputs), _guard_table(inputs)]
    return SectionEvidence(
        code=SECTION,
        conclusion=_conclusion(inputs, missing, flag, contract, overlap),
        would_change=_would_change(inputs, overlap),
        so_what=(
            "Missing and quarantined rows are outside what the scores have been shown to hold for; "
            "overlap would make every figure on the test sample too good."
        ),
        rows=rows,
        blocks=tuple(blocks),
        extras={
            "largest_missing_share": max((r.statistic for r in missing if r.statistic is not None), default=None),
            "quarantined": sum(int(t["quarantined"]) for t in inputs.contract["tables"].values()),
            "overlapping_entities": None if overlap.statistic is None else int(overlap.statistic),
        },
    )


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are missing: NaN in a numeric input, None in a text input."""
    if values.dtype.kind == "O":
        return np.fromiter((v is None for v in values), dtype=np.bool_, count=len(values))
    missing: NDArray[np.bool_] = np.isnan(values)
    return missing


def too_few_rows(inputs: EvidenceInput, *samples: Sample) -> str | None:
    """The reason why a share must not be judged, or None: a sample is under the policy's smallest group."""
    least = inputs.spec.policy.minimum_group
    thin = [s for s in samples if s.n < least]
    if not thin:
        return None
    return f"the {thin[0].label} sample has {counted(thin[0].n, 'row')}; the policy asks for {least}"


def _missing_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    test = inputs.test
    rows = []
    for name, values in test.features.items():
        count = int(np.count_nonzero(is_missing(values)))
        rows.append(
            inputs.row(Statistic(
                "data.missing", SECTION, f"Missing share of {name}",
                sample=test.role, n=test.n, segment=name, value=count / test.n if test.n else None,
                interval=clopper_pearson_interval(test.n, count, confidence=inputs.spec.policy.confidence).interval,
                ci_method="Clopper-Pearson", limit="data.missing", undefined=too_few_rows(inputs, test), fmt="share",
            ))
        )  # fmt: skip
    return tuple(rows)


def _missing_flag_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    """One row per input that has a missing value somewhere; where none has, one row says that no flag can move."""
    development, test = inputs.samples["development"], inputs.test
    rows = []
    for name, values in test.features.items():
        now, then = is_missing(values), is_missing(development.features[name])
        if not now.any() and not then.any():
            continue
        result = psi(np.bincount(then, minlength=2), np.bincount(now, minlength=2))
        rows.append(
            inputs.row(Statistic(
                "data.missing_psi", SECTION, f"PSI of the missing flag of {name}",
                sample=test.role, n=test.n, segment=name, value=result.value, limit="data.missing_psi",
                df=1, p_raw=result.p_value, h0="the share missing is as in development",
                undefined=too_few_rows(inputs, development, test) or result.too_thin, fmt="psi",
            ))
        )  # fmt: skip
    if not rows:
        rows.append(
            inputs.row(Statistic(
                "data.missing_psi", SECTION, "PSI of missing flags: no input has a missing value in either sample",
                sample=test.role, n=test.n, value=0.0, limit="data.missing_psi",
                undefined=too_few_rows(inputs, development, test), fmt="psi",
            ))
        )  # fmt: skip
    return tuple(rows)


def _contract_rows(inputs: EvidenceInput) -> tuple[RegisterRow, ...]:
    rows = []
    for name, table in inputs.contract["tables"].items():
        total, bad = int(table["rows"]), int(table["quarantined"])
        used, empty = _tolerance_used(total, bad, float(table["tolerance"])), "the table has no rows"
        rows.append(
            inputs.row(Statistic(
                "data.contract", SECTION, f"Share of the tolerance used by quarantined rows of table {name}",
                sample="source", n=total, segment=name, value=used, limit="data.contract",
                effect=bad / total if total else None, undefined=None if total else empty, fmt="share",
            ))
        )  # fmt: skip
        duplicates = int(table["duplicates"])
        rows.append(
            inputs.row(Statistic(
                "data.duplicates", SECTION, f"Duplicate rows of table {name} beside the key",
                sample="source", n=total, segment=name, value=duplicates / total if total else None,
                limit="data.duplicates", undefined=None if total else empty, fmt="share",
            ))
        )  # fmt: skip
    return tuple(rows)


def _tolerance_used(rows: int, quarantined: int, tolerance: float) -> float:
    """Quarantined share over tolerance; with a tolerance of zero, every quarantined row is one tolerance too much."""
    if quarantined == 0 or rows == 0:
        return 0.0
    return quarantined / rows / tolerance if tolerance > 0 else 1.0 + quarantined


def _overlap_row(inputs: EvidenceInput) -> RegisterRow:
    test = inputs.test
    found = _overlapping_entities(inputs)
    reason = "no entity is declared (data.entity), so every row counts as its own customer and overlap cannot be seen"
    return inputs.row(Statistic(
        "data.overlap", SECTION, "Entities in both fitting and test samples",
        sample=test.role, n=test.n, value=None if found is None else float(found), limit="data.overlap",
        h0="no entity is in both", undefined=reason if found is None else None, fmt="int",
    ))  # fmt: skip


def _overlapping_entities(inputs: EvidenceInput) -> int | None:
    """Entities of the test sample that were fitted or calibrated on; the larger of what was declared and found."""
    declared = inputs.dataset["overlap"]["entities"]
    test = inputs.test
    fitted = [inputs.samples[r].entity for r in ("development", "calibration") if r in inputs.samples]
    if test.entity is None or any(e is None for e in fitted):
        return None if declared is None else int(declared)
    seen = {v for entities in fitted if entities is not None for v in entities.tolist() if v is not None}
    found = len({v for v in test.entity.tolist() if v is not None} & seen)
    return max(found, 0 if declared is None else int(declared))


def _twin_row(inputs: EvidenceInput) -> RegisterRow:
    """Test rows equal to a development row in every input: all that can be seen of overlap without an entity."""
    development, test = inputs.samples["development"], inputs.test
    then, now = _row_keys(development, test)
    twins = sum(key in then for key in now)
    return inputs.row(Statistic(
        "data.duplicates", SECTION, "Test rows equal to a development row in every input",
        sample=test.role, n=test.n, segment="test rows seen in development",
        value=twins / test.n if test.n else None, undefined=None if test.n else "the test sample has no rows",
        gating=False, fmt="share",
    ))  # fmt: skip


def _row_keys(development: Sample, test: Sample) -> tuple[frozenset[bytes], list[bytes]]:
    """Exact keys of the rows over all inputs: those of development as a set, those of the test sample in order."""
    parts = []
    for name in sorted(test.features):
        both = np.concatenate([development.features[name], test.features[name]])
        if both.dtype.kind == "O":
            codes = {level: float(i) for i, level in enumerate(dict.fromkeys(both.tolist()))}
            parts.append(np.array([codes[v] for v in both.tolist()], dtype=np.float64))
        else:
            # One bit pattern for every missing value, and one for zero.
            parts.append(np.where(np.isnan(both), np.nan, both + 0.0))
    table = np.ascontiguousarray(np.column_stack(parts))
    keys: list[bytes] = [row.tobytes() for row in table]
    return frozenset(keys[: development.n]), keys[development.n :]


def _missing_table(inputs: EvidenceInput, missing: tuple[RegisterRow, ...], flag: tuple[RegisterRow, ...]) -> Table:
    development, test = inputs.samples["development"], inputs.test
    moved = {row.segment: row for row in flag}
    order = sorted(missing, key=lambda r: (-(r.statistic or 0.0), r.segment))
    rows: list[dict[str, Scalar]] = []
    for row in order[:_MOST_ROWS]:
        then = is_missing(development.features[row.segment])
        if not row.statistic and not then.any():
            continue
        beside = moved.get(row.segment)
        feature = inputs.spec.features.get(row.segment)
        rows.append(
            {
                "input": row.segment,
                "development": rounded(float(then.mean())) if then.size else None,
                "test": row.statistic,
                "interval": format_interval(row.ci_low, row.ci_high, "share"),
                "psi": None if beside is None else beside.statistic,
                "means": "" if feature is None else feature.missing,
                "light": row.light.value,
                "stable": None if beside is None else beside.light.value,
            }
        )
    some = [r for r in missing if r.statistic]
    rest = len(missing) - len(rows)
    others = f"; {counted(rest, 'other input has', 'other inputs have')} none and no row here" if some and rest else ""
    top = order[0] if order else None
    claim = (
        f"{counted(len(some), 'input has', 'inputs have')} missing values; the most, {top.segment}, "
        f"{printed(top.statistic, 'share')}"
        if some and top is not None
        else f"None of {counted(len(missing), 'input')} has a missing value"
    )
    return Table(
        id="C2-T1",
        caption=f"{claim}{others} ({described(test)}; interval is {level(inputs.spec.policy)} Clopper-Pearson).",
        columns=columns(
            ("input", "Input", "text"),
            ("development", "Development", "share"),
            ("test", "Test", "share"),
            ("interval", "Interval", "text"),
            ("psi", "PSI of flag", "psi"),
            ("means", "A missing value means", "text"),
            ("light", "Share", "light"),
            ("stable", "Flag", "light"),
        ),
        rows=tuple(rows),
        empty="No input has a missing value in development or in the test sample.",
    )


def _heat_map(inputs: EvidenceInput) -> Figure | None:
    """Missing share by input and vintage over all samples; None where there is no vintage or nothing missing."""
    samples = [inputs.samples[r] for r in _ROLES if r in inputs.samples]
    if any(s.vintage is None for s in samples):
        return None
    vintage = np.concatenate([s.vintage for s in samples if s.vintage is not None])
    names, place = np.unique(vintage.astype(str), return_inverse=True)
    total = np.bincount(place, minlength=names.size)
    shares: dict[str, NDArray[np.float64]] = {}
    for name in inputs.test.features:
        flag = np.concatenate([is_missing(s.features[name]) for s in samples])
        if flag.any():
            shares[name] = np.bincount(place, weights=flag, minlength=names.size) / total
    if not shares:
        return None
    order = sorted(shares, key=lambda k: (-float(shares[k].max()), k))[:25]
    top = order[0]
    peak = int(np.argmax(shares[top]))
    n = int(total.sum())
    return Figure(
        id="C2-F1",
        chart="heatmap",
        caption=(
            f"Missing values peak at {printed(float(shares[top][peak]), 'share')} in {top}, {names[peak]} "
            f"(all samples, N = {printed(n, 'int')}; {counted(len(shares), 'input')} with missing values)."
        ),
        alt=(
            f"Heat map of the missing share of {counted(len(order), 'input')} over {counted(names.size, 'vintage')}, "
            f"{names[0]} to {names[-1]}. Highest: {top} in {names[peak]}, "
            f"{printed(float(shares[top][peak]), 'share')}; lowest of that input "
            f"{printed(float(shares[top].min()), 'share')}."
        ),
        x_label="Vintage",
        y_label="Missing share",
        y_format="share",
        rows=tuple(order),
        columns=tuple(names.tolist()),
        cells=tuple(tuple(rounded(float(v)) for v in shares[k]) for k in order),
    )


def _rule_table(inputs: EvidenceInput) -> Table:
    rules = [(name, rule) for name, table in inputs.contract["tables"].items() for rule in table["rules"]]
    failed = [rule for _, rule in rules if int(rule["failed"])]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name, rule in rules:
        groups.setdefault((name, str(rule["rule"])), []).append(rule)
    found: list[dict[str, Scalar]] = [_rule_line(name, kind, own) for (name, kind), own in groups.items()]
    found.sort(key=lambda line: (-int(line["failed"] or 0), str(line["table"]), str(line["rule"])))
    rows = tuple(found[:_MOST_ROWS])
    total = sum(int(t["rows"]) for t in inputs.contract["tables"].values())
    claim = f"{len(failed) or 'None'} of {counted(len(rules), 'contract rule')} found failing rows"
    return Table(
        id="C2-T2",
        caption=f"{claim} (source tables, N = {printed(total, 'int')} rows; failing rows are quarantined and counted).",
        columns=columns(
            ("table", "Table", "text"),
            ("rule", "Rule", "text"),
            ("checks", "Checks", "int"),
            ("column", "Columns", "text"),
            ("failed", "Failing rows", "int"),
            ("share", "Largest share", "share"),
        ),
        rows=rows,
        total_rows=len(found),
        empty="The contract has no rules.",
    )


def _rule_line(table: str, kind: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Scalar]:
    """One kind of rule of one table; columns whose rule failed come first."""
    worst_first = sorted(rules, key=lambda r: (-int(r["failed"]), str(r["column"])))
    return {
        "table": table,
        "rule": kind.replace("_", " "),
        "checks": len(rules),
        "column": listed([str(r["column"]) for r in worst_first if r["column"] is not None], 6) or "several together",
        "failed": sum(int(r["failed"]) for r in rules),
        "share": rounded(max(float(r["share"]) for r in rules)),
    }


def _source_tables(inputs: EvidenceInput) -> Table:
    rows: list[dict[str, Scalar]] = [
        {
            "table": name,
            "rows": int(table["rows"]),
            "quarantined": int(table["quarantined"]),
            "tolerance": rounded(float(table["tolerance"])),
            "duplicates": int(table["duplicates"]),
            "freshness": _freshness(table["freshness"]),
        }
        for name, table in inputs.contract["tables"].items()
    ]
    quarantined = sum(int(t["quarantined"]) for t in inputs.contract["tables"].values())
    total = sum(int(t["rows"]) for t in inputs.contract["tables"].values())
    return Table(
        id="C2-T3",
        caption=f"{some(quarantined, 'row')} quarantined of {printed(total, 'int')} read; 'duplicate' rows are "
        "equal beside the key (source tables).",
        columns=columns(
            ("table", "Table", "text"),
            ("rows", "Rows read", "int"),
            ("quarantined", "Quarantined", "int"),
            ("tolerance", "Tolerance", "share"),
            ("duplicates", "Duplicate", "int"),
            ("freshness", "Freshness", "text"),
        ),
        rows=tuple(rows),
    )


def _freshness(document: Mapping[str, Any] | None) -> str:
    if document is None:
        return "not declared"
    return (
        f"newest {document['column']} {document['newest']}, {counted(int(document['age_days']), 'day')} before "
        f"{document['as_of']} (at most {printed(int(document['max_age_days']), 'int')})"
    )


def _guard_table(inputs: EvidenceInput) -> Table:
    guards = inputs.dataset["guards"]
    verdicts = [guard_verdict(g) for g in guards]
    passed, blank = verdicts.count("passed"), verdicts.count("not evaluated")
    open_ones = f", {blank} not evaluated" if blank else ""
    return Table(
        id="C2-T4",
        caption=(
            f"{passed} of {counted(len(guards), 'build guard')} passed{open_ones}; one that fails stops the build "
            f"(modelling data, N = {printed(sum(s.n for s in inputs.samples.values()), 'int')})."
        ),
        columns=columns(("name", "Guard", "text"), ("passed", "Verdict", "text"), ("detail", "Detail", "text")),
        rows=tuple(
            {"name": str(g["name"]).replace("_", " "), "passed": verdict, "detail": str(g["detail"])}
            for g, verdict in zip(guards, verdicts, strict=True)
        ),
        empty="No build guard was recorded.",
    )


def guard_verdict(guard: Mapping[str, Any]) -> str:
    """What a build guard said: a guard that had nothing to look at has not passed, and has not failed either."""
    passed = guard["passed"]
    return "not evaluated" if passed is None else "passed" if passed else "failed"


def _conclusion(
    inputs: EvidenceInput,
    missing: tuple[RegisterRow, ...],
    flag: tuple[RegisterRow, ...],
    contract: tuple[RegisterRow, ...],
    overlap: RegisterRow,
) -> str:
    parts = []
    if overlap.light is Light.FAIL:
        parts.append(
            f"{counted(int(overlap.statistic or 0), 'entity is', 'entities are')} in both fitting and test samples"
        )
    elif overlap.light is Light.NOT_EVALUATED:
        parts.append("overlap of customers between fitting and test could not be evaluated")
    breached = [r.segment for r in contract if r.test_id == "data.contract" and r.light is Light.FAIL]
    if breached:
        parts.append(f"the contract of {listed(breached)} is breached beyond its tolerance")
    thin = with_light((*missing, *flag), Light.NOT_EVALUATED)
    bad = with_light((*missing, *flag), Light.FAIL)
    if bad:
        parts.append(f"missing values breach the limit in {listed(sorted({r.segment for r in bad}))}")
    if thin:
        unknown = len({r.segment for r in thin} - {"all"})
        parts.append(f"missing values could not be judged in {counted(unknown, 'input')}")
    top = max(missing, key=lambda r: r.statistic or 0.0, default=None)
    quarantined = sum(int(t["quarantined"]) for t in inputs.contract["tables"].values())
    share = (
        "no input" if top is None or not top.statistic else f"at most {printed(top.statistic, 'share')} ({top.segment})"
    )
    parts.append(f"{share} is missing in the test sample and {some(quarantined, 'row').lower()} went to quarantine")
    return sentence(parts)


def _would_change(inputs: EvidenceInput, overlap: RegisterRow) -> str:
    limit = limit_phrase(inputs.spec.policy.limits["data.missing"].text, "share")
    text = f"A missing share outside its limits ({limit}), or a missing flag that moves."
    if overlap.light is Light.NOT_EVALUATED:
        return f"{text} Declaring the customer key (data.entity) would make overlap testable."
    return text

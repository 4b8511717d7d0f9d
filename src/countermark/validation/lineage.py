"""C1 data lineage: where the rows come from, what was left out, and whether totals and digests agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from countermark.errors import EvidenceError
from countermark.records.evidence import Block, Facts, Figure, Paragraph, RegisterRow, Series, Table
from countermark.validation.context import PackContext
from countermark.validation.inputs import EvidenceInput, SectionEvidence, Statistic
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, fact
from countermark.validation.sentences import printed

_VISIBLE = 0.001
"""Exclusions of a smaller share cannot be seen in a drawing; the table holds them."""


def lineage_evidence(inputs: EvidenceInput) -> SectionEvidence:
    """C1, computed part: counts from source to samples, control totals, digests."""
    waterfall = tuple(inputs.dataset["waterfall"])
    kept = sum(sample.n for sample in inputs.samples.values())
    rows_in = int(inputs.dataset["rows_in"])
    totals = _totals(inputs)
    digests = _digest_checks(inputs)
    wrong = [check for check in digests if check["verdict"] == "differs"]
    reconciliation, said = _reconciliation_row(inputs, totals)
    hashes = inputs.row(
        Statistic(
            "data.hash",
            "C1",
            "digests that differ",
            sample="all",
            n=len(digests),
            value=float(len(wrong)),
            limit="data.hash",
            fmt="int",
        )
    )
    sentence = f"{counted(kept, 'row')} of {counted(rows_in, 'row')} read are used; {said}"
    sentence += f"; {counted(len(wrong), 'digest differs', 'digests differ')}." if wrong else "; every digest agrees."
    blocks: tuple[Block, ...] = (
        _flow(inputs, waterfall, kept),
        *((_waterfall(waterfall, rows_in, kept),) if rows_in - kept > _VISIBLE * rows_in else ()),
        _exclusions(waterfall, rows_in, kept),
        _totals_table(totals),
        _digest_table(digests, len(wrong)),
    )
    return SectionEvidence(
        code="C1",
        conclusion=sentence,
        would_change="Control totals from the owner of the data." if not totals else "A total or digest that differs.",
        rows=(reconciliation, hashes),
        blocks=blocks,
        extras={"rows_in": rows_in, "rows_used": kept, "digests_differ": len(wrong)},
    )


def _totals(inputs: EvidenceInput) -> tuple[dict[str, Any], ...]:
    """Control totals as the ingest stage compared them; every declared one must be there."""
    found = {entry["name"]: entry for entry in inputs.contract["source"].get("reconcile", ())}
    for name in inputs.spec.source.reconcile:
        if name not in found:
            raise EvidenceError(
                f"control total '{name}' of source '{inputs.spec.source.name}' was not compared",
                expected="every total under 'reconcile' in contract.json",
                hint="run the ingest and contract stages again",
            )
    return tuple(dict(found[name]) for name in inputs.spec.source.reconcile)


def _reconciliation_row(inputs: EvidenceInput, totals: tuple[dict[str, Any], ...]) -> tuple[RegisterRow, str]:
    # A control total of zero that is not met has no relative difference: it counts as wholly different.
    differences = [1.0 if entry["difference"] is None else float(entry["difference"]) for entry in totals]
    worst = max(differences, default=None)
    row = inputs.row(
        Statistic(
            "data.reconciliation",
            "C1",
            "largest relative difference to control totals",
            sample="all",
            n=int(inputs.dataset["rows_in"]),
            value=worst,
            limit="data.reconciliation",
            undefined=None if totals else "the owner of the data gave no control totals",
            fmt="share",
        )
    )
    if worst is None:
        return row, "no control total is declared, so nothing could be reconciled"
    return row, f"the largest difference to {counted(len(totals), 'control total')} is {printed(worst, 'share')}"


def _digest_checks(inputs: EvidenceInput) -> tuple[dict[str, str], ...]:
    source = inputs.contract["source"]
    checks = [("Modelling data set (content)", str(inputs.dataset["content_digest"]), inputs.data_hash)]
    declared = inputs.spec.source.sha256
    if declared is not None:
        checks.append((f"Source '{inputs.spec.source.name}' (bytes)", declared, str(source["digest"])))
    return tuple(
        {"object": name, "expected": want, "found": got, "verdict": "same" if want == got else "differs"}
        for name, want, got in checks
    )


def _flow(inputs: EvidenceInput, waterfall: tuple[Mapping[str, Any], ...], kept: int) -> Figure:
    """Rows after every step that was counted, and the samples that the rows used are divided into."""
    first = int(waterfall[0]["rows"]) if waterfall else int(inputs.dataset["rows_in"])
    steps = [(str(step["step"]), int(step["rows"])) for step in waterfall] or [("rows read", first)]
    steps.append(("rows used", kept))
    samples = [(sample.label, sample.n) for sample in inputs.samples.values()]
    told, divided = (", ".join(counted(n, f"row in {x}", f"rows in {x}") for x, n in part) for part in (steps, samples))
    return Figure(
        id="C1-F1",
        chart="flow",
        caption=f"From source to samples, {counted(kept, 'row')} of {counted(first, 'row')} remain.",
        alt=f"Boxes in order with row counts: {told}; divided into {divided}.",
        y_label="Rows",
        y_format="int",
        series=tuple(
            Series(name=name, mark="bars", x=tuple(x for x, _ in part), y=tuple(float(n) for _, n in part))
            for name, part in (("rows", steps), ("samples", samples))
        ),
    )


def _waterfall(waterfall: tuple[Mapping[str, Any], ...], rows_in: int, kept: int) -> Figure:
    drops = [(str(step["step"]), int(step["dropped"])) for step in waterfall if int(step["dropped"])]
    told = ", ".join(f"{name} removes {count}" for name, count in drops) or "no step removes a row"
    return Figure(
        id="C1-F2",
        chart="waterfall",
        caption=f"Exclusions take {counted(rows_in - kept, 'row')} of {counted(rows_in, 'row')} read.",
        alt=f"Waterfall that starts at {rows_in} rows read: {told}; {kept} rows remain.",
        y_label="Rows",
        y_format="int",
        series=(
            Series(
                name="rows",
                mark="bars",
                x=("read", *(name for name, _ in drops)),
                y=(float(rows_in), *(-float(count) for _, count in drops)),
            ),
        ),
    )


def _exclusions(waterfall: tuple[Mapping[str, Any], ...], rows_in: int, kept: int) -> Table:
    dropped = sum(int(step["dropped"]) for step in waterfall)
    agrees = "agree" if rows_in - dropped == kept else f"do not agree: {counted(rows_in - dropped, 'row')} expected"
    return Table(
        id="C1-T2",
        caption=f"Every step with its reason: {counted(rows_in, 'row')} read, "
        f"{counted(dropped, 'dropped', 'dropped')}, {counted(kept, 'used', 'used')}; the counts {agrees}.",
        columns=columns(
            ("step", "Step", "text"),
            ("rows", "Rows left", "int"),
            ("dropped", "Dropped", "int"),
            ("reason", "Reason", "text"),
        ),
        rows=tuple(
            {
                "step": str(step["step"]),
                "rows": int(step["rows"]),
                "dropped": int(step["dropped"]),
                "reason": str(step["reason"]) or None,
            }
            for step in waterfall
        ),
    )


def _totals_table(totals: tuple[dict[str, Any], ...]) -> Table:
    return Table(
        id="C1-T3",
        caption=f"{counted(len(totals), 'control total')} of the data's owner against what was read.",
        columns=columns(
            ("name", "Total", "text"),
            ("expected", "Declared", "number"),
            ("computed", "Read", "number"),
            ("difference", "Difference", "share"),
            ("unreadable", "Values that are no number", "int"),
        ),
        rows=tuple(
            {key: entry[key] for key in ("name", "expected", "computed", "difference", "unreadable")}
            for entry in totals
        ),
        empty="No control total is declared; reconciliation is Not evaluated.",
    )


def _digest_table(checks: tuple[dict[str, str], ...], wrong: int) -> Table:
    return Table(
        id="C1-T4",
        caption=f"{counted(len(checks), 'digest')} compared, {wrong or 'none'} {'differs' if wrong < 2 else 'differ'}.",
        columns=columns(
            ("object", "Object", "text"),
            ("expected", "Recorded or declared", "hash"),
            ("found", "Found", "hash"),
            ("verdict", "Verdict", "text"),
        ),
        rows=tuple(dict(check) for check in checks),
    )


def lineage_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """C1, written part: owner, licence, personal data basis, point-in-time rule."""
    if computed is None:
        raise EvidenceError("C1 needs its computed part", hint="the registry must give C1 a 'compute' function")
    source, plan = context.spec.source, context.spec.data
    facts = Facts(
        id="C1-T1",
        caption=f"Source '{source.name}', owned by {source.owner}.",
        facts=(
            fact("Source", source.title),
            fact("Kind", source.kind),
            fact("Owner", source.owner),
            fact("Licence", source.licence),
            fact("Personal data: basis", source.personal_data),
            fact("Synthetic", "yes" if source.synthetic else "no"),
            fact("As of", source.as_of or "not recorded", "date" if source.as_of else "text"),
            fact("Time zone", source.time_zone),
            fact("Currency", source.currency),
            fact("Table of training rows", plan.table),
            fact("Observation date", plan.time or plan.observed_at or "none in the data"),
            fact("Feature views", ", ".join(context.spec.feature_views) or "none"),
        ),
    )
    views = bool(context.spec.feature_views)
    note = Paragraph(
        text="Point in time: a row of a feature view is used only if its event time, and the time it became known, are "
        "not after the observation date."
        if views
        else "Point in time: inputs are columns of the training row itself; that they were known at the decision is "
        "the data owner's word (D2), not a computed fact."
    )
    estimated = source.estimated_vintage
    extra = () if estimated is None else (Paragraph(text=f"Dates are estimated: {estimated.note}"),)
    blocks = (narrative_block("data", context.answers), facts, note, *extra, *computed.blocks)
    return replace(computed, blocks=blocks, so_what="Counts below are of rows after these exclusions.")

"""B1 inventory and tiering, B2 purpose, permitted use and limits, B3 scope and independence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from countermark.config.kinds import live_measures
from countermark.config.spec import Level, ModelSpec, Tiering, UseLimit
from countermark.errors import EvidenceError
from countermark.records.evidence import Block, Fact, Facts, Figure, Format, Paragraph, Scalar, Table
from countermark.records.formats import format_interval, format_value
from countermark.validation.amounts import value_format
from countermark.validation.context import PackContext
from countermark.validation.inputs import EvidenceInput, Sample, SectionEvidence, Statistic
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, fact, named, same_person

LEVELS: tuple[Level, ...] = ("low", "medium", "high")
_SCORE: dict[Level, int] = {"low": 1, "medium": 2, "high": 3}
_DEPTH = {
    1: "Every section of the standard, a challenger, rerun from raw data before release; reviewed at least yearly.",
    2: "Every gating section and a challenger; reviewed at least every two years.",
    3: "Every gating section; reviewed at least every three years.",
}


def tier_of(exposure: Level, purpose: Level) -> int:
    """Tier 1 (highest) to 3: exposure times purpose, each low 1, medium 2, high 3.

    Product 6 or 9 is tier 1, 3 or 4 is tier 2, 1 or 2 is tier 3.
    """
    product = _SCORE[exposure] * _SCORE[purpose]
    return 1 if product >= 6 else 2 if product >= 3 else 3


def inventory_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """B1: why this is a model, its tier, and the depth that the tier asks for."""
    del computed
    tiering = context.spec.tiering
    tier = tier_of(tiering.exposure, tiering.purpose)
    product = _SCORE[tiering.exposure] * _SCORE[tiering.purpose]
    row = context.register.row(
        Statistic(
            "tier.reproduces",
            "B1",
            "recorded tier against exposure x purpose",
            sample="spec",
            n=1,
            value=None if tiering.tier is None else float(abs(tiering.tier - tier)),
            limit=None if tiering.tier is None else "tier.reproduces",
            fmt="int",
        )
    )
    if tiering.tier is None:
        sentence = (
            f"Exposure times purpose gives tier {tier}; the spec records no tier of the inventory to compare with."
        )
    elif tiering.tier == tier:
        sentence = f"Tier {tier}, as recorded in the inventory: exposure times purpose reproduces it."
    else:
        sentence = f"The inventory records tier {tiering.tier}, exposure times purpose gives tier {tier}."
    risk = Facts(
        id="B1-T1",
        caption=f"Inherent risk: exposure {tiering.exposure} × purpose {tiering.purpose} = {product}, tier {tier}.",
        facts=(
            fact("Exposure", tiering.exposure),
            fact("Purpose", tiering.purpose),
            fact("Complexity", tiering.complexity),
            fact("Interconnection", tiering.interconnection),
            fact("Data quality risk", tiering.data_quality),
            fact("Tier", tier, "int"),
            fact("Required depth", _DEPTH[tier]),
        ),
    )
    return SectionEvidence(
        code="B1",
        conclusion=sentence,
        would_change="A change of exposure or purpose in the inventory.",
        so_what=f"The tier sets the depth of this validation: {_DEPTH[tier][0].lower()}{_DEPTH[tier][1:]}",
        rows=(row,),
        blocks=(
            narrative_block("model", context.answers),
            Paragraph(text=f"Is it a model: {tiering.is_model}"),
            risk,
            _matrix(tiering.exposure, tiering.purpose, tier),
            _dependencies(tiering),
        ),
        extras={"tier": tier},
    )


def _matrix(exposure: Level, purpose: Level, tier: int) -> Figure:
    rows = tuple(reversed(LEVELS))
    return Figure(
        id="B1-F1",
        chart="matrix",
        caption=f"Exposure {exposure} and purpose {purpose} make tier {tier}.",
        alt=f"Matrix of exposure by purpose with tiers 1 to 3; the cell exposure {exposure}, purpose {purpose} is "
        f"marked and holds tier {tier}.",
        x_label="Purpose",
        y_label="Exposure",
        rows=rows,
        columns=LEVELS,
        cells=tuple(tuple(float(r == exposure and c == purpose) for c in LEVELS) for r in rows),
        cell_notes=tuple(tuple(f"tier {tier_of(r, c)}" for c in LEVELS) for r in rows),
        size="half",
    )


def _dependencies(tiering: Tiering) -> Table:
    return Table(
        id="B1-T2",
        caption=_dependency_caption(len(tiering.upstream), len(tiering.downstream)),
        columns=columns(("direction", "Direction", "text"), ("name", "Model or system", "text")),
        rows=(
            *({"direction": "upstream", "name": name} for name in tiering.upstream),
            *({"direction": "downstream", "name": name} for name in tiering.downstream),
        ),
        empty="No upstream or downstream model is declared.",
    )


def _dependency_caption(upstream: int, downstream: int) -> str:
    if not upstream and not downstream:
        return "The model stands alone."
    return f"{counted(upstream, 'upstream dependency', 'upstream dependencies')}, {downstream or 'none'} downstream."


# -- B2 -----------------------------------------------------------------------------------------------------


def use_evidence(inputs: EvidenceInput) -> SectionEvidence:
    """B2, computed part: the live value of every declared use limit on the test sample."""
    sample = inputs.test
    rows: list[dict[str, Scalar]] = []
    breached = 0
    unknown: list[str] = []
    for limit in inputs.spec.purpose.limits:
        value, inside = _live(limit, inputs, sample)
        breached += value is not None and not inside
        unknown += [limit.measure] if value is None else []
        rows.append(
            {
                "text": limit.text,
                "measure": limit.measure,
                "minimum": limit.minimum,
                "maximum": limit.maximum,
                "value": value,
                "reading": "rows outside" if limit.measure in sample.features else "value",
                "style": value_format(inputs.spec),
                "inside": "no live value" if value is None else "inside" if inside else "breached",
            }
        )
    reason = None if rows else "no use limit is declared in the spec"
    if unknown and not breached:
        reason = "no live value of " + ", ".join(unknown)
    row = inputs.row(
        Statistic(
            "use.limits",
            "B2",
            "use limits breached",
            sample=sample.role,
            n=sample.n,
            events=sample.events,
            value=float(breached) if rows else None,
            limit="use.limits",
            undefined=reason,
            fmt="int",
        )
    )
    if reason is not None:
        sentence = f"Use limits cannot be checked: {reason}."
    elif breached:
        sentence = f"{breached} of {counted(len(rows), 'use limit')} {'is' if breached == 1 else 'are'} breached."
    else:
        few = {1: "The one use limit holds", 2: "Both use limits hold"}
        held = few.get(len(rows), f"All {len(rows)} use limits hold")
        sentence = f"{held} on the {sample.label} sample: {_live_values(rows)}."
    return SectionEvidence(
        code="B2",
        conclusion=sentence,
        would_change="A live value that leaves its bounds." if rows else "Declaring a use limit with bounds.",
        rows=(row,),
        blocks=(_limit_table(sentence, sample, rows),),
        extras={"breached": breached, "declared": len(rows)},
    )


def _limit_table(sentence: str, sample: Sample, rows: list[dict[str, Scalar]]) -> Table:
    return Table(
        id="B2-T3",
        caption=f"{sentence.rstrip('.')} ({sample.label}, {counted(sample.n, 'row')}).",
        columns=columns(
            ("text", "Limit", "text"),
            ("measure", "Monitor", "text"),
            ("allowed", "Allowed", "text"),
            ("today", "Today", "text"),
            ("inside", "Verdict", "text"),
        ),
        rows=tuple(row | {"allowed": _allowed(row), "today": _today(row)} for row in rows),
        empty="No use limit is declared in the spec.",
    )


def _allowed(row: dict[str, Scalar]) -> str:
    """The bounds of a use limit in the unit of what it measures."""
    low, high = row["minimum"], row["maximum"]
    style: Format = "share" if row["reading"] == "value" and row["style"] == "share" else "number"
    if isinstance(low, int | float) and isinstance(high, int | float):
        return format_interval(float(low), float(high), style)
    if low is None and high is None:
        return "any value"
    return f"at least {format_value(low, style)}" if high is None else f"at most {format_value(high, style)}"


def _today(row: dict[str, Scalar]) -> str:
    """The live value of a use limit; of an input, which rows lie outside."""
    if row["value"] is None:
        return "no live value"
    if row["reading"] == "value":
        return format_value(row["value"], "share" if row["style"] == "share" else "number")
    return f"{format_value(row['value'], 'share')} of rows outside" if row["value"] else "no row outside"


def _live_values(rows: list[dict[str, Scalar]]) -> str:
    told = []
    for row in rows[:3]:
        measure, today = str(row["measure"]), _today(row)
        told.append(f"{measure.replace('_', ' ')} {today}" if row["reading"] == "value" else f"{today} for {measure}")
    return ", ".join(told) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _live(limit: UseLimit, inputs: EvidenceInput, sample: Sample) -> tuple[float | None, bool]:
    """The live value (None without any row) and whether it is inside; for an input, the share of rows outside."""
    measured = live_measures(inputs.spec)
    if limit.measure in measured:
        if not sample.n:
            return None, False
        value = _measured(limit.measure, inputs, sample)
        return value, _inside(value, limit)
    column = sample.features.get(limit.measure)
    if column is None or column.dtype.kind == "O":
        raise EvidenceError(
            f"use limit '{limit.text}' measures '{limit.measure}', which is no numeric input",
            expected=", ".join(f"'{name}'" for name in measured)
            + " or one of: "
            + ", ".join(sorted(k for k, v in sample.features.items() if v.dtype.kind != "O")),
            hint="change 'purpose.limits' of the model",
        )
    known = np.asarray(column, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return None, False
    outside = _share_outside(known, limit)
    return outside, outside == 0.0


def _measured(measure: str, inputs: EvidenceInput, sample: Sample) -> float:
    match measure:
        case "approval_rate":
            return float(np.mean(sample.p < inputs.spec.decision_policy.cutoff))
        case "outcome_rate":
            return sample.events / sample.n
        case "mean_estimate":
            return float(np.mean(sample.p))
        case _:
            return float(np.mean(sample.y))


def _inside(value: float, limit: UseLimit) -> bool:
    return (limit.minimum is None or value >= limit.minimum) and (limit.maximum is None or value <= limit.maximum)


def _share_outside(known: NDArray[np.float64], limit: UseLimit) -> float:
    low = -np.inf if limit.minimum is None else limit.minimum
    high = np.inf if limit.maximum is None else limit.maximum
    return float(np.mean((known < low) | (known > high)))


def _decided(spec: ModelSpec) -> str:
    if spec.is_amount:
        return "The model supports one decision by its estimate; it has no cut-off."
    cutoff = format_value(spec.decision_policy.cutoff, "share")
    return f"The model supports one decision; the cut-off in use is {cutoff}."


def _cutoff(spec: ModelSpec) -> tuple[Fact, ...]:
    if spec.is_amount:
        return (fact("Cut-off", "none: the model estimates an amount and declines nobody"),)
    decision = spec.decision_policy
    return (
        fact("Cut-off", decision.cutoff, "share"),
        fact("Rationale of the cut-off", decision.cutoff_rationale),
        fact("Decision policy", f"{decision.name} {decision.version}"),
    )


def purpose_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """B2, written part: decision, population, permitted and prohibited uses, who is affected."""
    if computed is None:
        raise EvidenceError("B2 needs its computed part", hint="the registry must give B2 a 'compute' function")
    spec = context.spec
    purpose, outcome = spec.purpose, spec.outcome
    horizon = "lifetime" if outcome.horizon_months is None else counted(outcome.horizon_months, "month")
    facts = Facts(
        id="B2-T1",
        caption=_decided(spec),
        facts=(
            fact("Decision", purpose.decision),
            fact("Population", purpose.population),
            fact("Horizon", horizon),
            *_cutoff(spec),
            fact("Who is affected", purpose.affected),
            fact("Natural persons", "yes" if purpose.natural_persons else "no"),
            fact("Can decline", "yes" if purpose.can_decline else "no"),
            fact("Solely automated", "yes" if purpose.automated else "no"),
        ),
    )
    uses = Table(
        id="B2-T2",
        caption=f"{counted(len(purpose.permitted), 'permitted use')}, {len(purpose.prohibited)} prohibited.",
        columns=columns(("use", "Use", "text"), ("status", "Status", "text")),
        rows=(
            *({"use": use, "status": "permitted"} for use in purpose.permitted),
            *({"use": use, "status": "prohibited"} for use in purpose.prohibited),
        ),
    )
    blocks: tuple[Block, ...] = (narrative_block("purpose", context.answers), facts, uses, *computed.blocks)
    return replace(computed, blocks=blocks, so_what="Use outside this list is use without validation.")


# -- B3 -----------------------------------------------------------------------------------------------------


def scope_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """B3: who developed, who validated, what was planned and what was done."""
    del computed
    who = context.spec.identity
    validator = who.validator if named(who.validator) else None
    same = validator is not None and same_person(validator, who.developer)
    row = context.register.row(
        Statistic(
            "independence.same_person",
            "B3",
            "validator is the developer",
            sample="spec",
            n=1,
            value=None if validator is None else float(same),
            limit="independence.same_person",
            undefined="no validator is named" if validator is None else None,
            fmt="int",
        )
    )
    absent = [s for s in context.plan if s.status == "not_computed"]
    coverage = context.register.row(
        Statistic(
            "scope.coverage",
            "B3",
            "planned sections that this pack does not hold",
            sample="pack",
            n=len(context.plan),
            value=float(len(absent)),
            fmt="int",
        )
    )
    if validator is None:
        sentence = "No validator is named, so independence cannot be judged."
    elif same:
        sentence = "The named validator is the developer: this is not an independent validation."
    else:
        sentence = "The named validator is not the developer."
    sentence += f" {len(absent)} of {len(context.plan)} planned sections are not computed by this build."
    reliance = Paragraph(
        text="Every number of this pack is computed by one program from the frozen scorer and the data named in A1. "
        "Developer and validator share that program, its data and its seeds. What a person did beyond it is said only "
        "by that person, above. Share of developer tests performed again from raw data: not computed (D3)."
    )
    return SectionEvidence(
        code="B3",
        conclusion=sentence,
        would_change="Naming a validator who is not the developer.",
        so_what="Without an independent validator the pack is a developer's self-assessment."
        if validator is None or same
        else "Independence of persons is a condition of the opinion, not a proof of challenge.",
        rows=(row, coverage),
        blocks=(narrative_block("scope", context.answers), _raci(context), reliance, _coverage(context)),
    )


def _coverage(context: PackContext) -> Table:
    absent = [s for s in context.plan if s.status == "not_computed"]
    return Table(
        id="B3-T2",
        caption=f"Planned against done: {len(absent)} of {len(context.plan)} sections are not computed; "
        "these, and those that do not apply, are listed.",
        columns=columns(
            ("code", "Section", "text"),
            ("title", "Title", "text"),
            ("done", "Done", "text"),
            ("why", "What it will hold, or why it does not apply", "text"),
        ),
        rows=tuple(
            {
                "code": s.code,
                "title": s.title,
                "done": {"computed": "yes", "not_computed": "no", "not_applicable": "does not apply"}[s.status],
                "why": _held(s.line),
            }
            for s in context.plan
            if s.status != "computed"
        ),
        empty="Every planned section is computed.",
    )


def _held(line: str) -> str:
    """What an absent section will hold, without the words that every line of the table shares."""
    told = line.removesuffix(" This build does not compute it.").removeprefix("This section will hold ")
    return f"{told[:1].upper()}{told[1:]}"


def _raci(context: PackContext) -> Table:
    who = context.spec.identity
    validator = who.validator or "not named"
    activities = (
        ("Define purpose and limits", who.owner, who.owner, who.developer, validator),
        ("Develop and document", who.developer, who.owner, validator, None),
        ("Validate", validator, "Head of validation", who.developer, who.owner),
        ("Decide on use", "Committee", who.owner, validator, who.developer),
        ("Answer findings", who.owner, who.owner, who.developer, validator),
    )
    keys = ("activity", "responsible", "accountable", "consulted", "informed")
    return Table(
        id="B3-T1",
        caption=f"Who answers for what: owner {who.owner}, developer {who.developer}, validator {validator}.",
        columns=columns(*((key, key.capitalize(), "text") for key in keys)),
        rows=tuple(dict(zip(keys, row, strict=True)) for row in activities),
    )

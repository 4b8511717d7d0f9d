"""The pack stage: from evidence to a sealed pack.

It adds identity, narrative, findings, opinion and summary to evidence that is already computed, so that a change
of wording recomputes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from countermark.config.spec import ModelSpec
from countermark.errors import EvidenceError
from countermark.records.evidence import (
    Block,
    Facts,
    Figure,
    Finding,
    Pack,
    RegisterRow,
    Section,
    Table,
    section_light,
)
from countermark.records.lights import Light
from countermark.records.register import registered_tests
from countermark.validation.catalogue import questions
from countermark.validation.collect import Evidence, check_section, policy_digest
from countermark.validation.context import PackContext, PlannedSection
from countermark.validation.findings import draw_up
from countermark.validation.identity import pack_identity
from countermark.validation.inputs import Register, SectionEvidence, Statistic
from countermark.validation.narrative import narrative_block
from countermark.validation.opinion import propose
from countermark.validation.registry import SECTIONS, SectionEntry
from countermark.validation.sealing import evidence_digest, results_digest
from countermark.validation.summary import summarise

PACK_ONLY_KEYS = ("decide_by", "identity", "limitations", "monitoring", "tiering", "title", "version")
"""Keys of the spec that no evidence depends on: the evidence stage leaves them out of its parameters."""


@dataclass(frozen=True, slots=True)
class Previous:
    """What the last published release left.

    Attributes:
        baseline: Parsed baseline: key numbers, version, as-of date.
        findings: Findings of its pack, to carry forward.
    """

    baseline: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()


def pack(
    computed: Evidence,
    spec: ModelSpec,
    *,
    digests: Mapping[str, str],
    narrative: Mapping[str, str | None],
    previous: Previous | None = None,
    sections: Sequence[SectionEntry] = SECTIONS,
) -> Pack:
    """Write and seal the pack.

    Args:
        computed: The evidence.
        spec: The resolved spec; may differ from the one the evidence saw in ``PACK_ONLY_KEYS`` alone.
        digests: SHA-256 by name: data, lock, policy, scorer, semantics, spec; others are printed too.
        narrative: Answers by key, from ``parse_narrative``.
        previous: Baseline and findings of the last published release; None at first validation.
        sections: The registry.

    Raises:
        EvidenceError: If evidence and spec are not of one model, date and policy, or a section cannot be written.
    """
    _check_match(computed, spec)
    before = Previous() if previous is None else previous
    by_code = {section.code: section.value() for section in computed.sections}
    plan = _plan(spec, by_code, sections)
    register = Register(
        spec=spec, data_hash=computed.data_hash, semantics=dict(computed.semantics), previous=before.baseline
    )
    written_codes = {entry.code for entry in sections if entry.compute is None}
    rows = tuple(row for section in by_code.values() for row in section.rows)
    rows += _missing_gates(register, rows, plan, leave=written_codes & _written_tests(plan))
    bound = _bound(digests, computed, spec, rows)
    context = PackContext(
        register=register,
        digests=bound,
        answers=narrative,
        plan=plan,
        rows=rows,
        extras={code: section.extras for code, section in by_code.items()},
        short_titles={entry.code: entry.short for entry in sections},
        identity=pack_identity(spec),
    )
    texts, context = _write_body(context, by_code, sections)
    raised = tuple(f for section in by_code.values() for f in section.findings)
    context = replace(context, findings=draw_up(context.rows, raised, spec, before.findings))
    texts, context = _write_last(texts, context, by_code, sections)
    printed = _sections(texts, context)
    summary = summarise(context, printed, test_role=computed.test_role)
    return Pack(
        identity=dict(context.identity),
        digests=bound,
        as_of=spec.as_of,
        summary=summary,
        sections=printed,
        findings=context.findings,
        register_rows=context.rows,
        policy=spec.policy.model_dump(mode="json"),
        spec=spec.model_dump(mode="json"),
    ).sealed()


def _check_match(computed: Evidence, spec: ModelSpec) -> None:
    for what, here, there in (
        ("model", spec.name, computed.model),
        ("kind", spec.kind, computed.kind),
        ("as-of date", spec.as_of, computed.as_of),
        ("policy digest", policy_digest(spec.policy), computed.policy),
    ):
        if here != there:
            raise EvidenceError(
                f"the evidence was computed for another {what}",
                expected=here,
                got=there,
                hint="run the evidence stage again",
            )


def _bound(
    given: Mapping[str, str], computed: Evidence, spec: ModelSpec, rows: Sequence[RegisterRow]
) -> dict[str, str]:
    """The given digests, those of results and evidence, and a refusal where one contradicts the evidence."""
    seen = {"data": computed.data_hash, "scorer": computed.scorer, "policy": computed.policy}
    if computed.challenger is not None:
        seen["challenger"] = computed.challenger
    for name, digest in seen.items():
        if given.get(name, digest) != digest:
            raise EvidenceError(
                f"the digest of '{name}' is not the one that the evidence saw",
                expected=digest,
                got=given[name],
                hint="run the evidence stage again",
            )
    challenger = {} if computed.challenger is None else {"challenger": computed.challenger}
    return {
        **given,
        **challenger,
        "results": results_digest(spec, computed),
        "evidence": evidence_digest(rows, spec.policy),
    }


def _plan(
    spec: ModelSpec, by_code: Mapping[str, SectionEvidence], sections: Sequence[SectionEntry]
) -> tuple[PlannedSection, ...]:
    plan = []
    for entry in sections:
        line = entry.inapplicable_line(spec.kind)
        found = by_code.get(entry.code)
        if line is not None:
            plan.append(PlannedSection(entry.code, entry.title, "not_applicable", line))
        elif found is not None and not found.applicable:
            plan.append(PlannedSection(entry.code, entry.title, "not_applicable", found.conclusion))
        elif found is None and entry.write is None:
            plan.append(PlannedSection(entry.code, entry.title, "not_computed", entry.absent_line))
        else:
            plan.append(PlannedSection(entry.code, entry.title, "computed", entry.holds))
    return tuple(plan)


def _written_tests(plan: Sequence[PlannedSection]) -> set[str]:
    return {section.code for section in plan if section.status == "computed"}


def _missing_gates(
    register: Register, rows: Sequence[RegisterRow], plan: Sequence[PlannedSection], *, leave: set[str]
) -> tuple[RegisterRow, ...]:
    """A Not evaluated row for every gating test that no section recorded: what is absent must block, not vanish.

    Args:
        leave: Sections whose rows come later.
    """
    recorded = {row.test_id for row in rows}
    status = {section.code: section for section in plan}
    missing = []
    for test_id in register.spec.policy.gating:
        entry = registered_tests()[test_id]
        if test_id in recorded or entry.section in leave or not register.gates(test_id):
            continue
        home = status.get(entry.section)
        reason = f"section {entry.section} gave no result for it"
        if home is None or home.status == "not_computed":
            reason = f"this build does not compute section {entry.section}"
        elif home.status == "not_applicable":
            reason = home.line
        missing.append(
            register.row(
                Statistic(
                    test_id, entry.section, entry.title, sample="none", n=0, value=None, undefined=reason, gating=True
                )
            )
        )
    return tuple(missing)


Texts: TypeAlias = dict[str, SectionEvidence]


def _write_body(
    context: PackContext, by_code: Mapping[str, SectionEvidence], sections: Sequence[SectionEntry]
) -> tuple[Texts, PackContext]:
    texts: Texts = dict(by_code)
    fresh: tuple[RegisterRow, ...] = ()
    for entry in sections:
        found = by_code.get(entry.code)
        if entry.write is None:
            texts |= _with_narrative(entry, found, context)
            continue
        if entry.when != "body" or entry.inapplicable_line(context.spec.kind) is not None:
            continue
        text = entry.write(context, found)
        check_section(entry.code, text)
        if found is not None and text.rows != found.rows:
            raise EvidenceError(f"section {entry.code} changes its rows while it is written")
        fresh += text.rows if found is None else ()
        texts[entry.code] = text
    return texts, replace(context, rows=_in_order(context.rows + fresh, sections))


def _with_narrative(entry: SectionEntry, found: SectionEvidence | None, context: PackContext) -> Texts:
    """What people wrote about a section that nothing else writes, computed or not: never dropped."""
    blocks = tuple(narrative_block(q.key, context.answers) for q in questions().values() if q.section == entry.code)
    if found is not None:
        return {entry.code: replace(found, blocks=(*blocks, *found.blocks))}
    if not blocks:
        return {}
    return {entry.code: SectionEvidence(code=entry.code, conclusion=entry.absent_line, blocks=blocks)}


def _write_last(
    texts: Texts, context: PackContext, by_code: Mapping[str, SectionEvidence], sections: Sequence[SectionEntry]
) -> tuple[Texts, PackContext]:
    """The findings log adds its row, then the opinion is proposed, then everything that prints either."""
    texts = dict(texts)
    last = [entry for entry in sections if entry.when == "last" and entry.write is not None]
    log = [entry for entry in last if entry.code == "I2"]
    for group in (log, [entry for entry in last if entry.code != "I2"]):
        for entry in group:
            if entry.write is not None:
                texts[entry.code] = entry.write(context, by_code.get(entry.code))
                check_section(entry.code, texts[entry.code])
        if group is log:
            rows = context.rows + tuple(row for entry in log for row in texts[entry.code].rows)
            rows += _missing_gates(context.register, rows, context.plan, leave=set())
            rows = _in_order(rows, sections)
            context = replace(context, rows=rows, opinion=propose(rows, context.spec))
    return texts, context


def _in_order(rows: Sequence[RegisterRow], sections: Sequence[SectionEntry]) -> tuple[RegisterRow, ...]:
    place = {entry.code: i for i, entry in enumerate(sections)}
    return tuple(sorted(rows, key=lambda row: place.get(row.section, len(place))))


def numbered(code: str, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Tables and figures of a section numbered in reading order, without the gaps of what had no data."""
    count = {"T": 0, "F": 0}
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Table | Facts | Figure):
            letter = "F" if isinstance(block, Figure) else "T"
            count[letter] += 1
            block = block.model_copy(update={"id": f"{code}-{letter}{count[letter]}"})
        found.append(block)
    return tuple(found)


def _sections(texts: Texts, context: PackContext) -> tuple[Section, ...]:
    printed = []
    for planned in context.plan:
        own = tuple(row for row in context.rows if row.section == planned.code)
        text = texts.get(planned.code)
        if planned.status == "computed" and text is not None:
            printed.append(
                Section(
                    code=planned.code,
                    title=planned.title,
                    light=section_light(own),
                    conclusion=text.conclusion,
                    would_change=text.would_change,
                    so_what=text.so_what,
                    blocks=numbered(planned.code, text.blocks),
                )
            )
            continue
        light = Light.NOT_EVALUATED if planned.status == "not_computed" else Light.INFORMATION
        if any(row.gating for row in own):
            light = section_light(own)
        blocks = () if text is None else text.blocks
        printed.append(
            Section(
                code=planned.code,
                title=planned.title,
                status=planned.status,
                light=light,
                conclusion=planned.line,
                blocks=blocks,
            )
        )
    return tuple(printed)

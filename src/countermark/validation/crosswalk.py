"""B4: clauses of the spec's jurisdictions, and the sections that hold evidence relevant to them."""

from __future__ import annotations

from dataclasses import dataclass

from countermark.records.evidence import Paragraph, Scalar, Table
from countermark.validation.catalogue import Requirement, requirements
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence, Statistic
from countermark.validation.phrasing import columns, counted, named

_STATUS_ORDER = {"in_force": 0, "guidance": 1, "upcoming": 2, "proposed": 3}
_STATUS_WORD = {"in_force": "in force", "guidance": "guidance", "upcoming": "upcoming", "proposed": "proposed"}


@dataclass(frozen=True, slots=True)
class CrosswalkRow:
    """One clause with the sections that are here and those that are missing."""

    requirement: Requirement
    present: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def gap(self) -> bool:
        """A mandatory clause in force with a mapped section that this pack does not compute."""
        return self.requirement.mandatory and self.requirement.status == "in_force" and bool(self.missing)


def crosswalk(context: PackContext) -> tuple[CrosswalkRow, ...]:
    """Every applicable clause, gaps first, then clauses in force, guidance and what is to come."""
    spec = context.spec
    status = {s.code: s.status for s in context.plan}
    rows = []
    for item in requirements():
        if not item.applies(spec.kind, spec.purpose.jurisdictions, natural_persons=spec.purpose.natural_persons):
            continue
        present = tuple(code for code in item.sections if status.get(code) == "computed")
        missing = tuple(code for code in item.sections if status.get(code) == "not_computed")
        rows.append(CrosswalkRow(item, present, missing))
    return tuple(sorted(rows, key=lambda r: (not r.gap, _STATUS_ORDER[r.requirement.status])))


def crosswalk_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """B4: the crosswalk, gaps first, each gap with its owner."""
    del computed
    spec = context.spec
    rows = crosswalk(context)
    gaps = [row for row in rows if row.gap]
    owner = spec.identity.owner if named(spec.identity.owner) else None
    unowned = 0 if owner is not None else len(gaps)
    reason = (
        None
        if rows
        else "the spec declares no jurisdiction"
        if not spec.purpose.jurisdictions
        else ("the catalogue holds no clause for this kind in the declared jurisdictions")
    )
    register_rows = tuple(
        context.register.row(
            Statistic(
                test_id,
                "B4",
                label,
                sample="catalogue",
                n=len(rows),
                value=float(value) if rows else None,
                limit=test_id,
                undefined=reason,
                fmt="int",
            )
        )
        for test_id, label, value in (
            ("crosswalk.gaps", "mandatory clauses with evidence missing", len(gaps)),
            ("crosswalk.unowned", "gaps without an owner", unowned),
        )
    )
    places = ", ".join(spec.purpose.jurisdictions) or "none declared"
    sentence = (
        f"{len(gaps)} mandatory of {counted(len(rows), 'applicable clause')} {'lacks' if len(gaps) == 1 else 'lack'} "
        "part of the evidence."
        if rows
        else f"No crosswalk: {reason}."
    )
    note = Paragraph(
        text="The crosswalk says where evidence relevant to a clause stands in this pack. It does not say that the "
        "model or the bank meets the clause. Clauses marked 'expert' were written from expert knowledge; check the "
        "article first."
    )
    return SectionEvidence(
        code="B4",
        conclusion=sentence,
        would_change="Computing the missing sections."
        if gaps
        else "A change of the catalogue or of the jurisdictions.",
        so_what="Each gap needs evidence from elsewhere before the clause can be answered." if gaps else None,
        rows=register_rows,
        blocks=(_table(rows, owner, places, reason), note),
        extras={"gaps": len(gaps), "unowned": unowned},
    )


def _table(rows: tuple[CrosswalkRow, ...], owner: str | None, places: str, reason: str | None) -> Table:
    return Table(
        id="B4-T1",
        caption=f"Jurisdictions {places}: {counted(sum(row.gap for row in rows), 'gap')}, listed first; "
        "position as at 22 November 2026.",
        columns=columns(
            ("clause", "Clause", "text"),
            ("status", "Status", "text"),
            ("asks", "Asks (in our words)", "text"),
            ("present", "Evidence relevant to it", "text"),
            ("missing", "Not computed", "text"),
        ),
        rows=tuple(_printed(row, owner) for row in rows),
        empty=f"No clause is mapped: {reason}.",
    )


def _printed(row: CrosswalkRow, owner: str | None) -> dict[str, Scalar]:
    item = row.requirement
    missing = ", ".join(row.missing) or None
    if row.gap:
        missing = f"Gap: {missing}. Owner: {owner or 'none'}"
    return {
        "clause": f"{item.name}: {item.clause}" + ("" if item.verified == "seen" else " (expert)"),
        "status": item.status_text
        if item.status_text.lower().startswith(_STATUS_WORD[item.status])
        else f"{_STATUS_WORD[item.status].capitalize()}. {item.status_text}",
        "asks": item.asks,
        "present": ", ".join(row.present) or "none",
        "missing": missing,
    }

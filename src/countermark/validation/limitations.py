"""I1 limitations and compensating controls, in plain sentences with a size, an owner and an expiry."""

from __future__ import annotations

from countermark.config.spec import Limitation
from countermark.records.evidence import Table
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence, Statistic
from countermark.validation.narrative import narrative_block
from countermark.validation.phrasing import columns, counted, decision_date, named


def limitations_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """I1: every declared limitation; unsized ones are watched, expired controls fail."""
    del computed
    spec = context.spec
    items, day = spec.limitations, decision_date(spec)
    unsized = [i for i, item in enumerate(items, start=1) if not named(item.size)]
    expired = [i for i, item in enumerate(items, start=1) if item.expires is not None and item.expires < day]
    reason = None if items else "the spec declares no limitation"
    rows = tuple(
        context.register.row(
            Statistic(
                test_id,
                "I1",
                label,
                sample="spec",
                n=len(items),
                value=float(len(found)) if items else None,
                limit=test_id,
                undefined=reason,
                fmt="int",
            )
        )
        for test_id, label, found in (
            ("limitation.unsized", "limitations without a size", unsized),
            ("limitation.expired", "controls that have expired", expired),
        )
    )
    sentence = "No limitation is declared."
    if items:
        held = "each with a size and a control that has not expired"
        if unsized or expired:
            held = f"{len(unsized) or 'none'} without a size, {len(expired) or 'none'} expired"
        sentence = f"{counted(len(items), 'limitation')}: {held}."
    return SectionEvidence(
        code="I1",
        conclusion=sentence,
        would_change="A size for each limitation and a control that is still valid.",
        so_what="A committee can weigh a limitation only when it has a size.",
        rows=rows,
        blocks=(narrative_block("limits", context.answers), _table(items, expired)),
    )


def _table(items: tuple[Limitation, ...], expired: list[int]) -> Table:
    return Table(
        id="I1-T1",
        caption="What is not known or not covered, its size, and who bounds its harm until when.",
        columns=columns(
            ("id", "Id", "text"),
            ("text", "Limitation", "text"),
            ("effect", "Effect", "text"),
            ("size", "Size", "text"),
            ("control", "Compensating control", "text"),
            ("tests", "Covers", "text"),
            ("owner", "Owner, expiry", "text"),
        ),
        rows=tuple(
            {
                "id": f"L{i:02d}",
                "text": item.text,
                "effect": item.effect,
                "size": item.size or "not sized",
                "control": item.control,
                "tests": ", ".join(item.tests) or "no test",
                "owner": f"{item.owner}, {item.expires or 'no expiry'}{', expired' if i in expired else ''}",
            }
            for i, item in enumerate(items, start=1)
        ),
        empty="No limitation is declared in the spec.",
    )

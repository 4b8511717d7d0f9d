"""I3 opinion and sign-off: what the tool proposes, and the empty lines that people sign."""

from __future__ import annotations

from countermark.errors import EvidenceError
from countermark.records.evidence import Facts, Paragraph, Table
from countermark.validation.context import PackContext
from countermark.validation.inputs import SectionEvidence
from countermark.validation.narrative import narrative_block
from countermark.validation.opinion import Opinion
from countermark.validation.phrasing import columns, fact
from countermark.validation.sentences import some

SIGNATURE_STATUS = "Draft – unsigned"
_ROLES = ("Model owner", "Developer", "Validator", "Head of validation", "Committee")


def proposed(context: PackContext) -> Opinion:
    """The opinion of the context.

    Raises:
        EvidenceError: If a section asks for it before it was proposed.
    """
    if context.opinion is None:
        raise EvidenceError("the opinion was not proposed yet", hint="sections that print it are written last")
    return context.opinion


def summary_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """A2: page 2 is drawn from the pack's summary record; this section says what it concludes."""
    del computed
    opinion = proposed(context)
    return SectionEvidence(
        code="A2",
        conclusion=f"Proposed: {opinion.verdict}. {' '.join(opinion.why)}",
        would_change="Any change of a gating light.",
    )


def signoff_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """I3: opinion proposed, conditions, validity, and the signature table with empty lines."""
    del computed
    opinion, spec = proposed(context), context.spec
    people = {
        "Model owner": spec.identity.owner,
        "Developer": spec.identity.developer,
        "Validator": spec.identity.validator,
    }
    proposal = Facts(
        id="I3-T1",
        caption=f"The tool proposes: {opinion.verdict}. A named person decides.",
        facts=(
            fact("Opinion proposed by the tool", opinion.verdict),
            fact("Opinion decided", "not decided"),
            fact("Dissent", "none recorded"),
            fact("Decide by", spec.decide_by or "no date set", "date" if spec.decide_by else "text"),
            fact("Valid for", "12 months from the decision, or until a trigger of the monitoring plan"),
            fact("Results digest", context.digests["results"], "hash"),
            fact("Evidence digest", context.digests["evidence"], "hash"),
        ),
    )
    signatures = Table(
        id="I3-T4",
        caption=f"{SIGNATURE_STATUS}: no line of this table is signed.",
        columns=columns(
            ("role", "Role", "text"),
            ("name", "Name", "text"),
            ("date", "Date", "date"),
            ("signature", "Signature", "text"),
        ),
        rows=tuple({"role": role, "name": people.get(role), "date": None, "signature": None} for role in _ROLES),
    )
    note = Paragraph(
        text="The proposal is a function of the gating tests and of the declared controls alone: no gating Fail and no "
        "gating Not evaluated is 'Fit for use'; each covered by a control with owner and expiry is 'Fit with "
        "conditions'; a Fail without one is 'Not fit'; otherwise 'Unable to conclude'. Signatures bind the results "
        "and evidence digests above."
    )
    return SectionEvidence(
        code="I3",
        conclusion=f"Proposed: {opinion.verdict}. {' '.join(opinion.why)} {SIGNATURE_STATUS}.",
        would_change="A control with owner and expiry for what is not covered, new evidence, or a named person who "
        "decides otherwise.",
        blocks=(
            narrative_block("opinion", context.answers),
            proposal,
            _conditions(opinion),
            _uncovered(opinion),
            note,
            signatures,
        ),
    )


def _conditions(opinion: Opinion) -> Table:
    return Table(
        id="I3-T2",
        caption=f"{some(len(opinion.conditions), 'condition')} with control, owner and expiry.",
        columns=columns(
            ("test", "Test", "text"),
            ("light", "Light", "light"),
            ("control", "Compensating control", "text"),
            ("owner", "Owner", "text"),
            ("expires", "Expires", "date"),
        ),
        rows=tuple(
            {
                "test": f"{c.section} {c.test_id}",
                "light": c.light.value,
                "control": c.control,
                "owner": c.owner,
                "expires": c.expires,
            }
            for c in opinion.conditions
        ),
        empty="No condition is proposed.",
    )


def _uncovered(opinion: Opinion) -> Table:
    return Table(
        id="I3-T3",
        caption=f"{some(len(opinion.failed) + len(opinion.open), 'gating test')} without a control.",
        columns=columns(("light", "Light", "light"), ("test", "Test", "text")),
        rows=(
            *({"light": "fail", "test": text} for text in opinion.failed),
            *({"light": "not_evaluated", "test": text} for text in opinion.open),
        ),
        empty="Every gating Fail and Not evaluated has a control.",
    )

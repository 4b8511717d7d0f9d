"""The Final: the draft's numbers with the sign-off page, as a function of pack.json and the signed log."""

from __future__ import annotations

import json
from typing import Any

from countermark.errors import ReportError
from countermark.records.evidence import Column, Fact, Facts, Pack, Paragraph, Scalar, Section, Table
from countermark.records.lights import Light
from countermark.records.signoff import SignOff, bound_digests

DRAFT_MARK = "Draft – unsigned"
FINAL_MARK = "Final – signed"
SIGNOFF_CODE = "A4"
_UNSIGNED = f"{DRAFT_MARK}: no line of this table is signed."


def check_match(pack: Pack, signoff: SignOff) -> None:
    """Refuse a sign-off of another pack.

    Raises:
        ReportError: Naming the digest that differs.
    """
    for name in ("results", "evidence", "decision"):
        bound, own = getattr(signoff, name), bound_digests(pack.digests).get(name)
        if bound != own:
            raise ReportError(
                f"the sign-off binds another {name} digest than the pack's", expected=str(own), got=str(bound)
            )
    stated = f"{pack.identity.get('id')}@v{pack.identity.get('version')}"
    if signoff.release != stated:
        raise ReportError("the sign-off is of another release", expected=stated, got=signoff.release)
    if not signoff.signatures:
        raise ReportError("a Final needs signatures", expected="at least one approval", got="none")


def finalised(pack: Pack, signoff: SignOff) -> Pack:
    """The pack as the Final prints it: same numbers, signed lines in the place of the empty ones, sign-off page.

    The attached ``pack.json`` stays what it was, and so does the hash in the running head.
    """
    check_match(pack, signoff)
    document: dict[str, Any] = json.loads(json.dumps(pack.model_dump(mode="json")))
    for section in document["sections"]:
        section["blocks"] = [_decided(block, signoff) for block in section["blocks"]]
    told = Pack.model_validate(_replaced(document))
    sections: list[Section] = []
    for section in told.sections:
        sections.append(section)
        if section.code == _last_of_part_a(told):
            sections.append(signoff_section(signoff))
    return told.model_copy(update={"sections": tuple(sections)})


def _last_of_part_a(pack: Pack) -> str:
    codes = [section.code for section in pack.sections if section.code.startswith("A")]
    return codes[-1] if codes else pack.sections[-1].code


def _decided(block: dict[str, Any], signoff: SignOff) -> dict[str, Any]:
    """The block with what was empty in the draft: the signed lines, and the opinion that people decided."""
    if block.get("type") == "table" and block.get("caption") == _UNSIGNED:
        return _signature_table(signoff, "I3-T4").model_dump(mode="json")
    for fact in block.get("facts", ()):
        if (fact["label"], fact["value"]) == ("Opinion decided", "not decided"):
            fact["value"] = signoff.opinion
    return block


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    return value.replace(DRAFT_MARK, FINAL_MARK) if isinstance(value, str) else value


def _columns(*columns: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(Column(key=key, label=label) for key, label in columns)


def _signature_table(signoff: SignOff, table_id: str) -> Table:
    return Table(
        id=table_id,
        caption=f"{len(signoff.signatures)} signed approval{'' if len(signoff.signatures) == 1 else 's'}, each bound "
        "to the results, evidence and decision digests.",
        columns=_columns(
            ("role", "Role"), ("name", "Name"), ("date", "Signed at (UTC)"), ("key", "Key"), ("place", "Log position"),
            ("expires", "Counts until"),
        ),
        rows=tuple(
            {
                "role": s.role.capitalize(),
                "name": f"{s.person} ({s.principal})",
                "date": s.at[:16].replace("T", " "),
                "key": s.key,
                "place": str(s.position),
                "expires": s.expires or "no end set",
            }
            for s in signoff.signatures
        ),
    )  # fmt: skip


def signoff_section(signoff: SignOff) -> Section:
    """The sign-off page: opinion decided, signatures, what they were given under, and what binds them."""
    names = ", ".join(f"{s.person} ({s.role})" for s in signoff.signatures)
    rows: tuple[dict[str, Scalar], ...] = tuple(
        {
            "kind": cover.kind.capitalize(),
            "subject": ", ".join(cover.subjects) or "the release as a whole",
            "text": cover.text,
            "owner": cover.owner,
            "expires": cover.expires,
            "by": cover.by or "declared in the pack",
        }
        for cover in signoff.covers
    )
    covers = Table(
        id=f"{SIGNOFF_CODE}-T2",
        caption="What the approvals were given under: waivers, conditions and controls, each with owner and end.",
        columns=_columns(
            ("kind", "Kind"), ("subject", "Covers"), ("text", "Text"), ("owner", "Owner"), ("expires", "Until"),
            ("by", "Signed by"),
        ),
        rows=rows,
        empty="No waiver, condition or control: every gating test passed.",
    )  # fmt: skip
    findings = Table(
        id=f"{SIGNOFF_CODE}-T3",
        caption="Findings that people put on the log for this release.",
        columns=_columns(
            ("id", "Id"), ("severity", "Severity"), ("text", "Finding"), ("by", "By"), ("status", "Status")
        ),
        rows=tuple(
            {"id": f.id, "severity": f.severity, "text": f.text, "by": f.by, "status": f.status}
            for f in signoff.findings
        ),
        empty="None.",
    )
    return Section(
        code=SIGNOFF_CODE,
        title="Sign-off",
        light=Light.INFORMATION,
        conclusion=f"Decided: {signoff.opinion}. {signoff.release} is approved by {names}; proposed by "
        f"{signoff.proposer}.",
        would_change="A lapsed or revoked approval, waiver or key: the log says what is so today.",
        blocks=(
            _signature_table(signoff, f"{SIGNOFF_CODE}-T1"),
            covers,
            findings,
            _binding(signoff),
            Paragraph(
                text="The signed log up to the last of these approvals is attached as log.jsonl. 'countermark verify' "
                "with this file checks every signature against the bank's pinned trust root, recomputes the digests, "
                "and renders this document again byte for byte. A name in this table is proved by the key, never by "
                "the letters printed here."
            ),
        ),
    )


def _binding(signoff: SignOff) -> Facts:
    return Facts(
        id=f"{SIGNOFF_CODE}-T4",
        caption="What the signatures bind (SHA-256).",
        facts=(
            Fact(label="Release", value=signoff.release),
            Fact(label="Tier", value=signoff.tier, format="int"),
            Fact(label="Results digest", value=signoff.results),
            Fact(label="Evidence digest", value=signoff.evidence),
            Fact(label="Decision policy digest", value=signoff.decision),
            Fact(label="Candidate at log position", value=signoff.candidate, format="int"),
            Fact(label="Log up to position", value=signoff.position, format="int"),
            Fact(label="Digest of that entry", value=signoff.head),
            Fact(label="Trust root", value=signoff.trust_root),
        ),
    )

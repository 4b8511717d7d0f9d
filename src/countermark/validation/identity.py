"""A1 cover and identity, A3 control and contents."""

from __future__ import annotations

import re
from collections.abc import Mapping

from countermark.config.spec import ModelSpec
from countermark.records.evidence import Facts, Paragraph, Scalar, Table
from countermark.validation.context import PackContext
from countermark.validation.governance_scope import tier_of
from countermark.validation.inputs import SectionEvidence, Statistic
from countermark.validation.phrasing import columns, counted, fact, named

REQUIRED_DIGESTS = ("data", "lock", "policy", "scorer", "semantics", "spec")
"""Digests that a pack cannot do without; the caller gives them."""

DIGEST_MEANING = {
    "challenger": "Frozen challenger",
    "contract": "Contract report",
    "data": "Modelling data set (content)",
    "decision": "Decision policy: cut-off and reason texts",
    "evidence": "Evidence: rows of the register and the policy, without findings, narrative and sign-off",
    "lock": "Environment lock file",
    "policy": "Validation policy",
    "results": "Results: data, scorer, and the part of the spec that changes scores",
    "scorer": "Frozen scorer",
    "semantics": "Semantics versions and numeric libraries",
    "source": "Raw source",
    "spec": "Resolved model spec",
}

_OPTIONAL = frozenset({"validator", "inventory_link"})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VALIDATION_TYPE = {
    "first": "First validation",
    "periodic": "Periodic validation",
    "change": "Validation of a change",
    "trigger": "Validation after a trigger",
}


def pack_identity(spec: ModelSpec) -> dict[str, Scalar]:
    """The identity that the cover and every running head print."""
    return {
        "id": spec.name,
        "title": spec.title,
        "kind": spec.kind,
        "version": spec.version,
        "tier": tier_of(spec.tiering.exposure, spec.tiering.purpose),
        "owner": spec.identity.owner,
        "developer": spec.identity.developer,
        "validator": spec.identity.validator,
        "inventory_link": spec.identity.inventory_link,
        "pack_id": f"{spec.name}-{spec.version}-{spec.as_of}",
        "validation_type": _VALIDATION_TYPE[spec.identity.validation_type],
        "as_of": spec.as_of,
        "status": "Draft – unsigned",
        "classification": spec.identity.classification,
    }


def missing_identity(identity: Mapping[str, Scalar], digests: Mapping[str, str]) -> tuple[str, ...]:
    """Identity fields that are empty and required digests that are missing or malformed.

    The validator is judged in B3 and the inventory link is optional; both are left out here.
    """
    fields = [key for key, value in identity.items() if key not in _OPTIONAL and not named(str(value))]
    broken = [f"digest of {key}" for key in REQUIRED_DIGESTS if not _SHA256.fullmatch(digests.get(key, ""))]
    return (*fields, *broken)


def identity_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """A1: who, what, when, and the digests that bind this pack to files."""
    del computed
    spec, identity = context.spec, context.identity
    missing = missing_identity(identity, context.digests)
    row = context.register.row(
        Statistic(
            "identity.complete",
            "A1",
            "identity fields and digests missing",
            sample="pack",
            n=len(identity.keys() - _OPTIONAL) + len(REQUIRED_DIGESTS),
            value=float(len(missing)),
            limit="identity.complete",
            fmt="int",
        )
    )
    facts = Facts(
        id="A1-T1",
        caption=f"{spec.title} {spec.version}, tier {identity['tier']}, data as of {spec.as_of}.",
        facts=(
            fact("Model", spec.title),
            fact("Model id", spec.name),
            fact("Version", spec.version),
            fact("Kind", spec.kind),
            fact("Tier", identity["tier"], "int"),
            fact("Owner", spec.identity.owner),
            fact("Developer", spec.identity.developer),
            fact("Validator", spec.identity.validator or "not named (see B3)"),
            fact("Inventory entry", spec.identity.inventory_link or "none given"),
            fact("Pack id", identity["pack_id"]),
            fact("Validation type", identity["validation_type"]),
            fact("Data as of", spec.as_of, "date"),
            fact("Status", identity["status"]),
            fact("Classification", spec.identity.classification),
        ),
    )
    table = Table(
        id="A1-T2",
        caption=f"{counted(len(context.digests), 'digest')} (SHA-256) bind this pack to what it was computed from.",
        columns=columns(("object", "Object", "text"), ("digest", "SHA-256", "text")),
        rows=tuple(
            {"object": DIGEST_MEANING.get(key, key), "digest": value} for key, value in sorted(context.digests.items())
        ),
    )
    text = f"Identity is complete: all {row.n} required fields and digests are given."
    if missing:
        text = "Identity is not complete: missing " + ", ".join(missing) + "."
    note = Paragraph(
        text="The pack's own hash is the SHA-256 of its canonical JSON without that field; its first 12 digits stand "
        "at the head of every page, and it is recomputed when the document is rendered and when it is verified."
    )
    return SectionEvidence(
        code="A1",
        conclusion=text,
        would_change="Any missing field or digest." if not missing else "Giving what is missing.",
        so_what="The reader can tell which files this document speaks about.",
        rows=(row,),
        blocks=(facts, table, note),
    )


def control_section(context: PackContext, computed: SectionEvidence | None) -> SectionEvidence:
    """A3: version history, distribution, reading guide, abbreviations, and what this pack holds."""
    del computed
    spec = context.spec
    first = context.register.previous is None
    history = Table(
        id="A3-T1",
        caption="This is the first pack of the model." if first else "This pack and the release it follows.",
        columns=columns(("version", "Version", "text"), ("as_of", "Data as of", "date"), ("status", "Status", "text")),
        rows=({"version": spec.version, "as_of": spec.as_of, "status": "Draft – unsigned"}, *_previous_row(context)),
    )
    guide = Paragraph(
        text="Each section opens with its light, its conclusion in one sentence, and what would change it. A section's "
        "light is its worst gating test; tests that do not gate never colour it. Limits are the bank's policy and no "
        "regulation: each is printed with its source, and the policy with its version and digest (J2). Every number "
        "is a row of the register (J1) with sample, count, interval and rule. The lights are explained beside the "
        "contents, words and abbreviations in J5, and what is not computed is listed in B3."
    )
    return SectionEvidence(
        code="A3",
        conclusion=_contents_caption(context),
        blocks=(
            history,
            Paragraph(text="Distribution: model owner, developer, validator and the committee named for the decision."),
            guide,
        ),
    )


def _contents_caption(context: PackContext) -> str:
    done = sum(s.status == "computed" for s in context.plan)
    absent = sum(s.status == "not_computed" for s in context.plan)
    other = len(context.plan) - done - absent
    rest = f"{other} do not apply to this kind" if other else "every section applies to this kind"
    return f"Of {len(context.plan)} sections {done} are computed and {absent} are not computed by this build; {rest}."


def _previous_row(context: PackContext) -> tuple[dict[str, Scalar], ...]:
    previous = context.register.previous
    if previous is None:
        return ()
    return (
        {
            "version": str(previous.get("version", "not recorded")),
            "as_of": previous.get("as_of"),
            "status": "Published",
        },
    )

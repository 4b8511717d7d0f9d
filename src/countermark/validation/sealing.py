"""What a pack is bound by: the results and evidence digests, and the register as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from countermark.config.policy import Policy
from countermark.config.spec import ModelSpec
from countermark.config.wording import scores_part
from countermark.records.digest import digest_of
from countermark.records.evidence import Pack, RegisterRow
from countermark.validation.section_order import ORDER, WRITTEN

if TYPE_CHECKING:
    from countermark.validation.collect import Evidence

REGISTER_COLUMNS = tuple(RegisterRow.model_fields)[:29]
"""The 29 columns of the register in the order of the standard."""


def results_digest(spec: ModelSpec, computed: Evidence) -> str:
    """Digest of what changes scores: data, scorer, challenger, and that part of the spec."""
    document = spec.model_dump(mode="json")
    return _results(document, computed.data_hash, computed.scorer, computed.challenger)


def _results(spec: Mapping[str, Any], data: str, scorer: str, challenger: str | None) -> str:
    return digest_of({"data": data, "scorer": scorer, "challenger": challenger, "spec": scores_part(spec)})


def evidence_digest(rows: Sequence[RegisterRow], policy: Policy | Mapping[str, Any]) -> str:
    """Digest of the tests: rows of computed sections and the policy; no findings, narrative, identity or sign-off."""
    document = policy.model_dump(mode="json") if isinstance(policy, Policy) else dict(policy)
    order = {code: i for i, code in enumerate(ORDER)}
    kept = sorted((r for r in rows if r.section not in WRITTEN), key=lambda r: order.get(r.section, len(order)))
    return digest_of({"policy": document, "rows": [row.model_dump(mode="json") for row in kept]})


def wrong_digests(sealed: Pack) -> tuple[str, ...]:
    """Names of the digests of a pack (hash, evidence, results, policy) that do not match its content."""
    challenger = sealed.digests.get("challenger")
    found = {
        "pack_hash": (sealed.pack_hash, sealed.content_hash()),
        "evidence": (sealed.digests.get("evidence"), evidence_digest(sealed.register_rows, sealed.policy)),
        "results": (
            sealed.digests.get("results"),
            _results(sealed.spec, sealed.digests.get("data", ""), sealed.digests.get("scorer", ""), challenger),
        ),
        "policy": (sealed.digests.get("policy"), digest_of(sealed.policy)),
    }
    return tuple(name for name, (stated, computed) in found.items() if stated != computed)


def register_csv(sealed: Pack) -> bytes:
    """The register as CSV: 29 columns in the order of the standard, UTF-8, one line per test."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REGISTER_COLUMNS)
    for row in sealed.register_rows:
        document = row.model_dump(mode="json")
        writer.writerow(["" if document[name] is None else document[name] for name in REGISTER_COLUMNS])
    return text.getvalue().encode("utf-8")

"""The files that travel inside the PDF."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

from countermark.records.digest import pretty_json
from countermark.records.evidence import Pack

REGISTER_COLUMNS: tuple[str, ...] = (
    "test_id", "section", "kind", "segment", "sample", "n", "events", "statistic", "effect", "ci_low", "ci_high",
    "ci_method", "h0", "alternative", "df", "p_raw", "p_adj", "power", "power_alternative", "light", "light_rule",
    "threshold", "threshold_source", "policy_version", "previous_value", "n_reason", "data_hash", "semantics_ref",
    "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One attachment.

    Attributes:
        name: File name inside the PDF; its ending decides the MIME type.
        content: The bytes.
        relationship: AFRelationship of PDF/A-3: what the file is to the document.
        description: Shown by readers beside the name.
    """

    name: str
    content: bytes
    relationship: Literal["Source", "Data", "Supplement"]
    description: str


def attached_files(pack: Pack, pack_bytes: bytes) -> tuple[AttachedFile, ...]:
    """pack.json byte for byte, the policy, the full register as CSV, the resolved spec; sorted by name."""
    return (
        AttachedFile("pack.json", pack_bytes, "Source", "Every number of this document (countermark/pack/1)"),
        AttachedFile("policy.json", pretty_json(pack.policy), "Supplement", "Validation policy with all limits"),
        AttachedFile("register.csv", register_csv(pack), "Data", "Full test register, one row per test"),
        AttachedFile("spec.json", pretty_json(pack.spec), "Supplement", "Resolved model specification"),
    )


def register_csv(pack: Pack) -> bytes:
    r"""The register as UTF-8 CSV: 29 columns in the standard's order, empty for absent, ``\\n`` line ends."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(REGISTER_COLUMNS)
    for row in pack.register_rows:
        values = row.model_dump(mode="json")
        writer.writerow(["" if values[name] is None else values[name] for name in REGISTER_COLUMNS])
    return stream.getvalue().encode("utf-8")

"""The files that travel inside the PDF."""

from __future__ import annotations

import csv
import io
import re
import zlib
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


def attached_files(pack: Pack, pack_bytes: bytes, log: bytes | None = None) -> tuple[AttachedFile, ...]:
    """pack.json byte for byte, the policy, the full register as CSV, the resolved spec, the log of a Final."""
    signed = () if log is None else (AttachedFile("log.jsonl", log, "Supplement", "Signed log to the last approval"),)
    return (
        *signed,
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


_EMBEDDED = re.compile(rb"<</Type /EmbeddedFile.{0,400}?/Length (\d{1,12})>>\s*stream\r?\n", re.DOTALL)
_LARGEST = 512 * 1024 * 1024


def embedded_files(pdf: bytes) -> tuple[bytes, ...]:
    """The files that travel inside a PDF of ours, as bytes.

    Only as good as it has to be: a document is believed when it is rendered again from what is found here and comes
    out byte for byte.
    """
    found: list[bytes] = []
    for match in _EMBEDDED.finditer(pdf):
        stream = pdf[match.end() : match.end() + int(match[1])]
        inflate = zlib.decompressobj()
        try:
            found.append(inflate.decompress(stream, _LARGEST) if b"/FlateDecode" in match[0] else stream)
        except zlib.error:
            continue
    return tuple(found)


def paper_of(pdf: bytes) -> str:
    """The paper size that a PDF of ours was rendered for: ``a4`` or ``letter``."""
    for match in re.finditer(rb"/Type /ObjStm", pdf):
        start = pdf.find(b"stream\n", match.end())
        try:
            objects = zlib.decompressobj().decompress(pdf[start + 7 :], _LARGEST)
        except zlib.error:
            continue
        if re.search(rb"/MediaBox \[0 0 (612|792)[ \].]", objects):
            return "letter"
    return "a4"

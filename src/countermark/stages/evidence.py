"""Stages that compute evidence and write the pack: evidence, pack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from countermark.errors import EvidenceError
from countermark.records.digest import digest_of, file_digest, pretty_json
from countermark.stages.evidence_input import declared_versions, evidence_input, published_baseline
from countermark.stages.files import ModelFiles, open_model, read_json, write_bytes
from countermark.stages.narratives import read_narrative
from countermark.validation.assemble import Previous, pack
from countermark.validation.collect import Evidence, evidence, policy_digest

Progress = Callable[[str], None]


def run_evidence(root: Path, name: str, progress: Progress) -> None:
    """Compute every section that has something to compute."""
    files = open_model(root, name)
    computed = evidence(evidence_input(files), progress)
    write_bytes(files.out / "evidence.json", computed.to_bytes())


def run_pack(root: Path, name: str, progress: Progress) -> None:
    """Write and seal pack.json from the evidence, the spec and what people wrote."""
    files = open_model(root, name)
    computed = Evidence.from_bytes((files.out / "evidence.json").read_bytes())
    baseline = published_baseline(files)
    sealed = pack(
        computed,
        files.spec,
        digests=pack_digests(files, computed),
        narrative=read_narrative(root, name),
        previous=None if baseline is None else Previous(baseline=baseline),
    )
    write_bytes(files.report / "pack.json", pretty_json(sealed.model_dump(mode="json")))
    counts = {light.word: 0 for light in sorted({row.light for row in sealed.register_rows})}
    for row in sealed.register_rows:
        counts[row.light.word] += 1
    progress(f"opinion proposed: {sealed.summary.opinion}")
    progress(", ".join(f"{count} {word}" for word, count in counts.items()))


def pack_digests(files: ModelFiles, computed: Evidence) -> dict[str, str]:
    """Content digests that the pack binds: spec, data, scorer, policy, semantics, lock; never a commit.

    Raises:
        EvidenceError: If the scorer on disk is not the one that the evidence saw.
    """
    scorer = file_digest(files.out / "scorer.json")
    if scorer != computed.scorer:
        raise EvidenceError(
            "the scorer is not the one that the evidence saw",
            expected=computed.scorer,
            got=scorer,
            hint="run the stages through 'countermark build'",
        )
    return {
        "spec": digest_of(files.spec.model_dump(mode="json")),
        "source": str(read_json(files.source / "manifest.json")["digest"]),
        "data": computed.data_hash,
        "scorer": scorer,
        **({} if files.spec.decision is None else {"decision": digest_of(files.spec.decision.model_dump(mode="json"))}),
        "policy": policy_digest(files.spec.policy),
        "semantics": digest_of(declared_versions(files, "pack", "semantics")),
        "lock": digest_of(declared_versions(files, "pack", "libraries")),
    }

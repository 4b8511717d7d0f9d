"""A bank whose model was 'built' in a moment: real pack, real git, real keys; no training."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import yaml

from countermark.governance.access import BankRegistry, open_registry
from countermark.governance.store import md5_hex
from countermark.records.clock import SimulatedClock
from countermark.records.digest import canonical_json, digest_of, pretty_json
from countermark.records.evidence import Pack
from countermark.records.release import ReleaseRef
from countermark.registry.bodies import GovernanceBody
from countermark.validation.assemble import pack as assemble
from countermark.validation.collect import Evidence, evidence, policy_digest
from countermark.validation.inputs import EvidenceInput
from countermark.validation.registry import SECTIONS
from tests.registry.people import START, governance, key
from tests.registry.test_repository import git
from tests.validation.builders import LogisticScorer, make_inputs, make_spec, spec_document

MODEL = str(spec_document()["name"])
REF = ReleaseRef(MODEL, str(spec_document()["version"]))
SPINE = tuple(replace(entry, compute=None) for entry in SECTIONS if entry.code[0] in "AI" or entry.code == "E2")
"""A pack of identity, limitations, findings and opinion: nothing is computed, and little is rendered."""
DRAFT = b"%PDF-1.7 the draft"


@functools.cache
def inputs() -> EvidenceInput:
    """Inputs of a sound model."""
    return make_inputs(n=2000)


@functools.cache
def computed() -> Evidence:
    """Its evidence, computed once."""
    return evidence(inputs(), sections=SPINE)


def scorer_bytes() -> bytes:
    """A scorer file whose SHA-256 is the digest that the pack names."""
    scorer = cast(LogisticScorer, inputs().scorer)
    return canonical_json([scorer.intercept, scorer.weights, scorer.purposes, scorer.p_factor, scorer.wave])


def make_pack(**changes: Any) -> Pack:
    """A sealed pack; ``changes`` are keys of the spec that no evidence depends on."""
    spec = make_spec(**changes) if changes else inputs().spec
    digests = {
        "data": inputs().data_hash,
        "scorer": inputs().scorer.digest,
        "policy": policy_digest(spec.policy),
        "decision": digest_of(spec.decision_policy.model_dump(mode="json")),
        "lock": "a" * 64,
        "semantics": "b" * 64,
        "spec": digest_of(spec.model_dump(mode="json")),
    }
    return assemble(computed(), spec, digests=digests, narrative={}, sections=SPINE)


@functools.cache
def plain_pack() -> Pack:
    """The pack of version 1."""
    return make_pack()


class Desk:
    """A bank with a model, its people, and a clock that moves an hour at each step."""

    def __init__(
        self, folder: Path, body: GovernanceBody | None = None, pack: Pack | None = None, *, found: bool = True
    ) -> None:
        self.root = folder
        self.clock = SimulatedClock(START)
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "-b", "main")
        (folder / "conf").mkdir()
        (folder / "conf" / "bank.yaml").write_text("name: test bank\n")
        (folder / ".gitignore").write_text("/models/*/out/\n/reports/\n/releases/\n/.dvc/cache/\n")
        self.build(pack or plain_pack())
        if found:
            log = open_registry(folder, clock=self.clock).log
            self.trust_root = log.begin(key("rik"), body or governance(), self.clock.now())
            git(folder, "config", "countermark.trustRoot", self.trust_root)

    def build(self, pack: Pack, **files: bytes) -> None:
        """Put the files of a build where DVC would, lock and commit them."""
        model = str(pack.identity["id"])
        made = {
            f"models/{model}/out/scorer.json": scorer_bytes(),
            f"models/{model}/out/profile.json": b'{"format":"countermark/profile/1"}\n',
            f"models/{model}/out/dataset.parquet": b"PAR1 rows",
            f"models/{model}/out/spec.checked": b"checked",
            f"reports/{model}/pack.json": pretty_json(pack.model_dump(mode="json")),
            f"reports/{model}/validation_pack.pdf": DRAFT,
        }
        made = {path: files.get(Path(path).name.replace(".", "_"), data) for path, data in made.items()}
        for path, data in made.items():
            self.write(path, data)
            cached = self.root / ".dvc" / "cache" / "files" / "md5" / md5_hex(data)[:2] / md5_hex(data)[2:]
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes(data)
        outs = [{"path": path, "md5": md5_hex(data), "size": len(data)} for path, data in made.items()]
        outs.append({"path": f"models/{model}/out/accepted", "md5": "0" * 32 + ".dir", "size": 1})
        lock = {"schema": "2.0", "stages": {"all": {"cmd": "x", "outs": outs}}}
        self.write(f"models/{model}/dvc.lock", yaml.safe_dump(lock).encode())
        self.write(f"models/{model}/params.yaml", b"bank: {paper: a4}\n")
        self.commit(f"build {pack.identity['version']} {pack.pack_hash[:8]}")

    def write(self, path: str, data: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def commit(self, message: str) -> None:
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "--allow-empty", "-m", message)

    @property
    def bank(self) -> BankRegistry:
        """The registry, an hour later."""
        self.clock.set(self.clock.now() + timedelta(hours=1))
        return open_registry(self.root, clock=self.clock)


def without_gates(pack: Pack, *tests: str) -> Pack:
    """The same pack, with only these tests gating; sealed again with the digests that follow."""
    from countermark.validation.sealing import evidence_digest

    rows = tuple(row.model_copy(update={"gating": row.gating and row.test_id in tests}) for row in pack.register_rows)
    digests = {**pack.digests, "evidence": evidence_digest(rows, pack.policy)}
    return pack.model_copy(update={"register_rows": rows, "digests": digests}).sealed()


def renamed(pack: Pack, version: str) -> Pack:
    """The same pack under another version."""
    identity, spec = {**pack.identity, "version": version}, {**pack.spec, "version": version}
    digests = {**pack.digests, "spec": digest_of(spec)}
    return pack.model_copy(update={"identity": identity, "spec": spec, "digests": digests}).sealed()


__all__ = ["DRAFT", "MODEL", "REF", "Desk", "make_pack", "plain_pack", "renamed", "replace", "without_gates"]

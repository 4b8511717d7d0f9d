"""Real releases for tests without a build: tiny scorers in signed, published, authorised bundles.

bank = ReleaseBank(tmp_path / "releases")
bank.release("toy_pd@v1.0.0")
bank.release("toy_pd@v2.0.0", seed=1)
bank.release("toy_pd@v3.0.0", shift=2.0)      # scores shifted: a faulty release
bank.release("toy_pd@v4.0.0", raises=True)    # refuses every request that has a purpose
ServingDirectory(bank.folder, bank.trust_root)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermark.config.policy import DecisionPolicy
from countermark.config.spec import ModelSpec
from countermark.features.online import open_store
from countermark.features.vector import VectorBuilder
from countermark.monitoring.profile import ProfileRows, make_profile
from countermark.records.decision import encode
from countermark.records.digest import canonical_json, sha256_hex
from countermark.records.release import ReleaseRef
from countermark.registry.bundle import build_bundle
from countermark.registry.directory import ServingDirectory
from countermark.registry.events import log_lines
from countermark.scoring.format import GradePart, InputPart, PlattCalibration, ScorerDocument, Split, Tree, TreesModel
from countermark.scoring.frozen import FrozenScorer
from tests.features.specs import spec
from tests.registry.people import Log

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""First entry of the log: long before any machine's present."""

PURPOSES = ("car", "home", "other")
GRADES = tuple(
    GradePart(name=name, upper=upper, pd=pd)
    for name, upper, pd in (("A", 0.1, 0.05), ("B", 0.3, 0.2), ("C", 0.6, 0.45), ("D", 1.0, 0.8))
)
POLICY: dict[str, Any] = {"name": "toy", "version": "1.0.0", "cutoff": 0.3, "cutoff_rationale": "r"}

PD_CONTRACT: dict[str, Any] = {
    "name": "loans",
    "columns": {
        "id": {"type": "text"},
        "customer": {"type": "text"},
        "y": {"type": "integer"},
        "income": {"type": "number", "nullable": True, "minimum": 0, "maximum": 1e6},
        "dti": {"type": "number", "nullable": True},
        "age": {"type": "integer", "minimum": 18, "maximum": 100},
        "purpose": {"type": "text", "nullable": True, "allowed": list(PURPOSES)},
        "day": {"type": "date"},
    },
}
PD_FEATURES: dict[str, Any] = {
    "income": {"meaning": "m"},
    "dti": {"meaning": "m"},
    "age": {"meaning": "m"},
    "purpose": {"meaning": "m", "type": "categorical"},
}
FRAUD_CONTRACT: dict[str, Any] = {
    "name": "cards",
    "columns": {
        "id": {"type": "text"},
        "card": {"type": "text"},
        "y": {"type": "integer"},
        "at": {"type": "date"},
        "amount": {"type": "number", "minimum": 0.01, "maximum": 100000},
    },
}
FRAUD_VIEWS: dict[str, Any] = {
    "velocity": {
        "name": "velocity",
        "table": "main",
        "entity": "card",
        "event_time": "at",
        "known_delay": {"seconds": 1},
        "event_key": "id",
        "features": {
            "n": {"kind": "window", "function": "count", "days": 2},
            "spent": {"kind": "window", "column": "amount", "function": "sum", "days": 5},
            "ratio": {"kind": "on_demand", "expression": "request.amount / spent"},
        },
    }
}
FRAUD_FEATURES: dict[str, Any] = {
    "amount": {"meaning": "m"},
    "n": {"meaning": "m", "source": "velocity.n"},
    "spent": {"meaning": "m", "source": "velocity.spent"},
    "ratio": {"meaning": "m", "source": "velocity.ratio"},
}


def pd_spec(name: str = "toy_pd", version: str = "1.0.0") -> ModelSpec:
    """A model whose inputs all come with the request."""
    return spec(
        {
            "name": name,
            "version": version,
            "=contract": PD_CONTRACT,
            "=data": {"time": "day", "entity": "customer"},
            "=features": PD_FEATURES,
            "=decision": policy(tuple(PD_FEATURES)).model_dump(mode="json"),
        }
    )


def fraud_spec(name: str = "toy_fraud", version: str = "1.0.0") -> ModelSpec:
    """A model on velocity windows of an entity that the request names."""
    return spec(
        {
            "name": name,
            "version": version,
            "=contract": FRAUD_CONTRACT,
            "=data": {"time": "at", "entity": "card"},
            "feature_views": FRAUD_VIEWS,
            "=features": FRAUD_FEATURES,
            "=decision": policy(tuple(FRAUD_FEATURES)).model_dump(mode="json"),
        }
    )


def wide_spec(name: str = "toy_wide", version: str = "1.0.0", *, inputs: int = 30) -> ModelSpec:
    """A model of many numeric inputs, for benchmarks."""
    names = [f"f{k:02d}" for k in range(inputs)]
    columns = {"id": {"type": "text"}, "y": {"type": "integer"}, "day": {"type": "date"}}
    return spec(
        {
            "name": name,
            "version": version,
            "=contract": {
                "name": "wide",
                "columns": {**columns, **{n: {"type": "number", "nullable": True} for n in names}},
            },
            "=data": {"time": "day"},
            "=features": {n: {"meaning": "m"} for n in names},
            "=decision": policy(names).model_dump(mode="json"),
        }
    )


def policy(inputs: Sequence[str], *, cutoff: float = 0.3) -> DecisionPolicy:
    """A policy with one reason per input."""
    reasons = {f"R{k:02d}": {"text": f"Because of {name}", "features": [name]} for k, name in enumerate(inputs)}
    return DecisionPolicy.model_validate({**POLICY, "cutoff": cutoff, "reasons": reasons})


def input_parts(model: ModelSpec, *, raises: bool = False) -> tuple[InputPart, ...]:
    """Inputs of the scorer of a model; ``raises`` knows no level that the contract allows, and refuses others."""
    found = []
    for name, feature in model.features.items():
        if feature.type == "categorical":
            levels = ("nothing that comes",) if raises else PURPOSES
            found.append(
                InputPart(name=name, type="categorical", levels=levels, unseen="refuse" if raises else "accept")
            )
        else:
            found.append(InputPart(name=name, type="numeric"))
    return tuple(found)


_SCALES = {"income": (30000.0, 15000.0), "dti": (20.0, 8.0), "age": (45.0, 12.0), "amount": (80.0, 60.0),
           "n": (2.0, 1.5), "spent": (150.0, 120.0), "ratio": (0.8, 0.5)}  # fmt: skip


def scorer(
    model: ModelSpec, *, seed: int = 0, trees: int = 20, depth: int = 3, shift: float = 0.0, raises: bool = False
) -> FrozenScorer:
    """Random symmetric trees over the inputs of a model; ``shift`` moves every margin.

    Scorers of neighbouring seeds agree on most cases: the trees are the same, and their leaves differ slightly.
    """
    parts = input_parts(model, raises=raises)
    rng, noise = np.random.default_rng(7), np.random.default_rng(1000 + seed)
    made = []
    for _ in range(trees):
        splits: list[Split] = []
        for _ in range(depth):
            k = int(rng.integers(len(parts)))
            if parts[k].type == "categorical":
                splits.append((k, "is", float(rng.integers(parts[k].codes))))
            else:
                mean, spread = _SCALES.get(parts[k].name, (0.0, 1.0))
                splits.append((k, "gt", float(np.float32(np.round(rng.normal(mean, spread), 2)))))
        leaves = rng.normal(size=1 << depth) * (1.6 / np.sqrt(trees)) + noise.normal(size=1 << depth) * 0.004
        made.append(Tree(splits=tuple(splits), leaves=tuple(leaves.tolist()), weights=(1.0,) * (1 << depth)))
    return FrozenScorer(
        ScorerDocument(
            inputs=parts,
            model=TreesModel(trees=tuple(made), scale=1.0, bias=-1.2 + shift),
            calibration=PlattCalibration(slope=1.0, intercept=0.0),
            grades=GRADES,
        )
    )


def columns(model: ModelSpec, n: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs of ``n`` cases as the contract promises them."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for name, feature in model.features.items():
        if feature.type == "categorical":
            found[name] = np.array([*PURPOSES, None], dtype=object)[rng.integers(len(PURPOSES) + 1, size=n)]
            continue
        mean, spread = _SCALES.get(name, (0.0, 1.0))
        values = np.round(rng.normal(mean, spread, n), 2)
        if name in _SCALES:
            values = np.abs(values) + 0.01
        absent = rng.random(n) < 0.05
        found[name] = np.clip(np.round(values), 18, 100) if name == "age" else np.where(absent, np.nan, values)
    return found


def requests(model: ModelSpec, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Requests of ``n`` cases of a model whose inputs all come with the request."""
    table = columns(model, n, seed)
    rows = []
    for r in range(n):
        row = {}
        for name, values in table.items():
            value = values[r]
            if value is not None and not isinstance(value, str):
                value = None if np.isnan(value) else int(value) if name == "age" else float(value)
            row[name] = value
        rows.append(row)
    return rows


def profile(model: ModelSpec, of: FrozenScorer, decision: DecisionPolicy) -> bytes:
    """Reference profile over seeded cases of the right population."""

    def rows(name: str, seed: int) -> ProfileRows:
        table = columns(model, 400, seed)
        known = {item.name: item for item in of.inputs}
        for key, values in table.items():
            # A scorer that refuses what comes is profiled on what it accepts.
            if known[key].type == "categorical" and "nothing that comes" in (known[key].levels or ()):
                table[key] = np.full(values.size, None, dtype=object)
        p = of.probability(of.margin(table))
        y = (np.random.default_rng(seed + 1).random(p.size) < p).astype(np.int8)
        groups = {"sex": np.array(["f", "m"], dtype=object)[np.arange(p.size) % 2]}
        return ProfileRows(name=name, features=table, y=y, p=p, grade=of.grade(p), groups=groups)

    return encode(make_profile(model.name, of, decision, rows("holdout", 11), rows("development", 21)))


def proposed_files(model: str, members: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The files of a build as a proposal lists them."""
    return [
        {"path": f"models/{model}/out/{name}", "sha256": sha256_hex(data), "md5": "0" * 32, "size": len(data)}
        for name, data in members.items()
        if name in ("scorer.json", "profile.json", "pack.json")
    ]


class ReleaseBank:
    """A serving directory of releases that a test makes; its log is signed by real keys.

    Args:
        folder: Folder to write to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log(start=START)
        self.trust_root = self.log.root
        self.directory = ServingDirectory(folder, self.trust_root)
        self.bundles: dict[str, str] = {}
        self._sequences: dict[str, int] = {}

    def release(
        self,
        ref: str,
        *,
        model: ModelSpec | None = None,
        of: FrozenScorer | None = None,
        assign: bool = True,
        expires: str | None = None,
        cutoff: float = 0.3,
        **how: Any,
    ) -> str:
        """Make, approve, publish and authorise a release, and write the directory; the digest of its bundle.

        Args:
            ref: ``MODEL@vX.Y.Z``; a model named ``toy_fraud...`` reads velocity windows, ``toy_wide...`` has 30 inputs.
            model: The spec; made from the name otherwise.
            of: The scorer; made by :func:`scorer` from ``how`` otherwise.
            assign: Whether to authorise it in prod.
            expires: Expiry of its approvals.
            cutoff: Cut-off of its policy.
            **how: ``seed``, ``trees``, ``depth``, ``shift``, ``raises``.
        """
        parsed = ReleaseRef.parse(ref)
        make = fraud_spec if "fraud" in parsed.model else wide_spec if "wide" in parsed.model else pd_spec
        spec_of = model or make(parsed.model, parsed.version)
        made = of or scorer(spec_of, **how)
        decision = policy(tuple(spec_of.features), cutoff=cutoff)
        digest = self._publish(parsed, spec_of, made, decision, expires)
        if assign:
            self.assign(ref)
        self.write()
        return digest

    def _publish(
        self, ref: ReleaseRef, model: ModelSpec, of: FrozenScorer, decision: DecisionPolicy, expires: str | None
    ) -> str:
        members = {
            "scorer.json": of.to_bytes(),
            "decision.json": canonical_json(decision.model_dump(mode="json")),
            "spec.json": canonical_json(model.model_dump(mode="json")),
            "profile.json": profile(model, of, decision),
            "pack.json": b"{}",
            "validation_pack.pdf": b"%PDF-1.7",
        }
        digests = {
            "results": sha256_hex(members["scorer.json"] + members["spec.json"]),
            "evidence": sha256_hex(f"evidence of {ref}".encode()),
            "scorer": sha256_hex(members["scorer.json"]),
            "decision": sha256_hex(members["decision.json"]),
            "pack": sha256_hex(members["pack.json"]),
            "spec": sha256_hex(members["spec.json"]),
            "environment": sha256_hex(b"environment"),
        }
        log, name = self.log, str(ref)
        commit = sha256_hex(name.encode())[:40]
        candidate = log.propose(name, digests=digests, files=proposed_files(ref.model, members), commit=commit)
        bound = {part: digests[part] for part in ("results", "evidence", "scorer", "decision")}
        log.approve(candidate, "validator", by="vera", ref=name, digests=bound, expires=expires)
        log.approve(candidate, "risk", by="rik", ref=name, digests=bound, expires=expires)
        data = build_bundle(
            ref,
            {**members, "log.jsonl": log_lines(log.entries)},
            results=digests["results"],
            evidence=digests["evidence"],
            environment=digests["environment"],
        )
        digest = self.directory.write_bundle(data)
        files = {"validation_pack.pdf": sha256_hex(members["validation_pack.pdf"])}
        log.publish(candidate, ref=name, bundle=digest, commit=commit, files=files)
        self.bundles[name] = digest
        return digest

    def assign(self, ref: str) -> int:
        """Authorise a published release in prod; the log position."""
        model = ref.partition("@")[0]
        self._sequences[model] = self._sequences.get(model, 0) + 1
        return self.log.assign(self._sequences[model], ref=ref)

    def write(self) -> None:
        """Write the log as it stands."""
        self.directory.write_log(self.log.entries)

    def bundle_file(self, ref: str) -> Path:
        """The file of a release's bundle."""
        return self.folder / "bundles" / f"{self.bundles[ref]}.bundle"


def standard_bank(folder: Path) -> ReleaseBank:
    """Releases v1 and v2 (good), v3 (scores shifted), v4 (raises) of ``toy_pd``, and v1 of ``toy_fraud``."""
    bank = ReleaseBank(folder)
    bank.release("toy_pd@v1.0.0")
    bank.release("toy_pd@v2.0.0", seed=1)
    bank.release("toy_pd@v3.0.0", seed=2, shift=2.0)
    bank.release("toy_pd@v4.0.0", seed=3, raises=True)
    bank.release("toy_fraud@v1.0.0")
    return bank


def publish_empty(url: str, model: ModelSpec, as_of: datetime) -> None:
    """Publish the views of a model without any event."""
    store = open_store(url)
    for plan in VectorBuilder(model).plans:
        store.publish(plan, [], as_of)
    store.close()

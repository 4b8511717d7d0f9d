"""What a stage reads is what it declares: DVC runs a stage again only for the keys and files of its table."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.config.policy import Policy
from countermark.config.spec import ModelSpec
from countermark.portfolio import compile as compiler
from countermark.portfolio.dag import GROUPS, ORDERED, STAGES, stage_named
from countermark.records.digest import digest_of
from countermark.report.render import RenderStats
from countermark.stages import document, model
from countermark.stages import files as stage_files
from countermark.stages.run import run_stage
from countermark.training import train
from tests.bank import MODEL, edit, make_bank

WHOLE = {"model_dump", "model_dump_json", "model_copy", "__dict__", "__iter__", "dict", "json", "copy"}
"""Attributes through which every field of a model is read at once."""
FIELDS = {ModelSpec: frozenset(ModelSpec.model_fields), Policy: frozenset(Policy.model_fields)}
NARRATIVE = "# toy\n\n## purpose\n\nIt ranks applicants.\n"
FAIRNESS = """\
fairness:
  attributes:
    sex: {column: sex, provenance: self-reported, reference: m}
  criterion: equal opportunity
"""


class Reads:
    """Keys of params.yaml that were read, as dvc.yaml writes them: ``spec.learner``, ``libraries.numpy``."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.on = False

    def note(self, *keys: str) -> None:
        if self.on:
            self.keys.update(keys)


class Recorded(dict[str, Any]):
    """A mapping that notes which of its keys are read; read as a whole, all of them."""

    def __init__(self, content: Mapping[str, Any], reads: Reads, prefix: str = "") -> None:
        super().__init__(
            {k: Recorded(v, reads, f"{prefix}{k}.") if isinstance(v, dict) else v for k, v in content.items()}
        )
        self._reads, self._prefix = reads, prefix

    def _all(self) -> None:
        self._reads.note(*(f"{self._prefix}{key}" for key in dict.keys(self)))

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if not isinstance(value, Recorded):
            self._reads.note(f"{self._prefix}{key}")
        return value

    def get(self, key: str, default: Any = None) -> Any:
        self._reads.note(f"{self._prefix}{key}")
        return super().get(key, default)

    def items(self) -> Any:
        self._all()
        return super().items()

    def values(self) -> Any:
        self._all()
        return super().values()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Record what stages read of the spec, of its policy and of the rest of params.yaml."""
    reads = Reads()
    read_spec = compiler.read_spec

    def watch(kind: type[ModelSpec] | type[Policy], prefix: str) -> None:
        plain = kind.__getattribute__
        fields = FIELDS[kind]

        def getattribute(self: Any, name: str) -> Any:
            if name in WHOLE:
                reads.note(*(f"{prefix}{field}" for field in fields))
            elif name in fields and (prefix, name) != ("spec.", "policy"):
                reads.note(f"{prefix}{name}")
            return plain(self, name)

        monkeypatch.setattr(kind, "__getattribute__", getattribute)

    watch(ModelSpec, "spec.")
    watch(Policy, "spec.policy.")

    def recorded(root: Path, name: str, *, words: bool = True) -> tuple[ModelSpec, dict[str, Any]]:
        on, reads.on = reads.on, False
        spec, params = read_spec(root, name, words=words)
        found = Recorded(params, reads)
        reads.on = on
        return spec, found

    monkeypatch.setattr(stage_files, "read_spec", recorded)
    return reads


def covered(key: str, declared: set[str]) -> bool:
    """Whether a key, or a mapping that holds it, is declared."""
    parts = key.split(".")
    return any(".".join(parts[:end]) in declared for end in range(1, len(parts) + 1))


def declared_params(bank: Path, stage: str) -> set[str]:
    """Keys of params.yaml on which the generated stage depends; of the spec, the keys that it may read.

    A stage without words depends on ``scores`` and ``protected``, the wordless part of what it reads: a spec with
    dashes for words, as :func:`test_words_reach_no_stage_that_makes_scores` shows.
    """
    found = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text(encoding="utf-8"))
    keys = {key for item in found["stages"][stage].get("params", ()) for keys in item.values() for key in keys}
    if stage_named(stage).words:
        assert not any(key.partition(".")[0] in ("scores", GROUPS) for key in keys)
    else:
        assert {key for key in keys if key.startswith("spec.")} <= {"spec.name"}
    return {re.sub(rf"^{GROUPS}$", "spec.fairness", re.sub(r"^scores\.", "spec.", key)) for key in keys}


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module", autouse=True)
def quick_typesetting() -> Iterator[None]:
    """Typesetting is a process of its own that is given bytes and nothing else; here it takes no time."""

    def typeset(content: Any, out: Path, paper: str) -> RenderStats:
        data = f"%PDF {paper} {digest_of(str(content))}".encode()
        out.write_bytes(data)
        return RenderStats(pages=1, size=len(data), sha256="", seconds=0.0, peak_memory=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "render", typeset)
        patch.setattr(document, "render_portfolio", typeset)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bank with a protected attribute, a narrative and a published baseline, every stage run."""
    bank = make_bank(tmp_path_factory.mktemp("declared") / "bank", rows=400)
    edit(bank / "conf/model/toy.yaml", "split: {", FAIRNESS + "split: {")
    edit(bank / "conf/policy/standard.yaml", "bootstrap_resamples: 2000", "bootstrap_resamples: 100")
    (bank / "conf/model/toy.md").write_text(NARRATIVE, encoding="utf-8")
    write_baseline(bank)
    compiler.write(bank, compiler.compile_bank(bank))
    run_stage(bank, "ingest", "toy", quiet)
    for stage in STAGES:
        run_stage(bank, stage.name, "toy", quiet)
    run_stage(bank, "portfolio", None, quiet)
    return bank


def write_baseline(bank: Path) -> None:
    folder = bank / "governance/baselines/toy"
    folder.mkdir(parents=True)
    (folder / "0.9.0.json").write_text('{"rows": {"E1.auc|hold-out|all": 0.7}}\n', encoding="utf-8")


# --- params ---------------------------------------------------------------------------------------------------------

STRUCTURAL = {("score", "spec.challenger")}
"""Keys that a stage reads only to know which files it has: dvc.yaml itself changes with them (tested below)."""


@pytest.mark.parametrize("name", [stage.name for stage in STAGES if stage.name != "spec"])
def test_a_stage_reads_only_the_params_that_it_declares(built: Path, reads: Reads, name: str) -> None:
    reads.on = True
    run_stage(built, name, "toy", quiet)
    reads.on = False
    declared = declared_params(built, name)
    undeclared = {k for k in reads.keys if not covered(k, declared) and (name, k) not in STRUCTURAL}
    assert undeclared == set()
    assert name == "render" or reads.keys, "the recorder saw nothing"


def test_the_recorder_sees_plain_nested_and_whole_reads(built: Path, reads: Reads) -> None:
    files = stage_files.open_model(built, "toy")
    reads.on = True
    _ = files.spec.title, files.spec.seed, files.params["libraries"].get("numpy")
    assert reads.keys == {"spec.title", "spec.policy.seed", "libraries.numpy"}
    reads.keys.clear()
    files.spec.policy.model_dump()
    assert reads.keys == {f"spec.policy.{field}" for field in Policy.model_fields}
    reads.keys.clear()
    files.spec.model_dump()
    assert {f"spec.{field}" for field in ModelSpec.model_fields} <= reads.keys
    reads.keys.clear()
    dict(files.params["semantics"].items())
    assert reads.keys == {f"semantics.{room}" for room in files.params["semantics"]}


def test_a_planted_undeclared_read_is_found(built: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model.train
    monkeypatch.setattr(model, "train", lambda spec, *rest: (spec.decision.cutoff, plain(spec, *rest))[1])
    reads.on = True
    run_stage(built, "train", "toy", quiet)
    reads.on = False
    undeclared = {key for key in reads.keys if not covered(key, declared_params(built, "train"))}
    assert undeclared == {"spec.decision"}


@pytest.mark.parametrize(("name", "file"), [("train", "training.json"), ("challenge", "challenger_training.json")])
def test_the_libraries_that_training_records_are_declared(built: Path, name: str, file: str) -> None:
    recorded = set(json.loads((built / "models/toy/out" / file).read_text(encoding="utf-8"))["libraries"])
    possible = {library for libraries in train._LIBRARIES.values() for library in libraries}
    assert recorded
    assert recorded | possible <= set(stage_named(name).libraries)


def test_a_typesetting_library_changes_no_number(built: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(built, bank)
    path = bank / "models/toy/params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["libraries"]["weasyprint"] = params["semantics"]["report"] = 999
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for stage in ("evidence", "pack"):
        run_stage(bank, stage, "toy", quiet)
    for relative in ("models/toy/out/evidence.json", "reports/toy/pack.json"):
        assert (bank / relative).read_bytes() == (built / relative).read_bytes()


def test_a_changed_order_of_features_reaches_the_stages_that_see_it(tmp_path: Path) -> None:
    """DVC compares mappings without their order; the order of the inputs is the order of the scorer."""
    bank = make_bank(tmp_path / "bank")
    compiler.write(bank, compiler.compile_bank(bank))
    before = yaml.safe_load((bank / "models/toy/params.yaml").read_text(encoding="utf-8"))
    income, debt = (line for line in MODEL.splitlines(keepends=True) if line.startswith(("  income:", "  debt:")))
    edit(bank / "conf/model/toy.yaml", income + debt, debt + income)
    compiler.write(bank, compiler.compile_bank(bank))
    after = yaml.safe_load((bank / "models/toy/params.yaml").read_text(encoding="utf-8"))
    assert after["spec"] == before["spec"]
    assert list(after["spec"]["features"]) != list(before["spec"]["features"])
    assert {key for key in ORDERED if after["order"][key] != before["order"][key]} == {"features"}
    watching = {stage.name for stage in STAGES if covered("order.features", declared_params(bank, stage.name))}
    assert watching == {"dataset", "train", "challenge", "evidence", "pack"}


def free_mapping(schema: Any, definitions: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a JSON Schema holds a mapping whose keys are not fixed."""
    if isinstance(schema, list):
        return any(free_mapping(item, definitions, seen) for item in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "object" and schema.get("additionalProperties", True) is not False:
        return True
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen and free_mapping(definitions[name], definitions, seen | {name}):
        return True
    return any(free_mapping(inner, definitions, seen) for inner in schema.values())


def test_every_key_that_holds_a_mapping_of_free_keys_has_its_order_watched() -> None:
    schema = ModelSpec.model_json_schema()
    free = {key for key, inner in schema["properties"].items() if free_mapping(inner, schema["$defs"])}
    assert free <= set(ORDERED) <= set(ModelSpec.model_fields)
    assert {"features", "policy", "source"} <= free


def test_without_a_challenger_the_stages_that_ask_for_it_change(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank")
    compiler.write(bank, compiler.compile_bank(bank))
    before = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    edit(bank / "conf/model/toy.yaml", "challenger: {why: The simplest model.}\n", "")
    edit(bank / "conf/model/toy.yaml", "  - /learner@challenger.learner: logistic\n", "")
    compiler.write(bank, compiler.compile_bank(bank))
    after = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "challenge" in before
    assert "challenge" not in after
    for stage in ("score", "evidence"):
        gone = set(before[stage]["deps"]) - set(after[stage]["deps"])
        assert gone == {"models/toy/out/challenger.json"}


# --- files ----------------------------------------------------------------------------------------------------------


def generated(bank: Path, name: str) -> dict[str, Any]:
    """A stage as the generated dvc.yaml has it."""
    place = {"ingest": "sources/toy/dvc.yaml", "portfolio": "dvc.yaml"}.get(name, "models/toy/dvc.yaml")
    found: dict[str, Any] = yaml.safe_load((bank / place).read_text(encoding="utf-8"))["stages"][name]
    return found


def only_declared(bank: Path, folder: Path, name: str) -> Path:
    """A bank with the declared files of one stage and the generated params.yaml files, and nothing else."""
    stage = generated(bank, name)
    params = {"ingest": ["sources/toy/params.yaml"], "portfolio": ["params.yaml", "models/toy/params.yaml"]}
    for relative in {*stage["deps"], *params.get(name, ["models/toy/params.yaml"]), "conf/bank.yaml"}:
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if (bank / relative).is_dir():
            shutil.copytree(bank / relative, target)
        else:
            shutil.copyfile(bank / relative, target)
    if name == "spec":
        shutil.copyfile(bank / "models/toy/dvc.yaml", folder / "models/toy/dvc.yaml")
        # Whether these exist decides which dependencies later stages declare; DVC holds those stages to them.
        (folder / "conf/model/toy.md").touch()
        (folder / "governance/baselines/toy").mkdir(parents=True)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Bytes of every file of a folder but the log of runs."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parts[-2] != ".countermark"
    }


def under(relative: str, outs: list[str]) -> bool:
    return any(relative == out or relative.startswith(out + "/") for out in outs)


@pytest.mark.parametrize("name", ["ingest", *(stage.name for stage in STAGES), "portfolio"])
def test_a_stage_needs_only_the_files_that_it_declares_and_makes_exactly_its_outs(
    built: Path, tmp_path: Path, name: str
) -> None:
    bank = only_declared(built, tmp_path, name)
    before, outs = tree(bank), generated(built, name)["outs"]
    run_stage(bank, name, None if name == "portfolio" else "toy", quiet)
    after = tree(bank)
    assert {relative: after[relative] for relative in before} == before, "a stage changed its inputs"
    made = {relative: data for relative, data in after.items() if relative not in before}
    assert {relative for relative in made if not under(relative, outs)} == set()
    assert all(any(under(relative, [out]) for relative in made) for out in outs)
    expected = {relative: data for relative, data in tree(built).items() if under(relative, outs)}
    assert made == expected


def test_a_planted_undeclared_file_is_missed(built: Path, tmp_path: Path) -> None:
    bank = only_declared(built, tmp_path, "score")
    (bank / "models/toy/out/scorer.json").unlink()
    with pytest.raises(FileNotFoundError):
        run_stage(bank, "score", "toy", quiet)


def test_stage_files_are_disjoint_and_flow_downwards() -> None:
    made: set[str] = set()
    for stage in STAGES:
        assert not made & set(stage.outs)
        assert not set(stage.deps) & set(stage.outs)
        for dep in stage.deps:
            assert dep in made or not dep.startswith(("models/", "reports/"))
        made |= set(stage.outs)

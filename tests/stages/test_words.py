"""A wording fix must not retrain: no word of a spec reaches a stage that makes scores, or a digest that approvals bind."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.config.wording import wording_places
from countermark.portfolio import compile as compiler
from countermark.portfolio.dag import STAGES
from countermark.portfolio.plan import ModelPlan, plan_models
from countermark.stages.run import run_stage
from tests.bank import edit, make_bank
from tests.config.test_wording import mend
from tests.e2e.shell import must, shell

WORDLESS = [stage.name for stage in STAGES if not stage.words]
RULE = 'rules:\n  - {kind: compare, name: paid, left: debt, operator: "<=", right: 1000, reason: Debt is small}\n'
USE = """\
  assumptions:
    - {text: Risk falls with income, test: feature.sign}
  limits:
    - {text: Debt of customers, measure: debt, minimum: 0, maximum: 1000}
"""
FAIRNESS = """\
fairness:
  attributes:
    sex: {column: sex, provenance: self-reported, reference: m}
  criterion: equal opportunity
"""


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy bank with words wherever it can have some, every stage but typesetting run, and recorded as DVC does."""
    bank = make_bank(tmp_path_factory.mktemp("words") / "bank", rows=400)
    model, contract = bank / "conf/model/toy.yaml", bank / "conf/contract/toy.yaml"
    edit(model, "  can_decline: true\n", "  can_decline: true\n" + USE)
    edit(model, "split: {", FAIRNESS + "split: {")
    edit(bank / "conf/policy/standard.yaml", "bootstrap_resamples: 2000", "bootstrap_resamples: 100")
    contract.write_text(contract.read_text(encoding="utf-8") + RULE, encoding="utf-8")
    (bank / "conf/model/toy.md").write_text("# toy\n\n## purpose\n\nIt ranks applicants.\n", encoding="utf-8")
    compiler.write(bank, compiler.compile_bank(bank))
    for stage in ("ingest", *(stage.name for stage in STAGES if stage.name != "render")):
        run_stage(bank, stage, "toy", quiet)
    (bank / "reports/toy/validation_pack.pdf").write_bytes(b"%PDF")
    record(bank)
    return bank


@pytest.fixture
def bank(built: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "bank"
    shutil.copytree(built, copy)
    return copy


def record(bank: Path) -> None:
    """Write the lock of the model as DVC does after a build."""
    params = yaml.safe_load((bank / "models/toy/params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lock: dict[str, Any] = {}
    for name, stage in stages.items():
        lock[name] = {"cmd": stage["cmd"], "deps": [{"path": dep, "md5": md5(bank / dep)} for dep in stage["deps"]]}
        for item in stage.get("params", ()):
            lock[name]["params"] = {file: {key: at(params, key) for key in keys} for file, keys in item.items()}
    (bank / "models/toy/dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}), encoding="utf-8")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes() if path.is_file() else b"", usedforsecurity=False).hexdigest()


def at(document: Mapping[str, Any], key: str) -> Any:
    for part in key.split("."):
        document = document[part]
    return document


def planned(bank: Path) -> tuple[ModelPlan, set[str]]:
    """The plan, and the stages of it that an input of their own makes stale."""
    (plan,) = plan_models(bank, ("toy",))
    return plan, {stage.name for stage in plan.stages if stage.action == "run"}


# --- what runs ------------------------------------------------------------------------------------------------------


def test_the_stages_up_to_the_scores_see_no_words() -> None:
    assert WORDLESS == ["contract", "dataset", "train", "challenge", "score"]


def test_nothing_changed_is_nothing_to_run(bank: Path) -> None:
    plan, stale = planned(bank)
    assert stale == set()
    assert plan.change_class == "none"


WORDS: dict[str, tuple[str, str, str, set[str]]] = {
    "a meaning": ("model/toy.yaml", "meaning: Income", "meaning: Yearly income", {"evidence", "pack"}),
    "a unit": ("model/toy.yaml", "meaning: Income", "meaning: Income, unit: per year", {"evidence", "pack"}),
    "a note on maturity": ("model/toy.yaml", "note: no dates", "note: without dates", {"evidence", "pack"}),
    "a definition": ("model/toy.yaml", "Missed payment", "A missed payment", {"evidence", "pack"}),
    "a reason for the challenger": ("model/toy.yaml", "why: The simplest", "why: A simple", {"evidence", "pack"}),
    "an assumption": ("model/toy.yaml", "Risk falls with", "The risk falls with", {"evidence", "pack"}),
    "a limit of use": ("model/toy.yaml", "Debt of customers", "Customers' debt", {"evidence", "pack"}),
    "a provenance": ("model/toy.yaml", "self-reported", "told by customers", {"evidence", "pack"}),
    "a criterion": ("model/toy.yaml", "equal opportunity", "equality of opportunity", {"evidence", "pack"}),
    "an owner": ("model/toy.yaml", "owner: Retail risk", "owner: Head of retail risk", {"pack"}),
    "a title": ("model/toy.yaml", "title: Toy default model", "title: Default of toys", {"pack"}),
    "the narrative": ("model/toy.md", "It ranks", "It orders", {"pack"}),
    "an owner of data": ("source/toy.yaml", "owner: Test", "owner: Data office", {"evidence", "pack"}),
    "a licence": ("source/toy.yaml", "licence: none", "licence: CC0", {"evidence", "pack"}),
    "a column's meaning": ("contract/toy.yaml", "unique: true", "unique: true, meaning: Key", {"evidence", "pack"}),
    "a rule's reason": ("contract/toy.yaml", "Debt is small", "Debts are small", {"evidence", "pack"}),
    "a rationale": ("decision/toy.yaml", "rationale: Test", "rationale: Chosen", {"profile", "evidence", "pack"}),
}


@pytest.mark.parametrize("what", WORDS)
def test_a_wording_fix_remakes_evidence_and_documents_alone(bank: Path, what: str) -> None:
    file, old, new, expected = WORDS[what]
    edit(bank / "conf" / file, old, new)
    compiler.write(bank, compiler.compile_bank(bank))
    plan, stale = planned(bank)
    assert stale - {"spec"} == expected
    assert not stale & set(WORDLESS)
    assert plan.change_class == "descriptive"


SENSE: dict[str, tuple[str, str, str, set[str], str]] = {
    "a monotone constraint": ("model/toy.yaml", "decreasing, monotone: true", "decreasing", {"train"}, "material"),
    "a depth": ("model/toy.yaml", "depth: 3", "depth: 4", {"train"}, "material"),
    "a tolerance": ("contract/toy.yaml", "tolerance: 0.01", "tolerance: 0.02", {"contract"}, "material"),
    "a reference group": ("model/toy.yaml", "reference: m", "reference: f", {"dataset"}, "non-material"),
    "a cut-off": ("decision/toy.yaml", "cutoff: 0.3", "cutoff: 0.35", {"evidence"}, "non-material"),
    "a limit of use": ("model/toy.yaml", "maximum: 1000}", "maximum: 900}", {"evidence"}, "non-material"),
}


@pytest.mark.parametrize("what", SENSE)
def test_a_change_of_sense_runs_what_it_reaches(bank: Path, what: str) -> None:
    file, old, new, among, change_class = SENSE[what]
    edit(bank / "conf" / file, old, new)
    compiler.write(bank, compiler.compile_bank(bank))
    plan, stale = planned(bank)
    assert among <= stale
    assert plan.change_class == change_class


def test_words_beside_a_change_of_sense_do_not_hide_it(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "meaning: Income", "meaning: Yearly income")
    edit(bank / "conf/model/toy.yaml", "maximum: 1000}", "maximum: 900}")
    compiler.write(bank, compiler.compile_bank(bank))
    assert planned(bank)[0].change_class == "non-material"
    edit(bank / "conf/model/toy.yaml", "depth: 3", "depth: 4")
    compiler.write(bank, compiler.compile_bank(bank))
    assert planned(bank)[0].change_class == "material"


@pytest.mark.slow
def test_dvc_says_the_same(bank: Path) -> None:
    """The lock that DVC itself writes, and its own verdict on what is stale."""

    def stale() -> set[str]:
        told = json.loads(must(shell(bank, "dvc", "status", "--json", "models/toy/dvc.yaml")))
        return {name.rpartition(":")[2] for name in told} - {"spec"}

    (bank / "models/toy/dvc.lock").unlink()
    must(shell(bank, "git", "init", "-q"))
    must(shell(bank, "dvc", "init", "-q"))
    must(shell(bank, "dvc", "commit", "-q", "-f", "models/toy/dvc.yaml"))
    assert stale() == set()
    model = bank / "conf/model/toy.yaml"
    for old, new in (("meaning: Income", "meaning: Yearly income"), ("owner: Retail risk", "owner: Head of risk")):
        edit(model, old, new)
    edit(bank / "conf/model/toy.md", "It ranks", "It orders")
    compiler.write(bank, compiler.compile_bank(bank))
    assert stale() == {"evidence", "pack"}
    edit(model, "decreasing, monotone: true", "decreasing")
    compiler.write(bank, compiler.compile_bank(bank))
    assert {"train", "challenge"} <= stale()


# --- what is made ---------------------------------------------------------------------------------------------------


def mended(bank: Path) -> None:
    """Other words wherever the compiled files of the bank hold some."""
    for file, prefix in (("models/toy/params.yaml", "spec"), ("sources/toy/params.yaml", "")):
        path = bank / file
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        for place in wording_places():
            if prefix or place[0] == "source":
                mend(params[prefix] if prefix else params, place)
        path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def reworded(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank with other words everywhere, all stages run again."""
    copy = tmp_path_factory.mktemp("reworded") / "bank"
    shutil.copytree(built, copy)
    mended(copy)
    for folder in ("models/toy/out", "data/sources/toy", "reports/toy"):
        shutil.rmtree(copy / folder)
    for stage in ("ingest", *(stage.name for stage in STAGES if stage.name not in ("spec", "render"))):
        run_stage(copy, stage, "toy", quiet)
    return copy


def test_words_reach_no_stage_that_makes_scores(built: Path, reworded: Path) -> None:
    assert files(reworded / "data/sources/toy") == files(built / "data/sources/toy")
    before, after = files(built / "models/toy/out"), files(reworded / "models/toy/out")
    assert set(after) == set(before) - {"spec.checked"}
    assert {name for name in after if after[name] != before[name]} <= {"evidence.json"}


def test_words_reach_the_pack_and_no_digest_that_approvals_bind(built: Path, reworded: Path) -> None:
    before, after = (json.loads((bank / "reports/toy/pack.json").read_bytes()) for bank in (built, reworded))
    assert json.dumps(after).count("mended") > 20
    assert after["pack_hash"] != before["pack_hash"]
    for name in ("results", "evidence", "data", "scorer", "policy"):
        assert after["digests"][name] == before["digests"][name], name

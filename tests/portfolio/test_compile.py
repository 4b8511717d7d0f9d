from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.errors import BuildError, ConfigError, SourceError, StaleError
from countermark.portfolio import compile as compiler
from countermark.portfolio.dag import STAGES
from countermark.portfolio.explain import explain_key
from countermark.portfolio.plan import plan_models, plan_text
from tests.bank import edit, make_bank


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    root = make_bank(tmp_path / "bank")
    compiler.write(root, compiler.compile_bank(root))
    return root


def _params(root: Path, model: str, stage: str) -> list[str]:
    document = yaml.safe_load((root / "models" / model / "dvc.yaml").read_text())
    return next(iter(document["stages"][stage]["params"][0].values()))


def test_compiling_twice_changes_nothing(bank: Path) -> None:
    assert compiler.write(bank, compiler.compile_bank(bank)) == ()
    compiler.check(bank, compiler.compile_bank(bank))


def test_params_hold_the_resolved_spec_that_reads_back(bank: Path) -> None:
    spec, params = compiler.read_spec(bank, "toy")
    assert spec == compiler.compile_bank(bank).models["toy"].spec
    assert params["semantics"]["scoring"] >= 1
    assert params["libraries"]["catboost"]


def test_an_edit_without_compile_is_refused_with_the_cure(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "depth: 3", "depth: 4")
    with pytest.raises(StaleError, match="differs") as caught:
        compiler.check_model(bank, "toy")
    assert "run countermark compile" in str(caught.value)
    with pytest.raises(StaleError, match="generated files differ"):
        compiler.check(bank, compiler.compile_bank(bank))


def test_a_comment_is_not_a_change(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "title:", "# why this title\ntitle:")
    compiler.check_model(bank, "toy")


def test_the_first_stage_depends_on_every_contributing_file(bank: Path) -> None:
    document = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text())
    deps = document["stages"]["spec"]["deps"]
    files = compiler.compile_bank(bank).models["toy"].composed.files
    assert set(files) <= set(deps)


def test_the_first_stage_waits_for_the_narrative_or_looks_for_it_at_every_build(bank: Path) -> None:
    def first() -> dict[str, Any]:
        document = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text())
        spec: dict[str, Any] = document["stages"]["spec"]
        return spec

    narrative = bank / "conf/model/toy.md"
    assert "conf/model/toy.md" in first()["deps"]
    assert "always_changed" not in first()
    narrative.unlink()
    with pytest.raises(StaleError, match="differs"):
        compiler.check_model(bank, "toy")
    compiler.write(bank, compiler.compile_bank(bank))
    assert "conf/model/toy.md" not in first()["deps"]
    assert first()["always_changed"] is True
    narrative.write_text("# Toy\n")
    with pytest.raises(StaleError, match="differs") as caught:
        compiler.check_model(bank, "toy")
    assert "run countermark compile" in str(caught.value)


def test_report_semantics_touch_no_training_stage(bank: Path) -> None:
    for stage in STAGES:
        if stage.effect == "scores":
            assert not {"report", "charts"} & set(stage.rooms)
    assert "semantics.report" in _params(bank, "toy", "render")
    assert not any("report" in key for key in _params(bank, "toy", "train"))


def test_a_removed_model_leaves_no_generated_file(bank: Path) -> None:
    (bank / "conf/model/toy.yaml").unlink()
    compiler.write(bank, compiler.compile_bank(bank))
    assert not (bank / "models/toy/dvc.yaml").exists()
    assert not (bank / "sources/toy/dvc.yaml").exists()


def test_one_source_must_not_mean_two_things(bank: Path) -> None:
    text = (bank / "conf/model/toy.yaml").read_text()
    (bank / "conf/model/toy2.yaml").write_text(text.replace("name: toy", "name: toy2") + "source: {owner: Another}\n")
    with pytest.raises(ConfigError, match="source 'toy' means two things"):
        compiler.compile_bank(bank)


def test_a_source_outside_the_bank_is_refused(bank: Path) -> None:
    edit(bank / "conf/source/toy.yaml", "path: toy.csv", "path: ../toy.csv")
    with pytest.raises(ConfigError, match="points outside the bank"):
        compiler.compile_bank(bank)


def test_a_folder_is_no_source(bank: Path) -> None:
    edit(bank / "conf/source/toy.yaml", "path: toy.csv", "path: conf")
    with pytest.raises(ConfigError, match="is a folder") as caught:
        compiler.compile_bank(bank)
    assert caught.value.file == "conf/source/toy.yaml"


def test_a_file_outside_the_bank_needs_its_digest_and_is_read_at_every_build(bank: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.csv"
    outside.write_text((bank / "toy.csv").read_text())
    edit(bank / "conf/source/toy.yaml", "path: toy.csv", f"path: {outside}")
    with pytest.raises(ConfigError, match="that nothing pins") as caught:
        compiler.compile_bank(bank)
    assert "sha256" in str(caught.value)
    edit(bank / "conf/source/toy.yaml", f"path: {outside}", f"path: {outside}\nsha256: '{'0' * 64}'")
    compiler.write(bank, compiler.compile_bank(bank))
    ingest = yaml.safe_load((bank / "sources/toy/dvc.yaml").read_text())["stages"]["ingest"]
    assert ingest["always_changed"] is True
    assert ingest["deps"] == []


def test_a_build_without_its_data_is_refused_before_anything_runs(bank: Path) -> None:
    (bank / "toy.csv").unlink()
    with pytest.raises(SourceError, match="data of source 'toy' is not there") as caught:
        compiler.check_files(bank, compiler.compile_bank(bank), ("toy",))
    assert "conf/source/toy.yaml" in str(caught.value)


def test_an_unreadable_root_lock_is_dropped_and_a_healthy_one_kept(bank: Path) -> None:
    lock = bank / "dvc.lock"
    entry = "schema: '2.0'\nstages:\n  portfolio:\n    cmd: x\n    deps:\n    - path: a\n      md5: b\n    outs:\n    - path: c\n"
    lock.write_text(entry)
    assert compiler.write(bank, compiler.compile_bank(bank)) == ()
    lock.write_text(entry + "      md5: one\n      md5: two\n")
    assert compiler.write(bank, compiler.compile_bank(bank)) == ("dvc.lock",)
    assert not lock.exists()


def test_two_branches_that_add_a_model_merge_without_a_conflict(bank: Path) -> None:
    def git(*args: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args]
        return subprocess.run(command, cwd=bank, check=True, capture_output=True, text=True).stdout

    def add(name: str) -> None:
        for group in ("model", "source", "contract", "decision"):
            text = (bank / f"conf/{group}/toy.yaml").read_text()
            (bank / f"conf/{group}/{name}.yaml").write_text(
                text.replace("name: toy", f"name: {name}").replace(": toy\n", f": {name}\n")
            )
        compiler.write(bank, compiler.compile_bank(bank))
        (bank / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  portfolio:\n    cmd: x\n    deps:\n"
            + "".join(f"    - path: reports/{m}/pack.json\n      md5: {m}\n" for m in sorted(("toy", name)))
            + f"    outs:\n    - path: p\n      md5: {name}\n"
        )
        git("add", "-A")
        git("commit", "-qm", name)

    git("init", "-qb", "main")
    git("add", "-A")
    git("commit", "-qm", "base")
    git("switch", "-qc", "left")
    add("alpha")
    git("switch", "-q", "main")
    git("switch", "-qc", "right")
    add("beta")
    git("merge", "-q", "--no-edit", "left")
    compiler.write(bank, compiler.compile_bank(bank))
    compiler.check(bank, compiler.compile_bank(bank))
    deps = yaml.safe_load((bank / "dvc.yaml").read_text())["stages"]["portfolio"]["deps"]
    assert {d.split("/")[1] for d in deps} == {"toy", "alpha", "beta"}


MERGED = "<<<<<<< HEAD\nspec: 1\n=======\nspec: 2\n>>>>>>> other\n"
DAMAGED = {
    "merged by hand": MERGED,
    "cut short": "spec: {name: toy",
    "of another model": "spec: {name: x}\n",
    "a list": "- 1\n",
}


@pytest.mark.parametrize("sentence", DAMAGED)
def test_a_damaged_generated_file_is_refused_and_compiled_anew(bank: Path, sentence: str) -> None:
    path = bank / "models/toy/params.yaml"
    whole = path.read_text()
    path.write_text(DAMAGED[sentence])
    with pytest.raises(
        StaleError, match=r"'models/toy/params\.yaml' is not what 'countermark compile' wrote"
    ) as caught:
        compiler.read_spec(bank, "toy")
    assert "run countermark compile" in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    compiler.write(bank, compiler.compile_bank(bank))
    assert path.read_text() == whole


def test_plan_refuses_a_lock_that_a_merge_broke(bank: Path) -> None:
    (bank / "models/toy/dvc.lock").write_text(MERGED)
    with pytest.raises(BuildError, match="a lock file of DVC cannot be read") as caught:
        plan_models(bank, ("toy",))
    assert "git checkout --theirs" in str(caught.value)


def test_explain_names_file_line_and_what_was_overridden(bank: Path) -> None:
    (bank / "conf/learner/catboost.yaml").write_text("kind: catboost\ndepth: 5\n")
    text = explain_key(bank, "toy.learner.depth")
    assert text.splitlines()[0] == "toy.learner.depth = 3"
    assert "set at conf/model/toy.yaml:" in text
    assert "overrides conf/learner/catboost.yaml:2  5" in text
    assert "default of the schema" in explain_key(bank, "toy.learner.l2_leaf_reg")
    assert "conf/model/toy.yaml" in explain_key(bank, "toy.learner")


def test_explain_finds_keys_that_hold_dots(bank: Path) -> None:
    text = explain_key(bank, "toy.policy.limits.cal.slope.source")
    assert "set at conf/policy/standard.yaml:" in text
    with pytest.raises(ConfigError, match="did you mean") as caught:
        explain_key(bank, "toy.policy.limits.cal.slop")
    assert "'cal.slope'" in str(caught.value)


BAD_KEYS = {
    "an unknown model": ("tou.learner", "no model 'tou'", "did you mean 'toy'"),
    "an unknown key": ("toy.lerner", "no key 'lerner'", "did you mean 'learner'"),
    "a key below a value": ("toy.learner.depth.x", "no key 'x'", "a key of a mapping"),
}


@pytest.mark.parametrize("case", BAD_KEYS, ids=list(BAD_KEYS))
def test_explain_of_nothing_is_answered_with_the_nearest(bank: Path, case: str) -> None:
    key, what, hint = BAD_KEYS[case]
    with pytest.raises(ConfigError, match=what) as caught:
        explain_key(bank, key)
    assert hint in str(caught.value)


def test_plan_of_a_new_model_runs_everything_and_tells_the_gaps(bank: Path) -> None:
    (plan,) = plan_models(bank, ("toy",))
    assert {stage.action for stage in plan.stages} == {"run"}
    assert plan.change_class == "new model"
    sections = {section for section, _ in plan.not_evaluated}
    assert {"B3", "C1", "C2", "C3", "F1-F3"} <= sections
    assert "no validator is named" in plan_text((plan,))
    with pytest.raises(ConfigError, match="no model 'x'"):
        plan_models(bank, ("x",))


def test_a_small_float_in_the_lock_is_the_same_number(bank: Path) -> None:
    whole = yaml.safe_load((bank / "models/toy/params.yaml").read_text())
    entry = yaml.safe_load((bank / "models/toy/dvc.yaml").read_text())["stages"]["evidence"]
    keys = next(iter(entry["params"][0].values()))
    assert whole["spec"]["policy"]["limits"]["xai.shap_additivity"]["watch"] == 1e-9
    lock = {
        "cmd": entry["cmd"],
        "deps": [{"path": dep, "md5": "x"} for dep in entry["deps"]],
        "params": {"models/toy/params.yaml": {key: _at(whole, key) for key in keys}},
    }
    text = yaml.safe_dump({"schema": "2.0", "stages": {"evidence": lock}}).replace("1.0e-09", "1e-09")
    assert "watch: 1e-09" in text
    (bank / "models/toy/dvc.lock").write_text(text)
    (plan,) = plan_models(bank, ("toy",))
    assert next(stage for stage in plan.stages if stage.name == "evidence").action == "may run"


def _at(document: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        document = document[part]
    return document

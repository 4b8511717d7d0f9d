from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermark.config.load import compose, load_bank, load_model, model_names
from countermark.config.yamlfile import read_yaml
from countermark.errors import ConfigError
from tests.bank import edit, make_bank


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return make_bank(tmp_path / "bank")


def test_a_model_composes_with_its_groups(bank: Path) -> None:
    loaded = load_model(bank, "toy")
    assert loaded.spec.learner.kind == "catboost"
    assert loaded.spec.challenger is not None
    assert loaded.spec.challenger.learner.kind == "logistic"
    assert loaded.spec.source.name == "toy"
    assert loaded.composed.files[-1] == "conf/model/toy.yaml"
    assert set(loaded.composed.files) >= {"conf/learner/catboost.yaml", "conf/policy/standard.yaml"}


def test_composing_twice_leaves_no_global_state(bank: Path) -> None:
    from hydra.core.global_hydra import GlobalHydra

    first = compose(bank, "toy").data
    assert not GlobalHydra.instance().is_initialized()
    assert compose(bank, "toy").data == first


def test_the_origin_of_a_value_is_the_last_file_that_set_it(bank: Path) -> None:
    composed = load_model(bank, "toy").composed
    depth = composed.place(("learner", "depth"))
    assert depth is not None
    assert (depth.file, depth.value) == ("conf/model/toy.yaml", 3)
    kinds = composed.origins[("learner", "kind")]
    assert [origin.file for origin in kinds] == ["conf/learner/catboost.yaml"]
    line = Path(bank / depth.file).read_text().splitlines()[depth.line - 1]
    assert "depth: 3" in line


FAIR = """\
fairness:
  criterion: parity
  intersections: []
  attributes:
    gender: {column: sex, provenance: self-reported, reference: f}
"""
BAD_YAML = {
    "a misspelt key": ("model/toy", "calibration:", "calibraton:", "unknown key 'calibraton'", "'calibration'"),
    "a misspelt inner key": (
        "model/toy",
        "iterations: 20",
        "itrations: 20",
        "unknown key 'learner.itrations'",
        "'iterations'",
    ),
    "a wrong type": ("model/toy", "depth: 3", "depth: three", "'learner.depth' is not right", "'three'"),
    "a value out of range": (
        "model/toy",
        "depth: 3",
        "depth: 30",
        "'learner.depth' is not right",
        "less than or equal to 10",
    ),
    "an unknown kind": (
        "learner/catboost",
        "kind: catboost",
        "kind: catbost",
        "'learner' has an unknown kind",
        "did you mean 'catboost'",
    ),
    "an unknown literal": (
        "model/toy",
        "exposure: low",
        "exposure: lo",
        "'tiering.exposure' is not one of its allowed values",
        "did you mean 'low'",
    ),
    "a missing key": ("model/toy", "title: Toy default model\n", "", "key 'title' is missing", "title: ..."),
    "an unknown group option": (
        "model/toy",
        "/learner@learner: catboost",
        "/learner@learner: catbost",
        "has no option 'catbost'",
        "did you mean 'catboost'",
    ),
    "an unknown group": (
        "model/toy",
        "/learner@learner:",
        "/lerner@learner:",
        "no config group 'lerner'",
        "did you mean 'learner'",
    ),
    "a duplicate key": (
        "model/toy",
        "title: Toy default model",
        "title: A\ntitle: B",
        "key 'title' is given twice",
        "first on line",
    ),
    "broken YAML": (
        "model/toy",
        "split: {kind: stratified, seed: 3}",
        "split: {kind: stratified, seed: 3",
        "not valid YAML",
        "hint",
    ),
    "a resolver": (
        "model/toy",
        "title: Toy default model",
        "title: ${oc.env:HOME}",
        "must not call a resolver",
        "url_env",
    ),
    "an interpolation of nothing": (
        "model/toy",
        "title: Toy default model",
        "title: ${model.nowhere}",
        "cannot be resolved",
        "nowhere",
    ),
    "a YAML tag": (
        "model/toy",
        "title: Toy default model",
        "title: !!python/name:os.system x",
        "YAML tags are refused|not valid YAML",
        "python",
    ),
    "a wrong model name": (
        "model/toy",
        "name: toy",
        "name: toi",
        "the model's name is not its file's name",
        "name: toy",
    ),
    "a class path": (
        "model/toy",
        "title: Toy default model",
        "title: A\n_target_: os.system",
        "unknown key '_target_'",
        "one of",
    ),
    "a key that YAML reads as truth": (
        "model/toy",
        "  debt: {meaning",
        "  no: {source: debt, meaning",
        "a key is not text",
        "write 'no' in quotes",
    ),
    "a key that YAML reads as a number": (
        "model/toy",
        "  debt: {meaning",
        "  1: {source: debt, meaning",
        "a key is not text",
        "a number",
    ),
    "a key that YAML reads as nothing": (
        "model/toy",
        "  debt: {meaning",
        "  ~: {source: debt, meaning",
        "a key is not text",
        "nothing",
    ),
    "a merge key": ("model/toy", "  debt: {meaning", "  debt: {<<: {unit: x}, meaning", "a merge key", "config group"),
    "a code with a leading zero": (
        "contract/toy",
        "region: {type: text",
        "region: {type: text, allowed: [01, 02]",
        "'01' is read in different ways",
        "in quotes",
    ),
    "a time of day without quotes": (
        "model/toy",
        "title: Toy default model",
        "title: 12:30",
        "'12:30' is read in different ways",
        "in quotes",
    ),
    "truth for a number": (
        "model/toy",
        "split: {kind: stratified, seed: 3}",
        "split: {kind: stratified, seed: yes}",
        "'split.seed' is not right",
        "how YAML reads yes and no",
    ),
    "a number for a text": (
        "decision/toy",
        "version: 1.0.0",
        "version: 1.0",
        "'decision.version' is not right",
        "put it in quotes",
    ),
    "truth for a text": ("source/toy", "owner: Test", "owner: no", "'source.owner' is not right", "put it in quotes"),
    "too few entries": (
        "decision/toy",
        "features: [debt]",
        "features: []",
        "'decision.reasons.R02.features' is not right",
        "at least 1 entry",
    ),
    "text for a list": (
        "decision/toy",
        "features: [debt]",
        "features: debt",
        "'decision.reasons.R02.features' is not right",
        "a list",
    ),
    "a version of two numbers": (
        "model/toy",
        "version: 1.0.0",
        "version: '1.0'",
        "'version' is not right",
        "three numbers such as '1.0.0'",
    ),
    "a day that no calendar has": (
        "model/toy",
        "as_of: 2024-12-31",
        "as_of: 2024-02-30",
        "'as_of' is not right",
        "a day of the calendar, written YYYY-MM-DD",
    ),
    "a date of another order": (
        "model/toy",
        "as_of: 2024-12-31",
        "as_of: 31.12.2024",
        "'as_of' is not right",
        "a date, YYYY-MM-DD",
    ),
    "a seed beyond the sampler": (
        "model/toy",
        "calibration:",
        "tuning: {trials: 1, seed: 4294967296, space: {depth: {kind: int, low: 2, high: 3}}}\ncalibration:",
        "'tuning.seed' is not right",
        "less than 4294967296",
    ),
    "words for class weights": (
        "model/toy",
        "threads: 1}",
        "threads: 1, class_weights: [a, 2]}",
        "'learner.class_weights.0' is not right",
        "a number",
    ),
    "weights of three classes": (
        "model/toy",
        "threads: 1}",
        "threads: 1, class_weights: [1, 2, 3]}",
        "'learner.class_weights' is not",
        "got: a list of 3",
    ),
    "one key composed twice": (
        "model/toy",
        "  - _self_",
        "  - /learner@learner: logistic\n  - _self_",
        "two entries of 'defaults' compose 'learner'",
        "override /learner@learner: logistic",
    ),
    "an interpolation that is not closed": (
        "model/toy",
        "title: Toy default model",
        "title: ${model.name",
        "an interpolation cannot be read",
        "${key}",
    ),
    "a protected attribute as a segment": (
        "model/toy",
        "data: {observed_at: 2024-06-30}",
        FAIR + "data: {observed_at: 2024-06-30, segments: [sex]}",
        "segment 'sex' is the protected attribute 'gender'",
        "sections F1 to F3",
    ),
    "an intersection of nothing": (
        "model/toy",
        "data: {observed_at: 2024-06-30}",
        FAIR.replace("[]", "[[gender, agee]]") + "data: {observed_at: 2024-06-30}",
        "an intersection names no protected attribute: 'agee'",
        "one of: gender",
    ),
    "a reason of no input": (
        "decision/toy",
        "features: [debt]",
        "features: [dept]",
        "reason 'R02' names no input",
        "did you mean 'debt'",
    ),
    "a monotone input without direction": (
        "model/toy",
        "debt: {meaning: Debt, expected: increasing}",
        "debt: {meaning: Debt, monotone: true}",
        "'features.debt' is not right",
        "expected: increasing",
    ),
}


@pytest.mark.parametrize("case", BAD_YAML, ids=list(BAD_YAML))
def test_a_mistake_in_yaml_names_file_line_and_cure(bank: Path, case: str) -> None:
    where, old, new, what, rest = BAD_YAML[case]
    edit(bank / "conf" / f"{where}.yaml", old, new)
    with pytest.raises(ConfigError, match=what) as caught:
        load_model(bank, "toy")
    message = str(caught.value)
    assert rest in message
    assert caught.value.file is not None
    assert caught.value.file.startswith("conf/")
    if case != "a YAML tag":
        assert caught.value.line is not None


UNREADABLE = {
    "a folder": (lambda path: path.mkdir(), "directory"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
}


@pytest.mark.parametrize("case", UNREADABLE, ids=list(UNREADABLE))
def test_what_is_no_file_is_refused(bank: Path, case: str) -> None:
    make, told = UNREADABLE[case]
    path = bank / "conf/contract/toy.yaml"
    path.unlink()
    make(path)
    with pytest.raises(ConfigError, match="this file cannot be read") as caught:
        load_model(bank, "toy")
    assert told in str(caught.value.got)
    assert caught.value.file == "conf/contract/toy.yaml"


def test_an_empty_file_of_a_group_is_named_itself(bank: Path) -> None:
    (bank / "conf/contract/toy.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"key 'contract\.name' is missing") as caught:
        load_model(bank, "toy")
    assert caught.value.place == "conf/contract/toy.yaml:1"


def test_a_mistake_names_the_line_it_stands_on(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "calibration:", "calibraton:")
    with pytest.raises(ConfigError) as caught:
        load_model(bank, "toy")
    lines = (bank / "conf/model/toy.yaml").read_text().splitlines()
    assert caught.value.line is not None
    assert lines[caught.value.line - 1].startswith("calibraton:")


def test_every_mistake_is_listed_not_only_the_first(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "depth: 3", "depth: 30")
    edit(bank / "conf/model/toy.yaml", "count: 4", "count: many")
    with pytest.raises(ConfigError) as caught:
        load_model(bank, "toy")
    assert "grades.scale.count" in str(caught.value)
    assert "learner.depth" in str(caught.value)


def test_an_unknown_model_is_answered_with_the_nearest(bank: Path) -> None:
    with pytest.raises(ConfigError, match="no model 'tou'") as caught:
        load_model(bank, "tou")
    assert "did you mean 'toy'" in str(caught.value)


def test_a_folder_without_bank_yaml_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_bank(tmp_path)
    assert model_names(tmp_path) == ()


def test_an_escaped_interpolation_is_plain_text(bank: Path) -> None:
    edit(bank / "conf/model/toy.yaml", "title: Toy default model", "title: 'Costs \\${oc.env:HOME} each'")
    assert load_model(bank, "toy").spec.title == "Costs ${oc.env:HOME} each"


def test_dates_stay_text_and_small_floats_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("day: 2024-01-31\nsmall: 1e-9\nflag: true\n")
    assert read_yaml(path, "x.yaml").data == {"day": "2024-01-31", "small": 1e-9, "flag": True}


BAD_FILES = {
    "not UTF-8": (b"a: \xff\n", "not a UTF-8 text file"),
    "a list": (b"- a\n- b\n", "not a mapping"),
    "a tab": (b"a:\n\t- b\n", "not valid YAML"),
}


@pytest.mark.parametrize("case", BAD_FILES, ids=list(BAD_FILES))
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, case: str) -> None:
    data, what = BAD_FILES[case]
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=what):
        read_yaml(path, "x.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            assert isinstance(read_yaml(path, "x.yaml").data, dict)

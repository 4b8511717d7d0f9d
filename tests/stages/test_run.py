from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from countermark.errors import BuildError, ConfigError, ContractError, StaleError
from countermark.portfolio import compile as compiler
from countermark.portfolio.dag import STAGES
from countermark.portfolio.plan import RUN_LOG, plan_models
from countermark.stages import run
from countermark.stages.files import read_json, write_bytes, write_json
from tests.bank import edit, make_bank


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bank = make_bank(tmp_path_factory.mktemp("run") / "bank", rows=50)
    compiler.write(bank, compiler.compile_bank(bank))
    return bank


@pytest.fixture
def params(compiled: Path) -> Any:
    """Change params.yaml for one test."""
    path = compiled / "models/toy/params.yaml"
    before = path.read_text(encoding="utf-8")

    def change(part: str, key: str, value: Any) -> None:
        document = yaml.safe_load(before)
        document[part][key] = value
        if value is None:
            del document[part][key]
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    yield change
    path.write_text(before, encoding="utf-8")


def test_every_declared_stage_has_a_runner_that_exists() -> None:
    import importlib

    assert set(run._RUNNERS) == {stage.name for stage in STAGES} | {"ingest", "portfolio"}
    for place in run._RUNNERS.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


BAD_CALLS = {
    "no such stage": ("trane", "toy", "no stage 'trane'", "one of: ingest, spec, contract"),
    "a stage without its model": ("train", None, "one model or source", "countermark stage train NAME"),
    "the portfolio of one model": ("portfolio", "toy", "for the whole bank", "countermark stage portfolio"),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_a_bad_call_is_refused(compiled: Path, sentence: str) -> None:
    name, model, says, expected = BAD_CALLS[sentence]
    with pytest.raises(ConfigError, match=says) as caught:
        run.run_stage(compiled, name, model, quiet)
    assert expected in str(caught.value)


def test_what_is_not_compiled_cannot_run(compiled: Path) -> None:
    with pytest.raises(StaleError, match="model 'other' is not compiled"):
        run.run_stage(compiled, "train", "other", quiet)
    with pytest.raises(StaleError, match="source 'other' is not compiled"):
        run.run_stage(compiled, "ingest", "other", quiet)


ENVIRONMENTS: dict[str, tuple[str, str, str, Any, str]] = {
    "another library": ("train", "libraries", "catboost", "0.1", "catboost 0.1 -> "),
    "a library that was not compiled": ("train", "libraries", "catboost", None, "catboost None -> "),
    "another formula": ("train", "semantics", "training", 999, "semantics of 'training' 999 -> "),
    "another printer": ("render", "semantics", "report", 999, "semantics of 'report' 999 -> "),
}


@pytest.mark.parametrize("sentence", ENVIRONMENTS)
def test_a_stage_runs_only_with_what_it_was_compiled_for(compiled: Path, params: Any, sentence: str) -> None:
    stage, part, key, value, says = ENVIRONMENTS[sentence]
    run.check_environment(compiled, stage, "toy")
    params(part, key, value)
    with pytest.raises(BuildError, match=f"stage '{stage}' would not run as it was compiled") as caught:
        run.run_stage(compiled, stage, "toy", quiet)
    assert says in str(caught.value)
    assert "requirements.lock" in str(caught.value)


def test_a_library_that_the_stage_does_not_use_is_not_asked_for(compiled: Path, params: Any) -> None:
    params("libraries", "weasyprint", "0.1")
    run.check_environment(compiled, "train", "toy")
    with pytest.raises(BuildError, match="would not run"):
        run.check_environment(compiled, "render", "toy")


def test_a_run_is_logged_outside_the_build_and_a_failure_is_not(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", rows=50)
    compiler.write(bank, compiler.compile_bank(bank))
    said: list[str] = []
    run.run_stage(bank, "ingest", "toy", said.append)
    run.run_stage(bank, "spec", "toy", said.append)
    with pytest.raises(BuildError):
        run.run_stage(bank, "dataset", "toy", said.append)
    lines = [json.loads(line) for line in (bank / RUN_LOG).read_text(encoding="utf-8").splitlines()]
    assert [(line["model"], line["stage"]) for line in lines] == [("toy", "ingest"), ("toy", "spec")]
    assert all(line["seconds"] >= 0 for line in lines)
    assert "50 rows" in said[0]
    (plan,) = plan_models(bank, ("toy",))
    assert {stage.name for stage in plan.stages if stage.seconds is not None} == {"spec"}


def test_the_log_is_ignored_by_git(compiled: Path) -> None:
    assert RUN_LOG.split("/")[0] in (compiled / ".gitignore").read_text(encoding="utf-8")


# --- narratives and time zones ---------------------------------------------------------------------------------------


BAD_PROSE: dict[str, tuple[bytes, str]] = {
    "a section nobody asks for": (b"# Toy\n\n## modle\n", "unknown narrative section 'modle'"),
    "text before the first section": (b"Toy\n\n## model\n", "would not be printed"),
    "no text at all": (b"\xff\xfe\x00", "not a UTF-8 text file"),
}


@pytest.mark.parametrize("sentence", BAD_PROSE)
def test_prose_is_checked_before_anything_is_computed(tmp_path: Path, sentence: str) -> None:
    prose, says = BAD_PROSE[sentence]
    bank = make_bank(tmp_path / "bank", rows=50)
    compiler.write(bank, compiler.compile_bank(bank))
    (bank / "conf/model/toy.md").write_bytes(prose)
    with pytest.raises(ConfigError, match=says) as caught:
        run.run_stage(bank, "spec", "toy", quiet)
    assert caught.value.file == "conf/model/toy.md"
    assert not (bank / "models/toy/out/spec.checked").exists()


@pytest.mark.parametrize("declared", [True, False])
def test_a_second_time_zone_counts_where_the_contract_declares_it(tmp_path: Path, declared: bool) -> None:
    import datetime as dt

    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    bank = make_bank(tmp_path / "bank", rows=60)
    table = pyarrow.csv.read_csv(bank / "toy.csv")
    for name, zone in (("seen", "UTC"), ("stamp", None)):
        column = pa.array([dt.datetime(2024, 1, 31, 9)] * table.num_rows, pa.timestamp("us", zone))
        table = table.append_column(name, column)
    pq.write_table(table, bank / "toy.parquet")
    edit(bank / "conf/source/toy.yaml", "kind: csv", "kind: parquet")
    edit(bank / "conf/source/toy.yaml", "toy.csv", "toy.parquet")
    stamp = "  stamp: {type: date}\n" if declared else ""
    edit(bank / "conf/contract/toy.yaml", "  default:", f"  seen: {{type: date}}\n{stamp}  default:")
    edit(bank / "conf/contract/toy.yaml", "tolerance: 0.01", "tolerance: 0.01\nextra_columns: drop")
    compiler.write(bank, compiler.compile_bank(bank))
    run.run_stage(bank, "ingest", "toy", quiet)
    if not declared:
        run.run_stage(bank, "contract", "toy", quiet)
        assert read_json(bank / "models/toy/out/contract.json")["tables"]["main"]["dropped_columns"] == ["stamp"]
        return
    with pytest.raises(ContractError, match="several time zones") as caught:
        run.run_stage(bank, "contract", "toy", quiet)
    assert caught.value.got == "'seen' in UTC, 'stamp' in no zone"
    assert caught.value.file == "conf/contract/toy.yaml"


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1]})
    assert read_json(path) == {"a": [0.1], "b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [0.1], "b": 1}


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "inner").mkdir(parents=True)
    with pytest.raises(BuildError, match="'taken' cannot be written"):
        write_bytes(target, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"'a\.json' is missing") as missing:
        read_json(tmp_path / "a.json")
    assert "countermark build" in str(missing.value)
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(BuildError, match=r"'a\.json' is damaged") as damaged:
        read_json(tmp_path / "a.json")
    assert "build again" in str(damaged.value)

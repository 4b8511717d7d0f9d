from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from countermark.config.load import load_model
from countermark.config.spec import ModelSpec
from countermark.errors import ConfigError
from countermark.portfolio.bank import bank_files, write_bank
from countermark.portfolio.compile import compile_bank
from countermark.portfolio.scaffold import Request, Scaffold, scaffold_model

QUESTIONS = {"purpose": "Which decision does it support?", "opinion": "What does the validator conclude?"}
N = 60
RNG = np.random.default_rng(8)
COLUMNS: dict[str, list[Any]] = {
    "Loan #": [f"L{i:03d}" for i in range(N)],
    "Opened (date)": [f"2023-{1 + i // 5:02d}-15" for i in range(N)],
    "Gender": ["Female" if i % 2 else "Male" for i in range(N)],
    "Age (years)": list(RNG.integers(19, 80, N)),
    "Income, kEUR": ["" if i % 9 == 0 else f"{v:.2f}" for i, v in enumerate(RNG.gamma(4, 9, N))],
    "select": ["yes" if i % 3 else "no" for i in range(N)],
    "a.b": list(RNG.poisson(3, N)),
    "A B": list(RNG.integers(0, 9, N)),
    "null": list(RNG.integers(0, 9, N)),
    "cost ${usd}": [f"{v:.3f}" for v in RNG.normal(size=N)],
    "grade": ["${a}" if i % 4 else "b: c #d" for i in range(N)],
    "constant": ["x"] * N,
    "empty": [""] * N,
    "free text": [f"note {i}" for i in range(N)],
    "Default": [int(i % 5 == 0) for i in range(N)],
}


def csv_of(columns: Mapping[str, list[Any]]) -> str:
    def cell(value: Any) -> str:
        text = str(value)
        return f'"{text}"' if "," in text else text

    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(map(cell, columns)), *(",".join(map(cell, row)) for row in rows)]) + "\n"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    write_bank(tmp_path / "bank", "test bank")
    return tmp_path / "bank"


def scaffold(bank: Path, columns: Mapping[str, list[Any]] = COLUMNS, **changes: Any) -> Scaffold:
    (bank / "data.csv").write_text(csv_of(columns), encoding="utf-8")
    request = {"name": "fresh", "kind": "pd", "data": bank / "data.csv", "outcome": None, "as_of": None} | changes
    return scaffold_model(bank, Request(**request), QUESTIONS)


def load(bank: Path, made: Scaffold) -> ModelSpec:
    """Write the files and load the model as a build does."""
    for relative, text in made.files.items():
        path = bank / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    compile_bank(bank)
    return load_model(bank, "fresh").spec


def without(*names: str) -> dict[str, list[Any]]:
    return {name: values for name, values in COLUMNS.items() if name not in names}


def test_a_strange_file_becomes_a_spec_that_loads(bank: Path) -> None:
    spec = load(bank, scaffold(bank))
    assert set(spec.features) == {"income_keur", "select", "a_b", "a_b_2", "null", "cost_usd", "grade"}
    assert spec.source.rename["Income, kEUR"] == "income_keur"
    assert spec.source.rename["cost ${usd}"] == "cost_usd"
    assert spec.features["cost_usd"].meaning.endswith("cost ${usd}")
    assert spec.contract.columns["grade"].allowed == ("${a}", "b: c #d")
    assert spec.source.row_key == "loan"
    assert spec.data.time == "opened_date"
    assert spec.outcome.column == "default"
    assert (spec.outcome.positive, spec.outcome.negative) == (1, 0)
    assert spec.features["select"].type == "categorical"
    assert spec.features["a_b"].type == "numeric"
    assert spec.contract.columns["income_keur"].nullable
    assert spec.contract.columns["loan"].unique
    assert "empty" not in spec.contract.columns
    assert spec.as_of == "2023-12-15"
    assert spec.decision.cutoff == 0.2


def test_protected_columns_are_kept_out_of_the_inputs_and_into_fairness(bank: Path) -> None:
    made = scaffold(bank)
    spec = load(bank, made)
    assert not set(spec.features) & {"gender", "age_years"}
    assert spec.fairness is not None
    assert set(spec.fairness.attributes) == {"sex", "age"}
    assert spec.fairness.attributes["sex"].reference == "Female"
    assert spec.fairness.attributes["age"].bands == (0.0, 25.0, 35.0, 45.0, 55.0, 65.0)
    assert spec.contract.columns["gender"].personal
    assert any("Age (years), Gender" in question for question in made.questions)


def test_a_file_without_protected_columns_asks_for_one(bank: Path) -> None:
    made = scaffold(bank, without("Gender", "Age (years)"))
    assert load(bank, made).fairness is None
    assert any("no column looks protected" in question for question in made.questions)


def test_days_of_birth_are_banded_by_quarter(bank: Path) -> None:
    spec = load(bank, scaffold(bank, {**without("Age (years)"), "DAYS_BIRTH": [-9000 - 211 * i for i in range(N)]}))
    assert spec.fairness is not None
    bands = spec.fairness.attributes["age"].bands
    assert bands is not None
    assert len(bands) == 4
    assert max(bands) < 0


def test_two_columns_of_one_attribute_both_stay_out(bank: Path) -> None:
    spec = load(bank, scaffold(bank, COLUMNS | {"sex": ["f", "m"] * (N // 2)}))
    assert spec.fairness is not None
    assert {"sex", "sex_2", "age"} == set(spec.fairness.attributes)
    assert "sex" not in spec.features


def test_dates_make_an_out_of_time_split(bank: Path) -> None:
    split = load(bank, scaffold(bank)).split
    assert split.kind == "out_of_time"
    assert split.out_of_time_from == "2023-10-15"


def test_without_dates_the_split_is_stratified_and_the_gap_is_told(bank: Path) -> None:
    made = scaffold(bank, without("Opened (date)"), as_of="2024-05-06")
    spec = load(bank, made)
    assert spec.split.kind == "stratified"
    assert spec.as_of == spec.data.observed_at == "2024-05-06"
    assert any("no date column" in question for question in made.questions)


def test_one_single_date_gives_no_out_of_time_sample(bank: Path) -> None:
    spec = load(bank, scaffold(bank, COLUMNS | {"Opened (date)": ["2023-01-15"] * N}))
    assert spec.split.kind == "stratified"


@pytest.mark.parametrize("asked", ["Weird Flag", "weird_flag"])
def test_the_outcome_is_asked_for_where_no_name_tells(bank: Path, asked: str) -> None:
    columns = without("Default") | {"Weird Flag": ["gone" if i % 7 == 0 else "paid" for i in range(N)]}
    with pytest.raises(ConfigError, match="no column looks like the outcome") as caught:
        scaffold(bank, columns)
    assert "--outcome COLUMN" in str(caught.value)
    spec = load(bank, scaffold(bank, columns, outcome=asked))
    assert (spec.outcome.column, spec.outcome.positive, spec.outcome.negative) == ("weird_flag", "gone", "paid")
    assert "weird_flag" not in spec.features


def test_an_outcome_that_is_not_there_or_does_not_vary_is_refused(bank: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'nowhere'"):
        scaffold(bank, outcome="nowhere")
    for name in ("constant", "empty"):
        with pytest.raises(ConfigError, match=f"outcome '{name}' does not vary") as caught:
            scaffold(bank, outcome=name)
        assert "at least two values" in str(caught.value)


@pytest.mark.parametrize("kind", ["lgd", "ead"])
def test_a_kind_without_its_outcome_is_refused_before_anything_is_written(bank: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match="no column looks like the outcome") as caught:
        scaffold(bank, kind=kind)
    assert f"named like '{kind}'" in str(caught.value)


TAKEN = [
    *(f"conf/{group}/fresh.yaml" for group in ("model", "source", "contract", "decision", "monitor")), "conf/model/fresh.md"
]  # fmt: skip


@pytest.mark.parametrize("relative", TAKEN)
def test_no_file_of_somebody_else_is_overwritten(bank: Path, relative: str) -> None:
    path = bank / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine\n")
    with pytest.raises(ConfigError, match=f"'{relative}' exists already") as caught:
        scaffold(bank)
    assert "choose another name" in str(caught.value)


def test_the_refused_files_are_all_that_are_written(bank: Path) -> None:
    assert sorted(scaffold(bank).files) == sorted(TAKEN)


@pytest.mark.parametrize(("kind", "days"), [("pd", 365), ("fraud", 31), ("aml", 90), ("propensity", 30)])
def test_a_guessed_maturity_is_an_open_question(bank: Path, kind: str, days: int) -> None:
    """Performance would otherwise be judged by a number that nobody has looked at."""
    made = scaffold(bank, kind=kind)
    text = made.files["conf/monitor/fresh.yaml"]
    assert yaml.safe_load(text)["maturity_days"] == days
    head = text.partition("\nname:")[0]
    asked = f"maturity_days {days} in conf/monitor/fresh.yaml is guessed from the kind '{kind}'"
    assert f"# ? {asked}" in head
    assert any(question.startswith(asked) for question in made.questions)
    assert f"# ? {asked}" in made.files["conf/model/fresh.yaml"]


def test_the_narrative_holds_every_question_unanswered(bank: Path) -> None:
    text = scaffold(bank).files["conf/model/fresh.md"]
    for key, question in QUESTIONS.items():
        assert f"## {key}\n\n? {question}\n" in text


def test_the_same_file_gives_the_same_spec(bank: Path) -> None:
    assert scaffold(bank) == scaffold(bank)


def test_every_file_is_yaml_and_a_column_is_a_line(bank: Path) -> None:
    made = scaffold(bank)
    for relative, text in made.files.items():
        if relative.endswith(".yaml"):
            assert isinstance(yaml.safe_load(text), dict)
            assert max(map(len, text.splitlines())) <= 170
    lines = made.files["conf/contract/fresh.yaml"].splitlines()
    assert any(line.startswith("  income_keur: {") for line in lines)


def test_a_file_outside_the_bank_is_named_in_full_and_one_inside_by_its_place(bank: Path, tmp_path: Path) -> None:
    assert load(bank, scaffold(bank)).source.path == "data.csv"
    outside = tmp_path / "elsewhere.csv"
    outside.write_text(csv_of(COLUMNS), encoding="utf-8")
    made = scaffold(bank, name="other", data=outside)
    assert yaml.safe_load(made.files["conf/source/other.yaml"])["path"] == outside.resolve().as_posix()


# --- an empty bank --------------------------------------------------------------------------------------------------


def test_an_empty_bank_holds_no_source_of_the_framework() -> None:
    files = bank_files("a bank")
    assert not any(name.endswith(".py") for name in files)
    assert {"conf/bank.yaml", "conf/policy/standard.yaml", ".gitignore", ".dvcignore", "requirements.txt"} <= set(files)
    assert list(files) == sorted(files)
    assert {"/ledger/", "/releases/", "/serve-keys.json"} <= set(files[".gitignore"].split())


@pytest.mark.parametrize("name", ["plain", "Bank: of #1", "Ünïcode 'quoted'", "yes", "123", "- x"])
def test_the_name_of_a_bank_may_be_any_text(tmp_path: Path, name: str) -> None:
    write_bank(tmp_path / "bank", name)
    assert compile_bank(tmp_path / "bank").bank.name == name


def test_a_bank_is_only_written_into_nothing(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    a_file = tmp_path / "file"
    a_file.touch()
    for folder in (full, a_file):
        with pytest.raises(ConfigError, match="the folder is not empty"):
            write_bank(folder, "x")
    (tmp_path / "git" / ".git").mkdir(parents=True)
    assert "conf/bank.yaml" in write_bank(tmp_path / "git", "x")


def test_a_repeated_customer_is_the_entity_and_no_input(bank: Path) -> None:
    rows = 300
    columns = {
        "customer_id": [i % 100 for i in range(rows)],
        "income": [10 + i % 37 for i in range(rows)],
        "default": [int(i % 5 == 0) for i in range(rows)],
    }
    made = scaffold(bank, columns)
    spec = load(bank, made)
    assert spec.data.entity == "customer_id"
    assert set(spec.features) == {"income"}
    assert spec.split.kind == "grouped"
    assert any("'customer_id' repeats" in question for question in made.questions)

"""Planted mistakes in YAML and data: one clear message, a non-zero exit, nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bank import edit, toy_csv
from tests.e2e.shell import must, run, shell, toy_bank

pytestmark = pytest.mark.slow

Plant = Callable[[Path], None]


@dataclass(frozen=True)
class Mistake:
    """Where a mistake is planted, which step must refuse it, and what the message must hold."""

    plant: Plant
    stage: str
    says: tuple[str, ...]


def _in(relative: str, old: str, new: str) -> Plant:
    return lambda bank: edit(bank / relative, old, new)


def _csv(change: Callable[[list[str]], list[str]]) -> Plant:
    def plant(bank: Path) -> None:
        path = bank / "toy.csv"
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return plant


def _field(row: int, column: int, value: str) -> Plant:
    def change(lines: list[str]) -> list[str]:
        fields = lines[row].split(",")
        fields[column] = value
        return [*lines[:row], ",".join(fields), *lines[row + 1 :]]

    return _csv(change)


def _column(column: int, value: Callable[[int, str], str]) -> Plant:
    def change(lines: list[str]) -> list[str]:
        made = [lines[0]]
        for number, line in enumerate(lines[1:]):
            fields = line.split(",")
            fields[column] = value(number, fields[column])
            made.append(",".join(fields))
        return made

    return _csv(change)


MODEL, SOURCE, CONTRACT = "conf/model/toy.yaml", "conf/source/toy.yaml", "conf/contract/toy.yaml"
NARRATIVE = "conf/model/toy.md"
HASH = "0" * 64
_LEARNER = "learner: {iterations: 20, depth: 3, threads: 1}"


def _both(*plants: Plant) -> Plant:
    def plant(bank: Path) -> None:
        for each in plants:
            each(bank)

    return plant


MISTAKES: dict[str, Mistake] = {
    "a misspelt key": Mistake(_in(MODEL, "calibration:", "calibraton:"), "compile", (MODEL + ":", "did you mean 'calibration'")),
    "a wrong type": Mistake(_in(MODEL, "depth: 3", "depth: deep"), "compile", (MODEL + ":", "learner.depth", "'deep'")),
    "a value out of range": Mistake(_in(MODEL, "depth: 3", "depth: 99"), "compile", (MODEL + ":", "99")),
    "an unknown learner kind": Mistake(_in("conf/learner/catboost.yaml", "catboost", "catbost"), "compile", ("conf/learner/catboost.yaml:1", "did you mean 'catboost'")),
    "an unknown model kind": Mistake(_in(MODEL, "kind: pd", "kind: dp"), "compile", (MODEL + ":", "'pd'")),
    "a missing key": Mistake(_in(MODEL, "as_of: 2024-12-31\n", ""), "compile", ("'as_of' is missing",)),
    "a duplicate YAML key": Mistake(_in(MODEL, "kind: pd", "kind: pd\nkind: pd"), "compile", (MODEL + ":", "given twice")),
    "broken YAML": Mistake(_in(MODEL, "split: {", "split: {{"), "compile", (MODEL + ":", "YAML")),
    "a resolver": Mistake(_in(MODEL, "title: Toy default model", "title: ${oc.env:HOME}"), "compile", (MODEL + ":", "resolver")),
    "an unknown group option": Mistake(_in(MODEL, "learner: catboost", "learner: catbost"), "compile", (MODEL + ":", "did you mean")),
    "an unknown limit kind in the policy": Mistake(_in("conf/policy/standard.yaml", "stab.psi: {kind: upper", "stab.psi: {kind: uper"), "compile", ("conf/policy/standard.yaml:", "did you mean 'upper'")),
    "a limit nobody knows": Mistake(_in("conf/policy/standard.yaml", "  stab.psi: {kind", "  stab.pis: {kind"), "compile", ("conf/policy/standard.yaml:", "'stab.pis'", "did you mean 'stab.psi'")),
    "a time zone that does not exist": Mistake(_in(SOURCE, "time_zone: UTC", "time_zone: UTK"), "compile", (SOURCE + ":", "'UTK' is no time zone")),
    "a section of the narrative that is misspelt": Mistake(_in(NARRATIVE, "## model", "## modle"), "compile", (NARRATIVE + ":3", "unknown narrative section 'modle'", "did you mean 'model'")),
    "a narrative that is no text": Mistake(lambda bank: (bank / NARRATIVE).write_bytes(b"# Toy\n\xff\n") and None, "compile", (NARRATIVE, "not a UTF-8 text file")),
    "a contract bound of the wrong order": Mistake(_in(CONTRACT, "debt: {type: number, minimum: 0}", "debt: {type: number, minimum: 9, maximum: 1}"), "compile", (CONTRACT + ":", "debt", "9 .. 1")),
    "a missing file": Mistake(lambda bank: (bank / "toy.csv").unlink(), "ingest", ("toy.csv", "no such file")),
    "a wrong hash": Mistake(_in(SOURCE, "path: toy.csv", f"path: toy.csv\nsha256: '{HASH}'"), "ingest", ("toy.csv", HASH)),
    "an empty file": Mistake(lambda bank: (bank / "toy.csv").write_text("") and None, "ingest", ("toy.csv", "empty")),
    "a header without rows": Mistake(_csv(lambda lines: lines[:1]), "ingest", ("no rows",)),
    "a ragged row": Mistake(_csv(lambda lines: [*lines[:5], lines[5] + ",9", *lines[6:]]), "ingest", ("toy.csv:6",)),
    "a duplicate column": Mistake(_csv(lambda lines: [lines[0].replace("debt", "income"), *lines[1:]]), "ingest", ("income",)),
    "a wrong encoding": Mistake(lambda bank: (bank / "toy.csv").write_bytes(b"id,\xff\xfe\n1,2\n") and None, "ingest", ("toy.csv", "utf-8")),
    "a column that is not there": Mistake(_csv(lambda lines: [lines[0].replace("debt", "dept"), *lines[1:]]), "contract", (CONTRACT, "'debt'")),
    "text in a number column": Mistake(_column(2, lambda i, v: "much" if i < 60 else v), "contract", ("debt", "tolerance")),
    "values out of range beyond tolerance": Mistake(_column(2, lambda i, v: "-1" if i < 60 else v), "contract", ("debt", "60")),
    "an all-null column": Mistake(_column(1, lambda i, v: ""), "contract", ("income",)),
    "duplicate keys": Mistake(_column(0, lambda i, v: "7"), "contract", ("id",)),
    "an empty outcome": Mistake(_both(_in(CONTRACT, "allowed: [0, 1]", "allowed: [0, 1], nullable: true"), _field(3, 5, "")), "dataset", ("default",)),
    "an outcome value nobody declared": Mistake(_both(_in(CONTRACT, "allowed: [0, 1]", "allowed: [0, 1, 2]"), _field(3, 5, "2")), "dataset", ("default",)),
    "the outcome among the inputs": Mistake(_both(_in(MODEL, "  debt: {meaning: Debt", "  d: {source: default, meaning: Debt"), _in("conf/decision/toy.yaml", "features: [debt]", "features: [d]")), "compile", (MODEL + ":", "'d'", "outcome")),
    "a leak among the inputs": Mistake(_in(MODEL, "data: {observed_at: 2024-06-30}", "data: {observed_at: 2024-06-30, leaks: [debt]}"), "compile", (MODEL + ":", "debt", "leak")),
    "a protected attribute among the inputs": Mistake(
        _in(MODEL, "challenger: {why", "fairness:\n  criterion: none\n  attributes:\n    sex: {column: region, provenance: x, reference: North}\nchallenger: {why"),
        "compile", (MODEL + ":", "region", "protected")),
    "a reason of no input": Mistake(_in(MODEL, "  debt: {meaning", "  dept: {meaning"), "compile", ("conf/decision/toy.yaml:", "did you mean 'dept'")),
    "a feature of no column": Mistake(_both(_in(MODEL, "  debt: {meaning", "  dept: {meaning"), _in("conf/decision/toy.yaml", "features: [debt]", "features: [dept]")), "compile", (MODEL + ":", "'dept'", "did you mean 'debt'")),
    "an empty class": Mistake(_column(5, lambda i, v: "0"), "dataset", ("outcome",)),
    "one row": Mistake(_csv(lambda lines: lines[:2]), "dataset", ("row",)),
    "a future date": Mistake(
        _both(
            _in(CONTRACT, "  debt:", "  seen: {type: date}\n  debt:"),
            _csv(lambda lines: [lines[0] + ",seen"] + [line + ",2024-01-31" for line in lines[1:-9]] + [line + ",2031-01-31" for line in lines[-9:]]),
        ),
        "contract", ("seen", "9")),
    "an unknown tuned parameter": Mistake(_in(MODEL, _LEARNER, _LEARNER + "\ntuning: {trials: 1, seed: 1, space: {dept: {kind: int, low: 2, high: 3}}}"), "compile", (MODEL + ":", "dept", "depth")),
    "a stage of another environment": Mistake(_in("models/toy/params.yaml", "catboost: ", "catboost: 0."), "train", ("catboost", "compile")),
}  # fmt: skip
ORDER = ("compile", "ingest", "contract", "dataset", "train")
OUTPUTS = {
    "ingest": "data/sources/toy",
    "contract": "models/toy/out/contract.json",
    "dataset": "models/toy/out/dataset.parquet",
    "train": "models/toy/out/scorer.json",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bank(tmp_path_factory.mktemp("mistakes") / "bank")


def _copy(sound: Path, target: Path) -> Path:
    shutil.copytree(sound, target, ignore=shutil.ignore_patterns(".git", "cache"))
    return target


def _step(bank: Path, step: str) -> tuple[int, str]:
    done = run(bank, *(("compile",) if step == "compile" else ("stage", step, "toy")))
    return done.returncode, done.stderr


def test_there_are_thirty_of_them() -> None:
    assert len(MISTAKES) >= 30


@pytest.mark.parametrize("sentence", MISTAKES, ids=list(MISTAKES))
def test_a_planted_mistake_is_refused_by_name(sound: Path, tmp_path: Path, sentence: str) -> None:
    mistake = MISTAKES[sentence]
    bank = _copy(sound, tmp_path / "bank")
    mistake.plant(bank)
    compiled = sentence != "a stage of another environment"
    for step in ORDER[0 if compiled else 1 :]:
        code, message = _step(bank, step)
        if step == mistake.stage:
            break
        assert code == 0, f"{step}: {message}"
    assert code not in (0, 1), message
    assert "Traceback" not in message, message
    assert message.startswith("error: ")
    for part in mistake.says:
        assert part in message, message
    assert "expected:" in message or "got:" in message or "hint:" in message
    if mistake.stage in OUTPUTS:
        assert not (bank / OUTPUTS[mistake.stage]).exists()
    assert not list(bank.rglob("*.partial"))


def test_a_file_without_permission_is_refused_by_name(sound: Path, tmp_path: Path) -> None:
    import os

    if os.geteuid() == 0:
        # Root reads everything; a folder in the file's place is the unreadable thing that root cannot read either.
        bank = _copy(sound, tmp_path / "bank")
        (bank / "toy.csv").unlink()
        (bank / "toy.csv").mkdir()
    else:
        bank = _copy(sound, tmp_path / "bank")
        (bank / "toy.csv").chmod(0)
    code, message = _step(bank, "ingest")
    assert code == 3
    assert "toy.csv" in message
    assert "Traceback" not in message


def test_a_narrative_that_is_new_is_used_or_stops_a_bare_repro(sound: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(sound, bank)
    first = ("dvc", "repro", "models/toy/dvc.yaml:spec")
    text = (bank / NARRATIVE).read_text()
    (bank / NARRATIVE).unlink()
    must(run(bank, "compile"))
    must(shell(bank, *first))
    (bank / NARRATIVE).write_text(text)
    refused = shell(bank, *first)
    assert refused.returncode != 0
    assert "run countermark compile" in refused.stdout + refused.stderr
    must(run(bank, "compile"))
    assert "Running stage" in must(shell(bank, *first))
    assert "Running stage" not in must(shell(bank, *first))


def test_the_sound_bank_is_refused_nowhere(sound: Path, tmp_path: Path) -> None:
    bank = _copy(sound, tmp_path / "bank")
    assert toy_csv().count("\n") == 601
    for step in ORDER:
        code, message = _step(bank, step)
        assert code == 0, message

"""A loss model through the installed command line: from CSV to PDF, and the faults that a validator would plant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from countermark.portfolio.dag import STAGES
from tests.amount_bank import LEARNER, make_amount_bank, toy_losses
from tests.bank import edit
from tests.e2e.shell import init_bank, must, run

pytestmark = pytest.mark.slow

SPEC = "conf/model/toy.yaml"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank of a sound loss model, built to its PDF."""
    folder = tmp_path_factory.mktemp("amounts")
    bank = init_bank(folder / "bank")
    staged = make_amount_bank(folder / "files", toy_losses(2400))
    for path in sorted(staged.rglob("*")):
        relative = path.relative_to(staged)
        if path.is_file() and (relative.parts[0] == "conf" or path.suffix == ".csv"):
            target = bank / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    must(run(bank, "build", "toy"))
    return bank


def pack(bank: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((bank / "reports/toy/pack.json").read_text(encoding="utf-8"))
    return document


def lights(bank: Path) -> dict[str, str]:
    return {section["code"]: section["light"] for section in pack(bank)["sections"]}


def evidence_of(bank: Path, text: str, copy: Path) -> Path:
    """The same model on other data, from ingest to pack, stage by stage."""
    import shutil

    shutil.copytree(bank, copy, ignore=shutil.ignore_patterns(".git", "cache", "tmp"))
    (copy / "toy.csv").write_text(text, encoding="utf-8")
    must(run(copy, "compile"))
    must(run(copy, "stage", "ingest", "toy"))
    for stage in STAGES:
        if stage.name != "render":
            must(run(copy, "stage", stage.name, "toy"))
    return copy


def test_a_sound_loss_model_goes_from_csv_to_pdf(sound: Path) -> None:
    assert (sound / "reports/toy/validation_pack.pdf").stat().st_size > 100_000
    found = lights(sound)
    assert {code: found[code] for code in ("A1", "B2", "C4", "D2", "E2", "E5", "G1", "G3")} == dict.fromkeys(
        ("A1", "B2", "C4", "D2", "E2", "E5", "G1", "G3"), "pass"
    )
    assert found["E1"] in ("pass", "watch")
    got = pack(sound)
    assert got["spec"]["decision"] is None
    assert "decision" not in got["digests"]
    scorer = json.loads((sound / "models/toy/out/scorer.json").read_text(encoding="utf-8"))
    assert scorer["link"] == "identity"
    assert [grade["name"] for grade in scorer["grades"]] == ["P1", "P2", "P3", "P4"]


@pytest.mark.parametrize(
    ("fault", "red"),
    [({"late": 0.1}, "E2"), ({"null": True}, "E1")],
    ids=["too low", "null"],
)
def test_a_planted_fault_turns_its_section_red(sound: Path, tmp_path: Path, fault: dict[str, Any], red: str) -> None:
    bank = evidence_of(sound, toy_losses(2400, **fault), tmp_path / "bank")
    assert lights(bank)[red] == "fail"
    assert pack(bank)["summary"]["opinion"] == "Not fit"


def test_a_tiny_sample_is_not_evaluated(sound: Path, tmp_path: Path) -> None:
    bank = evidence_of(sound, toy_losses(72), tmp_path / "bank")
    found = lights(bank)
    assert {found[code] for code in ("E1", "E2", "E5")} == {"not_evaluated"}
    assert pack(bank)["summary"]["opinion"] == "Unable to conclude"


def test_a_scorecard_of_amounts_is_refused_when_compiled(sound: Path, tmp_path: Path) -> None:
    bank = make_amount_bank(tmp_path / "bank", toy_losses(60))
    edit(bank / SPEC, "/learner@learner: catboost", "/learner@learner: scorecard")
    edit(bank / SPEC, LEARNER, "")
    done = run(bank, "compile")
    assert done.returncode not in (0, 1)
    assert f"{SPEC}:" in done.stderr or "conf/learner/scorecard.yaml:1" in done.stderr
    assert "a scorecard needs an outcome of two classes, kind 'lgd' has a continuous one" in done.stderr


def test_losses_in_per_cent_are_refused_by_the_data_set(sound: Path, tmp_path: Path) -> None:
    lines = toy_losses(200).splitlines()
    per_cent = [lines[0], *(f"{row.rsplit(',', 1)[0]},{100 * float(row.rsplit(',', 1)[1]):.2f}" for row in lines[1:])]
    bank = make_amount_bank(tmp_path / "bank", "\n".join(per_cent) + "\n")
    must(run(bank, "compile"))
    for stage in ("ingest", "spec", "contract"):
        must(run(bank, "stage", stage, "toy"))
    done = run(bank, "stage", "dataset", "toy")
    assert done.returncode not in (0, 1)
    assert "the outcome 'loss' is no share" in done.stderr
    assert not (bank / "models/toy/out/dataset.parquet").exists()

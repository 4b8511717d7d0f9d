"""A file that nobody here has seen goes from CSV to PDF with one command and a few lines of YAML."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.shell import init_bank, must, run, shell

pytestmark = pytest.mark.slow

HAND_WRITTEN = {
    "owner: Unanswered, developer: Unanswered": "owner: Head of lending, developer: A. Builder, validator: B. Checker",
    "'Unanswered: title of stranger'": "Loans nobody has seen",
    "'Unanswered: which decision does it support?'": "Approve or decline",
    "grades: {scale: {kind: quantile, count: 5}}": "grades: {scale: {kind: quantile, count: 6}}",
    "trials: 5": "trials: 3",
}


def strange_file(path: Path, rows: int = 1600) -> None:
    """Forty columns: mixed types, missing values, odd names, a constant, an empty one, free text."""
    rng = np.random.default_rng(4)
    income, debt = rng.gamma(4, 9, rows), rng.gamma(2, 5, rows)
    columns: dict[str, list[object]] = {
        "Loan #": [f"L{i:05d}" for i in range(rows)],
        "Opened (date)": [f"{2019 + i // 400}-{1 + (i // 34) % 12:02d}-{1 + i % 28:02d}" for i in range(rows)],
        "Gender": list(rng.choice(["Female", "Male"], rows)),
        "Age (years)": list(rng.integers(19, 80, rows)),
        "Income, kEUR": ["" if i % 19 == 0 else f"{v:.2f}" for i, v in enumerate(income)],
        "Debt/Income %": [f"{v:.1f}" for v in debt],
        "Ünïcode région": list(rng.choice(["Nord", "Süd", "Ost", ""], rows, p=[0.4, 0.3, 0.25, 0.05])),
        "select": list(rng.choice(["yes", "no"], rows)),
        "class": list(rng.choice(["A", "B", "C", "D"], rows)),
        "  spaced  ": list(rng.normal(size=rows).round(3)),
        "a.b.c": list(rng.poisson(3, rows)),
        "1st": list(rng.integers(0, 2, rows)),
        "constant": ["x"] * rows,
        "empty": [""] * rows,
        "free text": [f"note {i} {rng.integers(10**6)}" for i in range(rows)],
    }
    for k in range(24):
        values = rng.normal(size=rows)
        if k % 3 == 0:
            columns[f"Var {k:02d}"] = list(rng.choice(list("PQRST"), rows))
        else:
            missing = rng.random(rows) < 0.01 * (k % 4)
            columns[f"Var {k:02d}"] = ["NA" if m else f"{v:.4g}" for m, v in zip(missing, values, strict=True)]
    margin = -1.6 - 0.03 * (income - 36) + 0.14 * (debt - 10)
    columns["Bad_flag"] = list((rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(int))
    assert len(columns) == 40
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def test_from_a_strange_file_to_a_pack_in_an_empty_bank(tmp_path: Path) -> None:
    bank = init_bank(tmp_path / "bank")
    assert not (bank / "src").exists()
    strange_file(bank / "stranger.csv")
    told = must(
        run(bank, "new", "model", "stranger", "--kind", "pd", "--data", "stranger.csv", "--outcome", "Bad_flag")
    )
    assert "Age (years), Gender" in told
    spec = bank / "conf/model/stranger.yaml"
    text = spec.read_text(encoding="utf-8")
    for old, new in HAND_WRITTEN.items():
        assert old in text
        text = text.replace(old, new, 1)
    spec.write_text(text, encoding="utf-8")
    assert len(HAND_WRITTEN) <= 60
    must(run(bank, "build", "stranger"))

    pack = json.loads((bank / "reports/stranger/pack.json").read_text(encoding="utf-8"))
    sections = {section["code"]: section for section in pack["sections"]}
    tests = {row["test_id"] for row in pack["register_rows"]}
    assert {"disc.auc_delong", "cal.jeffreys", "stab.psi", "fair.air", "xai.shap_additivity"} <= tests
    assert sections["F1"]["status"] == "computed"
    attributes = {row["segment"].split("=")[0] for row in pack["register_rows"] if row["test_id"] == "fair.air"}
    assert {"sex", "age"} <= attributes
    scorer = json.loads((bank / "models/stranger/out/scorer.json").read_text(encoding="utf-8"))
    inputs = {part["name"] for part in scorer["inputs"]}
    assert not inputs & {"gender", "age_years", "bad_flag", "loan"}
    assert len(scorer["grades"]) == 6
    training = json.loads((bank / "models/stranger/out/training.json").read_text(encoding="utf-8"))
    assert len(training["trials"]) == 3
    assert (bank / "reports/stranger/validation_pack.pdf").read_bytes().startswith(b"%PDF")
    must(shell(bank, "git", "add", "-A"))
    tracked = must(shell(bank, "git", "ls-files")).splitlines()
    assert "models/stranger/dvc.lock" in tracked
    assert not any(name.endswith((".parquet", ".pdf")) for name in tracked)


BAD_REQUESTS = {
    "a name that is no name": (["Bad Name", "--kind", "pd", "--data", "x.csv"], "cannot be a model's name"),
    "a file that is not there": (["m", "--kind", "pd", "--data", "nowhere.csv"], "no such file"),
    "a kind that is not there": (["m", "--kind", "dp", "--data", "x.csv"], "dp"),
    "an outcome that is not there": (["m", "--kind", "pd", "--data", "x.csv", "--outcome", "z"], "no column 'z'"),
    "no outcome in sight": (["m", "--kind", "pd", "--data", "x.csv"], "no column looks like the outcome"),
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = init_bank(tmp_path_factory.mktemp("requests") / "bank")
    (folder / "x.csv").write_text("a,b\n1,2\n3,4\n")
    return folder


@pytest.mark.parametrize("sentence", BAD_REQUESTS, ids=list(BAD_REQUESTS))
def test_a_bad_request_writes_nothing(bank: Path, sentence: str) -> None:
    arguments, says = BAD_REQUESTS[sentence]
    done = run(bank, "new", "model", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list((bank / "conf/model").glob("*")) == [] if (bank / "conf/model").exists() else True


def test_init_refuses_a_folder_with_files(bank: Path) -> None:
    done = run(bank.parent, "init", str(bank))
    assert done.returncode == 2
    assert "not empty" in done.stderr

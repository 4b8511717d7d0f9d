"""A small real bank in a temporary folder: a CSV with odd columns, a spec, git and DVC."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from countermark.portfolio.bank import write_bank

MODEL = """\
defaults:
  - /source@source: toy
  - /contract@contract: toy
  - /decision@decision: toy
  - /policy@policy: standard
  - /learner@learner: catboost
  - /learner@challenger.learner: logistic
  - _self_
name: toy
title: Toy default model
kind: pd
version: 1.0.0
as_of: 2024-12-31
identity: {owner: Retail risk, developer: A. Builder}
tiering: {is_model: It estimates a probability., exposure: low, purpose: medium, complexity: low,
          interconnection: low, data_quality: medium}
purpose:
  decision: Approve or decline
  population: Applicants
  permitted: [application scoring]
  prohibited: [marketing]
  affected: Applicants
  automated: false
  natural_persons: true
  can_decline: true
data: {observed_at: 2024-06-30}
outcome: {column: default, definition: Missed payment, maturity: {basis: none, note: no dates}}
features:
  income: {meaning: Income, expected: decreasing, monotone: true}
  debt: {meaning: Debt, expected: increasing}
  region: {meaning: Region, type: categorical}
split: {kind: stratified, seed: 3}
learner: {iterations: 20, depth: 3, threads: 1}
calibration: {method: platt}
grades: {scale: {kind: quantile, count: 4}}
challenger: {why: The simplest model.}
"""
SOURCE = """\
kind: csv
name: toy
title: Toy loans
owner: Test
licence: none
personal_data: none
synthetic: true
time_zone: UTC
currency: none
as_of: 2024-12-31
path: toy.csv
row_key: id
"""
CONTRACT = """\
name: toy
columns:
  id: {type: integer, unique: true}
  income: {type: number, nullable: true, minimum: 0}
  debt: {type: number, minimum: 0}
  region: {type: text, nullable: true}
  sex: {type: text, personal: true}
  default: {type: integer, allowed: [0, 1]}
tolerance: 0.01
"""
DECISION = """\
name: toy
version: 1.0.0
cutoff: 0.3
cutoff_rationale: Test
reasons:
  R01: {text: Income is low, features: [income]}
  R02: {text: Debt is high, features: [debt]}
  R03: {text: Region, features: [region]}
"""
NARRATIVE = "# Toy\n\n## model\n\nIt estimates a probability.\n"


def toy_csv(rows: int = 600, seed: int = 5) -> str:
    """Text of a small, learnable loan file."""
    rng = np.random.default_rng(seed)
    income = rng.gamma(4.0, 10.0, rows).round(1)
    debt = rng.gamma(2.0, 5.0, rows).round(1)
    region = rng.choice(["North", "South", "East"], rows)
    sex = rng.choice(["f", "m"], rows)
    margin = -1.2 - 0.04 * (income - 40) + 0.12 * (debt - 10)
    default = (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(int)
    lines = ["id,income,debt,region,sex,default"]
    for i in range(rows):
        shown = "" if i % 50 == 7 else str(income[i])
        lines.append(f"{i + 1},{shown},{debt[i]},{region[i]},{sex[i]},{default[i]}")
    return "\n".join(lines) + "\n"


def make_bank(folder: Path, *, rows: int = 600) -> Path:
    """Write the toy bank's files (no git, no DVC)."""
    write_bank(folder, "test bank")
    for relative, text in (
        ("conf/model/toy.yaml", MODEL),
        ("conf/source/toy.yaml", SOURCE),
        ("conf/contract/toy.yaml", CONTRACT),
        ("conf/decision/toy.yaml", DECISION),
        ("conf/model/toy.md", NARRATIVE),
        ("toy.csv", toy_csv(rows)),
    ):
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace one place of a file; the place must exist."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise AssertionError(f"'{old}' is not in {path}")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")

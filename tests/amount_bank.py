"""A small real bank whose model estimates an amount: loss given default, or exposure, of loans that defaulted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from countermark.portfolio.bank import write_bank

LEARNER = "learner: {iterations: 60, depth: 4, learning_rate: 0.1, threads: 1}\n"
MODEL = """\
defaults:
  - /source@source: toy
  - /contract@contract: toy
  - /policy@policy: standard
  - /learner@learner: catboost
  - /learner@challenger.learner: logistic
  - _self_
name: toy
title: Toy loss given default
kind: lgd
version: 1.0.0
as_of: 2024-12-31
identity: {owner: Retail risk, developer: A. Builder, validator: V. Checker}
tiering: {is_model: It estimates a share., exposure: low, purpose: medium, complexity: low,
          interconnection: low, data_quality: medium}
purpose:
  decision: Set provisions of defaulted loans
  population: Defaulted loans
  permitted: [provisions]
  prohibited: [pricing]
  affected: Nobody directly
  automated: false
  natural_persons: true
  can_decline: false
  jurisdictions: [EU]
  limits: [{text: The mean estimate stays near the past, measure: mean_estimate, minimum: 0.2, maximum: 0.8}]
data: {time: defaulted, segments: [region]}
outcome: {column: loss, definition: "1 less recoveries over exposure, discounted, after 24 months",
          maturity: {basis: none, note: workouts are closed}}
features:
  cover: {meaning: Collateral over exposure, expected: decreasing, monotone: true}
  months: {meaning: Months on book, expected: decreasing, monotone: true}
  region: {meaning: Region, type: categorical}
split: {kind: out_of_time, out_of_time_from: 2023-01-01, seed: 3}
learner: {iterations: 60, depth: 4, learning_rate: 0.1, threads: 1}
grades: {scale: {kind: quantile, count: 4}}
challenger: {why: The simplest model.}
"""
SOURCE = """\
kind: csv
name: toy
title: Toy defaults
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
  defaulted: {type: date}
  cover: {type: number, nullable: true, minimum: 0}
  months: {type: number, minimum: 0}
  region: {type: text}
  loss: {type: number, unit: share of the exposure}
tolerance: 0.01
"""


def toy_losses(rows: int = 1600, seed: int = 5, *, late: float = 0.0, null: bool = False) -> str:
    """Text of a small file of defaulted loans.

    Args:
        rows: Loans, spread over 2021 to 2023.
        seed: Seed of the draws.
        late: Added to the losses of 2023, which the model does not see: it then under-estimates them.
        null: Losses have nothing to do with the inputs.
    """
    rng = np.random.default_rng(seed)
    cover = rng.gamma(2.0, 0.4, rows).round(3)
    months = rng.integers(1, 60, rows)
    region = rng.choice(["North", "South", "East"], rows)
    # Bends that a straight line misses: collateral helps up to the exposure, age after two years.
    mean = 0.8 - 0.5 * np.minimum(cover, 0.9) - 0.15 * (months > 24) + np.where(region == "South", 0.12, 0.0)
    if null:
        mean = np.full(rows, 0.4)
    day = np.datetime64("2021-01-01") + (1095 * np.arange(rows) // rows).astype("timedelta64[D]")
    loss = mean + rng.normal(0.0, 0.18, rows) + np.where(day >= np.datetime64("2023-01-01"), late, 0.0)
    loss = loss.round(4)
    lines = ["id,defaulted,cover,months,region,loss"]
    for i in range(rows):
        shown = "" if i % 50 == 7 else str(cover[i])
        lines.append(f"{i + 1},{day[i]},{shown},{months[i]},{region[i]},{loss[i]}")
    return "\n".join(lines) + "\n"


def make_amount_bank(folder: Path, text: str, model: str = MODEL) -> Path:
    """Write the bank's files (no git, no DVC)."""
    write_bank(folder, "test bank")
    for relative, content in (
        ("conf/model/toy.yaml", model),
        ("conf/source/toy.yaml", SOURCE),
        ("conf/contract/toy.yaml", CONTRACT),
        ("toy.csv", text),
    ):
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder

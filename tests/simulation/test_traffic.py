"""Simulated customers: seeded, without a leak into the protected group, and no drift unless planted."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from countermark.config.load import load_model
from countermark.config.operations import monitor_plans, rollout_plan
from countermark.errors import ConfigError
from countermark.metrics.discrimination import auc
from countermark.metrics.stability import ks_two_sample
from countermark.simulation.bank import MODEL, write_simulated_bank
from countermark.simulation.loans import LoanTraffic
from countermark.simulation.population import default_margin, draw_amounts, draw_population, training_csv

DAY = datetime(2026, 2, 3, tzinfo=UTC)


def test_the_same_seed_draws_the_same_life() -> None:
    one, other, third = (LoanTraffic(50, seed).applications(DAY, 20) for seed in (3, 3, 4))
    assert one == other
    assert one != third
    assert training_csv(40, 3) == training_csv(40, 3) != training_csv(40, 4)


def test_applications_come_in_order_of_time_within_the_day() -> None:
    found = LoanTraffic(50, 1).applications(DAY, 20)
    times = [application.at for application in found]
    assert times == sorted(times)
    assert all(DAY <= at < DAY + timedelta(days=1) for at in times)
    assert len({application.request["customer"] for application in found}) == 20


def test_statements_are_of_month_ends_that_have_passed() -> None:
    found = LoanTraffic(5, 1).statements(DAY, months=3)
    assert [s.event["statement_at"] for s in found[::5]] == ["2025-11-30", "2025-12-31", "2026-01-31"]
    assert all(s.known_at <= DAY for s in found)


def test_live_customers_are_like_those_of_the_training_data() -> None:
    trained = [float(row["income"]) for row in csv.DictReader(io.StringIO(training_csv(3000, 7)))]
    live = LoanTraffic(3000, 7).people.income
    p_value = ks_two_sample(trained, live).p_value
    assert p_value is not None
    assert p_value > 0.01
    drifted = [a.request["income"] for a in LoanTraffic(1000, 7).applications(DAY, 900, income_factor=0.55)]
    p_drifted = ks_two_sample(trained, drifted).p_value
    assert p_drifted is not None
    assert p_drifted < 1e-6


def test_sex_has_no_part_in_who_misses_a_payment_and_strain_has() -> None:
    people, rng = draw_population(40_000, 5), np.random.default_rng(5)
    margin = default_margin(people, draw_amounts(people, rng))
    missed = (rng.random(people.size) < 1 / (1 + np.exp(-margin))).astype(int)
    by_sex = auc(missed, (people.sex == "f").astype(float)).value
    by_strain = auc(missed, people.strain).value
    assert by_sex is not None
    assert by_strain is not None
    assert abs(by_sex - 0.5) < 0.02
    assert by_strain > 0.7


def test_the_simulated_bank_composes_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    write_simulated_bank(tmp_path / "bank", customers=30, seed=1)
    spec = load_model(tmp_path / "bank", MODEL).spec
    assert spec.source.synthetic
    assert set(monitor_plans(tmp_path / "bank")) == {MODEL}
    assert rollout_plan(tmp_path / "bank", "brisk").kind == "canary"
    with pytest.raises(ConfigError, match="not empty"):
        write_simulated_bank(tmp_path / "bank", customers=30, seed=1)

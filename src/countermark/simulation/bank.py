"""The simulated bank: one loan model on request fields, statements and an expression. SYNTHETIC, and says so."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from countermark.portfolio.bank import write_bank
from countermark.simulation.population import training_csv

MODEL = "sim_loan"


def write_simulated_bank(folder: Path, *, customers: int, seed: int) -> None:
    """Write an empty bank, the simulated model's files and its training data.

    Raises:
        ConfigError: If the folder holds anything.
    """
    write_bank(folder, "Simulated bank")
    _copy(files("countermark.simulation") / "bank_template", folder)
    (folder / "sim_loan.csv").write_text(training_csv(customers, seed), encoding="utf-8")


def _copy(source: Traversable, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for item in source.iterdir():
        if item.is_dir():
            _copy(item, folder / item.name)
        else:
            (folder / item.name).write_bytes(item.read_bytes())

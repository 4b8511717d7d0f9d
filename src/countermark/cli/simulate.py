"""``countermark simulate``: the operating loop with simulated customers, traffic, faults and time."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def simulate() -> None:
    """Simulated customers, traffic, faults and time. SYNTHETIC."""


@simulate.command()
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the bank here.")
@click.option("--daily", default=40, show_default=True, help="Applications a day.")
@click.option("--customers", default=1500, show_default=True, help="Customers in production.")
@click.option("--training", default=8000, show_default=True, help="Customers of the training data.")
@click.option("--replays", default=1000, show_default=True, help="Decisions replayed at the end.")
@click.option("--seed", default=20260101, show_default=True, help="The same seed plays the same life.")
def life(folder: Path | None, daily: int, customers: int, training: int, replays: int, seed: int) -> None:
    """Play the life of one model: built, approved, served, challenged, ramped, rolled back, reviewed, replayed."""
    from countermark.simulation.loop import Scale, play

    play(click.echo, Scale(training, customers, daily, replays, seed), folder=folder)

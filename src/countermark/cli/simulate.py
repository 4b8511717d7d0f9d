"""``countermark simulate``: the operating loop with simulated customers, traffic, faults and time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from countermark.simulation.bank_life import Scale


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


@simulate.command()
@click.argument("model")
@click.option("--days", default=28, show_default=True, type=click.IntRange(1), help="Days with customers.")
@click.option("--daily", default=50, show_default=True, type=click.IntRange(1), help="Requests a day.")
@click.option("--seed", default=20260101, show_default=True, help="The same seed draws the same customers.")
@click.option("--sample", help="Sample that customers are drawn from.  [default: the newest]")
@click.option("--drift", "drifts", multiple=True, metavar="FIELD=FACTOR@DAY", help="Plant a drift; repeat for more.")
@click.option("--label-days", type=click.FloatRange(0), help="Days until an outcome.  [default: the model's horizon]")
@click.option("--fault", metavar="NAME", help="Roll a faulty release out: cutoff, errors or latency.")
@click.option("--plan", default="standard", show_default=True, help="Rollout plan of the faulty release.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the copy of the bank here."
)
@click.option("--url", help="Send to this running service, in its own time, instead of playing in process.")
@click.option("--key-env", metavar="NAME", help="Environment variable that holds the API key.")
@click.option("--rate", default=50.0, show_default=True, type=click.FloatRange(0.01), help="Calls a second, at most.")
def traffic(
    model: str,
    days: int,
    daily: int,
    seed: int,
    sample: str | None,
    drifts: tuple[str, ...],
    label_days: float | None,
    fault: str | None,
    plan: str,
    folder: Path | None,
    url: str | None,
    key_env: str | None,
    rate: float,
) -> None:
    """Send MODEL the traffic of customers drawn from the bank's own rows. SYNTHETIC.

    In process: a throw-away copy of the bank with throw-away signers and simulated time, from the built model on. With
    --url: to a running service, in its own time, which no client can set.
    """
    from countermark.cli.place import bank_root
    from countermark.simulation.bank_life import Scale, play

    scale = Scale(days, daily, seed, sample, drifts, label_days, fault, plan)
    if url is None:
        play(click.echo, bank_root(), model, scale, folder=folder)
        return
    if fault is not None or folder is not None:
        raise click.UsageError("a running service is sent traffic only: leave out --fault and --to")
    _over_http(url, model, scale, _key(key_env), rate)


def _over_http(url: str, model: str, scale: Scale, key: str | None, rate: float) -> None:
    from countermark.cli.place import bank_root
    from countermark.records.clock import SystemClock
    from countermark.simulation.bank_life import customers, tell
    from countermark.simulation.over_http import Caller, fresh_names, send
    from countermark.simulation.resample import read_rows

    made = customers(read_rows(bank_root(), model), scale, fresh_names())
    tell(click.echo, made)
    click.echo(f"sent to {url} at {rate:g} calls a second at most, in the time of the service")
    caller = Caller(url, key, rate)
    try:
        send(click.echo, caller, made, SystemClock(), (scale.days, scale.daily))
    finally:
        caller.close()


def _key(variable: str | None) -> str | None:
    from countermark.errors import SimulationError

    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise SimulationError(f"environment variable '{variable}' holds no key", hint="countermark serve-key add NAME")
    return key

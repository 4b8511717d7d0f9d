"""``countermark rollout`` and ``countermark status``: shadow, canary, full, and what is live."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root
from countermark.cli.production import moment, opened_ledger, production_options, serving_directory
from countermark.cli.registry_options import json_option, print_json, release_of

if TYPE_CHECKING:
    from countermark.rollout.live import Standing
    from countermark.rollout.machine import RolloutState


@click.group()
def rollout() -> None:
    """Let a release take over: shadow, canary, full, with automatic rollback."""


@rollout.command()
@click.argument("release")
@click.option("--plan", default="standard", show_default=True, help="Plan of conf/rollout.")
@click.option("--by", required=False, help="Who starts it; git's user.email otherwise.")
@production_options
def start(
    release: str, plan: str, by: str | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Start the rollout of RELEASE (MODEL@vX.Y.Z); the service's controller leads it from there."""
    from countermark.config.operations import rollout_plan
    from countermark.rollout.start import answers_without_rollout, start_rollout

    ref = release_of(release)
    declared = rollout_plan(bank_root(), plan)
    now = moment(None)
    state = serving_directory(releases, trust_root).state(now)
    with opened_ledger(address) as ledger:
        if answers_without_rollout(ledger, state, ref):
            click.echo(f"{ref} is the first release of {ref.model}: it takes over from nothing, and answers already")
            return
        event = start_rollout(ledger, state, ref, declared, now=now, by=by or _who())
    against = "no release before it" if event.champion is None else f"against {ref.model}@v{event.champion}"
    click.echo(f"rollout {event.rollout} of {ref} started {against}, plan {declared.name} {declared.version}")
    click.echo(f"  stage shadow: {declared.shadow.min_pairs} pairs and {declared.shadow.min_hours:g} hours")
    click.echo(f"  watch it: countermark rollout watch {ref.model}")


@rollout.command()
@click.argument("model")
@click.option("--once", is_flag=True, help="Print where it stands and end.")
@click.option("--lead", is_flag=True, help="Lead the rollout from here, where no service does.")
@click.option("--groups", type=click.Path(path_type=Path, dir_okay=False), help="Protected groups by entity (CSV).")
@production_options
def watch(
    model: str,
    once: bool,
    lead: bool,
    groups: Path | None,
    address: str | None,
    releases: Path | None,
    trust_root: str | None,
) -> None:
    """Follow the rollout of MODEL until it ends."""
    from countermark.rollout.live import rollouts

    controller = None
    with opened_ledger(address, writer="rollout" if lead else None) as ledger:
        if lead:
            from countermark.records.clock import SystemClock
            from countermark.records.groups import read_groups
            from countermark.rollout.controller import Controller
            from countermark.serving.catalog import load_catalog
            from countermark.serving.leader import release_facts

            directory = serving_directory(releases, trust_root)
            known = None if groups is None else read_groups(groups)
            controller = Controller(
                ledger, lambda: release_facts(load_catalog(directory, moment(None))), SystemClock(), groups=known
            )
        shown = 0
        while True:
            if controller is not None:
                controller.tick()
            mine = [state for state in rollouts(ledger).values() if state.model == model]
            if not mine:
                click.echo(f"there is no rollout of '{model}'; countermark status shows what answers")
                return
            shown = _tell(mine[-1], shown)
            if once or not mine[-1].running:
                return
            time.sleep(1.0)


def _tell(state: RolloutState, shown: int) -> int:
    for event in state.events[shown:]:
        click.echo(f"{event.at}  {event.type:12} {event.stage:12} {event.reason}")
        for reading in event.readings:
            value = "-" if reading.value is None else f"{reading.value:.4g}"
            click.echo(
                f"    {reading.guard:32} {reading.verdict:5} {value:>10}  limit {reading.limit:g}, n {reading.n}"
            )
    return len(state.events)


@rollout.command()
@click.argument("model")
@click.option("--reason", required=True, help="Why; it goes on the ledger.")
@click.option("--by", help="Who stops it; git's user.email otherwise.")
@production_options
def stop(
    model: str, reason: str, by: str | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """End the rollout of MODEL by hand; the champion goes on."""
    del releases, trust_root
    _by_hand(model, "stop", reason, by, address)


@rollout.command()
@click.argument("model")
@click.option("--reason", required=True, help="What was done about it; it goes on the ledger.")
@click.option("--by", help="Who reconciles; git's user.email otherwise.")
@production_options
def reconcile(
    model: str, reason: str, by: str | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Note that a person has dealt with how the last rollout of MODEL ended."""
    del releases, trust_root
    _by_hand(model, "reconcile", reason, by, address)


@rollout.command()
@click.argument("release")
@click.option("--dismiss", is_flag=True, help="End it.")
@click.option("--by", help="Who says so; git's user.email otherwise.")
@production_options
def challenger(
    release: str, dismiss: bool, by: str | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Score RELEASE (MODEL@vX.Y.Z) in shadow of the champion for as long as it stands."""
    from countermark.rollout.start import name_challenger

    ref, now = release_of(release), moment(None)
    state = serving_directory(releases, trust_root).state(now)
    with opened_ledger(address) as ledger:
        event = name_challenger(ledger, state, ref, now=now, by=by or _who(), dismiss=dismiss)
    word = "is no longer the challenger" if dismiss else "is the standing challenger"
    click.echo(f"{ref} {word} of {event.model}")


def _by_hand(model: str, what: str, reason: str, by: str | None, address: str | None) -> None:
    from countermark.errors import RolloutError
    from countermark.rollout import machine
    from countermark.rollout.events import event_bytes
    from countermark.rollout.live import rollouts

    with opened_ledger(address) as ledger:
        mine = [state for state in rollouts(ledger).values() if state.model == model]
        if not mine:
            raise RolloutError(f"there is no rollout of '{model}'", hint="countermark status")
        act = machine.stop if what == "stop" else machine.reconcile
        event = act(mine[-1], now=moment(None), by=by or _who(), reason=reason)
        ledger.append("rollout", event.rollout, event_bytes(event), event.at)
    click.echo(f"rollout {event.rollout} of {model}: {event.type}")


def _who() -> str:
    from countermark.errors import RolloutError
    from countermark.registry.git import Git

    found = Git(Path.cwd()).config("user.email")
    if found is None:
        raise RolloutError("nobody is named", expected="--by NAME", hint="git config user.email")
    return found


@click.command()
@click.option("--at", "at", help="Instant to look back to, as 2026-12-04T14:00Z.")
@json_option
@production_options
def status(at: str | None, as_json: bool, address: str | None, releases: Path | None, trust_root: str | None) -> None:
    """Show what is authorised beside what is live, now or at any instant."""
    from countermark.records.clock import iso
    from countermark.rollout.live import standing

    now = moment(None)
    instant = now if at is None else moment(at)
    state = serving_directory(releases, trust_root).state(now)
    if at is not None:
        state = state.at(time=instant)
    with opened_ledger(address) as ledger:
        found = standing(ledger, state, until=iso(instant))
    if as_json:
        print_json([_document(model) for model in found])
        return
    click.echo(f"as of {iso(instant)}, log position {state.position}")
    for model in found:
        _show(model)


def _document(model: Standing) -> dict[str, object]:
    last = model.rollout
    return {
        "model": model.model,
        "authorised": list(model.authorised),
        "live": {"champion": model.champion, "candidate": model.candidate, "share": model.share},
        "challenger": model.challenger,
        "rollout": None if last is None else {"id": last.id, "stage": last.stage, "ended": last.ended},
        "divergences": list(model.divergences),
    }


def _show(model: Standing) -> None:
    click.echo(f"\n{model.model}")
    click.echo(f"  authorised  {', '.join(f'v{version}' for version in model.authorised) or 'nothing'}")
    live = "nothing" if model.champion is None else f"v{model.champion}"
    if model.candidate is not None:
        live += f", v{model.candidate} for {model.share:.3g} of entities"
    click.echo(f"  live        {live}")
    if model.challenger is not None:
        click.echo(f"  challenger  v{model.challenger}, in shadow")
    if model.rollout is not None:
        word = model.rollout.ended or f"in stage {model.rollout.stage}"
        click.echo(f"  rollout     {model.rollout.id} of v{model.rollout.candidate}: {word}")
    for text in model.divergences:
        click.echo(click.style("  ▲ ", fg="yellow") + text)

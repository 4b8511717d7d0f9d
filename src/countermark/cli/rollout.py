"""``countermark rollout`` and ``countermark status``: shadow, canary, full, and what is live."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root
from countermark.cli.production import moment, opened_ledger, production_options, serving_directory
from countermark.cli.registry_options import json_option, key_option, print_json, release_of

if TYPE_CHECKING:
    from countermark.ledger.ledger import Ledger
    from countermark.registry.directory import ServingDirectory
    from countermark.registry.signing import Signer
    from countermark.rollout.controller import Controller
    from countermark.rollout.events import RolloutEvent
    from countermark.rollout.live import Standing
    from countermark.rollout.machine import RolloutState


WAIT_SECONDS = 5.0
"""How long a command waits for the controller to take its order up."""


@click.group()
def rollout() -> None:
    """Let a release take over: shadow, canary, full, with automatic rollback."""


@rollout.command()
@click.argument("release")
@click.option("--plan", default="standard", show_default=True, help="Plan of conf/rollout.")
@key_option
@production_options
def start(
    release: str, plan: str, key: Path | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Sign the order to start the rollout of RELEASE (MODEL@vX.Y.Z); the service's controller takes it up and leads it.

    Needs role engineer.
    """
    from countermark.config.operations import rollout_plan
    from countermark.rollout.start import answers_without_rollout, start_rollout

    ref = release_of(release)
    declared = rollout_plan(bank_root(), plan)
    now = moment(None)
    directory = serving_directory(releases, trust_root)
    state = directory.state(now)
    with opened_ledger(address) as ledger:
        if answers_without_rollout(ledger, state, ref):
            click.echo(f"{ref} is the first release of {ref.model}: it takes over from nothing, and answers already")
            return
        event = start_rollout(ledger, state, ref, declared, now=now, signer=_signer(key))
        taken = _taken_up(ledger, address, directory, event)
    if taken is None:
        _not_yet(event)
        return
    against = "no release before it" if event.champion is None else f"against {ref.model}@v{event.champion}"
    click.echo(f"rollout {event.rollout} of {ref} started {against}, plan {declared.name} {declared.version}")
    click.echo(f"  stage shadow: {declared.shadow.min_pairs} pairs and {declared.shadow.min_hours:g} hours")
    if declared.guards.group_approval is not None:
        click.echo("  guard group_approval needs the groups: serve --groups FILE; without them no stage passes")
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
    from countermark.rollout.live import rollouts, standing

    controller = None
    directory = serving_directory(releases, trust_root)
    with opened_ledger(address, writer="rollout" if lead else None) as ledger:
        if lead:
            controller = _controller(ledger, directory, groups)
        shown, asked = 0, set[str]()
        while True:
            if controller is not None:
                controller.tick()
            mine = [state for state in rollouts(ledger).values() if state.model == model]
            found = next((one for one in standing(ledger, directory.state(moment(None))) if one.model == model), None)
            for text in () if found is None else found.ordered:
                if text not in asked:
                    click.echo(text)
                asked.add(text)
            if not mine:
                if asked and not once:
                    time.sleep(1.0)
                    continue
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
@key_option
@production_options
def stop(
    model: str, reason: str, key: Path | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Sign the order to end the rollout of MODEL; the controller takes it up, and the champion goes on.

    Needs role engineer or risk.
    """
    _by_hand(address, serving_directory(releases, trust_root), model, "stop", reason, key)


@rollout.command()
@click.argument("model")
@click.option("--reason", required=True, help="What was done about it; it goes on the ledger.")
@key_option
@production_options
def reconcile(
    model: str, reason: str, key: Path | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Sign that a person has dealt with how the last rollout of MODEL ended.

    Needs role engineer, owner, risk or validator.
    """
    _by_hand(address, serving_directory(releases, trust_root), model, "reconcile", reason, key)


@rollout.command()
@click.argument("release")
@click.option("--dismiss", is_flag=True, help="End it.")
@key_option
@production_options
def challenger(
    release: str, dismiss: bool, key: Path | None, address: str | None, releases: Path | None, trust_root: str | None
) -> None:
    """Sign the order to score RELEASE (MODEL@vX.Y.Z) in shadow of the champion for as long as it stands.

    Needs role engineer.
    """
    from countermark.rollout.start import name_challenger

    ref, now = release_of(release), moment(None)
    directory = serving_directory(releases, trust_root)
    with opened_ledger(address) as ledger:
        event = name_challenger(ledger, directory.state(now), ref, now=now, signer=_signer(key), dismiss=dismiss)
        taken = _taken_up(ledger, address, directory, event)
    if taken is None:
        _not_yet(event)
        return
    word = "is no longer the challenger" if dismiss else "is the standing challenger"
    click.echo(f"{ref} {word} of {event.model}")


def _by_hand(
    address: str | None, directory: ServingDirectory, model: str, what: str, reason: str, key: Path | None
) -> None:
    from countermark.errors import RolloutError
    from countermark.rollout import machine
    from countermark.rollout.live import rollouts
    from countermark.rollout.orders import give_order

    now = moment(None)
    trusted = directory.state(now)
    with opened_ledger(address) as ledger:
        mine = [state for state in rollouts(ledger).values() if state.model == model]
        if not mine:
            raise RolloutError(f"there is no rollout of '{model}'", hint="countermark status")
        act = machine.stop if what == "stop" else machine.reconcile
        event = give_order(ledger, trusted, act(mine[-1], now=now, by="", reason=reason), _signer(key))
        taken = _taken_up(ledger, address, directory, event)
    if taken is None:
        _not_yet(event)
        return
    click.echo(f"rollout {event.rollout} of {model}: {event.type}, signed by {event.by}")


def _controller(ledger: Ledger, directory: ServingDirectory, groups: Path | None = None) -> Controller:
    """A controller on this machine.

    Raises:
        LedgerError: If another one leads.
    """
    from countermark.records.clock import SystemClock
    from countermark.records.groups import read_groups
    from countermark.rollout.controller import Controller
    from countermark.serving.catalog import load_catalog
    from countermark.serving.leader import release_facts

    known = None if groups is None else read_groups(groups)
    return Controller(
        ledger,
        lambda: release_facts(load_catalog(directory, moment(None))),
        lambda: directory.state(moment(None)),
        SystemClock(),
        groups=known,
    )


def _taken_up(
    ledger: Ledger, address: str | None, directory: ServingDirectory, event: RolloutEvent
) -> RolloutEvent | None:
    """What became of an order: by the controller that leads, or by this command where none does; None if it waits.

    Raises:
        RolloutError: If the order was refused.
    """
    from countermark.errors import LedgerError, RolloutError
    from countermark.rollout.live import outcome_of

    assert event.order is not None  # it was given
    with contextlib.suppress(LedgerError), opened_ledger(address, writer="rollout") as chain:
        # Where a service leads, its controller has the chain and this ends here.
        _controller(chain, directory).take_up()
    end = time.monotonic() + WAIT_SECONDS
    while (found := outcome_of(ledger, event.order)) is None:
        if time.monotonic() > end:
            return None
        time.sleep(0.1)
    if found.type == "refused":
        raise RolloutError("the controller has refused the order", got=found.reason, hint="countermark status")
    return found


def _not_yet(event: RolloutEvent) -> None:
    click.echo(f"'{event.type}' of rollout {event.rollout} is ordered, signed by {event.by}, and not yet taken up")
    click.echo("  the controller takes it up as soon as it reads it; countermark status shows what became of it")


def _signer(key: Path | None) -> Signer:
    """The key of the option, or git's: nobody is named who has not signed."""
    from countermark.governance.access import signer_of

    return signer_of(Path.cwd(), key)


@click.command()
@click.option("--at", "at", help="Instant to look back to, as 2026-12-04T14:00Z.")
@json_option
@production_options
def status(at: str | None, as_json: bool, address: str | None, releases: Path | None, trust_root: str | None) -> None:
    """Show what is authorised beside what is live, now or at any instant."""
    from countermark.errors import RolloutError
    from countermark.records.clock import iso
    from countermark.rollout.live import standing, strays

    now = moment(None)
    instant = now if at is None else moment(at)
    if instant > now:
        raise RolloutError("what will be live is not known", expected=f"--at {iso(now)} or before", got=iso(instant))
    directory = serving_directory(releases, trust_root)
    state = directory.state(now)
    behind = _behind(state.position) if releases is None else None
    if at is not None:
        state = state.at(time=instant)
    with opened_ledger(address) as ledger:
        until = None if at is None else iso(instant)
        found = standing(ledger, state, until=until)
        without_model = strays(ledger, state, until=until)
    if as_json:
        print_json([_document(model) for model in found])
        return
    click.echo(f"as of {iso(instant)}, log position {state.position}")
    if behind is not None:
        click.echo(
            click.style("  ▲ ", fg="yellow")
            + f"the log of the bank is at position {behind}; {directory.path} does not "
            "hold what was signed since. Bring it there: countermark release export"
        )
    for model in found:
        _show(model)
    for text in without_model:
        click.echo(click.style("▲ ", fg="yellow") + text)


def _behind(position: int) -> int | None:
    """Position of the bank's own log where the serving directory does not hold all of it; None where it does."""
    from countermark.registry.git import Git
    from countermark.registry.repository import LOG_REF

    done = Git(bank_root()).try_("rev-list", "--count", LOG_REF)
    count = done.out.decode("ascii", "replace").strip()
    last = int(count) - 1 if done.code == 0 and count.isdigit() else position
    return last if last > position else None


def _document(model: Standing) -> dict[str, object]:
    last = model.rollout
    return {
        "model": model.model,
        "authorised": list(model.authorised),
        "live": {"champion": model.champion, "candidate": model.candidate, "share": model.share},
        "challenger": model.challenger,
        "rollout": None if last is None else {"id": last.id, "stage": last.stage, "ended": last.ended},
        "ordered": list(model.ordered),
        "divergences": list(model.divergences),
    }


def _show(model: Standing) -> None:
    click.echo(f"\n{model.model}")
    click.echo(f"  authorised  {', '.join(f'v{version}' for version in model.authorised) or 'nothing'}")
    live = "nothing" if model.champion is None else f"v{model.champion}"
    if model.candidate is not None:
        shown = f"for {model.share:.3g} of entities" if model.share > 0 else "in shadow"
        live += f", v{model.candidate} {shown}"
    click.echo(f"  live        {live}")
    if model.challenger is not None:
        click.echo(f"  challenger  v{model.challenger}, in shadow")
    if model.rollout is not None:
        word = model.rollout.ended or f"in stage {model.rollout.stage}"
        click.echo(f"  rollout     {model.rollout.id} of v{model.rollout.candidate}: {word}")
    for text in model.ordered:
        click.echo(f"  ordered     {text}")
    for text in model.divergences:
        click.echo(click.style("  ▲ ", fg="yellow") + text)

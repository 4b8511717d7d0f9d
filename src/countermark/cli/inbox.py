"""``countermark inbox``: one queue per person."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from countermark.cli.registry_options import json_option, key_option, opened, print_json, signing, trust_option


@click.command()
@click.option("--as", "who", metavar="NAME", help="Principal or person; the owner of your key otherwise.")
@json_option
@key_option
@trust_option
def inbox(who: str | None, as_json: bool, key: Path | None, trust_root: str | None) -> None:
    """Show what waits for you: candidates, findings, actions, what ends soon."""
    from countermark.errors import RegistryError

    bank = opened(trust_root)
    state = bank.state()
    if who is None:
        author = state.governance.author(signing(bank, key).public)
        if author is None:
            raise RegistryError("your key belongs to no principal", hint="countermark inbox --as NAME")
        who = author.principal
    waiting = state.tasks(who)
    if as_json:
        print_json([asdict(task) for task in waiting])
        return
    click.echo(f"{who}: " + (f"{len(waiting)} waiting" if waiting else "nothing waits for you"))
    for task in waiting:
        due = f" (due {task.due})" if task.due else ""
        click.echo(f"  {task.kind:<9} {task.text}{due}")
        if task.command:
            click.echo(f"            {task.command}")

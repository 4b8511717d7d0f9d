"""``countermark inbox``: one queue per person."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_option
from countermark.cli.registry_options import json_option, key_option, opened, print_json, signing, trust_option

if TYPE_CHECKING:
    from countermark.records.watch import LiveFinding


@click.command()
@click.option("--as", "who", metavar="NAME", help="Principal or person; the owner of your key otherwise.")
@ledger_option
@json_option
@key_option
@trust_option
def inbox(who: str | None, address: str | None, as_json: bool, key: Path | None, trust_root: str | None) -> None:
    """Show what waits for you: candidates, findings of the log and of production, actions, what ends soon."""
    from countermark.errors import RegistryError
    from countermark.review.waiting import waiting as waits_for

    bank = opened(trust_root)
    state = bank.state()
    if who is None:
        author = state.governance.author(signing(bank, key).public)
        if author is None:
            raise RegistryError("your key belongs to no principal", hint="countermark inbox --as NAME")
        who = author.principal
    waiting = waits_for(state, who, _of_production(address, state.now))
    if as_json:
        print_json([asdict(task) for task in waiting])
        return
    click.echo(f"{who}: " + (f"{len(waiting)} waiting" if waiting else "nothing waits for you"))
    for task in waiting:
        due = f" (due {task.due})" if task.due else ""
        click.echo(f"  {task.kind:<9} {task.text}{due}")
        if task.command:
            click.echo(f"            {task.command}")


def _of_production(address: str | None, now: datetime) -> tuple[LiveFinding, ...]:
    """Findings that monitoring left on the ledger by now; none where the bank has no ledger yet."""
    from countermark.cli.production import opened_ledger
    from countermark.monitoring.findings import standing_findings
    from countermark.records.clock import iso

    if address is None and not (bank_root() / "ledger").is_dir():
        return ()
    with opened_ledger(address) as ledger:
        return tuple(standing_findings(ledger, until=iso(now)).values())

"""``countermark governance``: who is trusted, and how that changes."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.place import bank_root
from countermark.cli.registry_options import (
    json_option,
    key_option,
    opened,
    print_json,
    signing,
    tell_served,
    trust_option,
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def governance() -> None:
    """Governance: principals, roles, keys and quorums, signed on the log."""


@governance.command()
@click.argument("file", type=_FILE, default="governance/governance.yaml")
@click.option("--example", is_flag=True, help="Print a governance file to start from.")
@key_option
def init(file: Path, example: bool, key: Path | None) -> None:
    """Start the log of a bank from a governance FILE, and pin its digest here as the trust root."""
    from countermark.governance.access import TRUST_ROOT_KEY, open_registry
    from countermark.governance.charter import example as example_text
    from countermark.governance.charter import read_charter
    from countermark.records.clock import SystemClock

    if example:
        click.echo(example_text(SystemClock().now().date()), nl=False)
        return
    bank = open_registry(bank_root(), sync=False)
    root = bank.log.begin(signing(bank, key), read_charter(file, 1), bank.now)
    bank.git.run("config", TRUST_ROOT_KEY, root)
    click.echo(f"log started; trust root {root}")
    click.echo("  pinned in this repository's git configuration. Give the digest to everyone by another way than")
    click.echo("  this repository; they pin it with 'countermark governance trust DIGEST'")


@governance.command()
@click.argument("digest", required=False)
def trust(digest: str | None) -> None:
    """Pin DIGEST as the trust root of this clone; without DIGEST, show what is pinned and what the log starts from."""
    from countermark.errors import RegistryError
    from countermark.governance.access import TRUST_ROOT_KEY, open_registry, pinned_root
    from countermark.registry.fold import genesis_digest

    bank = open_registry(bank_root(), trust_root=digest)
    entries = bank.log.entries()
    found = genesis_digest(entries) if entries else None
    if digest is None:
        click.echo(f"pinned     {pinned_root(bank.git) or 'nothing'}")
        click.echo(f"log starts {found or 'no log here'}")
        return
    wanted = pinned_root(bank.git, digest)
    if found is not None and found != wanted:
        raise RegistryError("the log here starts from another trust root", expected=wanted, got=found)
    bank.git.run("config", TRUST_ROOT_KEY, str(wanted))
    click.echo(f"trust root {wanted} pinned in this repository's git configuration")


@governance.command()
@click.argument("file", type=_FILE, required=False)
@click.option("--approve", "position", type=int, help="Approve the amendment at this log position instead.")
@key_option
@trust_option
def amend(file: Path | None, position: int | None, key: Path | None, trust_root: str | None) -> None:
    """Propose the governance of FILE as the next version, or approve one; a quorum puts it in force."""
    from countermark.errors import RegistryError
    from countermark.governance.amendment import amend as propose
    from countermark.governance.amendment import approve_amendment

    if (file is None) == (position is None):
        raise RegistryError("one of the two is done at a time", expected="FILE, or --approve POSITION")
    bank = opened(trust_root)
    signer = signing(bank, key)
    before = bank.state().governance.body.version
    done = propose(bank, signer, file) if file is not None else approve_amendment(bank, signer, position or 0)
    now = done.state.governance.body
    if now.version > before:
        click.echo(f"governance version {now.version} is in force from log position {done.position} on")
        tell_served(bank)
        return
    waiting = done.state.amendments[-1]
    click.echo(
        f"amendment at log position {waiting.position}: {len(waiting.persons)} of {now.amendment_quorum} persons"
    )
    click.echo(f"  others approve with: countermark governance amend --approve {waiting.position}")


@governance.command()
@click.argument("who", metavar="PRINCIPAL|FILE.pub")
@click.option("--position", type=int, help="From which log position on; from the next one by default.")
@click.option("--reason", required=True, help="Why.")
@key_option
@trust_option
def revoke(who: str, position: int | None, reason: str, key: Path | None, trust_root: str | None) -> None:
    """Revoke a key from a log position on: what it permitted from there on is void."""
    from countermark.governance.amendment import revoke as run

    bank = opened(trust_root)
    known = {(lost.ref, lost.environment) for lost in bank.state().lost}
    done = run(bank, signing(bank, key), who, position, reason)
    for appended in done:
        body = appended.state.events[appended.position].body
        click.echo(f"key of {who} revoked from log position {body['position']} on")
        lost = [r for r in appended.state.refused if "revoked" in r.reason]
        for refused in lost:
            click.echo(f"  position {refused.position}, {refused.type}: counts no more")
    for gone in done[-1].state.lost:
        if (gone.ref, gone.environment) not in known:
            click.echo(f"  {gone.ref} is not authorised for {gone.environment} any more: {gone.reason}")
    tell_served(bank)


@governance.command()
@json_option
@trust_option
def show(as_json: bool, trust_root: str | None) -> None:
    """Show who is trusted, what waits for a quorum, and which entries have no effect."""
    from countermark.governance.overview import governance_document

    told = governance_document(opened(trust_root).state())
    if as_json:
        print_json(told)
        return
    click.echo(f"governance version {told['version']}, in force since log position {told['since_position']}")
    click.echo(f"trust root {told['trust_root']}; log at position {told['position']}")
    for p in told["principals"]:
        click.echo(f"  {p['principal']:<12} {p['person']:<24} {', '.join(p['roles'])}")
        for held in p["keys"]:
            end = f", until {held['expires']}" if held["expires"] else ""
            gone = "" if held["revoked_from"] is None else f", REVOKED from position {held['revoked_from']} on"
            click.echo(f"    {held['fingerprint']}{end}{gone}")
    for tier, roles in told["quorum"].items():
        click.echo(f"  tier {tier}: {' and '.join(roles)}")
    click.echo(f"  amendments: {told['amendment_quorum']} persons of validator, risk and auditor")
    if told["longest_approval_days"] is not None:
        click.echo(f"  approvals, conditions and waivers: {told['longest_approval_days']} days at most")
    for pair in told["conflicts"]:
        click.echo(f"  conflict: {pair[0]} and {pair[1]}")
    for waiting in told["amendments"]:
        click.echo(f"  waits: version {waiting['version']} by {waiting['by']} at position {waiting['position']}")
    for refused in told["refused"]:
        click.echo(f"  without effect: position {refused['position']}, {refused['type']}: {refused['reason']}")

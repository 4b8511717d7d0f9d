"""``countermark release``: propose, judge, publish, authorise, retire, look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.registry_options import (
    json_option,
    key_option,
    opened,
    print_json,
    release_of,
    signing,
    trust_option,
)

if TYPE_CHECKING:
    from countermark.registry.repository import Appended
    from countermark.registry.state import RegistryState


@click.group()
def release() -> None:
    """Releases: propose, approve, publish, authorise and retire, each step signed on the log."""


def _signed(appended: Appended) -> str:
    event = appended.state.events[appended.position]
    tags = "".join(f", tag {tag.name}" for tag in appended.tags)
    return f"log position {appended.position}, signed by {event.principal}{tags}"


@release.command()
@click.argument("model")
@click.option("--evidence", multiple=True, type=click.Path(path_type=Path), help="Further evidence, bound by digest.")
@click.option("--note", default="", help="Words for those who judge it.")
@key_option
@trust_option
def propose(model: str, evidence: tuple[Path, ...], note: str, key: Path | None, trust_root: str | None) -> None:
    """Sign the built and committed MODEL as a candidate; it lands in its validator's inbox."""
    from countermark.governance.workflow import propose as run
    from countermark.governance.workflow import replaced

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), model, evidence=evidence, note=note)
    body = done.state.events[done.position].body
    ref = release_of(str(body["release"]))
    state = done.state.release(ref)
    click.echo(f"{ref} proposed ({body['change_class']}, tier {body['tier']}): {body['opinion']}")
    click.echo(f"  {_signed(done)}")
    for line in replaced(done.state, done.position):
        click.echo(f"  {line}")
    for role in done.state.roles_for(ref):
        click.echo(f"  asks for approval as {role}: {', '.join(done.state.governance.holders(role)) or 'nobody yet'}")
    uncovered = state.uncovered(done.state.now)
    if uncovered:
        risk = ", ".join(done.state.governance.holders("risk")) or "nobody yet"
        click.echo(f"  {len(uncovered)} gating tests need a waiver by risk ({risk}), or an approver's condition:")
        for gate in uncovered:
            word = "Fail" if gate.light == "fail" else "Not evaluated"
            click.echo(f"    {gate.test} ({', '.join(gate.sections)}) {word}{'; waiver only' if gate.hard else ''}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--role", help="Role in which you approve, where you have several that the tier asks for.")
@click.option("--condition", help="What the approval depends on.")
@click.option("--test", "tests", multiple=True, help="Gating test that the condition covers.")
@click.option("--finding", "findings", multiple=True, help="Finding that the condition covers.")
@click.option("--owner", help="Who answers for the condition; the model's owner otherwise.")
@click.option(
    "--expires", help="Date until which approval and condition count; the longest that governance allows, otherwise."
)
@click.option("--text", default="", help="Further words.")
@key_option
@trust_option
def approve(
    ref: str, role: str | None, condition: str | None, tests: tuple[str, ...], findings: tuple[str, ...],
    owner: str | None, expires: str | None, text: str, key: Path | None, trust_root: str | None,
) -> None:  # fmt: skip
    """Approve RELEASE: your signature binds its results, evidence, scorer and decision digests.

    A condition without --test and --finding covers the high findings that you have open on the release.
    """
    from countermark.governance.workflow import Verdict
    from countermark.governance.workflow import approve as run

    bank = opened(trust_root)
    verdict = Verdict(role, condition, tests, findings, owner, expires, text)
    done = run(bank, signing(bank, key), release_of(ref), verdict)
    body = done.state.events[done.position].body
    click.echo(f"{ref} approved as {body['role']}" + (f" until {body['expires']}" if body["expires"] else ""))
    for made in body["conditions"]:
        covers = ", ".join((*made["tests"], *made["findings"])) or "the release as a whole"
        click.echo(f"  condition for {covers}: {made['text']} (owner {made['owner']}, until {made['expires']})")
    click.echo(f"  {_signed(done)}")
    _tell_next(done.state, ref)


def _tell_next(state: RegistryState, ref: str) -> None:
    known = state.release(release_of(ref))
    if known.status == "approved":
        click.echo(f"next: countermark release publish {ref}")
    elif known.status == "candidate":
        missing = known.missing_roles(state.roles_for(known.ref), state.now)
        waits = "; ".join(f"{role} ({', '.join(state.governance.holders(role)) or 'nobody yet'})" for role in missing)
        click.echo(f"  waits for {waits or 'another person'}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--reason", required=True, help="Why.")
@click.option("--role", help="Role in which you reject.")
@key_option
@trust_option
def reject(ref: str, reason: str, role: str | None, key: Path | None, trust_root: str | None) -> None:
    """Reject the candidate of RELEASE."""
    from countermark.governance.workflow import reject as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), release_of(ref), reason, role)
    click.echo(f"{ref} rejected: {reason}")
    click.echo(f"  {_signed(done)}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--reason", required=True, help="Why.")
@key_option
@trust_option
def withdraw(ref: str, reason: str, key: Path | None, trust_root: str | None) -> None:
    """Take the candidate of RELEASE back."""
    from countermark.governance.workflow import withdraw as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), release_of(ref), reason)
    click.echo(f"{ref} withdrawn: {reason}")
    click.echo(f"  {_signed(done)}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--assign/--no-assign", default=True, help="Authorise it for prod as well (the default).")
@key_option
@trust_option
def publish(ref: str, assign: bool, key: Path | None, trust_root: str | None) -> None:
    """Publish the approved RELEASE: Final document, bundle, tag; and authorise it for prod.

    Authorised is not live: what is live is decided by a rollout among the authorised releases.
    """
    from countermark.governance.publication import assign as authorise
    from countermark.governance.publication import publish as run

    bank, wanted = opened(trust_root), release_of(ref)
    signer = signing(bank, key)
    done = run(bank, signer, wanted)
    click.echo(f"{ref} published")
    click.echo(f"  {_signed(done.appended)}")
    click.echo(f"  final    {done.final.relative_to(bank.root)}")
    click.echo(f"  bundle   releases/bundles/{done.built.digest}.bundle")
    click.echo(f"  baseline {done.baseline.relative_to(bank.root)} (commit it: later packs compare with it)")
    if assign:
        given = authorise(bank, signer, wanted)
        click.echo(f"  authorised for prod: {_signed(given)}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--environment", default="prod", show_default=True, help="Where it may be used.")
@key_option
@trust_option
def assign(ref: str, environment: str, key: Path | None, trust_root: str | None) -> None:
    """Authorise the published RELEASE for an environment."""
    from countermark.governance.publication import assign as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), release_of(ref), environment)
    click.echo(f"{ref} authorised for {environment}")
    click.echo(f"  {_signed(done)}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--reason", required=True, help="Why.")
@click.option("--keep", is_flag=True, help="Only withdraw the authorisation; the release can be authorised again.")
@click.option("--environment", default="prod", show_default=True, help="Where, with --keep.")
@key_option
@trust_option
def retire(ref: str, reason: str, keep: bool, environment: str, key: Path | None, trust_root: str | None) -> None:
    """Take RELEASE out of production and archive it."""
    from countermark.governance.publication import retire as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), release_of(ref), reason, archive=not keep, environment=environment)
    click.echo(f"{ref} " + (f"is not authorised for {environment} any more" if keep else "retired") + f": {reason}")
    click.echo(f"  {_signed(done)}")


@release.command("list")
@click.argument("model", required=False)
@json_option
@trust_option
def list_(model: str | None, as_json: bool, trust_root: str | None) -> None:
    """List releases with their status, approvals and authorisations."""
    from countermark.governance.overview import release_rows

    rows = release_rows(opened(trust_root).state(), model)
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no release yet")
    for row in rows:
        until = f", until {row['until']}" if row["until"] else ""
        click.echo(f"{row['release']:<32} {row['status']:<10} the tool proposed: {row['opinion']}{until}")
        for line in row["notes"]:
            click.echo(f"    {line}")


@release.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--data/--no-data", default=True, help="The modelling data as well (the default).")
@trust_option
def fetch(ref: str, to: Path, data: bool, trust_root: str | None) -> None:
    """Write the documents and data of RELEASE into a folder; nothing is built, no training stack is needed."""
    from countermark.governance.fetch import fetch as run

    written = run(opened(trust_root), release_of(ref), to, data=data)
    size = sum(path.stat().st_size for path in written)
    click.echo(f"{ref}: {len(written)} files, {size / 1e6:.1f} MB, each with the digest that was proposed")
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"next: countermark verify {to / 'validation_pack.pdf'}")


@release.command()
@click.option("--to", type=click.Path(path_type=Path), help="Serving directory; releases/ of the bank otherwise.")
@trust_option
def export(to: Path | None, trust_root: str | None) -> None:
    """Write the log and every published bundle into a serving directory: what serve, score and replay read."""
    from countermark.governance.publication import export as run

    bank = opened(trust_root)
    directory, written = run(bank, to)
    click.echo(f"{len(directory.entries())} log entries and {len(written)} bundles in {directory.path}")
    click.echo(f"  trust root {directory.trust_root}: give it to the server by another way than this folder")


@release.command("carry-over")
@click.argument("ref", metavar="RELEASE")
@click.option("--note", default="", help="Words.")
@key_option
@trust_option
def carry_over(ref: str, note: str, key: Path | None, trust_root: str | None) -> None:
    """Sign that the build checked out here, in another environment, has the digests approved for RELEASE."""
    from countermark.governance.workflow import carry_over as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), release_of(ref), note)
    body = done.state.events[done.position].body
    click.echo(
        f"{ref}: the same results, evidence, scorer and decision digests in environment {body['environment'][:12]}"
    )
    click.echo(f"  {_signed(done)}")


@release.command()
@click.option("--note", default="", help="Words.")
@key_option
@trust_option
def witness(note: str, key: Path | None, trust_root: str | None) -> None:
    """Sign that you saw the log up to here: entries before it stay good when their keys lapse."""
    from countermark.governance.workflow import witness as run

    bank = opened(trust_root)
    done = run(bank, signing(bank, key), note)
    click.echo(f"witnessed: {_signed(done)}")
    click.echo(f"  head {done.state.head}")

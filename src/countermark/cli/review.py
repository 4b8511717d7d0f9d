"""``countermark review``: prepare, record and sign the weekly review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.place import bank_root, ledger_option
from countermark.cli.production import moment, opened_ledger
from countermark.cli.registry_options import json_option, key_option, opened, print_json, signing, trust_option

if TYPE_CHECKING:
    from countermark.records.review import Review

_PATH = click.Path(path_type=Path)


@click.group()
def review() -> None:
    """The weekly review of every production model: decisions first, signed minutes last."""


@review.command()
@click.option("--as-of", "as_of", help="Instant; nothing learned later counts. The present otherwise.")
@click.option("--to", type=_PATH, help="Folder; reviews/WEEK of the bank otherwise.")
@click.option("--sample", type=click.IntRange(0), default=200, show_default=True, help="Decisions to replay.")
@click.option("--releases", type=_PATH, help="Serving directory; releases/ of the bank otherwise.")
@ledger_option
@json_option
@trust_option
def prepare(
    as_of: str | None,
    to: Path | None,
    sample: int,
    releases: Path | None,
    address: str | None,
    as_json: bool,
    trust_root: str | None,
) -> None:
    """Write the review as JSON and PDF, and minutes to fill in."""
    from countermark.config.operations import monitor_plans
    from countermark.config.yamlfile import read_yaml
    from countermark.errors import ReviewError
    from countermark.monitoring.window import pin
    from countermark.records.clock import iso
    from countermark.records.decision import as_document
    from countermark.records.review import FOLDER
    from countermark.registry.directory import ServingDirectory
    from countermark.review.prepare import Sources
    from countermark.review.prepare import prepare as run
    from countermark.review.signing import write_review

    root, now = bank_root(), moment(None)
    instant = now if as_of is None else moment(as_of)
    if instant > now:
        raise ReviewError("a week to come cannot be reviewed", expected=f"up to {iso(now)}", got=iso(instant))
    bank = opened(trust_root)
    directory = ServingDirectory(releases or root / "releases", bank.trust_root)
    with opened_ledger(address, writer="checkpoint") as store:
        taken = pin(store, instant, now)
    name = str(read_yaml(root / "conf" / "bank.yaml", "conf/bank.yaml").data.get("name", ""))
    with opened_ledger(address) as store:
        sources = Sources(store, directory, bank.state(), monitor_plans(root), name, now)
        made = run(sources, instant, sample=sample, checkpoint=taken)
    with opened_ledger(address, writer="review") as store:
        written = write_review(made, to or root / FOLDER / made.id, store, iso(now))
    if as_json:
        print_json(as_document(made))
        return
    _tell(made)
    for path in written:
        click.echo(f"  {path}")
    click.echo("next: fill in minutes.yaml, then countermark review record && countermark review sign")


def _tell(made: Review) -> None:
    from countermark.records.lights import Light

    click.echo(f"review {made.id} as of {made.as_of}: {len(made.models)} production models")
    for one in made.needed:
        word = {Light.FAIL: "today", Light.WATCH: "soon"}.get(one.light, "to know")
        click.echo(f"  {one.light.glyph} {word:<7} {one.subject}: {one.text} [{one.owner or 'nobody named'}]")
    for model in made.models:
        if model.quiet:
            click.echo(f"  {model.light.glyph} quiet   {model.model}: {model.line}")
    if made.replayed is not None:
        click.echo(f"  {made.replayed.identical} of {made.replayed.drawn} replayed decisions identical to the last bit")
    else:
        click.echo("  no decision in this period" if made.sample else "  no replay was asked for: nothing was replayed")
    if made.checkpoint is not None:
        click.echo(f"  ledger checkpoint {made.checkpoint.digest}")


@review.command()
@click.option(
    "--minutes",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file; minutes.yaml beside the review otherwise.",
)
@click.option("--review", "folder", type=_PATH, help="Folder of the review; the minutes' own, or the newest.")
@ledger_option
@trust_option
def record(file: Path | None, folder: Path | None, address: str | None, trust_root: str | None) -> None:
    """Check the minutes and put them on the ledger, each action with owner and date."""
    from countermark.records.review import REVIEW
    from countermark.review.signing import DRAFT
    from countermark.review.signing import record as run

    beside = None if file is None or not (file.parent / REVIEW).is_file() else file.parent
    where = folder or beside or _newest()
    file = file or where / DRAFT
    bank = opened(trust_root)
    with opened_ledger(address, writer="review") as store:
        made = run(bank, store, where, file)
    click.echo(
        f"minutes of review {made.review} recorded: {len(made.decisions)} decisions, {len(made.actions)} actions, "
        f"{len(made.done)} earlier actions done"
    )
    for k, action in enumerate(made.actions, start=1):
        click.echo(f"  {made.review}-{k}  {action.owner}, {action.due}: {action.text}")
    click.echo("next: countermark review sign")


@review.command()
@click.option("--review", "folder", type=_PATH, help="Folder of the review; the newest otherwise.")
@ledger_option
@key_option
@trust_option
def sign(folder: Path | None, address: str | None, key: Path | None, trust_root: str | None) -> None:
    """Sign the recorded minutes on the release log; their actions appear in their owners' inboxes."""
    from countermark.review.signing import sign as run

    bank, where = opened(trust_root), folder or _newest()
    with opened_ledger(address) as store:
        done = run(bank, signing(bank, key), where, store)
    event = done.state.events[done.position]
    click.echo(f"review {event.body['review']} signed by {event.principal} at log position {done.position}")
    for action in event.body["actions"]:
        click.echo(f"  {action['id']} waits in the inbox of {action['owner']} until {action['due']}")


def _newest() -> Path:
    """The folder of the newest prepared review."""
    from countermark.errors import ReviewError
    from countermark.records.review import FOLDER

    found = sorted(path.parent for path in (bank_root() / FOLDER).glob("*/review.json"))
    if not found:
        raise ReviewError("there is no prepared review", hint="countermark review prepare")
    return found[-1]

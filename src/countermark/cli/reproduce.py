"""``countermark reproduce``: rebuild a release from its commit and compare digests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from countermark.cli.registry_options import json_option, opened, print_json, release_of, trust_option

if TYPE_CHECKING:
    from countermark.reproduction.reproduce import Environment, Reproduced


@click.command()
@click.argument("ref", metavar="RELEASE")
@click.option("--keep", type=click.Path(path_type=Path), help="Rebuild in this folder and keep it.")
@click.option(
    "--environment",
    type=click.Choice(["same", "venv"]),
    default="same",
    show_default=True,
    help="'same': what is installed here. 'venv': what that commit's lock file names, installed first.",
)
@json_option
@trust_option
def reproduce(ref: str, keep: Path | None, environment: str, as_json: bool, trust_root: str | None) -> None:
    """Rebuild RELEASE from its commit with an empty cache, and compare with what was proposed.

    Ends with an error if a digest that approvals bind does not come out again.
    """
    from countermark.errors import ReplayError
    from countermark.reproduction.reproduce import reproduce as run

    bank = opened(trust_root)
    release = bank.state().release(release_of(ref))

    def tell(line: str) -> None:
        click.echo(line, err=as_json)

    with tempfile.TemporaryDirectory(prefix="countermark-reproduce-") as scratch:
        folder = (keep or Path(scratch) / "release").absolute()
        found = run(bank.root, release, folder, environment=cast("Environment", environment), tell=tell)
    if as_json:
        print_json(_document(found))
    else:
        _tell(found, kept=keep is not None)
    if not found.identical:
        names = [one.name for one in found.compared if one.binding and not one.same]
        raise ReplayError(
            f"'{ref}' was not reproduced",
            got=f"another {' and '.join(names)} digest",
            hint="; ".join(found.assumptions) or "the environment is the same as far as the commit tells",
        )


def _tell(found: Reproduced, *, kept: bool) -> None:
    click.echo(f"{found.ref} rebuilt from {found.commit[:12]} with Python {found.python}")
    click.echo(f"  lock file {found.lock[:16] if found.lock else 'none in the commit'}")
    for one in found.compared:
        if one.binding or not one.same:
            word = click.style("ok  ", fg="green") if one.same else click.style("DIFF", fg="red")
            click.echo(f"{word} {one.name:<12} proposed {one.proposed[:16]}, rebuilt {(one.rebuilt or 'nothing')[:16]}")
    same = sum(one.same for one in found.compared if not one.binding)
    click.echo(f"  {same} of {sum(not one.binding for one in found.compared)} further digests and files are the same")
    for path in found.changed:
        click.echo(f"  changed by the rebuild: {path}")
    if kept:
        click.echo(f"  kept in {found.folder}")


def _document(found: Reproduced) -> dict[str, object]:
    return {
        "release": found.ref,
        "commit": found.commit,
        "identical": found.identical,
        "python": found.python,
        "lock": found.lock,
        "assumptions": list(found.assumptions),
        "changed": list(found.changed),
        "compared": [
            {"name": c.name, "proposed": c.proposed, "rebuilt": c.rebuilt, "binding": c.binding, "same": c.same}
            for c in found.compared
        ],
    }

"""Options that every command on the registry shares: which key signs, which trust root is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countermark.cli.place import bank_root

if TYPE_CHECKING:
    from countermark.governance.access import BankRegistry
    from countermark.records.release import ReleaseRef
    from countermark.registry.signing import Signer

_Command = TypeVar("_Command", bound=Callable[..., Any])


def key_option(command: _Command) -> _Command:
    """``--key``: the key that signs."""
    return click.option(
        "--key",
        "key",
        type=click.Path(path_type=Path),
        help="Key to sign with: a key file, or a .pub file whose private half is in the agent; "
        "git's user.signingkey otherwise.",
    )(command)


def trust_option(command: _Command) -> _Command:
    """``--trust-root``: the digest that everything is checked against."""
    return click.option(
        "--trust-root",
        "trust_root",
        metavar="DIGEST",
        help="Digest of the genesis; COUNTERMARK_TRUST_ROOT or git's countermark.trustRoot otherwise.",
    )(command)


def json_option(command: _Command) -> _Command:
    """``--json``: for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def opened(trust_root: str | None, *, sync: bool = True) -> BankRegistry:
    """The registry of the bank around here; what the remote told is printed."""
    from countermark.governance.access import open_registry

    bank = open_registry(bank_root(), trust_root=trust_root, sync=sync)
    for warning in bank.warnings:
        click.echo(click.style("warning: ", fg="yellow") + f"the remote moved a tag: {warning}", err=True)
    return bank


def signing(bank: BankRegistry, key: Path | None) -> Signer:
    """The key that signs."""
    from countermark.governance.access import signer_of

    return signer_of(bank.root, key)


def tell_served(bank: BankRegistry) -> None:
    """Say where production reads of what was just signed, and which command brings it there."""
    if bank.serves:
        click.echo(f"  {bank.directory.path} holds it; a server that reads another folder gets it with:")
    else:
        click.echo("  nothing is served from this clone; where servers read, it takes effect with:")
    click.echo("    countermark release export --to DIR")


def release_of(text: str) -> ReleaseRef:
    """The release that an argument names."""
    from countermark.records.release import ReleaseRef

    return ReleaseRef.parse(text)


def print_json(document: object) -> None:
    """Readable JSON with a fixed order."""
    click.echo(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, default=str))

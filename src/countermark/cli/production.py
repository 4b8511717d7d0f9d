"""What every command on production shares: where the ledger and the releases are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countermark.cli.place import bank_root, ledger_address, ledger_option

if TYPE_CHECKING:
    from countermark.ledger.ledger import Ledger
    from countermark.registry.directory import ServingDirectory

_Command = TypeVar("_Command", bound=Callable[..., Any])


def production_options(command: _Command) -> _Command:
    """``--ledger``, ``--releases`` and ``--trust-root``."""
    for option in (
        click.option(
            "--trust-root",
            "trust_root",
            metavar="DIGEST",
            help="Digest of the genesis; COUNTERMARK_TRUST_ROOT or git's countermark.trustRoot otherwise.",
        ),
        click.option(
            "--releases",
            type=click.Path(path_type=Path, file_okay=False),
            help="The serving directory; the bank's folder 'releases' otherwise.",
        ),
        ledger_option,
    ):
        command = option(command)
    return command


def moment(text: str | None) -> datetime:
    """The instant that an option names; the present otherwise."""
    from countermark.records.clock import SystemClock, parse_instant

    if text is None:
        return SystemClock().now()
    try:
        return parse_instant(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 2026-12-04T14:00Z or 2026-12-04") from None


def serving_directory(releases: Path | None, trust_root: str | None) -> ServingDirectory:
    """The serving directory under the pinned trust root."""
    from countermark.errors import RegistryError
    from countermark.governance.access import TRUST_ROOT_VARIABLE, pinned_root
    from countermark.registry.directory import ServingDirectory
    from countermark.registry.git import Git

    folder = releases if releases is not None else bank_root() / "releases"
    pinned = pinned_root(Git(Path.cwd()), trust_root)
    if pinned is None:
        raise RegistryError(
            "no trust root is pinned",
            hint=f"countermark governance trust DIGEST, {TRUST_ROOT_VARIABLE}, or --trust-root",
        )
    return ServingDirectory(folder, pinned)


@contextmanager
def opened_ledger(address: str | None, *, writer: str | None = None) -> Iterator[Ledger]:
    """The ledger, closed at the end."""
    from countermark.ledger.opening import open_ledger

    with open_ledger(ledger_address(address), writer=writer) as store:
        yield store

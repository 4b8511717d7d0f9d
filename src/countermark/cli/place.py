"""Find the bank that a command runs in, and its ledger."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.errors import ConfigError


def bank_root(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` that holds conf/bank.yaml.

    Raises:
        ConfigError: If there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "conf" / "bank.yaml").is_file():
            return folder
    raise ConfigError(
        "this folder is not inside a bank",
        expected="a folder with conf/bank.yaml, here or above",
        hint="cd into the bank, or start one with 'countermark init DIR'",
    )


ledger_option = click.option(
    "--ledger",
    "address",
    envvar="COUNTERMARK_LEDGER",
    help="Folder, sqlite:///FOLDER or postgresql://...; the bank's folder 'ledger' otherwise.",
)


def ledger_address(given: str | None) -> str:
    """The address of the ledger: what was given, or the bank's folder ``ledger``.

    Raises:
        ConfigError: If none was given and this is no bank.
    """
    return given if given is not None else str(bank_root() / "ledger")

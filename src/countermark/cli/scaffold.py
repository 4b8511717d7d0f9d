"""``countermark init`` and ``countermark new``."""

from __future__ import annotations

from pathlib import Path

import click

from countermark.cli.place import bank_root

_KINDS = ("pd", "lgd", "ead", "fraud", "aml", "propensity")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the bank; the folder's name otherwise.")
def init(directory: Path, name: str | None) -> None:
    """Start an empty bank in DIRECTORY: configuration, git and DVC, and no framework source."""
    from countermark.portfolio.bank import write_bank
    from countermark.portfolio.compile import compile_bank, write
    from countermark.stages.dvc import initialise

    folder = directory.resolve()
    written = write_bank(folder, name or folder.name)
    initialise(folder)
    write(folder, compile_bank(folder))
    click.echo(f"bank '{name or folder.name}' in {directory}: {len(written)} files, git and DVC set up")
    click.echo(f"next: cd {directory} && countermark new model NAME --kind pd --data FILE")


@click.group()
def new() -> None:
    """Write the first files of something new."""


@new.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What the model predicts.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV or Parquet file to look at.")
@click.option("--outcome", help="Outcome column, where its name does not tell.")
@click.option("--event", "events", multiple=True, help="Value of the outcome that is an event; may be repeated.")
@click.option("--as-of", "as_of", help="Data as-of date (YYYY-MM-DD); the newest date in the file otherwise.")
def model(name: str, kind: str, data: Path, outcome: str | None, events: tuple[str, ...], as_of: str | None) -> None:
    """Look at a file and write a working spec, contract and narrative for model NAME."""
    from pydantic import TypeAdapter, ValidationError

    from countermark.config.base import Name
    from countermark.errors import ConfigError
    from countermark.portfolio.scaffold import Request, scaffold_model
    from countermark.validation.catalogue import questions

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ConfigError(
            f"'{name}' cannot be a model's name",
            expected="lower-case letters, digits and '_', starting with a letter",
            got=f"'{name}'",
        ) from error
    root = bank_root()
    made = scaffold_model(
        root,
        Request(name, kind, data, outcome, as_of, events),
        {key: entry.question for key, entry in questions().items()},
    )
    for relative, text in made.files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {relative}")
    click.echo(f"open questions, kept in conf/model/{name}.yaml:")
    for question in made.questions:
        click.echo(f"  ? {question}")
    click.echo(f"next: countermark plan {name} && countermark build {name}")

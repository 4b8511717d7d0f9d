"""Write the generated pages of the manual: command line, spec schema, pack schema.

Run by ``make docs``; a test runs it too and fails if a committed page differs.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.testing import CliRunner

from countermark.cli.root import app
from countermark.config.spec import ModelSpec
from countermark.records.evidence import Pack

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """Text of every generated page by file name."""
    return {
        "cli.md": command_line(),
        "spec.schema.json": _schema(ModelSpec),
        "pack.schema.json": _schema(Pack),
    }


def command_line() -> str:
    """The help text of every command."""
    context = click.Context(app, info_name="countermark")
    parts = ["# Command line\n\nEvery command names its errors with file, line, what was expected and what to do.\n"]
    parts.append(_help([], "countermark"))
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        parts.append(_help([name], f"countermark {name}"))
        if isinstance(command, click.Group):
            parts.extend(_help([name, sub], f"countermark {name} {sub}") for sub in command.list_commands(context))
    return "\n".join(parts)


def _help(args: list[str], title: str) -> str:
    text = CliRunner().invoke(app, [*args, "--help"], prog_name="countermark", terminal_width=100).output
    return f"## {title}\n\n```text\n{text.rstrip()}\n```\n"


def _schema(model: type[ModelSpec] | type[Pack]) -> str:
    return json.dumps(model.model_json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")

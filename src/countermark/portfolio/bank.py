"""Start an empty bank: what people edit, and nothing of the framework's source."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import yaml

from countermark.errors import ConfigError

_TEMPLATE = "countermark.portfolio"
_NAMES = {"gitignore": ".gitignore", "gitattributes": ".gitattributes", "dvcignore": ".dvcignore"}


def bank_files(name: str) -> dict[str, str]:
    """Text of every file of a new bank, by relative path."""
    root = files(_TEMPLATE) / "bank_template"
    found: dict[str, str] = {}
    stack = [(root, "")]
    while stack:
        folder, prefix = stack.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                stack.append((entry, f"{prefix}{entry.name}/"))
            elif entry.name.endswith((".yaml", ".md", ".txt", "ignore", "attributes", "config")):
                relative = prefix + _NAMES.get(entry.name, entry.name)
                found[relative] = entry.read_text(encoding="utf-8")
    found["conf/bank.yaml"] = yaml.safe_dump({"name": name, "paper": "a4"}, sort_keys=False, allow_unicode=True)
    found["requirements.txt"] = f"countermark[train,report]=={version('countermark')}\n"
    return dict(sorted(found.items()))


def write_bank(folder: Path, name: str) -> tuple[str, ...]:
    """Write an empty bank into a new or empty folder.

    Raises:
        ConfigError: If the folder holds anything, or may not be written.
    """
    if "${" in name:
        raise ConfigError("the bank's name holds an interpolation", expected="plain text", got=f"'{name}'")
    if folder.exists() and (not folder.is_dir() or any(p.name != ".git" for p in folder.iterdir())):
        raise ConfigError(
            "the folder is not empty", expected="a new or empty folder", hint="choose another folder", file=folder
        )
    made = bank_files(name)
    try:
        for relative, text in made.items():
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "the bank cannot be written here", got=error.strerror, hint="choose a folder you may write", file=folder
        ) from error
    return tuple(made)

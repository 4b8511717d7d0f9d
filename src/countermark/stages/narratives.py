"""The prose of every model, read and checked: a mistake in it is told before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from countermark.errors import ConfigError
from countermark.validation.narrative import parse_narrative


def read_narrative(root: Path, model: str) -> dict[str, str | None]:
    """Answers of conf/model/MODEL.md by key; all of them open where the file is not there.

    Raises:
        ConfigError: The file cannot be read, or its sections are not the known ones.
    """
    path = root / "conf" / "model" / f"{model}.md"
    shown = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise ConfigError("not a UTF-8 text file", got=f"byte {error.start} cannot be decoded", file=shown) from None
    except OSError as error:
        raise ConfigError(
            "this file cannot be read", got=error.strerror, hint="check its mode and owner", file=shown
        ) from None
    return parse_narrative(text, shown)


def check_narratives(root: Path, models: Iterable[str]) -> None:
    """Read the narrative of every model.

    Raises:
        ConfigError: At the first mistake.
    """
    for model in models:
        read_narrative(root, model)

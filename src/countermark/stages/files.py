"""Where the files of a model lie, and how they are written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from countermark.config.spec import ModelSpec
from countermark.errors import BuildError
from countermark.portfolio.compile import read_spec
from countermark.portfolio.dag import OUT, REPORT
from countermark.records.digest import pretty_json


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's compiled spec and its folders.

    Attributes:
        root: The bank's root.
        spec: The resolved spec.
        params: The whole of models/NAME/params.yaml.
        out: models/NAME/out.
        report: reports/NAME.
    """

    root: Path
    spec: ModelSpec
    params: Mapping[str, Any]
    out: Path
    report: Path

    @property
    def source(self) -> Path:
        """Folder of the ingested source."""
        return self.root / "data" / "sources" / self.spec.source.name

    @property
    def has_challenger(self) -> bool:
        """Whether the spec declares a challenger."""
        return self.spec.challenger is not None


def open_model(root: Path, name: str, *, words: bool = True) -> ModelFiles:
    """Read the compiled spec of a model and make its output folders.

    Args:
        root: The bank's root.
        name: The model.
        words: Whether the stage sees the texts of people: as its entry in the table of stages says.
    """
    spec, params = read_spec(root, name, words=words)
    out, report = root / OUT.format(model=name), root / REPORT.format(model=name)
    out.mkdir(parents=True, exist_ok=True)
    report.mkdir(parents=True, exist_ok=True)
    return ModelFiles(root, spec, params, out, report)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise BuildError(f"'{path.name}' cannot be written", got=error.strerror, file=path) from error
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write readable JSON with a fixed order."""
    write_bytes(path, pretty_json(document))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that an earlier stage wrote.

    Raises:
        BuildError: Missing or damaged.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BuildError(
            f"'{path.name}' is missing", hint="run the stage through 'countermark build'", file=path
        ) from None
    except ValueError as error:
        raise BuildError(
            f"'{path.name}' is damaged", got=str(error), hint="delete it and build again", file=path
        ) from None
    return document

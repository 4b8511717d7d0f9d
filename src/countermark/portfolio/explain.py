"""Which file and line set a value."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from countermark.config.load import load_model, model_names
from countermark.errors import ConfigError


def explain_key(root: Path, key: str) -> str:
    """Say where a value of a model comes from, and what it overrode.

    Args:
        root: The bank's root.
        key: ``MODEL.path.to.key``.

    Raises:
        ConfigError: Unknown model or key.
    """
    name, _, rest = key.partition(".")
    if name not in model_names(root):
        names = list(model_names(root))
        near = difflib.get_close_matches(name, names, n=1)
        raise ConfigError(
            f"there is no model '{name}'",
            expected="MODEL.KEY with a model of: " + ", ".join(names),
            got=f"'{key}'",
            hint=f"did you mean '{near[0]}'?" if near else None,
        )
    loaded = load_model(root, name)
    spec = loaded.spec.model_dump(mode="json")
    path, value = _find(spec, tuple(part for part in rest.split(".") if part), key)
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" if not isinstance(value, dict) else key]
    origins = loaded.composed.origins.get(path, ())
    if isinstance(value, dict) or not origins:
        inner = sorted(
            (origins[-1].file, origins[-1].line, ".".join(where[len(path) :]))
            for where, origins in loaded.composed.origins.items()
            if where[: len(path)] == path and len(where) > len(path)
        )
        lines += [f"  {file}:{line}  {child}" for file, line, child in inner]
        if not inner and not origins:
            lines.append("  default of the schema; no file sets it")
    for origin in reversed(origins):
        verb = "set at" if origin is origins[-1] else "overrides"
        text = "" if isinstance(origin.value, dict) else f"  {json.dumps(origin.value, ensure_ascii=False)}"
        lines.append(f"  {verb} {origin.file}:{origin.line}{text}")
    return "\n".join(lines)


def _find(spec: dict[str, Any], parts: tuple[str, ...], key: str) -> tuple[tuple[str, ...], Any]:
    """The path of keys and the value; a key may hold dots itself, as limits and gates do."""
    here: Any = spec
    path: list[str] = []
    start = 0
    while start < len(parts):
        keys: list[str] = []
        if isinstance(here, dict | list):
            keys = list(here) if isinstance(here, dict) else [str(i) for i in range(len(here))]
        ends = range(len(parts), start, -1)
        found = next((end for end in ends if ".".join(parts[start:end]) in keys), None)
        if found is None:
            near = difflib.get_close_matches(".".join(parts[start:]), keys, n=1) or difflib.get_close_matches(
                parts[start], keys, n=1
            )
            raise ConfigError(
                f"there is no key '{parts[start]}' in '{key}'",
                expected="one of: " + ", ".join(keys) if keys else "a key of a mapping",
                got=f"'{parts[start]}'",
                hint=f"did you mean '{near[0]}'?" if near else None,
            )
        name = ".".join(parts[start:found])
        here = here[int(name)] if isinstance(here, list) else here[name]
        path.append(name)
        start = found
    return tuple(path), here

"""Turn a pydantic validation error into one clear message with file and line."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from countermark.config.yamlfile import KeyPath
from countermark.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)
Place = Callable[[KeyPath], tuple[str, int | None]]

_SHOWN_MISTAKES = 10


def validate(model: type[ModelT], data: Any, place: Place, *, what: str) -> ModelT:
    """Validate plain data, or raise one ConfigError that names every mistake.

    Args:
        model: The frozen model.
        data: Plain data from YAML.
        place: File and line of a key path.
        what: What is being read, for the closing line.

    Raises:
        ConfigError: At the first mistake; the others are listed below it.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        mistakes = _mistakes(model, data, error, place)
        first, rest = mistakes[0], mistakes[1:]
        if rest:
            shown = [f"{m.place}: {m.what}" for m in rest[:_SHOWN_MISTAKES]]
            more = len(rest) - len(shown)
            lines = "\n    ".join(shown + ([f"and {more} more"] if more else []))
            text = f"{what} has {len(rest)} more mistake{'s' if len(rest) > 1 else ''}:\n    {lines}"
            first.hint = text if first.hint is None else f"{first.hint}\n  also: {text}"
        raise first from None


def _mistakes(model: type[BaseModel], data: Any, error: ValidationError, place: Place) -> list[ConfigError]:
    found: list[ConfigError] = []
    seen: set[tuple[str | None, str]] = set()
    for detail in error.errors(include_url=False):
        path = _data_path(data, detail)
        mistake = _mistake(model, data, detail, path, place)
        key = (mistake.place, mistake.what)
        if key not in seen:
            seen.add(key)
            found.append(mistake)
    return found


def _data_path(data: Any, detail: ErrorDetails) -> KeyPath:
    """The part of pydantic's location that exists in the data (it also names union tags)."""
    path: list[str] = []
    here = data
    last = len(detail["loc"]) - 1
    for index, item in enumerate(detail["loc"]):
        items = dict(enumerate(here)) if isinstance(here, list | tuple) else here
        if isinstance(items, dict) and item in items:
            path.append(str(item))
            here = items[item]
        elif index == last and detail["type"] == "missing":
            path.append(str(item))
    return tuple(path)


def _mistake(model: type[BaseModel], data: Any, detail: ErrorDetails, path: KeyPath, place: Place) -> ConfigError:
    name = ".".join(path) or "the file"
    file, line = place(path[:-1] if detail["type"] == "missing" else path)
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, data, path[:-1])
        nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        return ConfigError(
            f"unknown key '{name}'",
            expected="one of: " + ", ".join(known),
            got=f"'{path[-1]}'",
            hint=f"did you mean '{nearest[0]}'?" if nearest else None,
            file=file,
            line=line,
        )
    if kind == "missing":
        return ConfigError(f"key '{name}' is missing", expected=f"'{path[-1]}: ...'", file=file, line=line)
    if kind == "union_tag_invalid":
        where = place((*path, "kind"))
        return _unknown_kind(f"'{name}' has an unknown kind", context, where)
    if kind == "union_tag_not_found":
        return ConfigError(f"'{name}' does not say its kind", expected="'kind: ...'", file=file, line=line)
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        options = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
        nearest = difflib.get_close_matches(str(detail["input"]), options, n=1, cutoff=0.5)
        return ConfigError(
            f"'{name}' is not one of its allowed values",
            expected=expected,
            got=_shown(detail["input"]),
            hint=f"did you mean '{nearest[0]}'?" if nearest else None,
            file=file,
            line=line,
        )
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return ConfigError(f"'{name}' is not right", expected=message, got=_shown(detail["input"]), file=file, line=line)


def _unknown_kind(what: str, context: dict[str, Any], where: tuple[str, int | None]) -> ConfigError:
    expected = str(context.get("expected_tags", "")).replace("'", "")
    options = [word.strip() for word in expected.split(",")]
    tag = str(context.get("tag", ""))
    nearest = difflib.get_close_matches(tag, options, n=1, cutoff=0.5)
    return ConfigError(
        what,
        expected=f"one of: {expected}",
        got=f"'{tag}'",
        hint=f"did you mean '{nearest[0]}'?" if nearest else None,
        file=where[0],
        line=where[1],
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping with keys: " + ", ".join(str(key) for key in list(value)[:6])
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(model: type[BaseModel], data: Any, path: KeyPath) -> list[str]:
    """Keys that the schema allows at a path of the data."""
    annotation: Any = model
    here = data
    for key in path:
        annotation = _step(annotation, here, key)
        here = here[int(key)] if isinstance(here, list | tuple) else here[key]
    resolved = _pick(annotation, here)
    if isinstance(resolved, type) and issubclass(resolved, BaseModel):
        return list(resolved.model_fields)
    return []


def _step(annotation: Any, here: Any, key: str) -> Any:
    chosen = _pick(annotation, here)
    if isinstance(chosen, type) and issubclass(chosen, BaseModel):
        field = chosen.model_fields.get(key)
        return Any if field is None else field.annotation
    arguments = typing.get_args(chosen)
    if typing.get_origin(chosen) in (dict,) and len(arguments) == 2:
        return arguments[1]
    if typing.get_origin(chosen) in (tuple, list) and arguments:
        return arguments[0]
    return Any


def _pick(annotation: Any, here: Any) -> Any:
    """Choose the member of a union that the data means, by its 'kind'."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _pick(typing.get_args(annotation)[0], here)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(annotation) if m is not type(None)]
        if len(members) == 1:
            return _pick(members[0], here)
        kind = here.get("kind") if isinstance(here, dict) else None
        for member in members:
            picked = _pick(member, here)
            if isinstance(picked, type) and issubclass(picked, BaseModel) and "kind" in picked.model_fields:
                literal = picked.model_fields["kind"].annotation
                if kind in typing.get_args(literal):
                    return picked
    return annotation

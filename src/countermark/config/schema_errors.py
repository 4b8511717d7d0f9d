"""Turn a pydantic validation error into one clear message with file and line."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Sequence
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
        read = model.model_validate(data)
    except ValidationError as error:
        raise joined(_mistakes(model, data, error, place), what) from None
    mistakes = _refuse_truth_for_numbers(data, read.model_dump(), (), place)
    if mistakes:
        raise joined(mistakes, what)
    return read


def joined(mistakes: Sequence[ConfigError], what: str) -> ConfigError:
    """The first of several mistakes, with the others listed below it.

    Args:
        mistakes: At least one.
        what: What was read, for the closing line.
    """
    first, rest = mistakes[0], mistakes[1:]
    if rest:
        shown = [f"{m.place}: {m.what}" for m in rest[:_SHOWN_MISTAKES]]
        more = len(rest) - len(shown)
        lines = "\n    ".join(shown + ([f"and {more} more"] if more else []))
        text = f"{what} has {len(rest)} more mistake{'s' if len(rest) > 1 else ''}:\n    {lines}"
        first.hint = text if first.hint is None else f"{first.hint}\n  also: {text}"
    return first


def _mistakes(model: type[BaseModel], data: Any, error: ValidationError, place: Place) -> list[ConfigError]:
    found: list[ConfigError] = []
    seen: set[tuple[str | None, str]] = set()
    details = [(_data_path(data, detail), detail) for detail in error.errors(include_url=False)]
    for path, detail in details:
        if detail["type"] == "literal_error" and any(p != path and p[: len(path)] == path for p, _ in details):
            continue  # one of several types: what is wrong inside the value says which one was meant
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
    return ConfigError(
        f"'{name}' is not right",
        expected=_wanted(detail),
        got=_shown(detail["input"]),
        hint=_quote_hint(detail),
        file=file,
        line=line,
    )


_WANTED = {
    "string_type": "text",
    "dict_type": "a mapping, 'key: value' lines",
    "model_type": "a mapping, 'key: value' lines",
    "model_attributes_type": "a mapping, 'key: value' lines",
    "list_type": "a list",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}
_PATTERNS = {
    r"^\d{4}-\d{2}-\d{2}$": "a date, YYYY-MM-DD",
    r"^\d{4}-\d{2}$": "a month, YYYY-MM",
    r"^\d+\.\d+\.\d+$": "three numbers such as '1.0.0'",
    r"^[0-9a-f]{64}$": "64 hexadecimal digits in lower case, as 'sha256sum' prints them",
    r"^([A-Z]{3}|none)$": "an ISO 4217 code such as 'EUR', or 'none'",
    r"^[A-Z][A-Z0-9_]*$": "the name of an environment variable, in capital letters",
}


def _wanted(detail: ErrorDetails) -> str:
    """What would have been right, in words of the house where pydantic speaks of its own types."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("too_short", "too_long"):
        least = kind == "too_short"
        count = context["min_length" if least else "max_length"]
        return f"{'at least' if least else 'at most'} {count} {'entry' if count == 1 else 'entries'}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text of the form {context['pattern']}")
    told = _WANTED.get(kind, detail["msg"].removeprefix("Value error, ").removeprefix("Input should be "))
    return told[:1].lower() + told[1:]


def _quote_hint(detail: ErrorDetails) -> str | None:
    """YAML reads some words as truth and some codes as numbers."""
    if detail["type"] != "string_type" or not isinstance(detail["input"], bool | int | float):
        return None
    return "put it in quotes: YAML reads yes, no, on, off as truth, and digits as a number"


def _refuse_truth_for_numbers(data: Any, read: Any, path: KeyPath, place: Place) -> list[ConfigError]:
    """Truth where a number is due: pydantic would take 'yes' for 1, silently."""
    if isinstance(data, bool) and isinstance(read, int | float) and not isinstance(read, bool):
        file, line = place(path)
        what, got = f"'{'.'.join(path)}' is not right", f"{data}, which is how YAML reads yes and no"
        return [ConfigError(what, expected="a number", got=got, file=file, line=line)]
    if isinstance(data, dict) and isinstance(read, dict):
        inner = [(str(key), value, read[key]) for key, value in data.items() if key in read]
    elif isinstance(data, list) and isinstance(read, list | tuple) and len(data) == len(read):
        inner = [(str(index), one, two) for index, (one, two) in enumerate(zip(data, read, strict=True))]
    else:
        return []
    return [error for key, one, two in inner for error in _refuse_truth_for_numbers(one, two, (*path, key), place)]


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

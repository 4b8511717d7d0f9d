"""The part of a spec that can change scores, and a spec without the words that cannot.

One projection serves the stages, the results digest and the plan: a word that it leaves out makes no stage stale that
makes scores, lets no approval of results lapse, and counts as a descriptive change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

from countermark.config.base import Wording
from countermark.config.spec import ModelSpec

SCORE_KEYS = (
    "kind", "source", "contract", "table_contracts", "feature_views", "data", "outcome", "features", "split",
    "learner", "tuning", "calibration", "grades", "challenger",
)  # fmt: skip
"""Keys of the spec that can change scores of the model or of its challenger, beside ``policy.seed``."""

_EVERY = "*"
_Places: TypeAlias = Mapping[str, Any]
"""Where the words of a part lie: by key, ``*`` for every item of a mapping of free keys or of a list. A place with
words holds what stands in for them."""


def scores_part(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What can change scores, of a resolved spec as JSON.

    Args:
        spec: The spec as params.yaml and a pack hold it.

    Returns:
        Its keys in :data:`SCORE_KEYS` without words, and ``policy.seed``.
    """
    seed = spec["policy"]["seed"] if isinstance(spec.get("policy"), Mapping) else None
    return {**without_words({key: spec.get(key) for key in SCORE_KEYS}), "policy": {"seed": seed}}


def without_words(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved spec as JSON, or some of its top-level keys, without the words of people."""
    stripped: dict[str, Any] = _without(spec, _places(ModelSpec))
    return stripped


def dashed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved spec as JSON, or some of its top-level keys, with a dash for every text of people."""
    replaced: dict[str, Any] = _dashed(dict(spec), _places(ModelSpec))
    return replaced


def wordless(spec: ModelSpec) -> ModelSpec:
    """The spec with a dash for every text of people, for stages that must not depend on one."""
    return ModelSpec.model_validate(dashed(spec.model_dump(mode="json")))


def wording_places(kind: type[BaseModel] = ModelSpec) -> tuple[tuple[str, ...], ...]:
    """Paths of all words of a spec; ``*`` stands for a free key or a place in a list."""
    return tuple(_paths(_places(kind)))


def _paths(places: _Places, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in places.items():
        if isinstance(inner, dict):
            yield from _paths(inner, (*before, key))
        else:
            yield (*before, key)


def _without(value: Any, places: _Places) -> Any:
    if isinstance(value, Mapping):
        kept = {key: (inner, _below(places, key)) for key, inner in value.items()}
        return {key: _without(inner, below) for key, (inner, below) in kept.items() if isinstance(below, dict)}
    if isinstance(value, list | tuple):
        return [_without(inner, _below(places, _EVERY)) for inner in value]
    return value


def _dashed(value: Any, places: _Places) -> Any:
    if isinstance(value, dict):
        found = {key: (inner, _below(places, key)) for key, inner in value.items()}
        return {
            key: _dashed(inner, below) if isinstance(below, dict) else below for key, (inner, below) in found.items()
        }
    if isinstance(value, list):
        return [_dashed(inner, _below(places, _EVERY)) for inner in value]
    return value


def _below(places: _Places, key: str) -> Any:
    return places.get(key, places.get(_EVERY, {}))


@cache
def _places(kind: type[BaseModel]) -> _Places:
    found: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        words = any(isinstance(mark, Wording) for mark in field.metadata)
        below = "-" if words else _inside(field.annotation)
        if below != {}:
            found[name] = below
    return found


def _inside(annotation: Any) -> Any:
    """Words inside a type: places, or what stands in for a text of people, ``{}`` if there are none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return dict(_places(annotation))
    origin, parts = get_origin(annotation), get_args(annotation)
    if any(isinstance(mark, Wording) for mark in getattr(annotation, "__metadata__", ())):
        return "-"
    if origin in (Union, UnionType):
        return _either([part for part in parts if part is not type(None)], optional=type(None) in parts)
    if origin in (dict, Mapping):
        below = _inside(parts[1])
        return below if below == {} else {_EVERY: below}
    if origin in (tuple, list):
        below = _inside(parts[0])
        return ({_EVERY: below} if below else {}) if isinstance(below, dict) else []
    return _inside(parts[0]) if hasattr(annotation, "__metadata__") else {}


def _either(parts: list[Any], *, optional: bool) -> Any:
    """Places of a union, whose members share their keys."""
    if len(parts) == 1:
        below = _inside(parts[0])
        return below if isinstance(below, dict) or not optional else None
    merged: dict[str, Any] = {}
    for part in parts:
        below = _inside(part)
        if not isinstance(below, dict):
            raise TypeError("a text for people is no alternative to something else")
        merged |= below
    for part in parts:
        fields = getattr(part, "model_fields", {})
        clash = [key for key, below in merged.items() if key in fields and _places(part).get(key) != below]
        if clash:
            raise TypeError(f"'{clash[0]}' has words in one alternative of a union and not in another")
    return merged

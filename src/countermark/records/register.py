"""The vocabulary of the test register: which tests there are, and which limits a policy sets for them."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

LimitKind: TypeAlias = Literal["p_value", "upper", "lower", "band", "exact"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestEntry(_Entry):
    """A registered test: where it is at home and what it computes."""

    __test__ = False  # not a pytest class

    id: str = Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")
    section: str
    title: str
    formula: str


class LimitEntry(_Entry):
    """A limit that every policy sets, and the kinds it may have: its number is judged in one direction only."""

    id: str = Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")
    kinds: tuple[LimitKind, ...] = Field(min_length=1)


@functools.cache
def registered_tests() -> dict[str, TestEntry]:
    """Every test id that a register row may carry, in the order of the pack."""
    entries = TypeAdapter(tuple[TestEntry, ...]).validate_python(_read("tests.yaml"))
    return {entry.id: entry for entry in entries}


@functools.cache
def registered_limits() -> dict[str, LimitEntry]:
    """Every limit that evidence is judged by, in the order of the pack."""
    entries = TypeAdapter(tuple[LimitEntry, ...]).validate_python(_read("limits.yaml"))
    return {entry.id: entry for entry in entries}


def _read(name: str) -> Any:
    return yaml.safe_load(resources.files("countermark.records").joinpath("data", name).read_text(encoding="utf-8"))

"""Closed, frozen pydantic base for every declared thing."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Wording:
    """Mark of text for people: no stage that makes scores sees it, so mending it rebuilds documents alone."""


Prose: TypeAlias = Annotated[str, Wording()]
"""Text for people: a meaning, a note, the name of an owner."""

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


class Declared(BaseModel):
    """A part of a spec: unknown keys refused, values frozen, no NaN, no silent coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False, populate_by_name=False)


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"a name is lower-case letters, digits and '_', starting with a letter, got '{value}'")
    return value


Name = Annotated[str, AfterValidator(_check_name)]


def is_date(text: str) -> bool:
    """Whether text is a day of the calendar, written YYYY-MM-DD."""
    try:
        return len(text) == 10 and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


def _check_date(value: str) -> str:
    if not is_date(value):
        raise ValueError("a day of the calendar, written YYYY-MM-DD")
    return value


IsoDate = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_check_date)]

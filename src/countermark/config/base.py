"""Closed, frozen pydantic base for every declared thing."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


class Declared(BaseModel):
    """A part of a spec: unknown keys refused, values frozen, no NaN, no silent coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False, populate_by_name=False)


def _check_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"a name is lower-case letters, digits and '_', starting with a letter, got '{value}'")
    return value


Name = Annotated[str, AfterValidator(_check_name)]

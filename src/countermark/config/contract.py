"""What a table was promised to be (conf/contract/*.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, Name


class ColumnContract(Declared):
    """Promise about one column."""

    type: Literal["integer", "number", "text", "boolean", "date"]
    nullable: bool = False
    minimum: float | str | None = None
    maximum: float | str | None = None
    allowed: tuple[str | int | float | bool, ...] | None = None
    pattern: str | None = None
    unique: bool = False
    unit: str | None = None
    meaning: str = ""
    personal: bool = Field(default=False, description="Never copied to quarantine, tables or attachments.")


class CompareRule(Declared):
    """``left operator right`` in every row; ``right`` is a column or a number. Nulls pass."""

    kind: Literal["compare"]
    name: Name
    left: str
    operator: Literal["<", "<=", "==", "!=", ">=", ">"]
    right: str | float
    reason: str = ""


class RequiredIfRule(Declared):
    """``column`` must not be null where ``when`` equals ``equals``."""

    kind: Literal["required_if"]
    name: Name
    column: str
    when: str
    equals: str | int | float | bool


class UniqueRule(Declared):
    """The columns together identify a row."""

    kind: Literal["unique"]
    name: Name
    columns: tuple[str, ...] = Field(min_length=1)


Rule: TypeAlias = Annotated[CompareRule | RequiredIfRule | UniqueRule, Field(discriminator="kind")]


class Freshness(Declared):
    """The newest value of ``column`` is at most ``max_age_days`` before the source's as-of date, never after it."""

    column: str
    max_age_days: int = Field(ge=0)


class Contract(Declared):
    """A table's contract. Rows that break it go to quarantine; beyond ``tolerance`` the build stops."""

    name: Name
    table: str = Field(default="main", description="'main', or the name of an unpivoted table.")
    columns: dict[str, ColumnContract] = Field(min_length=1)
    extra_columns: Literal["refuse", "drop"] = "refuse"
    rules: tuple[Rule, ...] = ()
    rows_min: int = Field(default=1, ge=0)
    rows_max: int | None = None
    freshness: Freshness | None = None
    tolerance: float = Field(default=0.0, ge=0, le=1, description="Share of rows that may be quarantined.")

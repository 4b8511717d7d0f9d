"""What a table was promised to be (conf/contract/*.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from countermark.config.base import Declared, Name, Prose

DateFormat: TypeAlias = Literal[
    "YYYY-MM", "YYYY/MM", "YYYYMM", "MM/YYYY", "MM.YYYY", "MM-YYYY", "Mon-YYYY", "Mon YYYY", "YYYYQn", "YYYY-Qn",
    "YYYYMMDD", "YYYY/MM/DD", "DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "DD-MM-YYYY", "MM-DD-YYYY",
    "DD-Mon-YYYY", "DD Mon YYYY",
]  # fmt: skip
"""Ways to write a date or a period besides ISO: 'Mon' is an English month in three letters, 'Qn' is Q1 to Q4."""


class ColumnContract(Declared):
    """Promise about one column."""

    type: Literal["integer", "number", "text", "boolean", "date"]
    format: DateFormat | None = Field(default=None, description="How a date is written; None: ISO 8601.")
    period: Literal["first_day", "last_day"] = Field(
        default="first_day", description="Day that a month or a quarter stands for."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Decimal mark of this column, where it is not the source's."
    )
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        default=None, description="Separator of thousands in a number; ' ' is a no-break space too."
    )
    signs: tuple[str, ...] = Field(
        default=(), description="Currency or per cent signs before or after a number; it is read without them."
    )
    nullable: bool = False
    minimum: float | str | None = None
    maximum: float | str | None = None
    allowed: tuple[str | int | float | bool, ...] | None = None
    pattern: str | None = None
    unique: bool = False
    unit: Prose | None = None
    meaning: Prose = ""
    personal: bool = Field(default=False, description="Never copied to quarantine, tables or attachments.")

    @model_validator(mode="after")
    def _writing_fits_the_type(self) -> ColumnContract:
        if self.format is not None and self.type != "date":
            raise ValueError("'format' is for 'type: date'")
        if self.period == "last_day" and (self.format is None or "DD" in self.format):
            raise ValueError("'period: last_day' needs a 'format' of months or quarters")
        written = self.decimal is not None or self.thousands is not None or self.signs
        if written and self.type not in ("integer", "number"):
            raise ValueError("'decimal', 'thousands' and 'signs' are for 'type: number' and 'type: integer'")
        if any(not sign.strip() or any(mark.isdigit() or mark in ".,+-\\" for mark in sign) for sign in self.signs):
            raise ValueError("a sign is text without digits, points, commas, plus, minus or backslash")
        return self


class CompareRule(Declared):
    """``left operator right`` in every row; ``right`` is a column or a number. Nulls pass."""

    kind: Literal["compare"]
    name: Name
    left: str
    operator: Literal["<", "<=", "==", "!=", ">=", ">"]
    right: str | float
    reason: Prose = ""


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

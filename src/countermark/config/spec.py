"""The declared model: what conf/model/NAME.yaml composes to."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from countermark.config.base import Declared, IsoDate, Name, Prose
from countermark.config.contract import Contract
from countermark.config.feature_view import FeatureView
from countermark.config.learner import Calibration, Grades, Learner, Split, Tuning
from countermark.config.policy import AMOUNT_KINDS, DecisionPolicy, ModelKind, Policy
from countermark.config.source import Source
from countermark.errors import ConfigError

Level: TypeAlias = Literal["low", "medium", "high"]


class Identity(Declared):
    """Who answers for the model."""

    owner: str
    developer: str
    validator: str | None = None
    inventory_link: str | None = None
    classification: str = "Internal"
    validation_type: Literal["first", "periodic", "change", "trigger"] = "first"


class Tiering(Declared):
    """Inherent risk. Tier = exposure x purpose; the rest is printed beside it."""

    is_model: str = Field(description="Why this is a model, in a sentence.")
    exposure: Level
    purpose: Level
    complexity: Level
    interconnection: Level
    data_quality: Level
    tier: Literal[1, 2, 3] | None = Field(
        default=None, description="Tier in the bank's inventory, to compare with exposure x purpose; 1 is the highest."
    )
    upstream: tuple[str, ...] = ()
    downstream: tuple[str, ...] = ()


class Assumption(Declared):
    """An assumption, and the test that holds it. No test is a Watch."""

    text: Prose
    test: str | None = None
    expires: IsoDate | None = None


class UseLimit(Declared):
    """A bound on use: live value of ``measure`` must lie inside."""

    text: Prose
    measure: str = Field(
        description="A feature name, 'approval_rate' or 'outcome_rate'; for kinds lgd and ead 'mean_estimate' or "
        "'mean_outcome'."
    )
    minimum: float | None = None
    maximum: float | None = None


class Purpose(Declared):
    """What the model is for, and what it must not be used for."""

    decision: Prose
    population: Prose
    permitted: tuple[str, ...] = Field(min_length=1)
    prohibited: tuple[str, ...] = Field(min_length=1)
    affected: Prose
    automated: bool
    natural_persons: bool
    can_decline: bool
    jurisdictions: tuple[Literal["US", "EU", "UK", "CA"], ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    limits: tuple[UseLimit, ...] = ()


class Maturity(Declared):
    """When a label is final: ``horizon_months`` after ``time``, counted to the source's as-of date.

    ``basis: none`` says that the data has no dates to judge by; the pack prints Not evaluated.
    """

    basis: Literal["dates", "none"]
    note: Prose = ""


OutcomeValue: TypeAlias = int | str | bool | float
OutcomeValues: TypeAlias = Annotated[tuple[OutcomeValue, ...], Field(min_length=1)]


class Outcome(Declared):
    """The outcome that the model predicts."""

    column: str
    positive: OutcomeValue | OutcomeValues = Field(default=1, description="Value of an event, or several.")
    negative: OutcomeValue | OutcomeValues = Field(default=0, description="Value of no event, or several.")
    unresolved: tuple[OutcomeValue | None, ...] = Field(
        default=(), description="Values of rows without an outcome yet, null for a missing one: left out and counted."
    )
    definition: Prose
    horizon_months: int | None = Field(default=None, ge=1, description="None: lifetime.")
    delay_days: int = Field(default=0, ge=0)
    maturity: Maturity
    immature: Literal["refuse", "exclude"] = "refuse"
    notes: tuple[Prose, ...] = ()

    @model_validator(mode="after")
    def _unresolved_is_neither(self) -> Outcome:
        told = {str(value) for value in (*self.events, *self.non_events)}
        both = sorted(str(value) for value in self.unresolved if value is not None and str(value) in told)
        if both:
            raise ValueError(f"'unresolved' values that are neither 'positive' nor 'negative'; {', '.join(both)} is")
        return self

    @property
    def events(self) -> tuple[OutcomeValue, ...]:
        """Values that are an event."""
        return self.positive if isinstance(self.positive, tuple) else (self.positive,)

    @property
    def non_events(self) -> tuple[OutcomeValue, ...]:
        """Values that are none."""
        return self.negative if isinstance(self.negative, tuple) else (self.negative,)


class Feature(Declared):
    """One input of the model."""

    meaning: Prose
    source: str | None = Field(default=None, description="Column, or 'VIEW.FEATURE'; None: the feature's own name.")
    type: Literal["numeric", "categorical"] = "numeric"
    unit: Prose | None = None
    levels: tuple[str, ...] | None = Field(
        default=None, description="Order of an ordinal text column; turns it into 0, 1, 2 ..."
    )
    expected: Literal["increasing", "decreasing", "none"] = Field(
        default="none", description="Expected effect on risk."
    )
    monotone: bool = Field(default=False, description="Enforce 'expected' in the learner.")
    missing: Prose = Field(default="kept as missing", description="What a missing value means.")
    restricted: bool = False
    proxy_note: Prose | None = None
    available: Prose = Field(default="at decision time", description="When the value is known.")

    @model_validator(mode="after")
    def _monotone_needs_direction(self) -> Feature:
        if self.monotone and self.expected == "none":
            raise ValueError("'monotone: true' needs 'expected: increasing' or 'expected: decreasing'")
        if self.monotone and self.type == "categorical":
            raise ValueError("'monotone: true' needs 'type: numeric'; give an ordinal column 'levels'")
        return self


class DataPlan(Declared):
    """How a training row is made of the source's tables."""

    table: str = "main"
    entity: str | None = Field(default=None, description="Column that names the customer; None: every row is its own.")
    time: str | None = Field(default=None, description="Column with the observation date.")
    observed_at: IsoDate | None = Field(default=None, description="One date for all rows, where there is no column.")
    leaks: tuple[str, ...] = Field(default=(), description="Columns known only after the outcome; never inputs.")
    segments: tuple[str, ...] = Field(default=(), description="Columns by which evidence is broken down.")
    bands: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="Lower edges of the bands of a numeric segment column, by column."
    )
    vintage: Literal["month", "quarter", "year"] = "quarter"
    warm_up_days: int = Field(
        default=0,
        ge=0,
        description="Days from the first row on whose rows train nothing, because windows would reach before the data.",
    )


class Protected(Declared):
    """One protected attribute: kept apart from inputs and joined for fairness evidence only."""

    column: str
    provenance: Prose = Field(description="Self-reported, government-collected, or proxy with its error.")
    groups: dict[str, tuple[str | int, ...]] | None = Field(
        default=None, description="Group name to raw values; None: raw values are the groups."
    )
    bands: tuple[float, ...] | None = Field(default=None, description="Lower edges of numeric bands, e.g. ages.")
    reference: str = Field(description="Reference group, fixed by policy.")
    undocumented: str = Field(default="other", description="Group of values not listed.")


class Fairness(Declared):
    """Protected attributes and the criterion chosen."""

    attributes: dict[str, Protected] = Field(min_length=1)
    criterion: Prose
    intersections: tuple[tuple[str, str], ...] = ()


class Challenger(Declared):
    """The simple model that the champion must beat."""

    learner: Learner
    why: Prose


class ModelSpec(Declared):
    """One model, fully resolved."""

    name: Name
    title: str
    kind: ModelKind
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    as_of: IsoDate = Field(description="Data as-of date; stamps every document.")
    decide_by: IsoDate | None = None
    identity: Identity
    tiering: Tiering
    purpose: Purpose
    source: Source
    contract: Contract
    table_contracts: dict[str, Contract] = Field(
        default_factory=dict, description="Contracts of further tables of the source, by table name."
    )
    feature_views: dict[str, FeatureView] = Field(default_factory=dict)
    data: DataPlan
    outcome: Outcome
    features: dict[str, Feature] = Field(min_length=1)
    split: Split
    learner: Learner
    tuning: Tuning | None = None
    calibration: Calibration = Calibration()
    grades: Grades
    challenger: Challenger | None = None
    fairness: Fairness | None = None
    decision: DecisionPolicy | None = Field(
        default=None, description="Cut-off and reason texts; kinds lgd and ead have none, every other kind needs one."
    )
    policy: Policy
    limitations: tuple[Limitation, ...] = ()
    monitoring: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """Seed of everything random outside the split."""
        return self.policy.seed

    @property
    def is_amount(self) -> bool:
        """Whether the outcome is an amount or a share, not an event."""
        return self.kind in AMOUNT_KINDS

    @property
    def decision_policy(self) -> DecisionPolicy:
        """Cut-off and reason texts of a model that decides.

        Raises:
            ConfigError: If the model has none.
        """
        if self.decision is None:
            raise ConfigError(
                f"model '{self.name}' has no decision policy",
                expected="'decision' with a cut-off and reason texts",
                got=f"none; kind '{self.kind}'",
                hint="add '- /decision@decision: NAME' to its defaults",
            )
        return self.decision


class Limitation(Declared):
    """A limitation with its size and its compensating control."""

    text: str
    effect: str
    size: str | None = None
    control: str
    owner: str
    expires: IsoDate | None = None
    tests: tuple[str, ...] = Field(
        default=(), description="Test ids whose Fail or Not evaluated 'control' compensates; needs 'expires'."
    )


ModelSpec.model_rebuild()

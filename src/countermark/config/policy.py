"""Validation policy (conf/policy/*.yaml) and decision policy (conf/decision/*.yaml)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, Name, Prose
from countermark.records.limits import Limit

ModelKind: TypeAlias = Literal["pd", "lgd", "ead", "fraud", "aml", "propensity"]
AMOUNT_KINDS: tuple[ModelKind, ...] = ("lgd", "ead")
"""Kinds whose outcome is an amount or a share, not an event: they estimate a value and decline nobody."""


class Materiality(Declared):
    """Below both of these an under-estimation is significant but not material; exposures know the relative one only."""

    pd_relative: float = Field(default=0.10, gt=0)
    pd_absolute: float = Field(default=0.0005, gt=0)
    amount_relative: float = Field(default=0.05, gt=0, description="Of the mean estimate; kinds lgd and ead.")
    lgd_absolute: float = Field(default=0.01, gt=0)


class PowerPolicy(Declared):
    """Alternatives at which power is computed."""

    portfolio_pd_multiple: float = Field(default=1.5, gt=1)
    block_pd_multiple: float = Field(default=2.0, gt=1)
    lgd_shift: float = Field(default=0.05, gt=0, description="Mean under-estimation of LGD, as a share.")
    ead_relative: float = Field(default=0.10, gt=0, description="Mean under-estimation, of the mean estimate.")
    floor: float = Field(default=0.5, gt=0, lt=1)
    detect_at: float = Field(default=0.8, gt=0, lt=1, description="Power used for 'smallest detectable'.")


class GatingRule(Declared):
    """Which kinds a test gates, and where a first validation may condition a Not evaluated."""

    kinds: tuple[ModelKind, ...] = ()
    when: Literal["always", "natural_persons", "can_decline", "direction_declared"] = "always"
    conditionable: bool = Field(default=False, description="Not evaluated may become a condition at first validation.")


class ChangeClasses(Declared):
    """What a change means to governance, by what it touches."""

    scores: Literal["material", "non-material", "descriptive"] = "material"
    evidence: Literal["material", "non-material", "descriptive"] = "non-material"
    document: Literal["material", "non-material", "descriptive"] = "descriptive"


class Policy(Declared):
    """Versioned limits, alphas, and the table that says which test gates which kind."""

    name: Name
    version: str
    owner: str
    source_note: str
    alpha: float = Field(default=0.05, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    minimum_events: int = Field(default=10, ge=1)
    minimum_group: int = Field(default=30, ge=1)
    minimum_group_selected: int = Field(default=5, ge=1)
    bootstrap_resamples: int = Field(default=2000, ge=100)
    seed: int = Field(default=20260101, ge=0)
    materiality: Materiality = Materiality()
    power: PowerPolicy = PowerPolicy()
    change_class: ChangeClasses = ChangeClasses()
    limits: dict[str, Limit]
    gating: dict[str, GatingRule]


class Reason(Declared):
    """A reason text that a customer may be shown."""

    text: str
    features: tuple[str, ...] = Field(min_length=1)


class DecisionPolicy(Declared):
    """Cut-offs and reason texts. Versioned and approved apart from the scorer."""

    name: Name
    version: str
    favourable: str = Field(default="approve", description="The outcome below the cut-off.")
    unfavourable: str = "decline"
    cutoff: float = Field(
        gt=0, lt=1, description="Calibrated probability at and above which the outcome is unfavourable."
    )
    cutoff_rationale: Prose
    max_reasons: int = Field(default=4, ge=1, le=10)
    reference: Literal["mean_favourable"] = "mean_favourable"
    reasons: dict[str, Reason] = Field(default_factory=dict)

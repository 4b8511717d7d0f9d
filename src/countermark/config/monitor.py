"""Monitoring plans (conf/monitor/NAME.yaml, one per model): what is watched in production, and within which limits."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, Name
from countermark.records.limits import BandLimit, ExactLimit, LowerLimit, PValueLimit, UpperLimit

Limit: TypeAlias = Annotated[UpperLimit | LowerLimit | BandLimit | ExactLimit, Field(discriminator="kind")]
"""A limit of a figure; only calibration is judged by a p-value."""

Measure = Literal["favourable_rate", "outcome_rate", "mean_score", "override_rate", "decisions_per_day"]


class Kpi(Declared):
    """A business figure that is watched beside the model's own."""

    meaning: str
    measure: Measure
    limit: Limit
    owner: str


class MonitorLimits(Declared):
    """Limits of the checks. A check without a limit is off, and the report says so."""

    daily_volume: Limit | None = None
    missing_shift: Limit | None = None
    unseen_share: Limit | None = None
    expired_share: Limit | None = None
    feature_psi: Limit | None = None
    score_psi: Limit | None = None
    decision_shift: Limit | None = None
    auc: Limit | None = None
    auc_drop: Limit | None = None
    calibration: PValueLimit | None = None
    adverse_impact: Limit | None = None


class MonitorPlan(Declared):
    """What is watched in production for one model.

    Performance counts decisions only whose label has matured: made at least ``maturity_days`` before the as-of date.
    """

    name: Name
    version: str
    owner: str
    source_note: str
    window_days: int = Field(default=30, ge=1)
    maturity_days: int = Field(ge=0)
    performance_days: int = Field(default=90, ge=1, description="Days of matured decisions that performance looks at.")
    minimum_rows: int = Field(default=100, ge=1)
    minimum_events: int = Field(default=10, ge=1)
    minimum_group: int = Field(default=30, ge=1)
    limits: MonitorLimits
    kpis: dict[str, Kpi] = Field(default_factory=dict)

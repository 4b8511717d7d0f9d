"""Rollout plans (conf/rollout/*.yaml): how a release takes over, and what turns it back."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from countermark.config.base import Declared, Name

LONGEST_HOURS = 87_600
"""Ten years: longer than any stage waits, and a number of hours that time can be counted in."""


class Stay(Declared):
    """What a stage waits for before the next one.

    ``min_pairs`` decisions scored by both releases and ``min_hours`` on the clock; a stage that has not enough after
    ``max_hours`` is inconclusive and the rollout ends where it began.
    """

    min_pairs: int = Field(ge=1)
    min_hours: float = Field(default=0.0, ge=0, le=LONGEST_HOURS)
    max_hours: float = Field(gt=0, le=LONGEST_HOURS)

    @model_validator(mode="after")
    def _ordered(self) -> Stay:
        if self.max_hours < self.min_hours:
            raise ValueError("'max_hours' must not be below 'min_hours'")
        return self


class RateGuard(Declared):
    """A share of the candidate's decisions that must not exceed ``limit``."""

    limit: float = Field(gt=0, lt=1)
    min_pairs: int = Field(default=50, ge=1)


class LatencyGuard(Declared):
    """At most ``share`` of the candidate's scores may take longer than ``limit_ms``."""

    limit_ms: float = Field(gt=0)
    share: float = Field(default=0.01, gt=0, lt=1)
    min_pairs: int = Field(default=50, ge=1)


class ShiftGuard(Declared):
    """The share of unfavourable decisions may differ from the champion's, on the same cases, by at most ``limit``."""

    limit: float = Field(ge=0, lt=1)
    min_pairs: int = Field(default=100, ge=1)


class GroupGuard(ShiftGuard):
    """The same within one protected group.

    A group with fewer than ``min_group`` entities among the groups at hand is left out, and the status says so. Without
    a number it is ``min_pairs``: a smaller group could have that many pairs only if its members came back.
    """

    min_group: int | None = Field(default=None, ge=1)

    @property
    def least(self) -> int:
        """Entities that a group has at least to be judged."""
        return self.min_pairs if self.min_group is None else self.min_group


class PsiGuard(Declared):
    """The score may drift from its profile by at most ``limit`` more than the champion's does from its own."""

    limit: float = Field(gt=0)
    min_pairs: int = Field(default=500, ge=100)


class Guards(Declared):
    """What turns a rollout back. A guard that is not declared is off, and the status says so."""

    errors: RateGuard | None = None
    latency: LatencyGuard | None = None
    decision_rate: ShiftGuard | None = None
    group_approval: GroupGuard | None = None
    score_psi: PsiGuard | None = None


class RolloutPlan(Declared):
    """A rollout plan.

    ``canary``: shadow, then a growing share of entities, then all. ``parallel_run``: shadow only, for models that score
    files: both releases score every file, the champion's decisions hold until the end.
    """

    name: Name
    kind: Literal["canary", "parallel_run"] = "canary"
    version: str
    source_note: str = Field(description="Where the limits come from.")
    alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="Chance that a release within all limits is ever turned back."
    )
    pair_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="A decision that only one release has scored after so long counts as an error of the candidate.",
    )
    shadow: Stay
    steps: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5)
    step: Stay | None = None
    guards: Guards

    @field_validator("steps")
    @classmethod
    def _grow(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or any(not 0 < share < 1 for share in steps):
            raise ValueError("'steps' are shares between 0 and 1")
        if any(a >= b for a, b in pairwise(steps)):
            raise ValueError("'steps' must grow")
        return steps

    @model_validator(mode="after")
    def _fits(self) -> RolloutPlan:
        if self.kind == "parallel_run":
            if self.step is not None:
                raise ValueError("a parallel run has no canary steps; leave out 'step'")
            return self
        if self.step is None:
            raise ValueError("a canary rollout needs 'step'")
        return self

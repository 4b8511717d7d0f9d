"""Learners, tuning, calibration, splits and grades: everything that changes scores."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from countermark.config.base import Declared, IsoDate

ClassWeights: TypeAlias = Literal["none", "balanced"] | tuple[float, float]
"""No weights, classes of equal weight, or the weights of a non-event and of an event."""


class CatBoostLearner(Declared):
    """Symmetric gradient-boosted trees with numeric and one-hot splits."""

    kind: Literal["catboost"]
    iterations: int = Field(default=300, ge=1, le=5000)
    depth: int = Field(default=6, ge=1, le=10)
    learning_rate: float = Field(default=0.08, gt=0, le=1)
    l2_leaf_reg: float = Field(default=3.0, ge=0)
    border_count: int = Field(default=128, ge=1, le=255)
    one_hot_max: int = Field(default=16, ge=2, description="More levels than this are WoE-encoded first.")
    early_stopping_rounds: int | None = Field(default=None, ge=1)
    class_weights: ClassWeights = "none"
    threads: int = Field(default=2, ge=1, le=64, description="Part of the result: CatBoost trees change with it.")


class LogisticLearner(Declared):
    """L2 logistic (or ridge linear) regression on standardised inputs and one-hot levels."""

    kind: Literal["logistic"]
    c: float = Field(default=1.0, gt=0)
    class_weights: ClassWeights = "none"
    significant_digits: int = Field(default=6, ge=4, le=9)
    max_iter: int = Field(default=500, ge=1)


class ScorecardLearner(Declared):
    """Weight-of-evidence binning (optbinning), logistic regression, points."""

    kind: Literal["scorecard"]
    max_bins: int = Field(default=6, ge=2, le=20)
    min_bin_size: float = Field(default=0.05, gt=0, lt=0.5)
    min_iv: float = Field(default=0.02, ge=0)
    c: float = Field(default=1.0, gt=0)
    points_to_double_odds: float = Field(default=20.0, gt=0)
    base_points: float = 600.0
    base_odds: float = Field(default=50.0, gt=0)
    significant_digits: int = Field(default=6, ge=4, le=9)


Learner: TypeAlias = Annotated[CatBoostLearner | LogisticLearner | ScorecardLearner, Field(discriminator="kind")]


class IntRange(Declared):
    """Whole numbers low..high, in steps."""

    kind: Literal["int"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)


class FloatRange(Declared):
    """Numbers low..high, rounded to 3 significant digits before use."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False


class Choice(Declared):
    """One of a list."""

    kind: Literal["choice"]
    values: tuple[int | float | str, ...] = Field(min_length=1)


SearchRange: TypeAlias = Annotated[IntRange | FloatRange | Choice, Field(discriminator="kind")]


class Tuning(Declared):
    """Optuna search with a trial budget and a seed; one job."""

    trials: int = Field(ge=1, le=1000)
    seed: int = Field(ge=0, lt=2**32, description="The sampler takes 32 bits.")
    folds: int = Field(default=3, ge=2, le=20)
    metric: Literal["auc", "log_loss", "rmse"] = "auc"
    space: dict[str, SearchRange] = Field(min_length=1)


class Calibration(Declared):
    """Map from raw score to probability, fitted on the calibration sample and frozen."""

    method: Literal["none", "platt", "isotonic", "beta"] = "none"


class OutOfTimeSplit(Declared):
    """Rows at or after ``out_of_time_from`` are out-of-time; earlier ones are split at random by key.

    ``by_entity`` keeps all rows of an entity in one sample, drops out-of-time entities seen before and counts them.
    """

    kind: Literal["out_of_time"]
    out_of_time_from: IsoDate
    gap_days: int = Field(
        default=0,
        ge=0,
        description="Days before 'out_of_time_from' that are left out: their labels were not final when it began.",
    )
    calibration: float = Field(default=0.2, gt=0, lt=1)
    holdout: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(ge=0)


class GroupedSplit(Declared):
    """Whole groups (entity, area, branch) fall into one sample."""

    kind: Literal["grouped"]
    group: str
    calibration: float = Field(default=0.2, gt=0, lt=1)
    holdout: float = Field(default=0.25, gt=0, lt=1)
    seed: int = Field(ge=0)


class StratifiedSplit(Declared):
    """Random rows with equal outcome rates; refuses data with repeated entities."""

    kind: Literal["stratified"]
    calibration: float = Field(default=0.2, gt=0, lt=1)
    holdout: float = Field(default=0.25, gt=0, lt=1)
    seed: int = Field(ge=0)


Split: TypeAlias = Annotated[OutOfTimeSplit | GroupedSplit | StratifiedSplit, Field(discriminator="kind")]


class QuantileGrades(Declared):
    """Grades with equal shares of the calibration sample; PD per grade is its mean predicted PD, frozen.

    For kinds lgd and ead, pools with equal shares; the value of a pool is its mean estimate, frozen.
    """

    kind: Literal["quantile"]
    count: int = Field(ge=2, le=25)


class FixedGrades(Declared):
    """Grades with upper PD bounds set by policy (the last is 1).

    For kinds lgd and ead, upper bounds of pools of the estimate; estimates above the last one join the last pool.
    """

    kind: Literal["fixed"]
    upper: tuple[float, ...] = Field(min_length=2)
    pd: tuple[float, ...] | None = Field(default=None, description="PD per grade; None: mean predicted PD, frozen.")


class Grades(Declared):
    """The master scale of the model, best grade first; for kinds lgd and ead its pools, lowest first."""

    scale: Annotated[QuantileGrades | FixedGrades, Field(discriminator="kind")]
    names: tuple[str, ...] | None = None

"""Limits, and the one judge that turns a number into a light.

Every threshold of the house is a :class:`Limit` from versioned policy data, and every light comes from
:func:`judge`. No other place compares a statistic with a threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from countermark.records.lights import Light


def plain(value: float) -> str:
    """A bound in full digits, without a power of ten: ``0.05``, ``0.000000001``, ``1000``."""
    return f"{Decimal(repr(float(value))).normalize():f}"


class _Limit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(min_length=1, description="Where the limit comes from: text, paragraph, or house policy.")


class PValueLimit(_Limit):
    """One-sided p-rule, small is bad: Pass p >= watch; Watch fail <= p < watch; Fail p < fail."""

    kind: Literal["p_value"]
    watch: float = Field(gt=0, lt=1)
    fail: float = Field(gt=0, lt=1)
    power_floor: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> PValueLimit:
        if self.fail > self.watch:
            raise ValueError("'fail' must not exceed 'watch'")
        return self

    @property
    def text(self) -> str:
        return f"p ≥ {plain(self.watch)} pass, p < {plain(self.fail)} fail"


class UpperLimit(_Limit):
    """Small is good. ``inclusive`` says whether a value on a bound still has the better light."""

    kind: Literal["upper"]
    watch: float
    fail: float
    inclusive: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> UpperLimit:
        if self.fail < self.watch:
            raise ValueError("'fail' must not be below 'watch'")
        return self

    @property
    def text(self) -> str:
        sign = "≤" if self.inclusive else "<"
        return f"{sign} {plain(self.watch)} pass, {sign} {plain(self.fail)} watch"


class LowerLimit(_Limit):
    """Large is good. ``inclusive`` says whether a value on a bound still has the better light."""

    kind: Literal["lower"]
    watch: float
    fail: float
    inclusive: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> LowerLimit:
        if self.fail > self.watch:
            raise ValueError("'fail' must not exceed 'watch'")
        return self

    @property
    def text(self) -> str:
        sign = "≥" if self.inclusive else ">"
        return f"{sign} {plain(self.watch)} pass, {sign} {plain(self.fail)} watch"


class BandLimit(_Limit):
    """Inside the inner band passes, inside the outer band is watched; bounds belong to the band."""

    kind: Literal["band"]
    inner: tuple[float, float]
    outer: tuple[float, float]

    @model_validator(mode="after")
    def _nested(self) -> BandLimit:
        if not self.outer[0] <= self.inner[0] <= self.inner[1] <= self.outer[1]:
            raise ValueError("'inner' must lie inside 'outer'")
        return self

    @property
    def text(self) -> str:
        return (
            f"{plain(self.inner[0])}-{plain(self.inner[1])} pass, {plain(self.outer[0])}-{plain(self.outer[1])} watch"
        )


class ExactLimit(_Limit):
    """Only one value passes; anything else fails. For counts that must be zero and identities."""

    kind: Literal["exact"]
    value: float

    @property
    def text(self) -> str:
        return f"= {plain(self.value)}"


AnyLimit: TypeAlias = PValueLimit | UpperLimit | LowerLimit | BandLimit | ExactLimit
Limit: TypeAlias = Annotated[AnyLimit, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said, and why.

    Attributes:
        light: The light.
        rule: Which rule decided, in words.
        reason: Why a test is Not evaluated; None otherwise.
    """

    light: Light
    rule: str
    reason: str | None = None


def judge(
    limit: AnyLimit,
    value: float | None,
    *,
    interval: tuple[float, float] | None = None,
    power: float | None = None,
    material: bool | None = None,
    undefined: str | None = None,
) -> Verdict:
    """Turn one statistic into one light.

    Args:
        limit: The policy limit.
        value: The statistic (for a p-rule: the p-value). None if it is undefined.
        interval: Confidence interval of the statistic. A value inside the limit whose interval
            crosses out of it is Watch; a value outside whose interval reaches inside is Watch,
            unless the point itself is beyond the fail bound and the interval excludes the pass region.
        power: Power at the policy alternative, 0..1; below ``limit.power_floor`` a pass becomes
            Not evaluated.
        material: False turns a Fail into Watch ("significant, not material"). Never the reverse.
        undefined: Reason why the statistic is undefined or too thin; forces Not evaluated.

    Returns:
        Light, rule and, for Not evaluated, the reason.
    """
    if undefined is not None:
        return Verdict(Light.NOT_EVALUATED, "undefined or too few observations", undefined)
    if value is None or not math.isfinite(value):
        return Verdict(Light.NOT_EVALUATED, "undefined statistic", "the statistic is undefined")
    point = _point_light(limit, value)
    if isinstance(limit, PValueLimit):
        verdict = _judge_power(limit, point, power)
    elif interval is not None and all(math.isfinite(bound) for bound in interval):
        reached = {_point_light(limit, at) for at in (*interval, _closest_to_pass(limit, interval))}
        verdict = _judge_interval(point, reached)
    else:
        verdict = Verdict(point, "point rule")
    if verdict.light is Light.FAIL and material is False:
        return Verdict(Light.WATCH, f"{verdict.rule}; significant, not material")
    return verdict


def _judge_power(limit: PValueLimit, point: Light, power: float | None) -> Verdict:
    floor = limit.power_floor
    if point is Light.PASS and floor is not None:
        if power is None or not math.isfinite(power):
            return Verdict(Light.NOT_EVALUATED, "power rule", "inconclusive, power unknown")
        if power < floor:
            return Verdict(
                Light.NOT_EVALUATED,
                "power rule",
                f"inconclusive, power {100 * power:.0f} % is below {100 * floor:.0f} %",
            )
        return Verdict(point, "p-rule and power rule")
    return Verdict(point, "p-rule")


def _judge_interval(point: Light, reached: set[Light]) -> Verdict:
    if point is Light.PASS:
        if Light.FAIL in reached:
            return Verdict(Light.WATCH, "interval rule: the interval reaches the fail region")
        return Verdict(Light.PASS, "interval rule")
    if point is Light.FAIL and Light.PASS in reached:
        return Verdict(Light.WATCH, "interval rule: the interval reaches the pass region")
    return Verdict(point, "interval rule")


def _closest_to_pass(limit: AnyLimit, interval: tuple[float, float]) -> float:
    """The point of an interval nearest to a two-sided pass region, which may lie between the interval's ends."""
    match limit:
        case BandLimit():
            middle = (limit.inner[0] + limit.inner[1]) / 2
        case ExactLimit():
            middle = limit.value
        case _:
            return interval[0]
    return min(max(middle, interval[0]), interval[1])


def _point_light(limit: AnyLimit, value: float) -> Light:
    match limit:
        case PValueLimit():
            good, fair = value >= limit.watch, value >= limit.fail
        case UpperLimit(inclusive=True):
            good, fair = value <= limit.watch, value <= limit.fail
        case UpperLimit():
            good, fair = value < limit.watch, value < limit.fail
        case LowerLimit(inclusive=True):
            good, fair = value >= limit.watch, value >= limit.fail
        case LowerLimit():
            good, fair = value > limit.watch, value > limit.fail
        case BandLimit():
            good = limit.inner[0] <= value <= limit.inner[1]
            fair = limit.outer[0] <= value <= limit.outer[1]
        case ExactLimit():
            good = fair = value == limit.value
    return Light.PASS if good else Light.WATCH if fair else Light.FAIL

"""Disparity between groups: selection, scores, error rates and calibration, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from countermark.errors import EvidenceError
from countermark.metrics.intervals import wilson_interval

Interval: TypeAlias = tuple[float, float]

SMALL_GROUP = 100
"""Below this size of either group the score interval of a ratio is used instead of the logarithmic one."""


@dataclass(frozen=True, slots=True)
class ImpactRatio:
    """Adverse impact ratio: selection rate of a group over that of the reference group.

    Attributes:
        value: The ratio. None if the reference group has no one selected or a group is empty.
        selected: Selected persons, group and reference.
        n: Persons, group and reference.
        log_interval: Normal interval of the logarithm; Walter's one half on every count where no one is selected.
        score_interval: Score interval.
        z: Difference of the two rates over its pooled standard error. None if all or none are selected.
        p_value: Two-sided p of ``z``.
        p_fisher: Fisher's exact two-sided p.
        shortfall: Selections by which the group falls short of the screening ratio; 0 if it does not.
        reason: Why ``value`` is None.
    """

    value: float | None
    selected: tuple[int, int]
    n: tuple[int, int]
    log_interval: Interval | None
    score_interval: Interval | None
    z: float | None
    p_value: float | None
    p_fisher: float | None
    shortfall: int | None
    reason: str | None = None

    @property
    def interval(self) -> Interval | None:
        """The interval to print: the score interval for small groups or extreme rates, else the logarithmic one."""
        extreme = any(s in (0, n) for s, n in zip(self.selected, self.n, strict=True))
        return self.score_interval if min(self.n) < SMALL_GROUP or extreme else self.log_interval

    @property
    def interval_method(self) -> str:
        """Name of :attr:`interval`."""
        return "score" if self.interval is self.score_interval else "log"


def adverse_impact_ratio(
    selected: int,
    n: int,
    selected_reference: int,
    n_reference: int,
    *,
    screening_ratio: float = 0.8,
    confidence: float = 0.95,
) -> ImpactRatio:
    """Adverse impact ratio with intervals and tests.

    Args:
        selected: Persons of the group with the favourable outcome.
        n: Persons of the group.
        selected_reference: The same in the reference group.
        n_reference: Persons of the reference group.
        screening_ratio: Ratio that ``shortfall`` is counted from (four fifths, 29 CFR 1607.4(D)).
        confidence: Level of the intervals.

    Raises:
        EvidenceError: If more are selected than there are persons, or a count is negative.
    """
    if not (0 <= selected <= n and 0 <= selected_reference <= n_reference):
        raise EvidenceError("selected persons must be between 0 and the size of their group")
    counts, sizes = (selected, selected_reference), (n, n_reference)
    if n == 0 or n_reference == 0:
        group = "group" if n == 0 else "reference group"
        return ImpactRatio(None, counts, sizes, None, None, None, None, None, None, f"the {group} is empty")
    table = np.array([[selected, n - selected], [selected_reference, n_reference - selected_reference]])
    p_fisher = float(stats.fisher_exact(table).pvalue)
    if selected_reference == 0:
        return ImpactRatio(
            None, counts, sizes, None, None, None, None, p_fisher, None, "no one in the reference group is selected"
        )
    z, p_value = _pooled_z(selected, n, selected_reference, n_reference)
    # Whole numbers: rounding must not ask for one approval more or less.
    needed = Fraction(str(screening_ratio)) * selected_reference * n / n_reference - selected
    return ImpactRatio(
        value=(selected / n) / (selected_reference / n_reference),
        selected=counts,
        n=sizes,
        log_interval=_log_ratio_interval(selected, n, selected_reference, n_reference, confidence),
        score_interval=score_ratio_interval(selected, n, selected_reference, n_reference, confidence),
        z=z,
        p_value=p_value,
        p_fisher=p_fisher,
        shortfall=max(0, -(-needed.numerator // needed.denominator)),
    )


def _pooled_z(a: int, n1: int, c: int, n2: int) -> tuple[float | None, float | None]:
    pooled = (a + c) / (n1 + n2)
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
    if variance == 0:
        return None, None
    z = (a / n1 - c / n2) / float(np.sqrt(variance))
    return z, float(2 * stats.norm.sf(abs(z)))


def _log_ratio_interval(a: int, n1: int, c: int, n2: int, confidence: float) -> Interval:
    half = 0.5 if a == 0 else 0.0
    x, y, m1, m2 = a + half, c + half, n1 + half, n2 + half
    centre = np.log((x / m1) / (y / m2))
    width = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(1 / x - 1 / m1 + 1 / y - 1 / m2)
    return float(np.exp(centre - width)), float(np.exp(centre + width))


def score_ratio_interval(a: int, n1: int, c: int, n2: int, confidence: float = 0.95) -> Interval | None:
    """Score interval of a ratio of two proportions: the ratios that the score test keeps.

    Koopman (1984), with the small-sample factor (N - 1) / N of Miettinen and Nurminen (1985).

    Args:
        a: Successes of the numerator group.
        n1: Its size, positive.
        c: Successes of the denominator group.
        n2: Its size, positive.
        confidence: Level.

    Returns:
        Lower and upper end; None if the denominator group has no success (no upper end exists).
    """
    if c == 0:
        return None
    bound = float(stats.norm.ppf((1 + confidence) / 2)) ** 2

    def excess(log_ratio: float) -> float:
        return _score_statistic(float(np.exp(log_ratio)), a, n1, c, n2) - bound

    start = float(np.log((a / n1) / (c / n2))) if a else -20.0
    high = float(np.exp(_root(excess, start, 0.25)))
    low = float(np.exp(_root(excess, start, -0.25))) if a else 0.0
    return low, high


def _score_statistic(ratio: float, a: int, n1: int, c: int, n2: int) -> float:
    """Koopman's U: squared distance to the best rates that have exactly this ratio."""
    total = n1 + n2
    b = ratio * (n1 + c) + a + n2
    root = np.sqrt(max(b * b - 4.0 * total * ratio * (a + c), 0.0))
    # The smaller root, in the form that does not cancel.
    p2 = 2.0 * (a + c) / (b + root)
    p1 = ratio * p2
    value = 0.0
    for x, n, p in ((a, n1, p1), (c, n2, p2)):
        spread = n * p * (1 - p)
        value += (x - n * p) ** 2 / spread if spread > 1e-300 else 0.0
    return float(value * (total - 1) / total)


def _root(function: Callable[[float], float], start: float, step: float) -> float:
    near, far = start, start + step
    while function(far) < 0:
        near, step = far, step * 2
        far += step
    return float(brentq(function, near, far, xtol=1e-13, rtol=1e-13))


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """Standardised difference of mean scores, group minus reference.

    Attributes:
        pooled: Over the pooled standard deviation (Cohen's d). None if it is 0 or a group has under two rows.
        total: Over the standard deviation of all persons of both groups.
        interval: Large-sample interval of ``pooled`` (Hedges and Olkin 1985).
        p_welch: Welch's two-sided p.
        n: Persons, group and reference.
        reason: Why ``pooled`` is None.
    """

    pooled: float | None
    total: float | None
    interval: Interval | None
    p_welch: float | None
    n: tuple[int, int]
    reason: str | None = None


def standardised_mean_difference(group: ArrayLike, reference: ArrayLike, *, confidence: float = 0.95) -> MeanDifference:
    """Standardised mean difference of a score between a group and the reference group.

    Args:
        group: Scores, (n,).
        reference: Scores, (m,).
        confidence: Level of the interval.
    """
    x, y = np.asarray(group, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    n, m = int(x.size), int(y.size)
    if n < 2 or m < 2:
        return MeanDifference(None, None, None, None, (n, m), "a group has fewer than two persons")
    gap = float(x.mean() - y.mean())
    within = (n - 1) * float(x.var(ddof=1)) + (m - 1) * float(y.var(ddof=1))
    pooled_sd = float(np.sqrt(within / (n + m - 2)))
    total_sd = float(np.concatenate([x, y]).std(ddof=1))
    if pooled_sd == 0.0:
        return MeanDifference(None, None, None, None, (n, m), "the score does not vary within the groups")
    d = gap / pooled_sd
    error = float(np.sqrt((n + m) / (n * m) + d * d / (2 * (n + m))))
    width = float(stats.norm.ppf((1 + confidence) / 2)) * error
    p_welch = float(stats.ttest_ind(x, y, equal_var=False).pvalue)
    return MeanDifference(d, gap / total_sd, (d - width, d + width), p_welch, (n, m))


@dataclass(frozen=True, slots=True)
class RateDifference:
    """Difference of two proportions, group minus reference, with Newcombe's interval.

    Attributes:
        value: Difference. None if a group has no case.
        rates: Rate of the group and of the reference.
        counts: Cases with the property, group and reference.
        n: Cases, group and reference.
        interval: Newcombe's hybrid score interval.
        reason: Why ``value`` is None.
    """

    value: float | None
    rates: tuple[float | None, float | None]
    counts: tuple[int, int]
    n: tuple[int, int]
    interval: Interval | None
    reason: str | None = None


def rate_difference(x1: int, n1: int, x2: int, n2: int, *, confidence: float = 0.95) -> RateDifference:
    """Difference of two proportions with Newcombe's hybrid score interval (Newcombe 1998, method 10).

    Args:
        x1: Cases of the group with the property.
        n1: Cases of the group.
        x2: The same in the reference group.
        n2: Cases of the reference group.
        confidence: Level.
    """
    rates = (x1 / n1 if n1 else None, x2 / n2 if n2 else None)
    if n1 == 0 or n2 == 0:
        side = "group" if n1 == 0 else "reference group"
        return RateDifference(None, rates, (x1, x2), (n1, n2), None, f"no case of this outcome in the {side}")
    p1, p2 = x1 / n1, x2 / n2
    first, second = (wilson_interval(n, x, confidence=confidence).interval for n, x in ((n1, x1), (n2, x2)))
    l1, u1 = first or (p1, p1)
    l2, u2 = second or (p2, p2)
    low = p1 - p2 - float(np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2))
    high = p1 - p2 + float(np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2))
    return RateDifference(p1 - p2, rates, (x1, x2), (n1, n2), (low, high))


@dataclass(frozen=True, slots=True)
class ErrorParity:
    """Error rates of a group against the reference group; 'positive' is the favourable outcome.

    Attributes:
        true_positive: Favourable among those who deserved it (no event).
        false_positive: Favourable among those who did not (event).
        odds: Larger absolute difference of the two. None unless both exist.
        odds_interval: Interval of ``odds``: that of the larger difference, in absolute terms.
    """

    true_positive: RateDifference
    false_positive: RateDifference
    odds: float | None
    odds_interval: Interval | None


def error_parity(
    favourable: NDArray[np.bool_], event: NDArray[np.bool_], group: NDArray[np.bool_], *, confidence: float = 0.95
) -> ErrorParity:
    """Equal opportunity and equalised odds of one group against the reference group.

    Args:
        favourable: Decision per person, (n,).
        event: Bad outcome per person, (n,).
        group: True in the group, False in the reference group, (n,).
        confidence: Level of the intervals.
    """
    differences = []
    for outcome in (~event, event):
        mine, theirs = outcome & group, outcome & ~group
        differences.append(
            rate_difference(
                int(np.count_nonzero(favourable & mine)),
                int(np.count_nonzero(mine)),
                int(np.count_nonzero(favourable & theirs)),
                int(np.count_nonzero(theirs)),
                confidence=confidence,
            )
        )
    tpr, fpr = differences
    if tpr.value is None or fpr.value is None:
        return ErrorParity(tpr, fpr, None, None)
    larger = max((tpr, fpr), key=lambda d: abs(d.value or 0.0))
    return ErrorParity(tpr, fpr, abs(larger.value or 0.0), absolute_interval(larger.interval))


def absolute_interval(interval: Interval | None) -> Interval | None:
    """Interval of an absolute value from the interval of the signed one."""
    if interval is None:
        return None
    low, high = interval
    ends = sorted((abs(low), abs(high)))
    return (0.0 if low <= 0.0 <= high else ends[0]), ends[1]


@dataclass(frozen=True, slots=True)
class Association:
    """Association of two classifications.

    Attributes:
        chi2: Pearson's statistic without continuity correction.
        df: Degrees of freedom.
        p_value: Upper tail of chi-square.
        cramers_v: 0 = none, 1 = full. None if a side has one class only.
        cramers_v_corrected: With Bergsma's bias correction.
        reason: Why the values are None.
    """

    chi2: float | None
    df: int
    p_value: float | None
    cramers_v: float | None
    cramers_v_corrected: float | None
    reason: str | None = None


def cramers_v(table: ArrayLike) -> Association:
    """Cramer's V of a two-way table of counts, with Bergsma's (2013) bias correction.

    Args:
        table: Counts, groups by classes, (r, c). Empty rows and columns are left out.
    """
    counts = np.asarray(table, dtype=np.float64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    r, c = counts.shape
    if min(r, c) < 2:
        return Association(None, 0, None, None, None, "one side of the table has a single class")
    n = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    df = (r - 1) * (c - 1)
    phi = max(0.0, chi2 / n - df / (n - 1))
    r_corrected, c_corrected = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    smaller = min(r_corrected, c_corrected) - 1
    corrected = float(np.sqrt(phi / smaller)) if smaller > 0 else None
    return Association(
        chi2, df, float(stats.chi2.sf(chi2, df)), float(np.sqrt(chi2 / (n * (min(r, c) - 1)))), corrected
    )


def merge_to_expected(expected: ArrayLike, minimum: float = 5.0) -> NDArray[np.int64]:
    """Merge neighbouring grades, best to worst, until every block expects at least ``minimum`` events.

    Args:
        expected: Expected events per grade, (g,).
        minimum: Expected events a block needs; a rest that does not reach it joins the last block.

    Returns:
        Block of each grade, (g,), 0 first. One block if the total does not reach ``minimum``.
    """
    values = np.asarray(expected, dtype=np.float64)
    block = np.zeros(values.size, dtype=np.int64)
    current, collected = 0, 0.0
    for i, value in enumerate(values):
        block[i] = current
        collected += float(value)
        if collected >= minimum:
            current, collected = current + 1, 0.0
    # The grades after the last full block did not fill one of their own.
    return np.minimum(block, max(current - 1, 0))

"""Does the score rank? AUC with DeLong's variance, KS, CAP and ROC. Higher score = riskier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import rankdata

from countermark.errors import EvidenceError
from countermark.metrics.arrays import Bools, Floats, one_class, paired


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve with DeLong's variance.

    Attributes:
        value: P(score of an event > score of a non-event) + half the ties; None if undefined.
        variance: DeLong variance (ddof 1); None with fewer than two events or non-events.
        normal: Normal interval, cut at 0 and 1; None if the variance is unknown or 0.
        logit: Logit interval; None if the variance is unknown or 0.
        interval: The interval to print: the normal one, or the rank bound under perfect separation.
        method: Name of the method behind ``interval``.
        p_chance: One-sided p of H0 AUC <= 1/2; None if the variance is unknown or 0.
        events: Events.
        non_events: Non-events.
        reason: Why ``value`` or ``interval`` is None, or why it is degenerate.
    """

    value: float | None
    variance: float | None
    normal: tuple[float, float] | None
    logit: tuple[float, float] | None
    interval: tuple[float, float] | None
    method: str | None
    p_chance: float | None
    events: int
    non_events: int
    reason: str | None = None

    @property
    def se(self) -> float | None:
        """Standard error."""
        return None if self.variance is None else math.sqrt(self.variance)

    @property
    def gini(self) -> float | None:
        """Gini coefficient, 2 AUC - 1."""
        return None if self.value is None else 2.0 * self.value - 1.0


@dataclass(frozen=True, slots=True)
class AucDifference:
    """Difference of two AUCs on the same rows (paired DeLong).

    Attributes:
        difference: AUC of ``a`` minus AUC of ``b``.
        variance: Its variance.
        interval: Normal interval of the difference.
        z: Difference over its standard error.
        p_two_sided: H0 equal AUC.
        p_worse: One-sided p of H0 "a is not worse than b"; small means that a is worse.
        auc_a: AUC of ``a``.
        auc_b: AUC of ``b``.
        covariance: DeLong covariance matrix of the two AUCs, row by row.
        reason: Why the difference is undefined, or degenerate.
    """

    difference: float | None
    variance: float | None
    interval: tuple[float, float] | None
    z: float | None
    p_two_sided: float | None
    p_worse: float | None
    auc_a: float | None
    auc_b: float | None
    covariance: tuple[tuple[float, float], tuple[float, float]] | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AucDeterioration:
    """ECB 2.5.4.1: has the AUC fallen since initial validation?

    Attributes:
        s: (initial - current) / se of the current AUC; the initial AUC is taken as a constant.
        p: 1 - Phi(s).
        s_both: The same with the variance of the initial AUC added, where it is known.
        p_both: 1 - Phi(s_both).
        reason: Why ``s`` is undefined.
    """

    s: float | None
    p: float | None
    s_both: float | None = None
    p_both: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number, or the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BootstrapInterval:
    """Percentile interval over resamples of clusters."""

    interval: tuple[float, float] | None
    resamples: int
    clusters: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ks:
    """Largest gap between the score distributions of events and non-events.

    Attributes:
        value: The gap.
        threshold: Score at which it is reached (the lowest such score).
        index: Position of that score among the distinct scores, from the lowest.
        reason: Why it is undefined.
    """

    value: float | None
    threshold: float | None = None
    index: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, one per distinct score; empty arrays if undefined."""

    x: Floats
    y: Floats
    threshold: Floats
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """Cumulative accuracy profile.

    Attributes:
        curve: x = share of all rows, riskiest first; y = share of all events.
        area: Area under it.
        accuracy_ratio: (area - 1/2) / ((1 - event rate) / 2); equals 2 AUC - 1.
        reason: Why it is undefined.
    """

    curve: Curve
    area: float | None
    accuracy_ratio: float | None
    reason: str | None = None


def _empty(reason: str) -> Curve:
    none = np.empty(0, dtype=np.float64)
    return Curve(none, none, none, reason)


def _placements(events: Bools, score: Floats) -> tuple[float, Floats, Floats]:
    """AUC, share of non-events below each event, share of events above each non-event (midranks)."""
    bad, good = score[events], score[~events]
    ranks = rankdata(score)
    v10 = (ranks[events] - rankdata(bad)) / good.size
    v01 = 1.0 - (ranks[~events] - rankdata(good)) / bad.size
    # Midranks are multiples of one half: this sum is exact, and so is the AUC up to one division.
    below = float(np.sum(ranks[events])) - bad.size * (bad.size + 1) / 2
    return below / (float(bad.size) * float(good.size)), v10, v01


def auc(y: NDArray[Any], score: NDArray[Any], *, confidence: float = 0.95) -> Auc:
    """How often the riskier of two customers has the higher score, with DeLong's interval.

    Args:
        y: Outcome (n,), 1 = event.
        score: Risk score (n,), higher = riskier.
        confidence: Level of the intervals.

    Returns:
        AUC, variance and intervals. Under perfect separation DeLong's variance is 0: the interval is then
        the Clopper-Pearson bound with min(events, non-events) trials, and ``reason`` says so.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: DeLong, DeLong, Clarke-Pearson (1988); midranks: Sun, Xu (2014).
    """
    events, (s,), reason = paired(y, score)
    d, n = int(np.count_nonzero(events)), int(events.size)
    reason = reason or one_class(events)
    if reason is not None:
        return Auc(None, None, None, None, None, None, None, d, n - d, reason)
    value, v10, v01 = _placements(events, s)
    if d < 2 or n - d < 2:
        few = "fewer than two events or non-events: no variance"
        return Auc(value, None, None, None, None, None, None, d, n - d, few)
    variance = float(np.var(v10, ddof=1)) / d + float(np.var(v01, ddof=1)) / (n - d)
    if variance <= 0.0:
        interval, why = _rank_bound(value, min(d, n - d), confidence)
        method = "Clopper-Pearson on min(events, non-events)" if interval else None
        return Auc(value, 0.0, None, None, interval, method, None, d, n - d, why)
    se, z = math.sqrt(variance), float(ndtri(0.5 + confidence / 2))
    normal = (max(0.0, value - z * se), min(1.0, value + z * se))
    half = z * se / (value * (1.0 - value))
    centre = float(logit(value))
    on_logit = (float(expit(centre - half)), float(expit(centre + half)))
    p_chance = float(ndtr(-(value - 0.5) / se))
    return Auc(value, variance, normal, on_logit, normal, "DeLong, normal", p_chance, d, n - d)


def _rank_bound(value: float, trials: int, confidence: float) -> tuple[tuple[float, float] | None, str]:
    tail = (1.0 - confidence) / 2
    if value == 1.0:
        return (tail ** (1.0 / trials), 1.0), "perfect separation: DeLong variance is 0"
    if value == 0.0:
        return (0.0, 1.0 - tail ** (1.0 / trials)), "perfect inverse separation: DeLong variance is 0"
    return None, "DeLong variance is 0: the score does not vary within the classes"


def auc_difference(y: NDArray[Any], a: NDArray[Any], b: NDArray[Any], *, confidence: float = 0.95) -> AucDifference:
    """Is one score better than another on the same customers? Paired DeLong.

    Args:
        y: Outcome (n,).
        a: First score (n,).
        b: Second score (n,).
        confidence: Level of the interval of the difference.

    Returns:
        AUC(a) - AUC(b). Scores that rank alike have variance 0: difference 0, p = 1.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.

    Source: DeLong et al. (1988), variance of the placement differences, ddof 1.
    """
    events, (first, second), reason = paired(y, a, b)
    reason = reason or one_class(events)
    if reason is not None:
        return AucDifference(None, None, None, None, None, None, None, None, None, reason)
    value_a, a10, a01 = _placements(events, first)
    value_b, b10, b01 = _placements(events, second)
    d, n = a10.size, a01.size
    delta = value_a - value_b
    if d < 2 or n < 2:
        few = "fewer than two events or non-events: no variance"
        return AucDifference(delta, None, None, None, None, None, value_a, value_b, None, few)
    cov = np.cov(np.vstack((a10, b10))) / d + np.cov(np.vstack((a01, b01))) / n
    matrix = ((float(cov[0, 0]), float(cov[0, 1])), (float(cov[1, 0]), float(cov[1, 1])))
    variance = float(np.var(a10 - b10, ddof=1)) / d + float(np.var(a01 - b01, ddof=1)) / n
    if variance <= 0.0:
        if delta == 0.0:
            same = "both scores rank alike: variance 0"
            return AucDifference(0.0, 0.0, (0.0, 0.0), 0.0, 1.0, 0.5, value_a, value_b, matrix, same)
        why = "variance of the difference is 0"
        return AucDifference(delta, 0.0, None, None, None, None, value_a, value_b, matrix, why)
    se, z_level = math.sqrt(variance), float(ndtri(0.5 + confidence / 2))
    z = delta / se
    interval = (delta - z_level * se, delta + z_level * se)
    p_two = float(2.0 * ndtr(-abs(z)))
    return AucDifference(delta, variance, interval, z, p_two, float(ndtr(z)), value_a, value_b, matrix)


def auc_deterioration(
    initial: float, current: float | None, se_current: float | None, *, se_initial: float | None = None
) -> AucDeterioration:
    """Has discrimination fallen since the initial validation?

    Args:
        initial: AUC at initial validation.
        current: AUC now.
        se_current: DeLong standard error of the current AUC.
        se_initial: Standard error of the initial AUC, for the second form.

    Returns:
        Both forms; with equal variances the ECB form rejects 12.2 % of the time at nominal 5 %.

    Source: ECB instructions for reporting the validation results of internal models (2019), 2.5.4.1.
    """
    if current is None or se_current is None:
        return AucDeterioration(None, None, reason="the current AUC or its standard error is undefined")
    if se_current <= 0.0:
        return AucDeterioration(None, None, reason="the standard error of the current AUC is 0")
    s = (initial - current) / se_current
    p = float(ndtr(-s))
    if se_initial is None:
        return AucDeterioration(s, p)
    both = (initial - current) / math.sqrt(se_current**2 + se_initial**2)
    return AucDeterioration(s, p, both, float(ndtr(-both)))


def auc_bootstrap(
    y: NDArray[Any],
    score: NDArray[Any],
    *,
    cluster: NDArray[Any] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapInterval:
    """Percentile interval of the AUC when customers, not rows, are independent.

    Clusters are resampled within two strata (with an event, without), so that no resample lacks a class.

    Args:
        y: Outcome (n,).
        score: Risk score (n,).
        cluster: Customer of each row (n,); None makes every row its own cluster.
        resamples: Number of resamples.
        confidence: Level of the interval.
        seed: Seed of the resamples.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (s,), reason = paired(y, score)
    reason = reason or one_class(events)
    if cluster is not None and np.shape(cluster) != events.shape:
        raise EvidenceError("outcome and cluster have different lengths", expected=f"{events.shape}")
    keys = np.arange(events.size) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    clusters = int(keys.max()) + 1 if keys.size else 0
    if reason is not None:
        return BootstrapInterval(None, 0, clusters, reason)
    code = np.unique(s, return_inverse=True)[1]
    has_event = np.bincount(keys, weights=events, minlength=clusters) > 0
    strata = [group for group in (np.flatnonzero(has_event), np.flatnonzero(~has_event)) if group.size]
    good = (~events).astype(np.float64)
    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        times = np.zeros(clusters)
        for group in strata:
            times[group] = np.bincount(rng.integers(0, group.size, group.size), minlength=group.size)
        weight = times[keys]
        bad_at = np.bincount(code, weights=weight * events)
        good_at = np.bincount(code, weights=weight * good)
        total = bad_at.sum() * good_at.sum()
        values[i] = np.dot(bad_at, np.cumsum(good_at) - 0.5 * good_at) / total if total else np.nan
    tail = (1.0 - confidence) / 2
    values = values[np.isfinite(values)]
    if values.size == 0:
        return BootstrapInterval(None, 0, clusters, "no resample holds both classes")
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return BootstrapInterval((float(low), float(high)), int(values.size), clusters)


def _by_score(events: Bools, score: Floats) -> tuple[Floats, Floats, Floats]:
    """Distinct scores from the lowest, with non-events and events at each."""
    values, code = np.unique(score, return_inverse=True)
    bad = np.bincount(code, weights=events, minlength=values.size).astype(np.float64)
    total = np.bincount(code, minlength=values.size).astype(np.float64)
    return values, total - bad, bad


def ks(y: NDArray[Any], score: NDArray[Any]) -> Ks:
    """Largest vertical gap between the cumulative score distributions of the two classes.

    Evaluated at distinct scores only, so ties cannot inflate it. No p-value: it has no meaning on graded scores.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (s,), reason = paired(y, score)
    reason = reason or one_class(events)
    if reason is not None:
        return Ks(None, reason=reason)
    values, good, bad = _by_score(events, s)
    gap = np.abs(np.cumsum(good) / good.sum() - np.cumsum(bad) / bad.sum())
    at = int(np.argmax(gap))
    return Ks(float(gap[at]), float(values[at]), at)


def roc_curve(y: NDArray[Any], score: NDArray[Any]) -> Curve:
    """ROC points, one per distinct score, from (0, 0) to (1, 1).

    Returns:
        x = share of non-events at or above the threshold, y = share of events.

    Raises:
        EvidenceError: If lengths differ or the outcome is not 0 and 1.
    """
    events, (s,), reason = paired(y, score)
    reason = reason or one_class(events)
    if reason is not None:
        return _empty(reason)
    values, good, bad = _by_score(events, s)
    x = np.concatenate(([0.0], np.cumsum(good[::-1]) / good.sum()))
    tpr = np.concatenate(([0.0], np.cumsum(bad[::-1]) / bad.sum()))
    return Curve(x, tpr, np.concatenate(([np.inf], values[::-1])))


def cap(y: NDArray[Any], score: NDArray[Any]) -> Cap:
    """Cumulative accuracy profile: share of events found against share of customers looked at.

    Raises:
        EvidenceError: If lengths differ, the outcome is not 0 and 1, or the identity AR = 2 AUC - 1 fails.
    """
    events, (s,), reason = paired(y, score)
    reason = reason or one_class(events)
    if reason is not None:
        return Cap(_empty(reason), None, None, reason)
    values, good, bad = _by_score(events, s)
    x = np.concatenate(([0.0], np.cumsum((good + bad)[::-1]) / events.size))
    found = np.concatenate(([0.0], np.cumsum(bad[::-1]) / bad.sum()))
    area = float(np.sum(np.diff(x) * (found[1:] + found[:-1]) / 2))
    ratio = (area - 0.5) / (float(good.sum()) / events.size / 2)
    require_same_area(ratio, 2.0 * _placements(events, s)[0] - 1.0)
    return Cap(Curve(x, found, np.concatenate(([np.inf], values[::-1]))), area, ratio)


def require_same_area(accuracy_ratio: float, gini: float, *, tolerance: float = 1e-10) -> None:
    """The CAP's accuracy ratio and the Gini are one number; anything else is a defect.

    Raises:
        EvidenceError: If they differ by more than ``tolerance``.
    """
    if not abs(accuracy_ratio - gini) <= tolerance:
        raise EvidenceError(
            "accuracy ratio and Gini differ", expected=f"{gini:.12g} (2 AUC - 1)", got=f"{accuracy_ratio:.12g}"
        )


def thin_curve(curve: Curve, points: int) -> Curve:
    """The curve at no more than ``points`` points, first and last kept, evenly spaced along x."""
    if curve.x.size <= points:
        return curve
    grid = np.linspace(0.0, float(curve.x[-1]), points)
    keep = np.unique(np.concatenate(([0], np.searchsorted(curve.x, grid[1:-1]), [curve.x.size - 1])))
    return Curve(curve.x[keep], curve.y[keep], curve.threshold[keep], curve.reason)

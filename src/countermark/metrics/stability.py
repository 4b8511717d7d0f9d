"""Has the population moved? Population stability with its sampling law, concentration, migration, ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from countermark.errors import EvidenceError

NOISE_LIMIT = 0.02
"""Expected PSI of two samples of one population beyond which the usual bands only measure noise."""


@dataclass(frozen=True, slots=True)
class Psi:
    """Population stability index of two sets of counts, with its law when nothing has changed.

    Attributes:
        value: Sum over bins of (a - e) ln(a / e). None if undefined.
        bins: Bins with rows on either side (B).
        n_expected: Rows of the development side (N).
        n_actual: Rows of the other side (M).
        smoothed: A bin was empty on one side: one half was added to every count of both sides.
        critical: Value that PSI exceeds with the given chance although nothing has changed.
        p_value: Chance of a PSI at least this large although nothing has changed.
        noise: Expected PSI although nothing has changed, (B - 1)(1/N + 1/M).
        noisy: ``noise`` is so large that bands of 0.10 and 0.25 say nothing.
        parts: Contribution of each bin, zero for bins empty on both sides.
        reason: Why ``value`` is None.
    """

    value: float | None
    bins: int
    n_expected: int
    n_actual: int
    smoothed: bool
    critical: float | None
    p_value: float | None
    noise: float | None
    noisy: bool
    parts: tuple[float, ...]
    reason: str | None = None

    @property
    def too_thin(self) -> str | None:
        """Why the value must not be judged: undefined, or within sampling noise; None if it may be."""
        if self.value is None:
            return self.reason
        if self.noisy:
            return (
                f"sampling noise alone gives a PSI of {self.noise:.3f} with {self.n_expected} and "
                f"{self.n_actual} rows in {self.bins} bins; above {NOISE_LIMIT:g} the bands are noise"
            )
        return None


def psi(expected: ArrayLike, actual: ArrayLike, *, level: float = 0.95) -> Psi:
    """Population stability index of a sample against development, over fixed bins.

    Bins without a row on either side do not count. If a bin is empty on one side, one half is added to
    every count of both sides, shares are taken again and the result is marked. When both samples come from
    one population, PSI / (1/N + 1/M) is about chi-square with B - 1 degrees of freedom (Yurdakul and
    Naranjo 2020). One bin alone gives 0 and a p-value of 1.

    Args:
        expected: Development counts per bin, (B,).
        actual: Counts of the other sample in the same bins, (B,).
        level: Level of the critical value.

    Raises:
        EvidenceError: If the counts differ in length or one is negative.
    """
    e, a = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if e.ndim != 1 or e.shape != a.shape or bool((e < 0).any() or (a < 0).any()):
        raise EvidenceError("PSI needs two lists of counts of one length, none negative")
    n, m = int(e.sum()), int(a.sum())
    used = (e + a) > 0
    bins = int(np.count_nonzero(used))
    if n == 0 or m == 0:
        side = "development" if n == 0 else "compared"
        return Psi(None, bins, n, m, False, None, None, None, True, (), f"the {side} sample has no rows")
    e_used, a_used = e[used], a[used]
    smoothed = bool((e_used == 0).any() or (a_used == 0).any())
    if smoothed:
        e_used, a_used = e_used + 0.5, a_used + 0.5
    e_share, a_share = e_used / e_used.sum(), a_used / a_used.sum()
    parts = np.zeros(e.size)
    parts[used] = (a_share - e_share) * np.log(a_share / e_share)
    # Summed smallest first: the value does not depend on the order of the bins.
    value = float(np.sort(parts).sum())
    scale = 1.0 / n + 1.0 / m
    df = bins - 1
    critical = 2.0 * float(special.gammaincinv(df / 2.0, level)) * scale if df else 0.0
    p_value = float(special.chdtrc(df, value / scale)) if df else 1.0
    noise = df * scale
    # A single bin still had two possible states, so a thin sample is thin there too.
    noisy = max(df, 1) * scale > NOISE_LIMIT
    return Psi(value, bins, n, m, smoothed, critical, p_value, noise, noisy, tuple(parts.tolist()))


def points_shift(expected: ArrayLike, actual: ArrayLike, points: ArrayLike) -> float | None:
    """Change of the mean score that a shift of one characteristic causes: sum of (a - e) points.

    Args:
        expected: Development counts per bin, (B,).
        actual: Counts of the other sample, (B,).
        points: Score points of each bin, (B,).

    Returns:
        Change in points; None if a sample has no rows.
    """
    e, a = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if e.sum() == 0 or a.sum() == 0:
        return None
    return float(np.sum((a / a.sum() - e / e.sum()) * np.asarray(points, dtype=np.float64)))


@dataclass(frozen=True, slots=True)
class KsTest:
    """Largest gap between two distributions.

    Attributes:
        gap: Largest absolute difference of the two cumulative shares. None if a sample is empty.
        p_value: Two-sided, from the large-sample law.
        n: Rows with a value, first and second sample.
    """

    gap: float | None
    p_value: float | None
    n: tuple[int, int]


def ks_two_sample(first: ArrayLike, second: ArrayLike) -> KsTest:
    """Two-sample Kolmogorov-Smirnov test of one numeric feature; missing values are left out and counted out.

    Args:
        first: Values, (n,).
        second: Values, (m,).
    """
    a, b = (np.asarray(v, dtype=np.float64) for v in (first, second))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if a.size == 0 or b.size == 0:
        return KsTest(None, None, (a.size, b.size))
    from scipy import stats  # the decision service imports this module and never needs so much of SciPy

    result = stats.ks_2samp(a, b, method="asymp")
    return KsTest(float(result.statistic), float(result.pvalue), (a.size, b.size))


@dataclass(frozen=True, slots=True)
class Concentration:
    """Herfindahl index of grades now against initially (ECB 2019, 2.5.5.3).

    Attributes:
        hhi: Sum of squared shares, now.
        hhi_initial: Sum of squared shares, initially.
        index: 1 + ln((CV^2 + 1) / K) / ln K, 0 = even, 1 = all in one grade. None for one grade.
        index_initial: The same, initially.
        z: Test statistic. None for one grade.
        p_value: One-sided, small = more concentrated than initially. None for one grade.
        p_attainable: Smallest p that any concentration could have given from this start: where it is not
            small, the test could not have failed. None for one grade.
        reason: Why the test is undefined.
    """

    hhi: float | None
    hhi_initial: float | None
    index: float | None
    index_initial: float | None
    z: float | None
    p_value: float | None
    p_attainable: float | None
    reason: str | None = None


def concentration_test(current: ArrayLike, initial: ArrayLike) -> Concentration:
    """Is the portfolio more concentrated in few grades than it was? (ECB validation reporting 2019, 2.5.5.3).

    CV = sqrt(K sum (R_i - 1/K)^2) and T = sqrt(K - 1)(CV_c - CV_i) / sqrt(CV_c^2 (0.5 + CV_c^2)).

    Args:
        current: Counts (or exposure) per grade now, (K,).
        initial: The same grades initially, (K,).

    Raises:
        EvidenceError: If the two differ in length: both sides must use one scale.
    """
    now, then = np.asarray(current, dtype=np.float64), np.asarray(initial, dtype=np.float64)
    if now.shape != then.shape or now.ndim != 1:
        raise EvidenceError("concentration needs the same grades on both sides")
    k = now.size
    if k == 0 or now.sum() == 0 or then.sum() == 0:
        return Concentration(None, None, None, None, None, None, None, "a sample has no rows")
    cv, hhi = _variation(now)
    cv_initial, hhi_initial = _variation(then)
    if k == 1:
        return Concentration(hhi, hhi_initial, None, None, None, None, None, "the scale has one grade")
    index = 1.0 + float(np.log((cv**2 + 1.0) / k) / np.log(k))
    index_initial = 1.0 + float(np.log((cv_initial**2 + 1.0) / k) / np.log(k))
    # The largest CV is that of one full grade; CV beyond which T falls again lies well inside this grid.
    reachable = np.sqrt(k - 1) * np.arange(1, 2001) / 2000
    attainable = float(special.ndtr(-_concentration_z(reachable, cv_initial, k).max()))
    if cv == 0.0:
        return Concentration(hhi, hhi_initial, index, index_initial, None, 1.0, attainable)
    z = float(_concentration_z(np.array([cv]), cv_initial, k)[0])
    return Concentration(hhi, hhi_initial, index, index_initial, z, float(special.ndtr(-z)), attainable)


def _concentration_z(cv: NDArray[np.float64], cv_initial: float, k: int) -> NDArray[np.float64]:
    z: NDArray[np.float64] = np.sqrt(k - 1) * (cv - cv_initial) / np.sqrt(cv**2 * (0.5 + cv**2))
    return z


def _variation(weights: NDArray[np.float64]) -> tuple[float, float]:
    share = weights / weights.sum()
    k = share.size
    cv = float(np.sqrt(k * np.sum((share - 1.0 / k) ** 2)))
    # Equal shares leave rounding dust; it is no concentration.
    return (0.0 if cv < 1e-12 else cv), float(np.sum(share**2))


@dataclass(frozen=True, slots=True)
class MatrixBandwidth:
    """Weighted share of the largest possible moves, up and down the scale (ECB 2019, 2.5.5.1).

    Attributes:
        upper: Moves to worse grades, 0 to 1. None for one grade.
        lower: Moves to better grades, 0 to 1. None for one grade.
        reason: Why both are None, or why one is 0.
    """

    upper: float | None
    lower: float | None
    reason: str | None = None


def matrix_weighted_bandwidth(counts: ArrayLike) -> MatrixBandwidth:
    """Matrix weighted bandwidth of a migration matrix.

    Args:
        counts: Obligors by grade at the start (rows) and end (columns), (K, K), best first, without default
            and exit columns.

    Raises:
        EvidenceError: If the matrix is not square.
    """
    table = _square(counts)
    k = table.shape[0]
    if k < 2:
        return MatrixBandwidth(None, None, "the scale has one grade")
    i, j = np.indices(table.shape)
    largest = np.maximum(k - 1 - i, i)
    ends = []
    for side in (j > i, j < i):
        moves = table * side
        norm = float((largest * moves).sum())
        ends.append(float((np.abs(j - i) * moves).sum()) / norm if norm else 0.0)
    sides = [name for name, value in zip(("worse", "better"), ends, strict=True) if value == 0.0]
    return MatrixBandwidth(ends[0], ends[1], f"no moves to {' or '.join(sides)} grades" if sides else None)


def migration_z(counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Does mass fall away from the diagonal of a migration matrix? (ECB 2019, 2.5.5.2).

    For a cell off the diagonal and its neighbour nearer to it,
    z = (p_nb - p_ij) / sqrt((p_ij(1 - p_ij) + p_nb(1 - p_nb) + 2 p_ij p_nb) / N_i) and p = Phi(z): a small p
    says that the farther grade holds more than the nearer one.

    Args:
        counts: As for :func:`matrix_weighted_bandwidth`.

    Returns:
        z and p, each (K, K), NaN on the diagonal and where the variance is zero.

    Raises:
        EvidenceError: If the matrix is not square.
    """
    table = _square(counts)
    k = table.shape[0]
    z = np.full((k, k), np.nan)
    for i in range(k):
        n = table[i].sum()
        for j in range(k):
            if i == j or n == 0:
                continue
            near = j - 1 if j > i else j + 1
            p_far, p_near = table[i, j] / n, table[i, near] / n
            variance = (p_far * (1 - p_far) + p_near * (1 - p_near) + 2 * p_far * p_near) / n
            if variance > 0:
                z[i, j] = (p_near - p_far) / np.sqrt(variance)
    return z, np.asarray(special.ndtr(z), dtype=np.float64)


def _square(counts: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise EvidenceError("a migration matrix must be square")
    return table


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Agreement of two rankings; None where one of them is constant.

    Attributes:
        spearman: Correlation of midranks.
        kendall: Kendall's tau-b.
    """

    spearman: float | None
    kendall: float | None


def rank_agreement(first: ArrayLike, second: ArrayLike) -> RankAgreement:
    """Spearman's rho and Kendall's tau-b of two scores of the same rows, (n,) each."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.size < 2 or bool(np.all(a == a[0])) or bool(np.all(b == b[0])):
        return RankAgreement(None, None)
    from scipy import stats

    return RankAgreement(float(stats.spearmanr(a, b).statistic), float(stats.kendalltau(a, b).statistic))

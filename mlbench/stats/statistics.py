"""Statistics of latencies: summaries, exact binomial bounds, and errors of dependent data."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.outcomes import PERCENTILES, Summary
from mlbench.records import Completions
from mlbench.stats.percentiles import percentiles

Floats = NDArray[np.float64]


def summarise(completions: Completions, bounded: float = 99.0) -> Summary:
    """Put one trial in a few numbers; latencies count from the scheduled time.

    `bounded`: the percentile that is bounded, which is among those of the summary.
    """
    at = dict.fromkeys((*PERCENTILES, f"{bounded:.10g}"))
    latency_s = completions.latency_s
    runtime_s = completions.duration_s
    return Summary(
        qps=len(latency_s) / runtime_s if runtime_s else 0.0,
        mean_s=float(latency_s.mean()) if len(latency_s) else None,
        runtime_s=runtime_s,
        count=len(latency_s),
        percentiles=percentiles(latency_s, at),
    )


def exceedance_interval(late: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of the fraction of late queries.

    `late` of `n` queries exceeded the bound; both may be fractional, as effective sizes are.
    Biometrika 26 (1934), 404.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if late <= 0 else _beta_quantile(tail, late, n - late + 1)
    high = 1.0 if late >= n else _beta_quantile(1 - tail, late + 1, n - late)
    return low, high


def _beta_quantile(p: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < p else (low, middle)
    return (low + high) / 2


@functools.cache
def student_quantile(free: int, confidence: float = 0.95) -> float:
    """Return how many standard deviations, known from `free` + 1 samples, hold so many errors.

    Student's t (Biometrika 6 (1908), 1), by way of the incomplete beta function (DLMF 8.17).
    """
    x = _beta_quantile(1 - confidence, free / 2, 0.5)
    return math.sqrt(free * (1 - x) / x)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for a, b > 0 and x in [0, 1]."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d, value, tiny = 1.0, 0.0, 1.0, 1e-300
    for i in range(1, 2000):
        m = i // 2
        if i % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + term * d) or tiny)
        c = (1 + term / c) or tiny
        value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return 1 / value


def correlation_time(*series: Floats, sure: float = 2.0) -> float:
    """Return the integrated autocorrelation time of series (n,), in samples, at least 1.

    1 + 2 x the sum of autocorrelations up to where they sink into noise; 1 when the first is within
    `sure` standard errors of none. The variance of a series' mean is this many times that of
    independent samples. Several series are taken as pieces of one process with a mean each.
    """
    n, lags = sum(map(len, series)), max(min(map(len, series)) // 4, 1)
    covariance, variance, largest = np.zeros(lags), 0.0, 0.0
    for piece in series:
        centred = piece - piece.mean()
        spectrum = np.fft.rfft(centred, 2 * len(piece))
        covariance += np.fft.irfft(np.abs(spectrum) ** 2)[1 : lags + 1]
        variance += float(centred @ centred)
        largest = max(largest, float(np.abs(piece).max()))
    if n < 8 or variance <= n * (1e-9 * largest) ** 2:
        return 1.0
    rho = covariance / variance
    if rho[0] < sure / math.sqrt(n):
        return 1.0
    below = np.flatnonzero(rho < 2.0 / math.sqrt(n))
    signal = rho[: below[0]] if len(below) else rho
    return float(1 + 2 * signal.sum())


def anderson_darling(series: Floats) -> float:
    """Return Anderson and Darling's statistic of a series (n,) against a normal distribution.

    Mean and spread are fitted, and the statistic is corrected for that and for n (D'Agostino and
    Stephens, Goodness-of-Fit Techniques (1986), table 4.7): 0.631 is exceeded by 10 % of normal
    samples, 1.035 by 1 %.
    """
    n = len(series)
    z = np.sort((series - series.mean()) / series.std(ddof=1)) / math.sqrt(2)
    below = np.log([max(math.erfc(-x) / 2, 1e-300) for x in z.tolist()])
    above = np.log([max(math.erfc(x) / 2, 1e-300) for x in z.tolist()])
    statistic = -n - float((2 * np.arange(n) + 1) @ (below + above[::-1])) / n
    return statistic * (1 + 0.75 / n + 2.25 / n**2)


def effective_size(series: Floats) -> float:
    """Return how many independent samples tell the mean as well as this dependent series (n,)."""
    return len(series) / correlation_time(series)


def block_means(series: Floats, blocks: int) -> Floats:
    """Return the means of `blocks` equal, consecutive parts of a series; a remainder is dropped."""
    length = len(series) // blocks
    means: Floats = series[: length * blocks].reshape(blocks, length).mean(axis=1)
    return means


@dataclass(frozen=True)
class Pooled:
    """A mean of several estimates: its standard error, and how far they scatter beyond noise."""

    mean: float
    error: float
    scatter: float


def pool_estimates(values: Floats, errors: Floats, sure: float = 3.0) -> Pooled:
    """Average estimates (n,) with known errors (n,) that may differ beyond them.

    The scatter between them is DerSimonian and Laird's (Controlled Clinical Trials 7 (1986), 177),
    and 0 unless their chi squared is more than `sure` standard deviations over what chance gives.
    """
    weights = 1 / np.maximum(errors, 1e-12) ** 2
    mean = float(weights @ values / weights.sum())
    free = len(values) - 1
    excess = float(weights @ (values - mean) ** 2) - free
    spread = float(weights.sum() - (weights @ weights) / weights.sum())
    certain = free > 0 and chi2_deviations(excess + free, free) > sure
    scatter2 = max(excess / spread, 0.0) if certain else 0.0
    weights = 1 / (np.maximum(errors, 1e-12) ** 2 + scatter2)
    mean = float(weights @ values / weights.sum())
    return Pooled(mean, float(weights.sum()) ** -0.5, math.sqrt(scatter2))


def chi2_deviations(chi2: float, free: int) -> float:
    """Return chi squared as a standard normal (Wilson and Hilferty, PNAS 17 (1931), 684)."""
    spread = 2 / (9 * free)
    return (math.cbrt(chi2 / free) - (1 - spread)) / math.sqrt(spread)

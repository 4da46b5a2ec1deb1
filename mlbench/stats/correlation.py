"""How much an autocorrelated series says about its mean."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NOISE = 2.0  # standard errors 1 / sqrt(n) of an autocorrelation: Bartlett's 95 % band
_FEWEST = 8  # samples, below which no autocorrelation can be told from 0
_ROUNDING = 1e-9  # relative standard deviation below which a series counts as constant


def correlation_time(*series: Floats, threshold: float = 2.0) -> float:
    """Return the integrated autocorrelation time of one or more series (n,), in samples.

    It is tau = 1 + 2 sum rho_k. The variance of the mean is tau times that of independent samples
    (Sokal, Monte Carlo Methods in Statistical Mechanics (1997), section 3). The sum ends before the
    first autocorrelation inside Bartlett's band of noise (JRSS Supplement 8 (1946), 27) or after a
    quarter of the shortest series. tau is 1 when the first autocorrelation is less than `threshold`
    standard errors above 0. Several series are pieces of one process, each with a mean of its own.
    """
    n, lags = sum(map(len, series)), max(min(map(len, series)) // 4, 1)
    covariance, variance, largest = np.zeros(lags), 0.0, 0.0
    for piece in series:
        centred = piece - piece.mean()
        spectrum = np.fft.rfft(centred, 2 * len(piece))
        covariance += np.fft.irfft(np.abs(spectrum) ** 2)[1 : lags + 1]
        variance += float(centred @ centred)
        largest = max(largest, float(np.abs(piece).max()))
    if n < _FEWEST or variance <= n * (_ROUNDING * largest) ** 2:
        return 1.0
    rho = covariance / variance
    if rho[0] < threshold / math.sqrt(n):
        return 1.0
    below = np.flatnonzero(rho < _NOISE / math.sqrt(n))
    signal = rho[: below[0]] if len(below) else rho
    return float(1 + 2 * signal.sum())


def effective_size(series: Floats) -> float:
    """Return how many independent samples have a mean as certain as that of this series (n,)."""
    return len(series) / correlation_time(series)

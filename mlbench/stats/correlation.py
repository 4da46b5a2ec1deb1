"""How much a dependent series tells: autocorrelation, effective sizes, means of blocks."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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


def effective_size(series: Floats) -> float:
    """Return how many independent samples tell the mean as well as this dependent series (n,)."""
    return len(series) / correlation_time(series)


def block_means(series: Floats, blocks: int) -> Floats:
    """Return the means of `blocks` equal, consecutive parts of a series; a remainder is dropped."""
    length = len(series) // blocks
    means: Floats = series[: length * blocks].reshape(blocks, length).mean(axis=1)
    return means

"""Random-effects means: averages of estimates that may differ by more than their errors."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEAST_ERROR = 1e-12  # keeps weights finite where an estimate is exact


@dataclass(frozen=True)
class Pooled:
    """A weighted mean of several estimates, in their unit.

    `error` is its standard error. `between_sd` is the standard deviation of the true values behind
    the estimates (the heterogeneity); 0 when their errors explain all differences.
    """

    mean: float
    error: float
    between_sd: float


def pool_estimates(values: Floats, errors: Floats, threshold: float = 3.0) -> Pooled:
    """Average estimates (n,), n > 0, with known standard errors (n,).

    The variance between them is DerSimonian and Laird's (Controlled Clinical Trials 7 (1986), 177).
    It is taken as 0 unless Cochran's Q, the chi squared of the estimates about their mean, is more
    than `threshold` standard deviations above what the errors alone would give.
    """
    weights = 1 / np.maximum(errors, _LEAST_ERROR) ** 2
    mean = float(weights @ values / weights.sum())
    dof = len(values) - 1
    excess = float(weights @ (values - mean) ** 2) - dof
    scale = float(weights.sum() - (weights @ weights) / weights.sum())
    significant = dof > 0 and chi2_z(excess + dof, dof) > threshold
    between_variance = max(excess / scale, 0.0) if significant else 0.0
    weights = 1 / (np.maximum(errors, _LEAST_ERROR) ** 2 + between_variance)
    mean = float(weights @ values / weights.sum())
    return Pooled(mean, float(weights.sum()) ** -0.5, math.sqrt(between_variance))


def chi2_z(chi2: float, dof: int) -> float:
    """Return the standard normal score of a chi squared with `dof` > 0 degrees of freedom.

    The cube root of chi squared over `dof` is nearly normal with mean 1 - 2 / (9 dof) and variance
    2 / (9 dof): Wilson and Hilferty, PNAS 17 (1931), 684.
    """
    variance = 2 / (9 * dof)
    return (math.cbrt(chi2 / dof) - (1 - variance)) / math.sqrt(variance)

"""Means of several estimates that may differ beyond their errors."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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

"""A test of whether samples come from a normal distribution."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def anderson_darling(samples: Floats) -> float:
    """Return Anderson and Darling's statistic A*^2 of samples (n,) against a normal distribution.

    The mean and the standard deviation are estimated from the samples, and the statistic is
    corrected for that and for n: D'Agostino and Stephens, Goodness-of-Fit Techniques (1986), table
    4.7. Of normal samples 10 % exceed 0.631, and 1 % exceed 1.035. The samples must not be equal.
    """
    from scipy.special import log_ndtr  # SciPy takes 0.1 s to import

    n = len(samples)
    z = np.sort((samples - samples.mean()) / samples.std(ddof=1))
    terms = (2 * np.arange(n) + 1) @ (log_ndtr(z) + log_ndtr(-z[::-1]))
    return float((-n - terms / n) * (1 + 0.75 / n + 2.25 / n**2))

"""Whether a series looks normal."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def anderson_darling(series: Floats) -> float:
    """Return Anderson and Darling's statistic of a series (n,) against a normal distribution.

    Mean and spread are fitted, and the statistic is corrected for that and for n (D'Agostino and
    Stephens, Goodness-of-Fit Techniques (1986), table 4.7): 0.631 is exceeded by 10 % of normal
    samples, 1.035 by 1 %.
    """
    from scipy.special import log_ndtr  # SciPy takes 0.1 s to import

    n = len(series)
    z = np.sort((series - series.mean()) / series.std(ddof=1))
    terms = (2 * np.arange(n) + 1) @ (log_ndtr(z) + log_ndtr(-z[::-1]))
    return float((-n - terms / n) * (1 + 0.75 / n + 2.25 / n**2))

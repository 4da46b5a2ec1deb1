"""How far estimates of the same thing differ by more than their errors."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def between_variance(values: Floats, errors: Floats, middle: float | None = None) -> float:
    """Return the variance of the true values behind estimates (n,) with standard errors (n,) > 0.

    By DerSimonian and Laird (Controlled Clinical Trials 7 (1986), 177), about the weighted mean or
    a given `middle`; 0 when the errors explain all differences.
    """
    weight = 1 / errors**2
    known = middle is not None
    mean = middle if middle is not None else float(weight @ values / weight.sum())
    dof = len(values) - (0 if known else 1)
    excess = float(weight @ (values - mean) ** 2) - dof
    scale = float(weight.sum() - (0.0 if known else (weight @ weight) / weight.sum()))
    return max(excess / scale, 0.0) if scale > 0 else 0.0

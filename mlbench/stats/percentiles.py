"""Percentiles by nearest rank: each one is a value that was measured, never an interpolation."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mlbench.outcomes import PERCENTILES

Values = NDArray[np.float64] | NDArray[np.int64]


def rank(count: int, p: float | str) -> int:
    """Return ceil(p/100 * count), the 1-based position of percentile `p` among sorted values.

    It is computed in exact fractions: 99.9 % of 1000 is 999, which floats would round up to 1000.
    """
    exact = Fraction(str(p)) * count / 100
    return -(-exact.numerator // exact.denominator)


def suffices(count: int, p: float | str) -> bool:
    """Return whether `count` values are enough for percentile `p`: at least one is above it."""
    return count - rank(count, p) >= 1


def percentile(values: Values, p: float | str) -> float:
    """Return the nearest-rank percentile `p`, 0 < p <= 100, of `values` (n,), in their unit.

    Any n > 0 gives one; `suffices` says whether n is large enough. Raises ValueError when n is 0.
    """
    if len(values) == 0:
        raise ValueError("no values to take a percentile of")
    k = rank(len(values), p) - 1
    return float(np.partition(values, k)[k])


def percentiles(values: Values, at: Iterable[str] = PERCENTILES) -> dict[str, float | None]:
    """Return the percentiles `at` of `values` (n,), in their unit; None where n is too small."""
    ranks = {p: rank(len(values), p) - 1 for p in at if suffices(len(values), p)}
    ordered = np.partition(values, list(ranks.values())) if ranks else values
    return {p: float(ordered[ranks[p]]) if p in ranks else None for p in at}

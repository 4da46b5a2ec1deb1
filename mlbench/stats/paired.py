"""The ratio of two things that were measured in the same rounds.

What a machine does from minute to minute it does to both sides of a round, and their ratio does not
see it. What is left differs from round to round by chance, and that scatter is the error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlbench.stats.correlation import effective_size

_LARGEST = 700.0  # a float holds exp of that


@dataclass(frozen=True)
class Ratio:
    """A ratio with its interval from `low` to `high`, from so many common rounds.

    One round, which has no scatter, bounds nothing: the interval is then from 0 to infinity.
    """

    ratio: float
    low: float
    high: float
    rounds: int


def paired_ratio(a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95) -> Ratio:
    """Return the ratio of B over A, from natural logarithms of each by round.

    It is the mean of the differences over the common rounds with Student's interval (Biometrika 6
    (1908), 1), with one degree of freedom less than there are rounds: two rounds give an interval,
    but a wide one. Where the differences of neighbouring rounds are alike, as many rounds count as
    independent ones would say as much. Raises ValueError without a common round.
    """
    common = sorted(a.keys() & b.keys())
    if not common:
        raise ValueError("no common round")
    differences = np.array([b[number] - a[number] for number in common])
    ratio = math.exp(differences.mean())
    independent = effective_size(differences)
    if len(common) < 2 or independent <= 1:
        return Ratio(ratio, 0.0, math.inf, len(common))
    error = float(differences.std(ddof=1)) / math.sqrt(independent)
    half = student_quantile(0.5 + confidence / 2, independent - 1) * error
    # Two rounds may bound a ratio to factors that no float holds.
    return Ratio(ratio, ratio * _exp(-half), ratio * _exp(half), len(common))


def student_quantile(probability: float, dof: float) -> float:
    """Return the quantile of Student's t with `dof` degrees of freedom, a positive fraction."""
    from scipy.special import stdtrit  # SciPy takes 0.1 s to import

    return float(stdtrit(dof, probability))


def _exp(value: float) -> float:
    return math.exp(value) if value < _LARGEST else math.inf

"""Capacities as measured, and the ratio of two of them. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from mlbench.stats.paired import Ratio, paired_ratio

LogRates = Mapping[int, float]
"""Round -> ln(capacity) that the trials of the round say."""

FEWEST_ROUNDS = 3  # in common; two give an interval of 12.7 standard errors
_TOLD = 0.95  # the confidence of the intervals that rates have
_LARGEST = 700.0  # a float holds exp of that


@dataclass(frozen=True)
class Rate:
    """The capacity that an answer gives, in queries per second, with its 95 % interval.

    `qps` is None where nothing is known of it; `high` is infinite where that end is open. `rounds`:
    ln(capacity) by round, in a sweep. `why`: what the results say where nothing is known.
    """

    qps: float | None
    low: float = 0.0
    high: float = math.inf
    rounds: LogRates = field(default_factory=dict)
    why: str = "no valid trial was run"

    def common_rounds(self, other: "Rate") -> int:
        """Return in how many rounds both were measured."""
        return len(self.rounds.keys() & other.rounds.keys())


def ratio_of(a: Rate, b: Rate, confidence: float = _TOLD) -> Ratio:
    """Return the ratio of B over A, both above 0, with an interval of this confidence.

    It is from the rounds in common where there are enough of them, and from the two intervals
    otherwise; then the ratio has no rounds. In the latter case the distances of the ends from the
    middle, in logarithms, are added as independent errors are (the method of variance estimates
    recovery; Zou and Donner, Statistics in Medicine 27 (2008), 1693).
    """
    if a.common_rounds(b) >= FEWEST_ROUNDS:
        return paired_ratio(a.rounds, b.rounds, confidence)
    a_qps, b_qps = a.qps or math.nan, b.qps or math.nan
    ratio = b_qps / a_qps
    wider = _deviations(confidence) / _deviations(_TOLD)
    below = wider * math.hypot(_log(b_qps, b.low), _log(a.high, a_qps))
    above = wider * math.hypot(_log(b.high, b_qps), _log(a_qps, a.low))
    return Ratio(ratio, ratio * math.exp(-below), ratio * _exp(above), 0)


def _deviations(confidence: float) -> float:
    """Return how many standard deviations to both sides hold so much of a normal distribution."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _log(above: float, below: float) -> float:
    return math.inf if not below or math.isinf(above) else max(math.log(above / below), 0.0)


def _exp(value: float) -> float:
    return math.inf if value > _LARGEST else math.exp(value)

"""Two systems that took turns on the same arrivals: their ratios, and how sure these are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from engine_bench.ideal import Floats
from mlbench.stats.percentiles import percentile

_RESAMPLES = 1000  # the ends of a 95 % interval then vary by a few hundredths of its width
_BEYOND = 1.25  # a line through logarithms of a p99 does not hold further than that


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the ends are NaN where nothing tells how sure it is."""

    value: float
    low: float = math.nan
    high: float = math.nan


def mean_ratio(ours: Floats, theirs: Floats) -> Estimate:
    """Return the geometric mean of the ratios of pairs, both float64 (pairs,), by Student's t."""
    logs = np.log(ours / theirs)
    if len(logs) < 2:
        return Estimate(float(np.exp(logs.mean())))
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    reach = float(stdtrit(len(logs) - 1, 0.975)) * error
    middle = float(logs.mean())
    return Estimate(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach))


def resampled(statistic: Callable[[np.ndarray], float], pairs: int, seed: int = 0) -> Estimate:
    """Return a statistic with the interval of a percentile bootstrap over pairs.

    `statistic` takes the numbers of the pairs, int64 (pairs,), and returns a finite value, or NaN
    where those pairs tell none. There is no interval when more than 5 % of the resamples tell none.
    """
    rng = np.random.default_rng(seed)
    value = statistic(np.arange(pairs))
    if pairs < 2:
        return Estimate(value)
    drawn = [statistic(rng.integers(0, pairs, pairs)) for _ in range(_RESAMPLES)]
    told = [one for one in drawn if not math.isnan(one)]
    if len(told) < 0.95 * len(drawn):
        return Estimate(value)
    low, high = np.quantile(told, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def pooled_p99_ratio(ours: Sequence[Floats], theirs: Sequence[Floats]) -> Estimate:
    """Return the ratio of the 99th percentiles over all pairs' latencies, a series for each."""

    def ratio(chosen: np.ndarray) -> float:
        tails = [
            percentile(np.concatenate([series[i] for i in chosen]), 99) for series in (ours, theirs)
        ]
        return tails[0] / tails[1]

    return resampled(ratio, len(ours))


def crossing_qps(qps: Floats, p99_s: Floats, max_latency_s: float) -> float:
    """Return the rate at which the p99 of blocks crosses a limit; NaN when they do not tell.

    `qps`, `p99_s`: float64 (blocks,). By a straight line through the logarithms, which must grow
    and cross no more than a quarter beyond the rates that were tried.
    """
    x, y = np.log(qps), np.log(p99_s / max_latency_s)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float((x - x.mean()) @ y) / spread if spread else 0.0
    if slope <= 0:
        return math.nan
    crossing = float(np.exp(x.mean() - y.mean() / slope))
    return crossing if qps.min() / _BEYOND <= crossing <= qps.max() * _BEYOND else math.nan


def highest_passing_qps(qps: Floats, p99_s: Floats, max_latency_s: float) -> float:
    """Return the highest rate at which most blocks met the limit; NaN when there is none."""
    passing = [
        rate for rate in np.unique(qps) if (p99_s[qps == rate] <= max_latency_s).mean() > 0.5
    ]
    return float(max(passing, default=math.nan))

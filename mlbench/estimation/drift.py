"""A device that becomes slower, or faster, while it is measured: by how much a second."""

import math
from collections.abc import Sequence

import numpy as np

from mlbench.queueing.line import Floats
from mlbench.queueing.service import NO_DRIFT, Drift
from mlbench.stats.correlation import block_means
from mlbench.stats.pooling import Pooled, pool_estimates

_BLOCKS = 20
_SURE = 3.0  # standard errors
_LEAST_PER_S = 5e-4
_ALIKE = 3.0  # standard errors; slopes within trials and between them that differ by less agree
_SEEN = 1.5  # standard errors; the slope within trials that supports the one between them


def slope_within(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Pooled | None:
    """Return how service times change within trials, relatively and a second; None if too short.

    `ratios`, `times_s`: (m,) of each trial, the service time relative to any level and the end of
    each batch. By regression on the means of blocks.
    """
    slopes, errors = [], []
    for ratio, time_s in zip(ratios, times_s, strict=True):
        if len(ratio) < 10 * _BLOCKS:
            continue
        order = np.argsort(time_s, kind="stable")
        means = block_means(np.log(np.maximum(ratio[order], 1e-9)), _BLOCKS)
        x = block_means(time_s[order], _BLOCKS)
        x = x - x.mean()
        slope = float(x @ means / (x @ x))
        rest = means - means.mean() - slope * x
        slopes.append(slope)
        errors.append(max(float(np.sqrt(rest @ rest / (_BLOCKS - 2) / (x @ x))), 1e-6))
    return pool_estimates(np.array(slopes), np.array(errors)) if slopes else None


def is_certain(slope: Pooled) -> bool:
    """Whether a slope is more than chance, and large enough to matter."""
    return abs(slope.mean) > max(_SURE * slope.error, _LEAST_PER_S)


def find_drift(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Drift:
    """Return how the device drifts; NO_DRIFT unless it does so within trials and between them.

    Arguments as for `slope_within`. What changes in every trial but starts again with the next
    (cold cores, say) is no drift, nor is a service time that differs with the load.
    """
    slope = slope_within(ratios, times_s)
    if slope is None:
        return NO_DRIFT
    between = _slope_between(ratios, times_s)
    if between is not None:
        apart = abs(between.mean - slope.mean) / math.hypot(between.error, slope.error)
        if apart > _ALIKE or abs(slope.mean) < _SEEN * slope.error:
            return NO_DRIFT
        slope = pool_estimates(
            np.array([slope.mean, between.mean]), np.array([slope.error, between.error])
        )
    if not is_certain(slope):
        return NO_DRIFT
    end_s = max(float(time_s.max()) for time_s in times_s)
    age_s = end_s - float(np.concatenate(list(times_s)).mean())
    return Drift(slope.mean, slope.error, end_s, age_s)


def _slope_between(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Pooled | None:
    """Regress the levels of trials on their times; the scatter about the line gives the error."""
    if len(ratios) < 3:
        return None
    level = np.array([np.log(ratio.mean()) for ratio in ratios])
    error = np.array([max(r.std() / r.mean() / math.sqrt(len(r)), 1e-4) for r in ratios])
    time_s = np.array([x.mean() for x in times_s])
    weight = 1 / error**2
    x = time_s - weight @ time_s / weight.sum()
    spread = float(weight @ x**2)
    if spread <= 0:
        return None
    slope = float(weight @ (x * level)) / spread
    rest = level - weight @ level / weight.sum() - slope * x
    inflation = max(1.0, float(weight @ rest**2) / (len(ratios) - 2))
    return Pooled(slope, math.sqrt(inflation / spread), 0.0)

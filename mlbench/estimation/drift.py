"""Drift: a device whose service times grow or shrink steadily while it is measured."""

import math
from collections.abc import Sequence

import numpy as np

from mlbench.queueing.line import Floats
from mlbench.queueing.service import NO_DRIFT, Drift
from mlbench.stats.correlation import block_means
from mlbench.stats.pooling import Pooled, pool_estimates

_BLOCKS = 20
"""Means per trial in the regression. A block is longer than usual autocorrelation, so that the
residuals are independent, and 18 degrees of freedom remain for their variance."""
_FEWEST = 10 * _BLOCKS  # batches of a trial, so that block means are about normal
_SIGNIFICANT = 3.0
"""Standard errors of a slope. With 4 a drift of 0.2 % a second was missed in one of 100 searches,
which reported a false rate (`docs/study_search.md`, "False passes")."""
_LEAST_PER_S = 5e-4  # 3 % a minute; over a search of about that, half of it is carried forward
_AGREE = 3.0  # standard errors; slopes within and between trials that differ by less agree
_SUPPORT = 1.5  # standard errors of the slope within trials that confirms the one between them
_LEAST_RATIO = 1e-9  # keeps the logarithm of a service time of 0 finite
_LEAST_SLOPE_ERROR, _LEAST_MEAN_ERROR = 1e-6, 1e-4  # keep weights finite for constant devices


def slope_within(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Pooled | None:
    """Return the relative growth of service times a second within trials.

    `ratios`, `times_s`: float64 (m,) for each trial, the service ratio and the end of each batch.
    The slope of each trial is from least squares on the means of blocks; the slopes are pooled.
    None when all trials are too short.
    """
    slopes, errors = [], []
    for ratio, time_s in zip(ratios, times_s, strict=True):
        if len(ratio) < _FEWEST:
            continue
        order = np.argsort(time_s, kind="stable")
        means = block_means(np.log(np.maximum(ratio[order], _LEAST_RATIO)), _BLOCKS)
        x = block_means(time_s[order], _BLOCKS)
        x = x - x.mean()
        slope = float(x @ means / (x @ x))
        residual = means - means.mean() - slope * x
        error = float(np.sqrt(residual @ residual / (_BLOCKS - 2) / (x @ x)))
        slopes.append(slope)
        errors.append(max(error, _LEAST_SLOPE_ERROR))
    return pool_estimates(np.array(slopes), np.array(errors)) if slopes else None


def is_significant(slope: Pooled) -> bool:
    """Return whether a slope is more than chance explains, and large enough to matter."""
    return abs(slope.mean) > max(_SIGNIFICANT * slope.error, _LEAST_PER_S)


def find_drift(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Drift:
    """Return the drift of a device; `NO_DRIFT` unless it shows within trials and between them.

    Arguments are as for `slope_within`. Service times that grow in each trial and start again with
    the next are no drift (a core that warms up), nor are those that differ with the load.
    """
    slope = slope_within(ratios, times_s)
    if slope is None:
        return NO_DRIFT
    between = _slope_between(ratios, times_s)
    if between is not None:
        apart = abs(between.mean - slope.mean) / math.hypot(between.error, slope.error)
        if apart > _AGREE or abs(slope.mean) < _SUPPORT * slope.error:
            return NO_DRIFT
        slope = pool_estimates(
            np.array([slope.mean, between.mean]), np.array([slope.error, between.error])
        )
    if not is_significant(slope):
        return NO_DRIFT
    end_s = max(float(time_s.max()) for time_s in times_s)
    age_s = end_s - float(np.concatenate(list(times_s)).mean())
    return Drift(slope.mean, slope.error, end_s, age_s)


def _slope_between(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Pooled | None:
    """Return the slope of the trials' means over time, by weighted least squares.

    The error is widened by the residuals where these are larger than the errors of the means
    (Birge, Physical Review 40 (1932), 207). None for less than three trials, or all at one time.
    """
    if len(ratios) < 3:
        return None
    log_mean = np.array([np.log(ratio.mean()) for ratio in ratios])
    errors = [r.std() / r.mean() / math.sqrt(len(r)) for r in ratios]
    weight = 1 / np.array([max(error, _LEAST_MEAN_ERROR) for error in errors]) ** 2
    time_s = np.array([x.mean() for x in times_s])
    x = time_s - weight @ time_s / weight.sum()
    scale = float(weight @ x**2)
    if scale <= 0:
        return None
    slope = float(weight @ (x * log_mean)) / scale
    residual = log_mean - weight @ log_mean / weight.sum() - slope * x
    inflation = max(1.0, float(weight @ residual**2) / (len(ratios) - 2))
    return Pooled(slope, math.sqrt(inflation / scale), 0.0)

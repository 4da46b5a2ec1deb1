"""Learns from the trials of a search what service times to expect."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlbench.search.drift import NO_DRIFT, Drift, find_drift
from mlbench.search.queueing import Floats, Levels, Queue
from mlbench.search.service import ServiceTimes
from mlbench.search.service_log import ServiceLog
from mlbench.search.stats import (
    anderson_darling,
    chi2_deviations,
    correlation_time,
    pool_estimates,
)

NEAR = 0.2
"""Trials whose rates differ by less than this, in logarithms, load the device alike."""

_MIN_ERROR = 2e-4  # relative; clocks and rounding are no finer
_CROOKED = 2.0  # standard deviations of chi squared
_LOGNORMAL = 0.631  # Anderson and Darling's statistic, exceeded by one normal sample in ten
_FEWEST, _STEADY = 200, 0.01  # batches, and their spread: fewer or steadier are not worth a test
_TOGETHER = 4.0  # standard errors of a correlation between neighbours that is no chance


def learn(logs: Sequence[ServiceLog], queue: Queue, qps: float) -> ServiceTimes:
    """Learn from trials what service times to expect at the rate `qps`.

    When the device drifted, they are carried forward to the end of the measuring. When the trials
    still differ by more than chance, the service time depends on the load or on the hour: then
    only trials near the rate count, if there are any.
    """
    times = _combine(logs, queue)
    drift = find_drift(_by_trial(times), [log.begin_s + log.done_s for log in logs])
    if drift.per_s:
        logs = [_carried_forward(log, drift) for log in logs]
        times = _combine(logs, queue, drift)
    if times.scatter == 0.0 or len(logs) == 1:
        return times
    distance = np.array([abs(np.log(log.qps / qps)) for log in logs])
    near = [log for log, d in zip(logs, distance, strict=True) if d < NEAR]
    if not near:
        near = [logs[int(distance.argmin())]]
    local = _combine(near, queue, drift)
    # One trial alone can't tell how much the next would differ; expect half of what all do.
    return local if len(near) > 1 else replace(local, scatter=times.scatter / 2)


def _by_trial(times: ServiceTimes) -> list[Floats]:
    return [times.ratio[times.trial == number] for number in range(times.trial[-1] + 1)]


def _carried_forward(log: ServiceLog, drift: Drift) -> ServiceLog:
    return replace(log, seconds=log.seconds / drift.slowness(log.begin_s + log.done_s))


def _combine(logs: Sequence[ServiceLog], queue: Queue, drift: Drift = NO_DRIFT) -> ServiceTimes:
    seconds = np.concatenate([log.seconds for log in logs])
    size = np.concatenate([log.size for log in logs])
    idle = np.concatenate([log.idle for log in logs])
    trial = np.repeat(np.arange(len(logs)), [len(log.seconds) for log in logs])
    factor = _idle_factor(seconds, size, idle)
    levels = Levels(_means_by_size(seconds / np.where(idle, factor, 1.0), size, queue), factor)
    ratio = seconds / (levels.by_size[size] * np.where(idle, factor, 1.0))
    means, errors = [], []
    pieces = [ratio[trial == number] for number in range(len(logs))]
    long = [own for own in pieces if len(own) >= _FEWEST]
    tau = correlation_time(*(long or pieces), sure=_TOGETHER)
    for own in pieces:
        means.append(np.log(own.mean()))
        errors.append(max(own.std() * np.sqrt(tau / len(own)) / own.mean(), _MIN_ERROR))
    pooled = pool_estimates(np.array(means), np.array(errors))
    share = 1 / (np.array(errors) ** 2 + pooled.scatter**2)
    counts = np.bincount(trial)
    share = share / counts if pooled.scatter else np.ones(len(logs))
    weight = share[trial] / share[trial].sum()
    block = 1 if tau == 1.0 else int(min(np.ceil(5 * tau), max(len(ratio) // 20, 1)))
    levels, level_error = _straightened(levels, size, ratio.std() * np.sqrt(tau))
    ratio = seconds / (levels.by_size[size] * np.where(idle, factor, 1.0))
    smooth = block == 1 and pooled.scatter == 0.0 and _is_lognormal(ratio)
    return ServiceTimes(
        levels, ratio, weight, trial, block, pooled.scatter, level_error, smooth, drift
    )


def _is_lognormal(ratio: Floats) -> bool:
    logs = np.log(np.maximum(ratio, 1e-12))
    return bool(len(logs) >= _FEWEST and logs.std() > _STEADY) and (
        anderson_darling(logs) < _LOGNORMAL
    )


def _means_by_size(busy_s: Floats, size: NDArray[np.int64], queue: Queue) -> Floats:
    sizes = np.arange(queue.batch_size + 1)
    count = np.bincount(size, minlength=len(sizes))[: len(sizes)]
    total = np.bincount(size, weights=busy_s, minlength=len(sizes))[: len(sizes)]
    seen = np.flatnonzero(count)
    by_size = np.interp(sizes, seen, total[seen] / count[seen])
    beyond = sizes > seen[-1]
    by_size[beyond] *= sizes[beyond] / seen[-1]
    return by_size


def _straightened(levels: Levels, size: NDArray[np.int64], error: float) -> tuple[Levels, Floats]:
    """Put the levels of batches on a line over their size, if they lie on one but for chance.

    `error` is the relative standard error of one batch. Returns the levels and their errors.
    """
    sizes = np.arange(len(levels.by_size))
    count = np.bincount(size, minlength=len(sizes))[: len(sizes)]
    errors = np.diag(error / np.sqrt(np.maximum(count, 1)))
    seen = np.flatnonzero(count)
    if len(seen) < 4 or error == 0.0:
        return levels, errors
    weight = np.sqrt(count[seen]) / (error * levels.by_size[seen])
    design = np.stack([np.ones(len(sizes)), sizes], axis=1)
    line, _, _, _ = np.linalg.lstsq(
        design[seen] * weight[:, None], levels.by_size[seen] * weight, rcond=None
    )
    straight = design @ line
    chi2 = float((((straight - levels.by_size)[seen] * weight) ** 2).sum())
    if chi2_deviations(chi2, len(seen) - 2) > _CROOKED or straight[1:].min() <= 0:
        return levels, errors
    covariance = np.linalg.inv(design[seen].T @ (design[seen] * weight[:, None] ** 2))
    effects = design @ np.linalg.cholesky(covariance) / np.maximum(straight, 1e-12)[:, None]
    return replace(levels, by_size=straight), effects


def _idle_factor(seconds: Floats, size: NDArray[np.int64], idle: NDArray[np.bool_]) -> float:
    """Return how much longer batches take after idling; 1 when that may well be chance.

    Never less than 1: where slow batches come in runs, the queue is busy just then, which looks
    like a device that is quicker after idling.
    """
    logs, errors = [], []
    for n in np.unique(size):
        cold, warm = seconds[(size == n) & idle], seconds[(size == n) & ~idle]
        if min(len(cold), len(warm)) >= 30:
            logs.append(np.log(cold.mean() / warm.mean()))
            noise2 = [(x.std() / x.mean()) ** 2 / len(x) for x in (cold, warm)]
            errors.append(max(np.sqrt(sum(noise2)), _MIN_ERROR))
    if not logs:
        return 1.0
    pooled = pool_estimates(np.array(logs), np.array(errors))
    return float(np.exp(pooled.mean)) if pooled.mean > 4 * pooled.error else 1.0

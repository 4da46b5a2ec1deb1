"""Mean service times from measured batches: by size, by worker, and after idling.

Each effect is estimated whether it is there or not, and shrunk towards none by what its scatter
beyond sampling error says (empirical Bayes; Efron and Morris, JASA 70 (1975), 311). So nothing is
decided by a test that just passes or just fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.stats.pooling import between_variance
from mlbench.trial.service_log import ServiceLog

LEAST_ERROR = 2e-4  # relative, of a mean; clocks and rounding allow no less
_FEWEST = 10  # batches of one kind, to have a mean
_IDLE_STEPS = 8  # of the idle time, each with as many batches
_FEWEST_IDLE = 200  # batches after idling that are worth steps: 25 for each
_ROUNDS = 3  # each effect is estimated with the others taken out; three settle to 0.1 %
_LINE_POINTS = 4  # sizes of batches, so that two are left to depart from a line


@dataclass(frozen=True)
class Batches:
    """The batches of several trials, one trial after the other; all arrays are (m,).

    `seconds`: the service time; `size`: its queries; `idle_s`: for how long the worker was idle
    before it, 0 if it was busy; `worker` and `trial`: the numbers of these.
    """

    seconds: Floats
    size: NDArray[np.int64]
    idle_s: Floats
    worker: NDArray[np.int64]
    trial: NDArray[np.int64]

    @classmethod
    def of(cls, logs: Sequence[ServiceLog]) -> "Batches":
        """Return the batches of all these trials."""
        return cls(
            seconds=np.concatenate([log.seconds for log in logs]),
            size=np.concatenate([log.size for log in logs]),
            idle_s=np.concatenate([log.idle_s for log in logs]),
            worker=np.concatenate([log.worker for log in logs]),
            trial=np.repeat(np.arange(len(logs)), [len(log.seconds) for log in logs]),
        )

    def ratios(self, means: MeanTimes) -> Floats:
        """Return each service time over its mean, float64 (m,)."""
        return np.asarray(
            self.seconds
            / means.by_size_s[self.size]
            / means.slowdown[self.worker]
            / self.idle_factor(means)
        )

    def idle_factor(self, means: MeanTimes) -> Floats:
        """Return the factor of each batch that idling has, float64 (m,)."""
        step = np.searchsorted(means.idle_s, self.idle_s)
        return np.asarray(np.where(self.idle_s > 0, means.idle_factors[step], 1.0))


def measured_means(batches: Batches, queue: Queue) -> MeanTimes:
    """Return the mean service times of these batches.

    Trials may differ in their level: effects are those within trials.
    """
    means = MeanTimes(
        np.full(queue.batch_size + 1, batches.seconds.mean()),
        idle_s=_idle_steps(batches.idle_s[batches.idle_s > 0]),
        slowdown=np.ones(queue.servers),
    )
    means = replace(means, idle_factors=np.ones(len(means.idle_s) + 1))
    level = np.ones(int(batches.trial[-1]) + 1)
    for _ in range(_ROUNDS):
        for effect in (_by_size, _by_worker, _by_idling):
            means = effect(means, replace(batches, seconds=batches.seconds / level[batches.trial]))
        level = _means(batches.ratios(means), batches.trial, len(level))
    mean_level = float(np.average(level, weights=np.bincount(batches.trial)))
    return replace(means, by_size_s=means.by_size_s * mean_level)


def _by_size(means: MeanTimes, batches: Batches) -> MeanTimes:
    """Return the means with new ones by size: a line over the size, and departures from it."""
    sizes = np.arange(len(means.by_size_s))
    busy_s = batches.seconds / means.slowdown[batches.worker] / batches.idle_factor(means)
    count = np.bincount(batches.size, minlength=len(sizes))
    seen = np.flatnonzero(count)
    mean_s = _means(busy_s, batches.size, len(sizes))[seen]
    if len(seen) < _LINE_POINTS:
        by_size_s = np.interp(sizes, seen, mean_s)
        beyond = sizes > seen[-1]
        by_size_s[beyond] *= sizes[beyond] / seen[-1]
        return replace(means, by_size_s=by_size_s)
    ratio = busy_s / np.interp(batches.size, seen, mean_s)
    error = np.maximum(ratio.std() / np.sqrt(count[seen]), LEAST_ERROR)
    line_s = np.polynomial.Polynomial.fit(seen, mean_s, 1, w=1 / (error * mean_s))
    straight_s = np.maximum(line_s(sizes.astype(np.float64)), mean_s.min() * LEAST_ERROR)
    departure = shrunk(np.log(mean_s / straight_s[seen]), error, 0.0)
    return replace(means, by_size_s=straight_s * np.exp(np.interp(sizes, seen, departure)))


def _by_worker(means: MeanTimes, batches: Batches) -> MeanTimes:
    count = np.bincount(batches.worker, minlength=len(means.slowdown))
    if len(count) == 1 or count.min() < _FEWEST:
        return means
    ratio = batches.ratios(replace(means, slowdown=np.ones(len(count))))
    log_mean = np.log(_means(ratio, batches.worker, len(count)))
    slowdown = np.exp(shrunk(log_mean, _errors(ratio, count)))
    return replace(means, slowdown=slowdown / np.average(slowdown, weights=count))


def _by_idling(means: MeanTimes, batches: Batches) -> MeanTimes:
    """Return the means with new idle factors, never below 1.

    Where slow batches come in runs, the queue is busy just then, which looks like a device that is
    quicker after idling.
    """
    step = np.where(batches.idle_s > 0, 1 + np.searchsorted(means.idle_s, batches.idle_s), 0)
    count = np.bincount(step, minlength=len(means.idle_factors) + 1)
    known = count >= _FEWEST
    if not known[0] or known.sum() < 2:
        return means
    ratio = batches.ratios(replace(means, idle_factors=np.ones(len(means.idle_factors))))
    effect = np.zeros(len(count))
    log_mean = np.log(_means(ratio, step, len(count))[known])
    effect[known] = shrunk(log_mean, _errors(ratio, count[known]))
    return replace(means, idle_factors=np.maximum(np.exp(effect[1:] - effect[0]), 1.0))


def _idle_steps(idle_s: Floats) -> Floats:
    """Return the ends of steps of the idle time that have equally many batches."""
    if len(idle_s) < _FEWEST_IDLE:
        return np.empty(0)
    return np.unique(np.quantile(idle_s, np.arange(1, _IDLE_STEPS) / _IDLE_STEPS))


def _means(values: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    """Return the mean of the values in each group; 1 where there is none."""
    count, total = np.bincount(group, minlength=groups), np.bincount(group, values, groups)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), 1.0))


def _errors(ratio: Floats, count: NDArray[np.int64]) -> Floats:
    return np.asarray(np.maximum(ratio.std() / ratio.mean() / np.sqrt(count), LEAST_ERROR))


def shrunk(values: Floats, errors: Floats, towards: float | None = None) -> Floats:
    """Return values (n,) moved towards their mean, or a given value, by their uncertainty.

    The nearer their variance is to what their standard errors (n,) explain, the further.
    """
    weight = 1 / errors**2
    middle = float(weight @ values / weight.sum()) if towards is None else towards
    variance = between_variance(values, errors, middle)
    return np.asarray(middle + (values - middle) * variance / (variance + errors**2))

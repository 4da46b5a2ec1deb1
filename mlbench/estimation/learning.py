"""Learns from the trials of a search what service times to expect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.estimation.drift import find_drift
from mlbench.queueing.line import Floats, Levels, Queue
from mlbench.queueing.service import NO_DRIFT, Drift, ServiceTimes
from mlbench.stats.correlation import correlation_time
from mlbench.stats.intervals import student_quantile
from mlbench.stats.normality import anderson_darling
from mlbench.stats.pooling import chi2_deviations, pool_estimates
from mlbench.trial.service_log import ServiceLog

NEAR = 0.2
"""Trials whose rates differ by less than this, in logarithms, load the device alike."""

_MIN_ERROR = 2e-4  # relative; clocks and rounding are no finer
_CROOKED = 2.0  # standard deviations of chi squared
_LOGNORMAL = 0.631  # Anderson and Darling's statistic, exceeded by one normal sample in ten
_FEWEST, _STEADY = 200, 0.01  # batches, and their spread: fewer or steadier are not worth a test
_FEW = 30  # batches of a worker, to tell its speed
_UNLIKE = 0.02  # relative scatter of workers' speeds that matters
_MOST = 100_000  # batches; more tell hardly more, and cost memory
_TIMES = 8  # correlation times in a block
_CERTAIN, _EXPECTED = 3.0, 0.0  # standard deviations by which chi squared must show a scatter
_FREE = 2  # degrees of freedom of a scatter, at least; two trials would say next to nothing
_NORMAL = 1.96  # standard deviations that hold 95 % of a normal distribution
_TOGETHER = 4.0  # standard errors of a correlation between neighbours that is no chance


def learn(logs: Sequence[ServiceLog], queue: Queue, qps: float) -> ServiceTimes:
    """Learn from trials what service times to expect at the rate `qps`.

    When the device drifted, they are carried forward to the end of the measuring. When the trials
    still differ by more than chance, the service time depends on the load or on the hour: then
    only trials near the rate count, if there are any.
    """
    logs = [log.first(_MOST // len(logs)) for log in logs]
    times = _combine(logs, queue)
    drift = find_drift(
        _by_trial(times.ratio, times.trial), [log.begin_s + log.done_s for log in logs]
    )
    if drift.per_s:
        logs = [_carried_forward(log, drift) for log in logs]
        times = _combine(logs, queue, drift)
    if times.scatter == 0.0 or len(logs) == 1:
        return times
    distance = np.array([abs(np.log(log.qps / qps)) for log in logs])
    near = [log for log, d in zip(logs, distance, strict=True) if d < NEAR]
    if not near:
        near = [logs[int(distance.argmin())]]
    # All of them scatter, so these few are expected to, and need not prove it.
    local = _combine(near, queue, drift, _EXPECTED)
    # One trial alone can't tell how much the next would differ; expect half of what all do.
    if len(near) == 1:
        return replace(local, scatter=times.scatter / 2, moment_error=times.moment_error / 2)
    # All of them scatter with the load as well: that is better known, and no moment is further off.
    at_most = max(local.scatter, times.moment_error)
    return replace(local, moment_error=min(local.moment_error, at_most))


def relative_times(logs: Sequence[ServiceLog], queue: Queue) -> list[Floats]:
    """Return each trial's service times (m,) relative to what such a batch takes in the mean.

    That is in the mean of all trials, for its size, on its worker, after idling or not.
    """
    batches = _Batches.of(logs)
    ratio = batches.relative_to(_learn_levels(batches, queue)[0])
    return _by_trial(ratio, batches.trial)


def _by_trial(ratio: Floats, trial: NDArray[np.int64]) -> list[Floats]:
    return [ratio[trial == number] for number in range(trial[-1] + 1)]


def _carried_forward(log: ServiceLog, drift: Drift) -> ServiceLog:
    return replace(log, seconds=log.seconds / drift.slowness(log.begin_s + log.done_s))


@dataclass(frozen=True)
class _Batches:
    """The batches of several trials, one after the other, (m,) each."""

    seconds: Floats
    size: NDArray[np.int64]
    idle: NDArray[np.bool_]
    worker: NDArray[np.int64]
    trial: NDArray[np.int64]

    @classmethod
    def of(cls, logs: Sequence[ServiceLog]) -> "_Batches":
        return cls(
            seconds=np.concatenate([log.seconds for log in logs]),
            size=np.concatenate([log.size for log in logs]),
            idle=np.concatenate([log.idle for log in logs]),
            worker=np.concatenate([log.worker for log in logs]),
            trial=np.repeat(np.arange(len(logs)), [len(log.seconds) for log in logs]),
        )

    def relative_to(self, levels: Levels) -> Floats:
        """Return each batch's service time over what the levels say."""
        slowness = levels.slowness[self.worker if len(levels.slowness) > 1 else 0]
        cold = np.where(self.idle, levels.idle_factor, 1.0)
        return np.asarray(self.seconds / (levels.by_size[self.size] * slowness * cold))


def _combine(
    logs: Sequence[ServiceLog], queue: Queue, drift: Drift = NO_DRIFT, sure: float = _CERTAIN
) -> ServiceTimes:
    batches = _Batches.of(logs)
    levels, idle_error = _learn_levels(batches, queue)
    ratio = batches.relative_to(levels)
    pieces = _by_trial(ratio, batches.trial)
    long = [own for own in pieces if len(own) >= _FEWEST]
    tau = correlation_time(*(long or pieces), sure=_TOGETHER)
    errors = np.array([_error_of_mean(own, tau) for own in pieces])
    scatter = pool_estimates(np.log([own.mean() for own in pieces]), errors, sure).scatter
    block = 1 if tau == 1.0 else int(min(np.ceil(_TIMES * tau), max(len(ratio) // 20, 1)))
    levels, level_error = _straightened(levels, batches.size, ratio.std() * np.sqrt(tau))
    ratio = batches.relative_to(levels)
    return ServiceTimes(
        levels=levels,
        ratio=ratio,
        weight=_weights(batches.trial, errors, scatter),
        trial=batches.trial,
        block=block,
        scatter=scatter,
        moment_error=scatter * student_quantile(max(len(logs) - 1, _FREE)) / _NORMAL,
        level_error=level_error,
        lognormal=block == 1 and scatter == 0.0 and _is_lognormal(ratio),
        drift=drift,
        idle_error=idle_error,
        idle_share=float(batches.idle.mean()),
    )


def _error_of_mean(ratio: Floats, tau: float) -> float:
    """Return the relative standard error of the mean of a correlated series."""
    return max(float(ratio.std() * np.sqrt(tau / len(ratio)) / ratio.mean()), _MIN_ERROR)


def _weights(trial: NDArray[np.int64], errors: Floats, scatter: float) -> Floats:
    """Weigh all batches alike; or trials, when they scatter, by what each tells."""
    share = np.ones(len(errors))
    if scatter:
        share = 1 / (errors**2 + scatter**2) / np.bincount(trial)
    return np.asarray(share[trial] / share[trial].sum())


def _learn_levels(batches: _Batches, queue: Queue) -> tuple[Levels, float]:
    factor, idle_error = _idle_factor(batches)
    busy_s = batches.seconds / np.where(batches.idle, factor, 1.0)
    levels = Levels(_means_by_size(busy_s, batches.size, queue), factor)
    slowness = _slowness(batches.relative_to(levels), batches.worker, queue.servers)
    # On an equal footing all together take as long as these servers do.
    mean = len(slowness) / float((1 / slowness).sum())
    together = replace(levels, by_size=levels.by_size * mean, slowness=slowness / mean)
    return together, idle_error


def _is_lognormal(ratio: Floats) -> bool:
    logs = np.log(np.maximum(ratio, 1e-12))
    return bool(len(logs) >= _FEWEST and logs.std() > _STEADY) and (
        anderson_darling(logs) < _LOGNORMAL
    )


def _slowness(ratio: Floats, worker: NDArray[np.int64], servers: int) -> Floats:
    """Return how slow each worker is (servers,); or [1.0] when they differ by chance or little."""
    pieces = [ratio[worker == number] for number in range(servers)]
    if servers == 1 or min(map(len, pieces)) < _FEW:
        return np.ones(1)
    tau = correlation_time(*pieces, sure=_TOGETHER)
    errors = np.array([_error_of_mean(own, tau) for own in pieces])
    means = np.array([own.mean() for own in pieces])
    differ = pool_estimates(np.log(means), errors).scatter > _UNLIKE
    return means if differ else np.ones(1)


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


def _idle_factor(batches: _Batches) -> tuple[float, float]:
    """Return how much longer batches take after idling, and its relative standard error.

    1 without an error when that may well be chance.

    Never less than 1: where slow batches come in runs, the queue is busy just then, which looks
    like a device that is quicker after idling.
    """
    logs, errors = [], []
    kind = batches.size * (batches.worker.max() + 1) + batches.worker  # like is compared with like
    for one in np.unique(kind):
        cold = batches.seconds[(kind == one) & batches.idle]
        warm = batches.seconds[(kind == one) & ~batches.idle]
        if min(len(cold), len(warm)) >= 30:
            logs.append(np.log(cold.mean() / warm.mean()))
            noise2 = [(x.std() / x.mean()) ** 2 / len(x) for x in (cold, warm)]
            errors.append(max(np.sqrt(sum(noise2)), _MIN_ERROR))
    if not logs:
        return 1.0, 0.0
    pooled = pool_estimates(np.array(logs), np.array(errors))
    if pooled.mean <= 4 * pooled.error:
        return 1.0, 0.0
    return float(np.exp(pooled.mean)), pooled.error

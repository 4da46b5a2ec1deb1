"""Service times as measured, and what is drawn from them to simulate the same device."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start
from mlbench.records import Completions
from mlbench.search.queueing import Floats, Levels, Queue
from mlbench.search.stats import block_indices, correlation_time, pool_estimates

NEAR = 0.2
"""Trials whose rates differ by less than this, in logarithms, load the device alike."""

_LONGER = 3  # the bootstrap's blocks than those of the simulation
_MIN_ERROR = 2e-4  # relative; clocks and rounding are no finer


@dataclass(frozen=True)
class ServiceLog:
    """The batches of one trial in the order they were served, worker by worker.

    `seconds`, `size`, `idle`, `done_s`: (m,), how long the device was taken by each batch, of how
    many queries, whether it had nothing to do before, and the end, from the trial's start. `qps`
    is the rate that was offered.
    """

    qps: float
    seconds: Floats
    size: NDArray[np.int64]
    idle: NDArray[np.bool_]
    done_s: Floats


def in_seconds(ns: NDArray[np.int64]) -> Floats:
    """Return nanoseconds as seconds, float64 of the same shape."""
    return np.asarray(ns * 1e-9, dtype=np.float64)


def service_log(completions: Completions, queue: Queue) -> ServiceLog:
    """Read off how long each batch took its device, from when it could start to when it ended.

    A batch could start when the rule says so; what passes between that and its real start (the
    worker's own work) takes the device too and counts as service.
    """
    ok = np.flatnonzero(completions.status == wire.COMPLETED)
    order = ok[np.lexsort((ok, completions.start_ns[ok], completions.worker[ok]))]
    worker, start_ns = completions.worker[order], completions.start_ns[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (np.diff(worker) != 0) | (np.diff(start_ns) != 0)
    first = np.flatnonzero(fresh)
    size = np.diff(np.append(first, len(order)))
    sent_s = in_seconds(completions.sent_ns[order] - completions.start_of_trial_ns)
    done_s = in_seconds(completions.done_ns[order[first]] - completions.start_of_trial_ns)
    free_s = np.concatenate([[-np.inf], done_s[:-1]])
    free_s[1:][np.diff(worker[first]) != 0] = -np.inf
    oldest_s = np.minimum.reduceat(sent_s, first) if len(first) else sent_s
    newest_s = np.maximum.reduceat(sent_s, first) if len(first) else sent_s
    filled_s = np.where(size >= queue.batch_size, newest_s, np.inf)
    start_s = batch_start(free_s, oldest_s, filled_s, queue.batch_timeout_s, np.maximum, np.minimum)
    started_s = in_seconds(start_ns[first] - completions.start_of_trial_ns)
    return ServiceLog(
        qps=completions.schedule.target_qps,
        seconds=done_s - np.minimum(start_s, started_s),
        size=size.astype(np.int64),
        idle=oldest_s > free_s,
        done_s=done_s,
    )


@dataclass(frozen=True)
class ServiceTimes:
    """What service times to expect: mean levels, and the ratios to them in the order measured.

    `ratio`, `weight`, `trial`: (m,), each batch's service time over its level, its share (the
    shares add up to 1), and the number of its trial. `block`: how many in a row belong together.
    `scatter`: relative standard deviation between trials beyond what chance explains.
    `level_error`: (batch_size + 1,) or (1,), the relative standard errors of the levels.
    """

    levels: Levels
    ratio: Floats
    weight: Floats
    trial: NDArray[np.int64]
    block: int = 1
    scatter: float = 0.0
    level_error: Floats = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def constant(cls, seconds: float, batch_size: int = 1) -> "ServiceTimes":
        """Return the service times of a device that always takes `seconds`, for any batch."""
        levels = Levels(np.full(batch_size + 1, seconds))
        return cls(levels, np.ones(1), np.ones(1), np.zeros(1, dtype=np.int64))

    @classmethod
    def sampled(cls, seconds: Floats, block: int = 1) -> "ServiceTimes":
        """Return the service times of a device without batches, from a sample (m,) of them."""
        mean, m = float(np.mean(seconds)), len(seconds)
        levels = Levels(np.array([0.0, mean]))
        return cls(levels, seconds / mean, np.full(m, 1 / m), np.zeros(m, dtype=np.int64), block)

    def saturated_qps(self, queue: Queue) -> float:
        """Return the rate at which the servers are busy all the time with full batches."""
        mean_s = self.levels.by_size[queue.batch_size] * float(self.weight @ self.ratio)
        return float(queue.servers * queue.batch_size / mean_s)

    def unloaded_quantile_s(self, percentile: float) -> float:
        """Return that percentile of the service time of a lone query on an idle device."""
        table = self.table(self.ratio)
        rank = int(np.ceil(percentile / 100 * len(table))) - 1
        return float(table[rank] * self.levels.by_size[1] * self.levels.idle_factor)

    def table(self, ratio: Floats) -> Floats:
        """Return (m,) ratios in ascending order, spread by weight."""
        order = np.argsort(ratio, kind="stable")
        if self.weight.min() == self.weight.max():
            return ratio[order]
        share = np.cumsum(self.weight[order])
        middle = (np.arange(len(ratio)) + 0.5) / len(ratio)
        return ratio[order][np.minimum(np.searchsorted(share, middle), len(ratio) - 1)]

    def draw(self, rng: np.random.Generator, n: int, replicas: int) -> Floats:
        """Draw (n, replicas) ratios, one by one or in blocks that run on as they were measured.

        The same generator gives equal ranks to resamples without blocks, equal places otherwise.
        """
        m = len(self.ratio)
        if self.block == 1:
            return self.table(self.ratio)[rng.integers(0, m, (n, replicas))]
        shape = (-(-n // self.block), replicas)
        starts = np.searchsorted(np.cumsum(self.weight), rng.random(shape) * (1 - 1e-12))
        run = np.arange(self.block)[None, :, None]
        index = (starts[:, None, :] + run).reshape(-1, replicas)[:n] % m
        ratios: Floats = self.ratio[index]
        return ratios

    def resample(self, rng: np.random.Generator) -> "ServiceTimes":
        """Return a block bootstrap, trial by trial, with the trials' scatter and moved levels.

        Its blocks are longer than those that are drawn from it, so that the error of the
        autocorrelation shows as well.
        """
        drawn = np.empty_like(self.ratio)
        for number in np.unique(self.trial):
            own = np.flatnonzero(self.trial == number)
            block = 1 if self.block == 1 else min(_LONGER * self.block, max(len(own) // 4, 1))
            picked = own[block_indices(len(own), block, rng)]
            drawn[own] = self.ratio[picked] * np.exp(self.scatter * rng.standard_normal())
        if len(self.levels.by_size) == 2:  # without batches the level is the mean of the ratios
            return replace(self, ratio=drawn)
        luck = rng.standard_normal(len(self.levels.by_size))
        by_size = self.levels.by_size * np.exp(self.level_error * luck)
        return replace(self, ratio=drawn, levels=replace(self.levels, by_size=by_size))


def learn(logs: Sequence[ServiceLog], queue: Queue, qps: float) -> ServiceTimes:
    """Learn from trials what service times to expect at the rate `qps`.

    When the trials differ by more than chance, the service time depends on the load or on the
    hour: then only trials near the rate count, if there are any.
    """
    times = _combine(logs, queue)
    if times.scatter == 0.0 or len(logs) == 1:
        return times
    distance = np.array([abs(np.log(log.qps / qps)) for log in logs])
    near = [log for log, d in zip(logs, distance, strict=True) if d < NEAR]
    if not near:
        near = [logs[int(distance.argmin())]]
    local = _combine(near, queue)
    # One trial alone can't tell how much the next would differ; expect half of what all do.
    return local if len(near) > 1 else replace(local, scatter=times.scatter / 2)


def _combine(logs: Sequence[ServiceLog], queue: Queue) -> ServiceTimes:
    seconds = np.concatenate([log.seconds for log in logs])
    size = np.concatenate([log.size for log in logs])
    idle = np.concatenate([log.idle for log in logs])
    trial = np.repeat(np.arange(len(logs)), [len(log.seconds) for log in logs])
    levels = _fit_levels(seconds, size, idle, queue.batch_size)
    ratio = seconds / (levels.by_size[size] * np.where(idle, levels.idle_factor, 1.0))
    means, errors, taus = [], [], []
    for number in range(len(logs)):
        own = ratio[trial == number]
        taus.append(correlation_time(own))
        means.append(np.log(own.mean()))
        errors.append(max(own.std() * np.sqrt(taus[-1] / len(own)) / own.mean(), _MIN_ERROR))
    pooled = pool_estimates(np.array(means), np.array(errors))
    share = 1 / (np.array(errors) ** 2 + pooled.scatter**2)
    counts = np.bincount(trial)
    share = share / counts if pooled.scatter else np.ones(len(logs))
    weight = share[trial] / share[trial].sum()
    longest = max(taus)
    block = 1 if longest == 1.0 else int(min(np.ceil(5 * longest), max(len(ratio) // 20, 1)))
    seen = np.bincount(size, minlength=queue.batch_size + 1)[: queue.batch_size + 1]
    level_error = ratio.std() * np.sqrt(longest / np.maximum(seen, 1))
    return ServiceTimes(levels, ratio, weight, trial, block, pooled.scatter, level_error)


def _fit_levels(
    seconds: Floats, size: NDArray[np.int64], idle: NDArray[np.bool_], batch_size: int
) -> Levels:
    factor = _idle_factor(seconds, size, idle)
    busy_s = seconds / np.where(idle, factor, 1.0)
    count = np.bincount(size, minlength=batch_size + 1)[: batch_size + 1]
    total = np.bincount(size, weights=busy_s, minlength=batch_size + 1)[: batch_size + 1]
    seen = np.flatnonzero(count)
    by_size = np.interp(np.arange(batch_size + 1), seen, total[seen] / count[seen])
    beyond = np.arange(batch_size + 1) > seen[-1]
    by_size[beyond] *= np.arange(batch_size + 1)[beyond] / seen[-1]
    return Levels(by_size, factor)


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

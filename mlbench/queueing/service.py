"""What service times to expect of a device, and what is drawn from them to simulate it."""

import functools
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats, Levels, Queue
from mlbench.stats.percentiles import rank

_LONGER = 2  # times as long are the blocks of the bootstrap as those of the simulation
_MOMENTS = 32  # resamples for one standard error
_FINE = 8192  # points of a smooth distribution


@dataclass(frozen=True)
class Drift:
    """Relative growth of the service time a second, and its standard error.

    `end_s`: when the measuring ended, on the trials' common clock; `age_s`: how long before that
    it took place, in the mean.
    """

    per_s: float = 0.0
    error_per_s: float = 0.0
    end_s: float = 0.0
    age_s: float = 0.0

    @property
    def error(self) -> float:
        """Relative standard error of service times carried forward to the end."""
        return self.error_per_s * self.age_s

    def slowness(self, at_s: float | Floats) -> Floats:
        """Return the service time at a moment over the one at the end of the measuring."""
        return np.asarray(np.exp(self.per_s * (np.asarray(at_s) - self.end_s)))


NO_DRIFT = Drift()


@dataclass(frozen=True)
class ServiceTimes:
    """What service times to expect: mean levels, and the ratios to them in the order measured.

    `ratio`, `weight`, `trial`: (m,), each batch's service time over its level, its share (the
    shares add up to 1), and the number of its trial. `block`: how many in a row belong together.
    `scatter`: relative standard deviation between trials beyond what chance explains;
    `moment_error`: how far another moment may be off, the larger the fewer trials told the scatter.
    `level_error`: (batch_size + 1, k), the relative standard errors of the levels, as the effects
    of k independent causes. `lognormal`: whether the ratios can't be told from lognormal ones; then
    the fitted distribution, which is smooth, stands for them. `drift`: how the device changed; the
    service times are those at the end of the measuring. `idle_error`: relative standard error of
    the levels' idle factor; `idle_share`: the share of batches that it applied to.
    """

    levels: Levels
    ratio: Floats
    weight: Floats
    trial: NDArray[np.int64]
    block: int = 1
    scatter: float = 0.0
    moment_error: float = 0.0
    level_error: Floats = field(default_factory=lambda: np.zeros((1, 1)))
    lognormal: bool = False
    drift: Drift = NO_DRIFT
    idle_error: float = 0.0
    idle_share: float = 0.0

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

    def slower_after_idling(self) -> "ServiceTimes":
        """Return the same with an idle factor that is larger by its standard error.

        The mean of what was measured stays as it is, so that the other batches are quicker.
        """
        levels = replace(
            self.levels,
            idle_factor=self.levels.idle_factor * (1 + self.idle_error),
            by_size=self.levels.by_size * (1 - self.idle_error * self.idle_share),
        )
        return replace(self, levels=levels)

    def saturated_qps(self, queue: Queue) -> float:
        """Return the rate at which the servers are busy all the time with full batches."""
        mean_s = self.levels.by_size[queue.batch_size] * float(self.weight @ self.ratio)
        return self.levels.servers_worth(queue.servers) * queue.batch_size / float(mean_s)

    def unloaded_s(self) -> Floats:
        """Return service times of a lone query on an idle device, ascending, equally likely.

        The server that was idle for longest takes it, so that all servers take turns.
        """
        each_s = self.levels.by_size[1] * self.levels.idle_factor * self.levels.slowness
        return np.sort(np.outer(each_s, self.table(self.ratio)), axis=None)

    def unloaded_tail_s(self, percentile: float) -> float:
        """Return that percentile of the service times of a lone query."""
        seconds = self.unloaded_s()
        return float(seconds[rank(len(seconds), percentile) - 1])

    def unloaded_error(self, percentile: float, rng: np.random.Generator) -> float:
        """Return the relative standard error of that percentile of them, by resampling."""
        tails = [self.resample(rng).unloaded_tail_s(percentile) for _ in range(_MOMENTS)]
        spread = float(np.log(tails).std()) / self.shortfall
        return float(np.hypot(spread, self.idle_error))

    def table(self, ratio: Floats) -> Floats:
        """Return ratios in ascending order, each as likely as the next: as measured, or smooth."""
        if self.lognormal:
            logs = np.log(ratio)
            return np.asarray(np.exp(logs.mean() + logs.std() * _normal_scores()))
        if self.weight.min() == self.weight.max():
            return np.sort(ratio)
        order = np.argsort(ratio, kind="stable")
        share = np.cumsum(self.weight[order])
        middle = (np.arange(len(ratio)) + 0.5) / len(ratio)
        return ratio[order][np.minimum(np.searchsorted(share, middle), len(ratio) - 1)]

    def draw(self, rng: np.random.Generator, replicas: int, n: int) -> Floats:
        """Draw (replicas, n) ratios, one by one or in blocks that run on as they were measured.

        The same generator gives equal ranks to resamples without blocks, equal places otherwise.
        """
        m = len(self.ratio)
        if self.block == 1:
            table = self.table(self.ratio)
            return table.take(rng.integers(0, len(table), (replicas, n)))
        shape = (replicas, -(-n // self.block))
        starts = np.searchsorted(np.cumsum(self.weight), rng.random(shape) * (1 - 1e-12))
        index = (starts[:, :, None] + np.arange(self.block)).reshape(replicas, -1)[:, :n] % m
        ratios: Floats = self.ratio[index]
        return ratios

    def _longer(self, length: int) -> int:
        """Return the length of the bootstrap's blocks in a trial of so many batches."""
        return 1 if self.block == 1 else min(_LONGER * self.block, max(length // 4, 1))

    @property
    def shortfall(self) -> float:
        """By what factor resamples spread too little: blocks vary about the mean of them all.

        The variance of a mean of blocks of b out of n is too small by 1 - b / n.
        """
        lengths = np.bincount(self.trial)
        share = sum(self._longer(int(n)) for n in lengths) / len(self.ratio)
        return float(np.sqrt(1 - share)) if self.block > 1 else 1.0

    def resample(self, rng: np.random.Generator) -> "ServiceTimes":
        """Return a block bootstrap, trial by trial, with moved levels, as of another moment.

        Its blocks are longer than those that are drawn from it, so that the error of the
        autocorrelation shows as well. Where trials scatter, the machine itself changes: what
        it is like next is as uncertain as one trial, however many there were.
        """
        drawn = np.empty_like(self.ratio)
        for number in np.unique(self.trial):
            own = np.flatnonzero(self.trial == number)
            drawn[own] = self.ratio[own[block_indices(len(own), self._longer(len(own)), rng)]]
        moment = np.exp(self.moment_error * rng.standard_normal())
        if len(self.levels.by_size) == 2:  # without batches the level is the mean of the ratios
            return replace(self, ratio=drawn * moment)
        drawn *= self.ratio.mean() / drawn.mean() * moment  # the levels have their own error
        luck = rng.standard_normal(self.level_error.shape[1])
        by_size = self.levels.by_size * np.exp(self.level_error @ luck)
        return replace(self, ratio=drawn, levels=replace(self.levels, by_size=by_size))


def block_indices(n: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices (n,) of a circular block bootstrap of n samples (Politis and Romano, 1992)."""
    starts = rng.integers(0, n, -(-n // block))
    return ((starts[:, None] + np.arange(block)) % n).ravel()[:n]


@functools.cache
def _normal_scores() -> Floats:
    """Quantiles of the standard normal distribution, each as likely as the next."""
    from scipy.special import ndtri  # SciPy takes 0.1 s to import

    return np.asarray(ndtri((np.arange(_FINE) + 0.5) / _FINE))

"""The distribution of a device's service times, for simulation and for the bootstrap.

A service time is a mean times a ratio. The mean depends on the size of the batch, the server, and
whether the server was idle. The ratios are those of measured batches, in the order measured.
"""

import functools
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.stats.percentiles import rank

_BOOTSTRAP_BLOCK = 2
"""The bootstrap's blocks over those of the simulation. Blocks of the same length would give all
resamples the same autocorrelation, and hide that it is uncertain too."""
_LEAST_BLOCKS = 4  # of a trial that the bootstrap draws from
_ERROR_RESAMPLES = 32  # give a standard error to 13 %, 1 / sqrt(2 x 31)
_QUANTILES = 8192  # of a fitted distribution; eight of them lie above the 99.9th percentile


@dataclass(frozen=True)
class Drift:
    """The relative growth of service times a second, `per_s`, and its standard error.

    `end_s`: when the last batch ended, on the clock that all trials share; `age_s`: the mean time
    from the end of a batch to `end_s`. Both are in seconds.
    """

    per_s: float = 0.0
    error_per_s: float = 0.0
    end_s: float = 0.0
    age_s: float = 0.0

    @property
    def error(self) -> float:
        """Relative standard error of the mean service time at `end_s` that the drift causes."""
        return self.error_per_s * self.age_s

    def slowdown(self, at_s: float | Floats) -> Floats:
        """Return the service time at a moment over that at `end_s`, of the shape of `at_s`."""
        return np.asarray(np.exp(self.per_s * (np.asarray(at_s) - self.end_s)))


NO_DRIFT = Drift()


@dataclass(frozen=True)
class ServiceTimes:
    """The service times to expect of a device: means, and measured ratios to them.

    The arrays have an entry for each of m measured batches, trial by trial in the order measured.

    `ratio`: float64 (m,), the service time over its mean. `weight`: float64 (m,), the probability
    with which it is drawn. `trial`: int64 (m,), the number of its trial.
    `block`: how many consecutive ratios are drawn together; 1 when they are independent.
    `between_sd`: the standard deviation of ln(mean) between trials, beyond sampling error.
    `next_trial_sd`: the standard deviation with which ln(mean) of the next trial is predicted; it
    is larger than `between_sd` when few trials tell that.
    `covariance_factor`: float64 (batch_size + 1, k), a matrix A so that A A' is the covariance of
    the relative errors of the means by size.
    `lognormal`: whether ratios are drawn from a lognormal distribution fitted to them.
    `drift`: how service times grew; those here are as at the end of the measurement.
    `idle_error`: the relative standard error of the idle factor. `idle_share`: the share of batches
    that it applied to.
    """

    mean_times: MeanTimes
    ratio: Floats
    weight: Floats
    trial: NDArray[np.int64]
    block: int = 1
    between_sd: float = 0.0
    next_trial_sd: float = 0.0
    covariance_factor: Floats = field(default_factory=lambda: np.zeros((1, 1)))
    lognormal: bool = False
    drift: Drift = NO_DRIFT
    idle_error: float = 0.0
    idle_share: float = 0.0

    @classmethod
    def constant(cls, seconds: float, batch_size: int = 1) -> "ServiceTimes":
        """Return the service times of a device that takes `seconds` for every batch."""
        mean_times = MeanTimes(np.full(batch_size + 1, seconds))
        return cls(mean_times, np.ones(1), np.ones(1), np.zeros(1, dtype=np.int64))

    @classmethod
    def sampled(cls, seconds: Floats, block: int = 1) -> "ServiceTimes":
        """Return the service times of a device without batches, from `seconds` (m,) measured."""
        mean, m = float(np.mean(seconds)), len(seconds)
        mean_times = MeanTimes(np.array([0.0, mean]))
        return cls(
            mean_times, seconds / mean, np.full(m, 1 / m), np.zeros(m, dtype=np.int64), block
        )

    def slower_after_idling(self) -> "ServiceTimes":
        """Return the same with an idle factor that is larger by its standard error.

        Other batches are quicker in return, so that the mean of all measured ones is kept.
        """
        mean_times = replace(
            self.mean_times,
            idle_factor=self.mean_times.idle_factor * (1 + self.idle_error),
            by_size_s=self.mean_times.by_size_s * (1 - self.idle_error * self.idle_share),
        )
        return replace(self, mean_times=mean_times)

    def saturated_qps(self, queue: Queue) -> float:
        """Return the rate in qps at which all servers are always busy with full batches."""
        mean_s = self.mean_times.by_size_s[queue.batch_size] * float(self.weight @ self.ratio)
        return self.mean_times.equivalent_servers(queue.servers) * queue.batch_size / float(mean_s)

    def unloaded_s(self) -> Floats:
        """Return the service times in seconds of a query on an idle device, ascending.

        float64, equally likely. Lone queries go to the servers in turn, as the one that was idle
        for longest takes the next.
        """
        each_s = (
            self.mean_times.by_size_s[1] * self.mean_times.idle_factor * self.mean_times.slowdown
        )
        return np.sort(np.outer(each_s, self.quantiles()), axis=None)

    def unloaded_percentile_s(self, percentile: float) -> float:
        """Return a percentile of the service time of a query on an idle device, in seconds."""
        seconds = self.unloaded_s()
        return float(seconds[rank(len(seconds), percentile) - 1])

    def unloaded_error(self, percentile: float, rng: np.random.Generator) -> float:
        """Return the relative standard error of `unloaded_percentile_s`, by the bootstrap."""
        seconds = [
            self.resample(rng).unloaded_percentile_s(percentile) for _ in range(_ERROR_RESAMPLES)
        ]
        spread = float(np.log(seconds).std()) / self.bootstrap_shrinkage
        return float(np.hypot(spread, self.idle_error))

    def quantiles(self) -> Floats:
        """Return equally likely values of the distribution of ratios, float64, ascending.

        They are quantiles of the fitted lognormal distribution where that is used; otherwise the
        ratios themselves, repeated or left out where their weights differ.
        """
        if self.lognormal:
            logs = np.log(self.ratio)
            return np.asarray(np.exp(logs.mean() + logs.std() * _normal_scores()))
        if self.weight.min() == self.weight.max():
            return np.sort(self.ratio)
        order = np.argsort(self.ratio, kind="stable")
        share = np.cumsum(self.weight[order])
        middle = (np.arange(len(share)) + 0.5) / len(share)
        return self.ratio[order][np.minimum(np.searchsorted(share, middle), len(share) - 1)]

    def draw(self, rng: np.random.Generator, replicas: int, n: int) -> Floats:
        """Draw ratios (replicas, n), one by one or in blocks of consecutive ones.

        The same generator gives resamples the same ranks without blocks, and the same places with
        blocks, so that their capacities differ by the service times alone.
        """
        m = len(self.ratio)
        if self.block == 1:
            table = self.quantiles()
            return table.take(rng.integers(0, len(table), (replicas, n)))
        shape = (replicas, -(-n // self.block))
        starts = np.searchsorted(np.cumsum(self.weight), rng.random(shape) * (1 - 1e-12))
        index = (starts[:, :, None] + np.arange(self.block)).reshape(replicas, -1)[:, :n] % m
        ratios: Floats = self.ratio[index]
        return ratios

    def _bootstrap_block(self, length: int) -> int:
        """Return the length of the bootstrap's blocks in a trial of `length` batches."""
        if self.block == 1:
            return 1
        return min(_BOOTSTRAP_BLOCK * self.block, max(length // _LEAST_BLOCKS, 1))

    @property
    def bootstrap_shrinkage(self) -> float:
        """The factor by which resamples differ less than new samples would.

        Means of blocks of b out of n batches vary about the mean of these n instead of the true
        mean. That takes the share b / n off their variance: the factor is sqrt(1 - b / n).
        """
        if self.block == 1:
            return 1.0
        lengths = np.bincount(self.trial)
        share = sum(self._bootstrap_block(int(n)) for n in lengths) / len(self.ratio)
        return float(np.sqrt(1 - share))

    def resample(self, rng: np.random.Generator) -> "ServiceTimes":
        """Return a bootstrap resample: what another search of this device could have measured.

        Ratios are drawn in blocks within each trial. All are multiplied by one factor, as far from
        1 as the next trial's mean may be: where trials differ, the machine itself changes, and
        what it will be like is as uncertain as one trial, however many were measured. With
        batches the means by size are moved by their errors as well.
        """
        drawn = np.empty_like(self.ratio)
        for number in np.unique(self.trial):
            own = np.flatnonzero(self.trial == number)
            block = self._bootstrap_block(len(own))
            drawn[own] = self.ratio[own[block_indices(len(own), block, rng)]]
        factor = np.exp(self.next_trial_sd * rng.standard_normal())
        if len(self.mean_times.by_size_s) == 2:  # no batches: the drawn ratios have another mean
            return replace(self, ratio=drawn * factor)
        drawn *= self.ratio.mean() / drawn.mean() * factor  # the means by size have their own error
        normal = rng.standard_normal(self.covariance_factor.shape[1])
        by_size_s = self.mean_times.by_size_s * np.exp(self.covariance_factor @ normal)
        return replace(self, ratio=drawn, mean_times=replace(self.mean_times, by_size_s=by_size_s))


def block_indices(n: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices (n,) of a circular block bootstrap of n samples, in blocks of `block`.

    Politis and Romano, in Exploring the Limits of Bootstrap (1992), 263.
    """
    starts = rng.integers(0, n, -(-n // block))
    return ((starts[:, None] + np.arange(block)) % n).ravel()[:n]


@functools.cache
def _normal_scores() -> Floats:
    """Return equally likely quantiles of the standard normal distribution, ascending."""
    from scipy.special import ndtri  # SciPy takes 0.1 s to import

    return np.asarray(ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES))

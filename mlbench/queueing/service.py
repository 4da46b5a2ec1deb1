"""The distribution of a device's service times, for simulation and for the bootstrap.

A service time is a mean times a ratio. The mean depends on the size of the batch, the server, and
for how long the server was idle. The ratios are those of measured batches, in the order measured.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats, MeanTimes, Queue

_BOOTSTRAP_BLOCK = 2
"""The bootstrap's blocks over those of the simulation. Blocks of the same length would give all
resamples the same autocorrelation, and hide that it is uncertain too."""
_LEAST_BLOCKS = 4  # of a trial that the bootstrap draws from
_TABLE = 1 << 15  # equally likely values; 33 of them lie above the 99.9th percentile
_LEAST_RATIO = 1e-12  # keeps the logarithm of a service time of 0 finite
_CONSTANT = 0.01  # standard deviation of ln(ratio), below which the shape does not matter
_KNOTS = 16  # quantiles at which the distribution is compared with a lognormal one
_OUTSIDE = 5  # measured values that lie beyond the outermost of these


@dataclass(frozen=True)
class ServiceTimes:
    """The service times to expect of a device: means, and measured ratios to them.

    The arrays have an entry for each of m measured batches, trial by trial in the order measured.
    `ratio`: float64 (m,), the service time over its mean. `weight`: float64 (m,), the probability
    with which it is drawn. `trial`: int64 (m,), the number of its trial. `block`: how many
    consecutive ratios are drawn together; 1 when they are independent.
    """

    mean_times: MeanTimes
    ratio: Floats
    weight: Floats
    trial: NDArray[np.int64]
    block: int = 1

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
        trial = np.zeros(m, dtype=np.int64)
        return cls(mean_times, seconds / mean, np.full(m, 1 / m), trial, block)

    def slower(self, factor: float) -> "ServiceTimes":
        """Return service times that are `factor` times as long."""
        return replace(self, mean_times=self.mean_times.slower(factor))

    def saturated_qps(self, queue: Queue) -> float:
        """Return the rate in qps at which all servers are always busy with full batches."""
        mean_s = self.mean_times.by_size_s[queue.batch_size] * float(self.weight @ self.ratio)
        servers = self.mean_times.equivalent_servers(queue.servers, queue.hosts)
        return servers * queue.batch_size / float(mean_s)

    def unloaded_s(self) -> Floats:
        """Return the service times in seconds of a query on an idle device, ascending.

        float64, equally likely. Lone queries go to the servers in turn, as the one that was idle
        for longest takes the next.
        """
        means = self.mean_times
        each_s = means.by_size_s[1] * means.idle_factors[-1] * means.slowdown
        seconds = np.outer(each_s, self.quantiles).ravel()
        # A pause strikes what arrives in it, and what is served when it begins.
        share = (
            min((means.pause_s + each_s.mean()) / means.pause_gap_s, 1.0) if means.pause_s else 0
        )
        struck = np.linspace(0, len(seconds) - 1, round(share * len(seconds))).astype(np.intp)
        waits_s = np.linspace(0, means.pause_s + each_s.mean(), len(struck))
        seconds[struck] += np.minimum(waits_s, means.pause_s)
        return np.sort(seconds)

    @functools.cached_property
    def quantiles(self) -> Floats:
        """Return equally likely values of the distribution of ratios, float64, ascending.

        They are the measured ones, drawn towards a lognormal distribution of the same mean by how
        well that explains them (James and Stein, Proc. 4th Berkeley Symposium 1 (1961), 361):
        fully where the two differ by no more than chance, hardly where they clearly differ. What is
        measured of a tail that may well be lognormal is uncertain; one that is not stays as it is.
        """
        order = np.argsort(self.ratio, kind="stable")
        share = np.cumsum(self.weight[order])
        places = np.searchsorted(share, (np.arange(_TABLE) + 0.5) / _TABLE * share[-1])
        measured = self.ratio[order][np.minimum(places, len(share) - 1)]
        logs = np.log(np.maximum(measured, _LEAST_RATIO))
        sd = float(logs.std())
        if sd < _CONSTANT:
            return np.asarray(measured)
        normal = logs.mean() + sd * _normal_scores()
        size = float(self.weight.sum() ** 2 / (self.weight @ self.weight))
        misfit = _misfit((logs - normal) / sd, size)
        towards = min(_KNOTS / misfit, 1.0) if misfit else 1.0
        drawn = np.exp((1 - towards) * logs + towards * normal)
        return np.asarray(drawn * (measured.mean() / drawn.mean()))

    def draw(self, rng: np.random.Generator, replicas: int, n: int) -> Floats:
        """Draw ratios (replicas, n), one by one or in blocks of consecutive ones.

        The same generator gives resamples the same ranks without blocks, and the same places with
        blocks, so that their capacities differ by the service times alone.
        """
        m = len(self.ratio)
        if self.block == 1:
            return self.quantiles.take(rng.integers(0, _TABLE, (replicas, n)))
        shape = (replicas, -(-n // self.block))
        starts = np.searchsorted(np.cumsum(self.weight), rng.random(shape) * (1 - 1e-12))
        index = (starts[:, :, None] + np.arange(self.block)).reshape(replicas, -1)[:, :n] % m
        ratios: Floats = self.ratio[index]
        return ratios

    def resample(self, rng: np.random.Generator) -> "ServiceTimes":
        """Return a bootstrap resample: ratios drawn in blocks within each trial."""
        places = np.empty(len(self.ratio), np.int64)
        for number in np.unique(self.trial):
            own = np.flatnonzero(self.trial == number)
            places[own] = own[block_indices(len(own), self._bootstrap_block(len(own)), rng)]
        return replace(self, ratio=self.ratio[places], weight=self.weight[places])

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


def block_indices(n: int, block: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices (n,) of a circular block bootstrap of n samples, in blocks of `block`.

    Politis and Romano, in Exploring the Limits of Bootstrap (1992), 263.
    """
    starts = rng.integers(0, n, -(-n // block))
    return ((starts[:, None] + np.arange(block)) % n).ravel()[:n]


def _misfit(difference: Floats, size: float) -> float:
    """Return chi squared of the differences of quantiles from normal ones, at `_KNOTS` of them.

    `difference`: float64 (_TABLE,), in standard deviations. `size`: how many independent values
    were measured. The variance of a quantile at probability p is p (1 - p) / (size density^2). The
    knots are evenly spaced in standard deviations, so that tails count as much as the middle.
    """
    outermost = min(_OUTSIDE / size, 0.25)
    scores = _normal_scores()
    first = int(outermost * _TABLE)
    at = np.linspace(scores[first], scores[-1 - first], _KNOTS)
    places = np.searchsorted(scores, at).clip(0, _TABLE - 1)
    p = (places + 0.5) / _TABLE
    density = np.exp(-(scores[places] ** 2) / 2) / np.sqrt(2 * np.pi)
    return float((difference[places] ** 2 * size * density**2 / (p * (1 - p))).sum())


@functools.cache
def _normal_scores() -> Floats:
    """Return equally likely quantiles of the standard normal distribution, ascending."""
    from scipy.special import ndtri  # SciPy takes 0.1 s to import

    return np.asarray(ndtri((np.arange(_TABLE) + 0.5) / _TABLE))

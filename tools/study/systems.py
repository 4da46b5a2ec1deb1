"""Devices whose true capacity a long simulation tells, for a study of the search."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.linear import Linear
from mlbench.pool.virtual import Batch, Service
from mlbench.queueing.line import Floats, MeanTimes, Queue, line_latencies

Draw = Callable[[np.random.Generator, int, int], Floats]
"""Draws service times relative to their mean: (generator, rows, n) -> (rows, n)."""


def constant(_: np.random.Generator, rows: int, n: int) -> Floats:
    """Service times that never differ."""
    return np.ones((rows, n))


def exponential(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """Service times without memory."""
    return rng.standard_exponential((rows, n))


def lognormal(cv: float) -> Draw:
    """Independent lognormal service times with this coefficient of variation."""
    sigma = math.sqrt(math.log1p(cv**2))
    return lambda rng, rows, n: np.exp(sigma * rng.standard_normal((rows, n)) - sigma**2 / 2)


def gamma(cv: float) -> Draw:
    """Independent gamma service times with this coefficient of variation."""
    return lambda rng, rows, n: rng.gamma(1 / cv**2, cv**2, (rows, n))


def two_modes(rng: np.random.Generator, rows: int, n: int) -> Floats:
    """Service times of which one in ten is six times as long as the others."""
    return np.where(rng.random((rows, n)) < 0.9, 1.0, 6.0) / 1.5


def correlated(cv: float, memory: float) -> Draw:
    """Lognormal service times whose logarithm is a first-order autoregression."""
    sigma = math.sqrt(math.log1p(cv**2))

    def draw(rng: np.random.Generator, rows: int, n: int) -> Floats:
        noise = rng.standard_normal((n, rows))
        noise[1:] *= math.sqrt(1 - memory**2)
        for before, now in itertools.pairwise(noise):
            now += memory * before
        return np.exp(sigma * noise.T - sigma**2 / 2)

    return draw


def stalling(probability: float, factor: float) -> Draw:
    """Constant service times, but some take this many times longer."""
    mean = 1 + probability * (factor - 1)
    return lambda rng, rows, n: np.where(rng.random((rows, n)) < probability, factor, 1.0) / mean


def mean_times(
    *by_size_s: float,
    idle_s: tuple[float, ...] = (),
    idle_factors: tuple[float, ...] = (1.0,),
    slowdown: tuple[float, ...] = (1.0,),
) -> MeanTimes:
    """Mean service times of batches of 1, 2, ... queries, in seconds, and each server's own."""
    tables = (np.array([0.0, *by_size_s]), np.array(idle_s), np.array(idle_factors))
    return MeanTimes(*tables, np.array(slowdown))


@dataclass(frozen=True)
class System:
    """A device, the limit to meet, and how queries arrive.

    `exact_qps`: the capacity by formula, where there is one.
    """

    name: str
    draw: Draw
    max_latency_s: float = 0.010
    percentile: float = 99.0
    kind: ArrivalKind = field(default_factory=Exponential)
    queue: Queue = field(default_factory=Queue)
    mean_times: MeanTimes = field(default_factory=lambda: mean_times(0.002))
    exact_qps: float | None = None

    @property
    def saturated_qps(self) -> float:
        """The rate of full batches on all servers."""
        size = self.queue.batch_size
        servers = self.mean_times.equivalent_servers(self.queue.servers)
        return servers * size / float(self.mean_times.by_size_s[size])

    def service(self) -> Service:
        """Return a fresh device for a virtual pool."""
        drawn: Iterator[float] = iter(())
        slow = np.broadcast_to(self.mean_times.slowdown, self.queue.servers).tolist()

        def serve(rng: np.random.Generator, batch: Batch) -> float:
            nonlocal drawn
            ratio = next(drawn, None)
            if ratio is None:
                drawn = iter(self.draw(rng, 1, 4096)[0].tolist())
                ratio = next(drawn)
            mean_s = float(self.mean_times.by_size_s[batch.size]) * slow[batch.device]
            return float(mean_s * ratio * self._idle_factor(batch.idle_s))

        return serve

    def _idle_factor(self, idle_s: float) -> float:
        step = np.searchsorted(self.mean_times.idle_s, idle_s)
        return float(self.mean_times.idle_factors[step]) if idle_s > 0 else 1.0


BATCHES = [0.002 + 0.0005 * i for i in range(8)]
LARGE_BATCHES = [0.002 + 0.0005 * i for i in range(16)]
SYSTEMS = (
    System("M/D/1", constant, exact_qps=280.39),
    System("M/M/1, 20 ms", exponential, max_latency_s=0.020, exact_qps=500 - math.log(100) / 0.020),
    System("M/G/1, cv 0.1", lognormal(0.1)),
    System("M/G/1, cv 0.3", lognormal(0.3)),
    System("M/G/1, cv 1, 20 ms", lognormal(1.0), max_latency_s=0.020),
    System("M/D/4", constant, queue=Queue(4), exact_qps=1739.6),
    System("two servers, cv 0.3", lognormal(0.3), queue=Queue(2)),
    System(
        "servers of 2 and 4 ms, cv 0.1, 15 ms",
        lognormal(0.1),
        max_latency_s=0.015,
        queue=Queue(2),
        mean_times=mean_times(0.002, slowdown=(1.0, 2.0)),
    ),
    System(
        "batches of up to 8", lognormal(0.1), queue=Queue(1, 8), mean_times=mean_times(*BATCHES)
    ),
    System(
        "two servers, batches of up to 8, 2 ms timeout",
        lognormal(0.1),
        max_latency_s=0.015,
        queue=Queue(2, 8, 0.002),
        mean_times=mean_times(*BATCHES),
    ),
    System("D/G/1, cv 0.3", lognormal(0.3), kind=Linear()),
    System("autocorrelated, cv 0.3", correlated(0.3, 0.9)),
    System("0.3 % stalls of 30 ms, 50 ms", stalling(0.003, 16.0), max_latency_s=0.050),
    System(
        "30 % slower after idling",
        lognormal(0.1),
        mean_times=mean_times(0.002, idle_factors=(1.3,)),
    ),
    System(
        "60 % slower after 5 ms of idling",
        lognormal(0.1),
        mean_times=mean_times(0.002, idle_s=(0.005,), idle_factors=(1.0, 1.6)),
    ),
    System("M/G/1, cv 2, 40 ms", lognormal(2.0), max_latency_s=0.040),
    System("gamma, cv 0.5", gamma(0.5)),
    System("two modes, 20 ms", two_modes, max_latency_s=0.020, mean_times=mean_times(0.0015)),
    System(
        "servers of 2, 2 and 5 ms, cv 0.1, 15 ms",
        lognormal(0.1),
        max_latency_s=0.015,
        queue=Queue(3),
        mean_times=mean_times(0.002, slowdown=(1.0, 1.0, 2.5)),
    ),
    System(
        "batches of up to 16, 3 ms timeout, 20 ms",
        lognormal(0.1),
        max_latency_s=0.020,
        queue=Queue(1, 16, 0.003),
        mean_times=mean_times(*LARGE_BATCHES),
    ),
    System("cv 0.3, 95th percentile", lognormal(0.3), percentile=95.0),
    System("cv 0.3, 99.9th percentile, 15 ms", lognormal(0.3), 0.015, 99.9),
    System("a limit of 1.05 service p99", lognormal(0.1), max_latency_s=0.002646),
)


def late_fraction(system: System, qps: float, seed: int = 7, rows: int = 256) -> float:
    """Return the long-run fraction of queries later than the limit, from 16,384 in each row."""
    rng, shape = np.random.default_rng(seed), (rows, 16384)
    arrive = system.kind.streams(rng, *shape)
    ratio = system.draw(rng, *shape)
    waits = line_latencies(system.queue, system.mean_times, arrive / qps, ratio)
    return float((waits[:, shape[1] // 8 :] > system.max_latency_s).mean())


def true_capacity(system: System) -> float:
    """Return the highest rate that meets the limit, exactly or from 120 million queries."""
    if system.exact_qps is not None:
        return system.exact_qps
    low, high, allowed = 0.0, system.saturated_qps, 1 - system.percentile / 100
    while high - low > 2e-3 * high:
        middle = (low + high) / 2
        late = late_fraction(system, middle)
        low, high = (middle, high) if late <= allowed else (low, middle)
    below, above = (
        math.log(np.mean([late_fraction(system, qps, seed) for seed in range(32)]) / allowed)
        for qps in (low, high)
    )
    return low + (high - low) * below / (below - above)

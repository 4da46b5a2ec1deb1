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
    *by_size_s: float, idle_factor: float = 1.0, slowdown: tuple[float, ...] = (1.0,)
) -> MeanTimes:
    """Mean service times of batches of 1, 2, ... queries, in seconds, and each server's own."""
    return MeanTimes(np.array([0.0, *by_size_s]), idle_factor, np.array(slowdown))


@dataclass(frozen=True)
class System:
    """A device, the limit to meet, and how queries arrive."""

    name: str
    draw: Draw
    max_latency_s: float = 0.010
    kind: ArrivalKind = field(default_factory=Exponential)
    queue: Queue = field(default_factory=Queue)
    mean_times: MeanTimes = field(default_factory=lambda: mean_times(0.002))

    @property
    def saturated_qps(self) -> float:
        """The rate of full batches on all servers."""
        size = self.queue.batch_size
        return (
            self.mean_times.equivalent_servers(self.queue.servers)
            * size
            / self.mean_times.by_size_s[size]
        )

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
            factor = self.mean_times.idle_factor if batch.idle_s > 0 else 1.0
            return (
                float(self.mean_times.by_size_s[batch.size]) * ratio * factor * slow[batch.device]
            )

        return serve


BATCHES = [0.002 + 0.0005 * i for i in range(8)]
SYSTEMS = (
    System("M/D/1", constant),
    System("M/M/1, 20 ms", exponential, max_latency_s=0.020),
    System("M/G/1, cv 0.1", lognormal(0.1)),
    System("M/G/1, cv 0.3", lognormal(0.3)),
    System("M/G/1, cv 1, 20 ms", lognormal(1.0), max_latency_s=0.020),
    System("M/D/4", constant, queue=Queue(4)),
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
        "30 % slower after idling", lognormal(0.1), mean_times=mean_times(0.002, idle_factor=1.3)
    ),
)


TROUBLES: tuple[tuple[System, Callable[[Batch], float]], ...] = (
    (System("stalls", stalling(0.003, 16.0), max_latency_s=0.050), lambda _: 1.0),
    (System("drift", lognormal(0.1)), lambda batch: 1 + 0.002 * batch.start_s),
    (System("cliff", lognormal(0.1)), lambda batch: 3.0 if batch.target_qps > 200 else 1.0),
)
"""Devices whose service times, relative to those of the system, depend on the batch."""


def late_fraction(system: System, qps: float, seed: int = 7) -> float:
    """Return the long-run fraction of queries later than the limit, from 4 million queries."""
    rng, shape = np.random.default_rng(seed), (256, 16384)
    arrive = system.kind.streams(rng, *shape)
    ratio = system.draw(rng, *shape)
    waits = line_latencies(system.queue, system.mean_times, arrive / qps, ratio)
    return float((waits[:, shape[1] // 8 :] > system.max_latency_s).mean())


def true_capacity(system: System, allowed: float = 0.01) -> float:
    """Return the highest rate that meets the limit, from 4 and then 120 million queries."""
    low, high = 0.0, system.saturated_qps
    while high - low > 2e-3 * high:
        middle = (low + high) / 2
        late = late_fraction(system, middle)
        low, high = (middle, high) if late <= allowed else (low, middle)
    below, above = (
        math.log(np.mean([late_fraction(system, qps, seed) for seed in range(32)]) / allowed)
        for qps in (low, high)
    )
    return low + (high - low) * below / (below - above)

"""Random arrivals and service times on which a queue is tried at any rate."""

from dataclasses import replace

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.queueing.line import Floats, Levels, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes

_WARM_UP = 8  # the first of so many parts of each stream is left out: servers start idle


class Streams:
    """Random arrivals and draws that every rate is tried on (common random numbers)."""

    def __init__(self, kind: ArrivalKind, length: int, replicas: int, seed: int) -> None:
        self._seed, self._shape = seed, (replicas, length)
        self._arrive = kind.streams(seed, replicas, length)

    def draw(self, service: ServiceTimes) -> Floats:
        """Draw service ratios (replicas, length), by the same random numbers for each service."""
        return service.draw(np.random.default_rng([self._seed, 1]), *self._shape)

    def late_fraction(
        self, queue: Queue, levels: Levels, qps: float, ratios: Floats, max_latency_s: float
    ) -> Floats:
        """Return the fraction of queries later than the limit at a rate, float64 (replicas,).

        `ratios`: from `draw`, (replicas, length).
        """
        # The mean gap between arrivals is the unit of time, so that they serve for any rate.
        levels = replace(levels, by_size=levels.by_size * qps)
        queue = replace(queue, batch_timeout_s=queue.batch_timeout_s * qps)
        late = line_latencies(queue, levels, self._arrive, ratios) > max_latency_s * qps
        fraction: Floats = late[:, self._shape[1] // _WARM_UP :].mean(axis=1)
        return fraction

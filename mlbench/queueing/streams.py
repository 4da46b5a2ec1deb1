"""Random arrivals and service times, on which a queue is simulated at any rate."""

from dataclasses import replace

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.queueing.line import Floats, MeanTimes, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes

_WARM_UP_SHARE = 8
"""One query in so many, the first ones, is not counted: servers start idle, which favours them.
`capacity` chooses streams that are long beside the time in which the queue settles."""


class Streams:
    """Independent replicas of a queue's arrivals, with the random numbers for its service times.

    The same ones serve for every rate (common random numbers), so that the late fraction changes
    smoothly with the rate: Law, Simulation Modeling and Analysis (2015), section 11.2.
    """

    def __init__(self, kind: ArrivalKind, length: int, replicas: int, seed: int) -> None:
        self._seed, self._shape = seed, (replicas, length)
        self._arrive = kind.streams(seed, replicas, length)

    def draw(self, service: ServiceTimes) -> Floats:
        """Draw service ratios (replicas, length), from the same random numbers for any service."""
        return service.draw(np.random.default_rng([self._seed, 1]), *self._shape)

    def late_fraction(
        self, queue: Queue, mean_times: MeanTimes, qps: float, ratios: Floats, max_latency_s: float
    ) -> Floats:
        """Return the late fraction of each replica at a rate, float64 (replicas,).

        `ratios`: from `draw`, (replicas, length).
        """
        # Arrivals have the rate 1: with the mean gap as the unit of time they serve for any rate.
        mean_times = replace(mean_times, by_size_s=mean_times.by_size_s * qps)
        queue = replace(queue, batch_timeout_s=queue.batch_timeout_s * qps)
        late = line_latencies(queue, mean_times, self._arrive, ratios) > max_latency_s * qps
        fraction: Floats = late[:, self._shape[1] // _WARM_UP_SHARE :].mean(axis=1)
        return fraction

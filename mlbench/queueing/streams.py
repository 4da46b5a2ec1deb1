"""Random arrivals and service times on which a queue is tried at any rate."""

from collections.abc import Sequence

import numpy as np

from mlbench.queueing.binding import latencies
from mlbench.queueing.line import Floats, Levels, Play, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes
from mlbench.records import ArrivalKind

_WARM_UP = 8  # the first of so many parts of each stream is left out: servers start idle


class Streams:
    """Random arrivals and draws that every rate is tried on (common random numbers)."""

    def __init__(self, kind: ArrivalKind, length: int, replicas: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._seed, self._shape = seed, (length, replicas)
        if kind == "linear":
            self._arrive = np.repeat(np.arange(float(length))[:, None], replicas, axis=1)
        else:
            self._arrive = rng.standard_exponential(self._shape).cumsum(axis=0)

    def draw(self, service: ServiceTimes) -> Floats:
        """Draw service ratios (length, replicas), by the same random numbers for each service."""
        return service.draw(np.random.default_rng([self._seed, 1]), *self._shape)

    def late_fraction(
        self, queue: Queue, levels: Sequence[Levels], qps: Floats, ratios: Floats, bound_s: float
    ) -> Floats:
        """Return the fraction of queries later than the bound, float64 (rates, replicas).

        `qps`: (rates,). `levels`: one for each rate, of the same idle factor. `ratios`: from
        `draw`, stacked to (length, rates, replicas), or (length, 1, replicas) for all rates.
        """
        replicas = self._shape[1]
        by_size = np.repeat(np.stack([one.by_size for one in levels], axis=1), replicas, axis=1)
        columns = Levels(by_size, levels[0].idle_factor)
        return self._late_fraction(line_latencies, queue, columns, qps, ratios, bound_s)

    def bound_late_fraction(
        self, queue: Queue, levels: Levels, qps: Floats, ratios: Floats, bound_s: float
    ) -> Floats:
        """Return the same, of one device, for queries that are bound to servers when due.

        `ratios`: from `draw`, (length, replicas), for all rates.
        """
        return self._late_fraction(latencies, queue, levels, qps, ratios[:, None], bound_s)

    def _late_fraction(
        self, play: Play, queue: Queue, levels: Levels, qps: Floats, ratios: Floats, bound_s: float
    ) -> Floats:
        length, replicas = self._shape
        shape = (length, len(qps), replicas)
        arrive_s = (self._arrive[:, None, :] / qps[:, None]).reshape(length, -1)
        ratio = np.broadcast_to(ratios, shape).reshape(length, -1)
        late = play(queue, levels, arrive_s, ratio) > bound_s
        fraction: Floats = late[length // _WARM_UP :].mean(axis=0).reshape(len(qps), replicas)
        return fraction

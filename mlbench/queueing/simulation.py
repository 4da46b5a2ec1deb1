"""The capacity of a queue by simulation, where no formula tells it."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mlbench.outcomes import LatencyLimit
from mlbench.queueing.crossing import (
    SCAN,
    Crossing,
    excess_of,
    find_crossing,
    load_of,
    newton_step,
)
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.streams import Streams


class Simulation:
    """Finds by simulation where the late fraction crosses what the percentile allows."""

    def __init__(self, queue: Queue, service: ServiceTimes, limit: LatencyLimit) -> None:
        self.queue, self.service = queue, service
        self.max_latency_s = limit.max_latency_s
        self.allowed = 1 - limit.percentile / 100
        self.saturated_qps = service.saturated_qps(queue)

    def _late(self, streams: Streams, load: float, ratios: Floats) -> Floats:
        return streams.late_fraction(
            self.queue, self.service.levels, load * self.saturated_qps, ratios, self.max_latency_s
        )

    def scan(self, streams: Streams) -> tuple[float, float] | None:
        """Bracket the highest load that meets the limit, from above: it may be met in patches."""
        ratios, above = streams.draw(self.service), 1 - 1e-6
        for load in SCAN.tolist():
            if self._late(streams, load, ratios).mean() <= self.allowed:
                return load, above
            above = load
        return None

    def refine(self, streams: Streams, bracket: tuple[float, float]) -> Crossing | None:
        """Find where the limit is just met.

        None when even an idle device is late more often than allowed.
        """
        ratios = streams.draw(self.service)

        def excess(logits: Floats) -> Floats:
            late = [self._late(streams, load, ratios).mean() for load in load_of(logits).tolist()]
            return excess_of(np.array(late), self.allowed)

        return find_crossing(excess, bracket)

    def polish(
        self, streams: Iterable[Streams], crossing: Crossing, enough: float
    ) -> tuple[float, float]:
        """Take a last step on more streams; returns the load and its relative error.

        As many of the `streams` are played as make the error small `enough`.
        """
        load, error, late = float(load_of(crossing.logit)), math.inf, np.empty(0)
        for some in streams:
            late = np.append(late, self._late(some, load, some.draw(self.service)))
            noise = float(late.std()) / math.sqrt(late.size) / self.allowed
            error = min(noise / crossing.slope, 1.0) * (1 - load)
            if error <= enough:
                break
        excess = excess_of(late.mean(), self.allowed)
        return float(load_of(newton_step(crossing.logit, excess, crossing.slope))), error

    def bootstrap(
        self, streams: Streams, crossing: Crossing, drawn: Sequence[ServiceTimes]
    ) -> float:
        """Return the relative spread of the capacity over resampled service times."""
        return spread_of(np.array([self._capacity(streams, crossing, one) for one in drawn]))

    def _capacity(self, streams: Streams, crossing: Crossing, service: ServiceTimes) -> float:
        """Return about the capacity with other service times, two steps from the crossing."""
        ratios, saturated_qps = streams.draw(service), service.saturated_qps(self.queue)
        logit = np.asarray(crossing.logit)
        for _ in range(2):
            qps = float(load_of(logit)) * saturated_qps
            late = streams.late_fraction(
                self.queue, service.levels, qps, ratios, self.max_latency_s
            )
            logit = newton_step(logit, excess_of(late.mean(), self.allowed), crossing.slope)
        return float(load_of(logit)) * saturated_qps


def spread_of(qps: Floats) -> float:
    """Standard deviation of log rates; none counts as more than 3 from the middle of them."""
    logs = np.log(qps)
    below, middle, above = np.percentile(logs, [15.87, 50, 84.13])
    reach = 1.5 * (above - below)
    return float(np.clip(logs, middle - reach, middle + reach).std())

"""The capacity of a queue by simulation, for the queues that no formula solves."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mlbench.outcomes import LatencyLimit
from mlbench.queueing.crossing import (
    SCAN,
    Crossing,
    find_crossing,
    load_of,
    log_excess,
    newton_step,
)
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.streams import Streams

BOOTSTRAP_STEPS = 2
"""Steps of Newton's method, from the capacity to that of a resample, which is close to it."""

_SATURATED = 1 - 1e-6  # a load that no limit is expected to allow
_OUTLIER = 3.0  # standard deviations from the median, beyond which one resample is pulled in
_SIGMA_PERCENTILES = (15.87, 50, 84.13)  # a normal distribution's at -1, 0 and 1 standard deviation


class Simulation:
    """Finds by simulation the load at which a queue just meets a limit."""

    def __init__(self, queue: Queue, service: ServiceTimes, limit: LatencyLimit) -> None:
        self.queue, self.service = queue, service
        self.max_latency_s = limit.max_latency_s
        self.allowed = 1 - limit.percentile / 100
        self.saturated_qps = service.saturated_qps(queue)

    def _late(self, streams: Streams, load: float, ratios: Floats) -> Floats:
        qps = load * self.saturated_qps
        return streams.late_fraction(
            self.queue, self.service.mean_times, qps, ratios, self.max_latency_s
        )

    def scan(self, streams: Streams) -> tuple[float, float] | None:
        """Return two loads: the highest of `SCAN` that meets the limit and the one above it.

        None where none of them meets the limit.
        """
        ratios, above = streams.draw(self.service), _SATURATED
        for load in SCAN.tolist():
            if self._late(streams, load, ratios).mean() <= self.allowed:
                return load, above
            above = load
        return None

    def find_crossing(self, streams: Streams, bracket: tuple[float, float]) -> Crossing | None:
        """Return where the limit is just met, near a bracket of loads; None where no load does."""
        ratios = streams.draw(self.service)

        def excess(logits: Floats) -> Floats:
            late = [self._late(streams, load, ratios).mean() for load in load_of(logits).tolist()]
            return log_excess(np.array(late), self.allowed)

        return find_crossing(excess, bracket)

    def final_step(
        self, streams: Iterable[Streams], crossing: Crossing, small_error: float
    ) -> tuple[float, float]:
        """Return the load after a Newton step on further streams, and its relative error.

        Streams are simulated one after the other until the error is at most `small_error`, or none
        are left. The standard error of the late fraction comes from the independent replicas; the
        slope turns it into one of the logit, whose derivative after ln(load) is 1 / (1 - load).
        """
        load, error, late = float(load_of(crossing.logit)), math.inf, np.empty(0)
        for some in streams:
            late = np.append(late, self._late(some, load, some.draw(self.service)))
            noise = float(late.std()) / math.sqrt(late.size) / self.allowed
            error = min(noise / crossing.slope, 1.0) * (1 - load)
            if error <= small_error:
                break
        excess = log_excess(late.mean(), self.allowed)
        return float(load_of(newton_step(crossing.logit, excess, crossing.slope))), error

    def bootstrap_sd(
        self, streams: Streams, crossing: Crossing, resamples: Sequence[ServiceTimes]
    ) -> float:
        """Return the relative standard deviation of the capacity over resampled service times."""
        return robust_log_sd(np.array([self._capacity(streams, crossing, s) for s in resamples]))

    def _capacity(self, streams: Streams, crossing: Crossing, service: ServiceTimes) -> float:
        """Return the approximate capacity, in qps, with service times close to our own."""
        ratios, saturated_qps = streams.draw(service), service.saturated_qps(self.queue)
        logit = np.asarray(crossing.logit)
        for _ in range(BOOTSTRAP_STEPS):
            qps = float(load_of(logit)) * saturated_qps
            late = streams.late_fraction(
                self.queue, service.mean_times, qps, ratios, self.max_latency_s
            )
            logit = newton_step(logit, log_excess(late.mean(), self.allowed), crossing.slope)
        return float(load_of(logit)) * saturated_qps


def robust_log_sd(qps: Floats) -> float:
    """Return the standard deviation of the logarithms of rates (n,), outliers pulled in.

    Those further than 3 standard deviations from the median are moved there (winsorised), so that
    one resample without a capacity does not decide. That standard deviation is half the distance
    between the percentiles which are 2 standard deviations apart in a normal distribution.
    """
    logs = np.log(qps)
    below, median, above = np.percentile(logs, _SIGMA_PERCENTILES)
    reach = _OUTLIER / 2 * (above - below)
    return float(np.clip(logs, median - reach, median + reach).std())

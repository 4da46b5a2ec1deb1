"""What is estimated: the question and the estimate that answers it."""

import math
from dataclasses import dataclass

from mlbench.arrivals.kind import ArrivalKind
from mlbench.contracts.findings import Finding
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.line import Queue
from mlbench.queueing.service import NO_DRIFT, Drift

_FURTHEST = 0.075
"""Relative distance below the estimate at which a trial that met the limit is always believed. An
uncertain estimate places trials up to 10 % below it (`mlbench.search.goal`): those then count."""


@dataclass(frozen=True)
class Question:
    """Which capacity is to be estimated: that of a queue, for one arrival kind and one limit.

    `seed` seeds all random numbers of the estimate. `thorough`: whether it must be good enough for
    an answer; otherwise it is made in half the time, to place the next trial.
    """

    queue: Queue
    kind: ArrivalKind
    limit: LatencyLimit
    seed: int
    thorough: bool = True


@dataclass(frozen=True)
class Estimate:
    """A capacity in queries per second, with its 95 % interval from `low` to `high`.

    `qps` is None when the estimate is that no rate meets the limit; `low` is 0 when that is
    possible. `modelled`: whether the queue model gave it; otherwise it is the bracket of measured
    rates, and `high` is infinite when no trial failed. `unloaded_s`: the limit's percentile of the
    latency on an idle device, in seconds; `unloaded_late`: the late fraction there. For a device
    that drifts all of these are for the end of the measurement.
    """

    qps: float | None
    low: float
    high: float
    modelled: bool
    unloaded_s: float
    findings: tuple[Finding, ...] = ()
    drift: Drift = NO_DRIFT
    unloaded_late: float = 0.0

    @property
    def supported_qps(self) -> float:
        """The highest rate at which a trial that met the limit is believed.

        That is a quarter of the interval's width below the estimate: a higher one may have passed
        by chance. It is 0 when no rate meets the limit.
        """
        if self.qps is None:
            return 0.0
        if not self.modelled:
            return self.qps
        return max(math.sqrt(self.low * self.qps), (1 - _FURTHEST) * self.qps)

    @property
    def half_width(self) -> float:
        """Half the interval's width relative to the rate; infinite when no rate meets the limit."""
        return math.inf if self.qps is None else (self.high - self.low) / 2 / self.qps

"""What is estimated: the question and the estimate that answers it."""

import math
from dataclasses import dataclass

from mlbench.arrivals.kind import ArrivalKind
from mlbench.contracts.findings import Finding
from mlbench.estimation.discrepancy import Discrepancy
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Capacity
from mlbench.queueing.line import Queue

_REPEATED, _SURE = 0.84, 1.96
"""Standard deviations below the estimate: of chance in a trial, at which a fresh one meets the
limit 80 times in 100, and of the estimate, which is then below the truth 39 times in 40."""
_TENTH, _HALF = 0.1, 0.5
"""Of ln(rate): by how much a rate that no better one replaces may be too high, and how far below
the estimate it is believed whatever the uncertainty."""


@dataclass(frozen=True)
class Question:
    """Which capacity is to be estimated: that of a queue, for one arrival kind and one limit.

    `seed` seeds all random numbers of the estimate. `thorough`: whether it must be good enough for
    an answer; otherwise it is made in a third of the time, to place the next trial.
    """

    queue: Queue
    kind: ArrivalKind
    limit: LatencyLimit
    seed: int
    thorough: bool = True


@dataclass(frozen=True)
class Estimate:
    """A capacity in queries per second, with its 95 % interval from `low` to `high`.

    It is a prediction interval for the ten seconds after the last trial: what the machine does from
    trial to trial is in it. `qps` is None when the estimate is that no rate meets the limit; `low`
    is 0 when that is possible. `error`: the standard deviation of ln(capacity). `capacity`: that of
    the model, for the chance in a trial. `unloaded_s`: the limit's percentile of the latency on an
    idle device, in seconds. `gap`: by how much measured latencies exceed the model's. `feedback`:
    by how much ln(capacity) grows with ln(rate) through service times that depend on it.
    """

    qps: float | None
    low: float
    high: float
    error: float
    unloaded_s: float
    capacity: Capacity | None = None
    gap: Discrepancy | None = None
    findings: tuple[Finding, ...] = ()
    feedback: float = 0.0

    def chance(self, queries: int) -> float:
        """Return the standard deviation of chance in a trial of so many queries, in ln(rate)."""
        return self.capacity.chance(queries) if self.capacity else 0.0

    def deviation(self, queries: int) -> float:
        """Return the standard deviation of ln(rate) that a trial of so many queries just meets."""
        return math.hypot(self.error, self.chance(queries))

    def supported_qps(self, queries: int) -> float:
        """Return the highest rate that a trial of so many queries is believed to show.

        A fresh trial as long meets the limit there with a probability of 0.8 or more.
        """
        return self.qps * math.exp(-self.margin(queries)) if self.qps else 0.0

    @property
    def sure_qps(self) -> float:
        """A rate that is hardly a tenth above the true capacity; 0 when none meets the limit."""
        below = min(max(_SURE * self.error - _TENTH, 0.0), _HALF)
        return self.qps * math.exp(-below) if self.qps else 0.0

    def margin(self, queries: int) -> float:
        """Return by how much ln(rate) of a believed trial is below that of the estimate."""
        return math.hypot(_REPEATED * self.chance(queries), _SURE * self.error)

    @property
    def half_width(self) -> float:
        """Half the interval's width relative to the rate; infinite when no rate meets the limit."""
        return math.inf if self.qps is None else (self.high - self.low) / 2 / self.qps

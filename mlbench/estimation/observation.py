"""What estimates need of a trial, and how measured latencies compare with simulated ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.outcomes import LatencyLimit, Trial
from mlbench.queueing.line import Floats, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes
from mlbench.records import Completions
from mlbench.stats.correlation import correlation_time
from mlbench.stats.intervals import binomial_interval
from mlbench.stats.percentiles import percentile as percentile_of
from mlbench.stats.percentiles import rank
from mlbench.stats.pooling import Pooled, pool_estimates
from mlbench.trial.service_log import ServiceLog, in_seconds, service_log

_REPLICAS = 32  # the error of their mean is 0.18 of their standard deviation, 3 % in quadrature
_CHOICE_REPLICAS = 12  # whose median shows which of several schedules is the most typical
_ENOUGH = 10_000  # queries of a trial; more would make its comparison hardly more exact
_CLIP = 3.0
"""Standard deviations at which one trial's discrepancy is cut off. With _SIGNIFICANT above it, one
busy period with many late queries is never enough for a correction."""
_SIGNIFICANT = 4.0  # standard errors of the discrepancy over all trials
_LEAST_ERROR = 0.01  # relative, of a simulated percentile; a constant device would have none


@dataclass(frozen=True)
class Observation:
    """One trial: its verdicts, its service times, and its completed queries.

    `due_s`, `latency_s`: float64 (n,), when each query was due, and its latency less the send lag,
    which is no property of the device. `measured_s`: the duration of the trial. All are in seconds.
    A saturation trial serves for its service times only: it is too short for a percentile.
    """

    trial: Trial
    log: ServiceLog
    due_s: Floats
    latency_s: Floats
    measured_s: float

    @property
    def saturated(self) -> bool:
        """Whether this was a saturation trial."""
        return self.trial.request.purpose == "saturation"

    @property
    def qps(self) -> float:
        """The target rate."""
        return self.trial.request.target_qps

    @property
    def middle_s(self) -> float:
        """The median of the due times, on the clock that all trials share."""
        return self.log.begin_s + float(np.median(self.due_s))

    @property
    def valid(self) -> bool:
        """Whether the trial has a verdict other than invalid for some limit."""
        return any(judged.verdict != "invalid" for judged in self.trial.judgements.values())

    def first(self, count: int) -> "Observation":
        """Return the same with the first `count` queries only."""
        return replace(self, due_s=self.due_s[:count], latency_s=self.latency_s[:count])

    def late_fraction_interval(self, max_latency_s: float) -> tuple[float, float]:
        """Return the 95 % interval of the late fraction, for correlated queries.

        It is the binomial one for the effective number of queries, n over the correlation time.
        """
        late = (self.latency_s > max_latency_s).astype(np.float64)
        n = len(late) / correlation_time(late)
        return binomial_interval(float(late.mean()) * n, n)


def observe(trial: Trial, completions: Completions, lag_ns: NDArray[np.int64]) -> Observation:
    """Return what estimates need of a trial; `lag_ns`: int64 (n,), from `mlbench.trial.replay`."""
    ok = completions.status == wire.COMPLETED
    return Observation(
        trial=trial,
        log=service_log(completions),
        due_s=in_seconds(completions.schedule.due_ns[ok]),
        latency_s=completions.latency_s - in_seconds(lag_ns[ok]),
        measured_s=completions.duration_s,
    )


def simulated_percentiles(
    schedules_s: Sequence[Floats],
    service: ServiceTimes,
    queue: Queue,
    percentile: float,
    seed: int,
    slowdown: Floats | float = 1.0,
    replicas: int = _REPLICAS,
) -> Floats:
    """Return the latency's percentile in seconds on given arrivals, float64 (schedules, replicas).

    `schedules_s`: when queries arrive, float64 (n,) for each schedule; the lengths may differ.
    `slowdown`: a factor on the service times of each. Each replica has service times of its own.
    """
    rng, found_s = np.random.default_rng(seed), np.empty((len(schedules_s), replicas))
    slow = np.broadcast_to(slowdown, len(schedules_s))
    for number, own_s in enumerate(schedules_s):
        arrive_s = np.tile(own_s, (replicas, 1))
        ratio = slow[number] * service.draw(rng, *arrive_s.shape)
        place = rank(len(own_s), percentile) - 1
        latency_s = line_latencies(queue, service.mean_times, arrive_s, ratio)
        found_s[number] = np.partition(latency_s, place, axis=1)[:, place]
    return found_s


def discrepancy(
    observations: Sequence[Observation],
    service: ServiceTimes,
    queue: Queue,
    percentile: float,
    seed: int,
) -> Pooled:
    """Return ln(measured percentile / simulated percentile), pooled over trials.

    It is 0 with error 0 unless the trials together differ from the model by more than 4 standard
    errors. Each trial is compared with simulations of its own arrivals, so that these do not add to
    the error: the simulated percentile is a control variate (Law, Simulation Modeling and Analysis
    (2015), section 11.4). What remains is chance in the service times, whose size the replicas
    show, and what the model lacks.
    """
    if not observations:
        return Pooled(0.0, 0.0, 0.0)
    observations = [seen.first(_ENOUGH) for seen in observations]
    due_s = [seen.due_s for seen in observations]
    slowdown = service.drift.slowdown(np.array([seen.middle_s for seen in observations]))
    simulated = np.log(simulated_percentiles(due_s, service, queue, percentile, seed, slowdown))
    measured = np.log([percentile_of(seen.latency_s, percentile) for seen in observations])
    residual = measured - simulated.mean(axis=1)
    error = np.hypot(simulated.std(axis=1, ddof=1), _LEAST_ERROR)
    z_score = float(np.clip(residual / error, -_CLIP, _CLIP).sum()) / math.sqrt(len(residual))
    if abs(z_score) < _SIGNIFICANT:
        return Pooled(0.0, 0.0, 0.0)
    return pool_estimates(residual, error)


def most_typical(
    dues_ns: Sequence[NDArray[np.int64]],
    service: ServiceTimes,
    queue: Queue,
    limit: LatencyLimit,
    seed: int,
) -> int:
    """Return the index of the most typical of several schedules at the estimated capacity.

    `dues_ns`: int64 (n,) for each. In the long run the percentile at that rate is the limit; the
    most typical schedule is the one on which the simulated percentile is closest to it, by ratio.
    This favours no verdict, and spares the device trials that an unusual burst, or the lack of any,
    would decide.
    """
    due_s = [in_seconds(due_ns) for due_ns in dues_ns]
    simulated_s = simulated_percentiles(
        due_s, service, queue, limit.percentile, seed, replicas=_CHOICE_REPLICAS
    )
    typical_s = np.median(simulated_s, axis=1)
    return int(np.argmin(np.abs(np.log(typical_s / limit.max_latency_s))))

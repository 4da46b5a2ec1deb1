"""What a search keeps of each trial, and how the trial compares with the queue model."""

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
from mlbench.stats.intervals import exceedance_interval
from mlbench.stats.percentiles import percentile as percentile_of
from mlbench.stats.percentiles import rank
from mlbench.stats.pooling import Pooled, pool_estimates
from mlbench.trial.service_log import ServiceLog, in_seconds, service_log

_REPLICAS = 32  # whose mean is to be known well beside their spread
_FEW_REPLICAS = 12  # that show which of several schedules is the most typical
_ENOUGH = 10_000  # queries of a trial; more make its comparison hardly more exact
_CLIP = 3.0  # standard deviations; a single jam in the queue can make more of one trial
_SURE = 4.0  # standard deviations of the mean over trials, so that one trial never suffices
_MIN_ERROR = 0.01  # of a simulated percentile, relative


@dataclass(frozen=True)
class Observation:
    """One trial: its verdicts, its service times, its arrivals and latencies in seconds (n,).

    A saturation trial tells service times only: so short a trial shows no latency to go by.
    Latencies are less what the load generator added: verdicts count it, but it is no property of
    the device and must not move an estimate.
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
        """The rate that was asked for."""
        return self.trial.request.target_qps

    @property
    def middle_s(self) -> float:
        """When half of the queries were due, on the clock that all trials share."""
        return self.log.begin_s + float(np.median(self.due_s))

    @property
    def valid(self) -> bool:
        """Whether the trial told something about the device."""
        return any(judged.verdict != "invalid" for judged in self.trial.judgements.values())

    def first(self, count: int) -> "Observation":
        """Return the same with no more than its first `count` queries."""
        return replace(self, due_s=self.due_s[:count], latency_s=self.latency_s[:count])

    def lateness(self, max_latency_s: float) -> tuple[float, float]:
        """Return the 95 % interval of the fraction of queries later than the limit."""
        late = (self.latency_s > max_latency_s).astype(np.float64)
        n = len(late) / correlation_time(late)
        return exceedance_interval(float(late.mean()) * n, n)


def observe(trial: Trial, completions: Completions, lag_ns: NDArray[np.int64]) -> Observation:
    """Keep what the estimates need of a trial; `lag_ns` (n,) from `mlbench.trial.replay`."""
    ok = completions.status == wire.COMPLETED
    return Observation(
        trial=trial,
        log=service_log(completions),
        due_s=in_seconds(completions.schedule.due_ns[ok]),
        latency_s=completions.latency_s - in_seconds(lag_ns[ok]),
        measured_s=completions.duration_s,
    )


def simulated_tails(
    schedules_s: Sequence[Floats],
    service: ServiceTimes,
    queue: Queue,
    percentile: float,
    seed: int,
    slowness: Floats | float = 1.0,
    replicas: int = _REPLICAS,
) -> Floats:
    """Return the percentile of the latency on exactly these arrivals, in seconds.

    `schedules_s`: when queries arrive, (n,) each, of different lengths; `slowness`: by how much the
    service times of each are longer. The result is (schedules, replicas); each replica draws other
    service times.
    """
    rng, tails = np.random.default_rng(seed), np.empty((len(schedules_s), replicas))
    slow = np.broadcast_to(slowness, len(schedules_s))
    for number, own_s in enumerate(schedules_s):
        arrive_s = np.tile(own_s, (replicas, 1))
        ratio = slow[number] * service.draw(rng, *arrive_s.shape)
        place = rank(len(own_s), percentile) - 1
        latency_s = line_latencies(queue, service.levels, arrive_s, ratio)
        tails[number] = np.partition(latency_s, place, axis=1)[:, place]
    return tails


def misfit(
    observations: Sequence[Observation],
    service: ServiceTimes,
    queue: Queue,
    percentile: float,
    seed: int,
) -> Pooled:
    """Return by how much measured percentiles exceed simulated ones, in logarithms.

    The control variate: each trial is compared with the simulation of its very arrivals, which
    takes the luck of the arrivals out. What remains is the luck of the service times, known from
    the replicas, and what the model lacks: 0 unless the trials agree on it beyond chance.
    """
    if not observations:
        return Pooled(0.0, 0.0, 0.0)
    observations = [seen.first(_ENOUGH) for seen in observations]
    due_s = [seen.due_s for seen in observations]
    slowness = service.drift.slowness(np.array([seen.middle_s for seen in observations]))
    tails = np.log(simulated_tails(due_s, service, queue, percentile, seed, slowness))
    measured = np.log([percentile_of(seen.latency_s, percentile) for seen in observations])
    residual = measured - tails.mean(axis=1)
    error = np.hypot(tails.std(axis=1, ddof=1), _MIN_ERROR)
    agreed = float(np.clip(residual / error, -_CLIP, _CLIP).sum()) / math.sqrt(len(residual))
    if abs(agreed) < _SURE:
        return Pooled(0.0, 0.0, 0.0)
    return pool_estimates(residual, error)


def most_typical(
    dues_ns: Sequence[NDArray[np.int64]],
    service: ServiceTimes,
    queue: Queue,
    limit: LatencyLimit,
    seed: int,
) -> int:
    """Return which of these schedules, all at the estimated capacity, is most typical.

    That is the one on which the model gives the percentile closest to the limit, as it does in
    the long run. It favours neither verdict, and spares the device trials that an unusual burst,
    or the lack of any, would decide.
    """
    due_s = [in_seconds(due_ns) for due_ns in dues_ns]
    played = simulated_tails(due_s, service, queue, limit.percentile, seed, replicas=_FEW_REPLICAS)
    tails = np.median(played, axis=1)
    return int(np.argmin(np.abs(np.log(tails / limit.max_latency_s))))

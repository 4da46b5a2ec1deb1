"""The highest rate at which a queue meets a latency limit, by simulation.

The queue is simulated at several rates on the same random arrivals and service times. There, ln of
the late fraction is nearly straight in the logit of the load (the rate over the saturated one), so
that the rate at which the late fraction is what the percentile allows is found in a few steps. A
last step is taken on many more queries.

Of several hosts one is simulated in each replica: they are queues of their own, and what all
queries together meet is the mean over hosts.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import arrival_kind
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.line import Floats, MeanTimes, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.split import host_streams, split_of

_LENGTH = 16_384
"""Queries of a replica. A queue settles after about 1 / (1 - load)^2 service times: 10,000 at a
load of 0.99."""
_WARM_UP = 8  # the first of so many parts of a replica is left out: servers start idle
_FLOOR = 0.01  # of the allowed late fraction, added so that a logarithm is finite without late ones
_START = 1.5  # logit of the load to look at first where nothing is known: a load of 0.82
_LIMITS = (-7.0, 6.0)
"""Logits of an almost idle queue and of an almost saturated one, at a load of 0.998. Nearer to
saturation the late fraction is that of the time simulated, and does not depend on the rate."""
_CLOSE = 0.03  # logits that an interval around the crossing may span: it is straight within
_STEPS = 6  # of narrowing that interval
_SLOPE_REACH = 0.05  # logits, and logarithms of the limit, to both sides for a slope
_FLATTEST = 0.05  # d ln(late fraction) / d ln(rate), so that a capacity is never quite undetermined
_LARGEST_STEP = 0.1  # of ln(rate) in the last step; the way there was nearer than that
_MOST_UNLIKE, _FEWEST_UNLIKE = 16, 4
"""Hosts that differ and are simulated: of more, some from the quickest to the slowest. And replicas
of each, to tell the error of their mean."""
_RESAMPLE_SHARE = 0.25  # of the replicas serve for each resample: only differences count there


@dataclass(frozen=True)
class Effort:
    """How much to simulate: `replicas` of 16,384 queries, and `rounds` as many for the last step.

    There is one round or more.

    `resamples` of the service times give the error that their number causes; without, the error is
    the simulation's own.
    """

    replicas: int = 48
    rounds: int = 8
    resamples: int = 0


EFFORT = Effort()


@dataclass(frozen=True)
class Capacity:
    """The highest rate in qps that meets the limit.

    `error`: its relative standard error. `rate_slope` and `limit_slope`: by how much ln(late
    fraction) grows there with ln(rate), and falls with ln(limit). `trial_sd`: the standard
    deviation of ln(percentile of the latency) over trials of `trial_queries` at this rate.
    """

    qps: float
    error: float
    rate_slope: float
    limit_slope: float
    trial_sd: float
    trial_queries: int

    @property
    def elasticity(self) -> float:
        """By how much ln(capacity) grows with ln(limit)."""
        return self.limit_slope / self.rate_slope

    def chance(self, queries: int) -> float:
        """Return the standard deviation of chance in a trial of so many queries, in ln(rate).

        The percentile of a trial varies like one over the root of its queries.
        """
        return self.elasticity * self.trial_sd * math.sqrt(self.trial_queries / max(queries, 1))


def rough_capacity_qps(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind,
    limit: LatencyLimit,
    *,
    seed: int,
    near_qps: float | None,
    replicas: int,
) -> float | None:
    """Return the rate of `predict_capacity` alone, to about 1 % with 16 replicas."""
    simulation = _Simulation(queue, service, kind, limit, seed, replicas)
    logit = _find_crossing(simulation.excess_at, simulation.logit(near_qps))
    return None if logit is None else simulation.qps(logit)


def predict_capacity(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind | str,
    limit: LatencyLimit,
    *,
    seed: int = 0,
    near_qps: float | None = None,
    effort: Effort = EFFORT,
) -> Capacity | None:
    """Return the highest rate at which the percentile of the latency meets the limit, or None.

    `kind`: how queries arrive; a name stands for the kind of that name with default settings. The
    rate is looked for near `near_qps` first. None when even an almost idle device is late too
    often.
    """
    simulation = _Simulation(queue, service, arrival_kind(kind), limit, seed, effort.replicas)
    logit = _find_crossing(simulation.excess_at, simulation.logit(near_qps))
    if logit is None:
        return None
    if logit >= _LIMITS[1]:  # nothing is late until the queue is saturated
        return Capacity(service.saturated_qps(queue), 0.0, 1.0, 0.0, 0.0, 1)
    rate_slope, limit_slope = simulation.slopes(logit)
    more = (simulation.again(seed + 1 + n) for n in range(effort.rounds))
    excesses = np.concatenate([one.excesses_at(logit) for one in more])
    step = float(excesses.mean()) / rate_slope
    qps = simulation.qps(logit) * math.exp(-min(max(step, -_LARGEST_STEP), _LARGEST_STEP))
    error = float(excesses.std()) / math.sqrt(len(excesses)) / rate_slope
    if effort.resamples:
        error = math.hypot(error, simulation.sampling_error(logit, rate_slope, effort.resamples))
    trial_sd, trial_queries = simulation.trial_sd(logit)
    return Capacity(qps, error, rate_slope, limit_slope, trial_sd, trial_queries)


def moved_by(
    queue: Queue,
    service: ServiceTimes,
    others: Sequence[ServiceTimes],
    kind: ArrivalKind,
    limit: LatencyLimit,
    capacity: Capacity,
    *,
    seed: int,
    replicas: int,
) -> Floats:
    """Return by how much ln(capacity) moves with each of other service times, float64 (others,).

    To first order: each of them moves the late fraction at the rate of `capacity`, which is that of
    `service`, and by the slope the capacity.
    """
    if not capacity.limit_slope:  # nothing is late until the queue is saturated
        saturated_qps = np.array([other.saturated_qps(queue) for other in others])
        return np.asarray(np.log(saturated_qps / service.saturated_qps(queue)))
    own = _Simulation(queue, service, kind, limit, seed, replicas)
    excesses = [one.excess_at_qps(capacity.qps) for one in (own, *map(own.serving, others))]
    return (excesses[0] - np.array(excesses[1:])) / capacity.rate_slope


def percentile_latency_s(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind,
    limit: LatencyLimit,
    qps: float,
    *,
    seed: int,
    replicas: int,
) -> float:
    """Return the limit's percentile of the latency at a rate, in seconds, once the queue settled.

    The same seed gives the same random numbers at every rate, and those of `rough_capacity_qps`.
    """
    simulation = _Simulation(queue, service, kind, limit, seed, replicas)
    return simulation.percentile_s(simulation.logit(qps))


class _Simulation:
    """A queue on random arrivals and service times that are the same at every rate."""

    def __init__(
        self,
        queue: Queue,
        service: ServiceTimes,
        kind: ArrivalKind,
        limit: LatencyLimit,
        seed: int,
        replicas: int,
    ) -> None:
        self._queue, self._service, self._kind, self._limit = queue, service, kind, limit
        self._hosts = _to_simulate(queue, service.mean_times)
        if len(self._hosts) > 1:
            each = max(-(-replicas // len(self._hosts)), _FEWEST_UNLIKE)
            replicas = each * len(self._hosts)
        self._seed, self._shape = seed, (replicas, _LENGTH)
        split = split_of(queue.split, kind.name)
        self._arrive = host_streams(kind, split, queue.hosts, [seed, 0], *self._shape)
        self._ratio = service.draw(np.random.default_rng([seed, 1]), *self._shape)
        self._phase = np.random.default_rng([seed, 3]).random((replicas, queue.of_host.servers))
        self._saturated_qps = service.saturated_qps(queue)
        self._allowed = 1 - limit.percentile / 100

    def again(self, seed: int) -> "_Simulation":
        """Return the same queue on other random numbers."""
        return _Simulation(
            self._queue, self._service, self._kind, self._limit, seed, self._shape[0]
        )

    def serving(self, service: ServiceTimes) -> "_Simulation":
        """Return the same with other service times, drawn by the same ranks."""
        other = copy.copy(self)
        other._service = service
        other._ratio = service.draw(np.random.default_rng([self._seed, 1]), *self._shape)
        other._saturated_qps = service.saturated_qps(self._queue)
        return other

    def qps(self, logit: float) -> float:
        """Return the rate with this logit of the load; at the highest one the queue saturates."""
        return self._saturated_qps / (1 + math.exp(-logit))

    def logit(self, qps: float | None) -> float:
        """Return the logit of the load at a rate; a usual one where that is None or saturates."""
        load = (qps or 0.0) / self._saturated_qps
        if not 0 < load < 1:
            return _START
        return float(np.clip(math.log(load / (1 - load)), *_LIMITS))

    def _latency_s(self, logit: float) -> Floats:
        """Return latencies in seconds, float64 (replicas, n), once the queue has settled."""
        qps = self.qps(logit)
        # The mean gap between arrivals is the unit of time, so that they serve for every rate.
        queue = replace(self._queue, batch_timeout_s=self._queue.batch_timeout_s * qps)
        times, latency = self._service.mean_times.times(qps), np.empty(self._shape)
        for place, host in enumerate(self._hosts):
            own = slice(place, None, len(self._hosts))
            latency[own] = line_latencies(
                queue.of_host,
                times.of_host(host, queue),
                self._arrive[own],
                self._ratio[own],
                self._phase[own],
            )
        settled: Floats = latency[:, self._shape[1] // _WARM_UP :] / qps
        return settled

    def percentile_s(self, logit: float) -> float:
        """Return the percentile of all latencies at a load, in seconds."""
        return float(np.quantile(self._latency_s(logit), self._limit.percentile / 100))

    def _together(self, latency_s: Floats) -> Floats:
        """Return latencies with unlike hosts in one row, so that rows differ by chance alone."""
        return latency_s.reshape(len(latency_s) // len(self._hosts), -1)

    def _excess(self, late: Floats | float) -> Floats:
        """Return ln(late fraction / allowed fraction), finite where nothing is late."""
        floor = self._allowed * _FLOOR
        return np.asarray(np.log((np.asarray(late) + floor) / (self._allowed + floor)))

    def excess_at(self, logit: float) -> float:
        """Return ln(late fraction / allowed fraction) at a load."""
        return float(self._excess((self._latency_s(logit) > self._limit.max_latency_s).mean()))

    def excess_at_qps(self, qps: float) -> float:
        """Return the excess at a rate, or at the highest load if that rate saturates the queue."""
        return self.excess_at(self.logit(min(qps, self.qps(_LIMITS[1]))))

    def excesses_at(self, logit: float) -> Floats:
        """Return the excess to first order of each replica, or each of all hosts if they differ.

        Each is ln(mean late fraction / allowed) of all, plus its own relative deviation.
        """
        late = (self._together(self._latency_s(logit)) > self._limit.max_latency_s).mean(axis=1)
        floor = self._allowed * _FLOOR
        return np.asarray(self._excess(late.mean()) + (late - late.mean()) / (late.mean() + floor))

    def slopes(self, logit: float) -> tuple[float, float]:
        """Return by how much ln(late fraction) grows with ln(rate) and falls with ln(limit)."""
        below, above = (self._latency_s(logit + side) for side in (-_SLOPE_REACH, _SLOPE_REACH))
        limit_s, factor = self._limit.max_latency_s, math.exp(_SLOPE_REACH)
        rise = self._excess((above > limit_s).mean()) - self._excess((below > limit_s).mean())
        span = math.log(self.qps(logit + _SLOPE_REACH) / self.qps(logit - _SLOPE_REACH))
        fall = sum(
            float(
                self._excess((latency_s > limit_s / factor).mean())
                - self._excess((latency_s > limit_s * factor).mean())
            )
            for latency_s in (below, above)
        )
        return max(float(rise) / span, _FLATTEST), max(fall / (4 * _SLOPE_REACH), 0.0)

    def trial_sd(self, logit: float) -> tuple[float, int]:
        """Return the standard deviation of ln(percentile) between trials, and their queries."""
        latency_s = self._together(self._latency_s(logit))
        percentiles = np.quantile(latency_s, self._limit.percentile / 100, axis=1)
        return float(np.log(percentiles).std()), latency_s.shape[1]

    def sampling_error(self, logit: float, rate_slope: float, resamples: int) -> float:
        """Return the standard error of ln(capacity) that the number of service times causes.

        By the bootstrap: each resample moves the late fraction at this rate, and by the slope the
        capacity. The spread of the middle two thirds is taken, since a resample of heavy tails may
        lie anywhere.
        """
        replicas, rng = max(round(_RESAMPLE_SHARE * self._shape[0]), 1), np.random.default_rng
        qps, draws = self.qps(logit), rng([self._seed, 2])
        few = _Simulation(self._queue, self._service, self._kind, self._limit, self._seed, replicas)
        excesses = []
        for _ in range(resamples):
            one = few.serving(self._service.resample(draws))
            excesses.append(one.excess_at(one.logit(qps)))
        low, high = np.quantile(excesses, [1 / 6, 5 / 6])
        return float(high - low) / (2 * _SIXTH) / rate_slope / self._service.bootstrap_shrinkage


def _to_simulate(queue: Queue, times: MeanTimes) -> list[int]:
    """Return the hosts that are simulated in turn: one where all are alike."""
    each = np.broadcast_to(times.slowdown, queue.servers).reshape(queue.hosts, -1)
    if queue.hosts == 1 or (each == each[0]).all():
        return [0]
    by_speed = np.argsort((1 / each).sum(axis=1), kind="stable")
    count = min(queue.hosts, _MOST_UNLIKE)
    places = (np.arange(count) + 0.5) * queue.hosts / count
    return [int(host) for host in by_speed[places.astype(np.intp)]]


_SIXTH = 0.967  # standard deviations from the median of a normal distribution to its 5/6 quantile


def _find_crossing(excess: Callable[[float], float], start: float) -> float | None:
    """Return the highest logit at which an excess that grows with it is 0; None if there is none.

    From the start, steps grow until they enclose the crossing; then regula falsi narrows it.
    """
    logit, value = start, excess(start)
    met = value <= 0
    step = 0.15
    while True:
        if met and logit >= _LIMITS[1]:
            return logit
        if not met and logit <= _LIMITS[0]:
            return None
        other = float(np.clip(logit + (step if met else -step), *_LIMITS))
        found = excess(other)
        if (found <= 0) != met:
            break
        logit, value, step = other, found, 1.8 * step
    low, high = ((logit, value), (other, found)) if met else ((other, found), (logit, value))
    for _ in range(_STEPS):
        if high[0] - low[0] < _CLOSE:
            break
        middle = _between(low, high, 0.1)
        at = (middle, excess(middle))
        low, high = (at, high) if at[1] <= 0 else (low, at)
    return _between(low, high, 0.0)


def _between(low: tuple[float, float], high: tuple[float, float], least: float) -> float:
    """Return where a line through two points is 0, at least a share of the way from both."""
    share = -low[1] / max(high[1] - low[1], 1e-9)
    return low[0] + min(max(share, least), 1 - least) * (high[0] - low[0])

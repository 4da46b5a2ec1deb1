"""The highest rate at which a simulated queue meets a latency bound, and how well it is known."""

import math
from dataclasses import dataclass, replace

import numpy as np

from mlbench.outcomes import Constraint
from mlbench.records import ArrivalKind
from mlbench.search.queueing import Floats, Levels, Queue, latencies
from mlbench.search.service import ServiceTimes

_SCAN = np.array([0.9999, 0.99, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03])
_MAX_LOGIT = 13.0  # a load of almost 1; its negative, of almost 0
_WIDTH = 0.05  # of the last bracket, in logits
_LIGHT = 0.8  # load
_RUNS_WIDER = (
    1.4  # resampling misses the error of the autocorrelation; found by tools/study_search.py
)
_WARM_UP = 8  # the first of so many parts of each stream is left out: servers start idle


@dataclass(frozen=True)
class Capacity:
    """The highest rate that meets the bound; 0 when none does.

    `error`: relative standard error, of the sampled service times and of the simulation together.
    """

    qps: float
    error: float


class Streams:
    """Random arrivals and service times that every rate is tried on (common random numbers)."""

    def __init__(
        self, kind: ArrivalKind, service: ServiceTimes, length: int, replicas: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        if kind == "linear":
            self.arrive = np.repeat(np.arange(length, dtype=np.float64)[:, None], replicas, axis=1)
        else:
            self.arrive = rng.standard_exponential((length, replicas)).cumsum(axis=0)
        self.ranks = service.draw_ranks(rng, length, replicas)

    def late_fraction(
        self, queue: Queue, levels: Levels, qps: Floats, tables: Floats, bound_s: float
    ) -> Floats:
        """Return the fraction of queries later than the bound, float64 (rates, replicas).

        `qps`: (rates,). `tables`: (rates, m), the service ratios that each rate is tried with.
        The levels are the same for all rates, or `by_size` is (batch_size + 1, rates).
        """
        length, replicas = self.arrive.shape
        shape = (length, len(qps), replicas)
        arrive_s = (self.arrive[:, None, :] / qps[:, None]).reshape(length, -1)
        ratio = np.empty(shape)
        for i, table in enumerate(tables):
            ratio[:, i] = table[self.ranks]
        if levels.by_size.ndim == 2:
            levels = replace(levels, by_size=np.repeat(levels.by_size, replicas, axis=1))
        late = latencies(queue, levels, arrive_s, ratio.reshape(length, -1)) > bound_s
        fraction: Floats = late[length // _WARM_UP :].mean(axis=0).reshape(len(qps), replicas)
        return fraction


def predict_late(
    queue: Queue, service: ServiceTimes, kind: ArrivalKind, qps: float, bound_s: float, seed: int
) -> float:
    """Return the expected fraction of queries later than `bound_s` at the rate `qps`."""
    streams = Streams(kind, service, 16384, 64, seed)
    table = service.table(service.ratio)[None, :]
    return float(
        streams.late_fraction(queue, service.levels, np.array([qps]), table, bound_s).mean()
    )


def predict_capacity(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind,
    constraint: Constraint,
    *,
    seed: int = 0,
    replicas: int = 64,
    resamples: int = 0,
) -> Capacity:
    """Return the highest rate at which the percentile of the latency meets the bound.

    Found on `replicas` x 16,384 simulated queries. With `resamples` above 0 the error covers the
    sampling of the service times (block bootstrap), otherwise only the simulation's own.
    """
    solver = _Solver(queue, service, kind, constraint)
    bracket = solver.scan(Streams(kind, service, 4096, 16, seed))
    if bracket is None:
        return Capacity(0.0, 0.0)
    # The fuller the queue, the longer it takes to settle: as 1 / (1 - load)^2.
    length, wide = (4096, 4) if bracket[1] <= _LIGHT else (16384, 1)
    streams = Streams(kind, service, length, wide * replicas, seed + 1)
    refined = solver.refine(streams, bracket)
    if refined is None:
        return Capacity(0.0, 0.0)
    load, slope, noise = refined
    qps = solver.saturated_qps * load
    spread = 0.0
    if resamples:
        streams = Streams(kind, service, length // 2, 12 * wide, seed + 2)
        spread = solver.bootstrap(streams, load, slope, resamples, np.random.default_rng(seed + 3))
    return Capacity(qps, math.hypot(noise, spread))


def _logit(load: Floats | float) -> Floats:
    return np.asarray(np.log(load) - np.log1p(-np.asarray(load)))


def _load(logit: Floats | float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))))


class _Solver:
    """Finds where the late fraction crosses what the percentile allows.

    Works in the logit of the load (the rate over the saturated one), in which the logarithm of
    the late fraction is nearly straight from an idle queue to a full one.
    """

    def __init__(
        self, queue: Queue, service: ServiceTimes, kind: ArrivalKind, constraint: Constraint
    ) -> None:
        self.queue, self.service, self.kind = queue, service, kind
        self.bound_s = constraint.max_latency_s
        self.allowed = 1 - constraint.percentile / 100
        self.saturated_qps = service.saturated_qps(queue)
        self.table = service.table(service.ratio)

    def _late(
        self,
        streams: Streams,
        load: Floats,
        tables: Floats | None = None,
        levels: Levels | None = None,
    ) -> Floats:
        if tables is None:
            tables = np.broadcast_to(self.table, (len(load), len(self.table)))
        qps = load * self.saturated_qps / (tables.mean(axis=1) / self.table.mean())
        return streams.late_fraction(
            self.queue, levels or self.service.levels, qps, tables, self.bound_s
        )

    def _excess(self, late: Floats) -> Floats:
        """Log of the late fraction over the allowed one, finite when nothing is late."""
        floor = self.allowed * 0.01
        return np.asarray(np.log((late + floor) / (self.allowed + floor)))

    def scan(self, streams: Streams) -> tuple[float, float] | None:
        """Bracket the highest load that meets the bound, from above: it may be met in patches."""
        late = self._late(streams, _SCAN).mean(axis=1)
        met = np.flatnonzero(late <= self.allowed)
        if len(met) == 0:
            return None
        best = int(met[0])
        return (_SCAN[best], _SCAN[best - 1] if best else 1 - 1e-6)

    def refine(
        self, streams: Streams, bracket: tuple[float, float]
    ) -> tuple[float, float, float] | None:
        """Return the load, the slope of the excess there, and the simulation's relative error.

        None when even an idle device is late more often than allowed.
        """
        low, high = (float(_logit(load)) for load in bracket)
        under, _ = self._at(streams, low)
        over, late = self._at(streams, high)
        # These long streams may disagree with the short ones that gave the bracket.
        while under > 0 and low > -_MAX_LOGIT:
            high, over, low = low, under, low - 0.5
            under, late = self._at(streams, low)
        if under > 0:
            return None
        while over <= 0 and high < _MAX_LOGIT:
            low, under, high = high, over, high + 0.5
            over, late = self._at(streams, high)
        while over > 0 and high - low > _WIDTH:
            guess = low - under * (high - low) / (over - under)
            # Aim a little past the root, so that both ends close in on it.
            guess += _WIDTH / 3 if guess - low < high - guess else -_WIDTH / 3
            guess = min(max(guess, low + _WIDTH / 9), high - _WIDTH / 9)
            excess, late = self._at(streams, guess)
            if excess <= 0:
                low, under = guess, excess
            else:
                high, over = guess, excess
        slope = max((over - under) / (high - low), 0.1)
        load = float(_load(high - max(over, 0.0) / slope)) if over > 0 else float(_load(high))
        error = float(late.std()) / math.sqrt(late.size) / self.allowed
        return load, slope, min(error / slope, 1.0) * (1 - load)

    def _at(self, streams: Streams, logit: float) -> tuple[float, Floats]:
        late = self._late(streams, np.array([float(_load(logit))]))
        return float(self._excess(late.mean())), late

    def bootstrap(
        self,
        streams: Streams,
        load: float,
        slope: float,
        resamples: int,
        rng: np.random.Generator,
    ) -> float:
        """Return the relative spread of the capacity over resampled service times."""
        drawn = [self.service.table(self.service.resample(rng)) for _ in range(resamples)]
        tables = np.array([self.table, *drawn])
        levels = self._resample_levels(resamples, rng)
        logit = np.full(len(tables), float(_logit(load)))
        for _ in range(2):
            excess = self._excess(self._late(streams, _load(logit), tables, levels).mean(axis=1))
            logit = logit - np.clip(excess / slope, -1.0, 1.0)
        qps = _load(logit) / tables.mean(axis=1)
        # Half the central 68 %: one resample with huge service times could make any spread.
        below, above = np.percentile(np.log(qps[1:] / qps[0]), [15.87, 84.13])
        spread = float(above - below) / 2
        return spread * (_RUNS_WIDER if self.service.block > 1 else 1.0)

    def _resample_levels(self, resamples: int, rng: np.random.Generator) -> Levels:
        """The mean of each batch size is known from its own batches only; the first stays."""
        levels = self.service.levels
        if self.queue.batch_size == 1:
            return levels
        luck = rng.standard_normal((len(levels.by_size), resamples + 1))
        luck[:, 0] = 0.0
        moved = levels.by_size[:, None] * np.exp(self.service.level_error[:, None] * luck)
        return replace(levels, by_size=moved)

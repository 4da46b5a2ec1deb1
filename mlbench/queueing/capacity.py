"""The highest rate at which a queue meets a latency bound, and how well it is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.outcomes import Constraint
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.poisson import PoissonQueue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.streams import Streams
from mlbench.records import ArrivalKind

_SCAN = np.array(
    [0.9999, 0.99, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003]
)
_MAX_LOGIT = 13.0  # a load of almost 1; its negative, of almost 0
_WIDTH = 0.05  # of the last bracket, in logits
_POINTS = 4  # of a bracket that are tried at once
_LIGHT = 0.8  # load
_ROUNDS, _GRID = 3, 12  # of narrowing a bracket to a cell of a grid
_FLOOR = 0.01  # of the allowed late fraction, added to keep logarithms finite
_FINEST = 5e-4  # relative error; clocks, rounding and the formula's lattice allow no less
_MORE = 3  # times the replicas for the last, small step than for the way there
_FLATTEST = 0.1  # slope of the excess
_STEEPEST = 2.0  # slope of a control variate
_BOUND = 2048  # queries of each stream on which the cost of binding them is measured
_NO_COST = 0.01  # coefficient of variation; the dispatcher knows so steady service times exactly


@dataclass(frozen=True)
class Capacity:
    """The highest rate that meets the bound; 0 when none does.

    `error`: relative standard error, of the sampled service times and of the simulation together.
    """

    qps: float
    error: float


@dataclass(frozen=True)
class Effort:
    """How much to spend: 3 x `replicas` x 16,384 simulated queries, and resamples for the error.

    `bound`: whether queries are bound to servers when due, as the engine must, or wait in one line.
    """

    resamples: int = 0
    replicas: int = 64
    bound: bool = True


EFFORT = Effort()


def predict_capacity(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind,
    constraint: Constraint,
    *,
    seed: int = 0,
    near_qps: float = 0.0,
    effort: Effort = EFFORT,
) -> Capacity:
    """Return the highest rate at which the percentile of the latency meets the bound.

    With `near_qps` the rate is looked for around that one, which is quicker; otherwise everywhere.

    By formula for one server, Poisson arrivals and independent service times; otherwise by
    simulation. With resamples the error covers the sampling of the service times (block
    bootstrap), otherwise only the simulation's own.
    """
    replicas, resamples = effort.replicas, effort.resamples
    rng = np.random.default_rng([seed, 2])
    drawn = [service, *(service.resample(rng) for _ in range(resamples))]
    if queue.servers == queue.batch_size == service.block == 1 and kind == "exponential":
        return _calculated(drawn, constraint)
    solver = _Solver(queue, service, constraint)
    near = near_qps / solver.saturated_qps
    bracket = _around(near) if 0 < near < 1 else solver.scan(Streams(kind, 4096, 16, seed))
    if bracket is None:
        return Capacity(0.0, 0.0)
    # The fuller the queue, the longer it takes to settle: as 1 / (1 - load)^2.
    length, wide = (4096, 4) if bracket[1] <= _LIGHT else (16384, 1)
    fewer = Streams(kind, length, wide * replicas // 2, seed + 1)
    refined = solver.refine(fewer, bracket)
    if refined is None:
        return Capacity(0.0, 0.0)
    logit, slope = refined
    streams = Streams(kind, length, _MORE * wide * replicas, seed + 3)
    load, noise, beyond = solver.polish(streams, logit, slope)
    differ = service.ratio.std() > _NO_COST or not service.levels.alike
    if queue.servers > 1 and effort.bound and differ:
        few = Streams(kind, _BOUND, 4 * replicas, seed + 4)
        bound = solver.bind(fewer, beyond, few, _around(near if 0 < near < 1 else load))
        if bound is None:
            return Capacity(0.0, 0.0)
        load, more = bound
        noise = math.hypot(noise, more)
    spread = 0.0
    if resamples:
        streams = Streams(kind, length // 2, 12 * wide, seed + 2)
        spread = solver.bootstrap(streams, load, slope, drawn) / service.shortfall
    return Capacity(solver.saturated_qps * load, math.hypot(_FINEST, noise, spread))


def _calculated(drawn: Sequence[ServiceTimes], constraint: Constraint) -> Capacity:
    """Solve the formula for the first of these service times; its error is the others' spread."""
    allowed, bound_s = 1 - constraint.percentile / 100, constraint.max_latency_s
    tables = np.array([one.table(one.ratio) * one.levels.by_size[1] for one in drawn])
    queue = PoissonQueue(tables[:1], bound_s, drawn[0].levels.idle_factor)
    saturated_qps = 1 / tables.mean(axis=1)
    loads = _SCAN
    for _ in range(_ROUNDS):
        excess = _excess(queue.late_fraction(loads * saturated_qps[0]), allowed)
        met = np.flatnonzero(excess <= 0)
        if len(met) == 0:
            return Capacity(0.0, 0.0)
        # From above: the bound may be met in patches.
        ends = np.array([max(int(met[0]), 1) - 1, max(int(met[0]), 1)])
        logits = _logit(loads[ends])
        loads = _load(np.linspace(logits[0], logits[1], _GRID))
    slope = float(np.diff(excess[ends])[0] / np.diff(logits)[0])
    logit = float(np.clip(logits[0] - excess[ends[0]] / slope, logits[1], logits[0]))
    qps = float(_load(logit) * saturated_qps[0])
    if len(drawn) == 1:
        return Capacity(qps, _FINEST)
    queue = PoissonQueue(tables[1:], bound_s, drawn[0].levels.idle_factor)
    moved = np.full(len(drawn) - 1, logit)
    for _ in range(2):
        late = queue.late_fraction(_load(moved) * saturated_qps[1:])
        moved = _step(moved, _excess(late, allowed), slope)
    return Capacity(qps, math.hypot(_FINEST, _spread(_load(moved) * saturated_qps[1:])))


def _logit(load: Floats | float) -> Floats:
    return np.asarray(np.log(load) - np.log1p(-np.asarray(load)))


def _load(logit: Floats | float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))))


def _around(load: float) -> tuple[float, float]:
    """Return a bracket around a load that is already known well."""
    logit, reach = float(_logit(load)), _WIDTH * (_POINTS - 1) / 2
    return float(_load(logit - reach)), float(_load(logit + reach))


def _excess(late: Floats, allowed: float) -> Floats:
    """Log of the late fraction over the allowed one, finite when nothing is late."""
    floor = allowed * _FLOOR
    return np.asarray(np.log((np.maximum(late, 0.0) + floor) / (allowed + floor)))


def _step(logit: Floats, excess: Floats, slope: float) -> Floats:
    """Move towards where the excess is 0, by Newton's method with a fixed slope."""
    return np.clip(logit - np.clip(excess / slope, -1.0, 1.0), -_MAX_LOGIT, _MAX_LOGIT)


def _spread(qps: Floats) -> float:
    """Standard deviation of log rates; none counts as more than 3 from the middle of them."""
    logs = np.log(qps)
    below, middle, above = np.percentile(logs, [15.87, 50, 84.13])
    reach = 1.5 * (above - below)
    return float(np.clip(logs, middle - reach, middle + reach).std())


def _crossing(
    excess: Callable[[Floats], Floats], bracket: tuple[float, float]
) -> tuple[float, float] | None:
    """Return where the excess, a function of logits, crosses 0 for the last time, and its slope.

    `bracket`: two loads, between which that should be; several at once are hardly slower than one.
    None when the excess is positive from the lowest load on.
    """
    low, high = (float(_logit(load)) for load in bracket)
    while True:
        logits = np.linspace(low, high, _POINTS)
        values = excess(logits)
        met = np.flatnonzero(values <= 0)
        if len(met) == 0:
            if low <= -_MAX_LOGIT:
                return None
            low, high = low - 2 * (high - low), low
        elif met[-1] == _POINTS - 1:
            if high >= _MAX_LOGIT:
                return high, _FLATTEST
            low, high = high, high + 2 * (high - low)
        else:
            low, high = logits[met[-1] : met[-1] + 2]
            under, over = values[met[-1] : met[-1] + 2]
            if high - low < 1.01 * _WIDTH:
                slope = max(float(over - under) / (high - low), _FLATTEST)
                return float(high - over / slope), slope


def _regression(of: Floats, on: Floats) -> Floats:
    """Return the slopes, row by row, of one variate on another; 1 where that does not vary."""
    centred = on - on.mean(axis=1, keepdims=True)
    variance = (centred**2).sum(axis=1)
    covariance = (centred * of).sum(axis=1)
    slopes = np.divide(covariance, variance, out=np.ones(len(of)), where=variance > 0)
    return np.asarray(np.clip(slopes, 0.0, _STEEPEST))


class _Solver:
    """Finds by simulation where the late fraction crosses what the percentile allows.

    Works in the logit of the load (the rate over the saturated one), in which the logarithm of
    the late fraction is nearly straight from an idle queue to a full one.
    """

    def __init__(self, queue: Queue, service: ServiceTimes, constraint: Constraint) -> None:
        self.queue, self.service = queue, service
        self.bound_s = constraint.max_latency_s
        self.allowed = 1 - constraint.percentile / 100
        self.saturated_qps = service.saturated_qps(queue)

    def _late(self, streams: Streams, load: Floats, ratios: Floats) -> Floats:
        levels = [self.service.levels] * len(load)
        return streams.late_fraction(
            self.queue, levels, load * self.saturated_qps, ratios[:, None], self.bound_s
        )

    def scan(self, streams: Streams) -> tuple[float, float] | None:
        """Bracket the highest load that meets the bound, from above: it may be met in patches."""
        late = self._late(streams, _SCAN, streams.draw(self.service)).mean(axis=1)
        met = np.flatnonzero(late <= self.allowed)
        if len(met) == 0:
            return None
        best = int(met[0])
        return (_SCAN[best], _SCAN[best - 1] if best else 1 - 1e-6)

    def refine(self, streams: Streams, bracket: tuple[float, float]) -> tuple[float, float] | None:
        """Return the load in logits and the slope of the excess there.

        None when even an idle device is late more often than allowed.
        """
        ratios = streams.draw(self.service)
        return _crossing(lambda logits: self._at(streams, ratios, logits), bracket)

    def polish(self, streams: Streams, logit: float, slope: float) -> tuple[float, float, float]:
        """Take a last step on more streams; returns the load, its relative error, the excess.

        The excess is that at the logit given, where on the streams that gave it there was none.
        """
        late = self._late(streams, _load(np.array([logit])), streams.draw(self.service))
        excess = float(_excess(late.mean(), self.allowed))
        load = float(_load(min(logit - excess / slope, _MAX_LOGIT)))
        error = float(late.std()) / math.sqrt(late.size) / self.allowed
        return load, min(error / slope, 1.0) * (1 - load), excess

    def bind(
        self, streams: Streams, beyond: float, few: Streams, bracket: tuple[float, float]
    ) -> tuple[float, float] | None:
        """Return the load at which queries bound to servers when due meet the bound, its error.

        Binding is slow to play, so a few queries must do. One line with the same queries is the
        control variate: more `streams`, and the excess `beyond` them, tell its late fraction. None
        as for `refine`.
        """
        many, ratios = streams.draw(self.service), few.draw(self.service)
        noise = 0.0

        def excess(logits: Floats) -> Floats:
            nonlocal noise
            load = _load(logits)
            line = self._late(streams, load, many).mean(axis=1) * math.exp(beyond)
            alike = self._late(few, load, ratios)
            real = few.bound_late_fraction(
                self.queue, self.service.levels, load * self.saturated_qps, ratios, self.bound_s
            )
            share = _regression(real, alike)
            rest = real - share[:, None] * alike
            noise = float(rest[_POINTS // 2].std()) / math.sqrt(rest.shape[1])
            return _excess(rest.mean(axis=1) + share * line, self.allowed)

        found = _crossing(excess, bracket)
        if found is None:
            return None
        logit, slope = found
        load = float(_load(logit))
        return load, min(noise / self.allowed / slope, 1.0) * (1 - load)

    def _at(self, streams: Streams, ratios: Floats, logits: Floats) -> Floats:
        late = self._late(streams, _load(logits), ratios)
        return _excess(late.mean(axis=1), self.allowed)

    def bootstrap(
        self, streams: Streams, load: float, slope: float, drawn: Sequence[ServiceTimes]
    ) -> float:
        """Return the relative spread of the capacity over resampled service times."""
        ratios = np.stack([streams.draw(one) for one in drawn], axis=1)
        levels = [one.levels for one in drawn]
        saturated_qps = np.array([one.saturated_qps(self.queue) for one in drawn])
        logit = np.full(len(drawn), float(_logit(load)))
        for _ in range(2):
            late = streams.late_fraction(
                self.queue, levels, _load(logit) * saturated_qps, ratios, self.bound_s
            )
            logit = _step(logit, _excess(late.mean(axis=1), self.allowed), slope)
        return _spread(_load(logit[1:]) * saturated_qps[1:])

"""The highest rate at which a queue meets a latency limit, and how well it is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import arrival_kind
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.crossing import SCAN, around, excess_of, load_of, logit_of, newton_step
from mlbench.queueing.line import Queue
from mlbench.queueing.poisson import PoissonQueue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.simulation import Simulation, spread_of
from mlbench.queueing.streams import Streams

_LIGHT = 0.8  # load
_ROUNDS, _GRID = 3, 12  # of narrowing a bracket to a cell of a grid
_FINEST = 5e-4  # relative error; clocks, rounding and the formula's lattice allow no less
_MORE = 3  # times the replicas for the last, small step than for the way there
_ENOUGH, _SMALL = 1e-3, 0.25  # relative errors of a simulation: good enough; of that of the times


@dataclass(frozen=True)
class Capacity:
    """The highest rate that meets the limit; 0 when none does.

    `error`: relative standard error, of the sampled service times and of the simulation together.
    """

    qps: float
    error: float


@dataclass(frozen=True)
class Effort:
    """How much to spend: simulated queries for the capacity, and resamples for its error.

    3 x `replicas` x 16,384 queries are played, up to `rounds` times, until the simulation's own
    error is the smaller.
    """

    resamples: int = 0
    replicas: int = 64
    rounds: int = 1


EFFORT = Effort()


def predict_capacity(
    queue: Queue,
    service: ServiceTimes,
    kind: ArrivalKind | str,
    limit: LatencyLimit,
    *,
    seed: int = 0,
    near_qps: float = 0.0,
    effort: Effort = EFFORT,
) -> Capacity:
    """Return the highest rate at which the percentile of the latency meets the limit.

    `kind`: how queries arrive; a name stands for the kind of that name with default settings. With
    `near_qps` the rate is looked for around that one, which is quicker; otherwise everywhere.

    By formula for one server, Poisson arrivals and independent service times; otherwise by
    simulation. With resamples the error covers the sampling of the service times (block
    bootstrap), otherwise only the simulation's own.
    """
    kind, rng = arrival_kind(kind), np.random.default_rng([seed, 2])
    drawn = [service, *(service.resample(rng) for _ in range(effort.resamples))]
    if queue.servers == queue.batch_size == service.block == 1 and kind.poisson:
        return _calculated(drawn, limit)
    return _simulated(Simulation(queue, service, limit), kind, drawn, seed, near_qps, effort)


def _simulated(
    simulation: Simulation,
    kind: ArrivalKind,
    drawn: Sequence[ServiceTimes],
    seed: int,
    near_qps: float,
    effort: Effort,
) -> Capacity:
    """Find it roughly on a few streams, then exactly on many; its error is also the others'."""
    near = near_qps / simulation.saturated_qps
    bracket = around(near) if 0 < near < 1 else simulation.scan(Streams(kind, 4096, 16, seed))
    if bracket is None:
        return Capacity(0.0, 0.0)
    # The fuller the queue, the longer it takes to settle: as 1 / (1 - load)^2.
    length, wide = (4096, 4) if bracket[1] <= _LIGHT else (16384, 1)
    replicas = wide * effort.replicas
    fewer = Streams(kind, length, replicas // 2, seed + 1)
    crossing = simulation.refine(fewer, bracket)
    if crossing is None:
        return Capacity(0.0, 0.0)
    spread = 0.0
    if len(drawn) > 1:
        some = Streams(kind, length // 2, 12 * wide, seed + 2)
        spread = simulation.bootstrap(some, crossing, drawn[1:]) / drawn[0].shortfall
    many = (Streams(kind, length, _MORE * replicas, seed + 5 + i) for i in range(effort.rounds))
    load, noise = simulation.polish(many, crossing, max(_ENOUGH, _SMALL * spread))
    return Capacity(simulation.saturated_qps * load, math.hypot(_FINEST, noise, spread))


def _calculated(drawn: Sequence[ServiceTimes], limit: LatencyLimit) -> Capacity:
    """Solve the formula for the first of these service times; its error is the others' spread."""
    allowed, max_latency_s = 1 - limit.percentile / 100, limit.max_latency_s
    tables = np.array([one.table(one.ratio) * one.levels.by_size[1] for one in drawn])
    queue = PoissonQueue(tables[:1], max_latency_s, drawn[0].levels.idle_factor)
    saturated_qps = 1 / tables.mean(axis=1)
    loads = SCAN
    for _ in range(_ROUNDS):
        excess = excess_of(queue.late_fraction(loads * saturated_qps[0]), allowed)
        met = np.flatnonzero(excess <= 0)
        if len(met) == 0:
            return Capacity(0.0, 0.0)
        # From above: the limit may be met in patches.
        ends = np.array([max(int(met[0]), 1) - 1, max(int(met[0]), 1)])
        logits = logit_of(loads[ends])
        loads = load_of(np.linspace(logits[0], logits[1], _GRID))
    slope = float(np.diff(excess[ends])[0] / np.diff(logits)[0])
    logit = float(np.clip(logits[0] - excess[ends[0]] / slope, logits[1], logits[0]))
    qps = float(load_of(logit) * saturated_qps[0])
    if len(drawn) == 1:
        return Capacity(qps, _FINEST)
    queue = PoissonQueue(tables[1:], max_latency_s, drawn[0].levels.idle_factor)
    moved = np.full(len(drawn) - 1, logit)
    for _ in range(2):
        late = queue.late_fraction(load_of(moved) * saturated_qps[1:])
        moved = newton_step(moved, excess_of(late, allowed), slope)
    return Capacity(qps, math.hypot(_FINEST, spread_of(load_of(moved) * saturated_qps[1:])))

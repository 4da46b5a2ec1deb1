"""The highest rate at which a queue meets a latency limit, and the standard error of that rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import arrival_kind
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.crossing import (
    SCAN,
    Crossing,
    bracket_around,
    load_of,
    log_excess,
    logit_of,
    newton_step,
)
from mlbench.queueing.line import Queue
from mlbench.queueing.poisson import PoissonQueue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.simulation import BOOTSTRAP_STEPS, Simulation, robust_log_sd
from mlbench.queueing.streams import Streams

_SHORT, _LONG = (4096, 4), (16384, 1)
"""The length of streams, and how many times as many of them, below and above a load of _LIGHT. A
queue settles within about 1 / (1 - load)^2 services (the relaxation time of M/M/1: Cohen, The
Single Server Queue (1982)). The warm-up of a short stream is 512 queries, 20 such times at a load
of 0.8; that of a long one is 2,048, which is 20 at a load of 0.9."""
_LIGHT = 0.8
_SCAN_REPLICAS, _BOOTSTRAP_REPLICAS = 16, 12  # 65,536 and about 98,000 queries for each evaluation
_FINAL_SHARE = 3  # the last step has three times the replicas of the root search, which starts it
_ROUNDS, _GRID = 3, 12
"""Grids that narrow the bracket of the formula. After SCAN two of 11 cells each leave at most 0.04
logits, over which the log excess is a straight line."""
_LEAST_ERROR = 5e-4
"""Relative; stands for the rounding of clocks and the lattice of the formula (1e-4). With it the
interval of M/D/1 is +- 0.1 % and covers the truth always (`docs/study_search.md`)."""
_EXACT = 1e-3  # relative error of a simulation that is small beside what queries in reach can tell
_SMALL_SHARE = 0.25  # of the service times' error; in quadrature it adds 3 % to that


@dataclass(frozen=True)
class Capacity:
    """The highest rate that meets a limit, in queries per second.

    `error`: its relative standard error, from the sampled service times and the simulation.
    """

    qps: float
    error: float


@dataclass(frozen=True)
class Effort:
    """The computing time to spend on a prediction.

    `resamples`: bootstrap resamples of the service times, for the error of the capacity. The last
    step simulates 3 x `replicas` x 16,384 queries, up to `rounds` times, until the error of the
    simulation is small.
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
    near_qps: float | None = None,
    effort: Effort = EFFORT,
) -> Capacity | None:
    """Return the highest rate at which the latency's percentile is within the limit.

    None when no rate meets the limit. `kind`: how queries arrive; a name stands for the kind of
    that name with default settings, and ValueError is raised for an unknown one. `near_qps`: a
    rate near which to search, which is quicker than everywhere.

    One server with Poisson arrivals, batches of one and independent service times is solved by
    formula (`PoissonQueue`), everything else by simulation. The error has a part for the sampling
    of the service times only when `effort` asks for resamples (block bootstrap).
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
    near_qps: float | None,
    effort: Effort,
) -> Capacity | None:
    """Find the capacity of the first service times; the others tell its error."""
    near = (near_qps or 0.0) / simulation.saturated_qps
    if 0 < near < 1:
        bracket = bracket_around(near)
    else:
        scanned = simulation.scan(Streams(kind, _SHORT[0], _SCAN_REPLICAS, seed))
        if scanned is None:
            return None
        bracket = scanned
    length, factor = _SHORT if bracket[1] <= _LIGHT else _LONG
    replicas = factor * effort.replicas
    crossing = simulation.find_crossing(Streams(kind, length, replicas // 2, seed + 1), bracket)
    if crossing is None:
        return None
    spread = 0.0
    if len(drawn) > 1:
        some = Streams(kind, length // 2, _BOOTSTRAP_REPLICAS * factor, seed + 2)
        spread = simulation.bootstrap_sd(some, crossing, drawn[1:]) / drawn[0].bootstrap_shrinkage
    many = (
        Streams(kind, length, _FINAL_SHARE * replicas, seed + 5 + i) for i in range(effort.rounds)
    )
    load, noise = simulation.final_step(many, crossing, max(_EXACT, _SMALL_SHARE * spread))
    return Capacity(simulation.saturated_qps * load, math.hypot(_LEAST_ERROR, noise, spread))


def _calculated(drawn: Sequence[ServiceTimes], limit: LatencyLimit) -> Capacity | None:
    """Solve the formula for the first service times; the others tell the error."""
    allowed = 1 - limit.percentile / 100
    seconds = np.array([one.quantiles() * one.mean_times.by_size_s[1] for one in drawn])
    idle_factor = drawn[0].mean_times.idle_factor
    saturated_qps = 1 / seconds.mean(axis=1)
    queue = PoissonQueue(seconds[:1], limit.max_latency_s, idle_factor)
    crossing = _formula_crossing(queue, float(saturated_qps[0]), allowed)
    if crossing is None:
        return None
    qps = float(load_of(crossing.logit) * saturated_qps[0])
    if len(drawn) == 1:
        return Capacity(qps, _LEAST_ERROR)
    queue = PoissonQueue(seconds[1:], limit.max_latency_s, idle_factor)
    logits = np.full(len(drawn) - 1, crossing.logit)
    for _ in range(BOOTSTRAP_STEPS):
        late = queue.late_fraction(load_of(logits) * saturated_qps[1:])
        logits = newton_step(logits, log_excess(late, allowed), crossing.slope)
    spread = robust_log_sd(load_of(logits) * saturated_qps[1:])
    return Capacity(qps, math.hypot(_LEAST_ERROR, spread))


def _formula_crossing(queue: PoissonQueue, saturated_qps: float, allowed: float) -> Crossing | None:
    """Return the highest load that just meets the limit; None where no load meets it."""
    loads = SCAN
    for _ in range(_ROUNDS):
        excess = log_excess(queue.late_fraction(loads * saturated_qps), allowed)
        met = np.flatnonzero(excess <= 0)
        if len(met) == 0:
            return None
        highest = max(int(met[0]), 1)  # loads descend; two of them are needed for a slope
        ends = np.array([highest - 1, highest])
        logits = logit_of(loads[ends])
        loads = load_of(np.linspace(logits[0], logits[1], _GRID))
    slope = float(np.diff(excess[ends])[0] / np.diff(logits)[0])
    logit = float(np.clip(logits[0] - excess[ends[0]] / slope, logits[1], logits[0]))
    return Crossing(logit, slope)

"""The estimate of a capacity from all trials of a search.

    trials --> service times, their level at the rate --> queue model --> capacity --> estimate
       |                      ^                              ^               |
       +--> discrepancy ------|------------------------------+               |
                              +------------ the rate ------------------------+

The level of the service times and the discrepancy depend on the rate, which is what is looked for:
so the capacity is found again at each rate it gives, until it stays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.contracts.findings import Finding
from mlbench.estimation.discrepancy import Discrepancy, discrepancy
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.learning import Learnt
from mlbench.estimation.observation import Observation
from mlbench.estimation.speed import Forecast
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Capacity, Effort, predict_capacity, rough_capacity_qps
from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.stats.intervals import NORMAL95
from mlbench.stats.percentiles import percentile

_ROUGH, _THOROUGH = Effort(16, 2, 16), Effort(48, 8, 32)
_SETTLED = 0.01  # of ln(rate) by which the last round may still have moved
_NEARBY = 0.1  # of ln(rate) to both sides, between which service times may change with the rate
_LEAST_FEEDBACK, _MOST_FEEDBACK = -1.0, 0.8  # so that errors are halved or five times as large
_ROUNDS = 7  # halve an interval between two rates to a hundredth
_NEAR_SATURATION = 0.97  # of the saturated rate, above which a queue does not settle in a trial
_DRAWS = 4_000  # of the errors together; give an end of the interval to 3 % of its half-width
_DOF = 30.0  # of the bootstrap's error, Student's t: it is told by about so many resamples
_FURTHEST = 2.0  # of ln(capacity), where all is possible
_SURE = 2.0  # standard deviations, to say that no rate meets the limit
_REMARKABLE, _MISFIT = 0.02, 0.15
"""Discrepancy that is told, and from which the model is said not to fit."""
_IDLE_REMARKABLE, _UNLIKE_REMARKABLE, _TRIALS_REMARKABLE = 0.02, 1.05, 0.01
"""What else is told: an idle factor above 1.02, workers that differ by 5 %, and a level of the next
trial that is less certain by 1 % than the number of service times explains."""


@dataclass(frozen=True)
class _Known:
    """What is known at one rate: service times at level 0, their level, and the discrepancy."""

    service: ServiceTimes
    level: Forecast
    gap: Discrepancy


def estimate(
    observations: Sequence[Observation],
    learnt: Learnt,
    question: Question,
    known_qps: float | None,
    guess_qps: float,
) -> Estimate:
    """Estimate the highest rate that answers the question.

    `learnt`: what the observations say about service times. The rate is looked for near
    `known_qps`, an earlier estimate, or from `guess_qps` on where that is None.
    """
    log_qps = _settled(observations, learnt, question, math.log(known_qps or guess_qps))
    known = _known_at(observations, learnt, question, log_qps)
    capacity = predict_capacity(
        question.queue,
        known.service.slower(math.exp(known.level.mean)),
        question.kind,
        _limit_less(question.limit, known.gap.mean),
        seed=question.seed,
        near_qps=math.exp(log_qps),
        effort=_THOROUGH if question.thorough else _ROUGH,
    )
    none = Estimate(
        qps=None,
        low=0.0,
        high=0.0,
        error=0.0,
        unloaded_s=_unloaded_s(known, question),
        gap=known.gap,
        findings=_findings(known, learnt, question.queue),
    )
    if capacity is None:
        return replace(none, high=_still_possible_qps(known, question))
    feedback = _feedback(learnt, question, log_qps, known.gap.mean)
    moved = _errors(known, capacity, feedback, learnt, question)
    below, above = np.quantile(moved, [0.025, 0.975])
    return replace(
        none,
        qps=capacity.qps,
        low=0.0 if _may_be_unmet(known, question) else capacity.qps * math.exp(below),
        high=capacity.qps * math.exp(above),
        error=float(above - below) / (2 * NORMAL95),
        capacity=capacity,
        feedback=feedback,
    )


def _settled(
    observations: Sequence[Observation], learnt: Learnt, question: Question, log_qps: float
) -> float:
    """Return ln of the rate at which the capacity is that rate, from a first guess on."""
    low, high = -math.inf, math.inf
    for _ in range(_ROUNDS):
        known = _known_at(observations, learnt, question, log_qps)
        capacity_qps = _rough_qps(
            known.service, known.level.mean, question, known.gap.mean, math.exp(log_qps)
        )
        if capacity_qps is None:
            return log_qps
        moved = math.log(capacity_qps) - log_qps
        low, high = (log_qps, high) if moved > 0 else (low, log_qps)
        log_qps += moved
        if not low <= log_qps <= high:  # the level jumps between these rates
            log_qps = (low + high) / 2
        if abs(moved) < _SETTLED:
            break
    return log_qps


def _feedback(learnt: Learnt, question: Question, log_qps: float, gap: float) -> float:
    """Return by how much ln(capacity) grows with ln(rate), for service times depend on the rate.

    What is wrong with the capacity at one rate moves the rate at which both agree by a factor of
    1 / (1 - feedback).
    """
    found = []
    for side in (-_NEARBY, _NEARBY):
        qps = math.exp(log_qps + side)
        service, level = learnt.service_at(qps), learnt.speed.forecast(qps).mean
        capacity_qps = _rough_qps(service, level, question, gap, math.exp(log_qps))
        if capacity_qps is None:
            return 0.0
        found.append(math.log(capacity_qps))
    return min(max((found[1] - found[0]) / (2 * _NEARBY), _LEAST_FEEDBACK), _MOST_FEEDBACK)


def _known_at(
    observations: Sequence[Observation], learnt: Learnt, question: Question, log_qps: float
) -> _Known:
    qps = math.exp(log_qps)
    service, level = learnt.service_at(qps), learnt.speed.forecast(qps)
    most_qps = _NEAR_SATURATION * service.saturated_qps(question.queue) * math.exp(-level.mean)
    same = [
        (number, seen)
        for number, seen in enumerate(observations)
        if not seen.saturated and seen.trial.request.kind == question.kind and seen.qps < most_qps
    ]
    gap = discrepancy(same, learnt, question.queue, question.limit, qps, question.seed)
    return _Known(service, level, gap)


def _limit_less(limit: LatencyLimit, gap: float) -> LatencyLimit:
    """Return the limit for the model, whose latencies are shorter by the factor exp(-gap)."""
    return replace(limit, max_latency_s=limit.max_latency_s * math.exp(-gap))


def _rough_qps(
    service: ServiceTimes, level: float, question: Question, gap: float, near_qps: float | None
) -> float | None:
    """Return the model's capacity, roughly."""
    return rough_capacity_qps(
        question.queue,
        service.slower(math.exp(level)),
        question.kind,
        _limit_less(question.limit, gap),
        seed=question.seed,
        near_qps=near_qps,
        replicas=_ROUGH.replicas,
    )


def _errors(
    known: _Known, capacity: Capacity, feedback: float, learnt: Learnt, question: Question
) -> Floats:
    """Draw the errors of ln(capacity), float64 (draws,): all that is uncertain, together."""
    rng = np.random.default_rng([question.seed, 9])
    level = known.level.draw(rng, _DRAWS) - known.level.mean
    # The bootstrap in the capacity's error has this part of the level's variance already.
    sampled = learnt.sampling_variance(known.service)
    level *= math.sqrt(max(1 - sampled / max(known.level.variance, sampled, 1e-12), 0.0))
    gap = known.gap.draw(rng, _DRAWS) - known.gap.mean
    own = capacity.error * rng.standard_t(_DOF, _DRAWS)
    # Service times that are longer by a factor leave a limit that is shorter by it, and a rate.
    moved = own - (1 + capacity.elasticity) * level - capacity.elasticity * gap
    return np.clip(moved / (1 - feedback), -_FURTHEST, _FURTHEST)


def _unloaded_s(known: _Known, question: Question) -> float:
    """Return the limit's percentile of the latency on an idle device, in seconds."""
    unloaded_s = known.service.unloaded_s() * math.exp(known.level.mean + known.gap.mean)
    return percentile(unloaded_s, question.limit.percentile)


def _still_possible_qps(known: _Known, question: Question) -> float:
    """Return the rate that is possible where the estimate is that none meets the limit; or 0."""
    level = known.level.mean - _SURE * math.sqrt(known.level.variance)
    gap = known.gap.mean - _SURE * known.gap.sd
    return _rough_qps(known.service, level, question, gap, None) or 0.0


def _may_be_unmet(known: _Known, question: Question) -> bool:
    """Return whether even an idle device may be late too often."""
    error = math.hypot(math.sqrt(known.level.variance), known.gap.sd)
    slower = math.exp(known.level.mean + known.gap.mean + _SURE * error)
    late = known.service.unloaded_s() * slower > question.limit.max_latency_s
    return bool(late.mean() > 1 - question.limit.percentile / 100)


def _findings(known: _Known, learnt: Learnt, queue: Queue) -> tuple[Finding, ...]:
    """Return what is out of the ordinary in what an estimate rests on."""
    findings, means = [], learnt.mean_times
    change = float(means.idle_factors.max()) - 1
    if change > _IDLE_REMARKABLE:
        findings.append(Finding("slower_after_idling", {"change_fraction": change}))
    ratio = float(means.slowdown.max() / means.slowdown.min())
    if ratio > _UNLIKE_REMARKABLE:
        findings.append(Finding("unlike_workers", {"ratio": ratio}))
    findings += _unlike_hosts(means, queue)
    more = known.level.variance - learnt.sampling_variance(known.service)
    if more > _TRIALS_REMARKABLE**2:
        findings.append(Finding("trials_differ", {"scatter_fraction": math.sqrt(more)}))
    difference = {"difference_fraction": math.expm1(known.gap.mean)}
    if abs(known.gap.mean) > _MISFIT:
        findings.append(Finding("model_misfit", difference))
    elif abs(known.gap.mean) > _REMARKABLE:
        findings.append(Finding("model_corrected", difference))
    return tuple(findings)


def _unlike_hosts(means: MeanTimes, queue: Queue) -> list[Finding]:
    """Tell of hosts that differ: each gets as many queries, so that the slowest decides."""
    if queue.hosts == 1:
        return []
    each = np.broadcast_to(means.slowdown, queue.servers).reshape(queue.hosts, -1)
    speeds = (1 / each).sum(axis=1)
    ratio = float(speeds.max() / speeds.min())
    if ratio <= _UNLIKE_REMARKABLE:
        return []
    figures = {"ratio": ratio, "slowest": int(speeds.argmin()), "quickest": int(speeds.argmax())}
    return [Finding("unlike_hosts", figures)]

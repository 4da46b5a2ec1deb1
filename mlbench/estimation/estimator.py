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
from mlbench.queueing.capacity import Capacity, Effort, predict_capacity
from mlbench.queueing.service import ServiceTimes
from mlbench.stats.percentiles import percentile

_LIGHT, _ROUGH, _THOROUGH = Effort(16, 0, 0), Effort(16, 2, 16), Effort(48, 8, 32)
_SETTLED = 0.01  # of ln(rate) by which the last round may still have moved
_NEARBY = 0.1  # of ln(rate) to both sides, between which service times may change with the rate
_LEAST_FEEDBACK, _MOST_FEEDBACK = -1.0, 0.8  # so that errors are halved or five times as large
_ROUNDS = 7  # halve an interval between two rates to a hundredth
_NEAR_SATURATION = 0.97  # of the saturated rate, above which a queue does not settle in a trial
_DRAWS = 4_000  # of the errors together; give an end of the interval to 3 % of its half-width
_DOF = 30.0  # of the bootstrap's error, Student's t: it is told by about so many resamples
_NORMAL95 = 1.96  # standard deviations to both sides that hold 95 % of a normal distribution
_FURTHEST = 2.0  # of ln(capacity), where all is possible
_SURE = 2.0  # standard deviations, to say that no rate meets the limit
_REMARKABLE, _MISFIT = 0.02, 0.15
"""Discrepancy that is told, and from which the model is said not to fit."""
_IDLE_REMARKABLE, _UNLIKE_REMARKABLE, _TRIALS_REMARKABLE = 0.02, 1.05, 0.01
"""What else is told: an idle factor above 1.02, workers that differ by 5 %, and a level of the next
trial that is less certain by 1 % than the number of service times explains."""


@dataclass(frozen=True)
class _Round:
    """What is known at one rate."""

    service: ServiceTimes
    level: Forecast
    gap: Discrepancy
    capacity: Capacity | None


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
    effort = _THOROUGH if question.thorough else _ROUGH
    found = _at_rate(observations, learnt, question, log_qps, effort)
    if found.capacity is None:
        return _unmet(found, learnt, question)
    feedback = _feedback(learnt, question, log_qps, found.gap.mean)
    return _with_interval(found, found.capacity, feedback, learnt, question)


def _settled(
    observations: Sequence[Observation], learnt: Learnt, question: Question, log_qps: float
) -> float:
    """Return ln of the rate at which the capacity is that rate, from a first guess on."""
    low, high = -math.inf, math.inf
    for _ in range(_ROUNDS):
        capacity = _at_rate(observations, learnt, question, log_qps, _LIGHT).capacity
        if capacity is None:
            return log_qps
        moved = math.log(capacity.qps) - log_qps
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
        slower = learnt.service_at(qps).slower(math.exp(learnt.speed.forecast(qps).mean))
        capacity = _capacity(slower, question, gap, math.exp(log_qps), _LIGHT)
        if capacity is None:
            return 0.0
        found.append(math.log(capacity.qps))
    return min(max((found[1] - found[0]) / (2 * _NEARBY), _LEAST_FEEDBACK), _MOST_FEEDBACK)


def _at_rate(
    observations: Sequence[Observation],
    learnt: Learnt,
    question: Question,
    log_qps: float,
    effort: Effort,
) -> _Round:
    qps = math.exp(log_qps)
    service, level = learnt.service_at(qps), learnt.speed.forecast(qps)
    slower = service.slower(math.exp(level.mean))
    most_qps = _NEAR_SATURATION * slower.saturated_qps(question.queue)
    same = [
        (number, seen)
        for number, seen in enumerate(observations)
        if not seen.saturated and seen.trial.request.kind == question.kind and seen.qps < most_qps
    ]
    gap = discrepancy(same, learnt, question.queue, question.limit, qps, question.seed)
    return _Round(service, level, gap, _capacity(slower, question, gap.mean, qps, effort))


def _capacity(
    service: ServiceTimes, question: Question, gap: float, near_qps: float | None, effort: Effort
) -> Capacity | None:
    """Return the model's capacity; measured latencies are longer by the factor exp(gap)."""
    limit_s = question.limit.max_latency_s * math.exp(-gap)
    return predict_capacity(
        question.queue,
        service,
        question.kind,
        replace(question.limit, max_latency_s=limit_s),
        seed=question.seed,
        near_qps=near_qps,
        effort=effort,
    )


def _with_interval(
    found: _Round, capacity: Capacity, feedback: float, learnt: Learnt, question: Question
) -> Estimate:
    """Return the estimate, with all errors drawn together."""
    rng = np.random.default_rng([question.seed, 9])
    level = found.level.draw(rng, _DRAWS) - found.level.mean
    # The bootstrap in the capacity's error has this part of the level's variance already.
    sampled = learnt.sampling_variance(found.service)
    level *= math.sqrt(max(1 - sampled / max(found.level.variance, sampled, 1e-12), 0.0))
    gap = found.gap.draw(rng, _DRAWS) - found.gap.mean
    own = capacity.error * rng.standard_t(_DOF, _DRAWS)
    # Service times that are longer by a factor leave a limit that is shorter by it, and a rate.
    moved = own - (1 + capacity.elasticity) * level - capacity.elasticity * gap
    moved = np.clip(moved / (1 - feedback), -_FURTHEST, _FURTHEST)
    below, above = np.quantile(moved, [0.025, 0.975])
    unmet = _unmet(found, learnt, question, look_further=False)
    return replace(
        unmet,
        qps=capacity.qps,
        low=0.0 if _may_be_unmet(found, question) else capacity.qps * math.exp(below),
        high=capacity.qps * math.exp(above),
        error=float(above - below) / (2 * _NORMAL95),
        capacity=capacity,
    )


def _unmet(
    found: _Round, learnt: Learnt, question: Question, *, look_further: bool = True
) -> Estimate:
    """Return the estimate that no rate meets the limit, with the rate that is still possible."""
    unloaded_s = found.service.unloaded_s() * math.exp(found.level.mean + found.gap.mean)
    high = None
    if look_further:
        quicker = found.level.mean - _SURE * math.sqrt(found.level.variance)
        gap = found.gap.mean - _SURE * found.gap.sd
        high = _capacity(found.service.slower(math.exp(quicker)), question, gap, None, _ROUGH)
    return Estimate(
        qps=None,
        low=0.0,
        high=high.qps if high else 0.0,
        error=0.0,
        unloaded_s=percentile(unloaded_s, question.limit.percentile),
        findings=_findings(found, learnt),
    )


def _may_be_unmet(found: _Round, question: Question) -> bool:
    """Return whether even an idle device may be late too often."""
    error = math.hypot(math.sqrt(found.level.variance), found.gap.sd)
    slower = math.exp(found.level.mean + found.gap.mean + _SURE * error)
    late = found.service.unloaded_s() * slower > question.limit.max_latency_s
    return bool(late.mean() > 1 - question.limit.percentile / 100)


def _findings(found: _Round, learnt: Learnt) -> tuple[Finding, ...]:
    """Return what is out of the ordinary in what an estimate rests on."""
    findings, means = [], learnt.mean_times
    change = float(means.idle_factors.max()) - 1
    if change > _IDLE_REMARKABLE:
        findings.append(Finding("slower_after_idling", {"change_fraction": change}))
    ratio = float(means.slowdown.max() / means.slowdown.min())
    if ratio > _UNLIKE_REMARKABLE:
        findings.append(Finding("unlike_workers", {"ratio": ratio}))
    more = found.level.variance - learnt.sampling_variance(found.service)
    if more > _TRIALS_REMARKABLE**2:
        findings.append(Finding("trials_differ", {"scatter_fraction": math.sqrt(more)}))
    difference = {"difference_fraction": math.expm1(found.gap.mean)}
    if abs(found.gap.mean) > _MISFIT:
        findings.append(Finding("model_misfit", difference))
    elif abs(found.gap.mean) > _REMARKABLE:
        findings.append(Finding("model_corrected", difference))
    return tuple(findings)

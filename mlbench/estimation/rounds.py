"""What the trials of single rounds say of a capacity.

    ln(capacity of a round) = ln(capacity of all) - how much slower the device was in the round
                              + what the round's own service times, and latencies, add

The capacity of all is the estimate, from all trials. A round's few late queries alone would say
next to nothing; its hundreds of service times say a lot. So a round differs from the others by its
service times: by their level, and by the shape of their distribution. What does not differ, as the
arrivals of the simulation, is the same in all rounds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlbench.estimation.discrepancy import Discrepancy
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.learning import Learnt
from mlbench.queueing.capacity import Capacity, moved_by
from mlbench.queueing.line import Floats
from mlbench.queueing.service import ServiceTimes

_REPLICAS = 4  # 65,000 queries; a round differs from all by the same arrivals and ranks


def log_capacity_by_round(
    rounds: Sequence[int], learnt: Learnt, question: Question, known: Estimate
) -> dict[int, float]:
    """Return ln(capacity) by round; nothing where no rate meets the limit.

    `rounds`: the round of each trial in `learnt`, in the same order, whichever answer it was for.
    `known`: the estimate from all of them. The mean of all rounds is the estimate's capacity at the
    mean level of the rounds, and their scatter is the chance in it.
    """
    capacity, basis = known.capacity, known.basis
    if capacity is None or basis is None:
        return {}
    members = {number: _members(rounds, number) for number in sorted(set(rounds))}
    trials = list(members.values())
    service = learnt.service_at(capacity.qps)
    level = _levels(trials, learnt, capacity.qps) - basis.level
    shape = _centred(_shapes(trials, service, basis.level, basis.gap, question, capacity))
    gap = _centred(_gaps(trials, basis.gap)) if capacity.elasticity else np.zeros(len(trials))
    moved = shape - (1 + capacity.elasticity) * level - capacity.elasticity * gap
    by_round = np.log(capacity.qps) + moved / (1 - basis.feedback)
    return dict(zip(members, by_round.tolist(), strict=True))


def _members(rounds: Sequence[int], number: int) -> list[int]:
    return [trial for trial, own in enumerate(rounds) if own == number]


def _levels(trials: Sequence[list[int]], learnt: Learnt, qps: float) -> Floats:
    """Return the measured level of each round at this rate, float64 (rounds,).

    Each part of a trial tells it, less what the level owes to that trial's own rate; parts of
    trials at a like rate weigh more.
    """
    measured = learnt.measured
    weight = learnt.nearness(qps)[measured.trial] / measured.error**2
    level = measured.level + learnt.speed.change_to(qps)
    own = [np.isin(measured.trial, some) for some in trials]
    return np.array([np.average(level[these], weights=weight[these]) for these in own])


def _shapes(
    trials: Sequence[list[int]],
    service: ServiceTimes,
    level: float,
    gap: Discrepancy,
    question: Question,
    capacity: Capacity,
) -> Floats:
    """Return by how much ln(capacity) moves with the shape of each round's service times."""
    at_level = service.slower(float(np.exp(level)))
    limit = replace(
        question.limit, max_latency_s=question.limit.max_latency_s * float(np.exp(-gap.mean))
    )
    parts = [_part(at_level, some) for some in trials]
    return moved_by(
        question.queue,
        at_level,
        parts,
        question.kind,
        limit,
        capacity,
        seed=question.seed,
        replicas=_REPLICAS,
    )


def _part(service: ServiceTimes, trials: Sequence[int]) -> ServiceTimes:
    """Return the service times of some trials, with the mean of all."""
    own = np.isin(service.trial, trials)
    weight = service.weight[own] / service.weight[own].sum()
    ratio = service.ratio[own] / float(weight @ service.ratio[own])
    return replace(service, ratio=ratio, weight=weight, trial=service.trial[own])


def _gaps(trials: Sequence[list[int]], gap: Discrepancy) -> Floats:
    """Return what each round adds to the discrepancy, by leaving it out, float64 (rounds,).

    These are the jackknife's pseudo-values (Tukey, Ann. Math. Statist. 29 (1958), 614), less what
    they have in common.
    """
    without = np.array([gap.mean_without(some) for some in trials])
    return (len(trials) - 1) * (gap.mean - without)


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean())

"""What the trials of single rounds say of a capacity.

    ln(capacity of a round) = ln(capacity by all) - how much slower the device was in the round
                              + what the shape of its service times adds
                              - what its latencies add to the discrepancy

A round's few late queries alone would say next to nothing; its hundreds of service times say a lot.
So the capacity is the one from all trials, and a round is told from the others by what it adds. The
random numbers of the simulation are the same in all rounds and for whatever is compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.estimation.discrepancy import Discrepancy
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.learning import Learnt
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Capacity, Effort, moved_by, predict_capacity
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes

_SEED = 1  # of every simulation here, so that most of its error cancels in a ratio
_EFFORT = Effort(24, 8)  # of the reference: 3 million queries, 0.06 to 0.3 % of the capacity
_REPLICAS = 2  # 33,000 queries for what differs from the reference by the same random numbers
_FAR = 0.03  # of ln(rate) from the reference, from which first order is no longer good enough


@dataclass(frozen=True)
class _Reference:
    """A capacity from many simulated queries, from which others differ by little.

    `service`: the service times at the rate `qps`; `gap`: the discrepancy that `limit` has in it.
    """

    qps: float
    service: ServiceTimes
    gap: float
    limit: LatencyLimit
    capacity: Capacity


class ByRound:
    """Tells the capacity round by round for one arrival kind and one limit."""

    def __init__(self, queue: Queue, kind: ArrivalKind, limit: LatencyLimit) -> None:
        self._queue, self._kind, self._limit = queue, kind, limit
        self._reference: _Reference | None = None

    def __call__(self, rounds: Sequence[int], learnt: Learnt, known: Estimate) -> dict[int, float]:
        """Return ln(capacity) by round; nothing where no rate meets the limit.

        `rounds`: the round of each trial in `learnt`, in the same order, whichever answer it was
        for. `known`: an estimate from these trials, or from the first of them. The mean over the
        rounds is what all of them say, and their scatter tells its error.
        """
        if known.qps is None or known.gap is None:
            return {}
        members = {number: _members(rounds, number) for number in sorted(set(rounds))}
        trials = list(members.values())
        reference = self._reference_near(known.qps, known.gap, trials, learnt)
        if reference is None:
            return {}
        moved = self._moved(reference, trials, learnt, known.gap)
        log_qps = math.log(reference.qps)
        log_capacity = math.log(reference.capacity.qps) + moved
        # Service times may depend on the rate: the capacity is where both agree.
        settled = log_qps + (log_capacity - log_qps) / (1 - known.feedback)
        return dict(zip(members, settled.tolist(), strict=True))

    def _reference_near(
        self, qps: float, gap: Discrepancy, trials: Sequence[list[int]], learnt: Learnt
    ) -> _Reference | None:
        known = self._reference
        if known is not None and abs(math.log(qps / known.qps)) < _FAR:
            return known
        service = _service(learnt, qps, trials)
        limit = replace(self._limit, max_latency_s=self._limit.max_latency_s * math.exp(-gap.mean))
        capacity = predict_capacity(
            self._queue, service, self._kind, limit, seed=_SEED, near_qps=qps, effort=_EFFORT
        )
        found = None if capacity is None else _Reference(qps, service, gap.mean, limit, capacity)
        self._reference = found
        return found

    def _moved(
        self, reference: _Reference, trials: Sequence[list[int]], learnt: Learnt, gap: Discrepancy
    ) -> Floats:
        """Return by how much ln(capacity) of each round is above the reference's, (rounds,)."""
        service, capacity = _service(learnt, reference.qps, trials), reference.capacity
        by_all, *by_part = moved_by(
            self._queue,
            reference.service,
            [service, *(_part(service, some) for some in trials)],
            self._kind,
            reference.limit,
            capacity,
            seed=_SEED,
            replicas=_REPLICAS,
        )
        level = _centred(_levels(trials, learnt, reference.qps))
        exceeds = gap.mean - reference.gap + _centred(_gaps(trials, gap))
        elasticity = capacity.elasticity
        moved: Floats = by_all + _centred(by_part) - (1 + elasticity) * level - elasticity * exceeds
        return moved


def _members(rounds: Sequence[int], number: int) -> list[int]:
    return [trial for trial, own in enumerate(rounds) if own == number]


def _service(learnt: Learnt, qps: float, trials: Sequence[list[int]]) -> ServiceTimes:
    """Return the service times at a rate, at the mean level of all rounds."""
    level = float(_levels(trials, learnt, qps).mean())
    return learnt.service_at(qps).slower(math.exp(level))


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
    return (len(trials) - 1) * (gap.mean - gap.means_without(trials))


def _centred(values: Sequence[float] | Floats) -> Floats:
    return np.asarray(np.asarray(values) - np.mean(values))

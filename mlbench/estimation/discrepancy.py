"""By how much measured latencies exceed those of the queue model."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.estimation.learning import Learnt
from mlbench.estimation.observation import Observation
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.line import Floats, Queue, divided_latencies
from mlbench.queueing.service import ServiceTimes
from mlbench.stats.percentiles import percentile, rank

_REPLICAS = 24  # the error of their mean is 0.2 of their standard deviation, 2 % in quadrature
_ENOUGH = 10_000  # queries of a trial; more would make its comparison hardly more exact
_FEWEST = 30  # queries of a trial that is worth a comparison
_LEAST_ERROR = 0.004  # relative, of a percentile; clocks and the harness allow no less
_ALIKE, _PER_LOG = 0.05, 0.3
"""A trial further from the capacity, in ln(rate), says less of the discrepancy there: a standard
error of 3 % is added for each further 10 %."""
_SCALE, _DOF = 0.009, 3.0
"""Of the prior, Student's t: a queue model is usually right to a percent. Its tails leave what is
much larger almost alone; those of a normal distribution would shrink it away."""
_BETWEEN = np.array([0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
"""Standard deviations of the discrepancy between trials that are averaged over."""
_USUAL_BETWEEN, _NO_BETWEEN = 0.02, 0.3  # median of their half-Cauchy prior; the weight of none
_VALUES = np.concatenate([-np.geomspace(1.5, 5e-4, 800), [0.0], np.geomspace(5e-4, 1.5, 800)])
"""Discrepancies for which the posterior density is computed, up to a factor of 4.5. They are 1 % of
themselves apart, which is finer than any trials can tell."""


@dataclass(frozen=True)
class Discrepancy:
    """The distribution of ln(measured percentile / simulated one), of `weights` on `_VALUES`.

    `trials`: int64 (k,), the numbers of those compared; `found` and `errors`: float64 (k,), what
    each of them says, and its standard error.
    """

    weights: Floats
    trials: NDArray[np.int64]
    found: Floats
    errors: Floats

    @classmethod
    def told_by(cls, trials: Sequence[int], found: Floats, errors: Floats) -> "Discrepancy":
        """Return what trials of these numbers say."""
        return cls(posterior(found, errors), np.array(trials, np.int64), found, errors)

    @property
    def mean(self) -> float:
        """The expected discrepancy."""
        return float(self.weights @ _VALUES)

    @property
    def sd(self) -> float:
        """Its standard deviation."""
        return math.sqrt(float(self.weights @ (_VALUES - self.mean) ** 2))

    def means_without(self, groups: Sequence[Collection[int]]) -> Floats:
        """Return the expected discrepancy without each of these groups of trials, (groups,)."""
        terms = _terms(self.found, self.errors)
        together = terms.sum(axis=0)
        without = (together - terms[np.isin(self.trials, list(own))].sum(axis=0) for own in groups)
        return np.array([_weights(some) @ _VALUES for some in without])

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw discrepancies, float64 (n,)."""
        return rng.choice(_VALUES, n, p=self.weights)


def discrepancy(
    trials: Sequence[tuple[int, Observation]],
    learnt: Learnt,
    queue: Queue,
    limit: LatencyLimit,
    qps: float,
    seed: int,
) -> Discrepancy:
    """Return how measured percentiles compare with the model's near a rate.

    Each of the trials, with its number in `learnt`, is compared with simulations of its own
    arrivals at its own level: the simulated percentile is a control variate (Law, Simulation
    Modeling and Analysis (2015), section 11.4). What remains is chance in the service times, whose
    size the replicas show, and what the model lacks. That is always estimated, and never tested.
    """
    service = learnt.service_at(qps)
    compared, found, errors = [], [], []
    for number, whole in trials:
        seen = whole.first(_ENOUGH)
        if len(seen.due_s) < _FEWEST:
            continue
        rng = np.random.default_rng([seed, number])
        level = learnt.level_in(number, seen.log.begin_s + seen.due_s)
        simulated = _simulated(seen, service, level, queue, limit, rng)
        compared.append(number)
        found.append(math.log(percentile(seen.latency_s, limit.percentile)) - simulated.mean())
        away = max(abs(math.log(seen.qps / qps)) - _ALIKE, 0.0)
        chance = float(simulated.std(ddof=1)) * math.sqrt(1 + 1 / _REPLICAS)
        errors.append(math.hypot(chance, _LEAST_ERROR, _PER_LOG * away))
    return Discrepancy.told_by(compared, np.array(found), np.array(errors))


def _simulated(
    seen: Observation,
    service: ServiceTimes,
    level: Floats,
    queue: Queue,
    limit: LatencyLimit,
    rng: np.random.Generator,
) -> Floats:
    """Return ln(percentile) in replicas of a trial, with its arrivals and other service times."""
    n = len(seen.due_s)
    ratio = service.draw(rng, _REPLICAS, n) * np.exp(level)
    arrive_s = np.tile(seen.due_s, (_REPLICAS, 1))
    phase = rng.random((_REPLICAS, queue.servers))
    latency_s = divided_latencies(queue, service.mean_times, arrive_s, ratio, phase, seen.on_host)
    place = rank(n, limit.percentile) - 1
    return np.asarray(np.log(np.partition(latency_s, place, axis=1)[:, place]))


def posterior(found: Floats, errors: Floats) -> Floats:
    """Return the probability of each of `_VALUES`, given estimates and standard errors (n,)."""
    return _weights(_terms(found, errors).sum(axis=0))


def _terms(found: Floats, errors: Floats) -> Floats:
    """Return -2 ln(likelihood) that each trial gives, float64 (n, len(_BETWEEN), len(_VALUES))."""
    variance = errors[:, None] ** 2 + _BETWEEN**2
    squares = (found[:, None] - _VALUES) ** 2
    return np.asarray(squares[:, None, :] / variance[:, :, None] + np.log(variance)[:, :, None])


def _weights(terms: Floats) -> Floats:
    """Return the probability of each of `_VALUES`, given the sum of all trials' terms."""
    ratio = _BETWEEN / _USUAL_BETWEEN
    prior = np.where(_BETWEEN > 0, ratio / (1 + ratio**2), _NO_BETWEEN)
    log_prior = -(_DOF + 1) / 2 * np.log1p((_VALUES / _SCALE) ** 2 / _DOF)
    log_likelihood = np.log(prior)[:, None] - terms / 2
    density = log_prior + np.logaddexp.reduce(log_likelihood, axis=0)
    weights = np.exp(density - density.max()) * np.gradient(_VALUES)
    return np.asarray(weights / weights.sum())

"""The estimate by the queue model, from measured service times and measured latencies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.learning import NEAR, learn
from mlbench.estimation.observation import Observation, discrepancy
from mlbench.queueing.capacity import EFFORT, Capacity, Effort, predict_capacity
from mlbench.queueing.service import ServiceTimes
from mlbench.stats.pooling import Pooled

_ROUGH = Effort(resamples=16, replicas=24)
_THOROUGH = Effort(resamples=48, replicas=64, rounds=4)
"""A standard deviation from 48 resamples is known to 10 %, from 16 to 18 %: 1 / sqrt(2 (n - 1))."""
_LARGE_SD = 0.02  # between trials; beside it the error of a rough simulation does not matter
_WIDTH95 = 2.1
"""Standard errors of half a 95 % interval: 2.01 by Student's t for 48 resamples, and 4 % more as
resamples of 10,000 service times with a coefficient of variation of 1 differ by 4 % too little
(`docs/method.md`, "The interval")."""
_SETTLED = 0.03  # change of ln(rate) that changes service times little, as NEAR is 0.2
_PREDICTIONS = 4  # before the model is said to settle on no rate
_STABLE = 0.97  # load; above it a trial is too short for its queue to settle
_NOTABLE, _NOTABLE_SD = 0.02, 0.01  # relative; what is smaller is not worth a note


def predict_settled(
    observations: Sequence[Observation],
    question: Question,
    known_qps: float | None,
    guess_qps: float,
) -> tuple[Estimate, bool]:
    """Return the model's estimate, and whether predicting again at its rate changes it little.

    Service times may depend on the rate, so the prediction is repeated with those measured near the
    rate that it gave. `known_qps`: an earlier estimate, near which to search. `guess_qps`: where to
    begin without one.
    """
    logs = [seen.log for seen in observations]
    at_qps = guess_qps if known_qps is None else known_qps
    for _ in range(_PREDICTIONS):
        service = learn(logs, question.queue, at_qps)
        result = _predict(observations, service, question, known_qps, at_qps)
        if result.qps is None:
            return result, True
        moved = abs(math.log(result.qps / at_qps))
        if moved < _SETTLED or service.between_sd == 0.0:
            return result, True
        at_qps = known_qps = result.qps
    return result, moved < NEAR


def _predict(
    observations: Sequence[Observation],
    service: ServiceTimes,
    question: Question,
    known_qps: float | None,
    at_qps: float,
) -> Estimate:
    """Predict the capacity with given service times, and its interval."""
    stable_qps = _STABLE * service.saturated_qps(question.queue)
    near = [
        seen
        for seen in observations
        if not seen.saturated and abs(math.log(seen.qps / at_qps)) < NEAR and seen.qps < stable_qps
    ]
    percentile = question.limit.percentile
    correction = discrepancy(near, service, question.queue, percentile, question.seed)
    model = _CorrectedModel(question, service, correction)
    precise = question.thorough and service.between_sd < _LARGE_SD
    found = model.capacity(known_qps, _THOROUGH if precise else _ROUGH)
    unmet = model.unmet_estimate()
    unsure = _WIDTH95 * math.hypot(model.unloaded_error(), correction.error)
    if found is None:
        widened = model.capacity(log_factor=unsure)
        return replace(unmet, high=widened.qps if widened else 0.0)
    factor = math.exp(_WIDTH95 * model.error(found))
    may_be_unmet = unmet.unloaded_s * math.exp(unsure) > model.max_latency_s
    return replace(
        unmet,
        qps=found.qps,
        low=0.0 if may_be_unmet else found.qps / factor,
        high=found.qps * factor,
    )


@dataclass(frozen=True)
class _CorrectedModel:
    """The queue model for one question, corrected by a discrepancy of measured latencies.

    `correction`: ln(measured / simulated percentile). If the model's latencies are too short by a
    factor, it is asked for a limit that is shorter by this factor.
    """

    question: Question
    service: ServiceTimes
    correction: Pooled

    @property
    def max_latency_s(self) -> float:
        return self.question.limit.max_latency_s * math.exp(-self.correction.mean)

    def capacity(
        self,
        near_qps: float | None = None,
        effort: Effort = EFFORT,
        *,
        log_factor: float = 0.0,
        service: ServiceTimes | None = None,
    ) -> Capacity | None:
        """Predict it for a limit times exp(log_factor), or with other service times."""
        question = self.question
        return predict_capacity(
            question.queue,
            service or self.service,
            question.kind,
            replace(question.limit, max_latency_s=self.max_latency_s * math.exp(log_factor)),
            seed=question.seed,
            near_qps=near_qps,
            effort=effort,
        )

    def unmet_estimate(self) -> Estimate:
        """Return the estimate that no rate meets the limit."""
        unloaded_s = self.service.unloaded_s()
        return Estimate(
            qps=None,
            low=0.0,
            high=0.0,
            modelled=True,
            unloaded_s=self.service.unloaded_percentile_s(self.question.limit.percentile),
            unloaded_late=float((unloaded_s > self.max_latency_s).mean()),
            findings=_findings(self.service, self.correction.mean),
            drift=self.service.drift,
        )

    def unloaded_error(self) -> float:
        """Return the relative standard error of the percentile on an idle device."""
        rng = np.random.default_rng([self.question.seed, 5])
        return self.service.unloaded_error(self.question.limit.percentile, rng)

    def error(self, found: Capacity) -> float:
        """Return the relative standard error of a capacity: independent parts, in quadrature."""
        parts = [found.error, self.service.drift.error]
        if self.correction.error:
            parts.append(self._change(found.qps, log_factor=self.correction.error))
        if self.service.idle_error:
            slower = self.service.slower_after_idling()
            parts.append(self._change(found.qps, service=slower))
        return math.hypot(*parts)

    def _change(
        self, near_qps: float, *, log_factor: float = 0.0, service: ServiceTimes | None = None
    ) -> float:
        """Return the change of ln(capacity) with a limit or service times one error away.

        1, which is as good as unknown, where no capacity is left.
        """
        base = self.capacity(near_qps)
        other = self.capacity(near_qps, log_factor=log_factor, service=service)
        return math.log(other.qps / base.qps) if base and other else 1.0


def _findings(service: ServiceTimes, correction: float) -> tuple[Finding, ...]:
    """Return what is out of the ordinary about the basis of an estimate."""
    found = []
    change = service.mean_times.idle_factor - 1
    if abs(change) > _NOTABLE:
        found.append(Finding("slower_after_idling", {"change_fraction": float(change)}))
    if not service.mean_times.alike:
        slowdown = service.mean_times.slowdown
        found.append(Finding("unlike_workers", {"ratio": float(slowdown.max() / slowdown.min())}))
    if service.between_sd > _NOTABLE_SD:
        found.append(Finding("trials_differ", {"scatter_fraction": float(service.between_sd)}))
    if service.drift.per_s:
        found.append(Finding("drift_at_end", {"change_per_s": float(service.drift.per_s)}))
    if abs(correction) > _NOTABLE:
        figures = {"difference_fraction": math.expm1(correction)}
        found.append(Finding("model_corrected", figures))
    return tuple(found)

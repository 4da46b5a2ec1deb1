"""An estimate of the highest rate that meets a limit, from all trials seen so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.arrivals.kind import ArrivalKind
from mlbench.contracts.findings import Figures, Finding
from mlbench.estimation.learning import NEAR, learn
from mlbench.estimation.observation import Observation, misfit
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import EFFORT, Capacity, Effort, predict_capacity
from mlbench.queueing.line import Queue
from mlbench.queueing.service import NO_DRIFT, Drift, ServiceTimes
from mlbench.stats.pooling import Pooled

_ROUGH = Effort(resamples=16, replicas=24)
_THOROUGH = Effort(resamples=48, replicas=64, rounds=4)
_LOOSE = 0.02  # scatter between trials, beside which a rough simulation is exact enough
_WIDTH95 = 2.1  # errors: 2.0 by Student's t; resamples of heavy tails spread a little too little
_STEADY = 0.03  # estimates that differ by less, relatively, agree
_FURTHEST = 0.075  # below the estimate; less than what the search leaves at most
_BEYOND = 1.4  # times what was met, where to look when nothing failed
_UNSETTLED: Figures = {"trial_qps": None, "met": None}
_MARGIN = 0.05  # relative; a trial this far outside the interval contradicts the model


@dataclass(frozen=True)
class Estimate:
    """The highest rate, its 95 % interval, and whether the queue model or a bracket gave it.

    `qps` is 0 when no rate meets the limit; `low` is 0 when that is possible. `unloaded_s` is the
    percentile of the latency of a lone query, `unloaded_late` the fraction of them that is late.
    Of a device that drifts all of this is for the end.
    """

    qps: float
    low: float
    high: float
    modelled: bool
    unloaded_s: float
    findings: tuple[Finding, ...] = ()
    drift: Drift = NO_DRIFT
    unloaded_late: float = 0.0

    @property
    def supported_qps(self) -> float:
        """The highest rate that a trial which met the limit can be believed to hold."""
        if not self.modelled:
            return self.qps
        return max(math.sqrt(self.low * self.qps), (1 - _FURTHEST) * self.qps)

    @property
    def half_width(self) -> float:
        """Half the interval, relative to the rate; infinite when there is none."""
        return (self.high - self.low) / 2 / self.qps if self.qps else math.inf


@dataclass(frozen=True)
class Question:
    """What is to be estimated: the rate of such arrivals that meets the limit on the queue.

    `thorough`: for an answer; otherwise well enough to place the next trial, in half the time.
    """

    queue: Queue
    kind: ArrivalKind
    limit: LatencyLimit
    seed: int
    thorough: bool = True


def estimate(
    observations: Sequence[Observation], question: Question, known_qps: float, guess_qps: float
) -> Estimate:
    """Estimate the highest rate that answers the question.

    The queue model predicts it from the service times measured near it; what trials near it
    measured beyond what the model explains corrects it. When trials contradict the result, it is
    the bracket between the rates that were met and those that were not. `known_qps` is an earlier
    estimate, near which to look; without one it is 0, and `guess_qps` says about where.
    """
    modelled, settled = _settle(observations, question, known_qps, guess_qps)
    tried = [seen for seen in observations if not seen.saturated]
    same = [seen for seen in tried if seen.trial.request.kind == question.kind]
    against = _contradiction(same, modelled, question.limit) if settled else _UNSETTLED
    if against is None:
        return modelled
    return _bracket(same, modelled, question.limit, against)


def _settle(
    seen_trials: Sequence[Observation], question: Question, known_qps: float, guess_qps: float
) -> tuple[Estimate, bool]:
    """Predict from service times measured near the prediction; say whether that settles."""
    logs = [seen.log for seen in seen_trials]
    guess_qps = known_qps or guess_qps
    for _ in range(4):
        service = learn(logs, question.queue, guess_qps)
        result = _predict(seen_trials, service, question, known_qps, guess_qps)
        moved = abs(math.log(result.qps / guess_qps)) if result.qps else 0.0
        if moved < _STEADY or service.scatter == 0.0:
            return result, True
        guess_qps = known_qps = result.qps
    return result, moved < NEAR


def _predict(
    seen_trials: Sequence[Observation],
    service: ServiceTimes,
    question: Question,
    known_qps: float,
    guess_qps: float,
) -> Estimate:
    queue, limit = question.queue, question.limit
    limit_qps = 0.97 * service.saturated_qps(queue)  # a queue never settles close to saturation
    near = [
        seen
        for seen in seen_trials
        if not seen.saturated
        and abs(math.log(seen.qps / guess_qps)) < NEAR
        and seen.qps < limit_qps
    ]
    off = misfit(near, service, queue, limit.percentile, question.seed)
    model = _Model(question, service, off)
    exact = question.thorough and service.scatter < _LOOSE
    found = model.capacity(known_qps, _THOROUGH if exact else _ROUGH)
    unmet, unsure = model.unmet(), _WIDTH95 * math.hypot(model.unloaded_error(), off.error)
    if not found.qps:
        return replace(unmet, high=model.capacity(later=unsure).qps)
    span = math.exp(_WIDTH95 * model.error(found))
    return replace(
        unmet,
        qps=found.qps,
        low=0.0 if unmet.unloaded_s * math.exp(unsure) > model.max_latency_s else found.qps / span,
        high=found.qps * span,
    )


@dataclass(frozen=True)
class _Model:
    """The queue model of one question, corrected by what measured latencies exceed it by."""

    question: Question
    service: ServiceTimes
    off: Pooled

    @property
    def max_latency_s(self) -> float:
        return self.question.limit.max_latency_s * math.exp(-self.off.mean)

    def capacity(
        self,
        near_qps: float = 0.0,
        effort: Effort = EFFORT,
        *,
        later: float = 0.0,
        service: ServiceTimes | None = None,
    ) -> Capacity:
        """Predict it for a limit that is wider by `later`, a logarithm, or other service times."""
        asked = self.question
        return predict_capacity(
            asked.queue,
            service or self.service,
            asked.kind,
            replace(asked.limit, max_latency_s=self.max_latency_s * math.exp(later)),
            seed=asked.seed,
            near_qps=near_qps,
            effort=effort,
        )

    def unmet(self) -> Estimate:
        lone_s = self.service.unloaded_s()
        return Estimate(
            qps=0.0,
            low=0.0,
            high=0.0,
            modelled=True,
            unloaded_s=self.service.unloaded_tail_s(self.question.limit.percentile),
            unloaded_late=float((lone_s > self.max_latency_s).mean()),
            findings=_findings(self.service, self.off.mean),
            drift=self.service.drift,
        )

    def unloaded_error(self) -> float:
        rng = np.random.default_rng([self.question.seed, 5])
        return self.service.unloaded_error(self.question.limit.percentile, rng)

    def error(self, found: Capacity) -> float:
        """Return the relative standard error of a capacity, from all its causes together."""
        causes = [found.error, self.service.drift.error]
        if self.off.error:
            causes.append(self._change(found.qps, later=self.off.error))
        if self.service.idle_error:
            colder = self.service.slower_after_idling()
            causes.append(self._change(found.qps, service=colder))
        return math.hypot(*causes)

    def _change(
        self, near_qps: float, *, later: float = 0.0, service: ServiceTimes | None = None
    ) -> float:
        """Return by what a change moves the capacity, in logarithms; 1 where there is none left."""
        base = self.capacity(near_qps)
        other = self.capacity(near_qps, later=later, service=service)
        return math.log(other.qps / base.qps) if base.qps and other.qps else 1.0


def _findings(service: ServiceTimes, off: float) -> tuple[Finding, ...]:
    """Tell what an estimate rests on, where that is out of the ordinary."""
    found = []
    change = service.levels.idle_factor - 1
    if abs(change) > 0.02:
        found.append(Finding("slower_after_idling", {"change_fraction": float(change)}))
    if not service.levels.alike:
        ratio = service.levels.slowness.max() / service.levels.slowness.min()
        found.append(Finding("unlike_workers", {"ratio": float(ratio)}))
    if service.scatter > 0.01:
        found.append(Finding("trials_differ", {"scatter_fraction": float(service.scatter)}))
    if service.drift.per_s:
        found.append(Finding("drift_at_end", {"change_per_s": float(service.drift.per_s)}))
    if abs(off) > 0.02:
        found.append(Finding("model_corrected", {"difference_fraction": math.expm1(off)}))
    return tuple(found)


def _contradiction(
    same: Sequence[Observation], modelled: Estimate, limit: LatencyLimit
) -> Figures | None:
    """Say which trial can't be reconciled with the model's interval, or None."""
    allowed = 1 - limit.percentile / 100
    # 95 % intervals are missed now and then: contradiction takes twice their width, and more.
    slack = (1 + _MARGIN) * modelled.high / modelled.qps if modelled.qps else 1.0
    for seen in same:
        # What a device that drifts would have served at the end.
        qps = seen.qps * float(modelled.drift.slowness(seen.middle_s))
        verdict = seen.trial.judgements[limit.max_latency_s].verdict
        least, most = seen.lateness(limit.max_latency_s)
        if verdict == "fail" and qps < modelled.low / slack and least > 1.2 * allowed:
            return {"trial_qps": seen.qps, "met": False}
        surely_met = most < 0.8 * max(allowed, modelled.unloaded_late)
        if verdict == "pass" and qps > modelled.high * slack and surely_met:
            return {"trial_qps": seen.qps, "met": True}
    return None


def _middle(below: float, above: float, modelled: Estimate) -> float:
    """Return where to look in a bracket, by ratio; it may be open at one end, or at both."""
    if above == math.inf:
        return _BEYOND * max(below, modelled.high) if below else modelled.qps
    return math.sqrt(below * above) if below else above / 2


def _bracket(
    same: Sequence[Observation],
    modelled: Estimate,
    limit: LatencyLimit,
    against: Figures,
) -> Estimate:
    """Fall back to what was measured: between the highest rate met and the lowest failed above it.

    The interval reaches further up where the limit was met beyond a failure.
    """

    def rates(verdict: str) -> list[float]:
        max_latency_s = limit.max_latency_s
        return [s.qps for s in same if s.trial.judgements[max_latency_s].verdict == verdict]

    met, failed = rates("pass"), rates("fail")
    below = max((qps for qps in met if qps < min(failed, default=math.inf)), default=0.0)
    above = min(failed, default=math.inf)
    unfit = Finding("model_misfit", {**against, "predicted_qps": modelled.qps})
    return Estimate(
        qps=_middle(below, above, modelled),
        low=below,
        high=max([above, *met]),
        modelled=False,
        unloaded_s=modelled.unloaded_s,
        findings=(*modelled.findings, unfit),
    )

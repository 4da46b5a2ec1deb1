"""The estimate by measured rates alone, and when it takes the place of the queue model's."""

import math
from collections.abc import Sequence

from mlbench.contracts.findings import Figures, Finding
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.observation import Observation
from mlbench.outcomes import LatencyLimit

NOT_SETTLED: Figures = {"trial_qps": None, "met": None}
"""The reason against a model that predicts another rate whenever it is asked at the predicted."""

_MARGIN = 0.05
"""Relative distance from the interval, besides its width again, that contradicts the model. One in
twenty 95 % intervals misses the truth, most of them narrowly: those must not give the model up."""
_CLEAR = (
    0.2  # relative distance of a trial's late fraction, with its interval, from the allowed one
)
_BEYOND = 1.4  # the next rate over the highest known, where nothing failed: about the root of 2


def contradiction(
    observations: Sequence[Observation], modelled: Estimate, limit: LatencyLimit
) -> Figures | None:
    """Return the rate and the result of a trial that contradicts the model; None if none does.

    A trial does when it missed the limit clearly at a rate below the interval, or met it clearly
    above. `observations` are those with the arrivals in question.
    """
    allowed = 1 - limit.percentile / 100
    slack = (1 + _MARGIN) * modelled.high / modelled.qps if modelled.qps else 1.0
    for seen in observations:
        # The rate that a drifting device would have served as well at the end.
        qps = seen.qps * float(modelled.drift.slowdown(seen.middle_s))
        verdict = seen.trial.judgements[limit.max_latency_s].verdict
        least, most = seen.late_fraction_interval(limit.max_latency_s)
        missed = verdict == "fail" and least > (1 + _CLEAR) * allowed
        met = verdict == "pass" and most < (1 - _CLEAR) * max(allowed, modelled.unloaded_late)
        if missed and qps < modelled.low / slack:
            return {"trial_qps": seen.qps, "met": False}
        if met and qps > modelled.high * slack:
            return {"trial_qps": seen.qps, "met": True}
    return None


def bracket(
    observations: Sequence[Observation],
    modelled: Estimate,
    limit: LatencyLimit,
    against: Figures,
) -> Estimate:
    """Return the estimate between the highest rate that met the limit and the lowest that failed.

    Only rates below the lowest failure count as met; where the limit was met at a higher rate, the
    interval reaches up to that. `against` is the reason against the model, which is noted.
    """

    def rates(verdict: str) -> list[float]:
        at = limit.max_latency_s
        return [seen.qps for seen in observations if seen.trial.judgements[at].verdict == verdict]

    met, failed = rates("pass"), rates("fail")
    above = min(failed, default=math.inf)
    below = max((qps for qps in met if qps < above), default=None)
    misfit = Finding("model_misfit", {**against, "predicted_qps": modelled.qps or 0.0})
    return Estimate(
        qps=_inside(below, above, modelled),
        low=below or 0.0,
        high=max([above, *met]),
        modelled=False,
        unloaded_s=modelled.unloaded_s,
        findings=(*modelled.findings, misfit),
    )


def _inside(below: float | None, above: float, modelled: Estimate) -> float | None:
    """Return a rate inside a bracket, in the middle of logarithms where both ends are known."""
    if above == math.inf:
        return modelled.qps if below is None else _BEYOND * max(below, modelled.high)
    return above / 2 if below is None else math.sqrt(below * above)

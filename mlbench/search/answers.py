"""What a search says in the end: one answer for each goal, with findings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.observation import Observation
from mlbench.outcomes import UNMET, Answer, Judgement, Trial
from mlbench.search.goal import FRACTION, Goal

_FAR = 0.1  # below what nothing speaks against, relatively


@dataclass(frozen=True)
class Allowance:
    """What a search could do at most: how long a trial could be, and whether any time is left."""

    longest_trial_s: float = math.inf
    spent: bool = True


UNLIMITED = Allowance()


def make_answer(
    goal: Goal,
    known: Estimate | None,
    observations: Sequence[Observation],
    findings: Sequence[Finding],
    allowance: Allowance = UNLIMITED,
) -> Answer:
    """Put together what is known of one goal.

    `known`: its estimate, in order with those of other limits. `observations`: all trials;
    `findings`: what they say about the device.
    """
    tried = [seen.trial for seen in observations if not seen.saturated]
    best = _best(goal, known, tried)
    own = [trial.judgement for trial in tried if goal.owns(trial)]
    no_verdict = best is None and all(judged.verdict == "invalid" for judged in own)
    rests_on = [seen for seen in observations if seen.saturated or _serves(seen, goal)]
    found = [*(known.findings if known else ()), *findings]
    if best is None:
        found.insert(0, _why_unmet(goal, known, own, allowance))
    elif slower := [t for t in goal.rates(tried, "fail") if _qps(t) < _qps(best)]:
        found.append(Finding("slower_trial_failed", {"trial_qps": _qps(slower[0])}))
    estimate = None if no_verdict else known
    return Answer(
        kind=goal.kind.name,
        max_latency_s=goal.max_latency_s,
        qps=best.request.target_qps if best else UNMET,
        trial=best,
        capacity_qps=(estimate.qps or 0.0) if estimate else None,
        capacity_ci95=(estimate.low, estimate.high) if estimate else None,
        trials=len(rests_on),
        measured_s=sum(seen.measured_s for seen in rests_on),
        queries=sum(len(seen.due_s) for seen in rests_on),
        findings=tuple(found),
        no_verdict=no_verdict,
    )


def _best(goal: Goal, known: Estimate | None, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial to report: one that the estimate supports.

    If there is none, or only one far below, another will do: up to the estimate if no slower trial
    certainly failed, or up to the end of the interval if no slower trial missed. Where that leaves
    next to nothing, one up to the estimate will do although slower ones failed: the device changes.
    """
    supported = goal.met(trials, known)
    if known is None or not known.qps:
        return supported
    failed, undecided = (
        [trial.request.target_qps for trial in goal.rates(trials, verdict)]
        for verdict in ("fail", "undecided")
    )
    limit_qps = max(min([known.qps, *failed]), min([known.high, *failed, *undecided]))
    other = goal.fastest(trials, limit_qps)
    far = other and supported and _qps(supported) < (1 - _FAR) * _qps(other)
    best = other if supported is None or far else supported
    if known.modelled and (best is None or _qps(best) < FRACTION * known.qps):
        return goal.fastest(trials, known.qps)
    return best


def _qps(trial: Trial) -> float:
    return trial.request.target_qps


def _serves(seen: Observation, goal: Goal) -> bool:
    """Whether an answer rests on this trial: its own, and those near its rate."""
    return goal.owns(seen.trial) or goal.is_near(seen)


def _why_unmet(
    goal: Goal, known: Estimate | None, own: Sequence[Judgement], allowance: Allowance
) -> Finding:
    if not own:
        return Finding("budget_spent" if allowance.spent else "run_ended")
    if all(judgement.verdict == "invalid" for judgement in own):
        return _resting_on("all_trials_invalid", own[-1].reasons[0])
    percentile, met = goal.limit.percentile, any(judgement.verdict == "pass" for judgement in own)
    if known and known.unloaded_s > goal.max_latency_s:
        figures = {
            "percentile": percentile,
            "service_s": known.unloaded_s,
            "max_latency_s": goal.max_latency_s,
        }
        return Finding("service_over_limit", figures)
    if known and known.qps and goal.fewest_queries / known.qps > allowance.longest_trial_s:
        needed_s = goal.fewest_queries / known.qps
        figures = {"qps": known.qps, "percentile": percentile, "needed_s": needed_s}
        return Finding("trials_too_short", figures)
    if known and not known.qps and goal.misses:
        return _resting_on("slow_trial_failed", own[-1].reasons[-1])
    if known and known.drift.per_s > 0 and met:
        return Finding("device_slowed_since")
    if met:
        return Finding("rates_above_estimate")
    return Finding("no_trial_met_in_budget" if allowance.spent else "no_trial_met")


def _resting_on(code: str, reason: Finding) -> Finding:
    """Return a finding that has the code and the figures of its reason among its own."""
    return Finding(code, {"because": reason.code, **reason.figures})

"""What a search says in the end: one answer for each goal, with findings."""

import math
from collections.abc import Sequence

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate
from mlbench.outcomes import Answer, CurvePoint, Judgement, Trial
from mlbench.search.goal import TELLING_SHARE, Goal


def make_answer(
    goal: Goal,
    known: Estimate | None,
    findings: Sequence[Finding],
    *,
    curve: tuple[CurvePoint, ...] = (),
    budget_spent: bool = True,
) -> Answer:
    """Return the answer to a goal.

    `known`: its estimate, put in order with those of other limits. `findings`: what all trials say
    about the device. `curve`: the model's, as this estimate corrects it. `budget_spent`: whether
    there was no time left for another trial.
    """
    best = _best(goal, known)
    own = [trial.judgement for trial in goal.history.tried if goal.owns(trial)]
    no_verdict = best is None and all(judged.verdict == "invalid" for judged in own)
    estimate = None if own and no_verdict else known
    used = [
        seen
        for seen in goal.history.observations
        if seen.saturated or goal.owns(seen.trial) or goal.is_near(seen)
    ]
    found = [*(known.findings if known else ()), *findings]
    if best is None:
        found.insert(0, _why_unmet(goal, known, own, budget_spent=budget_spent))
    elif slower := [t for t in goal.rates("fail") if _qps(t) < _qps(best)]:
        found.append(Finding("slower_trial_failed", {"trial_qps": _qps(slower[0])}))
    return Answer(
        kind=goal.kind.name,
        max_latency_s=goal.max_latency_s,
        qps=_qps(best) if best else None,
        trial=best,
        capacity_qps=(estimate.qps or 0.0) if estimate else None,
        capacity_ci95=(estimate.low, estimate.high) if estimate else None,
        trials=len(used),
        measured_s=sum(seen.measured_s for seen in used),
        queries=sum(len(seen.due_s) for seen in used),
        findings=tuple(found),
        no_verdict=no_verdict,
        meets_again=_meets_again(best, estimate),
        curve=curve if estimate else (),
    )


def _best(goal: Goal, known: Estimate | None) -> Trial | None:
    """Return the trial to report: the fastest that met the limit and that the estimate supports.

    If none says anything about the answer, a faster one will do that is hardly above the capacity,
    although a fresh trial there may fail.
    """
    supported = goal.supported(known)
    if known is None or known.qps is None:
        return supported
    if supported is None or _qps(supported) < TELLING_SHARE * known.qps:
        return goal.fastest(known.sure_qps) or supported
    return supported


def _meets_again(best: Trial | None, known: Estimate | None) -> float | None:
    """Return the probability that a fresh trial like the reported one meets the limit."""
    if best is None or known is None or not known.qps:
        return None
    above = math.log(known.qps / _qps(best)) / max(known.deviation(best.request.queries), 1e-9)
    return 0.5 * (1 + math.erf(above / math.sqrt(2)))


def _qps(trial: Trial) -> float:
    return trial.request.target_qps


def _why_unmet(
    goal: Goal, known: Estimate | None, own: Sequence[Judgement], *, budget_spent: bool
) -> Finding:
    """Return the reason why an answer has no rate; `own`: the judgements of its trials."""
    if own and all(judgement.verdict == "invalid" for judgement in own):
        return _resting_on("all_trials_invalid", own[-1].reasons[0])
    if known and (impossible := _why_impossible(goal, known)):
        return impossible
    if not own:
        return Finding("budget_spent" if budget_spent else "run_ended")
    if known and known.qps is None and goal.misses:
        return _resting_on("slow_trial_failed", own[-1].reasons[-1])
    if any(judgement.verdict == "pass" for judgement in own):
        return Finding("rates_above_estimate")
    return Finding("no_trial_met_in_budget" if budget_spent else "no_trial_met")


def _why_impossible(goal: Goal, known: Estimate) -> Finding | None:
    """Return why no trial could meet the limit, or be long enough to show it; None if one could."""
    percentile = goal.limit.percentile
    if known.unloaded_s > goal.max_latency_s:
        figures = {
            "percentile": percentile,
            "service_s": known.unloaded_s,
            "max_latency_s": goal.max_latency_s,
        }
        return Finding("service_over_limit", figures)
    if known.qps and goal.fewest_queries / known.qps > goal.plan.max_trial_s:
        needed_s = goal.fewest_queries / known.qps
        figures = {"qps": known.qps, "percentile": percentile, "needed_s": needed_s}
        return Finding("trials_too_short", figures)
    return None


def _resting_on(code: str, reason: Finding) -> Finding:
    """Return a finding with the code and the figures of its reason among its own."""
    return Finding(code, {"because": reason.code, **reason.figures})

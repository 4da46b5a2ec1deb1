"""What a search says in the end: one answer for each goal, with its notes in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    findings: Sequence[str],
    allowance: Allowance = UNLIMITED,
) -> Answer:
    """Put together what is known of one goal.

    `known`: its estimate, in order with those of other limits. `observations`: all trials;
    `findings`: what they say about the device, in words.
    """
    tried = [seen.trial for seen in observations if not seen.saturated]
    best = _best(goal, known, tried)
    own = [trial.judgement for trial in tried if goal.owns(trial)]
    no_verdict = best is None and all(judged.verdict == "invalid" for judged in own)
    rests_on = [seen for seen in observations if seen.saturated or _serves(seen, goal)]
    notes = [*(known.notes if known else ()), *findings]
    if best is None:
        notes.insert(0, _why_unmet(goal, known, own, allowance))
    elif slower := [t for t in goal.rates(tried, "fail") if _qps(t) < _qps(best)]:
        notes.append(f"a slower trial, at {_qps(slower[0]):.4g} qps, did not meet the limit")
    estimate = None if no_verdict else known
    return Answer(
        kind=goal.kind.name,
        max_latency_s=goal.max_latency_s,
        qps=best.request.target_qps if best else UNMET,
        trial=best,
        capacity_qps=estimate.qps if estimate else None,
        capacity_ci95=(estimate.low, estimate.high) if estimate else None,
        trials=len(rests_on),
        measured_s=sum(seen.measured_s for seen in rests_on),
        queries=sum(len(seen.due_s) for seen in rests_on),
        notes=tuple(notes),
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
) -> str:
    if not own:
        why = "the budget was spent before; raise --budget" if allowance.spent else "the run ended"
        return f"no trial was run for it: {why}"
    if all(judgement.verdict == "invalid" for judgement in own):
        return f"every trial was invalid: {own[-1].reasons[0]}"
    limit, met = goal.limit, any(judgement.verdict == "pass" for judgement in own)
    if known and known.unloaded_s > goal.max_latency_s:
        return (
            f"the service time's {limit.percentile:g}th percentile, "
            f"{known.unloaded_s * 1e3:.3g} ms, is already over {goal.max_latency_s * 1e3:.3g} ms"
        )
    if known and known.qps and goal.fewest_queries / known.qps > allowance.longest_trial_s:
        return (
            f"at the {known.qps:.3g} qps that seem possible the {limit.percentile:g}th "
            f"percentile takes a trial of {goal.fewest_queries / known.qps:.0f} s; raise --time"
        )
    if known and not known.qps and goal.misses:
        return f"not even a slow trial met the limit: {own[-1].reasons[-1]}"
    if known and known.drift.per_s > 0 and met:
        return "the rates that trials met are above what the device still holds"
    if met:
        return "the rates that trials met are above what the estimate supports"
    return "no trial met the limit" + (" before the budget was spent" if allowance.spent else "")

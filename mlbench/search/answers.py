"""What a search says in the end: one answer for each goal, with its notes in words."""

from collections.abc import Sequence

from mlbench.outcomes import UNMET, Answer, Judgement, Trial
from mlbench.search.estimate import Estimate
from mlbench.search.goal import Goal
from mlbench.search.observation import Observation

_FAR = 0.1  # below what nothing speaks against, relatively


def make_answer(
    goal: Goal,
    known: Estimate | None,
    observations: Sequence[Observation],
    findings: Sequence[str],
) -> Answer:
    """Put together what is known of one goal.

    `known`: its estimate, in order with those of other bounds. `observations`: all trials, the
    flood first; `findings`: what they say about the device, in words.
    """
    best = _best(goal, known, [seen.trial for seen in observations])
    own = [seen.trial.judgement for seen in observations[1:] if goal.owns(seen.trial)]
    no_verdict = best is None and all(judged.verdict == "invalid" for judged in own)
    rests_on = [*observations[:1], *(seen for seen in observations[1:] if _serves(seen, goal))]
    notes = [*(known.notes if known else ()), *findings]
    if best is None:
        notes.insert(0, _why_unmet(goal, own))
    estimate = None if no_verdict else known
    return Answer(
        kind=goal.kind,
        target_latency_s=goal.target_s,
        qps=best.request.target_qps if best else UNMET,
        trial=best,
        capacity_qps=estimate.qps if estimate else None,
        capacity_ci95=(estimate.low, estimate.high) if estimate else None,
        trials=len(rests_on),
        measured_s=sum(seen.measured_s for seen in rests_on),
        queries=sum(len(seen.sent_s) for seen in rests_on),
        notes=tuple(notes),
        no_verdict=no_verdict,
    )


def _best(goal: Goal, known: Estimate | None, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial to report: one that the estimate supports.

    If there is none, or only one far below, another will do: up to the estimate if no slower trial
    certainly failed, or up to the end of the interval if no slower trial missed.
    """
    supported = goal.met(trials, known)
    if known is None:
        return supported
    failed, undecided = (
        [trial.request.target_qps for trial in goal.rates(trials, verdict)]
        for verdict in ("fail", "undecided")
    )
    limit_qps = max(min([known.qps, *failed]), min([known.high, *failed, *undecided]))
    other = goal.fastest(trials, limit_qps)
    far = other and supported and _qps(supported) < (1 - _FAR) * _qps(other)
    return other if supported is None or far else supported


def _qps(trial: Trial) -> float:
    return trial.request.target_qps


def _serves(seen: Observation, goal: Goal) -> bool:
    """Whether an answer rests on this trial: its own, and those near its rate."""
    return goal.owns(seen.trial) or goal.is_near(seen)


def _why_unmet(goal: Goal, own: Sequence[Judgement]) -> str:
    if not own:
        return "no trial was run for it: the budget was spent before; raise --budget"
    if all(judgement.verdict == "invalid" for judgement in own):
        return f"every trial was invalid: {own[-1].reasons[0]}"
    known, constraint = goal.estimate, goal.constraint
    if known and known.unloaded_s > goal.target_s:
        return (
            f"the service time's {constraint.percentile:g}th percentile, "
            f"{known.unloaded_s * 1e3:.3g} ms, is already over {goal.target_s * 1e3:.3g} ms"
        )
    if known and not known.qps and goal.misses:
        return f"not even a slow trial met the bound: {own[-1].reasons[-1]}"
    if known and known.drift.per_s > 0 and any(judgement.verdict == "pass" for judgement in own):
        return "the rates that trials met are above what the device still holds"
    return "no trial met the bound before the budget was spent"
